#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gguf_file *open_model(void)
{
    kn_error err = KN_ERROR_INIT;
    gguf_file *file = NULL;
    if (gguf_open(LLAMA_TEST_MODEL, &file, &err) != KN_OK)
        fail_msg("%s (tools/setup installs the model)", kn_error_text(&err));
    return file;
}

json_t *read_fixture(const char *name)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof(path), "%s/%s", LLAMA_TEST_FIXTURES, name);
    json_t *value = json_load_file(path, 0, &error);
    if (!value)
        fail_msg("%s: line %d: %s", path, error.line, error.text);
    return value;
}

bool same_ids(const char *text, const json_t *wanted, const int32_t *ids, size_t count)
{
    bool same = json_array_size(wanted) == count;
    for (size_t i = 0; same && i < count; ++i)
        same = json_integer_value(json_array_get(wanted, i)) == ids[i];
    if (same)
        return true;
    char *dump = json_dumps(wanted, JSON_COMPACT);
    print_error("text: %s\nwanted: %s\ncame:   [", text, dump);
    for (size_t i = 0; i < count; ++i)
        print_error("%d,", ids[i]);
    print_error("]\n");
    free(dump);
    return false;
}

void put_bytes(writer *w, const void *bytes, size_t n_bytes)
{
    uint8_t *grown = realloc(w->bytes, w->size + n_bytes + 1);
    assert_non_null(grown);
    w->bytes = grown;
    if (n_bytes > 0)
        memcpy(w->bytes + w->size, bytes, n_bytes);
    w->size += n_bytes;
}

void put_int(writer *w, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; ++i) {
        const uint8_t byte = (uint8_t)(value >> (8 * i));
        put_bytes(w, &byte, 1);
    }
}

void put_string(writer *w, const char *text)
{
    put_int(w, strlen(text), 8);
    put_bytes(w, text, strlen(text));
}

void put_head(writer *w, uint32_t version, uint64_t n_tensors, uint64_t n_entries)
{
    put_bytes(w, "GGUF", 4);
    put_int(w, version, 4);
    put_int(w, n_tensors, 8);
    put_int(w, n_entries, 8);
}

void put_u32(writer *w, const char *key, uint32_t value)
{
    put_string(w, key);
    put_int(w, GGUF_U32, 4);
    put_int(w, value, 4);
}

void put_f32(writer *w, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_string(w, key);
    put_int(w, GGUF_F32, 4);
    put_int(w, bits, 4);
}

void put_text(writer *w, const char *key, const char *value)
{
    put_string(w, key);
    put_int(w, GGUF_STRING, 4);
    put_string(w, value);
}

void put_strings(writer *w, const char *key, const char *const *values, size_t count)
{
    put_string(w, key);
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, GGUF_STRING, 4);
    put_int(w, count, 8);
    for (size_t i = 0; i < count; ++i)
        put_string(w, values[i]);
}

void put_i32s(writer *w, const char *key, const int32_t *values, size_t count)
{
    put_string(w, key);
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, GGUF_I32, 4);
    put_int(w, count, 8);
    for (size_t i = 0; i < count; ++i)
        put_int(w, (uint32_t)values[i], 4);
}

void put_tensor(writer *w, const char *name, const uint64_t dims[4], uint32_t dtype,
                uint64_t offset)
{
    uint32_t n_dims = 0;
    while (n_dims < 4 && dims[n_dims] != 0)
        ++n_dims;
    put_string(w, name);
    put_int(w, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; ++i)
        put_int(w, dims[i], 8);
    put_int(w, dtype, 4);
    put_int(w, offset, 8);
}

void put_padding(writer *w, size_t multiple)
{
    while (w->size % multiple != 0)
        put_int(w, 0, 1);
}

void assert_failure(kn_status came, kn_error *err, kn_status status, const char *part,
                    const char *other)
{
    const char *text = kn_error_text(err);
    if (came != status || (part && !strstr(text, part)) || (other && !strstr(text, other)))
        fail_msg("status %d, wanted %d; text '%s', wanted in it: '%s', '%s'", came, status, text,
                 part ? part : "", other ? other : "");
    assert_null(strchr(text, '\n'));
    kn_error_dispose(err);
}
