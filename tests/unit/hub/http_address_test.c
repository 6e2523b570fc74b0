// Which addresses are near, who may be connected to, and which proxy is asked.
#include "hub/http_address.h"

#include "hub/http_client.h"
#include "hub/http_job.h"

// A resolver that sends "localhost" elsewhere gets no connection that carries the token over http.
static void test_may_connect(void **state)
{
    (void)state;
    static const struct {
        const char *url, *address;
        bool is_endpoint, sends_token, via_proxy, may;
    } rows[] = {
        {"http://localhost", "127.0.0.1", true, true, false, true},
        {"http://localhost", "::1", true, true, false, true},
        {"http://localhost", "8.8.8.8", true, true, false, false},
        {"http://localhost", "8.8.8.8", true, false, false, true},
        {"https://localhost", "8.8.8.8", true, true, false, true},
        {"https://hub.example", "10.0.0.1", true, true, false, true},
        {"https://cdn.example", "8.8.8.8", false, false, false, true},
        {"https://cdn.example", "10.0.0.1", false, false, false, false},
        {"https://cdn.example", "127.0.0.1", false, false, false, false},
        {"https://cdn.example", "127.0.0.1", false, false, true, true},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_http http = {.nearness = KNI_NEAR_UNKNOWN};
        kni_job job = {.http = &http,
                       .is_endpoint = rows[i].is_endpoint,
                       .sends_token = rows[i].sends_token,
                       .via_proxy = rows[i].via_proxy};
        struct sockaddr_storage address;
        print_message("  %s %s\n", rows[i].url, rows[i].address);
        assert_int_equal(kni_url_parse(rows[i].url, "url", &job.url, NULL), KN_OK);
        assert_int_equal(kni_url_parse("https://hub.example", "url", &http.endpoint, NULL), KN_OK);
        assert_true(kni_address_parse(rows[i].address, &address));
        assert_int_equal(kni_job_may_connect(&job, (const struct sockaddr *)&address), rows[i].may);
        if (!rows[i].is_endpoint &&
            !rows[i].via_proxy) { // an endpoint that is in a private network
            http.nearness = KNI_NEAR_PRIVATE;
            assert_int_equal(kni_job_may_connect(&job, (const struct sockaddr *)&address),
                             !kni_address_is_loopback((const struct sockaddr *)&address));
        }
        kni_url_dispose(&job.url);
        kni_url_dispose(&http.endpoint);
    }
}

// The settings say which proxy, not the environment behind their back.
static void test_environment(void **state)
{
    (void)state;
    http_client c;
    http_client_open(&c, NULL);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    http_server_add(c.server, (http_reply){.body = "this"});
    kni_http_request r = {.url = http_server_url(c.server, "127.0.0.1", "/x")};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
    unsetenv("http_proxy");
    unsetenv("all_proxy");

    // Nor which hosts need none.
    http_client_init(&c, "http://hub.example", NULL);
    c.settings.proxy_http = kni_strdup(http_server_url(c.server, "127.0.0.1", ""));
    http_client_start(&c);
    setenv("no_proxy", "hub.example", 1);
    http_server_add(c.server, (http_reply){.body = "this"});
    r = (kni_http_request){.url = "http://hub.example/x"};
    assert_int_equal(kni_http_get(c.http, &r, NULL, NULL), KN_OK);
    kni_http_request_dispose(&r);
    http_client_dispose(&c);
    unsetenv("no_proxy");
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        kni_nearness nearness;
        bool loopback;
    } rows[] = {
        {"8.8.8.8", KNI_NEAR_PUBLIC, false},
        {"9.255.255.255", KNI_NEAR_PUBLIC, false},
        {"10.0.0.0", KNI_NEAR_PRIVATE, false},
        {"11.0.0.0", KNI_NEAR_PUBLIC, false},
        {"172.15.255.255", KNI_NEAR_PUBLIC, false},
        {"172.16.0.0", KNI_NEAR_PRIVATE, false},
        {"172.31.255.255", KNI_NEAR_PRIVATE, false},
        {"172.32.0.0", KNI_NEAR_PUBLIC, false},
        {"192.168.1.1", KNI_NEAR_PRIVATE, false},
        {"192.169.0.0", KNI_NEAR_PUBLIC, false},
        {"100.64.0.1", KNI_NEAR_PRIVATE, false},
        {"100.128.0.1", KNI_NEAR_PUBLIC, false},
        {"198.19.0.1", KNI_NEAR_PRIVATE, false},
        {"0.0.0.0", KNI_NEAR_SELF, false},
        {"127.0.0.1", KNI_NEAR_SELF, true},
        {"127.255.0.1", KNI_NEAR_SELF, true},
        {"169.254.169.254", KNI_NEAR_SELF, false},
        {"223.255.255.255", KNI_NEAR_PUBLIC, false},
        {"224.0.0.1", KNI_NEAR_SELF, false},
        {"255.255.255.255", KNI_NEAR_SELF, false},
        {"::", KNI_NEAR_SELF, false},
        {"::1", KNI_NEAR_SELF, true},
        {"::2", KNI_NEAR_SELF, false},
        {"2001:4860::8888", KNI_NEAR_PUBLIC, false},
        {"fc00::1", KNI_NEAR_PRIVATE, false},
        {"fdff::1", KNI_NEAR_PRIVATE, false},
        {"fe00::1", KNI_NEAR_PUBLIC, false},
        {"fe80::1", KNI_NEAR_SELF, false},
        {"febf::1", KNI_NEAR_SELF, false},
        {"fec0::1", KNI_NEAR_PRIVATE, false},
        {"ff02::1", KNI_NEAR_SELF, false},
        {"::ffff:127.0.0.1", KNI_NEAR_SELF, true},
        {"::ffff:10.0.0.1", KNI_NEAR_PRIVATE, false},
        {"::ffff:8.8.8.8", KNI_NEAR_PUBLIC, false},
        {"::127.0.0.1", KNI_NEAR_SELF, false},
        {"64:ff9b::10.0.0.1", KNI_NEAR_PRIVATE, false},
        {"64:ff9b::8.8.8.8", KNI_NEAR_PUBLIC, false},
        {"2002:7f00:1::", KNI_NEAR_SELF, false},
        {"2002:808:808::", KNI_NEAR_PUBLIC, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        struct sockaddr_storage address;
        print_message("  %s\n", rows[i].text);
        assert_true(kni_address_parse(rows[i].text, &address));
        const struct sockaddr *a = (const struct sockaddr *)&address;
        assert_int_equal(kni_address_nearness(a), rows[i].nearness);
        assert_int_equal(kni_address_is_loopback(a), rows[i].loopback);
    }
    struct sockaddr_storage address;
    assert_false(kni_address_parse("localhost", &address));
    assert_int_equal(kni_address_nearness(&(struct sockaddr){.sa_family = AF_UNIX}), KNI_NEAR_SELF);
}

static void test_no_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *no_proxy, *url;
        bool direct;
    } rows[] = {
        {NULL, "http://a.example/", false},
        {"", "http://a.example/", false},
        {"*", "http://a.example/", true},
        {"a.example", "http://a.example/", true},
        {"A.Example", "http://a.example/", true},
        {"b.example,a.example", "http://a.example/", true},
        {"b.example a.example", "http://a.example/", true},
        {" b.example , a.example ", "http://a.example/", true},
        {"example", "http://a.example/", true},
        {".example", "http://a.example/", true},
        {".example", "http://example/", true},
        {"a.example", "http://ba.example/", false},
        {"xample", "http://a.example/", false},
        {"a.example:80", "http://a.example/", true},
        {"a.example:81", "http://a.example/", false},
        {"a.example:x", "http://a.example/", false},
        {":80", "http://a.example/", false},
        {"127.0.0.1", "http://127.0.0.1:8/", true},
        {"127.0.0.1:8", "http://127.0.0.1:8/", true},
        {"127.0.0.1:9", "http://127.0.0.1:8/", false},
        {"127.0.0.0/8", "http://127.1.2.3/", true},
        {"127.0.0.0/33", "http://127.1.2.3/", false},
        {"127.0.0.0/", "http://127.1.2.3/", false},
        {"10.0.0.0/8", "http://127.1.2.3/", false},
        {"::1", "http://[::1]/", true},
        {"[::1]", "http://[::1]/", true},
        {"[::1]:80", "http://[::1]/", true},
        {"[::1]:81", "http://[::1]/", false},
        {"fd00::/8", "http://[fd12::1]/", true},
        {",,", "http://a.example/", false},
        {".", "http://a.example/", false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char no_proxy[64], all[] = "http://proxy:1";
        kni_url url;
        print_message("  %s %s\n", rows[i].no_proxy ? rows[i].no_proxy : "-", rows[i].url);
        snprintf(no_proxy, sizeof(no_proxy), "%s", rows[i].no_proxy ? rows[i].no_proxy : "");
        kni_settings settings = {.proxy_all = all, .no_proxy = rows[i].no_proxy ? no_proxy : NULL};
        assert_int_equal(kni_url_parse(rows[i].url, "url", &url, NULL), KN_OK);
        assert_int_equal(kni_proxy_for(&settings, &url) == NULL, rows[i].direct);
        kni_url_dispose(&url);
    }
    char http[] = "h", https[] = "s", all[] = "a", empty[] = "";
    kni_settings settings = {.proxy_http = http, .proxy_https = https, .proxy_all = all};
    kni_url plain, tls;
    assert_int_equal(kni_url_parse("http://x", "url", &plain, NULL), KN_OK);
    assert_int_equal(kni_url_parse("https://x", "url", &tls, NULL), KN_OK);
    assert_string_equal(kni_proxy_for(&settings, &plain), "h");
    assert_string_equal(kni_proxy_for(&settings, &tls), "s");
    settings.proxy_http = NULL;
    assert_string_equal(kni_proxy_for(&settings, &plain), "a");
    settings.proxy_https = empty;
    assert_null(kni_proxy_for(&settings, &tls));
    kni_url_dispose(&plain);
    kni_url_dispose(&tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_may_connect),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
