// Decisions without a model.
#include <string.h>

#include "base/error.h"
#include "context/context.h"
#include "kernelize/decide.h"

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
    kni_buf_append(&plan->paths, layer, strlen(layer) + 1);
    if (!d || plan->paths.failed)
        return kni_no_memory(err);
    d->device = request->device;
    d->device_index = request->device_index >= 0 ? request->device_index : 0;
    const kn_status st = kni_decide(ctx, request, NULL, &cls, d, err);
    return st == KN_OK ? kni_plan_add_record(plan, path, (uint32_t)(plan->n_decisions - 1), err)
                       : st;
}

static bool is_in_plan(const kn_plan *plan, const char *layer)
{
    for (size_t i = 0; i < plan->n_records; ++i)
        if (strcmp(kni_plan_path(plan, &plan->records[i]), layer) == 0)
            return true;
    return false;
}

kn_status kn_explain(kn_context *ctx, const char *const *layers, size_t n_layers,
                     const kn_kernelize_options *opts, kn_plan **out, kn_error *err)
{
    kni_request request;
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "explain: room for the plan is required");
    *out = NULL;
    if (!ctx || (n_layers && !layers))
        return kn_error_set(err, KN_ERR_INVALID,
                            "explain: a context is required, and layers where n_layers is given");
    kn_status st = kni_request_init(&request, ctx, opts, err);
    if (st != KN_OK)
        return st;
    request.options.flags |= KN_KERNELIZE_DRY_RUN;
    kn_plan *plan = kni_plan_new(request.mode);
    st = plan ? KN_OK : kni_no_memory(err);
    if (st == KN_OK && request.device == KN_DEVICE_NONE)
        st = pick_device(ctx, &request, err);
    const size_t n = layers ? n_layers : st == KN_OK ? kn_mapping_count(request.mapping) : 0;
    for (size_t i = 0; i < n && st == KN_OK; ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        if (!layers)
            st = kn_mapping_row_get(request.mapping, i, &row, err);
        const char *layer = layers ? layers[i] : row.layer;
        if (st == KN_OK && (layers || !is_in_plan(plan, layer)))
            st = explain_layer(ctx, &request, plan, layer, err);
    }
    if (st == KN_OK) {
        plan->of_layers = true;
        *out = plan;
    } else {
        kn_plan_free(plan);
    }
    kni_request_dispose(&request);
    return st;
}
