// A small HTTP/1.1 server on threads of its own, with a script: what it answers, and how it breaks. Over raw sockets, so that it can
// do what no server should.
#ifndef SUPPORT_HTTP_SERVER_H
#define SUPPORT_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef enum http_then {
    HTTP_WHOLE = 0,
    HTTP_CUT,   // closes after `at` bytes of the body
    HTTP_RESET, // resets the connection there
    HTTP_STALL, // sends nothing more there, and keeps it open
    HTTP_SLOW,  // sends the rest in pieces, 1 ms between
    HTTP_CLOSE, // whole, then closes
} http_then;

// One answer. Strings are borrowed until the server is freed.
typedef struct http_reply {
    const char *path; // the target that it is for; NULL: any
    const char *
        head; // "HTTP/1.1 200 OK\r\nX: y\r\n"; NULL: that of a 200, "": nothing is sent, `then` happens at once
    const char *body; // NULL: ""
    size_t size;      // 0: strlen(body)
    int times;        // how often; 0: once; -1: for ever
    http_then then;
    size_t at;
    size_t piece; // of HTTP_SLOW; 0: 1 byte
    bool is_raw;  // no Content-Length and no end of the head are added
    bool ranges;  // "Range: bytes=n-" is obeyed
} http_reply;

typedef struct http_server http_server;

// Listens on a free port of 127.0.0.1 and, where there is one, ::1. Asserts that it worked.
http_server *http_server_new(void);
void http_server_free(http_server *server);

// Adds to the script: a request takes the first answer that is for its target and is not used up; a 404 when there is none.
void http_server_add(http_server *server, http_reply reply);
// "http://<host>:<port><path>", one of eight buffers in turn.
const char *http_server_url(const http_server *server, const char *host, const char *path);
int http_server_port(const http_server *server);
bool http_server_has_v6(const http_server *server);

// The requests so far, in order; each is a whole head. Valid until the server is freed.
size_t http_server_count(http_server *server);
const char *http_server_request(http_server *server, size_t index);
size_t http_server_connections(http_server *server); // that were accepted

#endif
