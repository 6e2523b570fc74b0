// Every allocation on the way to a kernel fails once.
#include "support/fail_alloc.h"
#include "support/package_dir.h"

#include "kernels/context.h"

static kn_status use(kn_context *ctx, const char *path, kn_error *err)
{
    kn_kernel *kernel = NULL;
    const kn_function *function = NULL;
    kn_value result;
    kn_trace *trace = kn_trace_new();
    kn_status st = trace ? KN_OK : kn_error_set(err, KN_ERR_NO_MEMORY, "trace");
    for (int i = 0; st == KN_OK && i < 2; ++i) // found, and kept
        st = kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path), &kernel, trace, err);
    if (st == KN_OK)
        st = kn_kernel_function(kernel, "half", &function, err);
    if (st == KN_OK)
        st = kn_function_call(function, KN_ARGS(kn_int(4)), &result, err);
    kn_trace_free(trace);
    return st;
}

// Without memory for the reasons why a device is not there, the machine does without them: opening may succeed all the same.
static void test_open(void **state)
{
    (void)state;
    for (size_t nth = 1;; ++nth) {
        kn_context *ctx = NULL;
        fail_alloc_install(FAIL_OURS, nth, false);
        const kn_status st = kn_context_open(NULL, &ctx, NULL);
        kn_context_close(ctx);
        const size_t held = fail_alloc_held();
        const bool failed = fail_alloc_remove();
        assert_int_equal(held, 0);
        assert_true(st == KN_OK || (failed && st == KN_ERR_NO_MEMORY && !ctx));
        if (!failed)
            break;
        if (nth <= 3) // the context, its mapping, the machine
            assert_int_equal(st, KN_ERR_NO_MEMORY);
    }
}

// A load that fails is said to have failed, holds nothing, and leaves the package to the next one in the same context.
static void test_get(void **state)
{
    (void)state;
    package_dir dir;
    package_make(&dir, "good.so",
                 ", \"cpu-features\": [], \"layers\": {\"Scale\": {\"signature\": \"(x: f32 "
                 "[...], factor: float = 2.0) -> (y: like x)\", \"forward\": \"scale(y, x, "
                 "factor)\", \"autocast\": \"f32\", \"tolerance\": {\"f32\": 1e-6}}}");
    package_set_canary(&dir);
    bool failed = true;
    for (size_t nth = 1; failed; ++nth)
        for (int persist = 0; persist < 2; ++persist) {
            kn_context *ctx = NULL;
            kn_error err = KN_ERROR_INIT;
            assert_int_equal(kn_context_open(NULL, &ctx, NULL), KN_OK);
            fail_alloc_install(FAIL_OURS | FAIL_JANSSON, nth, persist);
            const kn_status st = use(ctx, dir.root, &err);
            failed = fail_alloc_remove();
            if (st != (failed ? KN_ERR_NO_MEMORY : KN_OK) || err.status != st)
                fail_msg("allocation %zu: %d, %s", nth, st, kn_error_text(&err));
            kn_error_dispose(&err);
            assert_int_equal(use(ctx, dir.root, NULL), KN_OK);
            kn_context_close(ctx);
        }
    assert_int_equal(package_canary_count(&dir), 1);
    package_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
