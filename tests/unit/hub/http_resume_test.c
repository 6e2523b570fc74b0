// Bodies that break: continued at the exact byte, or taken from the first.
#include "hub/http_client.h"

#define SIZE 300000

static char data[SIZE];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; ++i)
        data[i] = (char)('a' + (i * 7 + i / 256) % 26);
    return 0;
}

// "bytes=<n>-" of a request; -1: none.
static long range_of(http_server *server, size_t index)
{
    const char *range = strstr(http_server_request(server, index), "\r\nRange: bytes=");
    return range ? strtol(range + 15, NULL, 10) : -1;
}

#define WHOLE_RANGES                                                                               \
    {                                                                                              \
        .body = data, .size = SIZE, .ranges = true, .times = -1                                    \
    }
#define PART(start, total)                                                                         \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " start "-299999/" total "\r\n"

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        http_reply replies[4];
        kn_status status;
        unsigned n_sent;
        long ranges[4]; // of the requests after the first
        unsigned n_rewinds;
        const char *error;
    } rows[] = {
        {"cut, then the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 123457}, WHOLE_RANGES},
         KN_OK,
         2,
         {123457},
         0,
         NULL},
        {"cut within the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 1},
          {.body = data, .size = SIZE, .then = HTTP_CUT, .at = 299999, .ranges = true},
          WHOLE_RANGES},
         KN_OK,
         3,
         {1, 299999},
         0,
         NULL},
        {"stalls, then the rest",
         {{.body = data, .size = SIZE, .then = HTTP_STALL, .at = 1000}, WHOLE_RANGES},
         KN_OK,
         2,
         {1000},
         0,
         NULL},
        {"cut before the first byte",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 0}, WHOLE_RANGES},
         KN_OK,
         2,
         {-1},
         0,
         NULL},
        {"503 instead of the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = "HTTP/1.1 503 Oh\r\n", .body = "busy"},
          WHOLE_RANGES},
         KN_OK,
         3,
         {500, 500},
         0,
         NULL},
        {"200 instead of the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500}, {.body = data, .size = SIZE}},
         KN_OK,
         2,
         {500},
         1,
         NULL},
        {"another start than asked for",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = PART("400", "300000"), .body = data + 400, .size = SIZE - 400},
          {.body = data, .size = SIZE}},
         KN_OK,
         3,
         {500, -1},
         1,
         NULL},
        {"no Content-Range",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = "HTTP/1.1 206 Partial Content\r\n", .body = data + 500, .size = SIZE - 500},
          {.body = data, .size = SIZE}},
         KN_OK,
         3,
         {500, -1},
         1,
         NULL},
        {"wrong ranges are not asked for again",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = PART("400", "300000"), .body = data + 400, .size = SIZE - 400},
          {.body = data, .size = SIZE, .then = HTTP_CUT, .at = 600},
          {.body = data, .size = SIZE}},
         KN_OK,
         4,
         {500, -1, -1},
         2,
         NULL},
        {"the range of another file",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = PART("500", "300001"), .body = data + 500, .size = SIZE - 500}},
         KN_ERR_FORMAT,
         2,
         {500},
         0,
         "the server has a file of 300001 bytes, 300000 are expected"},
        {"more than the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = PART("500", "300000"), .body = data, .size = SIZE},
          {.body = data, .size = SIZE}},
         KN_OK,
         3,
         {500, -1},
         1,
         NULL},
        {"less than the rest, then that",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = PART("500", "300000"), .body = data + 500, .size = 1500},
          WHOLE_RANGES},
         KN_OK,
         3,
         {500, 2000},
         0,
         NULL},
        {"416, then all",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = "HTTP/1.1 416 Oh\r\nContent-Range: bytes */300000\r\n"},
          {.body = data, .size = SIZE}},
         KN_OK,
         3,
         {500, -1},
         1,
         NULL},
        {"416 twice",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = "HTTP/1.1 416 Oh\r\n", .times = 2}},
         KN_ERR_NETWORK,
         3,
         {500, -1},
         1,
         "the server has no such range of the file (status 416)"},
        {"404 instead of the rest",
         {{.body = data, .size = SIZE, .then = HTTP_CUT, .at = 500},
          {.head = "HTTP/1.1 404 Oh\r\n"}},
         KN_ERR_NOT_FOUND,
         2,
         {500},
         0,
         "there is nothing at this address (status 404)"},
        {"a part that was not asked for",
         {{.head = PART("500", "300000"), .body = data + 500, .size = SIZE - 500}},
         KN_ERR_FORMAT,
         1,
         {0},
         0,
         "the server sends a part of the file that was not asked for"},
        {"all of it as a part",
         {{.head = PART("0", "300000"), .body = data, .size = SIZE}},
         KN_OK,
         1,
         {0},
         0,
         NULL},
        {"another size",
         {{.body = data, .size = SIZE - 1}},
         KN_ERR_FORMAT,
         1,
         {0},
         0,
         "the server has 299999 bytes, 300000 are expected"},
        {"without a length, too short: broken",
         {{.head = "HTTP/1.1 200 OK\r\n\r\n",
           .is_raw = true,
           .body = data,
           .size = 700,
           .then = HTTP_CLOSE},
          WHOLE_RANGES},
         KN_OK,
         2,
         {700},
         0,
         NULL},
        {"without a length, too long",
         {{.head = "HTTP/1.1 200 OK\r\n\r\n",
           .is_raw = true,
           .body = data,
           .size = 0,
           .then = HTTP_CLOSE}},
         KN_ERR_FORMAT,
         1,
         {0},
         0,
         "the server sends more than the 300000 bytes that are expected"},
        {"in chunks, too short",
         {{.head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
           .is_raw = true,
           .body = "3\r\nabc\r\n0\r\n\r\n"}},
         KN_ERR_FORMAT,
         1,
         {0},
         0,
         "the file ends after 3 bytes, 300000 are expected"},
        {"a chunk that is cut",
         {{.head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
           .is_raw = true,
           .body = "8\r\nabc",
           .then = HTTP_CLOSE},
          {.body = data, .size = SIZE}},
         KN_OK,
         2,
         {3},
         1,
         NULL},
        {"compressed",
         {{.head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n", .body = data, .size = SIZE}},
         KN_ERR_FORMAT,
         1,
         {0},
         0,
         "the answer has Content-Encoding: gzip, which was not asked for"},
    };
    static char longer[SIZE + 2];
    memset(longer, 'x', sizeof(longer) - 1);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        http_sink sink = HTTP_SINK;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        http_client_init(&c, NULL, NULL);
        if (rows[i].replies[0].then == HTTP_STALL)
            c.settings.timeout_ms = 1000;
        http_client_start(&c);
        for (size_t k = 0; k < 4; ++k) {
            http_reply reply = rows[i].replies[k];
            if (reply.then == HTTP_CLOSE && reply.size == 0 && reply.body == data)
                reply.body = longer;
            if (reply.body || reply.head)
                http_server_add(c.server, reply);
        }
        kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, SIZE);
        const kn_status st = kni_http_get(c.http, &r, NULL, &err);
        if (st != rows[i].status)
            fail_msg("status %d: %s", st, kn_error_text(&err));
        assert_int_equal(r.answer.n_sent, rows[i].n_sent);
        assert_int_equal(http_server_count(c.server), rows[i].n_sent);
        assert_int_equal(range_of(c.server, 0), -1);
        for (unsigned k = 1; k < rows[i].n_sent; ++k)
            assert_int_equal(range_of(c.server, k), rows[i].ranges[k - 1]);
        assert_int_equal(sink.n_rewinds, rows[i].n_rewinds);
        if (st == KN_OK) {
            assert_int_equal(sink.bytes.size, SIZE);
            assert_memory_equal(sink.bytes.data, data, SIZE);
        } else if (!strstr(err.text, rows[i].error)) {
            fail_msg("said: %s", err.text);
        }
        kn_error_dispose(&err);
        kni_buf_dispose(&sink.bytes);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// Each cut gives a little more: never six failures in a row without progress. Then none gives anything.
static void test_progress(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    http_sink sink = HTTP_SINK;
    for (size_t i = 1; i <= 20; ++i)
        http_server_add(c.server, (http_reply){.path = "/f",
                                               .body = data,
                                               .size = SIZE,
                                               .ranges = true,
                                               .then = HTTP_CUT,
                                               .at = i * 100});
    http_server_add(c.server,
                    (http_reply){.path = "/f", .body = data, .size = SIZE, .ranges = true});
    kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, SIZE);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(r.answer.n_sent, 21);
    assert_memory_equal(sink.bytes.data, data, SIZE);
    kni_buf_dispose(&sink.bytes);
    kni_http_request_dispose(&r);

    sink = HTTP_SINK;
    http_server_add(c.server, (http_reply){.path = "/g",
                                           .body = data,
                                           .size = SIZE,
                                           .ranges = true,
                                           .then = HTTP_CUT,
                                           .at = 100,
                                           .times = -1});
    r = http_file(http_server_url(c.server, "127.0.0.1", "/g"), &sink, SIZE);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_NETWORK);
    assert_int_equal(r.answer.n_sent, 6);
    assert_non_null(strstr(r.error.text, "(6 tries)"));
    assert_int_equal(sink.bytes.size, 100);
    kni_buf_dispose(&sink.bytes);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

static kn_status full_disk(void *user, const void *bytes, size_t size, kn_error *err)
{
    (void)user;
    (void)bytes;
    (void)size;
    return kn_error_set(err, KN_ERR_IO, "the disk is full");
}

static kn_status no_rewind(void *user, kn_error *err)
{
    (void)user;
    return kn_error_set(err, KN_ERR_IO, "cannot truncate");
}

// What the caller's functions say ends the request.
static void test_callbacks(void **state)
{
    (void)state;
    http_client c;
    http_sink sink = HTTP_SINK;
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.body = data, .size = SIZE});
    kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, SIZE);
    r.write = full_disk;
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_IO);
    assert_non_null(strstr(r.error.text, "owner/name: GET http://127.0.0.1:"));
    assert_non_null(strstr(r.error.text, "/f: the disk is full"));
    assert_int_equal(r.answer.n_sent, 1);
    kni_http_request_dispose(&r);

    http_server_add(c.server, (http_reply){.body = data, .size = SIZE, .then = HTTP_CUT, .at = 5});
    http_server_add(c.server, (http_reply){.body = data, .size = SIZE});
    r = http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, SIZE);
    r.rewind = no_rewind;
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_IO);
    assert_non_null(strstr(r.error.text, "/f: cannot truncate"));
    assert_int_equal(r.answer.n_sent, 2);
    kni_http_request_dispose(&r);
    kni_buf_dispose(&sink.bytes);
    http_client_dispose(&c);
}

static void test_empty_file(void **state)
{
    (void)state;
    http_client c;
    http_sink sink = HTTP_SINK;
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.body = ""});
    kni_http_request r = http_file(http_server_url(c.server, "127.0.0.1", "/f"), &sink, 0);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    assert_int_equal(sink.bytes.size, 0);
    kni_http_request_dispose(&r);
    kni_buf_dispose(&sink.bytes);
    http_client_dispose(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_empty_file),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
