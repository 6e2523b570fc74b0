// What a lock is asked for: the dependencies of a project, or the entries of a mapping file.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/lock_make.h"
#include "kernels/mapping.h"

static kn_status add(kni_lock_wants *wants, const char *repo_id, const char *version,
                     const char *revision, bool consents, kn_error *err)
{
    for (size_t i = 0; i < wants->count; ++i) {
        kni_lock_want *want = &wants->items[i];
        if (strcmp(want->repo_id, repo_id) == 0 && kni_string_equal(want->version, version) &&
            kni_string_equal(want->revision, revision)) {
            want->consents |= consents;
            return KN_OK;
        }
    }
    void *items = wants->items;
    if (!kni_grow(&items, &wants->capacity, wants->count + 1, sizeof(*wants->items)))
        return kni_no_memory(err);
    wants->items = items;
    kni_lock_want *want = &wants->items[wants->count++];
    *want = (kni_lock_want){
        .repo_id = kni_strdup(repo_id),
        .version = kni_strdup(version),
        .revision = kni_strdup(revision),
        .consents = consents,
    };
    return want->repo_id && !want->version == !version && !want->revision == !revision
               ? KN_OK
               : kni_no_memory(err);
}

kn_status kni_lock_wants_project(const char *path, kni_lock_wants *out, bool *is_hashed,
                                 kn_error *err)
{
    kni_dependencies dependencies;
    *out = (kni_lock_wants){0};
    kn_status st = kni_dependencies_read(path, &dependencies, err);
    *is_hashed = dependencies.are_specifiers;
    for (size_t i = 0; st == KN_OK && i < dependencies.count; ++i) {
        const kni_dependency *dependency = &dependencies.items[i];
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, dependency->version);
        st = add(out, dependency->repo_id, dependency->specifier ? dependency->specifier : number,
                 NULL, false, err);
    }
    kni_dependencies_dispose(&dependencies);
    return st;
}

static kn_status add_reference(kni_lock_wants *out, const kn_reference *reference,
                               const char *sums_path, kn_error *err)
{
    char number[24];
    const char *version = reference->version;
    if (reference->kind != KN_REFERENCE_HUB ||
        (reference->sums && strcmp(reference->sums, sums_path) != 0))
        return KN_OK;
    if (reference->version_branch >= 0) {
        snprintf(number, sizeof(number), "%" PRId64, reference->version_branch);
        version = number;
    }
    return add(out, reference->repo_id, version, reference->revision,
               reference->trust_remote_code != 0, err);
}

kn_status kni_lock_wants_mapping(const char *path, const char *sums_path, kni_lock_wants *out,
                                 kn_error *err)
{
    kn_mapping *mapping = NULL;
    *out = (kni_lock_wants){0};
    kn_status st = kn_mapping_read(path, &mapping, err);
    for (size_t i = 0; st == KN_OK && i < kn_mapping_count(mapping); ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        st = kn_mapping_row_get(mapping, i, &row, err);
        if (st == KN_OK)
            st = add_reference(out, row.reference, sums_path, err);
    }
    kn_mapping_unref(mapping);
    return st;
}

static bool choose(kni_lock_wants *wants, const char *repo_id)
{
    bool is_there = false;
    for (size_t i = 0; i < wants->count; ++i)
        if (strcmp(wants->items[i].repo_id, repo_id) == 0)
            wants->items[i].is_update = is_there = true;
    return is_there;
}

kn_status kni_lock_wants_choose(kni_lock_wants *wants, const kn_lock_options *opts,
                                const char *name, kn_error *err)
{
    for (size_t i = 0; i < wants->count; ++i) {
        wants->items[i].is_update = opts->update_all != 0;
        wants->items[i].consents |= opts->trust_remote_code != 0;
    }
    for (size_t i = 0; i < opts->n_update; ++i) {
        const char *repo_id = opts->update[i];
        kni_buf known = KNI_BUF_ANY;
        if (choose(wants, repo_id))
            continue;
        for (size_t k = 0; k < wants->count; ++k)
            kni_buf_printf(&known, "%s%s", k ? ", " : "", wants->items[k].repo_id);
        kn_error_set(err, KN_ERR_INVALID, "update: %s does not ask for \"%.200s\": accepted are %s",
                     name, repo_id, wants->count ? kni_buf_text(&known) : "none");
        kni_buf_dispose(&known);
        return KN_ERR_INVALID;
    }
    return KN_OK;
}

void kni_lock_wants_dispose(kni_lock_wants *wants)
{
    for (size_t i = 0; i < wants->count; ++i) {
        kni_free(wants->items[i].repo_id);
        kni_free(wants->items[i].version);
        kni_free(wants->items[i].revision);
    }
    kni_free(wants->items);
    *wants = (kni_lock_wants){0};
}
