// The extension module, as its files see each other. One interpreter, one process, one state.
#ifndef KPY_H
#define KPY_H

#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <kernels/kernels.h>
#include <Python.h>

typedef struct kpy_state {
    PyObject *module;  // _kernels
    PyObject *hooks;   // kernels._hooks, imported at the first use; NULL before
    kn_context *ctx;   // opened at the first use; NULL before
    PyObject *mapping; // types; each is made by its file's init
    PyObject *plan;
    PyObject *kernel;
    PyObject *layer;
    PyObject *function;
    PyObject *candidate;
    PyObject *host_kernel;
    PyObject *call;
} kpy_state;

extern kpy_state kpy;

// Each file adds its types and functions to the module. 0, or -1 with an exception.
int kpy_context_init(PyObject *module);  // context.c
int kpy_mapping_init(PyObject *module);  // mapping.c: Mapping, EMPTY, mode_union, mode_check
int kpy_plan_init(PyObject *module);     // plan.c: Plan
int kpy_kernel_init(PyObject *module);   // kernel.c: Kernel
int kpy_layer_init(PyObject *module);    // layer.c: Layer
int kpy_function_init(PyObject *module); // function.c: Function
int kpy_hub_init(
    PyObject *module); // hub.c: get_kernel, fetch_kernel, choose_variants, resolve, versions
int kpy_host_kernel_init(PyObject *module); // host_kernel.c: HostKernel
int kpy_host_init(PyObject *module); // host.c: Candidate, kernelize, unkernelize, report, bound
int kpy_call_init(PyObject *module); // call.c: Call, fallback_counts

// error.c. Raises what a failed call of the core left in *err, and disposes it. If an exception is pending (a hook or host raised it),
// that one stays. Always NULL.
PyObject *kpy_fail(kn_status status, kn_error *err);
// Puts the pending exception into *err, as text, and keeps it for kpy_fail: for callbacks that the core calls. Returns `status`.
kn_status kpy_pass(kn_status status, kn_error *err);
// Forgets an exception that kpy_pass kept: the core went on in spite of it.
void kpy_forget(void);

// context.c. The process's context, opened at the first call; NULL with an exception.
kn_context *kpy_context(void);
// An attribute of kernels._hooks, new reference; NULL with an exception.
PyObject *kpy_hook(const char *name);
// What the process can run beside tvm-ffi (kernels._hooks.framework). 0, or -1 with an exception. The abi is valid until the process ends.
int kpy_framework(kn_framework *out);

// Objects around the core's. New references; NULL with an exception.
PyObject *kpy_mapping_object(kn_mapping *mapping);        // mapping.c; takes the reference
kn_mapping *kpy_mapping_of(PyObject *object);             // borrowed; NULL with TypeError
PyObject *kpy_plan_object(kn_plan *plan);                 // plan.c; takes the plan
kn_plan *kpy_plan_of(PyObject *object);                   // borrowed; NULL with TypeError
PyObject *kpy_trace_list(const kn_trace *trace);          // plan.c
PyObject *kpy_plan_apply(PyObject *plan, PyObject *args); // host.c: the method of Plan
PyObject *
kpy_kernel_object(const kn_kernel *kernel);       // kernel.c; the same object for the same kernel
const kn_kernel *kpy_kernel_of(PyObject *object); // borrowed; NULL with TypeError
PyObject *kpy_layer_object(const kn_kernel *kernel, const char *layer_name); // layer.c
const kn_layer *kpy_layer_of(PyObject *object); // borrowed; NULL with TypeError
PyObject *kpy_function_object(const kn_function *function, const char *name); // function.c

// module.c. A new object of one of our types, zeros after its head; NULL with an exception. And what ends it, without its fields.
PyObject *kpy_new(PyObject *type);
void kpy_dealloc(PyObject *self);
// host.c. Runs a call of the core with a Python object as the host of a model; what comes out is a Plan. name: of what Python called. NULL with an exception.
enum {
    KPY_LOOKS = 1, // asks where the model's tensors are
    KPY_SWAPS = 2,
    KPY_DECIDES = 4, // cannot do without a device
};
typedef kn_status (*kpy_host_call)(kn_context *ctx, const kn_host *host, void *data, kn_plan **plan,
                                   kn_error *err);
PyObject *kpy_with_host(const char *name, PyObject *model, PyObject *host, unsigned flags,
                        kpy_host_call call, void *data);

// host_kernel.c. Strings are copied; `hosted` is NULL or an object, of which it takes a reference of its own.
PyObject *kpy_host_kernel_object(const kn_host_kernel *kernel);
// What a HostKernel object stands for, borrowed as long as the object lives; NULL with TypeError.
const kn_host_kernel *kpy_host_kernel_of(PyObject *object);

// counter.c. Calls of a module (or function object) that went to the own forward so far, by kn_mismatch_reason. Raises nothing.
void kpy_fallbacks(PyObject *module, uint64_t *counts, size_t n_counts);

#endif
