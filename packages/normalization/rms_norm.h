/**
 * Root-mean-square normalisation of each row of h columns, in the forms that models use, and its gradient:
 *
 *   x^ = x / sqrt(mean(x^2) + eps),  y = x^ (offset + weight)          Zhang and Sennrich, arXiv:1910.07467
 *
 * Exported tvm-ffi functions, outputs first; a weight of none means no scale at all, whatever the offset:
 *
 *   rms_norm(y, x, weight?, eps, offset)             x^ is rounded to x's type, then scaled (Llama, Qwen, Mistral)
 *   rms_norm_scale_cast(y, x, weight?, eps, offset)  scaled in f32, then rounded (Gemma with offset 1, Olmo 2, PyTorch)
 *   rms_norm_backward(dx, dweight?, dy, x, weight?, eps, offset)       of both
 *   fused_add_rms_norm(y, sum, x, residual, weight?, eps, offset)      sum = x + residual in x's type; y = rms_norm(sum)
 *   fused_add_rms_norm_scale_cast(y, sum, x, residual, weight?, eps, offset)
 *
 * Shapes:  x, y, residual, sum, dx, dy the same, [..., h]; weight, dweight [h]. Any size may be 0; dweight is then 0.
 * Dtypes:  f32, f16 or bf16; x, weight and y each their own, so y may be the promoted type; sum and residual as x, dy as y
 *          was, dx as x, dweight any. Sums of a row in f32, those of dweight over rows in f64, in an order that does not
 *          depend on the number of threads.
 * Layout:  h contiguous, the other dimensions foldable to one stride; no alignment needed. weight contiguous.
 *          y may be x or residual, sum may be x or residual, dx may be x or dy, where their types agree.
 * Units:   eps is added to the mean square, under the root.
 * Special: a NaN makes its row NaN; an infinity makes itself NaN and the rest of its row 0. Squares beyond f32 count as
 *          infinity.
 * Error:   bound and derivation beside the cases in test/rms_norm_test.c.
 * Raises:  TypeError (count or kind of arguments, dtype), ValueError (shape, layout, device), MemoryError (dweight).
 * Owns:    nothing; arguments are borrowed for the call.
 * Threads: any; large calls use several (kna_threads). Since: 0.1
 */
#ifndef PACKAGES_RMS_NORM_H
#define PACKAGES_RMS_NORM_H

#include <kernels/author.h>

typedef struct rms_norm_form {
    unsigned x_type, w_type, y_type; // y_type is dy's too
    const void *w;                   // NULL: no scale
    double eps, offset;
    bool round; // x^ to x's type before it is scaled
    int64_t n;  // columns
} rms_norm_form;

/** One row; residual and sum are NULL but in the fused form, where x is read once and sum is written. */
typedef void (*rms_norm_row)(const rms_norm_form *form, const void *x, const void *residual,
                             void *sum, void *y);

/** One row; sums NULL: only dx. sums[i] += dy[i] x^[i]. */
typedef void (*rms_norm_row_backward)(const rms_norm_form *form, const void *x, const void *dy,
                                      void *dx, double *sums);

/** A way to compute it; `needs` are bits KNA_CPU_*. */
typedef struct rms_norm_path {
    const char *name;
    uint32_t needs;
    rms_norm_row forward;
    rms_norm_row_backward backward;
} rms_norm_path;

#endif
