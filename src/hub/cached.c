#include "hub/cached.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/version.h"

bool kni_cached_repo(const kn_hub *hub, const char *id, kni_repo *repo)
{
    static const kni_repo_type types[] = {KNI_REPO_KERNEL, KNI_REPO_MODEL};
    for (size_t t = 0; t < KN_LEN(types); ++t) {
        kni_repo candidate;
        if (kni_repo_init(&candidate, types[t], id, NULL) != KN_OK)
            return false;
        for (size_t i = 0; i < hub->n_caches; ++i)
            if (kni_cache_has_repo(hub->caches[i], &candidate)) {
                *repo = candidate;
                return true;
            }
    }
    return false;
}

static bool is_tag(const char *name, bool *is, kn_error *err, kn_status *st)
{
    kni_version *version = NULL;
    *is = false;
    if (name[0] == 'v' && kni_version_branch(name) < 0) {
        *st = kni_version_parse(name + 1, &version, err);
        *is = version != NULL;
        kni_version_free(version);
    }
    return *st == KN_OK;
}

static bool has(const kni_ref_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; ++i)
        if (strcmp(list->refs[i].name, name) == 0)
            return true;
    return false;
}

static kn_status add_refs(const kni_cache *cache, const kni_repo *repo, kni_refs *out,
                          kn_error *err)
{
    kni_refs found = {0};
    kn_status st = kni_cache_list_refs(cache, repo, &found.branches, err);
    for (size_t i = 0; st == KN_OK && i < found.branches.count; ++i) {
        const kni_ref *ref = &found.branches.refs[i];
        bool tag = false;
        if (!is_tag(ref->name, &tag, err, &st))
            break;
        kni_ref_list *list = tag ? &out->tags : &out->branches;
        if (!has(list, ref->name))
            st = kni_ref_list_add(list, ref->name, ref->commit, err);
    }
    kni_refs_dispose(&found);
    return st;
}

kn_status kni_cached_refs(const kn_hub *hub, const kni_repo *repo, kni_refs *out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (kni_refs){0};
    for (size_t i = 0; st == KN_OK && i < hub->n_caches; ++i)
        st = add_refs(hub->caches[i], repo, out, err);
    if (st != KN_OK) {
        kni_refs_dispose(out);
        return st;
    }
    kni_ref_list_sort(&out->branches);
    kni_ref_list_sort(&out->tags);
    return KN_OK;
}

kn_status kni_cached_commit(const kn_hub *hub, const kni_repo *repo, const char *prefix,
                            char commit[KNI_COMMIT_SIZE], kn_error *err)
{
    kn_status st = KN_OK;
    commit[0] = '\0';
    for (size_t i = 0; st == KN_OK && i < hub->n_caches; ++i) {
        kni_names commits = {NULL, 0, 0};
        st = kni_cache_list_commits(hub->caches[i], repo, prefix, &commits, err);
        for (size_t k = 0; st == KN_OK && k < commits.count; ++k) {
            if (commit[0] && strcmp(commit, commits.names[k]) != 0)
                st = kn_error_set(err, KN_ERR_INVALID,
                                  "%s: the commit %s is ambiguous in the cache: %s, %s", repo->id,
                                  prefix, commit, commits.names[k]);
            else
                memcpy(commit, commits.names[k], KNI_COMMIT_SIZE);
        }
        kni_names_free(&commits);
    }
    if (st == KN_OK && !commit[0])
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "%s: no commit %s in the cache", repo->id, prefix);
    return st;
}

kn_status kni_cached_in(const kn_hub *hub, const kni_repo *repo, const char *commit,
                        const char *variant, const kni_cache **out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = NULL;
    for (size_t i = 0; st == KN_OK && !*out && i < hub->n_caches; ++i) {
        bool yes = false;
        st = kni_cache_has_variant(hub->caches[i], repo, commit, variant, hub->settings.is_offline,
                                   &yes, err);
        if (st == KN_OK && yes)
            *out = hub->caches[i];
    }
    return st;
}

static bool has_name(const kni_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; ++i)
        if (strcmp(names->names[i], name) == 0)
            return true;
    return false;
}

kn_status kni_cached_variants(const kn_hub *hub, const kni_repo *repo, const char *commit,
                              kni_names *out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (kni_names){NULL, 0, 0};
    for (size_t i = 0; st == KN_OK && i < hub->n_caches; ++i) {
        kni_names names = {NULL, 0, 0};
        st = kni_cache_list_variants(hub->caches[i], repo, commit, hub->settings.is_offline, &names,
                                     err);
        for (size_t k = 0; st == KN_OK && k < names.count; ++k)
            if (!has_name(out, names.names[k]) && !kni_names_push(out, kni_strdup(names.names[k])))
                st = kni_no_memory(err);
        kni_names_free(&names);
    }
    if (st != KN_OK)
        kni_names_free(out);
    return st;
}

kn_status kni_cached_directory(const kn_revision *revision, const char *variant,
                               const kni_cache *cache, char **dir, kn_error *err)
{
    kni_buf path = KNI_BUF_ANY;
    kni_buf_printf(&path, "build/%s", variant);
    const kn_status st = path.failed ? kni_no_memory(err)
                                     : kni_cache_directory(cache, &revision->repo, revision->commit,
                                                           kni_buf_text(&path), dir, err);
    kni_buf_dispose(&path);
    return st;
}
