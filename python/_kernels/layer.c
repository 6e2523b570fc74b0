// Native layers of a kernel, as data.
#include "kpy.h"

typedef struct layer_object {
    PyObject head;
    const kn_kernel *kernel;
    kn_package_layer of;
} layer_object;

const kn_layer *kpy_layer_of(PyObject *object)
{
    if (Py_IS_TYPE(object, (PyTypeObject *)kpy.layer))
        return ((layer_object *)object)->of.layer;
    PyErr_Format(PyExc_TypeError, "a Layer is needed, not %R", object);
    return NULL;
}

PyObject *kpy_layer_object(const kn_kernel *kernel, const char *layer_name)
{
    kn_error err = KN_ERROR_INIT;
    kn_package_layer of = KN_PACKAGE_LAYER_INIT;
    const kn_status st = kn_package_layer_find(kn_kernel_package(kernel), layer_name, &of, &err);
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *object = kpy_new(kpy.layer);
    if (object) {
        ((layer_object *)object)->kernel = kernel;
        ((layer_object *)object)->of = of;
    }
    return object;
}

static PyObject *value_object(const kn_param *param)
{
    if (!param->has_default)
        Py_RETURN_NONE;
    switch (param->default_value.type) {
    case KN_VALUE_INT:
        return PyLong_FromLongLong(param->default_value.as.integer);
    case KN_VALUE_BOOL:
        return PyBool_FromLong(param->default_value.as.integer != 0);
    case KN_VALUE_FLOAT:
        return PyFloat_FromDouble(param->default_value.as.number);
    default:
        Py_RETURN_NONE;
    }
}

static const char *kind_name(kn_param_kind kind)
{
    switch (kind) {
    case KN_PARAM_TENSOR:
        return "tensor";
    case KN_PARAM_INT:
        return "int";
    case KN_PARAM_FLOAT:
        return "float";
    case KN_PARAM_BOOL:
        return "bool";
    }
    return "";
}

static PyObject *param_tuple(const kn_param *param, kn_param_list list)
{
    PyObject *may_lack = param->optional || param->has_default ? Py_True : Py_False;
    if (list == KN_PARAM_MEMBER)
        return Py_BuildValue("(ssO)", param->name, kind_name(param->kind), may_lack);
    PyObject *value = value_object(param);
    return value ? Py_BuildValue("(ssON)", param->name, kind_name(param->kind), may_lack, value)
                 : NULL;
}

static PyObject *params(const kn_layer *layer, kn_param_list list)
{
    PyObject *out = PyList_New(0);
    for (size_t i = 0; out && i < kn_layer_param_count(layer, list); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_param param = {.struct_size = sizeof(param)};
        const kn_status st = kn_layer_param(layer, list, i, &param, &err);
        PyObject *row = st == KN_OK ? param_tuple(&param, list) : kpy_fail(st, &err);
        if (!row || PyList_Append(out, row) < 0)
            Py_CLEAR(out);
        Py_XDECREF(row);
    }
    return out;
}

static PyObject *layer_inputs(PyObject *self, PyObject *unused)
{
    (void)unused;
    return params(((layer_object *)self)->of.layer, KN_PARAM_INPUT);
}

static PyObject *layer_members(PyObject *self, PyObject *unused)
{
    (void)unused;
    return params(((layer_object *)self)->of.layer, KN_PARAM_MEMBER);
}

static PyObject *layer_json(PyObject *self, PyObject *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    char *text = NULL;
    const kn_status st = kn_layer_json(((layer_object *)self)->of.layer, &text, &err);
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *out = PyUnicode_FromString(text);
    kn_string_free(text);
    return out;
}

static PyObject *layer_tolerance(PyObject *self, PyObject *arg)
{
    DLDataType dtype;
    const layer_object *layer = (layer_object *)self;
    const char *name = PyUnicode_AsUTF8AndSize(arg, NULL);
    if (!name)
        return NULL;
    if (!kn_dtype_parse(name, &dtype)) {
        PyErr_Format(PyExc_ValueError,
                     "'%s' is no dtype; accepted are f32, f16, bf16, i64 and such", name);
        return NULL;
    }
    return PyFloat_FromDouble(
        kn_package_layer_tolerance(kn_kernel_package(layer->kernel), layer->of.name, dtype));
}

static PyObject *layer_get(PyObject *self, void *what)
{
    const kn_package_layer *of = &((layer_object *)self)->of;
    switch (*(const char *)what) {
    case 'n':
        return PyUnicode_FromString(of->name);
    case 'b':
        return PyBool_FromLong(of->has_backward != 0);
    case 'c':
        return PyBool_FromLong(of->can_torch_compile != 0);
    default:
        return PyUnicode_FromString(of->autocast);
    }
}

static PyGetSetDef layer_fields[] = {
    {"name", layer_get, NULL, "Its name in the package.", (void *)(uintptr_t) "n"},
    {"has_backward", layer_get, NULL, "It may serve training.", (void *)(uintptr_t) "b"},
    {"can_torch_compile", layer_get, NULL, "It may serve torch.compile.", (void *)(uintptr_t) "c"},
    {"autocast", layer_get, NULL, "neutral, lower, f32; empty when not declared.",
     (void *)(uintptr_t) "a"},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef layer_methods[] = {
    {"json", layer_json, METH_NOARGS, "The program as data."},
    {"inputs", layer_inputs, METH_NOARGS, "(name, kind, may be left out, default) of each."},
    {"members", layer_members, METH_NOARGS, "(name, kind, may be missing) of each."},
    {"tolerance", layer_tolerance, METH_O, "Declared for a dtype; 0.0: none is."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot layer_slots[] = {
    {Py_tp_dealloc, (void *)kpy_dealloc},
    {Py_tp_getset, layer_fields},
    {Py_tp_methods, layer_methods},
    {Py_tp_doc, (void *)(uintptr_t) "A native layer of a package."},
    {0, NULL},
};
static PyType_Spec layer_spec = {"kernels._kernels.Layer", sizeof(layer_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 layer_slots};

int kpy_layer_init(PyObject *module)
{
    kpy.layer = PyType_FromSpec(&layer_spec);
    return kpy.layer ? PyModule_AddObjectRef(module, "Layer", kpy.layer) : -1;
}
