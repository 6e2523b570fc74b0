/**
 * Kernel packages on disk: which build variants a directory has, which of them this machine can run and why not the others,
 * what a variant's metadata says, whether its files are what the metadata says, what code is really inside. No network, and
 * nothing of a package is executed here.
 *
 * Threads, where a declaration says nothing: any; packages and listings are immutable, a trace is its caller's alone. What opens, checks
 * or reads blocks on the disk. Closing: after all others that use the object.
 */
#ifndef KERNELS_PACKAGE_H
#define KERNELS_PACKAGE_H

#include "base.h"
#include "device.h"
#include "layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a package is wanted for: the machine, the device on it, and what the host can load. */
typedef struct kn_target {
    size_t struct_size;
    kn_machine *machine; // required, borrowed
    kn_device_info
        device; // required: its type picks the backend, its capability and arch judge the code
    int32_t
        tvm_ffi_major; // version of the tvm-ffi library that would run the kernel; -1: there is none
    int32_t tvm_ffi_minor;
    int32_t torch_major; // 0: a host without PyTorch, which can load tvm-ffi variants alone
    int32_t torch_minor;
    const char *torch_abi; // "cxx11" or "cxx98"; NULL: not known
} kn_target;

/**
 * A target from a machine: its device of that type and index (0-based). Error: KN_ERR_NOT_FOUND with the machine's reason.
 * tvm-ffi is the version that this library was built with, no PyTorch; change the fields afterwards.
 */
KN_API kn_status kn_target_init(kn_machine *machine, kn_device_type type, int32_t index,
                                kn_target *out, kn_error *err);

/**
 * Which of the offered variant names fit the target, best first, judged by name alone.
 *
 * names: directory names ("tvm-ffi01-cpu-x86_64-linux"); names that are no variants join the trace as refused.
 * order: room for n_names indices; *n_fit of them are filled.
 * trace: NULL, or takes one entry a name ("variant").
 * Order: tvm-ffi variants by highest tvm-ffi minor, then highest backend version; for a host with PyTorch behind them stable ABI,
 * PyTorch, then Python alone. There only those for tvm-ffi that have layers of their own are really first, which their names do not say:
 * kn_context_get_kernel takes the others after those for PyTorch.
 * Returns KN_OK also when none fits. Error: KN_ERR_NO_MEMORY, KN_ERR_INVALID.
 */
KN_API kn_status kn_package_choose(const char *const *names, size_t n_names,
                                   const kn_target *target, size_t *order, size_t *n_fit,
                                   kn_trace *trace, kn_error *err);

/** The build variants of a package directory (below it or below its build/), or the directory itself when it is one. */
typedef struct kn_listing kn_listing;
/** Error: KN_ERR_NOT_FOUND (no such directory, or no variant in it: what was looked for). Owns: *out is the caller's. */
KN_API kn_status kn_listing_open(const char *dir, kn_listing **out, kn_error *err);
KN_API void kn_listing_close(kn_listing *listing);
KN_API size_t kn_listing_count(const kn_listing *listing);
/** Name and absolute path of a variant; borrowed from the listing; NULL when index is not below the count. */
KN_API const char *kn_listing_name(const kn_listing *listing, size_t index);
KN_API const char *kn_listing_path(const kn_listing *listing, size_t index);

/** One build variant: its metadata, read and understood. Immutable. */
typedef struct kn_package kn_package;

/**
 * Reads DIR/metadata.json (of any era, docs/packages.md; unknown keys are ignored), and the names of the files beside it when it
 * does not say which is the library.
 * Error: KN_ERR_NOT_FOUND (no metadata), KN_ERR_FORMAT with the JSON path, KN_ERR_IO, KN_ERR_UNTRUSTED (names: a linked
 * directory).
 * Owns: *out is the caller's, close it. Threads: any.
 */
KN_API kn_status kn_package_open(const char *dir, kn_package **out, kn_error *err);
/**
 * The same of a metadata.json in memory, without its files: name stands for the directory, in errors too. For what a hub has, before it
 * is fetched. The library is known only when the metadata names it.
 */
KN_API kn_status kn_package_parse(const char *text, size_t size, const char *name,
                                  const char *variant, kn_package **out, kn_error *err);
KN_API void kn_package_close(kn_package *package);

/** What the metadata says; borrowed from the package, "" or -1 where it says nothing. */
KN_API const char *kn_package_dir(const kn_package *package);     // absolute
KN_API const char *kn_package_variant(const kn_package *package); // the directory's name
KN_API const char *kn_package_name(const kn_package *package);
KN_API const char *kn_package_id(const kn_package *package);
KN_API int64_t kn_package_version(const kn_package *package);
KN_API const char *kn_package_license(const kn_package *package);
KN_API const char *kn_package_backend(const kn_package *package); // "cpu", "cuda", …
KN_API size_t kn_package_arch_count(const kn_package *package);
KN_API const char *kn_package_arch(const kn_package *package,
                                   size_t index); // declared: "9.0", "gfx90a"
/**
 * The devices that there is code for in the library, in the words of metadata.json: "9.0", "9.0a", "8.0+PTX", "gfx90a". Each once, in
 * the file's order, with spaces between; "" for host code alone. Nothing of it runs.
 * Owns: *out, the caller's: kn_string_free. Error: KN_ERR_NOT_FOUND (no library), KN_ERR_FORMAT, KN_ERR_INCOMPATIBLE (32 bits),
 * KN_ERR_UNSUPPORTED (a newer container), KN_ERR_IO, KN_ERR_NO_MEMORY; *out is NULL then. Threads: any; blocks on the disk.
 */
KN_API kn_status kn_package_read_archs(const kn_package *package, char **out, kn_error *err);
KN_API size_t kn_package_depend_count(const kn_package *package); // python-depends
KN_API const char *kn_package_depend(const kn_package *package, size_t index);
KN_API size_t kn_package_feature_count(const kn_package *package); // CPU features the code needs
KN_API const char *kn_package_feature(const kn_package *package, size_t index);
KN_API bool kn_package_has_digests(const kn_package *package);
/** Path of the one shared object below dir that holds the functions, "" for a package without native code. */
KN_API const char *kn_package_library(const kn_package *package);

/** A layer that the package offers; borrowed from the package. */
typedef struct kn_package_layer {
    size_t struct_size;
    const char *name;
    const kn_layer *layer;
    uint32_t can_torch_compile;
    uint32_t has_backward;
    const char *autocast; // "neutral", "lower", "f32"; "" when not declared
} kn_package_layer;

#ifdef __cplusplus
#define KN_PACKAGE_LAYER_INIT                                                                      \
    (kn_package_layer{sizeof(kn_package_layer), nullptr, nullptr, 0, 0, nullptr})
#else
#define KN_PACKAGE_LAYER_INIT ((kn_package_layer){.struct_size = sizeof(kn_package_layer)})
#endif

KN_API size_t kn_package_layer_count(const kn_package *package);
KN_API kn_status kn_package_layer_get(const kn_package *package, size_t index,
                                      kn_package_layer *out, kn_error *err);
/** By name. Error: KN_ERR_NOT_FOUND, with the names there are. */
KN_API kn_status kn_package_layer_find(const kn_package *package, const char *name,
                                       kn_package_layer *out, kn_error *err);
/** Largest relative error against the formula in exact arithmetic that the layer declares for a dtype; 0: none declared. */
KN_API double kn_package_layer_tolerance(const kn_package *package, const char *layer,
                                         DLDataType dtype);

/** How far a package is to be believed after kn_package_check. */
typedef struct kn_package_verdict {
    size_t struct_size;
    uint32_t
        digests_checked; // 1: a digest block was there and every file matched it; 0: there is none
    uint32_t runs;       // 1: the code fits the target
} kn_package_verdict;

#ifdef __cplusplus
#define KN_PACKAGE_VERDICT_INIT (kn_package_verdict{sizeof(kn_package_verdict), 0, 0})
#else
#define KN_PACKAGE_VERDICT_INIT ((kn_package_verdict){.struct_size = sizeof(kn_package_verdict)})
#endif

/**
 * Checks what metadata.json itself asks of the target: the backend, the CPU features. Nothing but the metadata is looked at.
 * trace and errors as kn_package_check. Threads: any.
 */
KN_API kn_status kn_package_check_metadata(const kn_package *package, const kn_target *target,
                                           kn_trace *trace, kn_error *err);

/**
 * Checks files and code before anything is mapped: the digest block (every file listed and equal; files that it does not list
 * are refused, except those it never lists), links, what the library needs and exports, ELF class and machine, glibc symbol
 * versions, CUDA and ROCm code against the device, declared CPU features.
 *
 * out: NULL, or begin with KN_PACKAGE_VERDICT_INIT.
 * trace: NULL, or takes an entry for every rule that was asked (stages "digest" and "code").
 * Error: KN_ERR_UNTRUSTED (digest, link, needed library), KN_ERR_INCOMPATIBLE (code), KN_ERR_UNSUPPORTED (needs TVM's own loader),
 * KN_ERR_FORMAT, KN_ERR_IO: the file, what was expected and what was found.
 */
KN_API kn_status kn_package_check(const kn_package *package, const kn_target *target,
                                  kn_package_verdict *out, kn_trace *trace, kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
