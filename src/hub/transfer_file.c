#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/transfer_run.h"

enum {
    BLOCK_SIZE =
        64 << 10, // libcurl gives 16 KiB at a time: writing those costs nearly twice as much
    WRITEBACK_SIZE =
        1 << 20, // so much is sent on its way to the disk, not to wait for all of it at the end
};

kn_status kni_download_open(kni_download *download, kn_error *err)
{
    const kni_want *want = download->want;
    if (download->temporary.fd >= 0)
        return KN_OK;
    download->block = kni_alloc(want->size < BLOCK_SIZE ? (size_t)want->size : BLOCK_SIZE);
    if (!download->block)
        return kni_no_memory(err);
    const kn_status st = kni_cache_begin_blob(download->run->writer, want->blob, want->size,
                                              &download->temporary, err);
    if (st != KN_OK)
        return st;
    return kni_blob_hash_begin(&download->hash, strlen(want->blob), want->size, err);
}

static kn_status write_block(kni_download *download, kn_error *err)
{
    kni_blob_file *temporary = &download->temporary;
    const size_t size = download->block_size;
    if (size == 0)
        return KN_OK;
    download->block_size = 0;
    kn_status st =
        kni_cache_append_blob(download->run->writer, temporary, download->block, size, err);
    if (st == KN_OK)
        st = kni_blob_hash_add(&download->hash, download->block, size, err);
    if (st == KN_OK &&
        temporary->size / WRITEBACK_SIZE != (temporary->size - size) / WRITEBACK_SIZE)
        (void)sync_file_range(temporary->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return st;
}

static kn_status take_bytes(void *user, const void *data, size_t size, kn_error *err)
{
    kni_download *download = user;
    const uint64_t whole = download->want->size;
    const size_t capacity = whole < BLOCK_SIZE ? (size_t)whole : BLOCK_SIZE;
    kn_status st = kni_download_open(download, err);
    __atomic_fetch_add(&download->want->bytes, size, __ATOMIC_RELAXED);
    for (const char *at = data; st == KN_OK && size > 0;) {
        const size_t room = capacity - download->block_size, n = size < room ? size : room;
        memcpy(download->block + download->block_size, at, n);
        download->block_size += n;
        at += n;
        size -= n;
        if (n == room)
            st = write_block(download, err);
    }
    return st;
}

static kn_status begin_again(void *user, kn_error *err)
{
    kni_download *download = user;
    const kni_want *want = download->want;
    if (download->temporary.fd < 0)
        return KN_OK;
    __atomic_store_n(&download->want->bytes, 0, __ATOMIC_RELAXED);
    download->block_size = 0;
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
        st = write_block(download, err);
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
                                           .user_agent = run->transfer->user_agent,
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
    kni_free(download->block);
    download->block = NULL;
}

void kni_download_dispose(kni_download *download)
{
    kni_download_close(download);
    kni_http_request_dispose(&download->request);
    kni_free(download->url);
    kni_free(download->subject);
}
