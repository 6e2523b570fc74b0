/**
 * A host: how kernelize sees a model. The native module tree is one (module.h); a binding of another framework brings its own.
 */
#ifndef KERNELS_HOST_H
#define KERNELS_HOST_H

#include "base.h"
#include "context.h"
#include "device.h"
#include "hub.h"
#include "layer.h"
#include "mapping.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One module as the walk meets it. Handles are the host's; they stay valid for the whole kernelize call. */
typedef struct kn_host_module {
    void *module;
    void *cls;             // the same for modules that take the same decisions
    kn_device_type device; // of its own tensors; KN_DEVICE_NONE: it has none
    int32_t device_index;
    uint32_t depth; // 0: the model itself; an ancestor is the last module met with a smaller depth
    uint32_t extensible; // 0: the class has no layer name
} kn_host_module;

/** What kernelize wants to know of a class; asked once or twice per class and call. Borrowed until the call ends. */
typedef struct kn_host_class {
    size_t struct_size;
    const char *name;
    const char *layer;         // the extensible name
    const kn_layer *signature; // NULL: it carries none
    const char *
        refusal; // why its modules are never replaced ("a subclass with its own forward"); NULL: they are
} kn_host_class;

/** A kernel layer that is to serve a class. Handles are borrowed until the context closes, strings for the call. */
typedef struct kn_host_kernel {
    size_t struct_size;
    const kn_kernel *kernel;
    const char *layer_name;
    const kn_layer *layer;
    const kn_function *forward;
    const kn_function *backward; // NULL: none
    kn_device_type device;
    int32_t device_index; // the only device that the code was chosen for; -1: every one of the type
    uint32_t strict;      // 1: arguments that do not fit are an error
    kn_mode mode;         // that was asked for
    void *
        hosted; // what kn_host.load gave: a layer of the host's own kind; layer, forward and backward are NULL then. NULL: a native one
    const char *repository; // as in a plan's record: repo_id, or the path as written
    const char *revision;
    const char *variant;
    const char *text; // the repository in words, for messages
    kn_level level;
    kn_mode mode_used; // that it was registered for
} kn_host_kernel;

/** A kernel layer that the host looks at before it is taken. */
typedef struct kn_host_candidate {
    size_t struct_size;
    const kn_reference *reference;
    const kn_kernel
        *kernel; // NULL: of KN_REFERENCE_HOST, which the host loads from reference->object
    const kn_layer *
        layer; // a native layer: the host only holds its class against it; NULL: the host loads `layer_name`
    const char *layer_name;
    const char *text; // the repository in words, with the revision where there is one, for messages
} kn_host_candidate;

/** What the host says of it. Strings are copied. */
typedef struct kn_host_layer {
    size_t struct_size;
    void *hosted; // the layer, kept by the host until the context closes; NULL for a native one
    uint32_t has_backward;
    uint32_t can_torch_compile;
    const char *warning;    // said once with the decision; NULL: none
    const char *repository; // of KN_REFERENCE_HOST: for the record; NULL: its label
    const char *revision;
} kn_host_layer;

/** What a binding of the host is, for reports. Borrowed until the binding is freed. */
typedef struct kn_host_bound {
    size_t struct_size;
    const char *repository;
    const char *revision;
    const char *variant;
    const char *layer_name;
    kn_mode mode; // that was asked for; 0: not known
    kn_level level;
    kn_mode mode_used;     // that it was registered for; 0: not known
    kn_device_type device; // that it was made for; KN_DEVICE_NONE: not known
    int32_t device_index;  // the only one; -1: every one of the type
    uint32_t reserved;
} kn_host_bound;

/** Why the modules of a class run their own forward on a device. */
typedef struct kn_host_reason {
    size_t struct_size;
    kn_device_type device;
    int32_t device_index;
    uint32_t rule; // KN_FALLBACK_…; 0: none of them
    uint32_t reserved;
    const char *reason; // one sentence; NULL: a kernel serves them, or nothing is known
    const char *admits; // what would admit it; "": nothing to say
} kn_host_reason;

/** What is bound to a module now. */
typedef enum kn_host_state {
    KN_HOST_OWN = 0,           // its own forward
    KN_HOST_KERNEL = 1,        // a binding of ours
    KN_HOST_FOREIGN = 2,       // somebody else's forward; never bound by us
    KN_HOST_FOREIGN_SINCE = 3, // somebody else's forward, set over a binding of ours
} kn_host_state;

typedef kn_status (*kn_host_visit_fn)(const kn_host_module *module, void *data, kn_error *err);

/**
 * The table. All entries run on the thread that called kernelize, without a lock of ours. `user` is the host's.
 * Required: all but capability and what comes after `user`.
 */
typedef struct kn_host {
    size_t struct_size;
    // Calls visit for every module once, parents first, in the host's order; stops at the first failure and returns it.
    kn_status (*walk)(void *user, kn_host_visit_fn visit, void *data, kn_error *err);
    kn_status (*describe)(void *user, void *cls, kn_host_class *out, kn_error *err);
    // Writes the module's path, zero-terminated and cut to size; returns its whole length.
    size_t (*path)(void *user, void *module, char *out, size_t size);
    kn_host_state (*state)(void *user, void *module, void **binding);
    // Makes, or finds, what commit will set for modules of a class. May fail; nobody sees it before commit.
    kn_status (*prepare)(void *user, void *cls, const kn_host_kernel *kernel, void **binding,
                         kn_error *err);
    // Swaps the forward: a binding, or NULL for the own forward. Cannot fail.
    void (*commit)(void *user, void *module, void *binding);
    // The capability of a device as the framework sees it; NULL: as the context's machine says.
    kn_status (*capability)(void *user, kn_device_type device, int32_t index, int64_t *out,
                            kn_error *err);
    void *user;
    // What packages can be imported by the host; NULL: none.
    const kn_framework *framework;
    // Loads a layer of the host's own kind, and holds the class against any layer. Error: KN_ERR_LAYER (they contradict each other) and
    // KN_ERR_CANCELLED are errors whatever the fallback is, every other status is a case of CANNOT_LOAD. NULL: native layers alone, by
    // their signatures.
    kn_status (*load)(void *user, void *cls, const kn_host_candidate *candidate, kn_host_layer *out,
                      kn_error *err);
    // What a binding is. Required by kn_report_host.
    void (*bound)(void *user, void *binding, kn_host_bound *out);
    // Calls of a module that fell back so far, by kn_mismatch_reason into counts, which are zero; NULL: they are not counted.
    void (*fallbacks)(void *user, void *module, uint64_t *counts, size_t n_counts);
    // Where a user is sent by a warning that nothing was replaced; NULL: the words for C.
    const char *advice;
    // Told after the last swap of a kernelize, never in a dry run, once for each class and device that was decided for: why the own forward
    // serves, or with reason NULL that a kernel does. What is told replaces what was told of that class and device before. Strings are
    // borrowed for the call. A class that the host refuses and a forward of somebody else's are not told: they are asked for again. Cannot
    // fail: without memory nothing is known. NULL: reports say nothing.
    void (*declined)(void *user, void *cls, const kn_host_reason *why);
    // What `declined` was told last of that class on out->device; KN_DEVICE_NONE: on whichever device came last, which is written. Reason
    // stays NULL when nothing is known. Borrowed until the next entry is called. NULL: reports say nothing.
    void (*why)(void *user, void *cls, kn_host_reason *out);
} kn_host;

#ifdef __cplusplus
}
#endif
#endif
