// What the header lines of a hop decide: where it came from, and what becomes of the body.
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "hub/http_job.h"

#define FAILED_BODY_MAX ((size_t)64 << 10)

// How near the endpoint is: as it was connected to, else as far as its host tells without asking anybody.
static kni_nearness endpoint_nearness(const kni_http *http)
{
    const unsigned known = __atomic_load_n(&http->nearness, __ATOMIC_RELAXED);
    struct sockaddr_storage address;
    if (known != KNI_NEAR_UNKNOWN)
        return (kni_nearness)known;
    if (kni_url_is_loopback(&http->endpoint))
        return KNI_NEAR_SELF;
    if (kni_address_parse(http->endpoint.host, &address))
        return kni_address_nearness((const struct sockaddr *)&address);
    return KNI_NEAR_PUBLIC;
}

bool kni_job_may_connect(const kni_job *job, const struct sockaddr *address)
{
    if (job->via_proxy)
        return true;      // it is the proxy's
    if (job->is_endpoint) // "localhost" that a resolver sends elsewhere gets no token over http
        return !job->sends_token || strcmp(job->url.scheme, "https") == 0 ||
               kni_address_is_loopback(address);
    return kni_address_nearness(address) <= endpoint_nearness(job->http);
}

// By the address that is really connected: also of a connection that was open before.
static kn_status look_at_address(kni_job *job, kn_error *err)
{
    kni_http *http = job->http;
    const char *ip = NULL;
    struct sockaddr_storage storage;
    const struct sockaddr *address = (const struct sockaddr *)&storage;

    if (job->via_proxy) {
        job->request->answer.connected_to_loopback = false;
        if (!job->is_endpoint && !__atomic_exchange_n(&http->told_of_proxy, true, __ATOMIC_RELAXED))
            kni_log_write(http->log, KN_LOG_INFO,
                          "behind a proxy the addresses that redirects of %s lead to are not known "
                          "and not checked",
                          http->settings->endpoint);
        return KN_OK;
    }
    job->curl->easy_getinfo(job->easy, CURLINFO_PRIMARY_IP, &ip);
    if (!ip || !kni_address_parse(ip, &storage))
        storage.ss_family = AF_UNIX; // as near as can be
    if (!kni_job_may_connect(job, address)) {
        job->refused_address = true;
        return kn_error_set(err, KN_ERR_UNTRUSTED, "connected to %s, which is not allowed",
                            ip ? ip : "an unknown address");
    }
    if (job->is_endpoint)
        __atomic_store_n(&http->nearness, (unsigned)kni_address_nearness(address),
                         __ATOMIC_RELAXED);
    if (!kni_address_is_loopback(address))
        job->request->answer.connected_to_loopback = false;
    return KN_OK;
}

// Each topic once, and a bounded number of them, whatever the server makes up.
static bool topic_is_new(kni_http *http, kni_span topic)
{
    uint64_t hash = UINT64_C(14695981039346656037); // FNV-1a
    for (size_t i = 0; i < topic.size; ++i)
        hash = (hash ^ (unsigned char)topic.data[i]) * UINT64_C(1099511628211);
    hash |= 1; // 0 is a free place
    for (size_t i = 0; i < KNI_HTTP_TOPICS_MAX; ++i) {
        uint64_t there = 0;
        if (__atomic_compare_exchange_n(&http->topics[i], &there, hash, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return true;
        if (there == hash)
            return false;
    }
    return false;
}

static void log_warnings(kni_job *job)
{
    kni_span rest = kni_span_of(job->head.warnings), line;
    while (kni_span_cut(&rest, '\n', &line)) {
        kni_span message = line, topic;
        if (!kni_span_cut(&message, ';', &topic) || !topic_is_new(job->http, kni_span_trim(topic)))
            continue;
        message = kni_span_trim(message.data ? message : line);
        const int size = message.size > 500 ? 500 : (int)message.size;
        kni_log_write(job->http->log, KN_LOG_WARNING, "%s says: %.*s", job->url.host, size,
                      message.data);
    }
}

// Forgets what came, to take the file from its beginning.
kn_status kni_job_rewind(kni_job *job, kn_error *err)
{
    kni_http_request *request = job->request;
    kn_status st = KN_OK;
    if (job->have && request->rewind)
        st = request->rewind(request->user, err);
    else if (job->have)
        st = kn_error_set(err, KN_ERR_NETWORK, "the server cannot continue the file");
    if (job->have > job->best)
        job->best = job->have;
    if (st == KN_OK)
        job->have = 0;
    return st;
}

// Will this body continue the file where it broke?
static kn_status look_at_range(kni_job *job, kn_error *err)
{
    const kni_http_request *request = job->request;
    const kni_head *head = &job->head;
    if (head->status != 206) {
        kn_status st = kni_job_rewind(job, err);
        if (st == KN_OK && head->content_length >= 0 &&
            (uint64_t)head->content_length != request->size)
            st = kn_error_set(err, KN_ERR_FORMAT,
                              "the server has %" PRId64 " bytes, %" PRIu64 " are expected",
                              head->content_length, request->size);
        return st;
    }
    if (head->range_total >= 0 && (uint64_t)head->range_total != request->size)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "the server has a file of %" PRId64 " bytes, %" PRIu64 " are expected",
                            head->range_total, request->size);
    const bool fits =
        head->range_start >= 0 && (uint64_t)head->range_start == job->have &&
        (head->content_length < 0 || (uint64_t)head->content_length <= request->size - job->have);
    if (!fits && (job->no_range || job->have == 0))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "the server sends a part of the file that was not asked for");
    job->restart = !fits;
    return KN_OK;
}

kn_status kni_job_head_done(kni_job *job, kn_error *err)
{
    kni_http_request *request = job->request;
    const long status = job->head.status;
    kn_status st = look_at_address(job, err);
    if (st != KN_OK)
        return st;
    log_warnings(job);
    if (status < 200 || status >= 300)
        request->body.max = FAILED_BODY_MAX;
    else if (request->write && !request->is_head)
        st = look_at_range(job, err);
    else if (!request->is_head && job->head.content_length > 0 &&
             (uint64_t)job->head.content_length > request->body.max)
        st = kn_error_set(err, KN_ERR_FORMAT, "the answer has %" PRId64 " bytes, %zu are accepted",
                          job->head.content_length, request->body.max);
    return st;
}
