// What follows the end of a hop: the next one, another try, or the end of the request.
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/http_job.h"
#include "hub/http_retry.h"

int64_t kni_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int64_t kni_now_utc(void)
{
    return time(NULL);
}

static const char *method(const kni_job *job)
{
    return job->request->is_head ? "HEAD" : "GET";
}

static void clear_answer(kni_http_answer *answer)
{
    kni_free(answer->url);
    kni_free(answer->etag);
    kni_free(answer->commit);
    kni_free(answer->link);
    kni_free(answer->message);
    *answer = (kni_http_answer){.kind = KNI_HTTP_NO_ANSWER,
                                .size = -1,
                                .n_sent = answer->n_sent,
                                .connected_to_loopback = true};
}

void kni_job_start(kni_job *job, kni_http *http, const kni_session *session,
                   kni_http_request *request)
{
    *job = (kni_job){.state = KNI_JOB_READY,
                     .http = http,
                     .curl = session->curl,
                     .multi = session->multi,
                     .request = request,
                     .wake_ms = 0};
    kni_head_init(&job->head);
    clear_answer(&request->answer);
}

// "<subject>: <method> <url>: …", once for every kind of failure.
static void tell_where(kni_job *job, bool with_url)
{
    kni_http_request *request = job->request;
    char *url = with_url ? kni_url_for_people(job->url.text ? job->url.text : request->url) : NULL;
    if (url)
        kn_error_prefix(&request->error, "%s %s", method(job), url);
    if (request->subject)
        kn_error_prefix(&request->error, "%s", request->subject);
    kni_free(url);
}

static void finish(kni_job *job, kn_status status)
{
    kni_http_request *request = job->request;
    kni_job_drop(job);
    if (!request->answer.url && job->url.text)
        request->answer.url = kni_strdup(job->url.text);
    if (status == KN_OK && !request->answer.url)
        status = kni_no_memory(&request->error);
    if (status != KN_OK && request->answer.kind == KNI_HTTP_OK)
        request->answer.kind = KNI_HTTP_OTHER; // a redirect, or a body, that was not taken
    if (request->answer.status == 0)
        request->answer.connected_to_loopback = false;
    kni_head_dispose(&job->head);
    kni_url_dispose(&job->url);
    request->status = status;
    job->state = KNI_JOB_OVER;
}

void kni_job_end(kni_job *job, kn_status status, const char *text)
{
    kni_http_request *request = job->request;
    if (text)
        kn_error_set(&request->error, status, "%s", text);
    else
        kn_error_set(&request->error, status, "%s", kn_status_text(status)); // where none is set
    tell_where(job, status != KN_ERR_CANCELLED);
    finish(job, status);
}

// Sends it again, from the first URL: one that was signed may have run out.
static void try_again(kni_job *job, kni_retry retry)
{
    const kn_status st = job->no_range ? kni_job_rewind(job, &job->request->error) : KN_OK;
    if (st != KN_OK) {
        kni_job_end(job, st, NULL);
        return;
    }
    kni_job_drop(job);
    kni_url_dispose(&job->url);
    clear_answer(&job->request->answer);
    job->linked = (kni_linked){0};
    ++job->n_failures;
    job->wake_ms = kni_now_ms() + retry.wait_ms;
}

static void note_progress(kni_job *job)
{
    if (job->have <= job->best)
        return;
    job->best = job->have;
    job->n_failures = 0;
}

static const char *advice(const kni_job *job, CURLcode code)
{
    // What was not connected to is the proxy then, however the host may be.
    if (code == CURLE_COULDNT_CONNECT && job->via_proxy)
        code = CURLE_COULDNT_RESOLVE_PROXY;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
        return ": check the network, the endpoint (HF_ENDPOINT) and whether a proxy is needed "
               "(HTTPS_PROXY), or work offline (HF_HUB_OFFLINE=1)";
    case CURLE_COULDNT_RESOLVE_PROXY:
        return ": check the proxy (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY; NO_PROXY names hosts that "
               "need none)";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return ": certificates are checked against the system's, or those of SSL_CERT_FILE and "
               "SSL_CERT_DIR";
    case CURLE_SSL_CONNECT_ERROR:
        return ": check that this port speaks TLS (https)";
    default:
        return "";
    }
}

// Where the connection was to go: the host, or the proxy without what stands before its name, which may be a password.
static void put_peer(const kni_job *job, char *out, size_t size)
{
    const char *proxy = job->via_proxy ? kni_proxy_for(job->http->settings, &job->url) : NULL;
    const char *at = proxy ? strrchr(proxy, '@') : NULL;
    if (proxy)
        snprintf(out, size, "the proxy %s", at ? at + 1 : proxy);
    else
        snprintf(out, size, "port %d of %s", job->url.port, job->url.host);
}

static void fail_code(kni_job *job, CURLcode code)
{
    kn_error *err = &job->request->error;
    char detail[420], peer[300];

    if (code == CURLE_OUT_OF_MEMORY) {
        kni_job_end(job, kni_no_memory(err), NULL);
        return;
    }
    const char *what = job->curl_text[0] ? job->curl_text : job->curl->easy_strerror(code);
    if (job->is_stalled) {
        snprintf(detail, sizeof(detail), "nothing was received for %.1f s",
                 kni_job_timeout_ms(job) / 1000.0);
        what = detail;
    } else if (code == CURLE_COULDNT_CONNECT && job->os_error > 0 &&
               strerrordesc_np((int)job->os_error)) {
        put_peer(job, peer, sizeof(peer));
        snprintf(detail, sizeof(detail), "cannot connect to %s: %s", peer,
                 strerrordesc_np((int)job->os_error));
        what = detail;
    }
    char times[32] = "";
    if (job->n_tries > 1)
        snprintf(times, sizeof(times), " (%u tries)", job->n_tries);
    kn_error_set(err, KN_ERR_NETWORK, "%s%s%s", what, times, advice(job, code));
    kni_job_end(job, KN_ERR_NETWORK, NULL);
}

static void broken(kni_job *job, CURLcode code)
{
    const kni_http_request *request = job->request;
    if (job->refused_address) {
        kn_error_set(&job->request->error, KN_ERR_UNTRUSTED,
                     "leads to an address that the endpoint %s may not send us to (one of this "
                     "machine or of a private network, or a name that should be this machine's)",
                     job->http->settings->endpoint);
        kni_job_end(job, KN_ERR_UNTRUSTED, NULL);
        return;
    }
    note_progress(job);
    job->wants_fresh = true; // the connection may be what is broken
    const kni_retry retry = kni_retry_code(code, job->n_failures, job->http->second_ms);
    if (retry.again && !request->is_optional)
        try_again(job, retry);
    else
        fail_code(job, code);
}

// An answer with an error's status: again, or its error.
static void refused(kni_job *job)
{
    kni_http_request *request = job->request;
    const char *token, *source = NULL;
    note_progress(job);
    job->wants_fresh = false;
    const kni_retry retry =
        kni_retry_answer(&job->head, job->n_failures, kni_now_utc(), job->http->second_ms);
    if (retry.again && !request->is_optional) {
        try_again(job, retry);
        return;
    }
    if (request->with_token && job->http->settings->token &&
        kni_settings_token(job->http->settings, &token, &source, NULL) != KN_OK)
        source = NULL;
    const kni_failure failure = {
        .url = job->url.text,
        .method = method(job),
        .token_source = job->sends_token ? source : NULL,
        .has_token = source != NULL,
        .n_tries = job->n_tries,
        .wait_s = retry.asked_s,
        .now = kni_now_utc(),
        .body = kni_buf_text(&request->body),
        .body_size = request->body.size,
    };
    const kn_status st = kni_head_fail(&job->head, &failure, &request->error);
    tell_where(job, false);
    finish(job, st);
}

static bool is_redirect(const kni_head *head)
{
    const long status = head->status;
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The next hop. *is_last: a HEAD that stops here, as what it asks for is said and the target is for a GET.
static kn_status follow(kni_job *job, bool *is_last, kn_error *err)
{
    kni_url to;
    *is_last = false;
    if (!job->head.location)
        return kn_error_set(err, KN_ERR_FORMAT, "a redirect (status %ld) without a target",
                            job->head.status);
    kn_status st = kni_url_join(&job->url, job->head.location, &to, err);
    if (st == KN_ERR_INVALID && err->status == st)
        err->status = st = KN_ERR_UNTRUSTED; // it is not the caller's
    if (st != KN_OK)
        return st;
    const bool stays = kni_url_same_origin(&to, &job->http->endpoint);
    char *shown = kni_url_for_people(to.text);
    if (!shown)
        st = kni_no_memory(err);
    else if (strcmp(job->url.scheme, "https") == 0 && strcmp(to.scheme, "http") == 0)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "redirects from https to %s, which is not followed", shown);
    else if (job->request->is_head && !stays)
        *is_last = true;
    else if (!job->request->any_origin && !stays)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "redirects to %s, which is not followed: only the endpoint %s is asked "
                          "for this",
                          shown, job->http->settings->endpoint);
    else if (++job->n_hops > KNI_HTTP_HOPS_MAX)
        st = kn_error_set(err, KN_ERR_UNTRUSTED, "redirects more than %d times", KNI_HTTP_HOPS_MAX);
    kni_free(shown);
    if (st == KN_OK && !*is_last) {
        kni_job_drop(job);
        kni_url_dispose(&job->url);
        job->url = to;
        job->wake_ms = 0;
    } else {
        kni_url_dispose(&to);
    }
    return st;
}

// The end of a good answer: is the file whole?
static void arrived(kni_job *job)
{
    const kni_http_request *request = job->request;
    if (!request->write || request->is_head || job->have == request->size) {
        finish(job, KN_OK);
        return;
    }
    if (job->head.content_length < 0 && !job->head.is_chunked) {
        broken(job, CURLE_PARTIAL_FILE); // its end is that of the connection
        return;
    }
    note_progress(job);
    if (job->head.status == 206 && job->have > 0 && !request->is_optional &&
        job->n_failures < KNI_RETRIES_MAX) { // a server may give less than was asked for
        try_again(job, (kni_retry){true, 0, -1});
        return;
    }
    kn_error_set(&job->request->error, KN_ERR_FORMAT,
                 "the file ends after %" PRIu64 " bytes, %" PRIu64 " are expected", job->have,
                 request->size);
    kni_job_end(job, KN_ERR_FORMAT, NULL);
}

// The server's ranges are of no use: all of it, in one piece.
static void restart(kni_job *job)
{
    job->no_range = true;
    try_again(job, (kni_retry){true, 0, -1});
}

static void log_answer(const kni_job *job, CURLcode code)
{
    if (!job->http->settings->is_verbose)
        return;
    char *url = kni_url_for_people(job->url.text);
    kni_log_write(job->http->log, KN_LOG_DEBUG, "%s %s: %ld%s%s, %" PRId64 " ms", method(job),
                  url ? url : "", job->head.status, code == CURLE_OK ? "" : ", ",
                  code == CURLE_OK ? "" : job->curl->easy_strerror(code),
                  kni_now_ms() - job->sent_ms);
    kni_free(url);
}

void kni_job_hop_over(kni_job *job, CURLcode code)
{
    kni_http_request *request = job->request;
    kn_error *err = &request->error;
    const long status = job->head.status;
    long connect_status = 0;
    bool is_last = false;
    kn_status st = KN_OK;

    log_answer(job, code);
    job->curl->easy_getinfo(job->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    job->curl->easy_getinfo(job->easy, CURLINFO_OS_ERRNO, &job->os_error);
    if (job->restart) {
        restart(job);
        return;
    }
    const bool has_answer = job->head.is_done && status >= 200;
    const bool is_whole = request->write && !request->is_head && job->have == request->size;
    if (has_answer)
        st = kni_answer_add(&request->answer, &job->linked, &job->head, err);
    if (st != KN_OK || job->failure != KN_OK) {
        kni_job_end(job, job->failure != KN_OK ? job->failure : st, NULL);
    } else if (has_answer && is_redirect(&job->head)) {
        st = follow(job, &is_last, err);
        if (is_last)
            finish(job, KN_OK);
        else if (st != KN_OK)
            kni_job_end(job, st, NULL);
    } else if (has_answer && is_whole && (status == 416 || status < 300)) {
        finish(job, KN_OK); // also when it broke behind the last byte
    } else if (has_answer && status == 416 && request->write && job->have && !job->no_range) {
        restart(job);
    } else if (has_answer && status >= 300) {
        refused(job); // also when the text of the error was cut
    } else if (code == CURLE_OK && has_answer) {
        arrived(job);
    } else if (connect_status >= 400) {
        kn_error_set(
            err, KN_ERR_NETWORK,
            "the proxy answers with status %ld: check it (HTTPS_PROXY, ALL_PROXY; NO_PROXY "
            "names hosts that need none)",
            connect_status);
        kni_job_end(job, KN_ERR_NETWORK, NULL);
    } else {
        broken(job, code == CURLE_OK ? CURLE_GOT_NOTHING : code);
    }
}
