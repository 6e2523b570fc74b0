#include "layer/parse.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

bool kni_parser_start(kni_parser *p, const char *what, const char *text)
{
    p->what = what;
    p->text = (kni_span){text, strnlen(text, KNI_TEXT_MAX + 1)};
    p->at = 0;
    p->last_end = 0;
    p->token = (kni_token){0};
    if (p->text.size > KNI_TEXT_MAX)
        return kni_wrong(p, KNI_TEXT_MAX, "the text is longer than %d bytes", KNI_TEXT_MAX);
    kni_parser_advance(p);
    return true;
}

void kni_parser_advance(kni_parser *p)
{
    p->last_end = p->at;
    p->token = kni_lex(p->text, &p->at);
}

bool kni_wrong(kni_parser *p, size_t at, const char *format, ...)
{
    if (p->status != KN_OK)
        return false;
    kni_buf text = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&text, format, args);
    va_end(args);
    const char *name = p->layer->name;
    p->status = text.failed ? kni_no_memory(p->err)
                            : kn_error_set(p->err, KN_ERR_FORMAT, "%s%s%s%s, column %zu: %s",
                                           *name ? "layer " : "", name, *name ? ": " : "", p->what,
                                           at + 1, kni_buf_text(&text));
    kni_buf_dispose(&text);
    return false;
}

bool kni_parser_no_memory(kni_parser *p)
{
    if (p->status == KN_OK)
        p->status = kni_no_memory(p->err);
    return false;
}

bool kni_expected(kni_parser *p, const char *what)
{
    if (p->token.kind == KNI_TOKEN_END)
        return kni_wrong(p, p->token.at, "the text ends, expected %s", what);
    const size_t size = p->token.text.size < 40 ? p->token.text.size : 40;
    return kni_wrong(p, p->token.at, "found '%.*s', expected %s", (int)size, p->token.text.data,
                     what);
}

bool kni_is_sign(const kni_parser *p, char sign)
{
    return p->token.kind == KNI_TOKEN_SIGN && p->token.sign == sign;
}

bool kni_is_name(const kni_parser *p, const char *name)
{
    return p->token.kind == KNI_TOKEN_NAME && kni_span_is(p->token.text, name);
}

bool kni_accept(kni_parser *p, char sign)
{
    if (!kni_is_sign(p, sign))
        return false;
    kni_parser_advance(p);
    return true;
}

bool kni_accept_name(kni_parser *p, const char *name)
{
    if (!kni_is_name(p, name))
        return false;
    kni_parser_advance(p);
    return true;
}

bool kni_take(kni_parser *p, char sign)
{
    const char what[] = {'\'', sign, '\'', '\0'};
    return kni_accept(p, sign) || kni_expected(p, what);
}

bool kni_take_name(kni_parser *p, const char *what, kni_span *out)
{
    if (p->token.kind != KNI_TOKEN_NAME)
        return kni_expected(p, what);
    *out = p->token.text;
    kni_parser_advance(p);
    return true;
}

bool kni_take_end(kni_parser *p)
{
    return p->token.kind == KNI_TOKEN_END || kni_expected(p, "the end of the text");
}

bool kni_take_literal(kni_parser *p, kn_param_kind kind, kn_value *out)
{
    if (kind == KN_PARAM_BOOL) {
        const bool yes = kni_is_name(p, "true");
        if (!yes && !kni_is_name(p, "false"))
            return kni_expected(p, "true or false");
        kni_parser_advance(p);
        *out = kn_bool(yes);
        return true;
    }
    const bool negative = kni_accept(p, '-');
    const kni_token number = p->token;
    if (number.kind != KNI_TOKEN_INTEGER &&
        (number.kind != KNI_TOKEN_FLOAT || kind == KN_PARAM_INT))
        return kni_expected(p, kind == KN_PARAM_INT ? "an integer" : "a number");
    if (kind == KN_PARAM_FLOAT) {
        if (!isfinite(number.number))
            return kni_wrong(p, number.at, "the number is out of range");
        *out = kn_float(negative ? -number.number : number.number);
    } else {
        const uint64_t most = (uint64_t)INT64_MAX + negative;
        if (!number.in_range || number.integer > most)
            return kni_wrong(p, number.at, "the integer is out of range");
        // INT64_MIN has no positive counterpart: negated as unsigned.
        *out = kn_int((int64_t)(negative ? 0 - number.integer : number.integer));
    }
    kni_parser_advance(p);
    return true;
}

int kni_find(const kn_layer *layer, kn_param_list list, kni_span name)
{
    for (uint32_t i = 0; i < layer->count[list]; ++i) {
        const uint32_t slot = layer->first[list] + i;
        if (layer->params[slot].alias && kni_span_is(name, layer->params[slot].alias))
            return (int)slot;
    }
    return -1;
}

int kni_find_any(const kn_layer *layer, kni_span name)
{
    for (int list = 0; list < KNI_LISTS; ++list) {
        const int slot = kni_find(layer, (kn_param_list)list, name);
        if (slot >= 0)
            return slot;
    }
    return -1;
}
