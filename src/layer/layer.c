// A layer as an object: made from its texts, shared, asked.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "layer/parse.h"

static void free_layer(kn_layer *layer)
{
    for (uint32_t i = 0; i < layer->n_slots; ++i) {
        kni_free(layer->params[i].name);
        kni_free(layer->params[i].alias);
        kni_free(layer->params[i].text);
    }
    for (uint32_t i = 0; i < layer->n_symbols; ++i)
        kni_free(layer->symbols[i]);
    kni_free(layer->params);
    kni_free(layer->more);
    kni_free(layer->forward.function);
    kni_free(layer->backward.function);
    kni_free(layer->name);
    kni_free(layer);
}

// Inputs, then members, then results: what stands later may name what stands before it.
static bool parse_texts(kni_parser *p, const kn_layer_spec *spec)
{
    if (!kni_parser_start(p, "signature", spec->signature) || !kni_parse_inputs(p))
        return false;
    const kni_parser results = *p;
    if (spec->members && !(kni_parser_start(p, "members", spec->members) && kni_parse_members(p)))
        return false;
    p->what = results.what;
    p->text = results.text;
    p->at = results.at;
    p->last_end = results.last_end;
    p->token = results.token;
    if (!kni_parse_results(p))
        return false;
    if (spec->forward &&
        !(kni_parser_start(p, "forward", spec->forward) && kni_parse_call(p, false)))
        return false;
    if (!spec->backward_signature)
        return true;
    p->layer->has_backward = true;
    return kni_parser_start(p, "backward signature", spec->backward_signature) &&
           kni_parse_gradients(p) && kni_parser_start(p, "backward", spec->backward) &&
           kni_parse_call(p, true);
}

kn_status kn_layer_parse(const kn_layer_spec *given, kn_layer **out, kn_error *err)
{
    kn_layer_spec spec = {0};

    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_layer_parse: no place for the layer");
    *out = NULL;
    if (!given || given->struct_size < offsetof(kn_layer_spec, members))
        return kn_error_set(err, KN_ERR_INVALID, "kn_layer_parse: no spec, or its size is not set");
    memcpy(&spec, given, given->struct_size < sizeof(spec) ? given->struct_size : sizeof(spec));
    if (!spec.signature)
        return kn_error_set(err, KN_ERR_INVALID, "kn_layer_parse: no signature");
    if (!spec.backward_signature != !spec.backward)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_layer_parse: a backward needs both its signature and its call");

    kn_layer *layer = kni_calloc(1, sizeof(*layer));
    if (!layer)
        return kni_no_memory(err);
    atomic_init(&layer->refs, 1);
    layer->name = kni_strdup(spec.name ? spec.name : "");
    kni_parser parser = {.layer = layer, .err = err};
    if (!layer->name)
        kni_parser_no_memory(&parser);
    else
        parse_texts(&parser, &spec);
    if (parser.status == KN_OK)
        *out = layer;
    else
        free_layer(layer);
    return parser.status;
}

kn_layer *kn_layer_ref(const kn_layer *layer)
{
    kn_layer *shared = (kn_layer *)(uintptr_t)layer;
    if (shared)
        atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

void kn_layer_unref(kn_layer *layer)
{
    if (layer && atomic_fetch_sub_explicit(&layer->refs, 1, memory_order_acq_rel) == 1)
        free_layer(layer);
}

const char *kn_layer_name(const kn_layer *layer)
{
    return layer->name;
}

size_t kn_layer_param_count(const kn_layer *layer, kn_param_list list)
{
    return (unsigned)list < KNI_LISTS ? layer->count[list] : 0;
}

kn_status kn_layer_param(const kn_layer *layer, kn_param_list list, size_t index, kn_param *out,
                         kn_error *err)
{
    if (index >= kn_layer_param_count(layer, list))
        return kn_error_set(err, KN_ERR_INVALID, "layer %s: no parameter %zu in list %d",
                            layer->name, index, (int)list);
    const kni_param *param = &layer->params[layer->first[list] + index];
    const kn_param whole = {
        .struct_size = out->struct_size,
        .name = param->name,
        .alias = param->alias,
        .kind = (kn_param_kind)param->kind,
        .optional = param->optional,
        .has_default = param->has_default,
        .default_value = param->default_value,
        .text = param->text,
    };
    memcpy(out, &whole, out->struct_size < sizeof(whole) ? out->struct_size : sizeof(whole));
    return KN_OK;
}

bool kn_layer_has_backward(const kn_layer *layer)
{
    return layer->has_backward;
}

const char *kn_layer_function(const kn_layer *layer, bool backward)
{
    return backward ? layer->backward.function : layer->forward.function;
}
