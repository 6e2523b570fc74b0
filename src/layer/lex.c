#include "layer/lex.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static char at(kni_span text, size_t i)
{
    return i < text.size ? text.data[i] : '\0';
}

static size_t skip_digits(kni_span text, size_t i)
{
    while (is_digit(at(text, i)))
        ++i;
    return i;
}

// strtod reads the process's locale; the "C" locale of newlocale is a constant of the C library and needs no memory.
static double parse_double(const char *digits)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const double value = c ? strtod_l(digits, NULL, c) : strtod(digits, NULL);
    if (c)
        freelocale(c);
    return value;
}

static void lex_number(kni_span text, kni_token *token)
{
    const size_t begin = token->at;
    size_t end = skip_digits(text, begin);
    token->kind = KNI_TOKEN_INTEGER;
    if (at(text, end) == '.' && is_digit(at(text, end + 1))) {
        token->kind = KNI_TOKEN_FLOAT;
        end = skip_digits(text, end + 1);
    }
    if (at(text, end) == 'e' || at(text, end) == 'E') {
        const size_t sign = at(text, end + 1) == '+' || at(text, end + 1) == '-';
        if (is_digit(at(text, end + 1 + sign))) {
            token->kind = KNI_TOKEN_FLOAT;
            end = skip_digits(text, end + 1 + sign);
        }
    }
    if (is_name(at(text, end))) { // "2d"
        token->kind = KNI_TOKEN_BAD;
        while (is_name(at(text, end)))
            ++end;
    }
    token->text.size = end - begin;

    char digits[64];
    token->number = INFINITY;
    if (token->text.size >= sizeof(digits) || token->kind == KNI_TOKEN_BAD)
        return;
    memcpy(digits, text.data + begin, token->text.size);
    digits[token->text.size] = '\0';
    token->number = parse_double(digits);
    for (size_t i = 0; token->kind == KNI_TOKEN_INTEGER && i < token->text.size; ++i) {
        if (__builtin_mul_overflow(token->integer, 10u, &token->integer) ||
            __builtin_add_overflow(token->integer, (unsigned)(digits[i] - '0'), &token->integer))
            return;
    }
    token->in_range = true;
}

kni_token kni_lex(kni_span text, size_t *offset)
{
    size_t i = *offset;
    while (at(text, i) == ' ' || at(text, i) == '\t' || at(text, i) == '\n' || at(text, i) == '\r')
        ++i;
    kni_token token = {.kind = KNI_TOKEN_END, .at = i, .text = {text.data + i, 0}};
    if (i >= text.size)
        return token;
    const char c = at(text, i), next = at(text, i + 1);
    token.text.size = 1;
    if (is_digit(c)) {
        lex_number(text, &token);
    } else if (is_name(c)) {
        token.kind = KNI_TOKEN_NAME;
        while (is_name(at(text, i + token.text.size)))
            ++token.text.size;
    } else if (c == '-' && next == '>') {
        token.kind = KNI_TOKEN_ARROW;
        token.text.size = 2;
    } else if (c == '=' && next == '=') {
        token.kind = KNI_TOKEN_EQUAL;
        token.text.size = 2;
    } else if (c == '.' && next == '.' && at(text, i + 2) == '.') {
        token.kind = KNI_TOKEN_ELLIPSIS;
        token.text.size = 3;
    } else if (c != '\0' && strchr("()[],:?=|*+-.", c)) {
        token.kind = KNI_TOKEN_SIGN;
        token.sign = c;
    } else {
        token.kind = KNI_TOKEN_BAD;
        // A whole character, so that the sentence about it is whole too.
        while ((at(text, i + token.text.size) & 0xC0) == 0x80)
            ++token.text.size;
    }
    *offset = i + token.text.size;
    return token;
}
