// The digest block of metadata.json: which files a package has, and their hashes. It is the package's own word: it catches
// damage, not malice.
#ifndef KNI_PACKAGE_DIGEST_BLOCK_H
#define KNI_PACKAGE_DIGEST_BLOCK_H

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"

typedef struct kni_digest_file {
    char *path; // relative to the package
    kni_digest digest;
} kni_digest_file;

typedef struct kni_digest_block {
    bool present;
    kni_digest_algorithm algorithm;
    kni_digest_file *files; // sorted bytewise by path
    size_t n_files;
} kni_digest_block;

// Reads the object of the key "digest"; `name` is the metadata file, for errors.
kn_status kni_digest_block_parse(const json_t *object, const char *name, kni_digest_block *out,
                                 kn_error *err);
void kni_digest_block_dispose(kni_digest_block *block);

// Files that a block never lists: the top-level metadata.json and its signature, and Python's byte code. They are never read
// as code.
bool kni_digest_block_leaves_out(const char *path);

// The listed digest of a file; NULL when it is not listed.
const kni_digest *kni_digest_block_find(const kni_digest_block *block, const char *path);

// Are the files that are present (sorted, as kni_tree_list gives them) exactly those that are listed?
// Error: KN_ERR_UNTRUSTED, naming the first that is missing or not listed.
kn_status kni_digest_block_check_names(const kni_digest_block *block, const kni_names *present,
                                       kn_error *err);

// Is a file, whose digest by the block's algorithm this is, what the block says? Error: KN_ERR_UNTRUSTED with both digests.
kn_status kni_digest_block_check_digest(const kni_digest_block *block, const char *path,
                                        const kni_digest *found, kn_error *err);

#endif
