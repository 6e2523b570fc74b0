// One function of a kernel, and the one way to call it.
#ifndef KNI_LOAD_FUNCTION_H
#define KNI_LOAD_FUNCTION_H

#include "kernels/layer.h"
#include "load/tvm_ffi.h"

// Immutable. For a caller in a hurry: call(NULL, args, n, &result) with result.type_index none, then kni_function_finish.
typedef struct kn_function {
    TVMFFISafeCallType call;
    const kni_tvm_ffi *tvm_ffi;
    char *name; // without the prefix
} kn_function;

#define KNI_FUNCTION_PREFIX "__tvm_ffi_"

// What a call that returned `code` came to: releases a returned object (which reads as none), moves a raised error out of the
// thread into err and releases it, makes a text where none was raised. value: NULL, or takes the returned number or none.
kn_status kni_function_finish(const kn_function *function, int code, TVMFFIAny *result,
                              kn_value *value, kn_error *err);

#endif
