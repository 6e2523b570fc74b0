#include "kernelize/take.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "context/kernel.h"

// What was found, and what it declares.
typedef struct found {
    kn_host_kernel kernel;
    bool has_backward;
    bool can_torch_compile;
} found;

static kn_status contradict(kni_decision *d, const char *reason)
{
    d->outcome = KN_OUTCOME_ERROR;
    d->status = KN_ERR_LAYER;
    return kni_set(&d->reason, reason) ? KN_OK : KN_ERR_NO_MEMORY;
}

// Does what the layer declares go with the mode it was registered for, and with the one that is asked for?
static kn_status check_mode(const kni_request *request, kni_decision *d, const found *f,
                            bool *go_on)
{
    const struct {
        kn_mode flag;
        bool supported;
        const char *what;
    } abilities[] = {
        {KN_MODE_TRAINING, f->has_backward, "backward"},
        {KN_MODE_TORCH_COMPILE, f->can_torch_compile, "torch.compile"},
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
            kni_fall_back(request, d, KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL);
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
                   "%s%sLayer %s does not support %s. Was registered for %s; it is used for %s",
                   d->warning ? d->warning : "", d->warning ? "; " : "", d->reference, lacks, used,
                   mode) ||
         !kni_trace_add(d->trace, "layer", d->layer_name, true, "mode", NULL, "%s", d->warning)))
        return KN_ERR_NO_MEMORY;
    return KN_OK;
}

// The class's signature and the kernel's describe different calls; `why` says where, and is emptied.
static kn_status disagree(kni_decision *d, const kn_host_class *cls, const kn_layer *kernel,
                          kn_error *why, kn_error *err)
{
    char *text = NULL;
    kn_status st = KN_ERR_NO_MEMORY;
    const bool same_number = kn_layer_param_count(cls->signature, KN_PARAM_INPUT) ==
                             kn_layer_param_count(kernel, KN_PARAM_INPUT);
    if (why->status != KN_ERR_NO_MEMORY &&
        kni_setf(&text, "Forward signature of %s does not match `%s`: %s%s", d->reference,
                 d->class_name,
                 same_number ? "" : "different number of arguments: ", kn_error_text(why)))
        st = contradict(d, text);
    if (st == KN_OK &&
        !kni_trace_add(d->trace, "layer", d->layer_name, false, "signature", NULL, "%s", text))
        st = KN_ERR_NO_MEMORY;
    kn_string_free(text);
    kn_error_dispose(why);
    return st == KN_OK ? KN_OK : kni_no_memory(err);
}

// A layer of tvm-ffi functions, by the package's metadata.
static kn_status find_native(const kni_request *request, const kni_decision *d, kn_kernel *kernel,
                             found *f, kn_error *why)
{
    kn_package_layer layer = {.struct_size = sizeof(layer)};
    kn_status st = kn_package_layer_find(kn_kernel_package(kernel), d->layer_name, &layer, why);
    const bool is_dry = request->options.flags & KN_KERNELIZE_DRY_RUN;
    // A kernel for a device that is only described has no functions: enough to decide, not to swap.
    const bool has_functions = !is_dry || !kni_kernel_is_planned(kernel);
    if (st == KN_OK && has_functions)
        st = kn_kernel_function(kernel, kn_layer_function(layer.layer, false), &f->kernel.forward,
                                why);
    if (st == KN_OK && has_functions && layer.has_backward)
        st = kn_kernel_function(kernel, kn_layer_function(layer.layer, true), &f->kernel.backward,
                                why);
    f->kernel.layer = layer.layer;
    f->kernel.layer_name = layer.name;
    f->has_backward = layer.has_backward;
    f->can_torch_compile = layer.can_torch_compile;
    return st;
}

// The host loads a layer of its own kind, or holds its class against a native one. Error: the host's, and KN_ERR_NO_MEMORY.
static kn_status ask_host(const kni_request *request, const kn_host *host, const kni_offer *offer,
                          kni_decision *d, found *f, kn_error *why)
{
    const bool is_native = f->kernel.layer != NULL;
    if (!is_native && offer->kernel && kni_kernel_is_planned(offer->kernel)) {
        if (!kni_request_is_dry(request))
            return kn_error_set(why, KN_ERR_LOAD,
                                "%s: is planned for a device that is not here: its code is not "
                                "loaded",
                                d->reference);
        f->has_backward = f->can_torch_compile = true; // who could say no is not asked
        return KN_OK;
    }
    if (!host || !host->load)
        return is_native ? KN_OK
                         : kn_error_set(why, KN_ERR_UNSUPPORTED,
                                        "%s is imported by a host, and this one takes native "
                                        "layers alone",
                                        d->reference);
    kn_host_layer said = {.struct_size = sizeof(said)};
    const kn_host_candidate candidate = {
        .struct_size = sizeof(candidate),
        .reference = offer->reference,
        .kernel = offer->kernel,
        .layer = f->kernel.layer,
        .layer_name = d->layer_name,
        .text = d->reference,
    };
    const kn_status st = host->load(host->user, d->cls, &candidate, &said, why);
    if (st != KN_OK)
        return st;
    if (!is_native && !said.hosted)
        return kn_error_set(why, KN_ERR_INVALID, "%s: the host gave no layer", d->reference);
    if (!is_native) {
        f->kernel.hosted = said.hosted;
        f->has_backward = said.has_backward;
        f->can_torch_compile = said.can_torch_compile;
    }
    if (!offer->kernel && ((said.repository && !kni_set(&d->repository, said.repository)) ||
                           (said.revision && !kni_set(&d->revision, said.revision))))
        return KN_ERR_NO_MEMORY;
    return !said.warning || kni_set(&d->warning, said.warning) ? KN_OK : KN_ERR_NO_MEMORY;
}

// `why` is emptied.
static kn_status refuse(const kni_request *request, kni_decision *d, bool is_contradiction,
                        kn_status status, kn_error *why, kn_error *err)
{
    kn_status st = KN_ERR_NO_MEMORY;
    if (status == KN_ERR_NO_MEMORY ||
        !kni_trace_add(d->trace, "layer", d->layer_name, false,
                       is_contradiction ? "signature" : "layer", NULL, "%s", kn_error_text(why)))
        goto done;
    if (!is_contradiction)
        return kni_cannot_load(request, d, kn_trace_count(d->trace), status, why, err);
    st = contradict(d, kn_error_text(why));
done:
    kn_error_dispose(why);
    return st == KN_OK ? KN_OK : kni_no_memory(err);
}

kn_status kni_take_layer(const kni_request *request, const kn_host *host, const kn_host_class *cls,
                         const kni_offer *offer, kni_decision *d, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_kernel *const kernel = offer->kernel;
    const bool is_native = kernel && !kn_kernel_is_hosted(kernel);
    found f = {.kernel = {.struct_size = sizeof(f.kernel)}};
    kn_status st = KN_OK;
    bool go_on = false;

    if (kernel && (!kni_set(&d->variant, kn_package_variant(kn_kernel_package(kernel))) ||
                   !kni_set(&d->revision, kn_kernel_revision(kernel))))
        return kni_no_memory(err);
    if (kernel)
        d->level = kn_kernel_level(kernel);
    if (is_native)
        st = find_native(request, d, kernel, &f, &why);
    if (st != KN_OK)
        return refuse(request, d, false, st, &why, err);
    if (is_native && cls->signature &&
        kn_layer_agree(cls->signature, f.kernel.layer, &why) != KN_OK)
        return disagree(d, cls, f.kernel.layer, &why, err);
    st = ask_host(request, host, offer, d, &f, &why);
    if (st != KN_OK)
        return refuse(request, d, st == KN_ERR_LAYER, st, &why, err);
    if (check_mode(request, d, &f, &go_on) != KN_OK)
        return kni_no_memory(err);
    if (!go_on)
        return KN_OK;
    const char *by = is_native ? kn_layer_function(f.kernel.layer, false) : "the host's layer";
    if (!kni_trace_add(d->trace, "layer", d->layer_name, true, "", NULL, "serves `%s` by %s",
                       d->layer, by))
        return kni_no_memory(err);
    d->outcome = KN_OUTCOME_KERNEL;
    d->kernel = f.kernel;
    d->kernel.kernel = kernel;
    if (!is_native)
        d->kernel.layer_name = d->layer_name;
    d->kernel.device = d->device;
    d->kernel.device_index = offer->device_index;
    d->kernel.strict = request->fallback == 0;
    d->kernel.mode = request->mode;
    d->kernel.mode_used = d->mode_used;
    d->kernel.repository = d->repository;
    d->kernel.revision = d->revision;
    d->kernel.variant = d->variant;
    d->kernel.text = d->reference;
    d->kernel.level = d->level;
    return KN_OK;
}
