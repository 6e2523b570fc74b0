#include "hub/crew.h"

#include <errno.h>

#include "base/wait.h"
#include "hub/ask.h"

static int on_progress(void *user, const kn_progress *progress)
{
    kni_crew *crew = user;
    const kn_hub *hub = crew->callers;
    if (!kni_crew_is_stopped(crew) && progress->files_total > 0 && hub->progress &&
        hub->progress(hub->progress_user, progress) != 0)
        kni_crew_stop(crew);
    return kni_crew_is_stopped(crew);
}

void kni_crew_init(kni_crew *crew, const kn_hub *hub)
{
    crew->hub = *hub;
    crew->hub.progress = on_progress;
    crew->hub.progress_user = crew;
    crew->callers = hub;
    atomic_init(&crew->is_stopped, false);
}

void kni_crew_stop(kni_crew *crew)
{
    atomic_store(&crew->is_stopped, true);
}

bool kni_crew_is_stopped(const kni_crew *crew)
{
    return atomic_load(&crew->is_stopped);
}

// By the clock that pthread_timedjoin_np knows: one that is set back makes a look late, no more.
static bool joins_soon(pthread_t thread)
{
    const struct timespec until = kni_next_look(CLOCK_REALTIME);
    return pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
}

void kni_crew_join(kni_crew *crew, pthread_t thread, const char *repo_id)
{
    kni_ask_watch watch = {crew->callers, repo_id};
    while (!joins_soon(thread))
        if (!kni_crew_is_stopped(crew) && kni_ask_is_cancelled(&watch))
            kni_crew_stop(crew);
}
