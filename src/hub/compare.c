// A variant that is here, held against what is known of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/trace.h"
#include "hub/ask.h"
#include "hub/cached.h"
#include "hub/expect.h"
#include "hub/hub.h"

typedef struct comparison {
    kn_hub *hub;
    const kn_revision *revision;
    const char *variant;
    const kni_cache *cache;
    const kni_tree *listed; // NULL: offline
    kni_names names;        // that are there, below the variant
    size_t n_files;         // of them, without Python's compiled files
    size_t n_nameless;      // offline: no links to blobs, so that nothing says what they should be
    kn_error *err;
} comparison;

static kn_status differs(const comparison *c, const char *path, const char *what)
{
    return kn_error_set(c->err, KN_ERR_UNTRUSTED, "%s: %s of %s (commit %s) %s %s",
                        c->revision->repo.id, path, c->variant, c->revision->commit, what,
                        c->hub->settings.endpoint);
}

static int compare_path(const void *path, const void *file)
{
    return strcmp(path, ((const kni_tree_file *)file)->path);
}

// path: from the repository's root; name: from the variant's.
static kn_status compare_file(comparison *c, const char *path, const char *name)
{
    kni_cached_file file = {.fd = -1};
    const kni_tree_file *listed = NULL;
    kn_status st = KN_OK;
    if (c->listed) {
        listed = c->listed->count ? bsearch(path, c->listed->files, c->listed->count,
                                            sizeof(kni_tree_file), compare_path)
                                  : NULL;
        if (!listed)
            return differs(c, name, "is one that is not listed by");
    }
    st =
        kni_cache_open_file(c->cache, &c->revision->repo, c->revision->commit, path, &file, c->err);
    if (st == KN_OK) {
        const char *blob = listed ? kni_tree_file_blob(listed) : "";
        if (!blob[0]) // offline, or a masked listing
            blob = file.blob;
        if (blob[0])
            st = kni_blob_check(file.fd, blob, name, c->err);
        else
            ++c->n_nameless;
        if (st != KN_OK)
            kn_error_prefix(c->err, "%s: %s (commit %s)", c->revision->repo.id, c->variant,
                            c->revision->commit);
    }
    if (file.fd >= 0)
        close(file.fd);
    return st;
}

static bool has_name(const kni_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; ++i)
        if (strcmp(names->names[i], name) == 0)
            return true;
    return false;
}

// prefix: "build/<variant>/"
static kn_status find_missing(const comparison *c, const char *prefix)
{
    const size_t skip = strlen(prefix);
    for (size_t i = 0; c->listed && i < c->listed->count; ++i) {
        const char *path = c->listed->files[i].path;
        if (strncmp(path, prefix, skip) == 0 && !kni_path_is_byte_code(path) &&
            !has_name(&c->names, path + skip))
            return differs(c, path + skip, "is missing, and listed by");
    }
    return KN_OK;
}

static kn_status compare_files(comparison *c)
{
    kni_buf path = KNI_BUF_ANY;
    kni_buf_printf(&path, "build/%s/", c->variant);
    const size_t prefix = path.size;
    kn_status st = path.failed ? kni_no_memory(c->err) : find_missing(c, kni_buf_text(&path));
    for (size_t i = 0; st == KN_OK && i < c->names.count; ++i) {
        path.size = prefix;
        kni_buf_puts(&path, c->names.names[i]);
        if (path.failed)
            st = kni_no_memory(c->err);
        else if (!kni_path_is_byte_code(kni_buf_text(&path))) {
            ++c->n_files;
            st = compare_file(c, kni_buf_text(&path), c->names.names[i]);
        }
    }
    kni_buf_dispose(&path);
    return st;
}

// The first cache that has the variant, whole.
static kn_status find_cache(comparison *c)
{
    kn_status st = KN_OK;
    for (size_t i = 0; !c->cache && st != KN_ERR_NO_MEMORY && i < c->hub->n_caches; ++i) {
        kni_names names = {NULL, 0, 0};
        st = kni_cache_list_variants(c->hub->caches[i], &c->revision->repo, c->revision->commit,
                                     true, &names, NULL);
        if (st == KN_OK && has_name(&names, c->variant))
            c->cache = c->hub->caches[i];
        kni_names_free(&names);
    }
    if (st == KN_ERR_NO_MEMORY)
        return kni_no_memory(c->err);
    return c->cache ? KN_OK
                    : kn_error_set(c->err, KN_ERR_NOT_FOUND,
                                   "%s: the build variant %s of %s is not in the cache",
                                   c->revision->repo.id, c->variant, c->revision->commit);
}

static bool explain(const comparison *c, kn_trace *trace)
{
    const kn_revision *revision = c->revision;
    bool is_said =
        c->listed
            ? kni_trace_add(trace, "compare", c->variant, true, "listing", NULL,
                            "its %zu files are those that %s lists", c->n_files,
                            c->hub->settings.endpoint)
            : kni_trace_add(trace, "compare", c->variant, true, "blobs", NULL,
                            "%zu of its %zu files have the hashes that they are kept under in "
                            "the cache",
                            c->n_files - c->n_nameless, c->n_files);
    if (is_said && (revision->sums || (revision->locked && revision->locked->n_hashes > 0)))
        is_said = kni_trace_add(
            trace, "compare", c->variant, true, revision->sums ? "sums" : "lock", NULL, "%s",
            revision->sums ? "its files have the SHA-256 that the lock's sums have"
                           : "its files have the hash that the lock has");
    return is_said;
}

static kn_status compare(comparison *c, kn_trace *trace)
{
    const kn_revision *revision = c->revision;
    const kni_known_tree *known = NULL;
    char *dir = NULL;
    kn_status st = find_cache(c);
    if (st == KN_OK && !c->hub->settings.is_offline) {
        st = kni_ask_tree(c->hub, &revision->repo, revision->commit, false, &known, c->err);
        c->listed = st == KN_OK ? &known->tree : NULL;
    }
    if (st == KN_OK)
        st = kni_cached_directory(revision, c->variant, c->cache, &dir, c->err);
    if (st == KN_OK)
        st = kni_tree_list_links(dir, &c->names, c->err);
    if (st == KN_OK)
        st = compare_files(c);
    if (st == KN_OK)
        st = kni_expect_cached(revision, c->variant, c->cache, c->err);
    if (st == KN_OK && !explain(c, trace))
        st = kni_no_memory(c->err);
    kni_free(dir);
    return st;
}

kn_status kn_hub_compare(kn_hub *hub, const kn_revision *revision, const char *variant,
                         kn_trace *trace, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (!hub || !revision || !variant)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_compare: a hub, a revision and a variant are required");
    comparison c = {.hub = hub, .revision = revision, .variant = variant, .err = &why};
    kn_status st = compare(&c, trace);
    kni_names_free(&c.names);
    if (st == KN_ERR_UNTRUSTED &&
        !kni_trace_add(trace, "compare", variant, false, "file", NULL, "%s", kn_error_text(&why)))
        st = KN_ERR_NO_MEMORY;
    if (st == KN_OK)
        return st;
    if (st != KN_ERR_NO_MEMORY)
        return kni_error_move(err, &why);
    kn_error_dispose(&why);
    return kni_no_memory(err);
}
