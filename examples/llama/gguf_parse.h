/** What gguf.c and gguf_parse.c share: the parsed head of a file. */
#ifndef LLAMA_GGUF_PARSE_H
#define LLAMA_GGUF_PARSE_H

#include "gguf.h"

enum { GGUF_HEAD_MAX = 1 << 28 }; // no head of a model is that long

/** One metadata entry. */
typedef struct gguf_entry {
    gguf_string key;
    gguf_type type;
    gguf_type item_type;  // of an array
    uint64_t n_items;     // of an array
    uint64_t offset;      // of the value in the file, for messages
    const uint8_t *value; // its bytes; of an array, those of its first element
} gguf_entry;

/** Both arrays are in the order of their names, which are unique. Strings and values lie in the bytes that were parsed. */
typedef struct gguf_head {
    gguf_entry *entries;
    size_t n_entries;
    gguf_tensor *tensors;
    size_t n_tensors;
} gguf_head;

/**
 * Parses the head of a file of file_size bytes, of which the first n_bytes are there. When the head goes on beyond them,
 * *starved is set, which is no error yet. `head` is empty before; on failure it is to be disposed all the same.
 */
kn_status gguf_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, uint64_t file_size,
                     gguf_head *head, bool *starved, kn_error *err);

void gguf_head_dispose(gguf_head *head);

/** NULL when there is none. */
const gguf_entry *gguf_find_entry(const gguf_head *head, const char *key);
const gguf_tensor *gguf_head_tensor(const gguf_head *head, const char *name);

/** "uint32"; "unknown" for what is none. */
const char *gguf_type_text(uint32_t type);

/** In bytes; 0 for those whose size depends on their content. */
uint64_t gguf_type_size(uint32_t type);

/** Little-endian, as in the file. */
uint64_t gguf_load(const uint8_t *bytes, uint64_t n_bytes);

/** For "%llu". */
static inline unsigned long long gguf_ull(uint64_t value)
{
    return value;
}

#endif
