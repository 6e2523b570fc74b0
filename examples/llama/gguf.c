#include "gguf.h"

#include "gguf_parse.h"
#include "quant.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD_FIRST = 1 << 20, // bytes of the head that are read first; doubled until all of it is there
    CHUNK_BYTES = 1 << 18, // of a tensor, read at once
};

struct gguf_file {
    char *name;
    int fd;                  // -1: memory
    const uint8_t *borrowed; // memory only
    uint64_t size;
    uint8_t *head_bytes; // of a file on disk
    gguf_head head;
    uint8_t *chunk;
};

static kn_status read_at(const gguf_file *file, uint64_t offset, uint8_t *out, size_t n_bytes,
                         kn_error *err)
{
    if (file->fd < 0) {
        memcpy(out, file->borrowed + offset, n_bytes);
        return KN_OK;
    }
    while (n_bytes > 0) {
        const ssize_t got = pread(file->fd, out, n_bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return kn_error_set(err, KN_ERR_IO, "%s, byte %llu: cannot read: %s", file->name,
                                gguf_ull(offset),
                                got < 0 ? strerror(errno) : "the file was cut short meanwhile");
        out += got;
        offset += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
    return KN_OK;
}

// The head's length is known only once it is parsed: read some, parse, and again with twice as much.
static kn_status parse_from_disk(gguf_file *file, kn_error *err)
{
    for (uint64_t want = HEAD_FIRST;; want *= 2) {
        bool starved = false;
        const uint64_t have = want < file->size ? want : file->size;
        gguf_head_dispose(&file->head);
        free(file->head_bytes);
        file->head_bytes = malloc(have ? (size_t)have : 1);
        if (!file->head_bytes)
            return kn_error_set(err, KN_ERR_NO_MEMORY, "%s: out of memory", file->name);
        kn_status st = read_at(file, 0, file->head_bytes, (size_t)have, err);
        if (st == KN_OK)
            st = gguf_parse(file->name, file->head_bytes, have, file->size, &file->head, &starved,
                            err);
        if (st != KN_OK || !starved)
            return st;
        if (want >= GGUF_HEAD_MAX)
            return kn_error_set(err, KN_ERR_FORMAT, "%s: its metadata exceeds %d MiB", file->name,
                                GGUF_HEAD_MAX >> 20);
    }
}

static kn_status file_new(const char *name, gguf_file **out, kn_error *err)
{
    gguf_file *file = calloc(1, sizeof(*file));
    *out = file;
    if (file) {
        file->fd = -1;
        file->name = strdup(name);
        file->chunk = malloc(CHUNK_BYTES);
    }
    if (!file || !file->name || !file->chunk)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "%s: out of memory", name);
    return KN_OK;
}

kn_status gguf_open(const char *path, gguf_file **out, kn_error *err)
{
    struct stat info;
    gguf_file *file = NULL;

    *out = NULL;
    kn_status st = file_new(path, &file, err);
    if (st != KN_OK)
        goto done;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO does not make it wait
    if (file->fd < 0 || fstat(file->fd, &info) != 0)
        st = kn_error_set(err, KN_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        st = kn_error_set(err, KN_ERR_IO, "%s: not a regular file", path);
    if (st != KN_OK)
        goto done;
    file->size = (uint64_t)info.st_size;
    st = parse_from_disk(file, err);
    if (st != KN_OK)
        goto done;
    *out = file;
    file = NULL;
done:
    gguf_close(file);
    return st;
}

kn_status gguf_open_bytes(const char *name, const void *bytes, size_t n_bytes, gguf_file **out,
                          kn_error *err)
{
    bool starved = false; // stays so: all bytes are there
    gguf_file *file = NULL;

    *out = NULL;
    kn_status st = file_new(name, &file, err);
    if (st != KN_OK)
        goto done;
    file->borrowed = bytes;
    file->size = n_bytes;
    st = gguf_parse(name, bytes, n_bytes, n_bytes, &file->head, &starved, err);
    if (st != KN_OK)
        goto done;
    *out = file;
    file = NULL;
done:
    gguf_close(file);
    return st;
}

void gguf_close(gguf_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    gguf_head_dispose(&file->head);
    free(file->head_bytes);
    free(file->name);
    free(file->chunk);
    free(file);
}

const char *gguf_name(const gguf_file *file)
{
    return file->name;
}

bool gguf_has(const gguf_file *file, const char *key)
{
    return gguf_find_entry(&file->head, key) != NULL;
}

static kn_status fail_missing(const gguf_file *file, const char *key, kn_error *err)
{
    return kn_error_set(err, KN_ERR_FORMAT, "%s: its metadata has no '%s'", file->name, key);
}

static kn_status fail_type(const gguf_file *file, const gguf_entry *e, const char *key,
                           const char *accepted, kn_error *err)
{
    return kn_error_set(err, KN_ERR_FORMAT, "%s, byte %llu: '%s' is %s%s%s, accepted is %s",
                        file->name, gguf_ull(e->offset), key, gguf_type_text(e->type),
                        e->type == GGUF_ARRAY ? " of " : "",
                        e->type == GGUF_ARRAY ? gguf_type_text(e->item_type) : "", accepted);
}

// False when the value is no integer. Those beyond int64 are INT64_MAX, which no range here contains.
static bool entry_int(const gguf_entry *e, int64_t *out)
{
    const uint64_t raw = gguf_load(e->value, gguf_type_size(e->type));
    switch (e->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        *out = raw > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)raw;
        return true;
    case GGUF_I8:
        *out = (int8_t)raw;
        return true;
    case GGUF_I16:
        *out = (int16_t)raw;
        return true;
    case GGUF_I32:
        *out = (int32_t)raw;
        return true;
    case GGUF_I64:
        *out = (int64_t)raw;
        return true;
    default:
        return false;
    }
}

kn_status gguf_get_int(const gguf_file *file, const char *key, int64_t low, int64_t high,
                       int64_t *out, kn_error *err)
{
    const gguf_entry *e = gguf_find_entry(&file->head, key);
    if (!e)
        return fail_missing(file, key, err);
    if (!entry_int(e, out))
        return fail_type(file, e, key, "an integer", err);
    if (*out < low || *out > high)
        return kn_error_set(
            err, KN_ERR_FORMAT, "%s, byte %llu: '%s' is %lld, accepted are %lld to %lld",
            file->name, gguf_ull(e->offset), key, (long long)*out, (long long)low, (long long)high);
    return KN_OK;
}

kn_status gguf_get_float(const gguf_file *file, const char *key, double *out, kn_error *err)
{
    const gguf_entry *e = gguf_find_entry(&file->head, key);
    if (!e)
        return fail_missing(file, key, err);
    if (e->type == GGUF_F32) {
        float value;
        const uint32_t bits = (uint32_t)gguf_load(e->value, 4);
        memcpy(&value, &bits, sizeof(value));
        *out = (double)value;
    } else if (e->type == GGUF_F64) {
        const uint64_t bits = gguf_load(e->value, 8);
        memcpy(out, &bits, sizeof(*out));
    } else {
        return fail_type(file, e, key, "float32 or float64", err);
    }
    if (!isfinite(*out))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s, byte %llu: '%s' is %f, accepted are finite numbers", file->name,
                            gguf_ull(e->offset), key, *out);
    return KN_OK;
}

kn_status gguf_get_bool(const gguf_file *file, const char *key, bool *out, kn_error *err)
{
    const gguf_entry *e = gguf_find_entry(&file->head, key);
    if (!e)
        return fail_missing(file, key, err);
    if (e->type != GGUF_BOOL)
        return fail_type(file, e, key, "bool", err);
    *out = e->value[0] != 0;
    return KN_OK;
}

kn_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *out, kn_error *err)
{
    const gguf_entry *e = gguf_find_entry(&file->head, key);
    if (!e)
        return fail_missing(file, key, err);
    if (e->type != GGUF_STRING)
        return fail_type(file, e, key, "string", err);
    out->n_bytes = (size_t)gguf_load(e->value, 8);
    out->bytes = (const char *)e->value + 8;
    return KN_OK;
}

kn_status gguf_get_array(const gguf_file *file, const char *key, gguf_type type, gguf_array *out,
                         kn_error *err)
{
    const gguf_entry *e = gguf_find_entry(&file->head, key);
    if (!e)
        return fail_missing(file, key, err);
    if (e->type != GGUF_ARRAY || e->item_type != type) {
        char accepted[32] = "array of ";
        return fail_type(file, e, key,
                         strncat(accepted, gguf_type_text(type), sizeof(accepted) - 10), err);
    }
    *out = (gguf_array){type, e->n_items, e->value};
    return KN_OK;
}

gguf_string gguf_next_string(gguf_array *array)
{
    const gguf_string text = {(const char *)array->next + 8, (size_t)gguf_load(array->next, 8)};
    array->next += 8 + text.n_bytes;
    array->count -= 1;
    return text;
}

int32_t gguf_next_i32(gguf_array *array)
{
    const int32_t value = (int32_t)(uint32_t)gguf_load(array->next, 4);
    array->next += 4;
    array->count -= 1;
    return value;
}

size_t gguf_n_tensors(const gguf_file *file)
{
    return file->head.n_tensors;
}

const gguf_tensor *gguf_get_tensor(const gguf_file *file, size_t index)
{
    return &file->head.tensors[index];
}

const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name)
{
    return gguf_head_tensor(&file->head, name);
}

kn_status gguf_read_rows(gguf_file *file, const gguf_tensor *tensor, uint64_t first_row,
                         uint64_t n_rows, float *out, kn_error *err)
{
    const quant_format *format = quant_find(tensor->dtype);
    if (first_row > tensor->n_rows || n_rows > tensor->n_rows - first_row)
        return kn_error_set(err, KN_ERR_INVALID, "%s: '%.*s' has %llu rows, asked: %llu from %llu",
                            file->name, (int)tensor->name.n_bytes, tensor->name.bytes,
                            gguf_ull(tensor->n_rows), gguf_ull(n_rows), gguf_ull(first_row));
    // No product below overflows: the whole tensor lies in the file, which gguf_parse checked.
    const uint64_t row_blocks = tensor->n_cols / format->block_elements;
    uint64_t offset = tensor->offset + first_row * row_blocks * format->block_bytes;
    uint64_t left = n_rows * row_blocks;
    while (left > 0) {
        const uint64_t most = CHUNK_BYTES / format->block_bytes;
        const uint64_t n_blocks = left < most ? left : most;
        const uint64_t n_bytes = n_blocks * format->block_bytes;
        const kn_status st = read_at(file, offset, file->chunk, (size_t)n_bytes, err);
        if (st != KN_OK)
            return st;
        format->to_float(file->chunk, (size_t)n_blocks, out);
        out += n_blocks * format->block_elements;
        offset += n_bytes;
        left -= n_blocks;
    }
    return KN_OK;
}
