#include "base/toml.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 32
#include <toml++/toml.h>

extern "C" {
#include "base/alloc.h"
#include "base/error.h"
}

namespace
{

constexpr size_t size_max = size_t{4} << 20;
constexpr size_t depth_max = 32;
static_assert(depth_max == TOML_MAX_NESTED_VALUES, "one limit of levels");

kn_status too_deep(kn_error *err, const char *name, size_t line)
{
    return kn_error_set(err, KN_ERR_FORMAT, "%s:%zu: nests deeper than %zu levels", name, line,
                        depth_max);
}

// Skips the string that begins at `at`, all four kinds. Returns where it ends, or the end of a text that does not close it.
size_t skip_string(std::string_view text, size_t at, size_t &line)
{
    const char quote = text[at];
    const bool is_basic = quote == '"';
    const bool is_multi = text.substr(at, 3) == (is_basic ? "\"\"\"" : "'''");
    for (size_t i = at + (is_multi ? 3 : 1); i < text.size(); ++i) {
        if (is_basic && text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            size_t run = 1;
            while (is_multi && run < 5 && i + run < text.size() && text[i + run] == quote)
                ++run;
            if (!is_multi || run >= 3)
                return i + run;
            i += run - 1;
        } else if (text[i] == '\n' && !is_multi) {
            return i;
        }
        if (i < text.size() && text[i] == '\n')
            ++line;
    }
    return text.size();
}

// toml++ bounds the nesting of values but not the parts of a dotted key, and it frees its tree by recursion. Returns the first line
// that has more dots in one key, or 0.
size_t find_long_key(std::string_view text)
{
    size_t line = 1, dots = 0;
    for (size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (c == '"' || c == '\'') {
            i = skip_string(text, i, line);
            continue;
        }
        if (c == '#') {
            i = text.find('\n', i);
            if (i == std::string_view::npos)
                break;
            continue;
        }
        if (c == '.' && ++dots >= depth_max)
            return line;
        if (std::strchr("\n=,{}[]", c))
            dots = 0;
        line += c == '\n';
        ++i;
    }
    return 0;
}

char *copy_text(std::string_view text)
{
    return kni_strndup(text.data(), text.size());
}

bool has_nul(std::string_view text)
{
    return text.find('\0') != std::string_view::npos;
}

kn_status convert(const toml::node &from, size_t depth, const char *name, kni_toml *to,
                  kn_error *err);

kn_status convert_table(const toml::table &table, size_t depth, const char *name, kni_toml *to,
                        kn_error *err)
{
    // toml++ orders a table by its keys; we want the document's order.
    std::vector<std::pair<const toml::key *, const toml::node *>> members;
    members.reserve(table.size());
    for (const auto &[key, value] : table)
        members.emplace_back(&key, &value);
    std::sort(members.begin(), members.end(), [](const auto &a, const auto &b) {
        return a.first->source().begin < b.first->source().begin;
    });
    for (const auto &[key, value] : members) {
        kni_toml *child = &to->children[to->n_children++];
        child->line = key->source().begin.line;
        if (has_nul(key->str()))
            return kn_error_set(err, KN_ERR_FORMAT, "%s:%u: a key holds a NUL character", name,
                                child->line);
        child->key = copy_text(key->str());
        if (!child->key)
            return kni_no_memory(err);
        const kn_status st = convert(*value, depth, name, child, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

kn_status convert_array(const toml::array &array, size_t depth, const char *name, kni_toml *to,
                        kn_error *err)
{
    for (const toml::node &value : array) {
        kni_toml *child = &to->children[to->n_children++];
        child->line = value.source().begin.line;
        const kn_status st = convert(value, depth, name, child, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

bool make_children(kni_toml *to, size_t count)
{
    to->children = static_cast<kni_toml *>(kni_calloc(count, sizeof(kni_toml)));
    return to->children != nullptr;
}

// Fills `to`, whose line and key are set. On failure `to` can be freed as it is.
kn_status convert(const toml::node &from, size_t depth, const char *name, kni_toml *to,
                  kn_error *err)
{
    if (depth > depth_max)
        return too_deep(err, name, to->line);
    if (const toml::table *table = from.as_table()) {
        to->type = KNI_TOML_TABLE;
        return make_children(to, table->size()) ? convert_table(*table, depth + 1, name, to, err)
                                                : kni_no_memory(err);
    }
    if (const toml::array *array = from.as_array()) {
        to->type = KNI_TOML_ARRAY;
        return make_children(to, array->size()) ? convert_array(*array, depth + 1, name, to, err)
                                                : kni_no_memory(err);
    }
    if (const auto *string = from.as_string()) {
        to->type = KNI_TOML_STRING;
        if (has_nul(string->get()))
            return kn_error_set(err, KN_ERR_FORMAT, "%s:%u: a string holds a NUL character", name,
                                to->line);
        to->string = copy_text(string->get());
        return to->string ? KN_OK : kni_no_memory(err);
    }
    if (const auto *integer = from.as_integer()) {
        to->type = KNI_TOML_INTEGER;
        to->integer = integer->get();
    } else if (const auto *number = from.as_floating_point()) {
        to->type = KNI_TOML_FLOAT;
        to->number = number->get();
    } else if (const auto *boolean = from.as_boolean()) {
        to->type = KNI_TOML_BOOLEAN;
        to->integer = boolean->get();
    } else {
        to->type = KNI_TOML_OTHER;
    }
    return KN_OK;
}

void free_inside(kni_toml *node)
{
    for (size_t i = 0; i < node->n_children; ++i)
        free_inside(&node->children[i]);
    kni_free(node->children);
    kni_free(node->string);
    kni_free(node->key);
}

kn_status parse(std::string_view text, const char *name, kni_toml *root, kn_error *err)
{
    const toml::parse_result result = toml::parse(text);
    if (!result) {
        const toml::parse_error &problem = result.error();
        return kn_error_set(err, KN_ERR_FORMAT, "%s:%u: %.*s", name, problem.source().begin.line,
                            static_cast<int>(problem.description().size()),
                            problem.description().data());
    }
    root->line = 1;
    return convert(result.table(), 0, name, root, err);
}

} // namespace

kn_status kni_toml_parse(const char *text, size_t size, const char *name, kni_toml **out,
                         kn_error *err)
{
    *out = nullptr;
    if (size > size_max)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: is larger than the %zu bytes that are accepted", name, size_max);
    const std::string_view document(size ? text : "", size);
    if (const size_t line = find_long_key(document))
        return too_deep(err, name, line);
    kni_toml *root = static_cast<kni_toml *>(kni_calloc(1, sizeof(kni_toml)));
    if (!root)
        return kni_no_memory(err);
    kn_status st;
    try {
        st = parse(document, name, root, err);
    } catch (const std::bad_alloc &) {
        st = kni_no_memory(err);
    }
    if (st == KN_OK)
        *out = root;
    else
        kni_toml_free(root);
    return st;
}

void kni_toml_free(kni_toml *document)
{
    if (!document)
        return;
    free_inside(document);
    kni_free(document);
}

const kni_toml *kni_toml_get(const kni_toml *table, const char *key)
{
    for (size_t i = 0; i < table->n_children; ++i) {
        const kni_toml *child = &table->children[i];
        if (child->key && std::strcmp(child->key, key) == 0)
            return child;
    }
    return nullptr;
}

const char *kni_toml_type_text(kni_toml_type type)
{
    switch (type) {
    case KNI_TOML_TABLE:
        return "a table";
    case KNI_TOML_ARRAY:
        return "an array";
    case KNI_TOML_STRING:
        return "a string";
    case KNI_TOML_INTEGER:
        return "an integer";
    case KNI_TOML_FLOAT:
        return "a float";
    case KNI_TOML_BOOLEAN:
        return "a boolean";
    case KNI_TOML_OTHER:
        break;
    }
    return "a date or time";
}
