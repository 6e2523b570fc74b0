// The spine: from a reference to a loaded kernel.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "context/context.h"
#include "context/kernel.h"
#include "context/load_variant.h"
#include "context/resolve.h"

// Goes through the variants that fit by name, best first, until one is loaded. The error is that of the best one.
static kn_status load_first(kn_context *ctx, const kni_source *source, const kn_listing *listing,
                            const kn_target *target, const size_t *order, size_t n_fit,
                            kn_kernel **out, kn_trace *trace, kn_error *err)
{
    kn_error first = KN_ERROR_INIT;
    kn_status st = KN_ERR_INCOMPATIBLE;
    for (size_t i = 0; i < n_fit && st != KN_OK && st != KN_ERR_NO_MEMORY; ++i)
        st = kni_load_variant(ctx, kn_listing_path(listing, order[i]), source->revision, target,
                              out, trace, &first);
    if (st != KN_OK && st != KN_ERR_NO_MEMORY)
        return kni_error_move(err, &first);
    kn_error_dispose(&first);
    return st == KN_OK ? st : kni_no_memory(err);
}

// Chooses among the variants by name, then by what is in them.
static kn_status choose_and_load(kn_context *ctx, const kni_source *source,
                                 const kn_listing *listing, const kn_target *target,
                                 kn_kernel **out, kn_trace *trace, kn_error *err)
{
    const size_t count = kn_listing_count(listing);
    size_t n_fit = 0;
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
                          "%s: none of its %zu build variants is for %s and this host: %s: %s",
                          source->dir, count, kn_device_type_name(target->device.type), names[0],
                          kn_trace_get(trace, kn_trace_count(trace) - count).reason);
    if (st == KN_OK)
        st = load_first(ctx, source, listing, target, order, n_fit, out, trace, err);
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
        st = choose_and_load(ctx, source, listing, &target, out, trace, err);
    }
    kn_listing_close(listing);
    return st;
}

// A local package may come without digests. Outside of every lock: the log is the host's.
static void announce(kn_context *ctx, kn_kernel *kernel)
{
    if (!kn_package_has_digests(kernel->package) && !atomic_exchange(&kernel->is_announced, true))
        kni_log_write(&ctx->log, KN_LOG_INFO,
                      "%s: has no digests: its files are loaded as they are", kernel->package->dir);
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
        kni_kept_leave(&ctx->kept, claim, kernel, steps);
        if (kernel)
            announce(ctx, kernel);
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
    if (opts->sums && (opts->path || opts->lock))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_context_get_kernel: sums is given with %s: accepted with repo_id "
                            "and without lock",
                            opts->path ? "path" : "lock");
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
        .sums = opts->sums,
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
