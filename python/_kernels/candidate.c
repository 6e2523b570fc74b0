// Candidate: a kernel layer that the host looks at before it is taken.
#include "host.h"

#include <structmember.h> // after Python.h

typedef struct candidate {
    PyObject_HEAD PyObject *kernel;
    PyObject *layer;
    PyObject *layer_name;
    PyObject *object;
    PyObject *text;
} candidate;

static void candidate_dealloc(PyObject *self)
{
    candidate *c = (candidate *)self;
    Py_XDECREF(c->kernel);
    Py_XDECREF(c->layer);
    Py_XDECREF(c->layer_name);
    Py_XDECREF(c->object);
    Py_XDECREF(c->text);
    kpy_dealloc(self);
}

static PyMemberDef candidate_members[] = {
    {"kernel", T_OBJECT, offsetof(candidate, kernel), READONLY, NULL},
    {"layer", T_OBJECT, offsetof(candidate, layer), READONLY, NULL},
    {"layer_name", T_OBJECT, offsetof(candidate, layer_name), READONLY, NULL},
    {"object", T_OBJECT, offsetof(candidate, object), READONLY, NULL},
    {"text", T_OBJECT, offsetof(candidate, text), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot candidate_slots[] = {
    {Py_tp_doc, "A kernel layer that the host looks at before it is taken."},
    {Py_tp_dealloc, (void *)candidate_dealloc},
    {Py_tp_members, candidate_members},
    {0, NULL},
};
static PyType_Spec candidate_spec = {.name = "kernels._kernels.Candidate",
                                     .basicsize = sizeof(candidate),
                                     .flags =
                                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                     .slots = candidate_slots};

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

PyObject *kpy_candidate_object(const kn_host_candidate *from)
{
    candidate *c = (candidate *)kpy_new(kpy.candidate);
    if (!c)
        return NULL;
    PyObject *object = from->reference ? from->reference->object : NULL;
    c->kernel = from->kernel ? kpy_kernel_object(from->kernel) : none();
    if (c->kernel)
        c->layer = from->layer ? kpy_layer_object(from->kernel, from->layer_name) : none();
    if (c->layer)
        c->layer_name = PyUnicode_FromString(from->layer_name);
    if (c->layer_name)
        c->text = PyUnicode_FromString(from->text);
    c->object = object ? object : Py_None;
    Py_INCREF(c->object);
    if (!c->text)
        Py_CLEAR(c);
    return (PyObject *)c;
}

int kpy_candidate_init(PyObject *module)
{
    kpy.candidate = PyType_FromSpec(&candidate_spec);
    return kpy.candidate ? PyModule_AddObjectRef(module, "Candidate", kpy.candidate) : -1;
}
