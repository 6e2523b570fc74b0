#include "kernelize/decide.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/trace.h"
#include "context/context.h"
#include "kernelize/take.h"

void kni_fall_back(const kni_request *request, kni_decision *d, uint32_t rule, kn_status status)
{
    const bool admitted = (request->fallback & rule) != 0;
    d->rule = rule;
    d->outcome = admitted ? KN_OUTCOME_FALLBACK : KN_OUTCOME_ERROR;
    d->status = admitted ? KN_OK : status;
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
        kni_fall_back(request, d, KN_FALLBACK_NO_LAYER, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_DEVICE:
        whole = kni_setf(&d->reason, "No layer mapping for `%s` with device type `%s`", d->layer,
                         device) &&
                kni_setf(&d->admits, "a mapping entry for layer %s with device = \"%s\"", d->layer,
                         device);
        kni_fall_back(request, d, KN_FALLBACK_NO_DEVICE, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_PROPERTIES:
        whole = kni_setf(
                    &d->reason,
                    "No layer mapping for `%s` with device type `%s` with the right properties: %s",
                    d->layer, device, capability) &&
                (d->capability < 0 ? kni_set(&d->admits, "an entry without an interval")
                                   : kni_setf(&d->admits, "an entry whose interval contains %lld",
                                              (long long)d->capability));
        kni_fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_PROPERTIES, KN_ERR_NO_KERNEL);
        break;
    case KN_FOUND_NO_MODE:
        whole =
            kni_setf(&d->reason, "No repository for `%s` for configuration mode=%s on %s with %s",
                     d->layer, mode, device, capability) &&
            kni_set(&d->admits, "an entry without a mode, or for one of the modes that are tried");
        kni_fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL);
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

kn_status kni_cannot_load(const kni_request *request, kni_decision *d, size_t from,
                          kn_status status, kn_error *why, kn_error *err)
{
    if (status ==
        KN_ERR_CANCELLED) // nobody asked for a model without its kernels: the whole call is over
        return kni_error_move(err, why);
    // The trace may lie in the plan: the entry's text is copied before the trace is touched again.
    const bool whole =
        kni_set(&d->reason, kn_error_text(why)) && kni_set(&d->admits, last_admits(d->trace, from));
    kn_error_dispose(why);
    if (status == KN_ERR_NO_MEMORY || !whole)
        return kni_no_memory(err);
    kni_fall_back(request, d, KN_FALLBACK_CANNOT_LOAD, status);
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
    const bool is_gotten = answer.found == KN_FOUND && answer.reference->kind != KN_REFERENCE_HOST;
    return is_gotten ? answer.reference : NULL;
}

// The reference is borrowed from the request's mapping, which the plan holds too.
static kn_status name_reference(kni_decision *d, const kn_reference *reference)
{
    const char *repository = reference->repo_id ? reference->repo_id
                             : reference->path  ? reference->path_written
                                                : reference->label;
    d->registered = reference;
    return kni_set(&d->reference, reference->text) &&
                   kni_set(&d->layer_name, reference->layer_name) &&
                   kni_set(&d->repository, repository)
               ? KN_OK
               : KN_ERR_NO_MEMORY;
}

kn_status kni_decide(kn_context *ctx, const kni_request *request, const kn_host *host,
                     const kn_host_class *cls, kni_decision *d, kn_error *err)
{
    kn_error missing = KN_ERROR_INIT, why = KN_ERROR_INIT;
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    kn_device_info info;

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
    if (name_reference(d, reference) != KN_OK) {
        st = kni_no_memory(err);
        goto done;
    }
    if (request->options.flags & KN_KERNELIZE_NO_RESOLVE) {
        d->outcome = KN_OUTCOME_REFERENCE;
        goto done;
    }
    kni_offer offer = {.reference = reference, .device_index = -1};
    if (reference->kind == KN_REFERENCE_HOST) {
        st = kni_take_layer(request, host, cls, &offer, d, err);
        goto done;
    }
    if (missing.status != KN_OK && !(host && host->capability)) {
        if (!kni_trace_add(d->trace, "device", kn_device_type_name(d->device), false, "device",
                           "such a device, or KERNELS_DEVICE to plan for one", "%s",
                           kn_error_text(&missing)))
            st = kni_no_memory(err);
        else
            st = kni_cannot_load(request, d, from, missing.status, &missing, err);
        goto done;
    }
    st = kni_context_get(ctx, reference, host ? host->framework : NULL, &info, &offer.kernel,
                         d->trace, &why);
    if (st == KN_OK) {
        offer.device_index = only_index(ctx, &info);
        st = kni_take_layer(request, host, cls, &offer, d, err);
    } else {
        st = kni_cannot_load(request, d, from, st, &why, err);
    }
done:
    kn_error_dispose(&missing);
    kn_error_dispose(&why);
    return st;
}
