// Inside the library: a guarded call in one step.
#ifndef KNI_LAYER_LAYER_H
#define KNI_LAYER_LAYER_H

#include <tvm/ffi/c_api.h>

#include "kernels/layer.h"

// Room on the caller's stack for the arguments of one kernel call. Not initialised as a whole: a call touches what it uses.
#define KNI_CALL_ARGS_MAX 40
typedef struct kni_call_frame {
    TVMFFIAny args[KNI_CALL_ARGS_MAX]; // in the order of the call expression
    int32_t n_args;
    int32_t n_tensors;
    DLTensor tensors[KNI_CALL_ARGS_MAX]; // headers with strides, for tensors that came without
    int64_t strides[KNI_CALL_ARGS_MAX][KN_LAYER_RANK_MAX];
} kni_call_frame;

// kn_layer_check, and when it fits, the arguments of the forward call: the whole per-call work of a bound layer (a bar of 30 ns
// above the direct call, so this is one pass without branches that a common layer does not need).
kn_mismatch_reason kni_layer_prepare(const kn_layer *layer, const kn_call_args *args,
                                     kni_call_frame *frame, kn_mismatch *out);

// The same for backward: `inputs` are the forward's inputs, `outputs` the forward's (may be none), `grad_outputs` the gradients
// that came, `grad_inputs` the tensors to write (none where not wanted, when the signature marks it optional).
typedef struct kni_backward_args {
    kn_call_args forward;
    const kn_value *grads_in;  // in the order of KN_PARAM_GRAD_INPUT
    const kn_value *grads_out; // in the order of KN_PARAM_GRAD_OUTPUT
    int32_t n_grads_in;
    int32_t n_grads_out;
} kni_backward_args;
kn_mismatch_reason kni_layer_prepare_backward(const kn_layer *layer, const kni_backward_args *args,
                                              kni_call_frame *frame, kn_mismatch *out);

// The gradients to allocate, in the order of KN_PARAM_GRAD_OUTPUT; those of an optional tensor that is none have ndim -1.
// args->grads_out: NULL.
kn_mismatch_reason kni_layer_infer_backward(const kn_layer *layer, const kni_backward_args *args,
                                            kn_tensor_type *out, kn_mismatch *mismatch);

// As kn_mismatch_describe.
kn_status kni_mismatch_describe_backward(const kn_layer *layer, const kni_backward_args *args,
                                         const kn_mismatch *mismatch, kn_error *err);

#endif
