// Variants whose code does not run on a device, remembered by their files: large packages are not hashed again for the same answer.
// Refusals for other reasons are asked anew, since they depend on more files than are compared here.
#ifndef KNI_CONTEXT_REFUSALS_H
#define KNI_CONTEXT_REFUSALS_H

#include <pthread.h>

#include "kernels/package.h"

typedef struct kni_refusal kni_refusal;

typedef struct kni_refusals {
    pthread_mutex_t lock;
    kni_refusal *first; // a list, newest first
} kni_refusals;

void kni_refusals_init(kni_refusals *refusals);
void kni_refusals_dispose(kni_refusals *refusals);

// KN_OK when nothing is remembered of the package as it lies there now; else the remembered refusal, its steps added to the trace.
// A package that the host imports (kni_package_is_hosted) is judged by other rules, and remembered apart.
kn_status kni_refusals_find(kni_refusals *refusals, const kn_package *package,
                            const kn_target *target, kn_trace *trace, kn_error *err);

// Remembers one. object: the shared object that was refused, NULL for none; steps: what the check asked, taken over. Without memory
// nothing is remembered.
void kni_refusals_add(kni_refusals *refusals, const kn_package *package, const kn_target *target,
                      const char *object, const kn_error *why, kn_trace *steps);

#endif
