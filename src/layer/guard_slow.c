// What a call seldom needs of the guard: refusals, layouts other than plainly contiguous, results that are their inputs. Apart from
// guard.c, so that its loop stays small.
#include "layer/guard.h"
#include "layer/layout.h"

kn_mismatch_reason kni_refuse(kni_guard *g, uint32_t slot, kn_mismatch_reason reason, int32_t dim,
                              int64_t came, int64_t wanted)
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

uint64_t kni_find_aliases(const kni_guard *g, const kni_param *p, const DLTensor *t, bool dense)
{
    uint64_t found = 0;
    for (uint64_t left = p->may_alias; left; left &= left - 1) {
        const uint32_t slot = (uint32_t)__builtin_ctzll(left);
        if (g->tensors[slot] && kni_same_elements(g->tensors[slot], g->dense >> slot & 1, t, dense))
            found |= UINT64_C(1) << slot;
    }
    return found;
}

bool kni_has_zero_extent(const DLTensor *t)
{
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] == 0)
            return true;
    }
    return false;
}

kn_mismatch_reason kni_refuse_extent(kni_guard *g, uint32_t slot, const DLTensor *t, int32_t dim,
                                     int64_t wanted)
{
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] < 0)
            return kni_refuse(g, slot, KN_MISMATCH_SHAPE, i, t->shape[i], -1);
    }
    return kni_refuse(g, slot, KN_MISMATCH_SHAPE, dim, t->shape[dim], wanted);
}

kn_mismatch_reason kni_refuse_device(kni_guard *g, uint32_t slot, const DLTensor *t)
{
    return kni_refuse(g, slot, KN_MISMATCH_DEVICE, -1, (int64_t)t->device.device_type,
                      (int64_t)g->device.device_type);
}

kn_mismatch_reason kni_check_layout(kni_guard *g, const kni_param *p, uint32_t slot,
                                    const DLTensor *t, bool dense, int64_t size)
{
    int32_t dim = -1;
    if (kni_find_aliases(g, p, t, dense))
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
