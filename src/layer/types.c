// The types of tensors: dtypes, layout, dimensions.
#include <string.h>

#include "base/alloc.h"
#include "layer/parse.h"

static const char accepted_dtypes[] =
    "a dtype (f32, f16, bf16, f64, i32, bool, …), any, NAME.dtype or "
    "promote(NAME, …)";
static const char accepted_dims[] = "a dimension: a name, a number, 2*d, d+1 or ...";

// ---- references ---------------------------------------------------------------------------------------------------

// NAME or self.NAME, after its first word was taken: an earlier tensor. `required`: not one that may be none.
static bool resolve(kni_parser *p, const kni_param *self, kni_span first, size_t at, bool required,
                    uint8_t *slot)
{
    const kn_layer *layer = p->layer;
    kni_span name = first;
    int found;
    if (kni_span_is(first, "self")) {
        if (!kni_take(p, '.') || !kni_take_name(p, "the name of a member", &name))
            return false;
        found = kni_find(layer, KN_PARAM_MEMBER, name);
    } else {
        found = kni_find_any(layer, first);
    }
    if (found < 0 || &layer->params[found] == self)
        return kni_wrong(p, at, "found '%.*s', expected the name of a tensor before this one",
                         (int)name.size, name.data);
    const kni_param *param = &layer->params[found];
    if (param->list == KN_PARAM_OUTPUT || param->list == KN_PARAM_GRAD_OUTPUT)
        return kni_wrong(p, at, "'%.*s' is a result, expected the name of an input or member",
                         (int)name.size, name.data);
    if (!kni_param_is_tensor(param))
        return kni_wrong(p, at, "'%.*s' is no tensor, expected the name of one", (int)name.size,
                         name.data);
    // The gradient of an optional tensor is there with the tensor alone.
    const bool own = self->list == KN_PARAM_GRAD_OUTPUT && self->grad_slot == found;
    if (required && param->optional && !own)
        return kni_wrong(p, at,
                         "'%.*s' may be none, expected the name of a tensor that is always there",
                         (int)name.size, name.data);
    *slot = (uint8_t)found;
    return true;
}

bool kni_take_reference(kni_parser *p, const kni_param *self, bool required, uint8_t *slot)
{
    const size_t at = p->token.at;
    kni_span first;
    return kni_take_name(p, "the name of a tensor", &first) &&
           resolve(p, self, first, at, required, slot);
}

// ---- dtypes -------------------------------------------------------------------------------------------------------

static bool parse_promote(kni_parser *p, kni_param *param)
{
    bool anchored = false; // one is always there
    const size_t at = p->token.at;
    param->dtype_rule = KNI_DTYPE_PROMOTE;
    kni_parser_advance(p); // (
    do {
        if (param->n_refs == KNI_DTYPE_REFS_MAX)
            return kni_wrong(p, p->token.at, "promote() of more than %d tensors",
                             KNI_DTYPE_REFS_MAX);
        uint8_t *slot = &param->refs[param->n_refs];
        if (!kni_take_reference(p, param, false, slot))
            return false;
        anchored = anchored || !p->layer->params[*slot].optional;
        ++param->n_refs;
    } while (kni_accept(p, ','));
    if (!anchored)
        return kni_wrong(p, at,
                         "promote() of tensors that may all be none, expected one that is "
                         "always there");
    return kni_take(p, ')');
}

static bool add_dtype(kni_parser *p, kni_param *param, kni_span name, size_t at)
{
    char text[24] = "";
    DLDataType dtype;
    if (name.size < sizeof(text))
        memcpy(text, name.data, name.size);
    if (!kn_dtype_parse(text, &dtype))
        return kni_wrong(p, at, "found '%.*s', expected %s", (int)(name.size < 40 ? name.size : 40),
                         name.data, param->dtypes ? "a dtype" : accepted_dtypes);
    const uint32_t bit = 1u << kni_dtype_of(dtype);
    if (param->dtypes & bit)
        return kni_wrong(p, at, "%s stands here twice", text);
    param->dtypes |= bit;
    return true;
}

static bool parse_dtypes(kni_parser *p, kni_param *param)
{
    const size_t at = p->token.at;
    kni_span word;
    if (!kni_take_name(p, accepted_dtypes, &word))
        return false;
    if (kni_is_sign(p, '.')) {
        param->dtype_rule = KNI_DTYPE_OF;
        param->n_refs = 1;
        return resolve(p, param, word, at, true, &param->refs[0]) && kni_take(p, '.') &&
               (kni_accept_name(p, "dtype") || kni_expected(p, "'dtype'"));
    }
    if (kni_span_is(word, "promote") && kni_is_sign(p, '('))
        return parse_promote(p, param);
    param->dtype_rule = KNI_DTYPE_SET;
    if (kni_span_is(word, "any")) {
        param->dtypes = KNI_DTYPE_ANY;
    } else {
        size_t word_at = at;
        while (add_dtype(p, param, word, word_at)) {
            if (!kni_accept(p, '|'))
                break;
            word_at = p->token.at;
            if (!kni_take_name(p, "a dtype", &word))
                return false;
        }
    }
    if (p->status != KN_OK)
        return false;
    const bool is_result = param->list == KN_PARAM_OUTPUT || param->list == KN_PARAM_GRAD_OUTPUT;
    if (is_result && (param->dtypes & (param->dtypes - 1)))
        return kni_wrong(p, at,
                         "a result has one dtype, expected f32, NAME.dtype or promote(NAME, …)");
    return true;
}

// ---- dimensions ---------------------------------------------------------------------------------------------------

#define UNKNOWN_DIM                                                                                \
    "the dimension '%.*s' is not known here, expected one of a tensor before this that is always " \
    "there"

// What the dimensions of one tensor may use and what they bind.
typedef struct dims_scope {
    bool binds;     // false: all symbols must be known
    uint32_t known; // symbols
} dims_scope;

static bool take_symbol(kni_parser *p, const dims_scope *scope, uint8_t *symbol)
{
    kn_layer *layer = p->layer;
    const size_t at = p->token.at;
    kni_span name;
    if (!kni_take_name(p, "the name of a dimension", &name))
        return false;
    uint8_t i = 0;
    while (i < layer->n_symbols && !kni_span_is(name, layer->symbols[i]))
        ++i;
    if (!scope->binds && (i == layer->n_symbols || !(scope->known >> i & 1)))
        return kni_wrong(p, at, UNKNOWN_DIM, (int)name.size, name.data);
    *symbol = i;
    if (i < layer->n_symbols)
        return true;
    if (i == KN_LAYER_SYMBOLS_MAX)
        return kni_wrong(p, at, "more than %d names of dimensions", KN_LAYER_SYMBOLS_MAX);
    layer->symbols[i] = kni_strndup(name.data, name.size);
    if (!layer->symbols[i])
        return kni_parser_no_memory(p);
    ++layer->n_symbols;
    return true;
}

static bool take_extent(kni_parser *p, int32_t *value)
{
    if (p->token.kind != KNI_TOKEN_INTEGER)
        return kni_expected(p, "a number");
    if (!p->token.in_range || p->token.integer > KNI_EXTENT_MAX)
        return kni_wrong(p, p->token.at, "the number is larger than %d", KNI_EXTENT_MAX);
    *value = (int32_t)p->token.integer;
    kni_parser_advance(p);
    return true;
}

// 3, d, 2*d, d+1, 2*d-1
static bool parse_linear(kni_parser *p, const dims_scope *scope, kni_dim *dim)
{
    *dim = (kni_dim){.mul = 1};
    if (p->token.kind == KNI_TOKEN_INTEGER) {
        const size_t at = p->token.at;
        int32_t number = 0;
        if (!take_extent(p, &number))
            return false;
        if (!kni_accept(p, '*')) {
            *dim = (kni_dim){.add = number};
            return true;
        }
        if (number == 0)
            return kni_wrong(p, at, "a factor of 0, expected 1 or more");
        dim->mul = number;
        dim->shift = number & (number - 1) ? -1 : (int8_t)__builtin_ctz((unsigned)number);
    } else if (p->token.kind != KNI_TOKEN_NAME) {
        return kni_expected(p, accepted_dims);
    }
    if (!take_symbol(p, scope, &dim->symbol))
        return false;
    const bool minus = kni_is_sign(p, '-');
    if (minus || kni_is_sign(p, '+')) {
        kni_parser_advance(p);
        if (!take_extent(p, &dim->add))
            return false;
        if (minus)
            dim->add = -dim->add;
    }
    return true;
}

// The rest of "b|1": an extent is one of these. They bind nothing, so that a call cannot depend on their order.
static bool parse_alternatives(kni_parser *p, kni_dim *dim)
{
    kn_layer *layer = p->layer;
    const dims_scope known = {.binds = false, .known = p->bound};
    dim->more = (uint16_t)layer->n_more;
    while (kni_accept(p, '|')) {
        if (dim->n_more + 1 == KNI_ALTERNATIVES_MAX)
            return kni_wrong(p, p->token.at, "more than %d alternatives", KNI_ALTERNATIVES_MAX);
        if (!kni_grow((void **)&layer->more, &layer->more_capacity, layer->n_more + 1,
                      sizeof(*layer->more)))
            return kni_parser_no_memory(p);
        if (!parse_linear(p, &known, &layer->more[layer->n_more]))
            return false;
        ++layer->n_more;
        ++dim->n_more;
    }
    return true;
}

static bool parse_dim(kni_parser *p, kni_param *param, dims_scope *scope)
{
    const size_t at = p->token.at;
    if (p->token.kind == KNI_TOKEN_ELLIPSIS) {
        if (param->batch_at >= 0)
            return kni_wrong(p, at, "'...' stands here twice");
        if (!scope->binds && !p->batch_bound)
            return kni_wrong(p, at,
                             "'...' is not known here, expected it in a tensor before this that is "
                             "always there");
        param->batch_at = (int8_t)param->n_dims;
        kni_parser_advance(p);
        return true;
    }
    if (param->n_dims == KN_LAYER_RANK_MAX)
        return kni_wrong(p, at, "more than %d dimensions", KN_LAYER_RANK_MAX);
    kni_dim *dim = &param->dims[param->n_dims++];
    if (!parse_linear(p, scope, dim))
        return false;
    if (!kni_is_sign(p, '|')) {
        if (dim->mul)
            scope->known |= 1u << dim->symbol;
        return true;
    }
    if (!scope->binds)
        return kni_wrong(p, p->token.at, "a result has one extent, expected ',' or ']'");
    if (dim->mul && !(p->bound >> dim->symbol & 1))
        return kni_wrong(p, at, UNKNOWN_DIM, (int)strlen(p->layer->symbols[dim->symbol]),
                         p->layer->symbols[dim->symbol]);
    return parse_alternatives(p, dim);
}

static bool parse_dims(kni_parser *p, kni_param *param)
{
    dims_scope scope = {param->list != KN_PARAM_OUTPUT && param->list != KN_PARAM_GRAD_OUTPUT,
                        p->bound};
    if (!kni_accept(p, '['))
        return kni_expected(p, "dimensions in brackets, or rows, strided or dense before them");
    if (!kni_accept(p, ']')) {
        do {
            if (!parse_dim(p, param, &scope))
                return false;
        } while (kni_accept(p, ','));
        if (!kni_accept(p, ']'))
            return kni_expected(p, "',' or ']'");
    }
    param->rows = param->batch_at <= 0 && param->n_dims == 1 && !param->dims[0].n_more;
    if (!param->optional) {
        p->bound = scope.known;
        p->batch_bound = p->batch_bound || param->batch_at >= 0;
    }
    return true;
}

bool kni_parse_tensor(kni_parser *p, kni_param *param)
{
    param->kind = KN_PARAM_TENSOR;
    if (!parse_dtypes(p, param))
        return false;
    param->layout = KNI_DENSE;
    if (kni_accept_name(p, "rows"))
        param->layout = KNI_ROWS;
    else if (kni_accept_name(p, "strided"))
        param->layout = KNI_STRIDED;
    else
        kni_accept_name(p, "dense");
    return parse_dims(p, param);
}
