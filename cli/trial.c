// One layer: its program as JSON (docs/layers.md) says what to make and how to call.
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "trial_tensor.h"

enum {
    SLOTS_MAX = 4 * KN_LAYER_PARAMS_MAX,
    CALL_ARGS_MAX = 40,
    COMBINATIONS_MAX = 4096, // beyond, each choice once beside the first ones of the others
    BATCH_RANK = 2,          // dimensions of "..."
    MARK_FIRST = 0xFF,       // a NaN in every floating type
    MARK_SECOND = 0x00,
};

typedef struct slot {
    const json_t *param;
    const char *name;
    kn_value value;
    trial_tensor tensor; // without memory when the value is no tensor
    size_t n_choices;    // dtypes, and none for an optional tensor
    size_t choice;
} slot;

typedef struct symbol {
    const char *name;
    int64_t size;
} symbol;

typedef struct trial {
    const kn_package_layer *layer;
    const kn_function *forward, *backward; // backward: NULL without one
    json_t *program;
    slot slots[SLOTS_MAX]; // inputs, members, outputs, gradients in, gradients out
    size_t n_slots;
    size_t first[5], count[5]; // by kn_param_list
    symbol symbols[KN_LAYER_SYMBOLS_MAX];
    size_t n_symbols;
    cli_trial_counts *counts;
    char *progress; // what is being called
    size_t progress_size;
    kn_error *err;
} trial;

static slot *find_slot(trial *t, const char *name)
{
    for (size_t i = 0; i < t->n_slots; ++i)
        if (strcmp(t->slots[i].name, name) == 0)
            return &t->slots[i];
    return NULL;
}

static bool is_tensor(const slot *s)
{
    return strcmp(json_string_value(json_object_get(s->param, "kind")), "tensor") == 0;
}

static bool is_optional(const slot *s)
{
    return json_is_true(json_object_get(s->param, "optional"));
}

static void add_list(trial *t, kn_param_list list, const json_t *params)
{
    t->first[list] = t->n_slots;
    for (size_t i = 0; i < json_array_size(params) && t->n_slots < SLOTS_MAX; ++i) {
        slot *s = &t->slots[t->n_slots++];
        s->param = json_array_get(params, i);
        s->name = json_string_value(json_object_get(s->param, "name"));
        s->n_choices = 1;
        ++t->count[list];
    }
}

// "x: f16, weight: none", for messages and for who waits.
static void describe(trial *t, const char *function)
{
    int n = snprintf(t->progress, t->progress_size, "layer %s, %s(", t->layer->name, function);
    const char *comma = "";
    for (size_t i = 0; i < t->n_slots && n >= 0 && (size_t)n < t->progress_size; ++i) {
        const slot *s = &t->slots[i];
        const bool is_made = s->tensor.memory != NULL;
        if (!is_tensor(s) || (!is_made && !is_optional(s)) ||
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

static kn_status fail(trial *t, kn_status status, const char *what, const char *name)
{
    return kn_error_set(t->err, status, "%s: %s%s%s", t->progress, what, name ? " " : "",
                        name ? name : "");
}

static int64_t of_key(const json_t *form, const char *key)
{
    return json_integer_value(json_object_get(form, key));
}

static symbol *find_symbol(trial *t, const char *name)
{
    static const int64_t sizes[] = {2, 4, 8}; // multiples of each other: heads, groups, pairs
    for (size_t i = 0; i < t->n_symbols; ++i)
        if (strcmp(t->symbols[i].name, name) == 0)
            return &t->symbols[i];
    symbol *s = &t->symbols[t->n_symbols];
    *s = (symbol){name, sizes[t->n_symbols % KN_LEN(sizes)]};
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
static void size_symbols(trial *t)
{
    for (size_t i = 0; i < t->n_slots; ++i) {
        const json_t *dims = json_object_get(t->slots[i].param, "dims");
        for (size_t d = 0; d < json_array_size(dims); ++d) {
            const json_t *form = form_of(json_array_get(dims, d));
            const char *name = json_string_value(json_object_get(form, "symbol"));
            if (!name)
                continue;
            symbol *s = find_symbol(t, name);
            const int64_t mul = of_key(form, "mul"), add = of_key(form, "add");
            if (add < 0 && mul > 0 && s->size < (1 - add + mul - 1) / mul)
                s->size = (1 - add + mul - 1) / mul;
        }
    }
}

static const char *dtype_name(const slot *s)
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

static kn_status dtype_of(trial *t, const slot *s, const json_t *rule, DLDataType *out)
{
    const json_t *set = json_object_get(rule, "one_of"), *of = json_object_get(rule, "of");
    const json_t *promote = json_object_get(rule, "promote");
    const char *name = NULL;
    if (set) {
        name = json_string_value(json_array_get(set, s->choice));
    } else if (of) {
        name = dtype_name(find_slot(t, json_string_value(of)));
    } else {
        for (size_t i = 0; i < json_array_size(promote); ++i) {
            const slot *other = find_slot(t, json_string_value(json_array_get(promote, i)));
            if (other->tensor.memory)
                name = name ? widest(name, dtype_name(other)) : dtype_name(other);
            if (!name)
                break;
        }
    }
    if (name && kn_dtype_parse(name, out))
        return KN_OK;
    return fail(t, KN_ERR_UNSUPPORTED, "a trial cannot tell the data type of", s->name);
}

static kn_status type_of(trial *t, const slot *s, kn_tensor_type *out)
{
    const char *like = json_string_value(json_object_get(s->param, "like"));
    *out = (kn_tensor_type){.device = {kDLCPU, 0}};
    if (like) {
        *out = find_slot(t, like)->tensor.type;
        return KN_OK;
    }
    const json_t *dims = json_object_get(s->param, "dims");
    for (size_t i = 0; i < json_array_size(dims); ++i) {
        const json_t *dim = json_array_get(dims, i), *form = form_of(dim);
        const char *name = json_string_value(json_object_get(form, "symbol"));
        const int n = json_is_string(dim) ? BATCH_RANK : 1;
        if (out->ndim + n > KN_LAYER_RANK_MAX)
            return fail(t, KN_ERR_UNSUPPORTED, "a trial has too few dimensions for", s->name);
        for (int b = 0; b < n; ++b)
            out->shape[out->ndim++] =
                json_is_string(dim) ? 3 - b
                : name ? of_key(form, "mul") * find_symbol(t, name)->size + of_key(form, "add")
                       : of_key(form, "add");
    }
    return dtype_of(t, s, json_object_get(s->param, "dtype"), &out->dtype);
}

static void set_dense(kn_tensor_type *type)
{
    int64_t stride = 1;
    for (int32_t i = type->ndim; i-- > 0;) {
        type->strides[i] = stride;
        stride *= type->shape[i] > 1 ? type->shape[i] : 1;
    }
}

static kn_status make_tensor(trial *t, slot *s, const kn_tensor_type *type)
{
    kn_error why = KN_ERROR_INIT;
    if (trial_tensor_init(&s->tensor, type, s->name, &why) != KN_OK) {
        const kn_status st = fail(t, why.status, kn_error_text(&why), NULL);
        kn_error_dispose(&why);
        return st;
    }
    trial_tensor_fill(&s->tensor, (unsigned)(s - t->slots) + 1);
    s->value = kn_tensor(&s->tensor.dl);
    return KN_OK;
}

static kn_value scalar_of(const slot *s)
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

static kn_status make_slot(trial *t, slot *s)
{
    kn_tensor_type type;
    trial_tensor_dispose(&s->tensor);
    s->value = kn_none();
    if (!is_tensor(s)) {
        s->value = scalar_of(s);
        return KN_OK;
    }
    if (is_optional(s) && s->choice == s->n_choices - 1)
        return KN_OK;
    const kn_status st = type_of(t, s, &type);
    if (st != KN_OK)
        return st;
    set_dense(&type);
    return make_tensor(t, s, &type);
}

static void count_choices(slot *s)
{
    if (!is_tensor(s))
        return;
    const json_t *set = json_object_get(json_object_get(s->param, "dtype"), "one_of");
    s->n_choices = (set ? json_array_size(set) : 1) + is_optional(s);
}

static kn_status call_once(trial *t, const kn_function *function, const json_t *call)
{
    const json_t *args = json_object_get(call, "args");
    kn_value values[CALL_ARGS_MAX];
    int32_t n = 0;
    kn_error why = KN_ERROR_INIT;
    for (size_t i = 0; i < json_array_size(args) && n < CALL_ARGS_MAX; ++i) {
        const json_t *arg = json_array_get(args, i), *literal = json_object_get(arg, "value");
        const char *name = json_string_value(json_object_get(arg, "name"));
        values[n++] = name                       ? find_slot(t, name)->value
                      : json_is_integer(literal) ? kn_int(json_integer_value(literal))
                      : json_is_real(literal)    ? kn_float(json_real_value(literal))
                      : json_is_boolean(literal) ? kn_bool(json_is_true(literal))
                                                 : kn_none();
    }
    if (kn_function_call(function, values, n, NULL, &why) == KN_OK)
        return KN_OK;
    const kn_status st = fail(t, why.status, kn_error_text(&why), NULL);
    kn_error_dispose(&why);
    return st;
}

// Twice with different marks in the results: what a kernel leaves alone shows.
static kn_status call(trial *t, const kn_function *function, const json_t *expression,
                      kn_param_list results, size_t *count)
{
    slot *const begin = &t->slots[t->first[results]], *const end = begin + t->count[results];
    static const unsigned char marks[] = {MARK_FIRST, MARK_SECOND};
    for (size_t round = 0; round < KN_LEN(marks); ++round) {
        for (slot *s = begin; s < end; ++s) {
            if (!s->tensor.memory)
                continue;
            trial_tensor_keep(&s->tensor);
            trial_tensor_mark(&s->tensor, marks[round]);
        }
        const kn_status st = call_once(t, function, expression);
        if (st != KN_OK)
            return st;
        for (slot *s = t->slots; s < t->slots + t->n_slots; ++s) {
            if (!s->tensor.memory)
                continue;
            if (!trial_tensor_is_border_whole(&s->tensor))
                return fail(t, KN_ERR_CALL, "the kernel wrote outside of", s->name);
            if ((s < begin || s >= end) && !trial_tensor_is_unchanged(&s->tensor))
                return fail(t, KN_ERR_CALL, "the kernel changed its argument", s->name);
        }
    }
    for (slot *s = begin; s < end; ++s)
        if (s->tensor.memory &&
            trial_tensor_find_unwritten(&s->tensor, MARK_FIRST, MARK_SECOND) >= 0)
            return fail(t, KN_ERR_CALL, "the kernel did not write all of", s->name);
    ++*count;
    return KN_OK;
}

static void dispose_list(trial *t, kn_param_list list)
{
    for (size_t i = 0; i < t->count[list]; ++i) {
        slot *s = &t->slots[t->first[list] + i];
        trial_tensor_dispose(&s->tensor);
        s->value = kn_none();
    }
}

// Gradients of what is there; `none` is left out (NULL: nothing is).
static kn_status make_gradients(trial *t, kn_param_list list, const slot *none)
{
    dispose_list(t, list);
    for (size_t i = 0; i < t->count[list]; ++i) {
        slot *s = &t->slots[t->first[list] + i];
        kn_tensor_type type;
        if (s == none ||
            !find_slot(t, json_string_value(json_object_get(s->param, "of")))->tensor.memory)
            continue;
        kn_status st = type_of(t, s, &type);
        if (st != KN_OK)
            return st;
        set_dense(&type);
        st = make_tensor(t, s, &type);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

static kn_status run_backward_without(trial *t, const slot *none)
{
    const json_t *backward = json_object_get(t->program, "backward");
    kn_status st = make_gradients(t, KN_PARAM_GRAD_INPUT, none);
    if (st == KN_OK)
        st = make_gradients(t, KN_PARAM_GRAD_OUTPUT, none);
    describe(t, kn_layer_function(t->layer->layer, true));
    return st == KN_OK ? call(t, t->backward, json_object_get(backward, "call"),
                              KN_PARAM_GRAD_OUTPUT, &t->counts->backward)
                       : st;
}

// With every gradient, then with each that may be none left out.
static kn_status run_backward(trial *t)
{
    kn_status st = run_backward_without(t, NULL);
    for (size_t i = t->first[KN_PARAM_GRAD_INPUT]; st == KN_OK && i < t->n_slots; ++i)
        if (is_optional(&t->slots[i]) && t->slots[i].tensor.memory)
            st = run_backward_without(t, &t->slots[i]);
    dispose_list(t, KN_PARAM_GRAD_INPUT);
    dispose_list(t, KN_PARAM_GRAD_OUTPUT);
    return st;
}

static int32_t collect(const trial *t, kn_param_list list, kn_value *out)
{
    for (size_t i = 0; i < t->count[list]; ++i)
        out[i] = t->slots[t->first[list] + i].value;
    return (int32_t)t->count[list];
}

// Makes the results of the arguments that are there. *admitted: false when the signature refuses their data types together.
static kn_status make_outputs(trial *t, bool *admitted)
{
    kn_value inputs[KN_LAYER_PARAMS_MAX], members[KN_LAYER_PARAMS_MAX];
    kn_tensor_type types[KN_LAYER_PARAMS_MAX];
    kn_mismatch mismatch;
    kn_error why = KN_ERROR_INIT;
    const kn_call_args args = {
        .inputs = inputs,
        .members = members,
        .n_inputs = collect(t, KN_PARAM_INPUT, inputs),
        .n_members = collect(t, KN_PARAM_MEMBER, members),
    };
    const kn_mismatch_reason reason = kn_layer_infer(t->layer->layer, &args, types, &mismatch);
    *admitted = reason == KN_FITS;
    if (reason == KN_MISMATCH_DTYPE)
        return KN_OK;
    if (reason != KN_FITS) {
        kn_mismatch_describe(t->layer->layer, &args, &mismatch, &why);
        const kn_status st =
            kn_error_set(t->err, KN_ERR_UNSUPPORTED,
                         "%s: a trial finds no arguments that fit: %s; leave it out with --no-run",
                         t->progress, kn_error_text(&why));
        kn_error_dispose(&why);
        return st;
    }
    dispose_list(t, KN_PARAM_OUTPUT);
    for (size_t i = 0; i < t->count[KN_PARAM_OUTPUT]; ++i) {
        const kn_status st = make_tensor(t, &t->slots[t->first[KN_PARAM_OUTPUT] + i], &types[i]);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

// The choices as they stand.
static kn_status run_combination(trial *t)
{
    bool admitted = false;
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < t->first[KN_PARAM_OUTPUT]; ++i)
        st = make_slot(t, &t->slots[i]);
    describe(t, kn_layer_function(t->layer->layer, false));
    if (st == KN_OK)
        st = make_outputs(t, &admitted);
    if (st == KN_OK && admitted)
        st = call(t, t->forward, json_object_get(t->program, "call"), KN_PARAM_OUTPUT,
                  &t->counts->forward);
    for (size_t i = 0; i < t->count[KN_PARAM_OUTPUT]; ++i)
        if (t->slots[t->first[KN_PARAM_OUTPUT] + i].tensor.memory)
            trial_tensor_keep(&t->slots[t->first[KN_PARAM_OUTPUT] + i].tensor);
    if (st == KN_OK && admitted && t->backward)
        st = run_backward(t);
    return st;
}

// Goes on to the next combination, like the digits of a counter; false after the last.
static bool next_combination(trial *t)
{
    for (size_t i = 0; i < t->first[KN_PARAM_OUTPUT]; ++i) {
        if (++t->slots[i].choice < t->slots[i].n_choices)
            return true;
        t->slots[i].choice = 0;
    }
    return false;
}

static kn_status run_combinations(trial *t)
{
    size_t product = 1;
    kn_status st = KN_OK;
    for (size_t i = 0; i < t->first[KN_PARAM_OUTPUT]; ++i) {
        count_choices(&t->slots[i]);
        if (product <= COMBINATIONS_MAX)
            product *= t->slots[i].n_choices;
    }
    if (product <= COMBINATIONS_MAX) {
        do
            st = run_combination(t);
        while (st == KN_OK && next_combination(t));
        return st;
    }
    for (size_t i = 0; i < t->first[KN_PARAM_OUTPUT]; ++i) {
        slot *s = &t->slots[i];
        for (s->choice = 0; st == KN_OK && s->choice < s->n_choices; ++s->choice)
            st = run_combination(t);
        s->choice = 0;
    }
    return st;
}

static kn_status open_functions(trial *t, const kn_kernel *kernel)
{
    kn_status st =
        kn_kernel_function(kernel, kn_layer_function(t->layer->layer, false), &t->forward, t->err);
    if (st == KN_OK && t->layer->has_backward)
        st = kn_kernel_function(kernel, kn_layer_function(t->layer->layer, true), &t->backward,
                                t->err);
    return st;
}

kn_status cli_trial_layer(const kn_kernel *kernel, const kn_package_layer *layer,
                          cli_trial_counts *counts, char *progress, size_t progress_size,
                          kn_error *err)
{
    char *text = NULL;
    trial t = {.layer = layer,
               .counts = counts,
               .progress = progress,
               .progress_size = progress_size,
               .err = err};
    kn_status st = kn_layer_json(layer->layer, &text, err);
    if (st != KN_OK)
        return st;
    t.program = json_loads(text, 0, NULL);
    kn_string_free(text);
    if (!t.program)
        cli_no_memory();
    const json_t *backward = json_object_get(t.program, "backward");
    add_list(&t, KN_PARAM_INPUT, json_object_get(t.program, "inputs"));
    add_list(&t, KN_PARAM_MEMBER, json_object_get(t.program, "members"));
    add_list(&t, KN_PARAM_OUTPUT, json_object_get(t.program, "outputs"));
    add_list(&t, KN_PARAM_GRAD_INPUT, json_object_get(backward, "grad_inputs"));
    add_list(&t, KN_PARAM_GRAD_OUTPUT, json_object_get(backward, "grad_outputs"));
    size_symbols(&t);
    const size_t before = counts->forward;
    describe(&t, kn_layer_function(layer->layer, false));
    st = open_functions(&t, kernel);
    if (st == KN_OK)
        st = run_combinations(&t);
    if (st == KN_OK && counts->forward == before)
        st = kn_error_set(err, KN_ERR_LAYER,
                          "layer %s: its signature admits no combination of data types",
                          layer->name);
    for (size_t i = 0; i < t.n_slots; ++i)
        trial_tensor_dispose(&t.slots[i].tensor);
    json_decref(t.program);
    return st;
}
