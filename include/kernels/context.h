/**
 * A context: what a process keeps (the machine, the base mapping, loaded kernels, the log sink), and the way from a reference to
 * loaded functions. There are no other globals; two libraries in one process can each have their own.
 */
#ifndef KERNELS_CONTEXT_H
#define KERNELS_CONTEXT_H

#include "base.h"
#include "device.h"
#include "hub.h"
#include "layer.h"
#include "mapping.h"
#include "package.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_context kn_context;

typedef struct kn_context_options {
    size_t struct_size;
    const kn_mapping *mapping; // the base mapping, shared; NULL: empty
    const char
        *device; // what this machine is ("cuda:9.0"); NULL: KERNELS_DEVICE, else what is found
    const char *
        tvm_ffi; // path of libtvm_ffi.so; NULL: one that is loaded already, else the one beside this library
    kn_log_fn log; // NULL: silence
    void *log_user;
    kn_log_level log_level; // least level that is passed on
    uint32_t flags;         // none yet
    const kn_hub_options
        *hub; // where hub repositories come from; NULL: defaults. Its log is the context's
} kn_context_options;

#ifdef __cplusplus
#define KN_CONTEXT_OPTIONS_INIT                                                                    \
    (kn_context_options{sizeof(kn_context_options), nullptr, nullptr, nullptr, nullptr, nullptr,   \
                        KN_LOG_DEBUG, 0, nullptr})
#else
#define KN_CONTEXT_OPTIONS_INIT ((kn_context_options){.struct_size = sizeof(kn_context_options)})
#define KN_CONTEXT_OPTIONS(...)                                                                    \
    (&(kn_context_options){.struct_size = sizeof(kn_context_options), __VA_ARGS__})
#endif

/**
 * Opens a context; NULL options are all defaults. Reads the environment (KERNELS_DEVICE, and the hub's: docs/offline.md); touches no
 * disk, driver or network. Error: KN_ERR_INVALID (device text, a setting of the hub), KN_ERR_NO_MEMORY. Owns: *out is the caller's, close it. Threads: any.
 */
KN_API kn_status kn_context_open(const kn_context_options *opts, kn_context **out, kn_error *err);

/** Frees everything but loaded code, which stays until the process ends. After the last call of every model that was kernelized
 * with it. NULL is fine. Threads: after all others. */
KN_API void kn_context_close(kn_context *ctx);

/**
 * What references mean is found out anew from here on: a branch may have moved, a hub be there again. Loaded kernels stay loaded, bound
 * forwards as they are; a question that is under way may still answer what it began with. What was answered before keeps its memory until
 * the context closes. Threads: any.
 */
KN_API void kn_context_forget(kn_context *ctx);

/** Borrowed until the context closes. Threads: any. */
KN_API kn_machine *kn_context_machine(kn_context *ctx);

/** The hub that repositories come from, borrowed until the context closes. Threads: any. */
KN_API kn_hub *kn_context_hub(kn_context *ctx);

/** The base mapping, shared: unref it; never NULL. Threads: any. */
KN_API kn_mapping *kn_context_mapping(kn_context *ctx);
/** Replaces the base mapping in one step; NULL: the empty one. Threads: any. */
KN_API void kn_context_set_mapping(kn_context *ctx, const kn_mapping *mapping);

/** The tvm-ffi library that kernels are called through. Begin with KN_TVM_FFI_INIT. */
typedef struct kn_tvm_ffi {
    size_t struct_size;
    int32_t major;
    int32_t minor;
    int32_t patch;
    uint32_t reserved;
    const char *path; // its file; borrowed until the process ends, "" when it cannot be told
} kn_tvm_ffi;

#ifdef __cplusplus
#define KN_TVM_FFI_INIT (kn_tvm_ffi{sizeof(kn_tvm_ffi), 0, 0, 0, 0, nullptr})
#else
#define KN_TVM_FFI_INIT ((kn_tvm_ffi){.struct_size = sizeof(kn_tvm_ffi)})
#endif

/**
 * Opens libtvm_ffi, as the first kernel would, and says which one it is.
 * Error: KN_ERR_LOAD (why it cannot be opened, or does not suit), KN_ERR_INVALID, KN_ERR_NO_MEMORY. Threads: any; blocks on the disk.
 */
KN_API kn_status kn_context_tvm_ffi(kn_context *ctx, kn_tvm_ffi *out, kn_error *err);

/** A loaded kernel: one for each package that was loaded, borrowed until the context closes. Immutable. */
typedef struct kn_kernel kn_kernel;

/**
 * What a host can run beside tvm-ffi functions: PyTorch, and so the packages that are written for it in Python or as its extensions.
 * The host imports those itself, from bytes that were checked (kn_kernel_is_hosted, kn_kernel_read).
 */
typedef struct kn_framework {
    size_t struct_size;
    int32_t torch_major; // 0: there is none
    int32_t torch_minor;
    const char *torch_abi; // "cxx11" or "cxx98"; NULL: not known
} kn_framework;

#ifdef __cplusplus
#define KN_FRAMEWORK_INIT (kn_framework{sizeof(kn_framework), 0, 0, nullptr})
#else
#define KN_FRAMEWORK_INIT ((kn_framework){.struct_size = sizeof(kn_framework)})
#endif

/** Which kernel, for which device. Strings are borrowed for the call. */
typedef struct kn_kernel_options {
    size_t struct_size;
    const char *path;    // an absolute path of a package directory; or
    const char *repo_id; // a hub repository, with at most one of:
    const char *revision;
    const char *version;
    const char *lock;
    const char *device; // device type; NULL: "cpu"
    int32_t device_index;
    uint32_t trust_remote_code;
    const char *sums;              // absolute path of a *.lock.sums, with repo_id and without lock
    const kn_framework *framework; // NULL: packages for tvm-ffi alone
    const char *user_agent;        // put before the hub's in the requests of this call; NULL: none
} kn_kernel_options;

#ifdef __cplusplus
#define KN_KERNEL_OPTIONS_INIT                                                                     \
    (kn_kernel_options{sizeof(kn_kernel_options), nullptr, nullptr, nullptr, nullptr, nullptr,     \
                       nullptr, 0, 0, nullptr, nullptr, nullptr})
#else
#define KN_KERNEL_OPTIONS_INIT ((kn_kernel_options){.struct_size = sizeof(kn_kernel_options)})
#define KN_KERNEL_OPTIONS(...)                                                                     \
    (&(kn_kernel_options){.struct_size = sizeof(kn_kernel_options), __VA_ARGS__})
#endif

/**
 * Loads a kernel, or answers the one that is loaded: resolve, list, choose, fetch, check, load.
 *
 * The same package twice is one kernel; different versions live side by side; threads that ask at once load it once. What was
 * answered for a reference and device stays the answer until kn_context_forget, whatever becomes of the files or the repository. LOCAL_KERNELS
 * (`owner/name=/path:owner/name=/path`), read at each call, puts directories in the place of hub repositories.
 * trace: NULL, or takes every candidate and rule.
 * Error: that of the best variant: KN_ERR_NOT_FOUND, KN_ERR_INCOMPATIBLE, KN_ERR_UNTRUSTED, KN_ERR_UNSUPPORTED, KN_ERR_FORMAT,
 * KN_ERR_LOAD, KN_ERR_IO, KN_ERR_NETWORK, KN_ERR_DENIED, KN_ERR_CANCELLED, KN_ERR_INVALID, KN_ERR_NO_MEMORY. Threads: any; blocks on
 * the disk, the network, and on another thread that loads the same kernel.
 */
KN_API kn_status kn_context_get_kernel(kn_context *ctx, const kn_kernel_options *opts,
                                       kn_kernel **out, kn_trace *trace, kn_error *err);

/**
 * The same without loading: resolve, list, choose, fetch, check. For installing, and for asking what would be loaded.
 *
 * dir: the variant's directory. revision: NULL, or takes the commit of a hub repository (NULL for a directory); free it with
 * kn_revision_free. libtvm_ffi is opened, since its version is chosen for.
 * Error and threads as kn_context_get_kernel. Owns: *dir is the caller's: kn_string_free.
 */
KN_API kn_status kn_context_fetch_kernel(kn_context *ctx, const kn_kernel_options *opts, char **dir,
                                         kn_revision **revision, kn_trace *trace, kn_error *err);

/** The package that was loaded: name, variant, directory, layers. Borrowed. */
KN_API const kn_package *kn_kernel_package(const kn_kernel *kernel);
/** The hub repository; "" for a directory. Borrowed. */
KN_API const char *kn_kernel_repo_id(const kn_kernel *kernel);
/** The commit of a hub repository; "" for a local one. Borrowed. */
KN_API const char *kn_kernel_revision(const kn_kernel *kernel);

/** How far its bytes are to be believed; none for a directory of this machine. Threads: any. */
KN_API kn_level kn_kernel_level(const kn_kernel *kernel);

/**
 * Is it a package that the host imports (for PyTorch, or Python around tvm-ffi without layers of its own)? It has no functions then.
 * Never for a host without a framework.
 */
KN_API bool kn_kernel_is_hosted(const kn_kernel *kernel);

/** The files that were checked, without byte code: relative paths, sorted bytewise. NULL when index is not below the count. Borrowed. */
KN_API size_t kn_kernel_file_count(const kn_kernel *kernel);
KN_API const char *kn_kernel_file(const kn_kernel *kernel, size_t index);
/**
 * A file's bytes, which are those that were checked. Error: KN_ERR_NOT_FOUND (no such file), KN_ERR_UNTRUSTED (it was changed since),
 * KN_ERR_IO, KN_ERR_NO_MEMORY. Owns: *out is the caller's: kn_string_free; *size without the final zero. Threads: any; blocks on the disk.
 */
KN_API kn_status kn_kernel_read(const kn_kernel *kernel, const char *file, char **out, size_t *size,
                                kn_error *err);
/**
 * Reads a file and holds it against what was checked, for a loader that opens it by its path (a shared object, before and after).
 * path: takes the absolute path below the package's real directory, where a library finds its siblings by $ORIGIN; in a hub's cache the
 * file itself is a link, to the blob that was read. The caller's: kn_string_free. Errors and threads as kn_kernel_read.
 */
KN_API kn_status kn_kernel_check_file(const kn_kernel *kernel, const char *file, char **path,
                                      kn_error *err);

/** A function of a kernel, any tvm-ffi signature; borrowed until the context closes. */
typedef struct kn_function kn_function;

/**
 * By name, without the __tvm_ffi_ prefix. Error: KN_ERR_NOT_FOUND; KN_ERR_UNSUPPORTED for one that the host imports; KN_ERR_LOAD for a kernel that was chosen for a device which
 * KERNELS_DEVICE or the context's option describes and which is not here: such a kernel serves plans, and its code is not loaded.
 */
KN_API kn_status kn_kernel_function(const kn_kernel *kernel, const char *name,
                                    const kn_function **out, kn_error *err);

/**
 * Calls a function. args: borrowed for the call; NULL strides of a tensor are the caller's risk here, see kn_layer for guarded
 * calls. result: NULL, or takes the returned value: a number or none; a returned object is released and reads as none.
 * Error: KN_ERR_CALL with the kind and message that the kernel raised, or that it raised none. Threads: as the kernel says.
 */
KN_API kn_status kn_function_call(const kn_function *function, const kn_value *args, int32_t n_args,
                                  kn_value *result, kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
