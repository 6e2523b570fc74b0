// Answers below /api: refs, what a repository is, owners.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../output.h"
#include "request.h"

char *serve_time_text(int64_t ns)
{
    const time_t seconds = (time_t)(ns / 1000000000);
    struct tm parts;
    char text[64];
    if (!gmtime_r(&seconds, &parts) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        return cli_format("1970-01-01T00:00:00.000Z");
    return cli_format("%s.%03dZ", text, (int)(ns / 1000000 % 1000));
}

static bool is_trusted(const serve_config *config, const char *owner)
{
    bool is = config->publishers.count == 0;
    for (size_t i = 0; i < config->publishers.count; ++i)
        is |= strcasecmp(config->publishers.items[i], owner) == 0;
    return is;
}

static json_t *ref_json(const serve_ref *ref)
{
    json_t *o = cli_json_object();
    char *full = cli_format("%s%s", serve_ref_full[ref->kind], ref->name);
    cli_json_set(o, "name", serve_text(ref->name));
    cli_json_set(o, "ref", serve_text(full));
    cli_json_set(o, "targetCommit", serve_text(ref->snapshot->commit));
    free(full);
    return o;
}

static enum MHD_Result answer_refs(serve_request *request, serve_repo *repo)
{
    serve_refs refs;
    kn_error err = KN_ERROR_INIT;
    json_t *lists[SERVE_REF_KINDS];
    if (serve_repo_refs(&request->config->repos, repo, &refs, &err) != KN_OK)
        return serve_fail_revision(request, repo, &err);
    json_t *o = cli_json_object();
    for (size_t kind = 0; kind < SERVE_REF_KINDS; ++kind)
        lists[kind] = cli_json_array();
    for (size_t i = 0; i < refs.count; ++i)
        cli_json_add(lists[refs.items[i].kind], ref_json(&refs.items[i]));
    const bool with_pulls = serve_query_flag(&request->target, "include_prs");
    for (size_t kind = 0; kind < SERVE_REF_KINDS; ++kind)
        if (kind != SERVE_PULL || with_pulls)
            cli_json_set(o, serve_ref_keys[kind], lists[kind]);
        else
            json_decref(lists[kind]);
    serve_refs_dispose(&refs);
    return serve_send_json(request, o);
}

json_t *serve_lfs_json(const serve_entry *entry, const char *hash_key)
{
    json_t *o = cli_json_object();
    cli_json_set(o, hash_key, serve_text(entry->sha256));
    cli_json_set(o, "size", json_integer((json_int_t)entry->stamp.size));
    cli_json_set(o, "pointerSize", json_integer((json_int_t)entry->pointer_size));
    return o;
}

static json_t *siblings(const serve_snapshot *snapshot, bool with_blobs)
{
    json_t *all = cli_json_array();
    for (size_t i = 0; i < snapshot->count; ++i) {
        const serve_entry *entry = &snapshot->entries[i];
        if (entry->is_dir)
            continue;
        json_t *o = cli_json_object();
        cli_json_set(o, "rfilename", serve_text(entry->path));
        if (with_blobs) {
            cli_json_set(o, "size", json_integer((json_int_t)entry->stamp.size));
            cli_json_set(o, "blobId", serve_text(entry->oid));
            if (entry->is_lfs)
                cli_json_set(o, "lfs", serve_lfs_json(entry, "sha256"));
        }
        cli_json_add(all, o);
    }
    return all;
}

static json_t *info_json(const serve_request *request, const serve_repo *repo,
                         const serve_snapshot *snapshot)
{
    const bool is_model = strcmp(repo->type, "models") == 0;
    json_t *o = cli_json_object();
    char *id = cli_format("%s/%s", repo->owner, repo->name);
    char *modified = serve_time_text(snapshot->modified_ns);
    cli_json_set(o, "id", serve_text(id));
    cli_json_set(o, "author", serve_text(repo->owner));
    cli_json_set(o, "sha", serve_text(snapshot->commit));
    cli_json_set(o, "lastModified", serve_text(modified));
    cli_json_set(o, "private", json_false());
    cli_json_set(o, "gated", json_false());
    cli_json_set(o, "downloads", json_integer(0));
    cli_json_set(o, "likes", json_integer(0));
    if (is_model) {
        const bool with_blobs = serve_query_flag(&request->target, "blobs");
        cli_json_set(o, "modelId", serve_text(id));
        cli_json_set(o, "disabled", json_false());
        cli_json_set(o, "tags", cli_json_array());
        cli_json_set(o, "siblings", siblings(snapshot, with_blobs));
    } else {
        cli_json_set(o, "repoType", serve_text("kernel"));
        cli_json_set(o, "trustedPublisher", json_boolean(is_trusted(request->config, repo->owner)));
    }
    free(id);
    free(modified);
    return o;
}

// revision NULL: what the repository is without one.
static enum MHD_Result answer_info(serve_request *request, serve_repo *repo, const char *revision)
{
    serve_found found;
    kn_error err = KN_ERROR_INIT;
    serve_repos *repos = &request->config->repos;
    const kn_status st = revision ? serve_repo_at(repos, repo, revision, false, &found, &err)
                                  : serve_repo_head(repos, repo, &found, &err);
    if (st != KN_OK)
        return serve_fail_revision(request, repo, &err);
    json_t *o = info_json(request, repo, found.snapshot);
    serve_found_dispose(&found);
    return serve_send_json(request, o);
}

static enum MHD_Result answer_owner(serve_request *request, const char *asked)
{
    char *owner = serve_repos_owner(&request->config->repos, asked);
    if (!owner)
        return serve_fail(request, MHD_HTTP_NOT_FOUND, NULL, NULL,
                          "there is no organization '%.100s' here", asked);
    json_t *o = cli_json_object();
    cli_json_set(o, "name", serve_text(owner));
    cli_json_set(o, "fullname", serve_text(owner));
    cli_json_set(o, "type", serve_text("org"));
    cli_json_set(o, "trustedKernelPublisher", json_boolean(is_trusted(request->config, owner)));
    free(owner);
    return serve_send_json(request, o);
}

// Requests come here with the right token or where none is needed.
static enum MHD_Result answer_whoami(serve_request *request)
{
    if (!request->config->token)
        return serve_fail(request, MHD_HTTP_UNAUTHORIZED, NULL, NULL,
                          "this server knows no users: it was started without a token");
    json_t *o = cli_json_object();
    cli_json_set(o, "type", serve_text("user"));
    cli_json_set(o, "name", serve_text("reader"));
    cli_json_set(o, "fullname", serve_text("reader"));
    cli_json_set(o, "orgs", cli_json_array());
    return serve_send_json(request, o);
}

static enum MHD_Result answer_nothing(serve_request *request)
{
    return serve_fail(request, MHD_HTTP_NOT_FOUND, NULL, NULL, "there is nothing here");
}

static enum MHD_Result answer_repo(serve_request *request)
{
    const serve_target *target = &request->target;
    char *const *s = target->segments;
    const size_t n = target->count;
    const char *verb = n > 4 ? s[4] : "";
    serve_repo *repo = serve_repos_find(&request->config->repos, s[1], s[2], s[3]);
    if (!repo)
        return serve_fail(request, MHD_HTTP_NOT_FOUND, "RepoNotFound", NULL,
                          "there is no repository '%.100s/%.100s' of type %s here", s[2], s[3],
                          s[1][0] == 'k' ? "kernel" : "model");
    if (strcmp(verb, "paths-info") == 0 && n == 6)
        return serve_answer_paths_info(request, repo);
    if (!serve_is_get(request))
        return serve_fail_method(request, "GET, HEAD");
    if (n == 4)
        return answer_info(request, repo, NULL);
    if (strcmp(verb, "refs") == 0 && n == 5)
        return answer_refs(request, repo);
    if (strcmp(verb, "revision") == 0 && n == 6)
        return answer_info(request, repo, s[5]);
    if (strcmp(verb, "tree") == 0 && n >= 6)
        return serve_answer_tree(request, repo);
    return answer_nothing(request);
}

enum MHD_Result serve_answer_api(serve_request *request)
{
    char *const *s = request->target.segments;
    const size_t n = request->target.count;
    if (n >= 4 && (strcmp(s[1], "kernels") == 0 || strcmp(s[1], "models") == 0))
        return answer_repo(request);
    if (!serve_is_get(request))
        return answer_nothing(request);
    if (n == 4 && strcmp(s[1], "organizations") == 0 && strcmp(s[3], "overview") == 0)
        return answer_owner(request, s[2]);
    if (n == 2 && strcmp(s[1], "whoami-v2") == 0)
        return answer_whoami(request);
    return answer_nothing(request);
}

enum MHD_Result serve_answer(serve_request *request)
{
    char *const *s = request->target.segments;
    const size_t n = request->target.count;
    if (n > 1 && strcmp(s[0], "api") == 0)
        return serve_answer_api(request);
    if (n >= 6 && strcmp(s[0], "kernels") == 0 && strcmp(s[3], "resolve") == 0)
        return serve_answer_file(request, "kernels", 1);
    if (n >= 5 && strcmp(s[2], "resolve") == 0)
        return serve_answer_file(request, "models", 0);
    return answer_nothing(request);
}
