/**
 * Kernelize: decide for all modules, load, check, then swap; on any error nothing is swapped.
 */
#ifndef KERNELS_KERNELIZE_H
#define KERNELS_KERNELIZE_H

#include "base.h"
#include "context.h"
#include "host.h"
#include "mapping.h"
#include "module.h"
#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KN_KERNELIZE_DRY_RUN = 1, // decide, load and check, but swap nothing
    KN_KERNELIZE_NO_RESOLVE =
        2, // stop at the repository reference and read nothing; implies DRY_RUN
};

typedef struct kn_kernelize_options {
    size_t struct_size;
    kn_mode mode;      // required: INFERENCE or TRAINING, each with or without TORCH_COMPILE
    uint32_t fallback; // a set of KN_FALLBACK_…; 0: KN_FALLBACK_DEFAULT
    const kn_mapping *mapping; // used alone; NULL: the context's base
    const char *
        device; // "cuda", "cuda:1"; NULL: of the module's tensors, else its nearest ancestor's, else the model's first
    const char *const *layers; // only these extensible names; NULL: all
    size_t n_layers;
    const char *const *paths; // only modules whose path matches one of these globs; NULL: all
    size_t n_paths;
    uint32_t flags;
    uint32_t reserved;
} kn_kernelize_options;

#ifdef __cplusplus
#define KN_KERNELIZE_OPTIONS_INIT                                                                  \
    (kn_kernelize_options{sizeof(kn_kernelize_options), 0, 0, nullptr, nullptr, nullptr, 0,        \
                          nullptr, 0, 0, 0})
#else
#define KN_KERNELIZE_OPTIONS_INIT                                                                  \
    ((kn_kernelize_options){.struct_size = sizeof(kn_kernelize_options)})
#define KN_KERNELIZE_OPTIONS(...)                                                                  \
    (&(kn_kernelize_options){.struct_size = sizeof(kn_kernelize_options), __VA_ARGS__})
#endif

/**
 * Binds kernels to the extensible modules of a tree, in place. Again with another mode or mapping: each module is decided anew; an
 * equal decision writes nothing and logs nothing. Modules that a filter leaves out stay as they are.
 *
 * DISABLE_KERNEL_MAPPING in the environment (but empty, 0, false, no and off): every extensible module gets its own forward.
 *
 * plan: NULL, or takes what was decided; free it with kn_plan_free.
 * Error: KN_ERR_INVALID (mode, device, filter), KN_ERR_NO_KERNEL (a case outside the fallback set), KN_ERR_LAYER (a kernel layer
 * contradicts the class, or was registered for a mode that it does not support), KN_ERR_NO_MEMORY, and what loading returns: module
 * path, layer, rule and what would admit it. The model is then as it was.
 * Threads: one at a time per model; calls of its modules may go on.
 */
KN_API kn_status kn_kernelize(kn_context *ctx, kn_module *model, const kn_kernelize_options *opts,
                              kn_plan **plan, kn_error *err);

/** The same for a host of one's own. */
KN_API kn_status kn_kernelize_host(kn_context *ctx, const kn_host *host,
                                   const kn_kernelize_options *opts, kn_plan **plan, kn_error *err);

/**
 * Gives every kernelized module its own forward again. What somebody else set since is left alone and reported.
 * plan: NULL, or takes what was done. Error: KN_ERR_NO_MEMORY (nothing was changed). Threads: as kn_kernelize.
 */
KN_API kn_status kn_unkernelize(kn_module *model, kn_plan **plan, kn_error *err);
KN_API kn_status kn_unkernelize_host(const kn_host *host, kn_plan **plan, kn_error *err);

/**
 * What the extensible modules of a tree are bound to now, one record a module, with the calls that fell back so far. Truth lies on
 * the modules: it does not matter who bound them.
 *
 * Nothing is written on a module that runs its own forward: its rule, reason and what would admit it are those of the last kernelize
 * (no dry run) that met its class on its device, whatever model that was; of a module of which no device can be told, on any. After a
 * kernelize that gave the class a kernel, or none at all, the reason is "was not kernelized".
 *
 * Error: KN_ERR_NO_MEMORY, KN_ERR_INVALID. Threads: as kn_kernelize.
 */
KN_API kn_status kn_report(kn_module *model, kn_plan **plan, kn_error *err);
/** The same for a host of one's own; its entry `bound` is required. */
KN_API kn_status kn_report_host(const kn_host *host, kn_plan **plan, kn_error *err);

/**
 * Does what a plan says, through every check again: kernelizes with the plan's mode, fallback, device and kernels, each at the revision
 * that the plan names. What would come out is decided first: where another module would be bound, or to another kernel, nothing is.
 *
 * want: of kn_kernelize (DRY_RUN or not), or read by kn_plan_read. plan: NULL, or takes what was done.
 * Error: KN_ERR_CONFLICT (the first module that differs, what the plan says and what it would be), KN_ERR_INVALID (a plan of another
 * kind), and those of kn_kernelize. Threads: as kn_kernelize.
 */
KN_API kn_status kn_plan_apply(kn_context *ctx, const kn_plan *want, kn_module *model,
                               kn_plan **plan, kn_error *err);
KN_API kn_status kn_plan_apply_host(kn_context *ctx, const kn_plan *want, const kn_host *host,
                                    kn_plan **plan, kn_error *err);

/**
 * The decision for layers without a model, one record a layer; what kernelize would refuse is a record with outcome error.
 * layers NULL: every layer of the mapping, in order of registration. opts.device NULL: the machine's first device that the mapping
 * names, else cpu. Filters are not looked at.
 */
KN_API kn_status kn_explain(kn_context *ctx, const char *const *layers, size_t n_layers,
                            const kn_kernelize_options *opts, kn_plan **plan, kn_error *err);

/** How two results of a call differ. */
typedef struct kn_comparison {
    size_t struct_size;
    double max_abs; // largest |kernel - own|
    double max_rel; // largest |kernel - own| / largest |own| of the same row (last dimension)
    double
        tolerance; // what max_rel may be: twice what the layer declares for the output's dtype; 0: it declares none
    uint32_t within; // 1: max_rel <= tolerance, and NaN and infinities stand in the same places
    uint32_t output; // index of the output with the largest max_rel
    int64_t element; // its element, counted in row-major order
} kn_comparison;

/**
 * Runs the bound kernel and the module's own forward on the same inputs and compares. CPU tensors only.
 *
 * values: inputs, then outputs, as for kn_call; the outputs receive what the own forward gives.
 * Error: KN_ERR_INVALID (no kernel is bound), KN_ERR_UNSUPPORTED (device, dtype), KN_ERR_ARGUMENTS (the kernel refuses the
 * arguments), KN_ERR_CALL, KN_ERR_NO_MEMORY. Threads: as a call.
 */
KN_API kn_status kn_compare(kn_module *module, const kn_value *values, int32_t n_values,
                            kn_comparison *out, kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
