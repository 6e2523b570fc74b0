// A native layer as a forward: between call.c (the type), forward.c (the order of the checks), values.c (arguments and
// members), run.c and backward.c (kernels) and counter.c (what was counted).
#ifndef KPY_CALL_H
#define KPY_CALL_H

#include "layer/layer.h"
#include "load/function.h"
#include "tensor.h"

#define KPY_GRADS_MAX (2 * KN_LAYER_PARAMS_MAX)

typedef struct kpy_call {
    PyObject_HEAD PyObject *kernel; // HostKernel
    PyObject *own;
    PyObject *autograd;
    PyObject *operation;
    PyObject *compiled;
    const kn_host_kernel *host;
    const kn_layer *layer;
    int32_t n_inputs;
    int32_t n_outputs;
    int32_t n_members;
    int32_t n_grads;
    uint64_t has_grad; // bits of inputs and then members: backward makes their gradient
    int32_t dl_device_type;
    bool is_neutral; // the same under autocast
    bool has_warned; // of tensors on another device
    PyObject *input_names[KN_LAYER_PARAMS_MAX];
    PyObject *input_defaults[KN_LAYER_PARAMS_MAX]; // NULL: must be given
    PyObject *member_names[KN_LAYER_PARAMS_MAX];
    uint8_t
        grad_of[KPY_GRADS_MAX]; // of each outgoing gradient: what, among inputs and then members
} kpy_call;

// The values of one call. Not initialised as a whole.
typedef struct kpy_values {
    kn_call_args args;
    kn_value inputs[KN_LAYER_PARAMS_MAX];
    kn_value members[KN_LAYER_PARAMS_MAX];
    kn_mismatch mismatch;                // reason KN_FITS: it was not the guard that refused
    const char *reason;                  // why the call is refused; NULL: it is not
    bool is_elsewhere;                   // on another device of the right type
    const char *who;                     // the argument that `reason` is about; NULL: none
    PyObject *held[KN_LAYER_PARAMS_MAX]; // members
    int32_t n_held;
    int32_t n_tensors;
    PyObject *tensors[2 * KN_LAYER_PARAMS_MAX]; // borrowed
    kn_value *slots[2 * KN_LAYER_PARAMS_MAX];   // where each belongs
    DLTensor dl[2 * KN_LAYER_PARAMS_MAX];
    int32_t n_capsules;
    PyObject
        *capsules[2 * KN_LAYER_PARAMS_MAX]; // what `dl` points into, of a PyTorch without the table
} kpy_values;

// values.c. All of them: 1 when the call goes on, 0 when it is refused (values->reason), -1 with an exception. After the first,
// kpy_values_dispose.
int kpy_values_inputs(const kpy_call *call, const kpy_torch *torch, PyObject *const *args,
                      Py_ssize_t n, kpy_values *out);
// One value, for a slot. 0: a layer has no such kind of value.
int kpy_values_put(const kpy_torch *torch, PyObject *object, kn_value *slot, kpy_values *values);
int kpy_values_members(const kpy_call *call, const kpy_torch *torch, PyObject *module,
                       kpy_values *values);
// What PyTorch says of them, which lets others in; then what their memory says, which does not. The third is both.
int kpy_values_ask(const kpy_torch *torch, kpy_values *values);
int kpy_values_read(kpy_call *call, const kpy_torch *torch, kpy_values *values);
int kpy_values_check(kpy_call *call, const kpy_torch *torch, kpy_values *values);
void kpy_values_dispose(kpy_values *values);
// A refusal as an exception, for calls that must not fall back. NULL.
PyObject *kpy_values_raise(const kpy_call *call, const kpy_values *values);
// A member's value as the module has it, borrowed; NULL when it has none (with an exception when that could not be told).
PyObject *kpy_member(PyObject *module_dict, PyObject *name);

// run.c
PyObject *kpy_run(const kpy_call *call, const kpy_torch *torch, kpy_values *values);
// Calls the function on the tensors' device and stream. 0, or -1 with an exception.
int kpy_launch(const kpy_call *call, const kpy_torch *torch, const kn_function *function,
               const kni_call_frame *frame);

// forward.c
// Call.function(module, *args, **kwargs): the whole path.
PyObject *kpy_forward(PyObject *call, PyObject *const *args, Py_ssize_t n, PyObject *names);
// Call.run(module, *args): without what PyTorch may be doing.
PyObject *kpy_forward_run(PyObject *call, PyObject *const *args, Py_ssize_t n);

// backward.c. Call.run_backward(values, outputs, grads, needs)
PyObject *kpy_backward(PyObject *call, PyObject *args);

// counter.c. Adds one. 0, or -1 with an exception.
int kpy_count(PyObject *module, const char *reason);
int kpy_count_text(PyObject *module, PyObject *reason);
int kpy_counter_init(PyObject *module);

#endif
