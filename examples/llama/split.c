#define PCRE2_CODE_UNIT_WIDTH 8
#include "split.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

// White space as Unicode's White_Space has it. PCRE2's \s under UCP also takes U+180E.
#define SPACE "\\p{Z}\\x{09}-\\x{0D}\\x{85}"

// A word is an English suffix, letters, numbers, or a run of anything else, each with the space before it, or white space;
// of white space that something follows, the last character stays for the next word.
#define GPT2_WORD                                                                                  \
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE "]+(?![^" SPACE \
    "])|[" SPACE "]+"

static const struct rule {
    const char *name;
    const char *first; // what is cut out before the words are looked for; NULL: nothing
    const char *word;
} rules[] = {
    {"smollm", "\\p{N}", GPT2_WORD},
    {"gpt-2", NULL, GPT2_WORD},
};
#define RULES_KNOWN "smollm, gpt-2"

struct splitter {
    pcre2_code *first; // NULL: nothing is cut out
    pcre2_code *word;
};

static kn_status compile(const char *pattern, pcre2_code **out, kn_error *err)
{
    int code;
    PCRE2_SIZE offset;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                         &offset, NULL);
    if (*out) {
        pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); // without JIT it is only slower
        return KN_OK;
    }
    if (code == PCRE2_ERROR_HEAP_FAILED)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "split rule: out of memory");
    return kn_error_set(err, KN_ERR_UNSUPPORTED, "split rule: PCRE2 refuses it at %zu with code %d",
                        offset, code);
}

kn_status splitter_new(gguf_string rule, splitter **out, kn_error *err)
{
    const struct rule *found = NULL;
    splitter *split = NULL;
    kn_status st;

    *out = NULL;
    for (size_t i = 0; i < KN_LEN(rules); ++i)
        if (strlen(rules[i].name) == rule.n_bytes &&
            memcmp(rules[i].name, rule.bytes, rule.n_bytes) == 0)
            found = &rules[i];
    if (!found)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "split rule '%.*s' (tokenizer.ggml.pre), known are " RULES_KNOWN,
                            (int)rule.n_bytes, rule.bytes);
    split = calloc(1, sizeof(*split));
    if (!split) {
        st = kn_error_set(err, KN_ERR_NO_MEMORY, "split rule: out of memory");
        goto done;
    }
    st = compile(found->word, &split->word, err);
    if (st == KN_OK && found->first)
        st = compile(found->first, &split->first, err);
    if (st != KN_OK)
        goto done;
    *out = split;
    split = NULL;
done:
    splitter_free(split);
    return st;
}

void splitter_free(splitter *split)
{
    if (!split)
        return;
    pcre2_code_free(split->first);
    pcre2_code_free(split->word);
    free(split);
}

// A text that a pattern walks: its matches, and what lies between them.
typedef struct walk {
    const splitter *split;
    splitter_word_fn each;
    void *user;
    kn_error *err;
} walk;

static kn_status walk_words(const walk *w, const char *text, size_t n_bytes);

// Calls `each` for every match of the pattern in order, `between` for every non-empty stretch that no match covers.
static kn_status walk_matches(const walk *w, const pcre2_code *pattern, uint32_t options,
                              const char *text, size_t n_bytes,
                              kn_status (*between)(const walk *, const char *, size_t))
{
    size_t at = 0;
    kn_status st = KN_OK;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);

    while (st == KN_OK && at < n_bytes) {
        const int found =
            match ? pcre2_match(pattern, (PCRE2_SPTR)text, n_bytes, at, options, match, NULL)
                  : PCRE2_ERROR_NOMEMORY;
        const PCRE2_SIZE *range = match ? pcre2_get_ovector_pointer(match) : NULL;
        options |= PCRE2_NO_UTF_CHECK; // once is enough
        if (found == PCRE2_ERROR_NOMATCH) {
            st = between(w, text + at, n_bytes - at);
            break;
        }
        if (found <= PCRE2_ERROR_UTF8_ERR1 && found >= PCRE2_ERROR_UTF8_ERR21)
            st = kn_error_set(w->err, KN_ERR_INVALID, "text is not UTF-8 at byte %zu",
                              (size_t)pcre2_get_startchar(match));
        else if (found < 0)
            st = kn_error_set(w->err, KN_ERR_NO_MEMORY, "splitting text: PCRE2 code %d", found);
        else if (range[0] > at)
            st = between(w, text + at, range[0] - at);
        if (st == KN_OK)
            st = w->each(w->user, text + range[0], range[1] - range[0], w->err);
        if (st == KN_OK)
            at = range[1];
    }
    pcre2_match_data_free(match);
    return st;
}

// The words' pattern covers every character; should it not, the rest is a word.
static kn_status leftover(const walk *w, const char *text, size_t n_bytes)
{
    return w->each(w->user, text, n_bytes, w->err);
}

static kn_status walk_words(const walk *w, const char *text, size_t n_bytes)
{
    const uint32_t options = w->split->first ? PCRE2_NO_UTF_CHECK : 0; // checked by the first walk
    return walk_matches(w, w->split->word, options, text, n_bytes, leftover);
}

kn_status splitter_walk(const splitter *split, const char *text, size_t n_bytes,
                        splitter_word_fn each, void *user, kn_error *err)
{
    const walk w = {split, each, user, err};
    return split->first ? walk_matches(&w, split->first, 0, text, n_bytes, walk_words)
                        : walk_words(&w, text, n_bytes);
}
