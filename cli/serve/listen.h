// The socket of the server.
#ifndef SERVE_LISTEN_H
#define SERVE_LISTEN_H

#include <stdbool.h>

#include <kernels/base.h>

typedef struct serve_socket {
    int fd;
    char *address;    // "127.0.0.1:8090", "[::1]:8090": with the port that was given; free() it
    bool is_loopback; // only this machine can reach it
} serve_socket;

// host: an address, or "localhost"; port 0: any free one. Error: KN_ERR_INVALID: no address; KN_ERR_IO.
kn_status serve_listen(const char *host, uint16_t port, serve_socket *out, kn_error *err);

#endif
