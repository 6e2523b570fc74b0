#include "support/package_dir.h"

#include "load/library.h"
#include "load/tvm_ffi.h"

// A package with a checked, open library.
typedef struct fixture {
    package_dir dir;
    char path[PACKAGE_PATH_MAX];
    kni_checked_file checked;
} fixture;

static void check_again(fixture *f)
{
    kni_checked_file_dispose(&f->checked);
    f->checked.fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(f->checked.fd >= 0);
    assert_int_equal(fstat(f->checked.fd, &f->checked.info), 0);
}

static void begin(fixture *f, const char *library)
{
    package_make(&f->dir, library, "");
    package_set_canary(&f->dir);
    package_path(f->dir.variant, "kernel.so", f->path);
    f->checked = KNI_CHECKED_FILE_INIT;
    check_again(f);
}

static void end(fixture *f)
{
    kni_checked_file_dispose(&f->checked);
    package_remove(&f->dir);
}

static int64_t version_of(const kni_library *library)
{
    TVMFFISafeCallType call;
    TVMFFIAny result = {.type_index = kTVMFFINone};
    void *symbol = kni_library_symbol(library, "__tvm_ffi_version");
    assert_non_null(symbol);
    memcpy(&call, &symbol, sizeof(symbol));
    assert_int_equal(call(NULL, NULL, 0, &result), 0);
    return result.v_int64;
}

static void test_open(void **state)
{
    (void)state;
    fixture f;
    kni_library library, again;
    begin(&f, "good.so");
    assert_int_equal(kni_library_open(f.path, &f.checked, &library, NULL), KN_OK);
    assert_int_equal(package_canary_count(&f.dir), 1);
    assert_true(
        package_is_mapped(&f.dir)); // or the tests that look for nothing there prove nothing
    assert_int_equal(version_of(&library), 1);
    assert_int_equal(kni_library_open(f.path, &f.checked, &again, NULL), KN_OK);
    assert_ptr_equal(again.handle, library.handle);
    assert_int_equal(package_canary_count(&f.dir), 1);

    assert_null(kni_library_symbol(&library, "__tvm_ffi_nothing"));
    assert_null(kni_library_symbol(&library, "TVMFFIGetVersion")); // of a library that it needs
    assert_null(kni_library_symbol(&library, "malloc"));
    end(&f);
}

static void expect_refused(const fixture *f, kn_status status, const char *text)
{
    kni_library library;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_library_open(f->path, &f->checked, &library, &err), status);
    if (!strstr(kn_error_text(&err), text))
        fail_msg("'%s' lacks '%s'", kn_error_text(&err), text);
    kn_error_dispose(&err);
}

static void test_changed_since_the_check(void **state)
{
    (void)state;
    fixture f;
    begin(&f, "good.so");
    usleep(20 * 1000); // times of files have the grain of a timer tick
    const int fd = open(f.path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "\x7f", 1, 0) == 1); // the same byte: times alone tell
    close(fd);
    expect_refused(&f, KN_ERR_UNTRUSTED, "was changed after it was checked");
    assert_int_equal(package_canary_count(&f.dir), 0);
    assert_false(package_is_mapped(&f.dir));
    end(&f);

    begin(&f, "good.so");
    package_copy_library(f.dir.variant, "good_2.so", "kernel.so"); // by rename: another file
    expect_refused(&f, KN_ERR_UNTRUSTED, "was changed after it was checked");
    assert_int_equal(package_canary_count(&f.dir), 0);
    assert_false(package_is_mapped(&f.dir));
    end(&f);
}

// The linker answers by name: what is loaded under the path stays, whatever lies there now.
static void test_replaced_while_loaded(void **state)
{
    (void)state;
    fixture f;
    kni_library library;
    begin(&f, "good.so");
    assert_int_equal(kni_library_open(f.path, &f.checked, &library, NULL), KN_OK);
    package_copy_library(f.dir.variant, "good_2.so", "kernel.so");
    check_again(&f);
    expect_refused(&f, KN_ERR_LOAD, "another file is loaded under this path");
    assert_int_equal(package_canary_count(&f.dir), 1); // the second one never ran
    assert_int_equal(version_of(&library), 1);
    end(&f);
}

// Written to in place while it is loaded: the same file, other bytes.
static void test_written_while_loaded(void **state)
{
    (void)state;
    fixture f;
    kni_library library;
    kn_error err = KN_ERROR_INIT;
    begin(&f, "good.so");
    assert_int_equal(kni_library_open(f.path, &f.checked, &library, NULL), KN_OK);
    assert_int_equal(kni_library_verify(&library, f.path, &f.checked, NULL), KN_OK);
    const int fd = open(f.path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    assert_int_equal(kni_library_verify(&library, f.path, &f.checked, &err), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "was written to after it was checked"));
    kn_error_dispose(&err);
    end(&f);
}

static void test_not_an_object(void **state)
{
    (void)state;
    fixture f;
    begin(&f, "good.so");
    package_text(f.dir.variant, "kernel.so", "text");
    check_again(&f);
    expect_refused(&f, KN_ERR_LOAD, f.path);
    end(&f);
}

// The fixtures need libtvm_ffi, which the process has by then.
static int open_tvm_ffi(void **state)
{
    (void)state;
    kni_tvm_ffi api;
    return kni_tvm_ffi_open(NULL, &api, NULL) == KN_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_changed_since_the_check),
        cmocka_unit_test(test_replaced_while_loaded),
        cmocka_unit_test(test_written_while_loaded),
        cmocka_unit_test(test_not_an_object),
    };
    return cmocka_run_group_tests(tests, open_tvm_ffi, NULL);
}
