// Shapes, dtypes and strides of results.
#include "layer/layout.h"
#include "layer/program.h"

kni_dtype kni_rule_dtype(const kni_guard *g, const kni_param *param)
{
    if (param->like)
        return kni_dtype_of(g->tensors[param->like_slot]->dtype);
    if (param->dtype_rule == KNI_DTYPE_SET)
        return (kni_dtype)__builtin_ctz(param->dtypes);
    if (param->dtype_rule == KNI_DTYPE_OF)
        return kni_dtype_of(g->tensors[param->refs[0]]->dtype);
    kni_promotion promotion = KNI_PROMOTION;
    for (uint32_t i = 0; i < param->n_refs; ++i) {
        const DLTensor *t = g->tensors[param->refs[i]];
        if (t) // an optional tensor that is none promotes nothing
            kni_promotion_add(&promotion, kni_dtype_of(t->dtype), t->ndim);
    }
    return kni_promotion_result(&promotion);
}

// From symbols that the guard has bound.
static kn_mismatch_reason infer_shape(kni_guard *g, const kni_param *param, uint32_t slot,
                                      kn_tensor_type *out)
{
    const int32_t n_batch = param->batch_at >= 0 ? g->n_batch : 0;
    out->ndim = param->n_dims + n_batch;
    if (out->ndim > KN_LAYER_RANK_MAX)
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, out->ndim, -1);
    for (int32_t i = 0; i < n_batch; ++i)
        out->shape[param->batch_at + i] = g->batch[i];
    for (int32_t i = 0; i < param->n_dims; ++i) {
        const kni_dim *dim = &param->dims[i];
        const int32_t at = param->batch_at >= 0 && i >= param->batch_at ? i + n_batch : i;
        int64_t extent = dim->mul ? g->symbols[dim->symbol] : 0;
        if (__builtin_mul_overflow(extent, (int64_t)dim->mul, &extent) ||
            __builtin_add_overflow(extent, (int64_t)dim->add, &extent))
            return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, at, -1, -1);
        if (extent < 0)
            return kni_refuse(g, slot, KN_MISMATCH_SHAPE, at, extent, -1);
        out->shape[at] = extent;
    }
    return KN_FITS;
}

kn_mismatch_reason kni_infer_slot(kni_guard *g, uint32_t slot, kn_tensor_type *out)
{
    const kni_param *param = &g->layer->params[slot];
    const kni_dtype dtype = kni_rule_dtype(g, param);
    if (dtype == KNI_DTYPE_NONE)
        return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    out->dtype = kni_dtype_dl(dtype);
    out->device = g->device;
    if (out->device.device_type == 0)
        out->device.device_type = kDLCPU; // no tensor came, and nobody asked for a device
    if (param->like) {
        const DLTensor *like = g->tensors[param->like_slot];
        out->ndim = like->ndim;
        for (int32_t i = 0; i < like->ndim; ++i)
            out->shape[i] = like->shape[i];
        kni_like_strides(like->ndim, like->shape, like->strides, out->strides);
        return KN_FITS;
    }
    const kn_mismatch_reason reason = infer_shape(g, param, slot, out);
    if (reason != KN_FITS)
        return reason;
    int64_t bytes = out->dtype.bits / 8;
    bool overflow = false, empty = false;
    for (int32_t i = 0; i < out->ndim; ++i) {
        overflow |= __builtin_mul_overflow(bytes, out->shape[i], &bytes);
        empty |= out->shape[i] == 0;
    }
    if (overflow && !empty)
        return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
    kni_dense_strides(out->ndim, out->shape, out->strides);
    return KN_FITS;
}

static kn_mismatch_reason infer_list(kni_guard *g, kn_param_list list, kn_tensor_type *out)
{
    for (uint32_t i = 0; i < g->layer->count[list]; ++i) {
        const uint32_t slot = g->layer->first[list] + i;
        const kni_param *param = &g->layer->params[slot];
        if (list == KN_PARAM_GRAD_OUTPUT && !g->tensors[param->grad_slot]) {
            out[i] = (kn_tensor_type){.ndim = -1}; // no tensor, no gradient
            continue;
        }
        const kn_mismatch_reason reason = kni_infer_slot(g, slot, &out[i]);
        if (reason != KN_FITS)
            return reason;
    }
    return KN_FITS;
}

kn_mismatch_reason kni_guard_infer(kni_guard *g, const kn_layer *layer, const kn_call_args *args,
                                   kn_tensor_type *out, kn_mismatch *mismatch)
{
    kn_mismatch_reason reason = kni_guard_forward(g, layer, args, mismatch);
    if (reason == KN_FITS)
        reason = infer_list(g, KN_PARAM_OUTPUT, out);
    if (reason == KN_FITS && mismatch)
        *mismatch = (kn_mismatch){.dim = -1};
    return reason;
}

kn_mismatch_reason kn_layer_infer(const kn_layer *layer, const kn_call_args *args,
                                  kn_tensor_type *out, kn_mismatch *mismatch)
{
    kni_guard guard;
    return kni_guard_infer(&guard, layer, args, out, mismatch);
}

kn_mismatch_reason kni_layer_infer_backward(const kn_layer *layer, const kni_backward_args *args,
                                            kn_tensor_type *out, kn_mismatch *mismatch)
{
    kni_guard guard;
    kn_mismatch_reason reason = kni_guard_backward(&guard, layer, args, mismatch);
    if (reason == KN_FITS)
        reason = infer_list(&guard, KN_PARAM_GRAD_OUTPUT, out);
    if (reason == KN_FITS && mismatch)
        *mismatch = (kn_mismatch){.dim = -1};
    return reason;
}
