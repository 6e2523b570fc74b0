#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../output.h"

enum {
    BACKLOG = 1024,
};

// Fills the text and whether it is loopback from the address the socket has.
static bool describe(serve_socket *out)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size = sizeof(address);
    memset(&address, 0, sizeof(address));
    char text[INET6_ADDRSTRLEN];
    if (getsockname(out->fd, &address.any, &size) != 0)
        return false;
    if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text));
        out->is_loopback = ntohl(address.v4.sin_addr.s_addr) >> 24 == 127;
        out->address = cli_format("%s:%u", text, ntohs(address.v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text));
        out->is_loopback = IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
        out->address = cli_format("[%s]:%u", text, ntohs(address.v6.sin6_port));
    }
    return true;
}

kn_status serve_listen(const char *host, uint16_t port, serve_socket *out, kn_error *err)
{
    char service[8];
    const int one = 1;
    struct addrinfo *found = NULL;
    *out = (serve_socket){.fd = -1};
    snprintf(service, sizeof(service), "%u", port);
    const bool is_localhost = strcmp(host, "localhost") == 0;
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(is_localhost ? "127.0.0.1" : host, service, &hints, &found) != 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "--host '%s' is no address; accepted: an IPv4 or IPv6 address of this "
                            "machine, localhost",
                            host);
    out->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool is_listening =
        out->fd >= 0 && setsockopt(out->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(out->fd, found->ai_addr, found->ai_addrlen) == 0 && listen(out->fd, BACKLOG) == 0 &&
        describe(out);
    const int number = errno;
    freeaddrinfo(found);
    if (is_listening)
        return KN_OK;
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
    return kn_error_set(err, KN_ERR_IO, "cannot listen on %s, port %u: %s", host, port,
                        strerror(number));
}
