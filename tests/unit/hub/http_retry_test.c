// What is tried again, how often and when.
#include "hub/http_retry.h"

#include "hub/http_client.h"

// Beside chance, the least and the most that a wait may be.
static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kni_head head; // 0 stands for none below
        unsigned n_failures;
        bool again;
        int64_t least, most, asked;
    } rows[] = {
        {"first", {.status = 503}, 0, true, 0, 500, -1},
        {"second", {.status = 500}, 1, true, 0, 1000, -1},
        {"fifth", {.status = 502}, 4, true, 0, 8000, -1},
        {"sixth", {.status = 504}, 5, false, 0, 0, -1},
        {"408", {.status = 408}, 0, true, 0, 500, -1},
        {"429", {.status = 429}, 0, true, 0, 500, -1},
        {"400", {.status = 400}, 0, false, 0, 0, -1},
        {"404", {.status = 404, .retry_after = 1}, 0, false, 0, 0, -1},
        {"416", {.status = 416}, 0, false, 0, 0, -1},
        {"501", {.status = 501}, 0, false, 0, 0, -1},
        {"seconds", {.status = 503, .retry_after = 7}, 0, true, 7000, 7500, 7},
        {"at once", {.status = 503, .retry_after = 0}, 3, true, 0, 500, 0},
        {"the longest", {.status = 429, .retry_after = 60}, 0, true, 60000, 60500, 60},
        {"too long", {.status = 429, .retry_after = 61}, 0, false, 0, 0, 61},
        {"a date", {.status = 503, .retry_date = 1010}, 0, true, 10000, 10500, 10},
        {"a date by the server's clock",
         {.status = 503, .retry_date = 2010, .date = 2000},
         0,
         true,
         10000,
         10500,
         10},
        {"a date that is over", {.status = 503, .retry_date = 900}, 0, true, 0, 500, 0},
        {"a date too far", {.status = 503, .retry_date = 1100}, 0, false, 0, 0, 100},
        {"rate limit", {.status = 429, .remaining = 0, .reset = 9}, 0, true, 9000, 9500, 9},
        {"rate limit before Retry-After",
         {.status = 429, .remaining = 0, .reset = 9, .retry_after = 2},
         0,
         true,
         9000,
         9500,
         9},
        {"rate limit too long", {.status = 429, .remaining = 0, .reset = 200}, 0, false, 0, 0, 200},
        {"some left", {.status = 429, .remaining = 5, .reset = 200}, 0, true, 0, 500, -1},
        {"rate limit of another failure",
         {.status = 503, .remaining = 0, .reset = 200},
         0,
         true,
         0,
         500,
         -1},
        {"asked for, but the last", {.status = 503, .retry_after = 7}, 5, false, 0, 0, 7},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_head head;
        kni_head_init(&head);
        print_message("  %s\n", rows[i].name);
        head.status = rows[i].head.status;
        if (strstr(rows[i].name, "at once") || rows[i].head.retry_after)
            head.retry_after = rows[i].head.retry_after;
        if (rows[i].head.retry_date)
            head.retry_date = rows[i].head.retry_date;
        if (rows[i].head.date)
            head.date = rows[i].head.date;
        if (rows[i].head.reset) {
            head.reset = rows[i].head.reset;
            head.remaining = rows[i].head.remaining;
        }
        for (int k = 0; k < 50; ++k) {
            const kni_retry retry = kni_retry_answer(&head, rows[i].n_failures, 1000, 1000);
            assert_int_equal(retry.again, rows[i].again);
            assert_in_range(retry.wait_ms, rows[i].least, rows[i].most);
            assert_int_equal(retry.asked_s, rows[i].asked);
        }
    }
}

static void test_codes(void **state)
{
    (void)state;
    static const struct {
        CURLcode code;
        unsigned limit;
    } rows[] = {
        {CURLE_COULDNT_CONNECT, 5},
        {CURLE_OPERATION_TIMEDOUT, 5},
        {CURLE_PARTIAL_FILE, 5},
        {CURLE_GOT_NOTHING, 5},
        {CURLE_SEND_ERROR, 5},
        {CURLE_RECV_ERROR, 5},
        {CURLE_HTTP2, 5},
        {CURLE_HTTP2_STREAM, 5},
        {CURLE_WEIRD_SERVER_REPLY, 5},
        {CURLE_COULDNT_RESOLVE_HOST, 1},
        {CURLE_COULDNT_RESOLVE_PROXY, 1},
        {CURLE_SSL_CONNECT_ERROR, 1},
        {CURLE_OUT_OF_MEMORY, 0},
        {CURLE_PEER_FAILED_VERIFICATION, 0},
        {CURLE_WRITE_ERROR, 0},
        {CURLE_UNSUPPORTED_PROTOCOL, 0},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        for (unsigned n = 0; n < 7; ++n) {
            const kni_retry retry = kni_retry_code(rows[i].code, n, 1000);
            assert_int_equal(retry.again, n < rows[i].limit);
            assert_in_range(retry.wait_ms, 0, 500 << n);
        }
    }
}

static void test_jitter(void **state)
{
    (void)state;
    unsigned seen[4] = {0};
    for (int i = 0; i < 2000; ++i) {
        const int64_t r = kni_random(3);
        assert_in_range(r, 0, 3);
        ++seen[r];
    }
    for (size_t i = 0; i < 4; ++i) // 1/4 each: 14 standard deviations from none
        assert_true(seen[i] > 200);
    assert_int_equal(kni_random(0), 0);
}

// Over the wire: n failures of one kind, then success.
static void test_wire(void **state)
{
    (void)state;
    static const struct {
        const char *name, *head;
        http_then then;
        int n_failures; // before it would succeed
        bool is_optional;
        unsigned n_sent;
        kn_status status;
        kni_http_kind kind;
        const char *error;
    } rows[] = {
        {"five times 500", "500 Oh", 0, 5, false, 6, KN_OK, KNI_HTTP_OK, ""},
        {"502", "502 Oh", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"503", "503 Oh", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"504", "504 Oh", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"408", "408 Oh", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"429", "429 Oh", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"429 with a limit", "429 Oh\r\nRateLimit: \"api\";r=0;t=3", 0, 1, false, 2, KN_OK,
         KNI_HTTP_OK, ""},
        {"Retry-After", "503 Oh\r\nRetry-After: 2", 0, 1, false, 2, KN_OK, KNI_HTTP_OK, ""},
        {"six times", "503 Oh", 0, 6, false, 6, KN_ERR_NETWORK, KNI_HTTP_SERVER,
         "o/n: GET http://127.0.0.1:PORT/x: the server failed (status 503) 6 times"},
        {"too long a wait", "429 Oh\r\nRetry-After: 3600", 0, 1, false, 1, KN_ERR_NETWORK,
         KNI_HTTP_RATE_LIMITED,
         "o/n: GET http://127.0.0.1:PORT/x: too many requests (status 429): try again in 3600 s ("},
        {"optional", "503 Oh", 0, 1, true, 1, KN_ERR_NETWORK, KNI_HTTP_SERVER,
         "o/n: GET http://127.0.0.1:PORT/x: the server failed (status 503)"},
        {"404", "404 Oh", 0, 1, false, 1, KN_ERR_NOT_FOUND, KNI_HTTP_NOT_FOUND,
         "o/n: GET http://127.0.0.1:PORT/x: there is nothing at this address (status 404)"},
        {"304, which nobody asked for", "304 Oh", 0, 1, false, 1, KN_ERR_NETWORK, KNI_HTTP_OTHER,
         "o/n: GET http://127.0.0.1:PORT/x: the server refused the request (status 304)"},
        {"closed without a word", "", HTTP_CUT, 2, false, 3, KN_OK, KNI_HTTP_OK, ""},
        {"reset", "", HTTP_RESET, 2, false, 3, KN_OK, KNI_HTTP_OK, ""},
        {"closed six times", "", HTTP_CUT, 6, false, 6, KN_ERR_NETWORK, KNI_HTTP_NO_ANSWER,
         "o/n: GET http://127.0.0.1:PORT/x: Empty reply from server (6 tries)"},
        {"closed, optional", "", HTTP_CUT, 1, true, 1, KN_ERR_NETWORK, KNI_HTTP_NO_ANSWER,
         "o/n: GET http://127.0.0.1:PORT/x: Empty reply from server"},
        {"cut body", "200 OK\r\nX-Cut: 1", HTTP_CUT, 2, false, 3, KN_OK, KNI_HTTP_OK, ""},
        {"cut body of an error", "404 Oh", HTTP_CUT, 1, false, 1, KN_ERR_NOT_FOUND,
         KNI_HTTP_NOT_FOUND, "o/n: GET http://127.0.0.1:PORT/x: there is nothing"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        char head[256] = "", error[256];
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        http_client_open(&c, NULL);
        if (*rows[i].head)
            snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n", rows[i].head);
        http_server_add(c.server, (http_reply){.head = head,
                                               .body = rows[i].then ? "half of it" : "",
                                               .then = rows[i].then,
                                               .at = *head ? 4 : 0,
                                               .times = rows[i].n_failures});
        http_server_add(c.server, (http_reply){.body = "fine"});
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"),
                              .subject = "o/n",
                              .is_optional = rows[i].is_optional};
        assert_int_equal(kni_http_get(c.http, &r, NULL, &err), rows[i].status);
        assert_int_equal(r.answer.n_sent, rows[i].n_sent);
        assert_int_equal(http_server_count(c.server), rows[i].n_sent);
        assert_int_equal(r.answer.kind, rows[i].kind);
        if (rows[i].status == KN_OK)
            assert_string_equal(kni_buf_text(&r.body), "fine");
        const char *port = strstr(rows[i].error, "PORT");
        snprintf(error, sizeof(error), "%.*s%d%s", port ? (int)(port - rows[i].error) : 0,
                 rows[i].error, http_server_port(c.server), port ? port + 4 : "");
        if (port && strncmp(kn_error_text(&err), error, strlen(error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// Nothing is received: within the limit, and again.
static void test_stall(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        http_reply reply;
    } rows[] = {
        {"no answer", {.head = "", .then = HTTP_STALL, .times = -1}},
        {"within the head",
         {.head = "HTTP/1.1 200 OK\r\n", .is_raw = true, .then = HTTP_STALL, .times = -1}},
        {"within the body", {.body = "0123456789", .at = 5, .then = HTTP_STALL, .times = -1}},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        http_client_init(&c, NULL, NULL);
        c.settings.etag_timeout_ms = 150;
        http_client_start(&c);
        http_server_add(c.server, rows[i].reply);
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
        assert_int_equal(kni_http_get(c.http, &r, NULL, &err), KN_ERR_NETWORK);
        assert_int_equal(r.answer.n_sent, 6);
        assert_non_null(strstr(err.text, "nothing was received for 0."));
        assert_non_null(strstr(err.text, " s (6 tries): check the network, the endpoint"));
        kn_error_dispose(&err);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// Bytes that come slowly are no stall.
static void test_slow(void **state)
{
    (void)state;
    static char body[1001];
    http_client c;
    http_sink sink = HTTP_SINK;
    memset(body, 'x', sizeof(body) - 1);
    http_client_init(&c, NULL, NULL);
    c.settings.timeout_ms = 700;
    http_client_start(&c);
    http_server_add(c.server, (http_reply){.body = body, .then = HTTP_SLOW});
    kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/x"), &sink, 1000);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(r.answer.n_sent, 1);
    assert_string_equal(kni_buf_text(&sink.bytes), body);
    kni_buf_dispose(&sink.bytes);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

static void test_nobody(void **state)
{
    (void)state;
    static const struct {
        const char *name, *url, *error;
        unsigned n_sent;
    } rows[] = {
        {"no such name", "http://no-such-host.invalid/x",
         "o/n: GET http://no-such-host.invalid/x: Could not resolve host: no-such-host.invalid (2 "
         "tries): check the network, the endpoint (HF_ENDPOINT)",
         2},
        {"nobody listens", NULL, ": Connection refused (6 tries): check the network", 6},
        {"no URL", "ftp://h/x", "o/n: GET ftp://h/x: URL: \"ftp://h/x\" must begin with https://",
         0},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        http_server *gone = http_server_new();
        char url[64];
        snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", http_server_port(gone));
        http_server_free(gone);
        http_client_init(&c, url, NULL);
        http_client_start(&c);
        kni_http_request r = {.url = rows[i].url ? rows[i].url : url, .subject = "o/n"};
        const kn_status st = kni_http_get(c.http, &r, NULL, &err);
        assert_int_equal(st, i == 2 ? KN_ERR_INVALID : KN_ERR_NETWORK);
        if (!strstr(err.text, rows[i].error))
            fail_msg("said: %s", err.text);
        assert_int_equal(r.answer.n_sent, rows[i].n_sent);
        assert_int_equal(r.answer.kind, KNI_HTTP_NO_ANSWER);
        kn_error_dispose(&err);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_codes), cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_wire),    cmocka_unit_test(test_stall), cmocka_unit_test(test_slow),
        cmocka_unit_test(test_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
