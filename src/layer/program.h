// A parsed layer: lists of parameters with the rules that a call is held to, and the arguments of its calls. Written by the
// parser, read by the guard, the inference, the sentences and the export.
#ifndef KNI_LAYER_PROGRAM_H
#define KNI_LAYER_PROGRAM_H

#include <stdatomic.h>

#include "layer/dtype.h"
#include "layer/layer.h"

#define KNI_COLD __attribute__((noinline, cold)) // kept out of the way of the per-call code

#define KNI_TEXT_MAX 4096        // bytes of one text of a spec
#define KNI_DTYPE_REFS_MAX 8     // tensors of one promote()
#define KNI_ALTERNATIVES_MAX 4   // of one dimension
#define KNI_EXTENT_MAX INT32_MAX // of a number in a dimension
#define KNI_LISTS 5              // kn_param_list

// Parameters of all lists stand in one array: a slot is an index into it. Inputs, members, outputs, gradients in, gradients out.
// Gradients in are at most as many as outputs, gradients out as inputs and members.
#define KNI_SLOTS_MAX (4 * KN_LAYER_PARAMS_MAX)

// An extent: mul * symbol + add; a number when mul is 0.
typedef struct kni_dim {
    int32_t mul;
    int32_t add;
    uint8_t symbol;
    int8_t shift;   // of a mul that is a power of two; -1: it is none
    uint8_t n_more; // alternatives after this one …
    uint16_t more;  // … from here in the layer's pool
} kni_dim;

typedef enum kni_dtype_rule {
    KNI_DTYPE_SET,     // one of a set
    KNI_DTYPE_OF,      // the dtype of refs[0]
    KNI_DTYPE_PROMOTE, // torch's result type of refs
} kni_dtype_rule;

typedef enum kni_layout {
    KNI_DENSE,   // contiguous
    KNI_ROWS,    // last dimension contiguous, the others foldable to one stride
    KNI_STRIDED, // last dimension contiguous
    KNI_LIKE,    // the strides that torch's empty_like(base) has
} kni_layout;

typedef struct kni_param {
    // The rules, read per call.
    uint8_t kind;  // kn_param_kind
    uint8_t list;  // kn_param_list
    bool optional; // may be none
    bool has_default;
    bool has_constant; // accepts the constant alone
    uint8_t dtype_rule;
    uint8_t layout;
    bool like; // shape and dtype of `like_slot`, instead of dims
    bool rows; // the dimensions are "[..., d]", without alternatives
    uint8_t like_slot;
    uint8_t grad_slot; // what a gradient is the gradient of
    uint8_t n_dims;    // without "..."
    int8_t batch_at;   // "..." stands before this dimension; -1: there is none
    uint8_t n_refs;
    uint32_t dtypes; // KNI_DTYPE_SET
    uint8_t refs[KNI_DTYPE_REFS_MAX];
    kni_dim dims[KN_LAYER_RANK_MAX];
    uint64_t may_alias; // slots
    kn_value constant;
    kn_value default_value;
    // The words.
    char *name;
    char *alias;
    char *text;
} kni_param;

typedef enum kni_arg_rule {
    KNI_ARG_LITERAL,
    KNI_ARG_TENSOR,
    KNI_ARG_FLOAT,  // an int becomes a float
    KNI_ARG_SCALAR, // as it came
} kni_arg_rule;

typedef struct kni_arg {
    uint8_t rule;
    uint8_t slot;
    kn_value literal;
} kni_arg;

typedef struct kni_call {
    char *function; // NULL: no call
    kni_arg args[KNI_CALL_ARGS_MAX];
    int32_t n_args;
} kni_call;

struct kn_layer {
    atomic_size_t refs;
    uint8_t first[KNI_LISTS]; // slot of the first parameter of a list
    uint8_t count[KNI_LISTS];
    uint32_t n_slots;
    bool has_backward;
    kni_param *params;
    size_t params_capacity;
    kni_dim *more;
    size_t n_more;
    size_t more_capacity;
    char *symbols[KN_LAYER_SYMBOLS_MAX];
    uint32_t n_symbols;
    char *name;
    kni_call forward;
    kni_call backward;
};

static inline bool kni_param_is_tensor(const kni_param *param)
{
    return param->kind == KN_PARAM_TENSOR;
}

// What a call has told so far: the values by slot, and what their dimensions bound. Filled by the guard; not initialised as a
// whole.
typedef struct kni_guard {
    const kn_layer *layer;
    const kn_value *values[KNI_SLOTS_MAX];
    const DLTensor *tensors[KNI_SLOTS_MAX]; // NULL: none, or no tensor
    uintptr_t begin[KNI_SLOTS_MAX];         // bytes of the tensor; begin > end where there are none
    uintptr_t end[KNI_SLOTS_MAX];
    uint64_t dense; // slots whose tensor is contiguous or empty
    int64_t symbols[KN_LAYER_SYMBOLS_MAX];
    uint32_t bound;  // symbols that have a value
    int32_t n_batch; // dimensions of "..."; -1: not bound
    const int64_t *batch;
    DLDevice device;
    bool has_device;       // device is that of a tensor; else only its type counts, 0: any
    kn_mismatch *mismatch; // may be NULL
} kni_guard;

// Inputs and members, then outputs and gradients where they are given. guard.c
kn_mismatch_reason kni_guard_forward(kni_guard *guard, const kn_layer *layer,
                                     const kn_call_args *args, kn_mismatch *mismatch);
kn_mismatch_reason kni_guard_backward(kni_guard *guard, const kn_layer *layer,
                                      const kni_backward_args *args, kn_mismatch *mismatch);

// Writes the refusal of a slot down and returns its reason.
KNI_COLD kn_mismatch_reason kni_refuse(kni_guard *guard, uint32_t slot, kn_mismatch_reason reason,
                                       int32_t dim, int64_t came, int64_t wanted);

// A call in two steps, for a host that makes the results between them: kn_layer_infer, and then the arguments of the forward call with
// results of these types in memory of their own, which is not checked again. The values of `args` stay where they are. infer.c, frame.c
kn_mismatch_reason kni_guard_infer(kni_guard *guard, const kn_layer *layer,
                                   const kn_call_args *args, kn_tensor_type *out,
                                   kn_mismatch *mismatch);
void kni_guard_fill(kni_guard *guard, const kn_value *outputs, kni_call_frame *frame);

// The type of a result from what the guard has bound. infer.c
kn_mismatch_reason kni_infer_slot(kni_guard *guard, uint32_t slot, kn_tensor_type *out);
// The dtype that a rule of references asks for; KNI_DTYPE_NONE: torch promotes these not.
kni_dtype kni_rule_dtype(const kni_guard *guard, const kni_param *param);

#endif
