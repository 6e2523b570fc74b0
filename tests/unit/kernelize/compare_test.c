// A kernel against the own forward. The kernel copies its input, the own forward writes what the test says.
#include <math.h>

#include "kernelize/world.h"

enum { ELEMENTS_MAX = 8 };

// Numbers in a dtype, and what they are rounded to is the test's business: all are exact in each.
typedef struct side {
    DLTensor tensor;
    int64_t shape[3];
    union {
        double f64[ELEMENTS_MAX];
        float f32[ELEMENTS_MAX];
        uint16_t bits[ELEMENTS_MAX];
        int32_t i32[ELEMENTS_MAX];
    } data;
} side;

static uint16_t to_half(double value)
{
    if (isnan(value))
        return 0x7E00;
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    if (isinf(value))
        return sign | 0x7C00;
    int exponent;
    const double fraction = frexp(fabs(value), &exponent); // in [0.5, 1)
    if (value == 0)
        return sign;
    if (exponent < -13) // subnormal
        return sign | (uint16_t)ldexp(fabs(value), 24);
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
                      ((uint16_t)ldexp(fraction, 11) & 0x3FF));
}

static void fill(side *s, DLDataType dtype, int32_t ndim, const int64_t *shape,
                 const double *values)
{
    memset(s, 0, sizeof(*s));
    size_t n = 1;
    for (int32_t i = 0; i < ndim; ++i) {
        s->shape[i] = shape[i];
        n *= (size_t)shape[i];
    }
    for (size_t i = 0; i < n && values; ++i) {
        const float f = (float)values[i];
        uint32_t word;
        memcpy(&word, &f, sizeof(word));
        if (dtype.code == kDLFloat && dtype.bits == 64)
            s->data.f64[i] = values[i];
        else if (dtype.code == kDLFloat && dtype.bits == 32)
            s->data.f32[i] = f;
        else
            s->data.bits[i] = dtype.code == kDLBfloat ? (uint16_t)(word >> 16) : to_half(values[i]);
    }
    s->tensor = (DLTensor){
        .data = &s->data, .device = {kDLCPU, 0}, .ndim = ndim, .dtype = dtype, .shape = s->shape};
}

static kn_status write_own(kn_module *self, const kn_value *v, int32_t n, void *user, kn_error *err)
{
    const side *own = user;
    (void)self;
    if (!own)
        return kn_error_set(err, KN_ERR_IO, "the own forward gave up");
    for (int32_t i = 1; i < n; ++i)
        memcpy(v[i].as.tensor->data, &own->data, sizeof(own->data));
    return KN_OK;
}

// A bound module whose own forward writes *own.
static kn_module *make(world *w, const char *layer_name, side *own)
{
    kn_class *cls = NULL;
    kn_mapping *map = world_map_one(w, "L", layer_name, 0);
    kn_module *root = world_module(w, NULL, "model", NULL);
    world_ok(w, kn_class_new(
                    KN_CLASS_OPTIONS(.name = "C", .layer = "L", .forward = write_own, .user = own),
                    &cls, &w->err));
    kn_module *m = world_module(w, root, "m", cls);
    world_ok(w, kn_kernelize(w->ctx, root,
                             KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                  .device = "cpu"),
                             NULL, &w->err));
    kn_class_unref(cls);
    kn_mapping_unref(map);
    return m;
}

#define F64                                                                                        \
    {                                                                                              \
        kDLFloat, 64, 1                                                                            \
    }
#define F32                                                                                        \
    {                                                                                              \
        kDLFloat, 32, 1                                                                            \
    }
#define F16                                                                                        \
    {                                                                                              \
        kDLFloat, 16, 1                                                                            \
    }
#define BF16                                                                                       \
    {                                                                                              \
        kDLBfloat, 16, 1                                                                           \
    }

static void test_table(void **state)
{
    (void)state;
    const double inf = (double)INFINITY, nan = (double)NAN;
    const struct {
        const char *name;
        DLDataType dtype;
        int32_t ndim;
        int64_t shape[3];
        double kernel[ELEMENTS_MAX], own[ELEMENTS_MAX];
        double max_abs, max_rel, tolerance;
        bool within;
        int64_t element;
    } rows[] = {
        {"equal", F32, 1, {3}, {1, 2, 3}, {1, 2, 3}, 0, 0, 2e-3, true, 0},
        {"at the tolerance", F32, 1, {2}, {1000, 2}, {1000, 4}, 2, 2e-3, 2e-3, true, 1},
        {"beyond", F32, 1, {2}, {1000, 1}, {1000, 4}, 3, 3e-3, 2e-3, false, 1},
        {"f64", F64, 1, {1}, {1 + 0x1p-29}, {1}, 0x1p-29, 0x1p-29, 2e-9, true, 0},
        {"f64 beyond", F64, 1, {1}, {1 + 0x1p-28}, {1}, 0x1p-28, 0x1p-28, 2e-9, false, 0},
        {"f16", F16, 1, {2}, {1024, 0.5}, {1024, 4.5}, 4, 4.0 / 1024, 2e-2, true, 1},
        {"f16 subnormal", F16, 1, {1}, {0x1p-24}, {0x1p-23}, 0x1p-24, 0.5, 2e-2, false, 0},
        {"f16 special", F16, 1, {3}, {inf, nan, -1}, {inf, nan, -1}, 0, 0, 2e-2, true, 0},
        {"bf16", BF16, 1, {2}, {64, 8}, {64, -2}, 10, 10.0 / 64, 2e-1, true, 1},
        {"a row for itself",
         F32,
         2,
         {2, 2},
         {1000, 1000, 1, 1},
         {1000, 1000, 1, 1.5},
         0.5,
         0.5 / 1.5,
         2e-3,
         false,
         3},
        {"the worst row", F32, 2, {2, 2}, {8, 7, 4, 2}, {8, 8, 4, 4}, 2, 0.5, 2e-3, false, 3},
        {"nothing to be relative to", F32, 1, {2}, {0, 1}, {0, 0}, 1, inf, 2e-3, false, 1},
        {"NaN in the same place", F32, 1, {2}, {nan, 1}, {nan, 1}, 0, 0, 2e-3, true, 0},
        {"NaN in the kernel", F32, 1, {2}, {nan, 1}, {2, 1}, 0, 0, 2e-3, false, 0},
        {"NaN in the own", F32, 1, {2}, {1, 1}, {nan, 1}, 0, 0, 2e-3, false, 0},
        {"infinities", F32, 1, {2}, {inf, -inf}, {inf, -inf}, 0, 0, 2e-3, true, 0},
        {"another sign", F32, 1, {2}, {inf, 1}, {-inf, 1}, 0, 0, 2e-3, false, 0},
        {"infinity and a number", F32, 1, {2}, {1, 1}, {inf, 1}, 0, 0, 2e-3, false, 0},
        {"rank 0", F32, 0, {0}, {3}, {4}, 1, 0.25, 2e-3, false, 0},
        {"rank 3", F32, 3, {2, 1, 2}, {1, 2, 3, 4}, {1, 2, 3, 5}, 1, 0.2, 2e-3, false, 3},
        {"empty", F32, 2, {0, 3}, {0}, {0}, 0, 0, 2e-3, true, 0},
        {"empty rows", F32, 2, {3, 0}, {0}, {0}, 0, 0, 2e-3, true, 0},
    };
    world *w = world_open(NULL);
    side own, x, y;
    kn_module *m = make(w, "Copy", &own);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_comparison c = {.struct_size = sizeof(c)};
        print_message("  %s\n", rows[i].name);
        fill(&own, rows[i].dtype, rows[i].ndim, rows[i].shape, rows[i].own);
        fill(&x, rows[i].dtype, rows[i].ndim, rows[i].shape, rows[i].kernel);
        fill(&y, rows[i].dtype, rows[i].ndim, rows[i].shape, NULL);
        world_ok(w,
                 kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err));
        if (c.max_abs != rows[i].max_abs || c.within != rows[i].within ||
            !(c.max_rel == rows[i].max_rel || fabs(c.max_rel - rows[i].max_rel) < 1e-12) ||
            fabs(c.tolerance - rows[i].tolerance) > 1e-12 || c.element != rows[i].element)
            fail_msg("abs %g rel %g tolerance %g within %u element %lld", c.max_abs, c.max_rel,
                     c.tolerance, c.within, (long long)c.element);
        assert_int_equal(c.output, 0);
        if (rows[i].shape[0] || rows[i].ndim == 0)
            assert_memory_equal(&y.data, &own.data, sizeof(own.data)); // what the own forward gives
    }
    kn_module_free(kn_module_parent(m));
    world_close(w);
}

// Several outputs without a tolerance, and whatever cannot be compared.
static void test_others(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    side own, x, y, z;
    const int64_t shape[2] = {2, 2};
    kn_module *m = make(w, "CopyTwo", &own);
    kn_comparison c = {.struct_size = sizeof(c)};
    fill(&own, (DLDataType)F32, 2, shape, (const double[]){1, 2, 3, 4});
    fill(&x, (DLDataType)F32, 2, shape, (const double[]){1, 2, 3, 4});
    fill(&y, (DLDataType)F32, 2, shape, NULL);
    fill(&z, (DLDataType)F32, 2, shape, NULL);
    world_ok(
        w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor), kn_tensor(&z.tensor)),
                      &c, &w->err));
    assert_int_equal(c.within, 1); // no tolerance: equal alone
    assert_true(c.tolerance == 0);
    own.data.f32[3] += 0x1p-20f;
    world_ok(
        w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor), kn_tensor(&z.tensor)),
                      &c, &w->err));
    assert_int_equal(c.within, 0);
    assert_int_equal(c.element, 3);

    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_ARGUMENTS, "module m");
    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor)), &c, &w->err), KN_ERR_ARGUMENTS,
                "module m: 1 values; at most 1 inputs and 2 outputs");
    world_fails(w,
                kn_compare(m,
                           KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&x.tensor), kn_tensor(&y.tensor),
                                   kn_tensor(&z.tensor)),
                           &c, &w->err),
                KN_ERR_ARGUMENTS, "4 values");
    world_fails(w, kn_compare(m, NULL, 3, &c, &w->err), KN_ERR_INVALID, "values");
    world_fails(w, kn_compare(m, NULL, 0, &c, &w->err), KN_ERR_ARGUMENTS, "0 values");
    world_fails(w, kn_compare(m, NULL, -1, &c, &w->err), KN_ERR_INVALID, "values");
    world_fails(w, kn_compare(NULL, NULL, 0, &c, &w->err), KN_ERR_INVALID, "module");
    world_fails(w, kn_compare(m, NULL, 0, NULL, &w->err), KN_ERR_INVALID, "comparison");
    c.struct_size = 0;
    world_fails(w, kn_compare(m, NULL, 0, &c, &w->err), KN_ERR_INVALID, "struct_size");
    c.struct_size = sizeof(c);
    world_ok(w, kn_unkernelize(m, NULL, &w->err));
    world_fails(w, kn_compare(m, NULL, 0, &c, &w->err), KN_ERR_INVALID,
                "module m: no kernel is bound");
    kn_module_free(kn_module_parent(m));

    // Refused by the kernel; a dtype that is not compared; an own forward and a kernel that fail.
    m = make(w, "Copy", &own);
    side other;
    fill(&other, (DLDataType){kDLInt, 32, 1}, 2, shape, NULL);
    fill(&y, (DLDataType){kDLInt, 32, 1}, 2, shape, NULL);
    const side before = y;
    world_fails(w,
                kn_compare(m, KN_ARGS(kn_tensor(&other.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_UNSUPPORTED, "output 0 has dtype i32; f64, f32, f16 and bf16");
    assert_memory_equal(&before.data, &y.data, sizeof(y.data));
    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_ARGUMENTS, "module m: kernel layer Copy|y");
    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_int(1)), &c, &w->err),
                KN_ERR_ARGUMENTS, "module m: kernel layer Copy|y");
    other.tensor.device.device_type = kDLCUDA;
    world_fails(w,
                kn_compare(m, KN_ARGS(kn_tensor(&other.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_ARGUMENTS, "on cuda");
    kn_module_free(kn_module_parent(m));
    m = make(w, "Copy", NULL);
    fill(&y, (DLDataType)F32, 2, shape, NULL);
    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_IO, "the own forward gave up");
    kn_module_free(kn_module_parent(m));
    m = make(w, "Raise", &own);
    world_fails(w, kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err),
                KN_ERR_CALL, "as it was asked to");
    kn_module_free(kn_module_parent(m));
    world_close(w);
}

// Inputs that the kernel's layout does not admit are refused as in a call.
static void test_strides(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    side own, x, y;
    const int64_t shape[2] = {2, 3};
    int64_t strides[2] = {1, 2};
    kn_module *m = make(w, "Copy", &own);
    kn_comparison c = {.struct_size = sizeof(c)};
    fill(&own, (DLDataType)F32, 2, shape, (const double[]){0, 1, 2, 3, 4, 9});
    fill(&x, (DLDataType)F32, 2, shape, (const double[]){0, 1, 2, 3, 4, 5});
    fill(&y, (DLDataType)F32, 2, shape, NULL);
    x.tensor.strides = y.tensor.strides = strides;
    const kn_status st =
        kn_compare(m, KN_ARGS(kn_tensor(&x.tensor), kn_tensor(&y.tensor)), &c, &w->err);
    world_fails(w, st, KN_ERR_ARGUMENTS, "x"); // the layer asks for dense inputs
    kn_module_free(kn_module_parent(m));
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_strides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
