#include "hub/ahead.h"

#include <stdio.h>

#include "base/error.h"

static void *run(void *data)
{
    kni_ahead *ahead = data;
    ahead->ask(ahead);
    return NULL;
}

static void begin(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo, const char *what,
                  void (*ask)(kni_ahead *ahead))
{
    *ahead = (kni_ahead){.repo = *repo, .ask = ask};
    kni_crew_init(&ahead->crew, hub);
    snprintf(ahead->what, sizeof(ahead->what), "%s", what);
    ahead->is_running = pthread_create(&ahead->thread, NULL, run, ahead) == 0;
}

static void ask_publisher(kni_ahead *ahead)
{
    const kni_known_publisher *known = NULL;
    kni_ask_publisher(&ahead->crew.hub, ahead->what, &known, NULL);
}

static void ask_tree(kni_ahead *ahead)
{
    const kni_known_tree *known = NULL;
    kni_ask_tree(&ahead->crew.hub, &ahead->repo, ahead->what, false, &known, NULL);
}

static void ask_moved(kni_ahead *ahead)
{
    const kni_known_moved *moved = NULL;
    kni_ask_moved(&ahead->crew.hub, &ahead->repo, ahead->what, &moved, NULL);
}

void kni_ahead_publisher(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo)
{
    char owner[KNI_REPO_ID_MAX];
    kni_repo_owner(repo, owner);
    begin(ahead, hub, repo, owner, ask_publisher);
}

void kni_ahead_tree(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo, const char *commit)
{
    begin(ahead, hub, repo, commit, ask_tree);
}

void kni_ahead_moved(kni_ahead *ahead, const kn_hub *hub, const kni_repo *repo, const char *ref)
{
    begin(ahead, hub, repo, ref, ask_moved);
}

kn_status kni_ahead_end(kni_ahead *ahead, kn_status st, kn_error *err)
{
    if (!ahead->is_running)
        return st;
    if (st == KN_ERR_CANCELLED)
        kni_crew_stop(&ahead->crew);
    kni_crew_join(&ahead->crew, ahead->thread, ahead->repo.id);
    ahead->is_running = false;
    if (st == KN_ERR_CANCELLED || !kni_crew_is_stopped(&ahead->crew))
        return st;
    kn_error_dispose(err); // what the caller's question said
    return kn_error_set(err, KN_ERR_CANCELLED, "%s: cancelled", ahead->repo.id);
}
