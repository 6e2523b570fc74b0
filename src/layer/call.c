// Call expressions: "rms_norm(y, x, self.weight, 1e-6)".
#include <string.h>

#include "base/alloc.h"
#include "layer/parse.h"

static const char accepted_args[] =
    "an argument: a name of the signature, self.MEMBER, a number, true, false or none";

static void set_slot(const kn_layer *layer, kni_arg *arg, int slot)
{
    const uint8_t kind = layer->params[slot].kind;
    arg->slot = (uint8_t)slot;
    arg->rule = kind == KN_PARAM_TENSOR  ? KNI_ARG_TENSOR
                : kind == KN_PARAM_FLOAT ? KNI_ARG_FLOAT
                                         : KNI_ARG_SCALAR;
}

static bool parse_literal(kni_parser *p, kni_arg *arg)
{
    arg->rule = KNI_ARG_LITERAL;
    if (kni_accept_name(p, "none")) {
        arg->literal = kn_none();
        return true;
    }
    if (p->token.kind == KNI_TOKEN_NAME)
        return kni_take_literal(p, KN_PARAM_BOOL, &arg->literal);
    size_t at = p->at;
    const kni_token number = kni_is_sign(p, '-') ? kni_lex(p->text, &at) : p->token;
    if (number.kind != KNI_TOKEN_INTEGER && number.kind != KNI_TOKEN_FLOAT)
        return kni_expected(p, accepted_args);
    return kni_take_literal(p, number.kind == KNI_TOKEN_FLOAT ? KN_PARAM_FLOAT : KN_PARAM_INT,
                            &arg->literal);
}

// self.weight, and d.weight in a backward call.
static bool parse_dotted(kni_parser *p, size_t at, bool is_grad, kni_arg *arg)
{
    kni_span name;
    if (!kni_take(p, '.') || !kni_take_name(p, "the name of a member", &name))
        return false;
    const kn_layer *layer = p->layer;
    const int member = kni_find(layer, KN_PARAM_MEMBER, name);
    int slot = is_grad ? -1 : member;
    for (uint32_t i = 0; is_grad && member >= 0 && i < layer->count[KN_PARAM_GRAD_OUTPUT]; ++i) {
        const uint32_t grad = layer->first[KN_PARAM_GRAD_OUTPUT] + i;
        if (layer->params[grad].grad_slot == member)
            slot = (int)grad;
    }
    if (slot < 0)
        return kni_wrong(p, at, "there is no %s '%.*s', expected one that %s",
                         is_grad ? "gradient" : "member", (int)name.size, name.data,
                         is_grad ? "the backward signature names" : "the members name");
    set_slot(layer, arg, slot);
    return true;
}

static bool parse_name(kni_parser *p, bool backward, kni_arg *arg)
{
    const kn_layer *layer = p->layer;
    const size_t at = p->token.at;
    const kni_span name = p->token.text;
    kni_parser_advance(p);
    if (kni_span_is(name, "self"))
        return parse_dotted(p, at, false, arg);
    if (backward && kni_span_is(name, "d") && kni_is_sign(p, '.'))
        return parse_dotted(p, at, true, arg);
    static const kn_param_list lists[] = {KN_PARAM_INPUT, KN_PARAM_OUTPUT, KN_PARAM_GRAD_INPUT,
                                          KN_PARAM_GRAD_OUTPUT};
    for (size_t i = 0; i < (backward ? 4 : 2); ++i) {
        const int slot = kni_find(layer, lists[i], name);
        if (slot >= 0) {
            set_slot(layer, arg, slot);
            return true;
        }
    }
    if (kni_find(layer, KN_PARAM_MEMBER, name) >= 0)
        return kni_wrong(p, at, "'%.*s' is a member, expected 'self.%.*s'", (int)name.size,
                         name.data, (int)name.size, name.data);
    return kni_wrong(p, at, "found '%.*s', expected %s", (int)name.size, name.data, accepted_args);
}

static bool is_literal_word(const kni_parser *p)
{
    return kni_is_name(p, "true") || kni_is_name(p, "false") || kni_is_name(p, "none");
}

static bool parse_args(kni_parser *p, bool backward, kni_call *call)
{
    if (kni_accept(p, ')'))
        return true;
    do {
        if (call->n_args == KNI_CALL_ARGS_MAX)
            return kni_wrong(p, p->token.at, "more than %d arguments", KNI_CALL_ARGS_MAX);
        kni_arg *arg = &call->args[call->n_args];
        const bool ok = p->token.kind == KNI_TOKEN_NAME && !is_literal_word(p)
                            ? parse_name(p, backward, arg)
                            : parse_literal(p, arg);
        if (!ok)
            return false;
        ++call->n_args;
    } while (kni_accept(p, ','));
    return kni_accept(p, ')') || kni_expected(p, "',' or ')'");
}

// A result that no argument names would never be written.
static bool has_all_results(kni_parser *p, bool backward, const kni_call *call)
{
    const kn_layer *layer = p->layer;
    const kn_param_list list = backward ? KN_PARAM_GRAD_OUTPUT : KN_PARAM_OUTPUT;
    for (uint32_t i = 0; i < layer->count[list]; ++i) {
        const uint32_t slot = layer->first[list] + i;
        bool found = false;
        for (int32_t a = 0; a < call->n_args; ++a)
            found = found || (call->args[a].rule == KNI_ARG_TENSOR && call->args[a].slot == slot);
        if (!found)
            return kni_wrong(p, p->last_end, "the result '%s' is not among the arguments",
                             layer->params[slot].alias);
    }
    return true;
}

bool kni_parse_call(kni_parser *p, bool backward)
{
    kni_call *call = backward ? &p->layer->backward : &p->layer->forward;
    kni_span function;
    if (!kni_take_name(p, "the name of a function", &function) || !kni_take(p, '('))
        return false;
    call->function = kni_strndup(function.data, function.size);
    if (!call->function)
        return kni_parser_no_memory(p);
    return parse_args(p, backward, call) && kni_take_end(p) && has_all_results(p, backward, call);
}
