/**
 * Layers as data: a typed signature, the members it reads from the adopting module, and a call expression over a kernel
 * function, parsed once into a small program that answers per call whether arguments fit and what the outputs are. The
 * language is described in docs/layers.md. Nothing here loads or runs foreign code.
 *
 * Threads, where a declaration says nothing: any; a layer is immutable. Freeing: after all others that use it. Nothing here blocks.
 */
#ifndef KERNELS_LAYER_H
#define KERNELS_LAYER_H

#include <dlpack/dlpack.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * An argument: the 16 bytes of a tvm-ffi value (TVMFFIAny), of which layers use these kinds.
 */
typedef struct kn_value {
    int32_t type; // KN_VALUE_…
    uint32_t zero;
    union {
        int64_t integer;  // KN_VALUE_INT; KN_VALUE_BOOL: 0 or 1
        double number;    // KN_VALUE_FLOAT
        DLTensor *tensor; // KN_VALUE_TENSOR, borrowed
    } as;
} kn_value;

enum {
    KN_VALUE_NONE = 0,
    KN_VALUE_INT = 1,
    KN_VALUE_BOOL = 2,
    KN_VALUE_FLOAT = 3,
    KN_VALUE_TENSOR = 7,
};

static inline kn_value kn_none(void)
{
    kn_value v;
    v.type = KN_VALUE_NONE;
    v.zero = 0;
    v.as.integer = 0;
    return v;
}
static inline kn_value kn_int(int64_t value)
{
    kn_value v = kn_none();
    v.type = KN_VALUE_INT;
    v.as.integer = value;
    return v;
}
static inline kn_value kn_bool(bool value)
{
    kn_value v = kn_none();
    v.type = KN_VALUE_BOOL;
    v.as.integer = value;
    return v;
}
static inline kn_value kn_float(double value)
{
    kn_value v = kn_none();
    v.type = KN_VALUE_FLOAT;
    v.as.number = value;
    return v;
}
/** The tensor's header and data are borrowed for the call. NULL gives none. */
static inline kn_value kn_tensor(const DLTensor *tensor)
{
    kn_value v = kn_none();
    if (tensor) {
        v.type = KN_VALUE_TENSOR;
        v.as.tensor = (DLTensor *)(uintptr_t)tensor;
    }
    return v;
}

#ifndef __cplusplus
/** Values as the two arguments `const kn_value *values, int32_t n`. */
#define KN_ARGS(...)                                                                               \
    ((const kn_value[]){__VA_ARGS__}),                                                             \
        ((int32_t)(sizeof((kn_value[]){__VA_ARGS__}) / sizeof(kn_value)))
#endif

/** Ceilings of the language (docs/layers.md has the others); a text beyond them is refused when it is parsed, a tensor when it is checked. */
#define KN_LAYER_PARAMS_MAX 16  // inputs and outputs together; members: 16 more
#define KN_LAYER_RANK_MAX 8     // dimensions of a tensor
#define KN_LAYER_SYMBOLS_MAX 16 // distinct dimension symbols

/**
 * What a layer is made from: the texts of metadata.json, or those of a class. Strings are copied by the callee.
 */
typedef struct kn_layer_spec {
    size_t struct_size;
    const char *name;      // for messages; NULL: ""
    const char *signature; // required: "(x: f32|f16|bf16 rows[..., 2*d]) -> (y: x.dtype [..., d])"
    const char *members;   // "weight: f32 [h], eps: float"; NULL: none
    const char *forward; // "silu_and_mul(y, x)"; NULL: an interface without a call (a class's own)
    const char *backward_signature; // NULL: no backward
    const char *backward;           // required with backward_signature, and only then
} kn_layer_spec;

#ifdef __cplusplus
#define KN_LAYER_SPEC_INIT                                                                         \
    (kn_layer_spec{sizeof(kn_layer_spec), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr})
#else
#define KN_LAYER_SPEC_INIT ((kn_layer_spec){.struct_size = sizeof(kn_layer_spec)})
#define KN_LAYER_SPEC(...) (&(kn_layer_spec){.struct_size = sizeof(kn_layer_spec), __VA_ARGS__})
#endif

/** A parsed layer: immutable, shared. */
typedef struct kn_layer kn_layer;

/**
 * Parses the texts. Error: KN_ERR_FORMAT with the text's name, the column, what came and what is accepted;
 * KN_ERR_INVALID; KN_ERR_NO_MEMORY. Owns: *out is the caller's, unref it. Threads: any.
 */
KN_API kn_status kn_layer_parse(const kn_layer_spec *spec, kn_layer **out, kn_error *err);
KN_API kn_layer *kn_layer_ref(const kn_layer *layer);
KN_API void kn_layer_unref(kn_layer *layer);

/** "" when it has none. Borrowed from the layer. */
KN_API const char *kn_layer_name(const kn_layer *layer);

/** Which list a parameter is in. */
typedef enum kn_param_list {
    KN_PARAM_INPUT = 0,
    KN_PARAM_OUTPUT = 1,
    KN_PARAM_MEMBER = 2,
    KN_PARAM_GRAD_INPUT = 3,  // of backward: gradients of the outputs
    KN_PARAM_GRAD_OUTPUT = 4, // of backward: gradients of inputs and members
} kn_param_list;

typedef enum kn_param_kind {
    KN_PARAM_TENSOR = 1,
    KN_PARAM_INT = 2,
    KN_PARAM_FLOAT = 3,
    KN_PARAM_BOOL = 4,
} kn_param_kind;

/** One parameter, borrowed from the layer. */
typedef struct kn_param {
    size_t struct_size;
    const char *name;  // the host's name: "hidden_states"; of gradients: "dx", "d.weight"
    const char *alias; // the name in the signature: "x"; the same when there is no alias
    kn_param_kind kind;
    uint32_t optional;    // 1: a tensor that may be none
    uint32_t has_default; // 1: the default stands in `default_value`
    uint32_t reserved;
    kn_value default_value;
    const char *
        text; // its type as written: "f32|f16|bf16 rows[..., 2*d]"; of a gradient without one: "like x"
} kn_param;

KN_API size_t kn_layer_param_count(const kn_layer *layer, kn_param_list list);
/** out->struct_size is set by the caller. Error: KN_ERR_INVALID (index). */
KN_API kn_status kn_layer_param(const kn_layer *layer, kn_param_list list, size_t index,
                                kn_param *out, kn_error *err);

KN_API bool kn_layer_has_backward(const kn_layer *layer);
/** The kernel function's name in the call expression; NULL for an interface without a call (backward: without a backward). */
KN_API const char *kn_layer_function(const kn_layer *layer, bool backward);

/**
 * Why a call does not fit: counted per module, and put into words by kn_mismatch_text. From KN_MISMATCH_SUBCLASS on they are a host's,
 * of what its framework does with tensors; kn_layer_check never gives those.
 *
 *   X(name, value, text)
 */
#define KN_MISMATCH_LIST(X)                                                                        \
    X(KN_FITS, 0, "fits")                                                                          \
    X(KN_MISMATCH_COUNT, 1, "number of arguments")                                                 \
    X(KN_MISMATCH_KIND, 2, "kind of argument")                                                     \
    X(KN_MISMATCH_DTYPE, 3, "dtype")                                                               \
    X(KN_MISMATCH_RANK, 4, "number of dimensions")                                                 \
    X(KN_MISMATCH_SHAPE, 5, "shape")                                                               \
    X(KN_MISMATCH_LAYOUT, 6, "layout")                                                             \
    X(KN_MISMATCH_DEVICE, 7, "device")                                                             \
    X(KN_MISMATCH_DATA, 8, "no data")                                                              \
    X(KN_MISMATCH_VALUE, 9, "value")                                                               \
    X(KN_MISMATCH_MEMBER, 10, "member missing")                                                    \
    X(KN_MISMATCH_OVERLAP, 11, "output overlaps a tensor")                                         \
    X(KN_MISMATCH_OVERFLOW, 12, "size overflows")                                                  \
    X(KN_MISMATCH_SUBCLASS, 13, "tensor subclass")                                                 \
    X(KN_MISMATCH_EXCHANGE, 14, "a tensor without a DLPack form")                                  \
    X(KN_MISMATCH_TRANSFORM, 15, "function transform")                                             \
    X(KN_MISMATCH_FORWARD_AD, 16, "forward-mode AD")                                               \
    X(KN_MISMATCH_TRACING, 17, "jit tracing")                                                      \
    X(KN_MISMATCH_DISPATCH, 18, "dispatch mode")                                                   \
    X(KN_MISMATCH_AUTOCAST, 19, "autocast")                                                        \
    X(KN_MISMATCH_GRADIENTS, 20, "gradients")                                                      \
    X(KN_MISMATCH_NEGATED, 21, "negated view")                                                     \
    X(KN_MISMATCH_FRAMEWORK, 22, "this PyTorch has no DLPack exchange API")

typedef enum kn_mismatch_reason {
#define KN_MISMATCH_ENUM(name, value, text) name = value,
    KN_MISMATCH_LIST(KN_MISMATCH_ENUM)
#undef KN_MISMATCH_ENUM
        KN_MISMATCH_REASONS // their number
} kn_mismatch_reason;

/** "dtype". Never NULL. */
KN_API const char *kn_mismatch_reason_text(kn_mismatch_reason reason);

/** A refusal as numbers: cheap to make, no text until somebody asks. */
typedef struct kn_mismatch {
    kn_mismatch_reason reason;
    kn_param_list list; // of the argument
    uint32_t index;     // of the argument in its list
    int32_t dim;        // the dimension that disagrees; -1: none
    int64_t
        came; // the extent, stride, count, kn_value type or int that came; of an overlap: with what, for the sentence
    int64_t wanted; // what it should have been; -1 when it is not one number
} kn_mismatch;

/** Arguments of one call. Arrays are borrowed; members are in the order of the layer's list, none where the module lacks one. */
typedef struct kn_call_args {
    const kn_value *inputs;
    const kn_value *outputs; // all of them; NULL with n_outputs 0: the outputs are not checked
    const kn_value *members;
    int32_t n_inputs;
    int32_t n_outputs;
    int32_t n_members;
    int32_t
        dl_device_type; // DLPack device type that tensors must be on; 0: any, but the same for all
} kn_call_args;

/**
 * Does the call fit? Trailing inputs with a default (or optional) may be left out, and trailing members.
 * Only headers are read, never data. Returns KN_FITS, or a reason with the numbers in *out (which may be NULL). No allocation.
 * Threads: any.
 */
KN_API kn_mismatch_reason kn_layer_check(const kn_layer *layer, const kn_call_args *args,
                                         kn_mismatch *out);

/**
 * The refusal of this very call in a sentence: which argument, what came, what is accepted.
 * Returns KN_ERR_ARGUMENTS; KN_ERR_NO_MEMORY without memory for the sentence.
 */
KN_API kn_status kn_mismatch_describe(const kn_layer *layer, const kn_call_args *args,
                                      const kn_mismatch *mismatch, kn_error *err);

/** Shape, strides (elements), dtype and device of an output. */
typedef struct kn_tensor_type {
    int32_t ndim;
    DLDataType dtype;
    DLDevice device;
    int64_t shape[KN_LAYER_RANK_MAX];
    int64_t strides[KN_LAYER_RANK_MAX];
} kn_tensor_type;

/**
 * The outputs of a call whose inputs and members fit: out has kn_layer_param_count(layer, KN_PARAM_OUTPUT) elements.
 * Returns as kn_layer_check does. No allocation. Threads: any.
 */
KN_API kn_mismatch_reason kn_layer_infer(const kn_layer *layer, const kn_call_args *args,
                                         kn_tensor_type *out, kn_mismatch *mismatch);

/**
 * Do a class's own signature and a kernel's agree: number of outputs; number, names, kinds and order of inputs; what may be none or
 * left out in the class may be so in the kernel, with the same default? Dtypes and dimensions may differ: they are asked per
 * call. Names of outputs are each side's own: no host sees them.
 * Error: KN_ERR_LAYER, with the first difference.
 */
KN_API kn_status kn_layer_agree(const kn_layer *own, const kn_layer *kernel, kn_error *err);

/** The parsed signature as data for other hosts (docs/layers.md), JSON, the caller's: free with kn_string_free. */
KN_API kn_status kn_layer_json(const kn_layer *layer, char **out, kn_error *err);

/** "f32", "bf16", "i64" …; NULL for a dtype the language has no name for. */
KN_API const char *kn_dtype_name(DLDataType dtype);
KN_API bool kn_dtype_parse(const char *text, DLDataType *out);

#ifdef __cplusplus
}
#endif
#endif
