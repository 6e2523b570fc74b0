#include "package/package.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "package/origin.h"

static bool is_shared_object_name(const char *path)
{
    return kni_span_ends(kni_span_of(path), ".so") && !kni_digest_block_leaves_out(path);
}

// The only shared object by name among the package's files; "" when there is none, or several (the check says so then).
static const char *find_library(const kni_names *files)
{
    const char *found = "";
    size_t count = 0;
    for (size_t i = 0; i < files->count; ++i)
        if (is_shared_object_name(files->names[i])) {
            found = files->names[i];
            ++count;
        }
    return count == 1 ? found : "";
}

static kn_status read_metadata(kn_package *package, kn_error *err)
{
    kni_buf text = KNI_BUF(KNI_METADATA_MAX);
    char *path = kni_path_join(package->dir, "metadata.json"); // for the errors
    kn_status st = path
                       ? kni_origin_read(package->origin, package->dir, "metadata.json", &text, err)
                       : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_digest_bytes(KNI_SHA256, kni_buf_text(&text), text.size, &package->metadata_sha256,
                              err);
    if (st == KN_OK)
        st = kni_metadata_parse(kni_buf_text(&text), text.size, path, &package->metadata, err);
    kni_buf_dispose(&text);
    kni_free(path);
    return st;
}

static bool copy(const char *text, char **out)
{
    *out = kni_strdup(text);
    return *out != NULL;
}

// What metadata.json does not say and the names of the files do.
static kn_status look_at_files(kn_package *package, kn_error *err)
{
    kni_metadata *metadata = &package->metadata;
    kni_names files = {NULL, 0, 0};
    if (package->has_metadata && metadata->library[0] && metadata->n_layers > 0)
        return copy(metadata->library, &package->library) && copy("", &package->module)
                   ? KN_OK
                   : kni_no_memory(err);
    const bool is_named = package->has_metadata && metadata->library[0];
    kn_error why = KN_ERROR_INIT;
    kn_status st = kni_origin_list(package->origin, package->dir, &files, &why);
    if (st != KN_OK && (!is_named || st == KN_ERR_NO_MEMORY))
        return kni_error_move(err, &why);
    kn_error_dispose(&why); // the check lists them again, and says what is wrong with them
    st = KN_OK;
    const char *library = is_named ? metadata->library : find_library(&files);
    if (!copy(library, &package->library) ||
        !copy(kni_module_find(package, &files), &package->module))
        st = kni_no_memory(err);
    kni_names_free(&files);
    return st;
}

static bool fill_empty(kn_package *package)
{
    kni_metadata *metadata = &package->metadata;
    metadata->name = kni_module_name(package);
    return metadata->name && copy("", &metadata->id) && copy("", &metadata->license) &&
           copy("", &metadata->backend) && copy("", &metadata->library);
}

// Without metadata.json it is a package when it has Python to import: the first ones had nothing more.
static kn_status read_files(kn_package *package, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_status st = read_metadata(package, &why);
    const bool is_missing = st == KN_ERR_NOT_FOUND;
    package->has_metadata = st == KN_OK;
    if (st != KN_OK && !is_missing)
        return kni_error_move(err, &why);
    st = look_at_files(package, err);
    if (st == KN_OK && is_missing && !package->module[0])
        return kni_error_move(err, &why);
    kn_error_dispose(&why);
    if (st == KN_OK && is_missing && !fill_empty(package))
        st = kni_no_memory(err);
    return st;
}

static kn_package *new_package(const char *variant)
{
    kn_package *package = kni_calloc(1, sizeof(*package));
    if (!package)
        return NULL;
    package->metadata.version = -1;
    package->variant = kni_strdup(variant);
    if (package->variant)
        return package;
    kni_free(package);
    return NULL;
}

kn_status kn_package_open(const char *dir, kn_package **out, kn_error *err)
{
    char *real = NULL;
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_open: out is NULL");
    *out = NULL;
    if (!dir)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_open: dir is NULL");
    kn_status st = kni_path_real(dir, &real, err);
    if (st != KN_OK)
        return st;
    kn_package *package = new_package(kni_path_basename(real));
    if (!package) {
        kni_free(real);
        return kni_no_memory(err);
    }
    package->dir = real;
    st = kni_origin_of(real, &package->origin, err);
    if (st == KN_OK)
        st = read_files(package, err);
    if (st == KN_OK)
        *out = package;
    else
        kn_package_close(package);
    return st;
}

kn_status kn_package_parse(const char *text, size_t size, const char *name, const char *variant,
                           kn_package **out, kn_error *err)
{
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_parse: out is NULL");
    *out = NULL;
    if (!text || !name || !variant)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_package_parse: text, name and variant are required");
    kn_package *package = new_package(variant);
    if (!package)
        return kni_no_memory(err);
    package->dir = kni_strdup(name);
    kn_status st = package->dir ? kni_metadata_parse(text, size, name, &package->metadata, err)
                                : kni_no_memory(err);
    if (st == KN_OK &&
        (!copy(package->metadata.library, &package->library) || !copy("", &package->module)))
        st = kni_no_memory(err);
    package->has_metadata = st == KN_OK;
    if (st == KN_OK)
        *out = package;
    else
        kn_package_close(package);
    return st;
}

void kn_package_close(kn_package *package)
{
    if (!package)
        return;
    kni_metadata_dispose(&package->metadata);
    kni_origin_free(package->origin);
    kni_free(package->dir);
    kni_free(package->variant);
    kni_free(package->library);
    kni_free(package->module);
    kni_free(package);
}

const char *kn_package_dir(const kn_package *package)
{
    return package->dir;
}

const char *kn_package_variant(const kn_package *package)
{
    return package->variant;
}

const char *kn_package_name(const kn_package *package)
{
    return package->metadata.name;
}

const char *kn_package_id(const kn_package *package)
{
    return package->metadata.id;
}

int64_t kn_package_version(const kn_package *package)
{
    return package->metadata.version;
}

const char *kn_package_license(const kn_package *package)
{
    return package->metadata.license;
}

const char *kn_package_backend(const kn_package *package)
{
    return package->metadata.backend;
}

static const char *name_at(const kni_names *names, size_t index)
{
    return index < names->count ? names->names[index] : "";
}

size_t kn_package_arch_count(const kn_package *package)
{
    return package->metadata.archs.count;
}

const char *kn_package_arch(const kn_package *package, size_t index)
{
    return name_at(&package->metadata.archs, index);
}

size_t kn_package_depend_count(const kn_package *package)
{
    return package->metadata.depends.count;
}

const char *kn_package_depend(const kn_package *package, size_t index)
{
    return name_at(&package->metadata.depends, index);
}

size_t kn_package_feature_count(const kn_package *package)
{
    return package->metadata.features.count;
}

const char *kn_package_feature(const kn_package *package, size_t index)
{
    return name_at(&package->metadata.features, index);
}

bool kn_package_has_digests(const kn_package *package)
{
    return package->metadata.digest.present;
}

const char *kn_package_library(const kn_package *package)
{
    return package->library;
}

size_t kn_package_layer_count(const kn_package *package)
{
    return package->metadata.n_layers;
}

kn_status kn_package_layer_get(const kn_package *package, size_t index, kn_package_layer *out,
                               kn_error *err)
{
    if (!out || out->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_layer_get: out is not initialised");
    if (index >= package->metadata.n_layers)
        return kn_error_set(err, KN_ERR_INVALID, "%s: no layer %zu: there are %zu", package->dir,
                            index, package->metadata.n_layers);
    const kni_metadata_layer *layer = &package->metadata.layers[index];
    const kn_package_layer whole = {
        .struct_size = out->struct_size,
        .name = layer->name,
        .layer = layer->layer,
        .can_torch_compile = layer->can_torch_compile,
        .has_backward = kn_layer_has_backward(layer->layer),
        .autocast = layer->autocast,
    };
    const size_t size = out->struct_size < sizeof(whole) ? out->struct_size : sizeof(whole);
    memcpy(out, &whole, size);
    return KN_OK;
}

static const kni_metadata_layer *find_layer(const kn_package *package, const char *name,
                                            size_t *index)
{
    for (*index = 0; *index < package->metadata.n_layers; ++*index)
        if (strcmp(package->metadata.layers[*index].name, name) == 0)
            return &package->metadata.layers[*index];
    return NULL;
}

kn_status kn_package_layer_find(const kn_package *package, const char *name, kn_package_layer *out,
                                kn_error *err)
{
    size_t index;
    if (!name)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_layer_find: name is NULL");
    if (find_layer(package, name, &index))
        return kn_package_layer_get(package, index, out, err);
    kni_buf names = KNI_BUF(2048); // a longer list is cut: it is for people
    for (size_t i = 0; i < package->metadata.n_layers; ++i)
        kni_buf_printf(&names, "%s%s", i ? ", " : "", package->metadata.layers[i].name);
    kn_error_set(err, KN_ERR_NOT_FOUND, "%s: has no layer '%s': it has %s", package->dir, name,
                 names.size ? kni_buf_text(&names) : "none");
    kni_buf_dispose(&names);
    return KN_ERR_NOT_FOUND;
}

double kn_package_layer_tolerance(const kn_package *package, const char *layer, DLDataType dtype)
{
    size_t index;
    const kni_metadata_layer *found = layer ? find_layer(package, layer, &index) : NULL;
    for (size_t i = 0; found && i < found->n_tolerances; ++i) {
        const DLDataType declared = found->tolerances[i].dtype;
        if (declared.code == dtype.code && declared.bits == dtype.bits &&
            declared.lanes == dtype.lanes)
            return found->tolerances[i].value;
    }
    return 0;
}
