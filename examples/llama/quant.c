#include "quant.h"

#include <kernels/base.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 32 }; // elements of a block of every quantized format here

static uint16_t u16_at(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

// IEEE 754 binary16: every value is exact in float.
static float half_to_float(uint16_t half)
{
    const int exponent = half >> 10 & 31;
    const float fraction = (float)(half & 1023);
    float value;
    if (exponent == 31)
        value = fraction != 0.0f ? NAN : INFINITY;
    else if (exponent == 0)
        value = ldexpf(fraction, -24);
    else
        value = ldexpf(fraction + 1024.0f, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static void f32_to_float(const uint8_t *blocks, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; ++i) {
        const uint8_t *b = blocks + 4 * i;
        const uint32_t bits = (uint32_t)u16_at(b) | (uint32_t)u16_at(b + 2) << 16;
        memcpy(out + i, &bits, sizeof(bits));
    }
}

static void f16_to_float(const uint8_t *blocks, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; ++i)
        out[i] = half_to_float(u16_at(blocks + 2 * i));
}

// A block is scale, minimum (f16 each), then 32 numbers of 4 bits: the low halves of its 16 bytes come first.
static void q4_1_to_float(const uint8_t *blocks, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; ++i, blocks += 20, out += BLOCK) {
        const float scale = half_to_float(u16_at(blocks));
        const float minimum = half_to_float(u16_at(blocks + 2));
        for (size_t j = 0; j < BLOCK / 2; ++j) {
            out[j] = (float)(blocks[4 + j] & 15) * scale + minimum;
            out[j + BLOCK / 2] = (float)(blocks[4 + j] >> 4) * scale + minimum;
        }
    }
}

// A block is a scale (f16), then 32 signed bytes.
static void q8_0_to_float(const uint8_t *blocks, size_t n_blocks, float *out)
{
    for (size_t i = 0; i < n_blocks; ++i, blocks += 34, out += BLOCK) {
        const float scale = half_to_float(u16_at(blocks));
        for (size_t j = 0; j < BLOCK; ++j)
            out[j] = (float)(int8_t)blocks[2 + j] * scale;
    }
}

static const quant_format formats[] = {
    {0, "F32", 1, 4, f32_to_float},
    {1, "F16", 1, 2, f16_to_float},
    {3, "Q4_1", BLOCK, 20, q4_1_to_float},
    {8, "Q8_0", BLOCK, 34, q8_0_to_float},
};

const quant_format *quant_find(uint32_t dtype)
{
    for (size_t i = 0; i < KN_LEN(formats); ++i)
        if (formats[i].dtype == dtype)
            return &formats[i];
    return NULL;
}
