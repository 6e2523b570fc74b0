// The own forwards against their formulas in double, over strided tensors.
#include "layers.h"

#include "modules.h"
#include "support.h"
#include <math.h>

enum { SIZE = 512 };

static void fill(float *x, size_t n, float seed)
{
    for (size_t i = 0; i < n; ++i)
        x[i] = 3.0f * sinf(seed + 1.7f * (float)i);
}

static void assert_close(float came, double wanted)
{
    if (!(fabs((double)came - wanted) <= 1e-6 + 1e-6 * fabs(wanted)))
        fail_msg("%.9g, wanted %.9g", (double)came, wanted);
}

static void test_rms_norm(void **state)
{
    (void)state;
    enum { ROWS = 3, COLS = 7, IN_ROW = 9, OUT_ROW = 8 };
    float x[SIZE], w[COLS], y[SIZE] = {0};
    fill(x, SIZE, 0.1f);
    fill(w, COLS, 0.7f);
    const DLTensor in = llama_tensor(x, 2, (int64_t[]){ROWS, COLS}, (int64_t[]){IN_ROW, 1});
    const DLTensor weight = llama_tensor(w, 1, (int64_t[]){COLS}, (int64_t[]){1});
    DLTensor out = llama_tensor(y, 2, (int64_t[]){ROWS, COLS}, (int64_t[]){OUT_ROW, 1});
    rms_norm(&in, &weight, 0.25, &out);
    for (size_t r = 0; r < ROWS; ++r) {
        double sum = 0;
        for (size_t i = 0; i < COLS; ++i)
            sum += pow((double)x[r * IN_ROW + i], 2);
        for (size_t i = 0; i < COLS; ++i)
            assert_close(y[r * OUT_ROW + i],
                         (double)w[i] * (double)x[r * IN_ROW + i] / sqrt(sum / COLS + 0.25));
        assert_true(y[r * OUT_ROW + COLS] == 0.0f);
    }
}

static void test_silu_and_mul(void **state)
{
    (void)state;
    enum { ROWS = 2, D = 5, IN_ROW = 11 };
    float x[SIZE], y[SIZE] = {0};
    fill(x, SIZE, 0.3f);
    x[0] = -200.0f; // exp overflows: the result is -0
    x[1] = NAN;
    const DLTensor in = llama_tensor(x, 2, (int64_t[]){ROWS, 2 * D}, (int64_t[]){IN_ROW, 1});
    DLTensor out = llama_tensor(y, 2, (int64_t[]){ROWS, D}, (int64_t[]){D, 1});
    silu_and_mul(&in, &out);
    assert_true(y[0] == 0.0f);
    assert_true(isnan(y[1]));
    for (size_t i = 2; i < ROWS * D; ++i) {
        const float *row = x + i / D * IN_ROW + i % D;
        assert_close(y[i], (double)row[0] / (1 + exp(-(double)row[0])) * (double)row[D]);
    }
    assert_true(y[ROWS * D] == 0.0f);
}

static void check_rotated(const float *x, const float *y, int64_t head, int64_t at, int64_t heads,
                          const float *c, const float *s)
{
    enum { DIM = 6, ROW = 50 };
    const float *in = x + at * ROW + head * DIM, *out = y + (at * heads + head) * DIM;
    for (int64_t i = 0; i < DIM; ++i) {
        const double partner = i < DIM / 2 ? -(double)in[i + DIM / 2] : (double)in[i - DIM / 2];
        assert_close(out[i],
                     (double)in[i] * (double)c[at * DIM + i] + partner * (double)s[at * DIM + i]);
    }
}

static void test_rotary(void **state)
{
    (void)state;
    enum { HEADS = 3, KV = 2, SEQ = 4, DIM = 6, ROW = 50 };
    float x[SIZE], q_rotated[SIZE], k_rotated[SIZE], c[SEQ * DIM], s[SEQ * DIM];
    fill(x, SIZE, 0.9f);
    fill(c, SEQ * DIM, 0.2f);
    fill(s, SEQ * DIM, 0.4f);
    int64_t in_strides[] = {SEQ * ROW, DIM, ROW, 1};
    int64_t angle_shape[] = {1, SEQ, DIM}, angle_strides[] = {SEQ * DIM, DIM, 1};
    int64_t q_shape[] = {1, HEADS, SEQ, DIM}, k_shape[] = {1, KV, SEQ, DIM};
    int64_t q_strides[] = {0, DIM, HEADS * DIM, 1}, k_strides[] = {0, DIM, KV * DIM, 1};
    const DLTensor q = llama_tensor(x, 4, q_shape, in_strides);
    DLTensor k = llama_tensor(x, 4, k_shape, in_strides);
    k.byte_offset = HEADS * DIM * sizeof(float);
    const DLTensor cos = llama_tensor(c, 3, angle_shape, angle_strides);
    const DLTensor sin = llama_tensor(s, 3, angle_shape, angle_strides);
    DLTensor q_out = llama_tensor(q_rotated, 4, q_shape, q_strides);
    DLTensor k_out = llama_tensor(k_rotated, 4, k_shape, k_strides);
    rotary(&q, &k, &cos, &sin, &q_out, &k_out);
    for (int64_t at = 0; at < SEQ; ++at) {
        for (int64_t head = 0; head < HEADS; ++head)
            check_rotated(x, q_rotated, head, at, HEADS, c, s);
        for (int64_t head = 0; head < KV; ++head)
            check_rotated(x + HEADS * DIM, k_rotated, head, at, KV, c, s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_silu_and_mul),
        cmocka_unit_test(test_rotary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
