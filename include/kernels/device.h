/**
 * What this machine is: device types, the devices that are here, their capability, the instruction sets of the CPU.
 *
 * A machine is a value that the rest of the library asks. It is probed from the hardware, or read from a text such as
 * "cuda:9.0@12.8,cpu:x86-64-v3", so that decisions for other machines can be made and tested on this one.
 */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The kinds of devices. CPU, CUDA and ROCm are detected; the others exist where a machine is described by a text.
 *
 *   X(name, value, text)
 */
#define KN_DEVICE_TYPE_LIST(X)                                                                     \
    X(KN_DEVICE_CPU, 1, "cpu")                                                                     \
    X(KN_DEVICE_CUDA, 2, "cuda")                                                                   \
    X(KN_DEVICE_ROCM, 3, "rocm")                                                                   \
    X(KN_DEVICE_MPS, 4, "mps")                                                                     \
    X(KN_DEVICE_XPU, 5, "xpu")                                                                     \
    X(KN_DEVICE_NPU, 6, "npu")                                                                     \
    X(KN_DEVICE_NEURON, 7, "neuron")                                                               \
    X(KN_DEVICE_TPU, 8, "tpu")

typedef enum kn_device_type {
    KN_DEVICE_NONE = 0, // none, or not known
#define KN_DEVICE_TYPE_ENUM(name, value, text) name = value,
    KN_DEVICE_TYPE_LIST(KN_DEVICE_TYPE_ENUM)
#undef KN_DEVICE_TYPE_ENUM
} kn_device_type;

/** "cuda"; "none" for KN_DEVICE_NONE and values that are no device type. Threads: any. */
KN_API const char *kn_device_type_name(kn_device_type type);

/**
 * The device type of a name. "metal" is another spelling of "mps".
 *
 * Error:   KN_ERR_INVALID (another text; the message lists what is accepted); *out is KN_DEVICE_NONE then.
 * Threads: any.
 */
KN_API kn_status kn_device_type_parse(const char *text, kn_device_type *out, kn_error *err);

/**
 * The device type whose kernels can take a tensor with this DLPack device type (DLDevice.device_type): pinned host memory of
 * CUDA and ROCm counts as cpu, managed CUDA memory as cuda. KN_DEVICE_NONE for those that no device type here stands for.
 * Threads: any.
 */
KN_API kn_device_type kn_device_type_of_dl(int32_t dl_device_type);

/**
 * What one machine is. Shared and reference counted; what it answers never changes once it was asked.
 *
 * The drivers of GPUs are opened when their devices are first asked for, never before, and stay open until the process ends.
 * Probing CUDA calls cuInit: a process that forks workers which use CUDA must not ask before the fork, since the driver does
 * not work in the children of a process that has initialised it. A child that is the first to ask probes for itself.
 *
 * Threads: any, also at once; the first question about a GPU blocks until its driver has answered, and others wait for it.
 */
typedef struct kn_machine kn_machine;

/**
 * One device. Start with KN_DEVICE_INFO_INIT.
 */
typedef struct kn_device_info {
    size_t struct_size;  // set by KN_DEVICE_INFO_INIT
    kn_device_type type; // KN_DEVICE_CUDA
    int32_t index;       // among the devices of its type: the ordinal of CUDA and HIP
    // major * 10 + minor for cuda and rocm (compute capability 9.0 is 90, gfx942 is 94); for cpu 1 … 4 on x86-64 (the psABI's
    // levels), 80 … 90 on Arm (armv8.0 … armv9.0); -1: not known.
    int64_t capability;
    int32_t
        backend_major; // cuda: the newest CUDA version that the driver runs; rocm: the HIP runtime's; -1: not known,
    int32_t backend_minor; // to be taken as the newest
    char arch[48];   // "sm_90", "gfx90a:sramecc+:xnack-", "x86-64-v3", "armv8.2"; "" when not known
    char name[128];  // as the driver gives it, "NVIDIA H100 80GB HBM3"; "" when not known
    bool overridden; // named in a text rather than found
    uint8_t reserved[7];
} kn_device_info;

#ifdef __cplusplus
#define KN_DEVICE_INFO_INIT                                                                        \
    (kn_device_info{sizeof(kn_device_info), KN_DEVICE_NONE, 0, 0, 0, 0, {0}, {0}, false, {0}})
#else
#define KN_DEVICE_INFO_INIT ((kn_device_info){.struct_size = sizeof(kn_device_info)})
#endif

/**
 * This machine, by its own CPU and drivers. An absent driver is a normal state: no device of that type.
 *
 * Owns:    one reference, the caller's: kn_machine_unref.
 * Error:   KN_ERR_NO_MEMORY; *out is NULL then.
 * Threads: any. Opens no driver.
 */
KN_API kn_status kn_machine_probe(kn_machine **out, kn_error *err);

/**
 * A machine that has exactly the devices named, and no others; of a type named several times there are several devices, in
 * that order. The CPU is this machine's when it is not named, or named without a level. Opens no driver, ever.
 *
 *   devices: device ("," device)*            spaces around a device are ignored
 *   device:  type [":" capability] ["@" backend]
 *   type:    cpu, cuda, rocm, mps (or metal), xpu, npu, neuron, tpu
 *   capability of cuda: MAJOR.MINOR, "9.0"
 *            of rocm: a gfx name, "gfx90a", "gfx90a:sramecc+:xnack-"
 *            of cpu: "x86-64-v1" … "x86-64-v4", "armv8.0" … "armv8.6", "armv9.0"; the CPU then has exactly the features that
 *            its level demands
 *            of others: none. Without one it is not known (-1).
 *   backend: MAJOR.MINOR of CUDA or HIP, "12.8"; without one it is the newest
 *
 * Owns:    one reference, the caller's: kn_machine_unref.
 * Error:   KN_ERR_INVALID (the message has the device in question, and what is accepted), KN_ERR_NO_MEMORY; *out is NULL then.
 * Threads: any.
 */
KN_API kn_status kn_machine_parse(const char *text, kn_machine **out, kn_error *err);

/** One more reference; returns the machine. NULL is fine. Threads: any. */
KN_API kn_machine *kn_machine_ref(kn_machine *machine);

/** Gives a reference back; the last one frees the machine. NULL is fine. Threads: any. */
KN_API void kn_machine_unref(kn_machine *machine);

/** How many devices of a type there are; 0: none, or not detected (kn_machine_reason). May open a driver. Threads: any. */
KN_API size_t kn_machine_device_count(kn_machine *machine, kn_device_type type);

/**
 * One device. May open a driver.
 *
 * Error:   KN_ERR_NOT_FOUND (no such device, with the reason: no driver, no device, the driver refuses this one);
 *          KN_ERR_INVALID (out was not initialised). *out keeps its content then.
 * Threads: any.
 */
KN_API kn_status kn_machine_device(kn_machine *machine, kn_device_type type, int32_t index,
                                   kn_device_info *out, kn_error *err);

/**
 * Why there is no device of a type, one line: "no CUDA driver: libcuda.so.1: cannot open shared object file"; "" when there
 * is one. Borrowed until the machine is freed. May open a driver. Threads: any.
 */
KN_API const char *kn_machine_reason(kn_machine *machine, kn_device_type type);

/**
 * Whether code for this instruction set runs here: the CPU has it, and the operating system keeps its registers. Names are
 * those of Linux' /proc/cpuinfo ("avx2", "avx512_bf16", "amx_tile", "asimddp", "sve"), and the usual other spellings ("sse3",
 * "lzcnt", "sse4.2", "avx512bf16", "neon", "dotprod", "fp16"). On Linux a thread must ask for AMX' registers (arch_prctl)
 * before it uses them.
 * Threads: any.
 */
KN_API bool kn_machine_has_feature(kn_machine *machine, const char *feature);

/** How many of the features that are known by name the CPU has. Threads: any. */
KN_API size_t kn_machine_feature_count(kn_machine *machine);

/** The name of one of them, as in /proc/cpuinfo; "" when index is not below the count. Static. Threads: any. */
KN_API const char *kn_machine_feature_name(kn_machine *machine, size_t index);

/** "x86_64", "aarch64"; "unknown" for others. Static. Threads: any. */
KN_API const char *kn_machine_cpu_arch(kn_machine *machine);

/** "linux". Static. Threads: any. */
KN_API const char *kn_machine_os(kn_machine *machine);

/** The version of the GNU C library in this process, 2 and 36; -1 and -1 with another C library. Threads: any. */
KN_API void kn_machine_glibc(kn_machine *machine, int32_t *major, int32_t *minor);

/**
 * The machine in the syntax of kn_machine_parse, "cpu:x86-64-v3,cuda:9.0@12.8": cpu first, then the other types in the order
 * of their values. Features above the CPU's level are not in it. Opens every driver.
 *
 * Owns:    *out, the caller's: kn_string_free.
 * Error:   KN_ERR_NO_MEMORY; *out is NULL then.
 * Threads: any.
 */
KN_API kn_status kn_machine_text(kn_machine *machine, char **out, kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
