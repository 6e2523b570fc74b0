// Each row runs in an environment of its own.
#include "support/fail_alloc.h"
#include "support/settings_env.h"
#include "support/temp_dir.h"

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    uint32_t flags, timeout_ms;
    bool is_offline, without_symlinks, is_verbose;
    uint32_t etag_ms, file_ms;
} values[] = {
    {"built in", {NULL}, 0, 0, false, false, false, 10000, 10000},
    {"offline", {"HF_HUB_OFFLINE=1"}, 0, 0, true, false, false, 10000, 10000},
    {"in any case",
     {"HF_HUB_OFFLINE=yEs", "HF_DEBUG=On", "HF_HUB_DISABLE_SYMLINKS=tRUE"},
     0,
     0,
     true,
     true,
     true,
     10000,
     10000},
    {"other words are no",
     {"HF_HUB_OFFLINE=2", "HF_DEBUG=y", "HF_HUB_DISABLE_SYMLINKS= 1"},
     0,
     0,
     false,
     false,
     false,
     10000,
     10000},
    {"another's variable", {"TRANSFORMERS_OFFLINE=1"}, 0, 0, true, false, false, 10000, 10000},
    {"… when ours is empty",
     {"HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=1"},
     0,
     0,
     true,
     false,
     false,
     10000,
     10000},
    {"… which 0 overrides",
     {"HF_HUB_OFFLINE=0", "TRANSFORMERS_OFFLINE=1"},
     0,
     0,
     false,
     false,
     false,
     10000,
     10000},
    {"offline by option",
     {"HF_HUB_OFFLINE=0"},
     KN_HUB_OFFLINE,
     0,
     true,
     false,
     false,
     10000,
     10000},
    {"online by option", {"HF_HUB_OFFLINE=1"}, KN_HUB_ONLINE, 0, false, false, false, 10000, 10000},
    {"timeouts",
     {"HF_HUB_ETAG_TIMEOUT=3", "HF_HUB_DOWNLOAD_TIMEOUT= 40 "},
     0,
     0,
     false,
     false,
     false,
     3000,
     40000},
    {"0 is the default",
     {"HF_HUB_ETAG_TIMEOUT=0", "HF_HUB_DOWNLOAD_TIMEOUT=0"},
     0,
     0,
     false,
     false,
     false,
     10000,
     10000},
    {"longest", {"HF_HUB_DOWNLOAD_TIMEOUT=4294967"}, 0, 0, false, false, false, 10000, 4294967000},
    {"timeout by option",
     {"HF_HUB_ETAG_TIMEOUT=3", "HF_HUB_DOWNLOAD_TIMEOUT=4"},
     0,
     250,
     false,
     false,
     false,
     250,
     250},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(values); ++i) {
        kni_settings settings;
        print_message("  %s\n", values[i].name);
        set_env(values[i].env);
        open_settings(&settings,
                      KN_HUB_OPTIONS(.flags = values[i].flags, .timeout_ms = values[i].timeout_ms));
        assert_int_equal(settings.is_offline, values[i].is_offline);
        assert_int_equal(settings.without_symlinks, values[i].without_symlinks);
        assert_int_equal(settings.is_verbose, values[i].is_verbose);
        assert_int_equal(settings.etag_timeout_ms, values[i].etag_ms);
        assert_int_equal(settings.timeout_ms, values[i].file_ms);
        assert_false(settings.follows_redirects);
        kni_settings_dispose(&settings);
    }
    kni_settings settings;
    open_settings(&settings, KN_HUB_OPTIONS(.flags = KN_HUB_FOLLOW_REDIRECTS));
    assert_true(settings.follows_redirects);
    kni_settings_dispose(&settings);
}

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    const char *http, *https, *all, *none;
} proxies[] = {
    {"none", {NULL}, NULL, NULL, NULL, NULL},
    {"lower case",
     {"http_proxy=a", "https_proxy=b", "all_proxy=c", "no_proxy=d"},
     "a",
     "b",
     "c",
     "d"},
    {"upper case",
     {"HTTP_PROXY=a", "HTTPS_PROXY=b", "ALL_PROXY=c", "NO_PROXY=d"},
     "a",
     "b",
     "c",
     "d"},
    {"lower case first", {"HTTP_PROXY=a", "http_proxy=b"}, "b", NULL, NULL, NULL},
    {"a header of a CGI client",
     {"REQUEST_METHOD=GET", "HTTP_PROXY=a", "HTTPS_PROXY=b"},
     NULL,
     "b",
     NULL,
     NULL},
    {"lower case in a CGI program", {"REQUEST_METHOD=GET", "http_proxy=a"}, "a", NULL, NULL, NULL},
};

static void test_proxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(proxies); ++i) {
        kni_settings settings;
        print_message("  %s\n", proxies[i].name);
        set_env(proxies[i].env);
        open_settings(&settings, NULL);
        is_text(settings.proxy_http, proxies[i].http);
        is_text(settings.proxy_https, proxies[i].https);
        is_text(settings.proxy_all, proxies[i].all);
        is_text(settings.no_proxy, proxies[i].none);
        kni_settings_dispose(&settings);
    }
}

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    const char *option, *before, *after; // of "libkernels/…; c/11"
    bool is_short;
} agents[] = {
    {"ours", {NULL}, NULL, "", "", false},
    {"a caller's before it", {NULL}, "app/1; torch/2", "app/1; torch/2; ", "", false},
    {"empty segments vanish", {NULL}, " ;; app/1 ; ;", "app/1; ", "", false},
    {"nothing but empty ones", {NULL}, "; ;", "", "", false},
    {"no segment twice", {NULL}, "app/1; c/11; app/1", "app/1; c/11; ", "", false},
    {"origin", {"HF_HUB_USER_AGENT_ORIGIN=o"}, NULL, "", "; origin/o", false},
    {"no telemetry", {"HF_HUB_DISABLE_TELEMETRY=1"}, "app/1", "app/1; ", "", true},
    {"no telemetry, shorter", {"DISABLE_TELEMETRY=TRUE"}, NULL, "", "", true},
    {"do not track",
     {"DO_NOT_TRACK=1", "HF_HUB_USER_AGENT_ORIGIN=o"},
     NULL,
     "",
     "; origin/o",
     true},
    {"telemetry", {"DO_NOT_TRACK=0"}, NULL, "", "", false},
};

static void test_agent(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(agents); ++i) {
        kni_settings settings;
        char expected[512];
        const bool has_std = strstr(agents[i].before, "c/11") != NULL;
        print_message("  %s\n", agents[i].name);
        set_env(agents[i].env);
        open_settings(&settings, KN_HUB_OPTIONS(.user_agent = agents[i].option));
        snprintf(expected, sizeof(expected), "%slibkernels/%s%s", agents[i].before, kn_version(),
                 has_std ? "" : "; c/11");
        assert_memory_equal(settings.user_agent, expected, strlen(expected));
        const char *rest = settings.user_agent + strlen(expected);
        if (!agents[i].is_short) {
            assert_memory_equal(rest, "; platform/", 11);
            rest = strstr(rest, "-linux; file_type/kernel");
            assert_non_null(rest);
            rest += strlen("-linux; file_type/kernel");
        }
        assert_string_equal(rest, agents[i].after);
        kni_settings_dispose(&settings);
    }
}

static const char *const relative_list[] = {"/a", "b"}, *const null_list[] = {"/a", NULL},
                         *const plain_list[] = {"http://m.example"},
                         *const null_endpoints[] = {NULL};
static const struct {
    const char *name;
    const char *env[ENV_MAX];
    kn_hub_options opts;
    const char *error[2]; // both are in the text
} refused[] = {
    {"endpoint", {"HF_ENDPOINT=huggingface.co"}, KN_HUB_OPTIONS_INIT, {"HF_ENDPOINT", "https://"}},
    {"endpoint's query",
     {"HF_ENDPOINT=https://h/?a"},
     KN_HUB_OPTIONS_INIT,
     {"HF_ENDPOINT", "no query"}},
    {"endpoint's fragment",
     {"HF_ENDPOINT=https://h/#a"},
     KN_HUB_OPTIONS_INIT,
     {"HF_ENDPOINT", "no query"}},
    {"endpoint by option",
     {NULL},
     {sizeof(kn_hub_options), .endpoint = "ftp://h"},
     {"kn_hub_options.endpoint", "ftp"}},
    {"trusted over plain http",
     {"KERNELS_TRUSTED_ENDPOINTS=https://a,http://m.example"},
     KN_HUB_OPTIONS_INIT,
     {"KERNELS_TRUSTED_ENDPOINTS", "loopback"}},
    {"trusted over plain http by option",
     {NULL},
     {sizeof(kn_hub_options), .trusted_endpoints = plain_list, .n_trusted_endpoints = 1},
     {"trusted_endpoints", "loopback"}},
    {"trusted is no URL",
     {"KERNELS_TRUSTED_ENDPOINTS=*"},
     KN_HUB_OPTIONS_INIT,
     {"KERNELS_TRUSTED_ENDPOINTS", "https://"}},
    {"trusted NULL",
     {NULL},
     {sizeof(kn_hub_options), .trusted_endpoints = null_endpoints, .n_trusted_endpoints = 1},
     {"trusted_endpoints[0]", "NULL"}},
    {"trusted without a list",
     {NULL},
     {sizeof(kn_hub_options), .n_trusted_endpoints = 1},
     {"trusted_endpoints", "is 1"}},
    {"relative cache",
     {NULL},
     {sizeof(kn_hub_options), .cache_dir = "~/c"},
     {"kn_hub_options.cache_dir", "absolute"}},
    {"empty cache",
     {NULL},
     {sizeof(kn_hub_options), .cache_dir = ""},
     {"kn_hub_options.cache_dir", "absolute"}},
    {"relative state",
     {NULL},
     {sizeof(kn_hub_options), .state_dir = "s"},
     {"kn_hub_options.state_dir", "absolute"}},
    {"relative site",
     {NULL},
     {sizeof(kn_hub_options), .site_caches = relative_list, .n_site_caches = 2},
     {"kn_hub_options.site_caches", "absolute"}},
    {"site NULL",
     {NULL},
     {sizeof(kn_hub_options), .site_caches = null_list, .n_site_caches = 2},
     {"site_caches[1]", "NULL"}},
    {"site without a list",
     {NULL},
     {sizeof(kn_hub_options), .n_site_caches = 2},
     {"site_caches", "is 2"}},
    {"control character", {"HF_HOME=/a\nb"}, KN_HUB_OPTIONS_INIT, {"HF_HOME", "control"}},
    {"nobody's home",
     {"KERNELS_CACHE=~kn-nobody-has-this-name/k"},
     KN_HUB_OPTIONS_INIT,
     {"KERNELS_CACHE", "no such home"}},
    {"timeout",
     {"HF_HUB_ETAG_TIMEOUT=1.5"},
     KN_HUB_OPTIONS_INIT,
     {"HF_HUB_ETAG_TIMEOUT", "whole number of seconds"}},
    {"negative timeout",
     {"HF_HUB_DOWNLOAD_TIMEOUT=-1"},
     KN_HUB_OPTIONS_INIT,
     {"HF_HUB_DOWNLOAD_TIMEOUT", "whole number"}},
    {"timeout too long",
     {"HF_HUB_DOWNLOAD_TIMEOUT=4294968"},
     KN_HUB_OPTIONS_INIT,
     {"HF_HUB_DOWNLOAD_TIMEOUT", "4294967"}},
    {"token", {"HF_TOKEN=x y"}, KN_HUB_OPTIONS_INIT, {"HF_TOKEN", "printable"}},
    {"token by option",
     {NULL},
     {sizeof(kn_hub_options), .token = "x\x01"},
     {"kn_hub_options.token", "printable"}},
    {"user agent",
     {NULL},
     {sizeof(kn_hub_options), .user_agent = "a\r\nX: y"},
     {"kn_hub_options.user_agent", "printable"}},
    {"origin",
     {"HF_HUB_USER_AGENT_ORIGIN=\xC3\xA9"},
     KN_HUB_OPTIONS_INIT,
     {"HF_HUB_USER_AGENT_ORIGIN", "printable"}},
    {"flags", {NULL}, {sizeof(kn_hub_options), .flags = 8}, {"flags", "0x8"}},
    {"both flags",
     {NULL},
     {sizeof(kn_hub_options), .flags = KN_HUB_OFFLINE | KN_HUB_ONLINE},
     {"flags", "exclude"}},
    {"no size", {NULL}, {.flags = 0}, {"struct_size", "KN_HUB_OPTIONS"}},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        static const kni_settings empty;
        kni_settings settings;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", refused[i].name);
        set_env(refused[i].env);
        assert_int_equal(kni_settings_init(&settings, &refused[i].opts, &err), KN_ERR_INVALID);
        assert_memory_equal(&settings, &empty, sizeof(empty));
        for (size_t k = 0; k < 2; ++k)
            if (!strstr(kn_error_text(&err), refused[i].error[k]))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), refused[i].error[k]);
        kn_error_dispose(&err);
    }
}

// A program of another release passes fewer members.
static void test_smaller_options(void **state)
{
    (void)state;
    kni_settings settings;
    kn_hub_options opts = {offsetof(kn_hub_options, token), .endpoint = "https://m.example",
                           .token = "behind", .flags = 0xFF};
    const char *token, *source;
    set_env((const char *const[ENV_MAX]){"HOME=/nowhere"});
    open_settings(&settings, &opts);
    is_text(settings.endpoint, "https://m.example");
    assert_int_equal(kni_settings_token(&settings, &token, &source, NULL), KN_OK);
    assert_null(token);
    kni_settings_dispose(&settings);
}

static kn_status run_once(void *user, kn_error *err)
{
    (void)user;
    kni_settings settings;
    const char *token, *source;
    kn_status st = kni_settings_init(&settings, NULL, err);
    if (st != KN_OK)
        return st;
    st = kni_settings_token(&settings, &token, &source, err);
    kni_settings_dispose(&settings);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), home[4096];
    temp_dir_text(dir, "token", "hf_y");
    snprintf(home, sizeof(home), "HF_HOME=%s", dir);
    set_env((const char *const[ENV_MAX]){home, "http_proxy=a", "SSL_CERT_FILE=/a",
                                         "KERNELS_SITE_CACHES=/a:~/b", "HOME=/h",
                                         "KERNELS_TRUSTED_ENDPOINTS=https://a,https://b"});
    setenv("HF_HUB_USER_AGENT_ORIGIN", "o", 1);
    assert_true(fail_alloc_each(FAIL_OURS, run_once, NULL) > 30);
    unsetenv("HOME"); // the system's list
    fail_alloc_each(FAIL_OURS, run_once, NULL);
    temp_dir_remove(dir);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),          cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_agent),           cmocka_unit_test(test_refused),
        cmocka_unit_test(test_smaller_options), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
