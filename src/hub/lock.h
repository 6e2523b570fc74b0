// Lock files: kernels.lock in both of the peer's formats, and the content hashes beside it, *.lock.sums. Pure but for _read; fuzzed.
//
// Errors name the file and the JSON path. KN_ERR_FORMAT, KN_ERR_NOT_FOUND (no file), KN_ERR_IO, KN_ERR_NO_MEMORY.
#ifndef KNI_HUB_LOCK_H
#define KNI_HUB_LOCK_H

#include <stdint.h>

#include "hub/repo.h"

// --- kernels.lock ---
// Hashed:  [{"repo_id", "sha", "variants": {name: {"hash": "sha256-<hex>", "hash_type": "git_lfs_concat"}}}], indent 2, no final newline.
// Commits: [{"dependency": {"repo-id", "version" | "revision"}, "lock": {"commit"}}].
typedef struct kni_lock_hash {
    char *variant;
    char sha256[KNI_SHA256_SIZE];
} kni_lock_hash;

typedef struct kni_lock_entry {
    char *repo_id;
    char commit[KNI_COMMIT_SIZE];
    kni_lock_hash *hashes; // hashed form, in the file's order
    size_t n_hashes;
    bool is_hashed;  // read as such, though there be no hash
    int64_t version; // commit form: N; -1: none
    char *revision;  // commit form; NULL: none
} kni_lock_entry;

#define KNI_LOCK_ENTRIES_MAX 4096

typedef struct kni_lock {
    bool is_hashed;
    kni_lock_entry *
        entries; // in the file's order. Hashed: no repository twice; else no repository twice with the same wish
    size_t count;
} kni_lock;

kn_status kni_lock_parse(const char *text, size_t size, const char *name, kni_lock *out,
                         kn_error *err);
kn_status kni_lock_read(const char *path, kni_lock *out, kn_error *err);
// As the peer writes it (commits: ordered by what is locked); the caller's, NULL without memory.
char *kni_lock_text(const kni_lock *lock);
void kni_lock_dispose(kni_lock *lock);
void kni_lock_entry_dispose(kni_lock_entry *entry);
kn_status kni_lock_entry_copy(const kni_lock_entry *from, kni_lock_entry *out, kn_error *err);
const kni_lock_entry *kni_lock_find(const kni_lock *lock,
                                    const char *repo_id); // the first, as the peer
const kni_lock_hash *kni_lock_find_hash(const kni_lock_entry *entry, const char *variant);

// The peer's hash of a variant: SHA-256 over, for each file in bytewise order of its path in the variant, the path and the raw object id
// (20 bytes of git's SHA-1, 32 of SHA-256 for large files). *.pyc and __pycache__ are left out.
typedef struct kni_lock_file {
    const char *path; // relative to the variant
    const char *blob; // 40 or 64 hexadecimal digits
} kni_lock_file;
kn_status kni_lock_hash_files(const kni_lock_file *files, size_t n, char sha256[KNI_SHA256_SIZE],
                              kn_error *err);

// --- *.lock.sums ---
// {"format": "kernels.lock.sums", "version": 1, "source": "pyproject.toml" | "kernels.toml",
//  "kernels": [{"repo_id", "repo_type", "version" | "revision" (as it is asked for; neither: main), "ref", "commit",
//               "variants": {name: {"manifest": "<sha256>", "files": {path: {"sha256", "size"}}}}}]}
typedef struct kni_sum_file {
    char *path;
    char sha256[KNI_SHA256_SIZE];
    uint64_t size;
} kni_sum_file;

typedef struct kni_sum_variant {
    char *name;
    char manifest
        [KNI_SHA256_SIZE]; // SHA-256 of the lines "<sha256> <size> <path>\n" in bytewise order of the paths
    kni_sum_file *files; // sorted by path; every file of the variant, metadata.json among them
    size_t n_files;
} kni_sum_variant;

typedef struct kni_sum_kernel {
    kni_repo repo;
    char *version;  // as it is asked for; NULL
    char *revision; // as it is asked for; NULL
    char *ref;      // what it was when it was locked: "v0.0.5"; "" for a commit
    char commit[KNI_COMMIT_SIZE];
    kni_sum_variant *variants; // sorted by name
    size_t n_variants;
} kni_sum_kernel;

typedef struct kni_sums {
    char *source;
    kni_sum_kernel *kernels;
    size_t count;
} kni_sums;

kn_status kni_sums_parse(const char *text, size_t size, const char *name, kni_sums *out,
                         kn_error *err); // a manifest that its files do not give is an error
kn_status kni_sums_read(const char *path, kni_sums *out, kn_error *err);
char *kni_sums_text(const kni_sums *sums); // indent 2 and a final newline
void kni_sums_dispose(kni_sums *sums);
void kni_sum_kernel_dispose(kni_sum_kernel *kernel);
kn_status kni_sum_kernel_copy(const kni_sum_kernel *from, kni_sum_kernel *out, kn_error *err);
// By what is asked for; NULL version and revision: main. NULL: not there.
const kni_sum_kernel *kni_sums_find(const kni_sums *sums, const char *repo_id, const char *version,
                                    const char *revision);
const kni_sum_variant *kni_sum_find_variant(const kni_sum_kernel *kernel, const char *variant);
const kni_sum_file *kni_sum_find_file(const kni_sum_variant *variant, const char *path);
// files: sorted by path.
kn_status kni_sum_manifest(const kni_sum_file *files, size_t n, char sha256[KNI_SHA256_SIZE],
                           kn_error *err);

// [tool.kernels.dependencies] of a pyproject.toml, in its order. A table with strings and integers is an error; so is no table. An
// empty one is none: count 0, specifiers. Errors name the file and the line.
typedef struct kni_dependency {
    char *repo_id;
    char *specifier; // NULL: an integer. Checked: a version specifier
    int64_t version; // -1: a specifier
} kni_dependency;
typedef struct kni_dependencies {
    kni_dependency *items;
    size_t count;
    bool are_specifiers;
} kni_dependencies;
kn_status kni_dependencies_parse(const char *text, size_t size, const char *name,
                                 kni_dependencies *out, kn_error *err);
kn_status kni_dependencies_read(const char *path, kni_dependencies *out, kn_error *err);
void kni_dependencies_dispose(kni_dependencies *dependencies);

#endif
