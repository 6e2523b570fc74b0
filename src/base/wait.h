// A condition that is waited for in short steps, since something else has to be looked at meanwhile.
#ifndef KNI_BASE_WAIT_H
#define KNI_BASE_WAIT_H

#include <pthread.h>
#include <time.h>

#define KNI_LOOK_MS 50 // between two looks at whether to go on

// When the next look is due, by that clock.
struct timespec kni_next_look(clockid_t clock);

// On the monotonic clock.
void kni_cond_init(pthread_cond_t *cond);
// Waits until it is signalled, KNI_LOOK_MS at most. Of a condition of kni_cond_init.
void kni_cond_look(pthread_cond_t *cond, pthread_mutex_t *lock);

#endif
