#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/cache_snapshot.h"

void kni_snapshot_close(kni_snapshot *snapshot)
{
    kni_at_close(&snapshot->blobs);
    kni_at_close(&snapshot->dir);
    kni_at_close(&snapshot->folder);
    kni_at_close(&snapshot->root);
}

kn_status kni_snapshot_open(const kni_cache *cache, const kni_repo *repo, const char *commit,
                            kni_snapshot *out, kn_error *err)
{
    char folder[KNI_REPO_ID_MAX + 16];
    char path[sizeof("snapshots/") + KNI_COMMIT_SIZE];
    *out = KNI_SNAPSHOT_NONE;
    if (!kni_is_commit(commit))
        return kn_error_set(err, KN_ERR_INVALID,
                            "the commit '%.80s': expected 40 hexadecimal digits", commit);
    snprintf(path, sizeof(path), "snapshots/%s", commit);
    kni_repo_folder(repo, folder);
    kn_status st = kni_at_root(cache->dir, false, &out->root, err);
    if (st == KN_OK)
        st = kni_at_open(&out->root, folder, false, &out->folder, err);
    if (st == KN_OK)
        st = kni_at_open(&out->folder, path, false, &out->dir, err);
    if (st == KN_OK)
        st = kni_at_open_if(&out->folder, "blobs", &out->blobs, err);
    if (st != KN_OK)
        kni_snapshot_close(out);
    return st;
}

kn_status kni_snapshot_open_if(const kni_cache *cache, const kni_repo *repo, const char *commit,
                               kni_snapshot *out, kn_error *err)
{
    const kn_status st = kni_snapshot_open(cache, repo, commit, out, NULL);
    if (st == KN_OK || st == KN_ERR_NOT_FOUND)
        return KN_OK;
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err)
                                  : kni_snapshot_open(cache, repo, commit, out, err);
}

size_t kni_path_levels(const char *path)
{
    size_t levels = 0;
    for (; *path; ++path)
        levels += *path == '/';
    return levels;
}

// The directory of a file below the snapshot.
static kn_status open_parent(const kni_snapshot *snapshot, const char *path, kni_at *out,
                             kn_error *err)
{
    *out = KNI_AT_NONE;
    const char *slash = strrchr(path, '/');
    char *parent = kni_strndup(path, slash ? (size_t)(slash - path) : 0);
    const kn_status st =
        parent ? kni_at_open(&snapshot->dir, parent, false, out, err) : kni_no_memory(err);
    kni_free(parent);
    return st;
}

kn_status kni_snapshot_file(const kni_snapshot *snapshot, const char *path, kni_cached_file *out,
                            kn_error *err)
{
    kni_at dir = KNI_AT_NONE;
    const char *name = kni_path_basename(path);
    bool is_shared = false;
    *out = (kni_cached_file){.fd = -1};
    kn_status st = kni_path_check_relative(path, snapshot->dir.path, err);
    if (st == KN_OK)
        st = open_parent(snapshot, path, &dir, err);
    if (st == KN_OK)
        st = kni_entry_blob(&dir, name, kni_path_levels(path), out->blob, err);
    if (st == KN_OK && out->blob[0] == '\0')
        st = kni_at_file(&dir, name, &out->fd, err);
    else if (st == KN_OK && snapshot->blobs.fd < 0)
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "%s/blobs/%s: no such file or directory",
                          snapshot->folder.path, out->blob);
    else if (st == KN_OK)
        st = kni_blob_open(&snapshot->root, &snapshot->blobs, out->blob, &out->fd, &is_shared, err);
    if (st != KN_OK)
        out->blob[0] = '\0';
    kni_at_close(&dir);
    return st;
}

// Is `at` the directory of the file already?
static bool is_parent(const kni_at *at, const kni_snapshot *snapshot, const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t root = strlen(snapshot->dir.path), n = slash ? (size_t)(slash - path) : 0;
    return at->fd >= 0 && n > 0 && strlen(at->path) == root + 1 + n &&
           strncmp(at->path, snapshot->dir.path, root) == 0 && at->path[root] == '/' &&
           memcmp(at->path + root + 1, path, n) == 0;
}

kn_status kni_snapshot_has(const kni_snapshot *snapshot, const char *path, kni_at *dir, bool *yes,
                           struct stat *info, kn_error *err)
{
    const char *name = kni_path_basename(path);
    char blob[KNI_SHA256_SIZE];
    bool is_shared = false;
    kn_status st = KN_OK;
    *yes = false;
    if (!is_parent(dir, snapshot, path)) {
        kni_at_close(dir);
        st = open_parent(snapshot, path, dir, NULL);
    }
    if (st == KN_OK)
        st = kni_entry_blob(dir, name, kni_path_levels(path), blob, NULL);
    if (st == KN_OK && blob[0] == '\0')
        *yes = kni_at_stat(dir, name, info) && S_ISREG(info->st_mode);
    else if (st == KN_OK && snapshot->blobs.fd >= 0)
        st = kni_blob_look(&snapshot->root, &snapshot->blobs, blob, yes, info, &is_shared, NULL);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

kn_status kni_snapshot_read(const kni_snapshot *snapshot, const char *path, kni_buf *out,
                            kn_error *err)
{
    kni_cached_file file = {.fd = -1};
    const size_t before = out->size;
    kn_status st = kni_snapshot_file(snapshot, path, &file, err);
    if (st != KN_OK)
        return st;
    char *subject = kni_path_join(snapshot->dir.path, path);
    st = subject ? kni_fd_read(file.fd, subject, out, err) : kni_no_memory(err);
    // What was read is what is checked: not the file once more, which may have changed.
    if (st == KN_OK && file.blob[0])
        st = kni_blob_check_bytes(kni_buf_text(out) + before, out->size - before, file.blob,
                                  subject, err);
    if (st != KN_OK) {
        out->size = before;
        if (out->data)
            out->data[before] = '\0';
    }
    kni_free(subject);
    close(file.fd);
    return st;
}

kn_status kni_cache_open_file(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, kni_cached_file *out, kn_error *err)
{
    kni_snapshot snapshot;
    *out = (kni_cached_file){.fd = -1};
    kn_status st = kni_snapshot_open(cache, repo, commit, &snapshot, err);
    if (st == KN_OK)
        st = kni_snapshot_file(&snapshot, path, out, err);
    kni_snapshot_close(&snapshot);
    return st;
}

kn_status kni_cache_read_file(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, kni_buf *out, kn_error *err)
{
    kni_snapshot snapshot;
    kn_status st = kni_snapshot_open(cache, repo, commit, &snapshot, err);
    if (st == KN_OK)
        st = kni_snapshot_read(&snapshot, path, out, err);
    kni_snapshot_close(&snapshot);
    return st;
}

kn_status kni_cache_directory(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, char **out, kn_error *err)
{
    kni_snapshot snapshot;
    kni_at dir = KNI_AT_NONE;
    *out = NULL;
    kn_status st =
        path[0] ? kni_path_check_relative(path, "a directory of a snapshot", err) : KN_OK;
    if (st != KN_OK)
        return st;
    st = kni_snapshot_open(cache, repo, commit, &snapshot, err);
    if (st == KN_OK && path[0])
        st = kni_at_open(&snapshot.dir, path, false, &dir, err);
    if (st == KN_OK) {
        kni_at *found = path[0] ? &dir : &snapshot.dir;
        *out = found->path;
        found->path = NULL;
    }
    kni_at_close(&dir);
    kni_snapshot_close(&snapshot);
    return st;
}
