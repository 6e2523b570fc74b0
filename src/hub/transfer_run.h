// Inside transfer*.c: one run of a transfer.
#ifndef KNI_HUB_TRANSFER_RUN_H
#define KNI_HUB_TRANSFER_RUN_H

#include <pthread.h>

#include "hub/blob_hash.h"
#include "hub/cache_write.h"
#include "hub/progress.h"
#include "hub/transfer.h"

enum {
    KNI_TRANSFER_PARALLEL = 16, // requests at once
    KNI_TRANSFER_ROUND = 128,   // blobs that are locked at once: each takes a descriptor
};

typedef enum kni_want_state {
    KNI_WANT_TODO = 0,
    KNI_WANT_RUNNING, // in this round's requests
    KNI_WANT_WAITING, // another process (or thread) has its lock
    KNI_WANT_DONE,
} kni_want_state;

// One blob that is wanted, and the files that it is for.
typedef struct kni_want {
    size_t first_file; // in run->files, which stand by blob
    size_t n_files;
    size_t n_linked; // of them
    uint64_t size;
    uint64_t bytes; // received, or seen with another process; atomic, like the state, while it runs
    uint64_t seen;  // kni_cache_watch_blob's sum when it was looked at last
    kni_blob_lock lock;
    kni_want_state state;
    bool was_missing;   // when the run began: it counts for the progress
    bool is_downloaded; // by this run
    bool needs_no_lock; // its holder does not move, or there are no locks here
    char blob[KNI_SHA256_SIZE];
} kni_want;

static inline kni_want_state kni_want_state_of(const kni_want *want)
{
    return __atomic_load_n(&want->state, __ATOMIC_RELAXED);
}

typedef struct kni_run_file {
    const kni_tree_file *file;
    size_t want;
    bool is_there; // in the snapshot, though its blob is not in blobs/ (no symlinks)
    char blob[KNI_SHA256_SIZE];
} kni_run_file;

typedef struct kni_run kni_run;

// One that is being downloaded.
typedef struct kni_download {
    kni_run *run;
    kni_want *want;
    char *url;
    char *subject;
    kni_blob_file temporary;
    kni_blob_hash hash;
    char *block; // received, and neither written nor hashed yet
    size_t block_size;
    kni_http_request request;
    struct kni_download *next; // of those that wait for the disk
} kni_download;

// Brings what is received to the disk, on a thread of its own. All but is_running is under the run's lock.
typedef struct kni_committer {
    pthread_t thread;
    kni_download *first, **last;
    bool is_running;
    bool is_closed; // nothing more comes
    bool is_over;
} kni_committer;

struct kni_run {
    const kni_transfer *transfer;
    kni_cache_writer *writer;
    kni_run_file *files; // by blob, then path
    kni_want *wants;     // large ones first
    size_t n_wants;
    size_t n_waiting;
    size_t wait_at;      // where the watch goes on
    uint64_t looked_ms;  // when those that wait were looked at
    uint64_t growth_ms;  // when one of them was seen to grow
    uint64_t stall_ms;   // without growth, they are downloaded here
    bool is_downloading; // requests run: the wait is not for others alone
    kni_meter meter;
    kni_committer committer;
    pthread_mutex_t lock;   // over the error and the committer's queue
    kn_error error;         // the first failure: it ends the others
    pthread_cond_t changed; // the queue, or a thread that ended; by the monotonic clock
    bool is_over;           // it failed, or was cancelled; atomic
};

// transfer.c. Any thread.
void kni_run_fail(kni_run *run, kn_error *err); // takes the error, unless there is one
void kni_run_end(kni_run *run);
bool kni_run_is_over(const kni_run *run);

// transfer_names.c: run->files and run->wants. Asks the endpoint for the names of masked blobs.
kn_status kni_transfer_name(kni_run *run, kn_error *err);
void kni_append_file_url(const kni_run *run, const kni_tree_file *file, kni_buf *url,
                         kni_buf *subject);
// The commit that an answer names must be the transfer's; one that names none says nothing.
kn_status kni_answer_check_commit(const kni_run *run, const char *subject,
                                  const kni_http_answer *answer, kn_error *err);

// transfer_file.c
kn_status kni_download_init(kni_download *download, kni_run *run, kni_want *want, kn_error *err);
kn_status kni_download_open(kni_download *download, kn_error *err); // its temporary; fine twice
// When all bytes are there: do they hash to the name?
kn_status kni_download_check(kni_download *download, kn_error *err);
// What was checked gets its final name; the blob is done.
kn_status kni_download_commit(kni_download *download, kn_error *err);
void kni_download_close(kni_download *download); // what is not committed is gone
void kni_download_dispose(kni_download *download);

// transfer_wait.c
bool kni_want_is_there(kni_run *run, const kni_want *want);
// Tries to take it: TODO (it is ours), WAITING, or DONE.
kn_status kni_want_claim(kni_run *run, kni_want *want, kn_error *err);
void kni_want_settle(kni_run *run, kni_want *want, kni_want_state state);
// Looks after those that wait, at most ten times a second.
void kni_transfer_look(kni_run *run, uint64_t now_ms);

// transfer_commit.c
void kni_committer_start(kni_run *run); // without it everything is done where it is received
bool kni_committer_push(kni_run *run, kni_download *download); // false: there is none
void kni_committer_finish(kni_run *run);

// transfer_shares.c. A thread without signals: they are the caller's threads' to handle. The join keeps watch.
bool kni_thread_start(pthread_t *thread, void *(*start)(void *), void *user);
void kni_thread_end(kni_run *run, bool *is_over); // the last thing that it does
void kni_thread_join(kni_run *run, pthread_t thread, const bool *is_over);
// Runs the requests. Their failures are the run's; what is returned is a failure of all.
kn_status kni_transfer_fetch(kni_run *run, kni_download *downloads, size_t n, kn_error *err);

// transfer.c: for kni_http_watch, and while others are waited for; on the thread that called. True: the run is over.
bool kni_transfer_watch(void *run);

#endif
