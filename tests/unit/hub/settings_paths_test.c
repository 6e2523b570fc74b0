// Where the directories of a hub are, by environment.
#include <pwd.h>
#include <unistd.h>

#include "support/settings_env.h"
#include "support/temp_dir.h"

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
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_dir),
        cmocka_unit_test(test_home),
        cmocka_unit_test(test_relative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
