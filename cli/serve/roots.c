// The directories of the command line, and whose repositories are in them.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <kernels/package.h>

#include "../output.h"
#include "beneath.h"
#include "repos.h"

static const char *const types[] = {"kernels", "models"};

static bool has_dir(int root, const char *path)
{
    const int fd = serve_open_beneath(root, path, O_PATH | O_DIRECTORY);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool has_file(int root, const char *path)
{
    const int fd = serve_open_beneath(root, path, O_PATH);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

// Is there a build variant right in it? Any directory has directories: one of these must say that it is one.
static bool has_variants(const serve_root *root)
{
    kn_listing *listing = NULL;
    bool has = false;
    if (kn_listing_open(root->dir, &listing, NULL) != KN_OK)
        return false;
    for (size_t i = 0; !has && i < kn_listing_count(listing); ++i) {
        char *path = cli_format("%s/metadata.json", kn_listing_name(listing, i));
        has = has_file(root->fd, path);
        free(path);
    }
    kn_listing_close(listing);
    return has;
}

static kn_status sort_in(serve_root *root, kn_error *err)
{
    if (has_file(root->fd, "metadata.json"))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: is one build variant; expected the package it belongs to",
                            root->dir);
    // A package may hold directories of any name; a tree has no build/.
    if (!has_dir(root->fd, "build")) {
        if (has_dir(root->fd, "kernels") || has_dir(root->fd, "models"))
            return KN_OK;
        if (!has_variants(root))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: expected a tree with kernels/ or models/ in it, or a package: "
                                "build/, or variants that have a metadata.json",
                                root->dir);
        root->prefix = "build/";
    }
    root->package = cli_format("%s", strrchr(root->dir, '/') + 1);
    if (serve_is_repo_part(root->package))
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "%s: '%s' cannot be the name of a repository: letters, digits, '_', and "
                        "between them '-' and '.'",
                        root->dir, root->package);
}

kn_status serve_repos_add_root(serve_repos *repos, const char *dir, kn_error *err)
{
    serve_root root = {.dir = realpath(dir, NULL), .fd = -1, .prefix = ""};
    kn_status st = KN_OK;
    if (root.dir)
        root.fd = open(root.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root.fd < 0) {
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "%s: %s", dir, strerror(errno));
        goto done;
    }
    const int itself = serve_open_beneath(root.fd, ".", O_PATH);
    if (itself < 0) {
        st = kn_error_set(err, KN_ERR_UNSUPPORTED,
                          "this system cannot open files beneath a directory (openat2, Linux 5.6 "
                          "or newer): %s",
                          strerror(errno));
        goto done;
    }
    close(itself);
    st = sort_in(&root, err);
    for (size_t i = 0; st == KN_OK && root.package && i < repos->n_roots; ++i)
        if (repos->roots[i].package && strcmp(repos->roots[i].package, root.package) == 0)
            st = kn_error_set(err, KN_ERR_INVALID, "%s and %s would both be local/%s",
                              repos->roots[i].dir, root.dir, root.package);
    if (st != KN_OK)
        goto done;
    repos->roots = cli_resize(repos->roots, (repos->n_roots + 1) * sizeof(*repos->roots));
    repos->roots[repos->n_roots++] = root;
    return KN_OK;
done:
    if (root.fd >= 0)
        close(root.fd);
    free(root.dir);
    free(root.package);
    return st;
}

void serve_repos_dispose(serve_repos *repos)
{
    for (serve_repo *repo = repos->first, *next; repo; repo = next) {
        next = repo->next;
        serve_refs_dispose(&repo->refs);
        pthread_mutex_destroy(&repo->lock);
        pthread_mutex_destroy(&repo->reading);
        free(repo->type);
        free(repo->owner);
        free(repo->name);
        free(repo->dir);
        free(repo);
    }
    for (size_t i = 0; i < repos->n_roots; ++i) {
        close(repos->roots[i].fd);
        free(repos->roots[i].dir);
        free(repos->roots[i].package);
    }
    free(repos->roots);
    serve_hash_cache_dispose(&repos->hashes);
}

// In one directory of owners.
static char *find_owner(int root, const char *type, const char *owner)
{
    char *name = NULL;
    const int fd = serve_open_beneath(root, type, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    const struct dirent *found;
    while (!name && (found = readdir(dir))) {
        if (strcasecmp(found->d_name, owner) != 0)
            continue;
        char *path = cli_format("%s/%s", type, found->d_name);
        if (has_dir(root, path))
            name = cli_format("%s", found->d_name);
        free(path);
    }
    closedir(dir);
    return name;
}

char *serve_repos_owner(serve_repos *repos, const char *owner)
{
    char *name = NULL;
    if (!serve_is_repo_part(owner))
        return NULL;
    for (size_t i = 0; !name && i < repos->n_roots; ++i) {
        const serve_root *root = &repos->roots[i];
        if (root->package)
            name = strcasecmp(owner, "local") == 0 ? cli_format("local") : NULL;
        for (size_t t = 0; !root->package && !name && t < KN_LEN(types); ++t)
            name = find_owner(root->fd, types[t], owner);
    }
    return name;
}
