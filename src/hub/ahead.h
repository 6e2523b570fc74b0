// A question that is asked on a thread of its own while the caller asks another: what it says is remembered, and found when it is wanted.
// One that cannot be asked ahead (no thread) is asked then.
#ifndef KNI_HUB_AHEAD_H
#define KNI_HUB_AHEAD_H

#include <pthread.h>

#include "hub/ask.h"

typedef struct kni_ahead {
    kn_hub *hub;
    kni_repo repo;
    char what[KNI_REPO_ID_MAX]; // the owner, the commit, the ref
    void (*ask)(struct kni_ahead *ahead);
    pthread_t thread;
    bool is_running;
} kni_ahead;

// The struct stays where it is until kni_ahead_end.
void kni_ahead_publisher(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo);
void kni_ahead_tree(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo, const char *commit);
void kni_ahead_moved(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo, const char *ref);
// Waits for it. Fine on zeros, and twice.
void kni_ahead_end(kni_ahead *ahead);

#endif
