#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "load/tvm_ffi.h"

#define LIBRARY KN_TEST_BUILD_DIR "/lib/libtvm_ffi.so"
#define OTHER_COPY KN_TEST_BUILD_DIR "/fixtures/packages/good.so" // any other file

static void own_handler(int number)
{
    (void)number;
}

#define HELPERS KN_TEST_BUILD_DIR "/fixtures/packages/helpers/"

// Stand-ins without a SONAME: what comes later finds no libtvm_ffi in the process.
static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *path, *error; // NULL: accepted
    } rows[] = {
        {HELPERS "tvm_ffi_major.so", "or a newer minor"},
        {HELPERS "tvm_ffi_older.so", "libtvm_ffi has version "},
        {HELPERS "tvm_ffi_newer.so", NULL},
        {HELPERS "libkn_fixture_helper.so", "has no symbol TVMFFIGetVersion"},
        {"/nowhere/libtvm_ffi.so", "/nowhere/libtvm_ffi.so"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_tvm_ffi api;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].path);
        assert_int_equal(kni_tvm_ffi_open(rows[i].path, &api, &err),
                         rows[i].error ? KN_ERR_LOAD : KN_OK);
        if (rows[i].error && !strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        kn_error_dispose(&err);
    }
}

// In this order: the library is opened once in a process.
static void test_open(void **state)
{
    (void)state;
    kni_tvm_ffi api;
    kn_error err = KN_ERROR_INIT;
    struct sigaction own = {.sa_handler = own_handler, .sa_flags = SA_RESTART}, now;
    assert_int_equal(sigaction(SIGSEGV, &own, NULL), 0);

    assert_null(dlopen("libtvm_ffi.so", RTLD_NOW | RTLD_NOLOAD)); // nothing before us opened it
    if (kni_tvm_ffi_open(LIBRARY, &api, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_false(api.was_loaded);
    assert_int_equal(api.version.major, TVM_FFI_VERSION_MAJOR);
    assert_int_equal(api.version.minor, TVM_FFI_VERSION_MINOR);
    assert_non_null(api.object_dec_ref);
    assert_non_null(api.error_move_from_raised);

    assert_int_equal(sigaction(SIGSEGV, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, own_handler);
    assert_int_equal(now.sa_flags & SA_RESTART, SA_RESTART);
    assert_int_equal(signal(SIGSEGV, SIG_DFL) == SIG_ERR, 0);
}

static void test_loaded_copy_is_preferred(void **state)
{
    (void)state;
    kni_tvm_ffi api;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_tvm_ffi_open(NULL, &api, NULL), KN_OK);
    assert_true(api.was_loaded);
    assert_int_equal(kni_tvm_ffi_open(LIBRARY, &api, NULL), KN_OK); // the same file

    assert_int_equal(kni_tvm_ffi_open(OTHER_COPY, &api, &err), KN_ERR_LOAD);
    assert_non_null(strstr(kn_error_text(&err), "another copy of libtvm_ffi is loaded"));
    kn_error_dispose(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_loaded_copy_is_preferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
