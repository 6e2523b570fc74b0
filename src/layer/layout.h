// Strides: what a tensor's are, and what they should be. In elements; those of dimensions of extent 1 mean nothing.
#ifndef KNI_LAYER_LAYOUT_H
#define KNI_LAYER_LAYOUT_H

#include "layer/program.h"

void kni_dense_strides(int32_t ndim, const int64_t *shape, int64_t *out);

// The strides of torch's empty_like: copies when the elements fill their memory without gaps, else contiguous in the order of the
// strides. strides NULL: contiguous.
void kni_like_strides(int32_t ndim, const int64_t *shape, const int64_t *strides, int64_t *out);

// The dimension whose stride breaks the layout; -1 when none does. For tensors with elements and strides.
int32_t kni_find_layout_break(const DLTensor *t, kni_layout layout);
// The dimension whose stride is not that of empty_like(like), of the same shape.
int32_t kni_find_like_break(const DLTensor *like, const DLTensor *t);

// First and last element reached, as offsets from the data pointer. False when they overflow.
bool kni_element_range(const DLTensor *t, int64_t *first, int64_t *last);

static inline const char *kni_data_begin(const DLTensor *t)
{
    return (const char *)((uintptr_t)t->data + t->byte_offset);
}

// The very same elements: data, dtype, shape and strides. `dense`: contiguous, so that NULL strides can be told.
bool kni_same_elements(const DLTensor *a, bool a_dense, const DLTensor *b, bool b_dense);

#endif
