// Answers with the bytes of a file, whole or a range of them.
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../output.h"
#include "request.h"

enum {
    ATTEMPTS = 4, // for files that change between the listing and the look
};

typedef struct byte_range {
    uint64_t begin, size;
} byte_range;

typedef enum range_kind { RANGE_NONE, RANGE_GOOD, RANGE_OUTSIDE } range_kind;

// Digits at *at, which moves behind them; more than 64 bits hold counts as the most they hold. False: there are none.
static bool read_digits(const char **at, uint64_t *out)
{
    const char *begin = *at;
    *out = 0;
    for (; isdigit((unsigned char)**at); ++*at) {
        const uint64_t digit = (uint64_t)(**at - '0');
        *out = *out > (UINT64_MAX - digit) / 10 ? UINT64_MAX : 10 * *out + digit;
    }
    return *at > begin;
}

// "bytes=a-b", "bytes=a-", "bytes=-n". Several ranges, other units and nonsense are as if nothing had been asked.
static range_kind read_range(const char *text, uint64_t size, byte_range *out)
{
    uint64_t first = 0, last = UINT64_MAX;
    if (!text || strncmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    const bool has_first = read_digits(&text, &first);
    if (*text++ != '-')
        return RANGE_NONE;
    const bool has_last = read_digits(&text, &last);
    if (*text != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_NONE;
    if (!has_first) { // the last n bytes
        const uint64_t n = last < size ? last : size;
        *out = (byte_range){size - n, n};
        return n > 0 ? RANGE_GOOD : RANGE_OUTSIDE;
    }
    if (first >= size)
        return RANGE_OUTSIDE;
    if (!has_last || last >= size)
        last = size - 1;
    *out = (byte_range){first, last - first + 1};
    return RANGE_GOOD;
}

// Does a list of entity tags name this one?
static bool names_etag(const char *list, const char *etag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, etag) != NULL);
}

static void add_headers(struct MHD_Response *response, const serve_snapshot *snapshot,
                        const char *etag)
{
    serve_header(response, "X-Repo-Commit", "%s", snapshot->commit);
    serve_header(response, "ETag", "%s", etag);
    serve_header(response, "Accept-Ranges", "bytes");
}

// Takes fd over.
static enum MHD_Result send_file(serve_request *request, const serve_snapshot *snapshot,
                                 const serve_entry *entry, int fd)
{
    char etag[SERVE_SHA256_SIZE + 2];
    const uint64_t whole = entry->stamp.size;
    byte_range range = {0, whole};
    range_kind kind = RANGE_NONE;
    unsigned int status = MHD_HTTP_OK;
    snprintf(etag, sizeof(etag), "\"%s\"", entry->is_lfs ? entry->sha256 : entry->oid);
    const char *condition = serve_request_header(request, "If-Range");
    if (strcmp(request->method, "GET") == 0 && (!condition || strcmp(condition, etag) == 0))
        kind = read_range(serve_request_header(request, "Range"), whole, &range);
    if (names_etag(serve_request_header(request, "If-None-Match"), etag))
        status = MHD_HTTP_NOT_MODIFIED;
    else if (kind == RANGE_OUTSIDE)
        status = MHD_HTTP_RANGE_NOT_SATISFIABLE;
    else if (kind == RANGE_GOOD)
        status = MHD_HTTP_PARTIAL_CONTENT;
    const bool has_body = status == MHD_HTTP_OK || status == MHD_HTTP_PARTIAL_CONTENT;
    struct MHD_Response *response =
        has_body ? MHD_create_response_from_fd_at_offset64(range.size, fd, range.begin)
                 : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!response)
        cli_no_memory();
    if (!has_body)
        close(fd);
    add_headers(response, snapshot, etag);
    if (has_body)
        serve_header(response, "Content-Type", "application/octet-stream");
    if (kind == RANGE_GOOD && has_body)
        serve_header(response, "Content-Range", "bytes %llu-%llu/%llu",
                     (unsigned long long)range.begin,
                     (unsigned long long)(range.begin + range.size - 1), (unsigned long long)whole);
    else if (kind == RANGE_OUTSIDE)
        serve_header(response, "Content-Range", "bytes */%llu", (unsigned long long)whole);
    return serve_send(request, status, response, has_body ? range.size : 0);
}

static enum MHD_Result answer_path(serve_request *request, serve_repo *repo, const char *revision,
                                   const char *path)
{
    serve_found found;
    kn_error err = KN_ERROR_INIT;
    enum MHD_Result sent = MHD_NO;
    for (int attempt = 0; attempt < ATTEMPTS; ++attempt) {
        const bool may_be_old = attempt == 0;
        if (serve_repo_at(&request->config->repos, repo, revision, may_be_old, &found, &err) !=
            KN_OK)
            return serve_fail_revision(request, repo, &err);
        const serve_entry *entry = serve_snapshot_find(found.snapshot, path);
        const int fd = entry && !entry->is_dir ? serve_snapshot_open(&found.place, entry) : -1;
        const bool is_answered = fd >= 0 || !entry || entry->is_dir;
        if (fd >= 0)
            sent = send_file(request, found.snapshot, entry, fd);
        else if (is_answered)
            sent = serve_fail(request, MHD_HTTP_NOT_FOUND, "EntryNotFound", found.snapshot->commit,
                              "%s/%s: there is no file '%.300s' at commit %s", repo->owner,
                              repo->name, path, found.snapshot->commit);
        serve_found_dispose(&found);
        if (is_answered)
            return sent;
    }
    kn_error_set(&err, KN_ERR_CONFLICT, "%s/%s: '%s' keeps changing", repo->owner, repo->name,
                 path);
    return serve_fail_revision(request, repo, &err);
}

enum MHD_Result serve_answer_file(serve_request *request, const char *type, size_t owner)
{
    char *const *s = request->target.segments + owner;
    if (!serve_is_get(request))
        return serve_fail_method(request, "GET, HEAD");
    serve_repo *repo = serve_repos_find(&request->config->repos, type, s[0], s[1]);
    if (!repo)
        return serve_fail(request, MHD_HTTP_NOT_FOUND, "RepoNotFound", NULL,
                          "there is no repository '%.100s/%.100s' of type %s here", s[0], s[1],
                          type[0] == 'k' ? "kernel" : "model");
    char *path = serve_target_rest(&request->target, owner + 4);
    const enum MHD_Result sent = answer_path(request, repo, s[3], path);
    free(path);
    return sent;
}
