#include "support/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/cmocka.h"

#define REPLIES_MAX 256
#define REQUESTS_MAX 4096
#define CONNECTIONS_MAX 1024
#define HEAD_MAX 65536

typedef struct connection {
    http_server *server;
    int fd;
    pthread_t thread;
} connection;

struct http_server {
    int listeners[2];
    int n_listeners;
    int port;
    int stop[2]; // a pipe: closed to stop
    pthread_t thread;
    pthread_mutex_t lock; // over the rest
    http_reply replies[REPLIES_MAX];
    size_t n_replies;
    char *requests[REQUESTS_MAX];
    size_t n_requests;
    connection connections[CONNECTIONS_MAX];
    size_t n_connections;
};

// Waits for bytes, or for the end of the server: false.
static bool wait_for(const http_server *server, int fd, short events)
{
    struct pollfd fds[] = {{fd, events, 0}, {server->stop[0], POLLIN, 0}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    return fds[1].revents == 0;
}

static bool send_all(const http_server *server, int fd, const char *data, size_t size)
{
    while (size) {
        const ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            if (!wait_for(server, fd, POLLOUT))
                return false;
            continue;
        }
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

// One head, with its blank line; NULL at the end of the connection.
static char *read_head(const http_server *server, int fd)
{
    char *head = calloc(1, HEAD_MAX);
    for (size_t n = 0; n < HEAD_MAX - 1; ++n) {
        if (!wait_for(server, fd, POLLIN) || recv(fd, head + n, 1, 0) != 1)
            break;
        if (n >= 3 && memcmp(head + n - 3, "\r\n\r\n", 4) == 0)
            return head;
    }
    free(head);
    return NULL;
}

static bool is_for(const http_reply *reply, const char *head)
{
    const char *target = strchr(head, ' ');
    if (!reply->path)
        return true;
    const size_t size = strlen(reply->path);
    return target && strncmp(target + 1, reply->path, size) == 0 && target[1 + size] == ' ';
}

static http_reply choose(http_server *server, char *head)
{
    http_reply reply = {.head = "HTTP/1.1 404 Not Found\r\n"};
    pthread_mutex_lock(&server->lock);
    if (server->n_requests < REQUESTS_MAX)
        server->requests[server->n_requests++] = head;
    else
        free(head);
    for (size_t i = 0; i < server->n_replies; ++i) {
        http_reply *r = &server->replies[i];
        if (r->times == 0 || !is_for(r, head))
            continue;
        if (r->times > 0)
            --r->times;
        reply = *r;
        break;
    }
    pthread_mutex_unlock(&server->lock);
    return reply;
}

// Sends an answer; false: the connection is over.
static bool answer(const http_server *server, int fd, const http_reply *reply, bool is_head,
                   size_t from)
{
    const char *body = reply->body ? reply->body : "";
    const size_t size = reply->size ? reply->size : strlen(body);
    const char *head = reply->head ? reply->head : "HTTP/1.1 200 OK\r\n";
    char line[256];
    size_t end = reply->then == HTTP_WHOLE || reply->then == HTTP_CLOSE ? size : reply->at;
    bool ok = true;

    if (*head && reply->ranges && from) {
        snprintf(line, sizeof(line),
                 "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n", from,
                 size - 1, size);
        ok = send_all(server, fd, line, strlen(line));
    } else {
        from = 0;
        ok = send_all(server, fd, head, strlen(head));
    }
    if (*head && !reply->is_raw) {
        snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n", size - from);
        ok = ok && send_all(server, fd, line, strlen(line));
    }
    if (is_head)
        end = 0;
    if (end > from)
        ok = ok && send_all(server, fd, body + from, end - from);
    if (reply->then == HTTP_RESET) {
        const struct linger linger = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    const size_t piece = reply->piece ? reply->piece : 1;
    for (size_t i = end > from ? end : from; ok && reply->then == HTTP_SLOW && i < size;
         i += piece) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        ok = send_all(server, fd, body + i, size - i < piece ? size - i : piece);
    }
    if (reply->then == HTTP_STALL) {
        struct pollfd fds[] = {{fd, POLLRDHUP, 0}, {server->stop[0], POLLIN, 0}};
        poll(fds, 2, -1);
    }
    return ok && (reply->then == HTTP_WHOLE || reply->then == HTTP_SLOW);
}

static void *serve(void *user)
{
    connection *c = user;
    char *head;
    bool ok = true, was_reset = false;
    while (ok && (head = read_head(c->server, c->fd)) != NULL) {
        const char *range = strstr(head, "\r\nRange: bytes=");
        const size_t from = range ? strtoul(range + 15, NULL, 10) : 0;
        const bool is_head = strncmp(head, "HEAD ", 5) == 0;
        const http_reply reply = choose(c->server, head);
        ok = answer(c->server, c->fd, &reply, is_head, from);
        was_reset = reply.then == HTTP_RESET;
    }
    if (!was_reset)
        shutdown(c->fd, SHUT_RDWR); // a forked client may hold a copy of the descriptor
    close(c->fd);
    return NULL;
}

static void *accept_all(void *user)
{
    http_server *server = user;
    for (;;) {
        struct pollfd fds[3] = {{server->stop[0], POLLIN, 0}};
        for (int i = 0; i < server->n_listeners; ++i)
            fds[1 + i] = (struct pollfd){server->listeners[i], POLLIN, 0};
        poll(fds, (nfds_t)server->n_listeners + 1, -1);
        if (fds[0].revents)
            return NULL;
        for (int i = 0; i < server->n_listeners; ++i) {
            if (!fds[1 + i].revents)
                continue;
            const int fd = accept4(server->listeners[i], NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0)
                continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            pthread_mutex_lock(&server->lock);
            if (server->n_connections == CONNECTIONS_MAX)
                abort();
            connection *c = &server->connections[server->n_connections++];
            *c = (connection){.server = server, .fd = fd};
            pthread_create(&c->thread, NULL, serve, c);
            pthread_mutex_unlock(&server->lock);
        }
    }
}

static int listen_on(const struct sockaddr *address, socklen_t size)
{
    const int one = 1;
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (address->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, address, size) == 0 && listen(fd, 128) == 0)
        return fd;
    close(fd);
    return -1;
}

http_server *http_server_new(void)
{
    http_server *server = calloc(1, sizeof(*server));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof(v4);

    assert_non_null(server);
    assert_int_equal(pipe(server->stop), 0);
    pthread_mutex_init(&server->lock, NULL);
    server->listeners[0] = listen_on((struct sockaddr *)&v4, sizeof(v4));
    assert_true(server->listeners[0] >= 0);
    assert_int_equal(getsockname(server->listeners[0], (struct sockaddr *)&v4, &size), 0);
    server->port = ntohs(v4.sin_port);
    server->n_listeners = 1;
    v6.sin6_port = v4.sin_port;
    server->listeners[1] = listen_on((struct sockaddr *)&v6, sizeof(v6));
    if (server->listeners[1] >= 0)
        server->n_listeners = 2;
    assert_int_equal(pthread_create(&server->thread, NULL, accept_all, server), 0);
    return server;
}

void http_server_free(http_server *server)
{
    close(server->stop[1]);
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < server->n_connections; ++i)
        pthread_join(server->connections[i].thread, NULL);
    for (int i = 0; i < server->n_listeners; ++i)
        close(server->listeners[i]);
    close(server->stop[0]);
    for (size_t i = 0; i < server->n_requests; ++i)
        free(server->requests[i]);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void http_server_add(http_server *server, http_reply reply)
{
    if (reply.times == 0)
        reply.times = 1;
    pthread_mutex_lock(&server->lock);
    assert_true(server->n_replies < REPLIES_MAX);
    server->replies[server->n_replies++] = reply;
    pthread_mutex_unlock(&server->lock);
}

const char *http_server_url(const http_server *server, const char *host, const char *path)
{
    static char urls[8][512];
    static size_t turn;
    char *url = urls[turn++ % 8];
    snprintf(url, sizeof(urls[0]), "http://%s:%d%s", host, server->port, path);
    return url;
}

int http_server_port(const http_server *server)
{
    return server->port;
}

bool http_server_has_v6(const http_server *server)
{
    return server->n_listeners == 2;
}

size_t http_server_count(http_server *server)
{
    pthread_mutex_lock(&server->lock);
    const size_t n = server->n_requests;
    pthread_mutex_unlock(&server->lock);
    return n;
}

const char *http_server_request(http_server *server, size_t index)
{
    pthread_mutex_lock(&server->lock);
    assert_true(index < server->n_requests);
    const char *head = server->requests[index];
    pthread_mutex_unlock(&server->lock);
    return head;
}

size_t http_server_connections(http_server *server)
{
    pthread_mutex_lock(&server->lock);
    const size_t n = server->n_connections;
    pthread_mutex_unlock(&server->lock);
    return n;
}
