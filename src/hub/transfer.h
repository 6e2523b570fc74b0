// Files of one commit into the cache: once per machine, checked while they stream in, visible only when they are whole.
#ifndef KNI_HUB_TRANSFER_H
#define KNI_HUB_TRANSFER_H

#include "hub/cache.h"
#include "hub/http.h"
#include "kernels/hub.h"

typedef struct kni_transfer {
    kni_cache *cache;
    kni_http *http;
    const kni_log *log;
    const char *endpoint;
    const char *user_agent; // NULL: that of the settings
    const kni_repo *repo;
    const char *commit;
    const char *variant; // for the progress; "" for several
    const kni_tree_file *const
        *files; // whose blob's name may be unknown (masked): then the answer's ETag names it
    size_t n_files;
    bool *all_new; // NULL, or set: every large file was downloaded and hashed by this run
    bool
        links; // put them into the snapshot when all are there, metadata.json files last; else blobs alone
    kn_progress_fn progress; // NULL: nobody is told
    void *progress_user;
    uint32_t
        stall_ms; // how long another process may write nothing; 0: 30 000, and up to half of it more
} kni_transfer;

// Each file that has no blob is downloaded into blobs/{blob}.kn-{8 hex}.incomplete, hashed as it comes, fdatasync'ed, renamed; the first
// failure ends the others. Blobs that are there are used when their size is right. A blob whose lock (.locks/{folder}/{blob}.lock, flock)
// another process holds is waited for; when its temporary does not grow for 30 s, or the lock gets free without the blob, it is
// downloaded here. Locks are hints: where they cannot be had, it goes on without. Our temporaries that nobody has locked are removed.
// Error: KN_ERR_UNTRUSTED (hash), KN_ERR_IO (disk full, read only: the path and what to do), KN_ERR_CANCELLED, and those of the network.
kn_status kni_transfer_run(const kni_transfer *transfer, kn_error *err);

#endif
