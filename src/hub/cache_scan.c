#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_snapshot.h"

// One naming of a blob by a snapshot, by its place in the list of items.
typedef struct use {
    char blob[KNI_SHA256_SIZE];
    size_t item;
    uint64_t size;
    bool is_shared;
} use;

typedef struct repo_scan {
    const kni_cache *cache;
    kni_cache_items *items;
    size_t item; // the one whose files are being walked
    use *uses;
    size_t n_uses, capacity;
} repo_scan;

static void item_dispose(kni_cache_item *item)
{
    kni_names_free(&item->refs);
    kni_names_free(&item->variants);
}

void kni_cache_items_dispose(kni_cache_items *items)
{
    for (size_t i = 0; i < items->count; ++i)
        item_dispose(&items->items[i]);
    kni_free(items->items);
    *items = (kni_cache_items){NULL, 0, 0};
}

// "kernels--owner--name" to its repository; false for a folder of somebody else's.
static bool parse_folder(const char *folder, kni_repo *out)
{
    static const char *const starts[] = {"kernels--", "models--"};
    char id[KNI_REPO_ID_MAX], again[KNI_REPO_ID_MAX + 16];
    for (size_t type = 0; type < KN_LEN(starts); ++type) {
        const size_t start = strlen(starts[type]);
        const char *middle =
            strncmp(folder, starts[type], start) == 0 ? strstr(folder + start, "--") : NULL;
        const size_t owner = middle ? (size_t)(middle - folder) - start : 0;
        if (!middle || owner + strlen(middle + 2) + 2 > sizeof(id))
            continue;
        snprintf(id, sizeof(id), "%.*s/%s", (int)owner, folder + start, middle + 2);
        if (kni_repo_init(out, (kni_repo_type)type, id, NULL) != KN_OK)
            return false;
        kni_repo_folder(out, again);
        return strcmp(again, folder) == 0;
    }
    return false;
}

static kn_status take_file(void *user, const kni_walk_file *file, kn_error *err)
{
    repo_scan *scan = user;
    kni_cache_item *item = &scan->items->items[scan->item];
    void *array = scan->uses;
    if (file->modified > item->modified)
        item->modified = file->modified;
    if (file->blob[0] == '\0') {
        item->size_bytes += file->size;
        item->unique_bytes += file->size;
        item->new_bytes += file->size;
        return KN_OK;
    }
    if (!kni_grow(&array, &scan->capacity, scan->n_uses + 1, sizeof(*scan->uses)))
        return kni_no_memory(err);
    scan->uses = array;
    use *next = &scan->uses[scan->n_uses++];
    *next = (use){.item = scan->item, .size = file->size, .is_shared = file->is_shared};
    snprintf(next->blob, sizeof(next->blob), "%s", file->blob);
    return KN_OK;
}

static int compare_uses(const void *a, const void *b)
{
    const use *one = a, *two = b;
    const int order = strcmp(one->blob, two->blob);
    return order ? order : (one->item > two->item) - (one->item < two->item);
}

// Each blob counts once for each item; for `unique` where one item alone names it and the content is the repository's own.
static void add_sizes(repo_scan *scan)
{
    use *uses = scan->uses;
    if (scan->n_uses)
        qsort(uses, scan->n_uses, sizeof(*uses), compare_uses);
    for (size_t i = 0; i < scan->n_uses; ++i) {
        const bool same_before = i > 0 && strcmp(uses[i - 1].blob, uses[i].blob) == 0;
        if (same_before && uses[i - 1].item == uses[i].item)
            continue;
        size_t last = i;
        while (last + 1 < scan->n_uses && strcmp(uses[last + 1].blob, uses[i].blob) == 0)
            ++last;
        kni_cache_item *item = &scan->items->items[uses[i].item];
        item->size_bytes += uses[i].size;
        item->new_bytes += same_before ? 0 : uses[i].size;
        if (!same_before && uses[last].item == uses[i].item && !uses[i].is_shared)
            item->unique_bytes += uses[i].size;
    }
}

static kn_status add_refs(kni_cache_item *item, const kni_ref_list *refs, kn_error *err)
{
    for (size_t i = 0; i < refs->count; ++i)
        if (strcmp(refs->refs[i].commit, item->commit) == 0 &&
            !kni_names_push(&item->refs, kni_strdup(refs->refs[i].name)))
            return kni_no_memory(err);
    return KN_OK;
}

// A model is a kernel repository of the old kind only when it has builds.
static bool is_kernel(const kni_repo *repo, const kni_at *dir)
{
    struct stat info;
    return repo->type == KNI_REPO_KERNEL ||
           (kni_at_stat(dir, "build", &info) && S_ISDIR(info.st_mode));
}

static kn_status add_item(repo_scan *scan, const kni_repo *repo, const char *commit,
                          kni_cache_item **out, kn_error *err)
{
    void *array = scan->items->items;
    if (!kni_grow(&array, &scan->items->capacity, scan->items->count + 1,
                  sizeof(*scan->items->items)))
        return kni_no_memory(err);
    scan->items->items = array;
    scan->item = scan->items->count++;
    *out = &scan->items->items[scan->item];
    **out = (kni_cache_item){.repo = *repo};
    snprintf((*out)->commit, sizeof((*out)->commit), "%s", commit);
    return KN_OK;
}

static kn_status scan_commit(repo_scan *scan, const kni_repo *repo, const char *commit,
                             const kni_ref_list *refs, kn_error *err)
{
    kni_snapshot snapshot;
    struct stat info;
    kni_cache_item *item = NULL;
    kn_status st = kni_snapshot_open(scan->cache, repo, commit, &snapshot, err);
    if (st != KN_OK || !is_kernel(repo, &snapshot.dir))
        goto done;
    st = add_item(scan, repo, commit, &item, err);
    if (st != KN_OK)
        goto done;
    if (kni_at_stat(&snapshot.dir, ".", &info))
        item->modified = info.st_mtim.tv_sec;
    st = add_refs(item, refs, err);
    if (st == KN_OK)
        st = kni_cache_list_variants(scan->cache, repo, commit, true, &item->variants, err);
    if (st == KN_OK)
        st =
            kni_snapshot_walk(&snapshot.root, &snapshot.blobs, &snapshot.dir, take_file, scan, err);
done:
    kni_snapshot_close(&snapshot);
    return st;
}

static int compare_use(const void *blob, const void *one)
{
    return strcmp(blob, ((const use *)one)->blob);
}

// Blobs that no snapshot names: of a download that was broken off, of metadata that was read. (A model may have snapshots that are no
// kernels.)
static kn_status add_leftovers(repo_scan *scan, const kni_repo *repo, kn_error *err)
{
    kni_at folder = KNI_AT_NONE, blobs = KNI_AT_NONE;
    kni_names names = {NULL, 0, 0};
    kni_cache_item *item = NULL;
    struct stat info;
    if (repo->type != KNI_REPO_KERNEL)
        return KN_OK;
    kn_status st = kni_at_folder(scan->cache, repo, &folder, err);
    if (st == KN_OK)
        st = kni_at_open_if(&folder, "blobs", &blobs, err);
    if (st == KN_OK && blobs.fd >= 0)
        st = kni_at_list(&blobs, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        const char *name = names.names[i];
        if (!kni_is_object_id(name) || !kni_at_stat(&blobs, name, &info) ||
            !S_ISREG(info.st_mode) ||
            (scan->n_uses && bsearch(name, scan->uses, scan->n_uses, sizeof(use), compare_use)))
            continue;
        if (!item)
            st = add_item(scan, repo, "", &item, err);
        if (st == KN_OK) {
            item->size_bytes += (uint64_t)info.st_size;
            item->modified =
                info.st_mtim.tv_sec > item->modified ? info.st_mtim.tv_sec : item->modified;
        }
    }
    if (item)
        item->unique_bytes = item->new_bytes = item->size_bytes;
    kni_names_free(&names);
    kni_at_close(&blobs);
    kni_at_close(&folder);
    return st;
}

static kn_status scan_repo(const kni_cache *cache, const kni_repo *repo, kni_cache_items *out,
                           kn_error *err)
{
    repo_scan scan = {.cache = cache, .items = out};
    kni_names commits = {NULL, 0, 0};
    kni_refs refs = {.branches = {NULL, 0, 0}};
    kn_status st = kni_cache_list_refs(cache, repo, &refs.branches, err);
    if (st == KN_OK)
        st = kni_cache_list_commits(cache, repo, "", &commits, err);
    for (size_t i = 0; st == KN_OK && i < commits.count; ++i)
        st = scan_commit(&scan, repo, commits.names[i], &refs.branches, err);
    if (st == KN_OK) {
        add_sizes(&scan);
        st = add_leftovers(&scan, repo, err);
    }
    kni_free(scan.uses);
    kni_refs_dispose(&refs);
    kni_names_free(&commits);
    return st;
}

kn_status kni_cache_scan(const kni_cache *cache, kni_cache_items *out, kn_error *err)
{
    kni_at root = KNI_AT_NONE;
    kni_names folders = {NULL, 0, 0};
    *out = (kni_cache_items){NULL, 0, 0};
    kn_status st = kni_at_root(cache->dir, false, &root, NULL);
    if (st == KN_ERR_NOT_FOUND) // no cache yet
        return KN_OK;
    if (st != KN_OK)
        st = st == KN_ERR_NO_MEMORY ? kni_no_memory(err)
                                    : kni_at_root(cache->dir, false, &root, err);
    if (st == KN_OK)
        st = kni_at_list(&root, &folders, err);
    for (size_t i = 0; st == KN_OK && i < folders.count; ++i) {
        kni_repo repo;
        const size_t before = out->count;
        if (!parse_folder(folders.names[i], &repo))
            continue;
        st = scan_repo(cache, &repo, out, NULL);
        if (st == KN_ERR_NO_MEMORY) {
            kni_no_memory(err);
        } else if (st != KN_OK) { // one folder that cannot be read does not hide the others
            while (out->count > before)
                item_dispose(&out->items[--out->count]);
            st = KN_OK;
        }
    }
    if (st != KN_OK)
        kni_cache_items_dispose(out);
    kni_names_free(&folders);
    kni_at_close(&root);
    return st;
}
