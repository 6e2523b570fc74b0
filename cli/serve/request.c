#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../output.h"

#define HEADER_SIZE_MAX 512

struct MHD_Response *serve_json(json_t *document, uint64_t *size)
{
    char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (!text)
        cli_no_memory();
    *size = strlen(text);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(*size, text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        cli_no_memory();
    serve_header(response, "Content-Type", "application/json; charset=utf-8");
    return response;
}

// What comes from outside may be in it: only what is harmless in a header stays.
void serve_header(struct MHD_Response *response, const char *name, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        cli_no_memory();
    for (char *at = text; *at; ++at)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 127)
            *at = '?';
    if (MHD_add_response_header(response, name, text) != MHD_YES)
        cli_no_memory();
    free(text);
}

enum MHD_Result serve_send(serve_request *request, unsigned int status,
                           struct MHD_Response *response, uint64_t size)
{
    serve_header(response, "X-Content-Type-Options", "nosniff");
    if (atomic_load(&request->config->is_ending))
        serve_header(response, "Connection", "close");
    request->status = status;
    request->answer_size = strcmp(request->method, "HEAD") == 0 ? 0 : size;
    const enum MHD_Result sent = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

enum MHD_Result serve_send_json(serve_request *request, json_t *document)
{
    uint64_t size;
    struct MHD_Response *response = serve_json(document, &size);
    return serve_send(request, MHD_HTTP_OK, response, size);
}

json_t *serve_text(const char *text)
{
    json_t *value = json_string(text);
    if (!value)
        cli_no_memory();
    return value;
}

enum MHD_Result serve_fail(serve_request *request, unsigned int status, const char *code,
                           const char *commit, const char *format, ...)
{
    kn_error line = KN_ERROR_INIT; // its text is one line of valid UTF-8
    char *text = NULL;
    uint64_t size;
    va_list args;
    va_start(args, format);
    const int made = vasprintf(&text, format, args);
    va_end(args);
    if (made < 0)
        cli_no_memory();
    kn_error_set(&line, KN_ERR_INVALID, "%s", text);
    json_t *document = cli_json_object();
    cli_json_set(document, "error", serve_text(kn_error_text(&line)));
    struct MHD_Response *response = serve_json(document, &size);
    if (code)
        serve_header(response, "X-Error-Code", "%s", code);
    if (commit)
        serve_header(response, "X-Repo-Commit", "%s", commit);
    serve_header(response, "X-Error-Message", "%.*s", HEADER_SIZE_MAX, kn_error_text(&line));
    kn_error_dispose(&line);
    free(text);
    if (status == MHD_HTTP_UNAUTHORIZED)
        serve_header(response, "WWW-Authenticate", "Bearer");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        serve_header(response, "Retry-After", "1");
    return serve_send(request, status, response, size);
}

enum MHD_Result serve_fail_revision(serve_request *request, const serve_repo *repo, kn_error *err)
{
    const bool is_missing = err->status == KN_ERR_NOT_FOUND;
    const unsigned int status = is_missing                       ? MHD_HTTP_NOT_FOUND
                                : err->status == KN_ERR_CONFLICT ? MHD_HTTP_SERVICE_UNAVAILABLE
                                                                 : MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (!is_missing) // the client is not told where files lie
        cli_fail("serve: %s", kn_error_text(err));
    const enum MHD_Result sent = serve_fail(
        request, status, is_missing ? "RevisionNotFound" : NULL, NULL, "%s/%s: %s", repo->owner,
        repo->name, is_missing ? kn_error_text(err) : "its files cannot be read at present");
    kn_error_dispose(err);
    return sent;
}

bool serve_is_get(const serve_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

enum MHD_Result serve_fail_method(serve_request *request, const char *accepted)
{
    json_t *document = cli_json_object();
    uint64_t size;
    cli_json_set(document, "error", serve_text("this method is not accepted here"));
    struct MHD_Response *response = serve_json(document, &size);
    serve_header(response, "Allow", "%s", accepted);
    serve_header(response, "X-Error-Message", "this method is not accepted here");
    return serve_send(request, MHD_HTTP_METHOD_NOT_ALLOWED, response, size);
}

const char *serve_request_header(const serve_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}
