// Inside the library: what a hub holds, and a resolved revision.
#ifndef KNI_HUB_HUB_H
#define KNI_HUB_HUB_H

#include <pthread.h>

#include "base/log.h"
#include "hub/answer.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/lock.h"
#include "hub/settings.h"
#include "kernels/hub.h"

typedef struct kni_known kni_known; // what was asked of one repository in this run

struct kn_hub {
    kni_settings settings; // immutable, like the next four
    kni_log log;
    kn_progress_fn progress;
    void *progress_user;
    kni_http *http;
    kni_cache **caches; // the user's first (when there is one), then the sites'
    size_t n_caches;
    bool has_own_cache;   // caches[0] is the user's
    pthread_mutex_t lock; // over `known`, its answers, and what was warned of
    pthread_cond_t settled;
    kni_known *known;
    kni_names warned;
};

struct kn_revision {
    kni_repo repo; // the final one
    char asked_id[KNI_REPO_ID_MAX];
    char commit[KNI_COMMIT_SIZE];
    char *ref;       // "" for a commit
    char *moved_to;  // ""
    char *publisher; // why the publisher rule is satisfied
    bool was_cached; // the commit was known without asking the endpoint
    kn_level level;
    kni_lock_entry *locked; // NULL: no kernels.lock; its hashes are checked at every load
    kni_sum_kernel *sums;   // NULL: not pinned
};

#endif
