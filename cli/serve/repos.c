#include "repos.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../output.h"
#include "beneath.h"

enum {
    NAME_SIZE_MAX = 96,
    COMMIT_SIZE = 40,
    SHORT_COMMIT_MIN = 7,
};

bool serve_is_repo_part(const char *part)
{
    const size_t size = strlen(part);
    if (size == 0 || size > NAME_SIZE_MAX || strstr(part, "..") || strstr(part, "--"))
        return false;
    for (size_t i = 0; i < size; ++i) {
        const bool is_word = isalnum((unsigned char)part[i]) || part[i] == '_';
        if (!is_word && (i == 0 || i == size - 1 || (part[i] != '-' && part[i] != '.')))
            return false;
    }
    return true;
}

static bool has_dir(const serve_root *root, const char *path)
{
    const int fd = serve_open_beneath(root->fd, path, O_PATH | O_DIRECTORY);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

// The directory of a repository below the root; NULL: it is not there. free() it.
static char *repo_dir(const serve_root *root, const char *type, const char *owner, const char *name)
{
    if (root->package) {
        const bool is_it = strcmp(type, "kernels") == 0 && strcmp(owner, "local") == 0 &&
                           strcmp(name, root->package) == 0;
        return is_it ? cli_format(".") : NULL;
    }
    char *dir = cli_format("%s/%s/%s", type, owner, name);
    if (has_dir(root, dir))
        return dir;
    free(dir);
    return NULL;
}

serve_repo *serve_repos_find(serve_repos *repos, const char *type, const char *owner,
                             const char *name)
{
    char *dir = NULL;
    const serve_root *root = NULL;
    if (!serve_is_repo_part(owner) || !serve_is_repo_part(name))
        return NULL;
    for (size_t i = 0; !dir && i < repos->n_roots; ++i) {
        root = &repos->roots[i];
        dir = repo_dir(root, type, owner, name);
    }
    if (!dir)
        return NULL;
    pthread_mutex_lock(&repos->lock);
    serve_repo *repo = repos->first;
    while (repo && (repo->root != root || strcmp(repo->type, type) != 0 ||
                    strcmp(repo->owner, owner) != 0 || strcmp(repo->name, name) != 0))
        repo = repo->next;
    if (!repo) {
        repo = cli_alloc(sizeof(*repo));
        *repo = (serve_repo){.root = root,
                             .type = cli_format("%s", type),
                             .owner = cli_format("%s", owner),
                             .name = cli_format("%s", name),
                             .dir = dir,
                             .next = repos->first};
        pthread_mutex_init(&repo->reading, NULL);
        pthread_mutex_init(&repo->lock, NULL);
        repos->first = repo;
        dir = NULL;
    }
    pthread_mutex_unlock(&repos->lock);
    free(dir);
    return repo;
}

static kn_status list_refs(serve_repo *repo, kn_error *err)
{
    kn_status st = KN_OK;
    pthread_mutex_lock(&repo->lock);
    if (!repo->root->package)
        st = serve_refs_read(&repo->refs, repo->root->fd, repo->dir, err);
    else if (repo->refs.count == 0)
        serve_refs_add(&repo->refs, SERVE_BRANCH, cli_format("main"), cli_format("."));
    pthread_mutex_unlock(&repo->lock);
    return st;
}

static char *ref_title(const serve_repo *repo, const serve_ref *ref)
{
    return cli_format("%s/%s/%s", repo->root->dir, ref->dir, repo->root->prefix);
}

static kn_status read_ref(serve_repos *repos, serve_repo *repo, serve_ref *ref, kn_error *err)
{
    char *title = ref_title(repo, ref);
    const serve_place place = {repo->root->fd, ref->dir, repo->root->prefix, title};
    serve_snapshot *now = NULL;
    const kn_status st =
        serve_snapshot_read(&place, &repos->hashes, repos->large_bytes, ref->snapshot, &now, err);
    if (st == KN_OK) {
        pthread_mutex_lock(&repo->lock);
        serve_snapshot_unref(ref->snapshot);
        ref->snapshot = now;
        pthread_mutex_unlock(&repo->lock);
    }
    free(title);
    return st;
}

static void give(const serve_repo *repo, const serve_ref *ref, serve_found *out)
{
    out->snapshot = serve_snapshot_ref(ref->snapshot);
    out->dir = cli_format("%s", ref->dir);
    out->title = ref_title(repo, ref);
    out->place = (serve_place){repo->root->fd, out->dir, repo->root->prefix, out->title};
}

void serve_found_dispose(serve_found *found)
{
    serve_snapshot_unref(found->snapshot);
    free(found->dir);
    free(found->title);
    *found = (serve_found){.snapshot = NULL};
}

// The ref whose snapshot, as it was last read, has that commit.
static serve_ref *find_commit(serve_repo *repo, const char *commit, size_t size, bool *is_unique)
{
    serve_ref *found = NULL;
    *is_unique = true;
    for (size_t i = 0; i < repo->refs.count; ++i) {
        serve_ref *ref = &repo->refs.items[i];
        if (!ref->snapshot || strncmp(ref->snapshot->commit, commit, size) != 0)
            continue;
        if (!found)
            found = ref;
        else if (strcmp(found->snapshot->commit, ref->snapshot->commit) != 0)
            *is_unique = false;
    }
    return found;
}

static kn_status at_commit(serve_repos *repos, serve_repo *repo, const char *commit,
                           serve_found *out, kn_error *err)
{
    const size_t size = strlen(commit);
    bool is_unique = true;
    kn_error trouble = KN_ERROR_INIT;
    serve_ref *ref = size == COMMIT_SIZE ? find_commit(repo, commit, size, &is_unique) : NULL;
    kn_status st = ref ? read_ref(repos, repo, ref, &trouble) : KN_OK;
    if (!ref || st != KN_OK || strcmp(ref->snapshot->commit, commit) != 0) {
        // A ref that cannot be read is no matter when another has the commit.
        for (size_t i = 0; i < repo->refs.count; ++i) {
            kn_error_dispose(&trouble);
            const kn_status one = read_ref(repos, repo, &repo->refs.items[i], &trouble);
            st = st == KN_OK ? one : st;
        }
        ref = find_commit(repo, commit, size, &is_unique);
    }
    if (ref && is_unique) {
        give(repo, ref, out);
        st = KN_OK;
    } else if (ref) {
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "more than one commit begins with '%s'", commit);
    } else {
        st = kn_error_set(err, st == KN_OK ? KN_ERR_NOT_FOUND : st,
                          "there is no branch, tag or commit '%s'%s%s", commit,
                          trouble.text ? "; " : "", trouble.text ? trouble.text : "");
    }
    kn_error_dispose(&trouble);
    return st;
}

static bool is_commit(const char *revision)
{
    const size_t size = strlen(revision);
    return size >= SHORT_COMMIT_MIN && size <= COMMIT_SIZE &&
           strspn(revision, "0123456789abcdef") == size;
}

static kn_status at_ref(serve_repos *repos, serve_repo *repo, serve_ref *ref, serve_found *out,
                        kn_error *err)
{
    const kn_status st = read_ref(repos, repo, ref, err);
    if (st == KN_OK)
        give(repo, ref, out);
    return st;
}

// A full commit that was seen before, without a look at the disk.
static bool remembered(serve_repo *repo, const char *revision, serve_found *out)
{
    bool is_unique;
    if (!is_commit(revision) || strlen(revision) != COMMIT_SIZE)
        return false;
    pthread_mutex_lock(&repo->lock);
    const serve_ref *ref = find_commit(repo, revision, COMMIT_SIZE, &is_unique);
    if (ref)
        give(repo, ref, out);
    pthread_mutex_unlock(&repo->lock);
    return ref != NULL;
}

kn_status serve_repo_at(serve_repos *repos, serve_repo *repo, const char *revision, bool may_be_old,
                        serve_found *out, kn_error *err)
{
    *out = (serve_found){.snapshot = NULL};
    if (may_be_old && remembered(repo, revision, out))
        return KN_OK;
    pthread_mutex_lock(&repo->reading);
    kn_status st = list_refs(repo, err);
    if (st == KN_OK) {
        serve_ref *ref = serve_refs_find(&repo->refs, revision);
        if (ref)
            st = at_ref(repos, repo, ref, out, err);
        else if (is_commit(revision))
            st = at_commit(repos, repo, revision, out, err);
        else
            st = kn_error_set(err, KN_ERR_NOT_FOUND, "there is no branch or tag '%s'", revision);
    }
    pthread_mutex_unlock(&repo->reading);
    return st;
}

kn_status serve_repo_head(serve_repos *repos, serve_repo *repo, serve_found *out, kn_error *err)
{
    *out = (serve_found){.snapshot = NULL};
    pthread_mutex_lock(&repo->reading);
    kn_status st = list_refs(repo, err);
    if (st == KN_OK) {
        serve_ref *ref = serve_refs_find(&repo->refs, "main");
        if (!ref && repo->refs.count > 0)
            ref = &repo->refs.items[0];
        st = ref ? at_ref(repos, repo, ref, out, err)
                 : kn_error_set(err, KN_ERR_NOT_FOUND, "the repository has no branch and no tag");
    }
    pthread_mutex_unlock(&repo->reading);
    return st;
}

kn_status serve_repo_refs(serve_repos *repos, serve_repo *repo, serve_refs *out, kn_error *err)
{
    *out = (serve_refs){NULL, 0};
    pthread_mutex_lock(&repo->reading);
    kn_status st = list_refs(repo, err);
    for (size_t i = 0; st == KN_OK && i < repo->refs.count; ++i) {
        serve_ref *ref = &repo->refs.items[i];
        st = read_ref(repos, repo, ref, err);
        if (st == KN_ERR_NOT_FOUND) { // removed since it was listed
            kn_error_dispose(err);
            st = KN_OK;
            continue;
        }
        if (st != KN_OK)
            break;
        serve_refs_add(out, ref->kind, cli_format("%s", ref->name), cli_format("%s", ref->dir));
        out->items[out->count - 1].snapshot = serve_snapshot_ref(ref->snapshot);
    }
    pthread_mutex_unlock(&repo->reading);
    if (st != KN_OK)
        serve_refs_dispose(out);
    return st;
}
