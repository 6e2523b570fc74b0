#include "load/function.h"

#include <stddef.h>

// kn_value is a tvm-ffi value under another name.
_Static_assert(sizeof(kn_value) == sizeof(TVMFFIAny), "kn_value has the size of TVMFFIAny");
_Static_assert(offsetof(kn_value, type) == offsetof(TVMFFIAny, type_index), "type");
_Static_assert(offsetof(kn_value, as) == offsetof(TVMFFIAny, v_int64), "payload");
_Static_assert((int)KN_VALUE_NONE == (int)kTVMFFINone && (int)KN_VALUE_INT == (int)kTVMFFIInt &&
                   (int)KN_VALUE_BOOL == (int)kTVMFFIBool &&
                   (int)KN_VALUE_FLOAT == (int)kTVMFFIFloat &&
                   (int)KN_VALUE_TENSOR == (int)kTVMFFIDLTensorPtr,
               "kinds of values");

// A message of a kernel may be long; an error is a line.
enum {
    KIND_SHOWN = 100,
    MESSAGE_SHOWN = 4000,
};

static int shown(size_t size, int max)
{
    return size < (size_t)max ? (int)size : max;
}

static kn_status take_raised(const kn_function *function, int code, kn_error *err)
{
    TVMFFIObjectHandle raised = NULL;
    function->tvm_ffi->error_move_from_raised(&raised);
    if (!raised)
        return kn_error_set(err, KN_ERR_CALL,
                            "%s: the kernel function failed (it returned %d) and raised no error",
                            function->name, code);
    const TVMFFIErrorCell *cell =
        (const TVMFFIErrorCell *)(const void *)((const char *)raised + sizeof(TVMFFIObject));
    kn_error_set(err, KN_ERR_CALL, "%s: %.*s: %.*s", function->name,
                 shown(cell->kind.size, KIND_SHOWN), cell->kind.size ? cell->kind.data : "",
                 shown(cell->message.size, MESSAGE_SHOWN),
                 cell->message.size ? cell->message.data : "");
    function->tvm_ffi->object_dec_ref(raised);
    return KN_ERR_CALL;
}

kn_status kni_function_finish(const kn_function *function, int code, TVMFFIAny *result,
                              kn_value *value, kn_error *err)
{
    kn_value returned = kn_none();
    switch (result->type_index) {
    case kTVMFFIInt:
        returned = kn_int(result->v_int64);
        break;
    case kTVMFFIBool:
        returned = kn_bool(result->v_int64 != 0);
        break;
    case kTVMFFIFloat:
        returned = kn_float(result->v_float64);
        break;
    default:
        if (result->type_index >= kTVMFFIStaticObjectBegin && result->v_obj)
            function->tvm_ffi->object_dec_ref(result->v_obj);
        break;
    }
    result->type_index = kTVMFFINone;
    if (code != 0)
        return take_raised(function, code, err);
    if (value)
        *value = returned;
    return KN_OK;
}
