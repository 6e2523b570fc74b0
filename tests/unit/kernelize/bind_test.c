// A bound call: the guard and what happens when it refuses, members, kernels that raise, devices that differ.
#include "kernelize/bind.h"

#include "kernelize/world.h"

#define OPTIONS(...)                                                                               \
    KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu", __VA_ARGS__)

static const DLDataType f32 = {kDLFloat, 32, 1}, i32 = {kDLInt, 32, 1};

// A model of one module, bound to a layer of the package.
static kn_module *bound(world *w, const char *layer_name, uint32_t fallback)
{
    kn_mapping *map = world_map_one(w, "L", layer_name, 0);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_class *cls = world_class(w, "C", "L", NULL);
    kn_module *m = world_module(w, root, "m", cls);
    kn_class_unref(cls);
    world_ok(w, kn_kernelize(w->ctx, root, OPTIONS(.fallback = fallback), NULL, &w->err));
    assert_true(kn_module_is_kernelized(m));
    kn_mapping_unref(map);
    return m;
}

static void free_bound(kn_module *m)
{
    kn_module_free(kn_module_parent(m));
}

// Refused arguments: the own forward and a count, or an error in strict models.
static void test_refusals(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    float in[4] = {1, 2, 3, 4}, out[4];
    int64_t two[2] = {2, 2}, one[1] = {4}, none[1] = {-1};
    const DLTensor good = {
        .data = in, .device = {kDLCPU, 0}, .ndim = 1, .dtype = f32, .shape = one};
    DLTensor y = good, y2 = good, yi = good, nul = good, gpu = good, odd = good, over = good;
    y.data = y2.data = yi.data = gpu.data = odd.data = out;
    y2.ndim = 2, y2.shape = two;
    yi.dtype = i32;
    nul.data = NULL;
    gpu.device.device_type = kDLCUDA;
    odd.shape = none;
    over.data = in + 1;
    const kn_value x = kn_tensor(&good);
    const struct {
        const char *name;
        kn_value values[4];
        int32_t n;
        kn_mismatch_reason reason;
        const char *text;
    } rows[] = {
        {"too few", {x}, 1, KN_MISMATCH_COUNT, ""},
        {"none", {x}, 0, KN_MISMATCH_COUNT, ""},
        {"too many", {x, x, kn_tensor(&y)}, 3, KN_MISMATCH_COUNT, ""},
        {"an int", {kn_int(1), kn_tensor(&y)}, 2, KN_MISMATCH_KIND, "argument x"},
        {"output is none", {x, kn_none()}, 2, KN_MISMATCH_KIND, "y"},
        {"dtype", {kn_tensor(&yi), kn_tensor(&y)}, 2, KN_MISMATCH_DTYPE, "argument x|i32|f32"},
        {"output's dtype", {x, kn_tensor(&yi)}, 2, KN_MISMATCH_DTYPE, "y|i32"},
        {"output's rank", {x, kn_tensor(&y2)}, 2, KN_MISMATCH_RANK, "y"},
        {"no data", {kn_tensor(&nul), kn_tensor(&y)}, 2, KN_MISMATCH_DATA, "argument x|no data"},
        {"device", {kn_tensor(&gpu), kn_tensor(&y)}, 2, KN_MISMATCH_DEVICE, "argument x|cuda"},
        {"negative extent", {kn_tensor(&odd), kn_tensor(&y)}, 2, KN_MISMATCH_SHAPE, "argument x"},
        {"overlap", {x, kn_tensor(&over)}, 2, KN_MISMATCH_OVERLAP, "y|overlaps"},
    };
    kn_module *m = bound(w, "Plain", 0), *strict = bound(w, "Plain", KN_FALLBACK_NONE);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        const uint64_t before = kn_module_fallback_count(m, rows[i].reason);
        out[0] = 0;
        world_ok(w, kn_call(m, rows[i].values, rows[i].n, &w->err));
        assert_int_equal(kn_module_fallback_count(m, rows[i].reason), before + 1);
        in[1] = 2; // where the overlap wrote
        char text[128];
        snprintf(text, sizeof(text), "module m: kernel layer Plain|%s", rows[i].text);
        world_fails(w, kn_call(strict, rows[i].values, rows[i].n, &w->err), KN_ERR_ARGUMENTS, text);
        assert_int_equal(kn_call(strict, rows[i].values, rows[i].n, NULL), KN_ERR_ARGUMENTS);
        assert_int_equal(kn_module_fallback_count(strict, rows[i].reason), 0);
    }
    world_fails(w, kn_call(strict, NULL, 0, &w->err), KN_ERR_ARGUMENTS, "module m");
    world_fails(w, kn_call(strict, rows[0].values, -1, &w->err), KN_ERR_ARGUMENTS, "module m");
    out[0] = 0;
    world_ok(w, kn_call(strict, KN_ARGS(x, kn_tensor(&y)), &w->err));
    assert_true(out[3] == 8);
    assert_int_equal(kn_module_fallback_count(m, KN_MISMATCH_REASONS), 0);
    assert_int_equal(kn_module_fallback_count(m, (kn_mismatch_reason)-1), 0);
    free_bound(m);
    free_bound(strict);
    world_close(w);
}

static kn_status refuse(kn_module *self, const kn_value *v, int32_t n, void *user, kn_error *err)
{
    (void)self, (void)v, (void)n;
    ++*(int *)user;
    return kn_error_set(err, KN_ERR_UNSUPPORTED, "own forward speaks");
}

// The fallback's own failure passes through, with the arguments as they came.
static void test_failing_fallback(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_class *cls = NULL;
    int calls = 0;
    world_ok(w, kn_class_new(
                    KN_CLASS_OPTIONS(.name = "C", .layer = "L", .forward = refuse, .user = &calls),
                    &cls, &w->err));
    kn_module *m = world_module(w, NULL, "model", cls);
    world_ok(w, kn_kernelize(w->ctx, m, OPTIONS(0), NULL, &w->err));
    world_fails(w, kn_call(m, KN_ARGS(kn_int(3)), &w->err), KN_ERR_UNSUPPORTED,
                "own forward speaks");
    assert_int_equal(calls, 1);
    assert_int_equal(world_ask(m), KERNEL);
    assert_int_equal(calls, 1);
    kn_module_free(m);
    kn_class_unref(cls);
    kn_mapping_unref(map);
    world_close(w);
}

static void test_members(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *m = bound(w, "Member", 0);
    assert_int_equal(world_ask(m), OWN); // the member is missing
    assert_int_equal(kn_module_fallback_count(m, KN_MISMATCH_MEMBER), 1);
    world_ok(w, kn_module_set_value(m, "other", kn_float(9), &w->err));
    world_ok(w, kn_module_set_value(m, "factor", kn_float(2), &w->err)); // read at call time
    assert_int_equal(world_ask(m), KERNEL);
    world_ok(w, kn_module_set_value(m, "factor", kn_float(7), &w->err));
    assert_int_equal(world_ask(m), SOMEBODY);
    world_ok(w, kn_module_set_value(m, "factor", kn_bool(true), &w->err)); // of another kind
    assert_int_equal(world_ask(m), OWN);
    assert_int_equal(kn_module_fallback_count(m, KN_MISMATCH_KIND) +
                         kn_module_fallback_count(m, KN_MISMATCH_MEMBER),
                     2);
    free_bound(m);

    m = bound(w, "Member", KN_FALLBACK_NONE);
    kn_status st;
    world_call(m, f32, 0, &st, &w->err);
    world_fails(w, st, KN_ERR_ARGUMENTS, "module m: kernel layer Member|factor");
    free_bound(m);
    world_close(w);
}

static void test_raising(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_status st;
    kn_module *m = bound(w, "Raise", 0);
    for (int i = 0; i < 2; ++i) { // no fallback: the kernel may have written
        world_call(m, f32, 0, &st, &w->err);
        world_fails(w, st, KN_ERR_CALL,
                    "module m: kernel layer Raise: |ValueError|as it was asked to");
    }
    world_call(m, f32, 0, &st, NULL);
    assert_int_equal(st, KN_ERR_CALL);
    assert_int_equal(world_ask(m), NOBODY);
    free_bound(m);
    m = bound(w, "Silent", 0);
    world_call(m, f32, 0, &st, &w->err);
    world_fails(w, st, KN_ERR_CALL, "module m: kernel layer Silent|raised no error");
    free_bound(m);
    // A returned object is released.
    kn_kernel *kernel = NULL;
    const kn_function *live = NULL;
    kn_value n = kn_none();
    m = bound(w, "Object", 0);
    for (int i = 0; i < 5; ++i)
        world_call(m, f32, 0, &st, &w->err);
    world_ok(w, st);
    world_ok(w, kn_context_get_kernel(w->ctx, KN_KERNEL_OPTIONS(.path = w->dir.root), &kernel, NULL,
                                      &w->err));
    world_ok(w, kn_kernel_function(kernel, "live_objects", &live, &w->err));
    world_ok(w, kn_function_call(live, NULL, 0, &n, &w->err));
    assert_int_equal(n.as.integer, 0);
    free_bound(m);
    world_close(w);
}

// A kernel that was chosen for one of several devices that differ takes tensors of no other.
static void test_devices_that_differ(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_kernel *kernel = NULL;
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    kn_host_kernel chosen = {.struct_size = sizeof(chosen),
                             .layer_name = "Plain",
                             .device = KN_DEVICE_CPU,
                             .device_index = 1};
    kni_kernel_binding *record = NULL, *again = NULL, *strict = NULL;
    kn_class *cls = world_class(w, "C", "L", SIGNATURE);
    kn_module *m = world_module(w, NULL, "model", cls);
    world_ok(w, kn_context_get_kernel(w->ctx, KN_KERNEL_OPTIONS(.path = w->dir.root), &kernel, NULL,
                                      &w->err));
    world_ok(w, kn_package_layer_find(kn_kernel_package(kernel), "Plain", &layer, &w->err));
    world_ok(w, kn_kernel_function(kernel, "scale", &chosen.forward, &w->err));
    chosen.kernel = kernel;
    chosen.layer = layer.layer;
    world_ok(w, kni_bind(w->ctx, cls, &chosen, &record, &w->err));
    world_ok(w, kni_bind(w->ctx, cls, &chosen, &again, &w->err));
    assert_ptr_equal(record, again); // one record for each kernel layer and class
    chosen.strict = 1;
    world_ok(w, kni_bind(w->ctx, cls, &chosen, &strict, &w->err));
    assert_ptr_not_equal(record, strict);

    float in[1] = {1}, out[1] = {0};
    int64_t shape[1] = {1};
    DLTensor x = {.data = in, .device = {kDLCPU, 1}, .ndim = 1, .dtype = f32, .shape = shape};
    DLTensor y = x;
    y.data = out;
    const kn_value values[2] = {kn_tensor(&x), kn_tensor(&y)};
    world_ok(w, record->binding.call(m, values, 2, &record->binding, &w->err));
    assert_true(out[0] == 2);
    x.device.device_id = y.device.device_id = 0;
    world_ok(w, record->binding.call(m, values, 2, &record->binding, &w->err));
    assert_true(out[0] == -1);
    assert_int_equal(kn_module_fallback_count(m, KN_MISMATCH_DEVICE), 1);
    world_fails(w, strict->binding.call(m, values, 2, &strict->binding, &w->err), KN_ERR_ARGUMENTS,
                "kernel layer Plain: x: on device 0 of its type, accepted device 1");
    x.device.device_id = 1; // not even on one device: the guard's own words
    world_fails(w, strict->binding.call(m, values, 2, &strict->binding, &w->err), KN_ERR_ARGUMENTS,
                "y: on cpu");
    kn_module_free(m);
    kn_class_unref(cls);
    world_close(w);
}

// The bound kernel's own signature answers for the outputs.
static void test_infer(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *m = bound(w, "CopyTwo", 0);
    float data[3];
    int64_t shape[1] = {3};
    DLTensor x = {.data = data, .device = {kDLCPU, 0}, .ndim = 1, .dtype = f32, .shape = shape};
    kn_tensor_type out[2];
    const kn_value in = kn_tensor(&x);
    world_ok(w, kn_module_infer(m, &in, 1, out, 2, &w->err));
    assert_int_equal(out[1].shape[0], 3);
    world_ok(w, kn_unkernelize(m, NULL, &w->err));
    world_fails(w, kn_module_infer(m, &in, 1, out, 2, &w->err), KN_ERR_UNSUPPORTED, "no signature");
    free_bound(m);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_fallback),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_raising),
        cmocka_unit_test(test_devices_that_differ),
        cmocka_unit_test(test_infer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
