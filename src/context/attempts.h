// In which order the variants that fit by name are tried.
#ifndef KNI_CONTEXT_ATTEMPTS_H
#define KNI_CONTEXT_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "context/load_variant.h"

typedef struct kni_attempt {
    size_t index; // of the name
    kni_look look;
    bool is_due; // KNI_LOOK_AGAIN: only once the first look has passed it over
} kni_attempt;

// names, order, n_fit: as kn_package_choose gives them. out: room for 2 * n_fit; returns how many are filled. A host without PyTorch
// tries each once. With it, a variant for tvm-ffi that has layers of its own comes before those for PyTorch, and without them after those
// and before Python alone: which it is, its name does not say, so that it is looked at twice.
size_t kni_attempts_plan(const char *const *names, const size_t *order, size_t n_fit,
                         bool has_torch, kni_attempt *out);

// An attempt with KNI_LOOK_LAYERS passed its variant over.
void kni_attempts_pass_over(kni_attempt *attempts, size_t n, size_t index);

#endif
