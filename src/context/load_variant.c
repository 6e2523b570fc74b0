#include "context/load_variant.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/trace.h"
#include "context/kernel.h"
#include "device/machine.h"
#include "hub/cached.h"
#include "hub/expect.h"
#include "hub/fetch.h"

// Out of memory is said as such, whatever else went wrong before.
static kn_status pass_on(kn_status st, kn_error *why, kn_error *err)
{
    if (st == KN_OK)
        return st;
    if (st != KN_ERR_NO_MEMORY)
        return kni_error_move(err, why);
    kn_error_dispose(why);
    return kni_no_memory(err);
}

// Asks the rules, unless it is remembered what they said.
static kn_status check(kn_context *ctx, const kn_package *package, const kni_expected *expected,
                       const kn_target *target, kni_checked *checked, kn_trace *trace,
                       kn_error *err)
{
    kn_status st = kni_refusals_find(&ctx->refusals, package, target, trace, err);
    if (st != KN_OK)
        return st;
    kn_error why = KN_ERROR_INIT;
    kn_trace *steps = kn_trace_new();
    st = steps ? kni_package_check(package, expected, target, NULL, checked, steps, &why)
               : KN_ERR_NO_MEMORY;
    if (!kni_trace_append(trace, steps))
        st = KN_ERR_NO_MEMORY;
    if (st == KN_ERR_INCOMPATIBLE)
        kni_refusals_add(&ctx->refusals, package, target, checked->object, &why, steps);
    else
        kn_trace_free(steps);
    return pass_on(st, &why, err);
}

// Is the target another machine than this one, by its description? A CPU that can do no more than this one counts as this one.
static bool is_elsewhere(const kn_target *target)
{
    kni_cpu here;
    if (!target->device.overridden || target->device.type != KN_DEVICE_CPU)
        return target->device.overridden;
    kni_cpu_probe(&here);
    return !kni_cpu_covers(&here, &target->machine->cpu);
}

// Is what the kernel has what was checked just now? It may have been made before, of a directory that was changed since.
static bool is_same(const kn_kernel *kernel, const kn_kernel *now)
{
    return kni_file_sums_equal(&kernel->sums, &now->sums) &&
           (!kernel->library.handle ||
            kni_same_file_state(&kernel->library.info, &now->library.info));
}

// Makes a kernel of a checked package. *package is NULL once the kernel has it.
static kn_status load(kn_context *ctx, kn_package **package, kni_checked *checked,
                      const kni_source *source, const kn_target *target, kn_kernel **out,
                      kn_error *err)
{
    const kn_revision *revision = source->revision;
    const kni_kernel_origin from = {revision ? kn_revision_repo_id(revision) : "",
                                    revision ? kn_revision_commit(revision) : ""};
    kn_kernel *kernel = NULL;
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_status st;
    // Python without an object of its own is the host's affair, which was told of the device: nothing in it is for a machine.
    const bool is_planned = is_elsewhere(target) && (!checked->is_hosted || checked->object);
    if (checked->is_hosted || is_planned) {
        st = kni_kernel_hold(*package, checked, is_planned, from, &kernel, err);
    } else {
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, err);
        if (st == KN_OK)
            st = kni_kernel_load(*package, checked, tvm_ffi, from, &kernel, err);
    }
    if (st != KN_OK)
        return st;
    *package = NULL;
    const kn_level level = revision ? kn_revision_level(revision) : KN_LEVEL_NONE;
    st = kni_kept_intern(&ctx->kept, kernel, out, err);
    if (st == KN_OK && level > kn_kernel_level(*out) && !is_same(*out, kernel)) {
        st = kn_error_set(err, KN_ERR_LOAD,
                          "%s: was loaded before it was what it is now: restart the process to "
                          "load this one",
                          (*out)->package->dir);
        *out = NULL;
    }
    if (st == KN_OK)
        kni_kernel_raise_level(*out, level);
    if (*out != kernel)
        kni_kernel_free(kernel);
    return st;
}

static kn_status pass_over(const char *variant, kni_taken *out, kn_trace *trace, kn_error *err)
{
    out->is_passed_over =
        kni_trace_add(trace, "load", kni_path_basename(variant), true, "layers", NULL,
                      "has no layers of its own: comes after the variants for PyTorch");
    return out->is_passed_over ? KN_OK : kni_no_memory(err);
}

// What a hub's variant says of itself, before the rest of it is fetched. Without metadata.json it says nothing, and may be a package of
// the first era for a host that imports it.
static kn_status judge_metadata(const kni_source *source, const char *variant,
                                const kn_target *target, kni_look look, kni_taken *out,
                                const char **rule, kn_trace *trace, kn_error *err)
{
    const kn_revision *revision = source->revision;
    char *text = NULL;
    size_t size = 0;
    kn_package *package = NULL;
    kn_status st = target->torch_major
                       ? kni_fetch_metadata(source->hub, revision, variant, &text, &size, err)
                       : kn_hub_fetch_metadata(source->hub, revision, variant, &text, &size, err);
    if (st == KN_OK && text)
        st = kn_package_parse(text, size, revision->repo.id, variant, &package, err);
    if (st == KN_OK && package) {
        *rule = NULL; // the check has its own entries
        st = kn_package_check_metadata(package, target, trace, err);
        *rule = st == KN_OK ? "fetch" : NULL;
    }
    if (st == KN_OK && look == KNI_LOOK_LAYERS && (!package || !kn_package_layer_count(package)))
        st = pass_over(variant, out, trace, err);
    kn_package_close(package);
    kn_string_free(text);
    return st;
}

// The directory of a hub's variant, fetched if need be; judged by its metadata alone before the rest is fetched.
static kn_status fetch(const kni_source *source, const char *variant, const kn_target *target,
                       kni_look look, kni_taken *out, char **dir, kni_expected *expected,
                       const char **rule, kn_trace *trace, kn_error *err)
{
    const kn_revision *revision = source->revision;
    const kni_lock_hash *hash = NULL;
    const kni_cache *cache = NULL;
    kn_status st = kni_expect(revision, variant, &expected->sums, &hash, err);
    if (st == KN_OK)
        st = kni_cached_in(source->hub, &revision->repo, revision->commit, variant, &cache, err);
    if (st == KN_OK && !cache && look != KNI_LOOK_AGAIN)
        st = judge_metadata(source, variant, target, look, out, rule, trace, err);
    if (st != KN_OK || out->is_passed_over)
        return st;
    st = kni_fetch(source->hub, revision, variant, &cache, &expected->blobs_are_right, err);
    if (st == KN_OK && hash) // the peer's hash is over the variant as a whole
        st = kni_expect_cached(revision, variant, cache, err);
    if (st == KN_OK)
        st = kni_cached_directory(revision, variant, cache, dir, err);
    return st;
}

// What lies in the cache is not what it should be: says how to get it again.
static void advise(const kn_revision *revision, kn_error *why)
{
    kn_error more = KN_ERROR_INIT;
    kn_error_set(&more, why->status, "%s; to fetch it again: kernels cache rm %s@%s",
                 kn_error_text(why), revision->repo.id, revision->commit);
    if (more.text) {
        kn_error_dispose(why);
        *why = more;
    }
}

kn_status kni_load_variant(kn_context *ctx, const kni_source *source, const char *variant,
                           const kn_target *target, kni_look look, kni_taken *out, kn_trace *trace,
                           kn_error *err)
{
    kn_package *package = NULL;
    char *fetched = NULL;
    kni_expected expected = {NULL, false};
    kni_checked checked = KNI_CHECKED_INIT;
    kn_error why = KN_ERROR_INIT;
    const char *rule = "fetch";
    kn_status st = KN_OK;
    out->is_passed_over = false;
    if (source->revision)
        st = fetch(source, variant, target, look, out, &fetched, &expected, &rule, trace, &why);
    if (st == KN_OK && !out->is_passed_over) {
        rule = "metadata";
        st = kn_package_open(fetched ? fetched : variant, &package, &why);
        if (st == KN_OK && look == KNI_LOOK_LAYERS && !kn_package_layer_count(package))
            st = pass_over(variant, out, trace, &why);
    }
    if (out->is_passed_over)
        goto done;
    if (st == KN_OK) {
        rule = NULL; // the check has its own entries
        // What is loaded is hashed as it lies there, even when it was written a moment ago.
        expected.blobs_are_right &= out->without_loading;
        checked.wants_sums = !out->without_loading;
        st = check(ctx, package, &expected, target, &checked, trace, &why);
        if (st == KN_ERR_UNTRUSTED && fetched)
            advise(source->revision, &why);
    }
    if (st == KN_OK && out->without_loading) {
        out->dir = kni_strdup(kn_package_dir(package));
        st = out->dir ? KN_OK : KN_ERR_NO_MEMORY;
    } else if (st == KN_OK) {
        rule = "load";
        st = load(ctx, &package, &checked, source, target, &out->kernel, &why);
    }
    if (st != KN_OK && rule &&
        !kni_trace_add(trace, "load", kni_path_basename(variant), false, rule, NULL, "%s",
                       kn_error_text(&why)))
        st = KN_ERR_NO_MEMORY;
done:
    kni_checked_dispose(&checked);
    kn_package_close(package);
    kni_free(fetched);
    return pass_on(st, &why, err);
}
