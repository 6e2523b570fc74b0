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

typedef struct many {
    http_client *client;
    kni_http_request requests[100];
    kni_http_request *pointers[100];
    size_t n_finished;
    size_t order[100];
    bool stop; // the watch says so
    size_t stop_after;
    unsigned n_asked;
} many;

static void on_finished(void *user, kni_http_request *request)
{
    many *m = user;
    m->order[m->n_finished++] = (size_t)(request - m->requests);
}

static bool on_watch(void *user)
{
    many *m = user;
    ++m->n_asked;
    return m->stop || (m->stop_after && m->n_finished >= m->stop_after);
}

static void many_init(many *m, http_client *c, size_t n, char paths[100][64])
{
    *m = (many){.client = c};
    for (size_t i = 0; i < n; ++i) {
        snprintf(paths[i], 64, "http://127.0.0.1:%d/%zu", http_server_port(c->server), i);
        m->requests[i] = (kni_http_request){
            .url = paths[i], .subject = "o/n", .finished = on_finished, .user = m};
        m->pointers[i] = &m->requests[i];
    }
}

static void many_dispose(many *m, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        kni_http_request_dispose(&m->requests[i]);
}

// Each ends by itself, well or not; never more connections than `parallel`; one at a time keeps the order.
static void test_many(void **state)
{
    (void)state;
    static const size_t parallel[] = {1, 3, 0, 200};
    static many m;
    char urls[100][64];
    for (size_t k = 0; k < KN_LEN(parallel); ++k) {
        http_client c;
        http_client_open(&c, NULL);
        http_server_add(c.server, (http_reply){.path = "/7", .head = "HTTP/1.1 404 Oh\r\n"});
        http_server_add(c.server, (http_reply){.path = "/9", .head = "HTTP/1.1 503 Oh\r\n"});
        http_server_add(c.server, (http_reply){.body = "fine", .times = -1});
        many_init(&m, &c, 100, urls);
        assert_int_equal(kni_http_run(c.http, m.pointers, 100, parallel[k], NULL, NULL), KN_OK);
        assert_int_equal(m.n_finished, 100);
        for (size_t i = 0; i < 100; ++i) {
            assert_int_equal(m.requests[i].status, i == 7 ? KN_ERR_NOT_FOUND : KN_OK);
            assert_int_equal(m.requests[i].answer.n_sent, i == 9 ? 2 : 1);
            if (parallel[k] == 1)
                assert_int_equal(m.order[i], i);
        }
        assert_true(http_server_connections(c.server) <=
                    (parallel[k] ? parallel[k] : 8) + 1); // a retry makes a new one
        assert_int_equal(kni_http_n_connections(c.http), http_server_connections(c.server));
        assert_non_null(strstr(m.requests[7].error.text, "o/n: GET http://127.0.0.1:"));
        many_dispose(&m, 100);
        http_client_dispose(&c);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

typedef struct stopper {
    int64_t first, last, longest; // when the watch was asked
    unsigned n;
} stopper;

static bool stop_soon(void *user)
{
    stopper *s = user;
    const int64_t now = now_ms();
    if (s->n++ == 0)
        s->first = now;
    else if (now - s->last > s->longest)
        s->longest = now - s->last;
    s->last = now;
    return s->n == 6;
}

// While nothing comes, while the server asks to wait, and before anything was sent.
static void test_cancel(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        http_reply reply;
    } rows[] = {
        {"stalled", {.head = "", .then = HTTP_STALL, .times = -1}},
        {"within the body", {.body = "0123456789", .then = HTTP_STALL, .at = 5, .times = -1}},
        {"between two tries", {.head = "HTTP/1.1 503 Oh\r\nRetry-After: 50\r\n", .times = -1}},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        static many m;
        char urls[100][64];
        kn_error err = KN_ERROR_INIT;
        stopper s = {0};
        const kni_http_watch watch = {stop_soon, &s};
        print_message("  %s\n", rows[i].name);
        http_client_open(&c, NULL);
        kni_http_set_second(c.http, 1000);
        http_server_add(c.server, (http_reply){.path = "/later", .body = "fine"});
        http_server_add(c.server, rows[i].reply);
        many_init(&m, &c, 20, urls);
        const int64_t begin = now_ms();
        assert_int_equal(kni_http_run(c.http, m.pointers, 20, 4, &watch, &err), KN_ERR_CANCELLED);
        assert_string_equal(err.text, "cancelled");
        kn_error_dispose(&err);
        assert_int_equal(m.n_finished, 20);
        for (size_t k = 0; k < 20; ++k) {
            assert_int_equal(m.requests[k].status, KN_ERR_CANCELLED);
            assert_string_equal(m.requests[k].error.text, "o/n: cancelled");
        }
        assert_int_equal(s.n, 6); // not asked again
        print_message("    %ld ms, asked every %ld at most\n", (long)(now_ms() - begin),
                      (long)s.longest);
        many_dispose(&m, 20);

        // The session is as good as new.
        kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/later")};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

static void test_cancel_before(void **state)
{
    (void)state;
    http_client c;
    static many m;
    char urls[100][64];
    http_client_open(&c, NULL);
    many_init(&m, &c, 3, urls);
    m.stop = true;
    const kni_http_watch watch = {on_watch, &m};
    assert_int_equal(kni_http_run(c.http, m.pointers, 3, 0, &watch, NULL), KN_ERR_CANCELLED);
    assert_int_equal(m.n_asked, 1);
    assert_int_equal(kni_http_n_connections(c.http), 0);
    many_dispose(&m, 3);

    // In the middle: what was over stays as it is.
    http_server_add(c.server, (http_reply){.body = "fine", .times = 3});
    http_server_add(c.server, (http_reply){.head = "", .then = HTTP_STALL, .times = -1});
    many_init(&m, &c, 10, urls);
    m.stop_after = 3;
    assert_int_equal(kni_http_run(c.http, m.pointers, 10, 1, &watch, NULL), KN_ERR_CANCELLED);
    for (size_t i = 0; i < 10; ++i)
        assert_int_equal(m.requests[i].status, i < 3 ? KN_OK : KN_ERR_CANCELLED);
    many_dispose(&m, 10);
    http_client_dispose(&c);
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

static void *run_thread(void *user)
{
    http_client *c = user;
    many *m = calloc(1, sizeof(*m));
    char urls[100][64];
    many_init(m, c, 50, urls);
    const kni_http_watch watch = {on_watch, m};
    if (kni_http_run(c->http, m->pointers, 50, 4, &watch, NULL) != KN_OK)
        abort();
    size_t n_good = 0;
    for (size_t i = 0; i < 50; ++i)
        n_good += m->requests[i].status == KN_OK &&
                  strcmp(kni_buf_text(&m->requests[i].body), "fine") == 0;
    many_dispose(m, 50);
    free(m);
    return (void *)n_good;
}

static void test_threads(void **state)
{
    (void)state;
    http_client c;
    pthread_t threads[8];
    http_client_init(&c, NULL, "hf_x");
    c.settings.is_verbose = true;
    http_client_start(&c);
    http_server_add(c.server,
                    (http_reply){.path = "/9", .head = "HTTP/1.1 503 Oh\r\n", .times = 3});
    http_server_add(c.server,
                    (http_reply){.head = "HTTP/1.1 200 OK\r\nX-HF-Warning: topic; once\r\n",
                                 .body = "fine",
                                 .times = -1});
    for (size_t i = 0; i < 8; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &c), 0);
    for (size_t i = 0; i < 8; ++i) {
        void *n_good;
        pthread_join(threads[i], &n_good);
        assert_int_equal((size_t)n_good, 50);
    }
    const char *line = strstr(kni_buf_text(&c.lines), "2 127.0.0.1 says: once\n");
    assert_non_null(line);
    assert_null(strstr(line + 14, "says: once"));
    assert_int_equal(http_server_count(c.server), 403);
    assert_true(http_server_connections(c.server) <= 8 * 4 + 3);
    http_client_dispose(&c);
}

static size_t count_fds(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        ++n;
    closedir(dir);
    return n;
}

static void test_fds(void **state)
{
    (void)state;
    size_t before = 0;
    for (int i = 0; i < 4; ++i) {
        http_client c;
        static many m;
        char urls[100][64];
        http_client_open(&c, NULL);
        http_server_add(c.server,
                        (http_reply){.path = "/1", .head = "", .then = HTTP_RESET, .times = 2});
        http_server_add(c.server,
                        (http_reply){.path = "/2", .body = "0123", .then = HTTP_CUT, .times = 2});
        http_server_add(c.server, (http_reply){.times = -1});
        many_init(&m, &c, 20, urls);
        assert_int_equal(kni_http_run(c.http, m.pointers, 20, 4, NULL, NULL), KN_OK);
        many_dispose(&m, 20);
        http_client_dispose(&c);
        if (i == 0) // what libcurl and its TLS library keep open is open now
            before = count_fds();
    }
    assert_int_equal(count_fds(), before);
}

// A child of a fork makes sessions of its own, and the parent's connections go on.
static void test_fork(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.body = "fine", .times = -1});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    assert_int_equal(http_server_connections(c.server), 1);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const kn_status st = kni_http_get(c.http, &r, NULL, NULL);
        kni_http_request_dispose(&r);
        kni_http_free(c.http);
        _exit(st == KN_OK ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(http_server_connections(c.server), 2);
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    assert_int_equal(http_server_connections(c.server), 2);
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
        cmocka_unit_test(test_hostile_heads), cmocka_unit_test(test_many),
        cmocka_unit_test(test_cancel),        cmocka_unit_test(test_cancel_before),
        cmocka_unit_test(test_offline),       cmocka_unit_test(test_threads),
        cmocka_unit_test(test_fds),           cmocka_unit_test(test_fork),
        cmocka_unit_test(test_ipv6),          cmocka_unit_test(test_log),
        cmocka_unit_test(test_many_topics),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
