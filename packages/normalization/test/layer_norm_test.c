#define REAL_TYPES (KNA_F32 | KNA_F16 | KNA_BF16 | KNA_F64)
#include "common/test.h"

#include "../cpu/layer_norm.c"

#define EPS 1e-5

/* The types of x, weight, bias (0: none) and y. */
static const struct {
    unsigned x, w, b, y;
} mixtures[] = {
    {KNA_F32, KNA_F32, KNA_F32, KNA_F32},
    {KNA_F16, KNA_F16, KNA_F16, KNA_F16},
    {KNA_BF16, KNA_BF16, KNA_BF16, KNA_BF16},
    {KNA_BF16, KNA_F32, KNA_F32, KNA_BF16},
    {KNA_F16, KNA_F32, 0, KNA_F16},
    {KNA_F16, KNA_F32, KNA_F32, KNA_F32},
    {KNA_F32, 0, 0, KNA_F32},
    {KNA_BF16, 0, KNA_BF16, KNA_BF16},
};

static const struct {
    const char *name;
    int64_t n_rows, n, gap;
    size_t shift;
    double low, high; // of x
} shapes[] = {
    {"no rows", 0, 8, 0, 0, -1, 1},           {"no columns", 3, 0, 0, 0, -1, 1},
    {"one element", 2, 1, 0, 0, -1, 1},       {"a tail alone", 2, 5, 0, 0, -3, 3},
    {"one vector", 3, 8, 0, 0, -3, 3},        {"vectors and a tail", 4, 45, 0, 0, 5, 9},
    {"rows apart", 5, 30, 7, 0, -100, 100},   {"off by an element", 2, 17, 0, 4, -1, 1},
    {"off by a byte", 3, 24, 1, 1, -1, 1},    {"a long row", 1, 4097, 0, 0, -2, 3},
    {"several threads", 70, 43, 3, 0, -2, 2}, {"eps matters", 3, 29, 0, 0, -1e-3, 1e-3},
};

/* Relative error of a sum of n numbers in that many lanes, and four additions across them, with u = 2^-24. */
static double sum_slack(int64_t n, int64_t lanes)
{
    return 0x1p-24 * ((double)(n / lanes) + 5);
}

/* Of one row: mean, scale, and how far the mean that f32 finds may be off. */
typedef struct row_facts {
    double mean, scale, mean_error, g, gv; // g, gv: means of |g| and |g x^|
} row_facts;

static row_facts facts_of(const tensor *x, const tensor *dy, const tensor *w, int64_t row)
{
    const int64_t n = x->shape[1];
    const layer_norm_form form = {.x_type = KNA_F64, .eps = EPS, .n = n};
    row_facts f = {0};
    moments_ref(&form, (const double *)kna_data(&x->dl) + row * n, &f.mean, &f.scale);
    for (int64_t c = 0; c < n; ++c) {
        const double v = (tensor_get(x, row * n + c) - f.mean) * f.scale;
        const double g = dy ? fabs(tensor_get(dy, row * n + c) * (w ? tensor_get(w, c) : 1.0)) : 0;
        f.mean_error += fabs(tensor_get(x, row * n + c)) / (double)n * (sum_slack(n, 16) + 0x1p-24);
        f.g += g / (double)n;
        f.gv += g * fabs(v) / (double)n;
    }
    return f;
}

/*
 * Error before the last rounding: that of the mean passes into x^ by the scale; the sum of squared deviations has its own
 * roundings plus two for each term, under the root half of them, and the square of the mean's error over the deviation;
 * root, division, eps one each; the products and the sum with the bias one each.
 */
static void check_forward(size_t m, size_t s)
{
    const int64_t n_rows = shapes[s].n_rows, n = shapes[s].n;
    tensor *x = tensor_rows(mixtures[m].x, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *y = tensor_rows(mixtures[m].y, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *w = mixtures[m].w ? tensor_vector(mixtures[m].w, n) : NULL;
    tensor *b = mixtures[m].b ? tensor_vector(mixtures[m].b, n) : NULL;
    tensor *truth = tensor_rows(KNA_F64, n_rows, n, 0, 0);
    tensor_fill(x, shapes[s].low, shapes[s].high);
    if (w)
        tensor_fill(w, -2, 2);
    if (b)
        tensor_fill(b, -2, 2);
    tensor *x64 = tensor_f64(x), *w64 = w ? tensor_f64(w) : NULL, *b64 = b ? tensor_f64(b) : NULL;
    ASSERT_CALL(__tvm_ffi_layer_norm, arg_tensor(y), arg_tensor(x), arg_tensor(w), arg_tensor(b),
                arg_float(EPS));
    const uint32_t before = reference_begin();
    ASSERT_CALL(__tvm_ffi_layer_norm, arg_tensor(truth), arg_tensor(x64), arg_tensor(w64),
                arg_tensor(b64), arg_float(EPS));
    reference_end(before);
    for (int64_t row = 0; n && row < n_rows; ++row) {
        const row_facts f = facts_of(x64, NULL, NULL, row);
        const double off = f.mean_error * f.scale;
        for (int64_t c = 0; c < n; ++c) {
            const int64_t i = row * n + c;
            const double scale = w ? fabs(tensor_get(w, c)) : 1.0;
            const double v = fabs(tensor_get(x64, i) - f.mean) * f.scale;
            const double bias = b ? fabs(tensor_get(b, c)) : 0.0;
            const double error =
                scale * (off + v * (sum_slack(n, 16) / 2 + off * off + 8 * 0x1p-24)) +
                0x1p-24 * (bias + v * scale);
            assert_close(shapes[s].name, y, i, tensor_get(truth, i), error);
        }
    }
    assert_gaps_untouched(y);
    tensors_free(x, y, truth, x64, NULL);
    tensors_free(w, w64, NULL);
    tensors_free(b, b64, NULL);
}

static void test_forward(void **state)
{
    (void)state;
    FOR_EACH_PATH(layer_norm_paths, path)
    {
        for (size_t m = 0; m < LEN(mixtures); ++m)
            for (size_t s = 0; s < LEN(shapes); ++s)
                check_forward(m, s);
    }
    kna_cpu_limit(UINT32_MAX);
}

static void check_backward(size_t m, size_t s)
{
    const unsigned xt = mixtures[m].x, yt = mixtures[m].y, wt = mixtures[m].w;
    const int64_t n_rows = shapes[s].n_rows, n = shapes[s].n;
    const bool wants_b = mixtures[m].b != 0;
    tensor *x = tensor_rows(xt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *dx = tensor_rows(xt, n_rows, n, shapes[s].gap, shapes[s].shift);
    tensor *dy = tensor_rows(yt, n_rows, n, 0, 0), *w = wt ? tensor_vector(wt, n) : NULL;
    tensor *dw = tensor_vector(wt ? wt : xt, n),
           *db = wants_b ? tensor_vector(mixtures[m].b, n) : NULL;
    tensor *true_dx = tensor_rows(KNA_F64, n_rows, n, 0, 0), *true_dw = tensor_vector(KNA_F64, n);
    tensor *true_db = tensor_vector(KNA_F64, n);
    double *dw_error = calloc((size_t)n + 1, sizeof(double));
    assert_non_null(dw_error);
    tensor_fill(x, shapes[s].low, shapes[s].high);
    tensor_fill(dy, -1, 1);
    if (w)
        tensor_fill(w, -2, 2);
    tensor *x64 = tensor_f64(x), *dy64 = tensor_f64(dy), *w64 = w ? tensor_f64(w) : NULL;
    ASSERT_CALL(__tvm_ffi_layer_norm_backward, arg_tensor(dx), arg_tensor(dw), arg_tensor(db),
                arg_tensor(dy), arg_tensor(x), arg_tensor(w), arg_float(EPS));
    const uint32_t before = reference_begin();
    ASSERT_CALL(__tvm_ffi_layer_norm_backward, arg_tensor(true_dx), arg_tensor(true_dw),
                arg_tensor(true_db), arg_tensor(dy64), arg_tensor(x64), arg_tensor(w64),
                arg_float(EPS));
    reference_end(before);
    for (int64_t row = 0; n && row < n_rows; ++row) {
        const row_facts f = facts_of(x64, dy64, w64, row);
        const double off = f.mean_error * f.scale,
                     some = 3 * sum_slack(n, 8) + 14 * 0x1p-24 + off * off;
        for (int64_t c = 0; c < n; ++c) {
            // dx = s (g - mean(g) - x^ mean(g x^)), each term with its roundings, x^ off by the mean's error
            const int64_t i = row * n + c;
            const double d = fabs(tensor_get(dy64, i)), g = d * (w ? fabs(tensor_get(w, c)) : 1.0);
            const double v = fabs(tensor_get(x64, i) - f.mean) * f.scale;
            const double error = f.scale * ((g + f.g + v * f.gv) * some + off * (f.gv + v * f.g));
            assert_close(shapes[s].name, dx, i, tensor_get(true_dx, i), error);
            dw_error[c] += d * (v * some + off);
        }
    }
    for (int64_t c = 0; c < n; ++c) {
        assert_close(shapes[s].name, dw, c, tensor_get(true_dw, c), dw_error[c]);
        if (db)
            assert_close(shapes[s].name, db, c, tensor_get(true_db, c), 0.0);
    }
    assert_gaps_untouched(dx);
    free(dw_error);
    tensors_free(x, dx, dy, dw, true_dx, true_dw, true_db, x64, dy64, NULL);
    tensors_free(w, w64, NULL);
    tensor_free(db);
}

static void test_backward(void **state)
{
    (void)state;
    FOR_EACH_PATH(layer_norm_paths, path)
    {
        for (size_t m = 0; m < LEN(mixtures); ++m)
            for (size_t s = 0; s < LEN(shapes); ++s)
                check_backward(m, s);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* By hand: 1, 2, 3, 6 have the mean 3 and the variance 3.5. */
static void test_known_values(void **state)
{
    (void)state;
    static const double in[] = {1, 2, 3, 6};
    FOR_EACH_PATH(layer_norm_paths, path)
    {
        tensor *x = tensor_rows(KNA_F32, 1, 4, 0, 0), *y = tensor_rows(KNA_F32, 1, 4, 0, 0);
        tensor *w = tensor_vector(KNA_F32, 4), *b = tensor_vector(KNA_F32, 4);
        for (int64_t i = 0; i < 4; ++i) {
            tensor_set(x, i, in[i]);
            tensor_set(w, i, (double)i);
            tensor_set(b, i, 10.0);
        }
        ASSERT_CALL(__tvm_ffi_layer_norm, arg_tensor(y), arg_tensor(x), arg_tensor(w),
                    arg_tensor(b), arg_float(0.5));
        for (int64_t i = 0; i < 4; ++i)
            assert_true(fabs(tensor_get(y, i) - (10 + (double)i * (in[i] - 3) / 2)) < 2e-6);
        tensors_free(x, y, w, b, NULL);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* Every gradient against central differences in f64. */
static void test_gradients(void **state)
{
    (void)state;
    const double h = 1e-5;
    kna_cpu_limit(0);
    tensor *x = tensor_rows(KNA_F64, 3, 7, 0, 0), *y = tensor_rows(KNA_F64, 3, 7, 0, 0);
    tensor *dx = tensor_rows(KNA_F64, 3, 7, 0, 0), *dy = tensor_rows(KNA_F64, 3, 7, 0, 0);
    tensor *w = tensor_vector(KNA_F64, 7), *dw = tensor_vector(KNA_F64, 7);
    tensor *b = tensor_vector(KNA_F64, 7), *db = tensor_vector(KNA_F64, 7);
    tensor_fill(x, -2, 2);
    tensor_fill(dy, -1, 1);
    tensor_fill(w, -1, 1);
    tensor_fill(b, -1, 1);
    ASSERT_CALL(__tvm_ffi_layer_norm_backward, arg_tensor(dx), arg_tensor(dw), arg_tensor(db),
                arg_tensor(dy), arg_tensor(x), arg_tensor(w), arg_float(0.1));
    for (int64_t i = 0; i < 21 + 7 + 7; ++i) {
        tensor *of = i < 21 ? x : i < 28 ? w : b, *grad = i < 21 ? dx : i < 28 ? dw : db;
        const int64_t k = i < 21 ? i : (i - 21) % 7;
        const double at = tensor_get(of, k), got = tensor_get(grad, k);
        double slope = 0.0;
        for (int side = -1; side <= 1; side += 2) {
            tensor_set(of, k, at + side * h);
            ASSERT_CALL(__tvm_ffi_layer_norm, arg_tensor(y), arg_tensor(x), arg_tensor(w),
                        arg_tensor(b), arg_float(0.1));
            for (int64_t j = 0; j < 21; ++j)
                slope += side * tensor_get(y, j) * tensor_get(dy, j) / (2 * h);
        }
        tensor_set(of, k, at);
        if (fabs(slope - got) > 2e-9)
            fail_msg("gradient %d is %.12g, differences say %.12g", (int)i, got, slope);
    }
    tensors_free(x, y, dx, dy, w, dw, b, db, NULL);
    kna_cpu_limit(UINT32_MAX);
}

static void test_weight_gradients_and_threads(void **state)
{
    (void)state;
    tensor *x = tensor_rows(KNA_F32, 300, 515, 0, 0), *dx = tensor_rows(KNA_F32, 300, 515, 0, 0);
    tensor *w = tensor_vector(KNA_F32, 515), *one = tensor_vector(KNA_F32, 515);
    tensor *many = tensor_vector(KNA_F32, 515), *bias = tensor_vector(KNA_F32, 515);
    tensor_fill(x, -3, 3);
    tensor_fill(w, -1, 1);
    const int before = kna_threads_state.most;
    for (int n = 1; n <= 3; ++n) {
        kna_threads_state.most = n;
        ASSERT_CALL(__tvm_ffi_layer_norm_backward, arg_tensor(dx), arg_tensor(n == 1 ? one : many),
                    arg_tensor(bias), arg_tensor(x), arg_tensor(x), arg_tensor(w), arg_float(EPS));
        if (n > 1)
            assert_memory_equal(one->memory, many->memory, one->size_bytes);
    }
    kna_threads_state.most = before;
    // dx may be dy, and x or the vectors may go without a gradient.
    ASSERT_CALL(__tvm_ffi_layer_norm_backward, arg_tensor(x), arg_tensor(NULL), arg_tensor(NULL),
                arg_tensor(x), arg_tensor(x), arg_tensor(w), arg_float(EPS));
    assert_memory_equal(x->memory, dx->memory, x->size_bytes);
    tensors_free(x, dx, w, one, many, bias, NULL);
}

static void test_special_values(void **state)
{
    (void)state;
    FOR_EACH_PATH(layer_norm_paths, path)
    {
        for (size_t t = 0; t < LEN(all_types); ++t) {
            tensor *x = tensor_rows(all_types[t], 3, 13, 0, 0),
                   *y = tensor_rows(all_types[t], 3, 13, 0, 0);
            tensor_fill(x, 1, 2);
            tensor_set(x, 4, (double)NAN);
            tensor_set(x, 2 * 13 + 11, (double)INFINITY);
            ASSERT_CALL(__tvm_ffi_layer_norm, arg_tensor(y), arg_tensor(x), arg_tensor(NULL),
                        arg_tensor(NULL), arg_float(EPS));
            for (int64_t i = 0; i < 39; ++i)
                assert_int_equal(isfinite(tensor_get(y, i)) != 0, i / 13 == 1);
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
    tensor *half = tensor_rows(KNA_F16, 2, 8, 0, 0), *matrix = tensor_rows(KNA_F32, 1, 8, 0, 0);
    const TVMFFIAny ax = arg_tensor(x), ay = arg_tensor(y), aw = arg_tensor(w),
                    eps = arg_float(EPS);
    ASSERT_RAISES("TypeError: layer_norm: takes 5 arguments, got 4", __tvm_ffi_layer_norm, ay, ax,
                  aw, eps);
    ASSERT_RAISES("ValueError: layer_norm: bias must have the shape [8], got [7]",
                  __tvm_ffi_layer_norm, ay, ax, aw, arg_tensor(short_w), eps);
    ASSERT_RAISES("ValueError: layer_norm: weight must have the shape [8], got [1, 8]",
                  __tvm_ffi_layer_norm, ay, ax, arg_tensor(matrix), aw, eps);
    ASSERT_RAISES("TypeError: layer_norm: argument 5 must be a float, got a tensor",
                  __tvm_ffi_layer_norm, ay, ax, aw, aw, aw);
    ASSERT_RAISES(
        "TypeError: layer_norm_backward: dx (f16) and x (f32) must have the same data type",
        __tvm_ffi_layer_norm_backward, arg_tensor(half), aw, aw, ay, ax, aw, eps);
    ASSERT_RAISES("ValueError: layer_norm_backward: dbias must have the shape [8], got [7]",
                  __tvm_ffi_layer_norm_backward, ay, aw, arg_tensor(short_w), ay, ax, aw, eps);
    w->dl.device.device_type = kDLCUDA;
    ASSERT_RAISES("ValueError: layer_norm: weight is on device type 2; this kernel runs on the CPU",
                  __tvm_ffi_layer_norm, ay, ax, aw, aw, eps);
    tensors_free(x, y, w, short_w, half, matrix, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_weight_gradients_and_threads),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
