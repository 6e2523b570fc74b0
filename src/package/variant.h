// Names of build variants: the directories of a kernel repository.
//
//   variant   = arch | noarch
//   arch      = framework "-" backend "-" cpu "-" os
//   framework = "torch" D N [ "-cxx11" | "-cxx98" ] | "torch-stable-abi" D N | "tvm-ffi" D N
//   backend   = "cpu" | "metal" | "neuron" | "tpu" | "cu" V | "rocm" V | "xpu" V | "cann" V
//   noarch    = "torch-" ( "cpu" | "cuda" | "rocm" | "metal" | "xpu" | "npu" | "neuron" | "tpu" | "universal" )
//   cpu       = letters, digits, "_"          os = "linux" | "darwin" | "windows"
//
// Versions are digits without a separator, so each kind has a rule that says where the major version ends:
//
//   torch, stable ABI, tvm-ffi   one digit:    torch28 = 2.8, torch210 = 2.10, tvm-ffi01 = 0.1, tvm-ffi010 = 0.10
//   cu      two digits:                    cu128 = 12.8, cu1210 = 12.10; cu12 is none (CUDA before 10 had no kernels)
//   rocm, cann   two digits when the first is 1 and there are three or more, else one: rocm64 = 6.4, rocm710 = 7.10,
//                rocm100 = 10.0 (versions 1.x had no kernels)
//   xpu     four digits, a year:               xpu20252 = 2025.2, xpu202510 = 2025.10
//
// The minor version is what remains, at least one digit and no zero in front of another. Every name that parses is formatted
// back to the same text.
#ifndef KNI_PACKAGE_VARIANT_H
#define KNI_PACKAGE_VARIANT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "kernels/device.h"

#define KNI_VARIANT_NAME_SIZE 128 // with its final zero; longer names are no variants

// X(name, text in names)
#define KNI_FRAMEWORK_LIST(X)                                                                      \
    X(KNI_FRAMEWORK_TORCH, "torch")                                                                \
    X(KNI_FRAMEWORK_TORCH_STABLE_ABI, "torch-stable-abi")                                          \
    X(KNI_FRAMEWORK_TVM_FFI, "tvm-ffi")

typedef enum kni_framework {
#define KNI_FRAMEWORK_ENUM(name, text) name,
    KNI_FRAMEWORK_LIST(KNI_FRAMEWORK_ENUM)
#undef KNI_FRAMEWORK_ENUM
} kni_framework;

// X(name, device type, text in arch names; NULL: not there, text in noarch names, usual digits of the major version; 0: no version)
#define KNI_BACKEND_LIST(X)                                                                        \
    X(KNI_BACKEND_CPU, KN_DEVICE_CPU, "cpu", "cpu", 0)                                             \
    X(KNI_BACKEND_CUDA, KN_DEVICE_CUDA, "cu", "cuda", 2)                                           \
    X(KNI_BACKEND_ROCM, KN_DEVICE_ROCM, "rocm", "rocm", 1)                                         \
    X(KNI_BACKEND_METAL, KN_DEVICE_MPS, "metal", "metal", 0)                                       \
    X(KNI_BACKEND_XPU, KN_DEVICE_XPU, "xpu", "xpu", 4)                                             \
    X(KNI_BACKEND_CANN, KN_DEVICE_NPU, "cann", "npu", 1)                                           \
    X(KNI_BACKEND_NEURON, KN_DEVICE_NEURON, "neuron", "neuron", 0)                                 \
    X(KNI_BACKEND_TPU, KN_DEVICE_TPU, "tpu", "tpu", 0)                                             \
    X(KNI_BACKEND_UNIVERSAL, KN_DEVICE_NONE, NULL, "universal", 0)

typedef enum kni_backend {
#define KNI_BACKEND_ENUM(name, device, arch, noarch, digits) name,
    KNI_BACKEND_LIST(KNI_BACKEND_ENUM)
#undef KNI_BACKEND_ENUM
} kni_backend;

typedef enum kni_cxx_abi {
    KNI_CXX_ABI_ANY, // no tag
    KNI_CXX_ABI_CXX11,
    KNI_CXX_ABI_CXX98,
} kni_cxx_abi;

typedef enum kni_os {
    KNI_OS_NONE, // of a noarch variant
    KNI_OS_LINUX,
    KNI_OS_DARWIN,
    KNI_OS_WINDOWS,
} kni_os;

typedef struct kni_variant {
    char name[KNI_VARIANT_NAME_SIZE]; // as it was parsed
    bool is_noarch; // Python alone: framework is torch, without version, cpu and os
    kni_framework framework;
    int framework_major, framework_minor; // -1: noarch
    kni_cxx_abi abi;
    kni_backend backend;
    int backend_major, backend_minor; // -1: a backend without version
    char cpu[24];                     // "x86_64"; "" for noarch
    kni_os os;
} kni_variant;

// Error: KN_ERR_FORMAT with the name, the part that is wrong and what is accepted there.
kn_status kni_variant_parse(kni_span name, kni_variant *out, kn_error *err);

// The name again, from the fields alone. `out` has KNI_VARIANT_NAME_SIZE bytes. False when it does not fit.
bool kni_variant_format(const kni_variant *variant, char *out);

kn_device_type kni_backend_device(kni_backend backend); // KN_DEVICE_NONE: universal
const char *kni_os_text(kni_os os);                     // "linux"; "" for none
const char *kni_cxx_abi_text(kni_cxx_abi abi);          // "cxx11"; "" for any

#endif
