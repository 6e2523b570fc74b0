#include "hub/ahead.h"

#include <stdio.h>

static void *run(void *data)
{
    kni_ahead *ahead = data;
    ahead->ask(ahead);
    return NULL;
}

static void begin(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo, const char *what,
                  void (*ask)(kni_ahead *ahead))
{
    *ahead = (kni_ahead){.hub = hub, .repo = *repo, .ask = ask};
    snprintf(ahead->what, sizeof(ahead->what), "%s", what);
    ahead->is_running = pthread_create(&ahead->thread, NULL, run, ahead) == 0;
}

static void ask_publisher(kni_ahead *ahead)
{
    const kni_known_publisher *known = NULL;
    kni_ask_publisher(ahead->hub, ahead->what, &known, NULL);
}

static void ask_tree(kni_ahead *ahead)
{
    const kni_known_tree *known = NULL;
    kni_ask_tree(ahead->hub, &ahead->repo, ahead->what, false, &known, NULL);
}

static void ask_moved(kni_ahead *ahead)
{
    const kni_known_moved *moved = NULL;
    kni_ask_moved(ahead->hub, &ahead->repo, ahead->what, &moved, NULL);
}

void kni_ahead_publisher(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo)
{
    char owner[KNI_REPO_ID_MAX];
    kni_repo_owner(repo, owner);
    begin(ahead, hub, repo, owner, ask_publisher);
}

void kni_ahead_tree(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo, const char *commit)
{
    begin(ahead, hub, repo, commit, ask_tree);
}

void kni_ahead_moved(kni_ahead *ahead, kn_hub *hub, const kni_repo *repo, const char *ref)
{
    begin(ahead, hub, repo, ref, ask_moved);
}

void kni_ahead_end(kni_ahead *ahead)
{
    if (ahead->is_running)
        pthread_join(ahead->thread, NULL);
    ahead->is_running = false;
}
