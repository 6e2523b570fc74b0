// Hostile bytes: a view of a file in which every read is checked. Numbers are little-endian, as in every format read here.
#ifndef KNI_PACKAGE_BYTES_H
#define KNI_PACKAGE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kni_bytes {
    const uint8_t *data;
    size_t size;
} kni_bytes;

// The part [offset, offset + size); false when it is not inside.
static inline bool kni_bytes_cut(kni_bytes from, uint64_t offset, uint64_t size, kni_bytes *part)
{
    if (offset > from.size || size > from.size - offset)
        return false;
    *part = (kni_bytes){from.size ? from.data + offset : from.data, (size_t)size};
    return true;
}

// Reads n (at most 8) bytes as a number; false when they are not inside.
static inline bool kni_bytes_uint(kni_bytes from, uint64_t offset, unsigned n, uint64_t *value)
{
    kni_bytes part;
    if (!kni_bytes_cut(from, offset, n, &part))
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < n; ++i)
        v |= (uint64_t)part.data[i] << (8 * i);
    *value = v;
    return true;
}

// The same where the caller has checked that the bytes are there: 0 when they are not.
static inline uint16_t kni_bytes_u16(kni_bytes from, uint64_t offset)
{
    uint64_t v = 0;
    return kni_bytes_uint(from, offset, 2, &v) ? (uint16_t)v : 0;
}

static inline uint32_t kni_bytes_u32(kni_bytes from, uint64_t offset)
{
    uint64_t v = 0;
    return kni_bytes_uint(from, offset, 4, &v) ? (uint32_t)v : 0;
}

static inline uint64_t kni_bytes_u64(kni_bytes from, uint64_t offset)
{
    uint64_t v = 0;
    return kni_bytes_uint(from, offset, 8, &v) ? v : 0;
}

#endif
