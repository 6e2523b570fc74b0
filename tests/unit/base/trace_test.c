#include "base/error.h"
#include "base/trace.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static void test_entries(void **state)
{
    (void)state;
    kn_trace *trace = kn_trace_new();
    assert_non_null(trace);
    assert_string_equal(kn_trace_text(trace), "");
    assert_true(kni_trace_add(trace, "variant", "tvm-ffi01-cu129", false, "backend",
                              "a newer driver", "needs CUDA %d.%d", 12, 9));
    assert_string_equal(kn_trace_text(trace), "variant tvm-ffi01-cu129: refused: needs CUDA 12.9 "
                                              "(would be admitted by a newer driver)");
    assert_true(kni_trace_add(trace, "variant", "tvm-ffi01-cpu", true, NULL, NULL, "fits"));
    assert_int_equal(kn_trace_count(trace), 2);
    assert_string_equal(kn_trace_text(trace),
                        "variant tvm-ffi01-cu129: refused: needs CUDA 12.9 "
                        "(would be admitted by a newer driver)\nvariant tvm-ffi01-cpu: fits");
    const kn_trace_entry entry = kn_trace_get(trace, 1);
    assert_true(entry.accepted);
    assert_string_equal(entry.stage, "variant");
    assert_string_equal(entry.subject, "tvm-ffi01-cpu");
    assert_string_equal(entry.rule, "");
    assert_string_equal(entry.reason, "fits");
    assert_string_equal(entry.admits, "");
    const kn_trace_entry none = kn_trace_get(trace, 2);
    assert_string_equal(none.reason, "");
    kn_trace_free(trace);
}

static void test_null(void **state)
{
    (void)state;
    assert_true(kni_trace_add(NULL, "a", "b", true, NULL, NULL, "c"));
    assert_true(kni_trace_append(NULL, NULL));
    assert_int_equal(kn_trace_count(NULL), 0);
    assert_string_equal(kn_trace_text(NULL), "");
    assert_string_equal(kn_trace_get(NULL, 0).stage, "");
    kn_trace_free(NULL);
}

static void test_text_is_clean(void **state)
{
    (void)state;
    kn_trace *trace = kn_trace_new();
    assert_true(kni_trace_add(trace, "variant", "a\nb", false, "name", NULL, "%s", "\x1b[1m"));
    assert_string_equal(kn_trace_text(trace), "variant a\xEF\xBF\xBD"
                                              "b: refused: \xEF\xBF\xBD[1m");
    kn_trace_free(trace);
}

static kn_status build(void *user, kn_error *err)
{
    (void)user;
    kn_trace *trace = kn_trace_new(), *copy = kn_trace_new();
    bool good = trace && copy;
    for (int i = 0; good && i < 20; ++i)
        good = kni_trace_add(trace, "mode", "INFERENCE", i & 1, "rule", "more", "entry %d", i);
    good = good && kni_trace_append(copy, trace);
    if (good) {
        assert_int_equal(kn_trace_count(copy), 20);
        good = kn_trace_text(copy)[0] != '\0';
    }
    kn_trace_free(copy);
    kn_trace_free(trace);
    return good ? KN_OK : kni_no_memory(err);
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, build, NULL) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_text_is_clean),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
