#include "layer/layout.h"

void kni_dense_strides(int32_t ndim, const int64_t *shape, int64_t *out)
{
    int64_t stride = 1;
    for (int32_t i = ndim - 1; i >= 0; --i) {
        out[i] = stride;
        if (shape[i] > 1 && __builtin_mul_overflow(stride, shape[i], &stride))
            stride = 0; // only of an empty tensor: its strides are never followed
    }
}

static bool is_dense(int32_t ndim, const int64_t *shape, const int64_t *strides)
{
    int64_t expected = 1;
    for (int32_t i = 0; i < ndim; ++i) {
        if (shape[i] == 0)
            return true;
    }
    for (int32_t i = ndim - 1; i >= 0; --i) {
        if (shape[i] != 1 && strides[i] != expected)
            return false;
        if (__builtin_mul_overflow(expected, shape[i], &expected))
            return false;
    }
    return true;
}

// Do the elements fill their memory without gaps or overlap, in some order of the dimensions?
static bool is_gapless(int32_t ndim, const int64_t *shape, const int64_t *strides)
{
    int64_t expected = 1;
    uint32_t left = 0;
    if (is_dense(ndim, shape, strides))
        return true;
    for (int32_t i = 0; i < ndim; ++i)
        left |= (uint32_t)(shape[i] > 1) << i;
    while (left) {
        int32_t next = -1;
        for (int32_t i = 0; i < ndim && next < 0; ++i) {
            if (left >> i & 1 && strides[i] == expected)
                next = i;
        }
        if (next < 0 || __builtin_mul_overflow(expected, shape[next], &expected))
            return false;
        left &= ~(1u << next);
    }
    return true;
}

// The order in which torch's iterators lay out dimensions: by stride, innermost first; where a stride is 0 the order stays, and of
// equal strides the smaller extent comes first. An insertion sort, since this comparison is no order and the result is its.
static void sort_dims(int32_t ndim, const int64_t *shape, const int64_t *strides, int32_t *order)
{
    for (int32_t i = 0; i < ndim; ++i)
        order[i] = ndim - 1 - i;
    for (int32_t i = 1; i < ndim; ++i) {
        int32_t at = i;
        for (int32_t j = i - 1; j >= 0; --j) {
            const int32_t inner = order[j], outer = order[at];
            const int64_t a = strides[inner], b = strides[outer];
            if (a == 0 || b == 0)
                continue;
            if (a < b)
                break;
            if (a == b && shape[inner] <= shape[outer])
                continue;
            order[j] = outer;
            order[at] = inner;
            at = j;
        }
    }
}

void kni_like_strides(int32_t ndim, const int64_t *shape, const int64_t *strides, int64_t *out)
{
    if (!strides) {
        kni_dense_strides(ndim, shape, out);
        return;
    }
    if (is_gapless(ndim, shape, strides)) {
        for (int32_t i = 0; i < ndim; ++i)
            out[i] = strides[i];
        return;
    }
    int32_t order[KN_LAYER_RANK_MAX];
    int64_t stride = 1;
    sort_dims(ndim, shape, strides, order);
    for (int32_t i = 0; i < ndim; ++i) {
        out[order[i]] = stride;
        if (shape[order[i]] > 1 && __builtin_mul_overflow(stride, shape[order[i]], &stride))
            stride = 0; // only of an empty tensor
    }
}

static int32_t find_dense_break(const DLTensor *t)
{
    int64_t expected = 1;
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        if (t->shape[i] != 1 && t->strides[i] != expected)
            return i;
        expected *= t->shape[i]; // the number of elements has been checked
    }
    return -1;
}

int32_t kni_find_layout_break(const DLTensor *t, kni_layout layout)
{
    if (layout == KNI_DENSE)
        return find_dense_break(t);
    int32_t i = t->ndim - 1;
    if (i >= 0 && t->shape[i] != 1 && t->strides[i] != 1)
        return i;
    if (layout != KNI_ROWS)
        return -1;
    int32_t inner = -1; // of the dimensions before the last, the one within
    for (--i; i >= 0; --i) {
        int64_t stride;
        if (t->shape[i] == 1)
            continue;
        if (inner >= 0 && (__builtin_mul_overflow(t->strides[inner], t->shape[inner], &stride) ||
                           t->strides[i] != stride))
            return i;
        inner = i;
    }
    return -1;
}

int32_t kni_find_like_break(const DLTensor *like, const DLTensor *t)
{
    int64_t wanted[KN_LAYER_RANK_MAX] = {0}, dense[KN_LAYER_RANK_MAX];
    const int64_t *strides = t->strides;
    kni_like_strides(like->ndim, like->shape, like->strides, wanted);
    if (!strides) {
        kni_dense_strides(t->ndim, t->shape, dense);
        strides = dense;
    }
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] != 1 && strides[i] != wanted[i])
            return i;
    }
    return -1;
}

bool kni_element_range(const DLTensor *t, int64_t *first, int64_t *last)
{
    *first = *last = 0;
    for (int32_t i = 0; i < t->ndim; ++i) {
        int64_t reach;
        int64_t *end = t->strides[i] < 0 ? first : last;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->strides[i], &reach) ||
            __builtin_add_overflow(*end, reach, end))
            return false;
    }
    return true;
}

bool kni_same_elements(const DLTensor *a, bool a_dense, const DLTensor *b, bool b_dense)
{
    if (kni_data_begin(a) != kni_data_begin(b) || a->ndim != b->ndim ||
        !kni_dtype_equal(a->dtype, b->dtype))
        return false;
    for (int32_t i = 0; i < a->ndim; ++i) {
        if (a->shape[i] != b->shape[i])
            return false;
        if (!(a_dense && b_dense) && a->shape[i] != 1 &&
            (!a->strides || !b->strides || a->strides[i] != b->strides[i]))
            return false;
    }
    return true;
}
