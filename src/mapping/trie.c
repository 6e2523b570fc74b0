#include "mapping/trie.h"

#include <string.h>

#include "base/alloc.h"
#include "mapping/layer.h"

// Children a branch can have, as a power of two. A new version copies a branch for each level and counts a reference up for each
// of its children.
#define BITS 5
#define WIDTH (1u << BITS)

typedef struct branch {
    kni_trie node;
    uint32_t bitmap;      // which of the WIDTH places are taken
    kni_trie *children[]; // those, in order
} branch;

typedef struct bucket {
    kni_trie node;
    size_t count;
    kni_trie *layers[];
} bucket;

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t kni_trie_hash(const char *name, size_t size)
{
    uint64_t v[4] = {0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261,
                     0x7465646279746573};
    uint64_t word = 0;
    size_t i = 0;
    for (; size - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, name + i, sizeof(word));
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, name + i, size - i);
    word |= (uint64_t)size << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xFF;
    for (int round = 0; round < 3; ++round)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint32_t bit_at(uint64_t hash, unsigned shift)
{
    return (uint32_t)1 << (hash >> shift & (WIDTH - 1));
}

// How many children lie before the place of `bit`.
static size_t index_of(uint32_t bitmap, uint32_t bit)
{
    return (size_t)__builtin_popcount(bitmap & (bit - 1));
}

static const kni_mapped_layer *layer_of(const kni_trie *node)
{
    return (const kni_mapped_layer *)node;
}

static bool is_named(const kni_trie *node, const char *name, size_t size)
{
    const kni_mapped_layer *layer = layer_of(node);
    return layer->name_size == size && memcmp(layer->name, name, size) == 0;
}

const kni_mapped_layer *kni_trie_find(const kni_trie *root, uint64_t hash, const char *name,
                                      size_t size)
{
    const kni_trie *node = root;
    for (unsigned shift = 0; node && node->kind == KNI_TRIE_BRANCH; shift += BITS) {
        const branch *b = (const branch *)node;
        const uint32_t bit = bit_at(hash, shift);
        node = b->bitmap & bit ? b->children[index_of(b->bitmap, bit)] : NULL;
    }
    if (!node || node->hash != hash)
        return NULL;
    if (node->kind == KNI_TRIE_LAYER)
        return is_named(node, name, size) ? layer_of(node) : NULL;
    const bucket *b = (const bucket *)node;
    for (size_t i = 0; i < b->count; ++i)
        if (is_named(b->layers[i], name, size))
            return layer_of(b->layers[i]);
    return NULL;
}

kni_trie *kni_trie_ref(const kni_trie *root)
{
    kni_trie *node =
        (kni_trie *)(uintptr_t)root; // the count is the one thing of a node that changes
    if (node)
        atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
    return node;
}

void kni_trie_unref(kni_trie *root)
{
    if (!root || atomic_fetch_sub_explicit(&root->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (root->kind == KNI_TRIE_LAYER) {
        kni_mapped_layer_free((kni_mapped_layer *)root);
        return;
    }
    const bool is_branch = root->kind == KNI_TRIE_BRANCH;
    branch *b = (branch *)root;
    bucket *layers = (bucket *)root;
    const size_t count = is_branch ? (size_t)__builtin_popcount(b->bitmap) : layers->count;
    for (size_t i = 0; i < count; ++i)
        kni_trie_unref(is_branch ? b->children[i] : layers->layers[i]);
    kni_free(root);
}

// A branch whose children the caller sets. NULL without memory.
static branch *branch_new(uint32_t bitmap)
{
    const size_t count = (size_t)__builtin_popcount(bitmap);
    branch *b = kni_alloc(sizeof(*b) + count * sizeof(b->children[0]));
    if (!b)
        return NULL;
    atomic_init(&b->node.refs, 1);
    b->node.kind = KNI_TRIE_BRANCH;
    b->node.hash = 0;
    b->bitmap = bitmap;
    return b;
}

// `node`, a bucket or a layer of the same hash, with `layer` in the place of what has its name, or beside it.
static kni_trie *same_hash_with(const kni_trie *node, const kni_trie *layer)
{
    const kni_mapped_layer *named = layer_of(layer);
    const kni_trie *const *layers = &node;
    size_t count = 1, at = 0;
    if (node->kind == KNI_TRIE_BUCKET) {
        const bucket *b = (const bucket *)node;
        layers = (const kni_trie *const *)b->layers;
        count = b->count;
    }
    while (at < count && !is_named(layers[at], named->name, named->name_size))
        ++at;
    if (count == 1 && at == 0)
        return kni_trie_ref(layer);
    const size_t n = at == count ? count + 1 : count;
    bucket *out = kni_alloc(sizeof(*out) + n * sizeof(out->layers[0]));
    if (!out)
        return NULL;
    atomic_init(&out->node.refs, 1);
    out->node.kind = KNI_TRIE_BUCKET;
    out->node.hash = node->hash;
    out->count = n;
    for (size_t i = 0; i < n; ++i)
        out->layers[i] = kni_trie_ref(i == at ? layer : layers[i]);
    return &out->node;
}

// A branch over a bucket or layer and a layer of another hash. As deep as their hashes agree.
static kni_trie *split(const kni_trie *node, const kni_trie *layer, unsigned shift)
{
    const uint32_t old = bit_at(node->hash, shift), new = bit_at(layer->hash, shift);
    branch *b = branch_new(old | new);
    if (!b)
        return NULL;
    if (old != new) {
        b->children[old > new] = kni_trie_ref(node);
        b->children[new > old] = kni_trie_ref(layer);
        return &b->node;
    }
    b->children[0] = split(node, layer, shift + BITS);
    if (b->children[0])
        return &b->node;
    kni_free(b);
    return NULL;
}

static kni_trie *with(const kni_trie *node, const kni_trie *layer, unsigned shift)
{
    if (!node)
        return kni_trie_ref(layer);
    if (node->kind != KNI_TRIE_BRANCH)
        return node->hash == layer->hash ? same_hash_with(node, layer) : split(node, layer, shift);
    const branch *b = (const branch *)node;
    const uint32_t bit = bit_at(layer->hash, shift);
    const bool taken = b->bitmap & bit;
    const size_t at = index_of(b->bitmap, bit), count = (size_t)__builtin_popcount(b->bitmap);
    kni_trie *child = with(taken ? b->children[at] : NULL, layer, shift + BITS);
    if (!child)
        return NULL;
    branch *out = branch_new(b->bitmap | bit);
    if (!out) {
        kni_trie_unref(child);
        return NULL;
    }
    for (size_t i = 0; i < at; ++i)
        out->children[i] = kni_trie_ref(b->children[i]);
    out->children[at] = child;
    for (size_t i = at + taken; i < count; ++i)
        out->children[i + !taken] = kni_trie_ref(b->children[i]);
    return &out->node;
}

kni_trie *kni_trie_with(const kni_trie *root, const kni_mapped_layer *layer)
{
    return with(root, &layer->node, 0);
}

void kni_trie_each(const kni_trie *root, void (*visit)(void *user, const kni_mapped_layer *layer),
                   void *user)
{
    if (!root)
        return;
    if (root->kind == KNI_TRIE_LAYER) {
        visit(user, layer_of(root));
        return;
    }
    const bool is_branch = root->kind == KNI_TRIE_BRANCH;
    const branch *b = (const branch *)root;
    const bucket *layers = (const bucket *)root;
    const size_t count = is_branch ? (size_t)__builtin_popcount(b->bitmap) : layers->count;
    for (size_t i = 0; i < count; ++i)
        kni_trie_each(is_branch ? b->children[i] : layers->layers[i], visit, user);
}
