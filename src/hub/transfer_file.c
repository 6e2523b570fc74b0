#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/transfer_run.h"

kn_status kni_download_open(kni_download *download, kn_error *err)
{
    const kni_want *want = download->want;
    if (download->temporary.fd >= 0)
        return KN_OK;
    const kn_status st = kni_cache_begin_blob(download->run->writer, want->blob, want->size,
                                              &download->temporary, err);
    if (st != KN_OK)
        return st;
    return kni_blob_hash_begin(&download->hash, strlen(want->blob), want->size, err);
}

static kn_status take_bytes(void *user, const void *data, size_t size, kn_error *err)
{
    kni_download *download = user;
    kn_status st = kni_download_open(download, err);
    if (st == KN_OK)
        st = kni_cache_append_blob(download->run->writer, &download->temporary, data, size, err);
    if (st == KN_OK)
        st = kni_blob_hash_add(&download->hash, data, size, err);
    if (st == KN_OK)
        __atomic_fetch_add(&download->want->bytes, size, __ATOMIC_RELAXED);
    return st;
}

static kn_status begin_again(void *user, kn_error *err)
{
    kni_download *download = user;
    const kni_want *want = download->want;
    if (download->temporary.fd < 0)
        return KN_OK;
    __atomic_store_n(&download->want->bytes, 0, __ATOMIC_RELAXED);
    const kn_status st = kni_cache_restart_blob(download->run->writer, &download->temporary, err);
    return st == KN_OK ? kni_blob_hash_begin(&download->hash, strlen(want->blob), want->size, err)
                       : st;
}

kn_status kni_download_check(kni_download *download, kn_error *err)
{
    const kni_want *want = download->want;
    char blob[KNI_SHA256_SIZE];
    kn_status st = kni_download_open(download, err); // a blob without bytes was never written to
    if (st == KN_OK)
        st = kni_blob_hash_end(&download->hash, blob, err);
    if (st != KN_OK)
        return st;
    if (strcmp(blob, want->blob) != 0)
        return kn_error_set(
            err, KN_ERR_UNTRUSTED,
            "%s: the %llu bytes that came have the %s %s: the hub's own listing says %s; they were "
            "thrown away. Try again; if it stays so, the endpoint or something before it serves "
            "other bytes than it promises",
            download->subject, (unsigned long long)want->size,
            strlen(blob) == KNI_SHA256_SIZE - 1 ? "SHA-256" : "git hash", blob, want->blob);
    return KN_OK;
}

kn_status kni_download_commit(kni_download *download, kn_error *err)
{
    const kn_status st = kni_cache_commit_blob(download->run->writer, &download->temporary, err);
    if (st == KN_OK) {
        download->want->is_downloaded = true;
        kni_want_settle(download->run, download->want, KNI_WANT_DONE);
    }
    return st;
}

static void finished(void *user, kni_http_request *request)
{
    kni_download *download = user;
    kni_run *run = download->run;
    kn_error err = KN_ERROR_INIT;
    kn_status st = request->status;
    if (st == KN_OK)
        st = kni_answer_check_commit(run, download->subject, &request->answer, &err);
    else
        kni_error_move(&err, &request->error);
    if (st == KN_OK)
        st = kni_download_check(download, &err);
    if (st == KN_OK && kni_committer_push(run, download))
        return;
    if (st == KN_OK)
        st = kni_download_commit(download, &err);
    if (st != KN_OK && st != KN_ERR_CANCELLED)
        kni_run_fail(run, &err);
    kn_error_dispose(&err);
    kni_download_close(download);
}

kn_status kni_download_init(kni_download *download, kni_run *run, kni_want *want, kn_error *err)
{
    kni_buf url = KNI_BUF_ANY, subject = KNI_BUF_ANY;
    const kni_tree_file *file = run->files[want->first_file].file;
    kni_append_file_url(run, file, &url, &subject);
    *download = (kni_download){.run = run,
                               .want = want,
                               .url = kni_buf_take(&url),
                               .subject = kni_buf_take(&subject),
                               .temporary = KNI_BLOB_FILE_INIT};
    download->request = (kni_http_request){.url = download->url,
                                           .subject = download->subject,
                                           .with_token = true,
                                           .any_origin = true,
                                           .write = take_bytes,
                                           .rewind = begin_again,
                                           .size = want->size,
                                           .finished = finished,
                                           .user = download};
    want->bytes = 0;
    return download->url && download->subject ? KN_OK : kni_no_memory(err);
}

void kni_download_close(kni_download *download)
{
    kni_cache_abandon_blob(download->run->writer, &download->temporary);
    kni_blob_hash_dispose(&download->hash);
}

void kni_download_dispose(kni_download *download)
{
    kni_download_close(download);
    kni_http_request_dispose(&download->request);
    kni_free(download->url);
    kni_free(download->subject);
}
