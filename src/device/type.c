#include "kernels/device.h"

#include <string.h>

const char *kn_device_type_name(kn_device_type type)
{
    switch (type) {
    case KN_DEVICE_NONE:
        break;
#define CASE(name, value, text)                                                                    \
    case name:                                                                                     \
        return text;
        KN_DEVICE_TYPE_LIST(CASE)
#undef CASE
    }
    return "none";
}

kn_status kn_device_type_parse(const char *text, kn_device_type *out, kn_error *err)
{
    static const struct {
        const char *text;
        kn_device_type type;
    } names[] = {
#define ROW(name, value, text) {text, name},
        KN_DEVICE_TYPE_LIST(ROW)
#undef ROW
            {"metal", KN_DEVICE_MPS},
    };
    *out = KN_DEVICE_NONE;
    for (size_t i = 0; text && i < KN_LEN(names); ++i)
        if (strcmp(text, names[i].text) == 0) {
            *out = names[i].type;
            return KN_OK;
        }
    return kn_error_set(err, KN_ERR_INVALID,
                        "unknown device type \"%s\": accepted are cpu, cuda, rocm, mps (or metal), "
                        "xpu, npu, neuron and tpu",
                        text ? text : "");
}

kn_device_type kn_device_type_of_dl(int32_t dl_device_type)
{
    switch (dl_device_type) { // DLDeviceType of dlpack.h
    case 1:                   // kDLCPU
    case 3:                   // kDLCUDAHost
    case 11:                  // kDLROCMHost
        return KN_DEVICE_CPU;
    case 2:  // kDLCUDA
    case 13: // kDLCUDAManaged
        return KN_DEVICE_CUDA;
    case 8: // kDLMetal
        return KN_DEVICE_MPS;
    case 10: // kDLROCM
        return KN_DEVICE_ROCM;
    case 14: // kDLOneAPI
        return KN_DEVICE_XPU;
    case 18: // kDLTrn
        return KN_DEVICE_NEURON;
    default:
        return KN_DEVICE_NONE;
    }
}
