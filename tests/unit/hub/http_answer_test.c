#include "hub/http_answer.h"

#include "base/alloc.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

// Lines with "\n" between, as a server sends them with "\r\n".
static kn_status read_head(kni_head *head, const char *text, kn_error *err)
{
    kn_status st = KN_OK;
    kni_head_init(head);
    while (st == KN_OK && *text) {
        const char *end = strchr(text, '\n') + 1;
        st = kni_head_add(head, text, (size_t)(end - text), err);
        text = end;
    }
    return st;
}

static void test_fields(void **state)
{
    (void)state;
    kni_head head;
    assert_int_equal(read_head(&head,
                               "HTTP/2 200 \r\n"
                               "ETag: \"e\"\r\nx-linked-etag:  W/\"le\" \r\nX-Repo-Commit: c\r\n"
                               "X-Linked-Size: 12\r\nContent-Length: 5\r\n"
                               "Link: <a>; rel=\"next\"\r\nlink: <b>\r\nLocation: /x?y\r\n"
                               "X-Error-Code: GatedRepo\r\nX-Error-Message: no\r\n"
                               "X-Request-Id: r1\r\nX-Amzn-Trace-Id: r2\r\n"
                               "Content-Range: bytes 3-7/8\r\n"
                               "Retry-After: 9\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "RateLimit: \"api\";r=0;t=295\r\n"
                               "RateLimit-Policy: \"fixed window\";\"api\";q=500;w=300\r\n"
                               "X-HF-Warning: t; one\r\nX-HF-Warning: u; two\r\n"
                               "Transfer-Encoding: chunked\r\nno header\r\n: empty\r\n\r\n",
                               NULL),
                     KN_OK);
    assert_int_equal(head.status, 200);
    assert_true(head.is_done);
    assert_string_equal(head.etag, "e");
    assert_string_equal(head.linked_etag, "le");
    assert_string_equal(head.commit, "c");
    assert_int_equal(head.linked_size, 12);
    assert_int_equal(head.content_length, 5);
    assert_string_equal(head.link, "<a>; rel=\"next\", <b>");
    assert_string_equal(head.location, "/x?y");
    assert_int_equal(head.code, KNI_HTTP_GATED);
    assert_string_equal(head.message, "no");
    assert_string_equal(head.request_id, "r1");
    assert_int_equal(head.range_start, 3);
    assert_int_equal(head.range_total, 8);
    assert_int_equal(head.retry_after, 9);
    assert_int_equal(head.date, 784111777);
    assert_int_equal(head.remaining, 0);
    assert_int_equal(head.reset, 295);
    assert_int_equal(head.quota, 500);
    assert_int_equal(head.window, 300);
    assert_string_equal(head.warnings, "t; one\nu; two");
    assert_true(head.is_chunked);
    kni_head_dispose(&head);
}

// The first of two counts; interim answers and trailers do not.
static void test_which(void **state)
{
    (void)state;
    kni_head head;
    assert_int_equal(read_head(&head,
                               "HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\n\r\n"
                               "HTTP/1.1 404 Not Found\r\nETag: \"one\"\r\nETag: \"two\"\r\n"
                               "X-Error-Code: new\r\nX-Error-Code: RevisionNotFound\r\n\r\n"
                               "X-Repo-Commit: trailer\r\nHTTP/1.1 200 OK\r\n\r\n",
                               NULL),
                     KN_OK);
    assert_int_equal(head.status, 404);
    assert_string_equal(head.etag, "one");
    assert_null(head.commit);
    assert_int_equal(kni_head_kind(&head), KNI_HTTP_REVISION_NOT_FOUND);
    kni_head_dispose(&head);
}

static void test_hostile(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error NULL: accepted, and no value is taken
    } rows[] = {
        {"no status", "X: y\r\n", "the answer does not begin with an HTTP status"},
        {"nothing", "\r\n", "the answer does not begin with"},
        {"short status", "HTTP/1.1 20\r\n", "the answer does not begin with"},
        {"status of letters", "HTTP/1.1 abc\r\n", "the answer does not begin with"},
        {"status 099", "HTTP/1.1 099\r\n", "the answer does not begin with"},
        {"gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n",
         "the answer has Content-Encoding: gzip, which was not asked for"},
        {"brotli", "HTTP/1.1 200 OK\r\ncontent-ENCODING:br\r\n", "the answer has Content-Encoding"},
        {"two codings", "HTTP/1.1 200 OK\r\nContent-Encoding: identity, gzip\r\n",
         "the answer has Content-Encoding: identity, gzip"},
        {"gzip in transfer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
         "the answer has Transfer-Encoding: gzip, chunked"},
        {"identity", "HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\n\r\n", NULL},
        {"gzip of a failure", "HTTP/1.1 404 Oh\r\nContent-Encoding: gzip\r\n\r\n", NULL},
        {"control characters", "HTTP/1.1 200 OK\r\nETag: \"a\x01\"\r\nX-Repo-Commit: \x1B[1m\r\n",
         NULL},
        {"not numbers",
         "HTTP/1.1 200 OK\r\nX-Linked-Size: -1\r\nContent-Length: 1e3\r\n"
         "Content-Range: bytes x-y/z\r\nContent-Range: lines 1-2/3\r\nRetry-After: soon\r\n"
         "RateLimit: r=0;;t=\r\nDate: yesterday\r\nContent-Length: 99999999999999999999\r\n",
         NULL},
        {"empty values", "HTTP/1.1 200 OK\r\nETag:\r\nETag: \"\"\r\nLink:\r\nLocation: \r\n", NULL},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_head head;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        const kn_status st = read_head(&head, rows[i].text, &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_FORMAT : KN_OK);
        if (rows[i].error && strncmp(err.text, rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", err.text);
        assert_null(head.etag);
        assert_null(head.commit);
        assert_null(head.link);
        assert_null(head.location);
        assert_int_equal(head.linked_size, -1);
        assert_int_equal(head.content_length, -1);
        assert_int_equal(head.range_start, -1);
        assert_int_equal(head.range_total, -1);
        assert_int_equal(head.retry_after, -1);
        assert_int_equal(head.retry_date, -1);
        assert_int_equal(head.date, -1);
        assert_int_equal(head.reset, -1);
        kn_error_dispose(&err);
        kni_head_dispose(&head);
    }
}

static void test_ceilings(void **state)
{
    (void)state;
    kni_head head;
    kni_buf line = KNI_BUF_ANY;
    kni_head_init(&head);
    assert_int_equal(kni_head_add(&head, "HTTP/1.1 200 OK\r\n", 17, NULL), KN_OK);
    for (int i = 1; i < KNI_HEAD_LINES_MAX; ++i)
        assert_int_equal(kni_head_add(&head, "X: y\r\n", 6, NULL), KN_OK);
    assert_int_equal(kni_head_add(&head, "X: y\r\n", 6, NULL), KN_ERR_FORMAT);
    kni_head_dispose(&head);

    kni_buf_puts(&line, "ETag: \"");
    while (line.size < KNI_HEAD_BYTES_MAX / 2)
        kni_buf_puts(&line, "a");
    kni_buf_puts(&line, "\"\r\n");
    assert_int_equal(kni_head_add(&head, "HTTP/1.1 200 OK\r\n", 17, NULL), KN_OK);
    assert_int_equal(kni_head_add(&head, line.data, line.size, NULL), KN_OK);
    assert_null(head.etag); // too long for a name
    assert_int_equal(kni_head_add(&head, line.data, line.size, NULL), KN_ERR_FORMAT);
    kni_buf_dispose(&line);
    kni_head_dispose(&head);
}

static void test_date(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t date;
    } rows[] = {
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Thu, 29 Feb 2024 23:59:60 GMT", 1709251200},
        {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
        {"Sun, 06 Foo 1994 08:49:37 GMT", -1},
        {"Sun, 06 anF 1994 08:49:37 GMT", -1},
        {"Sun, 32 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 24:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08:60:37 GMT", -1},
        {"Sunday, 06-Nov-94 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1969 08:49:37 GMT", -1},
        {"Sun, -6 Nov 1994 08:49:37 GMT", -1},
        {"", -1},
        {"                             ", -1},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].text);
        assert_int_equal(kni_http_date(rows[i].text), rows[i].date);
    }
}

// What a status and headers mean, and the sentence that a user reads.
static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
        bool token_sent, has_token;
        kni_http_kind kind;
        kn_status status;
        const char *error;
    } rows[] = {
        {"404 Not Found\r\nX-Error-Code: RepoNotFound", "", false, false, KNI_HTTP_REPO_NOT_FOUND,
         KN_ERR_NOT_FOUND,
         "GET https://h/x: there is no such repository (status 404): check the name; for a private "
         "one set HF_TOKEN or log in (\"hf auth login\")"},
        {"404 Not Found\r\nX-Error-Code: RepoNotFound\r\nX-Request-Id: q7", "", true, true,
         KNI_HTTP_REPO_NOT_FOUND, KN_ERR_NOT_FOUND,
         "GET https://h/x: there is no such repository (status 404, request q7): check the name; a "
         "private one needs a token that may read it (the one from HF_TOKEN was sent)"},
        {"404 Not Found\r\nX-Error-Code: RevisionNotFound", "", false, false,
         KNI_HTTP_REVISION_NOT_FOUND, KN_ERR_NOT_FOUND,
         "GET https://h/x: the repository has no such revision (status 404)"},
        {"404 Not Found\r\nX-Error-Code: EntryNotFound\r\nX-Error-Message: Entry not found", "",
         true, true, KNI_HTTP_ENTRY_NOT_FOUND, KN_ERR_NOT_FOUND,
         "GET https://h/x: the revision has no such file (status 404): the server says \"Entry not "
         "found\""},
        {"404 Not Found", "<!doctype html><title>404</title>", false, false, KNI_HTTP_NOT_FOUND,
         KN_ERR_NOT_FOUND,
         "GET https://h/x: there is nothing at this address (status 404): check that the endpoint "
         "(HF_ENDPOINT) is a hub"},
        {"401 Unauthorized", "{\"error\": \"Invalid username or password.\"}", false, false,
         KNI_HTTP_UNAUTHORIZED, KN_ERR_DENIED,
         "GET https://h/x: the repository is missing or private, or the token is not valid (status "
         "401): the server says \"Invalid username or password.\": check the name; for a private "
         "one set HF_TOKEN or log in (\"hf auth login\")"},
        {"401 Unauthorized", "", true, true, KNI_HTTP_UNAUTHORIZED, KN_ERR_DENIED,
         "GET https://h/x: the repository is missing or private, or the token is not valid (status "
         "401): check the name, and that the token from HF_TOKEN is valid and may read it"},
        {"401 Unauthorized", "", false, true, KNI_HTTP_UNAUTHORIZED, KN_ERR_DENIED,
         "GET https://h/x: the repository is missing or private, or the token is not valid (status "
         "401): the token was not sent, as it belongs to the endpoint alone and goes over https or "
         "to this machine"},
        {"403 Forbidden\r\nX-Error-Code: GatedRepo", "", true, true, KNI_HTTP_GATED, KN_ERR_DENIED,
         "GET https://h/x: the repository is gated (status 403): ask for access on its page with "
         "the account of the token from HF_TOKEN, which may need the right to read gated "
         "repositories"},
        {"401 Unauthorized\r\nX-Error-Code: GatedRepo", "", false, false, KNI_HTTP_GATED,
         KN_ERR_DENIED,
         "GET https://h/x: the repository is gated (status 401): ask for access on its page, then "
         "set HF_TOKEN or log in (\"hf auth login\")"},
        {"403 Forbidden\r\nX-Error-Message: Access to this resource is disabled.", "", false, false,
         KNI_HTTP_DISABLED, KN_ERR_DENIED,
         "GET https://h/x: the repository is disabled (status 403): the server says \"Access to "
         "this resource is disabled.\""},
        {"403 Forbidden", "no", false, false, KNI_HTTP_FORBIDDEN, KN_ERR_DENIED,
         "GET https://h/x: access is forbidden (status 403): the server says \"no\": set HF_TOKEN "
         "or log in (\"hf auth login\")"},
        {"429 Too Many Requests\r\nRateLimit-Policy: \"fixed window\";\"api\";q=500;w=300", "",
         false, false, KNI_HTTP_RATE_LIMITED, KN_ERR_NETWORK,
         "GET https://h/x: too many requests (status 429), at most 500 in 300 s: try again in 100 "
         "s (1970-01-01 00:03:20 UTC): requests with a token have a higher limit: set HF_TOKEN or "
         "log in (\"hf auth login\")"},
        {"503 Service Unavailable", "{\"errors\": [{\"message\": \"down\\nhard\"}]}", true, true,
         KNI_HTTP_SERVER, KN_ERR_NETWORK,
         "GET https://h/x: the server failed (status 503): try again in 100 s (1970-01-01 00:03:20 "
         "UTC): the server says \"down hard\""},
        {"408 Request Timeout", "", false, false, KNI_HTTP_SERVER, KN_ERR_NETWORK,
         "GET https://h/x: the server failed (status 408): try again in 100 s"},
        {"416 Range Not Satisfiable", "", false, false, KNI_HTTP_BAD_RANGE, KN_ERR_NETWORK,
         "GET https://h/x: the server has no such range of the file (status 416)"},
        {"400 Bad Request", "", false, false, KNI_HTTP_OTHER, KN_ERR_NETWORK,
         "GET https://h/x: the server refused the request (status 400)"},
        {"400 Bad Request\r\nX-Error-Message: \xE2\x80\xAEstrange", "", false, false,
         KNI_HTTP_OTHER, KN_ERR_NETWORK,
         "GET https://h/x: the server refused the request (status 400): the server says "
         "\"\xEF\xBF\xBDstrange\""},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_head head;
        char text[512];
        kn_error err = KN_ERROR_INIT;
        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", rows[i].head);
        print_message("  %s\n", rows[i].head);
        assert_int_equal(read_head(&head, text, NULL), KN_OK);
        assert_int_equal(kni_head_kind(&head), rows[i].kind);
        const kni_failure failure = {.url = "https://h/x?signature=secret",
                                     .method = "GET",
                                     .token_source = rows[i].token_sent ? "HF_TOKEN" : NULL,
                                     .has_token = rows[i].has_token,
                                     .n_tries = 1,
                                     .wait_s = 100,
                                     .now = 100,
                                     .body = rows[i].body,
                                     .body_size = strlen(rows[i].body)};
        assert_int_equal(kni_head_fail(&head, &failure, &err), rows[i].status);
        assert_int_equal(err.status, rows[i].status);
        if (strncmp(err.text, rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", err.text);
        kn_error_dispose(&err);
        kni_head_dispose(&head);
    }
}

// What of several hops is kept.
static void test_chain(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hops[3];
        const char *etag, *commit;
        int64_t size;
    } rows[] = {
        {"linked ones of the hub before those of the mirror",
         {"302 Found\r\nX-Repo-Commit: c\r\nX-Linked-Etag: \"l\"\r\nX-Linked-Size: 7\r\nETag: "
          "\"r\"\r\nContent-Length: 3",
          "200 OK\r\nETag: \"m\"\r\nX-Linked-Etag: \"evil\"\r\nX-Linked-Size: 1\r\nX-Repo-Commit: "
          "evil\r\nContent-Length: 7"},
         "l",
         "c",
         7},
        {"plain ones of the last",
         {"307 Temporary Redirect\r\nETag: \"r\"\r\nContent-Length: 3",
          "200 OK\r\nETag: \"m\"\r\nX-Repo-Commit: c\r\nContent-Length: 9"},
         "m",
         "c",
         9},
        {"an earlier one where the last has none",
         {"307 Temporary Redirect\r\nETag: \"r\"\r\nX-Repo-Commit: c", "200 OK"},
         "r",
         "c",
         -1},
        {"the whole size of a part",
         {"206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5"},
         NULL,
         NULL,
         10},
        {"no size of a redirect", {"302 Found\r\nContent-Length: 3"}, NULL, NULL, -1},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_http_answer answer = {.size = -1};
        kni_linked linked = {0};
        print_message("  %s\n", rows[i].name);
        for (size_t k = 0; k < 3 && rows[i].hops[k]; ++k) {
            kni_head head;
            char text[512];
            snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", rows[i].hops[k]);
            assert_int_equal(read_head(&head, text, NULL), KN_OK);
            assert_int_equal(kni_answer_add(&answer, &linked, &head, NULL), KN_OK);
            kni_head_dispose(&head);
        }
        if (rows[i].etag)
            assert_string_equal(answer.etag, rows[i].etag);
        else
            assert_null(answer.etag);
        if (rows[i].commit)
            assert_string_equal(answer.commit, rows[i].commit);
        else
            assert_null(answer.commit);
        assert_int_equal(answer.size, rows[i].size);
        kni_http_request request = {.answer = answer};
        kni_http_request_dispose(&request);
    }
}

static kn_status run(void *user, kn_error *err)
{
    kni_head head;
    kni_http_request request = {0};
    kni_linked linked = {0};
    (void)user;
    kn_status st =
        read_head(&head,
                  "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nX-Linked-Etag: \"l\"\r\nLink: <a>\r\n"
                  "Link: <b>\r\nX-Repo-Commit: c\r\nX-HF-Warning: a; b\r\n\r\n",
                  err);
    if (st == KN_OK)
        st = kni_answer_add(&request.answer, &linked, &head, err);
    kni_head_dispose(&head);
    kni_http_request_dispose(&request);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    fail_alloc_each(FAIL_OURS, run, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),  cmocka_unit_test(test_which),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_date),    cmocka_unit_test(test_failures),
        cmocka_unit_test(test_chain),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
