#include "hub/cache_at.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

enum {
    AT_NAMES_MAX = 100000,
    AT_DEPTH_MAX = 64, // of a tree that is removed
    READ_CHUNK = 64 * 1024,
};

#define OPEN_DIR (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

void kni_at_close(kni_at *at)
{
    if (at->fd >= 0)
        close(at->fd);
    kni_free(at->path);
    *at = KNI_AT_NONE;
}

bool kni_at_stat(const kni_at *at, const char *name, struct stat *info)
{
    return fstatat(at->fd, name, info, AT_SYMLINK_NOFOLLOW) == 0;
}

// What a user can do about a failure of the file system.
static const char *advice(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ": free some space (`kernels cache rm`), or name another cache directory "
               "(KERNELS_CACHE)";
    case EROFS:
        return ": name a cache directory that can be written (KERNELS_CACHE)";
    case EACCES:
    case EPERM:
        return ": ask its owner for access, or name a cache directory of your own (KERNELS_CACHE)";
    default:
        return "";
    }
}

// " (it belongs to uid 1000, this is uid 1001)" where that is the likely reason. The entry may not be there: then its directory.
static void append_owner(kni_buf *out, const kni_at *at, const char *name)
{
    struct stat info;
    if ((at->fd < 0 || !kni_at_stat(at, name, &info)) && (at->fd < 0 || fstat(at->fd, &info) != 0))
        return;
    if (info.st_uid != geteuid())
        kni_buf_printf(out, " (it belongs to uid %u, this is uid %u)", (unsigned)info.st_uid,
                       (unsigned)geteuid());
}

kn_status kni_at_fail(const kni_at *at, const char *name, int number, const char *what,
                      kn_error *err)
{
    struct stat info;
    if (number == ENOMEM)
        return kni_no_memory(err);
    if ((number == ELOOP || number == ENOTDIR) && kni_at_stat(at, name, &info) &&
        !S_ISDIR(info.st_mode))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s/%s: %s: the layout of a cache has none there: remove it", at->path,
                            name, S_ISLNK(info.st_mode) ? "is a link" : "is not a directory");
    if (number == ENOENT || number == ENOTDIR)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "%s/%s: %s: no such file or directory", at->path,
                            name, what);
    kni_buf text = KNI_BUF_ANY;
    kni_buf_printf(&text, "%s/%s: %s: %s", at->path, name, what, strerrordesc_np(number));
    if (number == EACCES || number == EPERM)
        append_owner(&text, at, name);
    kni_buf_puts(&text, advice(number));
    const kn_status st =
        text.failed ? kni_no_memory(err) : kn_error_set(err, KN_ERR_IO, "%s", kni_buf_text(&text));
    kni_buf_dispose(&text);
    return st;
}

kn_status kni_at_root(const char *dir, bool make, kni_at *out, kn_error *err)
{
    *out = KNI_AT_NONE;
    int fd = open(dir, OPEN_DIR);
    if (fd < 0 && errno == ENOENT && make) {
        kn_error why = KN_ERROR_INIT;
        const kn_status st = kni_dir_make(dir, &why);
        if (st == KN_ERR_NO_MEMORY) {
            kn_error_dispose(&why);
            return kni_no_memory(err);
        }
        if (st != KN_OK) {
            kn_error_set(err, KN_ERR_IO,
                         "%s: name a cache directory that can be made (KERNELS_CACHE)",
                         kn_error_text(&why));
            kn_error_dispose(&why);
            return KN_ERR_IO;
        }
        fd = open(dir, OPEN_DIR);
    }
    if (fd < 0 && errno == ENOTDIR)
        return kn_error_set(err, KN_ERR_IO,
                            "%s: cannot open the cache directory: Not a directory: name another "
                            "one (KERNELS_CACHE)",
                            dir);
    if (fd < 0)
        return kni_error_errno(err, errno, dir, "cannot open the cache directory");
    char *path = kni_strdup(dir);
    if (!path) {
        close(fd);
        return kni_no_memory(err);
    }
    *out = (kni_at){fd, path};
    return KN_OK;
}

// One hop.
static kn_status open_hop(const kni_at *base, const char *name, bool make, kni_at *out,
                          kn_error *err)
{
    int fd = openat(base->fd, name, OPEN_DIR | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && make) {
        if (mkdirat(base->fd, name, 0777) != 0 && errno != EEXIST)
            return kni_at_fail(base, name, errno, "cannot create the directory", err);
        fd = openat(base->fd, name, OPEN_DIR | O_NOFOLLOW);
    }
    if (fd < 0)
        return kni_at_fail(base, name, errno, "cannot open the directory", err);
    char *path = strcmp(name, ".") == 0 ? kni_strdup(base->path) : kni_path_join(base->path, name);
    if (!path) {
        close(fd);
        return kni_no_memory(err);
    }
    *out = (kni_at){fd, path};
    return KN_OK;
}

// All hops in one call of the kernel, which refuses links itself. -1: it knows no such call (before Linux 5.6, some sandboxes), or
// there is something to be said, for which one hop after the other is asked.
static int open_at_once(const kni_at *base, const char *path)
{
    const struct open_how how = {.flags = OPEN_DIR,
                                 .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
    return (int)syscall(SYS_openat2, base->fd, path, &how, sizeof(how));
}

kn_status kni_at_open(const kni_at *base, const char *path, bool make, kni_at *out, kn_error *err)
{
    *out = KNI_AT_NONE;
    if (path[0] == '\0')
        return open_hop(base, ".", false, out, err);
    kn_status st = KN_OK;
    const int fd = make ? -1 : open_at_once(base, path);
    if (fd >= 0) {
        *out = (kni_at){fd, kni_path_join(base->path, path)};
        if (!out->path) {
            kni_at_close(out);
            st = kni_no_memory(err);
        }
        return st;
    }
    kni_at at = KNI_AT_NONE;
    kni_span rest = kni_span_of(path), part;
    while (st == KN_OK && kni_span_cut(&rest, '/', &part)) {
        kni_at next = KNI_AT_NONE;
        char *name = kni_strndup(part.data, part.size);
        st = name ? open_hop(at.fd < 0 ? base : &at, name, make, &next, err) : kni_no_memory(err);
        kni_free(name);
        kni_at_close(&at);
        at = next;
    }
    if (st == KN_OK)
        *out = at;
    else
        kni_at_close(&at);
    return st;
}

kn_status kni_at_folder(const kni_cache *cache, const kni_repo *repo, kni_at *out, kn_error *err)
{
    char folder[KNI_REPO_ID_MAX + 16];
    kni_at root = KNI_AT_NONE;
    *out = KNI_AT_NONE;
    kn_status st = kni_at_root(cache->dir, false, &root, err);
    if (st != KN_OK)
        return st;
    kni_repo_folder(repo, folder);
    st = kni_at_open(&root, folder, false, out, err);
    kni_at_close(&root);
    return st;
}

// Asked without an error first: what is missing costs no text.
kn_status kni_at_open_if(const kni_at *base, const char *path, kni_at *out, kn_error *err)
{
    const kn_status st = kni_at_open(base, path, false, out, NULL);
    if (st == KN_OK || st == KN_ERR_NOT_FOUND)
        return KN_OK;
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : kni_at_open(base, path, false, out, err);
}

kn_status kni_at_folder_if(const kni_cache *cache, const kni_repo *repo, kni_at *out, kn_error *err)
{
    const kn_status st = kni_at_folder(cache, repo, out, NULL);
    if (st == KN_OK || st == KN_ERR_NOT_FOUND)
        return KN_OK;
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : kni_at_folder(cache, repo, out, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kn_status kni_at_list(const kni_at *at, kni_names *out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (kni_names){NULL, 0, 0};
    // Opened anew: a duplicate would share its position with others.
    const int fd = openat(at->fd, ".", OPEN_DIR | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        const int number = errno;
        if (fd >= 0)
            close(fd);
        return kni_at_fail(at, ".", number, "cannot open the directory", err);
    }
    while (st == KN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno != 0)
                st = kni_at_fail(at, ".", errno, "cannot read the directory", err);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (out->count == AT_NAMES_MAX)
            st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: holds more than %d names", at->path,
                              AT_NAMES_MAX);
        else if (!kni_names_push(out, kni_strdup(entry->d_name)))
            st = kni_no_memory(err);
    }
    closedir(dir);
    if (st != KN_OK)
        kni_names_free(out);
    if (out->count)
        qsort(out->names, out->count, sizeof(char *), compare_names);
    return st;
}

kn_status kni_at_file(const kni_at *at, const char *name, int *out, kn_error *err)
{
    struct stat before, after;
    *out = -1;
    // Looked at before it is opened: opening a FIFO or a device can do something.
    if (!kni_at_stat(at, name, &before))
        return kni_at_fail(at, name, errno, "cannot open", err);
    if (!S_ISREG(before.st_mode))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s/%s: is %s: the layout of a cache has a regular file there",
                            at->path, name,
                            S_ISLNK(before.st_mode)    ? "a link"
                            : S_ISDIR(before.st_mode)  ? "a directory"
                            : S_ISFIFO(before.st_mode) ? "a FIFO"
                            : S_ISSOCK(before.st_mode) ? "a socket"
                                                       : "a device");
    const int fd = openat(at->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return kni_at_fail(at, name, errno, "cannot open", err);
    if (fstat(fd, &after) != 0 || !S_ISREG(after.st_mode)) {
        close(fd);
        return kn_error_set(err, KN_ERR_UNTRUSTED, "%s/%s: changed while it was opened", at->path,
                            name);
    }
    *out = fd;
    return KN_OK;
}

kn_status kni_fd_read(int fd, const char *subject, kni_buf *out, kn_error *err)
{
    for (;;) {
        const size_t left = out->max - out->size;
        const size_t room = left < READ_CHUNK ? left : READ_CHUNK;
        char beyond;
        if (room > 0 && !kni_buf_reserve(out, room))
            return kni_no_memory(err);
        const ssize_t n = room > 0 ? read(fd, out->data + out->size, room) : read(fd, &beyond, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kni_error_errno(err, errno, subject, "cannot read");
        if (n == 0)
            break;
        if (room == 0)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: is larger than the %zu bytes that are accepted", subject,
                                out->max);
        out->size += (size_t)n;
    }
    if (out->data)
        out->data[out->size] = '\0';
    return KN_OK;
}

kn_status kni_at_read(const kni_at *at, const char *name, kni_buf *out, kn_error *err)
{
    int fd = -1;
    kn_status st = kni_at_file(at, name, &fd, err);
    if (st != KN_OK)
        return st;
    char *subject = kni_path_join(at->path, name);
    st = subject ? kni_fd_read(fd, subject, out, err) : kni_no_memory(err);
    kni_free(subject);
    close(fd);
    return st;
}

static kn_status remove_below(const kni_at *at, const char *name, int depth, uint64_t *freed,
                              kn_error *err);

static kn_status remove_children(const kni_at *at, const char *name, int depth, uint64_t *freed,
                                 kn_error *err)
{
    kni_at dir = KNI_AT_NONE;
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_at_open(at, name, false, &dir, err);
    if (st == KN_OK)
        st = kni_at_list(&dir, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i)
        st = remove_below(&dir, names.names[i], depth + 1, freed, err);
    kni_names_free(&names);
    kni_at_close(&dir);
    return st;
}

static kn_status remove_below(const kni_at *at, const char *name, int depth, uint64_t *freed,
                              kn_error *err)
{
    struct stat info;
    if (!kni_at_stat(at, name, &info))
        return errno == ENOENT ? KN_OK : kni_at_fail(at, name, errno, "cannot remove", err);
    const bool is_dir = S_ISDIR(info.st_mode);
    if (is_dir) {
        if (depth > AT_DEPTH_MAX)
            return kn_error_set(err, KN_ERR_UNSUPPORTED, "%s/%s: lies deeper than %d directories",
                                at->path, name, AT_DEPTH_MAX);
        const kn_status st = remove_children(at, name, depth, freed, err);
        if (st != KN_OK)
            return st;
    }
    if (unlinkat(at->fd, name, is_dir ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT)
        return kni_at_fail(at, name, errno, "cannot remove", err);
    if (S_ISREG(info.st_mode))
        *freed += (uint64_t)info.st_size;
    return KN_OK;
}

kn_status kni_at_remove(const kni_at *at, const char *name, uint64_t *freed, kn_error *err)
{
    return remove_below(at, name, 0, freed, err);
}
