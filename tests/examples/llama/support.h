/** What the tests of the example share: the model file, fixtures, and GGUF files made in memory. */
#ifndef TESTS_LLAMA_SUPPORT_H
#define TESTS_LLAMA_SUPPORT_H

// cmocka.h needs these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "gguf.h"

/** The model that tools/setup installs; the test fails when it is not there. Close it. */
gguf_file *open_model(void);

/** A fixture of this folder; the test fails when it cannot be read. json_decref it. */
json_t *read_fixture(const char *name);

/** The ids of a JSON array and of memory are the same; prints text and both when not. */
bool same_ids(const char *text, const json_t *wanted, const int32_t *ids, size_t count);

/** A file that is being made. Start with {0}, free(bytes). Running out of memory fails the test. */
typedef struct writer {
    uint8_t *bytes;
    size_t size;
} writer;

void put_bytes(writer *w, const void *bytes, size_t n_bytes);
void put_int(writer *w, uint64_t value, size_t n_bytes);
void put_string(writer *w, const char *text);

/** Magic, version and the two counts. */
void put_head(writer *w, uint32_t version, uint64_t n_tensors, uint64_t n_entries);

void put_u32(writer *w, const char *key, uint32_t value);
void put_f32(writer *w, const char *key, float value);
void put_text(writer *w, const char *key, const char *value);
void put_strings(writer *w, const char *key, const char *const *values, size_t count);
void put_i32s(writer *w, const char *key, const int32_t *values, size_t count);

/** A tensor's entry; dims: the innermost first, 0 ends them. */
void put_tensor(writer *w, const char *name, const uint64_t dims[4], uint32_t dtype,
                uint64_t offset);

/** Zeros up to a multiple. */
void put_padding(writer *w, size_t multiple);

/** The failure is of that status and its text has both parts (NULL: any); disposes the error. */
void assert_failure(kn_status came, kn_error *err, kn_status status, const char *part,
                    const char *other);

#endif
