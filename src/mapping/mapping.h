// Inside the library: what a mapping is made of.
#ifndef KNI_MAPPING_MAPPING_H
#define KNI_MAPPING_MAPPING_H

#include "mapping/entry.h"
#include "mapping/layer.h"
#include "mapping/trie.h"

// One row of kn_mapping_row_get. Borrowed from the mapping.
typedef struct kni_mapping_row {
    const kni_mapped_layer *layer;
    const kni_slot *slot;
    size_t mode; // index in the slot's table
} kni_mapping_row;

// No version points to the one it was made from: what they share are nodes of the trie.
struct kn_mapping {
    atomic_size_t refs;
    kni_trie *layers;
    uint64_t next_rank; // above every rank in it
    size_t n_rows;
    bool had_hub; // some reference of it, or of one that it was made from, is a hub's
    _Atomic(kni_mapping_row *) rows; // in order of registration; NULL until somebody asks
};

// An empty mapping that shares the layers of `base` (NULL: none), for the caller to change before anybody else sees it. NULL
// without memory.
kn_mapping *kni_mapping_copy(const kn_mapping *base);

// The rows, made at the first call. Error: KN_ERR_NO_MEMORY. A mapping without rows has NULL.
kn_status kni_mapping_rows(const kn_mapping *mapping, const kni_mapping_row **out, kn_error *err);

// Puts sorted slots over what the mapping has for a layer. False without memory: the mapping is as before.
bool kni_mapping_put(kn_mapping *mapping, const char *name, size_t name_size, uint64_t hash,
                     const kni_slot *added, size_t n_added);

// kn_mapping_with for checked entries; takes the references of those that became part of a table. Sorts `items`. `file`: NULL, or
// the name that begins the errors.
kn_status kni_mapping_register(const kn_mapping *base, kni_registration *items, size_t n_items,
                               const char *file, kn_mapping **out, kn_error *err);

// Where a mapping file's own sums stand, whether or not they are there: "/real/dir/X.lock.sums" for "dir/X.toml"; the caller's.
// NULL: the name does not end in ".toml".
kn_status kni_mapping_sums_path(const char *path, char **out, kn_error *err);

// "capability 75 to 89"
#define KNI_RANGE_TEXT_SIZE 64
const char *kni_range_text(kn_range range, char out[KNI_RANGE_TEXT_SIZE]);

#endif
