// The files of a kernel, as they were checked.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "context/kernel.h"

size_t kn_kernel_file_count(const kn_kernel *kernel)
{
    return kernel->sums.paths.count;
}

const char *kn_kernel_file(const kn_kernel *kernel, size_t index)
{
    return index < kernel->sums.paths.count ? kernel->sums.paths.names[index] : NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// What the file hashed to; NULL: there is none of that name.
static const kni_digest *find(const kn_kernel *kernel, const char *file)
{
    const kni_names *paths = &kernel->sums.paths;
    char *const *found =
        paths->count ? bsearch(&file, paths->names, paths->count, sizeof(*paths->names), compare)
                     : NULL;
    return found ? &kernel->sums.sha256[found - paths->names] : NULL;
}

static kn_status open_listed(const kn_kernel *kernel, const char *file, kni_cached_file *out,
                             const kni_digest **expected, kn_error *err)
{
    const kn_package *package = kernel->package;
    *out = (kni_cached_file){.fd = -1};
    *expected = find(kernel, file);
    if (!*expected)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: has no file '%s'", package->dir, file);
    kn_error why = KN_ERROR_INIT;
    if (kni_origin_open_file(package->origin, package->dir, file, out, &why) == KN_OK)
        return KN_OK;
    if (why.status != KN_ERR_NOT_FOUND)
        return kni_error_move(err, &why);
    kn_error_dispose(&why);
    return kn_error_set(err, KN_ERR_UNTRUSTED, "%s: the file '%s' is gone since it was checked",
                        package->dir, file);
}

static kn_status changed(const kn_kernel *kernel, const char *file, kn_error *err)
{
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "%s: the file '%s' was changed since it was checked; restart the process "
                        "to check it anew",
                        kernel->package->dir, file);
}

static kn_status read_all(int fd, const char *file, kni_buf *out, kn_error *err)
{
    for (;;) {
        if (!kni_buf_reserve(out, 64 * 1024))
            return kni_no_memory(err);
        const ssize_t n = pread(fd, out->data + out->size, 64 * 1024, (off_t)out->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kni_error_errno(err, errno, file, "cannot read");
        if (n == 0)
            return KN_OK;
        out->size += (size_t)n;
        out->data[out->size] = '\0';
    }
}

kn_status kn_kernel_read(const kn_kernel *kernel, const char *file, char **out, size_t *size,
                         kn_error *err)
{
    kni_cached_file opened;
    const kni_digest *expected = NULL;
    kni_digest digest;
    struct stat info;
    if (out)
        *out = NULL;
    if (!kernel || !file || !out || !size)
        return kn_error_set(err, KN_ERR_INVALID, "kn_kernel_read: an argument is NULL");
    kn_status st = open_listed(kernel, file, &opened, &expected, err);
    if (st == KN_OK && fstat(opened.fd, &info) != 0)
        st = kni_error_errno(err, errno, file, "cannot read");
    // What grew since is another file: it is not read to its end, wherever that is.
    kni_buf bytes = KNI_BUF(st == KN_OK ? (size_t)info.st_size + 128 * 1024 : 0);
    if (st == KN_OK)
        st = read_all(opened.fd, file, &bytes, err);
    if (st == KN_OK)
        st = kni_digest_bytes(KNI_SHA256, kni_buf_text(&bytes), bytes.size, &digest, err);
    if (st == KN_OK && !kni_digest_equal(&digest, expected))
        st = changed(kernel, file, err);
    if (st == KN_OK) {
        *size = bytes.size;
        *out = kni_buf_take(&bytes);
        st = *out ? KN_OK : kni_no_memory(err);
    }
    kni_buf_dispose(&bytes);
    if (opened.fd >= 0)
        close(opened.fd);
    return st;
}

// Below the package, where $ORIGIN finds its other files; in a hub's cache it is a link, which led to the open file and has to lead there
// still.
static kn_status path_of(const kn_package *package, const char *file, int fd, char **out,
                         kn_error *err)
{
    struct stat opened, named;
    char *path = kni_path_join(package->dir, file);
    if (!path)
        return kni_no_memory(err);
    if (fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
        opened.st_dev == named.st_dev) {
        *out = path;
        return KN_OK;
    }
    const kn_status st =
        kn_error_set(err, KN_ERR_UNTRUSTED, "%s: was replaced while it was checked", path);
    kni_free(path);
    return st;
}

kn_status kn_kernel_check_file(const kn_kernel *kernel, const char *file, char **path,
                               kn_error *err)
{
    kni_cached_file opened;
    const kni_digest *expected = NULL;
    kni_digest digest;
    if (path)
        *path = NULL;
    if (!kernel || !file || !path)
        return kn_error_set(err, KN_ERR_INVALID, "kn_kernel_check_file: an argument is NULL");
    kn_status st = open_listed(kernel, file, &opened, &expected, err);
    if (st == KN_OK)
        st = kni_digest_fd(KNI_SHA256, opened.fd, file, &digest, err);
    if (st == KN_OK && !kni_digest_equal(&digest, expected))
        st = changed(kernel, file, err);
    if (st == KN_OK)
        st = path_of(kernel->package, file, opened.fd, path, err);
    if (opened.fd >= 0)
        close(opened.fd);
    return st;
}
