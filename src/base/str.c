#include "base/str.h"

#include <string.h>

kni_span kni_span_of(const char *text)
{
    return (kni_span){text, text ? strlen(text) : 0};
}

bool kni_span_is(kni_span span, const char *text)
{
    const size_t size = strlen(text);
    return span.size == size && (size == 0 || memcmp(span.data, text, size) == 0);
}

bool kni_span_starts(kni_span span, const char *prefix)
{
    const size_t size = strlen(prefix);
    return span.size >= size && (size == 0 || memcmp(span.data, prefix, size) == 0);
}

bool kni_span_ends(kni_span span, const char *suffix)
{
    const size_t size = strlen(suffix);
    return span.size >= size &&
           (size == 0 || memcmp(span.data + span.size - size, suffix, size) == 0);
}

bool kni_span_cut(kni_span *rest, char separator, kni_span *part)
{
    if (!rest->data)
        return false;
    const char *end = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    if (!end) {
        *part = *rest;
        *rest = (kni_span){NULL, 0};
        return true;
    }
    *part = (kni_span){rest->data, (size_t)(end - rest->data)};
    *rest = (kni_span){end + 1, rest->size - part->size - 1};
    return true;
}

kni_span kni_span_trim(kni_span span)
{
    while (span.size && span.data[0] == ' ')
        span = (kni_span){span.data + 1, span.size - 1};
    while (span.size && span.data[span.size - 1] == ' ')
        --span.size;
    return span;
}

bool kni_span_to_int(kni_span span, int64_t max, int64_t *value)
{
    if (span.size == 0)
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < span.size; ++i) {
        const int digit = span.data[i] - '0';
        if (digit < 0 || digit > 9 || v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > max)
        return false;
    *value = v;
    return true;
}

// Decodes one code point; returns its length, 0 when the bytes are not UTF-8 (overlong, surrogate, beyond U+10FFFF, cut).
static size_t utf8_decode(const unsigned char *s, size_t size, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = s[0] < 0x80       ? 1
                     : s[0] >> 5 == 6  ? 2
                     : s[0] >> 4 == 14 ? 3
                     : s[0] >> 3 == 30 ? 4
                                       : 0;
    if (n == 0 || n > size)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; ++i) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *code = c;
    return n;
}

static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x061C || c == 0x180E ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
           (c >= 0xE0000 && c <= 0xE007F);
}

void kni_text_append_clean(kni_buf *out, const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t good = 0; // length of the pending run of clean bytes
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        const size_t n = utf8_decode(s + i, size - i, &code);
        if (n && !is_unsafe(code)) {
            good += n;
            i += n;
            continue;
        }
        kni_buf_append(out, text + i - good, good);
        kni_buf_puts(out, "\xEF\xBF\xBD");
        good = 0;
        i += n ? n : 1;
    }
    if (size)
        kni_buf_append(out, text + size - good, good);
}

// How many bytes in front are printable ASCII, counted in eights: almost every text is nothing else.
static size_t plain_prefix(const unsigned char *s, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (; size - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, s + i, sizeof(w));
        // A byte below 0x20 borrows, 0x7F grows, others have it already: the top bit.
        if ((w | (w + ones) | (w - 0x20 * ones)) & (0x80 * ones))
            break;
    }
    return i;
}

bool kni_text_is_clean(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = plain_prefix(s, size); i < size;) {
        if (s[i] >= 0x20 && s[i] < 0x7F) { // most text is ASCII
            ++i;
            continue;
        }
        uint32_t code = 0;
        const size_t n = utf8_decode(s + i, size - i, &code);
        if (n == 0 || is_unsafe(code))
            return false;
        i += n;
    }
    return true;
}

bool kni_string_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool kni_glob_match(const char *pattern, const char *text)
{
    const char *star = NULL, *retry = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            retry = text;
        } else if (*pattern == '?' || *pattern == *text) {
            ++pattern;
            ++text;
        } else if (star) { // let the last star take one more character
            pattern = star + 1;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        ++pattern;
    return *pattern == '\0';
}
