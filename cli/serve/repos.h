// What is served: repositories, found anew on disk at every request, and what a revision means in them.
#ifndef SERVE_REPOS_H
#define SERVE_REPOS_H

#include <pthread.h>

#include "../options.h"
#include "refs.h"

// A directory of the command line.
typedef struct serve_root {
    char *dir;
    int fd;
    char *package; // its name below "local", when it is one package; NULL: a tree of repositories
    const char
        *prefix; // of a package's files: "build/" when its variants lie in the directory itself
} serve_root;

typedef struct serve_repo {
    const serve_root *root;
    char *type, *owner, *name; // type: "kernels" or "models"
    char *dir;                 // below the root
    pthread_mutex_t
        reading; // held while refs are read from disk, which may take long; taken before lock
    pthread_mutex_t lock; // of refs, for a moment
    serve_refs refs;
    struct serve_repo *next;
} serve_repo;

typedef struct serve_repos {
    serve_root *roots;
    size_t n_roots;
    uint64_t large_bytes;
    serve_hash_cache hashes;
    pthread_mutex_t lock; // of first
    serve_repo *first;
} serve_repos;

// One part of a repository's name, by the hub's rule; ASCII alone.
bool serve_is_repo_part(const char *part);

// Error: KN_ERR_NOT_FOUND, KN_ERR_FORMAT: neither a tree nor a package; KN_ERR_UNSUPPORTED: no openat2.
// Before all others.
kn_status serve_repos_add_root(serve_repos *repos, const char *dir, kn_error *err);
void serve_repos_dispose(serve_repos *repos);

// NULL: there is none. Borrowed until serve_repos_dispose. Threads: any; so for all below.
serve_repo *serve_repos_find(serve_repos *repos, const char *type, const char *owner,
                             const char *name);
// The owner's name as it is written on disk, whatever the case of `owner`; NULL: nothing of it is here. free() it.
char *serve_repos_owner(serve_repos *repos, const char *owner);

// A ref as it is now; the snapshot is a reference of its own.
typedef struct serve_found {
    serve_snapshot *snapshot;
    serve_place place;
    char *dir, *title; // behind place
} serve_found;

// What a revision stands for: a branch, a tag, a full ref, a commit or the beginning of one. may_be_old: a full commit that is known
// may be taken from memory, since opening its files tells whether they are as they were.
// Error: KN_ERR_NOT_FOUND, KN_ERR_IO and others of serve_snapshot_read.
kn_status serve_repo_at(serve_repos *repos, serve_repo *repo, const char *revision, bool may_be_old,
                        serve_found *out, kn_error *err);
// What a repository is without a revision: main, else its first branch, else its first tag.
kn_status serve_repo_head(serve_repos *repos, serve_repo *repo, serve_found *out, kn_error *err);
void serve_found_dispose(serve_found *found);

// All refs with their snapshots; out is the caller's to dispose.
kn_status serve_repo_refs(serve_repos *repos, serve_repo *repo, serve_refs *out, kn_error *err);

#endif
