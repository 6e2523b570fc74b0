#include "../layer_norm.h"
#include "column_sums.h"
#include "common/avx2.h"
#include <math.h>

/* ---- Reference: plain C in double ---- */

/* The mean and 1 / sqrt(var + eps), in two passes: the difference of the sums of x^2 and x would cancel. */
static void moments_ref(const layer_norm_form *f, const void *x, double *mean, double *scale)
{
    const double n = (double)f->n;
    double sum = 0.0, square = 0.0;
    for (int64_t i = 0; i < f->n; ++i)
        sum += real_get(x, i, f->x_type);
    *mean = sum / n;
    for (int64_t i = 0; i < f->n; ++i) {
        const double d = real_get(x, i, f->x_type) - *mean;
        square += d * d;
    }
    *scale = 1.0 / sqrt(square / n + f->eps);
}

static void forward_ref(const layer_norm_form *f, const void *x, void *y)
{
    double mean, scale;
    moments_ref(f, x, &mean, &scale);
    for (int64_t i = 0; i < f->n; ++i) {
        const double v = (real_get(x, i, f->x_type) - mean) * scale;
        const double w = f->w ? real_get(f->w, i, f->w_type) : 1.0;
        real_put(y, i, f->y_type, v * w + (f->b ? real_get(f->b, i, f->b_type) : 0.0));
    }
}

/* With g = dy w and s = 1 / sqrt(var + eps): dx = s (g - mean(g) - x^ mean(g x^)). */
static void backward_ref(const layer_norm_form *f, const void *x, const void *dy, void *dx,
                         double *w_sums, double *b_sums)
{
    const double n = (double)f->n;
    double mean, scale, sum = 0.0, product = 0.0;
    moments_ref(f, x, &mean, &scale);
    for (int64_t i = 0; i < f->n; ++i) {
        const double w = f->w ? real_get(f->w, i, f->w_type) : 1.0;
        const double g = w * real_get(dy, i, f->y_type);
        sum += g;
        product += g * (real_get(x, i, f->x_type) - mean) * scale;
    }
    for (int64_t i = 0; i < f->n; ++i) {
        const double v = (real_get(x, i, f->x_type) - mean) * scale, d = real_get(dy, i, f->y_type);
        const double w = f->w ? real_get(f->w, i, f->w_type) : 1.0;
        if (w_sums)
            w_sums[i] += d * v;
        if (b_sums)
            b_sums[i] += d;
        real_put(dx, i, f->x_type, scale * (d * w - sum / n - v * product / n));
    }
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)

/* The lanes of a tail of n that count. */
AVX2 KNA_INLINE __m256 lanes_avx2(int64_t n)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i count = _mm256_set1_epi32(n < 8 ? (int)n : 8);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, index));
}

AVX2 KNA_INLINE void moments_avx2(const layer_norm_form *f, const void *x, unsigned xt,
                                  __m256 *mean, __m256 *scale)
{
    const int64_t n = f->n;
    __m256 even = _mm256_setzero_ps(), odd = even;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        even = _mm256_add_ps(even, avx2_load(x, i, xt));
        odd = _mm256_add_ps(odd, avx2_load(x, i + 8, xt));
    }
    for (; i < n; i += 8)
        even = _mm256_add_ps(even, avx2_get(x, i, n - i, xt));
    *mean = _mm256_set1_ps(avx2_sum(_mm256_add_ps(even, odd)) / (float)n);
    even = odd = _mm256_setzero_ps();
    for (i = 0; i + 16 <= n; i += 16) {
        const __m256 a = _mm256_sub_ps(avx2_load(x, i, xt), *mean);
        const __m256 b = _mm256_sub_ps(avx2_load(x, i + 8, xt), *mean);
        even = _mm256_fmadd_ps(a, a, even);
        odd = _mm256_fmadd_ps(b, b, odd);
    }
    for (; i < n; i += 8) {
        const __m256 a = _mm256_sub_ps(avx2_get(x, i, n - i, xt), *mean);
        const __m256 counted = _mm256_and_ps(a, lanes_avx2(n - i));
        even = _mm256_fmadd_ps(counted, counted, even);
    }
    const float square = avx2_sum(_mm256_add_ps(even, odd));
    *scale = _mm256_set1_ps(1.0f / sqrtf(square / (float)n + (float)f->eps));
}

AVX2 KNA_INLINE void forward_row(const layer_norm_form *f, const void *x, void *y, unsigned xt,
                                 unsigned wt, unsigned bt, unsigned yt)
{
    const int64_t n = f->n;
    __m256 mean, scale;
    moments_avx2(f, x, xt, &mean, &scale);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(avx2_get(x, i, n - i, xt), mean), scale);
        if (f->w)
            v = _mm256_mul_ps(v, avx2_get(f->w, i, n - i, wt));
        if (f->b)
            v = _mm256_add_ps(v, avx2_get(f->b, i, n - i, bt));
        avx2_put(y, i, n - i, yt, v);
    }
}

AVX2 KNA_INLINE void backward_row(const layer_norm_form *f, const void *x, const void *dy, void *dx,
                                  double *w_sums, double *b_sums, unsigned xt, unsigned wt,
                                  unsigned yt)
{
    const int64_t n = f->n;
    __m256 mean, scale, sums = _mm256_setzero_ps(), products = sums;
    moments_avx2(f, x, xt, &mean, &scale);
    for (int64_t i = 0; i < n; i += 8) { // g is 0 beyond a tail, so its lanes add nothing
        const __m256 v = _mm256_mul_ps(_mm256_sub_ps(avx2_get(x, i, n - i, xt), mean), scale);
        __m256 g = avx2_get(dy, i, n - i, yt);
        if (f->w)
            g = _mm256_mul_ps(g, avx2_get(f->w, i, n - i, wt));
        sums = _mm256_add_ps(sums, g);
        products = _mm256_fmadd_ps(g, v, products);
    }
    const __m256 sum = _mm256_set1_ps(avx2_sum(sums) / (float)n);
    const __m256 product = _mm256_set1_ps(avx2_sum(products) / (float)n);
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_sub_ps(avx2_get(x, i, n - i, xt), mean), scale);
        __m256 g = avx2_get(dy, i, n - i, yt);
        if (w_sums)
            avx2_add(w_sums, i, n - i, _mm256_mul_ps(g, v));
        if (b_sums)
            avx2_add(b_sums, i, n - i, g);
        if (f->w)
            g = _mm256_mul_ps(g, avx2_get(f->w, i, n - i, wt));
        g = _mm256_fnmadd_ps(v, product, _mm256_sub_ps(g, sum));
        avx2_put(dx, i, n - i, xt, _mm256_mul_ps(scale, g));
    }
}

/* One type for all is the common case and gets its own loops; a mixture asks the type at every load. */
AVX2 static void forward_avx2(const layer_norm_form *f, const void *x, void *y)
{
    const unsigned xt = f->x_type, yt = f->y_type;
    const unsigned wt = f->w ? f->w_type : xt, bt = f->b ? f->b_type : xt;
    const bool one_type = xt == yt && xt == wt && xt == bt;
    if (one_type && xt == KNA_F32)
        forward_row(f, x, y, KNA_F32, KNA_F32, KNA_F32, KNA_F32);
    else if (one_type && xt == KNA_F16)
        forward_row(f, x, y, KNA_F16, KNA_F16, KNA_F16, KNA_F16);
    else if (one_type && xt == KNA_BF16)
        forward_row(f, x, y, KNA_BF16, KNA_BF16, KNA_BF16, KNA_BF16);
    else
        forward_row(f, x, y, xt, wt, bt, yt);
}

AVX2 static void backward_avx2(const layer_norm_form *f, const void *x, const void *dy, void *dx,
                               double *w_sums, double *b_sums)
{
    const unsigned xt = f->x_type, wt = f->w ? f->w_type : xt, yt = f->y_type;
    const bool one_type = xt == yt && xt == wt;
    if (one_type && xt == KNA_F32)
        backward_row(f, x, dy, dx, w_sums, b_sums, KNA_F32, KNA_F32, KNA_F32);
    else if (one_type && xt == KNA_F16)
        backward_row(f, x, dy, dx, w_sums, b_sums, KNA_F16, KNA_F16, KNA_F16);
    else if (one_type && xt == KNA_BF16)
        backward_row(f, x, dy, dx, w_sums, b_sums, KNA_BF16, KNA_BF16, KNA_BF16);
    else
        backward_row(f, x, dy, dx, w_sums, b_sums, xt, wt, yt);
}

#endif

/* Best first; the reference ends the list, so a choice always exists. Tests run every row. */
static const layer_norm_path layer_norm_paths[] = {
#if defined(__x86_64__)
    {"avx2", KNA_CPU_AVX2, forward_avx2, backward_avx2},
#endif
    {"ref", 0, forward_ref, backward_ref},
};

/* ---- Rows, threads, exported functions ---- */

typedef struct layer_norm_job {
    layer_norm_form form;
    kna_rows x, y, dx; // backward: y is dy
    layer_norm_row forward;
    layer_norm_row_backward backward;
    column_sums sums; // backward: one item of work is one of its blocks
    bool wants_w, wants_b;
} layer_norm_job;

static char *row_at(const kna_rows *rows, int64_t row, unsigned type)
{
    return rows->data + row * rows->row_stride * real_size(type);
}

static void forward_body(void *user, int64_t begin, int64_t end)
{
    const layer_norm_job *job = user;
    for (int64_t row = begin; row < end; ++row)
        job->forward(&job->form, row_at(&job->x, row, job->form.x_type),
                     row_at(&job->y, row, job->form.y_type));
}

static void backward_body(void *user, int64_t begin, int64_t end)
{
    const layer_norm_job *job = user;
    const unsigned xt = job->form.x_type, yt = job->form.y_type;
    for (int64_t block = begin; block < end; ++block) {
        const int64_t stop = column_sums_row(&job->sums, block + 1);
        double *sums = job->sums.sums ? job->sums.sums + block * job->sums.n_cols : NULL;
        double *b_sums = job->wants_b ? sums + (job->wants_w ? job->form.n : 0) : NULL;
        for (int64_t row = column_sums_row(&job->sums, block); row < stop; ++row)
            job->backward(&job->form, row_at(&job->x, row, xt), row_at(&job->y, row, yt),
                          row_at(&job->dx, row, xt), job->wants_w ? sums : NULL, b_sums);
    }
}

/* A vector of h columns, or none; every function checks them in the same way. */
#define TAKE_VECTOR(name, t, n, type)                                                              \
    (!(t) || ((*(type) = kna_dtype(name, t, REAL_TYPES)) != 0 && kna_on_cpu(name, t) &&            \
              kna_vector(name, t, n)))

// layer_norm(y, x, weight?, bias?, eps)
KNA_FUNCTION(layer_norm)
{
    static const char *const name = "layer_norm";
    DLTensor *y, *x, *weight, *bias;
    layer_norm_job job = {.forward = KNA_BEST(layer_norm_paths)->forward};
    layer_norm_form *f = &job.form;
    if (!kna_args(name, args, n_args, "tt?t?tf", &y, &x, &weight, &bias, &f->eps) ||
        !kna_on_cpu(name, y) || !kna_on_cpu(name, x) ||
        !(f->x_type = kna_dtype(name, x, REAL_TYPES)) ||
        !(f->y_type = kna_dtype(name, y, REAL_TYPES)) || !kna_same_shape(name, y, x) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_out(name, y, &job.y) ||
        !TAKE_VECTOR(name, weight, job.x.n_cols, &f->w_type) ||
        !TAKE_VECTOR(name, bias, job.x.n_cols, &f->b_type))
        return -1;
    f->n = job.x.n_cols;
    f->w = weight ? kna_data(weight) : NULL;
    f->b = bias ? kna_data(bias) : NULL;
    kna_parallel(f->n ? job.x.n_rows : 0,
                 job.x.n_rows * f->n * (real_size(f->x_type) + real_size(f->y_type)), forward_body,
                 &job);
    return 0;
}

// layer_norm_backward(dx, dweight?, dbias?, dy, x, weight?, eps)
KNA_FUNCTION(layer_norm_backward)
{
    static const char *const name = "layer_norm_backward";
    DLTensor *dx, *dweight, *dbias, *dy, *x, *weight;
    unsigned dweight_type = 0, dbias_type = 0;
    layer_norm_job job = {.backward = KNA_BEST(layer_norm_paths)->backward};
    layer_norm_form *f = &job.form;
    if (!kna_args(name, args, n_args, "t?t?ttt?tf", &dx, &dweight, &dbias, &dy, &x, &weight,
                  &f->eps) ||
        !kna_on_cpu(name, dx) || !kna_on_cpu(name, dy) || !kna_on_cpu(name, x) ||
        !(f->x_type = kna_dtype(name, x, REAL_TYPES)) ||
        !(f->y_type = kna_dtype(name, dy, REAL_TYPES)) || !kna_same_dtype(name, dx, x) ||
        !kna_same_shape(name, dx, x) || !kna_same_shape(name, dy, x) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_in(name, dy, &job.y) ||
        !kna_rows_out(name, dx, &job.dx) || !TAKE_VECTOR(name, weight, job.x.n_cols, &f->w_type) ||
        !TAKE_VECTOR(name, dweight, job.x.n_cols, &dweight_type) ||
        !TAKE_VECTOR(name, dbias, job.x.n_cols, &dbias_type))
        return -1;
    f->n = job.x.n_cols;
    f->w = weight ? kna_data(weight) : NULL;
    job.wants_w = dweight != NULL;
    job.wants_b = dbias != NULL;
    if (!column_sums_init(&job.sums, name, job.x.n_rows, f->n * (job.wants_w + job.wants_b)))
        return -1;
    kna_parallel(f->n ? job.sums.n_blocks : 0,
                 job.x.n_rows * f->n * (2 * real_size(f->x_type) + real_size(f->y_type)),
                 backward_body, &job);
    if (dweight)
        column_sums_store(&job.sums, 0, f->n, kna_data(dweight), dweight_type);
    if (dbias)
        column_sums_store(&job.sums, job.wants_w ? f->n : 0, f->n, kna_data(dbias), dbias_type);
    free(job.sums.sums);
    return 0;
}
