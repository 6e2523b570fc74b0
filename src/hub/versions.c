// What a repository has to choose from, and what a wish takes of it.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/ask.h"
#include "hub/cached.h"
#include "hub/hub.h"
#include "hub/wanted.h"

typedef struct row {
    char *ref;
    char *version;
    char *reason;
    char commit[KNI_COMMIT_SIZE];
    bool is_branch;
    bool is_chosen;
} row;

struct kn_versions {
    row *rows;
    size_t count;
    bool is_whole;
    kni_repo_type type;
};

void kn_versions_free(kn_versions *versions)
{
    if (!versions)
        return;
    for (size_t i = 0; i < versions->count; ++i) {
        kni_free(versions->rows[i].ref);
        kni_free(versions->rows[i].version);
        kni_free(versions->rows[i].reason);
    }
    kni_free(versions->rows);
    kni_free(versions);
}

static char *version_text(const kni_candidate *c)
{
    char number[32];
    if (c->version)
        return kni_strdup(kni_version_text(c->version));
    snprintf(number, sizeof(number), "%" PRId64, c->number);
    return kni_strdup(c->number >= 0 ? number : "");
}

static char *reason(const kni_candidate *c, const kni_candidate *chosen, const kni_wanted *wanted)
{
    kni_buf text = KNI_BUF_ANY;
    if (wanted->kind == KNI_WANTED_VERSION && !c->version)
        kni_buf_puts(&text, "is no version tag");
    else if (wanted->kind == KNI_WANTED_VERSION &&
             !kni_specifier_admits(wanted->specifier, c->version))
        kni_buf_printf(&text, "does not satisfy %s", wanted->version);
    else if (wanted->kind == KNI_WANTED_VERSION && c == chosen)
        kni_buf_printf(&text, "newest that satisfies %s", wanted->version);
    else if (wanted->kind == KNI_WANTED_VERSION && chosen &&
             kni_version_compare(c->version, chosen->version) < 0)
        kni_buf_printf(&text, "older than %s", chosen->ref->name);
    else if (wanted->kind == KNI_WANTED_VERSION)
        kni_buf_puts(&text, kni_version_is_prerelease(c->version)
                                ? "a pre-release, which the specifier does not ask for"
                                : "");
    else if (c == chosen)
        kni_buf_puts(&text, wanted->kind == KNI_WANTED_MAIN ? "without a version, main is used"
                                                            : "asked for by name");
    return text.size || text.failed ? kni_buf_take(&text) : kni_strdup("");
}

static kn_status fill(kn_versions *out, const kni_refs *refs, const kni_wanted *wanted,
                      kn_error *err)
{
    kni_candidates candidates = {NULL, 0};
    const kni_candidate *chosen = NULL;
    kn_status st = kni_candidates_init(&candidates, refs, err);
    if (st == KN_OK)
        st = kni_candidates_choose(&candidates, wanted, &chosen, err);
    if (st == KN_OK) {
        out->rows = kni_calloc(candidates.count + 1, sizeof(*out->rows));
        st = out->rows ? KN_OK : kni_no_memory(err);
    }
    for (size_t i = 0; st == KN_OK && i < candidates.count; ++i) {
        const kni_candidate *c = &candidates.items[i];
        row *r = &out->rows[out->count++];
        memcpy(r->commit, c->ref->commit, KNI_COMMIT_SIZE);
        r->is_branch = c->is_branch;
        r->is_chosen = c == chosen;
        r->ref = kni_strdup(c->ref->name);
        r->version = version_text(c);
        r->reason = reason(c, chosen, wanted);
        if (!r->ref || !r->version || !r->reason)
            st = kni_no_memory(err);
    }
    kni_candidates_dispose(&candidates);
    return st;
}

static kn_status find(kn_hub *hub, const kni_wanted *wanted, kn_versions *out, kn_error *err)
{
    const kni_known_refs *known = NULL;
    kni_repo repo;
    kni_refs refs = {0};
    if (!hub->settings.is_offline) {
        const kn_status st = kni_ask_refs(hub, &wanted->repo, false, &known, err);
        if (st != KN_OK)
            return st;
        out->type = known->repo.type;
        out->is_whole = true;
        return fill(out, &known->refs, wanted, err);
    }
    if (!kni_cached_repo(hub, wanted->repo.id, &repo))
        return kn_error_set(err, KN_ERR_NOT_FOUND,
                            "%s: offline mode, and it is not in the cache %s", wanted->repo.id,
                            kn_hub_cache_dir(hub));
    out->type = repo.type;
    kn_status st = kni_cached_refs(hub, &repo, &refs, err);
    if (st == KN_OK)
        st = fill(out, &refs, wanted, err);
    kni_refs_dispose(&refs);
    return st;
}

kn_status kn_hub_versions(kn_hub *hub, const kn_hub_wish *wish, kn_versions **out, kn_error *err)
{
    kni_wanted wanted;
    if (out)
        *out = NULL;
    if (!hub || !out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_versions: a hub and out are required");
    kn_status st = kni_wanted_init(&wanted, wish, err);
    if (st != KN_OK)
        return st;
    kn_versions *versions = kni_calloc(1, sizeof(*versions));
    st = versions ? find(hub, &wanted, versions, err) : kni_no_memory(err);
    if (st == KN_OK)
        *out = versions;
    else
        kn_versions_free(versions);
    kni_wanted_dispose(&wanted);
    return st;
}

size_t kn_versions_count(const kn_versions *versions)
{
    return versions->count;
}

bool kn_versions_is_whole(const kn_versions *versions)
{
    return versions->is_whole;
}

const char *kn_versions_repo_type(const kn_versions *versions)
{
    return kni_repo_type_text(versions->type);
}

kn_status kn_versions_get(const kn_versions *versions, size_t index, kn_version_row *out,
                          kn_error *err)
{
    if (!out || out->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID, "kn_versions_get: out is not initialised");
    if (index >= versions->count)
        return kn_error_set(err, KN_ERR_INVALID, "kn_versions_get: no row %zu: there are %zu",
                            index, versions->count);
    const row *r = &versions->rows[index];
    const kn_version_row whole = {
        .struct_size = out->struct_size,
        .ref = r->ref,
        .version = r->version,
        .commit = r->commit,
        .is_branch = r->is_branch,
        .is_chosen = r->is_chosen,
        .reason = r->reason,
    };
    memcpy(out, &whole, out->struct_size < sizeof(whole) ? out->struct_size : sizeof(whole));
    return KN_OK;
}
