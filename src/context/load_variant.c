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
                       const kn_target *target, kni_checked_file *library, kn_trace *trace,
                       kn_error *err)
{
    kn_status st = kni_refusals_find(&ctx->refusals, package, &target->device, trace, err);
    if (st != KN_OK)
        return st;
    kn_error why = KN_ERROR_INIT;
    kn_trace *steps = kn_trace_new();
    st = steps ? kni_package_check(package, expected, target, NULL, library, steps, &why)
               : KN_ERR_NO_MEMORY;
    if (!kni_trace_append(trace, steps))
        st = KN_ERR_NO_MEMORY;
    if (st == KN_ERR_INCOMPATIBLE)
        kni_refusals_add(&ctx->refusals, package, &target->device, &why, steps);
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
static bool has_checked(const kn_kernel *kernel, const kni_digest *metadata,
                        const kni_checked_file *library)
{
    return memcmp(kernel->package->metadata_sha256.bytes, metadata->bytes,
                  kni_digest_size(KNI_SHA256)) == 0 &&
           (kni_kernel_is_planned(kernel) ||
            kni_same_file_state(&kernel->library.info, &library->info));
}

// Makes a kernel of a checked package. *package is NULL once the kernel has it.
static kn_status load(kn_context *ctx, kn_package **package, const kni_checked_file *library,
                      const kni_source *source, const kn_target *target, kn_kernel **out,
                      kn_error *err)
{
    const kn_revision *revision = source->revision;
    const kni_kernel_origin from = {revision ? kn_revision_repo_id(revision) : "",
                                    revision ? kn_revision_commit(revision) : ""};
    kn_kernel *kernel = NULL;
    const kni_tvm_ffi *tvm_ffi = NULL;
    const kni_digest metadata = (*package)->metadata_sha256;
    kn_status st;
    if (is_elsewhere(target)) {
        st = kni_kernel_plan(*package, from, &kernel, err);
    } else {
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, err);
        if (st == KN_OK)
            st = kni_kernel_load(*package, library, tvm_ffi, from, &kernel, err);
    }
    if (st != KN_OK)
        return st;
    *package = NULL;
    const kn_level level = revision ? kn_revision_level(revision) : KN_LEVEL_NONE;
    st = kni_kept_intern(&ctx->kept, kernel, out, err);
    if (st == KN_OK && level > kn_kernel_level(*out) && !has_checked(*out, &metadata, library)) {
        st = kn_error_set(err, KN_ERR_LOAD,
                          "%s: was loaded before it was what it is now: restart the process to "
                          "load this one",
                          (*out)->package->dir);
        *out = NULL;
    }
    if (st == KN_OK)
        kni_kernel_raise_level(*out, level);
    return st;
}

// The directory of a hub's variant, fetched if need be; judged by its metadata alone before the rest is fetched.
static kn_status fetch(kn_context *ctx, const kni_source *source, const char *variant,
                       const kn_target *target, char **dir, kni_expected *expected,
                       const char **rule, kn_trace *trace, kn_error *err)
{
    const kn_revision *revision = source->revision;
    const kni_lock_hash *hash = NULL;
    const kni_cache *cache = NULL;
    char *text = NULL;
    size_t size = 0;
    kn_package *package = NULL;
    kn_status st = kni_expect(revision, variant, &expected->sums, &hash, err);
    if (st == KN_OK)
        st = kni_cached_in(ctx->hub, &revision->repo, revision->commit, variant, &cache, err);
    if (st == KN_OK && !cache) {
        st = kn_hub_fetch_metadata(ctx->hub, revision, variant, &text, &size, err);
        if (st == KN_OK)
            st = kn_package_parse(text, size, revision->repo.id, variant, &package, err);
        if (st == KN_OK) {
            *rule = NULL; // the check has its own entries
            st = kn_package_check_metadata(package, target, trace, err);
            *rule = st == KN_OK ? "fetch" : NULL;
        }
    }
    if (st == KN_OK)
        st = kni_fetch(ctx->hub, revision, variant, &cache, &expected->blobs_are_right, err);
    if (st == KN_OK && hash) // the peer's hash is over the variant as a whole
        st = kni_expect_cached(revision, variant, cache, err);
    if (st == KN_OK)
        st = kni_cached_directory(revision, variant, cache, dir, err);
    kn_package_close(package);
    kn_string_free(text);
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
                           const kn_target *target, kni_taken *out, kn_trace *trace, kn_error *err)
{
    kn_package *package = NULL;
    char *fetched = NULL;
    kni_expected expected = {NULL, false};
    kni_checked_file library = KNI_CHECKED_FILE_INIT;
    kn_error why = KN_ERROR_INIT;
    const char *rule = "fetch";
    kn_status st = KN_OK;
    if (source->revision)
        st = fetch(ctx, source, variant, target, &fetched, &expected, &rule, trace, &why);
    if (st == KN_OK) {
        rule = "metadata";
        st = kn_package_open(fetched ? fetched : variant, &package, &why);
    }
    if (st == KN_OK) {
        rule = NULL; // the check has its own entries
        // What is loaded is hashed as it lies there, even when it was written a moment ago.
        expected.blobs_are_right &= out->without_loading;
        st = check(ctx, package, &expected, target, &library, trace, &why);
        if (st == KN_ERR_UNTRUSTED && fetched)
            advise(source->revision, &why);
    }
    if (st == KN_OK && out->without_loading) {
        out->dir = kni_strdup(kn_package_dir(package));
        st = out->dir ? KN_OK : KN_ERR_NO_MEMORY;
    } else if (st == KN_OK) {
        rule = "load";
        st = load(ctx, &package, &library, source, target, &out->kernel, &why);
    }
    if (st != KN_OK && rule &&
        !kni_trace_add(trace, "load", kni_path_basename(variant), false, rule, NULL, "%s",
                       kn_error_text(&why)))
        st = KN_ERR_NO_MEMORY;
    kni_checked_file_dispose(&library);
    kn_package_close(package);
    kni_free(fetched);
    return pass_on(st, &why, err);
}
