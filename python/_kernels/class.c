// Classes of a run: what the host says of each, and their variants for modules that are refused for what they are themselves.
#include <stdlib.h>

#include "host.h"

static void free_class(kpy_class *cls)
{
    while (cls) {
        kpy_class *next = cls->variants;
        Py_XDECREF(cls->type);
        Py_XDECREF(cls->name);
        Py_XDECREF(cls->layer);
        Py_XDECREF(cls->refusal);
        Py_XDECREF(cls->condition);
        free(cls);
        cls = next;
    }
}

kpy_class *kpy_class_find(kpy_run *run, PyObject *type)
{
    void **place = kpy_map_at(&run->classes, type);
    if (!place) {
        PyErr_NoMemory();
        return NULL;
    }
    if (*place)
        return *place;
    kpy_class *cls = calloc(1, sizeof(*cls));
    if (!cls) {
        PyErr_NoMemory();
        return NULL;
    }
    Py_INCREF(type);
    cls->type = type;
    PyObject *answer = PyObject_CallMethod(run->host, "describe", "O", type);
    if (!answer || !PyArg_ParseTuple(answer, "UOO", &cls->name, &cls->layer, &cls->refusal)) {
        cls->name = cls->layer = cls->refusal = NULL;
        goto failed;
    }
    Py_INCREF(cls->name);
    Py_INCREF(cls->layer);
    Py_INCREF(cls->refusal);
    Py_CLEAR(answer);
    if (cls->layer != Py_None &&
        !(cls->condition = PyObject_GetAttrString(type, "kernel_condition"))) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            goto failed;
        PyErr_Clear();
    }
    if (cls->condition == Py_None)
        Py_CLEAR(cls->condition);
    place = kpy_map_at(&run->classes, type); // describe may have grown it
    if (!place) {
        PyErr_NoMemory();
        goto failed;
    }
    *place = cls;
    return cls;
failed:
    Py_XDECREF(answer);
    free_class(cls);
    return NULL;
}

// Gives a module the variant of its class that is refused for a reason of the module's own. Steals `refusal`, which may be NULL with an
// exception. 0, or -1 with an exception.
static int refuse(kpy_module *m, PyObject *refusal)
{
    kpy_class *cls = m->cls, *v = cls->variants;
    if (!refusal)
        return -1;
    while (v && PyUnicode_Compare(v->refusal, refusal) != 0)
        v = v->variants;
    if (v || !(v = calloc(1, sizeof(*v)))) {
        Py_DECREF(refusal);
        m->cls = v;
        return v ? 0 : (PyErr_NoMemory(), -1);
    }
    *v = *cls;
    v->refusal = refusal;
    v->condition = NULL;
    Py_INCREF(v->type);
    Py_INCREF(v->name);
    Py_INCREF(v->layer);
    cls->variants = v;
    m->cls = v;
    return 0;
}

int kpy_class_settle(kpy_run *run, kpy_module *m)
{
    kpy_place place;
    if (m->cls->condition) {
        PyObject *answer = PyObject_CallFunctionObjArgs(m->cls->condition, m->object, NULL);
        const int yes = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
        if (yes < 0)
            return -1;
        if (!yes)
            return refuse(m, PyUnicode_FromString(
                                 "the condition of its class (condition=) declined the module"));
    }
    int done = kpy_place_find(m->object, run->host, &place);
    if (done == 0 && place.state != KN_HOST_OWN && place.state != KN_HOST_KERNEL)
        done = refuse(m, PyObject_CallMethod(run->host, "foreign", "OO", place.value,
                                             place.state == KN_HOST_FOREIGN ? Py_False : Py_True));
    kpy_place_dispose(&place);
    return done;
}

int kpy_class_refuse_compiled(kpy_module *m)
{
    if (refuse(m, PyUnicode_FromString("a ScriptModule: its layers are compiled already; kernelize "
                                       "the model before it is scripted")) < 0)
        return -1;
    if (m->cls->layer != Py_None)
        return 0;
    PyObject *nameless = PyUnicode_FromString("");
    if (!nameless)
        return -1;
    Py_DECREF(m->cls->layer);
    m->cls->layer = nameless;
    return 0;
}

void kpy_classes_dispose(kpy_run *run)
{
    for (size_t i = 0; i < run->classes.capacity; ++i)
        free_class(run->classes.values[i]);
    kpy_map_dispose(&run->classes);
}
