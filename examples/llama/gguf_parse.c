#include "gguf_parse.h"

#include "quant.h"
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 65535 }; // of a key, as the format says, or a tensor's name

// Where parsing is: bytes [0, have) of a file of `size` bytes are there.
typedef struct reader {
    const char *name;
    const uint8_t *bytes;
    uint64_t have;
    uint64_t size;
    uint64_t at;
    bool starved;     // stopped because the head goes on beyond `have`
    kn_status status; // of the failure that was recorded
    kn_error *err;
} reader;

// Records the failure; false, so that a reader may return it.
#define FAIL(r, code, format, ...)                                                                 \
    ((r)->status = kn_error_set((r)->err, code, "%s" format, (r)->name, __VA_ARGS__), false)
#define FAIL_AT(r, offset, format, ...)                                                            \
    FAIL(r, KN_ERR_FORMAT, ", byte %llu: " format, gguf_ull(offset), __VA_ARGS__)

const char *gguf_type_text(uint32_t type)
{
    switch (type) {
#define TYPE_TEXT(name, value, size, text)                                                         \
    case value:                                                                                    \
        return text;
        GGUF_TYPE_LIST(TYPE_TEXT)
#undef TYPE_TEXT
    default:
        return "unknown";
    }
}

uint64_t gguf_type_size(uint32_t type)
{
    switch (type) {
#define TYPE_SIZE(name, value, size, text)                                                         \
    case value:                                                                                    \
        return size;
        GGUF_TYPE_LIST(TYPE_SIZE)
#undef TYPE_SIZE
    default:
        return 0;
    }
}

uint64_t gguf_load(const uint8_t *bytes, uint64_t n_bytes)
{
    uint64_t value = 0;
    for (uint64_t i = 0; i < n_bytes; ++i)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

// The next n bytes. What they are is said in the error of a file that ends before.
static const uint8_t *take(reader *r, uint64_t n, const char *what)
{
    if (n > r->size - r->at) {
        (void)FAIL_AT(r, r->at,
                      "%s needs %llu bytes, %llu are left in the file: it is truncated or damaged",
                      what, gguf_ull(n), gguf_ull(r->size - r->at));
        return NULL;
    }
    if (n > r->have - r->at) {
        r->starved = true;
        return NULL;
    }
    const uint8_t *bytes = r->bytes + r->at;
    r->at += n;
    return bytes;
}

static bool take_int(reader *r, uint64_t n_bytes, const char *what, uint64_t *out)
{
    const uint8_t *bytes = take(r, n_bytes, what);
    *out = bytes ? gguf_load(bytes, n_bytes) : 0;
    return bytes != NULL;
}

static bool take_string(reader *r, uint64_t max_bytes, const char *what, gguf_string *out)
{
    uint64_t n_bytes;
    const uint64_t start = r->at;
    if (!take_int(r, 8, what, &n_bytes))
        return false;
    if (n_bytes > max_bytes)
        return FAIL_AT(r, start, "%s of %llu bytes, accepted are up to %llu", what,
                       gguf_ull(n_bytes), gguf_ull(max_bytes));
    out->bytes = (const char *)take(r, n_bytes, what);
    out->n_bytes = (size_t)n_bytes;
    return out->bytes != NULL;
}

// Moves over count values of one type and checks each.
static bool take_values(reader *r, gguf_type type, uint64_t count)
{
    const uint64_t start = r->at;
    if (type == GGUF_STRING) {
        gguf_string text;
        for (uint64_t i = 0; i < count; ++i)
            if (!take_string(r, GGUF_HEAD_MAX, "a string", &text))
                return false;
        return true;
    }
    const uint64_t size = gguf_type_size(type);
    if (count > UINT64_MAX / size)
        return FAIL_AT(r, start, "an array of %llu elements, more than any file holds",
                       gguf_ull(count));
    const uint8_t *bytes = take(r, count * size, "a value");
    if (!bytes)
        return false;
    for (uint64_t i = 0; type == GGUF_BOOL && i < count; ++i)
        if (bytes[i] > 1)
            return FAIL_AT(r, start + i, "a bool of value %d, accepted are 0 and 1", bytes[i]);
    return true;
}

static bool take_entry(reader *r, gguf_entry *out)
{
    uint64_t type, item_type = 0;
    if (!take_string(r, NAME_MAX_BYTES, "a key", &out->key))
        return false;
    const uint64_t start = r->at;
    if (!take_int(r, 4, "the type of a value", &type))
        return false;
    if (type == GGUF_ARRAY && (!take_int(r, 4, "the type of an array's elements", &item_type) ||
                               !take_int(r, 8, "the length of an array", &out->n_items)))
        return false;
    if (type > GGUF_F64 || item_type > GGUF_F64 || item_type == GGUF_ARRAY)
        return FAIL_AT(r, start,
                       "a value of type %llu (its elements: %llu), accepted are 0 to 12, as "
                       "elements all but 9",
                       gguf_ull(type), gguf_ull(item_type));
    out->type = (gguf_type)type;
    out->item_type = (gguf_type)item_type;
    out->offset = r->at;
    out->value = r->bytes + r->at;
    return type == GGUF_ARRAY ? take_values(r, out->item_type, out->n_items)
                              : take_values(r, out->type, 1);
}

static bool take_shape(reader *r, gguf_tensor *out)
{
    uint64_t n_dims, size;
    const uint64_t start = r->at;
    if (!take_int(r, 4, "a tensor's number of dimensions", &n_dims))
        return false;
    if (n_dims < 1 || n_dims > 4)
        return FAIL_AT(r, start, "a tensor of %llu dimensions, accepted are 1 to 4",
                       gguf_ull(n_dims));
    out->n_dims = (uint32_t)n_dims;
    out->n_cols = out->n_rows = 1;
    for (uint64_t i = 0; i < n_dims; ++i) {
        uint64_t *product = i == 0 ? &out->n_cols : &out->n_rows;
        if (!take_int(r, 8, "a tensor's shape", &size))
            return false;
        if (size == 0 || size > (uint64_t)INT64_MAX / *product)
            return FAIL_AT(r, r->at - 8, "a dimension of %llu, accepted are 1 to what a file holds",
                           gguf_ull(size));
        *product *= size;
    }
    return true;
}

static bool take_tensor(reader *r, gguf_tensor *out)
{
    uint64_t dtype;
    if (!take_string(r, NAME_MAX_BYTES, "a tensor's name", &out->name))
        return false;
    const uint64_t start = r->at;
    if (!take_shape(r, out) || !take_int(r, 4, "a tensor's type", &dtype) ||
        !take_int(r, 8, "a tensor's offset", &out->offset))
        return false;
    const quant_format *format = quant_find((uint32_t)dtype);
    if (!format)
        return FAIL_AT(r, r->at - 12, "tensor '%.*s' is of type %llu, accepted are " QUANT_ACCEPTED,
                       (int)out->name.n_bytes, out->name.bytes, gguf_ull(dtype));
    out->dtype = (uint32_t)dtype;
    if (out->n_cols % format->block_elements != 0)
        return FAIL_AT(r, start,
                       "tensor '%.*s' (%s) has rows of %llu elements, accepted are multiples of %u",
                       (int)out->name.n_bytes, out->name.bytes, format->name, gguf_ull(out->n_cols),
                       format->block_elements);
    return true;
}

// Entries and tensors both begin with their name.
static int compare_names(const void *left, const void *right)
{
    const gguf_string *a = left, *b = right;
    const size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    const int order = memcmp(a->bytes, b->bytes, n);
    return order != 0 ? order : (a->n_bytes > b->n_bytes) - (a->n_bytes < b->n_bytes);
}

static bool sort_names(reader *r, void *items, size_t count, size_t item_size, const char *what)
{
    if (count > 1)
        qsort(items, count, item_size, compare_names);
    for (size_t i = 1; i < count; ++i) {
        const gguf_string *name = (const void *)((const char *)items + i * item_size);
        if (compare_names((const char *)name - item_size, name) == 0)
            return FAIL(r, KN_ERR_FORMAT, ": two %s are named '%.*s', names must be unique", what,
                        (int)name->n_bytes, name->bytes);
    }
    return true;
}

const gguf_entry *gguf_find_entry(const gguf_head *head, const char *key)
{
    const gguf_string name = {key, strlen(key)};
    if (head->n_entries == 0)
        return NULL;
    return bsearch(&name, head->entries, head->n_entries, sizeof(*head->entries), compare_names);
}

const gguf_tensor *gguf_head_tensor(const gguf_head *head, const char *name)
{
    const gguf_string wanted = {name, strlen(name)};
    if (head->n_tensors == 0)
        return NULL;
    return bsearch(&wanted, head->tensors, head->n_tensors, sizeof(*head->tensors), compare_names);
}

// Tensors' offsets become those in the file; each must end inside it.
static bool place_tensors(reader *r, gguf_head *head)
{
    const gguf_entry *e = gguf_find_entry(head, "general.alignment");
    const uint64_t alignment = !e ? 32 : e->type == GGUF_U32 ? gguf_load(e->value, 4) : 0;
    const uint64_t mask = alignment - 1;
    if (alignment == 0 || (alignment & mask) != 0)
        return FAIL_AT(r, e->offset,
                       "general.alignment is %s %llu, accepted is a power of two as uint32",
                       gguf_type_text(e->type), gguf_ull(alignment));
    const uint64_t data = (r->at + mask) & ~mask;
    for (size_t i = 0; i < head->n_tensors; ++i) {
        gguf_tensor *t = &head->tensors[i];
        const quant_format *format = quant_find(t->dtype);
        if (t->offset & mask)
            return FAIL(r, KN_ERR_FORMAT,
                        ": tensor '%.*s' begins at byte %llu of the data, accepted are multiples "
                        "of %llu",
                        (int)t->name.n_bytes, t->name.bytes, gguf_ull(t->offset),
                        gguf_ull(alignment));
        uint64_t room = r->size > data ? r->size - data : 0;
        room = room > t->offset ? room - t->offset : 0;
        if (t->n_rows > room / format->block_bytes / (t->n_cols / format->block_elements))
            return FAIL(r, KN_ERR_FORMAT,
                        ": tensor '%.*s' (%s, %llu x %llu, byte %llu of the data) ends beyond the "
                        "file's %llu bytes: the file is truncated or damaged",
                        (int)t->name.n_bytes, t->name.bytes, format->name, gguf_ull(t->n_rows),
                        gguf_ull(t->n_cols), gguf_ull(t->offset), gguf_ull(r->size));
        t->offset += data;
    }
    return true;
}

// The smallest item takes min_bytes in the file: a count beyond that is found before memory is asked for.
static bool take_count(reader *r, uint64_t min_bytes, const char *what, size_t *out)
{
    uint64_t count;
    const uint64_t start = r->at;
    if (!take_int(r, 8, what, &count))
        return false;
    if (count > (r->size - r->at) / min_bytes)
        return FAIL_AT(
            r, start,
            "%s is %llu, more than a file of %llu bytes holds: it is truncated or damaged", what,
            gguf_ull(count), gguf_ull(r->size));
    *out = (size_t)count;
    return true;
}

static bool take_version(reader *r)
{
    uint64_t version;
    const uint8_t *magic = take(r, 4, "the head of a GGUF file");
    if (!magic)
        return false;
    if (memcmp(magic, "GGUF", 4) != 0)
        return FAIL_AT(r, 0, "begins with %02x %02x %02x %02x, a GGUF file with \"GGUF\"", magic[0],
                       magic[1], magic[2], magic[3]);
    if (!take_int(r, 4, "the version", &version))
        return false;
    if (version != 2 && version != 3)
        return FAIL(r, KN_ERR_UNSUPPORTED,
                    ", byte 4: GGUF version %llu%s, accepted are 2 and 3, little-endian",
                    gguf_ull(version), (version & 0xffff) == 0 ? " (a big-endian file?)" : "");
    return true;
}

static bool parse(reader *r, gguf_head *head)
{
    size_t n_tensors, n_entries;
    if (!take_version(r) || !take_count(r, 32, "the number of tensors", &n_tensors) ||
        !take_count(r, 13, "the number of metadata entries", &n_entries))
        return false;
    head->entries = calloc(n_entries ? n_entries : 1, sizeof(*head->entries));
    head->tensors = calloc(n_tensors ? n_tensors : 1, sizeof(*head->tensors));
    if (!head->entries || !head->tensors)
        return FAIL(r, KN_ERR_NO_MEMORY, ": out of memory for %zu entries and %zu tensors",
                    n_entries, n_tensors);
    for (; head->n_entries < n_entries; ++head->n_entries)
        if (!take_entry(r, &head->entries[head->n_entries]))
            return false;
    for (; head->n_tensors < n_tensors; ++head->n_tensors)
        if (!take_tensor(r, &head->tensors[head->n_tensors]))
            return false;
    return sort_names(r, head->entries, n_entries, sizeof(*head->entries), "metadata entries") &&
           sort_names(r, head->tensors, n_tensors, sizeof(*head->tensors), "tensors") &&
           place_tensors(r, head);
}

kn_status gguf_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, uint64_t file_size,
                     gguf_head *head, bool *starved, kn_error *err)
{
    reader r = {.name = name, .bytes = bytes, .have = n_bytes, .size = file_size, .err = err};
    parse(&r, head);
    *starved = r.starved;
    return r.status;
}

void gguf_head_dispose(gguf_head *head)
{
    free(head->entries);
    free(head->tensors);
    *head = (gguf_head){0};
}
