#include "hub/memo.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/wait.h"

typedef struct cell {
    struct cell *next;
    char *key;
    bool is_busy;    // somebody finds the answer
    bool is_dropped; // not the answer any more; kept, since it is borrowed
    kn_error error;
    void *answer;
    void (*dispose)(void *answer);
} cell;

struct kni_memo {
    pthread_mutex_t lock; // over the list and its cells; an answer is immutable
    pthread_cond_t settled;
    cell *cells;
};

kni_memo *kni_memo_new(void)
{
    kni_memo *memo = kni_calloc(1, sizeof(*memo));
    if (!memo)
        return NULL;
    pthread_mutex_init(&memo->lock, NULL); // the default kinds cannot fail on Linux
    kni_cond_init(&memo->settled);
    return memo;
}

static void free_cell(cell *c)
{
    if (c->answer && c->dispose)
        c->dispose(c->answer);
    kn_error_dispose(&c->error);
    kni_free(c->key);
    kni_free(c);
}

void kni_memo_free(kni_memo *memo)
{
    if (!memo)
        return;
    while (memo->cells) {
        cell *c = memo->cells;
        memo->cells = c->next;
        free_cell(c);
    }
    pthread_cond_destroy(&memo->settled);
    pthread_mutex_destroy(&memo->lock);
    kni_free(memo);
}

static cell **find(kni_memo *memo, const char *key)
{
    cell **at = &memo->cells;
    while (*at && ((*at)->is_dropped || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

static cell *add(kni_memo *memo, const char *key)
{
    cell *c = kni_calloc(1, sizeof(*c));
    char *copy = kni_strdup(key);
    if (!c || !copy) {
        kni_free(c);
        kni_free(copy);
        return NULL;
    }
    c->key = copy;
    c->next = memo->cells;
    memo->cells = c;
    return c;
}

static kn_status say(const cell *c, const void **answer, kn_error *err)
{
    if (c->error.status != KN_OK)
        return kn_error_set(err, c->error.status, "%s", kn_error_text(&c->error));
    *answer = c->answer;
    return KN_OK;
}

// Under the lock: what make said. A failure that may pass is forgotten, so that the next one asks again.
static void settle(kni_memo *memo, cell *c, kn_status st)
{
    c->is_busy = false;
    if (st == KN_ERR_CANCELLED || st == KN_ERR_NO_MEMORY) {
        cell **at = &memo->cells;
        while (*at != c)
            at = &(*at)->next;
        *at = c->next;
        free_cell(c);
    }
    pthread_cond_broadcast(&memo->settled);
}

kn_status kni_memo_get(kni_memo *memo, const char *key, kni_memo_make make,
                       bool (*is_cancelled)(void *user), void *user, void (*dispose)(void *answer),
                       const void **answer, kn_error *err)
{
    *answer = NULL;
    pthread_mutex_lock(&memo->lock);
    cell *c;
    while ((c = *find(memo, key)) && c->is_busy) {
        kni_cond_look(&memo->settled, &memo->lock);
        pthread_mutex_unlock(&memo->lock);
        if (is_cancelled && is_cancelled(user))
            return kn_error_set(err, KN_ERR_CANCELLED, "cancelled");
        pthread_mutex_lock(&memo->lock);
    }
    if (c) {
        const kn_status st = say(c, answer, err);
        pthread_mutex_unlock(&memo->lock);
        return st;
    }
    c = add(memo, key);
    if (c) {
        c->is_busy = true;
        c->dispose = dispose;
    }
    pthread_mutex_unlock(&memo->lock);
    if (!c)
        return kni_no_memory(err);

    void *made = NULL;
    kn_error why = KN_ERROR_INIT;
    kn_status st = make(user, &made, &why);
    pthread_mutex_lock(&memo->lock);
    c->answer = made;
    c->error = why;
    c->error.status = st;
    if (st == KN_ERR_NO_MEMORY)
        kni_no_memory(err);
    else
        say(c, answer, err);
    settle(memo, c, st);
    pthread_mutex_unlock(&memo->lock);
    return st;
}

void kni_memo_forget(kni_memo *memo)
{
    pthread_mutex_lock(&memo->lock);
    for (cell **at = &memo->cells; *at;) {
        cell *c = *at;
        if (!c->is_busy && c->error.status != KN_OK) { // nobody borrows a failure
            *at = c->next;
            free_cell(c);
            continue;
        }
        c->is_dropped = c->is_dropped || c->is_busy || c->answer;
        at = &c->next;
    }
    // Who waits for a dropped answer asks by itself.
    pthread_cond_broadcast(&memo->settled);
    pthread_mutex_unlock(&memo->lock);
}

bool kni_memo_first(kni_memo *memo, const char *key)
{
    pthread_mutex_lock(&memo->lock);
    const bool is_first = !*find(memo, key) && add(memo, key);
    pthread_mutex_unlock(&memo->lock);
    return is_first;
}
