/**
 * Elements of any of our floating types as double: what the references of the packages compute with. They judge the faster
 * paths, run where no other path can, and with f64 tensors they are what the tests differentiate numerically.
 *
 * No alignment is needed. Threads: any.
 */
#ifndef PACKAGES_REAL_H
#define PACKAGES_REAL_H

#include <kernels/author.h>

/** What the exported functions accept. A test adds KNA_F64, for the references alone. */
#ifndef REAL_TYPES
#define REAL_TYPES (KNA_F32 | KNA_F16 | KNA_BF16)
#endif

static inline int64_t real_size(unsigned type)
{
    return type == KNA_F64 ? 8 : type == KNA_F32 ? 4 : 2;
}

/** Where element i is. */
static inline const void *real_at(const void *data, int64_t i, unsigned type)
{
    return (const char *)data + i * real_size(type);
}

static inline double real_get(const void *data, int64_t i, unsigned type)
{
    double wide;
    float value;
    uint16_t half;
    switch (type) {
    case KNA_F64:
        memcpy(&wide, real_at(data, i, type), sizeof(wide));
        return wide;
    case KNA_F32:
        memcpy(&value, real_at(data, i, type), sizeof(value));
        return (double)value;
    default:
        memcpy(&half, real_at(data, i, type), sizeof(half));
        return (double)(type == KNA_F16 ? kna_f16_to_f32(half) : kna_bf16_to_f32(half));
    }
}

static inline void real_put(void *data, int64_t i, unsigned type, double wide)
{
    char *at = (char *)data + i * real_size(type);
    const float value = (float)wide;
    uint16_t half;
    switch (type) {
    case KNA_F64:
        memcpy(at, &wide, sizeof(wide));
        return;
    case KNA_F32:
        memcpy(at, &value, sizeof(value));
        return;
    default:
        half = type == KNA_F16 ? kna_f32_to_f16(value) : kna_f32_to_bf16(value);
        memcpy(at, &half, sizeof(half));
    }
}

/** The value as that type would hold it. */
static inline double real_round(double wide, unsigned type)
{
    switch (type) {
    case KNA_F64:
        return wide;
    case KNA_F32:
        return (double)(float)wide;
    case KNA_F16:
        return (double)kna_f16_to_f32(kna_f32_to_f16((float)wide));
    default:
        return (double)kna_bf16_to_f32(kna_f32_to_bf16((float)wide));
    }
}

#endif
