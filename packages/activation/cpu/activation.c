#include "../activation.h"
#include "common/avx2.h"
#include <math.h>

/* ---- Reference: plain C in double ---- */

/* P(x) and its derivative. */
static void step_ref(activation_kind kind, double x, double *p, double *dp)
{
    double z = x, dz = 1.0; // P is the logistic function of z
    switch (kind) {
    case ACT_GELU:
        *p = 0.5 * erfc(-x * 0.70710678118654752440);
        *dp = 0.39894228040143267794 * exp(-0.5 * x * x);
        return;
    case ACT_GELU_TANH: // (1 + tanh u) / 2 is the logistic function of 2 u
        z = 1.59576912160573071176 * (x + 0.044715 * x * x * x);
        dz = 1.59576912160573071176 * (1.0 + 3.0 * 0.044715 * x * x);
        break;
    case ACT_QUICK_GELU:
        z = 1.702 * x;
        dz = 1.702;
        break;
    default:
        break;
    }
    *p = 1.0 / (1.0 + exp(-z));
    *dp = dz * *p * (1.0 - *p);
}

static void activation_ref(activation_kind kind, unsigned type, const activation_span *s)
{
    for (int64_t i = 0; i < s->n; ++i) {
        const double x = real_get(s->g, i, type);
        const double u = s->u ? real_get(s->u, i, type) : 1.0;
        double p, dp;
        step_ref(kind, x, &p, &dp);
        if (!s->dy) {
            real_put(s->y, i, type, x * p * u);
            continue;
        }
        const double dy = real_get(s->dy, i, type);
        real_put(s->y, i, type, dy * u * (p + x * dp));
        if (s->u)
            real_put(s->du, i, type, dy * x * p);
    }
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)

AVX2 KNA_INLINE __m256 sigmoid_avx2(__m256 z)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 e = avx2_exp(_mm256_xor_ps(z, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(one, _mm256_add_ps(one, e));
}

/* Phi(-a) e^(a^2/2) for a >= 0 as a polynomial in t = 1 / (1 + a/4), fitted on 0 <= a <= 14.5 for the smallest largest
 * relative error (1.6e-8; 5 * 2^-24 with rounding). Beyond, e^(-a^2/2) is 0 in f32. */
AVX2 KNA_INLINE __m256 mills_avx2(__m256 a)
{
    static const float c[] = {-1.98547907e-05f, 1.00195350e-01f, 9.50989068e-02f,  1.20266516e-01f,
                              -1.66037703e-02f, 2.97396705e-01f, -3.24870952e-01f, 3.88490025e-01f,
                              -1.93378556e-01f, 3.34256209e-02f};
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(a, _mm256_set1_ps(0.25f), one));
    __m256 r = _mm256_set1_ps(c[9]);
    for (int k = 8; k >= 0; --k)
        r = _mm256_fmadd_ps(r, t, _mm256_set1_ps(c[k]));
    return r;
}

AVX2 KNA_INLINE __m256 step_avx2(activation_kind kind, __m256 x, __m256 *dp)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    __m256 z = x, dz = one;
    if (kind == ACT_GELU) {
        const __m256 square = _mm256_mul_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(-0.5f)));
        const __m256 e = avx2_exp(square);
        const __m256 below = _mm256_mul_ps(e, mills_avx2(_mm256_andnot_ps(sign, x)));
        *dp = _mm256_mul_ps(e, _mm256_set1_ps(0.398942280f));
        return _mm256_blendv_ps(_mm256_sub_ps(one, below), below, x); // by the sign of x
    }
    if (kind == ACT_GELU_TANH) { // beyond 32 the step is 0 or 1 in f32, and x^3 would overflow
        const __m256 limit = _mm256_set1_ps(32.0f);
        const __m256 v = _mm256_max_ps(_mm256_xor_ps(limit, sign), _mm256_min_ps(limit, x));
        const __m256 square = _mm256_mul_ps(v, v);
        z = _mm256_mul_ps(
            v, _mm256_fmadd_ps(square, _mm256_set1_ps(0.0713548163f), _mm256_set1_ps(1.59576912f)));
        dz = _mm256_fmadd_ps(square, _mm256_set1_ps(0.214064449f), _mm256_set1_ps(1.59576912f));
    } else if (kind == ACT_QUICK_GELU) {
        dz = _mm256_set1_ps(1.702f);
        z = _mm256_mul_ps(x, dz);
    }
    const __m256 p = sigmoid_avx2(z);
    *dp = _mm256_mul_ps(_mm256_mul_ps(dz, p), _mm256_sub_ps(one, p));
    return p;
}

/* Up to eight elements from i; n is 8 but in the tail. */
AVX2 KNA_INLINE void eight_avx2(activation_kind kind, unsigned type, const activation_span *s,
                                bool gated, bool backward, int64_t i, int64_t n)
{
    const __m256 x = avx2_get(s->g, i, n, type);
    __m256 dp;
    const __m256 p = step_avx2(kind, x, &dp);
    __m256 v = _mm256_mul_ps(x, p), factor;
    if (backward) {
        const __m256 dy = avx2_get(s->dy, i, n, type);
        if (gated) {
            factor = _mm256_mul_ps(dy, avx2_get(s->u, i, n, type));
            v = _mm256_mul_ps(dy, v);
            avx2_put(s->du, i, n, type, v);
        } else {
            factor = dy;
        }
        v = _mm256_mul_ps(factor, _mm256_fmadd_ps(x, dp, p));
    } else if (gated) {
        v = _mm256_mul_ps(v, avx2_get(s->u, i, n, type));
    }
    avx2_put(s->y, i, n, type, v);
}

AVX2 KNA_INLINE void span_avx2(activation_kind kind, unsigned type, const activation_span *s,
                               bool gated, bool backward)
{
    int64_t i = 0;
    for (; i + 8 <= s->n; i += 8)
        eight_avx2(kind, type, s, gated, backward, i, 8);
    if (i < s->n)
        eight_avx2(kind, type, s, gated, backward, i, s->n - i);
}

/* One loop for each kind, type and form, so that nothing is decided inside it. */
#define ACT_LOOPS(kind, type)                                                                      \
    if (s->dy && s->u)                                                                             \
        span_avx2(kind, type, s, true, true);                                                      \
    else if (s->dy)                                                                                \
        span_avx2(kind, type, s, false, true);                                                     \
    else if (s->u)                                                                                 \
        span_avx2(kind, type, s, true, false);                                                     \
    else                                                                                           \
        span_avx2(kind, type, s, false, false)

#define ACT_DEFINE(function, kind)                                                                 \
    AVX2 static void function(unsigned type, const activation_span *s)                             \
    {                                                                                              \
        if (type == KNA_F32) {                                                                     \
            ACT_LOOPS(kind, KNA_F32);                                                              \
        } else if (type == KNA_F16) {                                                              \
            ACT_LOOPS(kind, KNA_F16);                                                              \
        } else {                                                                                   \
            ACT_LOOPS(kind, KNA_BF16);                                                             \
        }                                                                                          \
    }

ACT_DEFINE(silu_avx2, ACT_SILU)
ACT_DEFINE(gelu_avx2, ACT_GELU)
ACT_DEFINE(gelu_tanh_avx2, ACT_GELU_TANH)
ACT_DEFINE(quick_gelu_avx2, ACT_QUICK_GELU)

static void activation_avx2(activation_kind kind, unsigned type, const activation_span *s)
{
    static void (*const by_kind[ACT_KINDS])(unsigned, const activation_span *) = {
        [ACT_SILU] = silu_avx2,
        [ACT_GELU] = gelu_avx2,
        [ACT_GELU_TANH] = gelu_tanh_avx2,
        [ACT_QUICK_GELU] = quick_gelu_avx2,
    };
    by_kind[kind](type, s);
}

#endif

/* Best first; the reference ends the list, so a choice always exists. Tests run every row. */
static const activation_path activation_paths[] = {
#if defined(__x86_64__)
    {"avx2", KNA_CPU_AVX2, activation_avx2},
#endif
    {"ref", 0, activation_ref},
};

/* ---- Rows, threads, exported functions ---- */

enum { COLUMNS = 4096 }; // of a row that one item of work takes

typedef struct activation_job {
    activation_kind kind;
    unsigned type;
    activation_fn run;
    int64_t n_cols, n_blocks; // columns of y, and the pieces that a row is cut into
    bool gated;
    kna_rows out, x, dy; // out: y or dx; dy.data NULL: forward
} activation_job;

static void activation_body(void *user, int64_t begin, int64_t end)
{
    const activation_job *job = user;
    const int64_t size = real_size(job->type), d = job->n_cols;
    for (int64_t item = begin; item < end; ++item) {
        const int64_t row = item / job->n_blocks, col = item % job->n_blocks * COLUMNS;
        char *out = job->out.data + (row * job->out.row_stride + col) * size;
        const char *x = job->x.data + (row * job->x.row_stride + col) * size;
        const char *dy =
            job->dy.data ? job->dy.data + (row * job->dy.row_stride + col) * size : NULL;
        job->run(job->kind, job->type,
                 &(activation_span){.n = d - col < COLUMNS ? d - col : COLUMNS,
                                    .y = out,
                                    .du = job->gated && dy ? out + d * size : NULL,
                                    .g = x,
                                    .u = job->gated ? x + d * size : NULL,
                                    .dy = dy});
    }
}

static int activation_run(activation_job *job)
{
    const int64_t d = job->n_cols,
                  streams = (job->gated ? 3 : 2) + (job->dy.data ? job->gated + 1 : 0);
    job->n_blocks = (d + COLUMNS - 1) / COLUMNS;
    job->run = KNA_BEST(activation_paths)->run;
    kna_parallel(job->x.n_rows * job->n_blocks, job->x.n_rows * d * streams * real_size(job->type),
                 activation_body, job);
    return 0;
}

/* Whether b is a, but for a last dimension twice as long. */
static bool is_half(const char *name, const char *a_name, const DLTensor *a, const char *b_name,
                    const DLTensor *b)
{
    char a_text[96], b_text[96];
    bool fits = a->ndim == b->ndim && a->ndim > 0;
    for (int32_t i = 0; fits && i < a->ndim; ++i)
        fits = i + 1 < a->ndim ? a->shape[i] == b->shape[i]
                               : b->shape[i] % 2 == 0 && a->shape[i] == b->shape[i] / 2;
    if (!fits)
        kna_raise("ValueError", name, "%s %s must have half the columns of %s %s, else its shape",
                  a_name, kna_shape_text(a, a_text, sizeof(a_text)), b_name,
                  kna_shape_text(b, b_text, sizeof(b_text)));
    return fits;
}

static int forward(const char *name, activation_kind kind, bool gated, const TVMFFIAny *args,
                   int32_t n_args)
{
    DLTensor *y, *x;
    activation_job job = {.kind = kind, .gated = gated};
    if (!kna_args(name, args, n_args, "tt", &y, &x) || !kna_on_cpu(name, y) || !kna_on_cpu(name, x))
        return -1;
    job.type = kna_dtype(name, x, REAL_TYPES);
    if (!job.type || !kna_same_dtype(name, y, x) ||
        !(gated ? is_half(name, "y", y, "x", x) : kna_same_shape(name, y, x)) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_out(name, y, &job.out))
        return -1;
    job.n_cols = job.out.n_cols;
    return activation_run(&job);
}

static int backward(const char *name, activation_kind kind, bool gated, const TVMFFIAny *args,
                    int32_t n_args)
{
    DLTensor *dx, *dy, *x;
    activation_job job = {.kind = kind, .gated = gated};
    if (!kna_args(name, args, n_args, "ttt", &dx, &dy, &x) || !kna_on_cpu(name, dx) ||
        !kna_on_cpu(name, dy) || !kna_on_cpu(name, x))
        return -1;
    job.type = kna_dtype(name, x, REAL_TYPES);
    if (!job.type || !kna_same_dtype(name, dx, x) || !kna_same_dtype(name, dy, x) ||
        !kna_same_shape(name, dx, x) ||
        !(gated ? is_half(name, "dy", dy, "x", x) : kna_same_shape(name, dy, x)) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_in(name, dy, &job.dy) ||
        !kna_rows_out(name, dx, &job.out))
        return -1;
    job.n_cols = job.dy.n_cols;
    return activation_run(&job);
}

#define ACT_EXPORT(name, kind)                                                                     \
    KNA_FUNCTION(name)                                                                             \
    {                                                                                              \
        return forward(#name, kind, false, args, n_args);                                          \
    }                                                                                              \
    KNA_FUNCTION(name##_backward)                                                                  \
    {                                                                                              \
        return backward(#name "_backward", kind, false, args, n_args);                             \
    }                                                                                              \
    KNA_FUNCTION(name##_and_mul)                                                                   \
    {                                                                                              \
        return forward(#name "_and_mul", kind, true, args, n_args);                                \
    }                                                                                              \
    KNA_FUNCTION(name##_and_mul_backward)                                                          \
    {                                                                                              \
        return backward(#name "_and_mul_backward", kind, true, args, n_args);                      \
    }

ACT_EXPORT(silu, ACT_SILU)
ACT_EXPORT(gelu, ACT_GELU)
ACT_EXPORT(gelu_tanh, ACT_GELU_TANH)
ACT_EXPORT(quick_gelu, ACT_QUICK_GELU)
ACT_EXPORT(fast_gelu, ACT_GELU_TANH)
