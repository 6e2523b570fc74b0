// TOML by toml++, behind this one C interface: a document becomes a tree of plain nodes that remember their lines.
#ifndef KNI_BASE_TOML_H
#define KNI_BASE_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kni_toml_type {
    KNI_TOML_TABLE,
    KNI_TOML_ARRAY,
    KNI_TOML_STRING,
    KNI_TOML_INTEGER,
    KNI_TOML_FLOAT,
    KNI_TOML_BOOLEAN,
    KNI_TOML_OTHER, // dates and times
} kni_toml_type;

// A value. Children of a table are in the document's order of lines, of an array in its own.
typedef struct kni_toml {
    kni_toml_type type;
    uint32_t line;   // from 1
    char *key;       // in a table; else NULL
    char *string;    // may hold no NUL: a document with \u0000 is refused
    int64_t integer; // also a boolean's
    double number;
    struct kni_toml *children;
    size_t n_children;
} kni_toml;

// Parses a document; `name` and the line begin every error. At most 4 MiB, 32 levels.
kn_status kni_toml_parse(const char *text, size_t size, const char *name, kni_toml **out,
                         kn_error *err);
void kni_toml_free(kni_toml *document);
const kni_toml *kni_toml_get(const kni_toml *table, const char *key); // NULL: absent
const char *kni_toml_type_text(kni_toml_type type);                   // "a string"

#ifdef __cplusplus
}
#endif
#endif
