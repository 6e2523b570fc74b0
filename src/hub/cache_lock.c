// Locks of blobs, and what was left behind by those who died.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/cache_writer.h"

enum { LOCK_TRIES = 16 };

// 0664 and read access alone as a last resort: users of one group wait for one another.
static int open_lock(const kni_at *dir, const char *name)
{
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = openat(dir->fd, name, O_RDWR | O_CREAT | flags, 0664);
    if (fd < 0 && (errno == EACCES || errno == EROFS))
        fd = openat(dir->fd, name, O_RDONLY | flags);
    return fd;
}

kn_status kni_cache_lock_blob(const kni_cache_writer *writer, const char *blob, kni_blob_lock *out,
                              kn_error *err)
{
    char path[KNI_REPO_ID_MAX + 32], name[KNI_SHA256_SIZE + 8];
    kni_at dir = KNI_AT_NONE;
    kn_error why = KN_ERROR_INIT;
    int fd = -1;
    *out = KNI_BLOB_LOCK_INIT;
    snprintf(path, sizeof(path), ".locks/%s", writer->folder_name);
    snprintf(name, sizeof(name), "%.64s.lock", blob);
    kn_status st = kni_at_open(&writer->root, path, true, &dir, &why);
    for (int i = 0; st == KN_OK && i < LOCK_TRIES; ++i) {
        struct stat there, here;
        fd = open_lock(&dir, name);
        if (fd < 0 || fstat(fd, &here) != 0 || !S_ISREG(here.st_mode)) {
            st = kni_at_fail(&dir, name, fd < 0 ? errno : ENOTDIR, "cannot open the lock", &why);
            break;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                st = kni_at_fail(&dir, name, errno, "cannot lock", &why);
            break;
        }
        // Some remove the file when they release it: a lock on what has no name any more is held by nobody else's eyes.
        if (kni_at_stat(&dir, name, &there) && there.st_ino == here.st_ino &&
            there.st_dev == here.st_dev) {
            out->fd = fd;
            fd = -1;
            break;
        }
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
    kni_at_close(&dir);
    if (st == KN_ERR_NO_MEMORY) {
        kn_error_dispose(&why);
        return kni_no_memory(err);
    }
    if (st != KN_OK)
        kn_error_set(err, KN_ERR_UNSUPPORTED, "%s", kn_error_text(&why));
    kn_error_dispose(&why);
    return st == KN_OK ? KN_OK : KN_ERR_UNSUPPORTED;
}

void kni_cache_unlock_blob(kni_blob_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    *lock = KNI_BLOB_LOCK_INIT;
}

// .locks/ without allocating: what follows has no way to fail.
static int open_locks(const kni_cache_writer *writer)
{
    return openat(writer->root.fd, ".locks", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void kni_lock_remove(const kni_cache_writer *writer, const char *blob, kni_blob_lock *lock)
{
    char name[KNI_SHA256_SIZE + 8];
    const int locks = lock->fd >= 0 ? open_locks(writer) : -1;
    const int dir = locks >= 0 ? openat(locks, writer->folder_name,
                                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                               : -1;
    snprintf(name, sizeof(name), "%.64s.lock", blob);
    if (dir >= 0) {
        (void)unlinkat(dir, name, 0);
        close(dir);
    }
    if (locks >= 0)
        close(locks);
    kni_cache_unlock_blob(lock);
}

void kni_locks_remove(const kni_cache_writer *writer)
{
    const int locks = open_locks(writer);
    if (locks < 0)
        return;
    (void)unlinkat(locks, writer->folder_name, AT_REMOVEDIR);
    close(locks);
}

// Walks blobs/ without keeping its names: there may be many.
static DIR *open_blobs(const kni_cache_writer *writer)
{
    const int fd = openat(writer->blobs.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

void kni_cache_watch_blob(const kni_cache_writer *writer, const char *blob, uint64_t *sum,
                          uint64_t *largest)
{
    static const char end[] = ".incomplete";
    const size_t n = strlen(blob);
    const struct dirent *entry;
    *sum = *largest = 0;
    DIR *dir = open_blobs(writer);
    while (dir && (entry = readdir(dir))) {
        struct stat info;
        const size_t size = strlen(entry->d_name);
        if (strncmp(entry->d_name, blob, n) != 0 || entry->d_name[n] != '.' ||
            size < sizeof(end) - 1 || strcmp(entry->d_name + size - (sizeof(end) - 1), end) != 0)
            continue;
        if (!kni_at_stat(&writer->blobs, entry->d_name, &info) || !S_ISREG(info.st_mode))
            continue;
        *sum += (uint64_t)info.st_size + 1; // an empty one counts
        if ((uint64_t)info.st_size > *largest)
            *largest = (uint64_t)info.st_size;
    }
    if (dir)
        closedir(dir);
}

// Does nobody hold this temporary any more? A link cannot be held, and is nobody's. What can be is held through *fd from here until it is
// gone: who has just made it and not locked it yet finds it locked, or without a name.
static bool is_abandoned(const kni_cache_writer *writer, const char *name, const struct stat *info,
                         int *fd)
{
    struct stat held;
    *fd = -1;
    if (S_ISLNK(info->st_mode))
        return true;
    if (!S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode))
        return false;
    *fd = openat(writer->blobs.fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return *fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &held) == 0 &&
           held.st_ino == info->st_ino && held.st_dev == info->st_dev;
}

size_t kni_cache_sweep(kni_cache_writer *writer)
{
    size_t n = 0;
    const struct dirent *entry;
    DIR *dir = open_blobs(writer);
    while (dir && (entry = readdir(dir))) {
        struct stat info;
        uint64_t freed = 0;
        int fd = -1;
        if (kni_temp_is_ours(entry->d_name) && kni_at_stat(&writer->blobs, entry->d_name, &info) &&
            info.st_uid == geteuid() && is_abandoned(writer, entry->d_name, &info, &fd) &&
            kni_at_remove(&writer->blobs, entry->d_name, &freed, NULL) == KN_OK)
            ++n;
        if (fd >= 0)
            close(fd);
    }
    if (dir)
        closedir(dir);
    return n;
}
