// The user's cache as `kernels cache` shows it.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/hub.h"

struct kn_cache_list {
    kni_cache_items items;
};

void kn_cache_list_free(kn_cache_list *list)
{
    if (!list)
        return;
    kni_cache_items_dispose(&list->items);
    kni_free(list);
}

kn_status kn_hub_cache_list(const kn_hub *hub, kn_cache_list **out, kn_error *err)
{
    if (out)
        *out = NULL;
    if (!hub || !out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_cache_list: a hub and out are required");
    kn_cache_list *list = kni_calloc(1, sizeof(*list));
    if (!list)
        return kni_no_memory(err);
    const kn_status st =
        hub->has_own_cache ? kni_cache_scan(hub->caches[0], &list->items, err) : KN_OK;
    if (st == KN_OK)
        *out = list;
    else
        kn_cache_list_free(list);
    return st;
}

size_t kn_cache_list_count(const kn_cache_list *list)
{
    return list->items.count;
}

kn_status kn_cache_list_get(const kn_cache_list *list, size_t index, kn_cache_item *out,
                            kn_error *err)
{
    if (!out || out->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID, "kn_cache_list_get: out is not initialised");
    if (index >= list->items.count)
        return kn_error_set(err, KN_ERR_INVALID, "kn_cache_list_get: no item %zu: there are %zu",
                            index, list->items.count);
    const kni_cache_item *item = &list->items.items[index];
    const kn_cache_item whole = {
        .struct_size = out->struct_size,
        .repo_id = item->repo.id,
        .repo_type = kni_repo_type_text(item->repo.type),
        .commit = item->commit,
        .refs = (const char *const *)item->refs.names,
        .n_refs = item->refs.count,
        .variants = (const char *const *)item->variants.names,
        .n_variants = item->variants.count,
        .size_bytes = item->size_bytes,
        .unique_bytes = item->unique_bytes,
        .new_bytes = item->new_bytes,
        .modified = item->modified,
    };
    memcpy(out, &whole, out->struct_size < sizeof(whole) ? out->struct_size : sizeof(whole));
    return KN_OK;
}

static kn_status read_item(const kn_cache_item *item, kni_repo *repo, kn_error *err)
{
    static const kni_repo_type types[] = {KNI_REPO_KERNEL, KNI_REPO_MODEL};
    if (!item || item->struct_size < offsetof(kn_cache_item, refs) || !item->repo_type ||
        !item->commit)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_cache_remove: an item of a list is "
                            "required");
    for (size_t i = 0; i < KN_LEN(types); ++i)
        if (strcmp(item->repo_type, kni_repo_type_text(types[i])) == 0) {
            if (item->commit[0] && !kni_is_commit(item->commit))
                break;
            return kni_repo_init(repo, types[i], item->repo_id ? item->repo_id : "", err);
        }
    return kn_error_set(
        err, KN_ERR_INVALID,
        "kn_hub_cache_remove: the %s '%s': expected a kernel or model, and a commit "
        "of 40 digits",
        item->repo_type, item->commit);
}

kn_status kn_hub_cache_remove(kn_hub *hub, const kn_cache_item *item, uint64_t *freed_bytes,
                              kn_error *err)
{
    kni_repo repo;
    uint64_t freed = 0;
    if (freed_bytes)
        *freed_bytes = 0;
    if (!hub)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_cache_remove: a hub is required");
    kn_status st = read_item(item, &repo, err);
    if (st == KN_OK && !hub->has_own_cache)
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "%s: this user has no cache directory", repo.id);
    if (st == KN_OK)
        st = kni_cache_remove(hub->caches[0], &repo, item->commit, &freed, err);
    if (freed_bytes)
        *freed_bytes = freed;
    return st;
}
