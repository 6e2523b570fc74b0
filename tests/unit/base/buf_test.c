#include "base/alloc.h"
#include "base/buf.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static void test_append(void **state)
{
    (void)state;
    kni_buf buf = KNI_BUF_ANY;
    assert_string_equal(kni_buf_text(&buf), "");
    kni_buf_append(&buf, NULL, 0);
    assert_string_equal(kni_buf_text(&buf), "");
    kni_buf_puts(&buf, "abc");
    kni_buf_append(&buf, "d\0e", 3);
    kni_buf_printf(&buf, "%s-%d", "f", 42);
    assert_int_equal(buf.size, 10);
    assert_memory_equal(kni_buf_text(&buf), "abcd\0ef-42", 11);
    assert_false(buf.failed);
    kni_buf_dispose(&buf);
    assert_null(buf.data);
    kni_buf_dispose(&buf);
}

static void test_ceiling(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t max, first, second;
        bool fails;
    } rows[] = {
        {"below", 8, 3, 4, false},
        {"exactly", 8, 4, 4, false},
        {"one more", 8, 4, 5, true},
        {"at once", 8, 9, 0, true},
        {"nothing is allowed", 0, 1, 0, true},
        {"nothing into nothing", 0, 0, 0, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf buf = KNI_BUF(rows[i].max);
        print_message("  %s\n", rows[i].name);
        kni_buf_append(&buf, "0123456789", rows[i].first);
        kni_buf_append(&buf, "0123456789", rows[i].second);
        assert_int_equal(buf.failed, rows[i].fails);
        assert_int_equal(buf.too_long, rows[i].fails);
        assert_true(buf.size <= rows[i].max);
        const size_t size = buf.size;
        if (buf.failed) { // takes nothing more, not even what would fit
            kni_buf_puts(&buf, "x");
            assert_int_equal(buf.size, size);
        }
        char *text = kni_buf_take(&buf);
        assert_int_equal(text == NULL, rows[i].fails);
        kni_free(text);
    }
}

static void test_huge_requests(void **state)
{
    (void)state;
    kni_buf buf = KNI_BUF(SIZE_MAX);
    kni_buf_puts(&buf, "x");
    assert_false(kni_buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    kni_buf_dispose(&buf);

    void *array = NULL;
    size_t capacity = 0;
    assert_false(kni_grow(&array, &capacity, SIZE_MAX, 1));
    assert_false(kni_grow(&array, &capacity, SIZE_MAX / 4, 16));
    assert_null(array);
    assert_null(kni_calloc(SIZE_MAX / 2, 3));
}

static void test_take(void **state)
{
    (void)state;
    kni_buf buf = KNI_BUF(100);
    char *text = kni_buf_take(&buf);
    assert_string_equal(text, "");
    kni_free(text);
    kni_buf_puts(&buf, "whole");
    text = kni_buf_take(&buf);
    assert_string_equal(text, "whole");
    assert_int_equal(buf.size, 0);
    assert_int_equal(buf.max, 100);
    kni_free(text);
}

static kn_status build(void *user, kn_error *err)
{
    (void)user;
    kni_buf buf = KNI_BUF_ANY;
    for (int i = 0; i < 100; ++i)
        kni_buf_printf(&buf, "%d,", i);
    char *text = kni_buf_take(&buf);
    if (!text) {
        err->status = KN_ERR_NO_MEMORY;
        return KN_ERR_NO_MEMORY;
    }
    assert_int_equal(strlen(text), 290);
    kni_free(text);
    return KN_OK;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, build, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_huge_requests), cmocka_unit_test(test_take),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
