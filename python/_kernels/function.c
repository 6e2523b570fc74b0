// Functions of a kernel, called with what Python has: tensors, numbers, None.
#include <stdlib.h>

#include "borrow.h"
#include "kpy.h"

typedef struct function_object {
    PyObject head;
    const kn_function *function;
    PyObject *name;
} function_object;

PyObject *kpy_function_object(const kn_function *function, const char *name)
{
    PyObject *text = PyUnicode_FromString(name);
    PyObject *object = text ? kpy_new(kpy.function) : NULL;
    if (!object) {
        Py_XDECREF(text);
        return NULL;
    }
    ((function_object *)object)->function = function;
    ((function_object *)object)->name = text;
    return object;
}

static void dealloc(PyObject *self)
{
    Py_XDECREF(((function_object *)self)->name);
    kpy_dealloc(self);
}

// A number that is none of Python's own: what it says it is.
static int other_number(PyObject *arg, kn_value *out)
{
    PyObject *number = PyNumber_Index(arg);
    if (number) {
        *out = kn_int(PyLong_AsLongLong(number));
        Py_DECREF(number);
        return PyErr_Occurred() ? -1 : 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    PyErr_Clear();
    number = PyNumber_Float(arg);
    if (number) {
        *out = kn_float(PyFloat_AsDouble(number));
        Py_DECREF(number);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError))
        return -1;
    PyErr_Clear();
    return 0;
}

static int read_arg(const function_object *self, size_t index, PyObject *arg, kpy_borrowed *tensor,
                    kn_value *out)
{
    *out = kn_none();
    if (arg == Py_None)
        return 0;
    if (PyBool_Check(arg)) {
        *out = kn_bool(arg == Py_True);
        return 0;
    }
    if (PyLong_Check(arg)) {
        *out = kn_int(PyLong_AsLongLong(arg));
        return PyErr_Occurred() ? -1 : 0;
    }
    if (PyFloat_Check(arg)) {
        *out = kn_float(PyFloat_AsDouble(arg));
        return 0;
    }
    int is = kpy_borrow(arg, tensor);
    if (is > 0)
        *out = kn_tensor(&tensor->tensor);
    if (is == 0 && !PyUnicode_Check(arg) && !PyBytes_Check(arg))
        is = other_number(arg, out);
    if (is == 0)
        PyErr_Format(PyExc_TypeError,
                     "%U: argument %zu is %R; accepted are tensors, numbers and None", self->name,
                     index, Py_TYPE(arg));
    return is > 0 ? 0 : -1;
}

static PyObject *result_object(const kn_value *result)
{
    switch (result->type) {
    case KN_VALUE_INT:
        return PyLong_FromLongLong(result->as.integer);
    case KN_VALUE_BOOL:
        return PyBool_FromLong(result->as.integer != 0);
    case KN_VALUE_FLOAT:
        return PyFloat_FromDouble(result->as.number);
    default:
        Py_RETURN_NONE;
    }
}

// The stream of the first tensor that is not in host memory.
static int enter_stream(kpy_stream *stream, const kpy_borrowed *tensors, size_t count)
{
    *stream = (kpy_stream){.device_type = 0};
    for (size_t i = 0; i < count; ++i)
        if (tensors[i].api && !kpy_is_host_memory(tensors[i].tensor.device))
            return kpy_stream_enter(stream, tensors[i].api, tensors[i].tensor.device);
    return 0;
}

// Calls it on the stream that the tensors' framework works on now.
static PyObject *call_with(const function_object *self, const kn_value *values,
                           const kpy_borrowed *tensors, size_t count)
{
    kn_error err = KN_ERROR_INIT;
    kn_value result = kn_none();
    kpy_stream stream;
    size_t bytes = 0;
    kn_status st;
    if (enter_stream(&stream, tensors, count) < 0)
        return NULL;
    for (size_t i = 0; i < count; ++i)
        bytes += kpy_borrowed_bytes(&tensors[i]);
    PyThreadState *thread = bytes >= KPY_GIL_HELD_BYTES ? PyEval_SaveThread() : NULL;
    st = kn_function_call(self->function, values, (int32_t)count, &result, &err);
    if (thread)
        PyEval_RestoreThread(thread);
    kpy_stream_leave(&stream);
    return st == KN_OK ? result_object(&result) : kpy_fail(st, &err);
}

static PyObject *call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    const function_object *self = (function_object *)object;
    const Py_ssize_t n = PyTuple_Size(args);
    size_t done = 0;
    PyObject *out = NULL;
    if (n < 0 || n > INT32_MAX)
        return NULL;
    if (kwargs && PyDict_Size(kwargs) > 0)
        return PyErr_Format(PyExc_TypeError, "%U: takes no keyword arguments", self->name);
    const size_t count = (size_t)n;
    kn_value *values = calloc(count + 1, sizeof(*values));
    kpy_borrowed *tensors = calloc(count + 1, sizeof(*tensors));
    if (!values || !tensors) {
        PyErr_NoMemory();
        goto done;
    }
    for (; done < count; ++done)
        if (read_arg(self, done, PyTuple_GetItem(args, (Py_ssize_t)done), &tensors[done],
                     &values[done]) < 0)
            goto done;
    for (size_t i = 0; i < count; ++i)
        if (values[i].type == KN_VALUE_TENSOR &&
            kpy_borrowed_read(PyTuple_GetItem(args, (Py_ssize_t)i), &tensors[i]) < 0)
            goto done;
    out = call_with(self, values, tensors, count);
done:
    for (size_t i = 0; tensors && i < done; ++i)
        kpy_borrowed_release(&tensors[i]);
    free(tensors);
    free(values);
    return out;
}

static PyObject *repr(PyObject *self)
{
    return PyUnicode_FromFormat("<Function %U>", ((function_object *)self)->name);
}

static PyObject *name_get(PyObject *self, void *unused)
{
    (void)unused;
    PyObject *name = ((function_object *)self)->name;
    Py_INCREF(name);
    return name;
}

static PyGetSetDef fields[] = {
    {"name", name_get, NULL, "Without the prefix of its symbol.", NULL},
    {"__name__", name_get, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_call, (void *)call},
    {Py_tp_repr, (void *)repr},
    {Py_tp_getset, fields},
    {Py_tp_doc, (void *)(uintptr_t) "A tvm-ffi function of a kernel, called with tensors (anything "
                                    "with the DLPack exchange API or __dlpack__), numbers, None."},
    {0, NULL},
};
static PyType_Spec spec = {"kernels._kernels.Function", sizeof(function_object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

int kpy_function_init(PyObject *module)
{
    kpy.function = PyType_FromSpec(&spec);
    return kpy.function ? PyModule_AddObjectRef(module, "Function", kpy.function) : -1;
}
