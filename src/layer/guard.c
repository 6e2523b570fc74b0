// The check of a call: what every call of a bound layer pays. One pass over the parameters, one walk over each tensor's extents; what
// common layers do not need is in guard_slow.c.
#include "layer/guard.h"

#define HOT                                                                                        \
    static inline __attribute__((always_inline)) // a call of its own costs a tenth of the whole

static const kn_value none = {KN_VALUE_NONE, 0, {0}};

KNI_COLD static kn_mismatch_reason refuse_count(kni_guard *g, kn_param_list list, int64_t came,
                                                int64_t wanted)
{
    if (g->mismatch)
        *g->mismatch = (kn_mismatch){
            .reason = KN_MISMATCH_COUNT, .list = list, .dim = -1, .came = came, .wanted = wanted};
    return KN_MISMATCH_COUNT;
}

// ---- extents ------------------------------------------------------------------------------------------------------

// Does the extent satisfy the form? Binds its symbol when that is free. On failure *wanted is the one extent that would, or -1.
HOT bool fit_form(kni_guard *g, const kni_dim *dim, int64_t extent, int64_t *wanted)
{
    if (dim->mul && !(g->bound >> dim->symbol & 1)) {
        int64_t multiple, value;
        *wanted = -1;
        if (__builtin_sub_overflow(extent, (int64_t)dim->add, &multiple) || multiple < 0)
            return false;
        if (dim->shift >= 0) { // a division takes longer than all the rest
            if (multiple & (dim->mul - 1))
                return false;
            value = multiple >> dim->shift;
        } else {
            if (multiple % dim->mul)
                return false;
            value = multiple / dim->mul;
        }
        g->symbols[dim->symbol] = value;
        g->bound |= 1u << dim->symbol;
        return true;
    }
    int64_t expected = dim->add;
    if (dim->mul) {
        int64_t product;
        if (__builtin_mul_overflow(g->symbols[dim->symbol], (int64_t)dim->mul, &product) ||
            __builtin_add_overflow(product, expected, &expected)) {
            *wanted = -1;
            return false;
        }
    }
    *wanted = expected;
    return extent == expected;
}

KNI_COLD static bool fit_alternatives(kni_guard *g, const kni_dim *dim, int64_t extent)
{
    int64_t wanted;
    bool fits = fit_form(g, dim, extent, &wanted);
    for (uint32_t i = 0; !fits && i < dim->n_more; ++i)
        fits = fit_form(g, &g->layer->more[dim->more + i], extent, &wanted);
    return fits;
}

HOT bool fit_dim(kni_guard *g, const kni_dim *dim, int64_t extent, int64_t *wanted)
{
    return dim->n_more ? fit_alternatives(g, dim, extent) : fit_form(g, dim, extent, wanted);
}

HOT void set_range(kni_guard *g, uint32_t slot, uintptr_t begin, uintptr_t end)
{
    g->begin[slot] = begin;
    g->end[slot] = end;
}

// Equal dtypes promote to themselves, which is the common case; others cost a look at torch's rules.
HOT bool fit_promotion(const kni_guard *g, const kni_param *p, DLDataType dtype)
{
    for (uint32_t i = 0; i < p->n_refs; ++i) {
        const DLTensor *t = g->tensors[p->refs[i]];
        if (t && !kni_dtype_equal(t->dtype, dtype)) {
            const kni_dtype wanted = kni_rule_dtype(g, p);
            return wanted != KNI_DTYPE_NONE && kni_dtype_of(dtype) == wanted;
        }
    }
    return true;
}

// ---- one tensor ------------------------------------------------------------------------------------------------

HOT bool fit_dtype(const kni_guard *g, const kni_param *p, const DLTensor *t)
{
    if (p->dtype_rule == KNI_DTYPE_SET)
        return p->dtypes >> kni_dtype_of(t->dtype) & 1;
    if (p->dtype_rule == KNI_DTYPE_OF)
        return kni_dtype_equal(t->dtype, g->tensors[p->refs[0]]->dtype);
    return fit_promotion(g, p, t->dtype);
}

// One walk over the extents, innermost first, for shape, size and strides together.
typedef struct walk {
    const int64_t *shape;
    const int64_t *strides; // may be NULL
    int64_t n;              // elements of the dimensions walked
    int64_t signs;          // negative when an extent was
    bool dense;
    bool overflow; // of n
} walk;

// Walks over one dimension; returns its extent.
HOT int64_t step(walk *w, int32_t i)
{
    const int64_t extent = w->shape[i];
    if (w->strides && w->strides[i] != w->n && extent != 1)
        w->dense = false;
    w->signs |= extent;
    if (__builtin_mul_overflow(w->n, extent, &w->n))
        w->overflow = true;
    return extent;
}

// After the walk: the bytes, and layouts other than plainly contiguous.
HOT kn_mismatch_reason check_memory(kni_guard *g, const kni_param *p, uint32_t slot,
                                    const DLTensor *t, const walk *w)
{
    int64_t n = w->n;
    if (w->signs < 0)
        return kni_refuse_extent(g, slot, t, 0, -1);
    if (n == 0 || w->overflow) {
        if (w->overflow && !kni_has_zero_extent(t))
            return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
        g->dense |= UINT64_C(1) << slot; // reaches no memory, whatever its strides and data say
        set_range(g, slot, UINTPTR_MAX, 0);
        return KN_FITS;
    }
    const int64_t size = t->dtype.bits / 8; // every dtype of the language is whole bytes, one lane
    uintptr_t begin = (uintptr_t)t->data, end;
    if (!t->data)
        return kni_refuse(g, slot, KN_MISMATCH_DATA, -1, -1, -1);
    if (__builtin_mul_overflow(n, size, &n) ||
        __builtin_add_overflow(begin, t->byte_offset, &begin) ||
        __builtin_add_overflow(begin, (uintptr_t)n, &end))
        return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
    set_range(g, slot, begin, end);
    if (!w->dense)
        return kni_check_layout(g, p, slot, t, false, size);
    g->dense |= UINT64_C(1) << slot;
    if (p->layout == KNI_LIKE && !(g->dense >> p->like_slot & 1))
        return kni_check_layout(g, p, slot, t, true, size);
    return KN_FITS;
}

// "like x"
HOT kn_mismatch_reason check_like(kni_guard *g, const kni_param *p, uint32_t slot,
                                  const DLTensor *t, walk *w)
{
    const DLTensor *like = g->tensors[p->like_slot];
    if (t->ndim != like->ndim)
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, like->ndim);
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        if (step(w, i) != like->shape[i])
            return kni_refuse_extent(g, slot, t, i, like->shape[i]);
    }
    return check_memory(g, p, slot, t, w);
}

// The dimensions of "..." from `at` on: the first tensor that has them says what they are.
HOT kn_mismatch_reason check_batch(kni_guard *g, const kni_param *p, uint32_t slot,
                                   const DLTensor *t, walk *w, int32_t at, int32_t n_batch)
{
    if (g->n_batch < 0) {
        g->n_batch = n_batch;
        g->batch = t->shape + at;
    } else if (n_batch != g->n_batch) {
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, p->n_dims + g->n_batch);
    }
    const int64_t *batch = g->batch;
    for (int32_t i = n_batch - 1; i >= 0; --i) {
        if (step(w, at + i) != batch[i])
            return kni_refuse_extent(g, slot, t, at + i, batch[i]);
    }
    return KN_FITS;
}

// "[..., d]" and "[d]": what most tensors are.
HOT kn_mismatch_reason check_rows(kni_guard *g, const kni_param *p, uint32_t slot,
                                  const DLTensor *t, walk *w)
{
    const int32_t n_batch = t->ndim - 1;
    int64_t wanted;
    if (n_batch < 0 || (n_batch != 0 && p->batch_at < 0))
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, 1);
    if (!fit_form(g, &p->dims[0], step(w, n_batch), &wanted))
        return kni_refuse_extent(g, slot, t, n_batch, wanted);
    if (p->batch_at >= 0) {
        const kn_mismatch_reason reason = check_batch(g, p, slot, t, w, 0, n_batch);
        if (reason != KN_FITS)
            return reason;
    }
    return check_memory(g, p, slot, t, w);
}

// Any dimensions.
static kn_mismatch_reason check_dims(kni_guard *g, const kni_param *p, uint32_t slot,
                                     const DLTensor *t, walk *w)
{
    const int32_t n_batch = t->ndim - p->n_dims;
    const int32_t batch_at = p->batch_at < 0 ? 0 : p->batch_at;
    int64_t wanted = -1;
    if (n_batch < 0 || (n_batch != 0 && p->batch_at < 0))
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, p->n_dims);
    for (int32_t i = p->n_dims - 1; i >= batch_at; --i) {
        if (!fit_dim(g, &p->dims[i], step(w, i + n_batch), &wanted))
            return kni_refuse_extent(g, slot, t, i + n_batch, wanted);
    }
    if (p->batch_at >= 0) {
        const kn_mismatch_reason reason = check_batch(g, p, slot, t, w, batch_at, n_batch);
        if (reason != KN_FITS)
            return reason;
        for (int32_t i = batch_at - 1; i >= 0; --i) {
            if (!fit_dim(g, &p->dims[i], step(w, i), &wanted))
                return kni_refuse_extent(g, slot, t, i, wanted);
        }
    }
    return check_memory(g, p, slot, t, w);
}

HOT kn_mismatch_reason check_tensor(kni_guard *g, const kni_param *p, uint32_t slot,
                                    const DLTensor *t)
{
    g->tensors[slot] = t;
    if (p->like ? !kni_dtype_equal(t->dtype, g->tensors[p->like_slot]->dtype) : !fit_dtype(g, p, t))
        return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    if (!g->has_device) {
        if (g->device.device_type && g->device.device_type != t->device.device_type)
            return kni_refuse_device(g, slot, t);
        g->device = t->device;
        g->has_device = true;
    } else if (t->device.device_type != g->device.device_type ||
               t->device.device_id != g->device.device_id) {
        return kni_refuse_device(g, slot, t);
    }
    if ((uint32_t)t->ndim > KN_LAYER_RANK_MAX)
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, -1);
    if (!t->shape && t->ndim > 0)
        return kni_refuse(g, slot, KN_MISMATCH_SHAPE, -1, -1, -1);
    walk w = {.shape = t->shape, .strides = t->strides, .n = 1, .dense = true};
    return p->like   ? check_like(g, p, slot, t, &w)
           : p->rows ? check_rows(g, p, slot, t, &w)
                     : check_dims(g, p, slot, t, &w);
}

// ---- other values -------------------------------------------------------------------------------------------------

static kn_mismatch_reason check_scalar(kni_guard *g, const kni_param *p, uint32_t slot,
                                       const kn_value *v)
{
    bool fits = true;
    switch (p->kind) {
    case KN_PARAM_INT:
    case KN_PARAM_BOOL:
        if (v->type != (p->kind == KN_PARAM_INT ? KN_VALUE_INT : KN_VALUE_BOOL))
            return kni_refuse(g, slot, KN_MISMATCH_KIND, -1, v->type, -1);
        fits = !p->has_constant || v->as.integer == p->constant.as.integer;
        break;
    default:
        if (v->type != KN_VALUE_FLOAT && v->type != KN_VALUE_INT)
            return kni_refuse(g, slot, KN_MISMATCH_KIND, -1, v->type, -1);
        fits =
            !p->has_constant || (v->type == KN_VALUE_INT ? (double)v->as.integer : v->as.number) ==
                                    p->constant.as.number;
        break;
    }
    if (!fits)
        return kni_refuse(g, slot, KN_MISMATCH_VALUE, -1, v->as.integer, p->constant.as.integer);
    return KN_FITS;
}

static void mark_absent(kni_guard *g, uint32_t slot)
{
    g->values[slot] = &none;
    g->tensors[slot] = NULL;
    set_range(g, slot, UINTPTR_MAX, 0);
}

// What is no tensor where one is expected, and what is expected to be none.
static kn_mismatch_reason check_other(kni_guard *g, const kni_param *p, uint32_t slot,
                                      const kn_value *v)
{
    mark_absent(g, slot);
    if (v->type == KN_VALUE_NONE && p->list == KN_PARAM_MEMBER && p->has_default)
        v = &p->default_value;
    if (v->type == KN_VALUE_NONE) {
        if (p->optional)
            return KN_FITS;
        return kni_refuse(g, slot,
                          p->list == KN_PARAM_MEMBER ? KN_MISMATCH_MEMBER : KN_MISMATCH_KIND, -1,
                          v->type, -1);
    }
    g->values[slot] = v;
    if (p->kind == KN_PARAM_TENSOR)
        return kni_refuse(g, slot, KN_MISMATCH_KIND, -1, v->type, -1);
    return check_scalar(g, p, slot, v);
}

// Values for the slots from `slot` on.
static kn_mismatch_reason check_values(kni_guard *g, uint32_t slot, const kn_value *v, int32_t n)
{
    const kni_param *p = &g->layer->params[slot];
    for (const kn_value *end = v + n; v < end; ++v, ++p, ++slot) {
        const kn_mismatch_reason reason =
            p->kind == KN_PARAM_TENSOR && v->type == KN_VALUE_TENSOR && v->as.tensor
                ? check_tensor(g, p, slot, v->as.tensor)
                : check_other(g, p, slot, v);
        if (reason != KN_FITS)
            return reason;
    }
    return KN_FITS;
}

// ---- lists --------------------------------------------------------------------------------------------------------

HOT void start(kni_guard *g, const kn_layer *layer, int32_t dl_device_type, kn_mismatch *mismatch)
{
    g->layer = layer;
    g->mismatch = mismatch;
    g->dense = 0;
    g->bound = 0;
    g->n_batch = -1;
    g->device = (DLDevice){(DLDeviceType)dl_device_type, 0};
    g->has_device = false;
}

// Trailing inputs that were left out.
KNI_COLD static kn_mismatch_reason add_defaults(kni_guard *g, int32_t n_inputs)
{
    for (int32_t i = n_inputs; i < g->layer->count[KN_PARAM_INPUT]; ++i) {
        const kni_param *p = &g->layer->params[i]; // inputs come first
        if (!p->has_default && !p->optional)
            return refuse_count(g, KN_PARAM_INPUT, n_inputs, g->layer->count[KN_PARAM_INPUT]);
        mark_absent(g, (uint32_t)i);
        if (p->has_default)
            g->values[i] = &p->default_value;
    }
    return KN_FITS;
}

KNI_COLD static kn_mismatch_reason add_members(kni_guard *g, int32_t n_members)
{
    const uint32_t first = g->layer->first[KN_PARAM_MEMBER];
    for (int32_t i = n_members; i < g->layer->count[KN_PARAM_MEMBER]; ++i) {
        const kn_mismatch_reason reason = check_values(g, first + (uint32_t)i, &none, 1);
        if (reason != KN_FITS)
            return reason;
    }
    return KN_FITS;
}

HOT kn_mismatch_reason check_inputs(kni_guard *g, const kn_call_args *args)
{
    const kn_layer *layer = g->layer;
    const int32_t n_inputs = args->inputs ? args->n_inputs : 0;
    const int32_t n_members = args->members ? args->n_members : 0;
    kn_mismatch_reason reason;
    if ((uint32_t)n_inputs > layer->count[KN_PARAM_INPUT])
        return refuse_count(g, KN_PARAM_INPUT, args->n_inputs, layer->count[KN_PARAM_INPUT]);
    if ((uint32_t)n_members > layer->count[KN_PARAM_MEMBER])
        return refuse_count(g, KN_PARAM_MEMBER, args->n_members, layer->count[KN_PARAM_MEMBER]);
    if (n_inputs <
        layer->count[KN_PARAM_INPUT]) { // asked first: a missing argument explains the others
        reason = add_defaults(g, n_inputs);
        if (reason != KN_FITS)
            return reason;
    }
    reason = check_values(g, 0, args->inputs, n_inputs);
    if (reason != KN_FITS || layer->count[KN_PARAM_MEMBER] == 0)
        return reason;
    reason = check_values(g, layer->first[KN_PARAM_MEMBER], args->members, n_members);
    if (reason == KN_FITS && n_members < layer->count[KN_PARAM_MEMBER])
        reason = add_members(g, n_members);
    return reason;
}

// A list that is given whole.
HOT kn_mismatch_reason check_list(kni_guard *g, kn_param_list list, const kn_value *values,
                                  int32_t n_values)
{
    const int32_t count = g->layer->count[list];
    if (n_values != count || (count && !values))
        return refuse_count(g, list, n_values, count);
    return check_values(g, g->layer->first[list], values, n_values);
}

// Results reach no byte of an argument or of another result, except where they may be one of them and are.
HOT kn_mismatch_reason check_overlap(kni_guard *g, kn_param_list list)
{
    const uint32_t first = g->layer->first[list], n = first + g->layer->count[list];
    for (uint32_t slot = first; slot < n; ++slot) {
        // Every slot before n has been through check_values, which set its extent.
        const uintptr_t begin = g->begin[slot], end = g->end[slot]; // NOLINT(clang-analyzer-core.*)
        uint64_t allowed = 0;
        if (g->layer->params[slot].may_alias && g->tensors[slot])
            allowed = kni_find_aliases(g, &g->layer->params[slot], g->tensors[slot],
                                       g->dense >> slot & 1);
        for (uint32_t other = 0; other < slot; ++other) {
            // NOLINTNEXTLINE(clang-analyzer-core.*)
            if (g->begin[other] < end && begin < g->end[other] && !(allowed >> other & 1))
                return kni_refuse(g, slot, KN_MISMATCH_OVERLAP, -1, other, -1);
        }
    }
    return KN_FITS;
}

HOT kn_mismatch_reason guard_forward(kni_guard *g, const kn_layer *layer, const kn_call_args *args,
                                     kn_mismatch *mismatch)
{
    start(g, layer, args->dl_device_type, mismatch);
    kn_mismatch_reason reason = check_inputs(g, args);
    if (reason != KN_FITS || (!args->outputs && args->n_outputs == 0))
        return reason;
    reason = check_list(g, KN_PARAM_OUTPUT, args->outputs, args->n_outputs);
    return reason != KN_FITS ? reason : check_overlap(g, KN_PARAM_OUTPUT);
}

kn_mismatch_reason kni_guard_forward(kni_guard *g, const kn_layer *layer, const kn_call_args *args,
                                     kn_mismatch *mismatch)
{
    return guard_forward(g, layer, args, mismatch);
}

kn_mismatch_reason kni_guard_backward(kni_guard *g, const kn_layer *layer,
                                      const kni_backward_args *args, kn_mismatch *mismatch)
{
    start(g, layer, args->forward.dl_device_type, mismatch);
    kn_mismatch_reason reason = check_inputs(g, &args->forward);
    if (reason != KN_FITS)
        return reason;
    if (args->forward.outputs) { // read, not written: they may overlap what they like
        reason = check_list(g, KN_PARAM_OUTPUT, args->forward.outputs, args->forward.n_outputs);
        if (reason != KN_FITS)
            return reason;
    } else {
        for (uint32_t i = 0; i < layer->count[KN_PARAM_OUTPUT]; ++i)
            mark_absent(g, layer->first[KN_PARAM_OUTPUT] + i);
    }
    reason = check_list(g, KN_PARAM_GRAD_INPUT, args->grads_in, args->n_grads_in);
    if (reason != KN_FITS || (!args->grads_out && args->n_grads_out == 0))
        return reason;
    for (int32_t i = 0;
         args->grads_out && i < args->n_grads_out && i < layer->count[KN_PARAM_GRAD_OUTPUT]; ++i) {
        const uint32_t slot = layer->first[KN_PARAM_GRAD_OUTPUT] + (uint32_t)i;
        if (!g->tensors[layer->params[slot].grad_slot] &&
            args->grads_out[i].type != KN_VALUE_NONE) // what is not there has no gradient
            return kni_refuse(g, slot, KN_MISMATCH_KIND, -1, args->grads_out[i].type,
                              KN_VALUE_NONE);
    }
    reason = check_list(g, KN_PARAM_GRAD_OUTPUT, args->grads_out, args->n_grads_out);
    return reason != KN_FITS ? reason : check_overlap(g, KN_PARAM_GRAD_OUTPUT);
}

kn_mismatch_reason kn_layer_check(const kn_layer *layer, const kn_call_args *args, kn_mismatch *out)
{
    kni_guard guard;
    const kn_mismatch_reason reason = guard_forward(&guard, layer, args, out);
    if (reason == KN_FITS && out)
        *out = (kn_mismatch){.dim = -1};
    return reason;
}
