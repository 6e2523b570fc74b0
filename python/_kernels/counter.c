// Calls that went to the own forward, counted by reason in the module's dictionary: copies and subtrees carry theirs along.
#include "call.h"

static PyObject *counter_type; // the process's
static PyObject *key;          // "_kernel_fallbacks"

typedef struct counter {
    PyObject_HEAD PyObject *counts; // dict: reason -> int
} counter;

static void dealloc(PyObject *self)
{
    Py_XDECREF(((counter *)self)->counts);
    kpy_dealloc(self);
}

// A pickle must load where this library is not, and what a copy does is counted anew: as a 0, which the next count replaces.
static PyObject *reduce(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return Py_BuildValue("(O())", (PyObject *)&PyLong_Type);
}

static PyObject *repr(PyObject *self)
{
    return PyUnicode_FromFormat("<fallbacks %R>", ((counter *)self)->counts);
}

static PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "Calls that went to the own forward, by reason."},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_repr, (void *)repr},
    {Py_tp_methods, methods},
    {0, NULL},
};
static PyType_Spec spec = {.name = "kernels._kernels.FallbackCounter",
                           .basicsize = sizeof(counter),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

// The counts of a module, a new reference: Python code of others may run while they are used. NULL without an exception when there are none and none are to be made.
static PyObject *find_counts(PyObject *module, bool make)
{
    PyObject *dict = PyObject_GenericGetDict(module, NULL);
    if (!dict)
        return NULL;
    PyObject *found = PyDict_GetItemWithError(dict, key);
    PyObject *counts = NULL;
    if (found && Py_TYPE(found) == (PyTypeObject *)counter_type) {
        counts = Py_NewRef(((counter *)found)->counts);
    } else if (make && !PyErr_Occurred()) {
        counter *c = (counter *)kpy_new(counter_type);
        if (c) {
            c->counts = PyDict_New();
            if (c->counts && PyDict_SetItem(dict, key, (PyObject *)c) == 0)
                counts = Py_NewRef(c->counts);
            Py_DECREF(c); // the dictionary's
        }
    }
    Py_DECREF(dict);
    return counts;
}

int kpy_count_text(PyObject *module, PyObject *reason)
{
    PyObject *counts = find_counts(module, true);
    if (!counts)
        return -1;
    PyObject *before = PyDict_GetItemWithError(counts, reason), *after = NULL;
    if (before || !PyErr_Occurred())
        after = PyLong_FromLongLong(before ? PyLong_AsLongLong(before) + 1 : 1);
    const int st = after ? PyDict_SetItem(counts, reason, after) : -1;
    Py_XDECREF(after);
    Py_DECREF(counts);
    return st;
}

int kpy_count(PyObject *module, const char *reason)
{
    PyObject *text = PyUnicode_FromString(reason);
    const int st = text ? kpy_count_text(module, text) : -1;
    Py_XDECREF(text);
    return st;
}

void kpy_fallbacks(PyObject *module, uint64_t *counts, size_t n_counts)
{
    PyObject *found = find_counts(module, false);
    for (size_t i = 0; found && i < n_counts; ++i) {
        PyObject *n =
            PyMapping_GetItemString(found, kn_mismatch_reason_text((kn_mismatch_reason)i));
        counts[i] = n ? PyLong_AsUnsignedLongLong(n) : 0;
        Py_XDECREF(n);
        PyErr_Clear();
    }
    Py_XDECREF(found);
    PyErr_Clear();
}

static PyObject *fallback_counts(PyObject *self, PyObject *module)
{
    (void)self;
    PyObject *counts = find_counts(module, false);
    if (PyErr_Occurred())
        return NULL;
    PyObject *copy = counts ? PyDict_Copy(counts) : PyDict_New();
    Py_XDECREF(counts);
    return copy;
}

static PyMethodDef functions[] = {
    {"fallback_counts", fallback_counts, METH_O,
     "fallback_counts(module, /)\n--\n\nCalls that went to the own forward, by reason."},
    {NULL, NULL, 0, NULL},
};

int kpy_counter_init(PyObject *module)
{
    key = PyUnicode_InternFromString("_kernel_fallbacks");
    counter_type = PyType_FromSpec(&spec);
    return key && counter_type ? PyModule_AddFunctions(module, functions) : -1;
}
