// The token, and that its file is read late, once, and never shown.
#include <pthread.h>

#include "support/settings_env.h"
#include "support/temp_dir.h"

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
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_path),
        cmocka_unit_test(test_token_refused),
        cmocka_unit_test(test_token_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
