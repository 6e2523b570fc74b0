// What is tried again, and when. Pure, but for chance.
#ifndef KNI_HUB_HTTP_RETRY_H
#define KNI_HUB_HTTP_RETRY_H

#include "hub/curl.h"
#include "hub/http_answer.h"

#define KNI_RETRIES_MAX 5     // after the first try
#define KNI_RETRY_WAIT_MAX 60 // seconds that a server may ask for

typedef struct kni_retry {
    bool again;
    int64_t wait_ms;
    int64_t asked_s; // what the server asks for, -1: nothing
} kni_retry;

// n_failures: tries that failed before this one (since the last progress). second_ms: 1000, less in tests.
kni_retry kni_retry_answer(const kni_head *head, unsigned n_failures, int64_t now,
                           int64_t second_ms);
// A request without a whole answer. Broken connections and timeouts are tried again as often as answers; a name that is not found
// and a failed TLS handshake once, as they seldom pass by themselves and a user offline waits for it.
kni_retry kni_retry_code(CURLcode code, unsigned n_failures, int64_t second_ms);

// Uniform in [0, max]; by the kernel's random numbers.
int64_t kni_random(int64_t max);

#endif
