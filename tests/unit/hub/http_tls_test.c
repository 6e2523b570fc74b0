// TLS and HTTP/2 against a server in Python, with certificates that are made here.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/http_client.h"
#include "support/temp_dir.h"

static char *dir; // of the certificates

static void make_certificate(const char *name, const char *names)
{
    char command[2048];
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
             "-keyout %s/%s.key -out %s/%s.pem -subj /CN=%s -addext subjectAltName=%s 2>%s/%s.log",
             dir, name, dir, name, name, names, dir, name);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    (void)state;
    dir = temp_dir_new();
    make_certificate("here", "DNS:localhost,IP:127.0.0.1");
    make_certificate("elsewhere", "DNS:hub.example");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

typedef struct tls_server {
    pid_t pid;
    int in; // closed to end it
    int port;
} tls_server;

// actions: with spaces between.
static void tls_server_start(tls_server *server, const char *certificate, const char *protocol,
                             const char *actions)
{
    int in[2], out[2];
    char pem[512], key[512], text[16] = "", words[1024], *argv[32] = {0};
    size_t n = 0;
    snprintf(pem, sizeof(pem), "%s/%s.pem", dir, certificate);
    snprintf(key, sizeof(key), "%s/%s.key", dir, certificate);
    snprintf(words, sizeof(words), "%s", actions);
    argv[n++] = (char *)(uintptr_t) "python3";
    argv[n++] = (char *)(uintptr_t)KN_TEST_FIXTURES "/../unit/support/tls_server.py";
    argv[n++] = pem;
    argv[n++] = key;
    argv[n++] = (char *)(uintptr_t)protocol;
    for (char *word = strtok(words, " "); word && n < 31; word = strtok(NULL, " "))
        argv[n++] = word;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server->in = in[1];
    for (size_t k = 0; !strchr(text, '\n'); ++k)
        assert_true(k < sizeof(text) - 1 && read(out[0], text + k, 1) == 1);
    close(out[0]);
    server->port = atoi(text);
    assert_true(server->port > 0);
}

static void tls_server_stop(tls_server *server)
{
    int status;
    close(server->in);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
}

// A client whose endpoint it is; roots NULL: the system's.
static void client_open(http_client *c, const tls_server *server, const char *roots)
{
    char endpoint[64], path[512];
    snprintf(endpoint, sizeof(endpoint), "https://127.0.0.1:%d", server->port);
    http_client_init(c, endpoint, "hf_secret");
    if (roots) {
        snprintf(path, sizeof(path), "%s/%s.pem", dir, roots);
        c->settings.ca_file = kni_strdup(path);
    }
    http_client_start(c);
}

static void test_certificates(void **state)
{
    (void)state;
    static const struct {
        const char *name, *certificate, *roots;
        kn_status status;
        const char *error;
    } rows[] = {
        {"known", "here", "here", KN_OK, NULL},
        {"unknown", "here", NULL, KN_ERR_NETWORK, "certificate"},
        {"of another root", "here", "elsewhere", KN_ERR_NETWORK, "certificate"},
        {"of another host", "elsewhere", "elsewhere", KN_ERR_NETWORK, "127.0.0.1"},
        {"no such file of roots", "here", "nothing", KN_ERR_NETWORK, "nothing.pem"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        tls_server server;
        char url[64];
        print_message("  %s\n", rows[i].name);
        tls_server_start(&server, rows[i].certificate, "http/1.1", "echo");
        client_open(&c, &server, rows[i].roots);
        snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", server.port);
        kni_http_request r = {.url = url, .with_token = true};
        const kn_status st = kni_http_get(c.http, &r, NULL, NULL);
        if (st != rows[i].status)
            fail_msg("status %d: %s", st, kn_error_text(&r.error));
        if (st == KN_OK) {
            assert_string_equal(kni_buf_text(&r.body), "token");
        } else {
            assert_int_equal(r.answer.n_sent, 1); // it does not pass by itself
            if (!strstr(r.error.text, rows[i].error) ||
                !strstr(r.error.text, "certificates are checked against the system's, or those of "
                                      "SSL_CERT_FILE and SSL_CERT_DIR"))
                fail_msg("said: %s", r.error.text);
        }
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
        tls_server_stop(&server);
    }
}

static void test_no_tls(void **state)
{
    (void)state;
    http_client c;
    char url[64];
    http_client_open(&c, NULL);
    http_server_add(c.server, (http_reply){.head = "", .then = HTTP_CLOSE, .times = -1});
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", http_server_port(c.server));
    kni_http_request r = {.url = url, .subject = "o/n", .is_optional = true};
    // Neither side says anything that the other one understands.
    c.settings.etag_timeout_ms = 300;
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_NETWORK);
    assert_int_equal(strncmp(r.error.text, "o/n: GET https://127.0.0.1:", 27), 0);
    assert_int_equal(r.answer.kind, KNI_HTTP_NO_ANSWER);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
}

// From https to http nobody is led, not even to this machine.
static void test_downgrade(void **state)
{
    (void)state;
    http_client c;
    tls_server server;
    char url[64], action[256];
    http_server *plain = http_server_new();
    snprintf(action, sizeof(action), "to=%s", http_server_url(plain, "127.0.0.1", "/y?sig"));
    tls_server_start(&server, "here", "http/1.1", action);
    client_open(&c, &server, "here");
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", server.port);
    kni_http_request r = {.url = url, .any_origin = true};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(r.error.text, "/x: redirects from https to http://127.0.0.1:"));
    assert_non_null(strstr(r.error.text, "/y, which is not followed"));
    assert_int_equal(http_server_connections(plain), 0);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
    tls_server_stop(&server);
    http_server_free(plain);
}

// Many requests share a connection.
static void test_h2_many(void **state)
{
    (void)state;
    enum { N = 40 };
    http_client c;
    tls_server server;
    char url[64];
    kni_http_request requests[N], *pointers[N];
    tls_server_start(&server, "here", "h2", "ok");
    client_open(&c, &server, "here");
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", server.port);
    for (size_t i = 0; i < N; ++i) {
        requests[i] = (kni_http_request){.url = url};
        pointers[i] = &requests[i];
    }
    assert_int_equal(kni_http_run(c.http, pointers, N, 16, NULL, NULL), KN_OK);
    for (size_t i = 0; i < N; ++i) {
        if (requests[i].status != KN_OK)
            fail_msg("%s", requests[i].error.text);
        assert_string_equal(kni_buf_text(&requests[i].body), "0123456789");
        kni_http_request_dispose(&requests[i]);
    }
    assert_int_equal(kni_http_n_connections(c.http), 1);
    http_client_dispose(&c);
    tls_server_stop(&server);
}

// A connection that went dead is not asked again: the network may have changed under it.
static void test_h2_dead(void **state)
{
    (void)state;
    http_client c;
    tls_server server;
    char url[64];
    tls_server_start(&server, "here", "h2", "ok mute ok");
    client_open(&c, &server, "here");
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", server.port);
    for (unsigned i = 1; i <= 5; ++i) {
        kni_http_request r = {.url = url};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
        assert_int_equal(r.answer.n_sent, i == 2 ? 2 : 1);
        assert_int_equal(kni_http_n_connections(c.http), i == 1 ? 1 : 2);
        kni_http_request_dispose(&r);
        c.settings.etag_timeout_ms = 1500;
    }
    http_client_dispose(&c);
    tls_server_stop(&server);
}

// What ends a stream or its connection is tried again, at the byte where it broke.
static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *name, *protocol, *actions;
        kn_status status;
        unsigned n_sent;
    } rows[] = {
        {"cut", "http/1.1", "cut part", KN_OK, 2},
        {"reset before anything", "h2", "refuse ok", KN_OK, 2},
        {"reset within the body", "h2", "reset part", KN_OK, 2},
        {"goaway", "h2", "goaway ok", KN_OK, 2},
        {"cut, by HTTP/2", "h2", "cut part", KN_OK, 2},
        {"always reset", "h2", "refuse", KN_ERR_NETWORK, 6},
        {"always goaway", "h2", "goaway", KN_ERR_NETWORK, 6},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        http_sink sink = HTTP_SINK;
        tls_server server;
        char url[64];
        print_message("  %s\n", rows[i].name);
        tls_server_start(&server, "here", rows[i].protocol, rows[i].actions);
        client_open(&c, &server, "here");
        snprintf(url, sizeof(url), "https://127.0.0.1:%d/x", server.port);
        kni_http_request r = http_file(url, &sink, 10);
        const kn_status st = kni_http_get(c.http, &r, NULL, NULL);
        if (st != rows[i].status)
            fail_msg("status %d: %s", st, kn_error_text(&r.error));
        assert_int_equal(r.answer.n_sent, rows[i].n_sent);
        if (st == KN_OK)
            assert_string_equal(kni_buf_text(&sink.bytes), "0123456789");
        kni_buf_dispose(&sink.bytes);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
        tls_server_stop(&server);
    }
}

// A proxy gets neither the token nor more than a CONNECT; what it says is told.
static void test_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *head, *error;
    } rows[] = {
        {"HTTP/1.1 407 Oh\r\n", "the proxy answers with status 407: check it (HTTPS_PROXY"},
        {"HTTP/1.1 403 Oh\r\n", "the proxy answers with status 403: check it (HTTPS_PROXY"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        http_client_init(&c, "https://hub.example", "hf_secret");
        c.settings.proxy_https = kni_strdup(http_server_url(c.server, "127.0.0.1", ""));
        http_client_start(&c);
        http_server_add(c.server, (http_reply){.head = rows[i].head, .times = -1});
        kni_http_request r = {.url = "https://hub.example/x", .with_token = true};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_NETWORK);
        if (!strstr(r.error.text, rows[i].error))
            fail_msg("said: %s", r.error.text);
        assert_int_equal(r.answer.n_sent, 1);
        const char *request = http_server_request(c.server, 0);
        assert_int_equal(strncmp(request, "CONNECT hub.example:443 HTTP/1.1\r\n", 34), 0);
        assert_null(strstr(request, "hf_secret"));
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

// The proxy is what failed, and is named; its password is not.
static void test_bad_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *proxy, *error;
    } rows[] = {
        {"http://no-such-host.invalid:8080", "Could not resolve proxy: no-such-host.invalid (2 "
                                             "tries): check the proxy (HTTPS_PROXY"},
        {"http://127.0.0.1:1", "cannot connect to the proxy http://127.0.0.1:1: Connection refused "
                               "(6 tries): check the proxy (HTTPS_PROXY"},
        {"u:secret@127.0.0.1:1", "cannot connect to the proxy 127.0.0.1:1: Connection refused (6 "
                                 "tries): check the proxy (HTTPS_PROXY"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        http_client c;
        http_client_init(&c, "https://hub.example", NULL);
        c.settings.proxy_all = kni_strdup(rows[i].proxy);
        http_client_start(&c);
        kni_http_request r = {.url = "https://hub.example/x"};
        assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_ERR_NETWORK);
        if (!strstr(r.error.text, rows[i].error) || strstr(r.error.text, "secret"))
            fail_msg("said: %s", r.error.text);
        kni_http_request_dispose(&r);
        http_client_dispose(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates), cmocka_unit_test(test_no_tls),
        cmocka_unit_test(test_downgrade),    cmocka_unit_test(test_h2_many),
        cmocka_unit_test(test_h2_dead),      cmocka_unit_test(test_broken),
        cmocka_unit_test(test_proxy),        cmocka_unit_test(test_bad_proxy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
