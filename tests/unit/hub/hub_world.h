// A hub, a server that it asks, a cache and a place for records: a world for the tests of resolving and fetching.
#ifndef TEST_HUB_WORLD_H
#define TEST_HUB_WORLD_H

#include <pthread.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "hub/blob_hash.h"
#include "hub/http_test.h"
#include "hub/hub.h"
#include "support/cmocka.h"
#include "support/http_server.h"
#include "support/temp_dir.h"

#define WORLD_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define WORLD_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define WORLD_C "cccccccccccccccccccccccccccccccccccccccc"
#define WORLD_D "dddddddddddddddddddddddddddddddddddddddd"
#define WORLD_VARIANT "tvm-ffi01-cpu-x86_64-linux"
#define WORLD_METADATA "{\"name\": \"n\"}"

typedef struct hub_world {
    http_server *server;
    char *dir;
    kn_hub *hub;
    kni_buf log;
    pthread_mutex_t lock; // over log
} hub_world;

static inline void hub_world_log(void *user, kn_log_level level, const char *text)
{
    hub_world *w = user;
    pthread_mutex_lock(&w->lock);
    kni_buf_printf(&w->log, "%d %s\n", (int)level, text);
    pthread_mutex_unlock(&w->lock);
}

// Opens the hub, anew after a first time. flags: of the hub; trusted: the endpoint is.
static inline void hub_world_open(hub_world *w, uint32_t flags, bool trusted)
{
    char cache[4096], state[4096];
    const char *endpoint = http_server_url(w->server, "127.0.0.1", "");
    kn_error err = KN_ERROR_INIT;
    kn_hub_close(w->hub);
    w->hub = NULL;
    snprintf(cache, sizeof(cache), "%s/cache", w->dir);
    snprintf(state, sizeof(state), "%s/state", w->dir);
    const kn_status st = kn_hub_open(
        KN_HUB_OPTIONS(.endpoint = endpoint, .token = "", .cache_dir = cache, .state_dir = state,
                       .trusted_endpoints = &endpoint, .n_trusted_endpoints = trusted ? 1 : 0,
                       .log = hub_world_log, .log_user = w, .log_level = KN_LOG_INFO,
                       .flags = flags & KN_HUB_OFFLINE ? flags : flags | KN_HUB_ONLINE),
        &w->hub, &err);
    if (st != KN_OK)
        fail_msg("the hub: %s", kn_error_text(&err));
    kni_http_set_second(w->hub->http, 2);
}

static inline void hub_world_init(hub_world *w)
{
    static const char *const names[] = {"HTTP_PROXY",         "http_proxy",
                                        "ALL_PROXY",          "all_proxy",
                                        "HF_DEBUG",           "KERNELS_TRUSTED_ENDPOINTS",
                                        "KERNELS_SITE_CACHES"};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        unsetenv(names[i]);
    *w = (hub_world){.log = KNI_BUF_ANY, .lock = PTHREAD_MUTEX_INITIALIZER};
    w->server = http_server_new();
    w->dir = temp_dir_new();
}

static inline void hub_world_dispose(hub_world *w)
{
    kn_hub_close(w->hub);
    http_server_free(w->server);
    temp_dir_remove(w->dir);
    kni_buf_dispose(&w->log);
    pthread_mutex_destroy(&w->lock);
}

// An answer, for ever. Strings are borrowed.
static inline void hub_world_answer(hub_world *w, const char *path, const char *body)
{
    http_server_add(w->server, (http_reply){.path = path, .body = body, .times = -1});
}

// kernel-status.toml, asked for by a ref that is this commit.
static inline void hub_world_status(hub_world *w, const char *path, const char *head,
                                    const char *body)
{
    http_server_add(w->server, (http_reply){.path = path, .head = head, .body = body, .times = -1});
}

static inline void hub_world_refuse(hub_world *w, const char *path, const char *head)
{
    http_server_add(w->server, (http_reply){.path = path, .head = head, .times = -1});
}

#define WORLD_NO_REPO "HTTP/1.1 404 Not Found\r\nX-Error-Code: RepoNotFound\r\n"
#define WORLD_TRUSTED "{\"name\": \"o\", \"trustedKernelPublisher\": true}"
#define WORLD_REFS                                                                                 \
    "{\"branches\": [{\"name\": \"main\", \"ref\": \"refs/heads/main\", \"targetCommit\": "        \
    "\"" WORLD_A "\"}, {\"name\": \"v2\", \"targetCommit\": \"" WORLD_B "\"},"                     \
    "{\"name\": \"dev\", \"targetCommit\": \"" WORLD_D "\"}],"                                     \
    "\"tags\": [{\"name\": \"v0.1.0\", \"targetCommit\": \"" WORLD_B "\"},"                        \
    "{\"name\": \"v0.2.0\", \"targetCommit\": \"" WORLD_C "\"},"                                   \
    "{\"name\": \"v0.3.0rc1\", \"targetCommit\": \"" WORLD_A "\"},"                                \
    "{\"name\": \"nightly\", \"targetCommit\": \"" WORLD_D "\"}], \"converts\": []}"

// How often a path was asked for.
static inline size_t hub_world_count(hub_world *w, const char *path)
{
    char line[1024];
    size_t n = 0;
    snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n", path);
    for (size_t i = 0; i < http_server_count(w->server); ++i)
        n += strncmp(http_server_request(w->server, i), line, strlen(line)) == 0;
    return n;
}

#endif
