// Which endpoint is asked, and whether what it says of publishers counts.
#include "support/settings_env.h"

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    const char *option;
    const char *trusted[3]; // option
    const char *endpoint;
    bool is_trusted;
} endpoints[] = {
    {"built in", {NULL}, NULL, {NULL}, "https://huggingface.co", true},
    {"variable", {"HF_ENDPOINT=https://m.example/"}, NULL, {NULL}, "https://m.example", false},
    {"empty variable", {"HF_ENDPOINT="}, NULL, {NULL}, "https://huggingface.co", true},
    {"one way to write it",
     {"HF_ENDPOINT=HTTPS://HuggingFace.co:443//"},
     NULL,
     {NULL},
     "https://huggingface.co",
     true},
    {"another port",
     {"HF_ENDPOINT=https://huggingface.co:444"},
     NULL,
     {NULL},
     "https://huggingface.co:444",
     false},
    {"plain http",
     {"HF_ENDPOINT=http://huggingface.co"},
     NULL,
     {NULL},
     "http://huggingface.co",
     false},
    {"a path", {"HF_ENDPOINT=https://m.example/hf/"}, NULL, {NULL}, "https://m.example/hf", false},
    {"a path is another endpoint",
     {"HF_ENDPOINT=https://huggingface.co/x"},
     NULL,
     {NULL},
     "https://huggingface.co/x",
     false},
    {"option",
     {"HF_ENDPOINT=https://m.example"},
     "https://o.example",
     {NULL},
     "https://o.example",
     false},
    {"staging",
     {"HF_ENDPOINT=https://m.example", "HUGGINGFACE_CO_STAGING=yes"},
     NULL,
     {NULL},
     "https://hub-ci.huggingface.co",
     false},
    {"option over staging",
     {"HUGGINGFACE_CO_STAGING=1"},
     "https://o.example",
     {NULL},
     "https://o.example",
     false},
    {"trusted by variable",
     {"HF_ENDPOINT=https://m.example",
      "KERNELS_TRUSTED_ENDPOINTS= https://x.example ,, https://m.example/ "},
     NULL,
     {NULL},
     "https://m.example",
     true},
    {"the built-in one stays trusted",
     {"KERNELS_TRUSTED_ENDPOINTS=https://m.example"},
     NULL,
     {NULL},
     "https://huggingface.co",
     true},
    {"trusted by option",
     {"HF_ENDPOINT=https://m.example"},
     NULL,
     {"https://m.example"},
     "https://m.example",
     true},
    {"option over variable",
     {"HF_ENDPOINT=https://m.example", "KERNELS_TRUSTED_ENDPOINTS=https://m.example"},
     NULL,
     {"https://x.example"},
     "https://m.example",
     false},
    {"loopback is not trusted by itself",
     {NULL},
     "http://127.0.0.1:8080",
     {NULL},
     "http://127.0.0.1:8080",
     false},
    {"loopback",
     {NULL},
     "http://127.0.0.1:8080",
     {"http://127.0.0.1:8080"},
     "http://127.0.0.1:8080",
     true},
    {"loopback by name",
     {NULL},
     "http://localhost/",
     {"http://localhost:80"},
     "http://localhost",
     true},
    {"loopback of IPv6",
     {NULL},
     "http://[::1]:81",
     {"http://[0:0::1]:81/"},
     "http://[::1]:81",
     true},
};

static size_t count(const char *const *texts, size_t max)
{
    size_t n = 0;
    while (n < max && texts[n])
        ++n;
    return n;
}

static void test_endpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(endpoints); ++i) {
        kni_settings settings;
        const size_t n = count(endpoints[i].trusted, 3);
        print_message("  %s\n", endpoints[i].name);
        set_env(endpoints[i].env);
        open_settings(&settings,
                      KN_HUB_OPTIONS(.endpoint = endpoints[i].option,
                                     .trusted_endpoints = n ? endpoints[i].trusted : NULL,
                                     .n_trusted_endpoints = n));
        is_text(settings.endpoint, endpoints[i].endpoint);
        assert_int_equal(settings.endpoint_is_trusted, endpoints[i].is_trusted);
        is_text(settings.trusted.names[0], KNI_ENDPOINT_DEFAULT);
        kni_settings_dispose(&settings);
    }
}

// A list of none is a list: the variable is not looked at.
static void test_empty_lists(void **state)
{
    (void)state;
    static const char *const none[1] = {NULL};
    kni_settings settings;
    set_env((const char *const[ENV_MAX]){"KERNELS_SITE_CACHES=/a:~/b::/c", "HOME=/h",
                                         "KERNELS_TRUSTED_ENDPOINTS=https://m.example"});
    open_settings(&settings, NULL);
    assert_int_equal(settings.site_caches.count, 3);
    is_text(settings.site_caches.names[0], "/a");
    is_text(settings.site_caches.names[1], "/h/b");
    is_text(settings.site_caches.names[2], "/c");
    assert_int_equal(settings.trusted.count, 2);
    kni_settings_dispose(&settings);
    open_settings(&settings, KN_HUB_OPTIONS(.site_caches = none, .trusted_endpoints = none));
    assert_int_equal(settings.site_caches.count, 0);
    assert_int_equal(settings.trusted.count, 1);
    kni_settings_dispose(&settings);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_empty_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
