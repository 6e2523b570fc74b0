// One request against a server: what is sent, what is taken of the answer, what is logged.
#include "hub/http.h"

#include "hub/http_client.h"
#include "support/fail_alloc.h"

static void test_get(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.path = "/api/x?y=1",
                                           .head = "HTTP/1.1 200 OK\r\n"
                                                   "eTaG: W/\"abc\"\r\n"
                                                   "X-Repo-Commit: 0123\r\n"
                                                   "Link: <http://x/2>; rel=\"next\"\r\n",
                                           .body = "{\"sha\": 1}"});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/api/x?y=1#z")};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(r.status, KN_OK);
    assert_int_equal(r.answer.kind, KNI_HTTP_OK);
    assert_int_equal(r.answer.status, 200);
    assert_string_equal(r.answer.url, http_server_url(c.server, "127.0.0.1", "/api/x?y=1"));
    assert_string_equal(r.answer.etag, "abc");
    assert_string_equal(r.answer.commit, "0123");
    assert_string_equal(r.answer.link, "<http://x/2>; rel=\"next\"");
    assert_null(r.answer.message);
    assert_int_equal(r.answer.size, 10);
    assert_int_equal(r.answer.n_sent, 1);
    assert_true(r.answer.connected_to_loopback);
    assert_string_equal(kni_buf_text(&r.body), "{\"sha\": 1}");
    const char *sent = http_server_request(c.server, 0);
    assert_non_null(strstr(sent, "GET /api/x?y=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(sent, "\r\nAccept-Encoding: identity\r\n"));
    assert_non_null(strstr(sent, "\r\nUser-Agent: libkernels/"));
    assert_non_null(strstr(sent, "\r\nX-Amzn-Trace-Id: "));
    assert_null(strstr(sent, "uthorization"));
    assert_null(strstr(sent, "Range"));
    assert_null(strstr(sent, "Cookie"));
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

static void test_file(void **state)
{
    (void)state;
    http_client c;
    http_sink sink = HTTP_SINK;
    static char data[300000];
    for (size_t i = 0; i < sizeof(data); ++i)
        data[i] = (char)('a' + i % 23);
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.body = data, .size = sizeof(data)});
    kni_http_request r =
        http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, sizeof(data));
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(sink.bytes.size, sizeof(data));
    assert_memory_equal(sink.bytes.data, data, sizeof(data));
    assert_int_equal(r.body.size, 0);
    kni_http_request_dispose(&r);
    kni_buf_dispose(&sink.bytes);
    http_client_dispose(&c);
}

static void test_head(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.body = "0123456789", .times = 2});
    for (int i = 0; i < 2; ++i) { // the second on the first one's connection: no body was sent
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"), .is_head = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        assert_int_equal(r.answer.size, 10);
        assert_int_equal(r.body.size, 0);
        kni_http_request_dispose(&r);
    }
    assert_int_equal(strncmp(http_server_request(c.server, 0), "HEAD /x HTTP/1.1", 16), 0);
    assert_int_equal(http_server_connections(c.server), 1);
    http_client_dispose(&c);
}

// Ceilings of a body: announced or not, of a good answer and a bad one.
static void test_body(void **state)
{
    (void)state;
    static char big[200000];
    memset(big, 'a', sizeof(big) - 1);
    static const struct {
        const char *name, *head;
        size_t size, body_max;
        kn_status status;
        const char *error;
    } rows[] = {
        {"at the ceiling", "HTTP/1.1 200 OK\r\n", 100, 100, KN_OK, NULL},
        {"announced beyond it", "HTTP/1.1 200 OK\r\n", 101, 100, KN_ERR_FORMAT,
         "the answer has 101 bytes, 100 are accepted"},
        {"not announced", NULL, 101, 100, KN_ERR_FORMAT,
         "the answer is larger than the 100 bytes that are accepted"},
        {"of an error", "HTTP/1.1 404 Oh\r\n", 199999, 100, KN_ERR_NOT_FOUND,
         "there is nothing at this address"},
        {"of an error, compressed", "HTTP/1.1 404 Oh\r\nContent-Encoding: gzip\r\n", 100, 100,
         KN_ERR_NOT_FOUND, "there is nothing at this address"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        print_message("  %s\n", rows[i].name);
        http_client_open(&c, NULL);
        http_server_add(
            c.server, (http_reply){.head = rows[i].head ? rows[i].head : "HTTP/1.1 200 OK\r\n\r\n",
                                   .is_raw = !rows[i].head,
                                   .body = big,
                                   .size = rows[i].size,
                                   .then = rows[i].head ? HTTP_WHOLE : HTTP_CLOSE});
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"),
                              .body_max = rows[i].body_max};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), rows[i].status);
        if (rows[i].error && !strstr(r.error.text, rows[i].error))
            fail_msg("said: %s", r.error.text);
        if (r.status == KN_ERR_NOT_FOUND)
            assert_int_equal(r.body.size, rows[i].size > 100 ? 65536 : 0);
        assert_int_equal(r.answer.n_sent, 1);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

static void test_hostile_heads(void **state)
{
    (void)state;
    static char lengthy[100000], many[20000];
    memset(lengthy, 'a', sizeof(lengthy) - 1);
    memcpy(lengthy, "HTTP/1.1 200 OK\r\nX: ", 20);
    memcpy(lengthy + sizeof(lengthy) - 5, "\r\n\r\n", 5);
    for (size_t n = (size_t)snprintf(many, sizeof(many), "HTTP/1.1 200 OK\r\n"), i = 0; i < 300;
         ++i)
        n += (size_t)snprintf(many + n, sizeof(many) - n, "X-%zu: y\r\n", i);
    const struct {
        const char *name, *head;
        kn_status status;
    } rows[] = {
        {"a long line", lengthy, KN_ERR_FORMAT},
        {"many lines", many, KN_ERR_FORMAT},
        {"HTTP/0.9", "hello\r\n", KN_ERR_NETWORK},
        {"no number", "HTTP/1.1 abc\r\n\r\n", KN_ERR_NETWORK},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        print_message("  %s\n", rows[i].name);
        http_client_open(&c, NULL);
        http_server_add(
            c.server,
            (http_reply){.head = rows[i].head, .is_raw = true, .then = HTTP_CLOSE, .times = -1});
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), rows[i].status);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

static void test_offline(void **state)
{
    (void)state;
    http_client c;
    kn_error err = KN_ERROR_INIT;
    http_client_init(&c, NULL, NULL);
    c.settings.is_offline = true;
    http_client_start(&c);
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"), .subject = "o/n"};
    assert_int_equal(kni_http_get(c.http, &r, NULL, &err), KN_ERR_NOT_FOUND);
    assert_string_equal(err.text,
                        "o/n: not asked, as the hub is offline (HF_HUB_OFFLINE, or an option)");
    assert_int_equal(r.answer.kind, KNI_HTTP_NO_ANSWER);
    assert_int_equal(kni_http_n_connections(c.http), 0);
    assert_int_equal(http_server_connections(c.server), 0);
    kn_error_dispose(&err);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

// Names resolve to ::1 as well as 127.0.0.1; an address in brackets is one too.
static void test_ipv6(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    if (!http_server_has_v6(c.server)) {
        http_client_dispose(&c);
        skip();
    }
    http_server_add(c.server, (http_reply){.body = "fine", .times = -1});
    static const char *const hosts[] = {"[::1]", "localhost"};
    for (size_t i = 0; i < 2; ++i) {
        kni_http_request r = {.url = http_server_url(c.server, hosts[i], "/x")};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        assert_true(r.answer.connected_to_loopback);
        kni_http_request_dispose(&r);
    }
    http_client_dispose(&c);
}

// Lines for people: requests without the token, warnings of the hub once for each topic, nothing that a terminal would obey.
static void test_log(void **state)
{
    (void)state;
    http_client c;
    http_client_init(&c, NULL, "hf_secret");
    c.settings.is_verbose = true;
    http_client_start(&c);
    http_server_add(c.server, (http_reply){.head = "HTTP/1.1 200 OK\r\n"
                                                   "X-HF-Warning: a; one \xE2\x80\xAE two\r\n"
                                                   "X-HF-Warning: b; three\r\n"
                                                   "X-HF-Warning: a; four\r\n"
                                                   "X-HF-Warning: no topic\r\n",
                                           .times = 2});
    for (int i = 0; i < 2; ++i) {
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x?signature"),
                              .with_token = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        kni_http_request_dispose(&r);
    }
    const char *lines = kni_buf_text(&c.lines);
    assert_non_null(strstr(lines, "2 127.0.0.1 says: one \xEF\xBF\xBD two\n"));
    assert_non_null(strstr(lines, "2 127.0.0.1 says: three\n"));
    assert_non_null(strstr(lines, "2 127.0.0.1 says: no topic\n"));
    assert_null(strstr(lines, "four"));
    const char *first = strstr(lines, "says: one");
    assert_null(strstr(first + 4, "says: one"));
    assert_non_null(strstr(lines, "0 GET http://127.0.0.1:"));
    assert_non_null(strstr(lines, "/x, from byte 0, with the token (not shown)\n"));
    assert_non_null(strstr(lines, "/x: 200, "));
    assert_null(strstr(lines, "hf_secret"));
    assert_null(strstr(lines, "signature"));
    http_client_dispose(&c);
}

// However many topics a server makes up, the log stays short.
static void test_many_topics(void **state)
{
    (void)state;
    http_client c;
    char head[4096];
    size_t n = (size_t)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n");
    http_client_open(&c, NULL);
    for (int i = 0; i < 100; ++i)
        n += (size_t)snprintf(head + n, sizeof(head) - n, "X-HF-Warning: t%d; m%d\r\n", i, i);
    http_server_add(c.server, (http_reply){.head = head});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    size_t n_lines = 0;
    for (const char *p = kni_buf_text(&c.lines); *p; ++p)
        n_lines += *p == '\n';
    assert_int_equal(n_lines, 32);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

static kn_status run_once(void *user, kn_error *err)
{
    http_client *c = user;
    kni_http *http = NULL;
    http_sink sink = HTTP_SINK;
    kn_status st = kni_http_new(&c->settings, &c->log, &http, err);
    if (st == KN_OK) {
        kni_http_request r = http_file(http_server_url(c->server, "127.0.0.1", "/x"), &sink, 4);
        r.with_token = true;
        st = kni_http_get(http, &r, NULL, err);
        if (st == KN_OK && sink.bytes.failed)
            st = kn_error_set(err, KN_ERR_NO_MEMORY, "the test's own sink");
        kni_http_request_dispose(&r);
    }
    if (st == KN_OK) {
        kni_http_request r = {.url = http_server_url(c->server, "127.0.0.1", "/y"), .subject = "s"};
        st = kni_http_get(http, &r, NULL, err);
        kni_http_request_dispose(&r);
    }
    kni_buf_dispose(&sink.bytes);
    kni_http_free(http);
    return st;
}

// The library's own allocations, each failing in turn, over the wire.
static void test_memory(void **state)
{
    (void)state;
    http_client c;
    http_client_init(&c, NULL, "hf_x");
    http_server_add(c.server,
                    (http_reply){.path = "/x",
                                 .head = "HTTP/1.1 307 Go\r\nLocation: /z\r\nX-Repo-Commit: c\r\n",
                                 .times = -1});
    http_server_add(
        c.server,
        (http_reply){.head =
                         "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nLink: <a>\r\nX-HF-Warning: t; m\r\n",
                     .body = "fine",
                     .times = -1});
    c.log.fn = NULL; // a line that cannot be built is left out, which is no failure
    fail_alloc_each(FAIL_OURS, run_once, &c);
    http_client_dispose(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),           cmocka_unit_test(test_file),
        cmocka_unit_test(test_head),          cmocka_unit_test(test_body),
        cmocka_unit_test(test_hostile_heads), cmocka_unit_test(test_offline),
        cmocka_unit_test(test_ipv6),          cmocka_unit_test(test_log),
        cmocka_unit_test(test_many_topics),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
