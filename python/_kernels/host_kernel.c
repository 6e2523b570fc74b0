// HostKernel: what is to be bound to modules of a class, as an object of Python's.
#include "kpy.h"

#include <string.h>
#include <structmember.h>

enum { LAYER_NAME, REPOSITORY, REVISION, VARIANT, TEXT, TEXTS };

typedef struct host_kernel {
    PyObject_HEAD kn_host_kernel kernel; // its strings are those of the texts
    PyObject *texts[TEXTS];              // str
} host_kernel;

static void dealloc(PyObject *self)
{
    host_kernel *k = (host_kernel *)self;
    Py_XDECREF((PyObject *)k->kernel.hosted);
    for (int i = 0; i < TEXTS; ++i)
        Py_XDECREF(k->texts[i]);
    kpy_dealloc(self);
}

PyObject *kpy_host_kernel_object(const kn_host_kernel *kernel)
{
    host_kernel *k = (host_kernel *)kpy_new(kpy.host_kernel);
    if (!k)
        return NULL;
    k->kernel = *kernel;
    Py_XINCREF((PyObject *)k->kernel.hosted);
    const char **const fields[TEXTS] = {&k->kernel.layer_name, &k->kernel.repository,
                                        &k->kernel.revision, &k->kernel.variant, &k->kernel.text};
    for (int i = 0; i < TEXTS; ++i) {
        k->texts[i] = PyUnicode_FromString(*fields[i] ? *fields[i] : "");
        *fields[i] = k->texts[i] ? PyUnicode_AsUTF8AndSize(k->texts[i], NULL) : NULL;
        if (!*fields[i]) {
            Py_DECREF(k);
            return NULL;
        }
    }
    return (PyObject *)k;
}

const kn_host_kernel *kpy_host_kernel_of(PyObject *object)
{
    if (Py_TYPE(object) == (PyTypeObject *)kpy.host_kernel)
        return &((host_kernel *)object)->kernel;
    PyErr_Format(PyExc_TypeError, "%R: accepted a HostKernel", object);
    return NULL;
}

// --- made from Python: one layer of a kernel, or of a package directory for the CPU ---

static kn_status find_layer(kn_context *ctx, const char *path, kn_host_kernel *out, kn_error *err)
{
    kn_kernel *loaded = NULL;
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    kn_status st = KN_OK;
    if (path) {
        st = kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path), &loaded, NULL, err);
        out->kernel = loaded;
    }
    if (st == KN_OK)
        st = kn_package_layer_find(kn_kernel_package(out->kernel), out->layer_name, &layer, err);
    if (st == KN_OK)
        st = kn_kernel_function(out->kernel, kn_layer_function(layer.layer, false), &out->forward,
                                err);
    if (st == KN_OK && layer.has_backward)
        st = kn_kernel_function(out->kernel, kn_layer_function(layer.layer, true), &out->backward,
                                err);
    if (st == KN_OK)
        st = kn_device_type_parse(kn_package_backend(kn_kernel_package(out->kernel)), &out->device,
                                  err);
    if (st != KN_OK)
        return st;
    const char *repo_id = kn_kernel_repo_id(out->kernel);
    out->layer_name = layer.name;
    out->layer = layer.layer;
    out->variant = kn_package_variant(kn_kernel_package(out->kernel));
    out->revision = kn_kernel_revision(out->kernel);
    out->level = kn_kernel_level(out->kernel);
    out->repository = path         ? path
                      : repo_id[0] ? repo_id
                                   : kn_package_dir(kn_kernel_package(out->kernel));
    out->text = out->repository;
    return KN_OK;
}

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"kernel", "layer_name", "strict", "device_index", NULL};
    PyObject *from;
    const char *path = NULL;
    int strict = 0, device_index = -1;
    kn_error err = KN_ERROR_INIT;
    kn_host_kernel k = {.struct_size = sizeof(k), .mode = KN_MODE_INFERENCE};
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Os|pi", names, &from, &k.layer_name, &strict,
                                     &device_index))
        return NULL;
    k.strict = (uint32_t)strict;
    k.device_index = device_index;
    if (PyUnicode_Check(from))
        path = PyUnicode_AsUTF8AndSize(from, NULL);
    else
        k.kernel = kpy_kernel_of(from);
    kn_context *ctx = path || k.kernel ? kpy_context() : NULL;
    if (!ctx)
        return NULL;
    kn_status st;
    Py_BEGIN_ALLOW_THREADS;
    st = find_layer(ctx, path, &k, &err);
    Py_END_ALLOW_THREADS;
    return st == KN_OK ? kpy_host_kernel_object(&k) : kpy_fail(st, &err);
}

// --- what it says ---

static PyObject *get_kernel(PyObject *self, void *unused)
{
    const kn_kernel *kernel = ((host_kernel *)self)->kernel.kernel;
    (void)unused;
    if (kernel)
        return kpy_kernel_object(kernel);
    Py_RETURN_NONE;
}

static PyObject *get_layer(PyObject *self, void *unused)
{
    const kn_host_kernel *kernel = &((host_kernel *)self)->kernel;
    (void)unused;
    if (kernel->layer)
        return kpy_layer_object(kernel->kernel, kernel->layer_name);
    Py_RETURN_NONE;
}

static PyObject *get_hosted(PyObject *self, void *unused)
{
    PyObject *hosted = ((host_kernel *)self)->kernel.hosted;
    (void)unused;
    if (!hosted)
        hosted = Py_None;
    Py_INCREF(hosted);
    return hosted;
}

static PyObject *get_device(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_device_type_name(((host_kernel *)self)->kernel.device));
}

static PyObject *get_strict(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong((long)((host_kernel *)self)->kernel.strict);
}

static PyObject *get_mode(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(((host_kernel *)self)->kernel.mode);
}

static PyObject *get_level(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(kn_level_text(((host_kernel *)self)->kernel.level));
}

static PyObject *repr(PyObject *self)
{
    const kn_host_kernel *kernel = &((host_kernel *)self)->kernel;
    return PyUnicode_FromFormat("HostKernel(%s of %s on %s)", kernel->layer_name, kernel->text,
                                kn_device_type_name(kernel->device));
}

static PyGetSetDef getters[] = {
    {"kernel", get_kernel, NULL, NULL, NULL}, {"layer", get_layer, NULL, NULL, NULL},
    {"hosted", get_hosted, NULL, NULL, NULL}, {"device", get_device, NULL, NULL, NULL},
    {"strict", get_strict, NULL, NULL, NULL}, {"mode", get_mode, NULL, NULL, NULL},
    {"level", get_level, NULL, NULL, NULL},   {NULL, NULL, NULL, NULL, NULL},
};

#define TEXT_MEMBER(name, index)                                                                   \
    {                                                                                              \
        name, T_OBJECT, offsetof(host_kernel, texts) + (index) * sizeof(PyObject *), READONLY,     \
            NULL                                                                                   \
    }
static PyMemberDef members[] = {
    TEXT_MEMBER("layer_name", LAYER_NAME),
    TEXT_MEMBER("repository", REPOSITORY),
    TEXT_MEMBER("revision", REVISION),
    TEXT_MEMBER("variant", VARIANT),
    TEXT_MEMBER("text", TEXT),
    {"device_index", T_INT, offsetof(host_kernel, kernel.device_index), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "HostKernel(kernel, layer_name, strict=False, device_index=-1)\n\n"
                "What is to be bound to modules of a class. Made by kernelize; from Python: one "
                "layer of a package directory, for the CPU."},
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_repr, (void *)repr},
    {Py_tp_getset, getters},
    {Py_tp_members, members},
    {0, NULL},
};
static PyType_Spec spec = {.name = "kernels._kernels.HostKernel",
                           .basicsize = sizeof(host_kernel),
                           .flags = Py_TPFLAGS_DEFAULT,
                           .slots = slots};

int kpy_host_kernel_init(PyObject *module)
{
    kpy.host_kernel = PyType_FromSpec(&spec);
    return kpy.host_kernel ? PyModule_AddObjectRef(module, "HostKernel", kpy.host_kernel) : -1;
}
