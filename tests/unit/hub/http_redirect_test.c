// Where a request may be led, and what goes along. 127.0.0.1 and localhost, and two ports, are different origins.
#include "hub/http_client.h"

#define TOKEN "hf_secret"

static bool has_token(http_server *server, size_t index)
{
    const char *request = http_server_request(server, index);
    return strstr(request, "\r\nAuthorization: Bearer " TOKEN "\r\n") != NULL;
}

static bool says_token(const http_client *c, const kn_error *err)
{
    return strstr(kn_error_text(err), TOKEN) || strstr(kni_buf_text(&c->lines), TOKEN);
}

// One hop from the endpoint. In `location` and `error` HERE is the endpoint's authority, LOCALHOST the same server by its other
// name, OTHER another port.
static void expand(const http_client *c, const http_server *other, const char *text, char out[512])
{
    char here[64], localhost[64], there[64];
    snprintf(here, sizeof(here), "127.0.0.1:%d", http_server_port(c->server));
    snprintf(localhost, sizeof(localhost), "localhost:%d", http_server_port(c->server));
    snprintf(there, sizeof(there), "127.0.0.1:%d", http_server_port(other));
    const char *const names[][2] = {{"LOCALHOST", localhost}, {"HERE", here}, {"OTHER", there}};
    size_t n = 0;
    while (*text && n < 400) {
        size_t k = 0;
        while (k < KN_LEN(names) && strncmp(text, names[k][0], strlen(names[k][0])) != 0)
            ++k;
        if (k < KN_LEN(names)) {
            n += (size_t)snprintf(out + n, 512 - n, "%s", names[k][1]);
            text += strlen(names[k][0]);
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *name, *status, *location;
        bool any_origin;
        kn_status result;
        bool here, there; // the target was asked, at the endpoint or at the other server
        bool token;       // … with the token
        const char *error;
    } rows[] = {
        {"relative", "307", "/y?z=1", false, KN_OK, true, false, true, NULL},
        {"relative to the path", "301", "y?z=1", false, KN_OK, true, false, true, NULL},
        {"absolute", "308", "http://HERE/y?z=1", false, KN_OK, true, false, true, NULL},
        {"303", "303", "/y?z=1", false, KN_OK, true, false, true, NULL},
        {"without a scheme", "302", "//HERE/y?z=1", false, KN_OK, true, false, true, NULL},
        {"another name of the host", "302", "http://LOCALHOST/y?z=1", true, KN_OK, true, false,
         false, NULL},
        {"another port", "302", "http://OTHER/y?z=1", true, KN_OK, false, true, false, NULL},
        {"another port, not for an answer", "302", "http://OTHER/y?z=1", false, KN_ERR_UNTRUSTED,
         false, false, false,
         "o/n: GET http://HERE/x: redirects to http://OTHER/y, which is not followed: only the "
         "endpoint http://HERE is asked for this"},
        {"another name, not for an answer", "302", "http://LOCALHOST/y?z=1", false,
         KN_ERR_UNTRUSTED, false, false, false, "o/n: GET http://HERE/x: redirects to"},
        {"no target", "302", "", true, KN_ERR_FORMAT, false, false, false,
         "o/n: GET http://HERE/x: a redirect (status 302) without a target"},
        {"a file", "302", "file:///etc/passwd", true, KN_ERR_UNTRUSTED, false, false, false,
         "o/n: GET http://HERE/x: Location: \"file:///etc/passwd\" must begin with https://"},
        {"a user name", "302", "http://me:pw@HERE/y", true, KN_ERR_UNTRUSTED, false, false, false,
         "o/n: GET http://HERE/x: Location: \"http://HERE/y\" holds a user name"},
        {"300", "300", "/y?z=1", true, KN_ERR_NETWORK, false, false, false,
         "o/n: GET http://HERE/x: the server refused the request (status 300)"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        char location[512], head[700], error[512];
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        http_client_open(&c, TOKEN);
        http_server *other = http_server_new();
        expand(&c, other, rows[i].location, location);
        snprintf(head, sizeof(head), "HTTP/1.1 %s Go\r\nLocation: %s\r\n", rows[i].status,
                 location);
        http_server_add(c.server, (http_reply){.path = "/x", .head = head, .body = "not this"});
        http_server_add(c.server, (http_reply){.path = "/y?z=1", .body = "this"});
        http_server_add(other, (http_reply){.path = "/y?z=1", .body = "this"});
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"),
                              .subject = "o/n",
                              .with_token = true,
                              .any_origin = rows[i].any_origin};
        const kn_status st = kni_http_get(c.http, &r, NULL, &err);
        if (st != rows[i].result)
            fail_msg("status %d: %s", st, kn_error_text(&err));
        assert_int_equal(http_server_count(c.server), rows[i].here ? 2 : 1);
        assert_int_equal(http_server_count(other), rows[i].there);
        assert_true(has_token(c.server, 0));
        if (rows[i].here)
            assert_int_equal(has_token(c.server, 1), rows[i].token);
        if (rows[i].there)
            assert_false(has_token(other, 0));
        if (st == KN_OK) {
            assert_string_equal(kni_buf_text(&r.body), "this");
            assert_int_equal(r.answer.n_sent, 2);
            assert_non_null(strstr(r.answer.url, "/y?z=1"));
        } else {
            expand(&c, other, rows[i].error, error);
            if (strncmp(err.text, error, strlen(error)) != 0)
                fail_msg("said: %s", err.text);
            assert_true(r.answer.kind != KNI_HTTP_OK);
        }
        assert_false(says_token(&c, &err));
        kn_error_dispose(&err);
        kni_http_request_dispose(&r);
        http_server_free(other);
        http_client_dispose(&c);
    }
}

// Back at the endpoint the token goes along again; it never went to the other.
static void test_there_and_back(void **state)
{
    (void)state;
    http_client c;
    char away[300], back[300];
    http_client_open(&c, TOKEN);
    http_server *other = http_server_new();
    snprintf(away, sizeof(away), "HTTP/1.1 302 Go\r\nLocation: %s\r\nX-Repo-Commit: one\r\n",
             http_server_url(other, "127.0.0.1", "/a"));
    snprintf(back, sizeof(back), "HTTP/1.1 302 Go\r\nLocation: %s\r\n",
             http_server_url(c.server, "127.0.0.1", "/b"));
    http_server_add(c.server, (http_reply){.path = "/x", .head = away});
    http_server_add(other, (http_reply){.path = "/a", .head = back});
    http_server_add(c.server, (http_reply){.path = "/b", .body = "this"});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"),
                          .with_token = true,
                          .any_origin = true};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_true(has_token(c.server, 0));
    assert_false(has_token(other, 0));
    assert_true(has_token(c.server, 1));
    assert_string_equal(r.answer.commit, "one");
    kni_http_request_dispose(&r);
    http_server_free(other);
    http_client_dispose(&c);
}

// A broken target is tried again from the first URL, whose answer is read anew.
static void test_again_from_the_first(void **state)
{
    (void)state;
    static const char *const etags[] = {"one", "two"};
    http_client c;
    http_sink sink = HTTP_SINK;
    char heads[2][300];
    http_client_open(&c, NULL);
    for (int i = 0; i < 2; ++i) {
        snprintf(heads[i], sizeof(heads[i]),
                 "HTTP/1.1 302 Go\r\nLocation: /signed?%d\r\nX-Linked-Etag: \"%s\"\r\n", i,
                 etags[i]);
        http_server_add(c.server, (http_reply){.path = "/x", .head = heads[i]});
    }
    http_server_add(
        c.server,
        (http_reply){.path = "/signed?0", .body = "0123456789", .then = HTTP_CUT, .at = 4});
    http_server_add(c.server,
                    (http_reply){.path = "/signed?1", .body = "0123456789", .ranges = true});
    kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/x"), &sink, 10);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_string_equal(kni_buf_text(&sink.bytes), "0123456789");
    assert_int_equal(r.answer.n_sent, 4);
    assert_string_equal(r.answer.etag, "two");
    assert_non_null(strstr(http_server_request(c.server, 3), "\r\nRange: bytes=4-\r\n"));
    kni_buf_dispose(&sink.bytes);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

static void test_hops(void **state)
{
    (void)state;
    for (int n = 9; n <= 12; ++n) {
        http_client c;
        http_client_open(&c, NULL);
        http_server_add(c.server,
                        (http_reply){.head = "HTTP/1.1 302 Go\r\nLocation: /x\r\n", .times = n});
        http_server_add(c.server, (http_reply){.body = "this"});
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
        const kn_status st = kni_http_get(c.http, &r, NULL, NULL);
        assert_int_equal(st, n <= 10 ? KN_OK : KN_ERR_UNTRUSTED);
        assert_int_equal(http_server_count(c.server), n <= 10 ? n + 1 : 11);
        if (st != KN_OK)
            assert_non_null(strstr(r.error.text, "/x: redirects more than 10 times"));
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// A HEAD stops where it would leave the endpoint: what it asked for was said, and the target is for a GET.
static void test_head(void **state)
{
    (void)state;
    http_client c;
    char away[300];
    http_client_open(&c, TOKEN);
    http_server *other = http_server_new();
    snprintf(away, sizeof(away),
             "HTTP/1.1 302 Go\r\nLocation: %s\r\nX-Linked-Etag: \"l\"\r\nX-Linked-Size: 77\r\n",
             http_server_url(other, "127.0.0.1", "/a"));
    http_server_add(c.server, (http_reply){.path = "/x",
                                           .head = "HTTP/1.1 307 Go\r\nLocation: /y\r\n"
                                                   "X-Repo-Commit: one\r\n"});
    http_server_add(c.server, (http_reply){.path = "/y", .head = away, .body = "redirect"});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x"),
                          .is_head = true,
                          .with_token = true,
                          .any_origin = true};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(r.answer.kind, KNI_HTTP_OK);
    assert_int_equal(r.answer.status, 302);
    assert_string_equal(r.answer.etag, "l");
    assert_string_equal(r.answer.commit, "one");
    assert_int_equal(r.answer.size, 77);
    assert_string_equal(r.answer.url, http_server_url(c.server, "127.0.0.1", "/y"));
    assert_int_equal(http_server_count(other), 0);
    assert_non_null(strstr(http_server_request(c.server, 1), "HEAD /y HTTP/1.1"));
    kni_http_request_dispose(&r);
    http_server_free(other);
    http_client_dispose(&c);
}

// Over http a token goes to this machine alone: the endpoint is another, reached through a "proxy" that is our server.
static void test_plain_http(void **state)
{
    (void)state;
    http_client c;
    http_client_init(&c, "http://hub.example", TOKEN);
    c.settings.proxy_http = kni_strdup(http_server_url(c.server, "127.0.0.1", ""));
    http_client_start(&c);
    for (int i = 0; i < 2; ++i) {
        http_server_add(c.server, (http_reply){.body = "this"});
        kni_http_request r = {.url = "http://hub.example/x", .with_token = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        assert_false(r.answer.connected_to_loopback);
        kni_http_request_dispose(&r);
        assert_false(has_token(c.server, (size_t)i));
        assert_non_null(
            strstr(http_server_request(c.server, (size_t)i), "GET http://hub.example/x "));
    }
    const char *warning =
        strstr(kni_buf_text(&c.lines), "2 the token from kn_hub_options.token is not sent to "
                                       "http://hub.example: only over https");
    assert_non_null(warning);
    assert_null(strstr(warning + 10, "the token from")); // once
    http_client_dispose(&c);
}

// … and by a proxy not even to this machine: it would leave it.
static void test_loopback_by_proxy(void **state)
{
    (void)state;
    http_client c;
    http_client_init(&c, "http://127.0.0.1:1", TOKEN);
    c.settings.proxy_all = kni_strdup(http_server_url(c.server, "127.0.0.1", ""));
    http_client_start(&c);
    http_server_add(c.server, (http_reply){.body = "this"});
    kni_http_request r = {.url = "http://127.0.0.1:1/x", .with_token = true};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_false(r.answer.connected_to_loopback);
    assert_false(has_token(c.server, 0));
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

// Without with_token, or to another origin than the endpoint's, none is sent.
static void test_no_token(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, TOKEN);
    http_server_add(c.server, (http_reply){.times = -1});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    r = (kni_http_request){.url = http_server_url(c.server, "localhost", "/x"), .with_token = true};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    assert_false(has_token(c.server, 0));
    assert_false(has_token(c.server, 1));
    http_client_dispose(&c);
}

// "localhost" is this machine: the token goes along over http, and to no other name of it.
static void test_localhost(void **state)
{
    (void)state;
    http_client c;
    http_server *server = http_server_new();
    http_client_init(&c, http_server_url(server, "localhost", ""), TOKEN);
    http_client_start(&c);
    http_server_add(server, (http_reply){.times = -1});
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < 2; ++i) {
        kni_http_request r = {.url = http_server_url(server, hosts[i], "/x"), .with_token = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        kni_http_request_dispose(&r);
    }
    assert_true(has_token(server, 0));
    assert_false(has_token(server, 1));
    http_client_dispose(&c);
    http_server_free(server);
}

// A public endpoint (it was never asked, so by its name) leads nobody to this machine or its network; not by a caller's URL either.
static void test_private_target(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < KN_LEN(hosts); ++i) {
        http_client c;
        kn_error err = KN_ERROR_INIT;
        http_client_init(&c, "http://hub.example", NULL);
        http_client_start(&c);
        kni_http_request r = {.url = http_server_url(c.server, hosts[i], "/x"), .any_origin = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, &err), KN_ERR_UNTRUSTED);
        assert_non_null(strstr(err.text, "leads to an address that the endpoint http://hub.example "
                                         "may not send us to"));
        assert_int_equal(http_server_connections(c.server), 0);
        assert_int_equal(kni_http_n_connections(c.http), 0);
        assert_int_equal(r.answer.n_sent, 1);
        kn_error_dispose(&err);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// Behind a proxy the address is not known: said once.
static void test_private_target_by_proxy(void **state)
{
    (void)state;
    http_client c;
    http_client_init(&c, "http://hub.example", NULL);
    c.settings.proxy_all = kni_strdup(http_server_url(c.server, "127.0.0.1", ""));
    http_client_start(&c);
    for (int i = 0; i < 2; ++i) {
        http_server_add(c.server,
                        (http_reply){.head = "HTTP/1.1 302 Go\r\nLocation: http://10.0.0.1/y\r\n"});
        http_server_add(c.server, (http_reply){.body = "this"});
        kni_http_request r = {.url = "http://hub.example/x", .any_origin = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        kni_http_request_dispose(&r);
    }
    const char *line = strstr(kni_buf_text(&c.lines), "1 behind a proxy the addresses");
    assert_non_null(line);
    assert_null(strstr(line + 10, "behind a proxy"));
    http_client_dispose(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_again_from_the_first),
        cmocka_unit_test(test_hops),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_loopback_by_proxy),
        cmocka_unit_test(test_no_token),
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_private_target),
        cmocka_unit_test(test_private_target_by_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
