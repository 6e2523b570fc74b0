#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "package/digest_block.h"

static void test_leaves_out(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool left_out;
    } rows[] = {
        {"metadata.json", true},
        {"metadata.json.sigstore", true},
        {"sub/metadata.json", false}, // the top-level one alone
        {"__pycache__/a.py", true},
        {"sub/__pycache__/x/a.so", true},
        {"a.pyc", true},
        {"sub/a.pyc", true},
        {"a.py", false},
        {"__pycache__", false}, // a file of that name
        {"my__pycache__/a", false},
        {"a.pyc.so", false},
        {"kernel.so", false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].path);
        assert_int_equal(kni_digest_block_leaves_out(rows[i].path), rows[i].left_out);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *listed[4], *present[6];
        const char *error; // NULL: the same
    } rows[] = {
        {"the same", {"a", "b/c", "d"}, {"a", "b/c", "d"}, NULL},
        {"none", {NULL}, {NULL}, NULL},
        {"left out", {"a"}, {"__pycache__/x", "a", "metadata.json", "z.pyc"}, NULL},
        {"first not listed", {"b"}, {"a", "b"}, "'a' is not listed"},
        {"last not listed", {"a"}, {"a", "b"}, "'b' is not listed"},
        {"only one, not listed", {NULL}, {"a"}, "'a' is not listed"},
        {"first missing", {"a", "b"}, {"b"}, "'a' is listed in metadata.json but is not there"},
        {"last missing", {"a", "b"}, {"a"}, "'b' is listed in metadata.json but is not there"},
        {"all missing", {"a"}, {NULL}, "'a' is listed in metadata.json but is not there"},
        {"missing behind one left out", {"a"}, {"z.pyc"}, "'a' is listed"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_digest_file files[4] = {{NULL, {KNI_SHA256, {0}}}};
        kni_digest_block block = {.present = true, .files = files};
        kni_names present = {(char **)(uintptr_t)rows[i].present, 0, 0};
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        for (; block.n_files < 4 && rows[i].listed[block.n_files]; ++block.n_files)
            files[block.n_files].path = (char *)(uintptr_t)rows[i].listed[block.n_files];
        while (rows[i].present[present.count])
            ++present.count;
        const kn_status st = kni_digest_block_check_names(&block, &present, &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_UNTRUSTED : KN_OK);
        if (rows[i].error && !strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        kn_error_dispose(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves_out),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
