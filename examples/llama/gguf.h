/**
 * Reads GGUF files, the model format of ggml: versions 2 and 3, little-endian.
 *
 * The file is hostile. Everything is checked while it is opened: a value or tensor that can be asked for lies inside the
 * file. Errors name the file, the byte, what is there and what is accepted. Bytes are read, not mapped, so that a file
 * that another process cuts short is an error and no signal.
 *
 * Threads: one at a time per file.
 */
#ifndef LLAMA_GGUF_H
#define LLAMA_GGUF_H

#include <kernels/base.h>

typedef struct gguf_file gguf_file;

/** Bytes as they lie in the file: not terminated, any content; borrowed until the file is closed. */
typedef struct gguf_string {
    const char *bytes;
    size_t n_bytes;
} gguf_string;

/**
 * Types of metadata values.
 *
 *   X(name, value in the file, bytes in the file (0: depends), text)
 */
#define GGUF_TYPE_LIST(X)                                                                          \
    X(GGUF_U8, 0, 1, "uint8")                                                                      \
    X(GGUF_I8, 1, 1, "int8")                                                                       \
    X(GGUF_U16, 2, 2, "uint16")                                                                    \
    X(GGUF_I16, 3, 2, "int16")                                                                     \
    X(GGUF_U32, 4, 4, "uint32")                                                                    \
    X(GGUF_I32, 5, 4, "int32")                                                                     \
    X(GGUF_F32, 6, 4, "float32")                                                                   \
    X(GGUF_BOOL, 7, 1, "bool")                                                                     \
    X(GGUF_STRING, 8, 0, "string")                                                                 \
    X(GGUF_ARRAY, 9, 0, "array")                                                                   \
    X(GGUF_U64, 10, 8, "uint64")                                                                   \
    X(GGUF_I64, 11, 8, "int64")                                                                    \
    X(GGUF_F64, 12, 8, "float64")

typedef enum gguf_type {
#define GGUF_TYPE_ENUM(name, value, size, text) name = value,
    GGUF_TYPE_LIST(GGUF_TYPE_ENUM)
#undef GGUF_TYPE_ENUM
} gguf_type;

/** The elements of an array, in order; reading one moves on to the next. */
typedef struct gguf_array {
    gguf_type type; // never GGUF_ARRAY
    uint64_t count; // elements left
    const uint8_t *next;
} gguf_array;

typedef struct gguf_tensor {
    gguf_string name;
    uint32_t dtype; // as in the file; quant.h knows those that are accepted
    uint32_t n_dims;
    uint64_t n_cols; // elements of a row: the dimension that the file names first
    uint64_t n_rows; // product of the others
    uint64_t offset; // from the start of the file
} gguf_tensor;

/** Error: KN_ERR_IO, KN_ERR_FORMAT, KN_ERR_UNSUPPORTED (version), KN_ERR_NO_MEMORY. Blocks on the file. */
kn_status gguf_open(const char *path, gguf_file **out, kn_error *err);

/** The same from memory, which is borrowed until gguf_close; name is what errors call it. */
kn_status gguf_open_bytes(const char *name, const void *bytes, size_t n_bytes, gguf_file **out,
                          kn_error *err);

/** NULL is fine. */
void gguf_close(gguf_file *file);

/** What errors call the file; borrowed until it is closed. */
const char *gguf_name(const gguf_file *file);

/** True when the metadata has this key. */
bool gguf_has(const gguf_file *file, const char *key);

/** An integer of any width from low to high. Error: KN_ERR_FORMAT (missing, another type, out of range). */
kn_status gguf_get_int(const gguf_file *file, const char *key, int64_t low, int64_t high,
                       int64_t *out, kn_error *err);

/** A finite float32 or float64. Error: KN_ERR_FORMAT. */
kn_status gguf_get_float(const gguf_file *file, const char *key, double *out, kn_error *err);

/** Error: KN_ERR_FORMAT. */
kn_status gguf_get_bool(const gguf_file *file, const char *key, bool *out, kn_error *err);

/** Error: KN_ERR_FORMAT. */
kn_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *out, kn_error *err);

/** An array of that element type. Error: KN_ERR_FORMAT. */
kn_status gguf_get_array(const gguf_file *file, const char *key, gguf_type type, gguf_array *out,
                         kn_error *err);

/** The next element of an array of strings that has elements left. */
gguf_string gguf_next_string(gguf_array *array);

/** The next element of an array of int32 that has elements left. */
int32_t gguf_next_i32(gguf_array *array);

/** In the order of their names. */
size_t gguf_n_tensors(const gguf_file *file);
const gguf_tensor *gguf_get_tensor(const gguf_file *file, size_t index);

/** NULL when the file has none of this name. */
const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name);

/**
 * n_rows rows from first_row on, converted to float: n_rows * tensor->n_cols elements.
 * Error: KN_ERR_INVALID (rows that the tensor does not have), KN_ERR_IO. Blocks on the file.
 */
kn_status gguf_read_rows(gguf_file *file, const gguf_tensor *tensor, uint64_t first_row,
                         uint64_t n_rows, float *out, kn_error *err);

#endif
