#include "hub/ask.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/url.h"

enum { URL_MAX = 16384 };

bool kni_ask_is_cancelled(void *user)
{
    const kni_ask_watch *watch = user;
    const kn_progress progress = {
        .struct_size = sizeof(progress), .repo_id = watch->repo_id, .variant = ""};
    return watch->hub->progress && watch->hub->progress(watch->hub->progress_user, &progress) != 0;
}

// What a question needs, on its way through the memo.
typedef struct question {
    kn_hub *hub;
    const kni_repo *repo;
    const char *what; // a revision, a commit, an owner
    bool flag;        // is_urgent, either
    bool is_file;     // its answer may come from elsewhere
} question;

// One GET below the endpoint. The path is in `url` after the endpoint; on return request->body has the answer.
static kn_status get(const question *q, kni_buf *url, size_t body_max, bool is_optional,
                     kni_http_request *request, kn_error *err)
{
    kni_ask_watch watched = {q->hub, q->repo ? q->repo->id : q->what};
    const kni_http_watch watch = {kni_ask_is_cancelled, &watched};
    if (url->failed)
        return kni_no_memory(err);
    *request = (kni_http_request){
        .url = kni_buf_text(url),
        .subject = q->repo ? q->repo->id : q->what,
        .user_agent = q->hub->settings.user_agent,
        .with_token = true,
        .is_optional = is_optional,
        .any_origin = q->is_file,
        .body_max = body_max,
    };
    return kni_http_get(q->hub->http, request, &watch, err);
}

static kni_buf endpoint_url(const question *q)
{
    kni_buf url = KNI_BUF(URL_MAX);
    kni_buf_puts(&url, q->hub->settings.endpoint);
    return url;
}

static kni_buf api_url(const question *q, const kni_repo *repo, const char *rest)
{
    kni_buf url = endpoint_url(q);
    kni_repo_append_api(&url, repo);
    kni_buf_puts(&url, rest);
    return url;
}

static bool is_cancelled(void *user)
{
    const question *q = user;
    kni_ask_watch watch = {q->hub, q->repo ? q->repo->id : q->what};
    return kni_ask_is_cancelled(&watch);
}

static kn_status ask(const question *q, const char *kind, kni_memo_make make,
                     void (*dispose)(void *answer), const void **answer, kn_error *err)
{
    kni_buf key = KNI_BUF_ANY;
    kni_buf_printf(&key, "%s %s %s %s", kind, q->repo ? kni_repo_type_text(q->repo->type) : "",
                   q->repo ? q->repo->id : "", q->what);
    const kn_status st = key.failed
                             ? kni_no_memory(err)
                             : kni_memo_get(q->hub->memo, kni_buf_text(&key), make, is_cancelled,
                                            (void *)(uintptr_t)q, dispose, answer, err);
    kni_buf_dispose(&key);
    return st;
}

static kni_repo of_type(const kni_repo *repo, kni_repo_type type)
{
    kni_repo other = *repo;
    other.type = type;
    return other;
}

// What was renamed answers by a redirect. The new name of a repository is what is trusted; another owner is not what was asked for.
static kn_status check_owner(const question *q, const char *collection, const char *owner,
                             const char *url, kn_error *err)
{
    const size_t size = strlen(owner);
    const char *path = strstr(url, collection);
    const char *found = path ? path + strlen(collection) : "";
    if (path && path < url + strcspn(url, "?#") && strncasecmp(found, owner, size) == 0 &&
        found[size] == '/')
        return KN_OK;
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "%s: the hub answers for another owner%s (%s): ask for that one by its "
                        "name",
                        q->repo ? q->repo->id : owner, q->repo ? "'s repository" : "", url);
}

// The same as get, of an answer about a repository.
static kn_status get_own(const question *q, const kni_repo *repo, kni_buf *url, size_t body_max,
                         bool is_optional, kni_http_request *request, kn_error *err)
{
    char owner[KNI_REPO_ID_MAX];
    kni_repo_owner(repo, owner);
    kn_status st = get(q, url, body_max, is_optional, request, err);
    if (st == KN_OK)
        st = check_owner(q, repo->type == KNI_REPO_KERNEL ? "/api/kernels/" : "/api/models/", owner,
                         request->answer.url, err);
    return st;
}

// --- refs ---

static void dispose_refs(void *answer)
{
    kni_known_refs *known = answer;
    kni_refs_dispose(&known->refs);
    kni_free(known);
}

static kn_status get_refs(const question *q, kni_known_refs *out, kni_http_kind *kind,
                          kn_error *err)
{
    kni_buf url = api_url(q, &out->repo, "/refs");
    kni_http_request request = {0};
    kn_status st = get_own(q, &out->repo, &url, KNI_REFS_MAX, q->flag, &request, err);
    *kind = request.answer.kind;
    if (st == KN_OK)
        st = kni_refs_parse(kni_buf_text(&request.body), request.body.size, kni_buf_text(&url),
                            &out->refs, err);
    kni_http_request_dispose(&request);
    kni_buf_dispose(&url);
    return st;
}

static kn_status make_refs(void *user, void **answer, kn_error *err)
{
    const question *q = user;
    kn_error as_kernel = KN_ERROR_INIT, as_model = KN_ERROR_INIT;
    kni_http_kind kind = KNI_HTTP_OK;
    kni_known_refs *known = kni_calloc(1, sizeof(*known));
    if (!known)
        return kni_no_memory(err);
    known->repo = of_type(q->repo, KNI_REPO_KERNEL);
    kn_status st = get_refs(q, known, &kind, &as_kernel);
    if (st != KN_OK && kind == KNI_HTTP_REPO_NOT_FOUND) {
        known->repo.type = KNI_REPO_MODEL;
        st = get_refs(q, known, &kind, &as_model);
        if (st != KN_OK && kind != KNI_HTTP_REPO_NOT_FOUND && kind != KNI_HTTP_UNAUTHORIZED) {
            kn_error_dispose(&as_kernel);
            as_kernel = as_model;
            as_model = KN_ERROR_INIT;
        }
    }
    kn_error_dispose(&as_model);
    if (st == KN_OK) {
        kn_error_dispose(&as_kernel);
        *answer = known;
        return KN_OK;
    }
    dispose_refs(known);
    return kni_error_move(err, &as_kernel);
}

kn_status kni_ask_refs(kn_hub *hub, const kni_repo *repo, bool is_urgent,
                       const kni_known_refs **out, kn_error *err)
{
    const kni_repo either = of_type(repo, KNI_REPO_KERNEL);
    const question q = {.hub = hub, .repo = &either, .what = "", .flag = is_urgent};
    const void *answer = NULL;
    const kn_status st = ask(&q, "refs", make_refs, dispose_refs, &answer, err);
    *out = answer;
    return st;
}

// --- a commit ---

static kn_status make_commit(void *user, void **answer, kn_error *err)
{
    const question *q = user;
    kni_buf url = api_url(q, q->repo, "/revision/");
    kni_http_request request = {0};
    char *commit = kni_calloc(1, KNI_COMMIT_SIZE);
    kni_url_append_segment(&url, q->what);
    kn_status st = commit ? get_own(q, q->repo, &url, 0, false, &request, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_info_parse(kni_buf_text(&request.body), request.body.size, kni_buf_text(&url),
                            kni_is_short_commit(q->what) ? q->what : NULL, commit, err);
    if (st == KN_OK)
        *answer = commit;
    else
        kni_free(commit);
    kni_http_request_dispose(&request);
    kni_buf_dispose(&url);
    return st;
}

kn_status kni_ask_commit(kn_hub *hub, const kni_repo *repo, const char *revision,
                         const char **commit, kn_error *err)
{
    const question q = {.hub = hub, .repo = repo, .what = revision};
    const void *answer = NULL;
    const kn_status st = ask(&q, "commit", make_commit, kni_free, &answer, err);
    *commit = answer;
    return st;
}

// --- the tree ---

static void dispose_tree(void *answer)
{
    kni_known_tree *known = answer;
    kni_tree_dispose(&known->tree);
    kni_free(known);
}

// The next page must be on the endpoint: it gets the token.
static kn_status next_page(const question *q, const char *link, kni_buf *url, kn_error *err)
{
    char *next = NULL;
    kni_url from = {0}, to = {0};
    kn_status st = link ? kni_link_next(link, &next, err) : KN_OK;
    const bool goes_on = st == KN_OK && next;
    if (goes_on)
        st = kni_url_parse(kni_buf_text(url), q->repo->id, &from, err);
    if (goes_on && st == KN_OK)
        st = kni_url_join(&from, next, &to, err);
    if (goes_on && st == KN_OK && !kni_url_same_origin(&from, &to))
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: the next page of its files is said to be elsewhere, at %s://%s",
                          q->repo->id, to.scheme, to.host);
    if (goes_on && st == KN_OK && strcmp(from.text, to.text) == 0)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: a page of its files names itself as the next",
                          q->repo->id);
    url->size = 0;
    if (goes_on && st == KN_OK)
        kni_buf_puts(url, to.text);
    kni_url_dispose(&to);
    kni_url_dispose(&from);
    kni_free(next);
    return st;
}

static kn_status get_tree(const question *q, kni_known_tree *out, kni_http_kind *kind,
                          kn_error *err)
{
    kni_buf url = api_url(q, &out->repo, "/tree/");
    kn_status st = KN_OK;
    kni_url_append_segment(&url, q->what);
    kni_buf_puts(&url, "/build?recursive=true&expand=false");
    for (int n_pages = 0; st == KN_OK && url.size > 0; ++n_pages) {
        kni_http_request request = {0};
        if (n_pages == KNI_TREE_PAGES_MAX)
            st =
                kn_error_set(err, KN_ERR_FORMAT, "%s: the list of its files has more than %d pages",
                             q->repo->id, n_pages);
        if (st == KN_OK)
            st = n_pages == 0
                     ? get_own(q, &out->repo, &url, KNI_TREE_PAGE_MAX, false, &request, err)
                     : get(q, &url, KNI_TREE_PAGE_MAX, false, &request, err);
        *kind = request.answer.kind;
        if (st == KN_OK)
            st = kni_tree_add_page(&out->tree, kni_buf_text(&request.body), request.body.size,
                                   q->repo->id, "build", err);
        if (st == KN_OK)
            st = next_page(q, request.answer.link, &url, err);
        kni_http_request_dispose(&request);
    }
    if (st == KN_OK && url.failed) // that there is no address is not that there is no page
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = kni_tree_finish(&out->tree, q->repo->id, err);
    kni_buf_dispose(&url);
    return st;
}

static kn_status make_tree(void *user, void **answer, kn_error *err)
{
    const question *q = user;
    kn_error first = KN_ERROR_INIT;
    kni_http_kind kind = KNI_HTTP_OK;
    kni_known_tree *known = kni_calloc(1, sizeof(*known));
    if (!known)
        return kni_no_memory(err);
    known->repo = *q->repo;
    kn_status st = get_tree(q, known, &kind, &first);
    if (st != KN_OK && kind == KNI_HTTP_REPO_NOT_FOUND && q->flag) {
        known->repo.type = KNI_REPO_MODEL;
        kni_tree_dispose(&known->tree);
        known->tree = (kni_tree){0};
        st = get_tree(q, known, &kind, NULL);
    }
    if (st == KN_OK) {
        kn_error_dispose(&first);
        *answer = known;
        return KN_OK;
    }
    dispose_tree(known);
    return kni_error_move(err, &first);
}

kn_status kni_ask_tree(kn_hub *hub, const kni_repo *repo, const char *commit, bool either,
                       const kni_known_tree **out, kn_error *err)
{
    const question q = {.hub = hub, .repo = repo, .what = commit, .flag = either};
    const void *answer = NULL;
    const kn_status st =
        ask(&q, either ? "tree of either" : "tree", make_tree, dispose_tree, &answer, err);
    *out = answer;
    return st;
}

// --- the publisher ---

static kn_status make_publisher(void *user, void **answer, kn_error *err)
{
    const question *q = user;
    kni_buf url = endpoint_url(q);
    kni_http_request request = {0};
    kn_error why = KN_ERROR_INIT;
    kni_known_publisher *known = kni_calloc(1, sizeof(*known));
    kni_buf_puts(&url, "/api/organizations/");
    kni_url_append_segment(&url, q->what);
    kni_buf_puts(&url, "/overview");
    kn_status st = known ? get(q, &url, 0, false, &request, &why) : kni_no_memory(&why);
    if (st == KN_OK)
        st = check_owner(q, "/api/organizations/", q->what, request.answer.url, &why);
    if (st == KN_OK) {
        st = kni_overview_parse(kni_buf_text(&request.body), request.body.size, q->what,
                                &known->is_trusted, &why);
        known->says =
            known->is_trusted ? "is a trusted publisher" : "is not from a trusted publisher";
    } else if (st == KN_ERR_NOT_FOUND && request.answer.status == 404) {
        known->says = "is not from a trusted publisher (nor from an organisation)";
        kn_error_dispose(&why);
        st = KN_OK;
    }
    if (st == KN_OK)
        *answer = known;
    else
        kni_free(known);
    kni_http_request_dispose(&request);
    kni_buf_dispose(&url);
    return st == KN_OK ? st : kni_error_move(err, &why);
}

kn_status kni_ask_publisher(kn_hub *hub, const char *owner, const kni_known_publisher **out,
                            kn_error *err)
{
    const question q = {.hub = hub, .what = owner};
    const void *answer = NULL;
    const kn_status st = ask(&q, "publisher", make_publisher, kni_free, &answer, err);
    *out = answer;
    return st;
}

// --- has it moved? ---

// An answer that says "not moved" is a moved of nowhere: a memo has no NULL answers that are good.
static void dispose_moved(void *answer)
{
    kni_known_moved *known = answer;
    kni_moved_dispose(&known->moved);
    kni_buf_dispose(&known->text);
    kni_free(known);
}

static kn_status make_moved(void *user, void **answer, kn_error *err)
{
    const question *q = user;
    kni_buf url = endpoint_url(q);
    kni_http_request request = {0};
    kn_error why = KN_ERROR_INIT;
    kni_known_moved *known = kni_calloc(1, sizeof(*known));
    kni_repo_append_resolve(&url, q->repo, q->what, KNI_MOVED_FILE);
    kn_status st = known ? get(q, &url, 0, true, &request, &why) : kni_no_memory(&why);
    if (st == KN_OK)
        st = kni_moved_parse(kni_buf_text(&request.body), request.body.size, KNI_MOVED_FILE,
                             q->repo->type, &known->moved, &why);
    else if (st != KN_ERR_CANCELLED && st != KN_ERR_NO_MEMORY)
        st = KN_OK; // no such file, or none that can be had: it has not moved
    if (st == KN_OK) {
        if (request.answer.commit && kni_is_commit(request.answer.commit))
            memcpy(known->commit, request.answer.commit, KNI_COMMIT_SIZE);
        known->text = request.body;
        request.body = (kni_buf){0};
        *answer = known;
    } else {
        kni_free(known);
    }
    kni_http_request_dispose(&request);
    kni_buf_dispose(&url);
    if (st == KN_OK)
        kn_error_dispose(&why);
    else
        kn_error_prefix(&why, "%s", q->repo->id);
    return st == KN_OK ? st : kni_error_move(err, &why);
}

kn_status kni_ask_moved(kn_hub *hub, const kni_repo *repo, const char *ref,
                        const kni_known_moved **out, kn_error *err)
{
    const question q = {.hub = hub, .repo = repo, .what = ref, .is_file = true};
    const void *answer = NULL;
    const kn_status st = ask(&q, "moved", make_moved, dispose_moved, &answer, err);
    const kni_known_moved *known = answer;
    *out = known && known->moved.to.id[0] ? known : NULL;
    return st;
}
