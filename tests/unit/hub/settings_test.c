// Each row runs in an environment of its own and nothing else.
#include "hub/settings.h"

#include <pthread.h>
#include <pwd.h>
#include <unistd.h>

#include "base/str.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#define ENV_MAX 6

static void set_env(const char *const env[]) // "NAME=value", …, NULL
{
    clearenv();
    for (size_t i = 0; i < ENV_MAX && env[i]; ++i) {
        char name[64];
        const size_t size = strcspn(env[i], "=");
        assert_true(size < sizeof(name));
        memcpy(name, env[i], size);
        name[size] = '\0';
        assert_int_equal(setenv(name, env[i] + size + 1, 1), 0);
    }
}

static void open_settings(kni_settings *out, const kn_hub_options *opts)
{
    kn_error err = KN_ERROR_INIT;
    if (kni_settings_init(out, opts, &err) != KN_OK)
        fail_msg("said: %s", kn_error_text(&err));
}

static void is_text(const char *found, const char *expected) // either may be NULL
{
    if (!kni_string_equal(found, expected))
        fail_msg("'%s', expected '%s'", found ? found : "NULL", expected ? expected : "NULL");
}

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    const char *option, *cache_dir;
} caches[] = {
    {"built in", {"HOME=/h"}, NULL, "/h/.cache/huggingface/hub"},
    {"XDG", {"HOME=/h", "XDG_CACHE_HOME=/x"}, NULL, "/x/huggingface/hub"},
    {"HF_HOME", {"HOME=/h", "XDG_CACHE_HOME=/x", "HF_HOME=/f"}, NULL, "/f/hub"},
    {"HF_HOME with ~", {"HOME=/h", "HF_HOME=~/f"}, NULL, "/h/f/hub"},
    {"HF_HOME with a variable", {"HOME=/h", "V=v", "HF_HOME=/$V/${V}/$W$"}, NULL, "/v/v/$W$/hub"},
    {"braces that do not end", {"HOME=/h", "V=v", "HF_HOME=/${V"}, NULL, "/${V/hub"},
    {"~ before variables", {"HOME=/h", "V=~", "HF_HOME=/a/$V"}, NULL, "/a/~/hub"},
    {"older name", {"HF_HOME=/f", "HUGGINGFACE_HUB_CACHE=$V/o", "V=/v"}, NULL, "/v/o"},
    {"newer name", {"HUGGINGFACE_HUB_CACHE=/o", "HF_HUB_CACHE=/n"}, NULL, "/n"},
    {"ours", {"HF_HUB_CACHE=/n", "KERNELS_CACHE=/k"}, NULL, "/k"},
    {"ours with ~", {"HOME=/h/", "KERNELS_CACHE=~/k"}, NULL, "/h/k"},
    {"ours is ~", {"HOME=/h", "KERNELS_CACHE=~"}, NULL, "/h"},
    {"home is the root", {"HOME=/", "KERNELS_CACHE=~/k"}, NULL, "/k"},
    {"ours takes no variables", {"V=v", "KERNELS_CACHE=/k/$V"}, NULL, "/k/$V"},
    {"option", {"KERNELS_CACHE=/k"}, "/c", "/c"},
    {"option stays as it is", {"HOME=/h"}, "/c/~/$V", "/c/~/$V"},
    {"empty is unset",
     {"HOME=/h", "KERNELS_CACHE=", "HF_HUB_CACHE=", "HF_HOME=", "XDG_CACHE_HOME="},
     NULL,
     "/h/.cache/huggingface/hub"},
};

static void test_cache_dir(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(caches); ++i) {
        kni_settings settings;
        print_message("  %s\n", caches[i].name);
        set_env(caches[i].env);
        open_settings(&settings, KN_HUB_OPTIONS(.cache_dir = caches[i].option));
        is_text(settings.cache_dir, caches[i].cache_dir);
        kni_settings_dispose(&settings);
    }
}

// What the system says of this user; without an entry there is no home directory, and that is no error.
static void test_home(void **state)
{
    (void)state;
    static const char *const envs[][ENV_MAX] = {{NULL}, {"HOME="}, {"HOME=relative"}};
    const struct passwd *user = getpwuid(getuid());
    char cache[4096], kept[4096], named[4096];
    if (!user)
        skip();
    snprintf(cache, sizeof(cache), "%s/.cache/huggingface/hub", user->pw_dir);
    snprintf(kept, sizeof(kept), "%s/.local/state/libkernels", user->pw_dir);
    for (size_t i = 0; i < KN_LEN(envs); ++i) {
        kni_settings settings;
        set_env(envs[i]);
        open_settings(&settings, NULL);
        is_text(settings.cache_dir, cache);
        is_text(settings.state_dir, kept);
        kni_settings_dispose(&settings);
    }
    snprintf(named, sizeof(named), "KERNELS_CACHE=~%s/k", user->pw_name);
    snprintf(cache, sizeof(cache), "%s/k", user->pw_dir);
    set_env((const char *const[ENV_MAX]){"HOME=/h", named});
    kni_settings settings;
    open_settings(&settings, NULL);
    is_text(settings.cache_dir, cache);
    kni_settings_dispose(&settings);
}

static void test_relative(void **state)
{
    (void)state;
    kni_settings settings;
    char *dir = temp_dir_new(), *here = getcwd(NULL, 0);
    assert_int_equal(chdir(dir), 0);
    set_env((const char *const[ENV_MAX]){"HOME=/h", "HF_HUB_CACHE=a/b", "SSL_CERT_FILE=ca.pem",
                                         "KERNELS_SITE_CACHES=s", "XDG_STATE_HOME=st"});
    open_settings(&settings, NULL);
    assert_int_equal(chdir(here), 0);
    is_text(settings.cache_dir, temp_dir_path(dir, "a/b"));
    is_text(settings.ca_file, temp_dir_path(dir, "ca.pem"));
    is_text(settings.site_caches.names[0], temp_dir_path(dir, "s"));
    is_text(settings.state_dir, "/h/.local/state/libkernels"); // a relative one is ignored
    kni_settings_dispose(&settings);
    free(here);
    temp_dir_remove(dir);
}

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

static const struct {
    const char *name;
    const char *env[ENV_MAX];
    const char *option, *file; // file: HF_TOKEN_PATH's; NULL: there is none
    const char *token, *source;
} tokens[] = {
    {"none", {NULL}, NULL, NULL, NULL, NULL},
    {"option", {"HF_TOKEN=e"}, "o", "f", "o", "kn_hub_options.token"},
    {"option that wants none", {"HF_TOKEN=e"}, "", "f", NULL, NULL},
    {"variable", {"HF_TOKEN=e", "HUGGING_FACE_HUB_TOKEN=x"}, NULL, "f", "e", "HF_TOKEN"},
    {"older variable",
     {"HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN=x"},
     NULL,
     "f",
     "x",
     "HUGGING_FACE_HUB_TOKEN"},
    {"variable is cleaned", {"HF_TOKEN= \r\ne\r\nf\t "}, NULL, "f", "ef", "HF_TOKEN"},
    {"blank variable", {"HF_TOKEN= \n", "HUGGING_FACE_HUB_TOKEN=x"}, NULL, "f", "f", "the file "},
    {"file", {NULL}, NULL, " hf_x\r\n", "hf_x", "the file "},
    {"empty file", {NULL}, NULL, "\n", NULL, NULL},
    {"implicit ones are unwanted",
     {"HF_HUB_DISABLE_IMPLICIT_TOKEN=1", "HF_TOKEN=e"},
     NULL,
     "f",
     NULL,
     NULL},
    {"explicit all the same",
     {"HF_HUB_DISABLE_IMPLICIT_TOKEN=1"},
     "o",
     "f",
     "o",
     "kn_hub_options.token"},
    {"staging has a file of its own",
     {"HUGGINGFACE_CO_STAGING=1", "HOME=/nowhere"},
     NULL,
     "f",
     NULL,
     NULL},
};

static void test_token(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(tokens); ++i) {
        kni_settings settings;
        const char *token = "", *source = "";
        char *dir = temp_dir_new();
        print_message("  %s\n", tokens[i].name);
        set_env(tokens[i].env);
        setenv("HF_TOKEN_PATH", temp_dir_path(dir, "token"), 1);
        open_settings(&settings, KN_HUB_OPTIONS(.token = tokens[i].option));
        if (tokens[i].file) // after opening, which reads no file
            temp_dir_text(dir, "token", tokens[i].file);
        for (int n = 0; n < 2; ++n) {
            assert_int_equal(kni_settings_token(&settings, &token, &source, NULL), KN_OK);
            is_text(token, tokens[i].token);
            if (tokens[i].source)
                assert_memory_equal(source, tokens[i].source, strlen(tokens[i].source));
            else
                assert_null(source);
            temp_dir_text(dir, "token", "changed"); // what was found stays
        }
        kni_settings_dispose(&settings);
        temp_dir_remove(dir);
    }
}

static void test_token_path(void **state)
{
    (void)state;
    kni_settings settings;
    const char *token, *source;
    char *dir = temp_dir_new(), home[4096];
    temp_dir_text(dir, "token", "hf_y");
    snprintf(home, sizeof(home), "HF_HOME=%s", dir);
    set_env((const char *const[ENV_MAX]){home, "HOME=/h"});
    open_settings(&settings, NULL);
    assert_int_equal(kni_settings_token(&settings, &token, &source, NULL), KN_OK);
    is_text(token, "hf_y");
    if (!strstr(source, dir))
        fail_msg("%s", source);
    kni_settings_dispose(&settings);
    temp_dir_remove(dir);
}

static void test_token_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content;
        size_t size;
        kn_status status;
        const char *error;
    } rows[] = {
        {"a space", "secret one", 10, KN_ERR_INVALID, "printable ASCII"},
        {"a zero byte", "secret\0one", 10, KN_ERR_INVALID, "zero byte"},
        {"not ASCII", "secret\xC3\xA9", 8, KN_ERR_INVALID, "printable ASCII"},
        {"a directory", NULL, 0, KN_ERR_INVALID, "HF_HUB_DISABLE_IMPLICIT_TOKEN"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_settings settings;
        kn_error err = KN_ERROR_INIT;
        const char *token = "", *source = "";
        char *dir = temp_dir_new();
        print_message("  %s\n", rows[i].name);
        set_env((const char *const[ENV_MAX]){NULL});
        setenv("HF_TOKEN_PATH", temp_dir_path(dir, "token"), 1);
        if (rows[i].content)
            temp_dir_write(dir, "token", rows[i].content, rows[i].size);
        else
            temp_dir_text(dir, "token/x", "");
        open_settings(&settings, NULL);
        assert_int_equal(kni_settings_token(&settings, &token, &source, &err), rows[i].status);
        assert_null(token);
        assert_null(source);
        if (!strstr(kn_error_text(&err), rows[i].error) || strstr(kn_error_text(&err), "secret") ||
            !strstr(kn_error_text(&err), dir))
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
        kni_settings_dispose(&settings);
        temp_dir_remove(dir);
    }
}

static void *ask_token(void *user)
{
    const char *token = NULL, *source = NULL;
    return kni_settings_token(user, &token, &source, NULL) == KN_OK ? (void *)(uintptr_t)token
                                                                    : NULL;
}

static void test_token_threads(void **state)
{
    (void)state;
    kni_settings settings;
    pthread_t threads[8];
    char *dir = temp_dir_new();
    void *first = NULL, *other;
    temp_dir_text(dir, "token", "hf_z");
    set_env((const char *const[ENV_MAX]){NULL});
    setenv("HF_TOKEN_PATH", temp_dir_path(dir, "token"), 1);
    open_settings(&settings, NULL);
    for (size_t i = 0; i < KN_LEN(threads); ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_token, &settings), 0);
    for (size_t i = 0; i < KN_LEN(threads); ++i) {
        assert_int_equal(pthread_join(threads[i], &other), 0);
        first = first ? first : other;
        assert_non_null(other);
        assert_ptr_equal(first, other); // one reading, one text
    }
    kni_settings_dispose(&settings);
    temp_dir_remove(dir);
}

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
        cmocka_unit_test(test_cache_dir),     cmocka_unit_test(test_home),
        cmocka_unit_test(test_relative),      cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_empty_lists),   cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_path),    cmocka_unit_test(test_token_refused),
        cmocka_unit_test(test_token_threads), cmocka_unit_test(test_values),
        cmocka_unit_test(test_proxy),         cmocka_unit_test(test_agent),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_smaller_options),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
