// One layer: its program as JSON (docs/layers.md) says what to make and how to call.
#include "trial.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "trial_slots.h"

enum {
    CALL_ARGS_MAX = 40,
    COMBINATIONS_MAX = 4096, // beyond, each choice once beside the first ones of the others
    MARK_FIRST = 0xFF,       // a NaN in every floating type
    MARK_SECOND = 0x00,
};

static kn_status call_once(trial *t, const kn_function *function, const json_t *call)
{
    const json_t *args = json_object_get(call, "args");
    kn_value values[CALL_ARGS_MAX];
    int32_t n = 0;
    kn_error why = KN_ERROR_INIT;
    for (size_t i = 0; i < json_array_size(args) && n < CALL_ARGS_MAX; ++i) {
        const json_t *arg = json_array_get(args, i), *literal = json_object_get(arg, "value");
        const char *name = json_string_value(json_object_get(arg, "name"));
        values[n++] = name                       ? trial_find_slot(t, name)->value
                      : json_is_integer(literal) ? kn_int(json_integer_value(literal))
                      : json_is_real(literal)    ? kn_float(json_real_value(literal))
                      : json_is_boolean(literal) ? kn_bool(json_is_true(literal))
                                                 : kn_none();
    }
    if (kn_function_call(function, values, n, NULL, &why) == KN_OK)
        return KN_OK;
    const kn_status st = trial_fail(t, why.status, kn_error_text(&why), NULL);
    kn_error_dispose(&why);
    return st;
}

// Twice with different marks in the results: what a kernel leaves alone shows.
static kn_status call(trial *t, const kn_function *function, const json_t *expression,
                      kn_param_list results, size_t *count)
{
    trial_slot *const begin = &t->slots[t->first[results]], *const end = begin + t->count[results];
    static const unsigned char marks[] = {MARK_FIRST, MARK_SECOND};
    for (size_t round = 0; round < KN_LEN(marks); ++round) {
        for (trial_slot *s = begin; s < end; ++s) {
            if (!s->tensor.memory)
                continue;
            trial_tensor_keep(&s->tensor);
            trial_tensor_mark(&s->tensor, marks[round]);
        }
        const kn_status st = call_once(t, function, expression);
        if (st != KN_OK)
            return st;
        for (trial_slot *s = t->slots; s < t->slots + t->n_slots; ++s) {
            if (!s->tensor.memory)
                continue;
            if (!trial_tensor_is_border_whole(&s->tensor))
                return trial_fail(t, KN_ERR_CALL, "the kernel wrote outside of", s->name);
            if ((s < begin || s >= end) && !trial_tensor_is_unchanged(&s->tensor))
                return trial_fail(t, KN_ERR_CALL, "the kernel changed its argument", s->name);
        }
    }
    for (trial_slot *s = begin; s < end; ++s)
        if (s->tensor.memory &&
            trial_tensor_find_unwritten(&s->tensor, MARK_FIRST, MARK_SECOND) >= 0)
            return trial_fail(t, KN_ERR_CALL, "the kernel did not write all of", s->name);
    ++*count;
    return KN_OK;
}

static void dispose_list(trial *t, kn_param_list list)
{
    for (size_t i = 0; i < t->count[list]; ++i) {
        trial_slot *s = &t->slots[t->first[list] + i];
        trial_tensor_dispose(&s->tensor);
        s->value = kn_none();
    }
}

// Gradients of what is there; `none` is left out (NULL: nothing is).
static kn_status make_gradients(trial *t, kn_param_list list, const trial_slot *none)
{
    dispose_list(t, list);
    for (size_t i = 0; i < t->count[list]; ++i) {
        trial_slot *s = &t->slots[t->first[list] + i];
        kn_tensor_type type;
        if (s == none ||
            !trial_find_slot(t, json_string_value(json_object_get(s->param, "of")))->tensor.memory)
            continue;
        kn_status st = trial_type_of(t, s, &type);
        if (st != KN_OK)
            return st;
        trial_set_dense(&type);
        st = trial_make_tensor(t, s, &type);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

static kn_status run_backward_without(trial *t, const trial_slot *none)
{
    const json_t *backward = json_object_get(t->program, "backward");
    kn_status st = make_gradients(t, KN_PARAM_GRAD_INPUT, none);
    if (st == KN_OK)
        st = make_gradients(t, KN_PARAM_GRAD_OUTPUT, none);
    trial_describe(t, kn_layer_function(t->layer->layer, true));
    return st == KN_OK ? call(t, t->backward, json_object_get(backward, "call"),
                              KN_PARAM_GRAD_OUTPUT, &t->counts->backward)
                       : st;
}

// With every gradient, then with each that may be none left out.
static kn_status run_backward(trial *t)
{
    kn_status st = run_backward_without(t, NULL);
    for (size_t i = t->first[KN_PARAM_GRAD_INPUT]; st == KN_OK && i < t->n_slots; ++i)
        if (trial_is_optional(&t->slots[i]) && t->slots[i].tensor.memory)
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
        const kn_status st =
            trial_make_tensor(t, &t->slots[t->first[KN_PARAM_OUTPUT] + i], &types[i]);
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
        st = trial_make_slot(t, &t->slots[i]);
    trial_describe(t, kn_layer_function(t->layer->layer, false));
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
        trial_count_choices(&t->slots[i]);
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
        trial_slot *s = &t->slots[i];
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
    trial_add_list(&t, KN_PARAM_INPUT, json_object_get(t.program, "inputs"));
    trial_add_list(&t, KN_PARAM_MEMBER, json_object_get(t.program, "members"));
    trial_add_list(&t, KN_PARAM_OUTPUT, json_object_get(t.program, "outputs"));
    trial_add_list(&t, KN_PARAM_GRAD_INPUT, json_object_get(backward, "grad_inputs"));
    trial_add_list(&t, KN_PARAM_GRAD_OUTPUT, json_object_get(backward, "grad_outputs"));
    trial_size_symbols(&t);
    const size_t before = counts->forward;
    trial_describe(&t, kn_layer_function(layer->layer, false));
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
