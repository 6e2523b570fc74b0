#include <unistd.h>

#include "base/error.h"
#include "hub/transfer_run.h"

enum {
    LOOK_MS = 100,
    WATCH_MAX =
        4, // waiting wants that are watched at a look: each costs a reading of the directory
};

bool kni_want_is_there(kni_run *run, const kni_want *want)
{
    if (kni_cache_has_blob(run->writer, want->blob, want->size))
        return true;
    bool all = run->transfer->links;
    for (size_t i = 0; all && i < want->n_files; ++i) {
        kni_run_file *file = &run->files[want->first_file + i];
        file->is_there = kni_cache_has_file(run->writer, run->transfer->commit, file->file->path,
                                            want->blob, want->size);
        all = file->is_there;
    }
    return all;
}

void kni_want_settle(kni_run *run, kni_want *want, kni_want_state state)
{
    if (kni_want_state_of(want) == KNI_WANT_WAITING)
        --run->n_waiting;
    if (state == KNI_WANT_WAITING && run->n_waiting++ == 0)
        run->growth_ms = kni_clock_ms(); // patience begins with the wait, not with the run
    if (state == KNI_WANT_DONE) {
        __atomic_store_n(&want->bytes, want->size, __ATOMIC_RELAXED);
        kni_cache_unlock_blob(&want->lock);
    }
    __atomic_store_n(&want->state, state, __ATOMIC_RELAXED);
}

kn_status kni_want_claim(kni_run *run, kni_want *want, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (want->lock.fd >= 0 || want->needs_no_lock)
        return KN_OK;
    kn_status st = kni_cache_lock_blob(run->writer, want->blob, &want->lock, &why);
    if (st == KN_ERR_UNSUPPORTED) {
        kni_log_write(run->transfer->log, KN_LOG_DEBUG, "%s: goes on without a lock: %s",
                      run->transfer->repo->id, kn_error_text(&why));
        want->needs_no_lock = true;
        st = KN_OK;
    }
    if (st != KN_OK) {
        kni_error_move(err, &why);
        return st;
    }
    kn_error_dispose(&why);
    // Who had the lock may have finished it between the last look and now.
    if (kni_want_is_there(run, want))
        kni_want_settle(run, want, KNI_WANT_DONE);
    else if (want->lock.fd < 0 && !want->needs_no_lock)
        kni_want_settle(run, want, KNI_WANT_WAITING);
    else
        kni_want_settle(run, want, KNI_WANT_TODO);
    return KN_OK;
}

// Its holder is alive as long as what it writes grows; else its lock is tried, which a dead one has lost.
static void watch_want(kni_run *run, kni_want *want, uint64_t now_ms)
{
    uint64_t seen = 0, largest = 0;
    kn_error err = KN_ERROR_INIT;
    kni_cache_watch_blob(run->writer, want->blob, &seen, &largest);
    want->bytes = largest < want->size ? largest : want->size;
    if (seen != want->seen) {
        want->seen = seen;
        run->growth_ms = now_ms;
    } else if (kni_want_claim(run, want, &err) != KN_OK) {
        kni_run_fail(run, &err);
    } else if (kni_want_state_of(want) != KNI_WANT_WAITING) {
        run->growth_ms = now_ms;
    }
}

void kni_transfer_look(kni_run *run, uint64_t now_ms)
{
    if (run->n_waiting == 0 || now_ms - run->looked_ms < LOOK_MS)
        return;
    run->looked_ms = now_ms;
    for (size_t j = 0; j < run->n_wants && run->n_waiting; ++j) {
        kni_want *want = &run->wants[j];
        if (kni_want_state_of(want) == KNI_WANT_WAITING &&
            kni_cache_has_blob(run->writer, want->blob, want->size)) {
            kni_want_settle(run, want, KNI_WANT_DONE);
            run->growth_ms = now_ms;
        }
    }
    size_t n_watched = 0;
    for (size_t n = 0; n < run->n_wants && n_watched < WATCH_MAX && run->n_waiting; ++n) {
        kni_want *want = &run->wants[run->wait_at++ % run->n_wants];
        if (kni_want_state_of(want) != KNI_WANT_WAITING)
            continue;
        ++n_watched;
        watch_want(run, want, now_ms);
    }
    // One growing file excuses the others: who downloads many in turn does not write to all of them. The wait may have begun after
    // `now_ms` was taken, so no difference is formed.
    if (run->n_waiting == 0 || now_ms < run->growth_ms + run->stall_ms)
        return;
    kni_log_write(run->transfer->log, KN_LOG_INFO,
                  "%s: another process holds the lock of %zu blobs and has written nothing for "
                  "%llu s: they are downloaded here",
                  run->transfer->repo->id, run->n_waiting,
                  (unsigned long long)(run->stall_ms / 1000));
    for (size_t j = 0; j < run->n_wants; ++j) {
        if (kni_want_state_of(&run->wants[j]) == KNI_WANT_WAITING) {
            run->wants[j].needs_no_lock = true;
            kni_want_settle(run, &run->wants[j], KNI_WANT_TODO);
        }
    }
}
