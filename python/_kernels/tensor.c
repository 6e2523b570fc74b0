#include "tensor.h"

#include <string.h>

// --- looking up ---

static PyObject *look_up(PyObject *from, const char *path)
{
    char name[64];
    Py_INCREF(from);
    while (from && *path) {
        const size_t n = strcspn(path, ".");
        if (n >= sizeof(name))
            return NULL;
        memcpy(name, path, n);
        name[n] = '\0';
        path += n + (path[n] == '.');
        PyObject *next = PyObject_GetAttrString(from, name);
        Py_DECREF(from);
        from = next;
    }
    return from;
}

static int look_up_question(PyObject *torch, const char *path, kpy_question *out)
{
    out->callable = look_up(torch, path);
    if (!out->callable)
        return -1;
    if (!PyCFunction_Check(out->callable))
        return 0;
    out->flags = PyCFunction_GetFlags(out->callable);
    out->function = PyCFunction_GetFunction(out->callable);
    out->self = PyCFunction_GetSelf(out->callable);
    return 0;
}

static int look_up_methods(kpy_torch *t)
{
    t->requires_grad = PyObject_GetAttrString((PyObject *)t->tensor, "requires_grad");
    if (!t->requires_grad)
        return -1;
    t->get_requires_grad = (descrgetfunc)PyType_GetSlot(Py_TYPE(t->requires_grad), Py_tp_descr_get);
    PyObject *tensor = PyObject_CallMethod(t->torch, "empty", "i", 0);
    PyObject *is_neg = tensor ? PyObject_GetAttrString(tensor, "is_neg") : NULL;
    if (is_neg && PyCFunction_Check(is_neg) && PyCFunction_GetFlags(is_neg) == METH_NOARGS)
        t->is_neg = PyCFunction_GetFunction(is_neg); // the same for every tensor
    Py_XDECREF(is_neg);
    Py_XDECREF(tensor);
    return t->get_requires_grad && t->is_neg ? 0 : -1;
}

static int look_up_all(kpy_torch *t)
{
    PyObject *forward_ad = PyImport_ImportModule("torch.autograd.forward_ad");
    if (!forward_ad)
        return -1;
    t->forward_ad = PyModule_GetDict(forward_ad);
    Py_INCREF(t->forward_ad);
    Py_DECREF(forward_ad);
    t->empty_strided = PyObject_GetAttrString(t->torch, "empty_strided");
    t->is_autocast_enabled = PyObject_GetAttrString(t->torch, "is_autocast_enabled");
    if (!t->empty_strided || !t->is_autocast_enabled ||
        look_up_question(t->torch, "is_grad_enabled", &t->grad_enabled) < 0 ||
        look_up_question(t->torch, "_C._len_torch_dispatch_stack", &t->dispatch_modes) < 0 ||
        look_up_question(t->torch, "_C._is_tracing", &t->tracing) < 0 ||
        look_up_question(t->torch, "_C._are_functorch_transforms_active", &t->functorch) < 0 ||
        look_up_question(t->torch, "_C._is_any_autocast_enabled", &t->autocast) < 0 ||
        look_up_question(t->torch, "compiler.is_compiling", &t->compiling) < 0 ||
        look_up_methods(t) < 0)
        return -1;
    t->to_dlpack = look_up(t->torch, "utils.dlpack.to_dlpack");
    if (!t->to_dlpack || kpy_exchange_api(t->tensor, &t->api) < 0)
        return -1;
    kpy_output_look_up(t);
    return 0;
}

const kpy_torch *kpy_torch_get(void)
{
    static kpy_torch known; // written once, under the GIL
    static bool is_known;
    if (is_known)
        return &known;
    kpy_torch t = {.torch = PyImport_ImportModule("torch")};
    PyObject *parameter = t.torch ? look_up(t.torch, "nn.Parameter") : NULL;
    t.parameter = (PyTypeObject *)parameter;
    t.tensor = parameter ? (PyTypeObject *)look_up(t.torch, "Tensor") : NULL;
    if (!t.tensor)
        return NULL; // what was looked up is the process's
    t.is_usable = look_up_all(&t) == 0;
    if (!t.is_usable)
        PyErr_Clear(); // calls go to the own forward
    if (!is_known) {   // an import lets other threads in
        known = t;
        is_known = true;
    }
    return &known;
}

// --- asking ---

int kpy_ask(const kpy_question *q)
{
    static PyObject *empty;
    PyObject *answer;
    if (q->flags == METH_NOARGS && q->function) {
        answer = q->function(q->self, NULL);
    } else if (q->flags == (METH_VARARGS | METH_KEYWORDS) && q->function) {
        if (!empty && !(empty = PyTuple_New(0)))
            return -1;
        answer = ((PyCFunctionWithKeywords)(void (*)(void))q->function)(q->self, empty, NULL);
    } else {
        answer = PyObject_CallNoArgs(q->callable);
    }
    if (answer == Py_None || answer == Py_False) {
        Py_DECREF(answer);
        return 0;
    }
    const int truth = answer ? answer == Py_True ? 1 : PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

static int take_truth(PyObject *answer)
{
    const int truth = !answer ? -1 : answer == Py_True;
    Py_XDECREF(answer);
    return truth;
}

int kpy_requires_grad(const kpy_torch *torch, PyObject *tensor)
{
    return take_truth(
        torch->get_requires_grad(torch->requires_grad, tensor, (PyObject *)Py_TYPE(tensor)));
}

int kpy_is_neg(const kpy_torch *torch, PyObject *tensor)
{
    return take_truth(torch->is_neg(tensor, NULL));
}

int kpy_forward_ad(const kpy_torch *torch)
{
    static PyObject *name;
    if (!name && !(name = PyUnicode_InternFromString("_current_level")))
        return -1;
    PyObject *level = PyDict_GetItemWithError(torch->forward_ad, name);
    if (!level)
        return PyErr_Occurred() ? -1 : 1; // not known: not refused the careful way
    const long value = PyLong_AsLong(level);
    return value == -1 && PyErr_Occurred() ? -1 : value >= 0;
}

// --- memory ---

// As bytes, where PyTorch knows floats of 8 bits and its DLPack does not. The exception stays otherwise.
static PyObject *capsule_of_bytes(const kpy_torch *torch, PyObject *tensor, DLDataType *f8)
{
    PyObject *type, *value, *trace, *bytes = NULL, *capsule = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *dtype = PyObject_GetAttrString(tensor, "dtype");
    PyObject *uint8 = PyObject_GetAttrString(torch->torch, "uint8");
    if (dtype && uint8 && kpy_find_f8(torch, dtype, f8))
        bytes = PyObject_CallMethod(tensor, "view", "O", uint8);
    if (bytes)
        capsule = PyObject_CallFunctionObjArgs(torch->to_dlpack, bytes, NULL);
    Py_XDECREF(bytes);
    Py_XDECREF(uint8);
    Py_XDECREF(dtype);
    if (!capsule) {
        PyErr_Restore(type, value, trace); // replaces what came since
        return NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return capsule;
}

int kpy_tensor_read(const kpy_torch *torch, PyObject *tensor, DLTensor *out, PyObject **capsule)
{
    *capsule = NULL;
    if (torch->api)
        return torch->api->dltensor_from_py_object_no_sync(tensor, out) == 0 ? 0 : -1;
    // Not by the method `__dlpack__`: it refuses tensors on another device than the current one, and makes streams wait.
    DLDataType f8 = {.bits = 0};
    PyObject *detached = PyObject_CallMethod(tensor, "detach", NULL);
    if (detached)
        *capsule = PyObject_CallFunctionObjArgs(torch->to_dlpack, detached, NULL);
    if (detached && !*capsule)
        *capsule = capsule_of_bytes(torch, detached, &f8);
    Py_XDECREF(detached);
    // The name stays: a capsule that nobody has used frees what it holds.
    const DLManagedTensor *managed = *capsule ? PyCapsule_GetPointer(*capsule, "dltensor") : NULL;
    if (!managed) {
        Py_CLEAR(*capsule);
        return -1;
    }
    *out = managed->dl_tensor;
    if (f8.bits)
        out->dtype = f8;
    return 0;
}

// As PyTorch's Python has it. 0, or -1 with an exception.
static int current_stream(const kpy_torch *torch, DLDevice device, void **out)
{
    PyObject *cuda = PyObject_GetAttrString(torch->torch, "cuda");
    PyObject *stream =
        cuda ? PyObject_CallMethod(cuda, "current_stream", "i", (int)device.device_id) : NULL;
    PyObject *handle = stream ? PyObject_GetAttrString(stream, "cuda_stream") : NULL;
    if (handle)
        *out = PyLong_AsVoidPtr(handle);
    Py_XDECREF(handle);
    Py_XDECREF(stream);
    Py_XDECREF(cuda);
    return PyErr_Occurred() ? -1 : 0;
}

int kpy_torch_stream_enter(kpy_stream *stream, const kpy_torch *torch, DLDevice device)
{
    void *current = NULL;
    if (torch->api)
        return kpy_stream_enter(stream, torch->api, device);
    *stream = (kpy_stream){.device_type = 0};
    if (kpy_is_host_memory(device))
        return 0;
    return current_stream(torch, device, &current) < 0 ? -1
                                                       : kpy_stream_set(stream, device, current);
}
