#include "tokenizer.h"

#include "bpe.h"
#include "split.h"
#include <stdlib.h>
#include <string.h>

// Token types of the format that matter here.
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

struct tokenizer {
    char *arena;         // the bytes of all tokens
    gguf_string *tokens; // by id; in the arena
    uint8_t *types;      // by id
    int32_t *specials;   // those found in text by name, longest name first
    size_t n_specials;
    size_t n_tokens;
    bpe_tables bpe;
    splitter *split;
    char *chat_template;
    int32_t bos;
    int32_t end[2]; // -1: none
};

// A token as the file writes it; sorted to find tokens by their text.
typedef struct written {
    gguf_string text;
    int32_t id;
} written;

static int compare_bytes(gguf_string a, gguf_string b)
{
    const size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    const int order = n > 0 ? memcmp(a.bytes, b.bytes, n) : 0;
    return order != 0 ? order : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

static int compare_written(const void *left, const void *right)
{
    return compare_bytes(((const written *)left)->text, ((const written *)right)->text);
}

static int32_t find_written(const written *sorted, size_t count, gguf_string text)
{
    const written key = {text, 0};
    const written *found = bsearch(&key, sorted, count, sizeof(*sorted), compare_written);
    return found ? found->id : -1;
}

// Byte-level BPE writes a byte as one character: itself where it prints, else one of U+0100 … in the order of the bytes.
// The table gives, for characters below U+0144, the byte; -1 for those that are none.
enum { N_BYTE_CHARS = 0x144 };

static void make_byte_chars(int16_t bytes[N_BYTE_CHARS])
{
    int16_t next = 0x100;
    for (size_t i = 0; i < N_BYTE_CHARS; ++i)
        bytes[i] = -1;
    for (int16_t b = 0; b < 256; ++b) {
        const bool prints = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        bytes[prints ? b : next++] = b;
    }
}

// The bytes that a token's text writes, at most as many as the text has; false when the text is not so written.
static bool unwrite(const int16_t bytes[N_BYTE_CHARS], gguf_string text, char *out, size_t *n_out)
{
    const uint8_t *c = (const uint8_t *)text.bytes;
    *n_out = 0;
    for (size_t i = 0; i < text.n_bytes; ++i) {
        uint32_t code = c[i];
        if (code >= 0xC2 && code <= 0xC5 && i + 1 < text.n_bytes && (c[i + 1] & 0xC0) == 0x80)
            code = (code & 31) << 6 | (c[++i] & 63);
        else if (code >= 0x80)
            return false;
        if (code >= N_BYTE_CHARS || bytes[code] < 0)
            return false;
        out[(*n_out)++] = (char)bytes[code];
    }
    return true;
}

static kn_status no_memory(const gguf_file *file, kn_error *err)
{
    return kn_error_set(err, KN_ERR_NO_MEMORY, "%s: out of memory for the tokenizer",
                        gguf_name(file));
}

// Sorted by text, with distinct texts.
static kn_status sort_written(const gguf_file *file, gguf_array tokens, written *out, kn_error *err)
{
    const size_t count = (size_t)tokens.count;
    for (size_t i = 0; i < count; ++i)
        out[i] = (written){gguf_next_string(&tokens), (int32_t)i};
    qsort(out, count, sizeof(*out), compare_written);
    for (size_t i = 1; i < count; ++i)
        if (compare_written(&out[i - 1], &out[i]) == 0)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: tokens %d and %d are both '%.*s', tokens must differ",
                                gguf_name(file), out[i - 1].id, out[i].id, (int)out[i].text.n_bytes,
                                out[i].text.bytes);
    return KN_OK;
}

// Sets types; without the array in the file all tokens are normal.
static kn_status read_types(tokenizer *tok, const gguf_file *file, kn_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    gguf_array types;
    memset(tok->types, TYPE_NORMAL, tok->n_tokens);
    if (!gguf_has(file, key))
        return KN_OK;
    const kn_status st = gguf_get_array(file, key, GGUF_I32, &types, err);
    if (st != KN_OK)
        return st;
    if (types.count != tok->n_tokens)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %llu token types for %zu tokens",
                            gguf_name(file), (unsigned long long)types.count, tok->n_tokens);
    for (size_t i = 0; i < tok->n_tokens; ++i) {
        const int32_t type = gguf_next_i32(&types);
        if (type < 0 || type > 6)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: token %zu has type %d, accepted are 0 to 6", gguf_name(file),
                                i, type);
        tok->types[i] = (uint8_t)type;
    }
    return KN_OK;
}

static bool has_name(const tokenizer *tok, size_t id)
{
    return tok->types[id] == TYPE_CONTROL || tok->types[id] == TYPE_USER_DEFINED;
}

// Fills the arena, which has room for all texts, and the tokens of single bytes.
static void decode_tokens(tokenizer *tok, gguf_array texts)
{
    int16_t byte_chars[N_BYTE_CHARS];
    char *next = tok->arena;
    make_byte_chars(byte_chars);
    memset(tok->bpe.byte_ids, -1, sizeof(tok->bpe.byte_ids));
    for (size_t i = 0; i < tok->n_tokens; ++i) {
        const gguf_string text = gguf_next_string(&texts);
        size_t n_bytes = text.n_bytes;
        if (has_name(tok, i) || !unwrite(byte_chars, text, next, &n_bytes)) {
            n_bytes = text.n_bytes;
            memcpy(next, text.bytes, n_bytes);
        } else if (n_bytes == 1) {
            tok->bpe.byte_ids[(uint8_t)*next] = (int32_t)i;
        }
        tok->tokens[i] = (gguf_string){next, n_bytes};
        next += n_bytes;
    }
}

// "left right", by the texts of both; the result is the token of both together.
static kn_status read_merge(const gguf_file *file, const written *sorted, size_t count,
                            gguf_string text, char *joined, bpe_merge *out, kn_error *err)
{
    const char *space = memchr(text.bytes, ' ', text.n_bytes);
    if (space) {
        const size_t n_left = (size_t)(space - text.bytes);
        const size_t n_right = text.n_bytes - n_left - 1;
        memcpy(joined, text.bytes, n_left);
        memcpy(joined + n_left, space + 1, n_right);
        out->left = find_written(sorted, count, (gguf_string){text.bytes, n_left});
        out->right = find_written(sorted, count, (gguf_string){space + 1, n_right});
        out->result = find_written(sorted, count, (gguf_string){joined, n_left + n_right});
    }
    if (!space || out->left < 0 || out->right < 0 || out->result < 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: merge %u is '%.*s', accepted are two tokens with a space between "
                            "whose join is a token",
                            gguf_name(file), out->rank, (int)text.n_bytes, text.bytes);
    return KN_OK;
}

static kn_status read_merges(tokenizer *tok, const gguf_file *file, const written *sorted,
                             kn_error *err)
{
    gguf_array texts;
    char *joined = NULL;
    size_t longest = 1;
    kn_status st = gguf_get_array(file, "tokenizer.ggml.merges", GGUF_STRING, &texts, err);
    if (st != KN_OK)
        return st;
    if (texts.count > UINT32_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: too many merges", gguf_name(file));
    for (gguf_array rest = texts; rest.count > 0;) {
        const gguf_string text = gguf_next_string(&rest);
        longest = text.n_bytes > longest ? text.n_bytes : longest;
    }
    joined = malloc(longest);
    tok->bpe.merges = calloc(texts.count ? (size_t)texts.count : 1, sizeof(*tok->bpe.merges));
    if (!joined || !tok->bpe.merges) {
        st = no_memory(file, err);
        goto done;
    }
    for (; texts.count > 0 && st == KN_OK; ++tok->bpe.n_merges) {
        bpe_merge *m = &tok->bpe.merges[tok->bpe.n_merges];
        m->rank = (uint32_t)tok->bpe.n_merges;
        st = read_merge(file, sorted, tok->n_tokens, gguf_next_string(&texts), joined, m, err);
    }
    bpe_sort(&tok->bpe);
done:
    free(joined);
    return st;
}

static int compare_lengths(const void *left, const void *right)
{
    const written *a = left, *b = right;
    if (a->text.n_bytes != b->text.n_bytes)
        return a->text.n_bytes > b->text.n_bytes ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

// room: of n_tokens, to sort in.
static void list_specials(tokenizer *tok, written *room)
{
    for (size_t id = 0; id < tok->n_tokens; ++id)
        if (has_name(tok, id) && tok->tokens[id].n_bytes > 0)
            room[tok->n_specials++] = (written){tok->tokens[id], (int32_t)id};
    if (tok->n_specials > 1)
        qsort(room, tok->n_specials, sizeof(*room), compare_lengths);
    for (size_t i = 0; i < tok->n_specials; ++i)
        tok->specials[i] = room[i].id;
}

static kn_status read_vocabulary(tokenizer *tok, const gguf_file *file, kn_error *err)
{
    gguf_array texts;
    written *sorted = NULL;
    size_t n_bytes = 0;
    kn_status st = gguf_get_array(file, "tokenizer.ggml.tokens", GGUF_STRING, &texts, err);
    if (st != KN_OK)
        return st;
    if (texts.count < 1 || texts.count > INT32_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %llu tokens, accepted are 1 to %d",
                            gguf_name(file), (unsigned long long)texts.count, INT32_MAX);
    tok->n_tokens = (size_t)texts.count;
    for (gguf_array rest = texts; rest.count > 0;)
        n_bytes += gguf_next_string(&rest).n_bytes; // no overflow: they lie in the file
    tok->arena = malloc(n_bytes ? n_bytes : 1);
    tok->tokens = calloc(tok->n_tokens, sizeof(*tok->tokens));
    tok->types = malloc(tok->n_tokens);
    tok->specials = calloc(tok->n_tokens, sizeof(*tok->specials));
    sorted = calloc(tok->n_tokens, sizeof(*sorted));
    if (!tok->arena || !tok->tokens || !tok->types || !tok->specials || !sorted) {
        st = no_memory(file, err);
        goto done;
    }
    st = sort_written(file, texts, sorted, err);
    if (st == KN_OK)
        st = read_types(tok, file, err);
    if (st == KN_OK)
        st = read_merges(tok, file, sorted, err);
    if (st != KN_OK)
        goto done;
    decode_tokens(tok, texts);
    list_specials(tok, sorted);
done:
    free(sorted);
    return st;
}

// -1 when the file does not have the key.
static kn_status read_id(const tokenizer *tok, const gguf_file *file, const char *key, int32_t *out,
                         kn_error *err)
{
    int64_t id = -1;
    const kn_status st = gguf_has(file, key)
                             ? gguf_get_int(file, key, 0, (int64_t)tok->n_tokens - 1, &id, err)
                             : KN_OK;
    *out = (int32_t)id;
    return st;
}

static kn_status read_ends(tokenizer *tok, const gguf_file *file, kn_error *err)
{
    bool add_bos = false;
    kn_status st = KN_OK;
    if (gguf_has(file, "tokenizer.ggml.add_bos_token"))
        st = gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &add_bos, err);
    tok->bos = -1;
    if (st == KN_OK && add_bos)
        st = read_id(tok, file, "tokenizer.ggml.bos_token_id", &tok->bos, err);
    if (st == KN_OK)
        st = read_id(tok, file, "tokenizer.ggml.eos_token_id", &tok->end[0], err);
    if (st == KN_OK)
        st = read_id(tok, file, "tokenizer.ggml.eot_token_id", &tok->end[1], err);
    return st;
}

static kn_status read_chat_template(tokenizer *tok, const gguf_file *file, kn_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    gguf_string text = {"", 0};
    if (gguf_has(file, key)) {
        const kn_status st = gguf_get_string(file, key, &text, err);
        if (st != KN_OK)
            return st;
    }
    tok->chat_template = strndup(text.bytes, text.n_bytes);
    return tok->chat_template ? KN_OK : no_memory(file, err);
}

kn_status tokenizer_new(const gguf_file *file, tokenizer **out, kn_error *err)
{
    gguf_string model, rule;
    tokenizer *tok = NULL;

    *out = NULL;
    kn_status st = gguf_get_string(file, "tokenizer.ggml.model", &model, err);
    if (st == KN_OK)
        st = gguf_get_string(file, "tokenizer.ggml.pre", &rule, err);
    if (st != KN_OK)
        return st;
    if (compare_bytes(model, (gguf_string){"gpt2", 4}) != 0)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: tokenizer '%.*s' (tokenizer.ggml.model), accepted is gpt2",
                            gguf_name(file), (int)model.n_bytes, model.bytes);
    tok = calloc(1, sizeof(*tok));
    if (!tok)
        return no_memory(file, err);
    st = splitter_new(rule, &tok->split, err);
    if (st != KN_OK)
        kn_error_prefix(err, "%s", gguf_name(file));
    if (st == KN_OK)
        st = read_vocabulary(tok, file, err);
    if (st == KN_OK)
        st = read_ends(tok, file, err);
    if (st == KN_OK)
        st = read_chat_template(tok, file, err);
    if (st != KN_OK)
        goto done;
    *out = tok;
    tok = NULL;
done:
    tokenizer_free(tok);
    return st;
}

void tokenizer_free(tokenizer *tok)
{
    if (!tok)
        return;
    splitter_free(tok->split);
    free(tok->arena);
    free(tok->tokens);
    free(tok->types);
    free(tok->specials);
    free(tok->bpe.merges);
    free(tok->chat_template);
    free(tok);
}

kn_status token_list_add(token_list *list, int32_t id, kn_error *err)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 64;
        int32_t *ids = capacity <= SIZE_MAX / sizeof(*ids)
                           ? realloc(list->ids, capacity * sizeof(*ids))
                           : NULL;
        if (!ids)
            return kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for %zu tokens", capacity);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return KN_OK;
}

static bool within_character(const char *text, size_t at, size_t n_bytes)
{
    return at < n_bytes && ((uint8_t)text[at] & 0xC0) == 0x80;
}

// The longest special token whose name the text begins with, in whole characters: names come from the file and may be no
// UTF-8. -1: none.
static int32_t special_at(const tokenizer *tok, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < tok->n_specials && !within_character(text, 0, n_bytes); ++i) {
        const gguf_string name = tok->tokens[tok->specials[i]];
        if (name.n_bytes <= n_bytes && memcmp(name.bytes, text, name.n_bytes) == 0 &&
            !within_character(text, name.n_bytes, n_bytes))
            return tok->specials[i];
    }
    return -1;
}

typedef struct encoding {
    const tokenizer *tok;
    bpe_work work;
    token_list *out;
} encoding;

static kn_status encode_word(void *user, const char *word, size_t n_bytes, kn_error *err)
{
    encoding *e = user;
    return bpe_encode(&e->tok->bpe, &e->work, word, n_bytes, e->out, err);
}

kn_status tokenizer_encode(const tokenizer *tok, const char *text, size_t n_bytes,
                           bool with_special, token_list *out, kn_error *err)
{
    encoding e = {.tok = tok, .out = out};
    size_t start = 0; // of the text that is not yet encoded
    kn_status st = KN_OK;
    for (size_t i = 0; with_special && i < n_bytes && st == KN_OK;) {
        const int32_t id = special_at(tok, text + i, n_bytes - i);
        if (id < 0) {
            ++i;
            continue;
        }
        st = splitter_walk(tok->split, text + start, i - start, encode_word, &e, err);
        if (st == KN_OK)
            st = token_list_add(out, id, err);
        start = i += tok->tokens[id].n_bytes;
    }
    if (st == KN_OK)
        st = splitter_walk(tok->split, text + start, n_bytes - start, encode_word, &e, err);
    bpe_work_dispose(&e.work);
    return st;
}

gguf_string tokenizer_bytes(const tokenizer *tok, int32_t id)
{
    return tok->tokens[id];
}

bool tokenizer_is_special(const tokenizer *tok, int32_t id)
{
    return tok->types[id] == TYPE_CONTROL;
}

int32_t tokenizer_find_special(const tokenizer *tok, const char *name)
{
    const size_t n_bytes = strlen(name);
    const int32_t id = special_at(tok, name, n_bytes);
    return id >= 0 && tok->tokens[id].n_bytes == n_bytes ? id : -1;
}

bool tokenizer_is_end(const tokenizer *tok, int32_t id)
{
    return id == tok->end[0] || id == tok->end[1];
}

size_t tokenizer_n_tokens(const tokenizer *tok)
{
    return tok->n_tokens;
}

int32_t tokenizer_bos(const tokenizer *tok)
{
    return tok->bos;
}

const char *tokenizer_chat_template(const tokenizer *tok)
{
    return tok->chat_template;
}
