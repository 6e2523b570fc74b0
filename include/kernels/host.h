/**
 * A host: how kernelize sees a model. The native module tree is one (module.h); a binding of another framework brings its own.
 */
#ifndef KERNELS_HOST_H
#define KERNELS_HOST_H

#include "base.h"
#include "context.h"
#include "device.h"
#include "layer.h"

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

/** A kernel layer that is to serve a class. Borrowed until the context closes. */
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
    uint32_t reserved;
} kn_host_kernel;

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
 * Required: all but capability.
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
} kn_host;

#ifdef __cplusplus
}
#endif
#endif
