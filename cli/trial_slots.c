#include "trial_slots.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

enum { BATCH_RANK = 2 }; // dimensions of "..."

trial_slot *trial_find_slot(trial *t, const char *name)
{
    for (size_t i = 0; i < t->n_slots; ++i)
        if (strcmp(t->slots[i].name, name) == 0)
            return &t->slots[i];
    return NULL;
}

bool trial_is_tensor(const trial_slot *s)
{
    return strcmp(json_string_value(json_object_get(s->param, "kind")), "tensor") == 0;
}

bool trial_is_optional(const trial_slot *s)
{
    return json_is_true(json_object_get(s->param, "optional"));
}

void trial_add_list(trial *t, kn_param_list list, const json_t *params)
{
    t->first[list] = t->n_slots;
    for (size_t i = 0; i < json_array_size(params) && t->n_slots < TRIAL_SLOTS_MAX; ++i) {
        trial_slot *s = &t->slots[t->n_slots++];
        s->param = json_array_get(params, i);
        s->name = json_string_value(json_object_get(s->param, "name"));
        s->n_choices = 1;
        ++t->count[list];
    }
}

// "x: f16, weight: none", for messages and for who waits.
void trial_describe(trial *t, const char *function)
{
    int n = snprintf(t->progress, t->progress_size, "layer %s, %s(", t->layer->name, function);
    const char *comma = "";
    for (size_t i = 0; i < t->n_slots && n >= 0 && (size_t)n < t->progress_size; ++i) {
        const trial_slot *s = &t->slots[i];
        const bool is_made = s->tensor.memory != NULL;
        if (!trial_is_tensor(s) || (!is_made && !trial_is_optional(s)) ||
            (i >= t->first[KN_PARAM_OUTPUT] &&
             i < t->first[KN_PARAM_OUTPUT] + t->count[KN_PARAM_OUTPUT]))
            continue;
        n += snprintf(t->progress + n, t->progress_size - (size_t)n, "%s%s: %s", comma, s->name,
                      is_made ? kn_dtype_name(s->tensor.type.dtype) : "none");
        comma = ", ";
    }
    if (n >= 0 && (size_t)n < t->progress_size)
        snprintf(t->progress + n, t->progress_size - (size_t)n, ")");
}

kn_status trial_fail(trial *t, kn_status status, const char *what, const char *name)
{
    return kn_error_set(t->err, status, "%s: %s%s%s", t->progress, what, name ? " " : "",
                        name ? name : "");
}

static int64_t of_key(const json_t *form, const char *key)
{
    return json_integer_value(json_object_get(form, key));
}

static trial_symbol *find_symbol(trial *t, const char *name)
{
    static const int64_t sizes[] = {2, 4, 8}; // multiples of each other: heads, groups, pairs
    for (size_t i = 0; i < t->n_symbols; ++i)
        if (strcmp(t->symbols[i].name, name) == 0)
            return &t->symbols[i];
    trial_symbol *s = &t->symbols[t->n_symbols];
    *s = (trial_symbol){name, sizes[t->n_symbols % KN_LEN(sizes)]};
    t->n_symbols += t->n_symbols + 1 < KN_LAYER_SYMBOLS_MAX; // the parser has counted them
    return s;
}

// The form that a dimension has in a trial: its first alternative.
static const json_t *form_of(const json_t *dim)
{
    const json_t *forms = json_object_get(dim, "one_of");
    return forms ? json_array_get(forms, 0) : dim;
}

// Symbols are large enough for each "d - 3".
void trial_size_symbols(trial *t)
{
    for (size_t i = 0; i < t->n_slots; ++i) {
        const json_t *dims = json_object_get(t->slots[i].param, "dims");
        for (size_t d = 0; d < json_array_size(dims); ++d) {
            const json_t *form = form_of(json_array_get(dims, d));
            const char *name = json_string_value(json_object_get(form, "symbol"));
            if (!name)
                continue;
            trial_symbol *s = find_symbol(t, name);
            const int64_t mul = of_key(form, "mul"), add = of_key(form, "add");
            if (add < 0 && mul > 0 && s->size < (1 - add + mul - 1) / mul)
                s->size = (1 - add + mul - 1) / mul;
        }
    }
}

static const char *dtype_name(const trial_slot *s)
{
    return kn_dtype_name(s->tensor.type.dtype);
}

static const char *widest(const char *a, const char *b)
{
    static const char *const floats[] = {"bf16", "f16", "f32", "f64"};
    size_t rank[2] = {KN_LEN(floats), KN_LEN(floats)};
    for (size_t i = 0; i < KN_LEN(floats); ++i) {
        if (strcmp(a, floats[i]) == 0)
            rank[0] = i;
        if (strcmp(b, floats[i]) == 0)
            rank[1] = i;
    }
    if (strcmp(a, b) == 0)
        return a;
    if (rank[0] == KN_LEN(floats) || rank[1] == KN_LEN(floats))
        return NULL;
    const size_t larger = rank[0] > rank[1] ? rank[0] : rank[1];
    return larger < 2 ? "f32" : floats[larger];
}

static kn_status dtype_of(trial *t, const trial_slot *s, const json_t *rule, DLDataType *out)
{
    const json_t *set = json_object_get(rule, "one_of"), *of = json_object_get(rule, "of");
    const json_t *promote = json_object_get(rule, "promote");
    const char *name = NULL;
    if (set) {
        name = json_string_value(json_array_get(set, s->choice));
    } else if (of) {
        name = dtype_name(trial_find_slot(t, json_string_value(of)));
    } else {
        for (size_t i = 0; i < json_array_size(promote); ++i) {
            const trial_slot *other =
                trial_find_slot(t, json_string_value(json_array_get(promote, i)));
            if (other->tensor.memory)
                name = name ? widest(name, dtype_name(other)) : dtype_name(other);
            if (!name)
                break;
        }
    }
    if (name && kn_dtype_parse(name, out))
        return KN_OK;
    return trial_fail(t, KN_ERR_UNSUPPORTED, "a trial cannot tell the data type of", s->name);
}

kn_status trial_type_of(trial *t, const trial_slot *s, kn_tensor_type *out)
{
    const char *like = json_string_value(json_object_get(s->param, "like"));
    *out = (kn_tensor_type){.device = {kDLCPU, 0}};
    if (like) {
        *out = trial_find_slot(t, like)->tensor.type;
        return KN_OK;
    }
    const json_t *dims = json_object_get(s->param, "dims");
    for (size_t i = 0; i < json_array_size(dims); ++i) {
        const json_t *dim = json_array_get(dims, i), *form = form_of(dim);
        const char *name = json_string_value(json_object_get(form, "symbol"));
        const int n = json_is_string(dim) ? BATCH_RANK : 1;
        if (out->ndim + n > KN_LAYER_RANK_MAX)
            return trial_fail(t, KN_ERR_UNSUPPORTED, "a trial has too few dimensions for", s->name);
        for (int b = 0; b < n; ++b)
            out->shape[out->ndim++] =
                json_is_string(dim) ? 3 - b
                : name ? of_key(form, "mul") * find_symbol(t, name)->size + of_key(form, "add")
                       : of_key(form, "add");
    }
    return dtype_of(t, s, json_object_get(s->param, "dtype"), &out->dtype);
}

void trial_set_dense(kn_tensor_type *type)
{
    int64_t stride = 1;
    for (int32_t i = type->ndim; i-- > 0;) {
        type->strides[i] = stride;
        stride *= type->shape[i] > 1 ? type->shape[i] : 1;
    }
}

kn_status trial_make_tensor(trial *t, trial_slot *s, const kn_tensor_type *type)
{
    kn_error why = KN_ERROR_INIT;
    if (trial_tensor_init(&s->tensor, type, s->name, &why) != KN_OK) {
        const kn_status st = trial_fail(t, why.status, kn_error_text(&why), NULL);
        kn_error_dispose(&why);
        return st;
    }
    trial_tensor_fill(&s->tensor, (unsigned)(s - t->slots) + 1);
    s->value = kn_tensor(&s->tensor.dl);
    return KN_OK;
}

static kn_value scalar_of(const trial_slot *s)
{
    const char *kind = json_string_value(json_object_get(s->param, "kind"));
    const json_t *given = json_object_get(s->param, "equals");
    if (!given)
        given = json_object_get(s->param, "default");
    if (strcmp(kind, "int") == 0)
        return kn_int(given ? json_integer_value(given) : 1);
    if (strcmp(kind, "bool") == 0)
        return kn_bool(json_is_true(given));
    return kn_float(given ? json_number_value(given) : 0.5); // an eps, a probability, a base
}

kn_status trial_make_slot(trial *t, trial_slot *s)
{
    kn_tensor_type type;
    trial_tensor_dispose(&s->tensor);
    s->value = kn_none();
    if (!trial_is_tensor(s)) {
        s->value = scalar_of(s);
        return KN_OK;
    }
    if (trial_is_optional(s) && s->choice == s->n_choices - 1)
        return KN_OK;
    const kn_status st = trial_type_of(t, s, &type);
    if (st != KN_OK)
        return st;
    trial_set_dense(&type);
    return trial_make_tensor(t, s, &type);
}

void trial_count_choices(trial_slot *s)
{
    if (!trial_is_tensor(s))
        return;
    const json_t *set = json_object_get(json_object_get(s->param, "dtype"), "one_of");
    s->n_choices = (set ? json_array_size(set) : 1) + trial_is_optional(s);
}
