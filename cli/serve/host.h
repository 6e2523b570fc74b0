// By which names this server may be called.
#ifndef SERVE_HOST_H
#define SERVE_HOST_H

#include "request.h"

// Checks --url: http or https, a host, an optional port, no more. *out is without a slash at its end; free() it.
kn_status serve_host_check_url(const char *url, char **out, kn_error *err);

// Is the Host of a request one of this server's? On loopback, only names of this machine and of --url are: a web page of elsewhere
// whose name was made to point here must not read what is served.
bool serve_host_is_ours(const serve_config *config, const char *host);

#endif
