#include <string.h>
#include <tvm/ffi/c_api.h>

#include "kernels/package.h"

kn_status kn_target_init(kn_machine *machine, kn_device_type type, int32_t index, kn_target *out,
                         kn_error *err)
{
    if (!machine || !out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_target_init: an argument is NULL");
    *out = (kn_target){
        .struct_size = sizeof(*out),
        .machine = machine,
        .device = KN_DEVICE_INFO_INIT,
        .tvm_ffi_major = TVM_FFI_VERSION_MAJOR,
        .tvm_ffi_minor = TVM_FFI_VERSION_MINOR,
    };
    return kn_machine_device(machine, type, index, &out->device, err);
}
