#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "context/resolve.h"

static const struct {
    const char *name;
    const char *local_kernels; // NULL: not set
    kn_reference_kind kind;
    const char *repo_id, *path;
    const char *dir; // NULL: refused, or the hub's to find
    kn_status status;
    const char *error;
} rows[] = {
    {"path", NULL, KN_REFERENCE_PATH, NULL, "/a/b", "/a/b", KN_OK, NULL},
    {"relative path", NULL, KN_REFERENCE_PATH, NULL, "a/b", NULL, KN_ERR_INVALID, "not absolute"},
    {"a path is not looked up", "/a/b=/c", KN_REFERENCE_PATH, NULL, "/a/b", "/a/b", KN_OK, NULL},
    {"hub", NULL, KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_OK, NULL},
    {"locked", NULL, KN_REFERENCE_LOCKED, "o/n", NULL, NULL, KN_OK, NULL},
    {"local", "o/n=/a/b", KN_REFERENCE_HUB, "o/n", NULL, "/a/b", KN_OK, NULL},
    {"local, locked", "o/n=/a/b", KN_REFERENCE_LOCKED, "o/n", NULL, "/a/b", KN_OK, NULL},
    {"one of several", "x/y=/x:o/n=/a/b:z/z=/z", KN_REFERENCE_HUB, "o/n", NULL, "/a/b", KN_OK,
     NULL},
    {"the first of two", "o/n=/a:o/n=/b", KN_REFERENCE_HUB, "o/n", NULL, "/a", KN_OK, NULL},
    {"empty entries", ":o/n=/a::", KN_REFERENCE_HUB, "o/n", NULL, "/a", KN_OK, NULL},
    {"'=' in the path", "o/n=/a=b", KN_REFERENCE_HUB, "o/n", NULL, "/a=b", KN_OK, NULL},
    {"another one", "o/nn=/a:oo/n=/b", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_OK, NULL},
    {"no '='", "o/n", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_INVALID,
     "Invalid LOCAL_KERNELS entry 'o/n'"},
    {"relative", "o/n=a/b", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_INVALID,
     "Invalid LOCAL_KERNELS entry 'o/n=a/b'"},
    {"no id", "=/a", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_INVALID,
     "Invalid LOCAL_KERNELS entry '=/a'"},
    {"no path", "o/n=", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_INVALID, "Invalid"},
    {"broken behind the one that is wanted", "o/n=/a:x", KN_REFERENCE_HUB, "o/n", NULL, NULL,
     KN_ERR_INVALID, "Invalid LOCAL_KERNELS entry 'x'"},
    {"a control character", "o/n=\n", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_INVALID,
     "\xEF\xBF\xBD"},
};

static void test_resolve(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const kn_reference reference = {
            .struct_size = sizeof(reference),
            .kind = rows[i].kind,
            .repo_id = rows[i].repo_id,
            .path = rows[i].path,
            .version_branch = -1,
            .text = rows[i].path ? rows[i].path : rows[i].repo_id,
        };
        kni_source source;
        kn_error err = KN_ERROR_INIT;
        kn_trace *trace = kn_trace_new();
        print_message("  %s\n", rows[i].name);
        if (rows[i].local_kernels)
            assert_int_equal(setenv("LOCAL_KERNELS", rows[i].local_kernels, 1), 0);
        else
            unsetenv("LOCAL_KERNELS"); // read at each call
        assert_int_equal(kni_source_init(&source, &reference, NULL, trace, &err), rows[i].status);
        assert_null(source.revision);
        if (rows[i].dir) {
            assert_string_equal(source.dir, rows[i].dir);
            assert_string_equal(source.key, rows[i].dir);
            assert_int_equal(kn_trace_count(trace), 1);
            assert_true(kn_trace_get(trace, 0).accepted);
        } else {
            assert_null(source.dir);
            assert_int_equal(kn_trace_count(trace), 0);
            assert_int_equal(source.key != NULL, rows[i].status == KN_OK);
        }
        if (rows[i].error && !strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        kn_trace_free(trace);
        kn_error_dispose(&err);
        kni_source_dispose(&source);
    }
    unsetenv("LOCAL_KERNELS");
}

// Whatever tells one wish from another is in the key, since what is kept goes by it.
static void test_keys(void **state)
{
    (void)state;
    static const kn_reference wishes[] = {
        {.repo_id = "o/n", .version_branch = -1},
        {.repo_id = "o/m", .version_branch = -1},
        {.repo_id = "o/n", .version_branch = 1},
        {.repo_id = "o/n", .version_branch = -1, .revision = "v1"},
        {.repo_id = "o/n", .version_branch = -1, .version = "v1"},
        {.repo_id = "o/n", .version_branch = -1, .lock = "/l"},
        {.repo_id = "o/n", .version_branch = -1, .sums = "/l"},
        {.repo_id = "o/n", .version_branch = -1, .trust_remote_code = 1},
    };
    char *keys[KN_LEN(wishes)];
    unsetenv("LOCAL_KERNELS");
    for (size_t i = 0; i < KN_LEN(wishes); ++i) {
        kn_reference wish = wishes[i];
        kni_source source;
        wish.kind = KN_REFERENCE_HUB;
        assert_int_equal(kni_source_init(&source, &wish, NULL, NULL, NULL), KN_OK);
        keys[i] = source.key;
        source.key = NULL;
        kni_source_dispose(&source);
        for (size_t k = 0; k < i; ++k)
            assert_string_not_equal(keys[i], keys[k]);
    }
    for (size_t i = 0; i < KN_LEN(wishes); ++i)
        kni_free(keys[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resolve), cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
