#include "hub/blob_hash.h"

#include <stdlib.h>
#include <string.h>

#include "support/cmocka.h"

// What `git hash-object` and `sha256sum` say.
static const struct {
    const char *name, *content;
    size_t repeat;
    const char *sha1, *sha256;
} rows[] = {
    {"nothing", "", 1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"a line", "hello\n", 1, "ce013625030ba8dba906f756967f9e9ca394464a",
     "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
    {"a million", "a", 1000000, "de1fbf0c2f34f67f01f355f31ed0cf7319643c5e",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void check(const char *content, size_t size, size_t piece, size_t n_digits,
                  const char *expected)
{
    kni_blob_hash hash = {NULL};
    char blob[KNI_SHA256_SIZE];
    for (int round = 0; round < 2; ++round) { // the second begins anew, after a part of the first
        assert_int_equal(kni_blob_hash_begin(&hash, n_digits, size, NULL), KN_OK);
        assert_int_equal(kni_blob_hash_add(&hash, content, size / 2, NULL), KN_OK);
    }
    assert_int_equal(kni_blob_hash_begin(&hash, n_digits, size, NULL), KN_OK);
    for (size_t at = 0; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        assert_int_equal(kni_blob_hash_add(&hash, content + at, n, NULL), KN_OK);
    }
    assert_int_equal(kni_blob_hash_end(&hash, blob, NULL), KN_OK);
    assert_string_equal(blob, expected);
    kni_blob_hash_dispose(&hash);
    kni_blob_hash_dispose(&hash);
}

static void test_hash(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 63, 64, 4096, 1 << 20};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const size_t unit = strlen(rows[i].content), size = unit * rows[i].repeat;
        char *content = malloc(size + 1);
        print_message("  %s\n", rows[i].name);
        assert_non_null(content);
        for (size_t r = 0; r < rows[i].repeat; ++r)
            memcpy(content + r * unit, rows[i].content, unit);
        for (size_t p = 0; p < KN_LEN(pieces); ++p) {
            check(content, size, pieces[p], 40, rows[i].sha1);
            check(content, size, pieces[p], 64, rows[i].sha256);
        }
        free(content);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
