#include "hub/version.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/version_parts.h"

// Where the parts stand in a text; numbers with their leading zeros. A part that is not there has data NULL.
typedef struct places {
    kni_span epoch;
    kni_span release;
    int pre;
    kni_span pre_number; // data, but empty: none is written, which means 0; so the next two
    kni_span post;
    kni_span dev;
    kni_span local;
} places;

size_t kni_blank_at(const char *text, size_t size)
{
    static const char *const wide[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
        "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
        "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
    };
    if (size == 0)
        return 0;
    const unsigned char c = (unsigned char)*text;
    if (c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F))
        return 1;
    for (size_t i = 0; c >= 0x80 && i < KN_LEN(wide); ++i)
        if (kni_span_starts((kni_span){text, size}, wide[i]))
            return strlen(wide[i]);
    return 0;
}

kni_span kni_blank_trim(kni_span span)
{
    size_t n;
    while ((n = kni_blank_at(span.data, span.size)) > 0)
        span = (kni_span){span.data + n, span.size - n};
    for (size_t back = 1; back <= 3 && back <= span.size; ++back) {
        if (kni_blank_at(span.data + span.size - back, back) == back) {
            span.size -= back;
            back = 0; // from the new end
        }
    }
    return span;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_separator(char c)
{
    return c == '.' || c == '-' || c == '_';
}

// Cuts n bytes off the front.
static kni_span take(kni_span *rest, size_t n)
{
    const kni_span part = {rest->data, n};
    *rest = (kni_span){rest->data + n, rest->size - n};
    return part;
}

static kni_span take_digits(kni_span *rest)
{
    size_t n = 0;
    while (n < rest->size && is_digit(rest->data[n]))
        ++n;
    return take(rest, n);
}

static bool take_word(kni_span *rest, const char *word) // in any case
{
    const size_t size = strlen(word);
    if (rest->size < size)
        return false;
    for (size_t i = 0; i < size; ++i)
        if (lower(rest->data[i]) != word[i])
            return false;
    take(rest, size);
    return true;
}

static void take_separator(kni_span *rest)
{
    if (rest->size && is_separator(rest->data[0]))
        take(rest, 1);
}

// [._-]? word [._-]? digits?, for the first of the words that is there; its index, or n and nothing is taken. Trying each part once
// is enough: what the grammar would find by going back, it finds without.
static size_t take_part(kni_span *rest, const char *const *words, size_t n, kni_span *number)
{
    kni_span at = *rest;
    take_separator(&at);
    for (size_t i = 0; i < n; ++i) {
        if (!take_word(&at, words[i]))
            continue;
        take_separator(&at);
        *number = take_digits(&at);
        *rest = at;
        return i;
    }
    return n;
}

static bool take_release(kni_span *rest, kni_span *release)
{
    const char *start = rest->data;
    kni_span at = *rest;
    if (take_digits(&at).size == 0)
        return false;
    *rest = at;
    while (at.size && at.data[0] == '.') {
        take(&at, 1);
        if (take_digits(&at).size == 0)
            break;
        *rest = at;
    }
    *release = (kni_span){start, (size_t)(rest->data - start)};
    return true;
}

static void take_pre(kni_span *rest, places *out)
{
    static const char *const words[] = {"alpha", "a", "beta", "b", "preview", "pre", "c", "rc"};
    static const int kinds[] = {KNI_PRE_ALPHA, KNI_PRE_ALPHA, KNI_PRE_BETA, KNI_PRE_BETA,
                                KNI_PRE_RC,    KNI_PRE_RC,    KNI_PRE_RC,   KNI_PRE_RC};
    const size_t i = take_part(rest, words, KN_LEN(words), &out->pre_number);
    out->pre = i < KN_LEN(words) ? kinds[i] : KNI_PRE_NONE;
}

static void take_post(kni_span *rest, places *out)
{
    static const char *const words[] = {"post", "rev", "r"};
    if (rest->size > 1 && rest->data[0] == '-' && is_digit(rest->data[1])) { // "1.0-1"
        take(rest, 1);
        out->post = take_digits(rest);
        return;
    }
    take_part(rest, words, KN_LEN(words), &out->post);
}

static bool is_alnum(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

// [a-z0-9]+ with single separators between, to the end.
static bool is_local(kni_span span)
{
    for (size_t i = 0; i < span.size; ++i)
        if (!is_alnum(span.data[i]) &&
            !(is_separator(span.data[i]) && i > 0 && is_alnum(span.data[i - 1])))
            return false;
    return span.size > 0 && is_alnum(span.data[span.size - 1]);
}

static bool find(kni_span text, places *out)
{
    static const char *const dev[] = {"dev"};
    kni_span rest = kni_blank_trim(text);

    *out = (places){.pre = KNI_PRE_NONE};
    take_word(&rest, "v");
    kni_span at = rest;
    const kni_span epoch = take_digits(&at);
    if (epoch.size && at.size && at.data[0] == '!') {
        out->epoch = epoch;
        take(&at, 1);
        rest = at;
    }
    if (!take_release(&rest, &out->release))
        return false;
    take_pre(&rest, out);
    take_post(&rest, out);
    take_part(&rest, dev, 1, &out->dev);
    if (rest.size && rest.data[0] == '+') {
        take(&rest, 1);
        if (!is_local(rest))
            return false;
        out->local = rest;
        return true;
    }
    return rest.size == 0;
}

static char *put(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

// Writes a number without its leading zeros, "" as "0".
static char *put_number(char *to, kni_span digits, kni_span *out)
{
    while (digits.size > 1 && digits.data[0] == '0')
        take(&digits, 1);
    if (digits.size == 0)
        digits = kni_span_of("0");
    memcpy(to, digits.data, digits.size);
    *out = (kni_span){to, digits.size};
    return to + digits.size;
}

static char *put_local(char *to, kni_span local, kni_span *out)
{
    char *start = to;
    while (local.size) {
        size_t n = 0, n_digits = 0;
        for (; n < local.size && !is_separator(local.data[n]); ++n)
            n_digits += is_digit(local.data[n]);
        const kni_span part = take(&local, n);
        if (to != start)
            *to++ = '.';
        if (n_digits == n) {
            kni_span number;
            to = put_number(to, part, &number);
        } else {
            for (size_t i = 0; i < n; ++i)
                *to++ = lower(part.data[i]);
        }
        if (local.size)
            take(&local, 1);
    }
    *out = (kni_span){start, (size_t)(to - start)};
    return to;
}

// The normalised text; every part is noted where it stands in it.
static void write_text(kni_version *out, const places *at, kni_span *release, char *text)
{
    static const char *const kinds[] = {"a", "b", "rc"};
    kni_span rest = at->release, number;

    out->text = text;
    char *behind = put_number(text, at->epoch, &number);
    if (kni_span_is(number, "0")) { // is not written
        out->epoch = kni_span_of("0");
    } else {
        out->epoch = number;
        text = put(behind, "!");
    }
    while (kni_span_cut(&rest, '.', &number)) {
        if (out->n_release)
            *text++ = '.';
        text = put_number(text, number, &release[out->n_release++]);
    }
    out->release = release;
    out->pre = at->pre;
    if (at->pre != KNI_PRE_NONE)
        text = put_number(put(text, kinds[at->pre]), at->pre_number, &out->pre_number);
    out->has_post = at->post.data != NULL;
    if (out->has_post)
        text = put_number(put(text, ".post"), at->post, &out->post);
    out->has_dev = at->dev.data != NULL;
    if (out->has_dev)
        text = put_number(put(text, ".dev"), at->dev, &out->dev);
    if (at->local.size)
        text = put_local(put(text, "+"), at->local, &out->local);
    *text = '\0';
}

kn_status kni_version_parse_span(kni_span text, kni_version **out, kn_error *err)
{
    // More than is written: "1rc-rdev" is "1rc0.post0.dev0".
    const size_t more = sizeof("0!rc0.post0.dev0");
    places at;
    size_t n = 1;

    *out = NULL;
    if (!find(text, &at))
        return KN_OK;
    for (size_t i = 0; i < at.release.size; ++i)
        n += at.release.data[i] == '.';
    kni_version *version =
        kni_calloc(1, sizeof(*version) + n * sizeof(kni_span) + text.size + more);
    if (!version)
        return kni_no_memory(err);
    kni_span *release = (kni_span *)(version + 1);
    write_text(version, &at, release, (char *)(release + n));
    *out = version;
    return KN_OK;
}

kn_status kni_version_parse(const char *text, kni_version **out, kn_error *err)
{
    return kni_version_parse_span(kni_span_of(text ? text : ""), out, err);
}

void kni_version_free(kni_version *version)
{
    kni_free(version);
}

const char *kni_version_text(const kni_version *version)
{
    return version->text;
}
