#include "hub/fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/ask.h"
#include "hub/blob_hash.h"
#include "hub/cache_write.h"
#include "hub/cached.h"
#include "hub/expect.h"
#include "hub/transfer.h"

#define METADATA_MAX ((size_t)1 << 20)

// A variant's name becomes part of a path.
static kn_status check_variant(const char *variant, kn_error *err)
{
    if (variant && !strchr(variant, '/') &&
        kni_path_check_relative(variant, "a variant", NULL) == KN_OK)
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "a variant '%s': expected a name, as kn_hub_list gives it",
                        variant ? variant : "");
}

typedef struct files {
    const kni_tree_file **items; // borrowed from the tree
    size_t count;
} files;

static void files_dispose(files *f)
{
    kni_free((void *)f->items);
    *f = (files){NULL, 0};
}

// The files of a variant, or of all ("").
static kn_status select_files(const kni_tree *tree, const char *variant, files *out, kn_error *err)
{
    char prefix[512];
    *out = (files){NULL, 0};
    const int size = snprintf(prefix, sizeof(prefix), "build/%s%s", variant, variant[0] ? "/" : "");
    if (size < 0 || (size_t)size >= sizeof(prefix))
        return kn_error_set(err, KN_ERR_INVALID, "a variant's name is longer than %zu bytes",
                            sizeof(prefix) - 8);
    out->items = kni_calloc(tree->count + 1, sizeof(const kni_tree_file *));
    if (!out->items)
        return kni_no_memory(err);
    for (size_t i = 0; i < tree->count; ++i)
        if (kni_span_starts(kni_span_of(tree->files[i].path), prefix) &&
            !kni_path_is_byte_code(tree->files[i].path))
            out->items[out->count++] = &tree->files[i];
    return KN_OK;
}

static kn_status no_variant(const kn_revision *revision, const char *variant, kn_error *err)
{
    return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: the commit %s has no build variant %s",
                        revision->repo.id, revision->commit, variant);
}

static kn_status not_cached(const kn_hub *hub, const kn_revision *revision, const char *variant,
                            kn_error *err)
{
    return kn_error_set(err, KN_ERR_NOT_FOUND,
                        "%s: offline mode, and the build variant %s of %s is not in the cache %s",
                        revision->repo.id, variant, revision->commit, kn_hub_cache_dir(hub));
}

static kn_status no_cache(const kn_revision *revision, kn_error *err)
{
    return kn_error_set(err, KN_ERR_IO,
                        "%s: there is no cache directory to download to, since this user has no "
                        "home directory: set HF_HOME or KERNELS_CACHE",
                        revision->repo.id);
}

static kn_status download(kn_hub *hub, const kn_revision *revision, const char *variant,
                          const files *wanted, bool *is_new, kn_error *err)
{
    const kni_transfer transfer = {
        .cache = hub->caches[0],
        .http = hub->http,
        .log = &hub->log,
        .endpoint = hub->settings.endpoint,
        .user_agent = hub->settings.user_agent,
        .repo = &revision->repo,
        .commit = revision->commit,
        .variant = variant,
        .files = wanted->items,
        .n_files = wanted->count,
        .all_new = is_new,
        .links = true,
        .progress = hub->progress,
        .progress_user = hub->progress_user,
    };
    return kni_transfer_run(&transfer, err);
}

// Refs are written last. That of a cache which cannot be written to is no loss: the files are there.
static kn_status write_ref(kn_hub *hub, const kn_revision *revision, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (!hub->has_own_cache || !revision->ref || !revision->ref[0])
        return KN_OK;
    const kn_status st =
        kni_cache_write_ref(hub->caches[0], &revision->repo, revision->ref, revision->commit, &why);
    if (st == KN_ERR_NO_MEMORY)
        return kni_error_move(err, &why);
    if (st != KN_OK)
        kni_log_write(&hub->log, KN_LOG_DEBUG, "%s: offline it will not be found as %s: %s",
                      revision->repo.id, revision->ref, kn_error_text(&why));
    kn_error_dispose(&why);
    return KN_OK;
}

static kn_status fetch_files(kn_hub *hub, const kn_revision *revision, const char *variant,
                             bool *is_new, kn_error *err)
{
    const kni_known_tree *known = NULL;
    files wanted = {NULL, 0};
    if (hub->settings.is_offline)
        return not_cached(hub, revision, variant, err);
    if (!hub->has_own_cache)
        return no_cache(revision, err);
    kn_status st = kni_ask_tree(hub, &revision->repo, revision->commit, false, &known, err);
    if (st == KN_OK)
        st = select_files(&known->tree, variant, &wanted, err);
    if (st == KN_OK && wanted.count == 0)
        st = no_variant(revision, variant, err);
    if (st == KN_OK && variant[0])
        st = kni_expect_listing(revision, variant, wanted.items, wanted.count, err);
    if (st == KN_OK)
        st = download(hub, revision, variant, &wanted, is_new, err);
    files_dispose(&wanted);
    return st;
}

kn_status kni_fetch(kn_hub *hub, const kn_revision *revision, const char *variant,
                    const kni_cache **cache, bool *is_new, kn_error *err)
{
    if (is_new)
        *is_new = false;
    kn_status st = check_variant(variant, err);
    if (st == KN_OK && !*cache)
        st = kni_cached_in(hub, &revision->repo, revision->commit, variant, cache, err);
    if (st == KN_OK && !*cache) {
        st = fetch_files(hub, revision, variant, is_new, err);
        *cache = hub->has_own_cache ? hub->caches[0] : NULL;
    }
    if (st == KN_OK && !kni_cache_is_site(*cache))
        st = write_ref(hub, revision, err);
    return st;
}

static kn_status require(const kn_hub *hub, const kn_revision *revision, const void *out,
                         const char *what, kn_error *err)
{
    if (hub && revision && out)
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "%s: a hub, a revision and a place for the answer are "
                        "required",
                        what);
}

kn_status kn_hub_fetch(kn_hub *hub, const kn_revision *revision, const char *variant, char **dir,
                       kn_error *err)
{
    const kni_cache *cache = NULL;
    if (dir)
        *dir = NULL;
    kn_status st = require(hub, revision, dir, "kn_hub_fetch", err);
    if (st == KN_OK)
        st = kni_fetch(hub, revision, variant, &cache, NULL, err);
    if (st == KN_OK)
        st = kni_expect_cached(revision, variant, cache, err);
    if (st == KN_OK)
        st = kni_cached_directory(revision, variant, cache, dir, err);
    return st;
}

// All that a lock names, or all that there are.
static kn_status fetch_each_cached(kn_hub *hub, const kn_revision *revision, bool *is_all,
                                   kn_error *err)
{
    kn_variants *variants = NULL;
    kn_status st = kn_hub_list(hub, revision, &variants, err);
    *is_all = st == KN_OK && kn_variants_is_whole(variants);
    for (size_t i = 0; st == KN_OK && *is_all && i < kn_variants_count(variants); ++i)
        *is_all = kn_variants_is_cached(variants, i);
    kn_variants_free(variants);
    return st;
}

kn_status kn_hub_fetch_all(kn_hub *hub, const kn_revision *revision, char **dir, kn_error *err)
{
    kn_variants *variants = NULL;
    bool is_all = false;
    if (dir)
        *dir = NULL;
    kn_status st = require(hub, revision, dir, "kn_hub_fetch_all", err);
    if (st != KN_OK)
        return st;
    if (!hub->has_own_cache)
        return no_cache(revision, err);
    if (!hub->settings.is_offline) {
        st = fetch_each_cached(hub, revision, &is_all, err);
        if (st == KN_OK && !is_all)
            st = fetch_files(hub, revision, "", NULL, err);
    }
    if (st == KN_OK)
        st = kn_hub_list(hub, revision, &variants, err);
    for (size_t i = 0; st == KN_OK && i < kn_variants_count(variants); ++i)
        st = kni_expect_cached(revision, kn_variants_name(variants, i), hub->caches[0], err);
    if (st == KN_OK)
        st = write_ref(hub, revision, err);
    if (st == KN_OK)
        st = kni_cache_directory(hub->caches[0], &revision->repo, revision->commit, "", dir, err);
    kn_variants_free(variants);
    return st;
}

// --- metadata ---

static kn_status check_content(const kn_revision *revision, const kni_tree_file *file,
                               const kni_http_request *request, kn_error *err)
{
    char is[KNI_SHA256_SIZE];
    const char *blob = kni_tree_file_blob(file);
    if (!blob[0])
        return KN_OK; // a masked listing: the files are checked against their ETag when they are fetched
    kn_status st = kni_blob_hash_bytes(strlen(blob), kni_buf_text(&request->body),
                                       request->body.size, is, err);
    if (st == KN_OK && strcmp(is, blob) != 0)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: %s (commit %s) hashes to %s, but the hub lists %s",
                          revision->repo.id, file->path, revision->commit, is, blob);
    return st;
}

// So that the download of the rest need not get it again. Not being able to is no failure here.
static void keep_blob(kn_hub *hub, const kn_revision *revision, const kni_tree_file *file,
                      const kni_buf *body)
{
    kni_cache_writer *writer = NULL;
    const char *blob = kni_tree_file_blob(file);
    if (!hub->has_own_cache || !blob[0] || body->size == 0 ||
        kni_cache_writer_open(hub->caches[0], &revision->repo, &writer, NULL) != KN_OK)
        return;
    kni_cache_put_blob(writer, blob, body->data, body->size, NULL);
    kni_cache_writer_close(writer);
}

static const kni_tree_file *find_file(const kni_tree *tree, const char *path)
{
    for (size_t i = 0; i < tree->count; ++i)
        if (strcmp(tree->files[i].path, path) == 0)
            return &tree->files[i];
    return NULL;
}

static kn_status get_metadata(kn_hub *hub, const kn_revision *revision, const kni_tree_file *file,
                              kni_buf *out, kn_error *err)
{
    kni_ask_watch watched = {hub, revision->repo.id};
    const kni_http_watch watch = {kni_ask_is_cancelled, &watched};
    kni_buf url = KNI_BUF_ANY;
    kni_buf_puts(&url, hub->settings.endpoint);
    kni_repo_append_resolve(&url, &revision->repo, revision->commit, file->path);
    kni_http_request request = {
        .url = kni_buf_text(&url),
        .subject = revision->repo.id,
        .user_agent = hub->settings.user_agent,
        .with_token = true,
        .any_origin = true,
        .body_max = METADATA_MAX,
    };
    kn_status st = url.failed ? kni_no_memory(err) : kni_http_get(hub->http, &request, &watch, err);
    if (st == KN_OK && request.body.size != file->size)
        st = kn_error_set(err, KN_ERR_UNTRUSTED, "%s: %s has %zu bytes, but the hub lists %llu",
                          revision->repo.id, file->path, request.body.size,
                          (unsigned long long)file->size);
    if (st == KN_OK)
        st = check_content(revision, file, &request, err);
    if (st == KN_OK) {
        keep_blob(hub, revision, file, &request.body);
        kni_buf_append(out, kni_buf_text(&request.body), request.body.size);
    }
    kni_http_request_dispose(&request);
    kni_buf_dispose(&url);
    return st;
}

// Has the variant files, all of them without metadata.json?
static bool is_without(const kni_tree *tree, const char *path)
{
    const size_t size = strlen(path) - strlen("metadata.json");
    for (size_t i = 0; i < tree->count; ++i)
        if (strncmp(tree->files[i].path, path, size) == 0)
            return find_file(tree, path) == NULL;
    return false;
}

// is_absent: NULL, or set where there is none.
static kn_status read_metadata(kn_hub *hub, const kn_revision *revision, const char *variant,
                               const char *path, kni_buf *out, bool *is_absent, kn_error *err)
{
    const kni_known_tree *known = NULL;
    const kni_cache *cache = NULL;
    kn_status st = kni_cached_in(hub, &revision->repo, revision->commit, variant, &cache, err);
    if (st != KN_OK)
        return st;
    if (cache)
        return kni_cache_read_file(cache, &revision->repo, revision->commit, path, out, err);
    if (hub->settings.is_offline)
        return not_cached(hub, revision, variant, err);
    st = kni_ask_tree(hub, &revision->repo, revision->commit, false, &known, err);
    if (st != KN_OK)
        return st;
    const kni_tree_file *file = find_file(&known->tree, path);
    if (is_absent && is_without(&known->tree, path)) {
        *is_absent = true;
        return KN_OK;
    }
    if (!file)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: the commit %s has no %s", revision->repo.id,
                            revision->commit, path);
    if (file->size > METADATA_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s has %llu bytes: expected at most %zu",
                            revision->repo.id, path, (unsigned long long)file->size, METADATA_MAX);
    return get_metadata(hub, revision, file, out, err);
}

static kn_status fetch_metadata(kn_hub *hub, const kn_revision *revision, const char *variant,
                                char **out, size_t *size, bool *is_absent, kn_error *err)
{
    kni_buf text = KNI_BUF(METADATA_MAX);
    kni_buf path = KNI_BUF_ANY;
    if (out)
        *out = NULL;
    kn_status st = require(hub, revision, out && size ? out : NULL, "kn_hub_fetch_metadata", err);
    if (st == KN_OK)
        st = check_variant(variant, err);
    if (st == KN_OK) {
        kni_buf_printf(&path, "build/%s/metadata.json", variant);
        st = path.failed ? kni_no_memory(err)
                         : read_metadata(hub, revision, variant, kni_buf_text(&path), &text,
                                         is_absent, err);
    }
    if (st == KN_OK && !(is_absent && *is_absent)) {
        *size = text.size;
        *out = text.data ? kni_buf_take(&text) : kni_strdup("");
        st = *out ? KN_OK : kni_no_memory(err);
    }
    kni_buf_dispose(&path);
    kni_buf_dispose(&text);
    return st;
}

kn_status kn_hub_fetch_metadata(kn_hub *hub, const kn_revision *revision, const char *variant,
                                char **out, size_t *size, kn_error *err)
{
    return fetch_metadata(hub, revision, variant, out, size, NULL, err);
}

kn_status kni_fetch_metadata(kn_hub *hub, const kn_revision *revision, const char *variant,
                             char **out, size_t *size, kn_error *err)
{
    bool is_absent = false;
    *size = 0;
    return fetch_metadata(hub, revision, variant, out, size, &is_absent, err);
}
