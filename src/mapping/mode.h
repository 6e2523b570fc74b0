// Inside the library: modes without copies.
#ifndef KNI_MAPPING_MODE_H
#define KNI_MAPPING_MODE_H

#include "kernels/mapping.h"

// The chain of a request; NULL (and 0) for a mode that cannot be asked for.
const kn_mode *kni_mode_chain(kn_mode mode, size_t *count);

// What an entry may be registered for: FALLBACK, or what can be asked for.
kn_status kni_mode_check_registration(kn_mode mode, kn_error *err);

#endif
