// Small tensors for trials, which know whether a kernel wrote where it should.
#ifndef CLI_TRIAL_TENSOR_H
#define CLI_TRIAL_TENSOR_H

#include <kernels/layer.h>

typedef struct trial_tensor {
    DLTensor dl; // shape and strides point into `type`
    kn_tensor_type type;
    unsigned char *memory; // a border, the elements, a border
    unsigned char *data;
    unsigned char *copy; // the elements as they were made
    size_t size;         // bytes of the elements
} trial_tensor;

// Contiguous in the strides of the type. Error: KN_ERR_UNSUPPORTED (too large for a trial).
kn_status trial_tensor_init(trial_tensor *tensor, const kn_tensor_type *type, const char *name,
                            kn_error *err);
void trial_tensor_dispose(trial_tensor *tensor);

// Numbers of both signs up to 1, exact in every floating type; 0 and 1 in integers.
void trial_tensor_fill(trial_tensor *tensor, unsigned seed);
// Every byte, so that a second run with another byte shows what was not written.
void trial_tensor_mark(trial_tensor *tensor, unsigned char byte);
// Keeps the elements as the copy.
void trial_tensor_keep(trial_tensor *tensor);

bool trial_tensor_is_border_whole(const trial_tensor *tensor);
bool trial_tensor_is_unchanged(const trial_tensor *tensor); // against the copy
// The first element that is all `before` in the copy and all `now` in the tensor: nobody wrote it. -1: there is none.
int64_t trial_tensor_find_unwritten(const trial_tensor *tensor, unsigned char before,
                                    unsigned char now);

#endif
