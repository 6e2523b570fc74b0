#define REAL_TYPES (KNA_F32 | KNA_F16 | KNA_BF16 | KNA_F64)
#include "common/test.h"

#include "../cpu/activation.c"

#include <sys/wait.h>

static const struct {
    const char *name;
    activation_kind kind;
    TVMFFISafeCallType forward, backward, gated, gated_backward;
} functions[] = {
#define ROW(name, kind)                                                                            \
    {                                                                                              \
#name, kind, __tvm_ffi_##name, __tvm_ffi_##name##_backward, __tvm_ffi_##name##_and_mul,    \
            __tvm_ffi_##name##_and_mul_backward                                                    \
    }
    ROW(silu, ACT_SILU),           ROW(gelu, ACT_GELU),
    ROW(gelu_tanh, ACT_GELU_TANH), ROW(quick_gelu, ACT_QUICK_GELU),
    ROW(fast_gelu, ACT_GELU_TANH),
};

/* Shapes of y; x_strides are those of x, in elements, where x is not contiguous (gated: of the whole [..., 2 d]). */
static const struct {
    const char *name;
    int32_t ndim;
    int64_t shape[3];
    int64_t row_gap; // elements between the rows of x and of y
    size_t shift;    // bytes before the first element
} shapes[] = {
    {"no rows", 2, {0, 8}, 0, 0},
    {"no columns", 2, {3, 0}, 0, 0},
    {"one element", 1, {1}, 0, 0},
    {"a tail alone", 1, {7}, 0, 0},
    {"one vector", 2, {2, 8}, 0, 0},
    {"vectors and a tail", 3, {2, 3, 29}, 0, 0},
    {"rows apart", 2, {5, 13}, 3, 0},
    {"folded rows apart", 3, {2, 3, 21}, 5, 0},
    {"off by an element", 2, {3, 21}, 0, 4},
    {"off by a byte", 2, {3, 21}, 1, 1},
    {"more than one piece of a row", 1, {4099}, 0, 0},
    {"several threads", 2, {37, 53}, 1, 0},
};

static tensor *rows_new(unsigned type, size_t s, int64_t factor)
{
    int64_t shape[3], strides[3], stride;
    const int32_t ndim = shapes[s].ndim;
    memcpy(shape, shapes[s].shape, sizeof(shape));
    shape[ndim - 1] *= factor;
    stride = shape[ndim - 1] + shapes[s].row_gap;
    strides[ndim - 1] = 1;
    for (int32_t i = ndim - 2; i >= 0; --i) {
        strides[i] = stride;
        stride *= shape[i];
    }
    return tensor_new(type, ndim, shape, strides, shapes[s].shift);
}

/*
 * The error before the last rounding, relative to the terms of the sum, with u = 2^-24. e = exp(-z) has 2 u, plus |z| k u
 * where z was rounded k times (z = x exactly for silu; -x^2/2 has two roundings, the cubic five with its constants); 1 + e,
 * its reciprocal, x P and the factors u and dy: one each; gelu's polynomial five and its argument two. P' also has the
 * rounding of 1 - P, absolute u, times |x| z' P. An e beyond f32 gives P = 0 where it is truly below 2^-126.
 */
static double slack(activation_kind kind, double x)
{
    static const double roundings[] = {
        [ACT_SILU] = 0, [ACT_GELU] = 2, [ACT_GELU_TANH] = 5, [ACT_QUICK_GELU] = 2};
    double z = x;
    if (kind == ACT_GELU)
        z = 0.5 * x * x;
    if (kind == ACT_GELU_TANH)
        z = 1.6 * x + 0.0714 * x * x * x;
    if (kind == ACT_QUICK_GELU)
        z = 1.702 * x;
    return 0x1p-24 * (14 + roundings[kind] * fmin(fabs(z), 104));
}

static void check(size_t f, unsigned type, size_t s, bool gated, bool backward, double range)
{
    const activation_kind kind = functions[f].kind;
    tensor *x = rows_new(type, s, gated ? 2 : 1), *dy = rows_new(type, s, 1);
    tensor *out = rows_new(type, s, backward && gated ? 2 : 1);
    const int64_t n = kna_numel(&x->dl);
    tensor_fill(x, -range, range);
    tensor_fill(dy, -2, 2);
    for (int64_t i = 0; i < n && i < 3; ++i) // the numbers that end a range of the arithmetic
        tensor_set(x, i, (const double[]){0.0, -88.5, 60000.0}[i]);
    tensor *x64 = tensor_f64(x), *dy64 = tensor_f64(dy);
    tensor *true_out = tensor_new(KNA_F64, out->dl.ndim, out->shape, NULL, 0);

    if (backward) {
        const TVMFFISafeCallType function =
            gated ? functions[f].gated_backward : functions[f].backward;
        ASSERT_CALL(function, arg_tensor(out), arg_tensor(dy), arg_tensor(x));
        const uint32_t before = reference_begin();
        ASSERT_CALL(function, arg_tensor(true_out), arg_tensor(dy64), arg_tensor(x64));
        reference_end(before);
    } else {
        const TVMFFISafeCallType function = gated ? functions[f].gated : functions[f].forward;
        ASSERT_CALL(function, arg_tensor(out), arg_tensor(x));
        const uint32_t before = reference_begin();
        ASSERT_CALL(function, arg_tensor(true_out), arg_tensor(x64));
        reference_end(before);
    }

    const int64_t m = kna_numel(&out->dl), d = shapes[s].shape[shapes[s].ndim - 1];
    for (int64_t i = 0; i < m; ++i) {
        // Which x, u and dy made this element, for the size of its terms.
        const int64_t cols = out->shape[out->dl.ndim - 1], row = cols ? i / cols : 0,
                      col = i % cols;
        const int64_t g = row * (gated ? 2 * d : d) + col % d;
        const double v = tensor_get(x, g), u = gated ? tensor_get(x, g + d) : 1.0;
        const double w = backward ? tensor_get(dy, row * d + col % d) : 1.0;
        double p, dp, size;
        step_ref(kind, v, &p, &dp);
        if (!backward || col >= d)
            size = fabs(v * p) * fabs(backward ? w : u);
        else // |x| z' P u for 1 - P; z' < 2 + x^2/4
            size = fabs(w * u) *
                   (fabs(p) + fabs(v * dp) + fmin(fabs(v), 32) * p * (2 + fmin(v * v, 1024) / 4));
        const double lost =
            0x1p-125 * (1 + fabs(v)) * (1 + fabs(u)) * (1 + fabs(w)) * (2 + fmin(v * v, 1024));
        assert_close(functions[f].name, out, i, tensor_get(true_out, i),
                     size * slack(kind, v) + lost);
    }
    assert_gaps_untouched(out);
    tensor_free(x);
    tensor_free(dy);
    tensor_free(out);
    tensor_free(x64);
    tensor_free(dy64);
    tensor_free(true_out);
}

static void test_paths(void **state)
{
    (void)state;
    FOR_EACH_PATH(activation_paths, path)
    {
        for (size_t f = 0; f < LEN(functions); ++f)
            for (size_t t = 0; t < LEN(all_types); ++t)
                for (size_t s = 0; s < LEN(shapes); ++s)
                    for (int form = 0; form < 4; ++form)
                        check(f, all_types[t], s, form & 1, form & 2, s % 2 ? 4.0 : 20.0);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* The reference itself: values computed with 25 digits. */
static void test_known_values(void **state)
{
    (void)state;
    static const double x[] = {1.0, -2.5, 0.125};
    static const double y[ACT_KINDS][3] = {
        [ACT_SILU] = {0.7310585786300048793, -0.1896454500531088780, 0.06640117167171953216},
        [ACT_GELU] = {0.8413447460685429486, -0.01552416331444033792, 0.06871727810376411162},
        [ACT_GELU_TANH] = {0.8411919906082767048, -0.01508426608999858208, 0.06871719862422338783},
        [ACT_QUICK_GELU] = {0.8457957659328212957, -0.03498616504857007443, 0.06912347337810465409},
    };
    for (activation_kind kind = 0; kind < ACT_KINDS; ++kind) {
        double out[3];
        activation_ref(kind, KNA_F64, &(activation_span){.n = 3, .y = out, .g = x});
        for (size_t i = 0; i < 3; ++i)
            assert_true(fabs(out[i] - y[kind][i]) <= 4e-16 * fabs(y[kind][i]) + 1e-17);
    }
}

/* Every element of the gradients against central differences in f64: error h^2 / 6 |f'''| + 2^-53 / h, about 1e-9. */
static void test_gradients(void **state)
{
    (void)state;
    const int64_t x_shape[] = {3, 10}, y_shape[] = {3, 5};
    const double h = 1e-5;
    kna_cpu_limit(0);
    for (size_t f = 0; f < LEN(functions); ++f)
        for (int gated = 0; gated < 2; ++gated) {
            const TVMFFISafeCallType forward_fn = gated ? functions[f].gated : functions[f].forward;
            tensor *x = tensor_new(KNA_F64, 2, x_shape, NULL, 0);
            tensor *y = tensor_new(KNA_F64, 2, gated ? y_shape : x_shape, NULL, 0);
            tensor *dy = tensor_new(KNA_F64, 2, gated ? y_shape : x_shape, NULL, 0);
            tensor *dx = tensor_new(KNA_F64, 2, x_shape, NULL, 0);
            tensor_fill(x, -4, 4);
            tensor_fill(dy, -1, 1);
            ASSERT_CALL(gated ? functions[f].gated_backward : functions[f].backward, arg_tensor(dx),
                        arg_tensor(dy), arg_tensor(x));
            for (int64_t i = 0; i < kna_numel(&x->dl); ++i) {
                const double at = tensor_get(x, i);
                double slope = 0.0;
                for (int side = -1; side <= 1; side += 2) {
                    tensor_set(x, i, at + side * h);
                    ASSERT_CALL(forward_fn, arg_tensor(y), arg_tensor(x));
                    for (int64_t j = 0; j < kna_numel(&y->dl); ++j)
                        slope += side * tensor_get(y, j) * tensor_get(dy, j) / (2 * h);
                }
                tensor_set(x, i, at);
                if (fabs(slope - tensor_get(dx, i)) > 2e-9)
                    fail_msg("%s: d/dx[%d] is %.12g, differences say %.12g", functions[f].name,
                             (int)i, tensor_get(dx, i), slope);
            }
            tensor_free(x);
            tensor_free(y);
            tensor_free(dy);
            tensor_free(dx);
        }
    kna_cpu_limit(UINT32_MAX);
}

/* NaN and infinities, in the vectors and in the tail. */
static void test_special_values(void **state)
{
    (void)state;
    const int64_t shape[] = {11};
    FOR_EACH_PATH(activation_paths, path)
    {
        for (size_t f = 0; f < LEN(functions); ++f)
            for (size_t t = 0; t < LEN(all_types); ++t)
                for (int64_t at = 0; at < 11; at += 5) {
                    tensor *x = tensor_new(all_types[t], 1, shape, NULL, 0);
                    tensor *y = tensor_new(all_types[t], 1, shape, NULL, 0);
                    tensor_fill(x, 1, 2);
                    tensor_set(x, at, (double)NAN);
                    ASSERT_CALL(functions[f].forward, arg_tensor(y), arg_tensor(x));
                    for (int64_t i = 0; i < 11; ++i)
                        assert_int_equal(isnan(tensor_get(y, i)) != 0, i == at);
                    tensor_set(x, at, (double)INFINITY);
                    ASSERT_CALL(functions[f].forward, arg_tensor(y), arg_tensor(x));
                    assert_true(tensor_get(y, at) == (double)INFINITY);
                    tensor_set(x, at, -(double)INFINITY);
                    ASSERT_CALL(functions[f].forward, arg_tensor(y), arg_tensor(x));
                    assert_true(isnan(tensor_get(y, at)));
                    ASSERT_CALL(functions[f].backward, arg_tensor(y), arg_tensor(x), arg_tensor(x));
                    for (int64_t i = 0; i < 11; ++i)
                        assert_true(i == at || isfinite(tensor_get(y, i)));
                    tensor_free(x);
                    tensor_free(y);
                }
    }
    kna_cpu_limit(UINT32_MAX);
}

static void test_in_place(void **state)
{
    (void)state;
    const int64_t shape[] = {3, 42};
    FOR_EACH_PATH(activation_paths, path)
    {
        tensor *x = tensor_new(KNA_BF16, 2, shape, NULL, 0),
               *y = tensor_new(KNA_BF16, 2, shape, NULL, 0);
        const int64_t half[] = {3, 21};
        tensor *dy = tensor_new(KNA_BF16, 2, half, NULL, 0);
        tensor_fill(x, -3, 3);
        tensor_fill(dy, -3, 3);
        ASSERT_CALL(__tvm_ffi_silu_and_mul_backward, arg_tensor(y), arg_tensor(dy), arg_tensor(x));
        ASSERT_CALL(__tvm_ffi_silu_and_mul_backward, arg_tensor(x), arg_tensor(dy), arg_tensor(x));
        assert_memory_equal(x->memory, y->memory, x->size_bytes);
        ASSERT_CALL(__tvm_ffi_gelu, arg_tensor(y), arg_tensor(x));
        ASSERT_CALL(__tvm_ffi_gelu, arg_tensor(x), arg_tensor(x));
        assert_memory_equal(x->memory, y->memory, x->size_bytes);
        tensor_free(x);
        tensor_free(y);
        tensor_free(dy);
    }
    kna_cpu_limit(UINT32_MAX);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    const int64_t s24[] = {2, 4}, s28[] = {2, 8}, s38[] = {3, 8}, s25[] = {2, 5}, s4[] = {4};
    const int64_t apart[] = {1, 2}, onto[] = {2, 1};
    tensor *x = tensor_new(KNA_F32, 2, s28, NULL, 0), *y = tensor_new(KNA_F32, 2, s24, NULL, 0);
    tensor *half = tensor_new(KNA_F16, 2, s24, NULL, 0),
           *ints = tensor_new(KNA_I32, 2, s28, NULL, 0);
    tensor *three = tensor_new(KNA_F32, 2, s38, NULL, 0),
           *odd = tensor_new(KNA_F32, 2, s25, NULL, 0);
    tensor *flat = tensor_new(KNA_F32, 1, s4, NULL, 0),
           *turned = tensor_new(KNA_F32, 2, s24, apart, 0);
    tensor *overlap = tensor_new(KNA_F32, 2, s24, onto, 0);
    const TVMFFISafeCallType f = __tvm_ffi_silu_and_mul;
    const TVMFFIAny ax = arg_tensor(x), ay = arg_tensor(y);

    ASSERT_RAISES("TypeError: silu_and_mul: takes 2 arguments, got 1", f, ay);
    ASSERT_RAISES("TypeError: silu_and_mul: argument 2 must be a tensor, got a float", f, ay,
                  arg_float(1));
    ASSERT_RAISES("TypeError: silu_and_mul: argument 1 must be a tensor, got none", f,
                  arg_tensor(NULL), ax);
    ASSERT_RAISES(
        "TypeError: silu_and_mul: x has data type i32; accepted here: f32, f16, bf16, f64", f, ay,
        arg_tensor(ints));
    ASSERT_RAISES("TypeError: silu_and_mul: y (f16) and x (f32) must have the same data type", f,
                  arg_tensor(half), ax);
    ASSERT_RAISES("ValueError: silu_and_mul: y [2, 4] must have half the columns of x [3, 8], else "
                  "its shape",
                  f, ay, arg_tensor(three));
    ASSERT_RAISES("ValueError: silu_and_mul: y [2, 4] must have half the columns of x [2, 5], else "
                  "its shape",
                  f, ay, arg_tensor(odd));
    ASSERT_RAISES("ValueError: silu_and_mul: y [4] must have half the columns of x [2, 8], else "
                  "its shape",
                  f, arg_tensor(flat), ax);
    ASSERT_RAISES("ValueError: silu: y [2, 4] and x [2, 8] must have the same shape",
                  __tvm_ffi_silu, ay, ax);
    ASSERT_RAISES("ValueError: silu: the last dimension of x must be contiguous", __tvm_ffi_silu,
                  ay, arg_tensor(turned));
    ASSERT_RAISES("ValueError: silu: the rows of y overlap", __tvm_ffi_silu, arg_tensor(overlap),
                  ay);

    x->dl.device.device_type = kDLCUDA;
    ASSERT_RAISES("ValueError: silu_and_mul: x is on device type 2; this kernel runs on the CPU", f,
                  ay, ax);
    x->dl.device.device_type = kDLCPU;
    x->dl.data = NULL;
    ASSERT_RAISES("ValueError: silu_and_mul: argument 2 has 16 elements but no data", f, ay, ax);
    x->dl.data = x->memory;
    x->shape[0] = INT64_MAX / 2;
    ASSERT_RAISES("ValueError: silu_and_mul: argument 2 has a shape or strides that no tensor can "
                  "have",
                  f, ay, ax);
    x->shape[0] = -1;
    ASSERT_RAISES("ValueError: silu_and_mul: argument 2 has a shape or strides that no tensor can "
                  "have",
                  f, ay, ax);
    x->shape[0] = 2;

    // The object form of a tensor, and strides that an old producer left out.
    struct {
        TVMFFIObject header;
        DLTensor dl;
    } object = {.dl = x->dl};
    tensor_fill(x, -1, 1);
    ASSERT_CALL(f, ay, ax);
    const double first = tensor_get(y, 7);
    object.dl.strides = NULL;
    tensor_fill(y, 0, 1);
    ASSERT_CALL(f, ay, (TVMFFIAny){.type_index = kTVMFFITensor, .v_obj = &object.header});
    assert_true(tensor_get(y, 7) == first);

    tensor *all[] = {x, y, half, ints, three, odd, flat, turned, overlap};
    for (size_t i = 0; i < LEN(all); ++i)
        tensor_free(all[i]);
}

/* After a parent has used its threads, a forked child computes alone instead of waiting for threads that it lacks. */
static void test_forked_child(void **state)
{
    (void)state;
    const int64_t shape[] = {64, 80};
    int status = -1;
    tensor *x = tensor_new(KNA_F32, 2, shape, NULL, 0), *y = tensor_new(KNA_F32, 2, shape, NULL, 0);
    tensor_fill(x, -3, 3);
    ASSERT_CALL(__tvm_ffi_silu, arg_tensor(y), arg_tensor(x));
    const double last = tensor_get(y, 64 * 80 - 1);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        const bool right = kna_threads(1 << 30) == 1 &&
                           CALL(__tvm_ffi_silu, arg_tensor(x), arg_tensor(x)) == 0 &&
                           tensor_get(x, 64 * 80 - 1) == last;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    tensor_free(x);
    tensor_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_gradients),    cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_in_place),     cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_forked_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
