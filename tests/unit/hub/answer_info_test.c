#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define C "0123456789abcdef0123456789abcdef01234567"
#define URL "https://huggingface.co/api/kernels/o/k/revision/v1"

// As the hub answers for a kernel.
#define WHOLE                                                                                      \
    "{\"_id\":\"6\",\"id\":\"o/k\",\"author\":\"o\",\"sha\":\"" C "\",\"private\":false,"          \
    "\"gated\":\"auto\",\"lastModified\":\"2026-01-01T00:00:00.000Z\",\"downloads\":1,"            \
    "\"repoType\":\"kernel\",\"trustedPublisher\":true,\"supportedDriverFamilies\":[\"cuda\"]}"

static const struct {
    const char *name, *text, *wanted;
    kn_status status;
    const char *error; // after the URL
} rows[] = {
    {"a branch", WHOLE, NULL, KN_OK, NULL},
    {"its commit", WHOLE, C, KN_OK, NULL},
    {"its short commit", WHOLE, "0123456", KN_OK, NULL},
    {"39 digits", WHOLE, "0123456789abcdef0123456789abcdef0123456", KN_OK, NULL},
    {"another short commit", WHOLE, "0123457", KN_ERR_UNTRUSTED,
     ": sha: expected a commit that starts with 0123457, as asked, found " C},
    {"another commit", WHOLE, "0123456789abcdef0123456789abcdef01234568", KN_ERR_UNTRUSTED,
     ": sha: expected a commit that starts with"},
    {"the end of the commit", WHOLE, "1234567", KN_ERR_UNTRUSTED, ": sha: expected a commit that"},
    {"a path", "{\"sha\":\"../../etc\"}", NULL, KN_ERR_UNTRUSTED,
     ": sha: expected 40 lower-case hexadecimal digits, found '../../etc'"},
    {"a short answer to a short commit", "{\"sha\":\"0123456\"}", "0123456", KN_ERR_UNTRUSTED,
     ": sha: expected 40"},
    {"more than a commit", "{\"sha\":\"" C "/x\"}", C, KN_ERR_UNTRUSTED, ": sha: expected 40"},
    {"capitals", "{\"sha\":\"ABCDEF6789ABCDEF0123456789ABCDEF01234567\"}", NULL, KN_ERR_UNTRUSTED,
     ": sha: expected 40"},
    {"a newline does not leave the error's line", "{\"sha\":\"a\\nb\"}", NULL, KN_ERR_UNTRUSTED,
     ": sha: expected 40 lower-case hexadecimal digits, found 'a\xEF\xBF\xBD"
     "b'"},
    {"no sha", "{\"id\":\"o/k\"}", NULL, KN_ERR_FORMAT, ": sha: is missing, expected a string"},
    {"null", "{\"sha\":null}", NULL, KN_ERR_FORMAT, ": sha: expected a string, found null"},
    {"a number", "{\"sha\":1}", NULL, KN_ERR_FORMAT, ": sha: expected a string, found an integer"},
    {"sha twice", "{\"sha\":\"" C "\",\"sha\":\"" C "\"}", NULL, KN_ERR_FORMAT, ":1: duplicate"},
    {"a list", "[\"" C "\"]", NULL, KN_ERR_FORMAT, ": expected an object, found an array"},
    {"nothing", "", NULL, KN_ERR_FORMAT, ":1: ends too early"},
};

static void test_info(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char commit[KNI_COMMIT_SIZE] = "?";
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        const kn_status st =
            kni_info_parse(rows[i].text, strlen(rows[i].text), URL, rows[i].wanted, commit, &err);
        assert_int_equal(st, rows[i].status);
        assert_string_equal(commit, st == KN_OK ? C : "");
        const char *error = rows[i].error ? rows[i].error : "";
        const char *text = kn_error_text(&err) + (st == KN_OK ? 0 : strlen(URL));
        if (st != KN_OK && strncmp(text, error, strlen(error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
}

static const struct {
    const char *text;
    kn_status status;
    bool is_trusted;
} overviews[] = {
    {"{\"name\":\"o\",\"fullname\":\"O\",\"isVerified\":true,\"trustedKernelPublisher\":true}",
     KN_OK, true},
    {"{\"name\":\"o\",\"trustedKernelPublisher\":false}", KN_OK, false},
    {"{\"name\":\"o\",\"isVerified\":true}", KN_OK, false},
    {"{\"trustedKernelPublisher\":null}", KN_OK, false},
    {"{\"trustedkernelpublisher\":true}", KN_OK, false},
    {"{\"x\":{\"trustedKernelPublisher\":true}}", KN_OK, false},
    {"{}", KN_OK, false},
    {"{\"trustedKernelPublisher\":1}", KN_ERR_FORMAT, false},
    {"{\"trustedKernelPublisher\":\"true\"}", KN_ERR_FORMAT, false},
    {"{\"trustedKernelPublisher\":false,\"trustedKernelPublisher\":true}", KN_ERR_FORMAT, false},
    {"[{\"trustedKernelPublisher\":true}]", KN_ERR_FORMAT, false},
    {"{\"trustedKernelPublisher\":true", KN_ERR_FORMAT, false},
    {"", KN_ERR_FORMAT, false},
};

static void test_overview(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(overviews); ++i) {
        bool is_trusted = true;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", overviews[i].text);
        assert_int_equal(kni_overview_parse(overviews[i].text, strlen(overviews[i].text), URL,
                                            &is_trusted, &err),
                         overviews[i].status);
        assert_int_equal(is_trusted, overviews[i].is_trusted);
        assert_int_equal(err.status, overviews[i].status);
        kn_error_dispose(&err);
    }
}

static kn_status parse_both(void *user, kn_error *err)
{
    (void)user;
    char commit[KNI_COMMIT_SIZE];
    bool is_trusted;
    kn_status st = kni_info_parse(WHOLE, sizeof(WHOLE) - 1, URL, NULL, commit, err);
    if (st == KN_OK)
        st = kni_overview_parse(WHOLE, sizeof(WHOLE) - 1, URL, &is_trusted, err);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, parse_both, NULL) > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_overview),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
