// What a ref holds at one moment: its files with their hashes, and the commit that stands for them. Never changes once made.
#ifndef SERVE_SNAPSHOT_H
#define SERVE_SNAPSHOT_H

#include <stdatomic.h>
#include <stddef.h>

#include "hash.h"

// Where the files of a ref lie.
typedef struct serve_place {
    int root;           // what is served; nothing outside of it is read
    const char *dir;    // below root; "." is root itself
    const char *prefix; // stands before every path that clients see and not on disk: "" or "build/"
    const char *title;  // for messages
} serve_place;

typedef struct serve_entry {
    char *path;
    bool is_dir, is_executable;
    bool is_lfs; // git would hold a pointer: `oid` is the pointer's
    serve_stamp stamp;
    size_t pointer_size;
    char oid[SERVE_SHA1_SIZE]; // of git's blob or tree
    char sha256[SERVE_SHA256_SIZE];
} serve_entry;

typedef struct serve_snapshot {
    atomic_size_t refs;
    serve_entry *entries; // files and directories; a directory stands before what is in it
    size_t count;
    bool is_settled;
    int64_t modified_ns; // of the newest file
    char commit[SERVE_SHA1_SIZE];
} serve_snapshot;

// Reads a ref. When it is as in `last` (may be NULL), a reference to that is returned, and no file is read.
// large_bytes: files of this size and above, and shared objects, count as LFS files.
// Error: KN_ERR_NOT_FOUND, KN_ERR_IO, KN_ERR_UNSUPPORTED (too many files), KN_ERR_CONFLICT (files keep changing).
kn_status serve_snapshot_read(const serve_place *place, serve_hash_cache *cache,
                              uint64_t large_bytes, serve_snapshot *last, serve_snapshot **out,
                              kn_error *err);

serve_snapshot *serve_snapshot_ref(serve_snapshot *snapshot);
void serve_snapshot_unref(serve_snapshot *snapshot); // NULL is fine

// By path; "" and what does not exist give NULL.
const serve_entry *serve_snapshot_find(const serve_snapshot *snapshot, const char *path);
// The entries [*begin, *end) below a directory; "" is the whole. False: there is no such directory.
bool serve_snapshot_below(const serve_snapshot *snapshot, const char *dir, size_t *begin,
                          size_t *end);

// Opens a file of a snapshot that is still as it was then: -1 with errno, ESTALE when it is not.
int serve_snapshot_open(const serve_place *place, const serve_entry *entry);

#endif
