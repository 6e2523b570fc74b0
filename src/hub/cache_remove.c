// Taking a snapshot away: its refs first (huggingface_hub calls a ref without a snapshot corrupt), then the snapshot by one rename, then
// the blobs that nothing names any more, and at last the folder.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_writer.h"

enum { REF_DEPTH_MAX = 64 };

static kn_status take_name(void *user, const kni_walk_file *file, kn_error *err)
{
    if (file->blob[0] == '\0' || kni_names_push(user, kni_strdup(file->blob)))
        return KN_OK;
    return kni_no_memory(err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_names(kni_names *names)
{
    if (names->count)
        qsort(names->names, names->count, sizeof(char *), compare_names);
}

static bool has_name(const kni_names *names, const char *name)
{
    return names->count &&
           bsearch(&name, names->names, names->count, sizeof(char *), compare_names) != NULL;
}

// The blobs that the snapshots left name, whatever their directories are called.
static kn_status list_used(const kni_cache_writer *writer, const kni_at *snapshots, kni_names *used,
                           bool *is_last, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_at_list(snapshots, &names, err);
    *is_last = names.count == 0;
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        kni_at dir = KNI_AT_NONE;
        struct stat info;
        if (!kni_at_stat(snapshots, names.names[i], &info) || !S_ISDIR(info.st_mode))
            continue;
        st = kni_at_open(snapshots, names.names[i], false, &dir, err);
        if (st == KN_OK)
            st = kni_snapshot_walk(&writer->root, &writer->blobs, &dir, take_name, used, err);
        kni_at_close(&dir);
    }
    sort_names(used);
    kni_names_free(&names);
    return st;
}

// Removes the files below refs/ that hold the commit, under whatever name: huggingface_hub reads every one as a ref.
static kn_status remove_refs(const kni_at *at, const char *commit, int depth, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_at_list(at, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        const char *name = names.names[i];
        struct stat info;
        if (!kni_at_stat(at, name, &info))
            continue;
        if (S_ISDIR(info.st_mode) && depth < REF_DEPTH_MAX) {
            kni_at child = KNI_AT_NONE;
            st = kni_at_open(at, name, false, &child, err);
            if (st == KN_OK)
                st = remove_refs(&child, commit, depth + 1, err);
            kni_at_close(&child);
            (void)unlinkat(at->fd, name, AT_REMOVEDIR); // when it was the last in it
        } else if (S_ISREG(info.st_mode)) {
            kni_buf text = KNI_BUF(256);
            st = kni_at_read(at, name, &text, NULL);
            if (st == KN_OK && strncmp(kni_buf_text(&text), commit, KNI_COMMIT_SIZE - 1) == 0 &&
                unlinkat(at->fd, name, 0) != 0 && errno != ENOENT)
                st = kni_at_fail(at, name, errno, "cannot remove the ref", err);
            else
                st = st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
            kni_buf_dispose(&text);
        }
    }
    kni_names_free(&names);
    return st;
}

static kn_status remove_refs_of(const kni_cache_writer *writer, const char *commit, kn_error *err)
{
    kni_at refs = KNI_AT_NONE;
    struct stat info;
    if (!kni_at_stat(&writer->folder, "refs", &info))
        return KN_OK;
    kn_status st = kni_at_open(&writer->folder, "refs", false, &refs, err);
    if (st == KN_OK)
        st = remove_refs(&refs, commit, 0, err);
    kni_at_close(&refs);
    return st;
}

// Moves the snapshot out of sight in one step, then removes it. A sweep finishes what is broken off here.
static kn_status remove_snapshot(const kni_cache_writer *writer, const kni_at *snapshots,
                                 const char *commit, uint64_t *freed, kn_error *err)
{
    char temp[KNI_TEMP_NAME_SIZE];
    kni_at trash = KNI_AT_NONE;
    kn_status st = kni_temp_make_dir(writer, commit, temp, &trash, err);
    if (st != KN_OK)
        return st;
    if (renameat(snapshots->fd, commit, trash.fd, commit) != 0)
        st = kni_at_fail(snapshots, commit, errno, "cannot move the snapshot away", err);
    const kn_status removed = kni_at_remove(&writer->blobs, temp, freed, err);
    kni_at_close(&trash);
    return st == KN_OK ? removed : st;
}

// Somebody who holds a blob's lock is about to use it: it stays. Content in the shared store stays always; the link to it goes.
static kn_status remove_blob(const kni_cache_writer *writer, const char *name, const char *blob,
                             uint64_t *freed, kn_error *err)
{
    kni_blob_lock lock;
    kn_error why = KN_ERROR_INIT;
    kn_status st = kni_cache_lock_blob(writer, blob, &lock, &why);
    kn_error_dispose(&why);
    if (st == KN_ERR_NO_MEMORY)
        return kni_no_memory(err);
    if (st == KN_OK && lock.fd < 0)
        return KN_OK;
    st = kni_at_remove(&writer->blobs, name, freed, err);
    kni_lock_remove(writer, blob, &lock);
    return st;
}

static kn_status remove_blobs(const kni_cache_writer *writer, const kni_names *mine,
                              const kni_names *used, uint64_t *freed, kn_error *err)
{
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < mine->count; ++i)
        if (!has_name(used, mine->names[i]))
            st = remove_blob(writer, mine->names[i], mine->names[i], freed, err);
    return st;
}

// With the last snapshot go blobs that no snapshot ever named, and downloads that were broken off.
static kn_status remove_leftovers(kni_cache_writer *writer, uint64_t *freed, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kni_cache_sweep(writer);
    kn_status st = kni_at_list(&writer->blobs, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        char blob[KNI_SHA256_SIZE] = "";
        const char *name = names.names[i];
        const size_t size = strcspn(name, ".");
        if (size >= sizeof(blob))
            continue;
        memcpy(blob, name, size);
        if (kni_is_object_id(blob) && !kni_temp_is_ours(name) &&
            (name[size] == '\0' || kni_span_ends(kni_span_of(name), ".incomplete")))
            st = remove_blob(writer, name, blob, freed, err);
    }
    kni_names_free(&names);
    return st;
}

// The folder, if nothing is left in it: rmdir asks that itself. blobs/ first, where somebody at work has something.
static kn_status remove_folder(kni_cache_writer *writer, uint64_t *freed, kn_error *err)
{
    static const char *const parts[] = {"refs", "trees", ".no_exist"};
    kni_names names = {NULL, 0, 0};
    bool has_others = false;
    uint64_t small = 0; // listings and marks: nobody counts them
    kn_status st = remove_leftovers(writer, freed, err);
    for (size_t i = 0; st == KN_OK && i < KN_LEN(parts); ++i)
        st = kni_at_remove(&writer->folder, parts[i], &small, err);
    if (st == KN_OK)
        st = kni_at_list(&writer->folder, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i)
        has_others = has_others || (strcmp(names.names[i], "blobs") != 0 &&
                                    strcmp(names.names[i], "snapshots") != 0);
    if (st == KN_OK && !has_others && unlinkat(writer->folder.fd, "blobs", AT_REMOVEDIR) == 0 &&
        unlinkat(writer->folder.fd, "snapshots", AT_REMOVEDIR) == 0)
        (void)unlinkat(writer->root.fd, writer->folder_name, AT_REMOVEDIR);
    kni_locks_remove(writer);
    kni_names_free(&names);
    return st;
}

// The marks of a snapshot beside it.
static kn_status remove_marks(const kni_cache_writer *writer, const char *commit, kn_error *err)
{
    static const struct {
        const char *dir, *suffix;
    } marks[] = {{"trees", ".json"}, {".no_exist", ""}};
    uint64_t small = 0;
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < KN_LEN(marks); ++i) {
        char name[KNI_COMMIT_SIZE + 8];
        kni_at dir = KNI_AT_NONE;
        snprintf(name, sizeof(name), "%s%s", commit, marks[i].suffix);
        st = kni_at_open(&writer->folder, marks[i].dir, false, &dir, NULL);
        if (st == KN_OK)
            st = kni_at_remove(&dir, name, &small, err);
        else
            st = st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
        kni_at_close(&dir);
    }
    return st;
}

// What no snapshot names. There may be none by now.
static kn_status remove_unused(kni_cache *cache, const kni_repo *repo, uint64_t *freed,
                               kn_error *err)
{
    kni_cache_writer *writer = NULL;
    kni_at snapshots = KNI_AT_NONE;
    kni_names all = {NULL, 0, 0}, used = {NULL, 0, 0};
    bool is_last = true;
    if (!kni_cache_has_repo(cache, repo))
        return KN_OK;
    kn_status st = kni_cache_writer_open(cache, repo, &writer, err);
    if (st == KN_OK)
        st = kni_at_open_if(&writer->folder, "snapshots", &snapshots, err);
    if (st == KN_OK && snapshots.fd >= 0)
        st = list_used(writer, &snapshots, &used, &is_last, err);
    if (st == KN_OK && is_last) {
        st = remove_folder(writer, freed, err);
    } else if (st == KN_OK) {
        st = kni_at_list(&writer->blobs, &all, err);
        for (size_t i = 0; st == KN_OK && i < all.count; ++i)
            if (kni_is_object_id(all.names[i]) && !has_name(&used, all.names[i]))
                st = remove_blob(writer, all.names[i], all.names[i], freed, err);
    }
    kni_names_free(&used);
    kni_names_free(&all);
    kni_at_close(&snapshots);
    kni_cache_writer_close(writer);
    return st;
}

kn_status kni_cache_remove(kni_cache *cache, const kni_repo *repo, const char *commit,
                           uint64_t *freed, kn_error *err)
{
    kni_snapshot snapshot = KNI_SNAPSHOT_NONE;
    kni_cache_writer *writer = NULL;
    kni_at snapshots = KNI_AT_NONE;
    kni_names mine = {NULL, 0, 0}, used = {NULL, 0, 0};
    bool is_last = false;
    *freed = 0;
    if (!commit[0])
        return remove_unused(cache, repo, freed, err);
    // First what can be refused without a change.
    kn_status st = kni_snapshot_open(cache, repo, commit, &snapshot, err);
    if (st == KN_OK)
        st = kni_snapshot_walk(&snapshot.root, &snapshot.blobs, &snapshot.dir, take_name, &mine,
                               err);
    if (st == KN_OK)
        st = kni_cache_writer_open(cache, repo, &writer, err);
    if (st == KN_OK)
        st = kni_at_open(&writer->folder, "snapshots", false, &snapshots, err);
    if (st == KN_OK && faccessat(snapshots.fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        st = kni_at_fail(&snapshots, commit, errno, "cannot remove the snapshot", err);
    if (st == KN_OK)
        st = remove_refs_of(writer, commit, err);
    if (st == KN_OK)
        st = remove_snapshot(writer, &snapshots, commit, freed, err);
    if (st == KN_OK)
        st = list_used(writer, &snapshots, &used, &is_last, err);
    if (st == KN_OK)
        st = remove_blobs(writer, &mine, &used, freed, err);
    if (st == KN_OK)
        st = is_last ? remove_folder(writer, freed, err) : remove_marks(writer, commit, err);
    kni_names_free(&used);
    kni_names_free(&mine);
    kni_at_close(&snapshots);
    kni_cache_writer_close(writer);
    kni_snapshot_close(&snapshot);
    return st;
}
