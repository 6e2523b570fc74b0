// A loaded kernel: the package, its files, its library in the process, the functions that were asked for.
#ifndef KNI_CONTEXT_KERNEL_H
#define KNI_CONTEXT_KERNEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/context.h"
#include "load/function.h"
#include "load/library.h"

struct kn_kernel {
    kn_package *package;
    char *repo_id;
    char *revision;
    bool is_planned;     // for a device that is not here
    bool is_hosted;      // the host imports it
    kni_file_sums sums;  // what was checked
    kni_names notes;     // of a hosted package: what the log is told
    kni_library library; // handle NULL: planned or hosted, not loaded
    const kni_tvm_ffi *tvm_ffi;
    atomic_bool is_announced; // the log has been told of it
    atomic_int level;         // a kn_level: the highest that its bytes were found to have
    pthread_mutex_t lock;     // over the functions; each of them is immutable and stays
    kn_function **functions;
    size_t n_functions;
    size_t functions_capacity;
};

// Of a hub: its repository and commit. Both "" for a directory.
typedef struct kni_kernel_origin {
    const char *repo_id;
    const char *revision;
} kni_kernel_origin;

// Loads the library of a checked package. On success the kernel owns the package, and the sums and notes of the check.
kn_status kni_kernel_load(kn_package *package, kni_checked *checked, const kni_tvm_ffi *tvm_ffi,
                          kni_kernel_origin from, kn_kernel **out, kn_error *err);

// A checked package whose functions cannot be had and of which nothing is mapped: a hosted one, or one for a device that is described
// and not here (KERNELS_DEVICE), to plan with (is_planned). Owns as kni_kernel_load.
kn_status kni_kernel_hold(kn_package *package, kni_checked *checked, bool is_planned,
                          kni_kernel_origin from, kn_kernel **out, kn_error *err);
// The kernel's files, as they were checked, are to be believed this far.
void kni_kernel_raise_level(kn_kernel *kernel, kn_level level);
bool kni_kernel_is_planned(const kn_kernel *kernel);

// Frees what it holds; the code stays loaded.
void kni_kernel_free(kn_kernel *kernel);

#endif
