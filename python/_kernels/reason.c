// Why kernelize gave the modules of a class no kernel. Nothing is written on a module that keeps its own forward, so that it is kept beside
// the classes: the weak dictionary `reasons` has for each one a dictionary from (device, index) to (device, index, rule, reason, admits),
// the newest last.
#include "host.h"

static PyObject
    *reasons; // made when first needed: the module that has the type is not free to import

// The reasons of a class, NULL without an exception where there are none. A new reference.
static PyObject *reasons_of(PyObject *type, bool make)
{
    if (!reasons && make) {
        PyObject *weakref = PyImport_ImportModule("weakref");
        reasons = weakref ? PyObject_CallMethod(weakref, "WeakKeyDictionary", NULL) : NULL;
        Py_XDECREF(weakref);
    }
    if (!reasons)
        return NULL;
    PyObject *found = PyObject_CallMethod(reasons, "get", "O", type);
    if (found == Py_None) {
        Py_DECREF(found);
        found = make ? PyDict_New() : NULL;
        if (found && PyObject_SetItem(reasons, type, found) < 0)
            Py_CLEAR(found);
    }
    return found;
}

void kpy_declined(void *user, void *cls, const kn_host_reason *why)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    PyObject *all = reasons_of(((kpy_class *)cls)->type, why->reason != NULL);
    PyObject *key = all ? Py_BuildValue("ii", (int)why->device, (int)why->device_index) : NULL;
    PyObject *old = key ? PyDict_GetItemWithError(all, key) : NULL;
    if (old)
        PyDict_DelItem(all, key);
    PyObject *said = key && why->reason
                         ? Py_BuildValue("iiIss", (int)why->device, (int)why->device_index,
                                         (unsigned)why->rule, why->reason, why->admits)
                         : NULL;
    if (said)
        PyDict_SetItem(all, key, said);
    Py_XDECREF(said);
    Py_XDECREF(key);
    Py_XDECREF(all);
    PyErr_Clear(); // no memory, or a class that nothing can point to weakly: nothing is known
    kpy_run_give(run, taken);
}

void kpy_why(void *user, void *cls, kn_host_reason *out)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    int device = 0, index = 0;
    unsigned rule = 0;
    const char *reason = NULL, *admits = NULL;
    PyObject *all = reasons_of(((kpy_class *)cls)->type, false), *said = NULL;
    if (all && out->device == KN_DEVICE_NONE) {
        PyObject *values = PyDict_Values(all);
        const Py_ssize_t n = values ? PyList_Size(values) : 0;
        said = n > 0 ? Py_XNewRef(PyList_GetItem(values, n - 1)) : NULL;
        Py_XDECREF(values);
    } else if (all) {
        PyObject *key = Py_BuildValue("ii", (int)out->device, (int)out->device_index);
        said = key ? Py_XNewRef(PyDict_GetItemWithError(all, key)) : NULL;
        Py_XDECREF(key);
    }
    Py_XDECREF(run->said);
    run->said = said;
    if (said && PyArg_ParseTuple(said, "iiIss", &device, &index, &rule, &reason, &admits)) {
        out->device = (kn_device_type)device;
        out->device_index = index;
        out->rule = rule;
        out->reason = reason;
        out->admits = admits;
    }
    Py_XDECREF(all);
    PyErr_Clear();
    kpy_run_give(run, taken);
}
