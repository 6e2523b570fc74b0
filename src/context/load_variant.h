// One build variant: fetch it when it is a hub's, read, check, load.
#ifndef KNI_CONTEXT_LOAD_VARIANT_H
#define KNI_CONTEXT_LOAD_VARIANT_H

#include "context/context.h"
#include "context/resolve.h"

// Which of the looks at a variant this is.
typedef enum kni_look {
    KNI_LOOK_ONCE,   // the only one
    KNI_LOOK_LAYERS, // one without layers of its own is passed over for now
    KNI_LOOK_AGAIN,  // it was passed over before
} kni_look;

// What is wanted of a variant: a loaded kernel, or only the directory that was checked.
typedef struct kni_taken {
    bool without_loading;
    bool is_passed_over; // KNI_LOOK_LAYERS: KN_OK, and nothing was taken
    kn_kernel *kernel;   // the context's
    char *dir;           // without_loading: the caller's
} kni_taken;

// Takes a variant of the source: by its directory, or of a hub by its name. Of a hub's variant that is not cached, metadata.json alone
// is fetched first, and the rest only if it fits the target. What the rules say joins the trace, and any other refusal too.
kn_status kni_load_variant(kn_context *ctx, const kni_source *source, const char *variant,
                           const kn_target *target, kni_look look, kni_taken *out, kn_trace *trace,
                           kn_error *err);

#endif
