#include "kernelize/decide.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/trace.h"
#include "context/context.h"
#include "context/kernel.h"

// The own forward serves, or it is an error: as the fallback set says. reason and admits are set already.
static void fall_back(const kni_request *request, kni_decision *d, uint32_t rule, kn_status status)
{
    const bool admitted = (request->fallback & rule) != 0;
    d->rule = rule;
    d->outcome = admitted ? KN_OUTCOME_FALLBACK : KN_OUTCOME_ERROR;
    d->status = admitted ? KN_OK : status;
}

static kn_status contradict(kni_decision *d, const char *reason)
{
    d->outcome = KN_OUTCOME_ERROR;
    d->status = KN_ERR_LAYER;
    return kni_set(&d->reason, reason) ? KN_OK : KN_ERR_NO_MEMORY;
}

// "capability 86", or what stands for it where it is not known.
static void capability_text(int64_t capability, char out[40])
{
    if (capability < 0)
        snprintf(out, 40, "an unknown capability");
    else
        snprintf(out, 40, "capability %lld", (long long)capability);
}

static kn_status not_found(const kni_request *request, kni_decision *d, kn_found found,
                           kn_error *err)
{
    const char *device = kn_device_type_name(d->device);
    char mode[KN_MODE_TEXT_SIZE], capability[40];
    bool whole = true;
    kn_mode_text(request->mode, mode);
    capability_text(d->capability, capability);
    switch (found) {
    case KN_FOUND:
        break;
    case KN_FOUND_NO_LAYER:
        whole = kni_setf(&d->reason, "No layer mapping for `%s`", d->layer) &&
                kni_setf(&d->admits, "a mapping entry for layer %s on %s", d->layer, device);
        fall_back(request, d, KN_FALLBACK_NO_LAYER, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_DEVICE:
        whole = kni_setf(&d->reason, "No layer mapping for `%s` with device type `%s`", d->layer,
                         device) &&
                kni_setf(&d->admits, "a mapping entry for layer %s with device = \"%s\"", d->layer,
                         device);
        fall_back(request, d, KN_FALLBACK_NO_DEVICE, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_PROPERTIES:
        whole = kni_setf(
                    &d->reason,
                    "No layer mapping for `%s` with device type `%s` with the right properties: %s",
                    d->layer, device, capability) &&
                (d->capability < 0 ? kni_set(&d->admits, "an entry without an interval")
                                   : kni_setf(&d->admits, "an entry whose interval contains %lld",
                                              (long long)d->capability));
        fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_PROPERTIES, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_MODE:
        whole =
            kni_setf(&d->reason, "No repository for `%s` for configuration mode=%s on %s with %s",
                     d->layer, mode, device, capability) &&
            kni_set(&d->admits, "an entry without a mode, or for one of the modes that are tried");
        fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL);
        break;
    }
    return whole ? KN_OK : kni_no_memory(err);
}

// What would admit the last candidate that was refused since the trace had `from` entries.
static const char *last_admits(const kn_trace *trace, size_t from)
{
    for (size_t i = kn_trace_count(trace); i-- > from;) {
        const kn_trace_entry entry = kn_trace_get(trace, i);
        if (!entry.accepted && entry.admits[0])
            return entry.admits;
    }
    return "";
}

// from: where loading begins in the trace. `why` is emptied. Returns KN_OK, or KN_ERR_NO_MEMORY.
static kn_status cannot_load(const kni_request *request, kni_decision *d, size_t from,
                             kn_status status, kn_error *why, kn_error *err)
{
    // The trace may lie in the plan: the entry's text is copied before the trace is touched again.
    const bool whole =
        kni_set(&d->reason, kn_error_text(why)) && kni_set(&d->admits, last_admits(d->trace, from));
    kn_error_dispose(why);
    if (status == KN_ERR_NO_MEMORY || !whole)
        return kni_no_memory(err);
    fall_back(request, d, KN_FALLBACK_CANNOT_LOAD, status);
    return KN_OK;
}

// The device itself: capability and arch by the machine, the capability by the host where it has a say.
static kn_status ask_device(kn_context *ctx, const kn_host *host, const kni_decision *d,
                            kn_device_info *info, kn_error *missing, kn_error *err)
{
    *info = (kn_device_info)KN_DEVICE_INFO_INIT;
    info->type = d->device;
    info->index = d->device_index;
    info->capability = info->backend_major = info->backend_minor = -1;
    kn_status st = kn_machine_device(ctx->machine, d->device, d->device_index, info, missing);
    if (st == KN_ERR_NO_MEMORY)
        return kni_no_memory(err);
    if (host && host->capability) {
        st = host->capability(host->user, d->device, d->device_index, &info->capability, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

// The one index that the code was chosen for, where the machine's devices of the type differ; else -1.
static int32_t only_index(kn_context *ctx, const kn_device_info *info)
{
    const size_t count = kn_machine_device_count(ctx->machine, info->type);
    for (size_t i = 0; i < count; ++i) {
        kn_device_info other = KN_DEVICE_INFO_INIT;
        if (kn_machine_device(ctx->machine, info->type, (int32_t)i, &other, NULL) == KN_OK &&
            (other.capability != info->capability || strcmp(other.arch, info->arch) != 0))
            return info->index;
    }
    return -1;
}

// Does what the layer declares go with the mode it was registered for, and with the one that is asked for?
static kn_status check_mode(const kni_request *request, kni_decision *d,
                            const kn_package_layer *layer, bool *go_on)
{
    const struct {
        kn_mode flag;
        bool supported;
        const char *what;
    } abilities[] = {
        {KN_MODE_TRAINING, layer->has_backward, "backward"},
        {KN_MODE_TORCH_COMPILE, layer->can_torch_compile, "torch.compile"},
    };
    char mode[KN_MODE_TEXT_SIZE], used[KN_MODE_TEXT_SIZE];
    char lacks[32] = ""; // abilities that it was registered for and does not need now
    kn_mode_text(request->mode, mode);
    kn_mode_text(d->mode_used, used);
    *go_on = false;
    for (size_t i = 0; i < KN_LEN(abilities); ++i) {
        if (abilities[i].supported)
            continue;
        char *text = NULL;
        kn_status st = KN_OK;
        if (d->mode_used & request->mode & abilities[i].flag) {
            if (!kni_setf(&text, "Layer %s does not support %s. Was registered for %s",
                          d->reference, abilities[i].what, used))
                return KN_ERR_NO_MEMORY;
            st = contradict(d, text);
            if (st == KN_OK && !kni_setf(&d->admits, "registering it for modes that it supports"))
                st = KN_ERR_NO_MEMORY;
        } else if (request->mode & abilities[i].flag) {
            if (!kni_setf(&d->reason, "Layer %s does not support mode: %s (it has no %s)",
                          d->reference, mode, abilities[i].what) ||
                !kni_setf(&d->admits, "a kernel layer that supports %s", abilities[i].what))
                return KN_ERR_NO_MEMORY;
            fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL);
        } else if (d->mode_used & abilities[i].flag) {
            snprintf(lacks + strlen(lacks), sizeof(lacks) - strlen(lacks), "%s%s",
                     lacks[0] ? " and " : "", abilities[i].what);
            continue;
        } else {
            continue;
        }
        const char *reason = text ? text : d->reason;
        if (st == KN_OK && !kni_trace_add(d->trace, "layer", d->layer_name, false, "mode",
                                          d->admits, "%s", reason))
            st = KN_ERR_NO_MEMORY;
        kn_string_free(text);
        return st;
    }
    *go_on = true;
    if (lacks[0] &&
        (!kni_setf(&d->warning,
                   "Layer %s does not support %s. Was registered for %s; it is used for %s",
                   d->reference, lacks, used, mode) ||
         !kni_trace_add(d->trace, "layer", d->layer_name, true, "mode", NULL, "%s", d->warning)))
        return KN_ERR_NO_MEMORY;
    return KN_OK;
}

// The class's signature and the kernel's describe different calls; `why` says where.
static kn_status disagree(kni_decision *d, const kn_host_class *cls, const kn_layer *kernel,
                          const kn_error *why)
{
    char *text = NULL;
    const bool same_number = kn_layer_param_count(cls->signature, KN_PARAM_INPUT) ==
                             kn_layer_param_count(kernel, KN_PARAM_INPUT);
    if (!kni_setf(&text, "Forward signature of %s does not match `%s`: %s%s", d->reference,
                  d->class_name,
                  same_number ? "" : "different number of arguments: ", kn_error_text(why)))
        return KN_ERR_NO_MEMORY;
    const kn_status st = contradict(d, text);
    kn_string_free(text);
    return st;
}

static kn_status take_layer(const kni_request *request, const kn_host_class *cls, kni_decision *d,
                            kn_kernel *kernel, int32_t index, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_package_layer layer = {.struct_size = sizeof(layer)};
    const kn_package *package = kn_kernel_package(kernel);
    const kn_function *forward = NULL, *backward = NULL;
    bool go_on = false;

    if (!kni_set(&d->variant, kn_package_variant(package)) ||
        !kni_set(&d->revision, kn_kernel_revision(kernel)))
        return kni_no_memory(err);
    d->level = kn_kernel_level(kernel);
    kn_status st = kn_package_layer_find(package, d->layer_name, &layer, &why);
    const bool is_dry = request->options.flags & KN_KERNELIZE_DRY_RUN;
    // A kernel for a device that is only described has no functions: enough to decide, not to swap.
    const bool has_functions = !is_dry || !kni_kernel_is_planned(kernel);
    if (st == KN_OK && has_functions)
        st = kn_kernel_function(kernel, kn_layer_function(layer.layer, false), &forward, &why);
    if (st == KN_OK && has_functions && layer.has_backward)
        st = kn_kernel_function(kernel, kn_layer_function(layer.layer, true), &backward, &why);
    if (st != KN_OK) {
        if (!kni_trace_add(d->trace, "layer", d->layer_name, false, "layer", NULL, "%s",
                           kn_error_text(&why))) {
            kn_error_dispose(&why);
            return kni_no_memory(err);
        }
        return cannot_load(request, d, kn_trace_count(d->trace), st, &why, err);
    }
    if (cls->signature && kn_layer_agree(cls->signature, layer.layer, &why) != KN_OK) {
        st =
            why.status == KN_ERR_NO_MEMORY ? KN_ERR_NO_MEMORY : disagree(d, cls, layer.layer, &why);
        if (st == KN_OK && !kni_trace_add(d->trace, "layer", d->layer_name, false, "signature",
                                          NULL, "%s", d->reason))
            st = KN_ERR_NO_MEMORY;
        kn_error_dispose(&why);
        return st == KN_OK ? st : kni_no_memory(err);
    }
    st = check_mode(request, d, &layer, &go_on);
    if (st != KN_OK)
        return kni_no_memory(err);
    if (!go_on)
        return KN_OK;
    d->outcome = KN_OUTCOME_KERNEL;
    d->kernel = (kn_host_kernel){
        .struct_size = sizeof(d->kernel),
        .kernel = kernel,
        .layer_name = layer.name,
        .layer = layer.layer,
        .forward = forward,
        .backward = backward,
        .device = d->device,
        .device_index = index,
        .strict = request->fallback == 0,
    };
    if (!kni_trace_add(d->trace, "layer", d->layer_name, true, "", NULL, "serves `%s` by %s",
                       d->layer, kn_layer_function(layer.layer, false)))
        return kni_no_memory(err);
    return KN_OK;
}

const kn_reference *kni_decide_reference(kn_context *ctx, const kni_request *request,
                                         const kn_host *host, const char *layer,
                                         const kni_decision *question, kn_device_info *device)
{
    kn_error missing = KN_ERROR_INIT;
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    if (request->disabled || (request->options.flags & KN_KERNELIZE_NO_RESOLVE) ||
        ask_device(ctx, host, question, device, &missing, NULL) != KN_OK)
        return NULL;
    const bool is_here = missing.status == KN_OK || (host && host->capability);
    kn_error_dispose(&missing);
    if (!is_here || kn_mapping_find(request->mapping, layer, question->device, device->capability,
                                    request->mode, &answer, NULL, NULL) != KN_OK)
        return NULL;
    return answer.found == KN_FOUND ? answer.reference : NULL;
}

kn_status kni_decide(kn_context *ctx, const kni_request *request, const kn_host *host,
                     const kn_host_class *cls, kni_decision *d, kn_error *err)
{
    kn_error missing = KN_ERROR_INIT, why = KN_ERROR_INIT;
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    kn_device_info info;
    kn_kernel *kernel = NULL;

    if (!kni_set(&d->class_name, cls->name ? cls->name : "") || !kni_set(&d->layer, cls->layer))
        return kni_no_memory(err);
    if (request->disabled) {
        d->outcome = KN_OUTCOME_FALLBACK;
        return kni_set(&d->reason, "DISABLE_KERNEL_MAPPING is set") ? KN_OK : kni_no_memory(err);
    }
    kn_status st = ask_device(ctx, host, d, &info, &missing, err);
    d->capability = info.capability;
    if (st == KN_OK)
        st = kn_mapping_find(request->mapping, d->layer, d->device, d->capability, request->mode,
                             &answer, d->trace, err);
    if (st == KN_OK && answer.found != KN_FOUND) {
        st = not_found(request, d, answer.found, err);
        goto done;
    }
    if (st != KN_OK)
        goto done;
    const kn_reference *reference = answer.reference;
    const size_t from = kn_trace_count(d->trace);
    d->mode_used = answer.mode;
    if (!kni_set(&d->reference, reference->text) ||
        !kni_set(&d->layer_name, reference->layer_name) ||
        !kni_set(&d->repository,
                 reference->repo_id ? reference->repo_id : reference->path_written)) {
        st = kni_no_memory(err);
        goto done;
    }
    if (request->options.flags & KN_KERNELIZE_NO_RESOLVE) {
        d->outcome = KN_OUTCOME_REFERENCE;
        goto done;
    }
    if (missing.status != KN_OK && !(host && host->capability)) {
        if (!kni_trace_add(d->trace, "device", kn_device_type_name(d->device), false, "device",
                           "such a device, or KERNELS_DEVICE to plan for one", "%s",
                           kn_error_text(&missing)))
            st = kni_no_memory(err);
        else
            st = cannot_load(request, d, from, missing.status, &missing, err);
        goto done;
    }
    st = kni_context_get(ctx, reference, host ? host->framework : NULL, &info, &kernel, d->trace,
                         &why);
    if (st != KN_OK)
        st = cannot_load(request, d, from, st, &why, err);
    else
        st = take_layer(request, cls, d, kernel, only_index(ctx, &info), err);
done:
    kn_error_dispose(&missing);
    kn_error_dispose(&why);
    return st;
}
