#include "hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../output.h"

enum {
    CHUNK = 256 * 1024,
    SLOTS_MIN = 1024,
    COUNT_MAX = 1 << 20, // then the cache starts again
};

// Two changes within one tick of the kernel's clock (at most 10 ms) leave one time of change.
#define SETTLED_NS 50000000ll

typedef struct serve_hash_slot {
    serve_stamp stamp;
    serve_hashes hashes;
} serve_hash_slot;

static int64_t nanoseconds(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000ll + t->tv_nsec;
}

serve_stamp serve_stamp_of(const struct stat *info)
{
    return (serve_stamp){
        .dev = (uint64_t)info->st_dev,
        .ino = (uint64_t)info->st_ino,
        .size = info->st_size > 0 ? (uint64_t)info->st_size : 0,
        .mtime_ns = nanoseconds(&info->st_mtim),
        .ctime_ns = nanoseconds(&info->st_ctim),
    };
}

bool serve_stamp_equal(const serve_stamp *a, const serve_stamp *b)
{
    return memcmp(a, b, sizeof(*a)) == 0; // five integers of eight bytes: no padding
}

void serve_hex(const unsigned char *bytes, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; ++i) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

static EVP_MD_CTX *begin(const EVP_MD *kind)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestInit_ex(ctx, kind, NULL) != 1)
        cli_no_memory();
    return ctx;
}

static void add(EVP_MD_CTX *ctx, const void *data, size_t size)
{
    if (EVP_DigestUpdate(ctx, data, size) != 1)
        cli_no_memory();
}

// Writes the hash and frees the context; NULL `out`: the hash is not wanted any more.
static void end(EVP_MD_CTX *ctx, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (out && EVP_DigestFinal_ex(ctx, digest, &size) != 1)
        cli_no_memory();
    if (out)
        serve_hex(digest, size, out);
    EVP_MD_CTX_free(ctx);
}

void serve_sha1(const void *data, size_t size, char out[SERVE_SHA1_SIZE])
{
    EVP_MD_CTX *ctx = begin(EVP_sha1());
    add(ctx, data, size);
    end(ctx, out);
}

// Git hashes a header before the bytes.
static void add_header(EVP_MD_CTX *ctx, const char *kind, unsigned long long size)
{
    char header[64];
    const int n = snprintf(header, sizeof(header), "%s %llu", kind, size);
    add(ctx, header, (size_t)n + 1);
}

void serve_git_object(const char *kind, const void *data, size_t size, char out[SERVE_SHA1_SIZE])
{
    EVP_MD_CTX *ctx = begin(EVP_sha1());
    add_header(ctx, kind, size);
    add(ctx, data, size);
    end(ctx, out);
}

static kn_status read_hashes(int fd, const char *path, const serve_stamp *stamp, bool with_blob,
                             serve_hashes *out, kn_error *err)
{
    kn_status st = KN_OK;
    unsigned char *chunk = cli_alloc(CHUNK);
    EVP_MD_CTX *sha256 = begin(EVP_sha256()), *blob = with_blob ? begin(EVP_sha1()) : NULL;
    uint64_t at = 0;
    out->blob[0] = '\0';
    if (blob)
        add_header(blob, "blob", stamp->size);
    while (at <= stamp->size) { // a file that grows without end is not followed
        const ssize_t n = pread(fd, chunk, CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = kn_error_set(err, KN_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
            break;
        }
        if (n == 0)
            break;
        add(sha256, chunk, (size_t)n);
        if (blob)
            add(blob, chunk, (size_t)n);
        at += (uint64_t)n;
    }
    struct stat after;
    if (st == KN_OK && fstat(fd, &after) != 0)
        st = kn_error_set(err, KN_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (st == KN_OK) {
        const serve_stamp now = serve_stamp_of(&after);
        if (at != stamp->size || !serve_stamp_equal(&now, stamp))
            st = kn_error_set(err, KN_ERR_CONFLICT, "%s: changed while it was read", path);
    }
    end(sha256, st == KN_OK ? out->sha256 : NULL);
    if (blob)
        end(blob, st == KN_OK ? out->blob : NULL);
    free(chunk);
    return st;
}

// The slot of that file, or the free one where it belongs.
static serve_hash_slot *find(serve_hash_slot *slots, size_t n_slots, const serve_stamp *stamp)
{
    size_t at = (size_t)((stamp->ino * 0x9e3779b97f4a7c15ull + stamp->dev) >> 20) & (n_slots - 1);
    while (slots[at].stamp.ino != 0 &&
           (slots[at].stamp.ino != stamp->ino || slots[at].stamp.dev != stamp->dev))
        at = (at + 1) & (n_slots - 1);
    return &slots[at];
}

static void make_room(serve_hash_cache *cache)
{
    if (cache->count >= COUNT_MAX) {
        memset(cache->slots, 0, cache->n_slots * sizeof(*cache->slots));
        cache->count = 0;
    }
    if (2 * (cache->count + 1) <= cache->n_slots)
        return;
    const size_t n_slots = cache->n_slots ? 2 * cache->n_slots : SLOTS_MIN;
    serve_hash_slot *slots = cli_alloc(n_slots * sizeof(*slots));
    for (size_t i = 0; i < cache->n_slots; ++i)
        if (cache->slots[i].stamp.ino != 0)
            *find(slots, n_slots, &cache->slots[i].stamp) = cache->slots[i];
    free(cache->slots);
    cache->slots = slots;
    cache->n_slots = n_slots;
}

kn_status serve_hash(serve_hash_cache *cache, int fd, const char *path, const serve_stamp *stamp,
                     bool with_blob, serve_hashes *out, kn_error *err)
{
    struct timespec now;
    bool known = false;
    pthread_mutex_lock(&cache->lock);
    if (cache->n_slots) {
        const serve_hash_slot *slot = find(cache->slots, cache->n_slots, stamp);
        known = serve_stamp_equal(&slot->stamp, stamp) && (slot->hashes.blob[0] || !with_blob);
        if (known)
            *out = slot->hashes;
    }
    pthread_mutex_unlock(&cache->lock);
    if (known)
        return KN_OK;
    clock_gettime(CLOCK_REALTIME, &now);
    const kn_status st = read_hashes(fd, path, stamp, with_blob, out, err);
    // A clock that was set back makes the future: such files are read again until it has passed.
    out->is_settled = stamp->ctime_ns < nanoseconds(&now) - SETTLED_NS;
    if (st != KN_OK || !out->is_settled)
        return st;
    pthread_mutex_lock(&cache->lock);
    make_room(cache);
    serve_hash_slot *slot = find(cache->slots, cache->n_slots, stamp);
    cache->count += slot->stamp.ino == 0;
    *slot = (serve_hash_slot){*stamp, *out};
    pthread_mutex_unlock(&cache->lock);
    return KN_OK;
}

void serve_hash_cache_dispose(serve_hash_cache *cache)
{
    free(cache->slots);
    pthread_mutex_destroy(&cache->lock);
}
