#include "hub/cache.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_at.h"

enum {
    REF_SIZE_MAX = 256, // bytes of a ref's file: a commit and whatever white space somebody added
    REF_DEPTH_MAX = 16, // of directories below refs/
    REF_COUNT_MAX = 10000,
};

kn_status kni_cache_new(const char *dir, bool is_site, bool without_symlinks, kni_cache **out,
                        kn_error *err)
{
    *out = NULL;
    if (!kni_path_is_absolute(dir))
        return kn_error_set(err, KN_ERR_INVALID,
                            "the cache directory '%s': expected an absolute path", dir);
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/')
        --size;
    kni_cache *cache = kni_calloc(1, sizeof(*cache));
    char *copy = kni_strndup(dir, size);
    if (!cache || !copy) {
        kni_free(cache);
        kni_free(copy);
        return kni_no_memory(err);
    }
    *cache = (kni_cache){copy, is_site, without_symlinks};
    *out = cache;
    return KN_OK;
}

void kni_cache_free(kni_cache *cache)
{
    if (!cache)
        return;
    kni_free(cache->dir);
    kni_free(cache);
}

const char *kni_cache_dir(const kni_cache *cache)
{
    return cache->dir;
}

bool kni_cache_is_site(const kni_cache *cache)
{
    return cache->is_site;
}

bool kni_cache_has_repo(const kni_cache *cache, const kni_repo *repo)
{
    kni_at folder = KNI_AT_NONE;
    const bool yes = kni_at_folder(cache, repo, &folder, NULL) == KN_OK;
    kni_at_close(&folder);
    return yes;
}

// The commit in a file of refs/. huggingface_hub writes it bare; a newline of somebody else's is forgiven.
static kn_status read_commit(const kni_at *at, const char *name, char commit[KNI_COMMIT_SIZE],
                             kn_error *err)
{
    kni_buf text = KNI_BUF(REF_SIZE_MAX);
    kn_status st = kni_at_read(at, name, &text, err);
    kni_span content = {kni_buf_text(&text), text.size};
    while (content.size && strchr(" \t\r\n", content.data[content.size - 1]))
        --content.size;
    while (content.size && strchr(" \t\r\n", content.data[0])) {
        ++content.data;
        --content.size;
    }
    commit[0] = '\0';
    if (st == KN_OK && content.size == KNI_COMMIT_SIZE - 1) {
        memcpy(commit, content.data, content.size);
        commit[content.size] = '\0';
    }
    if (st == KN_OK && !kni_is_commit(commit))
        st = kn_error_set(
            err, KN_ERR_FORMAT,
            "%s/%s: holds '%.60s': expected a commit, 40 hexadecimal digits: remove it", at->path,
            name, kni_buf_text(&text));
    if (st != KN_OK)
        commit[0] = '\0';
    kni_buf_dispose(&text);
    return st;
}

kn_status kni_cache_read_ref(const kni_cache *cache, const kni_repo *repo, const char *ref,
                             char commit[KNI_COMMIT_SIZE], kn_error *err)
{
    kni_at folder = KNI_AT_NONE, dir = KNI_AT_NONE;
    char *path = NULL, *parent = NULL;
    commit[0] = '\0';
    kn_status st = kni_ref_check(ref, "a ref", err);
    if (st != KN_OK)
        return st;
    st = kni_at_folder(cache, repo, &folder, err);
    if (st != KN_OK)
        goto done;
    path = kni_path_join("refs", ref);
    parent = path ? kni_path_dirname(path) : NULL;
    st = parent ? kni_at_open(&folder, parent, false, &dir, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = read_commit(&dir, kni_path_basename(ref), commit, err);
done:
    kni_free(path);
    kni_free(parent);
    kni_at_close(&dir);
    kni_at_close(&folder);
    return st;
}

typedef struct ref_walk {
    kni_at snapshots;
    kni_ref_list *out;
} ref_walk;

static kn_status walk_refs(ref_walk *walk, const kni_at *dir, const char *below, int depth,
                           kn_error *err);

// Whatever is no ref of a snapshot that is here is passed over: one bad file does not hide the others.
static kn_status walk_ref(ref_walk *walk, const kni_at *dir, const char *name, const char *ref,
                          int depth, kn_error *err)
{
    struct stat info;
    char commit[KNI_COMMIT_SIZE];
    kn_status st = KN_OK;
    if (!kni_at_stat(dir, name, &info))
        return KN_OK;
    if (S_ISDIR(info.st_mode)) {
        kni_at child = KNI_AT_NONE;
        st = depth < REF_DEPTH_MAX ? kni_at_open(dir, name, false, &child, NULL) : KN_ERR_FORMAT;
        if (st == KN_OK)
            st = walk_refs(walk, &child, ref, depth + 1, NULL);
        kni_at_close(&child);
    } else {
        st = kni_ref_check(ref, "a ref", NULL);
        if (st == KN_OK)
            st = read_commit(dir, name, commit, NULL);
        if (st == KN_OK && kni_at_stat(&walk->snapshots, commit, &info) && S_ISDIR(info.st_mode) &&
            walk->out->count < REF_COUNT_MAX)
            st = kni_ref_list_add(walk->out, ref, commit, NULL);
    }
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

static kn_status walk_refs(ref_walk *walk, const kni_at *dir, const char *below, int depth,
                           kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_at_list(dir, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        char *ref = kni_path_join(below, names.names[i]);
        st = ref ? walk_ref(walk, dir, names.names[i], ref, depth, err) : kni_no_memory(err);
        kni_free(ref);
    }
    kni_names_free(&names);
    return st;
}

kn_status kni_cache_list_refs(const kni_cache *cache, const kni_repo *repo, kni_ref_list *out,
                              kn_error *err)
{
    ref_walk walk = {KNI_AT_NONE, out};
    kni_at folder = KNI_AT_NONE, refs = KNI_AT_NONE;
    *out = (kni_ref_list){NULL, 0, 0};
    kn_status st = kni_at_folder_if(cache, repo, &folder, err);
    if (st == KN_OK && folder.fd >= 0)
        st = kni_at_open_if(&folder, "snapshots", &walk.snapshots, err);
    if (st == KN_OK && walk.snapshots.fd >= 0)
        st = kni_at_open_if(&folder, "refs", &refs, err);
    if (st == KN_OK && refs.fd >= 0)
        st = walk_refs(&walk, &refs, "", 0, err);
    if (st == KN_OK) {
        kni_ref_list_sort(out);
    } else {
        kni_refs some = {.branches = *out};
        kni_refs_dispose(&some);
        *out = (kni_ref_list){NULL, 0, 0};
    }
    kni_at_close(&refs);
    kni_at_close(&walk.snapshots);
    kni_at_close(&folder);
    return st;
}

kn_status kni_cache_list_commits(const kni_cache *cache, const kni_repo *repo, const char *prefix,
                                 kni_names *out, kn_error *err)
{
    kni_at folder = KNI_AT_NONE, snapshots = KNI_AT_NONE;
    kni_names names = {NULL, 0, 0};
    *out = (kni_names){NULL, 0, 0};
    kn_status st = kni_at_folder_if(cache, repo, &folder, err);
    if (st == KN_OK && folder.fd >= 0)
        st = kni_at_open_if(&folder, "snapshots", &snapshots, err);
    if (st == KN_OK && snapshots.fd >= 0)
        st = kni_at_list(&snapshots, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        struct stat info;
        const char *name = names.names[i];
        if (!kni_is_commit(name) || !kni_span_starts(kni_span_of(name), prefix) ||
            !kni_at_stat(&snapshots, name, &info) || !S_ISDIR(info.st_mode))
            continue;
        if (!kni_names_push(out, kni_strdup(name)))
            st = kni_no_memory(err);
    }
    if (st != KN_OK)
        kni_names_free(out);
    kni_names_free(&names);
    kni_at_close(&snapshots);
    kni_at_close(&folder);
    return st;
}
