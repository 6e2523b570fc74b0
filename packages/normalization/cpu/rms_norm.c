#include "../rms_norm.h"
#include "column_sums.h"
#include "common/avx2.h"
#include <math.h>

/* ---- Reference: plain C in double ---- */

static void forward_ref(const rms_norm_form *f, const void *x, const void *residual, void *sum,
                        void *y)
{
    double square = 0.0;
    for (int64_t i = 0; i < f->n; ++i) {
        double v = real_get(x, i, f->x_type);
        if (residual) {
            v = real_round(v + real_get(residual, i, f->x_type), f->x_type);
            real_put(sum, i, f->x_type, v);
        }
        square += v * v;
    }
    const double scale = 1.0 / sqrt(square / (double)f->n + f->eps);
    for (int64_t i = 0; i < f->n; ++i) {
        double v = scale * real_get(residual ? sum : x, i, f->x_type);
        if (f->round)
            v = real_round(v, f->x_type);
        real_put(y, i, f->y_type, f->w ? v * (f->offset + real_get(f->w, i, f->w_type)) : v);
    }
}

/* With g = dy (offset + w) and s = 1 / sqrt(mean(x^2) + eps): dx = s g - x s^3 mean(g x). */
static void backward_ref(const rms_norm_form *f, const void *x, const void *dy, void *dx,
                         double *sums)
{
    double square = 0.0, product = 0.0;
    for (int64_t i = 0; i < f->n; ++i) {
        const double v = real_get(x, i, f->x_type);
        const double w = f->w ? f->offset + real_get(f->w, i, f->w_type) : 1.0;
        square += v * v;
        product += v * w * real_get(dy, i, f->y_type);
    }
    const double n = (double)f->n, s = 1.0 / sqrt(square / n + f->eps);
    const double c = s * s * s * product / n;
    for (int64_t i = 0; i < f->n; ++i) {
        const double v = real_get(x, i, f->x_type), d = real_get(dy, i, f->y_type);
        const double w = f->w ? f->offset + real_get(f->w, i, f->w_type) : 1.0;
        if (sums)
            sums[i] += d * v * s;
        real_put(dx, i, f->x_type, s * d * w - v * c);
    }
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)

/* x, or x + residual as x's type would hold it, which then goes to sum. */
AVX2 KNA_INLINE __m256 input_avx2(const void *x, const void *residual, void *sum, int64_t i,
                                  int64_t n, unsigned type)
{
    const __m256 v = avx2_get(x, i, n, type);
    if (!residual)
        return v;
    const __m256 total = avx2_round(_mm256_add_ps(v, avx2_get(residual, i, n, type)), type);
    avx2_put(sum, i, n, type, total);
    return total;
}

AVX2 KNA_INLINE void forward_row(const rms_norm_form *f, const void *x, const void *residual,
                                 void *sum, void *y, unsigned xt, unsigned wt, unsigned yt)
{
    const int64_t n = f->n;
    const __m256 offset = _mm256_set1_ps((float)f->offset);
    __m256 even = _mm256_setzero_ps(), odd = even;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 a = input_avx2(x, residual, sum, i, 8, xt);
        const __m256 b = input_avx2(x, residual, sum, i + 8, 8, xt);
        even = _mm256_fmadd_ps(a, a, even);
        odd = _mm256_fmadd_ps(b, b, odd);
    }
    for (; i < n; i += 8) {
        const __m256 a = input_avx2(x, residual, sum, i, n - i, xt);
        even = _mm256_fmadd_ps(a, a, even);
    }
    const float square = avx2_sum(_mm256_add_ps(even, odd));
    const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(square / (float)n + (float)f->eps));
    const void *from = residual ? sum : x;
    for (i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(avx2_get(from, i, n - i, xt), scale);
        if (f->round)
            v = avx2_round(v, xt);
        if (f->w)
            v = _mm256_mul_ps(v, _mm256_add_ps(offset, avx2_get(f->w, i, n - i, wt)));
        avx2_put(y, i, n - i, yt, v);
    }
}

AVX2 KNA_INLINE void backward_row(const rms_norm_form *f, const void *x, const void *dy, void *dx,
                                  double *sums, unsigned xt, unsigned wt, unsigned yt)
{
    const int64_t n = f->n;
    const __m256 offset = _mm256_set1_ps((float)f->offset);
    __m256 squares = _mm256_setzero_ps(), products = squares;
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 v = avx2_get(x, i, n - i, xt);
        __m256 g = avx2_get(dy, i, n - i, yt);
        if (f->w)
            g = _mm256_mul_ps(g, _mm256_add_ps(offset, avx2_get(f->w, i, n - i, wt)));
        squares = _mm256_fmadd_ps(v, v, squares);
        products = _mm256_fmadd_ps(v, g, products);
    }
    const float s = 1.0f / sqrtf(avx2_sum(squares) / (float)n + (float)f->eps);
    const __m256 scale = _mm256_set1_ps(s);
    // Two factors: s^3 alone would leave f32 for tiny rows.
    const __m256 mean = _mm256_set1_ps(s * avx2_sum(products) / (float)n);
    for (int64_t i = 0; i < n; i += 8) {
        const __m256 normal = _mm256_mul_ps(scale, avx2_get(x, i, n - i, xt));
        __m256 g = avx2_get(dy, i, n - i, yt);
        if (sums)
            avx2_add(sums, i, n - i, _mm256_mul_ps(g, normal));
        if (f->w)
            g = _mm256_mul_ps(g, _mm256_add_ps(offset, avx2_get(f->w, i, n - i, wt)));
        avx2_put(dx, i, n - i, xt, _mm256_mul_ps(scale, _mm256_fnmadd_ps(normal, mean, g)));
    }
}

/* One type for all is the common case and gets its own loops; a mixture asks the type at every load. */
AVX2 static void forward_avx2(const rms_norm_form *f, const void *x, const void *residual,
                              void *sum, void *y)
{
    const unsigned xt = f->x_type, wt = f->w ? f->w_type : xt, yt = f->y_type;
    if (xt == KNA_F32 && wt == xt && yt == xt)
        forward_row(f, x, residual, sum, y, KNA_F32, KNA_F32, KNA_F32);
    else if (xt == KNA_F16 && wt == xt && yt == xt)
        forward_row(f, x, residual, sum, y, KNA_F16, KNA_F16, KNA_F16);
    else if (xt == KNA_BF16 && wt == xt && yt == xt)
        forward_row(f, x, residual, sum, y, KNA_BF16, KNA_BF16, KNA_BF16);
    else
        forward_row(f, x, residual, sum, y, xt, wt, yt);
}

AVX2 static void backward_avx2(const rms_norm_form *f, const void *x, const void *dy, void *dx,
                               double *sums)
{
    const unsigned xt = f->x_type, wt = f->w ? f->w_type : xt, yt = f->y_type;
    if (xt == KNA_F32 && wt == xt && yt == xt)
        backward_row(f, x, dy, dx, sums, KNA_F32, KNA_F32, KNA_F32);
    else if (xt == KNA_F16 && wt == xt && yt == xt)
        backward_row(f, x, dy, dx, sums, KNA_F16, KNA_F16, KNA_F16);
    else if (xt == KNA_BF16 && wt == xt && yt == xt)
        backward_row(f, x, dy, dx, sums, KNA_BF16, KNA_BF16, KNA_BF16);
    else
        backward_row(f, x, dy, dx, sums, xt, wt, yt);
}

#endif

/* Best first; the reference ends the list, so a choice always exists. Tests run every row. */
static const rms_norm_path rms_norm_paths[] = {
#if defined(__x86_64__)
    {"avx2", KNA_CPU_AVX2, forward_avx2, backward_avx2},
#endif
    {"ref", 0, forward_ref, backward_ref},
};

/* ---- Rows, threads, exported functions ---- */

typedef struct rms_norm_job {
    rms_norm_form form;
    kna_rows x, y, residual, sum; // backward: y is dy, sum is dx; residual.data NULL: not fused
    rms_norm_row forward;
    rms_norm_row_backward backward;
    column_sums weights; // backward: one item of work is one of its blocks
    bool wants_weights;
} rms_norm_job;

static char *row_at(const kna_rows *rows, int64_t row, unsigned type)
{
    return rows->data ? rows->data + row * rows->row_stride * real_size(type) : NULL;
}

static void forward_body(void *user, int64_t begin, int64_t end)
{
    const rms_norm_job *job = user;
    const unsigned xt = job->form.x_type, yt = job->form.y_type;
    for (int64_t row = begin; row < end; ++row)
        job->forward(&job->form, row_at(&job->x, row, xt), row_at(&job->residual, row, xt),
                     row_at(&job->sum, row, xt), row_at(&job->y, row, yt));
}

static void backward_body(void *user, int64_t begin, int64_t end)
{
    const rms_norm_job *job = user;
    const unsigned xt = job->form.x_type, yt = job->form.y_type;
    for (int64_t block = begin; block < end; ++block) {
        const int64_t stop = column_sums_row(&job->weights, block + 1);
        double *sums = job->wants_weights ? job->weights.sums + block * job->form.n : NULL;
        for (int64_t row = column_sums_row(&job->weights, block); row < stop; ++row)
            job->backward(&job->form, row_at(&job->x, row, xt), row_at(&job->y, row, yt),
                          row_at(&job->sum, row, xt), sums);
    }
}

/* The weight, whose type and size each function checks in the same way. */
static bool take_weight(const char *name, rms_norm_form *form, const DLTensor *weight)
{
    if (!weight)
        return true;
    form->w_type = kna_dtype(name, weight, REAL_TYPES);
    form->w = kna_data(weight);
    return form->w_type && kna_on_cpu(name, weight) && kna_vector(name, weight, form->n);
}

static int forward(const char *name, bool round, const TVMFFIAny *args, int32_t n_args)
{
    DLTensor *y, *x, *weight;
    rms_norm_job job = {.form = {.round = round}};
    if (!kna_args(name, args, n_args, "tt?tff", &y, &x, &weight, &job.form.eps, &job.form.offset) ||
        !kna_on_cpu(name, y) || !kna_on_cpu(name, x) ||
        !(job.form.x_type = kna_dtype(name, x, REAL_TYPES)) ||
        !(job.form.y_type = kna_dtype(name, y, REAL_TYPES)) || !kna_same_shape(name, y, x) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_out(name, y, &job.y))
        return -1;
    job.form.n = job.x.n_cols;
    if (!take_weight(name, &job.form, weight))
        return -1;
    job.forward = KNA_BEST(rms_norm_paths)->forward;
    kna_parallel(job.form.n ? job.x.n_rows : 0,
                 job.x.n_rows * job.form.n *
                     (real_size(job.form.x_type) + real_size(job.form.y_type)),
                 forward_body, &job);
    return 0;
}

static int fused_forward(const char *name, bool round, const TVMFFIAny *args, int32_t n_args)
{
    DLTensor *y, *sum, *x, *residual, *weight;
    rms_norm_job job = {.form = {.round = round}};
    if (!kna_args(name, args, n_args, "tttt?tff", &y, &sum, &x, &residual, &weight, &job.form.eps,
                  &job.form.offset) ||
        !kna_on_cpu(name, y) || !kna_on_cpu(name, sum) || !kna_on_cpu(name, x) ||
        !kna_on_cpu(name, residual) || !(job.form.x_type = kna_dtype(name, x, REAL_TYPES)) ||
        !(job.form.y_type = kna_dtype(name, y, REAL_TYPES)) || !kna_same_dtype(name, sum, x) ||
        !kna_same_dtype(name, residual, x) || !kna_same_shape(name, y, x) ||
        !kna_same_shape(name, sum, x) || !kna_same_shape(name, residual, x) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_in(name, residual, &job.residual) ||
        !kna_rows_out(name, y, &job.y) || !kna_rows_out(name, sum, &job.sum))
        return -1;
    job.form.n = job.x.n_cols;
    if (!take_weight(name, &job.form, weight))
        return -1;
    job.forward = KNA_BEST(rms_norm_paths)->forward;
    kna_parallel(job.form.n ? job.x.n_rows : 0,
                 job.x.n_rows * job.form.n * 4 * real_size(job.form.x_type), forward_body, &job);
    return 0;
}

// rms_norm(y, x, weight?, eps, offset)
KNA_FUNCTION(rms_norm)
{
    return forward("rms_norm", true, args, n_args);
}

// rms_norm_scale_cast(y, x, weight?, eps, offset)
KNA_FUNCTION(rms_norm_scale_cast)
{
    return forward("rms_norm_scale_cast", false, args, n_args);
}

// fused_add_rms_norm(y, sum, x, residual, weight?, eps, offset)
KNA_FUNCTION(fused_add_rms_norm)
{
    return fused_forward("fused_add_rms_norm", true, args, n_args);
}

// fused_add_rms_norm_scale_cast(y, sum, x, residual, weight?, eps, offset)
KNA_FUNCTION(fused_add_rms_norm_scale_cast)
{
    return fused_forward("fused_add_rms_norm_scale_cast", false, args, n_args);
}

// rms_norm_backward(dx, dweight?, dy, x, weight?, eps, offset)
KNA_FUNCTION(rms_norm_backward)
{
    static const char *const name = "rms_norm_backward";
    DLTensor *dx, *dweight, *dy, *x, *weight;
    unsigned dweight_type = 0;
    rms_norm_job job = {.form = {.round = false}};
    if (!kna_args(name, args, n_args, "t?ttt?tff", &dx, &dweight, &dy, &x, &weight, &job.form.eps,
                  &job.form.offset) ||
        !kna_on_cpu(name, dx) || !kna_on_cpu(name, dy) || !kna_on_cpu(name, x) ||
        !(job.form.x_type = kna_dtype(name, x, REAL_TYPES)) ||
        !(job.form.y_type = kna_dtype(name, dy, REAL_TYPES)) || !kna_same_dtype(name, dx, x) ||
        !kna_same_shape(name, dx, x) || !kna_same_shape(name, dy, x) ||
        !kna_rows_in(name, x, &job.x) || !kna_rows_in(name, dy, &job.y) ||
        !kna_rows_out(name, dx, &job.sum))
        return -1;
    job.form.n = job.x.n_cols;
    if (!take_weight(name, &job.form, weight))
        return -1;
    if (dweight && (!(dweight_type = kna_dtype(name, dweight, REAL_TYPES)) ||
                    !kna_on_cpu(name, dweight) || !kna_vector(name, dweight, job.form.n)))
        return -1;
    job.wants_weights = dweight != NULL;
    job.backward = KNA_BEST(rms_norm_paths)->backward;
    if (!column_sums_init(&job.weights, name, job.x.n_rows, dweight ? job.form.n : 0))
        return -1;
    kna_parallel(job.form.n ? job.weights.n_blocks : 0,
                 job.x.n_rows * job.form.n *
                     (2 * real_size(job.form.x_type) + real_size(job.form.y_type)),
                 backward_body, &job);
    if (dweight)
        column_sums_store(&job.weights, 0, job.form.n, kna_data(dweight), dweight_type);
    free(job.weights.sums);
    return 0;
}
