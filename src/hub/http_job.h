// One request on its way: tries, and in each the hops of its redirects. Used by the thread of one kni_http_run.
#ifndef KNI_HUB_HTTP_JOB_H
#define KNI_HUB_HTTP_JOB_H

#include <sys/types.h>

#include "hub/curl.h"
#include "hub/http_address.h"
#include "hub/http_answer.h"
#include "hub/url.h"

#define KNI_HTTP_HOPS_MAX 10
#define KNI_HTTP_SESSIONS_MAX 16 // idle ones that are kept
#define KNI_HTTP_TOPICS_MAX 32   // of X-HF-Warning that are logged

// A multi handle with its open connections, used by one thread at a time and by one process alone.
typedef struct kni_session {
    pid_t pid;
    const kni_curl *curl;
    CURLM *multi;
} kni_session;

// All that changes is atomic: no lock is held over a fork.
struct kni_http {
    const kni_settings *settings;
    const kni_log *log;
    kni_url endpoint;
    int64_t second_ms; // how long a second of waiting between tries is: 1000, less in tests
    kni_session *idle[KNI_HTTP_SESSIONS_MAX];
    unsigned n_connections;
    unsigned nearness; // kni_nearness of the endpoint, when it was last connected to
    bool told_of_proxy;
    bool told_of_token;
    uint64_t topics[KNI_HTTP_TOPICS_MAX];
};

typedef enum kni_job_state {
    KNI_JOB_FREE = 0,
    KNI_JOB_READY,   // to be sent at wake_ms
    KNI_JOB_RUNNING, // on the wire
    KNI_JOB_OVER,    // request->status and the rest are set
} kni_job_state;

typedef struct kni_job {
    kni_job_state state;
    kni_http *http;
    const kni_curl *curl;
    CURLM *multi;
    kni_http_request *request;

    uint64_t have;       // bytes that `write` took
    uint64_t best;       // the most that it ever had when a try failed
    unsigned n_failures; // since the last progress
    unsigned n_tries;
    bool no_range;      // the server's ranges are wrong
    bool has_restarted; // after a 416 or a wrong range
    bool wants_fresh;   // a connection that was not used before
    int64_t wake_ms;

    kni_url url; // of this hop
    unsigned n_hops;
    kni_linked linked;

    CURL *easy;
    struct curl_slist *headers;
    kni_head head;
    char curl_text[CURL_ERROR_SIZE];
    bool is_endpoint;     // the URL has its origin
    bool sends_token;     //
    bool via_proxy;       //
    bool refused_address; // a socket was not opened
    bool is_enough;       // the rest of a body is of no interest
    bool restart;         // the answer's range is wrong
    bool is_stalled;      // nothing was heard for too long
    long os_error;        // of a connection that was not made
    int64_t sent_ms;      //
    int64_t heard_ms;     // last sign of life
    kn_status failure;    // of a callback; what it says is in request->error
} kni_job;

int64_t kni_now_ms(void);  // monotonic
int64_t kni_now_utc(void); // seconds since the epoch

// Begins with a request, at once.
void kni_job_start(kni_job *job, kni_http *http, const kni_session *session,
                   kni_http_request *request);
// Puts the next hop on the wire; the job is running or over.
void kni_job_send(kni_job *job);
// Takes a hop off the wire. Not the end of the job.
void kni_job_drop(kni_job *job);
// libcurl is through with a hop: the job is ready again (redirect, retry) or over.
void kni_job_hop_over(kni_job *job, CURLcode code);
// Nothing was heard for too long; says so to the error that may follow.
bool kni_job_is_stalled(kni_job *job, int64_t now_ms);
uint32_t kni_job_timeout_ms(const kni_job *job); // to connect, and without a byte
// Ends it with a failure, whose text is in request->error or is set here ("cancelled", …).
void kni_job_end(kni_job *job, kn_status status, const char *text);

// Forgets the file's bytes that came. Error: no rewind, or what that says.
kn_status kni_job_rewind(kni_job *job, kn_error *err);

// May a connection to this address be made for the job's URL?
bool kni_job_may_connect(const kni_job *job, const struct sockaddr *address);
// The sets of header lines were read: looks where they came from and what will become of the body.
kn_status kni_job_head_done(kni_job *job, kn_error *err);

#endif
