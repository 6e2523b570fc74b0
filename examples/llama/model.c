#include "model.h"

#include "modules.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Tokens that run at once: bounds the room to work in, whatever the length of a prompt.
enum { BATCH_MAX = 128 };

struct llama_model {
    const llama_weights *weights;
    llama_modules modules;
    int64_t n_positions; // room
    int64_t n_done;
    double seconds[WORK_KINDS];
    float *memory; // all of the below
    float *keys;   // [layers, kv_heads, positions, head_dim]
    float *values; // the same
    float *cos;    // [positions, head_dim]
    float *sin;
    float *state;   // [batch, hidden]: what goes from layer to layer
    float *normed;  // [batch, hidden]
    float *qkv;     // [batch, qkv_rows]
    float *q;       // [batch, heads, head_dim]: rotated
    float *k;       // [batch, kv_heads, head_dim]
    float *mixed;   // [batch, heads, head_dim]: what attention gives
    float *scores;  // [batch or heads of a group, positions]
    float *gate_up; // [batch, 2 * ffn]
    float *act;     // [batch, ffn]
    float *logits;  // [vocab]
};

const char *llama_work_text(llama_work work)
{
    static const char *const texts[] = {
#define WORK_TEXT(name, text) text,
        LLAMA_WORK_LIST(WORK_TEXT)
#undef WORK_TEXT
    };
    return texts[work];
}

double llama_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// The parts of the one block of memory; false when its size overflows.
static bool lay_out(llama_model *m, int64_t *n_floats)
{
    const llama_config *c = &m->weights->config;
    const int64_t batch = m->n_positions < BATCH_MAX ? m->n_positions : BATCH_MAX;
    const int64_t group = c->n_heads / c->n_kv_heads;
    const int64_t dims[][4] = {
        {c->n_layers, c->n_kv_heads, m->n_positions, c->head_dim},
        {c->n_layers, c->n_kv_heads, m->n_positions, c->head_dim},
        {m->n_positions, c->head_dim, 1, 1},
        {m->n_positions, c->head_dim, 1, 1},
        {batch, c->n_hidden, 1, 1},
        {batch, c->n_hidden, 1, 1},
        {batch, llama_qkv_rows(c), 1, 1},
        {batch, c->n_heads, c->head_dim, 1},
        {batch, c->n_kv_heads, c->head_dim, 1},
        {batch, c->n_heads, c->head_dim, 1},
        {batch > group ? batch : group, m->n_positions, 1, 1},
        {batch, 2, c->n_ffn, 1},
        {batch, c->n_ffn, 1, 1},
        {c->n_vocab, 1, 1, 1},
    };
    float **const parts[] = {&m->keys,   &m->values,  &m->cos, &m->sin,   &m->state,
                             &m->normed, &m->qkv,     &m->q,   &m->k,     &m->mixed,
                             &m->scores, &m->gate_up, &m->act, &m->logits};
    *n_floats = 0;
    for (size_t i = 0; i < KN_LEN(parts); ++i) {
        int64_t size = 1;
        for (size_t j = 0; j < 4; ++j)
            if (__builtin_mul_overflow(size, dims[i][j], &size))
                return false;
        if (m->memory)
            *parts[i] = m->memory + *n_floats;
        // Whole cache lines, so that each part is aligned as the first.
        if (size > INT64_MAX / 8 || *n_floats > INT64_MAX / 8)
            return false;
        *n_floats += (size + 15) / 16 * 16;
    }
    return true;
}

// The angles as the reference implementation rounds them: frequencies and angles in float.
static void fill_angles(llama_model *m)
{
    const int64_t dim = m->weights->config.head_dim;
    for (int64_t i = 0; i < dim / 2; ++i) {
        const float exponent = (float)(2 * i) / (float)dim;
        const float frequency = 1.0f / powf((float)m->weights->config.rope_base, exponent);
        for (int64_t at = 0; at < m->n_positions; ++at) {
            const float angle = (float)at * frequency;
            float *c = m->cos + at * dim + i, *s = m->sin + at * dim + i;
            c[0] = c[dim / 2] = cosf(angle);
            s[0] = s[dim / 2] = sinf(angle);
        }
    }
}

kn_status llama_model_new(const llama_weights *weights, int64_t n_positions, llama_model **out,
                          kn_error *err)
{
    int64_t n_floats = 0;
    llama_model *m = NULL;
    kn_status st = KN_OK;

    *out = NULL;
    if (n_positions < 1 || n_positions > weights->config.context_max)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%lld tokens in all, the model was made for 1 to %lld",
                            (long long)n_positions, (long long)weights->config.context_max);
    m = calloc(1, sizeof(*m));
    if (m) {
        m->weights = weights;
        m->n_positions = n_positions;
        if (lay_out(m, &n_floats))
            m->memory = aligned_alloc(64, (size_t)n_floats * sizeof(float));
    }
    if (!m || !m->memory) {
        st = kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for %lld tokens",
                          (long long)n_positions);
        goto done;
    }
    st = llama_modules_init(&m->modules, weights, err);
    if (st != KN_OK)
        goto done;
    lay_out(m, &n_floats);
    memset(m->memory, 0,
           (size_t)n_floats * sizeof(float)); // every page is there before time counts
    fill_angles(m);
    *out = m;
    m = NULL;
done:
    llama_model_free(m);
    return st;
}

void llama_model_free(llama_model *model)
{
    if (!model)
        return;
    llama_modules_dispose(&model->modules);
    free(model->memory);
    free(model);
}

void llama_model_reset(llama_model *model)
{
    model->n_done = 0;
    memset(model->seconds, 0, sizeof(model->seconds));
}

double llama_model_seconds(const llama_model *model, llama_work work)
{
    return model->seconds[work];
}

// Adds the time since *start to a kind of work, and starts anew.
static void count(llama_model *m, llama_work work, double *start)
{
    const double now = llama_clock();
    m->seconds[work] += now - *start;
    *start = now;
}

// y = x w^T (+ y when add): x [n, in], w [out, in], y [n, out].
static void multiply(int64_t n, int64_t n_out, int64_t n_in, const float *x, const float *w,
                     bool add, float *y)
{
    const float keep = add ? 1.0f : 0.0f;
    if (n == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)n_out, (blasint)n_in, 1.0f, w,
                    (blasint)n_in, x, 1, keep, y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)n_out,
                    (blasint)n_in, 1.0f, x, (blasint)n_in, w, (blasint)n_in, keep, y,
                    (blasint)n_out);
}

static kn_status run_rms_norm(llama_model *m, kn_module *norm, int64_t n, float *x, float *y,
                              kn_error *err)
{
    double start = llama_clock();
    int64_t shape[] = {n, m->weights->config.n_hidden}, strides[] = {shape[1], 1};
    const DLTensor in = llama_tensor(x, 2, shape, strides);
    const DLTensor out = llama_tensor(y, 2, shape, strides);
    const kn_status st = kn_call(norm, KN_ARGS(kn_tensor(&in), kn_tensor(&out)), err);
    count(m, WORK_RMS_NORM, &start);
    return st;
}

static kn_status run_silu_and_mul(llama_model *m, kn_module *act, int64_t n, kn_error *err)
{
    double start = llama_clock();
    const int64_t d = m->weights->config.n_ffn;
    int64_t in_shape[] = {n, 2 * d}, in_strides[] = {2 * d, 1};
    int64_t out_shape[] = {n, d}, out_strides[] = {d, 1};
    const DLTensor in = llama_tensor(m->gate_up, 2, in_shape, in_strides);
    const DLTensor out = llama_tensor(m->act, 2, out_shape, out_strides);
    const kn_status st = kn_call(act, KN_ARGS(kn_tensor(&in), kn_tensor(&out)), err);
    count(m, WORK_SILU_AND_MUL, &start);
    return st;
}

// q and k lie in the rows of qkv; the results are dense in the same order, which is what torch's empty_like gives.
static kn_status run_rotary(llama_model *m, kn_module *rotary, int64_t n, kn_error *err)
{
    double start = llama_clock();
    const llama_config *c = &m->weights->config;
    const int64_t dim = c->head_dim, row = llama_qkv_rows(c);
    const int64_t q_row = c->n_heads * dim, k_row = c->n_kv_heads * dim;
    int64_t q_shape[] = {1, c->n_heads, n, dim}, k_shape[] = {1, c->n_kv_heads, n, dim};
    int64_t in_strides[] = {n * row, dim, row, 1};
    int64_t q_strides[] = {n * q_row, dim, q_row, 1}, k_strides[] = {n * k_row, dim, k_row, 1};
    int64_t angle_shape[] = {1, n, dim}, angle_strides[] = {n * dim, dim, 1};
    const DLTensor q = llama_tensor(m->qkv, 4, q_shape, in_strides);
    const DLTensor k = llama_tensor(m->qkv + q_row, 4, k_shape, in_strides);
    const DLTensor cos = llama_tensor(m->cos + m->n_done * dim, 3, angle_shape, angle_strides);
    const DLTensor sin = llama_tensor(m->sin + m->n_done * dim, 3, angle_shape, angle_strides);
    const DLTensor q_out = llama_tensor(m->q, 4, q_shape, q_strides);
    const DLTensor k_out = llama_tensor(m->k, 4, k_shape, k_strides);
    const kn_status st =
        kn_call(rotary,
                KN_ARGS(kn_tensor(&q), kn_tensor(&k), kn_tensor(&cos), kn_tensor(&sin), kn_int(1),
                        kn_tensor(&q_out), kn_tensor(&k_out)),
                err);
    count(m, WORK_ROTARY, &start);
    return st;
}

static float *cache_of(const llama_model *m, float *cache, int64_t layer, int64_t head)
{
    const llama_config *c = &m->weights->config;
    return cache + (layer * c->n_kv_heads + head) * m->n_positions * c->head_dim;
}

static void remember(llama_model *m, int64_t layer, int64_t n)
{
    const llama_config *c = &m->weights->config;
    const int64_t dim = c->head_dim, row = llama_qkv_rows(c);
    const float *v = m->qkv + (c->n_heads + c->n_kv_heads) * dim;
    for (int64_t head = 0; head < c->n_kv_heads; ++head) {
        float *keys = cache_of(m, m->keys, layer, head) + m->n_done * dim;
        float *values = cache_of(m, m->values, layer, head) + m->n_done * dim;
        for (int64_t i = 0; i < n; ++i) {
            memcpy(keys + i * dim, m->k + (i * c->n_kv_heads + head) * dim,
                   (size_t)dim * sizeof(float));
            memcpy(values + i * dim, v + i * row + head * dim, (size_t)dim * sizeof(float));
        }
    }
}

static void softmax(float *x, int64_t n)
{
    float largest = x[0], sum = 0;
    for (int64_t i = 1; i < n; ++i)
        largest = x[i] > largest ? x[i] : largest;
    for (int64_t i = 0; i < n; ++i) {
        x[i] = expf(x[i] - largest);
        sum += x[i];
    }
    for (int64_t i = 0; i < n; ++i)
        x[i] /= sum;
}

// n rows of queries, q_row apart, over one head's keys and values. Row i sees positions up to `first` + i * step.
static void attend_rows(llama_model *m, int64_t n, const float *q, int64_t q_row, const float *keys,
                        const float *values, int64_t first, int64_t step, float *out)
{
    const int64_t dim = m->weights->config.head_dim;
    const int64_t total = first + (n - 1) * step + 1;
    const float scale = 1.0f / sqrtf((float)dim);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)total, (blasint)dim,
                scale, q, (blasint)q_row, keys, (blasint)dim, 0.0f, m->scores, (blasint)total);
    for (int64_t i = 0; i < n; ++i) {
        float *row = m->scores + i * total;
        const int64_t seen = first + i * step + 1;
        softmax(row, seen);
        memset(row + seen, 0, (size_t)(total - seen) * sizeof(float));
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)dim, (blasint)total,
                1.0f, m->scores, (blasint)total, values, (blasint)dim, 0.0f, out, (blasint)q_row);
}

static void attend(llama_model *m, int64_t layer, int64_t n)
{
    double start = llama_clock();
    const llama_config *c = &m->weights->config;
    const int64_t dim = c->head_dim, group = c->n_heads / c->n_kv_heads;
    remember(m, layer, n);
    for (int64_t kv = 0; kv < c->n_kv_heads; ++kv) {
        const float *keys = cache_of(m, m->keys, layer, kv);
        const float *values = cache_of(m, m->values, layer, kv);
        if (n == 1) { // the heads that share keys are the rows of one product
            const int64_t at = kv * group * dim;
            attend_rows(m, group, m->q + at, dim, keys, values, m->n_done, 0, m->mixed + at);
            continue;
        }
        for (int64_t head = kv * group; head < (kv + 1) * group; ++head)
            attend_rows(m, n, m->q + head * dim, c->n_heads * dim, keys, values, m->n_done, 1,
                        m->mixed + head * dim);
    }
    count(m, WORK_ATTENTION, &start);
}

// y = x w^T, on the clock.
static void project(llama_model *m, int64_t n, int64_t n_out, int64_t n_in, const float *x,
                    const float *w, bool add, float *y)
{
    double start = llama_clock();
    multiply(n, n_out, n_in, x, w, add, y);
    count(m, WORK_MATRIX, &start);
}

static kn_status run_layer(llama_model *m, int64_t layer, int64_t n, kn_error *err)
{
    const llama_config *c = &m->weights->config;
    const llama_layer_weights *w = &m->weights->layers[layer];
    const llama_layer_modules *modules = &m->modules.layers[layer];
    const int64_t h = c->n_hidden;

    kn_status st = run_rms_norm(m, modules->attn_norm, n, m->state, m->normed, err);
    if (st != KN_OK)
        return st;
    project(m, n, llama_qkv_rows(c), h, m->normed, w->qkv, false, m->qkv);
    st = run_rotary(m, modules->rotary, n, err);
    if (st != KN_OK)
        return st;
    attend(m, layer, n);
    project(m, n, h, c->n_heads * c->head_dim, m->mixed, w->attn_out, true, m->state);

    st = run_rms_norm(m, modules->ffn_norm, n, m->state, m->normed, err);
    if (st != KN_OK)
        return st;
    project(m, n, 2 * c->n_ffn, h, m->normed, w->gate_up, false, m->gate_up);
    st = run_silu_and_mul(m, modules->act, n, err);
    if (st != KN_OK)
        return st;
    project(m, n, h, c->n_ffn, m->act, w->ffn_down, true, m->state);
    return KN_OK;
}

static kn_status check_tokens(const llama_model *m, const int32_t *ids, int64_t n, kn_error *err)
{
    const int64_t room = m->n_positions - m->n_done, n_vocab = m->weights->config.n_vocab;
    if (n < 1 || n > room)
        return kn_error_set(err, KN_ERR_INVALID, "%lld further tokens, accepted are 1 to %lld",
                            (long long)n, (long long)room);
    for (int64_t i = 0; i < n; ++i)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return kn_error_set(err, KN_ERR_INVALID, "token %d, accepted are 0 to %lld", ids[i],
                                (long long)n_vocab - 1);
    return KN_OK;
}

kn_status llama_model_forward(llama_model *m, const int32_t *ids, int64_t n, const float **logits,
                              kn_error *err)
{
    const llama_config *c = &m->weights->config;
    const int64_t h = c->n_hidden;
    kn_status st = check_tokens(m, ids, n, err);
    int64_t batch = 0;
    for (int64_t done = 0; done < n && st == KN_OK; done += batch) {
        batch = n - done < BATCH_MAX ? n - done : BATCH_MAX;
        for (int64_t i = 0; i < batch; ++i)
            memcpy(m->state + i * h, m->weights->embedding + ids[done + i] * h,
                   (size_t)h * sizeof(float));
        for (int64_t layer = 0; layer < c->n_layers && st == KN_OK; ++layer)
            st = run_layer(m, layer, batch, err);
        m->n_done += batch;
    }
    if (st == KN_OK)
        st = run_rms_norm(m, m->modules.output_norm, 1, m->state + (batch - 1) * h, m->normed, err);
    if (st != KN_OK)
        return st;
    project(m, 1, c->n_vocab, h, m->normed, m->weights->output, false, m->logits);
    *logits = m->logits;
    return KN_OK;
}

kn_module *llama_model_root(const llama_model *model)
{
    return model->modules.root;
}

kn_status llama_greedy(const float *logits, int64_t n_vocab, int32_t *out, kn_error *err)
{
    int64_t best = 0;
    for (int64_t i = 0; i < n_vocab; ++i) {
        if (isnan(logits[i]))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "the logit of token %lld is not a number: are the weights damaged?",
                                (long long)i);
        if (logits[i] > logits[best])
            best = i;
    }
    *out = (int32_t)best;
    return KN_OK;
}
