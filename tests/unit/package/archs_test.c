#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/package_dir.h"

#include "kernels/package.h"

static char *read_archs(const package_dir *dir, kn_status status, kn_error *err)
{
    kn_package *package = NULL;
    char *words = NULL;
    assert_int_equal(kn_package_open(dir->variant, &package, NULL), KN_OK);
    assert_int_equal(kn_package_read_archs(package, &words, err), status);
    kn_package_close(package);
    return words;
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *fixture, *archs;
    } rows[] = {{"good.so", ""}, {"gpu.so", "9.0a+PTX 8.0+PTX"}};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        package_dir dir;
        print_message("  %s\n", rows[i].fixture);
        package_make(&dir, rows[i].fixture, "");
        char *words = read_archs(&dir, KN_OK, NULL);
        assert_string_equal(words, rows[i].archs);
        kn_string_free(words);
        package_remove(&dir);
    }
}

static void test_errors(void **state)
{
    (void)state;
    package_dir dir;
    kn_error err = KN_ERROR_INIT;
    package_root(&dir);
    package_text(dir.variant, "note.txt", "");
    package_seal(dir.variant, "");
    assert_null(read_archs(&dir, KN_ERR_NOT_FOUND, &err));
    assert_non_null(strstr(kn_error_text(&err), "has no library"));
    kn_error_dispose(&err);

    package_text(dir.variant, "kernel.so", "no object");
    assert_null(read_archs(&dir, KN_ERR_FORMAT, &err));
    assert_non_null(strstr(kn_error_text(&err), "kernel.so"));
    kn_error_dispose(&err);
    package_remove(&dir);
    assert_int_equal(kn_package_read_archs(NULL, NULL, NULL), KN_ERR_INVALID);
}

static kn_status read_once(void *user, kn_error *err)
{
    char *words = NULL;
    const kn_status st = kn_package_read_archs(user, &words, err);
    assert_int_equal(st == KN_OK, words != NULL);
    kn_string_free(words);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    package_dir dir;
    kn_package *package = NULL;
    package_make(&dir, "gpu.so", "");
    assert_int_equal(kn_package_open(dir.variant, &package, NULL), KN_OK);
    assert_true(fail_alloc_each(FAIL_ALL, read_once, package) > 3);
    kn_package_close(package);
    package_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
