#include "package/metadata.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

enum {
    LIST_MAX = 1024, // elements of archs, python-depends, cpu-features
};

// Copies a string member; "" where it is absent.
static kn_status copy_string(kni_json_at at, const char *key, char **out, kn_error *err)
{
    const char *text = "";
    const kn_status st = kni_json_string(at, key, false, &text, err);
    if (st != KN_OK)
        return st;
    *out = kni_strdup(text);
    return *out ? KN_OK : kni_no_memory(err);
}

// Copies a member that is an array of strings; empty where it is absent.
static kn_status copy_strings(kni_json_at at, const char *key, kni_names *out, kn_error *err)
{
    const json_t *array = NULL;
    const kn_status st = kni_json_array(at, key, false, &array, err);
    const size_t count = json_array_size(array);
    if (st != KN_OK || count == 0)
        return st;
    const char *dot = at.path[0] ? "." : "";
    if (count > LIST_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: has %zu elements, at most %d", at.name,
                            at.path, dot, key, count, LIST_MAX);
    out->names = kni_calloc(count, sizeof(*out->names));
    if (!out->names)
        return kni_no_memory(err);
    out->capacity = count;
    for (size_t i = 0; i < count; ++i) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text || !text[0])
            return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s[%zu]: expected a string%s", at.name,
                                at.path, dot, key, i, text ? " that is not empty" : "");
        out->names[i] = kni_strdup(text);
        if (!out->names[i])
            return kni_no_memory(err);
        out->count = i + 1;
    }
    return KN_OK;
}

// ^[a-z][-a-z0-9]*[a-z0-9]$
static bool is_package_name(const char *text)
{
    const size_t size = strlen(text);
    return size >= 2 && text[0] >= 'a' && text[0] <= 'z' && text[size - 1] != '-' &&
           strspn(text, "-abcdefghijklmnopqrstuvwxyz0123456789") == size;
}

static kn_status parse_library(kni_json_at at, char **out, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_status st = copy_string(at, "library", out, err);
    if (st != KN_OK || !(*out)[0])
        return st;
    if (kni_path_check_relative(*out, "library", &why) != KN_OK)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: %s", at.name, kn_error_text(&why));
    else if (kni_digest_block_leaves_out(*out))
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: library: '%s' is a file that is never read as code", at.name, *out);
    kn_error_dispose(&why);
    return st;
}

static kn_status parse_root(kni_json_at root, kni_metadata *out, kn_error *err)
{
    const json_t *backend = NULL, *layers = NULL, *digest = NULL;
    kn_status st = copy_string(root, "name", &out->name, err);
    if (st == KN_OK && out->name[0] && !is_package_name(out->name))
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: name: expected lower-case letters, digits and '-', beginning with a "
                          "letter and not ending with '-', found '%s'",
                          root.name, out->name);
    if (st == KN_OK)
        st = copy_string(root, "id", &out->id, err);
    if (st == KN_OK)
        st = copy_string(root, "license", &out->license, err);
    if (st == KN_OK)
        st = kni_json_int(root, "version", false, &out->version, err);
    if (st == KN_OK && out->version < 0 && json_is_integer(json_object_get(root.object, "version")))
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: version: expected a number that is not negative, found %lld",
                          root.name, (long long)out->version);
    if (st == KN_OK)
        st = copy_strings(root, "python-depends", &out->depends, err);
    if (st == KN_OK)
        st = copy_strings(root, "cpu-features", &out->features, err);
    if (st == KN_OK)
        st = parse_library(root, &out->library, err);
    if (st == KN_OK)
        st = kni_json_object(root, "backend", false, &backend, err);
    if (st == KN_OK && backend) {
        const kni_json_at at = {root.name, "backend", backend};
        st = copy_string(at, "type", &out->backend, err);
        if (st == KN_OK)
            st = copy_strings(at, "archs", &out->archs, err);
    } else if (st == KN_OK) {
        out->backend = kni_strdup("");
        st = out->backend ? KN_OK : kni_no_memory(err);
    }
    if (st == KN_OK)
        st = kni_json_object(root, "digest", false, &digest, err);
    if (st == KN_OK && digest)
        st = kni_digest_block_parse(digest, root.name, &out->digest, err);
    if (st == KN_OK)
        st = kni_json_object(root, "layers", false, &layers, err);
    if (st == KN_OK && layers)
        st = kni_metadata_layers_parse(layers, root.name, out, err);
    return st;
}

kn_status kni_metadata_parse(const char *text, size_t size, const char *name, kni_metadata *out,
                             kn_error *err)
{
    json_t *root = NULL;
    kni_metadata metadata = {.version = -1};
    *out = metadata;
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = parse_root((kni_json_at){name, "", root}, &metadata, err);
    if (st == KN_OK)
        *out = metadata;
    else
        kni_metadata_dispose(&metadata);
    json_decref(root);
    return st;
}

void kni_metadata_dispose(kni_metadata *metadata)
{
    kni_free(metadata->name);
    kni_free(metadata->id);
    kni_free(metadata->license);
    kni_free(metadata->backend);
    kni_free(metadata->library);
    kni_names_free(&metadata->archs);
    kni_names_free(&metadata->depends);
    kni_names_free(&metadata->features);
    kni_digest_block_dispose(&metadata->digest);
    kni_metadata_layers_dispose(metadata);
    *metadata = (kni_metadata){.version = -1};
}
