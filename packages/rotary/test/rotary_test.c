#define REAL_TYPES (KNA_F32 | KNA_F16 | KNA_BF16 | KNA_F64)
#include "common/test.h"

#include "../cpu/rotary.c"

/* How q, k and the results lie in memory: dense as their shape says, heads and positions exchanged, or with gaps. */
typedef enum layout { DENSE, EXCHANGED, APART } layout;

static const struct {
    const char *name;
    int64_t b, hq, hk, s, d;
    layout in, out;
    int64_t angle_batches;
    int64_t unsqueeze_dim;
    size_t shift;
} shapes[] = {
    {"no positions", 1, 2, 1, 0, 8, DENSE, DENSE, 1, 1, 0},
    {"no heads", 1, 0, 0, 3, 8, DENSE, DENSE, 1, 1, 0},
    {"no keys", 2, 3, 0, 3, 8, DENSE, DENSE, 1, 1, 0},
    {"no columns", 1, 2, 1, 3, 0, DENSE, DENSE, 1, 1, 0},
    {"one pair", 1, 1, 1, 1, 2, DENSE, DENSE, 1, 1, 0},
    {"a tail alone", 2, 3, 1, 4, 6, DENSE, DENSE, 1, 1, 0},
    {"vectors", 2, 4, 2, 5, 32, DENSE, DENSE, 2, 1, 0},
    {"vectors and a tail", 2, 2, 2, 3, 46, DENSE, DENSE, 2, 1, 0},
    {"heads inside", 2, 3, 2, 4, 24, EXCHANGED, EXCHANGED, 1, 1, 0},
    {"heads inside, result dense", 2, 3, 2, 4, 24, EXCHANGED, DENSE, 2, 1, 0},
    {"rows apart", 2, 3, 2, 4, 10, APART, APART, 1, 1, 0},
    {"positions before heads", 2, 3, 2, 4, 20, DENSE, DENSE, 2, 2, 0},
    {"off by an element", 1, 2, 1, 3, 20, APART, DENSE, 1, 1, 4},
    {"off by a byte", 1, 2, 1, 3, 20, DENSE, APART, 1, 1, 1},
    {"several threads", 1, 9, 3, 70, 64, EXCHANGED, EXCHANGED, 1, 1, 0},
};

static tensor *heads_new(unsigned type, size_t s, int64_t heads, layout how)
{
    const bool late = shapes[s].unsqueeze_dim == 2;
    const int64_t gap = how == APART ? 3 : 0, d = shapes[s].d + gap, n = shapes[s].s;
    const int64_t shape[] = {shapes[s].b, late ? n : heads, late ? heads : n, shapes[s].d};
    const int64_t dense[] = {shape[1] * shape[2] * d, shape[2] * d, d, 1};
    const int64_t exchanged[] = {shape[1] * shape[2] * d, d, shape[1] * d, 1};
    return tensor_new(type, 4, shape, how == EXCHANGED ? exchanged : dense, shapes[s].shift);
}

/* Element i of a tensor of heads: its batch, position and column, and the flat index of the other of its pair. */
typedef struct place {
    int64_t batch, position, col, other;
    bool first; // the a of its pair
} place;

static place place_of(const tensor *t, int64_t i, int64_t unsqueeze_dim, bool interleaved)
{
    const int64_t d = t->shape[3], row = i / d;
    place p = {.col = i % d, .batch = row / (t->shape[1] * t->shape[2])};
    p.position = unsqueeze_dim == 1 ? row % t->shape[2] : row / t->shape[2] % t->shape[1];
    p.first = interleaved ? p.col % 2 == 0 : p.col < d / 2;
    p.other = i + (p.first ? 1 : -1) * (interleaved ? 1 : d / 2);
    return p;
}

/* Checks one of q and k against the formula, written here once more, by element. */
static void check_heads(const char *what, const tensor *out, const tensor *in, const tensor *c,
                        const tensor *s, int64_t unsqueeze_dim, bool interleaved, bool backward,
                        double roundings)
{
    const int64_t d = in->shape[3];
    for (int64_t i = 0, n = kna_numel(&in->dl); i < n; ++i) {
        const place p = place_of(in, i, unsqueeze_dim, interleaved);
        const int64_t base = ((c->shape[0] == 1 ? 0 : p.batch) * c->shape[1] + p.position) * d;
        const int64_t other_col = p.col + (p.other - i);
        const double own = tensor_get(in, i) * tensor_get(c, base + p.col);
        // Forward a' = a cos_a - b sin_a and b' = b cos_b + a sin_b; the transposed turn takes the other's sine.
        const double sine = tensor_get(s, base + (backward ? other_col : p.col));
        const double cross = tensor_get(in, p.other) * sine * (p.first != backward ? -1.0 : 1.0);
        assert_close(what, out, i, own + cross, roundings * 0x1p-24 * (fabs(own) + fabs(cross)));
    }
}

/* Two products of which one is fused, and a sum: at most 3 * 2^-24 of their sizes before the last rounding. */
static void check(size_t n, unsigned type, unsigned angle_type, bool interleaved, bool backward)
{
    const int64_t angle_shape[] = {shapes[n].angle_batches, shapes[n].s, shapes[n].d};
    tensor *q = heads_new(type, n, shapes[n].hq, shapes[n].in);
    tensor *k = heads_new(type, n, shapes[n].hk, shapes[n].in);
    tensor *q_out = heads_new(type, n, shapes[n].hq, shapes[n].out);
    tensor *k_out = heads_new(type, n, shapes[n].hk, shapes[n].out);
    tensor *c = tensor_new(angle_type, 3, angle_shape, NULL, 0);
    tensor *s = tensor_new(angle_type, 3, angle_shape, NULL, 0);
    tensor_fill(q, -3, 3);
    tensor_fill(k, -3, 3);
    tensor_fill(c, -1, 1); // no two columns share an angle, so that each number must be its own
    tensor_fill(s, -1, 1);
    ASSERT_CALL(backward ? __tvm_ffi_rotary_pos_emb_backward : __tvm_ffi_rotary_pos_emb,
                arg_tensor(q_out), arg_tensor(k_out), arg_tensor(q), arg_tensor(k), arg_tensor(c),
                arg_tensor(s), arg_int(shapes[n].unsqueeze_dim), arg_bool(interleaved));
    check_heads(shapes[n].name, q_out, q, c, s, shapes[n].unsqueeze_dim, interleaved, backward, 3);
    check_heads(shapes[n].name, k_out, k, c, s, shapes[n].unsqueeze_dim, interleaved, backward, 3);
    assert_gaps_untouched(q_out);
    assert_gaps_untouched(k_out);
    // In place.
    ASSERT_CALL(backward ? __tvm_ffi_rotary_pos_emb_backward : __tvm_ffi_rotary_pos_emb,
                arg_tensor(q), arg_tensor(k), arg_tensor(q), arg_tensor(k), arg_tensor(c),
                arg_tensor(s), arg_int(shapes[n].unsqueeze_dim), arg_bool(interleaved));
    for (int64_t i = 0; i < kna_numel(&q->dl); ++i)
        assert_true(tensor_get(q, i) == tensor_get(q_out, i));
    for (int64_t i = 0; i < kna_numel(&k->dl); ++i)
        assert_true(tensor_get(k, i) == tensor_get(k_out, i));
    tensors_free(q, k, q_out, k_out, c, s, NULL);
}

static void test_angles(void **state)
{
    (void)state;
    FOR_EACH_PATH(rotary_paths, path)
    {
        for (size_t n = 0; n < LEN(shapes); ++n)
            for (size_t t = 0; t < LEN(all_types); ++t)
                for (int form = 0; form < 4; ++form) {
                    check(n, all_types[t], all_types[t], form & 1, form & 2);
                    check(n, all_types[t], KNA_F32, form & 1, form & 2);
                    check(n, all_types[t], all_types[(t + 2) % 3], form & 1, form & 2);
                }
    }
    kna_cpu_limit(UINT32_MAX);
}

/* The angles are p theta^(-2 i / d): one rounding more for each number. */
static void test_positions(void **state)
{
    (void)state;
    FOR_EACH_PATH(rotary_paths, path)
    {
        for (size_t n = 0; n < LEN(shapes); ++n)
            for (int form = 0; form < 8; ++form) {
                const bool interleaved = form & 1, backward = form & 2;
                const unsigned type = all_types[n % 3], wide = form & 4 ? KNA_I64 : KNA_I32;
                const int64_t shape[] = {shapes[n].angle_batches, shapes[n].s, shapes[n].d};
                const int64_t half = shapes[n].d / 2;
                tensor *q = heads_new(type, n, shapes[n].hq, shapes[n].in);
                tensor *k = heads_new(type, n, shapes[n].hk, shapes[n].in);
                tensor *q_out = heads_new(type, n, shapes[n].hq, shapes[n].out);
                tensor *k_out = heads_new(type, n, shapes[n].hk, shapes[n].out);
                tensor *positions = tensor_new(wide, 2, shape, NULL, 0);
                tensor *c = tensor_new(KNA_F64, 3, shape, NULL, 0);
                tensor *s = tensor_new(KNA_F64, 3, shape, NULL, 0);
                tensor_fill(q, -3, 3);
                tensor_fill(k, -3, 3);
                for (int64_t i = 0; i < shape[0] * shape[1]; ++i) {
                    const int64_t p = i * 97 % 5000;
                    if (wide == KNA_I64)
                        ((int64_t *)kna_data(&positions->dl))[i] = p;
                    else
                        ((int32_t *)kna_data(&positions->dl))[i] = (int32_t)p;
                    for (int64_t col = 0; col < shape[2]; ++col) {
                        const int64_t pair = interleaved ? col / 2 : col % half;
                        const double angle =
                            (double)p / pow(10000.0, 2.0 * (double)pair / (double)shape[2]);
                        tensor_set(c, i * shape[2] + col, cos(angle));
                        tensor_set(s, i * shape[2] + col, sin(angle));
                    }
                }
                ASSERT_CALL(backward ? __tvm_ffi_rotary_positions_backward
                                     : __tvm_ffi_rotary_positions,
                            arg_tensor(q_out), arg_tensor(k_out), arg_tensor(q), arg_tensor(k),
                            arg_tensor(positions), arg_float(10000),
                            arg_int(shapes[n].unsqueeze_dim), arg_bool(interleaved));
                check_heads(shapes[n].name, q_out, q, c, s, shapes[n].unsqueeze_dim, interleaved,
                            backward, 4);
                check_heads(shapes[n].name, k_out, k, c, s, shapes[n].unsqueeze_dim, interleaved,
                            backward, 4);
                tensors_free(q, k, q_out, k_out, positions, c, s, NULL);
            }
    }
    kna_cpu_limit(UINT32_MAX);
}

/* The gradient against central differences in f64; the function is linear, so only rounding is left. */
static void test_gradients(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 2, 3, 6}, angles[] = {2, 3, 6};
    kna_cpu_limit(0);
    for (int interleaved = 0; interleaved < 2; ++interleaved) {
        tensor *x[4], *c = tensor_new(KNA_F64, 3, angles, NULL, 0);
        tensor *s = tensor_new(KNA_F64, 3, angles, NULL, 0), *grad[4];
        tensor_fill(c, -1, 1);
        tensor_fill(s, -1, 1);
        for (int i = 0; i < 4; ++i) { // x: q, k, q_out, k_out; grad: theirs
            x[i] = tensor_new(KNA_F64, 4, shape, NULL, 0);
            grad[i] = tensor_new(KNA_F64, 4, shape, NULL, 0);
            tensor_fill(x[i], -1, 1);
            tensor_fill(grad[i], -1, 1);
        }
        ASSERT_CALL(__tvm_ffi_rotary_pos_emb_backward, arg_tensor(grad[0]), arg_tensor(grad[1]),
                    arg_tensor(grad[2]), arg_tensor(grad[3]), arg_tensor(c), arg_tensor(s),
                    arg_int(1), arg_bool(interleaved));
        for (int of = 0; of < 2; ++of)
            for (int64_t i = 0; i < 72; ++i) {
                const double at = tensor_get(x[of], i), h = 0.5;
                double slope = 0.0;
                for (int side = -1; side <= 1; side += 2) {
                    tensor_set(x[of], i, at + side * h);
                    ASSERT_CALL(__tvm_ffi_rotary_pos_emb, arg_tensor(x[2]), arg_tensor(x[3]),
                                arg_tensor(x[0]), arg_tensor(x[1]), arg_tensor(c), arg_tensor(s),
                                arg_int(1), arg_bool(interleaved));
                    for (int64_t j = 0; j < 72; ++j)
                        slope += side / (2 * h) *
                                 (tensor_get(x[2], j) * tensor_get(grad[2], j) +
                                  tensor_get(x[3], j) * tensor_get(grad[3], j));
                }
                tensor_set(x[of], i, at);
                if (fabs(slope - tensor_get(grad[of], i)) > 1e-12)
                    fail_msg("gradient %d is %.15g, differences say %.15g", (int)i,
                             tensor_get(grad[of], i), slope);
            }
        for (int i = 0; i < 4; ++i)
            tensors_free(x[i], grad[i], NULL);
        tensors_free(c, s, NULL);
    }
    kna_cpu_limit(UINT32_MAX);
}

/* A NaN or an infinity spoils its own pair alone. */
static void test_special_values(void **state)
{
    (void)state;
    const int64_t shape[] = {1, 1, 1, 22}, angles[] = {1, 1, 22}, none[] = {1, 0, 1, 22};
    FOR_EACH_PATH(rotary_paths, path)
    {
        for (size_t t = 0; t < LEN(all_types); ++t)
            for (int interleaved = 0; interleaved < 2; ++interleaved) {
                tensor *q = tensor_new(all_types[t], 4, shape, NULL, 0);
                tensor *k = tensor_new(all_types[t], 4, none, NULL, 0);
                tensor *c = tensor_new(KNA_F32, 3, angles, NULL, 0);
                tensor_fill(q, 1, 2);
                tensor_fill(c, 0.25, 0.5);
                tensor_set(q, 1, (double)NAN);
                tensor_set(q, 20, (double)INFINITY);
                ASSERT_CALL(__tvm_ffi_rotary_pos_emb, arg_tensor(q), arg_tensor(k), arg_tensor(q),
                            arg_tensor(k), arg_tensor(c), arg_tensor(c), arg_int(1),
                            arg_bool(interleaved));
                for (int64_t i = 0; i < 22; ++i) {
                    const bool by_nan = interleaved ? i / 2 == 0 : i % 11 == 1;
                    const bool by_infinity = interleaved ? i / 2 == 10 : i % 11 == 9;
                    assert_int_equal(isnan(tensor_get(q, i)) != 0, by_nan);
                    assert_int_equal(isinf(tensor_get(q, i)) != 0, by_infinity);
                }
                tensors_free(q, k, c, NULL);
            }
    }
    kna_cpu_limit(UINT32_MAX);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    const int64_t s4[] = {2, 3, 4, 6}, other[] = {2, 3, 5, 6}, odd[] = {2, 3, 4, 5},
                  s3[] = {3, 4, 6};
    const int64_t angles[] = {1, 4, 6}, longer[] = {3, 4, 6}, flat[] = {1, 4};
    const int64_t onto[] = {24, 24, 6, 1}, inside[] = {72, 1, 18, 3};
    tensor *q = tensor_new(KNA_F32, 4, s4, NULL, 0), *c = tensor_new(KNA_F32, 3, angles, NULL, 0);
    tensor *k5 = tensor_new(KNA_F32, 4, other, NULL, 0), *q5 = tensor_new(KNA_F32, 4, odd, NULL, 0);
    tensor *q3 = tensor_new(KNA_F32, 3, s3, NULL, 0), *c3 = tensor_new(KNA_F32, 3, longer, NULL, 0);
    tensor *half = tensor_new(KNA_F16, 4, s4, NULL, 0),
           *half_c = tensor_new(KNA_F16, 3, angles, NULL, 0);
    tensor *overlap = tensor_new(KNA_F32, 4, s4, onto, 0),
           *turned = tensor_new(KNA_F32, 4, s4, inside, 0);
    tensor *positions = tensor_new(KNA_I64, 2, flat, NULL, 0);
    const TVMFFISafeCallType f = __tvm_ffi_rotary_pos_emb, g = __tvm_ffi_rotary_positions;
    const TVMFFIAny aq = arg_tensor(q), ac = arg_tensor(c), one = arg_int(1), no = arg_bool(false);
    const TVMFFIAny ap = arg_tensor(positions);
    ASSERT_RAISES("TypeError: rotary_pos_emb: takes 8 arguments, got 2", f, aq, aq);
    ASSERT_RAISES("TypeError: rotary_pos_emb: argument 7 must be an int, got a float", f, aq, aq,
                  aq, aq, ac, ac, arg_float(1), no);
    ASSERT_RAISES("TypeError: rotary_pos_emb: argument 8 must be a bool, got a tensor", f, aq, aq,
                  aq, aq, ac, ac, one, ac);
    ASSERT_RAISES(
        "ValueError: rotary_pos_emb: unsqueeze_dim must be 1 (heads before positions) or 2, "
        "got 3",
        f, aq, aq, aq, aq, ac, ac, arg_int(3), no);
    ASSERT_RAISES("TypeError: rotary_pos_emb: k_out (f16) and q (f32) must have the same data type",
                  f, aq, arg_tensor(half), aq, aq, ac, ac, one, no);
    ASSERT_RAISES("ValueError: rotary_pos_emb_backward: dk must have 4 dimensions, got [3, 4, 6]",
                  __tvm_ffi_rotary_pos_emb_backward, aq, arg_tensor(q3), aq, aq, ac, ac, one, no);
    ASSERT_RAISES("ValueError: rotary_pos_emb: q_out [2, 3, 4, 6] and q [2, 3, 5, 6] must have the "
                  "same shape",
                  f, aq, aq, arg_tensor(k5), aq, ac, ac, one, no);
    ASSERT_RAISES(
        "ValueError: rotary_pos_emb: q [2, 3, 4, 6] and k [2, 3, 5, 6] must agree but for "
        "the heads, with an even last dimension",
        f, aq, arg_tensor(k5), aq, arg_tensor(k5), ac, ac, one, no);
    ASSERT_RAISES(
        "ValueError: rotary_pos_emb: q [2, 3, 4, 5] and k [2, 3, 4, 5] must agree but for "
        "the heads, with an even last dimension",
        f, arg_tensor(q5), arg_tensor(q5), arg_tensor(q5), arg_tensor(q5), ac, ac, one, no);
    ASSERT_RAISES(
        "ValueError: rotary_pos_emb: cos must have the shape [2 or 1, 4, 6], got [3, 4, 6]", f, aq,
        aq, aq, aq, arg_tensor(c3), ac, one, no);
    ASSERT_RAISES("TypeError: rotary_pos_emb: sin (f16) and cos (f32) must have the same data type",
                  f, aq, aq, aq, aq, ac, arg_tensor(half_c), one, no);
    ASSERT_RAISES("ValueError: rotary_pos_emb: the rows of k_out overlap", f, aq,
                  arg_tensor(overlap), aq, aq, ac, ac, one, no);
    ASSERT_RAISES("ValueError: rotary_pos_emb: the last dimension of q must be contiguous", f, aq,
                  aq, arg_tensor(turned), aq, ac, ac, one, no);
    ASSERT_RAISES("ValueError: rotary_positions: theta must be a positive number, got -1", g, aq,
                  aq, aq, aq, ap, arg_float(-1), one, no);
    ASSERT_RAISES(
        "TypeError: rotary_positions: positions has data type f32; accepted here: i32, i64", g, aq,
        aq, aq, aq, ac, arg_float(1), one, no);
    ASSERT_RAISES(
        "ValueError: rotary_positions: positions must have the shape [2 or 1, 3], got [1, 4]", g,
        aq, aq, aq, aq, ap, arg_float(1), arg_int(2), no);
    tensors_free(q, c, k5, q5, q3, c3, half, half_c, overlap, turned, positions, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_angles),          cmocka_unit_test(test_positions),
        cmocka_unit_test(test_gradients),       cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
