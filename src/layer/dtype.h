// The dtypes of the language: small numbers for sets and tables, names, torch's result type.
#ifndef KNI_LAYER_DTYPE_H
#define KNI_LAYER_DTYPE_H

#include <stdint.h>
#include <string.h>

#include "kernels/layer.h"

// Names as in signatures, DLPack code and bits. The order is that of integers among themselves in a promotion.
//
//   X(name, code, bits, class)
#define KNI_DTYPE_LIST(X)                                                                          \
    X(bool, kDLBool, 8, INT)                                                                       \
    X(u8, kDLUInt, 8, INT)                                                                         \
    X(i8, kDLInt, 8, INT)                                                                          \
    X(i16, kDLInt, 16, INT)                                                                        \
    X(i32, kDLInt, 32, INT)                                                                        \
    X(i64, kDLInt, 64, INT)                                                                        \
    X(u16, kDLUInt, 16, WIDE_UINT)                                                                 \
    X(u32, kDLUInt, 32, WIDE_UINT)                                                                 \
    X(u64, kDLUInt, 64, WIDE_UINT)                                                                 \
    X(f16, kDLFloat, 16, FLOAT)                                                                    \
    X(bf16, kDLBfloat, 16, FLOAT)                                                                  \
    X(f32, kDLFloat, 32, FLOAT)                                                                    \
    X(f64, kDLFloat, 64, FLOAT)                                                                    \
    X(f8_e3m4, kDLFloat8_e3m4, 8, FLOAT8)                                                          \
    X(f8_e4m3, kDLFloat8_e4m3, 8, FLOAT8)                                                          \
    X(f8_e4m3b11fnuz, kDLFloat8_e4m3b11fnuz, 8, FLOAT8)                                            \
    X(f8_e4m3fn, kDLFloat8_e4m3fn, 8, FLOAT8)                                                      \
    X(f8_e4m3fnuz, kDLFloat8_e4m3fnuz, 8, FLOAT8)                                                  \
    X(f8_e5m2, kDLFloat8_e5m2, 8, FLOAT8)                                                          \
    X(f8_e5m2fnuz, kDLFloat8_e5m2fnuz, 8, FLOAT8)                                                  \
    X(f8_e8m0fnu, kDLFloat8_e8m0fnu, 8, FLOAT8)

typedef enum kni_dtype {
    KNI_DTYPE_NONE = 0, // no dtype of the language; never in a set
#define KNI_DTYPE_ENUM(name, code, bits, class) KNI_DTYPE_##name,
    KNI_DTYPE_LIST(KNI_DTYPE_ENUM)
#undef KNI_DTYPE_ENUM
        KNI_DTYPES,
} kni_dtype;

#define KNI_DTYPE_ANY ((1u << KNI_DTYPES) - 2) // the set of all

// By code and by bits / 8; KNI_DTYPE_NONE elsewhere.
extern const uint8_t kni_dtype_table[32][16];

static inline kni_dtype kni_dtype_of(DLDataType dtype)
{
    // One load and one comparison: a code below 32, whole bytes below 16, one lane.
    const uint32_t key = dtype.code | (uint32_t)dtype.bits << 8 | (uint32_t)dtype.lanes << 16;
    if ((key & 0xffff87e0u) != 0x00010000u)
        return KNI_DTYPE_NONE;
    return (kni_dtype)kni_dtype_table[key & 31][key >> 11 & 15];
}

DLDataType kni_dtype_dl(kni_dtype dtype);
const char *kni_dtype_name(kni_dtype dtype);

static inline bool kni_dtype_equal(DLDataType a, DLDataType b)
{
    uint32_t x, y; // one comparison instead of three
    memcpy(&x, &a, sizeof(x));
    memcpy(&y, &b, sizeof(y));
    return x == y;
}

// torch's result type of a sequence of tensors: those with dimensions outrank those without.
typedef struct kni_promotion {
    kni_dtype dims; // KNI_DTYPE_NONE: none yet
    kni_dtype scalars;
    bool failed; // torch promotes these not
} kni_promotion;
#define KNI_PROMOTION ((kni_promotion){KNI_DTYPE_NONE, KNI_DTYPE_NONE, false})
void kni_promotion_add(kni_promotion *promotion, kni_dtype dtype, int32_t ndim);
kni_dtype kni_promotion_result(const kni_promotion *promotion); // KNI_DTYPE_NONE: there is none

#endif
