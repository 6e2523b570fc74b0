// What is received is brought to the disk by a thread of its own: one that waits for the disk would not receive. What comes meanwhile is
// taken together, so that a journal is written once for many files.
#include <fcntl.h>
#include <signal.h>

#include "base/error.h"
#include "hub/transfer_run.h"

static void commit_all(kni_run *run, kni_download *first)
{
    for (const kni_download *download = first; download; download = download->next)
        (void)sync_file_range(download->temporary.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    for (kni_download *next, *download = first; download; download = next) {
        kn_error err = KN_ERROR_INIT;
        next = download->next;
        if (kni_download_commit(download, &err) != KN_OK)
            kni_run_fail(run, &err);
        kni_download_close(download);
    }
}

static void *run_committer(void *user)
{
    kni_run *run = user;
    kni_committer *committer = &run->committer;
    pthread_mutex_lock(&run->lock);
    for (;;) {
        while (!committer->first && !committer->is_closed)
            pthread_cond_wait(&run->changed, &run->lock);
        kni_download *first = committer->first;
        committer->first = NULL;
        committer->last = &committer->first;
        if (!first)
            break;
        pthread_mutex_unlock(&run->lock);
        commit_all(run, first);
        pthread_mutex_lock(&run->lock);
    }
    pthread_mutex_unlock(&run->lock);
    kni_thread_end(run, &committer->is_over);
    return NULL;
}

void kni_committer_start(kni_run *run)
{
    kni_committer *committer = &run->committer;
    committer->first = NULL;
    committer->last = &committer->first;
    committer->is_closed = committer->is_over = false;
    committer->is_running = kni_thread_start(&committer->thread, run_committer, run);
}

bool kni_committer_push(kni_run *run, kni_download *download)
{
    kni_committer *committer = &run->committer;
    if (!committer->is_running)
        return false;
    download->next = NULL;
    pthread_mutex_lock(&run->lock);
    *committer->last = download;
    committer->last = &download->next;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    return true;
}

void kni_committer_finish(kni_run *run)
{
    kni_committer *committer = &run->committer;
    if (!committer->is_running)
        return;
    pthread_mutex_lock(&run->lock);
    committer->is_closed = true;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
    kni_thread_join(run, committer->thread, &committer->is_over);
    committer->is_running = false;
}
