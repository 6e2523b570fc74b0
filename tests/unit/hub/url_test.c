#include "hub/url.h"

#include "base/alloc.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *given, *text, *host;
        int port;
    } rows[] = {
        {"https://huggingface.co", "https://huggingface.co", "huggingface.co", 443},
        {"HTTPS://HuggingFace.CO/Api", "https://huggingface.co/Api", "huggingface.co", 443},
        {"https://a.b:443/x", "https://a.b/x", "a.b", 443},
        {"http://a.b:80", "http://a.b", "a.b", 80},
        {"http://a.b:443/", "http://a.b:443/", "a.b", 443},
        {"http://a.b:/x", "http://a.b/x", "a.b", 80},
        {"http://127.0.0.1:8080/x?q=1#part", "http://127.0.0.1:8080/x?q=1", "127.0.0.1", 8080},
        {"http://[::1]:9/", "http://[::1]:9/", "::1", 9},
        {"http://[0:0::0:1]", "http://[::1]", "::1", 80},
        {"http://[2001:DB8::1]/", "http://[2001:db8::1]/", "2001:db8::1", 80},
        {"http://a_b-c.d1", "http://a_b-c.d1", "a_b-c.d1", 80},
        {"http://7zip-box:8080", "http://7zip-box:8080", "7zip-box", 8080},
        {"http://1.2x", "http://1.2x", "1.2x", 80},
        {"http://h?x=/../y", "http://h?x=/../y", "h", 80},
        {"http://h/a/./b/../c", "http://h/a/c", "h", 80},
        {"http://h/../..", "http://h/", "h", 80},
        {"http://h/a/..//b/.", "http://h//b/", "h", 80},
        {"http://h/%2e%2E/a", "http://h/%2e%2E/a", "h", 80},
        {"http://h/\xC3\xA9?\xC3\xA9", "http://h/%C3%A9?%C3%A9", "h", 80},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_url url, again;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].given);
        assert_int_equal(kni_url_parse(rows[i].given, "endpoint", &url, &err), KN_OK);
        assert_string_equal(url.text, rows[i].text);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.scheme, rows[i].text[4] == 's' ? "https" : "http");
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(kni_url_parse(url.text, "endpoint", &again, &err), KN_OK);
        assert_string_equal(again.text, url.text);
        assert_true(kni_url_same_origin(&url, &again));
        kni_url_dispose(&url);
        kni_url_dispose(&again);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *given, *error;
    } rows[] = {
        {"", "endpoint: \"\" must begin with https:// or http://"},
        {"huggingface.co", "endpoint: \"huggingface.co\" must begin with https:// or http://"},
        {"ftp://h/x", "endpoint: \"ftp://h/x\" must begin with"},
        {"file:///etc/passwd", "endpoint: \"file:///etc/passwd\" must begin with"},
        {"http:/h", "endpoint: \"http:/h\" names no host"},
        {"http:h", "endpoint: \"http:h\" names no host"},
        {"http://", "endpoint: \"http://\" names no host"},
        {"http:///x", "endpoint: \"http:///x\" names no host"},
        {"http://?x", "endpoint: \"http://\" names no host"},
        {"http://me:secret@h/x?sig", "endpoint: \"http://h/x\" holds a user name or password"},
        {"http://h@", "endpoint: \"http://\" holds a user name or password"},
        {"http://h:0", "endpoint: \"http://h:0\" has no port"},
        {"http://h:65536", "endpoint: \"http://h:65536\" has no port"},
        {"http://h:8x", "endpoint: \"http://h:8x\" has no port"},
        {"http://h:+8", "endpoint: \"http://h:+8\" has no port"},
        {"http://:80", "endpoint: \"http://:80\" has no host name"},
        {"http://a..b", "endpoint: \"http://a..b\" has no host name"},
        {"http://a.", "endpoint: \"http://a.\" has no host name"},
        {"http://.a", "endpoint: \"http://.a\" has no host name"},
        {"http://a%2eb", "endpoint: \"http://a%2eb\" has no host name"},
        {"http://b\xC3\xBC", "endpoint: \"http://b\xC3\xBC\" has no host name"},
        {"http://127.1", "endpoint: \"http://127.1\" has no host name"},
        {"http://2130706433", "endpoint: \"http://2130706433\" has no host name"},
        {"http://0x7f000001", "endpoint: \"http://0x7f000001\" has no host name"},
        {"http://1.0x", "endpoint: \"http://1.0x\" has no host name"},
        {"http://127.0.0.1.1", "endpoint: \"http://127.0.0.1.1\" has no host name"},
        {"http://256.0.0.1", "endpoint: \"http://256.0.0.1\" has no host name"},
        {"http://::1", "endpoint: \"http://::1\" has no host name"},
        {"http://[::1", "endpoint: \"http://[::1\" has no"},
        {"http://[::1]x", "endpoint: \"http://[::1]x\" has no host name"},
        {"http://[fe80::1%25eth0]", "endpoint: \"http://[fe80::1%25eth0]\" has no host name"},
        {"http://[127.0.0.1]", "endpoint: \"http://[127.0.0.1]\" has no host name"},
        {"http://h/a b", "endpoint: a URL with the byte 0x20 at 10"},
        {"http://h/\r\nX: y", "endpoint: a URL with the byte 0x0D at 9"},
        {"http://h/\x7F", "endpoint: a URL with the byte 0x7F at 9"},
        {"http://good\\@evil/", "endpoint: a URL with the byte 0x5C at 11"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_url url = {.port = 1};
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].given);
        assert_int_equal(kni_url_parse(rows[i].given, "endpoint", &url, &err), KN_ERR_INVALID);
        assert_null(url.text);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        assert_null(strstr(kn_error_text(&err), "secret"));
        kn_error_dispose(&err);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    static char text[20000];
    kni_url url;
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "http://h/", 9);
    assert_int_equal(kni_url_parse(text, "x", &url, NULL), KN_ERR_INVALID);
    text[16384] = '\0';
    assert_int_equal(kni_url_parse(text, "x", &url, NULL), KN_OK);
    kni_url_dispose(&url);
    text[16383] = '\xE9'; // becomes three bytes
    assert_int_equal(kni_url_parse(text, "x", &url, NULL), KN_ERR_INVALID);
    memset(text + 7, 'a', 64);
    text[71] = '\0'; // a label of 64
    assert_int_equal(kni_url_parse(text, "x", &url, NULL), KN_ERR_INVALID);
    text[70] = '\0';
    assert_int_equal(kni_url_parse(text, "x", &url, NULL), KN_OK);
    kni_url_dispose(&url);
}

// RFC 3986 5.4, where it speaks of http, and what is refused.
static void test_join(void **state)
{
    (void)state;
    static const struct {
        const char *location, *text; // NULL: refused
    } rows[] = {
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {"g?y#s", "http://a/b/c/g?y"},
        {";x", "http://a/b/c/;x"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g..", "http://a/b/c/g.."},
        {"..g", "http://a/b/c/..g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g?y/./x", "http://a/b/c/g?y/./x"},
        {"https://x:8/y?sig=1%2F2", "https://x:8/y?sig=1%2F2"},
        {"//x:8/y", "http://x:8/y"},
        {"http:g", NULL},
        {"g:h", NULL},
        {"javascript:alert(1)", NULL},
        {"file:///etc/passwd", NULL},
        {"//me@h/", NULL},
        {"/a b", NULL},
        {"/a\nX: y", NULL},
        {"/\\evil", NULL},
    };
    kni_url base;
    assert_int_equal(kni_url_parse("http://a/b/c/d;p?q", "base", &base, NULL), KN_OK);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_url url;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].location);
        const kn_status st = kni_url_join(&base, rows[i].location, &url, &err);
        assert_int_equal(st, rows[i].text ? KN_OK : KN_ERR_INVALID);
        if (rows[i].text)
            assert_string_equal(url.text, rows[i].text);
        else
            assert_int_equal(strncmp(kn_error_text(&err), "Location: ", 10), 0);
        kn_error_dispose(&err);
        kni_url_dispose(&url);
    }
    kni_url_dispose(&base);

    kni_url url; // nothing after the host
    assert_int_equal(kni_url_parse("http://[::1]:8", "base", &base, NULL), KN_OK);
    assert_int_equal(kni_url_join(&base, "g", &url, NULL), KN_OK);
    assert_string_equal(url.text, "http://[::1]:8/g");
    kni_url_dispose(&url);
    kni_url_dispose(&base);
}

static void test_origin(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same, a_is_loopback;
    } rows[] = {
        {"http://localhost/a", "http://LOCALHOST:80/b", true, true},
        {"http://localhost", "http://127.0.0.1", false, true},
        {"http://127.0.0.1:1", "http://127.0.0.1:2", false, true},
        {"http://127.9.9.9:1", "https://127.9.9.9:1", false, true},
        {"http://[::1]", "http://[0::1]", true, true},
        {"http://h", "https://h", false, false},
        {"https://h", "https://h.x", false, false},
        {"http://localhost.evil", "http://localhost.evil", true, false},
        {"http://128.0.0.1", "http://128.0.0.1", true, false},
        {"http://[::2]", "http://[::2]:80", true, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_url a, b;
        print_message("  %s %s\n", rows[i].a, rows[i].b);
        assert_int_equal(kni_url_parse(rows[i].a, "a", &a, NULL), KN_OK);
        assert_int_equal(kni_url_parse(rows[i].b, "b", &b, NULL), KN_OK);
        assert_int_equal(kni_url_same_origin(&a, &b), rows[i].same);
        assert_int_equal(kni_url_is_loopback(&a), rows[i].a_is_loopback);
        kni_url_dispose(&a);
        kni_url_dispose(&b);
    }
}

static void test_for_people(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"https://h/x?sig=secret#y", "https://h/x"},
        {"http://me:secret@h:8/x", "http://h:8/x"},
        {"http://a@b@h/@x", "http://h/@x"},
        {"no url", "no url"},
        {"?secret", ""},
        {"", ""},
        {"http://h/\x1B[31m", "http://h/\xEF\xBF\xBD[31m"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *text = kni_url_for_people(rows[i][0]);
        assert_string_equal(text, rows[i][1]);
        kni_free(text);
    }
    char lengthy[1000];
    memset(lengthy, 'a', sizeof(lengthy));
    lengthy[sizeof(lengthy) - 1] = '\0';
    char *text = kni_url_for_people(lengthy);
    assert_int_equal(strlen(text), 303);
    kni_free(text);
}

static kn_status run(void *user, kn_error *err)
{
    kni_url url, next = {0};
    (void)user;
    kn_status st = kni_url_parse("http://h/a/b?c", "x", &url, err);
    if (st == KN_OK)
        st = kni_url_join(&url, "../d", &next, err);
    kni_url_dispose(&url);
    kni_url_dispose(&next);
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
        cmocka_unit_test(test_parse),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_join),
        cmocka_unit_test(test_origin),   cmocka_unit_test(test_for_people),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
