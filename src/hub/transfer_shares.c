// A round's requests, shared among threads: receiving, hashing and writing take more than one core can do at the speed of a good network,
// and a thread that waits for the disk keeps nobody else from receiving.
#include <pthread.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/wait.h"
#include "hub/transfer_run.h"

enum {
    SHARES_MAX = 4,
    SHARE_BYTES = 8 << 20, // less is not worth a thread
};

typedef struct share {
    kni_run *run;
    kni_http_request *requests[KNI_TRANSFER_ROUND];
    size_t n;
    size_t parallel;
    kn_status status;
    kn_error error;
    pthread_t thread;
    bool has_thread;
    bool is_over; // under the run's lock
} share;

static bool is_over(void *user) // of the threads: they tell nobody
{
    return kni_run_is_over(user);
}

static void *run_share(void *user)
{
    share *part = user;
    const kni_http_watch watch = {is_over, part->run};
    part->status = kni_http_run(part->run->transfer->http, part->requests, part->n, part->parallel,
                                &watch, &part->error);
    if (part->status != KN_OK && part->status != KN_ERR_CANCELLED)
        kni_run_fail(part->run, &part->error);
    kni_thread_end(part->run, &part->is_over);
    return NULL;
}

bool kni_thread_start(pthread_t *thread, void *(*start)(void *), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool good = pthread_create(thread, NULL, start, user) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return good;
}

void kni_thread_end(kni_run *run, bool *is_over)
{
    pthread_mutex_lock(&run->lock);
    *is_over = true;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
}

void kni_thread_join(kni_run *run, pthread_t thread, const bool *is_over)
{
    pthread_mutex_lock(&run->lock);
    while (!*is_over) {
        kni_cond_look(&run->changed, &run->lock);
        pthread_mutex_unlock(&run->lock);
        kni_transfer_watch(run);
        pthread_mutex_lock(&run->lock);
    }
    pthread_mutex_unlock(&run->lock);
    pthread_join(thread, NULL);
}

kn_status kni_transfer_fetch(kni_run *run, kni_download *downloads, size_t n, kn_error *err)
{
    share *shares = kni_calloc(SHARES_MAX, sizeof(*shares));
    const kni_http_watch watch = {kni_transfer_watch, run};
    uint64_t bytes = 0;
    if (!shares)
        return kni_no_memory(err);
    for (size_t i = 0; i < n; ++i)
        bytes += downloads[i].want->size;
    size_t n_shares = bytes / SHARE_BYTES < SHARES_MAX ? (size_t)(bytes / SHARE_BYTES) : SHARES_MAX;
    if (n_shares > n)
        n_shares = n;
    if (n_shares == 0)
        n_shares = 1;
    if (n_shares > 1)
        kni_committer_start(run);
    for (size_t i = 0; i < n; ++i) { // they stand by size: every share gets as much
        share *part = &shares[i % n_shares];
        part->requests[part->n++] = &downloads[i].request;
    }
    for (size_t i = n_shares; i-- > 0;) {
        shares[i].run = run;
        shares[i].parallel = KNI_TRANSFER_PARALLEL / n_shares;
        if (i > 0)
            shares[i].has_thread = kni_thread_start(&shares[i].thread, run_share, &shares[i]);
    }
    kn_status st = KN_OK;
    for (size_t i = 0; i < n_shares; ++i) { // the first is this thread's, and each that got none
        if (!shares[i].has_thread && st == KN_OK)
            st = kni_http_run(run->transfer->http, shares[i].requests, shares[i].n,
                              shares[i].parallel, &watch, err);
    }
    if (st != KN_OK)
        kni_run_end(run);
    for (size_t i = 0; i < n_shares; ++i) {
        if (shares[i].has_thread)
            kni_thread_join(run, shares[i].thread, &shares[i].is_over);
        kn_error_dispose(&shares[i].error);
    }
    kni_committer_finish(run);
    kni_free(shares);
    return st;
}
