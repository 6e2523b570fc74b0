// From a reference to where its package is.
#ifndef KNI_CONTEXT_RESOLVE_H
#define KNI_CONTEXT_RESOLVE_H

#include "context/context.h"

typedef struct kni_source {
    char *
        key; // what is kept for it: the framework, then the directory or all that the reference says
    kn_framework framework; // torch_major 0: none; its text is borrowed for the call
    char *dir;              // absolute; NULL: a hub's
    kn_hub *hub;            // that is asked; borrowed, set before kni_source_resolve
    kn_revision *revision;  // of a hub; NULL for a directory, and before kni_resolve
} kni_source;

// Is the reference's package a directory? LOCAL_KERNELS (`owner/name=/path:owner/name=/path`), read at each call, answers for hub
// repositories first. Sets key, framework (given: NULL, none), and dir. Trace: "resolve", for a directory. Touches neither disk nor
// network. Error: KN_ERR_INVALID (LOCAL_KERNELS, a relative path, a framework that cannot be), KN_ERR_NO_MEMORY.
kn_status kni_source_init(kni_source *out, const kn_reference *reference, const kn_framework *given,
                          kn_trace *trace, kn_error *err);

// The commit of a hub's reference. Trace: "resolve", "publisher". Error: as kn_hub_resolve.
kn_status kni_source_resolve(kni_source *source, const kn_reference *reference, kn_trace *trace,
                             kn_error *err);
void kni_source_dispose(kni_source *source);

#endif
