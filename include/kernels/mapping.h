/**
 * Mappings: which kernel serves a layer name on which device type, compute capability and mode. No input or output happens
 * here but in kn_mapping_read and kn_mapping_write.
 *
 * A mapping is an immutable value: kn_mapping_with makes a new one that shares almost everything with its base.
 */
#ifndef KERNELS_MAPPING_H
#define KERNELS_MAPPING_H

#include "base.h"
#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What a model is prepared for; a set of flags. INFERENCE and TRAINING exclude each other; FALLBACK, which is what an entry
 * without a mode is registered for, combines with nothing and cannot be asked for.
 *
 *   X(name, value, text)
 */
#define KN_MODE_LIST(X)                                                                            \
    X(KN_MODE_FALLBACK, 1, "FALLBACK")                                                             \
    X(KN_MODE_TRAINING, 2, "TRAINING")                                                             \
    X(KN_MODE_INFERENCE, 4, "INFERENCE")                                                           \
    X(KN_MODE_TORCH_COMPILE, 8, "TORCH_COMPILE")

enum {
#define KN_MODE_ENUM(name, value, text) name = value,
    KN_MODE_LIST(KN_MODE_ENUM)
#undef KN_MODE_ENUM
};
typedef uint32_t kn_mode;

/**
 * a | b by the rules above; 0 adds nothing.
 * Error: KN_ERR_INVALID ("mutually exclusive", "cannot be combined with other modes", unknown flags); *out is 0 then. Threads: any.
 */
KN_API kn_status kn_mode_union(kn_mode a, kn_mode b, kn_mode *out, kn_error *err);

/** "INFERENCE|TORCH_COMPILE", in any order, spaces allowed around '|'. Error: KN_ERR_INVALID, with what is accepted; *out is 0
 * then. Threads: any. */
KN_API kn_status kn_mode_parse(const char *text, kn_mode *out, kn_error *err);

/** "INFERENCE|TORCH_COMPILE": flags in the order of the list above, "0" for none. At most 63 bytes, into the caller's buffer, which
 * is returned. Threads: any. */
#define KN_MODE_TEXT_SIZE 64
KN_API const char *kn_mode_text(kn_mode mode, char out[KN_MODE_TEXT_SIZE]);

/**
 * What kernelize may be asked for: INFERENCE or TRAINING, each with or without TORCH_COMPILE.
 * Error: KN_ERR_INVALID ("can only be used to register kernel mappings", "mode must contain", "Unsupported mode:"). Threads: any.
 */
KN_API kn_status kn_mode_check_request(kn_mode mode, kn_error *err);

/**
 * The modes that are tried for a request, in order, into out; returns their number (2 to 5), 0 for what cannot be asked for.
 * INFERENCE: INFERENCE, INFERENCE|TORCH_COMPILE, TRAINING, TRAINING|TORCH_COMPILE, FALLBACK;
 * INFERENCE|TORCH_COMPILE: itself, TRAINING|TORCH_COMPILE, FALLBACK; TRAINING: itself, TRAINING|TORCH_COMPILE, FALLBACK;
 * TRAINING|TORCH_COMPILE: itself, FALLBACK.
 */
#define KN_MODE_CHAIN_MAX 5
KN_API size_t kn_mode_chain(kn_mode mode, kn_mode out[KN_MODE_CHAIN_MAX]);

/**
 * An inclusive interval of capabilities (major*10+minor; of a CPU its level). All zero: every device of the type, known capability
 * or not; 0 to KN_CAPABILITY_MAX is the same.
 */
typedef struct kn_range {
    int64_t min;
    int64_t max;
    uint32_t given; // 0: min and max are not looked at
    uint32_t reserved;
} kn_range;

#define KN_CAPABILITY_MAX INT64_MAX
#ifdef __cplusplus
#define KN_RANGE(min_, max_) (kn_range{(min_), (max_), 1, 0})
#else
#define KN_RANGE(min_, max_) ((kn_range){(min_), (max_), 1, 0})
#endif

/**
 * Something of the host's that an entry carries through the mapping to whoever loads it. Shared by reference: every mapping that holds
 * the entry holds it. NULL data: none.
 * Threads: retain and release are called on any thread that makes or frees mappings, without a lock of ours.
 */
typedef struct kn_object {
    void *data;
    void (*retain)(void *data); // required with data
    void (*release)(void *data);
} kn_object;

/**
 * One thing to register: this kernel serves this layer on this device. Strings are copied by the callee; they are UTF-8 without
 * control characters and invisible marks, and never empty.
 *
 * Exactly one of repo_id and path is given, or neither with an object: a repository that the host loads by itself. A hub repository
 * takes at most one of revision, version and lock; none means the branch main, and each may have sums beside it. A path and a host's
 * repository take none of them.
 */
typedef struct kn_entry {
    size_t struct_size;
    const char *layer;   // required: the extensible layer's name, at most 256 bytes
    const char *device;  // required: device type, "cuda"
    kn_range capability; // cpu, cuda and rocm only, from 0, min <= max; zero: all
    kn_mode mode;        // 0: KN_MODE_FALLBACK; else that, or what kernelize may be asked for
    uint32_t trust_remote_code; // 1: consent to a publisher that nobody vouches for
    const char *repo_id;        // "owner/name"
    const char *path;           // an absolute path of a package directory
    const char *revision;       // a branch, tag or commit
    const char *
        version; // a specifier over tags, ">=0.0.4,<0.1.0"; or digits alone: the version branch v<N>
    const char *layer_name; // the layer's name in the repository; NULL: as `layer`
    const char *lock;       // an absolute path of a lock file: what it names is loaded
    const char *
        sums; // an absolute path of a *.lock.sums: the commit and the content that it names; not with lock
    kn_object object; // the host's; retained while a mapping holds the entry
    const char *
        label; // how a repository with neither repo_id nor path is called in messages; required with those alone
    const char *
        user_agent; // put before the hub's in what is asked for this entry; with repo_id alone, and never written to a file
} kn_entry;

#ifdef __cplusplus
#define KN_ENTRY_INIT                                                                              \
    (kn_entry{sizeof(kn_entry),                                                                    \
              nullptr,                                                                             \
              nullptr,                                                                             \
              {0, 0, 0, 0},                                                                        \
              0,                                                                                   \
              0,                                                                                   \
              nullptr,                                                                             \
              nullptr,                                                                             \
              nullptr,                                                                             \
              nullptr,                                                                             \
              nullptr,                                                                             \
              nullptr,                                                                             \
              nullptr,                                                                             \
              {nullptr, nullptr, nullptr},                                                         \
              nullptr,                                                                             \
              nullptr})
#else
#define KN_ENTRY_INIT ((kn_entry){.struct_size = sizeof(kn_entry)})
/** One entry as an argument; several: an array whose first element's struct_size counts for all. */
#define KN_ENTRY(...) (&(kn_entry){.struct_size = sizeof(kn_entry), __VA_ARGS__})
#endif

/** Where a kernel comes from. */
typedef enum kn_reference_kind {
    KN_REFERENCE_HUB = 1,    // repo_id with revision, version or neither
    KN_REFERENCE_PATH = 2,   // a directory
    KN_REFERENCE_LOCKED = 3, // repo_id as a lock file names it
    KN_REFERENCE_HOST = 4,   // the host's own: it loads the layer from its object
} kn_reference_kind;

/** A reference as a mapping holds it. Borrowed from the mapping; strings are NULL where they do not apply. */
typedef struct kn_reference {
    size_t struct_size;
    kn_reference_kind kind;
    uint32_t trust_remote_code;
    const char *repo_id;
    const char *path; // absolute
    const char
        *path_written; // as it was written, for people: relative to the mapping file, or as path
    const char *revision;
    const char *version;    // a specifier
    int64_t version_branch; // N of the version branch; -1: none
    const char *layer_name; // never NULL in a mapping; may be NULL where a whole kernel is meant
    const char *lock;       // absolute
    const char *text;       // `owner/name` (version: …), layer `X`: for messages
    const char *sums;       // absolute; of KN_REFERENCE_HUB alone
    void *object;           // the host's, as the entry gave it; NULL: none
    const char *label;      // of KN_REFERENCE_HOST alone
    const char *user_agent; // of who asks a hub: no part of what is asked; NULL: none
} kn_reference;

/** A mapping. NULL reads as an empty one wherever one is read. */
typedef struct kn_mapping kn_mapping;

/**
 * A new value: base with n entries registered over it. `base` NULL: without inheritance, the entries alone. All or nothing.
 *
 * Entries of one call with the same layer, device and interval form one mode table, which ranks by its last entry and replaces
 * a table of the same interval in base as a whole. The same mode twice in a table is an error.
 * Error: KN_ERR_INVALID (which entry, what came, what is accepted), KN_ERR_NO_MEMORY.
 * Owns: *out is the caller's; unref it. Threads: any.
 */
KN_API kn_status kn_mapping_with(const kn_mapping *base, const kn_entry *entries, size_t n_entries,
                                 kn_mapping **out, kn_error *err);

/** A new value: every table of `over`, in its order, registered over base. Error: KN_ERR_NO_MEMORY. Ownership and threads as
 * kn_mapping_with. */
KN_API kn_status kn_mapping_join(const kn_mapping *base, const kn_mapping *over, kn_mapping **out,
                                 kn_error *err);

/**
 * Reads a mapping file (docs/mapping.md). Relative paths in it are relative to it. Where `X.lock.sums` stands beside `X.toml`, every
 * hub repository of the file without lock and sums of its own gets it as its sums.
 * Error: KN_ERR_FORMAT (file, line and what is accepted), KN_ERR_NOT_FOUND, KN_ERR_IO, KN_ERR_NO_MEMORY. Ownership as
 * kn_mapping_with. Threads: any; blocks on the disk.
 */
KN_API kn_status kn_mapping_read(const char *path, kn_mapping **out, kn_error *err);

/** The same from memory, and without a look at the disk: `name` begins the errors, `dir` (absolute; NULL: relative paths are refused) is what paths are relative to. */
KN_API kn_status kn_mapping_parse(const char *text, size_t size, const char *name, const char *dir,
                                  kn_mapping **out, kn_error *err);

/** The mapping as TOML, entries in the order of registration, paths absolute; the caller's, free with kn_string_free. Reading it
 * gives the same mapping, without the host's objects. Error: KN_ERR_UNSUPPORTED (a repository of the host's own cannot be written),
 * KN_ERR_NO_MEMORY. Threads: any. */
KN_API kn_status kn_mapping_text(const kn_mapping *mapping, char **out, kn_error *err);

/** Writes that text to a file, whole or not at all. Error: KN_ERR_IO, KN_ERR_NOT_FOUND, and those of kn_mapping_text. Threads: any;
 * blocks on the disk. */
KN_API kn_status kn_mapping_write(const kn_mapping *mapping, const char *path, kn_error *err);

/** Shares the value. NULL is fine. Threads: any. */
KN_API kn_mapping *kn_mapping_ref(const kn_mapping *mapping);
KN_API void kn_mapping_unref(kn_mapping *mapping);

/** One registered entry, borrowed from the mapping. */
typedef struct kn_mapping_row {
    size_t struct_size;
    const char *layer;
    kn_device_type device;
    kn_mode mode;
    kn_range capability; // min 0, max KN_CAPABILITY_MAX and `given` 0 for every capability
    const kn_reference *reference;
} kn_mapping_row;

#ifdef __cplusplus
#define KN_MAPPING_ROW_INIT                                                                        \
    (kn_mapping_row{sizeof(kn_mapping_row), nullptr, KN_DEVICE_NONE, 0, {0, 0, 0, 0}, nullptr})
#else
#define KN_MAPPING_ROW_INIT ((kn_mapping_row){.struct_size = sizeof(kn_mapping_row)})
#endif

/** Number of registered entries; kn_mapping_row_get gives each, in order of registration: tables by rank, modes as they were given.
 * Threads: any. */
KN_API size_t kn_mapping_count(const kn_mapping *mapping);
/**
 * *out starts with KN_MAPPING_ROW_INIT. The first call for a value sorts its tables.
 * Error: KN_ERR_INVALID (index; *out not initialised), KN_ERR_NO_MEMORY; *out keeps its content then. Threads: any.
 */
KN_API kn_status kn_mapping_row_get(const kn_mapping *mapping, size_t index, kn_mapping_row *out,
                                    kn_error *err);

/** How a look-up ended. */
typedef enum kn_found {
    KN_FOUND = 0,
    KN_FOUND_NO_LAYER = 1,
    KN_FOUND_NO_DEVICE = 2,
    KN_FOUND_NO_PROPERTIES = 3, // no interval contains the capability
    KN_FOUND_NO_MODE = 4,       // the interval's table has no mode of the chain
} kn_found;

typedef struct kn_mapping_answer {
    size_t struct_size;
    kn_found found;
    kn_mode mode;                  // as registered; 0 unless found
    kn_range capability;           // the interval that was chosen; zero when none was
    const kn_reference *reference; // borrowed from the mapping; NULL unless found
} kn_mapping_answer;

#ifdef __cplusplus
#define KN_MAPPING_ANSWER_INIT                                                                     \
    (kn_mapping_answer{sizeof(kn_mapping_answer), KN_FOUND, 0, {0, 0, 0, 0}, nullptr})
#else
#define KN_MAPPING_ANSWER_INIT ((kn_mapping_answer){.struct_size = sizeof(kn_mapping_answer)})
#endif

/**
 * The reference for a layer: smallest interval that contains the capability (equal sizes: the later registration), then the
 * first mode of the request's chain in the table of that interval alone.
 *
 * capability: -1 when unknown; then only entries without an interval apply.
 * out: starts with KN_MAPPING_ANSWER_INIT.
 * trace: NULL, or takes an entry for every table of the device ("mapping") and every mode that was looked at ("mode").
 * Returns KN_OK whether something was found or not; KN_ERR_INVALID for a mode that cannot be asked for and an *out that was not
 * initialised, KN_ERR_NO_MEMORY (trace).
 * No allocation without a trace. Threads: any.
 */
KN_API kn_status kn_mapping_find(const kn_mapping *mapping, const char *layer,
                                 kn_device_type device, int64_t capability, kn_mode mode,
                                 kn_mapping_answer *out, kn_trace *trace, kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
