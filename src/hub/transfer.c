#include "hub/transfer.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/wait.h"
#include "hub/transfer_run.h"

enum {
    STALL_MS = 30000,
    WAIT_MS = 50,
    ATTEMPTS = 3, // somebody may empty the cache meanwhile
};

void kni_run_end(kni_run *run)
{
    __atomic_store_n(&run->is_over, true, __ATOMIC_RELEASE);
}

void kni_run_fail(kni_run *run, kn_error *err)
{
    pthread_mutex_lock(&run->lock);
    kni_error_move(&run->error, err);
    pthread_mutex_unlock(&run->lock);
    kni_run_end(run);
}

bool kni_run_is_over(const kni_run *run)
{
    return __atomic_load_n(&run->is_over, __ATOMIC_ACQUIRE);
}

static void count(kni_run *run)
{
    kn_progress *progress = &run->meter.progress;
    progress->bytes_done = progress->bytes_total = 0;
    progress->files_done = progress->files_total = 0;
    for (size_t j = 0; j < run->n_wants; ++j) {
        const kni_want *want = &run->wants[j];
        if (!want->was_missing)
            continue;
        const uint64_t bytes = __atomic_load_n(&want->bytes, __ATOMIC_RELAXED);
        progress->bytes_total += want->size;
        progress->bytes_done += bytes < want->size ? bytes : want->size;
        progress->files_total += (uint32_t)want->n_files;
        if (kni_want_state_of(want) == KNI_WANT_DONE)
            progress->files_done += (uint32_t)want->n_files;
    }
    progress->is_waiting = run->n_waiting > 0 && !run->is_downloading;
}

bool kni_transfer_watch(void *user)
{
    kni_run *run = user;
    const uint64_t now_ms = kni_clock_ms();
    if (kni_run_is_over(run))
        return true;
    kni_transfer_look(run, now_ms);
    if (kni_meter_is_due(&run->meter, now_ms)) {
        count(run);
        if (!kni_meter_tell(&run->meter, now_ms))
            kni_run_end(run);
    }
    return kni_run_is_over(run);
}

// What is missing, and how much that is.
static void take_stock(kni_run *run)
{
    for (size_t j = 0; j < run->n_wants; ++j) {
        kni_want *want = &run->wants[j];
        want->was_missing = !kni_want_is_there(run, want);
        if (!want->was_missing)
            kni_want_settle(run, want, KNI_WANT_DONE);
    }
}

// Claims wants for a round; *n stays 0 when there is nothing for us to do.
static kn_status claim_round(kni_run *run, kni_download *downloads, size_t *n, kn_error *err)
{
    kn_status st = KN_OK;
    for (size_t j = 0; st == KN_OK && j < run->n_wants && *n < KNI_TRANSFER_ROUND; ++j) {
        kni_want *want = &run->wants[j];
        if (kni_want_state_of(want) != KNI_WANT_TODO)
            continue;
        st = kni_want_claim(run, want, err);
        if (st != KN_OK || kni_want_state_of(want) != KNI_WANT_TODO)
            continue;
        kni_download *download = &downloads[(*n)++];
        st = kni_download_init(download, run, want, err);
        // A cache that takes nothing is found out before the network is asked.
        if (st == KN_OK && *n == 1)
            st = kni_download_open(download, err);
        if (st == KN_OK && want->size == 0)
            st = kni_download_check(download, err);
        if (st == KN_OK && want->size == 0)
            st = kni_download_commit(download, err);
        else
            kni_want_settle(run, want, KNI_WANT_RUNNING);
        if (kni_want_state_of(want) == KNI_WANT_DONE)
            kni_download_dispose(&downloads[--*n]);
    }
    return st;
}

static kn_status run_round(kni_run *run, kni_download *downloads, size_t *n, kn_error *err)
{
    *n = 0;
    kn_status st = claim_round(run, downloads, n, err);
    if (st == KN_OK && *n > 0) {
        run->is_downloading = true;
        st = kni_transfer_fetch(run, downloads, *n, err);
        run->is_downloading = false;
    }
    for (size_t i = 0; i < *n; ++i)
        kni_download_dispose(&downloads[i]);
    return st;
}

// Rounds of our own, and between them waits for others, until every blob is there.
static kn_status download(kni_run *run, kn_error *err)
{
    static const struct timespec pause = {.tv_nsec = WAIT_MS * 1000000L};
    kn_status st = KN_OK;
    kn_error failure = KN_ERROR_INIT;
    size_t n = 0;
    kni_download *downloads = kni_calloc(KNI_TRANSFER_ROUND, sizeof(*downloads));
    if (!downloads)
        return kni_no_memory(err);
    do {
        st = run_round(run, downloads, &n, &failure);
        if (st == KN_OK && n == 0 && run->n_waiting > 0) {
            nanosleep(&pause, NULL);
            n = 1;
        }
    } while (st == KN_OK && n > 0 && !kni_transfer_watch(run));
    kni_free(downloads);
    // What failed first counts; what it ended says that it was cancelled.
    if (run->meter.is_cancelled)
        st = kn_error_set(err, KN_ERR_CANCELLED, "%s: the download was cancelled",
                          run->transfer->repo->id);
    else if (run->error.status != KN_OK)
        st = kni_error_move(err, &run->error);
    else if (st != KN_OK)
        kni_error_move(err, &failure);
    kn_error_dispose(&failure);
    return st;
}

// A variant is taken for whole by its metadata.json, which comes last; one that has none by its __init__.py.
static int rank(const char *path)
{
    const char *name = kni_path_basename(path);
    return strcmp(name, "metadata.json") == 0 ? 2 : strcmp(name, "__init__.py") == 0;
}

static kn_status link_files(kni_run *run, kn_error *err)
{
    kn_status st = KN_OK;
    for (int last = 0; last < 3; ++last) {
        for (size_t i = 0; st == KN_OK && i < run->transfer->n_files; ++i) {
            const kni_run_file *file = &run->files[i];
            kni_want *want = &run->wants[file->want];
            if (rank(file->file->path) != last)
                continue;
            const bool may_move = want->is_downloaded && ++want->n_linked == want->n_files;
            if (!file->is_there)
                st = kni_cache_link_file(run->writer, run->transfer->commit, file->file->path,
                                         want->blob, may_move, err);
        }
    }
    return st;
}

static kn_status run_once(kni_run *run, bool *is_gone, kn_error *err)
{
    *is_gone = false;
    kn_status st = kni_transfer_name(run, err);
    if (st != KN_OK)
        return st;
    take_stock(run);
    st = download(run, err);
    if (st != KN_OK || !run->transfer->links)
        return st;
    st = link_files(run, err);
    *is_gone = st == KN_ERR_NOT_FOUND;
    return st;
}

static void forget(kni_run *run)
{
    for (size_t j = 0; j < run->n_wants; ++j)
        kni_cache_unlock_blob(&run->wants[j].lock);
    kni_free(run->wants);
    kni_free(run->files);
    run->wants = NULL;
    run->files = NULL;
    run->n_wants = run->n_waiting = 0;
}

static bool is_all_new(const kni_run *run)
{
    for (size_t j = 0; j < run->n_wants; ++j)
        if (strlen(run->wants[j].blob) == KNI_SHA256_SIZE - 1 && !run->wants[j].is_downloaded)
            return false;
    return true;
}

kn_status kni_transfer_run(const kni_transfer *transfer, kn_error *err)
{
    kni_run run = {.transfer = transfer, .lock = PTHREAD_MUTEX_INITIALIZER};
    kn_error last = KN_ERROR_INIT;
    kni_cond_init(&run.changed);
    run.stall_ms = transfer->stall_ms ? transfer->stall_ms : STALL_MS;
    // Those who wait for one process do not all lose patience at once: the first who takes over excuses it to the others.
    run.stall_ms += run.stall_ms * ((uint64_t)getpid() % 64) / 128;
    kni_meter_init(&run.meter, transfer->progress, transfer->progress_user, transfer->repo->id,
                   transfer->variant);
    kn_status st = kni_cache_writer_open(transfer->cache, transfer->repo, &run.writer, &last);
    if (st != KN_OK)
        goto done;
    kni_cache_sweep(run.writer);
    bool is_gone = true;
    for (int attempt = 0; is_gone && attempt < ATTEMPTS; ++attempt) {
        kn_error_dispose(&last);
        forget(&run);
        st = run_once(&run, &is_gone, &last);
    }
    if (transfer->all_new)
        *transfer->all_new = st == KN_OK && is_all_new(&run);
    count(&run);
    kni_meter_end(&run.meter, kni_clock_ms());
done:
    forget(&run);
    kni_cache_writer_close(run.writer);
    kn_error_dispose(&run.error);
    pthread_cond_destroy(&run.changed);
    pthread_mutex_destroy(&run.lock);
    if (st != KN_OK)
        kni_error_move(err, &last);
    kn_error_dispose(&last);
    return st;
}
