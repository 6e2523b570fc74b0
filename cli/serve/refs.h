// Names of branches, tags and the like, and the directories that stand for them.
#ifndef SERVE_REFS_H
#define SERVE_REFS_H

#include <stdbool.h>

#include "snapshot.h"

// X(kind, directory, what stands before the name in full, key in the answer)
#define SERVE_REF_KIND_LIST(X)                                                                     \
    X(SERVE_BRANCH, "branches", "refs/heads/", "branches")                                         \
    X(SERVE_TAG, "tags", "refs/tags/", "tags")                                                     \
    X(SERVE_CONVERT, "converts", "refs/convert/", "converts")                                      \
    X(SERVE_PULL, "pulls", "refs/pr/", "pullRequests")

typedef enum serve_ref_kind {
#define SERVE_REF_KIND_ENUM(kind, dir, full, key) kind,
    SERVE_REF_KIND_LIST(SERVE_REF_KIND_ENUM)
#undef SERVE_REF_KIND_ENUM
        SERVE_REF_KINDS
} serve_ref_kind;

extern const char *const serve_ref_dirs[SERVE_REF_KINDS];
extern const char *const serve_ref_full[SERVE_REF_KINDS];
extern const char *const serve_ref_keys[SERVE_REF_KINDS];

typedef struct serve_ref {
    serve_ref_kind kind;
    char *name;               // "v1", "feature/x"
    char *dir;                // below the root
    serve_snapshot *snapshot; // as it was last read; NULL: not yet
} serve_ref;

typedef struct serve_refs {
    serve_ref *items;
    size_t count;
} serve_refs;

// Reads which refs a repository's directory has, sorted by kind and name. What is known of those that stay is kept.
// Names that no ref may have are passed over. Error: KN_ERR_IO.
kn_status serve_refs_read(serve_refs *refs, int root, const char *repo_dir, kn_error *err);
void serve_refs_dispose(serve_refs *refs);

// "v1", "refs/tags/v1": a branch before a tag of the same name. NULL: there is none.
serve_ref *serve_refs_find(serve_refs *refs, const char *revision);

// Owned; takes name and dir over.
void serve_refs_add(serve_refs *refs, serve_ref_kind kind, char *name, char *dir);

#endif
