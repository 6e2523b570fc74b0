// The wire side of a job: what libcurl is told for a hop, and what it calls.
#include "hub/http_job.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

#define BODY_MAX ((size_t)1 << 20)
#define FAILED_BODY_MAX ((size_t)64 << 10)
#define FILE_BUFFER (128L << 10) // libcurl's own of 16 KiB costs a system call for every write
#define TIMEOUT_MS 10000

uint32_t kni_job_timeout_ms(const kni_job *job)
{
    const kni_settings *settings = job->http->settings;
    const uint32_t timeout = job->request->write ? settings->timeout_ms : settings->etag_timeout_ms;
    return timeout ? timeout : TIMEOUT_MS;
}

bool kni_job_is_stalled(kni_job *job, int64_t now_ms)
{
    const int64_t limit = kni_job_timeout_ms(job);
    curl_off_t connected_us = 0;
    if (now_ms - job->heard_ms < limit)
        return false;
    // Until then libcurl's limit for connecting counts.
    job->curl->easy_getinfo(job->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    const int64_t connected_ms = job->sent_ms + connected_us / 1000;
    job->is_stalled = connected_us > 0 && now_ms - connected_ms >= limit;
    return job->is_stalled;
}

static size_t stop(kni_job *job, kn_status status)
{
    job->failure = status;
    return 0; // less than was given: libcurl ends the transfer
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    kni_job *job = user;
    const bool was_done = job->head.is_done;
    job->heard_ms = kni_now_ms();
    kn_status st = kni_head_add(&job->head, data, size * count, &job->request->error);
    if (st == KN_OK && job->head.is_done && !was_done && job->head.status >= 200)
        st = kni_job_head_done(job, &job->request->error);
    if (st != KN_OK || job->restart)
        return stop(job, st);
    return size * count;
}

// The body of a file: to the caller, and never more than was announced.
static kn_status write_file(kni_job *job, const char *data, size_t size, kn_error *err)
{
    kni_http_request *request = job->request;
    if (size > request->size - job->have)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "the server sends more than the %" PRIu64 " bytes that are expected",
                            request->size);
    const kn_status st = request->write(request->user, data, size, err);
    if (st == KN_OK)
        job->have += size;
    return st;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    kni_job *job = user;
    kni_http_request *request = job->request;
    const bool is_good = job->head.status >= 200 && job->head.status < 300;
    size_t n = size * count;
    kn_status st = KN_OK;
    if (is_good && request->write) {
        st = write_file(job, data, n, &request->error);
        job->heard_ms = kni_now_ms(); // also after a slow disk
        return st == KN_OK ? n : stop(job, st);
    }
    job->heard_ms = kni_now_ms();
    if (!is_good && job->head.is_encoded)
        n = 0;
    if (!is_good && n > FAILED_BODY_MAX - request->body.size) {
        job->is_enough = true;
        n = FAILED_BODY_MAX - request->body.size;
    }
    kni_buf_append(&request->body, data, n);
    if (request->body.too_long)
        st = kn_error_set(&request->error, KN_ERR_FORMAT,
                          "the answer is larger than the %zu bytes that are accepted",
                          request->body.max);
    else if (request->body.failed)
        st = kni_no_memory(&request->error);
    return st != KN_OK || job->is_enough ? stop(job, st) : size * count;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    kni_job *job = user;
    (void)purpose;
    if (!kni_job_may_connect(job, &address->addr)) {
        job->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    __atomic_add_fetch(&job->http->n_connections, 1, __ATOMIC_RELAXED);
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool add_header(kni_job *job, const char *name, const char *value)
{
    kni_buf line = KNI_BUF_ANY;
    kni_buf_printf(&line, "%s: %s", name, value);
    struct curl_slist *list =
        line.failed ? NULL : job->curl->slist_append(job->headers, kni_buf_text(&line));
    if (list)
        job->headers = list;
    kni_buf_dispose(&line);
    return list != NULL;
}

// Built anew for every hop, so that nothing of one origin is left for the next.
static bool set_headers(kni_job *job, const char *token)
{
    unsigned char id[16] = {0};
    char trace[37];
    if (getrandom(id, sizeof(id), GRND_NONBLOCK) < 0)
        id[0] = (unsigned char)job->n_tries;
    snprintf(trace, sizeof(trace),
             "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", id[0], id[1],
             id[2], id[3], id[4], id[5], id[6] & 15u, id[7], id[8] & 15u, id[9], id[10], id[11],
             id[12], id[13], id[14], id[15]);
    bool ok =
        add_header(job, "Accept-Encoding", "identity") && add_header(job, "X-Amzn-Trace-Id", trace);
    if (job->sends_token) {
        kni_buf value = KNI_BUF_ANY;
        kni_buf_printf(&value, "Bearer %s", token);
        ok = ok && !value.failed && add_header(job, "Authorization", kni_buf_text(&value));
        kni_buf_dispose(&value);
    }
    return ok;
}

#define SET(option, value) (job->curl->easy_setopt(job->easy, option, value) == CURLE_OK)

static bool set_roots(kni_job *job)
{
    const kni_settings *settings = job->http->settings;
    bool ok = true;
    // As in OpenSSL, either takes the place of what is built in.
    if (settings->ca_file || settings->ca_dir)
        ok = SET(CURLOPT_CAINFO, settings->ca_file) && SET(CURLOPT_CAPATH, settings->ca_dir);
    return ok && SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static bool set_options(kni_job *job, const char *proxy)
{
    const kni_http_request *request = job->request;
    const bool is_https = strcmp(job->url.scheme, "https") == 0;
    char range[32];
    bool ok = SET(CURLOPT_PRIVATE, (void *)job) && SET(CURLOPT_URL, job->url.text) &&
              SET(CURLOPT_PATH_AS_IS, 1L) && SET(CURLOPT_HTTPHEADER, job->headers) &&
              SET(CURLOPT_ERRORBUFFER, job->curl_text) && SET(CURLOPT_NOSIGNAL, 1L) &&
              SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_HEADERFUNCTION, on_header) &&
              SET(CURLOPT_HEADERDATA, (void *)job) && SET(CURLOPT_WRITEFUNCTION, on_body) &&
              SET(CURLOPT_WRITEDATA, (void *)job) &&
              SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket) &&
              SET(CURLOPT_OPENSOCKETDATA, (void *)job) &&
              SET(CURLOPT_CONNECTTIMEOUT_MS, (long)kni_job_timeout_ms(job)) && set_roots(job);
    const char *agent = request->user_agent ? request->user_agent : job->http->settings->user_agent;
    if (agent)
        ok = ok && SET(CURLOPT_USERAGENT, agent);
    // Never libcurl's own reading of the environment.
    ok = ok && SET(CURLOPT_PROXY, proxy ? proxy : "") && SET(CURLOPT_NOPROXY, "") &&
         SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
         SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    if (!SET(CURLOPT_PROTOCOLS_STR, "http,https")) // new in 7.85
        ok = ok && SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    // Over TLS many requests share a connection as soon as the first knows that it can; without TLS there is nothing to wait for.
    ok = ok && SET(CURLOPT_HTTP_VERSION,
                   (long)(is_https ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    ok = ok && SET(CURLOPT_PIPEWAIT, is_https ? 1L : 0L) && SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (job->wants_fresh)
        ok = ok && SET(CURLOPT_FRESH_CONNECT, 1L);
    if (request->is_head)
        ok = ok && SET(CURLOPT_NOBODY, 1L);
    if (request->write)
        ok = ok && SET(CURLOPT_BUFFERSIZE, FILE_BUFFER);
    if (job->have) {
        snprintf(range, sizeof(range), "%" PRIu64 "-", job->have);
        ok = ok && SET(CURLOPT_RANGE, range);
    }
    // Not in every version, and nothing without them: HTTP/0.9 is refused, a name server that does not answer holds up nobody.
    (void)SET(CURLOPT_HTTP09_ALLOWED, 0L);
    (void)SET(CURLOPT_QUICK_EXIT, 1L);
    return ok;
}

// Decides whether the token goes along.
static kn_status choose_token(kni_job *job, const char *proxy, const char **token, kn_error *err)
{
    const kni_settings *settings = job->http->settings;
    const char *source;
    *token = NULL;
    if (!job->request->with_token || !settings->token || !job->is_endpoint)
        return KN_OK;
    const kn_status st = kni_settings_token(settings, token, &source, err);
    if (st != KN_OK || !*token)
        return st;
    // Through a proxy a request to this machine leaves it.
    if (strcmp(job->url.scheme, "https") == 0 || (kni_url_is_loopback(&job->url) && !proxy)) {
        job->sends_token = true;
    } else if (!__atomic_exchange_n(&job->http->told_of_token, true, __ATOMIC_RELAXED)) {
        kni_log_write(job->http->log, KN_LOG_WARNING,
                      "the token from %s is not sent to %s: only over https, or over http to this "
                      "machine without a proxy",
                      source, settings->endpoint);
    }
    return KN_OK;
}

static void tell(const kni_job *job)
{
    if (!job->http->settings->is_verbose)
        return;
    char *url = kni_url_for_people(job->url.text);
    kni_log_write(job->http->log, KN_LOG_DEBUG, "%s %s, from byte %" PRIu64 ", %s%s",
                  job->request->is_head ? "HEAD" : "GET", url ? url : "", job->have,
                  job->sends_token ? "with the token (not shown)" : "without a token",
                  job->via_proxy ? ", by a proxy" : "");
    kni_free(url);
}

void kni_job_send(kni_job *job)
{
    kni_http_request *request = job->request;
    const char *token = NULL;
    kn_status st = KN_OK;

    kni_head_dispose(&job->head);
    job->sends_token = job->refused_address = job->is_enough = false;
    job->restart = job->is_stalled = false;
    job->failure = KN_OK;
    job->curl_text[0] = '\0';
    if (!job->url.text) { // a new try
        ++job->n_tries;
        job->n_hops = 0;
        st = kni_url_parse(request->url, "URL", &job->url, &request->error);
        if (st != KN_OK)
            goto done;
    }
    kni_buf_dispose(&request->body);
    request->body = KNI_BUF(request->body_max ? request->body_max : BODY_MAX);
    job->is_endpoint = kni_url_same_origin(&job->url, &job->http->endpoint);
    const char *proxy = kni_proxy_for(job->http->settings, &job->url);
    job->via_proxy = proxy != NULL;
    st = choose_token(job, proxy, &token, &request->error);
    if (st != KN_OK)
        goto done;
    job->easy = job->curl->easy_init();
    if (!job->easy || !set_headers(job, token) || !set_options(job, proxy)) {
        st = kni_no_memory(&request->error);
        goto done;
    }
    tell(job);
    job->sent_ms = job->heard_ms = kni_now_ms();
    const CURLMcode code = job->curl->multi_add_handle(job->multi, job->easy);
    if (code == CURLM_OUT_OF_MEMORY)
        st = kni_no_memory(&request->error);
    else if (code != CURLM_OK)
        st = kn_error_set(&request->error, KN_ERR_NETWORK, "libcurl refuses the request: %s",
                          job->curl->multi_strerror(code));
    if (st == KN_OK) {
        ++request->answer.n_sent;
        job->state = KNI_JOB_RUNNING;
    }
done:
    if (st != KN_OK)
        kni_job_end(job, st, NULL);
}

void kni_job_drop(kni_job *job)
{
    if (job->is_stalled) // a connection that went dead is for nobody else either
        (void)SET(CURLOPT_FORBID_REUSE, 1L);
    if (job->state == KNI_JOB_RUNNING)
        job->curl->multi_remove_handle(job->multi, job->easy);
    if (job->easy)
        job->curl->easy_cleanup(job->easy);
    if (job->headers)
        job->curl->slist_free_all(job->headers);
    job->easy = NULL;
    job->headers = NULL;
    if (job->state == KNI_JOB_RUNNING)
        job->state = KNI_JOB_READY;
}
