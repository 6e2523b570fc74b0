#include "layers.h"

#include <math.h>
#include <stddef.h>

static const float *data_of(const DLTensor *t)
{
    return (const float *)(const void *)((const char *)t->data + t->byte_offset);
}

static float *out_of(DLTensor *t)
{
    return (float *)(void *)((char *)t->data + t->byte_offset);
}

void rms_norm(const DLTensor *x, const DLTensor *weight, double eps, DLTensor *y)
{
    const int64_t n_cols = x->shape[1];
    const float *w = data_of(weight);
    for (int64_t row = 0; row < x->shape[0]; ++row) {
        const float *in = data_of(x) + row * x->strides[0];
        float *out = out_of(y) + row * y->strides[0];
        double sum = 0;
        for (int64_t i = 0; i < n_cols; ++i)
            sum += (double)in[i] * (double)in[i];
        const float scale = (float)(1.0 / sqrt(sum / (double)n_cols + eps));
        for (int64_t i = 0; i < n_cols; ++i)
            out[i] = w[i] * (in[i] * scale);
    }
}

void silu_and_mul(const DLTensor *x, DLTensor *y)
{
    const int64_t n_cols = y->shape[1];
    for (int64_t row = 0; row < x->shape[0]; ++row) {
        const float *gate = data_of(x) + row * x->strides[0];
        const float *up = gate + n_cols;
        float *out = out_of(y) + row * y->strides[0];
        for (int64_t i = 0; i < n_cols; ++i)
            out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

static void rotate(const DLTensor *x, const DLTensor *cos, const DLTensor *sin, DLTensor *y)
{
    const int64_t half = x->shape[3] / 2;
    for (int64_t head = 0; head < x->shape[1]; ++head) {
        for (int64_t at = 0; at < x->shape[2]; ++at) {
            const float *in = data_of(x) + head * x->strides[1] + at * x->strides[2];
            const float *c = data_of(cos) + at * cos->strides[1];
            const float *s = data_of(sin) + at * sin->strides[1];
            float *out = out_of(y) + head * y->strides[1] + at * y->strides[2];
            for (int64_t i = 0; i < half; ++i) {
                const float a = in[i], b = in[i + half];
                out[i] = a * c[i] - b * s[i];
                out[i + half] = b * c[i + half] + a * s[i + half];
            }
        }
    }
}

void rotary(const DLTensor *q, const DLTensor *k, const DLTensor *cos, const DLTensor *sin,
            DLTensor *q_out, DLTensor *k_out)
{
    rotate(q, cos, sin, q_out);
    rotate(k, cos, sin, k_out);
}
