// The spine: from a reference to a loaded kernel.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "context/attempts.h"
#include "context/context.h"
#include "context/kernel.h"
#include "context/load_variant.h"
#include "context/resolve.h"
#include "hub/hub.h"

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

static bool is_over(kn_status st)
{
    return st == KN_OK || st == KN_ERR_NO_MEMORY || st == KN_ERR_CANCELLED;
}

// Goes through the variants that fit by name, best first, until one is loaded. The error is that of the best one.
static kn_status load_first(kn_context *ctx, const kni_source *source, const offer *o,
                            const kn_target *target, kni_attempt *attempts, size_t n,
                            kni_taken *out, kn_trace *trace, kn_error *err)
{
    kn_error first = KN_ERROR_INIT;
    kn_status st = KN_ERR_INCOMPATIBLE;
    for (size_t i = 0; i < n && !is_over(st); ++i) {
        const kni_attempt *one = &attempts[i];
        if (!one->is_due)
            continue;
        const kn_status is = kni_load_variant(ctx, source, offer_load_by(o, one->index), target,
                                              one->look, out, trace, &first);
        if (out->is_passed_over)
            kni_attempts_pass_over(attempts, n, one->index);
        else
            st = is;
    }
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
    kni_attempt *attempts = kni_calloc(2 * count, sizeof(*attempts));
    if (!order || !names || !attempts)
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
    if (st == KN_OK) {
        const size_t n = kni_attempts_plan(names, order, n_fit, target->torch_major != 0, attempts);
        st = load_first(ctx, source, o, target, attempts, n, out, trace, err);
    }
    kni_free(attempts);
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

static kn_status list(const kni_source *source, bool all, offer *o, kn_error *err)
{
    kn_status st;
    offer_dispose(o);
    if (source->dir)
        st = kn_listing_open(source->dir, &o->listing, err);
    else if (all)
        st = kn_hub_list_all(source->hub, source->revision, &o->variants, err);
    else
        st = kn_hub_list(source->hub, source->revision, &o->variants, err);
    o->is_whole = st == KN_OK && (source->dir || kn_variants_is_whole(o->variants));
    return st;
}

// Could a variant serve that is not cached, where none that is cached does?
static bool may_look_further(const kni_source *source, const offer *o, kn_status st)
{
    return !o->is_whole && !kn_hub_is_offline(source->hub) &&
           (st == KN_ERR_INCOMPATIBLE || st == KN_ERR_NOT_FOUND || st == KN_ERR_FORMAT ||
            st == KN_ERR_UNSUPPORTED);
}

static kn_status list_and_load(kn_context *ctx, const kni_source *source, const kn_target *target,
                               kni_taken *out, kn_trace *trace, kn_error *err)
{
    offer o = {NULL, NULL, false};
    kn_error why = KN_ERROR_INIT;
    kn_status st = list(source, false, &o, &why);
    if (st == KN_OK)
        st = choose_and_load(ctx, source, &o, target, out, trace, &why);
    if (st != KN_OK && o.variants && may_look_further(source, &o, st)) {
        kn_error_dispose(&why);
        st = list(source, true, &o, &why);
        if (st == KN_OK)
            st = choose_and_load(ctx, source, &o, target, out, trace, &why);
    }
    offer_dispose(&o);
    return st == KN_OK ? st : kni_error_move(err, &why);
}

// A host with another framework does without it: *out is NULL then, and the trace says why.
static kn_status open_tvm_ffi(kn_context *ctx, const kni_source *source, const kni_tvm_ffi **out,
                              kn_trace *trace, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    const kn_status st = kni_context_tvm_ffi(ctx, out, &why);
    if (st == KN_OK)
        return st;
    if (!source->framework.torch_major || st == KN_ERR_NO_MEMORY)
        return kni_error_move(err, &why);
    const bool is_told = kni_trace_add(trace, "resolve", "tvm-ffi", false, "tvm-ffi", NULL, "%s",
                                       kn_error_text(&why));
    kn_error_dispose(&why);
    return is_told ? KN_OK : kni_no_memory(err);
}

// Resolve, then list, choose, fetch, check, load.
static kn_status load_source(kn_context *ctx, kni_source *source, const kn_reference *reference,
                             const kn_device_info *device, kni_taken *out, kn_trace *trace,
                             kn_error *err)
{
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_status st = KN_OK;
    if (!source->dir)
        st = kni_source_resolve(source, reference, trace, err);
    if (st == KN_OK)
        st = open_tvm_ffi(ctx, source, &tvm_ffi, trace, err);
    if (st != KN_OK)
        return st;
    const kn_target target = {
        .struct_size = sizeof(target),
        .machine = ctx->machine,
        .device = *device,
        .tvm_ffi_major = tvm_ffi ? (int32_t)tvm_ffi->version.major : -1,
        .tvm_ffi_minor = tvm_ffi ? (int32_t)tvm_ffi->version.minor : -1,
        .torch_major = source->framework.torch_major,
        .torch_minor = source->framework.torch_minor,
        .torch_abi = source->framework.torch_abi,
    };
    return list_and_load(ctx, source, &target, out, trace, err);
}

// A local package may come without digests. Outside of every lock: the log is the host's.
static void announce(kn_context *ctx, kn_kernel *kernel)
{
    const kn_package *package = kernel->package;
    if (atomic_exchange(&kernel->is_announced, true))
        return;
    if (!package->has_metadata)
        kni_log_write(&ctx->log, KN_LOG_INFO,
                      "%s: has no metadata.json: its files are taken as they are, as the kernel %s",
                      package->dir, kn_package_name(package));
    else if (!kn_package_has_digests(package))
        kni_log_write(&ctx->log, KN_LOG_INFO,
                      "%s: has no digests: its files are loaded as they are", package->dir);
    for (size_t i = 0; i < kernel->notes.count; ++i)
        kni_log_write(&ctx->log, KN_LOG_WARNING, "%s: %s", package->dir, kernel->notes.names[i]);
}

// The hub of one call: the context's, with the user agent of who asks before its own.
typedef struct asking {
    kn_hub hub;
    char *agent; // that the hub borrows
} asking;

static kn_status asking_init(asking *out, const kn_hub *hub, const char *user_agent, kn_error *err)
{
    *out = (asking){*hub, NULL};
    if (!user_agent)
        return KN_OK;
    const kn_status st = kni_settings_agent_with(&hub->settings, user_agent, &out->agent, err);
    if (st == KN_OK)
        out->hub = kni_hub_as(hub, out->agent);
    return st;
}

kn_status kni_context_get_by(kn_context *ctx, const kn_hub *hub, const kn_reference *reference,
                             const kn_framework *framework, const kn_device_info *device,
                             kn_kernel **out, kn_trace *trace, kn_error *err)
{
    kni_source source = {.key = NULL};
    asking as;
    kni_wish *claim = NULL;
    kni_ask_watch watch = {hub, reference->repo_id ? reference->repo_id : ""};
    kni_taken taken = {.without_loading = false};
    kn_kernel *kernel = NULL;
    *out = NULL;
    kn_status st = asking_init(&as, hub, reference->user_agent, err);
    if (st == KN_OK)
        st = kni_source_init(&source, reference, framework, trace, err);
    source.hub = &as.hub;
    if (st == KN_OK)
        st = kni_kept_enter(&ctx->kept, source.key, device, &watch, &kernel, &claim, trace, err);
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
    kni_free(as.agent);
    return st;
}

kn_status kni_context_get(kn_context *ctx, const kn_reference *reference,
                          const kn_framework *framework, const kn_device_info *device,
                          kn_kernel **out, kn_trace *trace, kn_error *err)
{
    return kni_context_get_by(ctx, ctx->hub, reference, framework, device, out, trace, err);
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
        .user_agent = opts->user_agent,
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
    kn_status st = read_options(ctx, out ? opts : NULL, &all, &reference, &device, err);
    if (st == KN_OK)
        st = kni_context_get(ctx, &reference, all.framework, &device, out, trace, err);
    return st;
}

static kn_status fetch(kn_context *ctx, const kn_reference *reference,
                       const kn_framework *framework, const kn_device_info *device, char **dir,
                       kn_revision **revision, kn_trace *trace, kn_error *err)
{
    kni_source source = {.key = NULL};
    asking as;
    kni_taken taken = {.without_loading = true};
    kn_status st = asking_init(&as, ctx->hub, reference->user_agent, err);
    if (st == KN_OK)
        st = kni_source_init(&source, reference, framework, trace, err);
    if (st != KN_OK)
        goto done;
    source.hub = &as.hub;
    kn_trace *steps = kn_trace_new(); // choosing reads its own entries
    st = steps ? load_source(ctx, &source, reference, device, &taken, steps, err)
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
done:
    kni_free(taken.dir);
    kni_source_dispose(&source);
    kni_free(as.agent);
    return st;
}

kn_status kn_context_fetch_kernel(kn_context *ctx, const kn_kernel_options *opts, char **dir,
                                  kn_revision **revision, kn_trace *trace, kn_error *err)
{
    kn_kernel_options all = KN_KERNEL_OPTIONS_INIT;
    kn_device_info device = KN_DEVICE_INFO_INIT;
    kn_reference reference;
    if (dir)
        *dir = NULL;
    if (revision)
        *revision = NULL;
    kn_status st = read_options(ctx, dir ? opts : NULL, &all, &reference, &device, err);
    if (st == KN_OK)
        st = fetch(ctx, &reference, all.framework, &device, dir, revision, trace, err);
    return st;
}
