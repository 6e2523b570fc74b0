// Many requests at once: each ends by itself, all can be cancelled, threads and forks keep out of each other's way.
#include <dirent.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hub/http_client.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),          cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_before), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_fds),           cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
