// Inside the library: what a hub holds, and a resolved revision.
#ifndef KNI_HUB_HUB_H
#define KNI_HUB_HUB_H

#include "base/log.h"
#include "hub/answer.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/lock.h"
#include "hub/memo.h"
#include "hub/settings.h"
#include "kernels/hub.h"

struct kn_hub {
    kni_settings settings; // everything here is immutable
    kni_log log;
    kn_progress_fn progress;
    void *progress_user;
    kni_http *http;
    kni_cache **caches; // the user's first (when there is one), then the sites'
    size_t n_caches;
    bool has_own_cache; // caches[0] is the user's
    kni_memo *memo;     // what was asked in this run
};

// The same hub, whose requests say `user_agent` (borrowed): for one call. What is remembered is shared, so that nothing is asked twice
// for another agent. Not to be closed.
kn_hub kni_hub_as(const kn_hub *hub, char *user_agent);

struct kn_revision {
    kni_repo repo; // the final one
    char asked_id[KNI_REPO_ID_MAX];
    char commit[KNI_COMMIT_SIZE];
    char *ref;       // "" for a commit
    char *moved_to;  // ""
    char *publisher; // why the publisher rule is satisfied
    bool is_fixed;   // the commit was named in full: what is cached of it is enough
    kn_level level;
    kni_lock_entry *locked; // NULL: no kernels.lock; its hashes are checked at every load
    kni_sum_kernel *sums;   // NULL: not pinned
};

#endif
