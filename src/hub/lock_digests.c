// The SHA-256 of a commit's files. Of large files the endpoint tells it; of those that git stores itself it tells git's id alone, so
// they are downloaded, which checks them too.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/ask.h"
#include "hub/blob_hash.h"
#include "hub/lock_make.h"

enum {
    N_AT_ONCE = 256, // requests of one run: bounds their memory
};

typedef struct small_file {
    const kni_tree_file *file; // the first of those with this content
    char sha256[KNI_SHA256_SIZE];
    kni_blob_hash git, content;
    kni_buf url;
    kni_http_request request;
} small_file;

static int compare_oids(const void *a, const void *b)
{
    const small_file *one = a, *two = b;
    return strcmp(one->file->oid, two->file->oid);
}

static kn_status begin(void *user, kn_error *err)
{
    small_file *small = user;
    const kn_status st =
        kni_blob_hash_begin(&small->git, KNI_SHA1_SIZE - 1, small->file->size, err);
    return st == KN_OK
               ? kni_blob_hash_begin(&small->content, KNI_SHA256_SIZE - 1, small->file->size, err)
               : st;
}

static kn_status add(void *user, const void *data, size_t size, kn_error *err)
{
    small_file *small = user;
    const kn_status st = kni_blob_hash_add(&small->git, data, size, err);
    return st == KN_OK ? kni_blob_hash_add(&small->content, data, size, err) : st;
}

static kn_status end(const kni_repo *repo, small_file *small, kn_error *err)
{
    char blob[KNI_SHA256_SIZE];
    kn_status st = kni_blob_hash_end(&small->git, blob, err);
    if (st == KN_OK)
        st = kni_blob_hash_end(&small->content, small->sha256, err);
    if (st == KN_OK && strcmp(blob, small->file->oid) != 0)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: %s: what was downloaded has the git id %s, the listing says %s",
                            repo->id, small->file->path, blob, small->file->oid);
    return st;
}

// Downloads what has a content; nothing is known of nothing.
static kn_status download(kn_hub *hub, const kni_repo *repo, const char *commit, small_file *smalls,
                          size_t n, kn_error *err)
{
    kni_ask_watch watched = {hub, repo->id};
    const kni_http_watch watch = {kni_ask_is_cancelled, &watched};
    kni_http_request *requests[N_AT_ONCE];
    size_t n_requests = 0;
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        small_file *small = &smalls[i];
        st = begin(small, err);
        if (st != KN_OK || small->file->size == 0)
            continue;
        small->url = KNI_BUF_ANY;
        kni_buf_puts(&small->url, hub->settings.endpoint);
        kni_repo_append_resolve(&small->url, repo, commit, small->file->path);
        if (small->url.failed)
            st = kni_no_memory(err);
        small->request = (kni_http_request){
            .url = kni_buf_text(&small->url),
            .subject = repo->id,
            .with_token = true,
            .any_origin = true,
            .write = add,
            .rewind = begin,
            .size = small->file->size,
            .user = small,
        };
        requests[n_requests++] = &small->request;
    }
    if (st == KN_OK && n_requests)
        st = kni_http_run(hub->http, requests, n_requests, 0, &watch, err);
    for (size_t i = 0; i < n; ++i) {
        if (st == KN_OK && smalls[i].request.status != KN_OK)
            st = kni_error_move(err, &smalls[i].request.error);
        if (st == KN_OK)
            st = end(repo, &smalls[i], err);
        kni_http_request_dispose(&smalls[i].request);
        kni_buf_dispose(&smalls[i].url);
        kni_blob_hash_dispose(&smalls[i].git);
        kni_blob_hash_dispose(&smalls[i].content);
    }
    return st;
}

// The small files, each content once, by id.
static kn_status find_smalls(const kni_repo *repo, const kni_tree *tree, small_file *out, size_t *n,
                             kn_error *err)
{
    size_t count = 0;
    *n = 0;
    for (size_t i = 0; i < tree->count; ++i) {
        const kni_tree_file *file = &tree->files[i];
        if (!*kni_tree_file_blob(file))
            return kn_error_set(err, KN_ERR_DENIED,
                                "%s: the hub does not tell what %s contains: a token with access "
                                "to the repository is needed to lock it",
                                repo->id, file->path);
        if (!file->is_large)
            out[count++] = (small_file){.file = file};
    }
    if (count)
        qsort(out, count, sizeof(*out), compare_oids);
    for (size_t i = 0; i < count; ++i)
        if (*n == 0 || compare_oids(&out[*n - 1], &out[i]) != 0)
            out[(*n)++] = out[i];
    return KN_OK;
}

static void take_digests(const kni_tree *tree, const small_file *smalls, size_t n,
                         char (*digests)[KNI_SHA256_SIZE])
{
    for (size_t i = 0; i < tree->count; ++i) {
        const small_file wanted = {.file = &tree->files[i]}, *found = NULL;
        if (n && !wanted.file->is_large)
            found = bsearch(&wanted, smalls, n, sizeof(*smalls), compare_oids);
        memcpy(digests[i], found ? found->sha256 : wanted.file->sha256, KNI_SHA256_SIZE);
    }
}

kn_status kni_lock_digests(kn_hub *hub, const kni_repo *repo, const char *commit,
                           const kni_tree *tree, char (*digests)[KNI_SHA256_SIZE], kn_error *err)
{
    size_t n = 0;
    small_file *smalls = kni_calloc(tree->count, sizeof(*smalls));
    if (!smalls)
        return kni_no_memory(err);
    kn_status st = find_smalls(repo, tree, smalls, &n, err);
    for (size_t at = 0; st == KN_OK && at < n; at += N_AT_ONCE)
        st = download(hub, repo, commit, smalls + at, n - at < N_AT_ONCE ? n - at : N_AT_ONCE, err);
    if (st == KN_OK)
        take_digests(tree, smalls, n, digests);
    kni_free(smalls);
    return st;
}
