#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_writer.h"

#define TEMP_MIDDLE ".kn-"
#define TEMP_END ".incomplete"

// Tells backups and indexers that everything here can be fetched again (https://bford.info/cachedir/).
#define CACHEDIR_TAG                                                                               \
    "Signature: 8a477f597d28d172789f06886806bc55\n"                                                \
    "# This directory holds what was downloaded from a hub of kernels and models.\n"

enum {
    TEMP_TRIES = 1024
}; // each may be lost to a sweep between its making and its lock; sweeps are few, but may come in a row

void kni_temp_name(const char *stem, char out[KNI_TEMP_NAME_SIZE])
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = (uint32_t)getpid(); // O_EXCL decides
    snprintf(out, KNI_TEMP_NAME_SIZE, "%.64s" TEMP_MIDDLE "%08x" TEMP_END, stem, random);
}

bool kni_temp_is_ours(const char *name)
{
    const char *middle = strstr(name, TEMP_MIDDLE);
    if (!middle || middle == name)
        return false;
    const char *digits = middle + strlen(TEMP_MIDDLE);
    return strspn(digits, "0123456789abcdef") == 8 && strcmp(digits + 8, TEMP_END) == 0;
}

// A tag that cannot be written is no reason to fail.
static void tag_root(const kni_at *root)
{
    struct stat info;
    if (kni_at_stat(root, "CACHEDIR.TAG", &info))
        return;
    const int fd = openat(root->fd, "CACHEDIR.TAG",
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    if (write(fd, CACHEDIR_TAG, strlen(CACHEDIR_TAG)) != (ssize_t)strlen(CACHEDIR_TAG))
        unlinkat(root->fd, "CACHEDIR.TAG", 0);
    close(fd);
}

kn_status kni_cache_writer_open(kni_cache *cache, const kni_repo *repo, kni_cache_writer **out,
                                kn_error *err)
{
    kni_at snapshots = KNI_AT_NONE;
    *out = NULL;
    if (cache->is_site)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: is a site's cache: nothing is written into it", cache->dir);
    kni_cache_writer *writer = kni_calloc(1, sizeof(*writer));
    if (!writer)
        return kni_no_memory(err);
    writer->cache = cache;
    writer->root = writer->folder = writer->blobs = KNI_AT_NONE;
    kni_repo_folder(repo, writer->folder_name);
    kn_status st = kni_at_root(cache->dir, true, &writer->root, err);
    if (st == KN_OK) {
        tag_root(&writer->root);
        st = kni_at_open(&writer->root, writer->folder_name, true, &writer->folder, err);
    }
    // huggingface_hub calls a repository without snapshots/ corrupt, so it is there from the beginning.
    if (st == KN_OK)
        st = kni_at_open(&writer->folder, "snapshots", true, &snapshots, err);
    if (st == KN_OK)
        st = kni_at_open(&writer->folder, "blobs", true, &writer->blobs, err);
    kni_at_close(&snapshots);
    if (st == KN_OK)
        *out = writer;
    else
        kni_cache_writer_close(writer);
    return st;
}

void kni_cache_writer_close(kni_cache_writer *writer)
{
    if (!writer)
        return;
    kni_at_close(&writer->blobs);
    kni_at_close(&writer->folder);
    kni_at_close(&writer->root);
    kni_free(writer);
}

// Holds a temporary that was made just now. Somebody's sweep may have come before the lock: then that has it, or the name is gone already.
// Where there are no locks nobody sweeps.
static bool hold(int fd)
{
    struct stat info;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return false;
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

kn_status kni_temp_make(const kni_cache_writer *writer, const char *stem,
                        char out[KNI_TEMP_NAME_SIZE], int *fd, kn_error *err)
{
    int number = EEXIST;
    for (int i = 0; i < TEMP_TRIES; ++i) {
        kni_temp_name(stem, out);
        *fd =
            openat(writer->blobs.fd, out, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (*fd < 0) {
            number = errno;
            if (number == EEXIST)
                continue;
            break;
        }
        if (hold(*fd))
            return KN_OK;
        close(*fd);
        *fd = -1;
    }
    return kni_at_fail(&writer->blobs, out, number, "cannot create the file", err);
}

kn_status kni_temp_make_dir(const kni_cache_writer *writer, const char *stem,
                            char out[KNI_TEMP_NAME_SIZE], kni_at *dir, kn_error *err)
{
    int number = EEXIST;
    for (int i = 0; i < TEMP_TRIES; ++i) {
        *dir = KNI_AT_NONE;
        kni_temp_name(stem, out);
        if (mkdirat(writer->blobs.fd, out, 0700) != 0) {
            number = errno;
            if (number == EEXIST)
                continue;
            break;
        }
        const kn_status st = kni_at_open(&writer->blobs, out, false, dir, NULL);
        if (st == KN_OK && hold(dir->fd))
            return KN_OK;
        kni_at_close(dir);
        if (st == KN_ERR_NO_MEMORY) {
            unlinkat(writer->blobs.fd, out, AT_REMOVEDIR);
            return kni_no_memory(err);
        }
    }
    return kni_at_fail(&writer->blobs, out, number, "cannot create the directory", err);
}

kn_status kni_temp_append(const kni_cache_writer *writer, int fd, const char *name,
                          const void *data, size_t size, kn_error *err)
{
    const char *at = data;
    while (size > 0) {
        const ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kni_at_fail(&writer->blobs, name, errno, "cannot write", err);
        at += n;
        size -= (size_t)n;
    }
    return KN_OK;
}

kn_status kni_temp_place(const kni_cache_writer *writer, int fd, const char *temp, const kni_at *at,
                         const char *name, kn_error *err)
{
    kn_status st = KN_OK;
    if (fdatasync(fd) != 0 && errno != EINVAL && errno != ENOSYS)
        st = kni_at_fail(&writer->blobs, temp, errno, "cannot write", err);
    else if (renameat(writer->blobs.fd, temp, at->fd, name) != 0)
        st = kni_at_fail(at, name, errno, "cannot put the file there", err);
    if (st != KN_OK)
        unlinkat(writer->blobs.fd, temp, 0);
    return st;
}

kn_status kni_writer_sync(kni_cache_writer *writer, kn_error *err)
{
    if (!__atomic_exchange_n(&writer->is_dirty, 0, __ATOMIC_ACQ_REL))
        return KN_OK;
    // Some file systems have no fsync of a directory: they keep their own order.
    if (fsync(writer->blobs.fd) != 0 && errno != EINVAL && errno != ENOSYS && errno != EBADF)
        return kni_at_fail(&writer->blobs, ".", errno, "cannot write the directory", err);
    return KN_OK;
}

bool kni_cache_has_blob(const kni_cache_writer *writer, const char *blob, uint64_t size)
{
    struct stat info;
    bool yes = false, is_shared = false;
    return kni_is_object_id(blob) &&
           kni_blob_look(&writer->root, &writer->blobs, blob, &yes, &info, &is_shared, NULL) ==
               KN_OK &&
           yes && (uint64_t)info.st_size == size;
}

kn_status kni_cache_begin_blob(kni_cache_writer *writer, const char *blob, uint64_t size,
                               kni_blob_file *out, kn_error *err)
{
    *out = KNI_BLOB_FILE_INIT;
    if (!kni_is_object_id(blob))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: the blob '%.80s': expected 40 or 64 hexadecimal digits",
                            writer->folder.path, blob);
    snprintf(out->blob, sizeof(out->blob), "%s", blob);
    kn_status st = kni_temp_make(writer, blob, out->name, &out->fd, err);
    if (st != KN_OK)
        return st;
    // Its length stays, so that others see how far it is. File systems that cannot reserve find out later.
    if (size > INT64_MAX)
        st = kni_at_fail(&writer->blobs, out->name, EFBIG, "cannot reserve the space", err);
    else if (size > 0 && fallocate(out->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) != 0 &&
             (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        st = kni_at_fail(&writer->blobs, out->name, errno, "cannot reserve the space", err);
    if (st != KN_OK)
        kni_cache_abandon_blob(writer, out);
    return st;
}

kn_status kni_cache_append_blob(kni_cache_writer *writer, kni_blob_file *file, const void *data,
                                size_t size, kn_error *err)
{
    const kn_status st = kni_temp_append(writer, file->fd, file->name, data, size, err);
    if (st == KN_OK)
        file->size += size;
    return st;
}

kn_status kni_cache_restart_blob(kni_cache_writer *writer, kni_blob_file *file, kn_error *err)
{
    if (ftruncate(file->fd, 0) != 0 || lseek(file->fd, 0, SEEK_SET) != 0)
        return kni_at_fail(&writer->blobs, file->name, errno, "cannot begin again", err);
    file->size = 0;
    return KN_OK;
}

kn_status kni_cache_commit_blob(kni_cache_writer *writer, kni_blob_file *file, kn_error *err)
{
    const kn_status st =
        kni_temp_place(writer, file->fd, file->name, &writer->blobs, file->blob, err);
    if (st == KN_OK)
        __atomic_store_n(&writer->is_dirty, 1, __ATOMIC_RELEASE);
    close(file->fd);
    *file = KNI_BLOB_FILE_INIT;
    return st;
}

kn_status kni_cache_put_blob(kni_cache_writer *writer, const char *blob, const void *data,
                             size_t size, kn_error *err)
{
    kni_blob_file file = KNI_BLOB_FILE_INIT;
    if (kni_cache_has_blob(writer, blob, size))
        return KN_OK;
    kn_status st = kni_cache_begin_blob(writer, blob, size, &file, err);
    if (st == KN_OK)
        st = kni_cache_append_blob(writer, &file, data, size, err);
    if (st == KN_OK)
        return kni_cache_commit_blob(writer, &file, err);
    kni_cache_abandon_blob(writer, &file);
    return st;
}

void kni_cache_abandon_blob(kni_cache_writer *writer, kni_blob_file *file)
{
    if (file->fd < 0)
        return;
    unlinkat(writer->blobs.fd, file->name, 0);
    close(file->fd);
    *file = KNI_BLOB_FILE_INIT;
}
