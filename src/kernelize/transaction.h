// Kernelize with a word in between: when everything is decided, loaded and prepared, and nothing is swapped yet.
#ifndef KNI_KERNELIZE_TRANSACTION_H
#define KNI_KERNELIZE_TRANSACTION_H

#include "kernels/kernelize.h"

// Looks at what would be done. On failure nothing is.
typedef kn_status (*kni_judge_fn)(void *data, kn_plan *would, kn_error *err);

// judge: NULL, or asked once. The rest as kn_kernelize_host.
kn_status kni_kernelize(kn_context *ctx, const kn_host *host, const kn_kernelize_options *opts,
                        kni_judge_fn judge, void *data, kn_plan **plan, kn_error *err);

#endif
