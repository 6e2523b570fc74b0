// A cache directory with the layout of huggingface_hub, shared with it: refs, snapshots, blobs, locks. Nothing is taken from it
// without looking: names, links and types are those that the layout has, each hop is opened without following.
#ifndef KNI_HUB_CACHE_H
#define KNI_HUB_CACHE_H

#include "base/fs.h"
#include "hub/answer.h"
#include "hub/repo.h"

typedef struct kni_cache kni_cache;

// dir: absolute. Touches no disk. is_site: never written to.
kn_status kni_cache_new(const char *dir, bool is_site, bool without_symlinks, kni_cache **out,
                        kn_error *err);
void kni_cache_free(kni_cache *cache);
const char *kni_cache_dir(const kni_cache *cache);
bool kni_cache_is_site(const kni_cache *cache);

// Is there a folder of the repository?
bool kni_cache_has_repo(const kni_cache *cache, const kni_repo *repo);

// The commit of refs/<ref>, stripped. Error: KN_ERR_NOT_FOUND; KN_ERR_FORMAT (no commit in it); KN_ERR_UNTRUSTED (links); KN_ERR_IO.
kn_status kni_cache_read_ref(const kni_cache *cache, const kni_repo *repo, const char *ref,
                             char commit[KNI_COMMIT_SIZE], kn_error *err);
// All refs whose snapshot is there, sorted. Names below refs/refs/ are given as "refs/…". An absent repository has none.
kn_status kni_cache_list_refs(const kni_cache *cache, const kni_repo *repo, kni_ref_list *out,
                              kn_error *err);
// Writes refs/<ref>: the commit, no newline, by rename, only when it changes. Written last, after the snapshot: KN_ERR_NOT_FOUND when
// there is none, since huggingface_hub calls a repository corrupt whose ref has no snapshot. Error: also as kni_cache_writer_open.
kn_status kni_cache_write_ref(kni_cache *cache, const kni_repo *repo, const char *ref,
                              const char *commit, kn_error *err);

// The commits whose snapshots are there and start with `prefix` ("" for all).
kn_status kni_cache_list_commits(const kni_cache *cache, const kni_repo *repo, const char *prefix,
                                 kni_names *out, kn_error *err);

// The variants of a snapshot that are whole: metadata.json is there, and with it every file that its digest block lists; without such
// a block every file that trees/<commit>.json (a hint of huggingface_hub) lists for it, when there is one.
// may_lack_metadata: those of the first era too, which have Python to import and no metadata.json, and of which nothing tells whether they
// are whole but that hint. For when nobody can be asked.
kn_status kni_cache_list_variants(const kni_cache *cache, const kni_repo *repo, const char *commit,
                                  bool may_lack_metadata, kni_names *out, kn_error *err);
// Error: KN_ERR_NO_MEMORY alone.
kn_status kni_cache_has_variant(const kni_cache *cache, const kni_repo *repo, const char *commit,
                                const char *variant, bool may_lack_metadata, bool *yes,
                                kn_error *err);

// The absolute directory snapshots/<commit>/<path>, the caller's. KN_ERR_NOT_FOUND when it is not there.
kn_status kni_cache_directory(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, char **out, kn_error *err);

// Reads a small file of a snapshot. Its content is checked against the blob's name when it is a link. KN_ERR_NOT_FOUND.
kn_status kni_cache_read_file(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, kni_buf *out, kn_error *err);

// A file of a snapshot as it is on this disk: a regular file, or a link of exactly the layout's form to a regular file in blobs/ (or, where
// the shared store's marker says so, through it). fd is open for reading; blob is the name, "" for a regular file.
typedef struct kni_cached_file {
    int fd;
    char blob[KNI_SHA256_SIZE];
} kni_cached_file;
kn_status kni_cache_open_file(const kni_cache *cache, const kni_repo *repo, const char *commit,
                              const char *path, kni_cached_file *out, kn_error *err);

// Does the content of an open file hash to a blob's name: git's SHA-1 (40 digits) or SHA-256 (64)?
kn_status kni_blob_check(int fd, const char *blob, const char *subject, kn_error *err);

// For `kernels cache`: what is in a cache directory. Foreign folders are left out.
typedef struct kni_cache_item {
    kni_repo repo;
    char commit
        [KNI_COMMIT_SIZE]; // "": blobs that no snapshot names, after the repository's snapshots
    kni_names refs;
    kni_names variants;
    uint64_t size_bytes;   // of the blobs that its files name, each once
    uint64_t unique_bytes; // of those that no other snapshot of the repository names
    uint64_t new_bytes;    // of those that no item before it names
    int64_t modified;      // seconds since the epoch
} kni_cache_item;
typedef struct kni_cache_items {
    kni_cache_item *items;
    size_t count;
    size_t capacity;
} kni_cache_items;
kn_status kni_cache_scan(const kni_cache *cache, kni_cache_items *out, kn_error *err);
void kni_cache_items_dispose(kni_cache_items *items);
// Removes a snapshot, its refs and the blobs that no other snapshot names (never of the shared store); the repository's folder when it
// was the last. By rename first, so that a reader sees all of it or nothing. *freed: bytes. commit "": blobs that no snapshot names, if any.
kn_status kni_cache_remove(kni_cache *cache, const kni_repo *repo, const char *commit,
                           uint64_t *freed, kn_error *err);

#endif
