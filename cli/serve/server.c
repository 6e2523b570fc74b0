#include "server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../output.h"
#include "host.h"
#include "log.h"

enum {
    CONNECTIONS_MAX = 2048,
    IDLE_SECONDS = 120,
    CONNECTION_MEMORY = 32 * 1024, // bounds the line and the headers of a request
    THREAD_STACK = 1024 * 1024,
    BODY_SIZE_MAX = 1 << 20,
};

struct serve_server {
    serve_config *config;
    struct MHD_Daemon *daemon;
    int socket;           // -1: it accepts nothing more
    pthread_mutex_t lock; // of n_running
    pthread_cond_t idle;
    size_t n_running;
};

static void end(serve_server *server, serve_request *request)
{
    if (request->is_running) {
        pthread_mutex_lock(&server->lock);
        if (--server->n_running == 0)
            pthread_cond_broadcast(&server->idle);
        pthread_mutex_unlock(&server->lock);
    }
    serve_target_dispose(&request->target);
    free(request->text);
    free(request->body);
    free(request);
}

// Where a connection keeps its request. The library does not tell of the end of every request that it tells the beginning of:
// not of one whose query has more parts than it can take. Those end with the connection.
static serve_request **place_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **place,
                          enum MHD_ConnectionNotificationCode what)
{
    serve_request **request;
    (void)connection;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *place = cli_alloc(sizeof(*request));
        return;
    }
    request = *place;
    if (*request)
        end(user, *request);
    free(request);
    *place = NULL;
}

static void *begin_request(void *user, const char *text, struct MHD_Connection *connection)
{
    serve_server *server = user;
    serve_request **place = place_of(connection);
    if (*place)
        end(server, *place);
    serve_request *request = cli_alloc(sizeof(*request));
    *place = request;
    request->config = server->config;
    request->connection = connection;
    request->text = cli_format("%s", text);
    clock_gettime(CLOCK_MONOTONIC, &request->began);
    return request;
}

static void end_request(void *user, struct MHD_Connection *connection, void **place,
                        enum MHD_RequestTerminationCode how)
{
    serve_server *server = user;
    serve_request *request = *place;
    if (!request)
        return;
    if (server->config->log && request->status)
        serve_log_request(server->config->log, request, how != MHD_REQUEST_TERMINATED_COMPLETED_OK);
    end(server, request);
    *place_of(connection) = NULL;
    *place = NULL;
}

// Takes as long whichever byte differs.
static bool is_token(const char *header, const char *token)
{
    const size_t size = strlen(token);
    if (strncasecmp(header, "Bearer ", 7) != 0)
        return false;
    header += 7 + strspn(header + 7, " ");
    return strlen(header) == size && CRYPTO_memcmp(header, token, size) == 0;
}

static bool is_too_large(const serve_request *request)
{
    const char *size = serve_request_header(request, "Content-Length");
    return size && strtoull(size, NULL, 10) > BODY_SIZE_MAX;
}

static enum MHD_Result answer(serve_request *request)
{
    const char *why = NULL;
    const char *token = request->config->token;
    const char *header = serve_request_header(request, "Authorization");
    if (!serve_host_is_ours(request->config, serve_request_header(request, "Host")))
        return serve_fail(
            request, MHD_HTTP_MISDIRECTED_REQUEST, NULL, NULL,
            "this server does not go by the name in the Host header; --url tells it one");
    if (token && !header)
        return serve_fail(request, MHD_HTTP_UNAUTHORIZED, NULL, NULL,
                          "this server asks for a token, and none was sent");
    if (token && !is_token(header, token)) // clients know these words
        return serve_fail(request, MHD_HTTP_UNAUTHORIZED, NULL, NULL,
                          "Invalid credentials in Authorization header");
    if (!serve_is_get(request) && strcmp(request->method, "POST") != 0)
        return serve_fail_method(request, "GET, HEAD, POST");
    if (is_too_large(request))
        return serve_fail(request, MHD_HTTP_CONTENT_TOO_LARGE, NULL, NULL,
                          "the body is larger than %d bytes", BODY_SIZE_MAX);
    if (!serve_target_parse(request->text, &request->target, &why))
        return serve_fail(request, MHD_HTTP_BAD_REQUEST, NULL, NULL, "%s", why);
    return serve_answer(request);
}

// False: it is too large, and did not say so before.
static bool take_body(serve_request *request, const char *data, size_t size)
{
    if (size > BODY_SIZE_MAX - request->body_size)
        return false;
    request->body = cli_resize(request->body, request->body_size + size + 1);
    memcpy(request->body + request->body_size, data, size);
    request->body_size += size;
    request->body[request->body_size] = '\0';
    return true;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **place)
{
    serve_server *server = user;
    serve_request *request = *place;
    (void)connection;
    (void)url;
    (void)version;
    if (!request->is_running) { // the headers are there; a body may follow
        request->method = method;
        request->is_running = true;
        pthread_mutex_lock(&server->lock);
        ++server->n_running;
        pthread_mutex_unlock(&server->lock);
        // Nobody waits for a body that is refused anyway.
        const bool takes_body = strcmp(method, "POST") == 0 && !is_too_large(request);
        return takes_body || serve_is_get(request) ? MHD_YES : answer(request);
    }
    if (*data_size > 0) {
        const bool is_taken = take_body(request, data, *data_size);
        *data_size = 0;
        return is_taken ? MHD_YES : MHD_NO;
    }
    return answer(request);
}

// Our own decoder sees the path as it came: this one leaves it alone.
static size_t leave_encoded(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strlen(text);
}

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); // without it, fewer connections at a time
}

kn_status serve_start(serve_config *config, int socket, serve_server **out, kn_error *err)
{
    serve_server *server = cli_alloc(sizeof(*server));
    server->config = config;
    server->socket = socket;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    raise_limit();
    server->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL,
        handle, server, MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_URI_LOG_CALLBACK,
        begin_request, server, MHD_OPTION_NOTIFY_COMPLETED, end_request, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_encoded, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (server->daemon) {
        *out = server;
        return KN_OK;
    }
    *out = NULL;
    close(socket);
    serve_stop(server);
    return kn_error_set(err, KN_ERR_IO, "the HTTP server cannot start: %s", strerror(errno));
}

size_t serve_drain(serve_server *server, unsigned int wait_ms)
{
    struct timespec until;
    if (server->socket >= 0) {
        MHD_quiesce_daemon(server->daemon);
        close(server->socket);
        server->socket = -1;
        atomic_store(&server->config->is_ending, true);
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        ++until.tv_sec;
    }
    pthread_mutex_lock(&server->lock);
    while (server->n_running > 0 &&
           pthread_cond_timedwait(&server->idle, &server->lock, &until) != ETIMEDOUT)
        ;
    const size_t n_running = server->n_running;
    pthread_mutex_unlock(&server->lock);
    return n_running;
}

void serve_stop(serve_server *server)
{
    if (!server)
        return;
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
