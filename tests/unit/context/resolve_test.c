#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "context/resolve.h"

static const struct {
    const char *name;
    const char *local_kernels; // NULL: not set
    kn_reference_kind kind;
    const char *repo_id, *path;
    const char *dir; // NULL: refused
    kn_status status;
    const char *error;
} rows[] = {
    {"path", NULL, KN_REFERENCE_PATH, NULL, "/a/b", "/a/b", KN_OK, NULL},
    {"relative path", NULL, KN_REFERENCE_PATH, NULL, "a/b", NULL, KN_ERR_INVALID, "not absolute"},
    {"a path is not looked up", "/a/b=/c", KN_REFERENCE_PATH, NULL, "/a/b", "/a/b", KN_OK, NULL},
    {"hub", NULL, KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_NOT_FOUND, "no hub in this build"},
    {"locked", NULL, KN_REFERENCE_LOCKED, "o/n", NULL, NULL, KN_ERR_NOT_FOUND, "no hub"},
    {"local", "o/n=/a/b", KN_REFERENCE_HUB, "o/n", NULL, "/a/b", KN_OK, NULL},
    {"local, locked", "o/n=/a/b", KN_REFERENCE_LOCKED, "o/n", NULL, "/a/b", KN_OK, NULL},
    {"one of several", "x/y=/x:o/n=/a/b:z/z=/z", KN_REFERENCE_HUB, "o/n", NULL, "/a/b", KN_OK,
     NULL},
    {"the first of two", "o/n=/a:o/n=/b", KN_REFERENCE_HUB, "o/n", NULL, "/a", KN_OK, NULL},
    {"empty entries", ":o/n=/a::", KN_REFERENCE_HUB, "o/n", NULL, "/a", KN_OK, NULL},
    {"'=' in the path", "o/n=/a=b", KN_REFERENCE_HUB, "o/n", NULL, "/a=b", KN_OK, NULL},
    {"another one", "o/nn=/a:oo/n=/b", KN_REFERENCE_HUB, "o/n", NULL, NULL, KN_ERR_NOT_FOUND,
     "no hub"},
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
        assert_int_equal(kni_resolve(&reference, &source, trace, &err), rows[i].status);
        if (rows[i].dir) {
            assert_string_equal(source.dir, rows[i].dir);
            assert_string_equal(source.revision, "");
            assert_int_equal(kn_trace_count(trace), 1);
            assert_true(kn_trace_get(trace, 0).accepted);
        } else {
            assert_null(source.dir);
            if (!strstr(kn_error_text(&err), rows[i].error))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        }
        if (rows[i].status == KN_ERR_NOT_FOUND) {
            assert_string_equal(kn_trace_get(trace, 0).rule, "hub");
            assert_non_null(strstr(kn_trace_get(trace, 0).admits, "LOCAL_KERNELS="));
        }
        kn_trace_free(trace);
        kn_error_dispose(&err);
        kni_source_dispose(&source);
    }
    unsetenv("LOCAL_KERNELS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resolve)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
