#include "hub/http.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/http_job.h"
#include "hub/http_test.h"

#define PARALLEL 8
#define ROUND_MS 50 // how long the watch may wait to be asked
#define GAP_MS 1000 // a round that took longer was not the servers' fault
#define CONNECTIONS_MAX 32L

kn_status kni_http_new(const kni_settings *settings, const kni_log *log, kni_http **out,
                       kn_error *err)
{
    kn_status st;
    *out = NULL;
    kni_http *http = kni_calloc(1, sizeof(*http));
    if (!http)
        return kni_no_memory(err);
    http->settings = settings;
    http->log = log;
    http->second_ms = 1000;
    http->nearness = KNI_NEAR_UNKNOWN;
    st = kni_url_parse(settings->endpoint, "the endpoint", &http->endpoint, err);
    if (st == KN_OK) {
        *out = http;
        http = NULL;
    }
    kni_http_free(http);
    return st;
}

void kni_http_set_second(kni_http *http, int64_t ms)
{
    http->second_ms = ms;
}

static void session_free(kni_session *session)
{
    // One of another process stays as it is: closing it would say good-bye on that process's connections.
    if (session && session->pid == getpid()) {
        session->curl->multi_cleanup(session->multi);
        kni_free(session);
    }
}

void kni_http_free(kni_http *http)
{
    if (!http)
        return;
    for (size_t i = 0; i < KNI_HTTP_SESSIONS_MAX; ++i)
        session_free(http->idle[i]);
    kni_url_dispose(&http->endpoint);
    kni_free(http);
}

static kn_status session_take(kni_http *http, kni_session **out, kn_error *err)
{
    const kni_curl *curl;
    *out = NULL;
    for (size_t i = 0; i < KNI_HTTP_SESSIONS_MAX; ++i) {
        kni_session *session = __atomic_exchange_n(&http->idle[i], NULL, __ATOMIC_ACQUIRE);
        if (session && session->pid == getpid()) {
            *out = session;
            return KN_OK;
        }
    }
    const kn_status st = kni_curl_get(&curl, err);
    if (st != KN_OK)
        return st;
    kni_session *session = kni_calloc(1, sizeof(*session));
    if (!session)
        return kni_no_memory(err);
    *session = (kni_session){getpid(), curl, curl->multi_init()};
    if (!session->multi ||
        curl->multi_setopt(session->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX) != CURLM_OK) {
        if (session->multi)
            curl->multi_cleanup(session->multi);
        kni_free(session);
        return kni_no_memory(err);
    }
    *out = session;
    return KN_OK;
}

static void session_give(kni_http *http, kni_session *session)
{
    for (size_t i = 0; i < KNI_HTTP_SESSIONS_MAX && session; ++i) {
        kni_session *none = NULL;
        if (__atomic_compare_exchange_n(&http->idle[i], &none, session, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            session = NULL;
    }
    session_free(session);
}

// Some TLS libraries write to a socket without MSG_NOSIGNAL, and the program's handler for SIGPIPE is its own.
typedef struct pipe_guard {
    sigset_t before;
    bool was_pending;
} pipe_guard;

static void guard_pipe(pipe_guard *guard)
{
    sigset_t set;
    sigpending(&set);
    guard->was_pending = sigismember(&set, SIGPIPE) == 1;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &guard->before);
}

static void unguard_pipe(const pipe_guard *guard)
{
    sigset_t set;
    sigpending(&set);
    if (!guard->was_pending && sigismember(&set, SIGPIPE) == 1) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        sigtimedwait(&set, NULL, &(struct timespec){0});
    }
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

typedef struct run {
    kni_http *http;
    kni_session *session;
    kni_http_request **requests;
    size_t n;
    size_t next; // the first that was not begun
    size_t n_over;
    kni_job *jobs;
    size_t n_jobs;
    const kni_http_watch *watch;
    int64_t asked_ms; // when the watch was
    int64_t round_ms; // when the last round began
} run;

static void over(run *r, kni_http_request *request)
{
    ++r->n_over;
    if (request->finished)
        request->finished(request->user, request);
}

// Ends what is not over with one status: nothing could be done, or nothing more is to be done.
static void end_all(run *r, kn_status status, const char *text)
{
    for (size_t i = 0; i < r->n_jobs; ++i) {
        if (r->jobs[i].state == KNI_JOB_FREE)
            continue;
        if (r->jobs[i].state != KNI_JOB_OVER)
            kni_job_end(&r->jobs[i], status, text);
        r->jobs[i].state = KNI_JOB_FREE;
        over(r, r->jobs[i].request);
    }
    while (r->next < r->n) {
        kni_http_request *request = r->requests[r->next++];
        kn_error_set(&request->error, status, "%s", text);
        if (request->subject)
            kn_error_prefix(&request->error, "%s", request->subject);
        request->status = status;
        over(r, request);
    }
}

static bool is_cancelled(run *r)
{
    const int64_t now = kni_now_ms();
    if (!r->watch || !r->watch->is_cancelled || now - r->asked_ms < ROUND_MS)
        return false;
    r->asked_ms = now;
    return r->watch->is_cancelled(r->watch->user);
}

static void begin_jobs(run *r)
{
    const int64_t now = kni_now_ms();
    const int64_t gap = now - r->round_ms;
    r->round_ms = now;
    for (size_t i = 0; i < r->n_jobs; ++i) {
        kni_job *job = &r->jobs[i];
        if (job->state == KNI_JOB_RUNNING && gap > GAP_MS)
            job->heard_ms += gap;
        if (job->state == KNI_JOB_FREE && r->next < r->n)
            kni_job_start(job, r->http, r->session, r->requests[r->next++]);
        if (job->state == KNI_JOB_READY && job->wake_ms <= now)
            kni_job_send(job);
    }
}

static void collect(run *r)
{
    const kni_curl *curl = r->session->curl;
    CURLMsg *message;
    int n_left;
    while ((message = curl->multi_info_read(r->session->multi, &n_left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = message->data.result; // gone once the handle is
        char *job = NULL;
        curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &job);
        kni_job_hop_over((kni_job *)(void *)job, code);
    }
}

// Ends what stalls, hands out what is over; returns how long nothing needs to be done, in ms.
static int sweep(run *r)
{
    const int64_t now = kni_now_ms();
    int64_t wait = GAP_MS / 2;
    if (r->watch && r->watch->is_cancelled) {
        const int64_t due = r->asked_ms + ROUND_MS - now;
        wait = due > 0 ? due : 0;
    }
    for (size_t i = 0; i < r->n_jobs; ++i) {
        kni_job *job = &r->jobs[i];
        if (job->state == KNI_JOB_RUNNING && kni_job_is_stalled(job, now))
            kni_job_hop_over(job, CURLE_OPERATION_TIMEDOUT);
        if (job->state == KNI_JOB_OVER) {
            job->state = KNI_JOB_FREE;
            over(r, job->request);
        }
        if (job->state == KNI_JOB_READY && job->wake_ms - now < wait)
            wait = job->wake_ms > now ? job->wake_ms - now : 0;
        if (job->state == KNI_JOB_FREE && r->next < r->n)
            wait = 0;
    }
    return (int)wait;
}

static kn_status work(run *r, kn_error *err)
{
    const kni_curl *curl = r->session->curl;
    CURLM *multi = r->session->multi;
    int n_running;
    while (r->n_over < r->n) {
        if (is_cancelled(r)) {
            end_all(r, KN_ERR_CANCELLED, "cancelled");
            return kn_error_set(err, KN_ERR_CANCELLED, "cancelled");
        }
        begin_jobs(r);
        const CURLMcode code = curl->multi_perform(multi, &n_running);
        if (code != CURLM_OK) {
            end_all(r, KN_ERR_NETWORK, curl->multi_strerror(code));
            return KN_OK;
        }
        collect(r);
        const int wait = sweep(r);
        if (wait && r->n_over < r->n)
            curl->multi_poll(multi, NULL, 0, wait, NULL);
    }
    return KN_OK;
}

kn_status kni_http_run(kni_http *http, kni_http_request **requests, size_t n, size_t parallel,
                       const kni_http_watch *watch, kn_error *err)
{
    kn_status st = KN_OK;
    kn_error own = KN_ERROR_INIT;
    pipe_guard guard;
    run r = {.http = http,
             .requests = requests,
             .n = n,
             .watch = watch,
             .asked_ms = INT64_MIN / 2,
             .round_ms = kni_now_ms()};

    if (n == 0)
        return KN_OK;
    for (size_t i = 0; i < n; ++i)
        kni_http_request_dispose(requests[i]);
    if (http->settings->is_offline) {
        st = kn_error_set(&own, KN_ERR_NOT_FOUND,
                          "not asked, as the hub is offline (HF_HUB_OFFLINE, or an option)");
        goto done;
    }
    r.n_jobs = parallel ? parallel : PARALLEL;
    if (r.n_jobs > n)
        r.n_jobs = n;
    r.jobs = kni_calloc(r.n_jobs, sizeof(*r.jobs));
    if (!r.jobs) {
        r.n_jobs = 0;
        st = kni_no_memory(&own);
        goto done;
    }
    st = session_take(http, &r.session, &own);
    if (st != KN_OK)
        goto done;
    guard_pipe(&guard);
    st = work(&r, &own);
    unguard_pipe(&guard);
done:
    if (r.session)
        session_give(http, r.session);
    end_all(&r, st, kn_error_text(&own)); // nothing is left after work
    kni_error_move(err, &own);
    kni_free(r.jobs);
    return st;
}

void kni_http_request_dispose(kni_http_request *request)
{
    kni_free(request->answer.url);
    kni_free(request->answer.etag);
    kni_free(request->answer.commit);
    kni_free(request->answer.link);
    kni_free(request->answer.message);
    request->answer = (kni_http_answer){.kind = KNI_HTTP_NO_ANSWER, .size = -1};
    kni_buf_dispose(&request->body);
    kn_error_dispose(&request->error);
    request->status = KN_OK;
}

kn_status kni_http_get(kni_http *http, kni_http_request *request, const kni_http_watch *watch,
                       kn_error *err)
{
    kni_http_run(http, &request, 1, 1, watch, NULL);
    const kn_status st = request->status;
    if (st != KN_OK && err && err->status == KN_OK) {
        err->status = st;
        err->text = kni_strdup(request->error.text);
    }
    return st;
}

unsigned kni_http_n_connections(const kni_http *http)
{
    return __atomic_load_n(&http->n_connections, __ATOMIC_RELAXED);
}
