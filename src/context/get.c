// The spine: from a reference to a loaded kernel.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "context/context.h"
#include "context/kernel.h"
#include "context/resolve.h"

// Asks the rules, unless it is remembered what they said. The steps join the trace.
static kn_status check_variant(kn_context *ctx, const kn_package *package, const kn_target *target,
                               kn_package_verdict *verdict, kni_checked_file *library,
                               kn_trace *trace, kn_error *err)
{
    kn_status st = kni_refusals_find(&ctx->refusals, package, &target->device, trace, err);
    if (st != KN_OK)
        return st;
    kn_trace *steps = kn_trace_new();
    kn_error why = KN_ERROR_INIT;
    st = steps ? kni_package_check(package, target, verdict, library, steps, &why)
               : kni_no_memory(&why);
    if (!kni_trace_append(trace, steps))
        st = kni_no_memory(&why);
    if (st == KN_ERR_INCOMPATIBLE)
        kni_refusals_add(&ctx->refusals, package, &target->device, &why, steps);
    else
        kn_trace_free(steps);
    if (st != KN_ERR_NO_MEMORY)
        return st == KN_OK ? st : kni_error_move(err, &why);
    kn_error_dispose(&why); // whatever else it says
    return kni_no_memory(err);
}

// One variant: read, check, load. Every refusal joins the trace.
static kn_status load_variant(kn_context *ctx, const char *dir, const char *revision,
                              const kn_target *target, kn_kernel **out, kn_trace *trace,
                              kn_error *err)
{
    kn_package *package = NULL;
    kn_kernel *kernel = NULL;
    kn_package_verdict verdict = KN_PACKAGE_VERDICT_INIT;
    kni_checked_file library = KNI_CHECKED_FILE_INIT;
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_error why = KN_ERROR_INIT;
    bool is_new = false;
    const char *rule = "metadata";
    kn_status st = kn_package_open(dir, &package, &why);
    if (st == KN_OK) {
        rule = NULL; // the check has its own entries
        st = check_variant(ctx, package, target, &verdict, &library, trace, &why);
    }
    if (st == KN_OK) {
        rule = "load";
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, &why);
    }
    if (st == KN_OK)
        st = kni_kernel_load(package, &library, tvm_ffi, revision, &kernel, &why);
    if (st == KN_OK) {
        package = NULL; // now the kernel's
        st = kni_kept_intern(&ctx->kept, kernel, out, &is_new, &why);
    }
    if (st != KN_OK && rule &&
        !kni_trace_add(trace, "load", dir, false, rule, NULL, "%s", kn_error_text(&why)))
        st = KN_ERR_NO_MEMORY;
    if (is_new && !verdict.digests_checked)
        kni_log_write(&ctx->log, KN_LOG_INFO,
                      "%s: has no digests: its files are loaded as they are", dir);
    kni_checked_file_dispose(&library);
    kn_package_close(package);
    if (st == KN_ERR_NO_MEMORY) {
        kn_error_dispose(&why);
        return kni_no_memory(err);
    }
    return st == KN_OK ? st : kni_error_move(err, &why);
}

// The first variant that fits by name and passes its check. The error is that of the best one.
static kn_status load_best(kn_context *ctx, const kni_source *source, const kn_listing *listing,
                           const kn_target *target, kn_kernel **out, kn_trace *trace, kn_error *err)
{
    const size_t count = kn_listing_count(listing);
    size_t n_fit = 0;
    kn_error first = KN_ERROR_INIT;
    kn_status st = KN_OK;
    size_t *order = kni_calloc(count, sizeof(*order));
    const char **names = kni_calloc(count, sizeof(*names));
    if (!order || !names)
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < count; ++i)
        names[i] = kn_listing_name(listing, i);
    if (st == KN_OK)
        st = kn_package_choose(names, count, target, order, &n_fit, trace, err);
    if (st == KN_OK && n_fit == 0)
        st = kn_error_set(err, KN_ERR_INCOMPATIBLE,
                          "%s: none of its %zu build variants is for %s and this host: %s",
                          source->dir, count, kn_device_type_name(target->device.type),
                          kn_trace_get(trace, kn_trace_count(trace) - 1).reason);
    else if (st == KN_OK)
        st = KN_ERR_INCOMPATIBLE;
    for (size_t i = 0; i < n_fit && st != KN_OK && st != KN_ERR_NO_MEMORY; ++i)
        st = load_variant(ctx, kn_listing_path(listing, order[i]), source->revision, target, out,
                          trace, &first);
    if (n_fit > 0 && st == KN_ERR_NO_MEMORY)
        kni_no_memory(err);
    else if (n_fit > 0 && st != KN_OK)
        st = kni_error_move(err, &first);
    kn_error_dispose(&first);
    kni_free(names);
    kni_free(order);
    return st;
}

// List, choose, check, load.
static kn_status load_source(kn_context *ctx, const kni_source *source,
                             const kn_device_info *device, kn_kernel **out, kn_trace *trace,
                             kn_error *err)
{
    kn_listing *listing = NULL;
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_status st = kn_listing_open(source->dir, &listing, err);
    if (st == KN_OK)
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, err);
    if (st == KN_OK) {
        const kn_target target = {
            .struct_size = sizeof(target),
            .machine = ctx->machine,
            .device = *device,
            .tvm_ffi_major = (int32_t)tvm_ffi->version.major,
            .tvm_ffi_minor = (int32_t)tvm_ffi->version.minor,
        };
        st = load_best(ctx, source, listing, &target, out, trace, err);
    }
    kn_listing_close(listing);
    return st;
}

kn_status kni_context_get(kn_context *ctx, const kn_reference *reference,
                          const kn_device_info *device, kn_kernel **out, kn_trace *trace,
                          kn_error *err)
{
    kni_source source = {NULL, NULL};
    kni_wish *claim = NULL;
    kn_kernel *kernel = NULL;
    *out = NULL;
    kn_status st = kni_resolve(reference, &source, trace, err);
    if (st == KN_OK)
        st = kni_kept_enter(&ctx->kept, source.dir, device, &kernel, &claim, trace, err);
    if (claim) {
        kn_trace *steps = kn_trace_new();
        st = steps ? load_source(ctx, &source, device, &kernel, steps, err) : kni_no_memory(err);
        if (!kni_trace_append(trace, steps) && st == KN_OK)
            st = kni_no_memory(err);
        kni_kept_leave(&ctx->kept, claim, kernel,
                       steps); // a trace that could not be copied is no reason
    }
    if (st == KN_OK)
        *out = kernel;
    kni_source_dispose(&source);
    return st;
}

static kn_status read_reference(const kn_kernel_options *opts, kn_reference *out, kn_error *err)
{
    if (!opts->path == !opts->repo_id)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_context_get_kernel: give either path or repo_id");
    const int pins = (opts->revision != NULL) + (opts->version != NULL) + (opts->lock != NULL);
    if (pins > (opts->repo_id ? 1 : 0))
        return kn_error_set(
            err, KN_ERR_INVALID, "kn_context_get_kernel: %s takes %s of revision, version and lock",
            opts->repo_id ? opts->repo_id : "a path", opts->repo_id ? "at most one" : "none");
    const kn_reference_kind kind = opts->path   ? KN_REFERENCE_PATH
                                   : opts->lock ? KN_REFERENCE_LOCKED
                                                : KN_REFERENCE_HUB;
    *out = (kn_reference){
        .struct_size = sizeof(*out),
        .kind = kind,
        .trust_remote_code = opts->trust_remote_code,
        .repo_id = opts->repo_id,
        .path = opts->path,
        .path_written = opts->path,
        .revision = opts->revision,
        .version = opts->version,
        .version_branch = -1,
        .lock = opts->lock,
        .text = opts->path ? opts->path : opts->repo_id,
    };
    return KN_OK;
}

kn_status kn_context_get_kernel(kn_context *ctx, const kn_kernel_options *opts, kn_kernel **out,
                                kn_trace *trace, kn_error *err)
{
    kn_kernel_options all = KN_KERNEL_OPTIONS_INIT;
    kn_device_info device = KN_DEVICE_INFO_INIT;
    kn_device_type type = KN_DEVICE_CPU;
    kn_reference reference;
    if (out)
        *out = NULL;
    if (!ctx || !opts || !out || opts->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_context_get_kernel: a context, KN_KERNEL_OPTIONS and out are "
                            "required");
    memcpy(&all, opts, opts->struct_size < sizeof(all) ? opts->struct_size : sizeof(all));
    kn_status st = read_reference(&all, &reference, err);
    if (st == KN_OK && all.device)
        st = kn_device_type_parse(all.device, &type, err);
    if (st == KN_OK)
        st = kn_machine_device(ctx->machine, type, all.device_index, &device, err);
    if (st == KN_OK)
        st = kni_context_get(ctx, &reference, &device, out, trace, err);
    return st;
}
