#include "base/wait.h"

void kni_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock); // the default kinds cannot fail on Linux
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &clock);
    pthread_condattr_destroy(&clock);
}

struct timespec kni_next_look(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    at.tv_nsec += KNI_LOOK_MS * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        ++at.tv_sec;
    }
    return at;
}

void kni_cond_look(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    const struct timespec until = kni_next_look(CLOCK_MONOTONIC);
    pthread_cond_timedwait(cond, lock, &until);
}
