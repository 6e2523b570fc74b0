#include "bpe.h"

#include <stdlib.h>

// Neighbours that may be merged: `at` is the left one. Stale once either has changed.
typedef struct candidate {
    uint32_t rank;
    int32_t left;
    int32_t right;
    int32_t result;
    size_t at;
} candidate;

// A token of the word; merged away ones have id -1.
typedef struct symbol {
    int32_t id;
    size_t before; // index; NONE at the ends
    size_t after;
} symbol;

#define NONE SIZE_MAX

typedef struct word {
    symbol *symbols;
    candidate *heap; // the best is first
    size_t n_heap;
} word;

static int compare_merges(const void *left, const void *right)
{
    const bpe_merge *a = left, *b = right;
    if (a->left != b->left)
        return a->left < b->left ? -1 : 1;
    if (a->right != b->right)
        return a->right < b->right ? -1 : 1;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

void bpe_sort(bpe_tables *tables)
{
    size_t kept = 0;
    if (tables->n_merges > 1)
        qsort(tables->merges, tables->n_merges, sizeof(*tables->merges), compare_merges);
    for (size_t i = 0; i < tables->n_merges; ++i) {
        const bpe_merge *last = kept ? &tables->merges[kept - 1] : NULL;
        const bpe_merge *m = &tables->merges[i];
        if (!last || last->left != m->left || last->right != m->right)
            tables->merges[kept++] = *m;
    }
    tables->n_merges = kept;
}

static const bpe_merge *find_merge(const bpe_tables *tables, int32_t left, int32_t right)
{
    size_t low = 0, high = tables->n_merges;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const bpe_merge *m = &tables->merges[middle];
        if (m->left == left && m->right == right)
            return m;
        if (m->left < left || (m->left == left && m->right < right))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool comes_first(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(word *w, candidate c)
{
    size_t i = w->n_heap++;
    for (; i > 0 && comes_first(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate heap_pop(word *w)
{
    const candidate best = w->heap[0];
    const candidate last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < w->n_heap; child = 2 * i + 1) {
        if (child + 1 < w->n_heap && comes_first(&w->heap[child + 1], &w->heap[child]))
            ++child;
        if (!comes_first(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return best;
}

static void consider(word *w, const bpe_tables *tables, size_t at)
{
    const size_t after = at == NONE ? NONE : w->symbols[at].after;
    if (after == NONE)
        return;
    const bpe_merge *m = find_merge(tables, w->symbols[at].id, w->symbols[after].id);
    if (m)
        heap_push(w, (candidate){m->rank, m->left, m->right, m->result, at});
}

static void merge_all(word *w, const bpe_tables *tables)
{
    symbol *s = w->symbols;
    while (w->n_heap > 0) {
        const candidate c = heap_pop(w);
        const size_t gone = s[c.at].after;
        if (s[c.at].id != c.left || gone == NONE || s[gone].id != c.right)
            continue; // stale
        s[c.at].id = c.result;
        s[c.at].after = s[gone].after;
        s[gone].id = -1;
        if (s[c.at].after != NONE)
            s[s[c.at].after].before = c.at;
        consider(w, tables, s[c.at].before);
        consider(w, tables, c.at);
    }
}

void bpe_work_dispose(bpe_work *work)
{
    free(work->memory);
    *work = (bpe_work){0};
}

// Room for a word of n bytes: one candidate per pair of neighbours, and two more for each of at most n - 1 merges.
static kn_status prepare(bpe_work *work, size_t n, word *out, kn_error *err)
{
    const size_t each = sizeof(symbol) + 3 * sizeof(candidate);
    if (n > work->capacity) {
        const size_t capacity = n < 64 ? 64 : n;
        bpe_work_dispose(work);
        work->memory = capacity < SIZE_MAX / each ? malloc(capacity * each) : NULL;
        if (!work->memory)
            return kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for a word of %zu bytes", n);
        work->capacity = capacity;
    }
    *out = (word){.heap = work->memory};
    out->symbols = (symbol *)(void *)(out->heap + 3 * work->capacity);
    return KN_OK;
}

kn_status bpe_encode(const bpe_tables *tables, bpe_work *work, const char *text, size_t n_bytes,
                     token_list *out, kn_error *err)
{
    word w = {0};
    size_t n = 0;
    kn_status st = prepare(work, n_bytes, &w, err);
    if (st != KN_OK)
        return st;
    for (size_t i = 0; i < n_bytes; ++i) {
        const int32_t id = tables->byte_ids[(uint8_t)text[i]];
        if (id < 0)
            continue;
        w.symbols[n] = (symbol){id, n == 0 ? NONE : n - 1, NONE};
        if (n > 0)
            w.symbols[n - 1].after = n;
        ++n;
    }
    for (size_t i = 0; i < n; ++i)
        consider(&w, tables, i);
    merge_all(&w, tables);
    // The first symbol is never merged away: a merge keeps its left one.
    for (size_t i = n > 0 ? 0 : NONE; i != NONE && st == KN_OK; i = w.symbols[i].after)
        st = token_list_add(out, w.symbols[i].id, err);
    return st;
}
