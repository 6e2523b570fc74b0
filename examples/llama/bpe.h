/** Byte-pair merging of one word. */
#ifndef LLAMA_BPE_H
#define LLAMA_BPE_H

#include "tokenizer.h"

/** Two neighbours that become one token; the lowest rank is merged first. */
typedef struct bpe_merge {
    int32_t left;
    int32_t right;
    int32_t result;
    uint32_t rank;
} bpe_merge;

typedef struct bpe_tables {
    bpe_merge *merges; // after bpe_sort: in the order of (left, right)
    size_t n_merges;
    int32_t byte_ids[256]; // the token of a byte; -1: none, the byte is left out
} bpe_tables;

/** Puts the merges in order; of equal pairs the lowest rank is kept. */
void bpe_sort(bpe_tables *tables);

/** Memory that is used again from word to word; start with {0}, dispose once. */
typedef struct bpe_work {
    void *memory;
    size_t capacity; // in symbols
} bpe_work;

void bpe_work_dispose(bpe_work *work);

/** Appends the tokens of a word: n log n in its length. Error: KN_ERR_NO_MEMORY. */
kn_status bpe_encode(const bpe_tables *tables, bpe_work *work, const char *word, size_t n_bytes,
                     token_list *out, kn_error *err);

#endif
