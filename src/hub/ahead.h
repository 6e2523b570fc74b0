// A question that is asked on a thread of its own while the caller asks another: what it says is remembered, and found when it is wanted.
// One that cannot be asked ahead (no thread) is asked then.
#ifndef KNI_HUB_AHEAD_H
#define KNI_HUB_AHEAD_H

#include <pthread.h>

#include "hub/ask.h"
#include "hub/crew.h"

typedef struct kni_ahead {
    kni_crew crew;
    kni_repo repo;
    char what[KNI_REPO_ID_MAX]; // the owner, the commit, the ref
    void (*ask)(struct kni_ahead *ahead);
    pthread_t thread;
    bool is_running;
} kni_ahead;

// The struct stays where it is until kni_ahead_end.
void kni_ahead_publisher(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo);
void kni_ahead_tree(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo, const char *commit);
void kni_ahead_moved(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo, const char *ref);
// Waits for it, or ends it where `st`, how the caller's own question went, is KN_ERR_CANCELLED. Fine on zeros, and twice. Returns st, or
// KN_ERR_CANCELLED when the progress callback said so meanwhile.
kn_status kni_ahead_end(kni_ahead *ahead, kn_status st, kn_error *err);

#endif
