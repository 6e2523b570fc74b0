// The engine against a server: requests, answers, connections, threads, the end of it all.
#include "hub/http.h"

#include <dirent.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
