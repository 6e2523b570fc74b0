// HTTP by libcurl, which is opened (dlopen) at the first request. Many requests at once, retried, redirected by hand, cancelled at any
// time; a token that goes to one origin alone.
#ifndef KNI_HUB_HTTP_H
#define KNI_HUB_HTTP_H

#include "base/log.h"
#include "hub/settings.h"

// Thread-safe: each kni_http_run takes a session (a multi handle with its open connections) from a pool, or makes one. After a fork
// the child leaves the parent's sessions alone.
typedef struct kni_http kni_http;

// settings, log: borrowed until it is freed.
kn_status kni_http_new(const kni_settings *settings, const kni_log *log, kni_http **out,
                       kn_error *err);
void kni_http_free(kni_http *http);

// What a failed answer means, hub-protocol 4.3.
typedef enum kni_http_kind {
    KNI_HTTP_OK = 0,
    KNI_HTTP_REPO_NOT_FOUND,     // X-Error-Code: RepoNotFound
    KNI_HTTP_REVISION_NOT_FOUND, // RevisionNotFound
    KNI_HTTP_ENTRY_NOT_FOUND,    // EntryNotFound
    KNI_HTTP_GATED,              // GatedRepo
    KNI_HTTP_DISABLED,           // Access to this resource is disabled.
    KNI_HTTP_UNAUTHORIZED,       // 401 without a code: missing, private, or a bad token
    KNI_HTTP_FORBIDDEN,          // 403
    KNI_HTTP_NOT_FOUND,          // 404 without a code
    KNI_HTTP_RATE_LIMITED,       // 429
    KNI_HTTP_BAD_RANGE,          // 416
    KNI_HTTP_SERVER,             // 5xx, 408
    KNI_HTTP_OTHER,
    KNI_HTTP_NO_ANSWER, // DNS, connection, TLS, timeout, cut: see the error
} kni_http_kind;

typedef struct kni_http_answer {
    kni_http_kind kind;
    long status;     // 0: none
    char *url;       // of the last hop
    char *etag;      // X-Linked-Etag, else ETag, of any hop: without W/ and quotes; NULL
    char *commit;    // X-Repo-Commit of any hop; NULL
    char *link;      // Link
    char *message;   // X-Error-Message; NULL
    int64_t size;    // X-Linked-Size, else Content-Length (whole, also of a 206); -1
    unsigned n_sent; // requests on the wire, with hops and retries
    bool connected_to_loopback;
} kni_http_answer;

// One request. Zero is the default of every field.
typedef struct kni_http_request {
    // Set by the caller, borrowed until kni_http_run returns.
    const char *url;        // absolute
    const char *subject;    // begins the error: "kernels-community/activation"
    const char *user_agent; // NULL: that of the settings
    bool is_head;
    bool
        with_token; // sent when the URL has the endpoint's very origin; never to another, never over http beyond loopback
    bool is_optional; // one try, no retry: its failure is nothing
    bool any_origin;  // redirects may leave the origin (files); else only the endpoint's
    size_t body_max;  // ceiling of `body`; 0: 1 MiB
    // For a file: gets the body instead of `body`. Retries continue where it broke (Range), or rewind. Errors of both end the request.
    kn_status (*write)(void *user, const void *data, size_t size, kn_error *err);
    kn_status (*rewind)(void *user, kn_error *err); // forget everything
    uint64_t
        size; // with write: the exact size that is expected; more, or less at the end, is an error
    // Called on kni_http_run's thread when the request is over, before others go on: with the answer, or with request->error set.
    void (*finished)(void *user, struct kni_http_request *request);
    void *user;
    // Filled; kni_http_request_dispose frees them.
    kni_http_answer answer;
    kni_buf body; // also of a failed answer (for kni_error_body), then at most 64 KiB
    kn_status status;
    kn_error error; // complete: subject, what failed, what the server said, what to do
} kni_http_request;

typedef struct kni_http_watch {
    bool (*is_cancelled)(
        void *user); // asked at least ten times a second on the calling thread; NULL: never
    void *user;
} kni_http_watch;

// Runs the requests, at most `parallel` at once (0: 8), in order. Each has its own status. Returns KN_OK when all of them ended,
// well or not; KN_ERR_CANCELLED when the watch said so (the rest are KN_ERR_CANCELLED too); KN_ERR_UNSUPPORTED when libcurl cannot be
// opened (which packages to install); KN_ERR_NOT_FOUND when the hub is offline: no socket is made; KN_ERR_NO_MEMORY.
//
// Retries: 408, 429, 500, 502, 503, 504, timeouts, and broken connections (HTTP/2's GOAWAY and resets among them), five times, after
// 0.5·2^n s with full jitter; a name that is not found and a failed TLS handshake once, a certificate never. Retry-After (seconds or a
// date) and RateLimit (r=0;t=…) are obeyed up to 60 s, and beyond that the error says when to come again. A file that made progress
// gets its retries anew. A retry begins with the first URL.
// Redirects: at most 10, by hand: no https to http; no target on a private or loopback address unless the endpoint is one, by the
// connected address (behind a proxy it is not known, which is logged once; a caller's URL of another origin is held to the same); the
// token only to its origin. A HEAD stops at a redirect that leaves the endpoint: its answer is that one (status 3xx, KNI_HTTP_OK).
// Content-Encoding other than identity is an error (KN_ERR_FORMAT). TLS is checked against the system's roots or SSL_CERT_FILE/DIR.
// Failures: KN_ERR_NETWORK (no answer, 5xx, 429), KN_ERR_DENIED (401, 403, gated, disabled), KN_ERR_NOT_FOUND (404), KN_ERR_FORMAT,
// KN_ERR_UNTRUSTED (redirects), and those of write and rewind.
kn_status kni_http_run(kni_http *http, kni_http_request **requests, size_t n, size_t parallel,
                       const kni_http_watch *watch, kn_error *err);
void kni_http_request_dispose(kni_http_request *request);

// One request. Returns its status, with its error in err.
kn_status kni_http_get(kni_http *http, kni_http_request *request, const kni_http_watch *watch,
                       kn_error *err);

// Number of sockets that were opened, for tests and `--verbose`.
unsigned kni_http_n_connections(const kni_http *http);

#endif
