// The writing side of a cache: what a download puts into it. Everything is written aside and renamed, so that a reader (ours, or
// huggingface_hub) sees a whole file or none, whatever moment the writer dies at.
//
// Temporaries lie in {folder}/blobs as "{blob}.kn-{8 hex}.incomplete", held by flock while they are written: blobs, but also refs and (in
// a directory, since a link cannot be held) links on their way to refs/ and snapshots/, where a stranger would be taken for a ref or a
// file. kni_cache_sweep removes those whose writer died.
#ifndef KNI_HUB_CACHE_WRITE_H
#define KNI_HUB_CACHE_WRITE_H

#include "hub/cache.h"

// A repository's folder, open for writing. Threads: any, each blob by one at a time.
typedef struct kni_cache_writer kni_cache_writer;

// Makes the cache directory, CACHEDIR.TAG and {folder}/blobs where they are missing. The cache outlives the writer.
// Error: KN_ERR_IO (no space, read only, another user's: the path and what to do), KN_ERR_UNTRUSTED (a link where the layout has a
// directory), KN_ERR_INVALID (a site's cache).
kn_status kni_cache_writer_open(kni_cache *cache, const kni_repo *repo, kni_cache_writer **out,
                                kn_error *err);
void kni_cache_writer_close(kni_cache_writer *writer);

// Is blobs/{blob} there with this size: a regular file, or a link of the right form into the shared store? One that is there in
// another form counts as missing: kni_cache_commit_blob replaces it.
bool kni_cache_has_blob(const kni_cache_writer *writer, const char *blob, uint64_t size);
// Has the snapshot this file already: a link to that blob, which is there with this size; or (no symlinks) a regular file that hashes
// to it?
bool kni_cache_has_file(const kni_cache_writer *writer, const char *commit, const char *path,
                        const char *blob, uint64_t size);

// A blob on its way in.
typedef struct kni_blob_file {
    int fd;        // of the temporary: read and write, close-on-exec; -1: none
    uint64_t size; // bytes in it
    char blob[KNI_SHA256_SIZE];
    char name[KNI_SHA256_SIZE + 32]; // of the temporary
} kni_blob_file;

#define KNI_BLOB_FILE_INIT ((kni_blob_file){.fd = -1})

// Makes the temporary and reserves size bytes on the disk where the file system can (0: not known), so that a full disk is found before
// the download. Its length stays that of what was appended. blob: passes kni_is_object_id, else KN_ERR_UNTRUSTED.
kn_status kni_cache_begin_blob(kni_cache_writer *writer, const char *blob, uint64_t size,
                               kni_blob_file *out, kn_error *err);
kn_status kni_cache_append_blob(kni_cache_writer *writer, kni_blob_file *file, const void *data,
                                size_t size, kn_error *err);
// Forgets what was appended: the body starts again.
kn_status kni_cache_restart_blob(kni_cache_writer *writer, kni_blob_file *file, kn_error *err);
// The caller has checked the content against the blob's name: fdatasync, then rename. Mode 0666 & ~umask. *file is closed in any case;
// on failure the temporary is gone.
kn_status kni_cache_commit_blob(kni_cache_writer *writer, kni_blob_file *file, kn_error *err);
void kni_cache_abandon_blob(kni_cache_writer *writer,
                            kni_blob_file *file); // fine for one with fd -1
// All of that for content that is in memory and was checked. A blob that is there already is left alone.
kn_status kni_cache_put_blob(kni_cache_writer *writer, const char *blob, const void *data,
                             size_t size, kn_error *err);

// Puts a file into the snapshot: a link to the blob, by rename, with its directories. What is there in another form is replaced, the
// right one is left alone. Where links cannot be made (or without_symlinks), the blob is moved there when may_move (this run downloaded
// it, and no file after this one needs it), else copied. Error: KN_ERR_NOT_FOUND: the blob is gone (somebody emptied the cache
// meanwhile: begin again); KN_ERR_UNTRUSTED: a link where the layout has a directory; KN_ERR_IO.
kn_status kni_cache_link_file(kni_cache_writer *writer, const char *commit, const char *path,
                              const char *blob, bool may_move, kn_error *err);

// The lock of a blob that huggingface_hub takes too: flock on .locks/{folder}/{blob}.lock. It only saves a second download.
typedef struct kni_blob_lock {
    int fd; // -1: not held
} kni_blob_lock;

#define KNI_BLOB_LOCK_INIT ((kni_blob_lock){.fd = -1})

// Never waits. KN_OK with fd -1: another process (or thread) has it. KN_ERR_UNSUPPORTED: it cannot be had here (no locks in this file
// system, read only, another user's, a link in its place): err says why, for a log line; go on without it. KN_ERR_NO_MEMORY.
kn_status kni_cache_lock_blob(const kni_cache_writer *writer, const char *blob, kni_blob_lock *out,
                              kn_error *err);
void kni_cache_unlock_blob(kni_blob_lock *lock); // fine for one with fd -1

// What others are writing for a blob: the temporaries of ours and of huggingface_hub. sum changes whenever one of them grows, comes or
// goes; largest is how far the furthest is.
void kni_cache_watch_blob(const kni_cache_writer *writer, const char *blob, uint64_t *sum,
                          uint64_t *largest);

// Removes our temporaries (by name and user) whose writer no longer lives: nobody has them locked. Where locks cannot be had, nothing.
// Never an error: what cannot be removed stays. Returns how many.
size_t kni_cache_sweep(kni_cache_writer *writer);

#endif
