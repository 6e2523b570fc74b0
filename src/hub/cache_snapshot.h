// Inside the cache: a snapshot that is open, and one file of it looked at hop by hop.
#ifndef KNI_HUB_CACHE_SNAPSHOT_H
#define KNI_HUB_CACHE_SNAPSHOT_H

#include "hub/cache_at.h"

typedef struct kni_snapshot {
    kni_at root;   // of the cache
    kni_at folder; // of the repository
    kni_at dir;    // snapshots/<commit>
    kni_at blobs;  // fd -1: there is none (no symlinks)
} kni_snapshot;

#define KNI_SNAPSHOT_NONE ((kni_snapshot){KNI_AT_NONE, KNI_AT_NONE, KNI_AT_NONE, KNI_AT_NONE})

kn_status kni_snapshot_open(const kni_cache *cache, const kni_repo *repo, const char *commit,
                            kni_snapshot *out, kn_error *err);
// One that may be missing: KN_OK and dir.fd -1 then.
kn_status kni_snapshot_open_if(const kni_cache *cache, const kni_repo *repo, const char *commit,
                               kni_snapshot *out, kn_error *err);
void kni_snapshot_close(kni_snapshot *snapshot);

// "../" × (levels + 2), then "blobs/<blob>": the text of a link to a blob from `levels` directories below snapshots/<commit>.
kn_status kni_link_text(kni_buf *out, size_t levels, const char *blob, kn_error *err);
// The blob's name when the text is exactly that; false otherwise.
bool kni_link_blob(const char *text, size_t levels, char blob[KNI_SHA256_SIZE]);

// Opens blobs/<name>: a regular file, or a link of the shared store's form to a regular file in it. *is_shared says which.
// Error: KN_ERR_NOT_FOUND (also a link that leads nowhere), KN_ERR_UNTRUSTED.
kn_status kni_blob_open(const kni_at *root, const kni_at *blobs, const char *name, int *fd,
                        bool *is_shared, kn_error *err);
// The same without opening: is it there and can be read? info is the content's. Error: KN_ERR_NO_MEMORY.
kn_status kni_blob_look(const kni_at *root, const kni_at *blobs, const char *name, bool *yes,
                        struct stat *info, bool *is_shared, kn_error *err);

// The entry `name` of `at`, which is `levels` directories below snapshots/<commit>: the blob that a link of the layout's form names, ""
// for a regular file. Error: KN_ERR_NOT_FOUND, KN_ERR_UNTRUSTED.
kn_status kni_entry_blob(const kni_at *at, const char *name, size_t levels,
                         char blob[KNI_SHA256_SIZE], kn_error *err);
// kni_blob_check of bytes that were read already.
kn_status kni_blob_check_bytes(const void *data, size_t size, const char *blob, const char *subject,
                               kn_error *err);
size_t kni_path_levels(const char *path); // directories in it

kn_status kni_snapshot_file(const kni_snapshot *snapshot, const char *path, kni_cached_file *out,
                            kn_error *err);
// Is the file there in a form that can be opened? info is the content's. *dir (none at first; the caller closes it) keeps the file's
// directory for the next one. Error: KN_ERR_NO_MEMORY.
kn_status kni_snapshot_has(const kni_snapshot *snapshot, const char *path, kni_at *dir, bool *yes,
                           struct stat *info, kn_error *err);
// Reads a small file, checked against its blob's name. Also kni_cache_read_file.
kn_status kni_snapshot_read(const kni_snapshot *snapshot, const char *path, kni_buf *out,
                            kn_error *err);

// A file that a walk through a snapshot meets.
typedef struct kni_walk_file {
    char blob[KNI_SHA256_SIZE]; // "" for a regular file
    uint64_t size;              // of the content; 0 when it is gone
    bool is_shared;             // the content lies in the shared store
    int64_t modified;           // when it was put there, seconds since the epoch
} kni_walk_file;
typedef kn_status (*kni_walk_fn)(void *user, const kni_walk_file *file, kn_error *err);

// Calls for each file below a snapshot's directory; what the layout does not have is passed over. At most 100 000, 32 deep.
// Error: of the callback; KN_ERR_IO (what cannot be read), KN_ERR_UNSUPPORTED (beyond the limits), KN_ERR_NO_MEMORY.
kn_status kni_snapshot_walk(const kni_at *root, const kni_at *blobs, const kni_at *dir,
                            kni_walk_fn fn, void *user, kn_error *err);

#endif
