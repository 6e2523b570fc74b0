/* kernels/author.h and what the packages share: every half, rounding, tails, the exponential, arguments, rows, threads. */
#include "common/test.h"

#include "common/avx2.h"

static bool is_nan16(uint16_t half, unsigned type)
{
    return type == KNA_F16 ? (half & 0x7fffu) > 0x7c00u : (half & 0x7fffu) > 0x7f80u;
}

static float widen(uint16_t half, unsigned type)
{
    return type == KNA_F16 ? kna_f16_to_f32(half) : kna_bf16_to_f32(half);
}

static uint16_t narrow(float value, unsigned type)
{
    return type == KNA_F16 ? kna_f32_to_f16(value) : kna_f32_to_bf16(value);
}

/* Every half comes back as it was; NaN as a quiet NaN. */
static void test_every_half(void **state)
{
    (void)state;
    for (size_t t = 1; t < LEN(all_types); ++t)
        for (uint32_t bits = 0; bits <= 0xffffu; ++bits) {
            const uint16_t half = (uint16_t)bits;
            const float value = widen(half, all_types[t]);
            if (is_nan16(half, all_types[t])) {
                assert_true(isnan(value));
                assert_true(is_nan16(narrow(value, all_types[t]), all_types[t]));
            } else {
                assert_int_equal(narrow(value, all_types[t]), half);
            }
        }
    assert_true(kna_f16_to_f32(0x3555) ==
                0x1.554p-2f); // values from outside: a third, and the ends
    assert_true(kna_f16_to_f32(0x7bff) == 65504.0f && kna_f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(kna_f16_to_f32(0xfc00) == -(float)INFINITY && kna_bf16_to_f32(0xc040) == -3.0f);
}

/* Between two neighbours: below the middle goes down, above it up, the middle to the even one. */
static void test_rounding(void **state)
{
    (void)state;
    for (size_t t = 1; t < LEN(all_types); ++t) {
        const unsigned type = all_types[t];
        const uint16_t infinity = type == KNA_F16 ? 0x7c00u : 0x7f80u;
        for (uint16_t half = 0; half < infinity; ++half) {
            const uint16_t next = (uint16_t)(half + 1);
            const double low = (double)widen(half, type);
            const double high = next == infinity ? (type == KNA_F16 ? 65536.0 : 0x1p128)
                                                 : (double)widen(next, type);
            const float middle = (float)(low + (high - low) / 2);
            const uint16_t even = half % 2 ? next : half;
            assert_int_equal(narrow(middle, type), even);
            assert_int_equal(narrow(nextafterf(middle, 0.0f), type), half);
            assert_int_equal(narrow(nextafterf(middle, (float)INFINITY), type), next);
            assert_int_equal(narrow(-middle, type), even | 0x8000u);
        }
        assert_int_equal(narrow((float)INFINITY, type), infinity);
        assert_true(is_nan16(narrow(kna_float_of(0x7f800001u), type), type));
        assert_true(is_nan16(narrow(kna_float_of(0xffffffffu), type), type));
    }
}

#if defined(__x86_64__)

AVX2 static void copy_avx2(const void *from, unsigned from_type, void *to, unsigned to_type,
                           int64_t n)
{
    for (int64_t i = 0; i < n; i += 8)
        avx2_put(to, i, n - i, to_type, avx2_get(from, i, n - i, from_type));
}

AVX2 static void round_avx2(float *data, unsigned type)
{
    _mm256_storeu_ps(data, avx2_round(_mm256_loadu_ps(data), type));
}

AVX2 static void exp_avx2(float *data)
{
    _mm256_storeu_ps(data, avx2_exp(_mm256_loadu_ps(data)));
}

static bool has_avx2(void)
{
    if (kna_cpu() & KNA_CPU_AVX2)
        return true;
    print_message("  path avx2: SKIPPED, this machine lacks its instructions\n");
    return false;
}

/* Vector conversions agree with the scalar ones: all halves, all neighbours of every middle, NaN, any place in a vector. */
static void test_vector_conversions(void **state)
{
    (void)state;
    if (!has_avx2())
        return;
    for (size_t t = 1; t < LEN(all_types); ++t) {
        const unsigned type = all_types[t];
        for (uint32_t first = 0; first <= 0xffffu; first += 5) {
            uint16_t halves[5], back[5];
            float wide[5];
            for (uint32_t k = 0; k < 5; ++k)
                halves[k] = (uint16_t)(first + k);
            copy_avx2(halves, type, wide, KNA_F32, 5);
            for (size_t k = 0; k < 5; ++k) {
                if (is_nan16(halves[k], type))
                    assert_true(isnan(wide[k]));
                else
                    assert_int_equal(kna_bits_of(wide[k]), kna_bits_of(widen(halves[k], type)));
                // Then up to the middle to the next half and beyond it by one bit.
                const uint32_t span = type == KNA_F16 ? 0x1000u : 0x8000u;
                wide[k] = kna_float_of(kna_bits_of(wide[k]) + span + (uint32_t)k % 3 - 1);
            }
            copy_avx2(wide, KNA_F32, back, type, 5);
            float rounded[8] = {wide[0], wide[1], wide[2], wide[3], wide[4], 0, 0, 0};
            round_avx2(rounded, type);
            for (size_t k = 0; k < 5; ++k) {
                if (isnan(wide[k])) {
                    assert_true(is_nan16(back[k], type) && isnan(rounded[k]));
                    continue;
                }
                assert_int_equal(back[k], narrow(wide[k], type));
                assert_int_equal(kna_bits_of(rounded[k]), kna_bits_of(widen(back[k], type)));
            }
        }
    }
}

/* Relative error below 2 * 2^-24 in the normal range; half a last place and an ulp of the smallest below. */
static void test_exponential(void **state)
{
    (void)state;
    double worst = 0.0;
    if (!has_avx2())
        return;
    for (double x = -110.0; x < 95.0; x += 0.00137) {
        float v[8];
        for (int k = 0; k < 8; ++k)
            v[k] = (float)(x + k * 1e-4);
        float in[8];
        memcpy(in, v, sizeof(in));
        exp_avx2(v);
        for (int k = 0; k < 8; ++k) {
            const double truth = exp((double)in[k]);
            if (truth > (double)0x1.fffffep127f) {
                assert_true(isinf(v[k]) && v[k] > 0);
            } else if (truth < 0x1p-126) {
                assert_true(fabs((double)v[k] - truth) <= 0x1p-149);
            } else {
                const double error = fabs((double)v[k] - truth) / truth;
                worst = error > worst ? error : worst;
            }
        }
    }
    print_message("  largest relative error: %.2f * 2^-24\n", worst * 0x1p24);
    assert_true(worst < 2 * 0x1p-24);
    float special[8] = {(float)NAN, (float)INFINITY, -(float)INFINITY, 0.0f,
                        -0.0f,      1e38f,           -1e38f,           1.0f};
    exp_avx2(special);
    assert_true(isnan(special[0]) && isinf(special[1]) && special[2] == 0.0f && special[3] == 1.0f);
    assert_true(special[4] == 1.0f && isinf(special[5]) && special[6] == 0.0f);
}

#endif

/* ---- Arguments and rows ---- */

KNA_FUNCTION(takes_all)
{
    DLTensor *t, *maybe;
    int64_t i;
    double f = 7.5, given = 0;
    bool b = false;
    if (!kna_args("takes_all", args, n_args, "t?ti?ffb", &t, &maybe, &i, &f, &given, &b))
        return -1;
    return t && !maybe && i == 3 && f == 7.5 && given == 2.0 && b
               ? 0
               : kna_raise("RuntimeError", "takes_all", "%s", "wrong values");
}

static void test_arguments(void **state)
{
    (void)state;
    tensor *t = tensor_rows(KNA_F32, 2, 3, 0, 0);
    const TVMFFIAny at = arg_tensor(t), none = arg_tensor(NULL),
                    no_object = {.type_index = kTVMFFITensor};
    ASSERT_CALL(__tvm_ffi_takes_all, at, none, arg_int(3), none, arg_int(2), arg_int(1));
    ASSERT_CALL(__tvm_ffi_takes_all, at, none, arg_int(3), arg_float(7.5), arg_float(2),
                arg_bool(true));
    ASSERT_RAISES("RuntimeError: takes_all: wrong values", __tvm_ffi_takes_all, at, at, arg_int(3),
                  none, arg_int(2), arg_int(1));
    ASSERT_RAISES("TypeError: takes_all: takes 6 arguments, got 1", __tvm_ffi_takes_all, at);
    ASSERT_RAISES("TypeError: takes_all: argument 1 must be a tensor, got none",
                  __tvm_ffi_takes_all, none, none, arg_int(3), none, arg_int(2), arg_int(1));
    ASSERT_RAISES("TypeError: takes_all: argument 1 must be a tensor, got a NULL tensor",
                  __tvm_ffi_takes_all, no_object, none, arg_int(3), none, arg_int(2), arg_int(1));
    ASSERT_RAISES("TypeError: takes_all: argument 4 must be a float or none, got a tensor",
                  __tvm_ffi_takes_all, at, none, arg_int(3), at, arg_int(2), arg_int(1));
    ASSERT_RAISES("TypeError: takes_all: argument 3 must be an int, got a string",
                  __tvm_ffi_takes_all, at, none,
                  (TVMFFIAny){.type_index = kTVMFFIRawStr, .v_c_str = "3"}, none, arg_int(2),
                  arg_int(1));
    tensor_free(t);
}

KNA_FUNCTION(takes_dense)
{
    DLTensor *y, *x;
    return kna_args("takes_dense", args, n_args, "tt", &y, &x) && kna_dense("takes_dense", y, x)
               ? 0
               : -1;
}

static void test_dense(void **state)
{
    (void)state;
    tensor *a = tensor_rows(KNA_F32, 2, 3, 0, 0), *gap = tensor_rows(KNA_F32, 2, 3, 1, 0);
    tensor *half = tensor_rows(KNA_F16, 2, 3, 0, 0), *one = tensor_rows(KNA_F32, 1, 3, 5, 0);
    ASSERT_CALL(__tvm_ffi_takes_dense, arg_tensor(a), arg_tensor(a));
    ASSERT_CALL(__tvm_ffi_takes_dense, arg_tensor(one),
                arg_tensor(one)); // a stride that nobody takes
    ASSERT_RAISES("ValueError: takes_dense: x must be contiguous", __tvm_ffi_takes_dense,
                  arg_tensor(a), arg_tensor(gap));
    ASSERT_RAISES("TypeError: takes_dense: y (f32) and x (f16) must have the same data type",
                  __tvm_ffi_takes_dense, arg_tensor(a), arg_tensor(half));
    half->dl.dtype = (DLDataType){kDLFloat, 32, 4};
    ASSERT_RAISES("TypeError: takes_dense: y (f32) and x (f32x4) must have the same data type",
                  __tvm_ffi_takes_dense, arg_tensor(a), arg_tensor(half));
    one->dl.device.device_id = 1;
    one->shape[0] = 2;
    one->strides[0] = 3;
    ASSERT_RAISES("ValueError: takes_dense: y and x must be on the same device",
                  __tvm_ffi_takes_dense, arg_tensor(a), arg_tensor(one));
    tensors_free(a, gap, half, one, NULL);
}

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int32_t ndim;
        int64_t shape[4], strides[4];
        int64_t n_rows, n_cols, row_stride; // n_rows -1: refused
    } rows[] = {
        {"rank 0", 0, {0}, {0}, 1, 1, 1},
        {"one row", 1, {5}, {1}, 1, 5, 5},
        {"dense", 3, {2, 3, 4}, {12, 4, 1}, 6, 4, 4},
        {"apart", 3, {2, 3, 4}, {30, 10, 1}, 6, 4, 10},
        {"one stride for a size of 1", 3, {2, 1, 4}, {9, 77, 1}, 2, 4, 9},
        {"does not fold", 3, {2, 3, 4}, {12, 8, 1}, -1, 0, 0},
        {"last is not contiguous", 2, {2, 4}, {1, 2}, -1, 0, 0},
        {"one column", 2, {6, 1}, {3, 9}, 6, 1, 3},
        {"the same row again", 2, {6, 4}, {0, 1}, 6, 4, 0},
        {"backwards", 2, {3, 4}, {-8, 1}, 3, 4, -8},
        {"empty, whatever the strides", 3, {2, 0, 4}, {1, 1, 7}, 0, 4, 4},
    };
    float data[64];
    for (size_t i = 0; i < LEN(rows); ++i) {
        int64_t shape[4], strides[4];
        kna_rows found;
        print_message("  %s\n", rows[i].name);
        memcpy(shape, rows[i].shape, sizeof(shape));
        memcpy(strides, rows[i].strides, sizeof(strides));
        const DLTensor t = {.data = data,
                            .ndim = rows[i].ndim,
                            .dtype = {kDLFloat, 32, 1},
                            .shape = shape,
                            .strides = strides};
        const bool ok = kna_rows_in("rows", &t, &found);
        assert_int_equal(ok, rows[i].n_rows >= 0);
        if (!ok)
            continue;
        assert_int_equal(found.n_rows, rows[i].n_rows);
        assert_int_equal(found.n_cols, rows[i].n_cols);
        assert_int_equal(found.row_stride, rows[i].row_stride);
    }
}

/* ---- Threads ---- */

static void count_body(void *user, int64_t begin, int64_t end)
{
    unsigned char *seen = user;
    for (int64_t i = begin; i < end; ++i)
        __atomic_add_fetch(&seen[i], 1, __ATOMIC_RELAXED);
}

/* Every item is done once, for any number of items and threads. */
static void test_parallel(void **state)
{
    (void)state;
    static unsigned char seen[1000];
    const int before = kna_threads_state.most;
    assert_int_equal(kna_threads(KNA_THREADS_FROM_BYTES - 1), 1);
    for (int most = 1; most <= 5; ++most)
        for (int64_t n = 0; n <= 1000; n += n < 12 ? 1 : 247) {
            kna_threads_state.most = most;
            memset(seen, 0, sizeof(seen));
            kna_parallel(n, INT64_C(1) << 30, count_body, seen);
            for (int64_t i = 0; i < 1000; ++i)
                assert_int_equal(seen[i], i < n);
        }
    kna_threads_state.owner += 1; // as in a forked child
    assert_int_equal(kna_threads(INT64_C(1) << 30), 1);
    kna_threads_state.owner -= 1;
#if defined(_OPENMP)
    assert_int_equal(kna_threads(INT64_C(1) << 30), 5);
    assert_int_equal(kna_threads(KNA_THREADS_FROM_BYTES), 2);
#endif
    kna_threads_state.most = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_rounding),
#if defined(__x86_64__)
        cmocka_unit_test(test_vector_conversions),
        cmocka_unit_test(test_exponential),
#endif
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_parallel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
