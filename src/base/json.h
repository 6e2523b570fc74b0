// JSON by jansson, read as hostile bytes: depth and counts have ceilings, duplicate keys are refused, numbers stay in range.
#ifndef KNI_BASE_JSON_H
#define KNI_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "kernels/base.h"

#define KNI_JSON_DEPTH_MAX 32
#define KNI_JSON_VALUES_MAX ((size_t)1 << 20) // of all kinds
#define KNI_JSON_CONTAINERS_MAX                                                                    \
    ((size_t)1 << 18) // objects and arrays: one of two bytes becomes two hundred

// Parses text; `name` (a path) begins every error. Depth and counts are checked before jansson sees a byte. A NUL inside a string is
// refused.
kn_status kni_json_parse(const char *text, size_t size, const char *name, json_t **out,
                         kn_error *err);

// The same with other ceilings than those above.
typedef struct kni_json_limits {
    size_t values;
    size_t containers;
} kni_json_limits;
kn_status kni_json_parse_within(const char *text, size_t size, const char *name,
                                const kni_json_limits *limits, json_t **out, kn_error *err);
// Is the text within them? Error: KN_ERR_FORMAT.
kn_status kni_json_check(const char *text, size_t size, const char *name,
                         const kni_json_limits *limits, kn_error *err);

// Object members by key, with the JSON path in the error: "<name>: <path>.<key>: expected a string, found an integer".
// `required` false: an absent or null member leaves *out alone (set it to the default first) and succeeds.
typedef struct kni_json_at {
    const char *name; // the file
    const char *path; // of the object: "backend", "" for the root
    const json_t *object;
} kni_json_at;
kn_status kni_json_string(kni_json_at at, const char *key, bool required, const char **out,
                          kn_error *err);
kn_status kni_json_int(kni_json_at at, const char *key, bool required, int64_t *out, kn_error *err);
kn_status kni_json_bool(kni_json_at at, const char *key, bool required, bool *out, kn_error *err);
kn_status kni_json_number(kni_json_at at, const char *key, bool required, double *out,
                          kn_error *err);
kn_status kni_json_array(kni_json_at at, const char *key, bool required, const json_t **out,
                         kn_error *err);
kn_status kni_json_object(kni_json_at at, const char *key, bool required, const json_t **out,
                          kn_error *err);

// An object with these members alone. Error: "<name>: <path>.<key>: is not known: accepted are <keys>".
kn_status kni_json_only(kni_json_at at, const char *const *keys, size_t n_keys, kn_error *err);
const char *kni_json_type_text(const json_t *value); // "an object"; NULL gives "nothing"

// Text of a value with indent 2 and sorted keys off (insertion order), caller's; NULL without memory.
char *kni_json_text(const json_t *value);

#endif
