// The access log: a line for each request, without what is secret in it.
#ifndef SERVE_LOG_H
#define SERVE_LOG_H

#include "request.h"

typedef struct serve_log serve_log;

// path "-": the standard output. Appends to a file.
kn_status serve_log_open(const char *path, serve_log **out, kn_error *err);
void serve_log_close(serve_log *log); // NULL is fine

// TIME CLIENT "METHOD TARGET" STATUS BYTES MILLISECONDS "USER-AGENT"; bytes that are no text stand as \xNN. is_cut: the client
// did not take all of it, which stands behind the bytes. Threads: any.
void serve_log_request(serve_log *log, const serve_request *request, bool is_cut);

#endif
