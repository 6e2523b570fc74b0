#define REAL_TYPES (KNA_F32 | KNA_F16 | KNA_BF16 | KNA_F64)
#include "common/test.h"

#include "../cpu/rms_norm.c"

#define EPS 1e-5

/* The types of x, weight (0: none) and y. */
static const struct {
    unsigned x, w, y;
} mixtures[] = {
    {KNA_F32, KNA_F32, KNA_F32},  {KNA_F16, KNA_F16, KNA_F16},   {KNA_BF16, KNA_BF16, KNA_BF16},
    {KNA_BF16, KNA_F32, KNA_F32}, {KNA_BF16, KNA_F32, KNA_BF16}, {KNA_F16, KNA_F32, KNA_F32},
    {KNA_F16, KNA_BF16, KNA_F32}, {KNA_F32, KNA_BF16, KNA_F32},  {KNA_F32, 0, KNA_F32},
    {KNA_BF16, 0, KNA_BF16},
};

static const struct {
    const char *name;
    int64_t n_rows, n, gap;
    size_t shift;
} shapes[] = {
    {"no rows", 0, 8, 0, 0},           {"no columns", 3, 0, 0, 0},
    {"one element", 1, 1, 0, 0},       {"a tail alone", 2, 5, 0, 0},
    {"one vector", 3, 8, 0, 0},        {"vectors and a tail", 4, 45, 0, 0},
    {"rows apart", 5, 30, 7, 0},       {"off by an element", 2, 17, 0, 4},
    {"off by a byte", 3, 24, 1, 1},    {"a long row", 1, 4097, 0, 0},
    {"several threads", 70, 43, 3, 0},
};

/*
 * Error before the last rounding, with u = 2^-24. The sum of n squares in 16 lanes (8 in backward): n/16 u and four
 * additions across lanes; under the root half of it; root, division, mean and eps one each; products with the scale and the
 * weight, and offset + weight, one each. Where x^ is rounded to x's type first, that is one unit of x's type, of x^.
 */
static double sum_slack(int64_t n, int64_t lanes)
{
    return 0x1p-24 * ((double)(n / lanes) + 5);
}

static void check_forward(size_t m, size_t s, bool round, double offset, double range)
{
    const unsigned xt = mixtures[m].x, yt = mixtures[m].y, wt = mixtures[m].w;
    const int64_t n_rows = shapes[s].n_rows, n = shapes[s].n;
    tensor *x = tensor_rows(xt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *y = tensor_rows(yt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *w = wt ? tensor_vector(wt, n) : NULL;
    tensor *truth = tensor_rows(KNA_F64, n_rows, n, 0, 0);
    tensor_fill(x, -range, range);
    if (w)
        tensor_fill(w, -2, 2);
    tensor *x64 = tensor_f64(x), *w64 = w ? tensor_f64(w) : NULL;
    const TVMFFISafeCallType function = round ? __tvm_ffi_rms_norm : __tvm_ffi_rms_norm_scale_cast;
    ASSERT_CALL(function, arg_tensor(y), arg_tensor(x), arg_tensor(w), arg_float(EPS),
                arg_float(offset));
    const uint32_t before = reference_begin();
    ASSERT_CALL(function, arg_tensor(truth), arg_tensor(x64), arg_tensor(w64), arg_float(EPS),
                arg_float(offset));
    reference_end(before);
    for (int64_t i = 0; i < n_rows * n; ++i) {
        const double scale = w ? fabs(offset + tensor_get(w, i % n)) : 1.0,
                     v = tensor_get(truth, i);
        double error = fabs(v) * (sum_slack(n, 16) / 2 + 7 * 0x1p-24);
        if (round)
            error += fabs(v) * unit(xt) + scale * tiny(xt);
        assert_close(shapes[s].name, y, i, v, error);
    }
    assert_gaps_untouched(y);
    tensors_free(x, y, truth, x64, w, NULL);
    tensor_free(w64);
}

static void test_forward(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        for (size_t m = 0; m < LEN(mixtures); ++m)
            for (size_t s = 0; s < LEN(shapes); ++s) {
                check_forward(m, s, true, 0.0, 3.0);
                check_forward(m, s, false, 0.0, 100.0);
                check_forward(m, s, false, 1.0, 1e-3); // eps matters
            }
    }
    kna_cpu_limit(UINT32_MAX);
}

/* Rounding x^ first shows where the result is wider: with a weight of 1 every element is a number of x's type. */
static void test_order_of_rounding(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        for (size_t t = 1; t < LEN(all_types); ++t)
            for (int round = 0; round < 2; ++round) {
                int64_t n_narrow = 0;
                tensor *x = tensor_rows(all_types[t], 3, 37, 0, 0);
                tensor *y = tensor_rows(KNA_F32, 3, 37, 0, 0), *w = tensor_vector(KNA_F32, 37);
                tensor_fill(x, -3, 3);
                tensor_fill(w, 1, 1);
                ASSERT_CALL(round ? __tvm_ffi_rms_norm : __tvm_ffi_rms_norm_scale_cast,
                            arg_tensor(y), arg_tensor(x), arg_tensor(w), arg_float(EPS),
                            arg_float(0));
                for (int64_t i = 0; i < 111; ++i)
                    n_narrow += real_round(tensor_get(y, i), all_types[t]) == tensor_get(y, i);
                assert_true(round ? n_narrow == 111 : n_narrow < 20);
                tensors_free(x, y, w, NULL);
            }
    }
    kna_cpu_limit(UINT32_MAX);
}

/* The sum must be the rounded sum, and y what the plain function makes of it. */
static void test_fused(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        for (size_t m = 0; m < LEN(mixtures); ++m)
            for (size_t s = 0; s < LEN(shapes); ++s)
                for (int round = 0; round < 2; ++round) {
                    const unsigned xt = mixtures[m].x, yt = mixtures[m].y, wt = mixtures[m].w;
                    const int64_t rows = shapes[s].n_rows, n = shapes[s].n, gap = shapes[s].gap;
                    tensor *x = tensor_rows(xt, rows, n, gap, 0),
                           *r = tensor_rows(xt, rows, n, 0, 0);
                    tensor *y = tensor_rows(yt, rows, n, gap, 0),
                           *sum = tensor_rows(xt, rows, n, 2, 0);
                    tensor *z = tensor_rows(yt, rows, n, 0, 0),
                           *w = wt ? tensor_vector(wt, n) : NULL;
                    tensor_fill(x, -2, 2);
                    tensor_fill(r, -50, 50);
                    if (w)
                        tensor_fill(w, -1, 1);
                    ASSERT_CALL(round ? __tvm_ffi_fused_add_rms_norm
                                      : __tvm_ffi_fused_add_rms_norm_scale_cast,
                                arg_tensor(y), arg_tensor(sum), arg_tensor(x), arg_tensor(r),
                                arg_tensor(w), arg_float(EPS), arg_float(0.5));
                    ASSERT_CALL(round ? __tvm_ffi_rms_norm : __tvm_ffi_rms_norm_scale_cast,
                                arg_tensor(z), arg_tensor(sum), arg_tensor(w), arg_float(EPS),
                                arg_float(0.5));
                    for (int64_t i = 0; i < rows * n; ++i) {
                        assert_true(tensor_get(sum, i) ==
                                    real_round(tensor_get(x, i) + tensor_get(r, i), xt));
                        assert_true(tensor_get(y, i) == tensor_get(z, i));
                    }
                    assert_gaps_untouched(y);
                    assert_gaps_untouched(sum);
                    // In place, as a residual stream is: sum over residual, y over x where the types agree.
                    ASSERT_CALL(round ? __tvm_ffi_fused_add_rms_norm
                                      : __tvm_ffi_fused_add_rms_norm_scale_cast,
                                arg_tensor(xt == yt ? x : y), arg_tensor(r), arg_tensor(x),
                                arg_tensor(r), arg_tensor(w), arg_float(EPS), arg_float(0.5));
                    for (int64_t i = 0; i < rows * n; ++i) {
                        assert_true(tensor_get(r, i) == tensor_get(sum, i));
                        assert_true(tensor_get(xt == yt ? x : y, i) == tensor_get(z, i));
                    }
                    tensors_free(x, r, y, sum, z, w, NULL);
                }
    }
    kna_cpu_limit(UINT32_MAX);
}

static void check_backward(size_t m, size_t s, double offset)
{
    const unsigned xt = mixtures[m].x, yt = mixtures[m].y, wt = mixtures[m].w;
    const int64_t n_rows = shapes[s].n_rows, n = shapes[s].n;
    tensor *x = tensor_rows(xt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *dy = tensor_rows(yt, n_rows, n, 0, 0);
    tensor *dx = tensor_rows(xt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *w = wt ? tensor_vector(wt, n) : NULL, *dw = wt ? tensor_vector(wt, n) : NULL;
    tensor *true_dx = tensor_rows(KNA_F64, n_rows, n, 0, 0), *true_dw = tensor_vector(KNA_F64, n);
    double *dw_size = calloc((size_t)n + 1, sizeof(double));
    assert_non_null(dw_size);
    tensor_fill(x, -3, 3);
    tensor_fill(dy, -1, 1);
    if (w)
        tensor_fill(w, -2, 2);
    tensor *x64 = tensor_f64(x), *dy64 = tensor_f64(dy), *w64 = w ? tensor_f64(w) : NULL;
    ASSERT_CALL(__tvm_ffi_rms_norm_backward, arg_tensor(dx), arg_tensor(dw), arg_tensor(dy),
                arg_tensor(x), arg_tensor(w), arg_float(EPS), arg_float(offset));
    const uint32_t before = reference_begin();
    ASSERT_CALL(__tvm_ffi_rms_norm_backward, arg_tensor(true_dx), arg_tensor(true_dw),
                arg_tensor(dy64), arg_tensor(x64), arg_tensor(w64), arg_float(EPS),
                arg_float(offset));
    reference_end(before);
    for (int64_t row = 0; row < n_rows; ++row) {
        double square = 0.0, product = 0.0;
        for (int64_t c = 0; c < n; ++c) {
            const double v = tensor_get(x64, row * n + c), d = tensor_get(dy64, row * n + c);
            square += v * v;
            product += fabs(v * d * (w ? offset + tensor_get(w, c) : 1.0));
        }
        const double scale = 1.0 / sqrt(square / (double)n + EPS);
        for (int64_t c = 0; c < n; ++c) {
            // dx = s (g - x^ mean(g x^)): each term with its roundings, the mean by the sum of sizes.
            const int64_t i = row * n + c;
            const double g = fabs(tensor_get(dy64, i) * (w ? offset + tensor_get(w, c) : 1.0));
            const double normal = fabs(tensor_get(x64, i)) * scale;
            const double size = scale * (g + normal * scale * product / (double)n);
            assert_close(shapes[s].name, dx, i, tensor_get(true_dx, i),
                         size * (3 * sum_slack(n, 8) + 12 * 0x1p-24));
            dw_size[c] += fabs(tensor_get(dy64, i)) * normal;
        }
    }
    for (int64_t c = 0; w && c < n; ++c)
        assert_close(shapes[s].name, dw, c, tensor_get(true_dw, c),
                     dw_size[c] * (sum_slack(n, 8) / 2 + 6 * 0x1p-24));
    assert_gaps_untouched(dx);
    free(dw_size);
    tensors_free(x, dy, dx, true_dx, true_dw, x64, dy64, NULL);
    tensors_free(w, dw, w64, NULL);
}

static void test_backward(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        for (size_t m = 0; m < LEN(mixtures); ++m)
            for (size_t s = 0; s < LEN(shapes); ++s)
                check_backward(m, s, (double)(s % 2));
    }
    kna_cpu_limit(UINT32_MAX);
}

/* By hand: 3 and 4 have the mean square 12.5; eps lies under the root. */
static void test_known_values(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        tensor *x = tensor_rows(KNA_F32, 1, 2, 0, 0), *y = tensor_rows(KNA_F32, 1, 2, 0, 0);
        tensor *w = tensor_vector(KNA_F32, 2);
        tensor_set(x, 0, 3.0);
        tensor_set(x, 1, 4.0);
        tensor_set(w, 0, 0.5);
        tensor_set(w, 1, -2.0);
        ASSERT_CALL(__tvm_ffi_rms_norm, arg_tensor(y), arg_tensor(x), arg_tensor(NULL),
                    arg_float(0), arg_float(1));
        assert_true(fabs(tensor_get(y, 0) - 3 / sqrt(12.5)) < 1e-6);
        ASSERT_CALL(__tvm_ffi_rms_norm, arg_tensor(y), arg_tensor(x), arg_tensor(w), arg_float(3.5),
                    arg_float(1));
        assert_true(fabs(tensor_get(y, 0) - 3 * 1.5 / 4) < 1e-6);
        assert_true(fabs(tensor_get(y, 1) + 4 * 1.0 / 4) < 1e-6);
        tensors_free(x, y, w, NULL);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* Every gradient against central differences in f64. */
static void test_gradients(void **state)
{
    (void)state;
    const double h = 1e-5;
    kna_cpu_limit(0);
    for (int form = 0; form < 4; ++form) {
        const double offset = form & 1;
        const TVMFFISafeCallType function =
            form & 2 ? __tvm_ffi_rms_norm : __tvm_ffi_rms_norm_scale_cast;
        tensor *x = tensor_rows(KNA_F64, 3, 7, 0, 0), *y = tensor_rows(KNA_F64, 3, 7, 0, 0);
        tensor *dx = tensor_rows(KNA_F64, 3, 7, 0, 0), *dy = tensor_rows(KNA_F64, 3, 7, 0, 0);
        tensor *w = tensor_vector(KNA_F64, 7), *dw = tensor_vector(KNA_F64, 7);
        tensor_fill(x, -2, 2);
        tensor_fill(dy, -1, 1);
        tensor_fill(w, -1, 1);
        ASSERT_CALL(__tvm_ffi_rms_norm_backward, arg_tensor(dx), arg_tensor(dw), arg_tensor(dy),
                    arg_tensor(x), arg_tensor(w), arg_float(0.1), arg_float(offset));
        for (int64_t i = 0; i < 21 + 7; ++i) {
            tensor *of = i < 21 ? x : w;
            const int64_t k = i < 21 ? i : i - 21;
            const double at = tensor_get(of, k), got = tensor_get(i < 21 ? dx : dw, k);
            double slope = 0.0;
            for (int side = -1; side <= 1; side += 2) {
                tensor_set(of, k, at + side * h);
                ASSERT_CALL(function, arg_tensor(y), arg_tensor(x), arg_tensor(w), arg_float(0.1),
                            arg_float(offset));
                for (int64_t j = 0; j < 21; ++j)
                    slope += side * tensor_get(y, j) * tensor_get(dy, j) / (2 * h);
            }
            tensor_set(of, k, at);
            if (fabs(slope - got) > 2e-9)
                fail_msg("gradient %d is %.12g, differences say %.12g", (int)i, got, slope);
        }
        tensors_free(x, y, dx, dy, w, dw, NULL);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* Gradients of weights have the same bits for any number of threads, and are zero without rows. */
static void test_weight_gradients(void **state)
{
    (void)state;
    tensor *x = tensor_rows(KNA_F32, 300, 515, 0, 0), *dx = tensor_rows(KNA_F32, 300, 515, 0, 0);
    tensor *w = tensor_vector(KNA_F32, 515), *one = tensor_vector(KNA_F32, 515);
    tensor *many = tensor_vector(KNA_F32, 515), *none = tensor_rows(KNA_F32, 0, 515, 0, 0);
    tensor_fill(x, -3, 3);
    tensor_fill(w, -1, 1);
    const int before = kna_threads_state.most;
    for (int n = 1; n <= 4; ++n) {
        kna_threads_state.most = n;
        ASSERT_CALL(__tvm_ffi_rms_norm_backward, arg_tensor(dx), arg_tensor(n == 1 ? one : many),
                    arg_tensor(x), arg_tensor(x), arg_tensor(w), arg_float(EPS), arg_float(0));
        if (n > 1)
            assert_memory_equal(one->memory, many->memory, one->size_bytes);
    }
    kna_threads_state.most = before;
    ASSERT_CALL(__tvm_ffi_rms_norm_backward, arg_tensor(none), arg_tensor(one), arg_tensor(none),
                arg_tensor(none), arg_tensor(w), arg_float(EPS), arg_float(0));
    for (int64_t i = 0; i < 515; ++i)
        assert_true(tensor_get(one, i) == 0.0);
    tensors_free(x, dx, w, one, many, none, NULL);
}

/* NaN spoils its row alone; an infinity becomes NaN among zeros. */
static void test_special_values(void **state)
{
    (void)state;
    FOR_EACH_PATH(rms_norm_paths, path)
    {
        for (size_t t = 0; t < LEN(all_types); ++t) {
            tensor *x = tensor_rows(all_types[t], 3, 13, 0, 0),
                   *y = tensor_rows(all_types[t], 3, 13, 0, 0);
            tensor_fill(x, 1, 2);
            tensor_set(x, 4, (double)NAN);
            tensor_set(x, 2 * 13 + 11, -(double)INFINITY);
            ASSERT_CALL(__tvm_ffi_rms_norm, arg_tensor(y), arg_tensor(x), arg_tensor(NULL),
                        arg_float(EPS), arg_float(0));
            for (int64_t i = 0; i < 13; ++i) {
                assert_true(isnan(tensor_get(y, i)));
                assert_true(isfinite(tensor_get(y, 13 + i)));
                assert_true(i == 11 ? isnan(tensor_get(y, 26 + i)) : tensor_get(y, 26 + i) == 0.0);
            }
            tensors_free(x, y, NULL);
        }
    }
    kna_cpu_limit(UINT32_MAX);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    tensor *x = tensor_rows(KNA_F32, 2, 8, 0, 0), *y = tensor_rows(KNA_F32, 2, 8, 0, 0);
    tensor *w = tensor_vector(KNA_F32, 8), *short_w = tensor_vector(KNA_F32, 7);
    tensor *ints = tensor_vector(KNA_I64, 8), *half = tensor_rows(KNA_F16, 2, 8, 0, 0);
    tensor *three = tensor_rows(KNA_F32, 3, 8, 0, 0);
    const TVMFFIAny ax = arg_tensor(x), ay = arg_tensor(y), aw = arg_tensor(w);
    const TVMFFIAny eps = arg_float(EPS), zero = arg_int(0); // an int is a number too
    ASSERT_CALL(__tvm_ffi_rms_norm, ay, ay, aw, eps, zero);
    ASSERT_RAISES("TypeError: rms_norm: takes 5 arguments, got 4", __tvm_ffi_rms_norm, ay, ax, aw,
                  eps);
    ASSERT_RAISES("TypeError: rms_norm: argument 4 must be a float, got none", __tvm_ffi_rms_norm,
                  ay, ax, aw, arg_tensor(NULL), zero);
    ASSERT_RAISES("TypeError: rms_norm: argument 3 must be a tensor or none, got a bool",
                  __tvm_ffi_rms_norm, ay, ax, arg_bool(true), eps, zero);
    ASSERT_RAISES("ValueError: rms_norm: weight must have the shape [8], got [7]",
                  __tvm_ffi_rms_norm, ay, ax, arg_tensor(short_w), eps, zero);
    ASSERT_RAISES(
        "TypeError: rms_norm: weight has data type i64; accepted here: f32, f16, bf16, f64",
        __tvm_ffi_rms_norm, ay, ax, arg_tensor(ints), eps, zero);
    ASSERT_RAISES("ValueError: rms_norm: y [2, 8] and x [3, 8] must have the same shape",
                  __tvm_ffi_rms_norm, ay, arg_tensor(three), aw, eps, zero);
    ASSERT_RAISES(
        "TypeError: fused_add_rms_norm: residual (f16) and x (f32) must have the same data "
        "type",
        __tvm_ffi_fused_add_rms_norm, ay, ay, ax, arg_tensor(half), aw, eps, zero);
    ASSERT_RAISES("TypeError: rms_norm_backward: dx (f16) and x (f32) must have the same data type",
                  __tvm_ffi_rms_norm_backward, arg_tensor(half), aw, ay, ax, aw, eps, zero);
    ASSERT_RAISES("ValueError: rms_norm_backward: dweight must have the shape [8], got [7]",
                  __tvm_ffi_rms_norm_backward, ay, arg_tensor(short_w), ay, ax, aw, eps, zero);
    tensors_free(x, y, w, short_w, ints, half, three, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),      cmocka_unit_test(test_forward),
        cmocka_unit_test(test_order_of_rounding), cmocka_unit_test(test_fused),
        cmocka_unit_test(test_backward),          cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_weight_gradients),  cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
