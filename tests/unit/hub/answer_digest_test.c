#include "base/fs.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define NAME "snapshots/0123/build/v/metadata.json"
#define FILES(files) "{\"name\":\"k\",\"digest\":{\"algorithm\":\"sha256\",\"files\":{" files "}}}"

static const struct {
    const char *name, *text;
    kn_status status;
    const char *paths[3]; // sorted
    const char *error;    // after the file
} rows[] = {
    {"files", FILES("\"z.so\":\"AA==\",\"a/b.py\":\"AA==\""), KN_OK, {"a/b.py", "z.so"}, NULL},
    {"no files", FILES(""), KN_OK, {NULL}, NULL},
    {"no block", "{\"name\":\"k\"}", KN_OK, {NULL}, NULL},
    {"null", "{\"digest\":null}", KN_OK, {NULL}, NULL},
    {"another algorithm",
     "{\"digest\":{\"algorithm\":\"x\",\"files\":{\"a\":1}}}",
     KN_OK,
     {"a"},
     NULL},
    {"the block is a list",
     "{\"digest\":[]}",
     KN_ERR_FORMAT,
     {NULL},
     ": digest: expected an object, found an array"},
    {"a block without files",
     "{\"digest\":{}}",
     KN_ERR_FORMAT,
     {NULL},
     ": digest.files: is missing, expected an object"},
    {"files is a list",
     "{\"digest\":{\"files\":[\"a\"]}}",
     KN_ERR_FORMAT,
     {NULL},
     ": digest.files: expected an object, found an array"},
    {"a path out of it",
     FILES("\"a\":\"\",\"../../x\":\"\""),
     KN_ERR_UNTRUSTED,
     {NULL},
     ": digest.files: the path '../../x' has a '.' or '..' component"},
    {"an absolute path",
     FILES("\"/etc/passwd\":\"\""),
     KN_ERR_UNTRUSTED,
     {NULL},
     ": digest.files: the path '/etc/passwd' is absolute"},
    {"an empty path", FILES("\"\":\"\""), KN_ERR_UNTRUSTED, {NULL}, ": digest.files: "},
    {"a path twice", FILES("\"a\":\"\",\"a\":\"\""), KN_ERR_FORMAT, {NULL}, ":1: duplicate"},
    {"a list", "[]", KN_ERR_FORMAT, {NULL}, ": expected an object, found an array"},
    {"no JSON", "x", KN_ERR_FORMAT, {NULL}, ":1: "},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_names paths;
        kn_error err = KN_ERROR_INIT;
        size_t count = 0;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(
            kni_digest_paths_parse(rows[i].text, strlen(rows[i].text), NAME, &paths, &err),
            rows[i].status);
        while (count < KN_LEN(rows[i].paths) && rows[i].paths[count])
            ++count;
        assert_int_equal(paths.count, count);
        for (size_t p = 0; p < count; ++p)
            assert_string_equal(paths.names[p], rows[i].paths[p]);
        const char *text = kn_error_text(&err);
        if (rows[i].error && (strncmp(text, NAME, strlen(NAME)) != 0 ||
                              strncmp(text + strlen(NAME), rows[i].error, strlen(rows[i].error))))
            fail_msg("said: %s", text);
        kni_names_free(&paths);
        kn_error_dispose(&err);
    }
}

static kn_status parse_files(void *user, kn_error *err)
{
    (void)user;
    kni_names paths;
    const kn_status st =
        kni_digest_paths_parse(rows[0].text, strlen(rows[0].text), NAME, &paths, err);
    kni_names_free(&paths);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, parse_files, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
