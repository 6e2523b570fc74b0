// Threads that ask for a caller, who can still be interrupted: the caller's thread asks the progress callback while it waits for them,
// and what they do ends when the callback says so.
#ifndef KNI_HUB_CREW_H
#define KNI_HUB_CREW_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/hub.h"

typedef struct kni_crew {
    kn_hub hub; // what the threads ask by: the same, but its callback is told of downloads alone
    const kn_hub *callers;
    atomic_bool is_stopped;
} kni_crew;

// The crew stays where it is until every thread is joined.
void kni_crew_init(kni_crew *crew, const kn_hub *hub);
// Whatever a thread of the crew waits for ends with KN_ERR_CANCELLED.
void kni_crew_stop(kni_crew *crew);
bool kni_crew_is_stopped(const kni_crew *crew);
// Waits for a thread. repo_id: of the progress that is told meanwhile.
void kni_crew_join(kni_crew *crew, pthread_t thread, const char *repo_id);

#endif
