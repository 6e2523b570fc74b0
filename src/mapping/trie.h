// A persistent hash trie: layer name -> mapped layer. Nodes are immutable and counted; a new version shares all but the path to what
// changed, so it costs the same whatever the size, and freeing one goes as deep as the trie (13 levels and a bucket), never along a
// chain of versions.
#ifndef KNI_MAPPING_TRIE_H
#define KNI_MAPPING_TRIE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kni_trie_kind {
    KNI_TRIE_BRANCH, // children by the next bits of the hash
    KNI_TRIE_BUCKET, // layers whose whole hash is the same
    KNI_TRIE_LAYER,  // a kni_mapped_layer, which begins with such a node
} kni_trie_kind;

typedef struct kni_trie {
    atomic_size_t refs;
    kni_trie_kind kind;
    uint64_t hash; // not of a branch
} kni_trie;

typedef struct kni_mapped_layer kni_mapped_layer;

// SipHash-1-3 with a fixed key: names come from files, and a weaker hash would let them make one bucket of everything.
uint64_t kni_trie_hash(const char *name, size_t size);

// NULL: none. Borrowed from the trie. An empty trie is NULL.
const kni_mapped_layer *kni_trie_find(const kni_trie *root, uint64_t hash, const char *name,
                                      size_t size);

// A trie in which `layer` takes the place of what had its name; the layer is shared. NULL without memory. `root` stays as it is.
kni_trie *kni_trie_with(const kni_trie *root, const kni_mapped_layer *layer);

// Calls `visit` for each layer, in no particular order.
void kni_trie_each(const kni_trie *root, void (*visit)(void *user, const kni_mapped_layer *layer),
                   void *user);

kni_trie *kni_trie_ref(const kni_trie *root); // NULL is fine
void kni_trie_unref(kni_trie *root);

#endif
