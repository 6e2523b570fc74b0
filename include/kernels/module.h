/**
 * The native module tree: a model as libkernels sees it in C. A class has a layer name, a signature and its own forward; a module
 * is an instance with a place in the tree, members (tensors and scalars) and children. A call goes through one inline function.
 *
 * Threads, where a declaration says nothing: what makes or reads classes: any; what reads a tree: any, while nobody makes or frees a
 * module of it or sets a member of the same module; freeing: after all others. Nothing here blocks.
 */
#ifndef KERNELS_MODULE_H
#define KERNELS_MODULE_H

#include "base.h"
#include "layer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_class kn_class;
typedef struct kn_module kn_module;
typedef struct kn_binding kn_binding;

/**
 * A forward: inputs, then outputs that the caller has allocated, in the signature's order; all borrowed for the call.
 * Threads: as many as call the module. Returns KN_OK, or a failure whose text it put into err with kn_error_set.
 */
typedef kn_status (*kn_forward_fn)(kn_module *self, const kn_value *values, int32_t n_values,
                                   void *user, kn_error *err);

typedef struct kn_class_options {
    size_t struct_size;
    const char *name;      // required: "llama.SiluAndMul"
    const char *layer;     // the extensible layer's name; NULL: not extensible
    kn_forward_fn forward; // own forward; NULL: inherited, or a container that is never called
    void *user;            // handed to forward
    const char *signature; // docs/layers.md; NULL: a kernel is taken without comparing signatures
    const char *members;   // members that the signature speaks of; NULL: none
    kn_class *
        base; // inherits layer, forward and signature; a forward of one's own drops the inherited layer
} kn_class_options;

#ifdef __cplusplus
#define KN_CLASS_OPTIONS_INIT                                                                      \
    (kn_class_options{sizeof(kn_class_options), nullptr, nullptr, nullptr, nullptr, nullptr,       \
                      nullptr, nullptr})
#else
#define KN_CLASS_OPTIONS_INIT ((kn_class_options){.struct_size = sizeof(kn_class_options)})
#define KN_CLASS_OPTIONS(...)                                                                      \
    (&(kn_class_options){.struct_size = sizeof(kn_class_options), __VA_ARGS__})
#endif

/**
 * Makes a class. Strings are copied.
 * Error: KN_ERR_INVALID, KN_ERR_FORMAT (signature: column, what came, what is accepted), KN_ERR_NO_MEMORY.
 * Owns: *out is the caller's, unref it; modules, subclasses and contexts that bound a kernel to it hold references of their own.
 */
KN_API kn_status kn_class_new(const kn_class_options *opts, kn_class **out, kn_error *err);
KN_API kn_class *kn_class_ref(kn_class *cls);
KN_API void kn_class_unref(kn_class *cls);

/** Makes a class extensible from outside (NULL: no longer). Threads: not beside a kernelize of a model that has the class. */
KN_API kn_status kn_class_set_layer(kn_class *cls, const char *layer, kn_error *err);

/** Borrowed from the class. The layer is NULL when it is not extensible. */
KN_API const char *kn_class_name(const kn_class *cls);
KN_API const char *kn_class_layer(const kn_class *cls);

/**
 * Makes a module below parent (NULL: the root of a tree). `name` may hold dots ("layers.0.act"); it is unique among its
 * siblings. cls NULL: a container.
 * Error: KN_ERR_INVALID, KN_ERR_NO_MEMORY. Owns: the root owns the tree. Threads: one at a time per tree.
 */
KN_API kn_status kn_module_new(kn_module *parent, const char *name, kn_class *cls, kn_module **out,
                               kn_error *err);

/** Frees a module with all below it, and takes it out of its parent. After the last call of each. NULL is fine. */
KN_API void kn_module_free(kn_module *module);

/**
 * Sets a tensor member. The header, shape and strides are copied, the data is borrowed until it is set anew or the module is freed.
 * Error: KN_ERR_INVALID, KN_ERR_NO_MEMORY (the old member stays). Threads: not beside calls of the module.
 */
KN_API kn_status kn_module_set_tensor(kn_module *module, const char *name, const DLTensor *tensor,
                                      kn_error *err);

/** Sets a number, or with kn_none() removes the member. Error, threads: as kn_module_set_tensor. */
KN_API kn_status kn_module_set_value(kn_module *module, const char *name, kn_value value,
                                     kn_error *err);

/** A member; none when there is none. Borrowed until it is set anew. */
KN_API kn_value kn_module_member(const kn_module *module, const char *name);

/**
 * Gives one module a forward of its own, as a profiler or an offloader would; NULL: that of its class again. Kernelize leaves such a
 * module alone and says so; undo leaves it alone when it was set after kernelize. Threads: one at a time per module; calls go on.
 * Owns: `user` is the caller's until the forward is replaced and no call is in flight.
 */
KN_API kn_status kn_module_set_forward(kn_module *module, kn_forward_fn forward, void *user,
                                       kn_error *err);

/** Names from the root, joined by dots, without the root's own; the root's: "". Borrowed from the module. */
KN_API const char *kn_module_path(const kn_module *module);
KN_API kn_class *kn_module_class(const kn_module *module);
KN_API kn_module *kn_module_parent(const kn_module *module);
KN_API size_t kn_module_child_count(const kn_module *module);
KN_API kn_module *kn_module_child(const kn_module *module, size_t index);
/** The module with that path below root; NULL: none. */
KN_API kn_module *kn_module_find(kn_module *root, const char *path);

/** The head of each module and binding: what a call needs, and all that is public of them. */
struct kn_binding {
    kn_status (*call)(kn_module *module, const kn_value *values, int32_t n_values,
                      const kn_binding *self, kn_error *err);
};
typedef struct kn_module_head {
    const kn_binding *bound; // never NULL; one atomic pointer to an immutable record
} kn_module_head;

/**
 * Calls a module: its own forward, or the kernel that kernelize bound. Inputs, then outputs.
 * A kernel whose signature does not admit the arguments is not called: the own forward runs, and the refusal is counted (or
 * KN_ERR_ARGUMENTS, when the model was kernelized without fallback).
 * Error: KN_ERR_CALL and what the forward returns. Threads: any, also while another thread kernelizes or undoes.
 */
static inline kn_status kn_call(kn_module *module, const kn_value *values, int32_t n_values,
                                kn_error *err)
{
    const kn_binding *bound =
        __atomic_load_n(&((kn_module_head *)(void *)module)->bound, __ATOMIC_ACQUIRE);
    return bound->call(module, values, n_values, bound, err);
}

/**
 * The outputs' shapes, strides, dtypes and devices for given inputs, by the bound kernel's signature, else the class's.
 * out: room for n_out elements; at least the signature's outputs. Error: KN_ERR_ARGUMENTS, KN_ERR_UNSUPPORTED (no signature).
 */
KN_API kn_status kn_module_infer(const kn_module *module, const kn_value *inputs, int32_t n_inputs,
                                 kn_tensor_type *out, int32_t n_out, kn_error *err);

/** Is a kernel bound to the module now? Threads: any. */
KN_API bool kn_module_is_kernelized(const kn_module *module);

/** How often calls fell back to the own forward since the module was made, for one reason. Threads: any. */
KN_API uint64_t kn_module_fallback_count(const kn_module *module, kn_mismatch_reason reason);

#ifdef __cplusplus
}
#endif
#endif
