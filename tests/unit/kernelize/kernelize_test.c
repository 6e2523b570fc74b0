// Kernelize through the public API: decisions, the transaction, the way back, what is said of it.
#include "support/package_dir.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/kernels.h"

#define LAYERS                                                                                     \
    ", \"layers\": {\"Scale\": {\"signature\": \"(x: f32 [..., d]) -> (y: like x)\", "             \
    "\"members\": \"factor: float\", \"forward\": \"scale(y, x, self.factor)\", "                  \
    "\"tolerance\": {\"f32\": 1e-6}}}"

// The own forward: y = -x, so that one sees who answered.
static kn_status negate(kn_module *self, const kn_value *v, int32_t n, void *user, kn_error *err)
{
    (void)self, (void)user;
    if (n != 2)
        return kn_error_set(err, KN_ERR_ARGUMENTS, "two values are expected");
    const float *x = v[0].as.tensor->data;
    float *y = v[1].as.tensor->data;
    for (int64_t i = 0; i < v[0].as.tensor->shape[0]; ++i)
        y[i] = -x[i];
    return KN_OK;
}

static float ask(kn_module *module, DLDataTypeCode code)
{
    float in[2] = {1, 2}, out[2] = {0, 0};
    int64_t shape[1] = {2};
    DLTensor x = {.data = in,
                  .device = {kDLCPU, 0},
                  .ndim = 1,
                  .dtype = {(uint8_t)code, 32, 1},
                  .shape = shape};
    DLTensor y = x;
    y.data = out;
    kn_error err = KN_ERROR_INIT;
    if (kn_call(module, KN_ARGS(kn_tensor(&x), kn_tensor(&y)), &err) != KN_OK)
        print_message("%s\n", kn_error_text(&err));
    assert_int_equal(err.status, KN_OK);
    return out[1];
}

static void test_first_path(void **state)
{
    (void)state;
    package_dir dir;
    kn_context *ctx = NULL;
    kn_class *cls = NULL;
    kn_module *root = NULL, *a = NULL, *b = NULL;
    kn_mapping *map = NULL;
    kn_plan *plan = NULL;
    kn_error err = KN_ERROR_INIT;
    package_make(&dir, "good.so", LAYERS);
    assert_int_equal(kn_context_open(NULL, &ctx, &err), KN_OK);
    assert_int_equal(
        kn_class_new(KN_CLASS_OPTIONS(.name = "test.Scale", .layer = "Scale", .forward = negate,
                                      .signature = "(x: f32 [..., d]) -> (y: like x)"),
                     &cls, &err),
        KN_OK);
    assert_int_equal(kn_module_new(NULL, "model", NULL, &root, &err), KN_OK);
    assert_int_equal(kn_module_new(root, "layers.0.scale", cls, &a, &err), KN_OK);
    assert_int_equal(kn_module_new(root, "layers.1.scale", cls, &b, &err), KN_OK);
    assert_int_equal(kn_module_set_value(a, "factor", kn_float(3), &err), KN_OK);
    assert_int_equal(kn_module_set_value(b, "factor", kn_float(5), &err), KN_OK);
    assert_int_equal(kn_mapping_with(NULL,
                                     KN_ENTRY(.layer = "Scale", .device = "cpu", .path = dir.root),
                                     1, &map, &err),
                     KN_OK);
    const kn_status st = kn_kernelize(
        ctx, root, KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu"),
        &plan, &err);
    print_message("%s\n%s\n", kn_error_text(&err), kn_plan_text(plan));
    assert_int_equal(st, KN_OK);
    char *json = NULL;
    assert_int_equal(kn_plan_json(plan, &json, &err), KN_OK);
    print_message("%s\n", json);
    kn_string_free(json);
    assert_true(ask(a, kDLFloat) == 6);
    assert_true(ask(b, kDLFloat) == 10);
    assert_true(ask(b, kDLInt) != 10);
    assert_int_equal(kn_module_fallback_count(b, KN_MISMATCH_DTYPE), 1);
    kn_plan_free(plan);
    assert_int_equal(kn_report(root, &plan, &err), KN_OK);
    print_message("%s\n", kn_plan_text(plan));
    kn_plan_free(plan);
    assert_int_equal(kn_unkernelize(root, &plan, &err), KN_OK);
    print_message("%s\n", kn_plan_text(plan));
    assert_true(ask(a, kDLFloat) == -2);
    kn_plan_free(plan);
    kn_module_free(root);
    kn_class_unref(cls);
    kn_mapping_unref(map);
    kn_context_close(ctx);
    package_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
