#include "hub/lock.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

// Names as git gives them to these contents, and the SHA-256 of a large file.
#define EMPTY "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"   // nothing
#define LAYERS "7d4290a117a4ddcc11daae7ea675841033830c8f"  // x = 1\n
#define PACKAGE "7aab8e975a6b6be68f5bbe4d2c6e05d7c000aeb6" // from .. import *\n
#define LARGE "3bdbb4fe8397cd2b842430b39ccff01a8663c751945ef5e9a09e267fb8b1d359" // 7f 45 4c 46

#define WHOLE "20ef303e539e788d4352e6f1ff8b024b4c40658447b9ee435236344f3e7ed461"
#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_hash(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kni_lock_file files[6];
        size_t n;
        const char *sha256;
    } rows[] = {
        {"no files", {{0}}, 0, NOTHING},
        {"in order",
         {{"__init__.py", EMPTY},
          {"_k.abi3.so", LARGE},
          {"layers.py", LAYERS},
          {"pkg/__init__.py", PACKAGE}},
         4,
         WHOLE},
        {"in another order",
         {{"pkg/__init__.py", PACKAGE},
          {"layers.py", LAYERS},
          {"_k.abi3.so", LARGE},
          {"__init__.py", EMPTY}},
         4,
         WHOLE},
        {"with what Python left",
         {{"__init__.py", EMPTY},
          {"_k.abi3.so", LARGE},
          {"pkg/__pycache__/a.py", LARGE},
          {"layers.py", LAYERS},
          {"layers.pyc", LARGE},
          {"pkg/__init__.py", PACKAGE}},
         6,
         WHOLE},
        {"nothing but that", {{"__pycache__/x", EMPTY}, {"a.pyc", EMPTY}}, 2, NOTHING},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char sha256[KNI_SHA256_SIZE];
        print_message("  %s\n", rows[i].name);
        assert_int_equal(kni_lock_hash_files(rows[i].files, rows[i].n, sha256, NULL), KN_OK);
        assert_string_equal(sha256, rows[i].sha256);
    }
}

// Each part of a file counts.
static void test_differs(void **state)
{
    (void)state;
    static const kni_lock_file rows[] = {
        {"a", EMPTY}, {"a", LAYERS}, {"b", EMPTY}, {"a/b", EMPTY}, {"x__pycache__", EMPTY},
    };
    char sums[KN_LEN(rows)][KNI_SHA256_SIZE];
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        assert_int_equal(kni_lock_hash_files(&rows[i], 1, sums[i], NULL), KN_OK);
        for (size_t k = 0; k < i; ++k)
            assert_string_not_equal(sums[i], sums[k]);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const blobs[] = {"", "main", EMPTY "0",
                                        "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391"};
    for (size_t i = 0; i < KN_LEN(blobs); ++i) {
        char sha256[KNI_SHA256_SIZE] = "kept";
        const kni_lock_file file = {"a\x1b.py", blobs[i]};
        kn_error err = KN_ERROR_INIT;
        assert_int_equal(kni_lock_hash_files(&file, 1, sha256, &err), KN_ERR_FORMAT);
        assert_non_null(strstr(kn_error_text(&err), "a\uFFFD.py: its object id is"));
        assert_string_equal(sha256, "kept");
        kn_error_dispose(&err);
    }
}

static kn_status hash_two(void *user, kn_error *err)
{
    static const kni_lock_file files[] = {{"b", EMPTY}, {"a", LARGE}};
    char sha256[KNI_SHA256_SIZE];
    (void)user;
    return kni_lock_hash_files(files, KN_LEN(files), sha256, err);
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, hash_two, NULL) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_differs),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
