// One build variant: read, check, load.
#ifndef KNI_CONTEXT_LOAD_VARIANT_H
#define KNI_CONTEXT_LOAD_VARIANT_H

#include "context/context.h"

// The kernel of the variant in `dir`. What the rules say joins the trace, and any other refusal too.
kn_status kni_load_variant(kn_context *ctx, const char *dir, const char *revision,
                           const kn_target *target, kn_kernel **out, kn_trace *trace,
                           kn_error *err);

#endif
