// What a mapping holds for one layer name: its tables, each for a device type and an interval of capabilities.
#ifndef KNI_MAPPING_LAYER_H
#define KNI_MAPPING_LAYER_H

#include "kernels/mapping.h"
#include "mapping/trie.h"

// The references of one interval, by mode. Counted, immutable, shared by every mapping that has it.
typedef struct kni_mode_table {
    atomic_size_t refs;
    size_t count;
    struct kni_mode_row {
        kn_mode mode;
        kn_reference *reference; // the table's
    } rows[];                    // in the order they were given
} kni_mode_table;

// A table and where it applies. The range is whole: 0 to KN_CAPABILITY_MAX where none was given.
typedef struct kni_slot {
    kn_device_type device;
    kn_range range;
    uint64_t rank; // order of registration
    kni_mode_table *table;
} kni_slot;

struct kni_mapped_layer {
    kni_trie node; // its kind is KNI_TRIE_LAYER
    const char *name;
    size_t name_size;
    size_t n_rows; // of all tables
    size_t n_slots;
    kni_slot slots[]; // by device, width, least capability; the name follows
};

// A table of `count` rows for the caller to fill, references NULL. NULL without memory.
kni_mode_table *kni_mode_table_new(size_t count);
kni_mode_table *kni_mode_table_ref(kni_mode_table *table);
void kni_mode_table_unref(kni_mode_table *table);

// A layer with the slots of `base` (may be NULL) and `added` over them: one of the same device and interval takes the other's
// place. Tables are shared. `added` is sorted, without two of the same device and interval. NULL without memory.
kni_mapped_layer *kni_mapped_layer_new(const kni_mapped_layer *base, const char *name,
                                       size_t name_size, uint64_t hash, const kni_slot *added,
                                       size_t n_added);
void kni_mapped_layer_free(
    kni_mapped_layer *layer); // of the last reference: kni_trie_unref calls it

// By device, then width (narrow first), then least capability.
int kni_slot_compare(const kni_slot *a, const kni_slot *b);

#endif
