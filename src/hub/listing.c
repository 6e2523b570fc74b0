// Which variants a revision has.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/ask.h"
#include "hub/cached.h"
#include "hub/hub.h"

typedef struct row {
    char *name;
    uint64_t size_bytes;
    bool is_cached;
} row;

struct kn_variants {
    row *rows; // sorted by name
    size_t count;
    size_t capacity;
    bool is_whole;
};

void kn_variants_free(kn_variants *variants)
{
    if (!variants)
        return;
    for (size_t i = 0; i < variants->count; ++i)
        kni_free(variants->rows[i].name);
    kni_free(variants->rows);
    kni_free(variants);
}

static kn_status add(kn_variants *variants, const char *name, size_t size, row **out, kn_error *err)
{
    char *copy = kni_strndup(name, size);
    if (!copy || !kni_grow((void **)&variants->rows, &variants->capacity, variants->count + 1,
                           sizeof(row))) {
        kni_free(copy);
        return kni_no_memory(err);
    }
    *out = &variants->rows[variants->count++];
    **out = (row){.name = copy};
    return KN_OK;
}

static kn_status list_cached(const kn_hub *hub, const kn_revision *revision, kn_variants *out,
                             kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    row *added;
    kn_status st = kni_cached_variants(hub, &revision->repo, revision->commit, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        st = add(out, names.names[i], strlen(names.names[i]), &added, err);
        if (st == KN_OK)
            added->is_cached = true;
    }
    kni_names_free(&names);
    return st;
}

// Files are sorted by path, so those of a variant stand together.
static kn_status list_tree(const kn_hub *hub, const kn_revision *revision, const kni_tree *tree,
                           kn_variants *out, kn_error *err)
{
    row *last = NULL;
    for (size_t i = 0; i < tree->count; ++i) {
        kni_span rest = kni_span_of(tree->files[i].path), build, name;
        if (!kni_span_cut(&rest, '/', &build) || !kni_span_cut(&rest, '/', &name) || !rest.data)
            continue; // a file of build/ itself
        if (!last || !kni_span_is(name, last->name)) {
            const kni_cache *cache = NULL;
            kn_status st = add(out, name.data, name.size, &last, err);
            if (st == KN_OK)
                st = kni_cached_in(hub, &revision->repo, revision->commit, last->name, &cache, err);
            if (st != KN_OK)
                return st;
            last->is_cached = cache != NULL;
        }
        if (!kni_path_is_byte_code(tree->files[i].path))
            last->size_bytes += tree->files[i].size;
    }
    out->is_whole = true;
    return KN_OK;
}

static kn_status none(const kn_revision *revision, const char *where, kn_error *err)
{
    return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: the commit %s has no build variant%s",
                        revision->repo.id, revision->commit, where);
}

static kn_status list(kn_hub *hub, const kn_revision *revision, bool cached_serve, kn_variants *out,
                      kn_error *err)
{
    const kni_known_tree *known = NULL;
    kn_error why = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (cached_serve || hub->settings.is_offline) {
        st = list_cached(hub, revision, out, err);
        if (st != KN_OK || out->count > 0)
            return st;
        if (hub->settings.is_offline)
            return none(revision, " in the cache (offline mode)", err);
    }
    st = kni_ask_tree(hub, &revision->repo, revision->commit, false, &known, &why);
    if (st == KN_OK)
        st = list_tree(hub, revision, &known->tree, out, &why);
    else if (st == KN_ERR_NETWORK && list_cached(hub, revision, out, NULL) == KN_OK &&
             out->count > 0)
        st = KN_OK; // what is cached serves
    if (st == KN_OK && out->count == 0)
        return none(revision, ": there is nothing below build/", err);
    if (st != KN_OK)
        return kni_error_move(err, &why);
    kn_error_dispose(&why);
    return KN_OK;
}

static kn_status list_into(kn_hub *hub, const kn_revision *revision, bool cached_serve,
                           kn_variants **out, kn_error *err)
{
    if (out)
        *out = NULL;
    if (!hub || !revision || !out)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_list: a hub, a revision and out are required");
    kn_variants *variants = kni_calloc(1, sizeof(*variants));
    if (!variants)
        return kni_no_memory(err);
    const kn_status st = list(hub, revision, cached_serve, variants, err);
    if (st == KN_OK)
        *out = variants;
    else
        kn_variants_free(variants);
    return st;
}

kn_status kn_hub_list(kn_hub *hub, const kn_revision *revision, kn_variants **out, kn_error *err)
{
    return list_into(hub, revision, revision && revision->is_fixed, out, err);
}

kn_status kn_hub_list_all(kn_hub *hub, const kn_revision *revision, kn_variants **out,
                          kn_error *err)
{
    if (hub && revision && hub->settings.is_offline)
        return kn_error_set(err, KN_ERR_NOT_FOUND,
                            "%s: the build variants of %s that are not cached cannot be listed in "
                            "offline mode",
                            revision->repo.id, revision->commit);
    return list_into(hub, revision, false, out, err);
}

size_t kn_variants_count(const kn_variants *variants)
{
    return variants->count;
}

const char *kn_variants_name(const kn_variants *variants, size_t index)
{
    return index < variants->count ? variants->rows[index].name : NULL;
}

uint64_t kn_variants_size_bytes(const kn_variants *variants, size_t index)
{
    return index < variants->count ? variants->rows[index].size_bytes : 0;
}

bool kn_variants_is_cached(const kn_variants *variants, size_t index)
{
    return index < variants->count && variants->rows[index].is_cached;
}

bool kn_variants_is_whole(const kn_variants *variants)
{
    return variants->is_whole;
}
