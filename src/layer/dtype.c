#include "layer/dtype.h"

#include <string.h>

typedef enum dtype_class {
    INT,       // bool, u8 and the signed integers
    WIDE_UINT, // promoted with floats only
    FLOAT,
    FLOAT8, // promoted with itself only
} dtype_class;

typedef struct dtype_info {
    const char *name;
    DLDataType dl;
    dtype_class class;
} dtype_info;

static const dtype_info infos[KNI_DTYPES] = {
#define INFO(name, code, bits, class) [KNI_DTYPE_##name] = {#name, {code, bits, 1}, class},
    KNI_DTYPE_LIST(INFO)
#undef INFO
};

const uint8_t kni_dtype_table[32][16] = {
#define ENTRY(name, code, bits, class) [code][bits / 8] = KNI_DTYPE_##name,
    KNI_DTYPE_LIST(ENTRY)
#undef ENTRY
};

DLDataType kni_dtype_dl(kni_dtype dtype)
{
    return infos[dtype].dl;
}

const char *kni_dtype_name(kni_dtype dtype)
{
    return infos[dtype].name;
}

const char *kn_dtype_name(DLDataType dtype)
{
    const kni_dtype known = kni_dtype_of(dtype);
    return known == KNI_DTYPE_NONE ? NULL : infos[known].name;
}

bool kn_dtype_parse(const char *text, DLDataType *out)
{
    for (int i = 1; text && i < KNI_DTYPES; ++i) {
        if (strcmp(infos[i].name, text) == 0) {
            *out = infos[i].dl;
            return true;
        }
    }
    return false;
}

// torch.promote_types; KNI_DTYPE_NONE where torch refuses.
static kni_dtype promote(kni_dtype a, kni_dtype b)
{
    if (a == b || b == KNI_DTYPE_NONE)
        return a;
    if (a == KNI_DTYPE_NONE)
        return b;
    const dtype_class ca = infos[a].class, cb = infos[b].class;
    if (ca == FLOAT8 || cb == FLOAT8)
        return KNI_DTYPE_NONE;
    if (ca == FLOAT && cb == FLOAT)
        return a == KNI_DTYPE_f64 || b == KNI_DTYPE_f64 ? KNI_DTYPE_f64 : KNI_DTYPE_f32;
    if (ca == FLOAT)
        return a;
    if (cb == FLOAT)
        return b;
    if (ca == WIDE_UINT || cb == WIDE_UINT)
        return KNI_DTYPE_NONE;
    const kni_dtype low = a < b ? a : b, high = a < b ? b : a;
    return low == KNI_DTYPE_u8 && high == KNI_DTYPE_i8 ? KNI_DTYPE_i16 : high;
}

static bool is_floating(kni_dtype dtype)
{
    return infos[dtype].class == FLOAT || infos[dtype].class == FLOAT8;
}

void kni_promotion_add(kni_promotion *promotion, kni_dtype dtype, int32_t ndim)
{
    kni_dtype *into = ndim > 0 ? &promotion->dims : &promotion->scalars;
    *into = promote(*into, dtype);
    if (*into == KNI_DTYPE_NONE)
        promotion->failed = true;
}

kni_dtype kni_promotion_result(const kni_promotion *promotion)
{
    const kni_dtype dims = promotion->dims, scalars = promotion->scalars;
    if (promotion->failed)
        return KNI_DTYPE_NONE;
    if (dims == KNI_DTYPE_NONE || scalars == KNI_DTYPE_NONE)
        return promote(dims, scalars);
    // A tensor without dimensions decides only by a higher category: a float among integers, a number among booleans.
    if (is_floating(dims))
        return dims;
    if (dims == KNI_DTYPE_bool || is_floating(scalars))
        return promote(dims, scalars);
    return dims;
}
