/**
 * Plans: what kernelize decided for each extensible module, and why. Immutable data, which outlives model and context.
 *
 * Threads, where a declaration says nothing: any; freeing after all others. Nothing here blocks.
 */
#ifndef KERNELS_PLAN_H
#define KERNELS_PLAN_H

#include "base.h"
#include "device.h"
#include "hub.h"
#include "layer.h"
#include "mapping.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_plan kn_plan;

/**
 * What became of a module or layer.
 *
 *   X(name, value, text)
 */
#define KN_OUTCOME_LIST(X)                                                                         \
    X(KN_OUTCOME_KERNEL, 1, "kernel")       /* a kernel serves it */                               \
    X(KN_OUTCOME_REFERENCE, 2, "reference") /* a repository serves it; nothing was resolved */     \
    X(KN_OUTCOME_FALLBACK, 3, "fallback")   /* its own forward serves it */                        \
    X(KN_OUTCOME_ERROR, 4, "error")         /* outside the fallback set, or a contradiction */     \
    X(KN_OUTCOME_RESTORED, 5, "restored")   /* undone: its own forward again */                    \
    X(KN_OUTCOME_LEFT, 6, "left alone")     /* somebody else's forward */

typedef enum kn_outcome {
#define KN_OUTCOME_ENUM(name, value, text) name = value,
    KN_OUTCOME_LIST(KN_OUTCOME_ENUM)
#undef KN_OUTCOME_ENUM
} kn_outcome;

KN_API const char *kn_outcome_text(kn_outcome outcome);

/**
 * Cases in which the own forward serves: the rule that refused. Also the members of a fallback set.
 *
 *   X(name, value, text)
 */
#define KN_FALLBACK_LIST(X)                                                                        \
    X(KN_FALLBACK_NO_LAYER, 1, "NO_LAYER")                                                         \
    X(KN_FALLBACK_NO_DEVICE, 2, "NO_DEVICE")                                                       \
    X(KN_FALLBACK_NO_COMPATIBLE_PROPERTIES, 4, "NO_COMPATIBLE_PROPERTIES")                         \
    X(KN_FALLBACK_NO_COMPATIBLE_MODE, 8, "NO_COMPATIBLE_MODE")                                     \
    X(KN_FALLBACK_CANNOT_LOAD, 16, "CANNOT_LOAD")

enum {
#define KN_FALLBACK_ENUM(name, value, text) name = value,
    KN_FALLBACK_LIST(KN_FALLBACK_ENUM)
#undef KN_FALLBACK_ENUM
        KN_FALLBACK_DEFAULT = 15, // all but CANNOT_LOAD; also what 0 means
    KN_FALLBACK_ALL = 31,
    KN_FALLBACK_NONE = 256, // no case: any fallback is an error, at calls too
};

/** One decision, borrowed from the plan. Strings are "" where nothing applies, numbers as noted. */
typedef struct kn_record {
    size_t struct_size;
    const char *path; // module path; the layer's name where a layer was asked for without a model
    const char *class_name; //
    const char *layer;      // the extensible name
    kn_device_type device;
    int32_t device_index;
    int64_t capability;     // -1: unknown
    kn_mode mode;           // asked for
    kn_mode mode_used;      // registered; 0: none
    const char *repository; // repo_id, or the path as written
    const char *revision;
    const char *variant;
    const char *layer_name; // in the repository
    kn_outcome outcome;
    uint32_t rule;      // KN_FALLBACK_…; 0: none of them
    const char *reason; // one sentence
    const char *admits; // what would admit it
    uint32_t changed;   // 1: the module's forward was swapped by this call
    kn_level level;     // of the kernel's bytes
} kn_record;

KN_API void kn_plan_free(kn_plan *plan);
KN_API size_t kn_plan_count(const kn_plan *plan);
/** Error: KN_ERR_INVALID (index). */
KN_API kn_status kn_plan_get(const kn_plan *plan, size_t index, kn_record *out, kn_error *err);
/** The steps that led to a decision; records with one decision share it. Borrowed; NULL when index is not below the count. */
KN_API const kn_trace *kn_plan_trace(const kn_plan *plan, size_t index);

/** Number of records with that outcome. */
KN_API size_t kn_plan_outcome_count(const kn_plan *plan, kn_outcome outcome);

/**
 * For people: a tree of the module names with each module's kernel or reason, equal neighbours folded ("layers.0 … 29").
 * Made when first asked for; borrowed from the plan; "" without memory. Threads: one at a time per plan.
 */
KN_API const char *kn_plan_text(kn_plan *plan);

/** For programs: docs/plan.schema.json. The caller's, free with kn_string_free. Threads: one at a time per plan. */
KN_API kn_status kn_plan_json(kn_plan *plan, char **out, kn_error *err);

/**
 * SHA-256 over the decisions, 64 hexadecimal digits: equal digests, equal decisions. Made when first asked for; borrowed from the
 * plan; "" without memory. Threads: one at a time per plan.
 */
KN_API const char *kn_plan_digest(kn_plan *plan);

/**
 * Writes a plan to a file, whole or not at all: its JSON (docs/plan.schema.json), with the mode, the fallback set, the device and the
 * filters that were asked for, and the kernels that it binds as a mapping of their own (kn_plan_mapping).
 * Error: KN_ERR_UNSUPPORTED (a repository of a host's own, which a file cannot name; more than 1 048 576 modules), KN_ERR_INVALID (a plan that kernelize did not
 * make), KN_ERR_IO, KN_ERR_NO_MEMORY. Threads: one at a time per plan; blocks on the disk.
 */
KN_API kn_status kn_plan_write(kn_plan *plan, const char *path, kn_error *err);
/**
 * Reads it again: records without traces, for kn_plan_apply and for showing. The file is a stranger's: nothing of it is believed that
 * kernelize does not check again.
 * Error: KN_ERR_FORMAT (the file, the key, what came and what is accepted), KN_ERR_NOT_FOUND, KN_ERR_IO, KN_ERR_NO_MEMORY.
 * Owns: *out is the caller's: kn_plan_free. Threads: any; blocks on the disk.
 */
KN_API kn_status kn_plan_read(const char *path, kn_plan **out, kn_error *err);
/**
 * The kernels that a plan binds as a mapping: each layer on its device and capability, in the mode it was used for, at its revision. What
 * a lock or sums file names keeps that file, which knows the commit and the content. An entry carries its consent (trust_remote_code), user agent
 * and the host's object along.
 * Error: KN_ERR_INVALID (a plan that kernelize did not make, or with NO_RESOLVE), KN_ERR_NO_MEMORY. Owns: *out is the caller's:
 * kn_mapping_unref. Threads: any.
 */
KN_API kn_status kn_plan_mapping(const kn_plan *plan, kn_mapping **out, kn_error *err);

/** How often calls of a record's module had fallen back for a reason when kn_report made the plan; 0 in other plans. */
KN_API uint64_t kn_plan_fallback_count(const kn_plan *plan, size_t index,
                                       kn_mismatch_reason reason);

#ifdef __cplusplus
}
#endif
#endif
