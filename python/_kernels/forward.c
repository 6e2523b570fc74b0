// A native layer as the forward of a class or function.
//
// The order of the checks is that in which PyTorch's features hide one another: what changes the meaning of a tensor comes before
// what its fields say, and both before its memory is looked at.
#include "call.h"

#include <string.h>

// --- what PyTorch is doing ---

// Is something under way that a kernel would be hidden from? The reason in *reason. -1 with an exception.
static int is_transformed(const kpy_torch *torch, const char **reason)
{
    int yes =
        kpy_ask(&torch->functorch); // under its transforms plain tensors stand for wrapped ones
    *reason = kn_mismatch_reason_text(KN_MISMATCH_TRANSFORM);
    if (yes == 0) {
        yes = kpy_forward_ad(torch); // the tangent would be lost
        *reason = kn_mismatch_reason_text(KN_MISMATCH_FORWARD_AD);
    }
    if (yes == 0) {
        yes = kpy_ask(&torch->tracing); // the result would become a constant of the trace
        *reason = kn_mismatch_reason_text(KN_MISMATCH_TRACING);
    }
    return yes;
}

static int is_autocast(const kpy_call *call, const kpy_torch *torch)
{
    if (call->is_neutral)
        return 0;
    const int any = kpy_ask(&torch->autocast);
    if (any <= 0)
        return any;
    const char *device =
        call->host->device == KN_DEVICE_ROCM ? "cuda" : kn_device_type_name(call->host->device);
    PyObject *answer = PyObject_CallFunction(torch->is_autocast_enabled, "s", device);
    const int yes = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return yes;
}

enum {
    GRADIENTS_NONE,
    GRADIENTS_WANTED,
    GRADIENTS_UNDECLARED
}; // the last: of what backward makes none of

static int wants_gradients(const kpy_call *call, const kpy_torch *torch, const kpy_values *values)
{
    int wanted = kpy_ask(&torch->grad_enabled);
    if (wanted <= 0)
        return wanted;
    wanted = GRADIENTS_NONE;
    for (int32_t i = 0; i < values->n_tensors; ++i) {
        const int yes = kpy_requires_grad(torch, values->tensors[i]);
        if (yes < 0)
            return -1;
        if (!yes)
            continue;
        const kn_value *slot = values->slots[i];
        const ptrdiff_t at = slot >= values->members && slot < values->members + call->n_members
                                 ? slot - values->members + call->n_inputs
                                 : slot - values->inputs;
        if (call->host->backward && !(call->has_grad >> at & 1))
            return GRADIENTS_UNDECLARED;
        wanted = GRADIENTS_WANTED;
    }
    return wanted;
}

// --- the ways of a call ---

static bool is_set(const PyObject *callable)
{
    return callable && callable != Py_None;
}

typedef struct arguments {
    PyObject *module;
    PyObject *const *args;
    Py_ssize_t n;
    PyObject *names; // of the last ones; NULL: none
} arguments;

static PyObject *pass_to(PyObject *callable, const arguments *a)
{
    PyObject *const *v = a->args;
    const Py_ssize_t n = a->n;
    if (!a->names && n <= 3) // what nearly every layer takes
        return PyObject_CallFunctionObjArgs(callable, a->module, n > 0 ? v[0] : NULL,
                                            n > 1 ? v[1] : NULL, n > 2 ? v[2] : NULL, NULL);
    const Py_ssize_t n_names = a->names ? PyTuple_Size(a->names) : 0;
    PyObject *result = NULL, *tuple = PyTuple_New(n + 1), *keywords = n_names ? PyDict_New() : NULL;
    if (!tuple || (n_names && !keywords))
        goto done;
    for (Py_ssize_t i = 0; i <= n; ++i) {
        PyObject *item = i ? v[i - 1] : a->module;
        Py_INCREF(item);
        if (PyTuple_SetItem(tuple, i, item) < 0)
            goto done;
    }
    for (Py_ssize_t i = 0; i < n_names; ++i)
        if (PyDict_SetItem(keywords, PyTuple_GetItem(a->names, i), v[n + i]) < 0)
            goto done;
    result = PyObject_Call(callable, tuple, keywords);
done:
    Py_XDECREF(keywords);
    Py_XDECREF(tuple);
    return result;
}

static PyObject *fall_back(const kpy_call *call, const arguments *a, const char *reason)
{
    if (kpy_count(a->module, reason) < 0)
        PyErr_Clear(); // the call matters more than its count
    return pass_to(call->own, a);
}

static PyObject *refused(const kpy_call *call, const kpy_torch *torch, const arguments *a,
                         const arguments *placed, const kpy_values *values)
{
    // torch.export without dynamo traces with fake tensors. The generated forward asks for dynamo alone, which is cheaper.
    if (is_set(call->compiled) &&
        strcmp(values->reason, kn_mismatch_reason_text(KN_MISMATCH_SUBCLASS)) == 0) {
        const int compiling = kpy_ask(&torch->compiling);
        if (compiling != 0)
            return compiling < 0 ? NULL : pass_to(call->compiled, placed);
    }
    return call->host->strict ? kpy_values_raise(call, values) : fall_back(call, a, values->reason);
}

// Arguments by name as arguments by position. False when the layer has no such argument, or it came twice.
static bool place_names(const kpy_call *call, const arguments *a, PyObject **out, Py_ssize_t *n)
{
    const Py_ssize_t n_names = PyTuple_Size(a->names);
    if (a->n > call->n_inputs)
        return false;
    for (Py_ssize_t i = 0; i < call->n_inputs; ++i)
        out[i] = i < a->n ? a->args[i] : NULL;
    *n = a->n;
    for (Py_ssize_t k = 0; k < n_names; ++k) {
        PyObject *name = PyTuple_GetItem(a->names, k);
        Py_ssize_t i = 0;
        while (i < call->n_inputs && PyUnicode_Compare(call->input_names[i], name) != 0)
            ++i;
        if (i == call->n_inputs || out[i])
            return false;
        out[i] = a->args[a->n + k];
        *n = i + 1 > *n ? i + 1 : *n;
    }
    for (Py_ssize_t i = 0; i < *n; ++i)
        if (!out[i] && !(out[i] = call->input_defaults[i]))
            return false;
    return true;
}

// The result as a node of autograd: autograd((module, result), *inputs, *members). Takes the reference of `made`.
static PyObject *with_gradients(const kpy_call *call, const arguments *placed,
                                const kpy_values *values, PyObject *made)
{
    PyObject *result = NULL, *of_call = PyTuple_Pack(2, placed->module, made);
    PyObject *all = of_call ? PyTuple_New(1 + call->n_inputs + call->n_members) : NULL;
    int done = all ? PyTuple_SetItem(all, 0, of_call) : -1;
    if (!all)
        Py_XDECREF(of_call);
    for (int32_t i = 0; i < call->n_inputs + call->n_members && done == 0; ++i) {
        PyObject *value = i >= call->n_inputs ? values->held[i - call->n_inputs]
                          : i < placed->n     ? placed->args[i]
                                              : call->input_defaults[i];
        Py_INCREF(value);
        done = PyTuple_SetItem(all, 1 + i, value);
    }
    if (done == 0)
        result = PyObject_Call(call->autograd, all, NULL);
    Py_XDECREF(all);
    Py_DECREF(made);
    return result;
}

static PyObject *call_layer(kpy_call *call, const kpy_torch *torch, const arguments *a,
                            const arguments *placed, kpy_values *values)
{
    const char *reason = NULL;
    int go = kpy_values_inputs(call, torch, placed->args, placed->n, values);
    if (go == 0)
        return refused(call, torch, a, placed, values);
    go = is_transformed(torch, &reason);
    if (go != 0)
        return go < 0 ? NULL : fall_back(call, a, reason);
    go = kpy_ask(&torch->dispatch_modes); // modes see operators only
    if (go != 0)
        return go < 0 ? NULL
               : is_set(call->operation)
                   ? pass_to(call->operation, placed)
                   : fall_back(call, a, kn_mismatch_reason_text(KN_MISMATCH_DISPATCH));
    go = is_autocast(call, torch);
    if (go != 0)
        return go < 0 ? NULL : fall_back(call, a, kn_mismatch_reason_text(KN_MISMATCH_AUTOCAST));
    go = kpy_values_members(call, torch, placed->module, values);
    if (go <= 0)
        return go < 0 ? NULL : refused(call, torch, a, placed, values);
    const int gradients = wants_gradients(call, torch, values);
    if (gradients < 0)
        return NULL;
    if (gradients == GRADIENTS_UNDECLARED || (gradients && !is_set(call->autograd)))
        return fall_back(call, a, kn_mismatch_reason_text(KN_MISMATCH_GRADIENTS));
    go = kpy_values_check(call, torch, values);
    if (go <= 0)
        return go < 0 ? NULL : refused(call, torch, a, placed, values);
    PyObject *made = kpy_run(call, torch, values);
    if (!made)
        return values->reason ? refused(call, torch, a, placed, values) : NULL;
    return gradients ? with_gradients(call, placed, values, made) : made;
}

PyObject *kpy_forward(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    kpy_call *call = (kpy_call *)self;
    PyObject *by_position[KN_LAYER_PARAMS_MAX];
    kpy_values values;
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "a kernel's forward: called without a module");
        return NULL;
    }
    const arguments a = {.module = args[0], .args = args + 1, .n = n - 1, .names = names};
    arguments placed = {.module = a.module, .args = a.args, .n = a.n};
    const kpy_torch *torch = kpy_torch_get();
    if (!torch)
        return NULL;
    if (names && PyTuple_Size(names)) {
        placed.args = by_position;
        if (!place_names(call, &a, by_position, &placed.n))
            return fall_back(call, &a, kn_mismatch_reason_text(KN_MISMATCH_COUNT));
    }
    if (!torch->is_usable)
        return fall_back(call, &a, kn_mismatch_reason_text(KN_MISMATCH_FRAMEWORK));
    if (!torch->api && is_set(call->operation))
        return pass_to(call->operation, &placed);
    values.n_held = 0;
    values.n_capsules = 0;
    PyObject *result = call_layer(call, torch, &a, &placed, &values);
    kpy_values_dispose(&values);
    return result;
}

PyObject *kpy_forward_run(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    kpy_call *call = (kpy_call *)self;
    kpy_values values;
    PyObject *result = NULL;
    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "run: called without a module");
        return NULL;
    }
    const kpy_torch *torch = kpy_torch_get();
    if (!torch)
        return NULL;
    if (!torch->is_usable)
        Py_RETURN_NOTIMPLEMENTED;
    int go = kpy_values_inputs(call, torch, args + 1, n - 1, &values);
    if (go > 0)
        go = kpy_values_members(call, torch, args[0], &values);
    if (go > 0)
        go = kpy_values_check(call, torch, &values);
    if (go > 0)
        result = kpy_run(call, torch, &values);
    if (!result && go >= 0 && values.reason && !PyErr_Occurred()) {
        if (call->host->strict) {
            kpy_values_raise(call, &values);
        } else if (kpy_count(args[0], values.reason) == 0) {
            result = Py_NotImplemented;
            Py_INCREF(result);
        }
    }
    kpy_values_dispose(&values);
    return result;
}
