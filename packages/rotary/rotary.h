/**
 * Rotary position embedding of queries and keys, and its gradient: each pair (a, b) of a head's d columns is turned by an
 * angle that grows with the position. Su et al., arXiv:2104.09864:
 *
 *   a' = a cos_a - b sin_a,  b' = b cos_b + a sin_b
 *
 * Pairings: halves, columns i and i + d/2 (GPT-NeoX, Llama), or interleaved, columns 2 i and 2 i + 1 (GPT-J, GLM). cos and
 * sin have a number for every column: cos_a and cos_b are those of the columns of a and b.
 *
 * Exported tvm-ffi functions, outputs first:
 *
 *   rotary_pos_emb(q_out, k_out, q, k, cos, sin, unsqueeze_dim, interleaved)
 *   rotary_pos_emb_backward(dq, dk, dq_out, dk_out, cos, sin, unsqueeze_dim, interleaved)
 *   rotary_positions(q_out, k_out, q, k, positions, theta, unsqueeze_dim, interleaved)
 *   rotary_positions_backward(dq, dk, dq_out, dk_out, positions, theta, unsqueeze_dim, interleaved)
 *
 * The positions form takes pair i of a head at position p turned by p theta^(-2 i / d), computed in f64.
 *
 * Shapes:  q [b, hq, s, d] and k [b, hk, s, d] for unsqueeze_dim 1; [b, s, hq, d] and [b, s, hk, d] for 2. d even.
 *          cos, sin [b or 1, s, d]; positions [b or 1, s]. Any size may be 0.
 * Dtypes:  q, k and their results f32, f16 or bf16, the same for all; cos and sin one of these, the same for both;
 *          positions i32 or i64. Computed in f32 and rounded once.
 * Layout:  last dimension contiguous, any other strides; no alignment needed. q_out may be q, k_out may be k (dq may be
 *          dq_out, dk may be dk_out) when their strides agree; else no overlap.
 * Error:   bound and derivation beside the cases in test/rotary_test.c.
 * Raises:  TypeError (count or kind of arguments, dtype), ValueError (shape, layout, device, unsqueeze_dim, theta).
 * Owns:    nothing; arguments are borrowed for the call.
 * Threads: any; large calls use several (kna_threads). Since: 0.1
 */
#ifndef PACKAGES_ROTARY_H
#define PACKAGES_ROTARY_H

#include <kernels/author.h>

/** Columns of the positions form, whose angles lie on the stack. */
#define ROTARY_COLUMNS_MOST 2048

typedef struct rotary_form {
    unsigned type, angle_type; // of q and k; of cos and sin
    int64_t d;
    bool interleaved;
    bool backward; // the transposed turn
} rotary_form;

/** One head at one position. */
typedef void (*rotary_row)(const rotary_form *form, const void *x, const void *cos, const void *sin,
                           void *y);

/** A way to compute it; `needs` are bits KNA_CPU_*. */
typedef struct rotary_path {
    const char *name;
    uint32_t needs;
    rotary_row run;
} rotary_path;

#endif
