#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/toml.h"
#include "mapping/mapping.h"
#include "mapping/mode.h"
#include "mapping/reference.h"

#define FILE_SIZE_MAX ((size_t)4 << 20)
#define SUMS_SIZE_MAX ((size_t)64 << 20)

typedef struct reader {
    const char *name; // begins the errors
    const char *dir;  // what paths are relative to; NULL: nothing
    const char *sums; // of hub repositories without lock and sums; NULL: none
    kn_error *err;
} reader;

#define FAIL(r, at, format, ...)                                                                   \
    kn_error_set((r)->err, KN_ERR_FORMAT, "%s:%" PRIu32 ": " format, (r)->name, (at)->line,        \
                 __VA_ARGS__)

// An entry as it is read; its strings are the document's, but for what had to be made.
typedef struct draft {
    kn_entry entry;
    char *path; // joined
    char *lock; // joined
    char *sums; // joined
    const char *path_written;
    char version[24]; // of an integer
} draft;

static kn_status read_string(const reader *r, const kni_toml *value, const char **out)
{
    if (value->type != KNI_TOML_STRING)
        return FAIL(r, value, "%s: expected a string, found %s", value->key,
                    kni_toml_type_text(value->type));
    *out = value->string;
    return KN_OK;
}

static kn_status read_capability(const reader *r, const kni_toml *value, kn_range *out)
{
    static const char accepted[] = "accepted are [least, greatest] and [least], major*10+minor";
    if (value->type != KNI_TOML_ARRAY)
        return FAIL(r, value, "capability: expected an array, found %s: %s",
                    kni_toml_type_text(value->type), accepted);
    if (value->n_children < 1 || value->n_children > 2)
        return FAIL(r, value, "capability: the array has %zu numbers: %s", value->n_children,
                    accepted);
    for (size_t i = 0; i < value->n_children; ++i)
        if (value->children[i].type != KNI_TOML_INTEGER)
            return FAIL(r, &value->children[i], "capability: expected an integer, found %s: %s",
                        kni_toml_type_text(value->children[i].type), accepted);
    *out = KN_RANGE(value->children[0].integer,
                    value->n_children == 2 ? value->children[1].integer : KN_CAPABILITY_MAX);
    return KN_OK;
}

static kn_status read_mode(const reader *r, const kni_toml *value, kn_mode *out)
{
    const char *text = NULL;
    kn_error problem = KN_ERROR_INIT;
    kn_status st = read_string(r, value, &text);
    if (st != KN_OK)
        return st;
    st = kn_mode_parse(text, out, &problem);
    if (st != KN_OK)
        st = FAIL(r, value, "mode: %s", kn_error_text(&problem));
    kn_error_dispose(&problem);
    return st;
}

static kn_status read_version(const reader *r, const kni_toml *value, draft *out)
{
    if (value->type == KNI_TOML_STRING)
        return read_string(r, value, &out->entry.version);
    if (value->type != KNI_TOML_INTEGER)
        return FAIL(r, value, "version: expected a specifier as a string, or an integer, found %s",
                    kni_toml_type_text(value->type));
    if (value->integer < 0)
        return FAIL(r, value, "version: found %" PRId64 ": accepted are branches from 0",
                    value->integer);
    snprintf(out->version, sizeof(out->version), "%" PRId64, value->integer);
    out->entry.version = out->version;
    return KN_OK;
}

static kn_status read_trust(const reader *r, const kni_toml *value, uint32_t *out)
{
    if (value->type != KNI_TOML_BOOLEAN)
        return FAIL(r, value, "trust_remote_code: expected true or false, found %s",
                    kni_toml_type_text(value->type));
    *out = value->integer != 0;
    return KN_OK;
}

// A path as it stands in the file, made absolute into *joined when it is relative.
static kn_status read_path(const reader *r, const kni_toml *value, char **joined, const char **out)
{
    const kn_status st = read_string(r, value, out);
    if (st != KN_OK || **out == '\0' || kni_path_is_absolute(*out))
        return st;
    if (!r->dir)
        return FAIL(r, value,
                    "%s: found \"%.200s\": accepted is an absolute path, since there is no "
                    "directory it could be relative to",
                    value->key, *out);
    *joined = kni_path_join(r->dir, *out);
    *out = *joined;
    return *joined ? KN_OK : kni_no_memory(r->err);
}

static kn_status read_key(const reader *r, const kni_toml *value, draft *out)
{
    const struct {
        const char *key, **to;
    } strings[] = {
        {"layer", &out->entry.layer},           {"device", &out->entry.device},
        {"repo_id", &out->entry.repo_id},       {"revision", &out->entry.revision},
        {"layer_name", &out->entry.layer_name},
    };
    const kni_span key = kni_span_of(value->key);
    for (size_t i = 0; i < KN_LEN(strings); ++i)
        if (kni_span_is(key, strings[i].key))
            return read_string(r, value, strings[i].to);
    if (kni_span_is(key, "capability"))
        return read_capability(r, value, &out->entry.capability);
    if (kni_span_is(key, "mode"))
        return read_mode(r, value, &out->entry.mode);
    if (kni_span_is(key, "version"))
        return read_version(r, value, out);
    if (kni_span_is(key, "trust_remote_code"))
        return read_trust(r, value, &out->entry.trust_remote_code);
    if (kni_span_is(key, "lock"))
        return read_path(r, value, &out->lock, &out->entry.lock);
    if (kni_span_is(key, "sums"))
        return read_path(r, value, &out->sums, &out->entry.sums);
    if (kni_span_is(key, "path")) {
        out->path_written = value->string;
        return read_path(r, value, &out->path, &out->entry.path);
    }
    return FAIL(
        r, value,
        "unknown key \"%.64s\": accepted in [[kernel]] are layer, device, capability, mode, "
        "repo_id, path, version, revision, lock, sums, layer_name and trust_remote_code",
        value->key);
}

static kn_status read_entry(const reader *r, const kni_toml *table, kni_registration *out)
{
    draft d = {0};
    const char *key = NULL;
    kn_error problem = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (table->type != KNI_TOML_TABLE)
        return FAIL(r, table, "kernel: expected a table for each kernel, found %s",
                    kni_toml_type_text(table->type));
    for (size_t i = 0; st == KN_OK && i < table->n_children; ++i)
        st = read_key(r, &table->children[i], &d);
    if (st != KN_OK)
        goto done;
    if (d.entry.repo_id && !d.entry.path && !d.entry.lock && !d.entry.sums)
        d.entry.sums = r->sums;
    st = kni_entry_check(&d.entry, d.path_written, out, &key, &problem);
    out->line = table->line;
    if (st == KN_ERR_INVALID) {
        const kni_toml *value = kni_toml_get(table, key);
        st = FAIL(r, value ? value : table, "%s", kn_error_text(&problem));
    } else if (st != KN_OK) {
        st = kni_error_move(r->err, &problem);
    }
done:
    kn_error_dispose(&problem);
    kni_free(d.path);
    kni_free(d.lock);
    kni_free(d.sums);
    return st;
}

// Finds the one key that a document may have. NULL in *out: it has none.
static kn_status find_kernels(const reader *r, const kni_toml *document, const kni_toml **out)
{
    for (size_t i = 0; i < document->n_children; ++i) {
        const kni_toml *value = &document->children[i];
        if (strcmp(value->key, "kernel") != 0)
            return FAIL(r, value, "unknown key \"%.64s\": accepted is [[kernel]]", value->key);
        if (value->type != KNI_TOML_ARRAY)
            return FAIL(r, value, "kernel: expected [[kernel]] for each kernel, found %s",
                        kni_toml_type_text(value->type));
        *out = value;
    }
    return KN_OK;
}

static kn_status parse(const char *text, size_t size, const char *name, const char *dir,
                       const char *sums, kn_mapping **out, kn_error *err)
{
    const reader r = {name ? name : "mapping", dir, sums, err};
    kni_toml *document = NULL;
    const kni_toml *kernels = NULL;
    kni_registration *items = NULL;
    size_t n = 0;
    *out = NULL;
    if (dir && !kni_path_is_absolute(dir))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: dir is \"%.200s\": accepted is an absolute "
                            "path",
                            r.name, dir);
    kn_status st = kni_toml_parse(text, size, r.name, &document, err);
    if (st == KN_OK)
        st = find_kernels(&r, document, &kernels);
    if (st != KN_OK)
        goto done;
    const size_t count = kernels ? kernels->n_children : 0;
    items = kni_calloc(count, sizeof(*items));
    if (!items) {
        st = kni_no_memory(err);
        goto done;
    }
    for (; st == KN_OK && n < count; ++n) {
        st = read_entry(&r, &kernels->children[n], &items[n]);
        items[n].index = n;
    }
    if (st == KN_OK)
        st = kni_mapping_register(NULL, items, n, r.name, out, err);
done:
    for (size_t i = 0; i < n; ++i)
        kni_reference_free(items[i].reference);
    kni_free(items);
    kni_toml_free(document);
    return st;
}

kn_status kn_mapping_parse(const char *text, size_t size, const char *name, const char *dir,
                           kn_mapping **out, kn_error *err)
{
    return parse(text, size, name, dir, NULL, out, err);
}

kn_status kni_mapping_sums_path(const char *path, char **out, kn_error *err)
{
    static const char suffix[] = ".toml";
    char *dir = NULL, *real = NULL;
    const char *name = kni_path_basename(path);
    const size_t size = strlen(name);
    *out = NULL;
    if (size <= strlen(suffix) || !kni_span_ends(kni_span_of(name), suffix))
        return KN_OK;
    dir = kni_path_dirname(path);
    kn_status st = dir ? kni_path_real(dir, &real, err) : kni_no_memory(err);
    if (st == KN_OK) {
        kni_buf text = KNI_BUF_ANY;
        kni_buf_printf(&text, "%s/%.*s.lock.sums", strcmp(real, "/") == 0 ? "" : real,
                       (int)(size - strlen(suffix)), name);
        *out = kni_buf_take(&text);
        st = *out ? KN_OK : kni_no_memory(err);
    }
    kni_free(dir);
    kni_free(real);
    return st;
}

// Does the sums file pin this mapping? One that says that it was made of another file ("pyproject.toml", whose lock of kernels.lock has
// the same name) does not; a broken one does, and is an error when a kernel is wanted.
static kn_status ask_lock_of(const char *sums, const char *path, bool *is, kn_error *err)
{
    kni_buf text = KNI_BUF(SUMS_SIZE_MAX);
    json_t *json = NULL;
    const char *source = NULL;
    *is = sums && kni_file_exists(sums);
    if (!*is)
        return KN_OK;
    kn_status st = kni_file_read(&text, sums, NULL);
    if (st == KN_OK)
        st = kni_json_parse(kni_buf_text(&text), text.size, sums, &json, NULL);
    if (st == KN_OK && json_is_object(json))
        source = json_string_value(json_object_get(json, "source"));
    *is = !source || strcmp(source, kni_path_basename(path)) == 0;
    json_decref(json);
    kni_buf_dispose(&text);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

kn_status kn_mapping_read(const char *path, kn_mapping **out, kn_error *err)
{
    kni_buf text = KNI_BUF(FILE_SIZE_MAX);
    bool is_locked = false;
    char *dir = NULL, *real = NULL, *sums = NULL;
    *out = NULL;
    kn_status st = kni_file_read(&text, path, err);
    if (st != KN_OK)
        goto done;
    dir = kni_path_dirname(path);
    st = dir ? kni_path_real(dir, &real, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_mapping_sums_path(path, &sums, err);
    if (st == KN_OK)
        st = ask_lock_of(sums, path, &is_locked, err);
    if (st == KN_OK)
        st = parse(text.data, text.size, path, real, is_locked ? sums : NULL, out, err);
done:
    kni_free(sums);
    kni_free(dir);
    kni_free(real);
    kni_buf_dispose(&text);
    return st;
}
