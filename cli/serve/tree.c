// Answers that list files: the tree of a revision in pages, and single paths.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../output.h"
#include "request.h"

enum {
    EXPANDED_PAGE_SIZE_MAX = 50,
    PATHS_MAX = 10000,
    JSON_DEPTH_MAX = 8,
};

static json_t *entry_json(const serve_entry *entry, const serve_snapshot *snapshot, bool expand)
{
    json_t *o = cli_json_object();
    cli_json_set(o, "type", serve_text(entry->is_dir ? "directory" : "file"));
    cli_json_set(o, "oid", serve_text(entry->oid));
    cli_json_set(o, "size", json_integer((json_int_t)entry->stamp.size));
    cli_json_set(o, "path", serve_text(entry->path));
    if (entry->is_lfs)
        cli_json_set(o, "lfs", serve_lfs_json(entry, "oid"));
    if (expand) {
        json_t *commit = cli_json_object();
        char *date = serve_time_text(snapshot->modified_ns);
        cli_json_set(commit, "id", serve_text(snapshot->commit));
        cli_json_set(commit, "title", serve_text("as served"));
        cli_json_set(commit, "date", serve_text(date));
        cli_json_set(o, "lastCommit", commit);
        free(date);
    }
    return o;
}

static enum MHD_Result fail_path(serve_request *request, const serve_repo *repo,
                                 const serve_snapshot *snapshot, const char *path)
{
    return serve_fail(request, MHD_HTTP_NOT_FOUND, "EntryNotFound", snapshot->commit,
                      "%s/%s: there is no '%.300s' at commit %s", repo->owner, repo->name, path,
                      snapshot->commit);
}

// A whole number of the query within its bounds. False: it is not one.
static bool read_number(const serve_target *target, const char *key, size_t least, size_t most,
                        size_t *out)
{
    char *text = serve_query(target, key), *end = NULL;
    bool is_good = true;
    if (text) {
        errno = 0;
        const unsigned long long value = strtoull(text, &end, 10);
        is_good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
                  value >= least && value <= most;
        if (is_good)
            *out = (size_t)value;
    }
    free(text);
    return is_good;
}

// The next page, of the commit: however the ref moves, pages belong together.
static void add_next(serve_request *request, struct MHD_Response *response, const serve_repo *repo,
                     const char *commit, const char *path, size_t cursor, size_t page_size)
{
    const char *url = request->config->url;
    char *encoded = serve_encode(path);
    serve_header(response, "Link",
                 "<%s%s/api/%s/%s/%s/tree/%s%s%s?recursive=%s&expand=%s&limit=%zu&cursor=%zu>; "
                 "rel=\"next\"",
                 url ? "" : "http://", url ? url : serve_request_header(request, "Host"),
                 repo->type, repo->owner, repo->name, commit, path[0] ? "/" : "", encoded,
                 serve_query_flag(&request->target, "recursive") ? "true" : "false",
                 serve_query_flag(&request->target, "expand") ? "true" : "false", page_size,
                 cursor);
    free(encoded);
}

static enum MHD_Result answer_page(serve_request *request, const serve_repo *repo,
                                   const serve_snapshot *snapshot, const char *path)
{
    const bool recursive = serve_query_flag(&request->target, "recursive");
    const bool expand = serve_query_flag(&request->target, "expand");
    size_t begin = 0, end = 0, cursor = 0, page_size = request->config->page_size;
    if (!serve_snapshot_below(snapshot, path, &begin, &end))
        return fail_path(request, repo, snapshot, path);
    if (expand && page_size > EXPANDED_PAGE_SIZE_MAX)
        page_size = EXPANDED_PAGE_SIZE_MAX;
    if (!read_number(&request->target, "cursor", 0, end - begin, &cursor) ||
        !read_number(&request->target, "limit", 1, page_size, &page_size))
        return serve_fail(request, MHD_HTTP_BAD_REQUEST, NULL, NULL,
                          "cursor or limit is not one of this listing's");
    json_t *page = cli_json_array();
    const size_t below = path[0] ? strlen(path) + 1 : 0;
    size_t at = begin + cursor;
    for (; at < end; ++at) {
        const serve_entry *entry = &snapshot->entries[at];
        if (!recursive && strchr(entry->path + below, '/'))
            continue;
        if (json_array_size(page) == page_size)
            break;
        cli_json_add(page, entry_json(entry, snapshot, expand));
    }
    uint64_t size;
    struct MHD_Response *response = serve_json(page, &size);
    serve_header(response, "X-Repo-Commit", "%s", snapshot->commit);
    if (at < end)
        add_next(request, response, repo, snapshot->commit, path, at - begin, page_size);
    return serve_send(request, MHD_HTTP_OK, response, size);
}

enum MHD_Result serve_answer_tree(serve_request *request, serve_repo *repo)
{
    serve_found found;
    kn_error err = KN_ERROR_INIT;
    const char *revision = request->target.segments[5];
    if (serve_repo_at(&request->config->repos, repo, revision, false, &found, &err) != KN_OK)
        return serve_fail_revision(request, repo, &err);
    char *path = serve_target_rest(&request->target, 6);
    const enum MHD_Result sent = answer_page(request, repo, found.snapshot, path);
    free(path);
    serve_found_dispose(&found);
    return sent;
}

static void add_path(json_t *list, const serve_snapshot *snapshot, const char *path, bool expand)
{
    const serve_entry *entry = serve_snapshot_find(snapshot, path);
    if (entry && json_array_size(list) <= PATHS_MAX)
        cli_json_add(list, entry_json(entry, snapshot, expand));
}

static bool is_true(const json_t *value)
{
    return json_is_true(value) || (json_is_string(value) && json_string_value(value)[0] == 't');
}

// Does the text nest no deeper than what is expected of it? The JSON parser descends by recursion.
static bool is_shallow(const char *text, size_t size)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size && depth <= JSON_DEPTH_MAX; ++i) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string)
            i += text[i] == '\\';
        else
            depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
    }
    return depth <= JSON_DEPTH_MAX;
}

// {"paths": [...], "expand": …}, or a form with the same fields. False: neither.
static bool read_paths(const serve_request *request, const serve_snapshot *snapshot, json_t *list)
{
    const char *type = serve_request_header(request, "Content-Type");
    if (request->body && type && strncmp(type, "application/json", 16) == 0) {
        json_t *body =
            is_shallow(request->body, request->body_size)
                ? json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, NULL)
                : NULL;
        const json_t *paths = json_object_get(body, "paths");
        const bool expand = is_true(json_object_get(body, "expand"));
        const bool is_good = json_is_array(paths);
        for (size_t i = 0; i < json_array_size(paths); ++i) {
            const char *path = json_string_value(json_array_get(paths, i));
            if (path)
                add_path(list, snapshot, path, expand);
        }
        json_decref(body);
        return is_good;
    }
    bool expand = false, is_good = false;
    char *key, *value;
    const char *body = request->body ? request->body : "";
    for (const char *at = body; serve_form_next(&at, &key, &value); free(key), free(value))
        expand |= strcmp(key, "expand") == 0 && (value[0] | 32) == 't';
    for (const char *at = body; serve_form_next(&at, &key, &value); free(key), free(value))
        if (strcmp(key, "paths") == 0) {
            add_path(list, snapshot, value, expand);
            is_good = true;
        }
    return is_good;
}

enum MHD_Result serve_answer_paths_info(serve_request *request, serve_repo *repo)
{
    serve_found found;
    kn_error err = KN_ERROR_INIT;
    const char *revision = request->target.segments[5];
    if (strcmp(request->method, "POST") != 0)
        return serve_fail_method(request, "POST");
    if (serve_repo_at(&request->config->repos, repo, revision, false, &found, &err) != KN_OK)
        return serve_fail_revision(request, repo, &err);
    json_t *list = cli_json_array();
    const bool is_good = read_paths(request, found.snapshot, list);
    serve_found_dispose(&found);
    const bool is_too_long = json_array_size(list) > PATHS_MAX;
    if (is_good && !is_too_long)
        return serve_send_json(request, list);
    json_decref(list);
    if (is_too_long)
        return serve_fail(request, MHD_HTTP_BAD_REQUEST, NULL, NULL, "more than %d paths",
                          PATHS_MAX);
    return serve_fail(request, MHD_HTTP_BAD_REQUEST, NULL, NULL,
                      "expected 'paths', as a form or as JSON");
}
