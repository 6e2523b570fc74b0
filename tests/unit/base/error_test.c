#include <errno.h>

#include "base/error.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static void test_status_texts(void **state)
{
    (void)state;
#define CHECK(name, value, text)                                                                   \
    assert_int_equal(name, value);                                                                 \
    assert_string_equal(kn_status_text(name), text);
    KN_STATUS_LIST(CHECK)
#undef CHECK
    assert_string_equal(kn_status_text((kn_status)4711), "unknown status");
    assert_string_equal(kn_version(), "0.1.0");
}

static void test_first_error_wins(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    assert_string_equal(kn_error_text(&err), "success");
    assert_int_equal(kn_error_set(&err, KN_ERR_IO, "file %d", 1), KN_ERR_IO);
    assert_int_equal(kn_error_set(&err, KN_ERR_FORMAT, "file %d", 2), KN_ERR_FORMAT);
    assert_int_equal(kni_no_memory(&err), KN_ERR_NO_MEMORY);
    assert_int_equal(err.status, KN_ERR_IO);
    assert_string_equal(kn_error_text(&err), "file 1");
    kn_error_prefix(&err, "package %s", "a");
    kn_error_prefix(&err, "context");
    assert_string_equal(kn_error_text(&err), "context: package a: file 1");
    kn_error_dispose(&err);
    assert_int_equal(err.status, KN_OK);
    kn_error_dispose(&err);
}

static void test_null_and_empty(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_error_set(NULL, KN_ERR_IO, "nobody reads this"), KN_ERR_IO);
    assert_int_equal(kni_no_memory(NULL), KN_ERR_NO_MEMORY);
    kn_error_prefix(NULL, "nowhere");
    kn_error_dispose(NULL);
    assert_string_equal(kn_error_text(NULL), "success");
    kn_error_prefix(&err, "an empty error stays empty");
    assert_string_equal(kn_error_text(&err), "success");
    assert_null(err.text);
}

static void test_text_is_clean(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    kn_error_set(&err, KN_ERR_FORMAT, "name '%s'", "a\n\x1b[31mb");
    assert_string_equal(kn_error_text(&err), "name 'a\xEF\xBF\xBD\xEF\xBF\xBD[31mb'");
    kn_error_prefix(&err, "in %s", "\r");
    assert_string_equal(kn_error_text(&err),
                        "in \xEF\xBF\xBD: name 'a\xEF\xBF\xBD\xEF\xBF\xBD[31mb'");
    kn_error_dispose(&err);
}

static void test_move(void **state)
{
    (void)state;
    kn_error from = KN_ERROR_INIT, to = KN_ERROR_INIT;
    kn_error_set(&from, KN_ERR_LOAD, "one");
    assert_int_equal(kni_error_move(&to, &from), KN_ERR_LOAD);
    assert_int_equal(from.status, KN_OK);
    assert_string_equal(kn_error_text(&to), "one");
    kn_error_set(&from, KN_ERR_CALL, "two");
    assert_int_equal(kni_error_move(&to, &from), KN_ERR_CALL);
    assert_string_equal(kn_error_text(&to), "one");
    kn_error_set(&from, KN_ERR_CALL, "three");
    assert_int_equal(kni_error_move(NULL, &from), KN_ERR_CALL);
    assert_null(from.text);
    kn_error_dispose(&to);
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int number;
        kn_status status;
        const char *text;
    } rows[] = {
        {ENOENT, KN_ERR_NOT_FOUND, "/x: cannot open: No such file or directory"},
        {ENOTDIR, KN_ERR_NOT_FOUND, "/x: cannot open: Not a directory"},
        {EACCES, KN_ERR_IO, "/x: cannot open: Permission denied"},
        {ENOMEM, KN_ERR_NO_MEMORY, "out of memory"},
        {99999, KN_ERR_IO, "/x: cannot open: unknown error"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].text);
        assert_int_equal(kni_error_errno(&err, rows[i].number, "/x", "cannot open"),
                         rows[i].status);
        assert_string_equal(kn_error_text(&err), rows[i].text);
        kn_error_dispose(&err);
    }
}

// Without memory for its text an error keeps its status.
static void test_without_memory(void **state)
{
    (void)state;
    for (size_t nth = 1; nth <= 2; ++nth) {
        kn_error err = KN_ERROR_INIT;
        fail_alloc_install(FAIL_OURS, nth, false);
        kn_error_set(&err, KN_ERR_LAYER, "%s", "a text");
        assert_true(fail_alloc_remove());
        assert_int_equal(err.status, KN_ERR_LAYER);
        assert_string_equal(kn_error_text(&err), kn_status_text(KN_ERR_LAYER));

        kn_error_dispose(&err);
        kn_error_set(&err, KN_ERR_LAYER, "a text");
        fail_alloc_install(FAIL_OURS, nth, false);
        kn_error_prefix(&err, "%s", "where");
        assert_true(fail_alloc_remove());
        assert_string_equal(kn_error_text(&err), "a text");
        kn_error_dispose(&err);
    }
}

static void test_allocator(void **state)
{
    (void)state;
    static const kn_allocator broken = {NULL, NULL, NULL, NULL};
    assert_int_equal(kn_set_allocator(&broken), KN_ERR_INVALID);
    assert_int_equal(kn_set_allocator(NULL), KN_OK);
    kn_string_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_texts),   cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_null_and_empty), cmocka_unit_test(test_text_is_clean),
        cmocka_unit_test(test_move),           cmocka_unit_test(test_errno),
        cmocka_unit_test(test_without_memory), cmocka_unit_test(test_allocator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
