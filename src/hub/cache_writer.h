// Inside the cache: a writer, and the temporaries that all writing goes through.
#ifndef KNI_HUB_CACHE_WRITER_H
#define KNI_HUB_CACHE_WRITER_H

#include "hub/cache_snapshot.h"
#include "hub/cache_write.h"

struct kni_cache_writer {
    const kni_cache *cache;
    char folder_name[KNI_REPO_ID_MAX + 16];
    kni_at root;
    kni_at folder;
    kni_at blobs;
    int is_dirty; // atomic: a blob was renamed whose name may not be on the disk yet
};

#define KNI_TEMP_NAME_SIZE (KNI_SHA256_SIZE + 32)

// "<stem>.kn-<8 random hex>.incomplete".
void kni_temp_name(const char *stem, char out[KNI_TEMP_NAME_SIZE]);
bool kni_temp_is_ours(const char *name);

// Makes a temporary in blobs/ that is held by flock where there are locks. stem: a blob's or a commit's name.
kn_status kni_temp_make(const kni_cache_writer *writer, const char *stem,
                        char out[KNI_TEMP_NAME_SIZE], int *fd, kn_error *err);
// A directory of that kind, for what cannot be held by itself: a link on its way, a snapshot on its way out. kni_at_remove takes it away.
kn_status kni_temp_make_dir(const kni_cache_writer *writer, const char *stem,
                            char out[KNI_TEMP_NAME_SIZE], kni_at *dir, kn_error *err);
kn_status kni_temp_append(const kni_cache_writer *writer, int fd, const char *name,
                          const void *data, size_t size, kn_error *err);
// fdatasync, then rename to `name` of `at`; the temporary is gone in any case. fd stays the caller's.
kn_status kni_temp_place(const kni_cache_writer *writer, int fd, const char *temp, const kni_at *at,
                         const char *name, kn_error *err);

// Removes the file of a lock that is held (fd -1: there is none) and unlocks. Who waits for it looks whether the file is still there.
void kni_lock_remove(const kni_cache_writer *writer, const char *blob, kni_blob_lock *lock);
void kni_locks_remove(const kni_cache_writer *writer); // the directory, when it is empty

// Are the names of the blobs on the disk? Before something names them.
kn_status kni_writer_sync(kni_cache_writer *writer, kn_error *err);

#endif
