// The HTTP server: connections, the life of a request, the end.
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "request.h"

typedef struct serve_server serve_server;

// Takes the socket over, also when it fails. config is borrowed until serve_stop. Signals that end the program must be blocked.
kn_status serve_start(serve_config *config, int socket, serve_server **out, kn_error *err);

// Accepts nothing more, and waits until no request is being answered or the time is over.
// Returns how many were still being answered then.
size_t serve_drain(serve_server *server, unsigned int wait_ms);
void serve_stop(serve_server *server);

#endif
