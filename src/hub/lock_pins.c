// The pins of all repositories, several at once: each takes a few questions, one after the other, and most of the time they wait.
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "hub/crew.h"
#include "hub/lock_make.h"

enum { N_THREADS_MAX = 8 };

// One repository. What is written is its own.
typedef struct task {
    kni_lock_job job; // with a trace of its own
    const kni_lock_want *want;
    kni_sum_kernel *sum;
    kni_lock_entry *entry;
    kn_status status;
    kn_error error;
} task;

typedef struct tasks {
    task *items;
    size_t count;
    atomic_size_t next;
    kni_crew crew;
    atomic_bool has_failed; // what is not begun is not wanted any more
} tasks;

static void work_by(tasks *all, kn_hub *hub)
{
    while (!atomic_load(&all->has_failed)) {
        const size_t i = atomic_fetch_add(&all->next, 1);
        if (i >= all->count)
            break;
        task *one = &all->items[i];
        one->job.hub = hub;
        one->status = kni_lock_pin(&one->job, one->want, one->sum, one->entry, &one->error);
        if (one->status != KN_OK)
            atomic_store(&all->has_failed, true);
        if (one->status == KN_ERR_CANCELLED)
            kni_crew_stop(&all->crew);
    }
}

static void *work(void *data)
{
    tasks *all = data;
    work_by(all, &all->crew.hub);
    return NULL;
}

// This thread works too, so that all is done where no other can be had.
static void work_together(tasks *all, kn_hub *hub)
{
    pthread_t threads[N_THREADS_MAX - 1];
    size_t n = 0;
    kni_crew_init(&all->crew, hub);
    while (n < KN_LEN(threads) && n + 1 < all->count &&
           pthread_create(&threads[n], NULL, work, all) == 0)
        ++n;
    work_by(all, hub);
    for (size_t i = 0; i < n; ++i)
        kni_crew_join(&all->crew, threads[i], "");
}

static kn_status prepare(const kni_lock_job *job, const kni_lock_wants *wants, kni_lock *lock,
                         kni_sums *sums, tasks *all, kn_error *err)
{
    for (size_t i = 0; i < wants->count; ++i) {
        task *one = &all->items[all->count++];
        *one = (task){.job = *job,
                      .want = &wants->items[i],
                      .sum = &sums->kernels[sums->count++],
                      .entry = &lock->entries[lock->count++],
                      .error = KN_ERROR_INIT};
        one->job.trace = job->trace ? kn_trace_new() : NULL;
        if (job->trace && !one->job.trace)
            return kni_no_memory(err);
    }
    return KN_OK;
}

kn_status kni_lock_pins(kni_lock_job *job, const kni_lock_wants *wants, kni_lock *lock,
                        kni_sums *sums, kn_error *err)
{
    tasks all = {.items = kni_calloc(wants->count, sizeof(*all.items))};
    lock->entries = kni_calloc(wants->count, sizeof(*lock->entries));
    sums->kernels = kni_calloc(wants->count, sizeof(*sums->kernels));
    kn_status st = all.items && lock->entries && sums->kernels ? KN_OK : kni_no_memory(err);
    if (st == KN_OK)
        st = prepare(job, wants, lock, sums, &all, err);
    if (st == KN_OK)
        work_together(&all, job->hub);
    for (size_t i = 0; i < all.count; ++i) {
        task *one = &all.items[i];
        job->is_stale |= one->job.is_stale;
        if (st == KN_OK && !kni_trace_append(job->trace, one->job.trace))
            st = kni_no_memory(err);
        if (st == KN_OK && one->status != KN_OK)
            st = kni_error_move(err, &one->error);
        kn_error_dispose(&one->error);
        kn_trace_free(one->job.trace);
    }
    if (st == KN_OK && kni_crew_is_stopped(&all.crew)) // when all was done already
        st = kn_error_set(err, KN_ERR_CANCELLED, "cancelled");
    kni_free(all.items);
    return st;
}
