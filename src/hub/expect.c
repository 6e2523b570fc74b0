#include "hub/expect.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "hub/cached.h"

kn_status kni_expect(const kn_revision *revision, const char *variant, const kni_sum_variant **sums,
                     const kni_lock_hash **hash, kn_error *err)
{
    *sums = revision->sums ? kni_sum_find_variant(revision->sums, variant) : NULL;
    const bool has_hashes = revision->locked && revision->locked->is_hashed;
    *hash = has_hashes ? kni_lock_find_hash(revision->locked, variant) : NULL;
    if ((revision->sums && !*sums) || (!revision->sums && has_hashes && !*hash))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: No lock found for build variant `%s`: run kernels lock",
                            revision->repo.id, variant);
    return KN_OK;
}

static kn_status differs(const kn_revision *revision, const char *variant, const char *path,
                         const char *what, kn_error *err)
{
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "%s: %s of %s (commit %s) %s: expected what the "
                        "lock says",
                        revision->repo.id, path, variant, revision->commit, what);
}

static size_t prefix_size(const char *variant)
{
    return strlen("build/") + strlen(variant) + 1;
}

static kn_status compare_hash(const kn_revision *revision, const kni_lock_hash *hash,
                              const char *variant, const kni_lock_file *files, size_t n,
                              kn_error *err)
{
    char is[KNI_SHA256_SIZE];
    const kn_status st = kni_lock_hash_files(files, n, is, err);
    if (st != KN_OK || strcmp(is, hash->sha256) == 0)
        return st;
    return kn_error_set(
        err, KN_ERR_UNTRUSTED,
        "%s: Lock file specifies kernel with hash sha256-%s, but that of %s (commit "
        "%s) is sha256-%s",
        revision->repo.id, hash->sha256, variant, revision->commit, is);
}

kn_status kni_expect_listing(const kn_revision *revision, const char *variant,
                             const kni_tree_file *const *files, size_t n, kn_error *err)
{
    const kni_sum_variant *sums = NULL;
    const kni_lock_hash *hash = NULL;
    const size_t skip = prefix_size(variant);
    kn_status st = kni_expect(revision, variant, &sums, &hash, err);
    if (st == KN_OK && sums && n != sums->n_files)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: %s (commit %s) has %zu files, the lock says "
                          "%zu",
                          revision->repo.id, variant, revision->commit, n, sums->n_files);
    for (size_t i = 0; st == KN_OK && sums && i < n; ++i) {
        const kni_sum_file *sum = kni_sum_find_file(sums, files[i]->path + skip);
        if (!sum)
            st = differs(revision, variant, files[i]->path + skip, "is not in the lock", err);
        else if (sum->size != files[i]->size ||
                 (files[i]->sha256[0] && strcmp(files[i]->sha256, sum->sha256) != 0))
            st = differs(revision, variant, files[i]->path + skip, "is not what was locked", err);
    }
    if (st != KN_OK || !hash)
        return st;
    kni_lock_file *locked = kni_calloc(n + 1, sizeof(*locked));
    if (!locked)
        return kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        locked[i] = (kni_lock_file){files[i]->path + skip, kni_tree_file_blob(files[i])};
        if (!locked[i].blob[0])
            st = differs(revision, variant, locked[i].path, "is listed without its hash", err);
    }
    if (st == KN_OK)
        st = compare_hash(revision, hash, variant, locked, n, err);
    kni_free(locked);
    return st;
}

// --- files ---

static kn_status check_sum(const kn_revision *revision, const char *variant, const char *path,
                           const kni_sum_variant *sums, int fd, kn_error *err)
{
    const kni_sum_file *sum = kni_sum_find_file(sums, path);
    kni_digest digest;
    char hex[129];
    if (!sum)
        return differs(revision, variant, path, "is not in the lock", err);
    const kn_status st = kni_digest_fd(KNI_SHA256, fd, path, &digest, err);
    if (st != KN_OK)
        return st;
    kni_digest_hex(&digest, hex);
    return strcmp(hex, sum->sha256) == 0
               ? KN_OK
               : differs(revision, variant, path, "is not what was locked", err);
}

typedef struct cached {
    const kn_revision *revision;
    const char *variant;
    const kni_cache *cache;
    const kni_sum_variant *sums;
    const kni_lock_hash *hash;
    char (*blobs)[KNI_SHA256_SIZE];
} cached;

static kn_status check_cached_file(const cached *c, const char *name, size_t index, kn_error *err)
{
    kni_buf path = KNI_BUF_ANY;
    kni_cached_file file = {.fd = -1};
    kni_buf_printf(&path, "build/%s/%s", c->variant, name);
    kn_status st = path.failed
                       ? kni_no_memory(err)
                       : kni_cache_open_file(c->cache, &c->revision->repo, c->revision->commit,
                                             kni_buf_text(&path), &file, err);
    if (st == KN_OK && c->sums)
        st = check_sum(c->revision, c->variant, name, c->sums, file.fd, err);
    if (st == KN_OK && c->hash && !file.blob[0])
        st = differs(c->revision, c->variant, name,
                     "is no link to a blob, whose name the hash is "
                     "made of",
                     err);
    if (st == KN_OK && c->hash)
        st = kni_blob_check(file.fd, file.blob, name, err);
    memcpy(c->blobs[index], file.blob, KNI_SHA256_SIZE);
    if (file.fd >= 0)
        close(file.fd);
    kni_buf_dispose(&path);
    return st;
}

static kn_status check_cached_files(const cached *c, const kni_names *names, kn_error *err)
{
    kni_lock_file *locked = kni_calloc(names->count + 1, sizeof(*locked));
    size_t n = 0;
    kn_status st = locked ? KN_OK : kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < names->count; ++i) {
        if (kni_path_is_byte_code(names->names[i]))
            continue;
        st = check_cached_file(c, names->names[i], n, err);
        if (st == KN_OK)
            locked[n] = (kni_lock_file){names->names[i], c->blobs[n]};
        ++n;
    }
    if (st == KN_OK && c->sums && n != c->sums->n_files)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: %s (commit %s) has %zu files in the cache, the lock says %zu",
                          c->revision->repo.id, c->variant, c->revision->commit, n,
                          c->sums->n_files);
    if (st == KN_OK && c->hash)
        st = compare_hash(c->revision, c->hash, c->variant, locked, n, err);
    kni_free(locked);
    return st;
}

kn_status kni_expect_cached(const kn_revision *revision, const char *variant,
                            const kni_cache *cache, kn_error *err)
{
    cached c = {.revision = revision, .variant = variant, .cache = cache};
    kni_names names = {NULL, 0, 0};
    char *dir = NULL;
    kn_status st = kni_expect(revision, variant, &c.sums, &c.hash, err);
    if (st != KN_OK || (!c.sums && !c.hash))
        return st;
    st = kni_cached_directory(revision, variant, cache, &dir, err);
    if (st == KN_OK)
        st = kni_tree_list_links(dir, &names, err);
    if (st == KN_OK) {
        c.blobs = kni_calloc(names.count + 1, sizeof(*c.blobs));
        st = c.blobs ? check_cached_files(&c, &names, err) : kni_no_memory(err);
    }
    kni_free(c.blobs);
    kni_names_free(&names);
    kni_free(dir);
    return st;
}
