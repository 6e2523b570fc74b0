/** The number formats of tensors in a GGUF file, and how to read them as float. */
#ifndef LLAMA_QUANT_H
#define LLAMA_QUANT_H

#include <stddef.h>
#include <stdint.h>

/** One format: values are stored in blocks. */
typedef struct quant_format {
    uint32_t dtype; // its number in the file
    const char *name;
    uint32_t block_elements;
    uint32_t block_bytes;
    void (*to_float)(const uint8_t *blocks, size_t n_blocks, float *out);
} quant_format;

/** "F32, F16, Q4_1, Q8_0": what quant_find knows, for messages. */
#define QUANT_ACCEPTED "F32 (0), F16 (1), Q4_1 (3), Q8_0 (8)"

/** NULL for a format that is not accepted. */
const quant_format *quant_find(uint32_t dtype);

#endif
