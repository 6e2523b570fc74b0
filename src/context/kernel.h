// A loaded kernel: the package, its library in the process, the functions that were asked for.
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
    kni_library library; // handle NULL: planned, not loaded
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

// Loads the library of a checked package. On success the kernel owns the package.
kn_status kni_kernel_load(kn_package *package, const kni_checked_file *library,
                          const kni_tvm_ffi *tvm_ffi, kni_kernel_origin from, kn_kernel **out,
                          kn_error *err);

// A checked package for a device that is described and not here (KERNELS_DEVICE): a kernel to plan with, whose functions cannot be
// had. Nothing is mapped. On success the kernel owns the package.
kn_status kni_kernel_plan(kn_package *package, kni_kernel_origin from, kn_kernel **out,
                          kn_error *err);
// The kernel's files, as they were checked, are to be believed this far.
void kni_kernel_raise_level(kn_kernel *kernel, kn_level level);
bool kni_kernel_is_planned(const kn_kernel *kernel);

// Frees what it holds; the code stays loaded.
void kni_kernel_free(kn_kernel *kernel);

#endif
