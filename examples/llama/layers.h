/**
 * The layers of the model that a kernel may take over, in plain C over DLPack tensors: float32 on the CPU. Inputs first, then
 * outputs, which the caller has allocated and which overlap no input. The last dimension is contiguous.
 */
#ifndef LLAMA_LAYERS_H
#define LLAMA_LAYERS_H

#include <dlpack/dlpack.h>

/** y = weight * x / sqrt(mean(x^2) + eps) of each row. x, y: [rows, h]; weight: [h]. */
void rms_norm(const DLTensor *x, const DLTensor *weight, double eps, DLTensor *y);

/** y = silu(x[:, :d]) * x[:, d:], with silu(v) = v / (1 + exp(-v)). x: [rows, 2 * d]; y: [rows, d]. */
void silu_and_mul(const DLTensor *x, DLTensor *y);

/**
 * Rotates the pairs (i, i + dim / 2) of each head by the angles of its position.
 * q, k and the outputs: [1, heads, seq, dim], any strides but the last; cos, sin: [1, seq, dim], their halves alike.
 */
void rotary(const DLTensor *q, const DLTensor *k, const DLTensor *cos, const DLTensor *sin,
            DLTensor *q_out, DLTensor *k_out);

#endif
