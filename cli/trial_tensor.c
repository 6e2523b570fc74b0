#include "trial_tensor.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"

enum {
    BORDER = 64, // bytes; also the alignment of the elements
    BORDER_BYTE = 0xA5,
};
#define TRIAL_BYTES_MAX ((int64_t)64 << 20)

kn_status trial_tensor_init(trial_tensor *tensor, const kn_tensor_type *type, const char *name,
                            kn_error *err)
{
    int64_t size = type->dtype.bits / 8;
    bool overflow = false;
    for (int32_t i = 0; i < type->ndim; ++i)
        overflow |= __builtin_mul_overflow(size, type->shape[i], &size) || size > TRIAL_BYTES_MAX;
    if (overflow)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "the tensor %s has more than %lld bytes even with small dimensions; "
                            "leave the trial out with --no-run",
                            name, (long long)TRIAL_BYTES_MAX);
    tensor->type = *type;
    tensor->size = (size_t)size;
    const size_t whole = (tensor->size + 3 * BORDER - 1) / BORDER * BORDER;
    tensor->memory = aligned_alloc(BORDER, whole);
    if (!tensor->memory)
        cli_no_memory();
    memset(tensor->memory, BORDER_BYTE, whole);
    tensor->data = tensor->memory + BORDER;
    tensor->copy = cli_alloc(tensor->size);
    tensor->dl = (DLTensor){.data = tensor->data,
                            .device = {kDLCPU, 0},
                            .ndim = type->ndim,
                            .dtype = type->dtype,
                            .shape = tensor->type.shape,
                            .strides = tensor->type.strides};
    return KN_OK;
}

void trial_tensor_dispose(trial_tensor *tensor)
{
    free(tensor->memory);
    free(tensor->copy);
    *tensor = (trial_tensor){.memory = NULL};
}

// eighths / 8 for -8 to 8 as a floating number of that many exponent and mantissa bits.
static uint64_t encode(int eighths, int exponent_bits, int mantissa_bits)
{
    const uint64_t sign = eighths < 0;
    unsigned size = (unsigned)(sign ? -eighths : eighths);
    int exponent = (1 << (exponent_bits - 1)) - 1;
    if (size == 0)
        return 0;
    for (; size < 8; size *= 2)
        --exponent;
    const uint64_t mantissa = (uint64_t)(size - 8) << (mantissa_bits - 3);
    return sign << (exponent_bits + mantissa_bits) | (uint64_t)(unsigned)exponent << mantissa_bits |
           mantissa;
}

static uint64_t element(DLDataType dtype, int eighths)
{
    if (dtype.code == kDLBfloat)
        return encode(eighths, 8, 7);
    if (dtype.code == kDLFloat && dtype.bits == 16)
        return encode(eighths, 5, 10);
    if (dtype.code == kDLFloat && dtype.bits == 32)
        return encode(eighths, 8, 23);
    if (dtype.code == kDLFloat)
        return encode(eighths, 11, 52);
    if (dtype.code == kDLInt || dtype.code == kDLUInt || dtype.code == kDLBool)
        return (uint64_t)(eighths > 0); // an index into anything, too
    return 0x38;                        // of 8 bits: an ordinary number in each of them
}

void trial_tensor_fill(trial_tensor *tensor, unsigned seed)
{
    const size_t width = tensor->type.dtype.bits / 8;
    for (size_t i = 0; width && i < tensor->size / width; ++i) {
        seed = seed * 1103515245u + 12345u;
        const uint64_t bits = element(tensor->type.dtype, (int)(seed >> 16) % 17 - 8);
        memcpy(tensor->data + i * width, &bits, width); // little-endian, as all we run on
    }
    trial_tensor_keep(tensor);
}

void trial_tensor_mark(trial_tensor *tensor, unsigned char byte)
{
    memset(tensor->data, byte, tensor->size);
}

void trial_tensor_keep(trial_tensor *tensor)
{
    memcpy(tensor->copy, tensor->data, tensor->size);
}

bool trial_tensor_is_border_whole(const trial_tensor *tensor)
{
    for (size_t i = 0; i < BORDER; ++i)
        if (tensor->memory[i] != BORDER_BYTE || tensor->data[tensor->size + i] != BORDER_BYTE)
            return false;
    return true;
}

bool trial_tensor_is_unchanged(const trial_tensor *tensor)
{
    return memcmp(tensor->data, tensor->copy, tensor->size) == 0;
}

int64_t trial_tensor_find_unwritten(const trial_tensor *tensor, unsigned char before,
                                    unsigned char now)
{
    const size_t width = tensor->type.dtype.bits / 8;
    for (size_t i = 0; width && i < tensor->size / width; ++i) {
        size_t same = 0;
        for (size_t b = i * width; b < (i + 1) * width; ++b)
            same += tensor->copy[b] == before && tensor->data[b] == now;
        if (same == width)
            return (int64_t)i;
    }
    return -1;
}
