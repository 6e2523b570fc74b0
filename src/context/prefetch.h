// Several repositories at once, so that their requests and downloads do not wait for each other.
#ifndef KNI_CONTEXT_PREFETCH_H
#define KNI_CONTEXT_PREFETCH_H

#include "context/context.h"

typedef struct kni_wanted_kernel {
    const kn_reference *reference; // borrowed
    kn_device_info device;
} kni_wanted_kernel;

// Gets the hub's kernels among them, on threads of its own while it runs, when two or more are not kept yet. How each ended is what
// kni_context_get says afterwards, asked with the same framework: nothing is reported here but KN_ERR_CANCELLED, and nothing is lost when it
// cannot be done.
kn_status kni_context_prefetch(kn_context *ctx, const kn_framework *framework,
                               const kni_wanted_kernel *wanted, size_t n, kn_error *err);

#endif
