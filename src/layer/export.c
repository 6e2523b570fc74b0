// The program as JSON, for hosts that run it themselves. docs/layers.md has the schema.
#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "layer/program.h"

// All builders return NULL without memory, and jansson's setters refuse NULL: a failure anywhere arrives at the top.
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool add(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

// The object when all went well, else NULL.
static json_t *whole(json_t *value, bool ok)
{
    if (ok)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *of_value(const kn_value *v)
{
    switch (v->type) {
    case KN_VALUE_INT:
        return json_integer(v->as.integer);
    case KN_VALUE_BOOL:
        return json_boolean(v->as.integer != 0);
    case KN_VALUE_FLOAT:
        return json_real(v->as.number);
    default:
        return json_null();
    }
}

static json_t *of_name(const kn_layer *layer, uint32_t slot)
{
    return json_string(layer->params[slot].alias);
}

static json_t *of_slots(const kn_layer *layer, uint32_t n, const uint8_t *slots)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (uint32_t i = 0; ok && i < n; ++i)
        ok = add(array, of_name(layer, slots[i]));
    return whole(array, ok);
}

static json_t *of_dtype(const kn_layer *layer, const kni_param *p)
{
    json_t *object = json_object();
    bool ok = object != NULL;
    if (ok && p->dtype_rule == KNI_DTYPE_OF) {
        ok = put(object, "of", of_name(layer, p->refs[0]));
    } else if (ok && p->dtype_rule == KNI_DTYPE_PROMOTE) {
        ok = put(object, "promote", of_slots(layer, p->n_refs, p->refs));
    } else if (ok) {
        json_t *set = json_array();
        ok = set != NULL;
        for (uint32_t left = p->dtypes; ok && left; left &= left - 1)
            ok = add(set, json_string(kni_dtype_name((kni_dtype)__builtin_ctz(left))));
        ok = put(object, "one_of", whole(set, ok));
    }
    return whole(object, ok);
}

static json_t *of_form(const kn_layer *layer, const kni_dim *dim)
{
    json_t *object = json_object();
    bool ok = object != NULL;
    if (ok && dim->mul)
        ok = put(object, "symbol", json_string(layer->symbols[dim->symbol])) &&
             put(object, "mul", json_integer(dim->mul));
    return whole(object, ok && put(object, "add", json_integer(dim->add)));
}

static json_t *of_dim(const kn_layer *layer, const kni_dim *dim)
{
    if (!dim->n_more)
        return of_form(layer, dim);
    json_t *object = json_object(), *forms = json_array();
    bool ok = object && forms && add(forms, of_form(layer, dim));
    for (uint32_t i = 0; ok && i < dim->n_more; ++i)
        ok = add(forms, of_form(layer, &layer->more[dim->more + i]));
    ok = put(object, "one_of", whole(forms, ok));
    return whole(object, ok);
}

static json_t *of_dims(const kn_layer *layer, const kni_param *p)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (int32_t i = 0; ok && i <= p->n_dims; ++i) {
        if (p->batch_at == i)
            ok = add(array, json_string("..."));
        if (ok && i < p->n_dims)
            ok = add(array, of_dim(layer, &p->dims[i]));
    }
    return whole(array, ok);
}

static bool put_tensor(json_t *object, const kn_layer *layer, const kni_param *p)
{
    static const char *const layouts[] = {"dense", "rows", "strided", "like"};
    bool ok = put(object, "layout", json_string(layouts[p->layout]));
    if (p->like)
        ok = ok && put(object, "like", of_name(layer, p->like_slot));
    else
        ok = ok && put(object, "dtype", of_dtype(layer, p)) &&
             put(object, "dims", of_dims(layer, p));
    if (ok && p->may_alias) {
        json_t *array = json_array();
        ok = array != NULL;
        for (uint64_t left = p->may_alias; ok && left; left &= left - 1)
            ok = add(array, of_name(layer, (uint32_t)__builtin_ctzll(left)));
        ok = put(object, "may_alias", whole(array, ok));
    }
    return ok;
}

static json_t *of_param(const kn_layer *layer, const kni_param *p)
{
    static const char *const kinds[] = {"", "tensor", "int", "float", "bool"};
    json_t *object = json_object();
    bool ok = object && put(object, "name", json_string(p->alias)) &&
              put(object, "kind", json_string(kinds[p->kind]));
    if (ok && !kni_string_equal(p->name, p->alias))
        ok = put(object, "host_name", json_string(p->name));
    if (ok && p->optional)
        ok = put(object, "optional", json_true());
    if (ok && p->has_constant)
        ok = put(object, "equals", of_value(&p->constant));
    if (ok && p->has_default)
        ok = put(object, "default", of_value(&p->default_value));
    if (ok && (p->list == KN_PARAM_GRAD_INPUT || p->list == KN_PARAM_GRAD_OUTPUT))
        ok = put(object, "of", of_name(layer, p->grad_slot));
    if (ok && kni_param_is_tensor(p))
        ok = put_tensor(object, layer, p);
    return whole(object, ok);
}

static json_t *of_list(const kn_layer *layer, kn_param_list list)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (uint32_t i = 0; ok && i < layer->count[list]; ++i)
        ok = add(array, of_param(layer, &layer->params[layer->first[list] + i]));
    return whole(array, ok);
}

static json_t *of_call(const kn_layer *layer, const kni_call *call)
{
    if (!call->function)
        return json_null();
    json_t *object = json_object(), *args = json_array();
    bool ok = object && args && put(object, "function", json_string(call->function));
    for (int32_t i = 0; ok && i < call->n_args; ++i) {
        const kni_arg *arg = &call->args[i];
        json_t *item = json_object();
        ok = item && (arg->rule == KNI_ARG_LITERAL ? put(item, "value", of_value(&arg->literal))
                                                   : put(item, "name", of_name(layer, arg->slot)));
        ok = add(args, whole(item, ok));
    }
    ok = put(object, "args", whole(args, ok));
    return whole(object, ok);
}

static json_t *of_backward(const kn_layer *layer)
{
    if (!layer->has_backward)
        return json_null();
    json_t *object = json_object();
    return whole(object, object &&
                             put(object, "grad_inputs", of_list(layer, KN_PARAM_GRAD_INPUT)) &&
                             put(object, "grad_outputs", of_list(layer, KN_PARAM_GRAD_OUTPUT)) &&
                             put(object, "call", of_call(layer, &layer->backward)));
}

kn_status kn_layer_json(const kn_layer *layer, char **out, kn_error *err)
{
    json_t *root = json_object();
    const bool ok = root && put(root, "schema", json_integer(1)) &&
                    put(root, "name", json_string(layer->name)) &&
                    put(root, "inputs", of_list(layer, KN_PARAM_INPUT)) &&
                    put(root, "members", of_list(layer, KN_PARAM_MEMBER)) &&
                    put(root, "outputs", of_list(layer, KN_PARAM_OUTPUT)) &&
                    put(root, "call", of_call(layer, &layer->forward)) &&
                    put(root, "backward", of_backward(layer));
    *out = ok ? kni_json_text(root) : NULL;
    json_decref(root);
    return *out ? KN_OK : kni_no_memory(err);
}
