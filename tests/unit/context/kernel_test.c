#include "support/package_dir.h"

#include "kernels/context.h"

// A kernel of the good fixture, for all tests here.
static package_dir dir;
static kn_context *ctx;
static kn_kernel *kernel;

static int begin(void **state)
{
    (void)state;
    package_make(&dir, "good.so", "");
    kn_error err = KN_ERROR_INIT;
    if (kn_context_open(NULL, &ctx, &err) ||
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, NULL, &err))
        print_error("%s\n", kn_error_text(&err));
    return err.status == KN_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    kn_context_close(ctx);
    package_remove(&dir);
    return 0;
}

static const kn_function *get(const char *name)
{
    const kn_function *function = NULL, *again = NULL;
    assert_int_equal(kn_kernel_function(kernel, name, &function, NULL), KN_OK);
    assert_int_equal(kn_kernel_function(kernel, name, &again, NULL), KN_OK);
    assert_ptr_equal(function, again);
    return function;
}

static int64_t live_objects(void)
{
    kn_value result;
    assert_int_equal(kn_function_call(get("live_objects"), NULL, 0, &result, NULL), KN_OK);
    return result.as.integer;
}

static void test_functions(void **state)
{
    (void)state;
    static const struct {
        const char *name, *error;
    } rows[] = {
        {"nothing", "has no function 'nothing' (no symbol __tvm_ffi_nothing)"},
        {"", "no function of 0 characters"},
        {"__tvm_ffi_version", "has no function"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const kn_function *function = (const kn_function *)(uintptr_t)1;
        kn_error err = KN_ERROR_INIT;
        print_message("  '%s'\n", rows[i].name);
        assert_int_equal(kn_kernel_function(kernel, rows[i].name, &function, &err),
                         KN_ERR_NOT_FOUND);
        assert_null(function);
        assert_non_null(strstr(kn_error_text(&err), rows[i].error));
        kn_error_dispose(&err);
    }
    char name[300];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    const kn_function *function = NULL;
    assert_int_equal(kn_kernel_function(kernel, name, &function, NULL), KN_ERR_NOT_FOUND);
}

static void test_results(void **state)
{
    (void)state;
    kn_value result;
    assert_int_equal(kn_function_call(get("half"), KN_ARGS(kn_int(5)), &result, NULL), KN_OK);
    assert_int_equal(result.type, KN_VALUE_FLOAT);
    assert_true(result.as.number > 2.4 && result.as.number < 2.6);
    assert_int_equal(kn_function_call(get("is_even"), KN_ARGS(kn_int(5)), &result, NULL), KN_OK);
    assert_int_equal(result.type, KN_VALUE_BOOL);
    assert_int_equal(result.as.integer, 0);
    assert_int_equal(kn_function_call(get("half"), KN_ARGS(kn_int(5)), NULL, NULL), KN_OK);

    result = kn_int(77); // what the caller's variable holds does not reach the kernel
    assert_int_equal(kn_function_call(get("result_was_none"), NULL, 0, &result, NULL), KN_OK);
    assert_int_equal(result.type, KN_VALUE_BOOL);
    assert_int_equal(result.as.integer, 1);

    float x[3] = {1, 2, 3}, y[3] = {0};
    int64_t shape[] = {3}, strides[] = {1};
    DLTensor tx = {.data = x,
                   .device = {kDLCPU, 0},
                   .ndim = 1,
                   .dtype = {kDLFloat, 32, 1},
                   .shape = shape,
                   .strides = strides};
    DLTensor ty = tx;
    ty.data = y;
    assert_int_equal(kn_function_call(get("scale"),
                                      KN_ARGS(kn_tensor(&ty), kn_tensor(&tx), kn_float(2)), &result,
                                      NULL),
                     KN_OK);
    assert_int_equal(result.type, KN_VALUE_NONE);
    assert_true(y[0] > 1.9f && y[2] > 5.9f && y[2] < 6.1f);
}

static void test_objects_are_released(void **state)
{
    (void)state;
    kn_value result;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(live_objects(), 0);
    for (int i = 0; i < 10; ++i) {
        assert_int_equal(
            kn_function_call(get("make_object"), NULL, 0, i % 2 ? &result : NULL, NULL), KN_OK);
        if (i % 2)
            assert_int_equal(result.type, KN_VALUE_NONE);
    }
    assert_int_equal(live_objects(), 0);
    assert_int_equal(kn_function_call(get("fail_with_object"), NULL, 0, &result, &err),
                     KN_ERR_CALL);
    assert_int_equal(live_objects(), 0);
    kn_error_dispose(&err);
}

static void test_failures(void **state)
{
    (void)state;
    kn_value result = kn_int(1);
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_function_call(get("fail"), NULL, 0, &result, &err), KN_ERR_CALL);
    assert_string_equal(kn_error_text(&err), "fail: ValueError: fail: as it was asked to");
    assert_int_equal(result.type, KN_VALUE_NONE);
    kn_error_dispose(&err);

    // Nobody wants the text: the raised error is taken all the same, and the next failure does not find it.
    assert_int_equal(kn_function_call(get("fail"), NULL, 0, NULL, NULL), KN_ERR_CALL);
    assert_int_equal(kn_function_call(get("fail_silently"), NULL, 0, NULL, &err), KN_ERR_CALL);
    assert_string_equal(kn_error_text(&err),
                        "fail_silently: the kernel function failed (it returned -2) and raised "
                        "no error");
    kn_error_dispose(&err);

    assert_int_equal(kn_function_call(get("half"), KN_ARGS(kn_float(1)), NULL, &err), KN_ERR_CALL);
    assert_non_null(strstr(kn_error_text(&err), "TypeError"));
    kn_error_dispose(&err);
    assert_int_equal(kn_function_call(NULL, NULL, 0, NULL, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_function_call(get("half"), NULL, 1, NULL, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_function_call(get("half"), NULL, -1, NULL, NULL), KN_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_objects_are_released),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
