// One decision: which kernel serves a layer of a class on a device, or why none.
#ifndef KNI_KERNELIZE_DECIDE_H
#define KNI_KERNELIZE_DECIDE_H

#include "kernelize/plan.h"
#include "kernels/kernelize.h"

// The options, checked.
typedef struct kni_request {
    kn_mode mode;
    uint32_t fallback;     // without KN_FALLBACK_NONE, which is the empty set
    kn_mapping *mapping;   // a reference of its own
    kn_device_type device; // KN_DEVICE_NONE: not given
    int32_t device_index;  // -1: not given
    bool disabled;         // by DISABLE_KERNEL_MAPPING
    kn_kernelize_options options;
} kni_request;

kn_status kni_request_init(kni_request *request, kn_context *ctx, const kn_kernelize_options *opts,
                           kn_error *err);
// Nothing is swapped.
static inline bool kni_request_is_dry(const kni_request *request)
{
    return request->options.flags & (KN_KERNELIZE_DRY_RUN | KN_KERNELIZE_NO_RESOLVE);
}
void kni_request_dispose(kni_request *request);

// The reference that would serve the decision's question, and the device for it, without a trace; NULL: none, or it cannot be told here.
// For getting several at once before each is decided.
const kn_reference *kni_decide_reference(kn_context *ctx, const kni_request *request,
                                         const kn_host *host, const char *layer,
                                         const kni_decision *question, kn_device_info *device);

// Fills `decision`, whose question (class handle, device) is set. cls: at least the layer. host: NULL without a model.
// Error: KN_ERR_NO_MEMORY, and what a host callback returns; everything else is an outcome.
kn_status kni_decide(kn_context *ctx, const kni_request *request, const kn_host *host,
                     const kn_host_class *cls, kni_decision *decision, kn_error *err);

// The own forward serves, or it is an error of that status: as the fallback set says. Reason and admits are set already.
void kni_fall_back(const kni_request *request, kni_decision *decision, uint32_t rule,
                   kn_status status);

// The same by CANNOT_LOAD, for the reason in `why`, which is emptied. from: where loading begins in the trace.
// Returns KN_OK, or KN_ERR_NO_MEMORY, or KN_ERR_CANCELLED where that is the reason.
kn_status kni_cannot_load(const kni_request *request, kni_decision *decision, size_t from,
                          kn_status status, kn_error *why, kn_error *err);

#endif
