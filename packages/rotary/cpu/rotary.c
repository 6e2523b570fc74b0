#include "../rotary.h"
#include "common/avx2.h"
#include <math.h>

/* ---- Reference: plain C in double ---- */

static void rotary_ref(const rotary_form *f, const void *x, const void *cosines, const void *sines,
                       void *y)
{
    const int64_t half = f->d / 2;
    for (int64_t i = 0; i < half; ++i) {
        const int64_t p = f->interleaved ? 2 * i : i, q = f->interleaved ? p + 1 : i + half;
        const double a = real_get(x, p, f->type), b = real_get(x, q, f->type);
        const double cos_a = real_get(cosines, p, f->angle_type);
        const double cos_b = real_get(cosines, q, f->angle_type);
        const double sin_a = real_get(sines, p, f->angle_type);
        const double sin_b = real_get(sines, q, f->angle_type);
        if (f->backward) {
            real_put(y, p, f->type, a * cos_a + b * sin_b);
            real_put(y, q, f->type, b * cos_b - a * sin_a);
        } else {
            real_put(y, p, f->type, a * cos_a - b * sin_a);
            real_put(y, q, f->type, b * cos_b + a * sin_b);
        }
    }
}

/* ---- AVX2 ---- */

#if defined(__x86_64__)

AVX2 KNA_INLINE void halves_avx2(const void *x, const void *cosines, const void *sines, void *y,
                                 int64_t half, unsigned type, unsigned angle, bool backward)
{
    for (int64_t i = 0; i < half; i += 8) {
        const int64_t n = half - i;
        const __m256 a = avx2_get(x, i, n, type), b = avx2_get(x, i + half, n, type);
        const __m256 cos_a = avx2_get(cosines, i, n, angle);
        const __m256 cos_b = avx2_get(cosines, i + half, n, angle);
        const __m256 sin_a = avx2_get(sines, i, n, angle);
        const __m256 sin_b = avx2_get(sines, i + half, n, angle);
        __m256 first = _mm256_mul_ps(a, cos_a), second = _mm256_mul_ps(b, cos_b);
        if (backward) {
            first = _mm256_fmadd_ps(b, sin_b, first);
            second = _mm256_fnmadd_ps(a, sin_a, second);
        } else {
            first = _mm256_fnmadd_ps(b, sin_a, first);
            second = _mm256_fmadd_ps(a, sin_b, second);
        }
        avx2_put(y, i, n, type, first);
        avx2_put(y, i + half, n, type, second);
    }
}

AVX2 KNA_INLINE void interleaved_avx2(const void *x, const void *cosines, const void *sines,
                                      void *y, int64_t d, unsigned type, unsigned angle,
                                      bool backward)
{
    enum { SWAP_PAIRS = 0xb1 };
    const __m256 even = _mm256_setr_ps(-0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f);
    for (int64_t i = 0; i < d; i += 8) { // a tail is of whole pairs, since d is even
        const int64_t n = d - i;
        const __m256 v = avx2_get(x, i, n, type), c = avx2_get(cosines, i, n, angle);
        const __m256 other = _mm256_permute_ps(v, SWAP_PAIRS);
        __m256 s = _mm256_xor_ps(avx2_get(sines, i, n, angle), even);
        // Forward, the other of the pair times its own column's sine, negative for a; the transposed turn has the other's
        // sine, negative for b: the sines change places too.
        if (backward)
            s = _mm256_permute_ps(s, SWAP_PAIRS);
        avx2_put(y, i, n, type, _mm256_fmadd_ps(other, s, _mm256_mul_ps(v, c)));
    }
}

AVX2 KNA_INLINE void row_avx2(const rotary_form *f, const void *x, const void *cosines,
                              const void *sines, void *y, unsigned type, unsigned angle)
{
    if (f->interleaved)
        interleaved_avx2(x, cosines, sines, y, f->d, type, angle, f->backward);
    else
        halves_avx2(x, cosines, sines, y, f->d / 2, type, angle, f->backward);
}

/* Angles in f32 or in the type of the heads are the common cases and get their own loops. */
AVX2 static void rotary_avx2(const rotary_form *f, const void *x, const void *cosines,
                             const void *sines, void *y)
{
    if (f->angle_type == KNA_F32 && f->type == KNA_F32)
        row_avx2(f, x, cosines, sines, y, KNA_F32, KNA_F32);
    else if (f->angle_type == KNA_F32 && f->type == KNA_F16)
        row_avx2(f, x, cosines, sines, y, KNA_F16, KNA_F32);
    else if (f->angle_type == KNA_F32)
        row_avx2(f, x, cosines, sines, y, KNA_BF16, KNA_F32);
    else if (f->angle_type == KNA_F16 && f->type == KNA_F16)
        row_avx2(f, x, cosines, sines, y, KNA_F16, KNA_F16);
    else if (f->angle_type == KNA_BF16 && f->type == KNA_BF16)
        row_avx2(f, x, cosines, sines, y, KNA_BF16, KNA_BF16);
    else
        row_avx2(f, x, cosines, sines, y, f->type, f->angle_type);
}

#endif

/* Best first; the reference ends the list, so a choice always exists. Tests run every row. */
static const rotary_path rotary_paths[] = {
#if defined(__x86_64__)
    {"avx2", KNA_CPU_AVX2, rotary_avx2},
#endif
    {"ref", 0, rotary_ref},
};

/* ---- Heads, threads, exported functions ---- */

/* q or k with its result: strides in elements of batch, head and position. */
typedef struct rotary_heads {
    const char *in;
    char *out;
    int64_t n_heads;
    int64_t in_batch, in_head, in_position;
    int64_t out_batch, out_head, out_position;
} rotary_heads;

typedef struct rotary_job {
    rotary_form form;
    rotary_row run;
    int64_t n_positions; // of one batch; an item of work is one of them in one batch
    rotary_heads q, k;
    const char *cos, *sin;                                    // the form with cosines and sines
    int64_t cos_batch, cos_position, sin_batch, sin_position; // strides; batch 0 where it is shared
    const char *positions;                                    // the form with positions; else NULL
    unsigned position_type;
    int64_t position_batch, position_step;
    double theta;
} rotary_job;

static void turn_heads(const rotary_job *job, const rotary_heads *heads, int64_t batch,
                       int64_t position, const void *cosines, const void *sines)
{
    const int64_t size = real_size(job->form.type);
    for (int64_t h = 0; h < heads->n_heads; ++h) {
        const int64_t in =
            batch * heads->in_batch + h * heads->in_head + position * heads->in_position;
        const int64_t out =
            batch * heads->out_batch + h * heads->out_head + position * heads->out_position;
        job->run(&job->form, heads->in + in * size, cosines, sines, heads->out + out * size);
    }
}

static int64_t position_of(const rotary_job *job, int64_t batch, int64_t position)
{
    const int64_t at = batch * job->position_batch + position * job->position_step;
    int64_t wide;
    int32_t narrow;
    if (job->position_type == KNA_I64) {
        memcpy(&wide, job->positions + at * 8, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, job->positions + at * 4, sizeof(narrow));
    return narrow;
}

/* The cosines and sines of all columns at one position; frequencies: theta^(-2 i / d) of each pair. */
static void angles_at(const rotary_job *job, double position, const double *frequencies,
                      void *cosines, void *sines)
{
    const int64_t half = job->form.d / 2;
    for (int64_t i = 0; i < half; ++i) {
        const int64_t a = job->form.interleaved ? 2 * i : i;
        const int64_t b = job->form.interleaved ? a + 1 : i + half;
        const double angle = position * frequencies[i], c = cos(angle), s = sin(angle);
        real_put(cosines, a, job->form.angle_type, c);
        real_put(cosines, b, job->form.angle_type, c);
        real_put(sines, a, job->form.angle_type, s);
        real_put(sines, b, job->form.angle_type, s);
    }
}

static void given_angles_body(void *user, int64_t begin, int64_t end)
{
    const rotary_job *job = user;
    const int64_t size = real_size(job->form.angle_type);
    for (int64_t item = begin; item < end; ++item) {
        const int64_t batch = item / job->n_positions, position = item % job->n_positions;
        const char *c = job->cos + (batch * job->cos_batch + position * job->cos_position) * size;
        const char *s = job->sin + (batch * job->sin_batch + position * job->sin_position) * size;
        turn_heads(job, &job->q, batch, position, c, s);
        turn_heads(job, &job->k, batch, position, c, s);
    }
}

static void positions_body(void *user, int64_t begin, int64_t end)
{
    const rotary_job *job = user;
    double frequencies[ROTARY_COLUMNS_MOST / 2];
    double cosines[ROTARY_COLUMNS_MOST], sines[ROTARY_COLUMNS_MOST]; // in the form's angle_type
    for (int64_t i = 0; i < job->form.d / 2; ++i)
        frequencies[i] = pow(job->theta, -2.0 * (double)i / (double)job->form.d);
    for (int64_t item = begin; item < end; ++item) {
        const int64_t batch = item / job->n_positions, position = item % job->n_positions;
        angles_at(job, (double)position_of(job, batch, position), frequencies, cosines, sines);
        turn_heads(job, &job->q, batch, position, cosines, sines);
        turn_heads(job, &job->k, batch, position, cosines, sines);
    }
}

/* Whether cos, sin or positions have the shape [b or 1, s] and, of rank 3, d columns. */
static bool fits_batch(const char *name, const char *arg, const DLTensor *t, int32_t ndim,
                       int64_t n_batches, int64_t n_positions, int64_t d)
{
    char text[96], tail[32] = "";
    if (t->ndim == ndim && (t->shape[0] == 1 || t->shape[0] == n_batches) &&
        t->shape[1] == n_positions && (ndim < 3 || t->shape[2] == d))
        return true;
    if (ndim == 3)
        (void)snprintf(tail, sizeof(tail), ", %lld", (long long)d);
    kna_raise("ValueError", name, "%s must have the shape [%lld or 1, %lld%s], got %s", arg,
              (long long)n_batches, (long long)n_positions, tail,
              kna_shape_text(t, text, sizeof(text)));
    return false;
}

static bool last_is_contiguous(const char *name, const char *arg, const DLTensor *t)
{
    const int32_t last = t->ndim - 1;
    if (t->shape[last] <= 1 || kna_stride(t, last) == 1 || kna_numel(t) == 0)
        return true;
    kna_raise("ValueError", name, "the last dimension of %s must be contiguous", arg);
    return false;
}

/* Whether no two rows of a result share elements: sorted by stride, each spans all that lie within it. */
static bool rows_are_apart(const char *name, const char *arg, const DLTensor *t)
{
    int64_t within = t->shape[3];
    bool done[3] = {t->shape[0] <= 1, t->shape[1] <= 1, t->shape[2] <= 1};
    if (kna_numel(t) == 0)
        return true;
    for (int left = 3 - done[0] - done[1] - done[2]; left > 0; --left) {
        int32_t least = -1;
        for (int32_t i = 0; i < 3; ++i)
            if (!done[i] && (least < 0 || llabs(kna_stride(t, i)) < llabs(kna_stride(t, least))))
                least = i;
        if (llabs(kna_stride(t, least)) < within) {
            kna_raise("ValueError", name, "the rows of %s overlap", arg);
            return false;
        }
        within += llabs(kna_stride(t, least)) * (t->shape[least] - 1);
        done[least] = true;
    }
    return true;
}

/* The arguments that both forms share, with the names of the call's direction. */
static bool take_heads(const char *name, rotary_job *job, DLTensor *const t[4],
                       int64_t unsqueeze_dim)
{
    static const char *const names[2][4] = {{"q_out", "k_out", "q", "k"},
                                            {"dq", "dk", "dq_out", "dk_out"}};
    const char *const *arg = names[job->form.backward];
    char text[96], other[96];
    if (unsqueeze_dim != 1 && unsqueeze_dim != 2) {
        kna_raise("ValueError", name,
                  "unsqueeze_dim must be 1 (heads before positions) or 2, got %lld",
                  (long long)unsqueeze_dim);
        return false;
    }
    const int32_t head = (int32_t)unsqueeze_dim, position = 3 - head;
    job->form.type = kna_check_dtype(name, arg[2], t[2], REAL_TYPES);
    if (!job->form.type)
        return false;
    for (int i = 0; i < 4; ++i) {
        if (!kna_check_cpu(name, arg[i], t[i]) ||
            (i != 2 && !kna_check_same_dtype(name, arg[i], t[i], arg[2], t[2])))
            return false;
        if (t[i]->ndim != 4) {
            kna_raise("ValueError", name, "%s must have 4 dimensions, got %s", arg[i],
                      kna_shape_text(t[i], text, sizeof(text)));
            return false;
        }
        if (!last_is_contiguous(name, arg[i], t[i]))
            return false;
    }
    if (!kna_check_same(name, arg[0], t[0], arg[2], t[2], false) ||
        !kna_check_same(name, arg[1], t[1], arg[3], t[3], false) ||
        !rows_are_apart(name, arg[0], t[0]) || !rows_are_apart(name, arg[1], t[1]))
        return false;
    if (t[2]->shape[0] != t[3]->shape[0] || t[2]->shape[position] != t[3]->shape[position] ||
        t[2]->shape[3] != t[3]->shape[3] || t[2]->shape[3] % 2 != 0) {
        kna_raise("ValueError", name,
                  "%s %s and %s %s must agree but for the heads, with an even last dimension",
                  arg[2], kna_shape_text(t[2], text, sizeof(text)), arg[3],
                  kna_shape_text(t[3], other, sizeof(other)));
        return false;
    }
    for (int i = 0; i < 2; ++i) {
        const DLTensor *out = t[i], *in = t[i + 2];
        *(i == 0 ? &job->q : &job->k) = (rotary_heads){.in = kna_data(in),
                                                       .out = kna_data(out),
                                                       .n_heads = in->shape[head],
                                                       .in_batch = kna_stride(in, 0),
                                                       .in_head = kna_stride(in, head),
                                                       .in_position = kna_stride(in, position),
                                                       .out_batch = kna_stride(out, 0),
                                                       .out_head = kna_stride(out, head),
                                                       .out_position = kna_stride(out, position)};
    }
    job->form.d = t[2]->shape[3];
    job->n_positions = t[2]->shape[position];
    job->run = KNA_BEST(rotary_paths)->run;
    return true;
}

static int turn_all(const rotary_job *job, int64_t n_batches, kna_body body)
{
    const int64_t heads = job->q.n_heads + job->k.n_heads;
    if (job->form.d > 0 && heads > 0) // else the count of positions may be anything
        kna_parallel(n_batches * job->n_positions,
                     n_batches * job->n_positions * heads * job->form.d * 2 *
                         real_size(job->form.type),
                     body, (void *)(uintptr_t)job);
    return 0;
}

static int by_angles(const char *name, bool backward, const TVMFFIAny *args, int32_t n_args)
{
    DLTensor *t[4], *cosines, *sines;
    int64_t unsqueeze_dim;
    rotary_job job = {.form = {.backward = backward}};
    if (!kna_args(name, args, n_args, "ttttttib", &t[0], &t[1], &t[2], &t[3], &cosines, &sines,
                  &unsqueeze_dim, &job.form.interleaved) ||
        !take_heads(name, &job, t, unsqueeze_dim) || !kna_check_cpu(name, "cos", cosines) ||
        !kna_check_cpu(name, "sin", sines) ||
        !(job.form.angle_type = kna_check_dtype(name, "cos", cosines, REAL_TYPES)) ||
        !kna_check_same_dtype(name, "sin", sines, "cos", cosines) ||
        !fits_batch(name, "cos", cosines, 3, t[2]->shape[0], job.n_positions, job.form.d) ||
        !fits_batch(name, "sin", sines, 3, t[2]->shape[0], job.n_positions, job.form.d) ||
        !last_is_contiguous(name, "cos", cosines) || !last_is_contiguous(name, "sin", sines))
        return -1;
    job.cos = kna_data(cosines);
    job.sin = kna_data(sines);
    job.cos_batch = cosines->shape[0] == 1 ? 0 : kna_stride(cosines, 0);
    job.sin_batch = sines->shape[0] == 1 ? 0 : kna_stride(sines, 0);
    job.cos_position = kna_stride(cosines, 1);
    job.sin_position = kna_stride(sines, 1);
    return turn_all(&job, t[2]->shape[0], given_angles_body);
}

static int by_positions(const char *name, bool backward, const TVMFFIAny *args, int32_t n_args)
{
    DLTensor *t[4], *positions;
    int64_t unsqueeze_dim;
    rotary_job job = {.form = {.backward = backward}};
    if (!kna_args(name, args, n_args, "tttttfib", &t[0], &t[1], &t[2], &t[3], &positions,
                  &job.theta, &unsqueeze_dim, &job.form.interleaved) ||
        !take_heads(name, &job, t, unsqueeze_dim) || !kna_on_cpu(name, positions) ||
        !(job.position_type = kna_dtype(name, positions, KNA_I32 | KNA_I64)) ||
        !fits_batch(name, "positions", positions, 2, t[2]->shape[0], job.n_positions, 0))
        return -1;
    if (!(job.theta > 0.0) || !isfinite(job.theta))
        return kna_raise("ValueError", name, "theta must be a positive number, got %g", job.theta);
    if (job.form.d > ROTARY_COLUMNS_MOST)
        return kna_raise("ValueError", name, "at most %d columns, got %lld", ROTARY_COLUMNS_MOST,
                         (long long)job.form.d);
    job.form.angle_type = job.form.type == KNA_F64 ? KNA_F64 : KNA_F32;
    job.positions = kna_data(positions);
    job.position_batch = positions->shape[0] == 1 ? 0 : kna_stride(positions, 0);
    job.position_step = kna_stride(positions, 1);
    return turn_all(&job, t[2]->shape[0], positions_body);
}

// rotary_pos_emb(q_out, k_out, q, k, cos, sin, unsqueeze_dim, interleaved)
KNA_FUNCTION(rotary_pos_emb)
{
    return by_angles("rotary_pos_emb", false, args, n_args);
}

// rotary_pos_emb_backward(dq, dk, dq_out, dk_out, cos, sin, unsqueeze_dim, interleaved)
KNA_FUNCTION(rotary_pos_emb_backward)
{
    return by_angles("rotary_pos_emb_backward", true, args, n_args);
}

// rotary_positions(q_out, k_out, q, k, positions, theta, unsqueeze_dim, interleaved)
KNA_FUNCTION(rotary_positions)
{
    return by_positions("rotary_positions", false, args, n_args);
}

// rotary_positions_backward(dq, dk, dq_out, dk_out, positions, theta, unsqueeze_dim, interleaved)
KNA_FUNCTION(rotary_positions_backward)
{
    return by_positions("rotary_positions_backward", true, args, n_args);
}
