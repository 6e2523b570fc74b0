/**
 * Gradients of weights: sums over all rows, the same for any number of threads. The rows are cut into blocks whose number
 * depends on the rows alone; a block has its own sums, and the blocks are added in order.
 */
#ifndef PACKAGES_COLUMN_SUMS_H
#define PACKAGES_COLUMN_SUMS_H

#include "common/real.h"

enum { SUMS_BLOCKS_MOST = 64, SUMS_COLUMNS = 256 };

typedef struct column_sums {
    int64_t n_rows, n_blocks, n_cols; // n_cols: of all outputs that are summed, one after the other
    double *sums;                     // n_blocks x n_cols
} column_sums;

/** False when there is no memory, with MemoryError raised. Free `sums` in any case. */
static inline bool column_sums_init(column_sums *s, const char *name, int64_t n_rows,
                                    int64_t n_cols)
{
    *s = (column_sums){.n_rows = n_rows, .n_cols = n_cols};
    s->n_blocks = n_rows < SUMS_BLOCKS_MOST ? n_rows : SUMS_BLOCKS_MOST;
    if (s->n_blocks == 0 || n_cols == 0)
        return true;
    s->sums = (double *)calloc((size_t)n_cols, (size_t)s->n_blocks * sizeof(double));
    if (!s->sums)
        kna_raise("MemoryError", name, "no memory for %lld sums",
                  (long long)n_cols * (long long)s->n_blocks);
    return s->sums != NULL;
}

/** The first row of a block; that of n_blocks is the number of rows. */
static inline int64_t column_sums_row(const column_sums *s, int64_t block)
{
    const int64_t share = s->n_rows / s->n_blocks, more = s->n_rows % s->n_blocks;
    return block * share + (block < more ? block : more);
}

/** Columns first … first + n - 1, added over the blocks, to a contiguous output. */
static inline void column_sums_store(const column_sums *s, int64_t first, int64_t n, void *out,
                                     unsigned type)
{
    double total[SUMS_COLUMNS];
    for (int64_t at = 0; at < n; at += SUMS_COLUMNS) {
        const int64_t m = n - at < SUMS_COLUMNS ? n - at : SUMS_COLUMNS;
        memset(total, 0, sizeof(total));
        for (int64_t block = 0; block < s->n_blocks; ++block)
            for (int64_t i = 0; i < m; ++i)
                total[i] += s->sums[block * s->n_cols + first + at + i];
        for (int64_t i = 0; i < m; ++i)
            real_put(out, at + i, type, total[i]);
    }
}

#endif
