#include "hub/http_retry.h"

#include <sys/random.h>

int64_t kni_random(int64_t max)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        bits = 0x9E3779B97F4A7C15u * (uint64_t)max; // early at boot: any number will do
    return (int64_t)(bits % ((uint64_t)max + 1));
}

// 0.5 · 2^n seconds with full jitter, so that clients that failed together do not come back together.
static int64_t backoff(unsigned n, int64_t second_ms)
{
    return kni_random((second_ms << n) / 2);
}

// How long the answer asks to wait, in seconds; -1: it does not.
static int64_t asked(const kni_head *head, int64_t now)
{
    if (head->status == 429 && head->remaining == 0 && head->reset >= 0)
        return head->reset;
    if (head->retry_after >= 0)
        return head->retry_after;
    if (head->retry_date < 0)
        return -1;
    // By the server's clock, where it tells it: ours may be wrong.
    const int64_t wait = head->retry_date - (head->date >= 0 ? head->date : now);
    return wait > 0 ? wait : 0;
}

kni_retry kni_retry_answer(const kni_head *head, unsigned n_failures, int64_t now,
                           int64_t second_ms)
{
    const long status = head->status;
    kni_retry out = {false, 0, -1};
    if (status != 408 && status != 429 && status != 500 && status != 502 && status != 503 &&
        status != 504)
        return out;
    out.asked_s = asked(head, now);
    if (n_failures >= KNI_RETRIES_MAX || out.asked_s > KNI_RETRY_WAIT_MAX)
        return out;
    out.again = true;
    out.wait_ms = out.asked_s >= 0 ? out.asked_s * second_ms + kni_random(second_ms / 2)
                                   : backoff(n_failures, second_ms);
    return out;
}

kni_retry kni_retry_code(CURLcode code, unsigned n_failures, int64_t second_ms)
{
    unsigned limit = 0;
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:        // GOAWAY among them
    case CURLE_HTTP2_STREAM: // reset
    case CURLE_WEIRD_SERVER_REPLY:
        limit = KNI_RETRIES_MAX;
        break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
        limit = 1;
        break;
    default:
        break;
    }
    const bool again = n_failures < limit;
    return (kni_retry){again, again ? backoff(n_failures, second_ms) : 0, -1};
}
