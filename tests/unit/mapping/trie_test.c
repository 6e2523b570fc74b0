#include "support/cmocka.h"

#include "mapping/layer.h"

static kni_mapped_layer *layer_new(const char *name, uint64_t hash)
{
    kni_mapped_layer *layer = kni_mapped_layer_new(NULL, name, strlen(name), hash, NULL, 0);
    assert_non_null(layer);
    return layer;
}

// SipHash-1-3 with the key 0, by another implementation (CPython 3.11, PYTHONHASHSEED=0, of bytes).
static void test_hash(void **state)
{
    static const struct {
        const char *name;
        uint64_t hash;
    } rows[] = {
        {"a", 0x407448D2B89B1813u},
        {"SiluAnd", 0xFF492039379FDE72u},
        {"SiluAndM", 0xDAAE3885EF83C70Fu},
        {"SiluAndMul", 0xAC80302FFAD19435u},
        {"0123456789abcdef0", 0xF738BB4F30801228u},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        assert_true(kni_trie_hash(rows[i].name, strlen(rows[i].name)) == rows[i].hash);
}

// Hashes that agree in all bits, in all but the last, in the first few, in the last few, in none.
static uint64_t hash_of(size_t i)
{
    const uint64_t spread = (uint64_t)i * 0x9E3779B97F4A7C15u;
    switch (i % 6) {
    case 0:
        return 0x0123456789ABCDEFu;
    case 1:
        return 0x0123456789ABCDEFu ^ (uint64_t)1 << (i / 6 % 64);
    case 2:
        return (uint64_t)(i / 6) << 60 | 7;
    case 3:
        return i / 6 % 40;
    case 4:
        return spread << 30;
    default:
        return spread;
    }
}

#define N 600

typedef struct seen {
    size_t count;
    const kni_mapped_layer *const *current;
} seen;

static void see(void *user, const kni_mapped_layer *layer)
{
    seen *s = user;
    ++s->count;
    assert_ptr_equal(layer, s->current[(size_t)strtoul(layer->name + 1, NULL, 10)]);
}

// Every name has the layer it was last given, and no others are there.
static void check(const kni_trie *root, const kni_mapped_layer *const *current)
{
    seen s = {0, current};
    size_t expected = 0;
    for (size_t i = 0; i < N; ++i) {
        char name[16];
        snprintf(name, sizeof(name), "n%zu", i);
        assert_ptr_equal(kni_trie_find(root, hash_of(i), name, strlen(name)), current[i]);
        expected += current[i] != NULL;
        assert_null(kni_trie_find(root, hash_of(i), "other", 5));
    }
    kni_trie_each(root, see, &s);
    assert_int_equal(s.count, expected);
}

// Inserts and replaces in a scattered order, keeps versions on the way, and checks each of them in the end.
static void test_versions(void **state)
{
    enum { STEPS = 3 * N, KEEP = 100 };
    static kni_trie *kept[STEPS / KEEP];
    static const kni_mapped_layer *current[STEPS / KEEP + 1][N];
    kni_trie *root = NULL;
    (void)state;
    for (size_t step = 0; step < STEPS; ++step) {
        const size_t i = step * 421 % N, version = step / KEEP;
        char name[16];
        snprintf(name, sizeof(name), "n%zu", i);
        kni_mapped_layer *layer = layer_new(name, hash_of(i));
        kni_trie *next = kni_trie_with(root, layer);
        assert_non_null(next);
        kni_trie_unref(&layer->node); // now the trie's
        kni_trie_unref(root);
        root = next;
        current[version][i] = layer;
        if (step % KEEP == KEEP - 1) {
            kept[version] = kni_trie_ref(root);
            memcpy(current[version + 1], current[version], sizeof(current[0]));
        }
    }
    kni_trie_unref(root);
    for (size_t v = 0; v < KN_LEN(kept); ++v)
        check(kept[v], current[v]);
    for (size_t v = 0; v < KN_LEN(kept); ++v) {
        kni_trie_unref(kept[v]);
        if (v + 1 < KN_LEN(kept))
            check(kept[v + 1], current[v + 1]);
    }
}

// A new version shares everything off the path to what it changed.
static void test_sharing(void **state)
{
    kni_trie *base = NULL;
    kni_mapped_layer *layers[N];
    (void)state;
    for (size_t i = 0; i < N; ++i) {
        char name[16];
        snprintf(name, sizeof(name), "n%zu", i);
        layers[i] = layer_new(name, kni_trie_hash(name, strlen(name)));
        kni_trie *next = kni_trie_with(base, layers[i]);
        kni_trie_unref(base);
        base = next;
    }
    kni_mapped_layer *other = layer_new("n7", layers[7]->node.hash);
    kni_trie *changed = kni_trie_with(base, other);
    size_t counted = 0;
    for (size_t i = 0; i < N;
         ++i) // this test's, the base's, and the new version's only where a copied branch names it
        counted += atomic_load(&layers[i]->node.refs) > 2;
    assert_in_range(counted, 0, 3 * 32);
    assert_int_equal(atomic_load(&layers[7]->node.refs), 2);
    assert_ptr_equal(kni_trie_find(base, other->node.hash, "n7", 2), layers[7]);
    assert_ptr_equal(kni_trie_find(changed, other->node.hash, "n7", 2), other);
    kni_trie_unref(base);
    kni_trie_unref(changed);
    kni_trie_unref(&other->node);
    for (size_t i = 0; i < N; ++i) {
        assert_int_equal(atomic_load(&layers[i]->node.refs), 1);
        kni_trie_unref(&layers[i]->node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_sharing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
