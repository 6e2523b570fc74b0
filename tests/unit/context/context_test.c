#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/context.h"

static void test_defaults(void **state)
{
    (void)state;
    kn_context *ctx = NULL;
    unsetenv("KERNELS_DEVICE");
    assert_int_equal(kn_context_open(NULL, &ctx, NULL), KN_OK);
    assert_int_equal(kn_machine_device_count(kn_context_machine(ctx), KN_DEVICE_CPU), 1);
    kn_mapping *mapping = kn_context_mapping(ctx);
    assert_int_equal(kn_mapping_count(mapping), 0);
    kn_mapping_unref(mapping);
    kn_context_close(ctx);
    kn_context_close(NULL);
}

static void test_device(void **state)
{
    (void)state;
    static const struct {
        const char *name, *variable, *option;
        size_t n_cuda;
        kn_status status;
        const char *error;
    } rows[] = {
        {"variable", "cuda:9.0,cuda:8.0", NULL, 2, KN_OK, NULL},
        {"the option wins", "cuda:9.0,cuda:8.0", "cuda:7.5", 1, KN_OK, NULL},
        {"an empty variable is none", "", NULL, 0, KN_OK, NULL},
        {"broken variable", "cuda:x", NULL, 0, KN_ERR_INVALID, "KERNELS_DEVICE: "},
        {"broken option", NULL, "toaster", 0, KN_ERR_INVALID, "toaster"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_context *ctx = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        if (rows[i].variable)
            assert_int_equal(setenv("KERNELS_DEVICE", rows[i].variable, 1), 0);
        else
            unsetenv("KERNELS_DEVICE");
        assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.device = rows[i].option), &ctx, &err),
                         rows[i].status);
        if (rows[i].error) {
            assert_null(ctx);
            assert_non_null(strstr(kn_error_text(&err), rows[i].error));
        } else if (rows[i].n_cuda) {
            assert_int_equal(kn_machine_device_count(kn_context_machine(ctx), KN_DEVICE_CUDA),
                             rows[i].n_cuda);
        }
        kn_error_dispose(&err);
        kn_context_close(ctx);
    }
    unsetenv("KERNELS_DEVICE");
}

static void test_tvm_ffi(void **state)
{
    (void)state;
    kn_context *ctx = NULL;
    kn_tvm_ffi info = KN_TVM_FFI_INIT;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_context_open(NULL, &ctx, NULL), KN_OK);
    assert_int_equal(kn_context_tvm_ffi(ctx, NULL, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_context_tvm_ffi(ctx, &info, NULL), KN_OK);
    assert_true(info.major > 0 || info.minor > 0 || info.patch > 0);
    assert_non_null(strstr(info.path, "libtvm_ffi.so"));
    kn_context_close(ctx);

    assert_int_equal(
        kn_context_open(KN_CONTEXT_OPTIONS(.tvm_ffi = "/no/such/library.so"), &ctx, NULL), KN_OK);
    assert_int_equal(kn_context_tvm_ffi(ctx, &info, &err), KN_ERR_LOAD);
    kn_error_dispose(&err);
    kn_context_close(ctx);
}

static void test_mapping(void **state)
{
    (void)state;
    kn_mapping *one = NULL;
    kn_context *ctx = NULL;
    assert_int_equal(
        kn_mapping_with(NULL, KN_ENTRY(.layer = "A", .device = "cpu", .path = "/a"), 1, &one, NULL),
        KN_OK);
    assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.mapping = one), &ctx, NULL), KN_OK);
    kn_mapping *held = kn_context_mapping(ctx);
    assert_int_equal(kn_mapping_count(held), 1);
    kn_context_set_mapping(ctx, NULL);
    kn_mapping *empty = kn_context_mapping(ctx);
    assert_int_equal(kn_mapping_count(empty), 0);
    assert_int_equal(kn_mapping_count(held), 1); // what was handed out is not changed
    kn_context_set_mapping(ctx, one);
    kn_mapping_unref(one);
    kn_context_close(ctx);
    assert_int_equal(kn_mapping_count(held), 1);
    kn_mapping_unref(held);
    kn_mapping_unref(empty);
}

static void test_wrong_use(void **state)
{
    (void)state;
    kn_context_options opts = KN_CONTEXT_OPTIONS_INIT;
    kn_context *ctx = NULL;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_context_open(NULL, NULL, NULL), KN_ERR_INVALID);
    opts.struct_size = 0;
    assert_int_equal(kn_context_open(&opts, &ctx, NULL), KN_ERR_INVALID);
    opts.struct_size = offsetof(kn_context_options, device); // an older program's
    opts.device = "toaster";
    assert_int_equal(kn_context_open(&opts, &ctx, NULL), KN_OK);
    kn_context_close(ctx);
    opts = KN_CONTEXT_OPTIONS_INIT;
    opts.flags = 1;
    assert_int_equal(kn_context_open(&opts, &ctx, &err), KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "flags 0x1"));
    kn_error_dispose(&err);
    assert_int_equal(
        kn_context_open(KN_CONTEXT_OPTIONS(.tvm_ffi = "lib/libtvm_ffi.so"), &ctx, &err),
        KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "not absolute"));
    kn_error_dispose(&err);
    assert_null(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),  cmocka_unit_test(test_device),
        cmocka_unit_test(test_tvm_ffi),   cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
