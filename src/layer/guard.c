// The check of a call, and the arguments of the kernel: what every call of a bound layer pays. One pass over the parameters; what
// common layers do not need stands in functions of its own, out of the way of what they do.
#include "layer/layout.h"
#include "layer/program.h"

#define COLD __attribute__((noinline, cold))

static const kn_value none = {KN_VALUE_NONE, 0, {0}};

COLD kn_mismatch_reason kni_refuse(kni_guard *g, uint32_t slot, kn_mismatch_reason reason,
                                   int32_t dim, int64_t came, int64_t wanted)
{
    if (g->mismatch) {
        const kn_param_list list = (kn_param_list)g->layer->params[slot].list;
        *g->mismatch = (kn_mismatch){
            .reason = reason,
            .list = list,
            .index = slot - g->layer->first[list],
            .dim = dim,
            .came = came,
            .wanted = wanted,
        };
    }
    return reason;
}

COLD static kn_mismatch_reason refuse_count(kni_guard *g, kn_param_list list, int64_t came,
                                            int64_t wanted)
{
    if (g->mismatch)
        *g->mismatch = (kn_mismatch){
            .reason = KN_MISMATCH_COUNT, .list = list, .dim = -1, .came = came, .wanted = wanted};
    return KN_MISMATCH_COUNT;
}

// ---- extents ------------------------------------------------------------------------------------------------------

// Does the extent satisfy the form? Binds its symbol when that is free. On failure *wanted is the one extent that would, or -1.
static inline bool fit_dim(kni_guard *g, const kni_dim *dim, int64_t extent, int64_t *wanted)
{
    int64_t expected = dim->add;
    if (dim->mul) {
        if (!(g->bound >> dim->symbol & 1)) {
            int64_t multiple;
            *wanted = -1;
            if (__builtin_sub_overflow(extent, (int64_t)dim->add, &multiple))
                return false;
            if (dim->mul == 1) {
                g->symbols[dim->symbol] = multiple;
            } else {
                if (multiple % dim->mul)
                    return false;
                g->symbols[dim->symbol] = multiple / dim->mul;
            }
            g->bound |= 1u << dim->symbol;
            return multiple >= 0;
        }
        int64_t product;
        if (__builtin_mul_overflow(g->symbols[dim->symbol], (int64_t)dim->mul, &product) ||
            __builtin_add_overflow(product, (int64_t)dim->add, &expected)) {
            *wanted = -1;
            return false;
        }
    }
    *wanted = expected;
    return extent == expected;
}

static bool fit_alternatives(kni_guard *g, const kni_dim *dim, int64_t extent, int64_t *wanted)
{
    int64_t other;
    bool fits = fit_dim(g, dim, extent, wanted);
    for (uint32_t i = 0; !fits && i < dim->n_more; ++i)
        fits = fit_dim(g, &g->layer->more[dim->more + i], extent, &other);
    *wanted = -1;
    return fits;
}

static inline kn_mismatch_reason check_dims(kni_guard *g, const kni_param *p, uint32_t slot,
                                            const DLTensor *t)
{
    const int64_t *shape = t->shape;
    int32_t n_batch = 0, batch_at = p->n_dims;
    if (p->batch_at >= 0) {
        n_batch = t->ndim - p->n_dims;
        batch_at = p->batch_at;
        if (n_batch < 0)
            return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, p->n_dims);
        if (g->n_batch < 0) {
            g->n_batch = n_batch;
            g->batch = shape + batch_at;
        } else {
            if (n_batch != g->n_batch)
                return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, p->n_dims + g->n_batch);
            for (int32_t i = 0; i < n_batch; ++i) {
                if (shape[batch_at + i] != g->batch[i])
                    return kni_refuse(g, slot, KN_MISMATCH_SHAPE, batch_at + i, shape[batch_at + i],
                                      g->batch[i]);
            }
        }
    } else if (t->ndim != p->n_dims) {
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, p->n_dims);
    }
    for (int32_t i = 0; i < p->n_dims; ++i) {
        const int32_t at = i < batch_at ? i : i + n_batch;
        int64_t wanted;
        const bool fits = __builtin_expect(p->dims[i].n_more != 0, 0)
                              ? fit_alternatives(g, &p->dims[i], shape[at], &wanted)
                              : fit_dim(g, &p->dims[i], shape[at], &wanted);
        if (!fits)
            return kni_refuse(g, slot, KN_MISMATCH_SHAPE, at, shape[at], wanted);
    }
    return KN_FITS;
}

static kn_mismatch_reason check_like_shape(kni_guard *g, const kni_param *p, uint32_t slot,
                                           const DLTensor *t)
{
    const DLTensor *like = g->tensors[p->like_slot];
    if (t->ndim != like->ndim)
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, like->ndim);
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] != like->shape[i])
            return kni_refuse(g, slot, KN_MISMATCH_SHAPE, i, t->shape[i], like->shape[i]);
    }
    return KN_FITS;
}

// ---- layout -------------------------------------------------------------------------------------------------------

// Slots that the result may be, and is.
static uint64_t find_aliases(const kni_guard *g, const kni_param *p, const DLTensor *t, bool dense)
{
    uint64_t found = 0;
    for (uint64_t left = p->may_alias; left; left &= left - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(left);
        if (g->tensors[slot] && kni_same_elements(g->tensors[slot], g->dense >> slot & 1, t, dense))
            found |= UINT64_C(1) << slot;
    }
    return found;
}

COLD static bool has_zero_extent(const DLTensor *t)
{
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] == 0)
            return true;
    }
    return false;
}

static kn_mismatch_reason check_device(kni_guard *g, uint32_t slot, const DLTensor *t)
{
    if (g->has_device || (g->device.device_type && g->device.device_type != t->device.device_type))
        return kni_refuse(g, slot, KN_MISMATCH_DEVICE, -1, (int64_t)t->device.device_type,
                          (int64_t)g->device.device_type);
    g->device = t->device;
    g->has_device = true;
    return KN_FITS;
}

// A layout other than plainly contiguous: the rules, and the bytes between which the elements lie.
static kn_mismatch_reason check_layout(kni_guard *g, const kni_param *p, uint32_t slot,
                                       const DLTensor *t, bool dense, int64_t size)
{
    int32_t dim = -1;
    if (find_aliases(g, p, t, dense))
        ; // the strides of what it is
    else if (p->layout == KNI_LIKE)
        dim = kni_find_like_break(g->tensors[p->like_slot], t);
    else if (!dense)
        dim = kni_find_layout_break(t, (kni_layout)p->layout);
    if (dim >= 0)
        return kni_refuse(g, slot, KN_MISMATCH_LAYOUT, dim, t->strides ? t->strides[dim] : -1, -1);
    if (dense)
        return KN_FITS;
    int64_t first, last;
    uintptr_t begin = (uintptr_t)kni_data_begin(t), end = begin;
    if (!kni_element_range(t, &first, &last) || __builtin_mul_overflow(first, size, &first) ||
        __builtin_mul_overflow(last, size, &last) || __builtin_add_overflow(last, size, &last) ||
        __builtin_add_overflow(begin, first, &begin) || __builtin_add_overflow(end, last, &end))
        return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
    g->begin[slot] = begin;
    g->end[slot] = end;
    return KN_FITS;
}

// ---- one parameter ------------------------------------------------------------------------------------------------

static inline kn_mismatch_reason check_tensor(kni_guard *g, const kni_param *p, uint32_t slot,
                                              const DLTensor *t)
{
    const int64_t *shape = t->shape, *strides = t->strides;
    const uint64_t bit = UINT64_C(1) << slot;
    kn_mismatch_reason reason;
    g->tensors[slot] = t;

    if (p->like) {
        if (!kni_dtype_equal(t->dtype, g->tensors[p->like_slot]->dtype))
            return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    } else if (p->dtype_rule == KNI_DTYPE_SET) {
        if (!(p->dtypes >> kni_dtype_of(t->dtype) & 1))
            return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    } else if (p->dtype_rule == KNI_DTYPE_OF) {
        if (!kni_dtype_equal(t->dtype, g->tensors[p->refs[0]]->dtype))
            return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    } else {
        const kni_dtype wanted = kni_rule_dtype(g, p);
        if (wanted == KNI_DTYPE_NONE || kni_dtype_of(t->dtype) != wanted)
            return kni_refuse(g, slot, KN_MISMATCH_DTYPE, -1, -1, -1);
    }
    if (!g->has_device || t->device.device_type != g->device.device_type ||
        t->device.device_id != g->device.device_id) {
        reason = check_device(g, slot, t);
        if (reason != KN_FITS)
            return reason;
    }
    if (t->ndim < 0 || t->ndim > KN_LAYER_RANK_MAX)
        return kni_refuse(g, slot, KN_MISMATCH_RANK, -1, t->ndim, -1);
    if (t->ndim > 0 && !shape)
        return kni_refuse(g, slot, KN_MISMATCH_SHAPE, -1, -1, -1);

    int64_t n = 1;
    bool dense = true, overflow = false;
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        if (shape[i] < 0)
            return kni_refuse(g, slot, KN_MISMATCH_SHAPE, i, shape[i], -1);
        if (strides && strides[i] != n && shape[i] != 1)
            dense = false;
        overflow |= __builtin_mul_overflow(n, shape[i], &n);
    }
    reason = p->like ? check_like_shape(g, p, slot, t) : check_dims(g, p, slot, t);
    if (reason != KN_FITS)
        return reason;

    const int64_t size = t->dtype.bits / 8; // every dtype of the language is whole bytes, one lane
    uintptr_t end = (uintptr_t)t->data;
    if (overflow && has_zero_extent(t))
        n = 0, overflow = false;
    if (n == 0 && !overflow) { // reaches no memory, whatever its strides and data say
        g->dense |= bit;
        g->begin[slot] = UINTPTR_MAX;
        g->end[slot] = 0;
        return KN_FITS;
    }
    if (overflow || __builtin_mul_overflow(n, size, &n) ||
        __builtin_add_overflow(end, t->byte_offset, &end))
        return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
    if (!t->data)
        return kni_refuse(g, slot, KN_MISMATCH_DATA, -1, -1, -1);
    g->begin[slot] = end;
    if (__builtin_add_overflow(end, n, &end))
        return kni_refuse(g, slot, KN_MISMATCH_OVERFLOW, -1, -1, -1);
    g->end[slot] = end;
    if (dense) {
        g->dense |= bit;
        if (p->layout != KNI_LIKE || g->dense >> p->like_slot & 1)
            return KN_FITS;
    }
    return check_layout(g, p, slot, t, dense, size);
}

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
    g->begin[slot] = UINTPTR_MAX;
    g->end[slot] = 0;
}

static inline kn_mismatch_reason check_value(kni_guard *g, uint32_t slot, const kn_value *v)
{
    const kni_param *p = &g->layer->params[slot];
    g->values[slot] = v;
    if (p->kind == KN_PARAM_TENSOR && v->type == KN_VALUE_TENSOR && v->as.tensor) {
        // What is not there has no gradient.
        if (p->list == KN_PARAM_GRAD_OUTPUT && !g->tensors[p->grad_slot]) {
            mark_absent(g, slot);
            return kni_refuse(g, slot, KN_MISMATCH_KIND, -1, v->type, KN_VALUE_NONE);
        }
        return check_tensor(g, p, slot, v->as.tensor);
    }
    mark_absent(g, slot);
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

// ---- lists --------------------------------------------------------------------------------------------------------

static inline void start(kni_guard *g, const kn_layer *layer, int32_t dl_device_type,
                         kn_mismatch *mismatch)
{
    g->layer = layer;
    g->mismatch = mismatch;
    g->dense = 0;
    g->bound = 0;
    g->n_batch = -1;
    g->device = (DLDevice){(DLDeviceType)dl_device_type, 0};
    g->has_device = false;
}

static inline kn_mismatch_reason check_inputs(kni_guard *g, const kn_call_args *args)
{
    const kn_layer *layer = g->layer;
    const int32_t n_inputs = args->inputs ? args->n_inputs : 0;
    const int32_t n_members = args->members ? args->n_members : 0;
    if (n_inputs < 0 || n_inputs > layer->count[KN_PARAM_INPUT])
        return refuse_count(g, KN_PARAM_INPUT, args->n_inputs, layer->count[KN_PARAM_INPUT]);
    if (n_members < 0 || n_members > layer->count[KN_PARAM_MEMBER])
        return refuse_count(g, KN_PARAM_MEMBER, args->n_members, layer->count[KN_PARAM_MEMBER]);
    for (int32_t i = 0; i < layer->count[KN_PARAM_INPUT]; ++i) {
        const uint32_t slot = (uint32_t)i; // inputs come first
        const kni_param *p = &layer->params[slot];
        if (i >= n_inputs && !p->has_default && !p->optional)
            return refuse_count(g, KN_PARAM_INPUT, n_inputs, layer->count[KN_PARAM_INPUT]);
        const kn_value *v = i < n_inputs     ? &args->inputs[i]
                            : p->has_default ? &p->default_value
                                             : &none;
        const kn_mismatch_reason reason = check_value(g, slot, v);
        if (reason != KN_FITS)
            return reason;
    }
    for (int32_t i = 0; i < layer->count[KN_PARAM_MEMBER]; ++i) {
        const uint32_t slot = (uint32_t)(layer->first[KN_PARAM_MEMBER] + i);
        const kni_param *p = &layer->params[slot];
        const kn_value *v = i < n_members ? &args->members[i] : &none;
        if (v->type == KN_VALUE_NONE && p->has_default)
            v = &p->default_value;
        const kn_mismatch_reason reason = check_value(g, slot, v);
        if (reason != KN_FITS)
            return reason;
    }
    return KN_FITS;
}

// A list that is given whole.
static inline kn_mismatch_reason check_list(kni_guard *g, kn_param_list list,
                                            const kn_value *values, int32_t n_values)
{
    const int32_t count = g->layer->count[list];
    if (n_values != count || (count && !values))
        return refuse_count(g, list, n_values, count);
    for (int32_t i = 0; i < count; ++i) {
        const kn_mismatch_reason reason =
            check_value(g, (uint32_t)(g->layer->first[list] + i), &values[i]);
        if (reason != KN_FITS)
            return reason;
    }
    return KN_FITS;
}

// Results reach no byte of an argument or of another result, except where they may be one of them and are.
static inline kn_mismatch_reason check_overlap(kni_guard *g, kn_param_list list)
{
    const uint32_t first = g->layer->first[list], n = first + g->layer->count[list];
    for (uint32_t slot = first; slot < n; ++slot) {
        const uintptr_t begin = g->begin[slot], end = g->end[slot];
        uint64_t allowed = 0;
        if (g->layer->params[slot].may_alias && g->tensors[slot])
            allowed =
                find_aliases(g, &g->layer->params[slot], g->tensors[slot], g->dense >> slot & 1);
        for (uint32_t other = 0; other < slot; ++other) {
            if (g->begin[other] < end && begin < g->end[other] && !(allowed >> other & 1))
                return kni_refuse(g, slot, KN_MISMATCH_OVERLAP, -1, other, -1);
        }
    }
    return KN_FITS;
}

static inline kn_mismatch_reason guard_forward(kni_guard *g, const kn_layer *layer,
                                               const kn_call_args *args, kn_mismatch *mismatch)
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
