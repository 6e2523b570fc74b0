// A client of a server on this machine, for the tests of HTTP: settings by hand, waits of milliseconds, a log that is kept.
#ifndef TEST_HTTP_CLIENT_H
#define TEST_HTTP_CLIENT_H

#include <pthread.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "hub/http.h"
#include "hub/http_test.h"
#include "support/cmocka.h"
#include "support/http_server.h"

typedef struct http_client {
    http_server *server;
    kni_settings settings;
    kni_log log;
    kni_buf lines;
    pthread_mutex_t lock; // over lines
    kni_http *http;
} http_client;

static inline void http_client_log(void *user, kn_log_level level, const char *text)
{
    http_client *client = user;
    pthread_mutex_lock(&client->lock);
    kni_buf_printf(&client->lines, "%d %s\n", (int)level, text);
    pthread_mutex_unlock(&client->lock);
}

// endpoint NULL: the server's, by 127.0.0.1. token NULL: none. Change client->settings before http_client_start.
static inline void http_client_init(http_client *client, const char *endpoint, const char *token)
{
    kn_error err = KN_ERROR_INIT;
    *client = (http_client){.lines = KNI_BUF_ANY, .lock = PTHREAD_MUTEX_INITIALIZER};
    client->server = http_server_new();
    if (!endpoint)
        endpoint = http_server_url(client->server, "127.0.0.1", "");
    client->log = (kni_log){http_client_log, client, KN_LOG_DEBUG};
    // The environment of who runs the tests is not theirs.
    static const char *const names[] = {"HTTP_PROXY",     "http_proxy",
                                        "HTTPS_PROXY",    "https_proxy",
                                        "ALL_PROXY",      "all_proxy",
                                        "NO_PROXY",       "no_proxy",
                                        "SSL_CERT_FILE",  "SSL_CERT_DIR",
                                        "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
                                        "HF_DEBUG",       "HUGGINGFACE_CO_STAGING"};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        unsetenv(names[i]);
    const kn_status st = kni_settings_init(
        &client->settings,
        KN_HUB_OPTIONS(.endpoint = endpoint, .token = token ? token : "", .cache_dir = "/nowhere",
                       .state_dir = "/nowhere", .timeout_ms = 10000),
        &err);
    if (st != KN_OK)
        fail_msg("settings: %s", kn_error_text(&err));
}

static inline void http_client_start(http_client *client)
{
    assert_int_equal(kni_http_new(&client->settings, &client->log, &client->http, NULL), KN_OK);
    kni_http_set_second(client->http, 2);
}

static inline void http_client_dispose(http_client *client)
{
    kni_http_free(client->http);
    http_server_free(client->server);
    kni_settings_dispose(&client->settings);
    kni_buf_dispose(&client->lines);
    pthread_mutex_destroy(&client->lock);
}

static inline void http_client_open(http_client *client, const char *token)
{
    http_client_init(client, NULL, token);
    http_client_start(client);
}

// What a file's request writes.
typedef struct http_sink {
    kni_buf bytes;
    unsigned n_rewinds;
} http_sink;

static inline kn_status http_sink_write(void *user, const void *data, size_t size, kn_error *err)
{
    http_sink *sink = user;
    (void)err;
    kni_buf_append(&sink->bytes, data, size);
    return KN_OK;
}

static inline kn_status http_sink_rewind(void *user, kn_error *err)
{
    http_sink *sink = user;
    (void)err;
    ++sink->n_rewinds;
    kni_buf_dispose(&sink->bytes);
    return KN_OK;
}

#define HTTP_SINK ((http_sink){.bytes = KNI_BUF_ANY})

static inline kni_http_request http_file(const char *url, http_sink *sink, size_t size)
{
    return (kni_http_request){.url = url,
                              .subject = "owner/name",
                              .any_origin = true,
                              .write = http_sink_write,
                              .rewind = http_sink_rewind,
                              .size = size,
                              .user = sink};
}

#endif
