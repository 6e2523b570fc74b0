#include "base/json.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

// What can be told without jansson: how deep the text nests, how many values it has, and how long its longest token can be.
typedef struct scan {
    size_t depth;
    size_t line; // where the depth first went past the limit
    size_t longest;
    size_t containers; // objects and arrays
    size_t commas;
} scan;

static scan scan_text(const char *text, size_t size)
{
    scan found = {0};
    size_t depth = 0, line = 1, start = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; ++i) {
        const char c = text[i];
        line += c == '\n';
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            ++depth;
            ++found.containers;
            if (depth == KNI_JSON_DEPTH_MAX + 1 && !found.line)
                found.line = line;
            if (depth > found.depth)
                found.depth = depth;
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        } else if (c == ',') {
            ++found.commas;
        }
        if (strchr(" \t\r\n,:[]{}", c)) {
            if (i - start > found.longest)
                found.longest = i - start;
            start = i;
        }
    }
    if (size - start > found.longest)
        found.longest = size - start;
    return found;
}

// jansson 2.14 ignores a failure to grow its buffer for a token, and then reads a text with a hole in it, or past its end. So
// the text is parsed as the second element of an array whose first is a string longer than any token of the text: the buffer
// grows there and not later, and a hole in the padding shows. The closing quote stands far from every size at which the buffer
// grows (a power of two).
static size_t padding_size(size_t longest)
{
    size_t power = 64;
    while (power < longest + 64)
        power *= 2;
    return power + power / 2;
}

static json_t *parse_wrapped(const kni_buf *wrapped, size_t padding, json_error_t *problem)
{
    json_t *pair = json_loadb(wrapped->data, wrapped->size, JSON_REJECT_DUPLICATES, problem);
    if (pair && json_string_length(json_array_get(pair, 0)) != padding) {
        json_decref(pair);
        pair = NULL;
        problem->text[0] = '\0';
    }
    return pair;
}

// The text as a JSON value. A malformed text fails twice with the same words, a lack of memory does not.
static json_t *parse_twice(const kni_buf *wrapped, size_t padding, json_error_t *problem)
{
    json_t *pair = parse_wrapped(wrapped, padding, problem);
    if (pair)
        return pair;
    json_error_t second;
    pair = parse_wrapped(wrapped, padding, &second);
    if (pair || strcmp(problem->text, second.text) != 0)
        problem->text[0] = '\0';
    json_decref(pair);
    return NULL;
}

static kn_status check(const scan *found, const char *name, const kni_json_limits *limits,
                       kn_error *err)
{
    if (found->depth > KNI_JSON_DEPTH_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s:%zu: nests deeper than %d levels", name,
                            found->line, KNI_JSON_DEPTH_MAX);
    if (found->containers > limits->containers)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: has %zu objects and arrays, at most %zu", name,
                            found->containers, limits->containers);
    if (found->containers + found->commas > limits->values)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: has more than %zu values", name,
                            limits->values);
    return KN_OK;
}

kn_status kni_json_check(const char *text, size_t size, const char *name,
                         const kni_json_limits *limits, kn_error *err)
{
    const scan found = scan_text(text, size);
    return check(&found, name, limits, err);
}

kn_status kni_json_parse(const char *text, size_t size, const char *name, json_t **out,
                         kn_error *err)
{
    static const kni_json_limits limits = {KNI_JSON_VALUES_MAX, KNI_JSON_CONTAINERS_MAX};
    return kni_json_parse_within(text, size, name, &limits, out, err);
}

kn_status kni_json_parse_within(const char *text, size_t size, const char *name,
                                const kni_json_limits *limits, json_t **out, kn_error *err)
{
    *out = NULL;
    const scan found = scan_text(text, size);
    kn_status st = check(&found, name, limits, err);
    if (st != KN_OK)
        return st;

    const size_t padding = padding_size(found.longest);
    kni_buf wrapped = KNI_BUF_ANY;
    kni_buf_puts(&wrapped, "[\"");
    if (kni_buf_reserve(&wrapped, padding)) {
        memset(wrapped.data + wrapped.size, ' ', padding);
        wrapped.size += padding;
    }
    kni_buf_puts(&wrapped, "\",");
    kni_buf_append(&wrapped, text, size);
    kni_buf_puts(&wrapped, "]");

    json_error_t problem;
    json_t *pair = wrapped.failed ? NULL : parse_twice(&wrapped, padding, &problem);
    json_t *value = json_array_get(pair, 1);
    if (wrapped.failed || (!pair && problem.text[0] == '\0'))
        st = kni_no_memory(err);
    else if (!pair && (size_t)problem.position == wrapped.size &&
             !kni_span_starts(kni_span_of(problem.text), "end of file expected"))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s:%d: ends too early", name, problem.line);
    else if (!pair)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s:%d: %s", name, problem.line, problem.text);
    else if (json_array_size(pair) != 2 || !(json_is_object(value) || json_is_array(value)))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s:1: expected one object or array", name);
    else
        *out = json_incref(value);
    json_decref(pair);
    kni_buf_dispose(&wrapped);
    return st;
}

const char *kni_json_type_text(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool type_fits(const json_t *value, json_type wanted)
{
    switch (wanted) {
    case JSON_REAL:
        return json_is_number(value);
    case JSON_TRUE:
        return json_is_boolean(value);
    default:
        return json_typeof(value) == wanted;
    }
}

static kn_status expect_object(kni_json_at at, kn_error *err)
{
    if (json_is_object(at.object))
        return KN_OK;
    return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%sexpected an object, found %s", at.name,
                        at.path, at.path[0] ? ": " : "", kni_json_type_text(at.object));
}

// The member, NULL where it may be absent and is. JSON_TRUE stands for both booleans, JSON_REAL for every number.
static kn_status get_member(kni_json_at at, const char *key, bool required, json_type wanted,
                            const char *wanted_text, const json_t **out, kn_error *err)
{
    const char *dot = at.path[0] ? "." : "";
    *out = NULL;
    const kn_status st = expect_object(at, err);
    if (st != KN_OK)
        return st;
    const json_t *value = json_object_get(at.object, key);
    if (!required && (!value || json_is_null(value)))
        return KN_OK;
    if (!value)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: is missing, expected %s", at.name,
                            at.path, dot, key, wanted_text);
    if (!type_fits(value, wanted))
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: expected %s, found %s", at.name,
                            at.path, dot, key, wanted_text, kni_json_type_text(value));
    *out = value;
    return KN_OK;
}

kn_status kni_json_string(kni_json_at at, const char *key, bool required, const char **out,
                          kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_STRING, "a string", &value, err);
    if (value)
        *out = json_string_value(value);
    return st;
}

kn_status kni_json_int(kni_json_at at, const char *key, bool required, int64_t *out, kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_INTEGER, "an integer", &value, err);
    if (value)
        *out = json_integer_value(value);
    return st;
}

kn_status kni_json_bool(kni_json_at at, const char *key, bool required, bool *out, kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_TRUE, "a boolean", &value, err);
    if (value)
        *out = json_is_true(value);
    return st;
}

kn_status kni_json_number(kni_json_at at, const char *key, bool required, double *out,
                          kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_REAL, "a number", &value, err);
    if (value)
        *out = json_number_value(value);
    return st;
}

kn_status kni_json_array(kni_json_at at, const char *key, bool required, const json_t **out,
                         kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_ARRAY, "an array", &value, err);
    if (value)
        *out = value;
    return st;
}

kn_status kni_json_object(kni_json_at at, const char *key, bool required, const json_t **out,
                          kn_error *err)
{
    const json_t *value;
    const kn_status st = get_member(at, key, required, JSON_OBJECT, "an object", &value, err);
    if (value)
        *out = value;
    return st;
}

kn_status kni_json_only(kni_json_at at, const char *const *keys, size_t n_keys, kn_error *err)
{
    const kn_status st = expect_object(at, err);
    if (st != KN_OK)
        return st;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)at.object, key, value)
    {
        size_t i = 0;
        while (i < n_keys && strcmp(key, keys[i]) != 0)
            ++i;
        if (i < n_keys)
            continue;
        kni_buf accepted = KNI_BUF_ANY;
        for (i = 0; i < n_keys; ++i)
            kni_buf_printf(&accepted, "%s%s", i ? ", " : "", keys[i]);
        kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%.64s: is not known: accepted are %s", at.name,
                     at.path, at.path[0] ? "." : "", key, kni_buf_text(&accepted));
        kni_buf_dispose(&accepted);
        return KN_ERR_FORMAT;
    }
    return KN_OK;
}

static int append_text(const char *data, size_t size, void *user)
{
    kni_buf *text = user;
    kni_buf_append(text, data, size);
    return text->failed ? -1 : 0;
}

char *kni_json_text(const json_t *value)
{
    // 15 digits: a number that a person wrote comes out as it was written.
    const size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
    kni_buf text = KNI_BUF_ANY; // jansson's own dump would give memory of another allocator
    if (json_dump_callback(value, append_text, &text, flags) != 0)
        text.failed = true;
    return kni_buf_take(&text);
}
