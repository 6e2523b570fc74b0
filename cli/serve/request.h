// A request that is being answered, and the ways to answer it.
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <time.h>

#include "repos.h"
#include "target.h"

// What the server is told on the command line.
typedef struct serve_config {
    serve_repos repos;
    size_t page_size;
    cli_texts publishers; // none: every owner is trusted
    char *token;          // NULL: none is asked for
    char *
        url; // by which clients call it, without a slash at its end; NULL: by the address they connect to
    bool is_loopback; // of address
    atomic_bool is_ending;
    char *address;         // "127.0.0.1:8090", "[::1]:8090": where it listens
    struct serve_log *log; // NULL: none
} serve_config;

typedef struct serve_request {
    serve_config *config;
    struct MHD_Connection *connection;
    char *text;          // the target as it came
    const char *method;  // borrowed
    serve_target target; // parsed before it is answered
    char *body;          // of a POST; ends with a zero
    size_t body_size;
    bool is_running; // its headers came
    // For the access log.
    struct timespec began;
    unsigned int status;
    uint64_t answer_size;
} serve_request;

// A response, to which headers are added before it is sent. Drops the reference; NULL: jansson had no memory.
struct MHD_Response *serve_json(json_t *document, uint64_t *size);
void serve_header(struct MHD_Response *response, const char *name, const char *format, ...)
    KN_PRINTF(3, 4);
// Takes the response, whose body is of that size.
enum MHD_Result serve_send(serve_request *request, unsigned int status,
                           struct MHD_Response *response, uint64_t size);
enum MHD_Result serve_send_json(serve_request *request, json_t *document);

// {"error": …} with what the headers say to clients that see no body. code: "EntryNotFound", or NULL; commit: or NULL.
enum MHD_Result serve_fail(serve_request *request, unsigned int status, const char *code,
                           const char *commit, const char *format, ...) KN_PRINTF(5, 6);
// For what a repository says about a revision: 404 RevisionNotFound, 500, 503. Disposes err.
enum MHD_Result serve_fail_revision(serve_request *request, const serve_repo *repo, kn_error *err);

bool serve_is_get(const serve_request *request); // or HEAD
enum MHD_Result serve_fail_method(serve_request *request, const char *accepted);

const char *serve_request_header(const serve_request *request, const char *name); // or NULL

// The answers.
enum MHD_Result serve_answer(serve_request *request); // of all
enum MHD_Result serve_answer_api(serve_request *request);
enum MHD_Result serve_answer_tree(serve_request *request, serve_repo *repo);
enum MHD_Result serve_answer_paths_info(serve_request *request, serve_repo *repo);
enum MHD_Result serve_answer_file(serve_request *request, const char *type, size_t owner);

// For the answers that list files.
json_t *serve_lfs_json(const serve_entry *entry, const char *hash_key);
char *serve_time_text(int64_t ns);    // 2026-01-31T12:00:00.000Z; free() it
json_t *serve_text(const char *text); // never NULL

#endif
