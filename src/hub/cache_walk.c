#include "base/alloc.h"
#include "base/error.h"
#include "hub/cache_snapshot.h"

enum {
    WALK_DEPTH_MAX = 32,
    WALK_FILES_MAX = 100000,
};

typedef struct walk {
    const kni_at *root;
    const kni_at *blobs;
    kni_walk_fn fn;
    void *user;
    size_t n_files;
} walk;

static kn_status walk_file(walk *w, const kni_at *dir, const char *name, size_t levels,
                           const struct stat *entry, kn_error *err)
{
    kni_walk_file file = {.modified = entry->st_mtim.tv_sec};
    struct stat content = *entry;
    bool is_there = true;
    kn_status st = kni_entry_blob(dir, name, levels, file.blob, NULL);
    if (st == KN_ERR_NO_MEMORY)
        return kni_no_memory(err);
    if (st != KN_OK)
        return KN_OK; // none of the layout's
    if (file.blob[0]) {
        is_there = false;
        if (w->blobs->fd >= 0)
            st = kni_blob_look(w->root, w->blobs, file.blob, &is_there, &content, &file.is_shared,
                               err);
        if (st != KN_OK)
            return st;
    }
    file.size = is_there ? (uint64_t)content.st_size : 0;
    if (++w->n_files > WALK_FILES_MAX)
        return kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: holds more than %d files", dir->path,
                            WALK_FILES_MAX);
    return w->fn(w->user, &file, err);
}

static kn_status walk_dir(walk *w, const kni_at *dir, size_t levels, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_at_list(dir, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        const char *name = names.names[i];
        struct stat info;
        if (!kni_at_stat(dir, name, &info))
            continue; // gone meanwhile
        if (!S_ISDIR(info.st_mode)) {
            st = walk_file(w, dir, name, levels, &info, err);
            continue;
        }
        kni_at child = KNI_AT_NONE;
        if (levels == WALK_DEPTH_MAX)
            st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: lies deeper than %d directories",
                              dir->path, WALK_DEPTH_MAX);
        else
            st = kni_at_open(dir, name, false, &child, err);
        if (st == KN_OK)
            st = walk_dir(w, &child, levels + 1, err);
        kni_at_close(&child);
    }
    kni_names_free(&names);
    return st;
}

kn_status kni_snapshot_walk(const kni_at *root, const kni_at *blobs, const kni_at *dir,
                            kni_walk_fn fn, void *user, kn_error *err)
{
    walk w = {root, blobs, fn, user, 0};
    return walk_dir(&w, dir, 0, err);
}
