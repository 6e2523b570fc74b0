// What a project needs: [tool.kernels.dependencies] of its pyproject.toml.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/toml.h"
#include "hub/lock.h"
#include "hub/version.h"

#define FILE_SIZE_MAX ((size_t)4 << 20)

typedef struct reader {
    const char *name;
    kni_dependencies *out;
    kn_error *err;
} reader;

#define FAIL(r, at, format, ...)                                                                   \
    kn_error_set((r)->err, KN_ERR_FORMAT, "%s:%" PRIu32 ": " format, (r)->name, (at)->line,        \
                 __VA_ARGS__)

// What a check refuses as an argument is here a line of the file.
static kn_status at_line(const reader *r, const kni_toml *value, kn_status st, kn_error *problem)
{
    if (st == KN_ERR_INVALID)
        st = FAIL(r, value, "\"%.200s\": %s", value->key, kn_error_text(problem));
    else if (st != KN_OK)
        st = kni_error_move(r->err, problem);
    kn_error_dispose(problem);
    return st;
}

static kn_status read_specifier(const reader *r, const kni_toml *value, kni_dependency *out)
{
    const char *text = value->string;
    if (*text && text[strspn(text, "0123456789")] == '\0')
        return FAIL(r, value,
                    "\"%.200s\": found the string \"%.64s\": expected a version specifier "
                    "(\">=1.0\"), or an integer without quotes for a version branch",
                    value->key, text);
    // A tab is blank enough for a specifier, but no text of the sums, which keep what was asked for.
    if (!kni_text_is_clean(text, strlen(text)))
        return FAIL(r, value,
                    "\"%.200s\": found the string \"%.64s\": expected a version specifier "
                    "without control characters",
                    value->key, text);
    kni_specifier *specifier = NULL;
    kn_error problem = KN_ERROR_INIT;
    const kn_status st = kni_specifier_parse(text, &specifier, &problem);
    kni_specifier_free(specifier);
    if (st != KN_OK)
        return at_line(r, value, st, &problem);
    out->specifier = kni_strdup(text);
    return out->specifier ? KN_OK : kni_no_memory(r->err);
}

static kn_status read_dependency(const reader *r, const kni_toml *value)
{
    kni_repo repo;
    kn_error problem = KN_ERROR_INIT;
    kni_dependency *out = &r->out->items[r->out->count++];
    *out = (kni_dependency){.version = -1};
    const kn_status st = kni_repo_init(&repo, KNI_REPO_KERNEL, value->key, &problem);
    if (st != KN_OK)
        return at_line(r, value, st, &problem);
    if (value->type != KNI_TOML_STRING && value->type != KNI_TOML_INTEGER)
        return FAIL(r, value,
                    "\"%.200s\": expected a version specifier as a string, or an integer for a "
                    "version branch, found %s",
                    value->key, kni_toml_type_text(value->type));
    const bool is_specifier = value->type == KNI_TOML_STRING;
    if (r->out->count == 1)
        r->out->are_specifiers = is_specifier;
    else if (is_specifier != r->out->are_specifiers)
        return FAIL(
            r, value,
            "\"%.200s\" has %s, the first kernel of the table %s: a lock file has one form: "
            "expected version specifiers alone or integers alone",
            value->key, is_specifier ? "a version specifier" : "an integer",
            is_specifier ? "an integer" : "a version specifier");
    out->repo_id = kni_strdup(value->key);
    if (!out->repo_id)
        return kni_no_memory(r->err);
    if (is_specifier)
        return read_specifier(r, value, out);
    if (value->integer < 0)
        return FAIL(r, value, "\"%.200s\": found %" PRId64 ": expected a version branch from 0",
                    value->key, value->integer);
    out->version = value->integer;
    return KN_OK;
}

static kn_status find_table(const reader *r, const kni_toml *document, const kni_toml **out)
{
    static const char *const keys[] = {"tool", "kernels", "dependencies"};
    const kni_toml *at = document;
    for (size_t i = 0; i < KN_LEN(keys); ++i) {
        at = kni_toml_get(at, keys[i]);
        if (!at)
            return kn_error_set(
                r->err, KN_ERR_FORMAT,
                "%s: has no table [tool.kernels.dependencies]: expected one with a "
                "line for each kernel, \"owner/name\" = \">=1.0\" or \"owner/name\" "
                "= 1",
                r->name);
        if (at->type != KNI_TOML_TABLE)
            return FAIL(r, at, "%s: expected a table, found %s", keys[i],
                        kni_toml_type_text(at->type));
    }
    *out = at;
    return KN_OK;
}

kn_status kni_dependencies_parse(const char *text, size_t size, const char *name,
                                 kni_dependencies *out, kn_error *err)
{
    const reader r = {name, out, err};
    kni_toml *document = NULL;
    const kni_toml *table = NULL;
    *out = (kni_dependencies){.are_specifiers = true};
    kn_status st = kni_toml_parse(text, size, name, &document, err);
    if (st == KN_OK)
        st = find_table(&r, document, &table);
    if (st != KN_OK || !table)
        goto done;
    if (table->n_children > KNI_LOCK_ENTRIES_MAX)
        st = FAIL(&r, table, "names %zu kernels: expected at most %d", table->n_children,
                  KNI_LOCK_ENTRIES_MAX);
    else if (!(out->items = kni_calloc(table->n_children, sizeof(*out->items))))
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < table->n_children; ++i)
        st = read_dependency(&r, &table->children[i]);
done:
    kni_toml_free(document);
    if (st != KN_OK)
        kni_dependencies_dispose(out);
    return st;
}

kn_status kni_dependencies_read(const char *path, kni_dependencies *out, kn_error *err)
{
    kni_buf text = KNI_BUF(FILE_SIZE_MAX);
    *out = (kni_dependencies){.are_specifiers = true};
    kn_status st = kni_file_read(&text, path, err);
    if (st == KN_OK)
        st = kni_dependencies_parse(kni_buf_text(&text), text.size, path, out, err);
    kni_buf_dispose(&text);
    return st;
}

void kni_dependencies_dispose(kni_dependencies *dependencies)
{
    for (size_t i = 0; dependencies->items && i < dependencies->count; ++i) {
        kni_free(dependencies->items[i].repo_id);
        kni_free(dependencies->items[i].specifier);
    }
    kni_free(dependencies->items);
    *dependencies = (kni_dependencies){.are_specifiers = true};
}
