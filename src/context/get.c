// The spine: from a reference to a loaded kernel.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "context/context.h"
#include "context/kernel.h"
#include "context/load_variant.h"
#include "context/resolve.h"

// What is chosen from: the names of variants, and by what each is loaded (its directory, or of a hub its name).
typedef struct offer {
    kn_listing *listing;   // of a directory
    kn_variants *variants; // of a hub
    bool is_whole;         // no variant is left out
} offer;

static size_t offer_count(const offer *o)
{
    return o->listing ? kn_listing_count(o->listing) : kn_variants_count(o->variants);
}

static const char *offer_name(const offer *o, size_t index)
{
    return o->listing ? kn_listing_name(o->listing, index) : kn_variants_name(o->variants, index);
}

static const char *offer_load_by(const offer *o, size_t index)
{
    return o->listing ? kn_listing_path(o->listing, index) : kn_variants_name(o->variants, index);
}

// Goes through the variants that fit by name, best first, until one is loaded. The error is that of the best one.
static kn_status load_first(kn_context *ctx, const kni_source *source, const offer *o,
                            const kn_target *target, const size_t *order, size_t n_fit,
                            kni_taken *out, kn_trace *trace, kn_error *err)
{
    kn_error first = KN_ERROR_INIT;
    kn_status st = KN_ERR_INCOMPATIBLE;
    for (size_t i = 0; i < n_fit && st != KN_OK && st != KN_ERR_NO_MEMORY && st != KN_ERR_CANCELLED;
         ++i)
        st = kni_load_variant(ctx, source, offer_load_by(o, order[i]), target, out, trace, &first);
    if (st != KN_OK && st != KN_ERR_NO_MEMORY)
        return kni_error_move(err, &first);
    kn_error_dispose(&first);
    return st == KN_OK ? st : kni_no_memory(err);
}

// Chooses among the variants by name, then by what is in them.
static kn_status choose_and_load(kn_context *ctx, const kni_source *source, const offer *o,
                                 const kn_target *target, kni_taken *out, kn_trace *trace,
                                 kn_error *err)
{
    const size_t count = offer_count(o);
    size_t n_fit = 0;
    kn_status st = KN_OK;
    size_t *order = kni_calloc(count, sizeof(*order));
    const char **names = kni_calloc(count, sizeof(*names));
    if (!order || !names)
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < count; ++i)
        names[i] = offer_name(o, i);
    if (st == KN_OK)
        st = kn_package_choose(names, count, target, order, &n_fit, trace, err);
    if (st == KN_OK && n_fit == 0)
        st = kn_error_set(err, KN_ERR_INCOMPATIBLE,
                          "%s: none of its %zu build variants is for %s and this host: %s: %s",
                          source->dir ? source->dir : kn_revision_repo_id(source->revision), count,
                          kn_device_type_name(target->device.type), names[0],
                          kn_trace_get(trace, kn_trace_count(trace) - count).reason);
    if (st == KN_OK)
        st = load_first(ctx, source, o, target, order, n_fit, out, trace, err);
    kni_free(names);
    kni_free(order);
    return st;
}

static void offer_dispose(offer *o)
{
    kn_listing_close(o->listing);
    kn_variants_free(o->variants);
    *o = (offer){NULL, NULL, false};
}

static kn_status list(kn_context *ctx, const kni_source *source, bool all, offer *o, kn_error *err)
{
    kn_status st;
    offer_dispose(o);
    if (source->dir)
        st = kn_listing_open(source->dir, &o->listing, err);
    else if (all)
        st = kn_hub_list_all(ctx->hub, source->revision, &o->variants, err);
    else
        st = kn_hub_list(ctx->hub, source->revision, &o->variants, err);
    o->is_whole = st == KN_OK && (source->dir || kn_variants_is_whole(o->variants));
    return st;
}

// Could a variant serve that is not cached, where none that is cached does?
static bool may_look_further(const kn_context *ctx, const offer *o, kn_status st)
{
    return !o->is_whole && !kn_hub_is_offline(ctx->hub) &&
           (st == KN_ERR_INCOMPATIBLE || st == KN_ERR_NOT_FOUND || st == KN_ERR_FORMAT ||
            st == KN_ERR_UNSUPPORTED);
}

static kn_status list_and_load(kn_context *ctx, const kni_source *source, const kn_target *target,
                               kni_taken *out, kn_trace *trace, kn_error *err)
{
    offer o = {NULL, NULL, false};
    kn_error why = KN_ERROR_INIT;
    kn_status st = list(ctx, source, false, &o, &why);
    if (st == KN_OK)
        st = choose_and_load(ctx, source, &o, target, out, trace, &why);
    if (st != KN_OK && o.variants && may_look_further(ctx, &o, st)) {
        kn_error_dispose(&why);
        st = list(ctx, source, true, &o, &why);
        if (st == KN_OK)
            st = choose_and_load(ctx, source, &o, target, out, trace, &why);
    }
    offer_dispose(&o);
    return st == KN_OK ? st : kni_error_move(err, &why);
}

// Resolve, then list, choose, fetch, check, load.
static kn_status load_source(kn_context *ctx, kni_source *source, const kn_reference *reference,
                             const kn_device_info *device, kni_taken *out, kn_trace *trace,
                             kn_error *err)
{
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_status st = KN_OK;
    if (!source->dir)
        st = kni_source_resolve(ctx, source, reference, trace, err);
    if (st == KN_OK)
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, err);
    if (st != KN_OK)
        return st;
    const kn_target target = {
        .struct_size = sizeof(target),
        .machine = ctx->machine,
        .device = *device,
        .tvm_ffi_major = (int32_t)tvm_ffi->version.major,
        .tvm_ffi_minor = (int32_t)tvm_ffi->version.minor,
        .torch_major = source->framework.torch_major,
        .torch_minor = source->framework.torch_minor,
        .torch_abi = source->framework.torch_abi,
    };
    return list_and_load(ctx, source, &target, out, trace, err);
}

// A local package may come without digests. Outside of every lock: the log is the host's.
static void announce(kn_context *ctx, kn_kernel *kernel)
{
    if (!kn_package_has_digests(kernel->package) && !atomic_exchange(&kernel->is_announced, true))
        kni_log_write(&ctx->log, KN_LOG_INFO,
                      "%s: has no digests: its files are loaded as they are", kernel->package->dir);
}

kn_status kni_context_get(kn_context *ctx, const kn_reference *reference,
                          const kn_framework *framework, const kn_device_info *device,
                          kn_kernel **out, kn_trace *trace, kn_error *err)
{
    kni_source source;
    kni_wish *claim = NULL;
    kni_taken taken = {.without_loading = false};
    kn_kernel *kernel = NULL;
    *out = NULL;
    kn_status st = kni_source_init(&source, reference, framework, trace, err);
    if (st == KN_OK)
        st = kni_kept_enter(&ctx->kept, source.key, device, &kernel, &claim, trace, err);
    if (claim) {
        kn_trace *steps = kn_trace_new();
        st = steps ? load_source(ctx, &source, reference, device, &taken, steps, err)
                   : kni_no_memory(err);
        kernel = taken.kernel;
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
        return kn_error_set(err, KN_ERR_INVALID, "%s: takes %s of revision, version and lock",
                            opts->repo_id ? opts->repo_id : "a path",
                            opts->repo_id ? "at most one" : "none");
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

// The options, checked, as a reference; and the device that the kernel is for.
static kn_status read_options(kn_context *ctx, const kn_kernel_options *opts,
                              kn_kernel_options *all, kn_reference *reference,
                              kn_device_info *device, kn_error *err)
{
    kn_device_type type = KN_DEVICE_CPU;
    if (!ctx || !opts || opts->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "a kernel: a context, KN_KERNEL_OPTIONS and out are required");
    memcpy(all, opts, opts->struct_size < sizeof(*all) ? opts->struct_size : sizeof(*all));
    kn_status st = read_reference(all, reference, err);
    if (st == KN_OK && all->device)
        st = kn_device_type_parse(all->device, &type, err);
    if (st == KN_OK)
        st = kn_machine_device(ctx->machine, type, all->device_index, device, err);
    return st;
}

kn_status kn_context_get_kernel(kn_context *ctx, const kn_kernel_options *opts, kn_kernel **out,
                                kn_trace *trace, kn_error *err)
{
    kn_kernel_options all = KN_KERNEL_OPTIONS_INIT;
    kn_device_info device = KN_DEVICE_INFO_INIT;
    kn_reference reference;
    if (out)
        *out = NULL;
    const kn_status st = read_options(ctx, out ? opts : NULL, &all, &reference, &device, err);
    return st == KN_OK ? kni_context_get(ctx, &reference, all.framework, &device, out, trace, err)
                       : st;
}

kn_status kn_context_fetch_kernel(kn_context *ctx, const kn_kernel_options *opts, char **dir,
                                  kn_revision **revision, kn_trace *trace, kn_error *err)
{
    kn_kernel_options all = KN_KERNEL_OPTIONS_INIT;
    kn_device_info device = KN_DEVICE_INFO_INIT;
    kn_reference reference;
    kni_source source;
    kni_taken taken = {.without_loading = true};
    if (dir)
        *dir = NULL;
    if (revision)
        *revision = NULL;
    kn_status st = read_options(ctx, dir ? opts : NULL, &all, &reference, &device, err);
    if (st == KN_OK)
        st = kni_source_init(&source, &reference, all.framework, trace, err);
    if (st != KN_OK)
        return st;
    kn_trace *steps = kn_trace_new(); // choosing reads its own entries
    st = steps ? load_source(ctx, &source, &reference, &device, &taken, steps, err)
               : kni_no_memory(err);
    if (!kni_trace_append(trace, steps) && st == KN_OK)
        st = kni_no_memory(err);
    kn_trace_free(steps);
    if (st == KN_OK) {
        *dir = taken.dir;
        taken.dir = NULL;
        if (revision) {
            *revision = source.revision;
            source.revision = NULL;
        }
    }
    kni_free(taken.dir);
    kni_source_dispose(&source);
    return st;
}
