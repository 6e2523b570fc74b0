// Where modules are, as a walk meets them.
#ifndef KNI_KERNELIZE_PLACE_H
#define KNI_KERNELIZE_PLACE_H

#include "kernels/host.h"

typedef struct kni_place {
    kn_device_type device; // KN_DEVICE_NONE: not known
    int32_t index;
} kni_place;

// All zero to begin with; `above` is freed with kni_free.
typedef struct kni_places {
    kni_place *above; // by depth: where the modules above the current one are
    size_t capacity;
    size_t count;    // the depth of the module met last, + 1
    kni_place first; // of the model's first tensor: after the walk, for modules that have no other
} kni_places;

// Where the module is: its own tensors, else its nearest ancestor's. Called for every module, in the order of the walk.
kn_status kni_place_find(kni_places *places, const kn_host_module *module, kni_place *out,
                         kn_error *err);

#endif
