// A kernel layer that was found: loaded, held against the class and the mode, and taken or not.
#ifndef KNI_KERNELIZE_TAKE_H
#define KNI_KERNELIZE_TAKE_H

#include "kernelize/decide.h"

typedef struct kni_offer {
    const kn_reference *reference;
    kn_kernel *kernel;    // NULL: of KN_REFERENCE_HOST
    int32_t device_index; // the only device that the code was chosen for; -1: every one of the type
} kni_offer;

// Fills the decision, in which the reference stands already. host: NULL without a model.
// Error: KN_ERR_NO_MEMORY; everything else is an outcome.
kn_status kni_take_layer(const kni_request *request, const kn_host *host, const kn_host_class *cls,
                         const kni_offer *offer, kni_decision *decision, kn_error *err);

#endif
