// A file's place in a snapshot.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_writer.h"

enum {
    COPY_CHUNK = 64 * 1024,
};

// The directory of snapshots/<commit>/<path>.
static kn_status open_place(const kni_cache_writer *writer, const char *commit, const char *path,
                            bool make, kni_at *out, kn_error *err)
{
    kni_buf dir = KNI_BUF_ANY;
    *out = KNI_AT_NONE;
    if (!kni_is_commit(commit))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: the commit '%.80s': expected 40 hexadecimal digits",
                            writer->folder.path, commit);
    kn_status st = kni_path_check_relative(path, writer->folder.path, err);
    if (st != KN_OK)
        return st;
    kni_buf_printf(&dir, "snapshots/%s/%s", commit, path);
    if (dir.failed) {
        st = kni_no_memory(err);
    } else {
        *strrchr(dir.data, '/') = '\0';
        st = kni_at_open(&writer->folder, dir.data, make, out, err);
    }
    kni_buf_dispose(&dir);
    return st;
}

// Is the file there already in a form that is right? A regular file is hashed.
static kn_status is_right(const kni_cache_writer *writer, const kni_at *dir, const char *name,
                          size_t levels, const char *blob, bool *yes, kn_error *err)
{
    char found[KNI_SHA256_SIZE];
    int fd = -1;
    *yes = false;
    kn_status st = kni_entry_blob(dir, name, levels, found, NULL);
    if (st == KN_OK && found[0]) {
        struct stat info;
        bool is_shared;
        if (strcmp(found, blob) == 0)
            st = kni_blob_look(&writer->root, &writer->blobs, blob, yes, &info, &is_shared, NULL);
    } else if (st == KN_OK) {
        st = kni_at_file(dir, name, &fd, NULL);
        if (st == KN_OK)
            st = kni_blob_check(fd, blob, name, NULL);
        *yes = st == KN_OK;
        if (fd >= 0)
            close(fd);
    }
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

bool kni_cache_has_file(const kni_cache_writer *writer, const char *commit, const char *path,
                        const char *blob, uint64_t size)
{
    kni_at dir = KNI_AT_NONE;
    struct stat info;
    bool yes = false;
    if (open_place(writer, commit, path, false, &dir, NULL) != KN_OK)
        return false;
    if (kni_at_stat(&dir, kni_path_basename(path), &info) &&
        (S_ISREG(info.st_mode) ? (uint64_t)info.st_size == size
                               : kni_cache_has_blob(writer, blob, size)))
        yes = is_right(writer, &dir, kni_path_basename(path), kni_path_levels(path), blob, &yes,
                       NULL) == KN_OK &&
              yes;
    kni_at_close(&dir);
    return yes;
}

// A link, made aside and renamed: in a directory that is held, since a link cannot be. *can: this file system has links.
static kn_status place_link(const kni_cache_writer *writer, const kni_at *dir, const char *name,
                            size_t levels, const char *blob, bool *can, kn_error *err)
{
    static const char link[] = "link";
    char temp[KNI_TEMP_NAME_SIZE];
    kni_at aside = KNI_AT_NONE;
    kni_buf text = KNI_BUF_ANY;
    int number = 0;
    *can = true;
    kn_status st = kni_link_text(&text, levels, blob, err);
    if (st == KN_OK)
        st = kni_temp_make_dir(writer, blob, temp, &aside, err);
    if (st != KN_OK)
        goto done;
    if (symlinkat(text.data, aside.fd, link) != 0) {
        number = errno;
        *can = number != EPERM && number != EOPNOTSUPP && number != ENOSYS;
    } else if (renameat(aside.fd, link, dir->fd, name) != 0) {
        number = errno;
        unlinkat(aside.fd, link, 0);
    }
    unlinkat(writer->blobs.fd, temp, AT_REMOVEDIR);
    if (number != 0 && *can)
        st = kni_at_fail(dir, name, number, "cannot put the link there", err);
done:
    kni_at_close(&aside);
    kni_buf_dispose(&text);
    return st;
}

static kn_status copy_content(const kni_cache_writer *writer, int from, int to, const char *temp,
                              kn_error *err)
{
    char *chunk = kni_alloc(COPY_CHUNK);
    kn_status st = chunk ? KN_OK : kni_no_memory(err);
    while (st == KN_OK) {
        const ssize_t n = read(from, chunk, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            st = kni_at_fail(&writer->blobs, temp, errno, "cannot copy the blob", err);
        if (n <= 0)
            break;
        st = kni_temp_append(writer, to, temp, chunk, (size_t)n, err);
    }
    kni_free(chunk);
    return st;
}

static kn_status place_copy(const kni_cache_writer *writer, const kni_at *dir, const char *name,
                            const char *blob, kn_error *err)
{
    char temp[KNI_TEMP_NAME_SIZE];
    int from = -1, to = -1;
    bool is_shared;
    kn_status st = kni_blob_open(&writer->root, &writer->blobs, blob, &from, &is_shared, err);
    if (st == KN_OK)
        st = kni_temp_make(writer, blob, temp, &to, err);
    if (st == KN_OK) {
        st = copy_content(writer, from, to, temp, err);
        if (st == KN_OK)
            st = kni_temp_place(writer, to, temp, dir, name, err);
        else
            unlinkat(writer->blobs.fd, temp, 0);
    }
    if (to >= 0)
        close(to);
    if (from >= 0)
        close(from);
    return st;
}

kn_status kni_cache_link_file(kni_cache_writer *writer, const char *commit, const char *path,
                              const char *blob, bool may_move, kn_error *err)
{
    kni_at dir = KNI_AT_NONE;
    struct stat info;
    bool is_done = false, is_there = false, is_shared = false;
    bool can_link = !writer->cache->without_symlinks;
    const char *name = kni_path_basename(path);
    const size_t levels = kni_path_levels(path);
    if (!kni_is_object_id(blob))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: the blob '%.80s': expected 40 or 64 hexadecimal digits",
                            writer->folder.path, blob);
    kn_status st = open_place(writer, commit, path, true, &dir, err);
    if (st == KN_OK)
        st = kni_writer_sync(writer, err);
    if (st == KN_OK)
        st = is_right(writer, &dir, name, levels, blob, &is_done, err);
    if (st != KN_OK || is_done)
        goto done;
    st = kni_blob_look(&writer->root, &writer->blobs, blob, &is_there, &info, &is_shared, err);
    if (st == KN_OK && !is_there)
        st = kn_error_set(err, KN_ERR_NOT_FOUND,
                          "%s/%s: the blob is gone: was the cache emptied meanwhile? Begin again",
                          writer->blobs.path, blob);
    if (st == KN_OK && can_link)
        st = place_link(writer, &dir, name, levels, blob, &can_link, err);
    if (st != KN_OK || can_link)
        goto done;
    if (!may_move || is_shared)
        st = place_copy(writer, &dir, name, blob, err);
    else if (renameat(writer->blobs.fd, blob, dir.fd, name) != 0)
        st = kni_at_fail(&dir, name, errno, "cannot move the blob there", err);
done:
    kni_at_close(&dir);
    return st;
}
