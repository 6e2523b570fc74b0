// What kernelize binds to native modules: one immutable record for each kernel layer and class, kept until the context closes.
#ifndef KNI_KERNELIZE_BIND_H
#define KNI_KERNELIZE_BIND_H

#include "kernelize/module.h"
#include "kernels/host.h"
#include "layer/layer.h"

typedef struct kni_kernel_binding {
    kn_binding binding; // first: a module's head points to it
    kn_class *cls;
    kn_layer *layer;
    const kn_function *forward;
    const kn_kernel *kernel;
    char *layer_name;
    int32_t n_inputs;
    int32_t n_outputs;
    int32_t n_members;
    kn_device_type device;
    int32_t dl_device_type; // the same
    int32_t device_index;   // the only one; -1: any
    bool strict;            // arguments that do not fit are an error
    struct {
        kni_name_key key;
        const char *name; // borrowed from the layer
    } members[KN_LAYER_PARAMS_MAX];
    struct kni_kernel_binding *next;
} kni_kernel_binding;

// The record for modules of a class, found or made.
kn_status kni_bind(kn_context *ctx, kn_class *cls, const kn_host_kernel *kernel,
                   kni_kernel_binding **out, kn_error *err);

// True once for each picture (not 0) in a row: the same one again, or 0, is not warned of.
bool kni_warn_once(kn_context *ctx, uint64_t picture);

// The record behind a binding; NULL when it is none of ours.
const kni_kernel_binding *kni_binding_kernel(const kn_binding *binding);

// The members of a module in the order of a layer's list, none where it lacks one. out: KN_LAYER_PARAMS_MAX elements.
int32_t kni_module_gather(const kn_module *module, const kn_layer *layer, kn_value *out);

// One guarded call without a fallback: the reason when the arguments do not fit (*st is untouched then), else KN_FITS and how the
// kernel returned.
kn_mismatch_reason kni_binding_try(const kni_kernel_binding *record, kn_module *module,
                                   const kn_value *values, int32_t n_values, kn_mismatch *mismatch,
                                   kn_status *st, kn_error *err);

// The refusal in words. Returns KN_ERR_ARGUMENTS.
kn_status kni_binding_describe(const kni_kernel_binding *record, kn_module *module,
                               const kn_value *values, int32_t n_values,
                               const kn_mismatch *mismatch, kn_error *err);

#endif
