// What a trial is made of: a slot for each parameter of a layer, by the layer's program as JSON (docs/layers.md).
#ifndef CLI_TRIAL_SLOTS_H
#define CLI_TRIAL_SLOTS_H

#include <jansson.h>

#include "trial.h"
#include "trial_tensor.h"

#define TRIAL_SLOTS_MAX (4 * KN_LAYER_PARAMS_MAX)

typedef struct trial_slot {
    const json_t *param;
    const char *name;
    kn_value value;
    trial_tensor tensor; // without memory when the value is no tensor
    size_t n_choices;    // dtypes, and none for an optional tensor
    size_t choice;
} trial_slot;

typedef struct trial_symbol {
    const char *name;
    int64_t size;
} trial_symbol;

typedef struct trial {
    const kn_package_layer *layer;
    const kn_function *forward, *backward; // backward: NULL without one
    json_t *program;
    trial_slot slots[TRIAL_SLOTS_MAX]; // inputs, members, outputs, gradients in, gradients out
    size_t n_slots;
    size_t first[5], count[5]; // by kn_param_list
    trial_symbol symbols[KN_LAYER_SYMBOLS_MAX];
    size_t n_symbols;
    cli_trial_counts *counts;
    char *progress; // what is being called
    size_t progress_size;
    kn_error *err;
} trial;

// By the name in the texts.
trial_slot *trial_find_slot(trial *t, const char *name);
bool trial_is_tensor(const trial_slot *s);
bool trial_is_optional(const trial_slot *s);
// The parameters of a list; inputs, members, outputs, gradients in, gradients out, in this order.
void trial_add_list(trial *t, kn_param_list list, const json_t *params);
// Writes the progress: "layer L, f(x: f16, weight: none)".
void trial_describe(trial *t, const char *function);
// An error that begins with the progress; name: NULL, or ends it.
kn_status trial_fail(trial *t, kn_status status, const char *what, const char *name);
// Chooses the extents.
void trial_size_symbols(trial *t);
// Shape and data type of a tensor, by what is made already.
kn_status trial_type_of(trial *t, const trial_slot *s, kn_tensor_type *out);
// Contiguous strides.
void trial_set_dense(kn_tensor_type *type);
// A filled tensor.
kn_status trial_make_tensor(trial *t, trial_slot *s, const kn_tensor_type *type);
// An input or member, by its choice: a filled tensor, none, or a number.
kn_status trial_make_slot(trial *t, trial_slot *s);
// Of an input or member.
void trial_count_choices(trial_slot *s);

#endif
