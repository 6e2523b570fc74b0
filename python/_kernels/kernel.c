// Kernels of the process's context.
#include "kpy.h"

typedef struct kernel_object {
    PyObject head;
    const kn_kernel *kernel;
} kernel_object;

// The objects, by the addresses of what they stand for: the context is never closed, so neither goes.
static PyObject *kernel_objects;

static const kn_package *package_of(PyObject *self)
{
    return kn_kernel_package(((kernel_object *)self)->kernel);
}

const kn_kernel *kpy_kernel_of(PyObject *object)
{
    if (Py_IS_TYPE(object, (PyTypeObject *)kpy.kernel))
        return ((kernel_object *)object)->kernel;
    PyErr_Format(PyExc_TypeError, "a Kernel is needed, not %R", object);
    return NULL;
}

PyObject *kpy_kernel_object(const kn_kernel *kernel)
{
    PyObject *key = PyLong_FromVoidPtr((void *)(uintptr_t)kernel);
    PyObject *object = key ? PyDict_GetItemWithError(kernel_objects, key) : NULL;
    Py_XINCREF(object);
    if (key && !object && !PyErr_Occurred() && (object = kpy_new(kpy.kernel))) {
        ((kernel_object *)object)->kernel = kernel;
        if (PyDict_SetItem(kernel_objects, key, object) < 0)
            Py_CLEAR(object);
    }
    Py_XDECREF(key);
    return object;
}

static PyObject *text_tuple(const kn_kernel *kernel, size_t count,
                            const char *(*at)(const kn_kernel *kernel, size_t index))
{
    PyObject *out = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; out && i < count; ++i) {
        PyObject *text = PyUnicode_FromString(at(kernel, i));
        if (!text || PyTuple_SetItem(out, (Py_ssize_t)i, text) < 0)
            Py_CLEAR(out);
    }
    return out;
}

static const char *depend_at(const kn_kernel *kernel, size_t index)
{
    return kn_package_depend(kn_kernel_package(kernel), index);
}

static const char *file_at(const kn_kernel *kernel, size_t index)
{
    return kn_kernel_file(kernel, index);
}

static const char *layer_at(const kn_kernel *kernel, size_t index)
{
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    return kn_package_layer_get(kn_kernel_package(kernel), index, &layer, NULL) == KN_OK
               ? layer.name
               : "";
}

static PyObject *kernel_repo_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_kernel_repo_id(((kernel_object *)self)->kernel));
}

static PyObject *kernel_revision(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_kernel_revision(((kernel_object *)self)->kernel));
}

static PyObject *kernel_level(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_level_text(kn_kernel_level(((kernel_object *)self)->kernel)));
}

static PyObject *kernel_dir(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_DecodeFSDefault(kn_package_dir(package_of(self)));
}

static PyObject *kernel_variant(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_package_variant(package_of(self)));
}

static PyObject *kernel_name(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_package_name(package_of(self)));
}

static PyObject *kernel_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_package_id(package_of(self)));
}

static PyObject *kernel_version(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(kn_package_version(package_of(self)));
}

static PyObject *kernel_backend(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_package_backend(package_of(self)));
}

static PyObject *kernel_depends(PyObject *self, void *unused)
{
    (void)unused;
    return text_tuple(((kernel_object *)self)->kernel, kn_package_depend_count(package_of(self)),
                      depend_at);
}

static PyObject *kernel_is_hosted(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(kn_kernel_is_hosted(((kernel_object *)self)->kernel));
}

static PyObject *kernel_files(PyObject *self, void *unused)
{
    (void)unused;
    const kn_kernel *kernel = ((kernel_object *)self)->kernel;
    return text_tuple(kernel, kn_kernel_file_count(kernel), file_at);
}

static PyObject *kernel_layers(PyObject *self, void *unused)
{
    (void)unused;
    return text_tuple(((kernel_object *)self)->kernel, kn_package_layer_count(package_of(self)),
                      layer_at);
}

static PyObject *kernel_read(PyObject *self, PyObject *arg)
{
    kn_error err = KN_ERROR_INIT;
    char *bytes = NULL;
    size_t size = 0;
    kn_status st;
    const char *file = PyUnicode_AsUTF8AndSize(arg, NULL);
    if (!file)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_kernel_read(((kernel_object *)self)->kernel, file, &bytes, &size, &err);
    Py_END_ALLOW_THREADS;
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *out = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    kn_string_free(bytes);
    return out;
}

static PyObject *kernel_check_file(PyObject *self, PyObject *arg)
{
    kn_error err = KN_ERROR_INIT;
    char *path = NULL;
    kn_status st;
    const char *file = PyUnicode_AsUTF8AndSize(arg, NULL);
    if (!file)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_kernel_check_file(((kernel_object *)self)->kernel, file, &path, &err);
    Py_END_ALLOW_THREADS;
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *out = PyUnicode_DecodeFSDefault(path);
    kn_string_free(path);
    return out;
}

static PyObject *kernel_layer(PyObject *self, PyObject *arg)
{
    const char *name = PyUnicode_AsUTF8AndSize(arg, NULL);
    return name ? kpy_layer_object(((kernel_object *)self)->kernel, name) : NULL;
}

static PyObject *kernel_function(PyObject *self, PyObject *arg)
{
    kn_error err = KN_ERROR_INIT;
    const kn_function *function = NULL;
    const char *name = PyUnicode_AsUTF8AndSize(arg, NULL);
    if (!name)
        return NULL;
    const kn_status st = kn_kernel_function(((kernel_object *)self)->kernel, name, &function, &err);
    return st == KN_OK ? kpy_function_object(function, name) : kpy_fail(st, &err);
}

static PyObject *kernel_repr(PyObject *self)
{
    const kn_kernel *kernel = ((kernel_object *)self)->kernel;
    const char *repo_id = kn_kernel_repo_id(kernel);
    if (!repo_id[0])
        return PyUnicode_FromFormat("<Kernel %s>", kn_package_dir(package_of(self)));
    return PyUnicode_FromFormat("<Kernel %s@%s, %s>", repo_id, kn_kernel_revision(kernel),
                                kn_package_variant(package_of(self)));
}

static PyGetSetDef kernel_fields[] = {
    {"repo_id", kernel_repo_id, NULL, "Empty for a directory.", NULL},
    {"revision", kernel_revision, NULL, "The commit; empty for a directory.", NULL},
    {"level", kernel_level, NULL, "How far its bytes are to be believed.", NULL},
    {"dir", kernel_dir, NULL, "The variant's directory.", NULL},
    {"variant", kernel_variant, NULL, "The variant's name.", NULL},
    {"name", kernel_name, NULL, "By its metadata; so are the next ones.", NULL},
    {"id", kernel_id, NULL, "Unique for each build.", NULL},
    {"version", kernel_version, NULL, "-1: none.", NULL},
    {"backend", kernel_backend, NULL, "cpu, cuda, ...", NULL},
    {"depends", kernel_depends, NULL, "python-depends.", NULL},
    {"is_hosted", kernel_is_hosted, NULL, "It is imported, not called.", NULL},
    {"files", kernel_files, NULL, "What was checked, without byte code.", NULL},
    {"layers", kernel_layers, NULL, "Names of the native layers.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef kernel_methods[] = {
    {"read", kernel_read, METH_O, "The bytes of a file, which are those that were checked."},
    {"check_file", kernel_check_file, METH_O, "The file is what was checked; its real path."},
    {"layer", kernel_layer, METH_O, "A native layer by name."},
    {"function", kernel_function, METH_O, "A tvm-ffi function by name."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot kernel_slots[] = {
    {Py_tp_dealloc, (void *)kpy_dealloc},
    {Py_tp_repr, (void *)kernel_repr},
    {Py_tp_getset, kernel_fields},
    {Py_tp_methods, kernel_methods},
    {Py_tp_doc, (void *)(uintptr_t) "A kernel of this process."},
    {0, NULL},
};
static PyType_Spec kernel_spec = {"kernels._kernels.Kernel", sizeof(kernel_object), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                  kernel_slots};

int kpy_kernel_init(PyObject *module)
{
    kernel_objects = PyDict_New();
    kpy.kernel = PyType_FromSpec(&kernel_spec);
    if (!kernel_objects || !kpy.kernel)
        return -1;
    return PyModule_AddObjectRef(module, "Kernel", kpy.kernel);
}
