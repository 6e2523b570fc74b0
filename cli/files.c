#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

#define FILE_SIZE_MAX (2ll << 30) // of what is read whole: a kernel library, a CARD

static kn_status fail(kn_error *err, const char *path, const char *what)
{
    return kn_error_set(err, errno == ENOENT ? KN_ERR_NOT_FOUND : KN_ERR_IO, "%s: %s: %s", path,
                        what, strerror(errno));
}

char *cli_join(const char *dir, const char *name)
{
    return cli_format("%s/%s", dir, name);
}

char *cli_absolute(const char *path)
{
    char *here = path[0] == '/' || path[0] == '\0'
                     ? NULL
                     : getcwd(NULL, 0); // NULL too when it is gone: the library says what it needs
    char *whole = here ? cli_join(here, path) : cli_format("%s", path);
    free(here);
    return whole;
}

kn_status cli_make_dir(const char *path, kn_error *err)
{
    char *part = cli_format("%s", path);
    kn_status st = KN_OK;
    for (char *at = part + 1; st == KN_OK && at[-1]; ++at) {
        if (*at && *at != '/')
            continue;
        const char separator = *at;
        *at = '\0';
        struct stat info;
        if (mkdir(part, 0777) != 0 &&
            (errno != EEXIST || stat(part, &info) != 0 || !S_ISDIR(info.st_mode)))
            st = fail(err, part, "cannot be made a directory");
        *at = separator;
    }
    free(part);
    return st;
}

kn_status cli_make_temporary(const char *dir, char **out, kn_error *err)
{
    *out = cli_format("%s/.pack-XXXXXX", dir);
    if (mkdtemp(*out))
        return KN_OK;
    free(*out);
    *out = NULL;
    return fail(err, dir, "cannot make a directory in it");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    remove(path);
    return 0;
}

void cli_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

kn_status cli_write_file(const char *path, const void *data, size_t size, kn_error *err)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return fail(err, path, "cannot be written");
    bool whole =
        fwrite(data, 1, size, file) == size && fflush(file) == 0 && fsync(fileno(file)) == 0;
    const int number = errno;
    whole = fclose(file) == 0 && whole;
    if (whole)
        return KN_OK;
    errno = number;
    return fail(err, path, "cannot be written");
}

kn_status cli_read_file(const char *path, char **data, size_t *size, kn_error *err)
{
    struct stat info;
    kn_status st = KN_OK;
    size_t got = 0;
    *data = NULL;
    *size = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(err, path, "cannot be read");
    if (fstat(fd, &info) != 0)
        st = fail(err, path, "cannot be read");
    else if (!S_ISREG(info.st_mode))
        st = kn_error_set(err, KN_ERR_IO, "%s: is not a regular file", path);
    else if (info.st_size > FILE_SIZE_MAX)
        st = kn_error_set(err, KN_ERR_IO, "%s: has %lld bytes, at most %lld are accepted", path,
                          (long long)info.st_size, (long long)FILE_SIZE_MAX);
    if (st == KN_OK)
        *data = cli_alloc((size_t)info.st_size + 1); // zero-terminated
    while (st == KN_OK && got < (size_t)info.st_size) {
        const ssize_t n = read(fd, *data + got, (size_t)info.st_size - got);
        if (n < 0 && errno != EINTR)
            st = fail(err, path, "cannot be read");
        else if (n == 0)
            st = kn_error_set(err, KN_ERR_IO, "%s: became shorter while it was read", path);
        else if (n > 0)
            got += (size_t)n;
    }
    close(fd);
    *size = got;
    if (st != KN_OK) {
        free(*data);
        *data = NULL;
    }
    return st;
}

kn_status cli_copy_file(const char *from, const char *to, kn_error *err)
{
    char *data = NULL;
    size_t size = 0;
    kn_status st = cli_read_file(from, &data, &size, err);
    if (st == KN_OK)
        st = cli_write_file(to, data, size, err);
    free(data);
    return st;
}

kn_status cli_put_in_place(const char *from, const char *to, kn_error *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0 ||
        (errno == ENOENT && rename(from, to) == 0))
        return KN_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return fail(err, to, "cannot be put in place");
    // A file system that cannot exchange: what is there goes aside first.
    char *old = cli_format("%s.old", from);
    kn_status st = KN_OK;
    if (rename(to, old) != 0 && errno != ENOENT)
        st = fail(err, to, "cannot be replaced");
    else if (rename(from, to) != 0)
        st = fail(err, to, "cannot be put in place");
    free(old);
    return st;
}

static void sha256(const void *data, size_t size, unsigned char out[32])
{
    if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) != 1)
        cli_no_memory();
}

void cli_sha256_hex(const void *data, size_t size, char out[CLI_SHA256_HEX_SIZE])
{
    unsigned char digest[32];
    sha256(data, size, digest);
    for (size_t i = 0; i < sizeof(digest); ++i)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void cli_sha256_base64(const void *data, size_t size, char out[CLI_SHA256_BASE64_SIZE])
{
    unsigned char digest[32];
    sha256(data, size, digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof(digest));
}
