#include "kernelize/place.h"

#include "base/alloc.h"
#include "base/error.h"

kn_status kni_place_find(kni_places *places, const kn_host_module *module, kni_place *out,
                         kn_error *err)
{
    void *above = places->above;
    if (!kni_grow(&above, &places->capacity, (size_t)module->depth + 1, sizeof(kni_place)))
        return kni_no_memory(err);
    places->above = above;
    // A host may leave out levels: whatever came last above them stands for them too.
    for (size_t i = places->count; i < module->depth; ++i)
        places->above[i] = i > 0 ? places->above[i - 1] : (kni_place){KN_DEVICE_NONE, 0};
    places->count = (size_t)module->depth + 1;
    *out = (kni_place){module->device, module->device_index};
    if (module->device == KN_DEVICE_NONE && module->depth > 0)
        *out = places->above[module->depth - 1];
    places->above[module->depth] = *out;
    if (places->first.device == KN_DEVICE_NONE)
        places->first = *out;
    return KN_OK;
}
