/**
 * Layer normalisation of each row of h columns, and its gradient:
 *
 *   x^ = (x - mean(x)) / sqrt(var(x) + eps),  y = x^ weight + bias      Ba, Kiros and Hinton, arXiv:1607.06450
 *
 * where var is the mean squared deviation (divided by h). Exported tvm-ffi functions, outputs first; none for weight or bias
 * means 1 or 0:
 *
 *   layer_norm(y, x, weight?, bias?, eps)
 *   layer_norm_backward(dx, dweight?, dbias?, dy, x, weight?, eps)
 *
 * Shapes:  x, y, dx, dy the same, [..., h]; weight, bias, dweight, dbias [h]. Any size may be 0; sums over no rows are 0.
 * Dtypes:  f32, f16 or bf16; x, y, weight and bias each their own; dx as x, dy as y was, dweight and dbias any. Sums of a row
 *          in f32, those over rows in f64, in an order that does not depend on the number of threads.
 * Layout:  h contiguous, the other dimensions foldable to one stride; no alignment needed; vectors contiguous.
 *          y may be x, dx may be x or dy, where their types agree.
 * Units:   eps is added to the variance, under the root.
 * Special: a NaN or an infinity makes its row NaN.
 * Error:   bound and derivation beside the cases in test/layer_norm_test.c.
 * Raises:  TypeError (count or kind of arguments, dtype), ValueError (shape, layout, device), MemoryError (dweight, dbias).
 * Owns:    nothing; arguments are borrowed for the call.
 * Threads: any; large calls use several (kna_threads). Since: 0.1
 */
#ifndef PACKAGES_LAYER_NORM_H
#define PACKAGES_LAYER_NORM_H

#include <kernels/author.h>

typedef struct layer_norm_form {
    unsigned x_type, w_type, b_type, y_type; // y_type is dy's too
    const void *w, *b;                       // NULL: 1, 0
    double eps;
    int64_t n; // columns
} layer_norm_form;

typedef void (*layer_norm_row)(const layer_norm_form *form, const void *x, void *y);

/** One row; w_sums[i] += dy[i] x^[i], b_sums[i] += dy[i]; NULL: not wanted. */
typedef void (*layer_norm_row_backward)(const layer_norm_form *form, const void *x, const void *dy,
                                        void *dx, double *w_sums, double *b_sums);

/** A way to compute it; `needs` are bits KNA_CPU_*. */
typedef struct layer_norm_path {
    const char *name;
    uint32_t needs;
    layer_norm_row forward;
    layer_norm_row_backward backward;
} layer_norm_path;

#endif
