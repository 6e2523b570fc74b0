#include "base/alloc.h"
#include "base/str.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static const struct {
    const char *name, *body, *message;
} rows[] = {
    {"error", "{\"error\":\"Repository not found\"}", "Repository not found"},
    {"a list", "{\"error\":[\"bad name\",\"bad type\"]}", "bad name; bad type"},
    {"a list with other things", "{\"error\":[1,\"bad\",null,\"\"]}", "bad"},
    {"description", "{\"error_description\":\"The token is old\"}", "The token is old"},
    {"error before description", "{\"error\":\"invalid_grant\",\"error_description\":\"x\"}",
     "invalid_grant"},
    {"errors", "{\"errors\":[{\"message\":\"no license\"},{\"message\":\"no tag\"},{}]}",
     "no license; no tag"},
    {"an empty error", "{\"error\":\"\",\"errors\":[{\"message\":\"no license\"}]}", "no license"},
    {"error with escapes", "{\"error\":\"a\\n\\u001b[31mb\"}",
     "a \xEF\xBF\xBD"
     "[31mb"},
    {"other JSON is text", "{\"message\":\"Not Found\"}", "{\"message\":\"Not Found\"}"},
    {"error of another type", "{\"error\":{\"code\":5}}", "{\"error\":{\"code\":5}}"},

    {"text", "Invalid username or password.", "Invalid username or password."},
    {"lines", "\r\n Not Found\r\n\tat\n\n all \n", "Not Found at all"},
    {"broken JSON is text", "{\"error\":\"x", "{\"error\":\"x"},
    {"escape sequences", "a\x1b]0;title\x07z", "a\xEF\xBF\xBD]0;title\xEF\xBF\xBDz"},
    {"not UTF-8", "gr\xFCn", "gr\xEF\xBF\xBDn"},
    {"XML of a storage service", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
     "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"},

    {"nothing", "", ""},
    {"blanks", " \r\n\t ", ""},
    {"a page", "<!DOCTYPE html><html><body>502</body></html>", ""},
    {"a page without a type", "\n<HTML>\n<center>nginx</center>", ""},
    {"a page behind a comment", "<!-- generated -->\n<html lang=en>x", ""},
};

static void test_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        char *message = kni_error_body(rows[i].body, strlen(rows[i].body));
        assert_string_equal(message, rows[i].message);
        kni_free(message);
    }
    char *message = kni_error_body("\x1F\x8B\0\0text", 8); // no text
    assert_string_equal(message, "");
    kni_free(message);
    message = kni_error_body(NULL, 0);
    assert_string_equal(message, "");
    kni_free(message);
}

static void test_cut(void **state)
{
    (void)state;
    static char body[100001];
    memset(body, 'x', sizeof(body) - 1);
    for (size_t size = 498; size <= 502; ++size) {
        char *message = kni_error_body(body, size);
        assert_int_equal(strlen(message), size < 500 ? size : 500);
        assert_int_equal(kni_span_ends(kni_span_of(message), "…"), size > 500);
        kni_free(message);
    }
    for (size_t i = 0; i + 3 < sizeof(body); i += 3)
        memcpy(body + i, "\xE2\x82\xAC", 3);
    char *message = kni_error_body(body, sizeof(body) - 2);
    assert_true(strlen(message) <= 500 && strlen(message) > 490);
    assert_true(kni_text_is_clean(message, strlen(message))); // no character is cut in two
    assert_null(strstr(message, "\xEF\xBF\xBD"));
    kni_free(message);
}

static void test_deep(void **state)
{
    (void)state;
    static char body[100000];
    memset(body, '[', sizeof(body));
    char *message = kni_error_body(body, sizeof(body));
    assert_true(strlen(message) <= 500);
    kni_free(message);
}

static kn_status read_body(void *user, kn_error *err)
{
    const char *body = user;
    char *message = kni_error_body(body, strlen(body));
    kni_free(message);
    return message ? KN_OK : kn_error_set(err, KN_ERR_NO_MEMORY, "no message");
}

static void test_memory(void **state)
{
    (void)state;
    char json[] = "{\"errors\":[{\"message\":\"no license\"},{\"message\":\"no tag\"}]}";
    char text[] = "Invalid username\nor password.", page[] = "<html>";
    assert_true(fail_alloc_each(FAIL_ALL, read_body, json) > 10);
    // jansson may call a text malformed, as it is, when its own memory fails.
    assert_true(fail_alloc_each(FAIL_OURS, read_body, text) > 3);
    assert_true(fail_alloc_each(FAIL_OURS, read_body, page) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
