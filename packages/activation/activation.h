/**
 * Activations of transformer MLPs, alone and gated, with their gradients. Each is x P(x) with a smooth step P:
 *
 *   silu         P = 1 / (1 + e^-x)                                  Elfwing et al., arXiv:1702.03118
 *   gelu         P = Phi(x), the normal distribution function        Hendrycks and Gimpel, arXiv:1606.08415
 *   gelu_tanh    P = (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3)          the same, section 2
 *   quick_gelu   P = 1 / (1 + e^-1.702x)                                          the same, section 2
 *   fast_gelu    gelu_tanh under the name that some models use
 *
 * Exported tvm-ffi functions, outputs first; ACT is silu, gelu, gelu_tanh, quick_gelu or fast_gelu:
 *
 *   ACT(y, x)                         y = act(x)                       y may be x
 *   ACT_backward(dx, dy, x)           dx = dy act'(x)                  dx may be dy or x
 *   ACT_and_mul(y, x)                 y = act(x[..., :d]) x[..., d:], where y is [..., d] and x [..., 2 d]
 *   ACT_and_mul_backward(dx, dy, x)   gradient of x, [..., 2 d];       dx may be x
 *
 * Dtypes:  f32, f16 or bf16, the same for all; computed in f32 and rounded once.
 * Layout:  last dimension contiguous, the others foldable to one stride; no alignment needed; any size may be 0.
 * Special: NaN gives NaN; +inf gives +inf, -inf gives NaN (-inf times 0), as the formulas in IEEE arithmetic do.
 * Error:   bounds and their derivation beside the cases in test/activation_test.c.
 * Raises:  TypeError (count or kind of arguments, dtype), ValueError (shape, layout, device).
 * Owns:    nothing; arguments are borrowed for the call. Outputs must not overlap inputs except as said above.
 * Threads: any; large calls use several (kna_threads). Since: 0.1
 */
#ifndef PACKAGES_ACTIVATION_H
#define PACKAGES_ACTIVATION_H

#include <kernels/author.h>

typedef enum activation_kind {
    ACT_SILU,
    ACT_GELU,
    ACT_GELU_TANH,
    ACT_QUICK_GELU,
    ACT_KINDS,
} activation_kind;

/** A stretch of one row, all pointers at its first element; g, u are the halves of x, or x alone. */
typedef struct activation_span {
    int64_t n;
    void *y, *du;           // y: act(g) u, or dg of a gradient; du: gradient of u
    const void *g, *u, *dy; // u NULL: not gated; dy NULL: forward
} activation_span;

typedef void (*activation_fn)(activation_kind kind, unsigned type, const activation_span *span);

/** A way to compute it; `needs` are bits KNA_CPU_*. */
typedef struct activation_path {
    const char *name;
    uint32_t needs;
    activation_fn run;
} activation_path;

#endif
