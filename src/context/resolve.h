// From a reference to a directory.
#ifndef KNI_CONTEXT_RESOLVE_H
#define KNI_CONTEXT_RESOLVE_H

#include "context/context.h"

typedef struct kni_source {
    char *dir;      // absolute
    char *revision; // the commit of a hub repository; "" for a directory
} kni_source;

// Where the reference's package is. LOCAL_KERNELS (`owner/name=/path:owner/name=/path`), read at each call, answers for hub
// repositories first. Trace: "resolve". Error: KN_ERR_NOT_FOUND, KN_ERR_INVALID (LOCAL_KERNELS), KN_ERR_NO_MEMORY.
kn_status kni_resolve(const kn_reference *reference, kni_source *out, kn_trace *trace,
                      kn_error *err);
void kni_source_dispose(kni_source *source);

#endif
