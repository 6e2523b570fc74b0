// libtvm_ffi, opened at run time: the calling convention of kernels, and the thread's raised error.
#ifndef KNI_LOAD_TVM_FFI_H
#define KNI_LOAD_TVM_FFI_H

#include <tvm/ffi/c_api.h>

#include "kernels/base.h"

// What is used of the library. Filled once, then immutable; the code stays loaded until the process ends.
typedef struct kni_tvm_ffi {
    TVMFFIVersion version;
    int (*object_dec_ref)(TVMFFIObjectHandle object);
    void (*error_move_from_raised)(TVMFFIObjectHandle *error);
    const char *path; // of its file, as long as the process lives; "" when it cannot be told
    bool was_loaded;  // by somebody else, before this library asked
} kni_tvm_ffi;

// Opens the library: the copy that the process has already; else `path`; else (path NULL) the one beside this library, or where
// the dynamic linker finds one. The handlers of signals are as before afterwards.
// Error: KN_ERR_LOAD: the linker's words, or another copy than `path` is loaded already, or a version that does not suit.
// Threads: any.
kn_status kni_tvm_ffi_open(const char *path, kni_tvm_ffi *out, kn_error *err);

#endif
