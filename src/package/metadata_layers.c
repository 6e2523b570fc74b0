#include "package/metadata.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

enum {
    LAYERS_MAX = 1024,
    LAYER_NAME_MAX = 200, // bytes
};

static kn_status parse_tolerances(kni_json_at at, kni_metadata_layer *out, kn_error *err)
{
    const json_t *object = NULL;
    const kn_status st = kni_json_object(at, "tolerance", false, &object, err);
    if (st != KN_OK || !object)
        return st;
    out->tolerances = kni_calloc(json_object_size(object), sizeof(*out->tolerances));
    if (!out->tolerances)
        return kni_no_memory(err);
    const char *dtype;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, dtype, value)
    {
        kni_tolerance *tolerance = &out->tolerances[out->n_tolerances];
        tolerance->value = json_number_value(value);
        if (!kn_dtype_parse(dtype, &tolerance->dtype))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: %s.tolerance: '%s' is no dtype: expected f32, f16, bf16, …",
                                at.name, at.path, dtype);
        if (!json_is_number(value) || !(tolerance->value > 0) || !isfinite(tolerance->value))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: %s.tolerance.%s: expected a number above 0", at.name, at.path,
                                dtype);
        ++out->n_tolerances;
    }
    return KN_OK;
}

static kn_status parse_autocast(kni_json_at at, char **out, kn_error *err)
{
    const char *text = "";
    const kn_status st = kni_json_string(at, "autocast", false, &text, err);
    if (st != KN_OK)
        return st;
    if (text[0] && strcmp(text, "neutral") != 0 && strcmp(text, "lower") != 0 &&
        strcmp(text, "f32") != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.autocast: expected neutral, lower or f32, found '%s'", at.name,
                            at.path, text);
    *out = kni_strdup(text);
    return *out ? KN_OK : kni_no_memory(err);
}

static kn_status parse_layer(kni_json_at at, kni_metadata_layer *out, kn_error *err)
{
    kn_layer_spec spec = KN_LAYER_SPEC_INIT;
    const json_t *backward = NULL;
    spec.name = out->name;
    kn_status st = kni_json_string(at, "signature", true, &spec.signature, err);
    if (st == KN_OK)
        st = kni_json_string(at, "members", false, &spec.members, err);
    if (st == KN_OK)
        st = kni_json_string(at, "forward", true, &spec.forward, err);
    if (st == KN_OK)
        st = kni_json_object(at, "backward", false, &backward, err);
    if (st == KN_OK && backward) {
        char path[LAYER_NAME_MAX + 32];
        snprintf(path, sizeof(path), "%s.backward", at.path);
        const kni_json_at inner = {at.name, path, backward};
        st = kni_json_string(inner, "signature", true, &spec.backward_signature, err);
        if (st == KN_OK)
            st = kni_json_string(inner, "call", true, &spec.backward, err);
    }
    if (st == KN_OK)
        st = kni_json_bool(at, "can_torch_compile", false, &out->can_torch_compile, err);
    if (st == KN_OK)
        st = parse_autocast(at, &out->autocast, err);
    if (st == KN_OK)
        st = parse_tolerances(at, out, err);
    if (st != KN_OK)
        return st;
    kn_error why = KN_ERROR_INIT;
    if (kn_layer_parse(&spec, &out->layer, &why) == KN_OK)
        return KN_OK;
    kn_error_prefix(&why, "%s: %s", at.name, at.path);
    return kni_error_move(err, &why);
}

// A name that can be shown and compared: not empty, not long, as the sanitizer would leave it.
static kn_status check_name(const char *layer, const char *name, kn_error *err)
{
    const size_t size = strlen(layer);
    kni_buf clean = KNI_BUF_ANY;
    kni_text_append_clean(&clean, layer, size);
    const bool failed = clean.failed;
    const bool good =
        size > 0 && size <= LAYER_NAME_MAX && !failed && strcmp(kni_buf_text(&clean), layer) == 0;
    kni_buf_dispose(&clean);
    if (failed)
        return kni_no_memory(err);
    if (!good)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: layers: expected names of 1 to %d bytes without control "
                            "characters, found '%.*s'",
                            name, LAYER_NAME_MAX, LAYER_NAME_MAX, layer);
    return KN_OK;
}

kn_status kni_metadata_layers_parse(const json_t *layers, const char *name, kni_metadata *out,
                                    kn_error *err)
{
    const size_t count = json_object_size(layers);
    if (count > LAYERS_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: layers: has %zu members, at most %d", name,
                            count, LAYERS_MAX);
    out->layers = kni_calloc(count, sizeof(*out->layers));
    if (!out->layers)
        return kni_no_memory(err);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)layers, key, value)
    {
        kni_metadata_layer *layer = &out->layers[out->n_layers];
        char path[LAYER_NAME_MAX + 16];
        kn_status st = check_name(key, name, err);
        if (st != KN_OK)
            return st;
        layer->name = kni_strdup(key);
        if (!layer->name)
            return kni_no_memory(err);
        ++out->n_layers;
        snprintf(path, sizeof(path), "layers.%s", key);
        st = parse_layer((kni_json_at){name, path, value}, layer, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

void kni_metadata_layers_dispose(kni_metadata *metadata)
{
    for (size_t i = 0; i < metadata->n_layers; ++i) {
        kni_metadata_layer *layer = &metadata->layers[i];
        kni_free(layer->name);
        kn_layer_unref(layer->layer);
        kni_free(layer->autocast);
        kni_free(layer->tolerances);
    }
    kni_free(metadata->layers);
    metadata->layers = NULL;
    metadata->n_layers = 0;
}
