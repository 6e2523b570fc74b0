#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/transfer_run.h"

#define EMPTY_SHA1 "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

void kni_append_file_url(const kni_run *run, const kni_tree_file *file, kni_buf *url,
                         kni_buf *subject)
{
    const kni_transfer *transfer = run->transfer;
    kni_buf_puts(url, transfer->endpoint);
    kni_repo_append_resolve(url, transfer->repo, transfer->commit, file->path);
    kni_buf_printf(subject, "%s: %s", transfer->repo->id, file->path);
}

kn_status kni_answer_check_commit(const kni_run *run, const char *subject,
                                  const kni_http_answer *answer, kn_error *err)
{
    if (!answer->commit || strcmp(answer->commit, run->transfer->commit) == 0)
        return KN_OK;
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "%s: the answer is of commit '%.60s': expected %s, which was asked for",
                        subject, answer->commit, run->transfer->commit);
}

// The name of a masked blob, from the ETag of the answer to a HEAD. It becomes a file's name and says how the content is hashed.
static kn_status take_name(const kni_run *run, kni_run_file *file, const kni_http_request *request,
                           kn_error *err)
{
    const char *etag = request->answer.etag;
    const bool fits = etag && kni_is_object_id(etag) &&
                      (!file->file->is_large || strlen(etag) == KNI_SHA256_SIZE - 1);
    if (!fits)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: the listing hides the file's hash and the answer's ETag is "
                            "'%.80s': expected %s hexadecimal digits, so that what comes can be "
                            "checked; ask for access to the repository, or set a token",
                            request->subject, etag ? etag : "",
                            file->file->is_large ? "64" : "40 or 64");
    if (request->answer.size >= 0 && (uint64_t)request->answer.size != file->file->size)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: the answer's size is %lld bytes: the listing says %llu",
                            request->subject, (long long)request->answer.size,
                            (unsigned long long)file->file->size);
    memcpy(file->blob, etag, strlen(etag) + 1);
    return kni_answer_check_commit(run, request->subject, &request->answer, err);
}

static kn_status ask_names(kni_run *run, kni_run_file **files, size_t n, kn_error *err)
{
    kn_status st = KN_OK;
    kni_http_request *requests = kni_calloc(n, sizeof(*requests));
    kni_http_request *pointers[KNI_TRANSFER_ROUND];
    if (!requests)
        return kni_no_memory(err);
    for (size_t i = 0; i < n; ++i) {
        kni_buf url = KNI_BUF_ANY, subject = KNI_BUF_ANY;
        kni_append_file_url(run, files[i]->file, &url, &subject);
        requests[i] = (kni_http_request){.url = kni_buf_take(&url),
                                         .subject = kni_buf_take(&subject),
                                         .user_agent = run->transfer->user_agent,
                                         .is_head = true,
                                         .with_token = true,
                                         .any_origin = true};
        pointers[i] = &requests[i];
        if (!requests[i].url || !requests[i].subject)
            st = kni_no_memory(err);
    }
    const kni_http_watch watch = {kni_transfer_watch, run};
    if (st == KN_OK)
        st = kni_http_run(run->transfer->http, pointers, n, KNI_TRANSFER_PARALLEL, &watch, err);
    for (size_t i = 0; st == KN_OK && i < n; ++i)
        st = requests[i].status == KN_OK ? take_name(run, files[i], &requests[i], err)
                                         : kni_error_move(err, &requests[i].error);
    for (size_t i = 0; i < n; ++i) {
        char *url = (char *)requests[i].url, *subject = (char *)requests[i].subject;
        kni_http_request_dispose(&requests[i]);
        kni_free(url);
        kni_free(subject);
    }
    kni_free(requests);
    return st;
}

static kn_status name_masked(kni_run *run, kn_error *err)
{
    kni_run_file *masked[KNI_TRANSFER_ROUND];
    size_t n = 0;
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i <= run->transfer->n_files; ++i) {
        if (i < run->transfer->n_files && run->files[i].blob[0] == '\0')
            masked[n++] = &run->files[i];
        if (n == KN_LEN(masked) || (i == run->transfer->n_files && n > 0)) {
            st = ask_names(run, masked, n, err);
            n = 0;
        }
    }
    return st;
}

static int by_blob(const void *a, const void *b)
{
    const kni_run_file *x = a, *y = b;
    const int order = strcmp(x->blob, y->blob);
    return order ? order : strcmp(x->file->path, y->file->path);
}

// The large ones first, so that none of them is left alone at the end; else by name, so that all processes go the same way.
static int by_size(const void *a, const void *b)
{
    const kni_want *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return strcmp(x->blob, y->blob);
}

static kn_status gather_wants(kni_run *run, kn_error *err)
{
    const size_t n = run->transfer->n_files;
    for (size_t i = 0; i < n; ++i) {
        const kni_run_file *file = &run->files[i];
        kni_want *last = run->n_wants ? &run->wants[run->n_wants - 1] : NULL;
        if (last && strcmp(last->blob, file->blob) == 0) {
            if (last->size != file->file->size)
                return kn_error_set(
                    err, KN_ERR_UNTRUSTED,
                    "%s: the listing says %llu bytes for %s and %llu for %s: both are blob %s",
                    run->transfer->repo->id, (unsigned long long)last->size,
                    run->files[last->first_file].file->path, (unsigned long long)file->file->size,
                    file->file->path, file->blob);
            ++last->n_files;
            continue;
        }
        kni_want *want = &run->wants[run->n_wants++];
        *want = (kni_want){
            .first_file = i, .n_files = 1, .size = file->file->size, .lock = KNI_BLOB_LOCK_INIT};
        memcpy(want->blob, file->blob, sizeof(want->blob));
    }
    if (run->n_wants)
        qsort(run->wants, run->n_wants, sizeof(*run->wants), by_size);
    for (size_t j = 0; j < run->n_wants; ++j) {
        for (size_t i = 0; i < run->wants[j].n_files; ++i)
            run->files[run->wants[j].first_file + i].want = j;
    }
    return KN_OK;
}

kn_status kni_transfer_name(kni_run *run, kn_error *err)
{
    const size_t n = run->transfer->n_files;
    run->files = kni_calloc(n + 1, sizeof(*run->files));
    run->wants = kni_calloc(n + 1, sizeof(*run->wants));
    if (!run->files || !run->wants)
        return kni_no_memory(err);
    for (size_t i = 0; i < n; ++i) {
        const kni_tree_file *file = run->transfer->files[i];
        const char *blob = kni_tree_file_blob(file);
        if (blob[0] == '\0' && file->size == 0)
            blob = file->is_large ? EMPTY_SHA256 : EMPTY_SHA1; // not even masked bytes are secret
        run->files[i].file = file;
        memcpy(run->files[i].blob, blob, strlen(blob) + 1);
    }
    kn_status st = name_masked(run, err);
    if (st != KN_OK)
        return st;
    if (n)
        qsort(run->files, n, sizeof(*run->files), by_blob);
    return gather_wants(run, err);
}
