// kernels.lock as the peer writes it, byte for byte: the hashed form as Python's json does (indent 2, everything beyond ASCII
// escaped), the other one as serde does (indent 2, UTF-8 as it is, ordered by what is locked). Neither ends in a newline.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hub/lock.h"

// The code point at *text, which is UTF-8 (the readers admit nothing else), and behind it.
static uint32_t next_point(const unsigned char **text)
{
    const unsigned char *at = *text;
    const unsigned n = *at < 0x80 ? 1 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : 4;
    uint32_t point = n == 1 ? *at : *at & (0x7Fu >> n);
    unsigned i = 1;
    for (; i < n && (at[i] & 0xC0) == 0x80; ++i)
        point = point << 6 | (at[i] & 0x3F);
    *text = at + i;
    return point;
}

static void append_string(kni_buf *out, const char *value, bool ascii)
{
    const unsigned char *text = (const unsigned char *)value;
    kni_buf_puts(out, "\"");
    while (*text) {
        const unsigned char *start = text;
        const uint32_t point = next_point(&text);
        if (point == '"' || point == '\\')
            kni_buf_printf(out, "\\%c", (char)point);
        else if (point < 0x20 || (ascii && point >= 0x7F && point < 0x10000))
            kni_buf_printf(out, "\\u%04" PRIx32, point);
        else if (ascii && point >= 0x10000)
            kni_buf_printf(out, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xD7C0 + (point >> 10),
                           0xDC00 + (point & 0x3FF));
        else
            kni_buf_append(out, start, (size_t)(text - start));
    }
    kni_buf_puts(out, "\"");
}

static void append_hashed(kni_buf *out, const kni_lock_entry *entry)
{
    kni_buf_puts(out, "  {\n    \"repo_id\": ");
    append_string(out, entry->repo_id, true);
    kni_buf_printf(out, ",\n    \"sha\": \"%s\",\n    \"variants\": {", entry->commit);
    for (size_t i = 0; i < entry->n_hashes; ++i) {
        kni_buf_puts(out, i ? ",\n      " : "\n      ");
        append_string(out, entry->hashes[i].variant, true);
        kni_buf_printf(out,
                       ": {\n        \"hash\": \"sha256-%s\",\n        \"hash_type\": "
                       "\"git_lfs_concat\"\n      }",
                       entry->hashes[i].sha256);
    }
    kni_buf_puts(out, entry->n_hashes ? "\n    }\n  }" : "}\n  }");
}

static void append_committed(kni_buf *out, const kni_lock_entry *entry)
{
    kni_buf_puts(out, "  {\n    \"dependency\": {\n      \"repo-id\": ");
    append_string(out, entry->repo_id, false);
    if (entry->revision) {
        kni_buf_puts(out, ",\n      \"revision\": ");
        append_string(out, entry->revision, false);
    } else {
        kni_buf_printf(out, ",\n      \"version\": %" PRId64, entry->version);
    }
    kni_buf_printf(out, "\n    },\n    \"lock\": {\n      \"commit\": \"%s\"\n    }\n  }",
                   entry->commit);
}

// By repository, then versions by number, then revisions by name.
static int compare_entries(const void *one, const void *two)
{
    const kni_lock_entry *a = *(const kni_lock_entry *const *)one;
    const kni_lock_entry *b = *(const kni_lock_entry *const *)two;
    const int by_id = strcmp(a->repo_id, b->repo_id);
    if (by_id != 0)
        return by_id;
    if (a->revision && b->revision)
        return strcmp(a->revision, b->revision);
    if (a->revision || b->revision)
        return a->revision ? 1 : -1;
    return (a->version > b->version) - (a->version < b->version);
}

char *kni_lock_text(const kni_lock *lock)
{
    kni_buf out = KNI_BUF_ANY;
    const kni_lock_entry **order = kni_calloc(lock->count, sizeof(*order));
    if (!order)
        return NULL;
    for (size_t i = 0; i < lock->count; ++i)
        order[i] = &lock->entries[i];
    if (!lock->is_hashed)
        qsort(order, lock->count, sizeof(*order), compare_entries);
    kni_buf_puts(&out, "[");
    for (size_t i = 0; i < lock->count; ++i) {
        kni_buf_puts(&out, i ? ",\n" : "\n");
        if (lock->is_hashed)
            append_hashed(&out, order[i]);
        else
            append_committed(&out, order[i]);
    }
    kni_buf_puts(&out, lock->count ? "\n]" : "]");
    kni_free(order);
    return kni_buf_take(&out);
}
