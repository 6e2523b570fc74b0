// PyTorch as a native call needs it: its tensors as DLTensors, and what it is doing right now.
#ifndef KPY_TENSOR_H
#define KPY_TENSOR_H

#include "exchange.h"

// A C function of torch's that takes no argument, called without the ways around it.
typedef struct kpy_question {
    PyObject *callable;
    PyCFunction function; // NULL: only by way of the callable
    PyObject *self;
    int flags;
} kpy_question;

// Functions of libtorch that make a tensor without a way through Python: the C interface that compiled models use, and what extensions
// give tensors back to Python by. NULL: this libtorch lacks one of them.
typedef struct kpy_libtorch {
    int32_t (*empty)(int64_t ndim, const int64_t *shape, const int64_t *strides, int32_t dtype,
                     int32_t device_type, int32_t device_index, void **out);
    int32_t (*data)(void *tensor, void **out);
    int32_t (*free)(void *tensor);
    PyObject *(*wrap)(const void *tensor);
    int32_t cpu, cuda;
} kpy_libtorch;

// Looked up once. PyTorch is never linked against.
typedef struct kpy_torch {
    PyTypeObject *tensor;
    PyTypeObject *parameter;
    // Of the types' `__dlpack_c_exchange_api__`; NULL: this PyTorch lacks it (before 2.10), and tensors cross as capsules.
    const DLPackExchangeAPI *api;
    bool is_usable; // false: it lacks something below, and no kernel is called
    PyObject *to_dlpack;
    kpy_question grad_enabled;
    kpy_question dispatch_modes;
    kpy_question tracing;
    kpy_question functorch;
    kpy_question autocast;
    kpy_question compiling;
    PyObject *forward_ad; // the dictionary of torch.autograd.forward_ad
    PyObject *requires_grad;
    descrgetfunc get_requires_grad;
    PyCFunction is_neg;
    PyObject *torch;
    PyObject *empty_strided;
    kpy_libtorch lib;
    PyObject *is_autocast_enabled;
} kpy_torch;

// The process's PyTorch; NULL with an exception when it cannot be imported.
const kpy_torch *kpy_torch_get(void);

// output.c. Looks up what makes results.
void kpy_output_look_up(kpy_torch *torch);

// An answer as a truth: None and 0 are false. -1 with an exception.
int kpy_ask(const kpy_question *question);

static inline bool kpy_is_plain_tensor(const kpy_torch *torch, PyObject *object)
{
    return Py_TYPE(object) == torch->tensor || Py_TYPE(object) == torch->parameter;
}
// 1: gradients of it are wanted; -1 with an exception. For plain tensors.
int kpy_requires_grad(const kpy_torch *torch, PyObject *tensor);
// 1: its numbers are the negatives of what lies in memory; -1 with an exception. For plain tensors.
int kpy_is_neg(const kpy_torch *torch, PyObject *tensor);

// Where its memory is, of a plain tensor. Without the table *capsule keeps that memory, and what *out points to, as long as the
// reference lives; else it is NULL. No stream waits for another: kernels run on the current one. 0, or -1 with an exception.
int kpy_tensor_read(const kpy_torch *torch, PyObject *tensor, DLTensor *out, PyObject **capsule);
// For kernels on this thread, the current stream of a device.
int kpy_torch_stream_enter(kpy_stream *stream, const kpy_torch *torch, DLDevice device);

// Forward-mode AD: is a level open? -1 with an exception.
int kpy_forward_ad(const kpy_torch *torch);

// output.c

// A result, before a kernel writes it: one of these, which `dl` describes.
typedef struct kpy_output {
    void *tensor;                      // at::Tensor *
    DLManagedTensorVersioned *managed; //
    PyObject *object;                  //
    PyObject *capsule;                 // what `dl` points into, of some objects
    DLTensor dl;
} kpy_output;

// Memory of this type, without contents; *type is borrowed as long as `dl` is used. `like`: a tensor on the device; NULL: the CPU. 0, or -1
// with an exception; to be disposed either way.
int kpy_output_make(const kpy_torch *torch, const kn_tensor_type *type, PyObject *like,
                    kpy_output *out);
int kpy_output_zero(const kpy_torch *torch, kpy_output *out); // 0, or -1 with an exception
// The tensor; *out is empty then. NULL with an exception.
PyObject *kpy_output_take(const kpy_torch *torch, kpy_output *out);
void kpy_output_dispose(const kpy_torch *torch, kpy_output *out);

// The torch.dtype; new reference.
PyObject *kpy_torch_dtype(const kpy_torch *torch, DLDataType dtype);
// A torch.dtype of 8 bits that is a float; false: it is none, without an exception.
bool kpy_find_f8(const kpy_torch *torch, PyObject *torch_dtype, DLDataType *out);

#endif
