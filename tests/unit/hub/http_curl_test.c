// Machines without libcurl, or with another build of it: this program runs itself with a search path where the names lead to no
// library.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/http_client.h"
#include "support/temp_dir.h"

// What a child does: one request; its error goes to the standard output.
static int request(const char *url)
{
    http_client c;
    kn_error err = KN_ERROR_INIT;
    http_client_init(&c, url, NULL);
    http_client_start(&c);
    kni_http_request r = {.url = url, .subject = "o/n"};
    const kn_status st = kni_http_get(c.http, &r, NULL, &err);
    printf("%d %s\n", (int)st, st == KN_OK ? kni_buf_text(&r.body) : kn_error_text(&err));
    kn_error_dispose(&err);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
    return 0;
}

static void run_with(const char *dir, const char *url, char *out, size_t size)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fds[1], 1);
        setenv("LD_LIBRARY_PATH", dir, 1);
        setenv("HTTP_CURL_TEST_URL", url, 1);
        execl("/proc/self/exe", "test", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    size_t n = 0;
    ssize_t got;
    while (n < size - 1 && (got = read(fds[0], out + n, size - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(fds[0]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_missing(void **state)
{
    (void)state;
    char said[4096];
    char *dir = temp_dir_new();
    http_server *server = http_server_new();
    const char *url = http_server_url(server, "127.0.0.1", "/x");
    http_server_add(server, (http_reply){.body = "fine", .times = -1});
    temp_dir_text(dir, "libcurl.so.4", "no library");
    run_with(dir, url, said, sizeof(said)); // the build with GnuTLS where there is one
    if (strcmp(said, "0 fine\n") != 0)
        assert_non_null(strstr(said, "6 o/n: the hub needs libcurl, which cannot be opened"));

    temp_dir_text(dir, "libcurl-gnutls.so.4", "no library");
    temp_dir_text(dir, "libcurl-nss.so.4", "no library");
    run_with(dir, url, said, sizeof(said));
    assert_int_equal(strncmp(said, "6 o/n: the hub needs libcurl, which cannot be opened (", 54),
                     0);
    assert_non_null(strstr(said, "libcurl.so.4"));
    assert_non_null(
        strstr(said, "install the package libcurl4 (Debian, Ubuntu) or libcurl (Fedora"));
    http_server_free(server);
    temp_dir_remove(dir);
}

int main(void)
{
    const char *url = getenv("HTTP_CURL_TEST_URL");
    if (url)
        return request(url);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
