// The variant of a repository that would be loaded here.
#ifndef CLI_FETCH_H
#define CLI_FETCH_H

#include <kernels/context.h>

typedef struct cli_fetched {
    char *dir;             // kn_string_free
    kn_revision *revision; // NULL: LOCAL_KERNELS has a directory in its place
    const char *device;    // that it was chosen for
} cli_fetched;

// For the best of the devices that there is a variant for: they are asked in their order. The error is that of the first.
// trace: NULL, or takes the steps.
kn_status cli_fetch(kn_context *ctx, const kn_kernel_options *options, const kn_device_type *types,
                    size_t n_types, cli_fetched *out, kn_trace *trace, kn_error *err);
void cli_fetched_dispose(cli_fetched *fetched);

#endif
