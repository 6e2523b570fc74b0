#include "kernelize/bind.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "context/context.h"
#include "load/function.h"

// --- the call ---

static inline kn_call_args call_args(const kni_kernel_binding *r, kn_module *module,
                                     const kn_value *values, int32_t n_values,
                                     kn_value members[KN_LAYER_PARAMS_MAX])
{
    for (int32_t i = 0; i < r->n_members; ++i) {
        const kni_member *member =
            kni_module_member_at(module, r->members[i].key, r->members[i].name, (size_t)i);
        members[i] = member ? member->value : kn_none();
    }
    const int32_t n_outputs = n_values < r->n_outputs ? n_values : r->n_outputs;
    return (kn_call_args){
        .inputs = values,
        .outputs = values + (n_values - n_outputs),
        .members = members,
        .n_inputs = n_values - n_outputs,
        .n_outputs = n_outputs,
        .n_members = r->n_members,
        .dl_device_type = r->dl_device_type,
    };
}

// The only device that the code was chosen for, where devices of one type differ. The tensors of a call that fits are on one.
static bool is_elsewhere(const kni_kernel_binding *r, const kn_call_args *args,
                         kn_mismatch *mismatch)
{
    const int32_t n_values = args->n_inputs + args->n_outputs;
    for (int32_t i = 0; i < n_values; ++i) {
        const bool is_input = i < args->n_inputs;
        const int32_t at = is_input ? i : i - args->n_inputs;
        const kn_value *value = is_input ? &args->inputs[at] : &args->outputs[at];
        if (value->type != KN_VALUE_TENSOR)
            continue;
        const int32_t came = value->as.tensor->device.device_id;
        *mismatch = (kn_mismatch){.reason = KN_MISMATCH_DEVICE,
                                  .list = is_input ? KN_PARAM_INPUT : KN_PARAM_OUTPUT,
                                  .index = (uint32_t)at,
                                  .dim = -1,
                                  .came = came,
                                  .wanted = r->device_index};
        return came != r->device_index;
    }
    return false;
}

// The whole of a bound call, in one piece: what is spread over functions here costs a tenth of it.
static inline __attribute__((always_inline)) kn_mismatch_reason
try_call(const kni_kernel_binding *r, kn_module *module, const kn_value *values, int32_t n_values,
         kn_mismatch *mismatch, kn_status *st, kn_error *err)
{
    kn_value members[KN_LAYER_PARAMS_MAX];
    kni_call_frame frame;
    const kn_call_args args = call_args(r, module, values, n_values, members);
    const kn_mismatch_reason reason = kni_layer_prepare(r->layer, &args, &frame, mismatch);
    if (reason != KN_FITS)
        return reason;
    if (r->device_index >= 0 && is_elsewhere(r, &args, mismatch))
        return KN_MISMATCH_DEVICE;
    TVMFFIAny result = {.type_index = kTVMFFINone};
    const int code = r->forward->call(NULL, frame.args, frame.n_args, &result);
    *st = code == 0 && result.type_index < kTVMFFIStaticObjectBegin
              ? KN_OK
              : kni_function_finish(r->forward, code, &result, NULL, err);
    return KN_FITS;
}

kn_mismatch_reason kni_binding_try(const kni_kernel_binding *r, kn_module *module,
                                   const kn_value *values, int32_t n_values, kn_mismatch *mismatch,
                                   kn_status *st, kn_error *err)
{
    return try_call(r, module, values, n_values, mismatch, st, err);
}

kn_status kni_binding_describe(const kni_kernel_binding *r, kn_module *module,
                               const kn_value *values, int32_t n_values,
                               const kn_mismatch *mismatch, kn_error *err)
{
    kn_value members[KN_LAYER_PARAMS_MAX];
    const kn_call_args args = call_args(r, module, values, n_values, members);
    kn_mismatch elsewhere;
    kn_status st;
    if (mismatch->reason == KN_MISMATCH_DEVICE && r->device_index >= 0 &&
        kn_layer_check(r->layer, &args, NULL) == KN_FITS && is_elsewhere(r, &args, &elsewhere)) {
        kn_param param = {.struct_size = sizeof(param), .name = ""};
        kn_layer_param(r->layer, elsewhere.list, elsewhere.index, &param, NULL);
        st = kn_error_set(err, KN_ERR_ARGUMENTS,
                          "%s: on device %lld of its type, accepted device %lld, which the code "
                          "was chosen for",
                          param.name, (long long)elsewhere.came, (long long)elsewhere.wanted);
    } else {
        st = kn_mismatch_describe(r->layer, &args, mismatch, err);
    }
    kn_error_prefix(err, "module %s: kernel layer %s", module->path, r->layer_name);
    return st;
}

static void count_fallback(kn_module *module, kn_mismatch_reason reason)
{
    uint64_t *counts = __atomic_load_n(&module->fallbacks, __ATOMIC_ACQUIRE);
    if (!counts) {
        uint64_t *made = kni_calloc(KN_MISMATCH_REASONS, sizeof(*made));
        if (!made)
            return; // the call matters more than its count
        if (__atomic_compare_exchange_n(&module->fallbacks, &counts, made, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            counts = made;
        else
            kni_free(made);
    }
    __atomic_fetch_add(&counts[reason], 1, __ATOMIC_RELAXED);
}

static kn_status call_kernel(kn_module *module, const kn_value *values, int32_t n_values,
                             const kn_binding *self, kn_error *err)
{
    const kni_kernel_binding *r = (const kni_kernel_binding *)(const void *)self;
    kn_mismatch mismatch;
    kn_status st = KN_OK;
    const kn_mismatch_reason reason = try_call(r, module, values, n_values, &mismatch, &st, err);
    if (__builtin_expect(reason == KN_FITS, 1)) {
        if (st != KN_OK)
            kn_error_prefix(err, "module %s: kernel layer %s", module->path, r->layer_name);
        return st;
    }
    if (r->strict)
        return kni_binding_describe(r, module, values, n_values, &mismatch, err);
    count_fallback(module, reason);
    return r->cls->own.call(module, values, n_values, &r->cls->own, err);
}

const kni_kernel_binding *kni_binding_kernel(const kn_binding *binding)
{
    return binding->call == call_kernel ? (const kni_kernel_binding *)(const void *)binding : NULL;
}

int32_t kni_module_gather(const kn_module *module, const kn_layer *layer, kn_value *out)
{
    const size_t n = kn_layer_param_count(layer, KN_PARAM_MEMBER);
    for (size_t i = 0; i < n; ++i) {
        kn_param param = {.struct_size = sizeof(param)};
        const bool known = kn_layer_param(layer, KN_PARAM_MEMBER, i, &param, NULL) == KN_OK;
        out[i] = known ? kn_module_member(module, param.name) : kn_none();
    }
    return (int32_t)n;
}

kn_status kn_module_infer(const kn_module *module, const kn_value *inputs, int32_t n_inputs,
                          kn_tensor_type *out, int32_t n_out, kn_error *err)
{
    if (!module || (n_inputs > 0 && !inputs) || !out)
        return kn_error_set(err, KN_ERR_INVALID,
                            "module: infer needs a module, inputs and room for outputs");
    const kni_kernel_binding *record = kni_binding_kernel(kni_module_bound(module));
    const kn_layer *layer = record ? record->layer : module->cls ? module->cls->signature : NULL;
    if (!layer)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "module %s: its class has no signature to infer outputs from",
                            module->path);
    const size_t n_outputs = kn_layer_param_count(layer, KN_PARAM_OUTPUT);
    if (n_out < 0 || (size_t)n_out < n_outputs)
        return kn_error_set(err, KN_ERR_INVALID,
                            "module %s: room for %d outputs; the signature has %zu", module->path,
                            n_out, n_outputs);
    kn_value members[KN_LAYER_PARAMS_MAX];
    kn_mismatch mismatch;
    const kn_call_args args = {.inputs = inputs,
                               .members = members,
                               .n_inputs = n_inputs,
                               .n_members = kni_module_gather(module, layer, members)};
    if (kn_layer_infer(layer, &args, out, &mismatch) == KN_FITS)
        return KN_OK;
    kn_mismatch_describe(layer, &args, &mismatch, err);
    kn_error_prefix(err, "module %s", module->path);
    return KN_ERR_ARGUMENTS;
}

bool kn_module_is_kernelized(const kn_module *module)
{
    return module && kni_binding_kernel(kni_module_bound(module));
}

// --- the records of a context ---

typedef struct bindings {
    pthread_mutex_t lock;
    kni_kernel_binding *first;
    uint64_t warned; // the last picture that was warned of
} bindings;

static void free_record(kni_kernel_binding *r)
{
    kn_class_unref(r->cls);
    kn_layer_unref(r->layer);
    kni_free(r->layer_name);
    kni_free(r);
}

static void *make_bindings(void)
{
    bindings *all = kni_calloc(1, sizeof(*all));
    if (all && pthread_mutex_init(&all->lock, NULL) != 0) {
        kni_free(all);
        all = NULL;
    }
    return all;
}

static void free_bindings(void *memory)
{
    bindings *all = memory;
    while (all->first) {
        kni_kernel_binding *next = all->first->next;
        free_record(all->first);
        all->first = next;
    }
    pthread_mutex_destroy(&all->lock);
    kni_free(all);
}

bool kni_warn_once(kn_context *ctx, uint64_t picture)
{
    bindings *all = kni_context_attachment(ctx, make_bindings, free_bindings);
    if (!all)
        return picture != 0;
    pthread_mutex_lock(&all->lock);
    const bool is_new = picture != 0 && picture != all->warned;
    all->warned = picture;
    pthread_mutex_unlock(&all->lock);
    return is_new;
}

static int32_t dl_type_of(kn_device_type device)
{
    switch (device) {
    case KN_DEVICE_CPU:
        return kDLCPU;
    case KN_DEVICE_CUDA:
        return kDLCUDA;
    case KN_DEVICE_ROCM:
        return kDLROCM;
    case KN_DEVICE_MPS:
        return kDLMetal;
    case KN_DEVICE_XPU:
        return kDLOneAPI;
    case KN_DEVICE_NPU:
    case KN_DEVICE_NEURON:
    case KN_DEVICE_TPU:
        return kDLExtDev;
    case KN_DEVICE_NONE:
        break;
    }
    return 0;
}

static kn_status make_record(kn_class *cls, const kn_host_kernel *kernel, kni_kernel_binding **out,
                             kn_error *err)
{
    kni_kernel_binding *r = kni_calloc(1, sizeof(*r));
    if (!r)
        return kni_no_memory(err);
    r->binding.call = call_kernel;
    r->cls = kn_class_ref(cls);
    r->layer = kn_layer_ref(kernel->layer);
    r->forward = kernel->forward;
    r->kernel = kernel->kernel;
    r->layer_name = kni_strdup(kernel->layer_name);
    r->n_inputs = (int32_t)kn_layer_param_count(r->layer, KN_PARAM_INPUT);
    r->n_outputs = (int32_t)kn_layer_param_count(r->layer, KN_PARAM_OUTPUT);
    r->n_members = (int32_t)kn_layer_param_count(r->layer, KN_PARAM_MEMBER);
    r->device = kernel->device;
    r->dl_device_type = dl_type_of(kernel->device);
    r->device_index = kernel->device_index;
    r->strict = kernel->strict;
    kn_status st = r->layer_name ? KN_OK : kni_no_memory(err);
    for (int32_t i = 0; i < r->n_members && st == KN_OK; ++i) {
        kn_param param = {.struct_size = sizeof(param)};
        st = kn_layer_param(r->layer, KN_PARAM_MEMBER, (size_t)i, &param, err);
        if (st == KN_OK) {
            r->members[i].key = kni_name_key_of(param.name);
            r->members[i].name = param.name;
        }
    }
    if (st != KN_OK) {
        free_record(r);
        return st;
    }
    *out = r;
    return KN_OK;
}

kn_status kni_bind(kn_context *ctx, kn_class *cls, const kn_host_kernel *kernel,
                   kni_kernel_binding **out, kn_error *err)
{
    *out = NULL;
    bindings *all = kni_context_attachment(ctx, make_bindings, free_bindings);
    if (!all)
        return kni_no_memory(err);
    kn_status st = KN_OK;
    pthread_mutex_lock(&all->lock);
    kni_kernel_binding *r = all->first;
    while (r && (r->cls != cls || r->layer != kernel->layer || r->forward != kernel->forward ||
                 r->device_index != kernel->device_index || r->strict != (bool)kernel->strict))
        r = r->next;
    if (!r) {
        st = make_record(cls, kernel, &r, err);
        if (st == KN_OK) {
            r->next = all->first;
            all->first = r;
        }
    }
    pthread_mutex_unlock(&all->lock);
    *out = st == KN_OK ? r : NULL;
    return st;
}
