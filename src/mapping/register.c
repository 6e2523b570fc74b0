#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "mapping/mapping.h"
#include "mapping/reference.h"

// Items that make one table lie together, in the order they were given.
static int compare_items(const void *a, const void *b)
{
    const kni_registration *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    const int names = strcmp(x->layer, y->layer);
    if (names)
        return names;
    const kni_slot p = {.device = x->device, .range = x->range},
                   q = {.device = y->device, .range = y->range};
    const int slots = kni_slot_compare(&p, &q);
    if (slots)
        return slots;
    return (x->index > y->index) - (x->index < y->index);
}

static bool is_same_layer(const kni_registration *a, const kni_registration *b)
{
    return a->hash == b->hash && strcmp(a->layer, b->layer) == 0;
}

static bool is_same_table(const kni_registration *a, const kni_registration *b)
{
    return a->device == b->device && a->range.min == b->range.min && a->range.max == b->range.max &&
           is_same_layer(a, b);
}

static kn_status fail_duplicate(const kni_registration *first, const kni_registration *second,
                                const char *file, kn_error *err)
{
    char range[KNI_RANGE_TEXT_SIZE], mode[KN_MODE_TEXT_SIZE];
    const char *device = kn_device_type_name(second->device);
    kni_range_text(second->range, range);
    kn_mode_text(second->mode, mode);
    if (file)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s:%" PRIu32 ": layer `%s`, device %s, %s, mode %s is given twice: "
                            "first on line %" PRIu32,
                            file, second->line, second->layer, device, range, mode, first->line);
    return kn_error_set(err, KN_ERR_INVALID,
                        "entries[%zu]: layer `%s`, device %s, %s, mode %s is given twice: first in "
                        "entries[%zu]",
                        second->index, second->layer, device, range, mode, first->index);
}

// The table of the items [0, count), which takes their references.
static kn_status make_table(kni_registration *items, size_t count, const char *file,
                            kni_mode_table **out, kn_error *err)
{
    for (size_t i = 0; i < count; ++i)
        for (size_t j = 0; j < i; ++j) // at most as many rounds as there are modes
            if (items[i].mode == items[j].mode)
                return fail_duplicate(&items[j], &items[i], file, err);
    *out = kni_mode_table_new(count);
    if (!*out)
        return kni_no_memory(err);
    for (size_t i = 0; i < count; ++i) {
        (*out)->rows[i] = (struct kni_mode_row){items[i].mode, items[i].reference};
        items[i].reference = NULL;
    }
    return KN_OK;
}

// Registers the items [0, count) of one layer.
static kn_status put_layer(kn_mapping *mapping, kni_registration *items, size_t count,
                           uint64_t first_rank, const char *file, kn_error *err)
{
    kn_status st = KN_OK;
    size_t n_slots = 0;
    kni_slot *slots = kni_calloc(count, sizeof(*slots));
    if (!slots)
        return kni_no_memory(err);
    for (size_t i = 0, n; st == KN_OK && i < count; i += n) {
        for (n = 1; i + n < count && is_same_table(&items[i], &items[i + n]); ++n)
            ;
        kni_slot *slot = &slots[n_slots++];
        slot->device = items[i].device;
        slot->range = items[i].range;
        slot->rank = first_rank + items[i + n - 1].index; // the last entry's
        st = make_table(items + i, n, file, &slot->table, err);
    }
    if (st == KN_OK && !kni_mapping_put(mapping, items[0].layer, items[0].layer_size, items[0].hash,
                                        slots, n_slots))
        st = kni_no_memory(err);
    for (size_t i = 0; i < n_slots; ++i)
        kni_mode_table_unref(slots[i].table);
    kni_free(slots);
    return st;
}

kn_status kni_mapping_register(const kn_mapping *base, kni_registration *items, size_t n_items,
                               const char *file, kn_mapping **out, kn_error *err)
{
    kn_status st = KN_OK;
    kn_mapping *mapping = kni_mapping_copy(base);
    *out = NULL;
    if (!mapping)
        return kni_no_memory(err);
    for (size_t i = 0; i < n_items; ++i)
        mapping->had_hub |= items[i].reference->repo_id != NULL;
    qsort(items, n_items, sizeof(*items), compare_items);
    for (size_t i = 0, n; st == KN_OK && i < n_items; i += n) {
        for (n = 1; i + n < n_items && is_same_layer(&items[i], &items[i + n]); ++n)
            ;
        st = put_layer(mapping, items + i, n, mapping->next_rank, file, err);
    }
    if (st == KN_OK) {
        mapping->next_rank += n_items;
        *out = mapping;
    } else {
        kn_mapping_unref(mapping);
    }
    return st;
}

// Checks entry `index` of an array whose elements have `stride` bytes.
static kn_status check_entry(const kn_entry *entries, size_t stride, size_t index,
                             kni_registration *out, kn_error *err)
{
    kn_entry entry = {0};
    kn_error problem = KN_ERROR_INIT;
    const char *key = NULL;
    memcpy(&entry, (const char *)entries + index * stride,
           stride < sizeof(entry) ? stride : sizeof(entry));
    const kn_status st = kni_entry_check(&entry, NULL, out, &key, &problem);
    out->index = index;
    if (st != KN_OK)
        kn_error_prefix(&problem, "entries[%zu]", index);
    return st == KN_OK ? KN_OK : kni_error_move(err, &problem);
}

kn_status kn_mapping_with(const kn_mapping *base, const kn_entry *entries, size_t n_entries,
                          kn_mapping **out, kn_error *err)
{
    kni_registration one, *items = &one;
    kn_status st = KN_OK;
    size_t n = 0;
    *out = NULL;
    if (n_entries && (!entries || entries->struct_size < KNI_ENTRY_SIZE_MIN))
        return kn_error_set(err, KN_ERR_INVALID,
                            "entries[0]: struct_size is %zu, expected at least %zu: start with "
                            "KN_ENTRY or KN_ENTRY_INIT",
                            entries ? entries->struct_size : 0, KNI_ENTRY_SIZE_MIN);
    if (n_entries > 1)
        items = kni_calloc(n_entries, sizeof(*items));
    if (!items)
        return kni_no_memory(err);
    for (; st == KN_OK && n < n_entries; ++n)
        st = check_entry(entries, entries->struct_size, n, &items[n], err);
    if (st == KN_OK)
        st = kni_mapping_register(base, items, n_entries, NULL, out, err);
    for (size_t i = 0; i < n; ++i)
        kni_reference_free(items[i].reference);
    if (items != &one)
        kni_free(items);
    return st;
}

typedef struct join {
    kn_mapping *mapping;
    const kni_mapping_row *rows; // of the mapping that is registered over
    size_t n_rows;
    bool failed;
} join;

// Where the rows with this rank begin.
static size_t index_of_rank(const join *j, uint64_t rank)
{
    size_t low = 0, high = j->n_rows;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (j->rows[middle].slot->rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Ranks become positions among the rows, so that they do not grow by the gaps that replaced tables left.
static void join_layer(void *user, const kni_mapped_layer *layer)
{
    join *j = user;
    kni_slot *slots = j->failed ? NULL : kni_alloc(layer->n_slots * sizeof(*slots));
    for (size_t i = 0; slots && i < layer->n_slots; ++i) {
        slots[i] = layer->slots[i];
        slots[i].rank = j->mapping->next_rank + index_of_rank(j, slots[i].rank);
    }
    if (!slots || !kni_mapping_put(j->mapping, layer->name, layer->name_size, layer->node.hash,
                                   slots, layer->n_slots))
        j->failed = true;
    kni_free(slots);
}

kn_status kn_mapping_join(const kn_mapping *base, const kn_mapping *over, kn_mapping **out,
                          kn_error *err)
{
    join j = {.n_rows = kn_mapping_count(over)};
    *out = NULL;
    const kn_status st = kni_mapping_rows(over, &j.rows, err);
    if (st != KN_OK)
        return st;
    j.mapping = kni_mapping_copy(base);
    if (j.mapping)
        j.mapping->had_hub |= over && over->had_hub;
    if (!j.mapping)
        return kni_no_memory(err);
    kni_trie_each(over ? over->layers : NULL, join_layer, &j);
    if (j.failed) {
        kn_mapping_unref(j.mapping);
        return kni_no_memory(err);
    }
    j.mapping->next_rank += j.n_rows;
    *out = j.mapping;
    return KN_OK;
}
