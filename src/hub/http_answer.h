// The header lines of an answer, read as hostile bytes: what they say, what a failure means, and how it is told. Pure; fuzzed.
#ifndef KNI_HUB_HTTP_ANSWER_H
#define KNI_HUB_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/http.h"

// Ceilings of one answer's header lines.
#define KNI_HEAD_LINES_MAX 200
#define KNI_HEAD_BYTES_MAX ((size_t)64 << 10)

// One answer's header lines. Zero is an empty one but for the numbers: start with kni_head_init. Names are found in any case; of a
// header that comes twice the first counts (but Link and X-HF-Warning, which are lists).
typedef struct kni_head {
    long status;
    bool is_done;
    size_t n_lines;
    size_t n_bytes;
    kni_http_kind code; // of X-Error-Code; KNI_HTTP_OK: none that is known
    char *etag;         // normalised
    char *linked_etag;  // …
    char *commit;
    char *link; // more than one are joined by ", "
    char *location;
    char *message;
    char *request_id;
    char *warnings; // "topic; message", a line each
    bool is_chunked;
    bool is_encoded;        // compressed, which nobody asked for: the body is of no use
    int64_t content_length; // -1: none, as all that follow
    int64_t linked_size;
    int64_t range_start; // Content-Range: bytes start-end/total
    int64_t range_total;
    int64_t retry_after; // seconds
    int64_t retry_date;  // seconds since the epoch, of a Retry-After with a date
    int64_t date;        // Date
    int64_t remaining;   // RateLimit: r, t
    int64_t reset;
    int64_t quota; // RateLimit-Policy: q, w
    int64_t window;
} kni_head;

void kni_head_init(kni_head *head);
void kni_head_dispose(kni_head *head);

// Takes one line with its end. A status line after an interim (1xx) answer begins anew; trailers are ignored. Error: KN_ERR_FORMAT
// (too many lines or bytes, no status line, a good answer with a Content-Encoding or Transfer-Encoding that was not offered),
// KN_ERR_NO_MEMORY.
kn_status kni_head_add(kni_head *head, const char *line, size_t size, kn_error *err);

// "Sun, 06 Nov 1994 08:49:37 GMT" to seconds since the epoch; -1 for another text.
int64_t kni_http_date(const char *text);

kni_http_kind kni_head_kind(const kni_head *head);

// What the answer of a chain of redirects says; each hop is added, the last one last. The first linked ETag, size and commit win,
// which are the hub's own; of the ETags the last. linked: false at first.
typedef struct kni_linked {
    bool etag, size; // already there
} kni_linked;
kn_status kni_answer_add(kni_http_answer *answer, kni_linked *linked, const kni_head *head,
                         kn_error *err);

// The error of a failed answer (status 400 and above): its status, and in err what failed, what the server said, what to do.
typedef struct kni_failure {
    const char *url; // any; shown without its query
    const char *method;
    const char *token_source; // where the token that was sent is from; NULL: none was sent
    bool has_token;           // … although there is one, which may not go there
    unsigned n_tries;
    int64_t wait_s; // how long the server asks to wait, where that is too long for a retry; -1
    int64_t now;    // seconds since the epoch
    const char *body;
    size_t body_size;
} kni_failure;
kn_status kni_head_fail(const kni_head *head, const kni_failure *failure, kn_error *err);

#endif
