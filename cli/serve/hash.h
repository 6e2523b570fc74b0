// Hashes of files, remembered for as long as the file is the same.
#ifndef SERVE_HASH_H
#define SERVE_HASH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <kernels/base.h>

#define SERVE_SHA1_SIZE 41 // in hexadecimal, with the zero
#define SERVE_SHA256_SIZE 65

// What tells one state of a file from another without reading it.
typedef struct serve_stamp {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
} serve_stamp;

serve_stamp serve_stamp_of(const struct stat *info);
bool serve_stamp_equal(const serve_stamp *a, const serve_stamp *b);

typedef struct serve_hashes {
    char sha256[SERVE_SHA256_SIZE];
    char blob
        [SERVE_SHA1_SIZE]; // git's: SHA-1 of "blob SIZE\0" and the bytes; "": it was not asked for
    // False: it changed so short a time ago that another change could leave the same stamp; the next look must read it again.
    bool is_settled;
} serve_hashes;

typedef struct serve_hash_cache {
    pthread_mutex_t lock;
    struct serve_hash_slot *slots; // open addressing; ino 0: free
    size_t count, n_slots;
} serve_hash_cache;
#define SERVE_HASH_CACHE_INIT                                                                      \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0                                                      \
    }

// Of the file open at fd, whose stamp is `stamp`; `path` names it in messages. Error: KN_ERR_CONFLICT: it changed meanwhile;
// KN_ERR_IO. Threads: any.
kn_status serve_hash(serve_hash_cache *cache, int fd, const char *path, const serve_stamp *stamp,
                     bool with_blob, serve_hashes *out, kn_error *err);
void serve_hash_cache_dispose(serve_hash_cache *cache);

void serve_hex(const unsigned char *bytes, size_t size, char *out); // 2 * size + 1 bytes
void serve_sha1(const void *data, size_t size, char out[SERVE_SHA1_SIZE]);
// SHA-1 of `size` bytes as git names an object of that kind: "blob", "tree".
void serve_git_object(const char *kind, const void *data, size_t size, char out[SERVE_SHA1_SIZE]);

#endif
