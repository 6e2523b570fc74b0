#include "mapping/layer.h"

#include <string.h>

#include "base/alloc.h"
#include "mapping/reference.h"

kni_mode_table *kni_mode_table_new(size_t count)
{
    kni_mode_table *table = kni_calloc(1, sizeof(*table) + count * sizeof(table->rows[0]));
    if (table) {
        atomic_init(&table->refs, 1);
        table->count = count;
    }
    return table;
}

kni_mode_table *kni_mode_table_ref(kni_mode_table *table)
{
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void kni_mode_table_unref(kni_mode_table *table)
{
    if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < table->count; ++i)
        kni_reference_free(table->rows[i].reference);
    kni_free(table);
}

int kni_slot_compare(const kni_slot *a, const kni_slot *b)
{
    const int64_t width_a = a->range.max - a->range.min, width_b = b->range.max - b->range.min;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    if (width_a != width_b)
        return width_a < width_b ? -1 : 1;
    return (a->range.min > b->range.min) - (a->range.min < b->range.min);
}

// The slots of base and added, sorted, into out, which has room for all; returns their number.
static size_t merge(const kni_slot *base, size_t n_base, const kni_slot *added, size_t n_added,
                    kni_slot *out)
{
    size_t n = 0, i = 0, j = 0;
    while (i < n_base || j < n_added) {
        const int order = i == n_base    ? 1
                          : j == n_added ? -1
                                         : kni_slot_compare(&base[i], &added[j]);
        if (order == 0)
            ++i; // replaced
        out[n] = order < 0 ? base[i++] : added[j++];
        kni_mode_table_ref(out[n++].table);
    }
    return n;
}

kni_mapped_layer *kni_mapped_layer_new(const kni_mapped_layer *base, const char *name,
                                       size_t name_size, uint64_t hash, const kni_slot *added,
                                       size_t n_added)
{
    const size_t n_base = base ? base->n_slots : 0;
    kni_mapped_layer *layer =
        kni_alloc(sizeof(*layer) + (n_base + n_added) * sizeof(layer->slots[0]) + name_size + 1);
    if (!layer)
        return NULL;
    atomic_init(&layer->node.refs, 1);
    layer->node.kind = KNI_TRIE_LAYER;
    layer->node.hash = hash;
    layer->n_slots = merge(base ? base->slots : NULL, n_base, added, n_added, layer->slots);
    layer->n_rows = 0;
    for (size_t i = 0; i < layer->n_slots; ++i)
        layer->n_rows += layer->slots[i].table->count;
    char *copy = (char *)&layer->slots[layer->n_slots];
    memcpy(copy, name, name_size);
    copy[name_size] = '\0';
    layer->name = copy;
    layer->name_size = name_size;
    return layer;
}

void kni_mapped_layer_free(kni_mapped_layer *layer)
{
    for (size_t i = 0; i < layer->n_slots; ++i)
        kni_mode_table_unref(layer->slots[i].table);
    kni_free(layer);
}
