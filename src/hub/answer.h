// What a hub answers, read as hostile bytes: every name in it is checked before it gets out of here. Pure; fuzzed.
//
// `name` begins the errors: the URL without its query. Errors: KN_ERR_FORMAT (the JSON path, what came, what is accepted),
// KN_ERR_UNTRUSTED (a hostile path, commit or object id), KN_ERR_NO_MEMORY.
#ifndef KNI_HUB_ANSWER_H
#define KNI_HUB_ANSWER_H

#include <stdint.h>

#include "hub/repo.h"

// Ceilings of an answer's size.
#define KNI_ANSWER_MAX ((size_t)1 << 20)
#define KNI_REFS_MAX ((size_t)16 << 20)
#define KNI_TREE_PAGE_MAX ((size_t)8 << 20)
#define KNI_TREE_PAGES_MAX 1000
#define KNI_TREE_FILES_MAX 100000

typedef struct kni_ref {
    char *name; // "v0.0.5", passes kni_ref_check
    char commit[KNI_COMMIT_SIZE];
} kni_ref;

typedef struct kni_ref_list {
    kni_ref *refs; // sorted by name, no name twice
    size_t count;
    size_t capacity;
} kni_ref_list;

typedef struct kni_refs {
    kni_ref_list branches;
    kni_ref_list tags;
} kni_refs;

// GET /api/{type}s/{id}/refs. Refs whose names are not allowed are left out (they cannot be asked for); a bad commit is an error.
kn_status kni_refs_parse(const char *text, size_t size, const char *name, kni_refs *out,
                         kn_error *err);
void kni_refs_dispose(kni_refs *refs);
const kni_ref *kni_ref_list_find(const kni_ref_list *list, const char *name); // NULL: not there
// Adds to the end, for a list that is not from an answer; kni_ref_list_sort afterwards.
kn_status kni_ref_list_add(kni_ref_list *list, const char *name, const char *commit, kn_error *err);
void kni_ref_list_sort(kni_ref_list *list);
void kni_ref_list_dispose(
    kni_ref_list *list); // of one's own; kni_refs_dispose does both of an answer

// GET /api/{type}s/{id}[/revision/{rev}]: the commit in `sha`. wanted: NULL, or the commit (also abbreviated) that it must start with.
kn_status kni_info_parse(const char *text, size_t size, const char *name, const char *wanted,
                         char commit[KNI_COMMIT_SIZE], kn_error *err);

typedef struct kni_tree_file {
    char *path; // passes kni_path_check_relative
    uint64_t size;
    char oid[KNI_SHA1_SIZE]; // git's blob id of what git stores; "" when it is masked
    char sha256
        [KNI_SHA256_SIZE]; // of the content of a large file; "" for a file that git itself stores
    bool is_large;         // has an `lfs` member (whose oid may be masked)
} kni_tree_file;

typedef struct kni_tree {
    kni_tree_file *files; // sorted bytewise by path after kni_tree_finish
    size_t count;
    size_t capacity;
} kni_tree;

// One page of GET /api/{type}s/{id}/tree/{rev}/{path}?recursive=true, added to *out. Directories are left out. On failure *out keeps
// what it had. under: "build" or "build/<variant>": every path must lie below it.
kn_status kni_tree_add_page(kni_tree *out, const char *text, size_t size, const char *name,
                            const char *under, kn_error *err);
// Sorts; a path twice, or one that is a file and a directory, is an error.
kn_status kni_tree_finish(kni_tree *tree, const char *name, kn_error *err);
void kni_tree_dispose(kni_tree *tree);
// The blob's name: sha256 of a large file, else oid; "" when it is not known.
const char *kni_tree_file_blob(const kni_tree_file *file);

// The URL with rel="next" of a Link header, the caller's; NULL: none. Malformed elements are skipped.
kn_status kni_link_next(const char *header, char **out, kn_error *err);

// GET /api/organizations/{name}/overview: trustedKernelPublisher; absent is false.
kn_status kni_overview_parse(const char *text, size_t size, const char *name, bool *is_trusted,
                             kn_error *err);

#define KNI_MOVED_FILE "kernel-status.toml"
// kernel-status.toml: where the repository moved.
typedef struct kni_moved {
    kni_repo to;    // type as of the repository that says so
    char *revision; // "main" unless it says another; passes kni_ref_check or is a commit
} kni_moved;
// Error: also KN_ERR_FORMAT "must contain a 'kind' field", "Unknown kernel status kind", "must contain a 'destination'".
kn_status kni_moved_parse(const char *text, size_t size, const char *name, kni_repo_type type,
                          kni_moved *out, kn_error *err);
void kni_moved_dispose(kni_moved *moved);

// A trees/{commit}.json of huggingface_hub's cache, as a hint only: the same as a tree, finished. Unknown versions give
// KN_ERR_UNSUPPORTED.
kn_status kni_tree_parse_cached(const char *text, size_t size, const char *name, kni_tree *out,
                                kn_error *err);

// The message in a failed answer's body: `error` (a string or a list), `error_description`, errors[].message; else text that is no
// HTML, cut at 500 bytes. "" when it says nothing. The caller's; NULL without memory.
char *kni_error_body(const char *text, size_t size);

// The paths of the digest block of a metadata.json: the files that a whole variant has. count 0 and KN_OK: it has no such block.
struct kni_names;
kn_status kni_digest_paths_parse(const char *text, size_t size, const char *name,
                                 struct kni_names *out, kn_error *err);

#endif
