#include "mapping/mapping.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

kn_mapping *kni_mapping_copy(const kn_mapping *base)
{
    kn_mapping *mapping = kni_alloc(sizeof(*mapping));
    if (!mapping)
        return NULL;
    atomic_init(&mapping->refs, 1);
    mapping->layers = base ? kni_trie_ref(base->layers) : NULL;
    mapping->next_rank = base ? base->next_rank : 0;
    mapping->n_rows = base ? base->n_rows : 0;
    mapping->had_hub = base && base->had_hub;
    atomic_init(&mapping->rows, NULL);
    return mapping;
}

kn_mapping *kn_mapping_ref(const kn_mapping *mapping)
{
    kn_mapping *shared = (kn_mapping *)(uintptr_t)mapping; // the count is no part of the value
    if (shared)
        atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

void kn_mapping_unref(kn_mapping *mapping)
{
    if (!mapping || atomic_fetch_sub_explicit(&mapping->refs, 1, memory_order_acq_rel) != 1)
        return;
    kni_trie_unref(mapping->layers);
    kni_free(atomic_load_explicit(&mapping->rows, memory_order_relaxed));
    kni_free(mapping);
}

bool kni_mapping_put(kn_mapping *mapping, const char *name, size_t name_size, uint64_t hash,
                     const kni_slot *added, size_t n_added)
{
    const kni_mapped_layer *old = kni_trie_find(mapping->layers, hash, name, name_size);
    kni_mapped_layer *layer = kni_mapped_layer_new(old, name, name_size, hash, added, n_added);
    kni_trie *layers = layer ? kni_trie_with(mapping->layers, layer) : NULL;
    if (layers) {
        mapping->n_rows = mapping->n_rows - (old ? old->n_rows : 0) + layer->n_rows;
        kni_trie_unref(mapping->layers);
        mapping->layers = layers;
    }
    if (layer)
        kni_trie_unref(&layer->node);
    return layers != NULL;
}

typedef struct row_list {
    kni_mapping_row *rows;
    size_t count;
} row_list;

static void collect(void *user, const kni_mapped_layer *layer)
{
    row_list *list = user;
    for (size_t i = 0; i < layer->n_slots; ++i)
        for (size_t j = 0; j < layer->slots[i].table->count; ++j)
            list->rows[list->count++] = (kni_mapping_row){layer, &layer->slots[i], j};
}

static int compare_rows(const void *a, const void *b)
{
    const kni_mapping_row *x = a, *y = b;
    if (x->slot->rank != y->slot->rank)
        return x->slot->rank < y->slot->rank ? -1 : 1;
    return (x->mode > y->mode) - (x->mode < y->mode);
}

kn_status kni_mapping_rows(const kn_mapping *mapping, const kni_mapping_row **out, kn_error *err)
{
    *out = NULL;
    if (!mapping || mapping->n_rows == 0)
        return KN_OK;
    kn_mapping *shared = (kn_mapping *)(uintptr_t)mapping; // a memo is no part of the value
    kni_mapping_row *rows = atomic_load_explicit(&shared->rows, memory_order_acquire);
    if (!rows) {
        row_list list = {kni_calloc(mapping->n_rows, sizeof(*rows)), 0};
        if (!list.rows)
            return kni_no_memory(err);
        kni_trie_each(mapping->layers, collect, &list);
        qsort(list.rows, list.count, sizeof(*rows), compare_rows);
        if (atomic_compare_exchange_strong_explicit(&shared->rows, &rows, list.rows,
                                                    memory_order_acq_rel, memory_order_acquire))
            rows = list.rows;
        else
            kni_free(list.rows); // another thread was first
    }
    *out = rows;
    return KN_OK;
}

size_t kn_mapping_count(const kn_mapping *mapping)
{
    return mapping ? mapping->n_rows : 0;
}

kn_status kn_mapping_row_get(const kn_mapping *mapping, size_t index, kn_mapping_row *out,
                             kn_error *err)
{
    const size_t size = out->struct_size;
    const kni_mapping_row *rows = NULL;
    if (size < sizeof(*out))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_mapping_row: struct_size is %zu: start with KN_MAPPING_ROW_INIT",
                            size);
    if (index >= kn_mapping_count(mapping))
        return kn_error_set(err, KN_ERR_INVALID, "mapping entry %zu: there are %zu", index,
                            kn_mapping_count(mapping));
    const kn_status st = kni_mapping_rows(mapping, &rows, err);
    if (st != KN_OK)
        return st;
    const kni_mapping_row *row = &rows[index];
    const struct kni_mode_row *mode = &row->slot->table->rows[row->mode];
    out->layer = row->layer->name;
    out->device = row->slot->device;
    out->mode = mode->mode;
    out->capability = row->slot->range;
    out->reference = mode->reference;
    return KN_OK;
}

const char *kni_range_text(kn_range range, char out[KNI_RANGE_TEXT_SIZE])
{
    if (!range.given)
        snprintf(out, KNI_RANGE_TEXT_SIZE, "every capability");
    else if (range.min == range.max)
        snprintf(out, KNI_RANGE_TEXT_SIZE, "capability %" PRId64, range.min);
    else if (range.max == KN_CAPABILITY_MAX)
        snprintf(out, KNI_RANGE_TEXT_SIZE, "capability %" PRId64 " and above", range.min);
    else
        snprintf(out, KNI_RANGE_TEXT_SIZE, "capability %" PRId64 " to %" PRId64, range.min,
                 range.max);
    return out;
}
