// Inside the library: what a plan is made of. Decisions are shared by all modules that take them.
#ifndef KNI_KERNELIZE_PLAN_H
#define KNI_KERNELIZE_PLAN_H

#include "base/buf.h"
#include "kernels/host.h"
#include "kernels/plan.h"

// One decision: its record without the module's part, and what kernelize needs to act on it. Strings are owned, "" when nothing
// applies.
typedef struct kni_decision {
    // What was asked.
    void *cls;           // the host's; NULL without a model
    kn_host_state state; // OWN and KERNEL count as one
    kn_device_type device;
    int32_t device_index;
    // What was decided.
    int64_t capability;
    kn_mode mode; // asked for; of a report: when it was bound, 0 where the host does not say
    kn_mode mode_used;
    kn_outcome outcome;
    uint32_t rule;    // KN_FALLBACK_…
    kn_level level;   // of the kernel's bytes
    kn_status status; // of outcome error
    char *class_name;
    char *layer;
    char *reference; // the repository in words, for log lines
    char *repository;
    char *revision;
    char *variant;
    char *layer_name;
    char *reason;
    char *admits;
    char *warning; // NULL: none
    kn_trace *trace;
    const kn_reference *registered; // in the plan's mapping; NULL: none, or the plan was read
    kn_host_kernel kernel;          // of outcome kernel
    void *binding;                  // the host's; NULL: its own forward
} kni_decision;

typedef struct kni_record {
    size_t path; // offset in the plan's paths
    uint32_t decision;
    uint32_t changed;
} kni_record;

// Names, or globs of paths, that kernelize was restricted to. None: all.
typedef struct kni_filter {
    char **items;
    size_t count;
} kni_filter;

// What kernelize was asked, so that it can be asked again.
typedef struct kni_asked {
    bool is_there; // of kernelize with everything resolved, or read; else nothing below counts
    bool is_read;
    uint32_t fallback; // a set of KN_FALLBACK_…, without NONE: 0 is the empty set
    char *device;      // NULL: it was not given
    kni_filter layers;
    kni_filter paths;
} kni_asked;

struct kn_plan {
    kn_mode mode;
    kni_asked asked;
    kn_mapping *
        mapping; // that was used; of a plan that was read: its kernels. NULL: no decision has a reference
    bool of_layers; // of kn_explain: no modules
    kni_decision **decisions;
    size_t n_decisions;
    size_t decisions_capacity;
    kni_record *records;
    size_t n_records;
    size_t records_capacity;
    kni_buf paths; // zero-terminated, one after the other
    char *text;
    char *digest;
    uint64_t (*fallbacks)[KN_MISMATCH_REASONS]; // by record; NULL: not a report
};

// What a decision is made for, as a number.
static inline uint64_t kni_question_hash(const void *cls, kn_host_state state,
                                         kn_device_type device, int32_t index)
{
    uint64_t h = (uint64_t)(uintptr_t)cls * 0x9E3779B97F4A7C15u;
    h ^= ((uint64_t)device << 34) ^ ((uint64_t)(uint32_t)index << 2) ^ (uint64_t)state;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

kn_plan *kni_plan_new(kn_mode mode);
// An empty decision that the plan owns; NULL without memory.
kni_decision *kni_plan_add_decision(kn_plan *plan);
// A record of the last path that was appended to plan->paths, at `path`.
kn_status kni_plan_add_record(kn_plan *plan, size_t path, uint32_t decision, kn_error *err);
// Appends a module's path, with its zero, to the plan's paths.
kn_status kni_plan_append_path(kn_plan *plan, const kn_host *host, void *module, kn_error *err);
// Why a module with somebody else's forward is left alone.
const char *kni_foreign_text(kn_host_state state);
// A copy of a host's table, which has what is required; entries that an older host does not know are NULL.
kn_status kni_host_read(const kn_host *given, kn_host *host, kn_error *err);
const char *kni_plan_path(const kn_plan *plan, const kni_record *record);
// "NO_LAYER"; NULL for 0.
const char *kni_rule_text(uint32_t rule);

// Sets one of a decision's strings. False without memory.
bool kni_set(char **field, const char *text);
bool kni_setf(char **field, const char *format, ...) KN_PRINTF(2, 3);

#endif
