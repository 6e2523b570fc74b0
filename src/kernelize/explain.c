// Decisions without a model.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "context/context.h"
#include "context/prefetch.h"
#include "kernelize/decide.h"
#include "mapping/mapping.h"

// The machine's first device that the mapping names, else cpu.
static kn_status pick_device(kn_context *ctx, kni_request *request, kn_error *err)
{
    const size_t n_rows = kn_mapping_count(request->mapping);
    static const kn_device_type types[] = {
#define TYPE(name, value, text) name,
        KN_DEVICE_TYPE_LIST(TYPE)
#undef TYPE
    };
    bool named[KN_LEN(types)] = {false};
    for (size_t i = 0; i < n_rows; ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        const kn_status st = kn_mapping_row_get(request->mapping, i, &row, err);
        if (st != KN_OK)
            return st;
        for (size_t t = 0; t < KN_LEN(types); ++t)
            named[t] |= types[t] == row.device;
    }
    request->device = KN_DEVICE_CPU;
    for (size_t t = KN_LEN(types); t-- > 0;) // accelerators before the CPU, which every machine has
        if (named[t] && types[t] != KN_DEVICE_CPU &&
            kn_machine_device_count(ctx->machine, types[t]) > 0)
            request->device = types[t];
    return KN_OK;
}

static kn_status explain_layer(kn_context *ctx, const kni_request *request, kn_plan *plan,
                               const char *layer, kn_error *err)
{
    const kn_host_class cls = {.struct_size = sizeof(cls), .name = "", .layer = layer};
    const size_t path = plan->paths.size;
    kni_decision *d = kni_plan_add_decision(plan);
    kni_text_append_clean(&plan->paths, layer, strlen(layer));
    kni_buf_append(&plan->paths, "", 1);
    if (!d || plan->paths.failed)
        return kni_no_memory(err);
    d->device = request->device;
    d->device_index = request->device_index >= 0 ? request->device_index : 0;
    const kn_status st = kni_decide(ctx, request, NULL, &cls, d, err);
    return st == KN_OK ? kni_plan_add_record(plan, path, (uint32_t)(plan->n_decisions - 1), err)
                       : st;
}

// The kernels of the hub that the layers need, all at once.
static kn_status prefetch(kn_context *ctx, const kni_request *request, const char *const *layers,
                          size_t n_layers, kn_error *err)
{
    const kni_decision question = {
        .device = request->device,
        .device_index = request->device_index >= 0 ? request->device_index : 0,
    };
    size_t n = 0;
    if (!request->mapping->had_hub || n_layers < 2)
        return KN_OK;
    kni_wanted_kernel *wanted = kni_calloc(n_layers, sizeof(*wanted));
    if (!wanted)
        return kni_no_memory(err);
    for (size_t i = 0; i < n_layers; ++i) {
        wanted[n].reference =
            kni_decide_reference(ctx, request, NULL, layers[i], &question, &wanted[n].device);
        n += wanted[n].reference != NULL;
    }
    const kn_status st = kni_context_prefetch(ctx, NULL, wanted, n, err);
    kni_free(wanted);
    return st;
}

// The names of a mapping's layers, each once, in order of registration; borrowed from the mapping. *out is freed by the caller.
static kn_status layers_of(const kn_mapping *mapping, const char ***out, size_t *n_out,
                           kn_error *err)
{
    const size_t n_rows = kn_mapping_count(mapping);
    kn_status st = KN_OK;
    size_t capacity = 16, n = 0;
    while (capacity < n_rows * 2)
        capacity *= 2;
    const char **names = kni_calloc(n_rows + 1, sizeof(*names));
    const char **seen = kni_calloc(capacity, sizeof(*seen)); // open addressing
    if (!names || !seen)
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < n_rows; ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        st = kn_mapping_row_get(mapping, i, &row, err);
        if (st != KN_OK)
            break;
        size_t at = kni_trie_hash(row.layer, strlen(row.layer)) & (capacity - 1);
        while (seen[at] && strcmp(seen[at], row.layer) != 0)
            at = (at + 1) & (capacity - 1);
        if (!seen[at])
            names[n++] = seen[at] = row.layer;
    }
    kni_free(seen);
    if (st != KN_OK) {
        kni_free(names);
        return st;
    }
    *out = names;
    *n_out = n;
    return KN_OK;
}

kn_status kn_explain(kn_context *ctx, const char *const *layers, size_t n_layers,
                     const kn_kernelize_options *opts, kn_plan **out, kn_error *err)
{
    kni_request request;
    const char **all = NULL;
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "explain: room for the plan is required");
    *out = NULL;
    if (!ctx || (n_layers && !layers))
        return kn_error_set(err, KN_ERR_INVALID,
                            "explain: a context is required, and layers where n_layers is given");
    for (size_t i = 0; i < n_layers; ++i)
        if (!layers[i] || !*layers[i])
            return kn_error_set(err, KN_ERR_INVALID, "explain: layers[%zu] is %s", i,
                                layers[i] ? "empty" : "NULL");
    kn_status st = kni_request_init(&request, ctx, opts, err);
    if (st != KN_OK)
        return st;
    request.options.flags |= KN_KERNELIZE_DRY_RUN;
    kn_plan *plan = kni_plan_new(request.mode);
    st = plan ? KN_OK : kni_no_memory(err);
    if (st == KN_OK)
        plan->mapping = kn_mapping_ref(request.mapping);
    if (st == KN_OK && request.device == KN_DEVICE_NONE)
        st = pick_device(ctx, &request, err);
    if (st == KN_OK && !layers)
        st = layers_of(request.mapping, &all, &n_layers, err);
    if (st == KN_OK)
        st = prefetch(ctx, &request, layers ? layers : all, n_layers, err);
    for (size_t i = 0; st == KN_OK && i < n_layers; ++i)
        st = explain_layer(ctx, &request, plan, layers ? layers[i] : all[i], err);
    kni_free(all);
    if (st == KN_OK) {
        plan->of_layers = true;
        *out = plan;
    } else {
        kn_plan_free(plan);
    }
    kni_request_dispose(&request);
    return st;
}
