// A block of header lines, and behind a blank line a body: whatever it is, what comes out is bounded, and the sentence of a failure is
// one clean line. The first byte chooses the way to ask.
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "fuzz.h"
#include "hub/http_answer.h"
#include "hub/http_retry.h"

static void check_text(const char *text, size_t max)
{
    FUZZ_CHECK(!text || (*text && strlen(text) <= max));
}

static void check_failure(const kni_head *head, uint8_t how, const char *body, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    const kni_retry retry = kni_retry_answer(head, how & 7, 1000, 1000);
    FUZZ_CHECK(retry.wait_ms >= 0 && retry.wait_ms <= 61000 && (!retry.again || (how & 7) < 5));
    const kni_failure failure = {.url = "https://h/x?y",
                                 .method = "GET",
                                 .token_source = how & 8 ? "HF_TOKEN" : NULL,
                                 .has_token = how & 16,
                                 .n_tries = 1,
                                 .wait_s = retry.asked_s,
                                 .now = 1000,
                                 .body = body,
                                 .body_size = size};
    const kn_status st = kni_head_fail(head, &failure, &err);
    FUZZ_CHECK(st != KN_OK && err.status == st && err.text);
    FUZZ_CHECK(kni_text_is_clean(err.text, strlen(err.text)));
    kn_error_dispose(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_head head;
    kni_http_request request = {.answer.size = -1};
    kni_linked linked = {0};
    kn_error err = KN_ERROR_INIT;
    kn_status st = KN_OK;
    const uint8_t how = size ? data[0] : 0;
    const char *p = (const char *)data + (size ? 1 : 0), *end = (const char *)data + size;

    kni_head_init(&head);
    while (st == KN_OK && p < end && !(head.is_done && head.status >= 200)) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *next = newline ? newline + 1 : end;
        st = kni_head_add(&head, p, (size_t)(next - p), &err);
        p = next;
    }
    FUZZ_CHECK(st == err.status);
    check_text(head.etag, 1024);
    check_text(head.linked_etag, 1024);
    check_text(head.commit, 1024);
    check_text(head.message, 1024);
    check_text(head.request_id, 100);
    check_text(head.link, 16384);
    check_text(head.location, 16384);
    check_text(head.warnings, 16384);
    if (st == KN_OK && head.is_done && head.status >= 200) {
        FUZZ_CHECK(kni_answer_add(&request.answer, &linked, &head, &err) == KN_OK);
        FUZZ_CHECK(request.answer.size >= -1);
        if (head.status >= 400)
            check_failure(&head, how, p, (size_t)(end - p));
    }
    kni_http_request_dispose(&request);
    kni_head_dispose(&head);
    kn_error_dispose(&err);
    return 0;
}
