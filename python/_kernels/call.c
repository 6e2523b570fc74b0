// Call: what the generated forward of a class or function holds.
#include "call.h"

#include <string.h>
#include <structmember.h>

#include "layer/program.h"

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    kpy_call *c = (kpy_call *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(c->kernel);
    Py_VISIT(c->own);
    Py_VISIT(c->autograd);
    Py_VISIT(c->operation);
    Py_VISIT(c->compiled);
    return 0;
}

static int clear(PyObject *self)
{
    kpy_call *c = (kpy_call *)self;
    Py_CLEAR(c->own);
    Py_CLEAR(c->autograd);
    Py_CLEAR(c->operation);
    Py_CLEAR(c->compiled);
    return 0;
}

static void dealloc(PyObject *self)
{
    kpy_call *c = (kpy_call *)self;
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_CLEAR(c->kernel); // what it stands for is borrowed as long as this object lives
    for (int i = 0; i < KN_LAYER_PARAMS_MAX; ++i) {
        Py_XDECREF(c->input_names[i]);
        Py_XDECREF(c->input_defaults[i]);
        Py_XDECREF(c->member_names[i]);
    }
    kpy_dealloc(self);
}

static PyObject *default_object(const kn_param *param)
{
    const kn_value *v = &param->default_value;
    switch (param->has_default ? v->type : KN_VALUE_NONE) {
    case KN_VALUE_INT:
        return PyLong_FromLongLong(v->as.integer);
    case KN_VALUE_BOOL:
        return PyBool_FromLong(v->as.integer != 0);
    case KN_VALUE_FLOAT:
        return PyFloat_FromDouble(v->as.number);
    default:
        Py_INCREF(Py_None);
        return Py_None;
    }
}

static int fill_names(kpy_call *c)
{
    kn_param param = {.struct_size = sizeof(param)};
    for (int32_t i = 0; i < c->n_inputs; ++i) {
        kn_layer_param(c->layer, KN_PARAM_INPUT, (size_t)i, &param, NULL);
        c->input_names[i] = PyUnicode_InternFromString(param.name);
        if (param.has_default || param.optional)
            c->input_defaults[i] = default_object(&param);
    }
    for (int32_t i = 0; i < c->n_members; ++i) {
        kn_layer_param(c->layer, KN_PARAM_MEMBER, (size_t)i, &param, NULL);
        c->member_names[i] = PyUnicode_InternFromString(param.name);
    }
    const kn_layer *layer = c->layer;
    for (int32_t i = 0; i < c->n_grads; ++i) {
        const uint8_t slot = layer->params[layer->first[KN_PARAM_GRAD_OUTPUT] + i].grad_slot;
        c->grad_of[i] = layer->params[slot].list == KN_PARAM_INPUT
                            ? slot
                            : (uint8_t)(slot - layer->first[KN_PARAM_MEMBER] + c->n_inputs);
        c->has_grad |= UINT64_C(1) << c->grad_of[i];
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int32_t dl_type_of(kn_device_type device)
{
    return device == KN_DEVICE_CPU    ? kDLCPU
           : device == KN_DEVICE_CUDA ? kDLCUDA
           : device == KN_DEVICE_ROCM ? kDLROCM
                                      : 0;
}

static int fill(kpy_call *c, PyObject *kernel, PyObject *own)
{
    c->host = kpy_host_kernel_of(kernel);
    if (!c->host)
        return -1;
    c->layer = c->host->layer;
    c->dl_device_type = dl_type_of(c->host->device);
    if (!c->layer || !c->host->forward || !c->dl_device_type) {
        PyErr_Format(PyExc_TypeError,
                     "%R: accepted a native layer with a kernel for cpu, cuda or rocm", kernel);
        return -1;
    }
    if (!PyCallable_Check(own)) {
        PyErr_Format(PyExc_TypeError, "%R: accepted the own forward, a callable", own);
        return -1;
    }
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    c->is_neutral = kn_package_layer_find(kn_kernel_package(c->host->kernel), c->host->layer_name,
                                          &layer, NULL) == KN_OK &&
                    strcmp(layer.autocast, "neutral") == 0;
    c->n_inputs = (int32_t)kn_layer_param_count(c->layer, KN_PARAM_INPUT);
    c->n_outputs = (int32_t)kn_layer_param_count(c->layer, KN_PARAM_OUTPUT);
    c->n_members = (int32_t)kn_layer_param_count(c->layer, KN_PARAM_MEMBER);
    c->n_grads = (int32_t)kn_layer_param_count(c->layer, KN_PARAM_GRAD_OUTPUT);
    return fill_names(c);
}

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *kernel, *own;
    if (keywords && PyDict_Size(keywords)) {
        PyErr_SetString(PyExc_TypeError, "Call: accepted kernel and own, by position");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO:Call", &kernel, &own))
        return NULL;
    kpy_call *c = (kpy_call *)kpy_new((PyObject *)type);
    if (!c)
        return NULL;
    Py_INCREF(kernel);
    Py_INCREF(own);
    Py_INCREF(Py_None);
    Py_INCREF(Py_None);
    Py_INCREF(Py_None);
    c->kernel = kernel;
    c->own = own;
    c->autograd = Py_None;
    c->operation = Py_None;
    c->compiled = Py_None;
    if (fill(c, kernel, own) < 0) {
        Py_DECREF(c);
        return NULL;
    }
    return (PyObject *)c;
}

// A new builtin each time: kept, it would be a cycle.
static PyObject *get_function(PyObject *self, void *unused)
{
    static PyMethodDef definition = {
        "forward", (PyCFunction)(void (*)(void))kpy_forward, METH_FASTCALL | METH_KEYWORDS,
        "forward($self, module, /, *args, **kwargs)\n--\n\nThe kernel, where the call fits it."};
    (void)unused;
    return PyCFunction_NewEx(&definition, self, NULL);
}

static PyObject *get_members(PyObject *self, PyObject *module)
{
    const kpy_call *call = (const kpy_call *)self;
    kpy_values values;
    const kpy_torch *torch = kpy_torch_get();
    if (!torch)
        return NULL;
    kpy_values_inputs(call, torch, NULL, 0, &values);
    const int go = kpy_values_members(call, torch, module, &values);
    PyObject *result = go > 0 ? PyTuple_New(call->n_members) : NULL;
    for (int32_t i = 0; result && i < call->n_members; ++i) {
        Py_INCREF(values.held[i]);
        if (PyTuple_SetItem(result, i, values.held[i]) < 0)
            Py_CLEAR(result);
    }
    kpy_values_dispose(&values);
    if (go == 0)
        Py_RETURN_NONE;
    return result;
}

static PyObject *count(PyObject *self, PyObject *args)
{
    PyObject *module, *reason;
    (void)self;
    if (!PyArg_ParseTuple(args, "OU:count", &module, &reason) || kpy_count_text(module, reason) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyGetSetDef getters[] = {
    {"function", get_function, NULL, "The whole path, called as function(module, *args).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef fields[] = {
    {"kernel", T_OBJECT, offsetof(kpy_call, kernel), READONLY, NULL},
    {"own", T_OBJECT, offsetof(kpy_call, own), READONLY, NULL},
    {"autograd", T_OBJECT_EX, offsetof(kpy_call, autograd), 0, NULL},
    {"operator", T_OBJECT_EX, offsetof(kpy_call, operation), 0, NULL},
    {"compiled", T_OBJECT_EX, offsetof(kpy_call, compiled), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))kpy_forward_run, METH_FASTCALL,
     "run($self, module, /, *args)\n--\n\nGuard and kernel alone; NotImplemented when refused."},
    {"run_backward", kpy_backward, METH_VARARGS,
     "run_backward($self, values, outputs, grads, needs, /)\n--\n\nGradients of inputs, then "
     "members; None when refused."},
    {"members", get_members, METH_O,
     "members($self, module, /)\n--\n\nThe members' values; None when one is missing or no plain "
     "one."},
    {"count", count, METH_VARARGS, "count($self, module, reason, /)\n--\n\nOne more fallback."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc,
     "Call(kernel, own, /)\n--\n\nA native layer as a forward: guard, kernel, own forward."},
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse},
    {Py_tp_clear, (void *)clear},
    {Py_tp_getset, getters},
    {Py_tp_members, fields},
    {Py_tp_methods, methods},
    {0, NULL},
};
static PyType_Spec spec = {.name = "kernels._kernels.Call",
                           .basicsize = sizeof(kpy_call),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                           .slots = slots};

int kpy_call_init(PyObject *module)
{
    kpy.call = PyType_FromSpec(&spec);
    if (!kpy.call || PyModule_AddObjectRef(module, "Call", kpy.call) < 0)
        return -1;
    return kpy_counter_init(module);
}
