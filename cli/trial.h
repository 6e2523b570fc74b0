// Running the layers of a package once for every data type that their signatures admit.
#ifndef CLI_TRIAL_H
#define CLI_TRIAL_H

#include <kernels/context.h>

// Calls that went well.
typedef struct cli_trial_counts {
    size_t forward, backward;
} cli_trial_counts;

// Runs one layer of a loaded kernel on the CPU, forward and backward: small tensors made from its signature, for each combination
// of data types and of optional tensors that are there. Checks that the kernel writes all of its results and nothing else.
// progress: room for a line that says what is being called, which begins the errors.
kn_status cli_trial_layer(const kn_kernel *kernel, const kn_package_layer *layer,
                          cli_trial_counts *counts, char *progress, size_t progress_size,
                          kn_error *err);

// All layers of the package below root, an absolute path, in a process of their own: a kernel that crashes is a message.
kn_status cli_trial_package(const char *root, cli_trial_counts *counts, kn_error *err);

#endif
