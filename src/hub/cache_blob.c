#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"
#include "hub/blob_hash.h"
#include "hub/cache_snapshot.h"

// The shared store of huggingface_hub 1.33 and later: {cache}/blobs/<2 digits>/<hash> holds the content, a repository's own
// blobs/<name> is a link to it, and a marker file says that {cache}/blobs is such a store. Read here; never written or removed.
#define STORE_MARKER ".huggingface-shared-blobs"
#define STORE_VERSION "1\n"
#define STORE_LINK_START "../../blobs/"

enum { LINK_MAX_SIZE = 2048 };

// The text of a link; "" when it is longer than any that the layout has. False with errno, which is EINVAL for what is no link.
static bool read_link(const kni_at *at, const char *name, char text[LINK_MAX_SIZE])
{
    const ssize_t size = readlinkat(at->fd, name, text, LINK_MAX_SIZE - 1);
    if (size < 0)
        return false;
    text[(size_t)size < LINK_MAX_SIZE - 1 ? size : 0] = '\0';
    return true;
}

kn_status kni_link_text(kni_buf *out, size_t levels, const char *blob, kn_error *err)
{
    for (size_t i = 0; i < levels + 2; ++i)
        kni_buf_puts(out, "../");
    kni_buf_printf(out, "blobs/%s", blob);
    return out->failed ? kni_no_memory(err) : KN_OK;
}

bool kni_link_blob(const char *text, size_t levels, char blob[KNI_SHA256_SIZE])
{
    blob[0] = '\0';
    for (size_t i = 0; i < levels + 2; ++i, text += 3)
        if (strncmp(text, "../", 3) != 0)
            return false;
    if (strncmp(text, "blobs/", 6) != 0 || !kni_is_object_id(text + 6))
        return false;
    snprintf(blob, KNI_SHA256_SIZE, "%s", text + 6);
    return true;
}

// The hash in the text of a link into the store, "../../blobs/ab/ab…"; NULL: of another form.
static const char *store_hash(const char *text)
{
    const size_t start = strlen(STORE_LINK_START);
    if (strncmp(text, STORE_LINK_START, start) != 0 || strlen(text) != start + 3 + 64 ||
        text[start + 2] != '/')
        return NULL;
    const char *hash = text + start + 3;
    return kni_is_object_id(hash) && memcmp(hash, text + start, 2) == 0 ? hash : NULL;
}

// The directory of the store that holds a hash, if {cache}/blobs is a store of a layout that is known.
static kn_status open_store(const kni_at *root, const char *hash, kni_at *out, kn_error *err)
{
    const char prefix[3] = {hash[0], hash[1], '\0'};
    kni_buf marker = KNI_BUF(16);
    kni_at store = KNI_AT_NONE;
    *out = KNI_AT_NONE;
    kn_status st = kni_at_open(root, "blobs", false, &store, err);
    if (st == KN_OK)
        st = kni_at_read(&store, STORE_MARKER, &marker, err);
    if (st == KN_OK && strcmp(kni_buf_text(&marker), STORE_VERSION) != 0)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s/%s: holds '%.10s': the shared store of version 1 is what can be read",
                          store.path, STORE_MARKER, kni_buf_text(&marker));
    if (st == KN_OK)
        st = kni_at_open(&store, prefix, false, out, err);
    kni_buf_dispose(&marker);
    kni_at_close(&store);
    return st;
}

kn_status kni_blob_open(const kni_at *root, const kni_at *blobs, const char *name, int *fd,
                        bool *is_shared, kn_error *err)
{
    char text[LINK_MAX_SIZE];
    kni_at store = KNI_AT_NONE;
    *fd = -1;
    *is_shared = false;
    if (!read_link(blobs, name, text))
        return kni_at_file(blobs, name, fd, err);
    const char *hash = store_hash(text);
    if (!hash)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s/%s: is a link to '%.200s': a blob is a regular file, or a link to "
                            "'" STORE_LINK_START "<2 digits>/<64 digits>'",
                            blobs->path, name, text);
    kn_status st = open_store(root, hash, &store, err);
    if (st == KN_OK)
        st = kni_at_file(&store, hash, fd, err);
    *is_shared = st == KN_OK;
    kni_at_close(&store);
    return st;
}

kn_status kni_blob_look(const kni_at *root, const kni_at *blobs, const char *name, bool *yes,
                        struct stat *info, bool *is_shared, kn_error *err)
{
    int fd = -1;
    *yes = *is_shared = false;
    if (!kni_at_stat(blobs, name, info))
        return KN_OK;
    if (S_ISREG(info->st_mode)) {
        *yes = (info->st_mode & 0444) == 0444 || faccessat(blobs->fd, name, R_OK, AT_EACCESS) == 0;
        return KN_OK;
    }
    const kn_status st = kni_blob_open(root, blobs, name, &fd, is_shared, NULL);
    *yes = st == KN_OK && fstat(fd, info) == 0;
    if (fd >= 0)
        close(fd);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

kn_status kni_entry_blob(const kni_at *at, const char *name, size_t levels,
                         char blob[KNI_SHA256_SIZE], kn_error *err)
{
    struct stat info;
    char text[LINK_MAX_SIZE];
    blob[0] = '\0';
    // Read first and looked at only when it is no link: nearly all are, and a warm start asks for each file of a kernel.
    if (!read_link(at, name, text)) {
        if (errno != EINVAL || !kni_at_stat(at, name, &info))
            return kni_at_fail(at, name, errno, "cannot open", err);
        if (S_ISREG(info.st_mode))
            return KN_OK; // how huggingface_hub does without symlinks
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s/%s: is neither a regular file nor a link to a blob", at->path,
                            name);
    }
    if (kni_link_blob(text, levels, blob))
        return KN_OK;
    kni_buf wanted = KNI_BUF_ANY;
    kn_status st = kni_link_text(&wanted, levels, "<40 or 64 hexadecimal digits>", err);
    if (st == KN_OK)
        st = kn_error_set(err, KN_ERR_UNTRUSTED, "%s/%s: is a link to '%.200s': expected '%s'",
                          at->path, name, text, kni_buf_text(&wanted));
    kni_buf_dispose(&wanted);
    return st;
}

// The end of both checks.
static kn_status judge(kni_blob_hash *hash, const char *blob, const char *subject, kn_error *err)
{
    char found[KNI_SHA256_SIZE] = "";
    const kn_status st = kni_blob_hash_end(hash, found, err);
    if (st == KN_OK && strcmp(found, blob) != 0)
        return kn_error_set(
            err, KN_ERR_UNTRUSTED,
            "%s: its content is not what the blob's name says: expected %s, found %s", subject,
            blob, found);
    return st;
}

static kn_status begin_check(kni_blob_hash *hash, const char *blob, uint64_t size,
                             const char *subject, kn_error *err)
{
    if (!kni_is_object_id(blob))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: '%.80s' is no blob's name: expected 40 or 64 hexadecimal digits",
                            subject, blob);
    return kni_blob_hash_begin(hash, strlen(blob), size, err);
}

kn_status kni_blob_check_bytes(const void *data, size_t size, const char *blob, const char *subject,
                               kn_error *err)
{
    kni_blob_hash hash = {NULL};
    kn_status st = begin_check(&hash, blob, size, subject, err);
    if (st == KN_OK && size)
        st = kni_blob_hash_add(&hash, data, size, err);
    if (st == KN_OK)
        st = judge(&hash, blob, subject, err);
    kni_blob_hash_dispose(&hash);
    return st;
}

kn_status kni_blob_check(int fd, const char *blob, const char *subject, kn_error *err)
{
    struct stat info;
    char chunk[16 * 1024];
    kni_blob_hash hash = {NULL};
    off_t at = 0;
    if (fstat(fd, &info) != 0)
        return kni_error_errno(err, errno, subject, "cannot read");
    kn_status st = begin_check(&hash, blob, (uint64_t)info.st_size, subject, err);
    while (st == KN_OK) {
        const ssize_t n = pread(fd, chunk, sizeof(chunk), at); // the caller's position stays
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            st = kni_error_errno(err, errno, subject, "cannot read");
        if (n <= 0)
            break;
        st = kni_blob_hash_add(&hash, chunk, (size_t)n, err);
        at += n;
    }
    if (st == KN_OK)
        st = judge(&hash, blob, subject, err);
    kni_blob_hash_dispose(&hash);
    return st;
}
