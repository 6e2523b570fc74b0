// Files of tests/fixtures/objects/, and copies of them that are broken in every way a loop can think of. Every copy is a block of
// its exact size, so that the sanitizer sees a read behind it.
#ifndef SUPPORT_OBJECT_H
#define SUPPORT_OBJECT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/bytes.h"
#include "support/cmocka.h"

static inline kni_bytes object_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    return (kni_bytes){copy, size};
}

static inline void object_free(kni_bytes object)
{
    free((void *)(uintptr_t)object.data);
}

static inline kni_bytes object_read(const char *name)
{
    static uint8_t data[1 << 16];
    char path[512];
    snprintf(path, sizeof(path), "%s/objects/%s", KN_TEST_FIXTURES, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(data, 1, sizeof(data), file);
    assert_true(size > 0 && size < sizeof(data));
    fclose(file);
    return object_copy(data, size);
}

// Writes a little-endian number of n bytes.
static inline void object_put(kni_bytes object, size_t at, unsigned n, uint64_t value)
{
    assert_true(at + n <= object.size);
    for (unsigned i = 0; i < n; ++i)
        ((uint8_t *)(uintptr_t)object.data)[at + i] = (uint8_t)(value >> (8 * i));
}

// Calls `look` with the file cut at every length, then with each byte in turn replaced by a few others. Returns how many of the
// cut ones it accepted.
static inline size_t object_sweep(const char *name, bool (*look)(kni_bytes object))
{
    static const uint8_t flips[] = {0x01, 0x80, 0xFF};
    const kni_bytes whole = object_read(name);
    size_t n_accepted = 0;
    for (size_t size = 0; size < whole.size; ++size) {
        const kni_bytes cut = object_copy(whole.data, size);
        n_accepted += look(cut);
        object_free(cut);
    }
    for (size_t at = 0; at < whole.size; ++at) {
        for (size_t i = 0; i < sizeof(flips); ++i) {
            object_put(whole, at, 1, whole.data[at] ^ flips[i]);
            look(whole);
            object_put(whole, at, 1, whole.data[at] ^ flips[i]);
        }
    }
    object_free(whole);
    return n_accepted;
}

#endif
