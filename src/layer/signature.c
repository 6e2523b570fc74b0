// Parameters, members, results and gradients: the lists of a signature.
#include <string.h>

#include "base/alloc.h"
#include "layer/parse.h"

static const char accepted_kinds[] =
    "a kind: dtypes with dimensions (f32|f16 [..., d]), int, float or bool";

// The words of a call expression that could not be told from a name.
static bool is_reserved(kni_span name)
{
    return kni_span_is(name, "self") || kni_span_is(name, "true") || kni_span_is(name, "false") ||
           kni_span_is(name, "none");
}

// ---- lists --------------------------------------------------------------------------------------------------------

static kni_param *add_param(kni_parser *p, kn_param_list list)
{
    kn_layer *layer = p->layer;
    const size_t bounded = list == KN_PARAM_MEMBER ? layer->count[KN_PARAM_MEMBER]
                                                   : (size_t)layer->count[KN_PARAM_INPUT] +
                                                         layer->count[KN_PARAM_OUTPUT];
    if (list <= KN_PARAM_MEMBER && bounded >= KN_LAYER_PARAMS_MAX) {
        kni_wrong(p, p->token.at, "more than %d %s", KN_LAYER_PARAMS_MAX,
                  list == KN_PARAM_MEMBER ? "members" : "parameters and results");
        return NULL;
    }
    if (!kni_grow((void **)&layer->params, &layer->params_capacity, layer->n_slots + 1,
                  sizeof(*layer->params))) {
        kni_parser_no_memory(p);
        return NULL;
    }
    if (layer->count[list] == 0)
        layer->first[list] = (uint8_t)layer->n_slots;
    ++layer->count[list];
    kni_param *param = &layer->params[layer->n_slots++];
    memset(param, 0, sizeof(*param));
    param->list = (uint8_t)list;
    param->batch_at = -1;
    return param;
}

// Gives a parameter its names; both must be new.
static bool set_names(kni_parser *p, kni_param *param, kni_span name, size_t at, kni_span alias,
                      size_t alias_at)
{
    const kn_layer *layer = p->layer;
    if (is_reserved(name) || is_reserved(alias))
        return kni_wrong(p, is_reserved(name) ? at : alias_at,
                         "'%.*s' is a word of the language, expected another name",
                         (int)(is_reserved(name) ? name : alias).size,
                         (is_reserved(name) ? name : alias).data);
    if (kni_find_any(layer, alias) >= 0)
        return kni_wrong(p, alias_at, "the name '%.*s' is taken, expected another one",
                         (int)alias.size, alias.data);
    for (uint32_t i = 0; i + 1 < layer->count[param->list]; ++i) {
        if (kni_span_is(name, layer->params[layer->first[param->list] + i].name))
            return kni_wrong(p, at, "the name '%.*s' is taken, expected another one",
                             (int)name.size, name.data);
    }
    param->name = kni_strndup(name.data, name.size);
    param->alias = kni_strndup(alias.data, alias.size);
    return (param->name && param->alias) || kni_parser_no_memory(p);
}

// Keeps the text from `begin` to the last token: what a person wrote, for messages.
static bool set_text(kni_parser *p, kni_param *param, size_t begin)
{
    const size_t end = p->last_end > begin ? p->last_end : begin;
    param->text = kni_strndup(p->text.data + begin, end - begin);
    return param->text || kni_parser_no_memory(p);
}

// ---- inputs and members -------------------------------------------------------------------------------------------

static bool value_equals(const kn_value *a, const kn_value *b)
{
    return a->type == KN_VALUE_FLOAT ? a->as.number == b->as.number
                                     : a->as.integer == b->as.integer;
}

static bool parse_scalar(kni_parser *p, kni_param *param, kn_param_kind kind)
{
    const size_t at = p->token.at;
    param->kind = (uint8_t)kind;
    if (param->optional)
        return kni_wrong(p, at,
                         "only a tensor may be none, expected a default ('= 1') instead of '?'");
    if (p->token.kind == KNI_TOKEN_EQUAL) {
        kni_parser_advance(p);
        param->has_constant = true;
        if (!kni_take_literal(p, kind, &param->constant))
            return false;
    }
    return true;
}

static bool parse_default(kni_parser *p, kni_param *param)
{
    if (!kni_is_sign(p, '='))
        return true;
    if (kni_param_is_tensor(param))
        return kni_wrong(p, p->token.at, "a tensor has no default, expected '?' after its name");
    kni_parser_advance(p);
    const size_t at = p->token.at;
    param->has_default = true;
    if (!kni_take_literal(p, param->kind, &param->default_value))
        return false;
    if (param->has_constant && !value_equals(&param->default_value, &param->constant))
        return kni_wrong(p, at, "the default is not the value that is accepted");
    return true;
}

// "bool" is a kind and a dtype: a dtype when more dtypes, a layout or dimensions follow.
static bool is_dtype(const kni_parser *p)
{
    size_t at = p->at;
    const kni_token next = kni_lex(p->text, &at);
    return (next.kind == KNI_TOKEN_SIGN && (next.sign == '|' || next.sign == '[')) ||
           (next.kind == KNI_TOKEN_NAME &&
            (kni_span_is(next.text, "rows") || kni_span_is(next.text, "strided") ||
             kni_span_is(next.text, "dense")));
}

static bool parse_param(kni_parser *p, kn_param_list list)
{
    kni_span name, alias;
    const size_t at = p->token.at;
    kni_param *param = add_param(p, list);
    if (!param || !kni_take_name(p, "the name of a parameter", &name))
        return false;
    size_t alias_at = at;
    alias = name;
    if (kni_accept_name(p, "as")) {
        alias_at = p->token.at;
        if (!kni_take_name(p, "an alias", &alias))
            return false;
    }
    if (!set_names(p, param, name, at, alias, alias_at))
        return false;
    param->optional = kni_accept(p, '?');
    if (!kni_accept(p, ':'))
        return kni_expected(p, param->optional ? "':'" : "':', '?' or 'as'");

    const size_t begin = p->token.at;
    bool ok;
    if (p->token.kind != KNI_TOKEN_NAME)
        ok = kni_expected(p, accepted_kinds);
    else if (kni_accept_name(p, "int"))
        ok = parse_scalar(p, param, KN_PARAM_INT);
    else if (kni_accept_name(p, "float"))
        ok = parse_scalar(p, param, KN_PARAM_FLOAT);
    else if (kni_is_name(p, "bool") && !is_dtype(p))
        ok = kni_accept_name(p, "bool") && parse_scalar(p, param, KN_PARAM_BOOL);
    else
        ok = kni_parse_tensor(p, param);
    return ok && set_text(p, param, begin) && parse_default(p, param);
}

bool kni_parse_inputs(kni_parser *p)
{
    if (!kni_take(p, '('))
        return false;
    if (kni_accept(p, ')'))
        return true;
    do {
        if (!parse_param(p, KN_PARAM_INPUT))
            return false;
    } while (kni_accept(p, ','));
    return kni_accept(p, ')') || kni_expected(p, "',' or ')'");
}

bool kni_parse_members(kni_parser *p)
{
    if (p->token.kind == KNI_TOKEN_END)
        return true;
    do {
        if (!parse_param(p, KN_PARAM_MEMBER))
            return false;
    } while (kni_accept(p, ','));
    return p->token.kind == KNI_TOKEN_END || kni_expected(p, "',' or the end of the text");
}

// ---- results ------------------------------------------------------------------------------------------------------

static bool parse_may_alias(kni_parser *p, kni_param *param)
{
    if (!kni_accept_name(p, "may"))
        return true;
    if (!kni_accept_name(p, "alias"))
        return kni_expected(p, "'alias'");
    do {
        const size_t at = p->token.at;
        uint8_t slot;
        if (!kni_take_reference(p, param, false, &slot))
            return false;
        if (p->layer->params[slot].list == KN_PARAM_MEMBER)
            return kni_wrong(p, at, "a member is never written, expected the name of an input");
        param->may_alias |= UINT64_C(1) << slot;
    } while (kni_accept(p, '|'));
    return true;
}

static bool parse_result_type(kni_parser *p, kni_param *param)
{
    const size_t begin = p->token.at;
    if (kni_accept_name(p, "like")) {
        param->kind = KN_PARAM_TENSOR;
        param->layout = KNI_LIKE;
        param->like = true;
        if (!kni_take_reference(p, param, true, &param->like_slot))
            return false;
    } else if (!kni_parse_tensor(p, param)) {
        return false;
    }
    return parse_may_alias(p, param) && set_text(p, param, begin);
}

static bool parse_result(kni_parser *p)
{
    const size_t at = p->token.at;
    kni_span name;
    kni_param *param = add_param(p, KN_PARAM_OUTPUT);
    return param && kni_take_name(p, "the name of a result", &name) &&
           set_names(p, param, name, at, name, at) && kni_take(p, ':') &&
           parse_result_type(p, param);
}

// "-> (…)": a list of at least one.
static bool parse_result_list(kni_parser *p, bool (*parse_one)(kni_parser *p))
{
    if (p->token.kind != KNI_TOKEN_ARROW)
        return kni_expected(p, "'->'");
    kni_parser_advance(p);
    if (!kni_take(p, '('))
        return false;
    do {
        if (!parse_one(p))
            return false;
    } while (kni_accept(p, ','));
    return (kni_accept(p, ')') || kni_expected(p, "',' or ')'")) && kni_take_end(p);
}

bool kni_parse_results(kni_parser *p)
{
    return parse_result_list(p, parse_result);
}

// ---- gradients ----------------------------------------------------------------------------------------------------

// The rules of a gradient that says none: "like x" for that of x; the type of y, contiguous, for that of a result y.
static bool set_default_type(kni_parser *p, kni_param *param)
{
    static const char like[] = "like ";
    const kni_param *base = &p->layer->params[param->grad_slot];
    const size_t size = strlen(base->alias) + 1;
    param->text = kni_alloc(sizeof(like) - 1 + size);
    if (!param->text)
        return kni_parser_no_memory(p);
    memcpy(param->text, like, sizeof(like) - 1);
    memcpy(param->text + sizeof(like) - 1, base->alias, size);
    param->kind = KN_PARAM_TENSOR;
    if (param->list == KN_PARAM_GRAD_OUTPUT) {
        param->like = true;
        param->like_slot = param->grad_slot;
        param->layout = KNI_LIKE;
        return true;
    }
    param->layout = KNI_DENSE;
    param->like = base->like;
    param->like_slot = base->like_slot;
    param->dtype_rule = base->dtype_rule;
    param->dtypes = base->dtypes;
    param->n_refs = base->n_refs;
    memcpy(param->refs, base->refs, sizeof(param->refs));
    param->n_dims = base->n_dims;
    param->batch_at = base->batch_at;
    param->rows = base->rows;
    memcpy(param->dims, base->dims, sizeof(param->dims));
    return true;
}

// "dx" or "d.weight": finds x or weight and gives the gradient its name.
static bool take_gradient(kni_parser *p, kni_param *param, const char *what)
{
    const kn_layer *layer = p->layer;
    const size_t at = p->token.at;
    kni_span word, base;
    int found = -1;
    if (!kni_take_name(p, what, &word))
        return false;
    if (param->list == KN_PARAM_GRAD_OUTPUT && kni_span_is(word, "d") && kni_accept(p, '.')) {
        if (!kni_take_name(p, "the name of a member", &base))
            return false;
        found = kni_find(layer, KN_PARAM_MEMBER, base);
        word.size = (size_t)(base.data + base.size - word.data);
    } else if (word.size > 1 && word.data[0] == 'd') {
        base = (kni_span){word.data + 1, word.size - 1};
        found = kni_find(
            layer, param->list == KN_PARAM_GRAD_INPUT ? KN_PARAM_OUTPUT : KN_PARAM_INPUT, base);
    }
    if (found < 0)
        return kni_wrong(p, at, "found '%.*s', expected %s", (int)word.size, word.data, what);
    if (!kni_param_is_tensor(&layer->params[found]))
        return kni_wrong(p, at, "'%s' is no tensor, and has no gradient",
                         layer->params[found].alias);
    param->grad_slot = (uint8_t)found;
    // A space within "d . weight" is not part of the name.
    const kni_span member = layer->params[found].list == KN_PARAM_MEMBER
                                ? kni_span_of(layer->params[found].alias)
                                : (kni_span){NULL, 0};
    if (!member.data)
        return set_names(p, param, word, at, word, at);
    char name[KNI_TEXT_MAX + 3] = "d.";
    memcpy(name + 2, member.data, member.size);
    const kni_span whole = {name, member.size + 2};
    return set_names(p, param, whole, at, whole, at);
}

static bool parse_gradient_in(kni_parser *p)
{
    kni_param *param = add_param(p, KN_PARAM_GRAD_INPUT);
    if (!param || !take_gradient(p, param, "the gradient of a result (dy for y)"))
        return false;
    param->optional = kni_accept(p, '?');
    if (!kni_accept(p, ':'))
        return set_default_type(p, param);
    const size_t begin = p->token.at;
    return kni_parse_tensor(p, param) && set_text(p, param, begin);
}

static bool parse_gradient_out(kni_parser *p)
{
    kni_param *param = add_param(p, KN_PARAM_GRAD_OUTPUT);
    if (!param ||
        !take_gradient(p, param,
                       "the gradient of an input or member (dx for x, d.weight for weight)"))
        return false;
    const kni_param *base = &p->layer->params[param->grad_slot];
    param->optional = kni_accept(p, '?') || base->optional;
    if (kni_accept(p, ':'))
        return parse_result_type(p, param);
    return set_default_type(p, param) && parse_may_alias(p, param);
}

bool kni_parse_gradients(kni_parser *p)
{
    if (!kni_take(p, '('))
        return false;
    do {
        if (!parse_gradient_in(p))
            return false;
    } while (kni_accept(p, ','));
    if (!kni_accept(p, ')'))
        return kni_expected(p, "',' or ')'");
    return parse_result_list(p, parse_gradient_out);
}
