// The process's context: opened at the first use, never closed, since code that was loaded stays.
#include <stdlib.h>
#include <string.h>

#include "kpy.h"

PyObject *kpy_hook(const char *name)
{
    if (!kpy.hooks && !(kpy.hooks = PyImport_ImportModule("kernels._hooks")))
        return NULL;
    return PyObject_GetAttrString(kpy.hooks, name);
}

// What a handler of the logging raised to end the process or the call (KeyboardInterrupt, SystemExit), the first: a line cannot fail what
// is under way, so it is raised in the main thread when that runs Python again. Under the GIL.
static PyObject *late_type, *late_value, *late_traceback;

static int raise_late(void *unused)
{
    (void)unused;
    PyErr_Restore(late_type, late_value, late_traceback);
    late_type = late_value = late_traceback = NULL;
    return -1;
}

static void keep_late(void)
{
    if (late_type || Py_AddPendingCall(raise_late, NULL) < 0)
        PyErr_WriteUnraisable(NULL);
    else
        PyErr_Fetch(&late_type, &late_value, &late_traceback);
}

// Lines of the core, on whichever thread works. An error of this process's logging is its own affair.
static void on_log(void *user, kn_log_level level, const char *text)
{
    (void)user;
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *hook = kpy_hook("log");
    PyObject *done = hook ? PyObject_CallFunction(hook, "is", (int)level, text) : NULL;
    if (!done && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_WriteUnraisable(hook);
    else if (!done)
        keep_late();
    Py_XDECREF(done);
    Py_XDECREF(hook);
    PyErr_Restore(type, value, traceback);
    PyGILState_Release(gil);
}

// Called while something is fetched: a signal handler that raises (Ctrl-C) ends it.
static int on_progress(void *user, const kn_progress *progress)
{
    (void)user, (void)progress;
    const PyGILState_STATE gil = PyGILState_Ensure();
    const int stop = PyErr_CheckSignals();
    if (stop)
        kpy_pass(KN_ERR_CANCELLED, NULL);
    PyGILState_Release(gil);
    return stop;
}

static char *text_hook(const char *name)
{
    PyObject *hook = kpy_hook(name);
    PyObject *answer = hook ? PyObject_CallFunctionObjArgs(hook, NULL) : NULL;
    Py_XDECREF(hook);
    if (!answer)
        return NULL;
    const char *text = answer == Py_None ? "" : PyUnicode_AsUTF8AndSize(answer, NULL);
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        PyErr_NoMemory();
    Py_DECREF(answer);
    return copy;
}

kn_context *kpy_context(void)
{
    kn_error err = KN_ERROR_INIT;
    kn_context *ctx = NULL;
    if (kpy.ctx)
        return kpy.ctx;
    char *tvm_ffi = text_hook("tvm_ffi");
    if (!tvm_ffi)
        return NULL;
    const kn_hub_options hub = {
        .struct_size = sizeof(hub), .progress = on_progress, .flags = KN_HUB_FOLLOW_REDIRECTS};
    const kn_context_options options = {.struct_size = sizeof(options),
                                        .tvm_ffi = tvm_ffi[0] ? tvm_ffi : NULL,
                                        .log = on_log,
                                        .hub = &hub};
    const kn_status st = kn_context_open(&options, &ctx, &err);
    free(tvm_ffi);
    if (st != KN_OK) {
        kpy_fail(st, &err);
        return NULL;
    }
    if (kpy.ctx) // the hook let another thread in
        kn_context_close(ctx);
    else
        kpy.ctx = ctx;
    return kpy.ctx;
}

int kpy_framework(kn_framework *out)
{
    static char abi[16]; // the process's PyTorch does not change
    const char *text = NULL;
    *out = (kn_framework){.struct_size = sizeof(*out)};
    PyObject *hook = kpy_hook("framework");
    PyObject *answer = hook ? PyObject_CallFunctionObjArgs(hook, NULL) : NULL;
    Py_XDECREF(hook);
    if (!answer)
        return -1;
    if (answer != Py_None &&
        !PyArg_ParseTuple(answer, "iiz", &out->torch_major, &out->torch_minor, &text)) {
        Py_DECREF(answer);
        return -1;
    }
    if (text && strlen(text) < sizeof(abi)) {
        memcpy(abi, text, strlen(text) + 1);
        out->torch_abi = abi;
    }
    Py_DECREF(answer);
    return 0;
}

static PyObject *is_offline(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    kn_context *ctx = kpy_context();
    return ctx ? PyBool_FromLong(kn_hub_is_offline(kn_context_hub(ctx))) : NULL;
}

static PyObject *endpoint(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    kn_context *ctx = kpy_context();
    return ctx ? PyUnicode_FromString(kn_hub_endpoint(kn_context_hub(ctx))) : NULL;
}

static PyObject *cache_dir(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    kn_context *ctx = kpy_context();
    return ctx ? PyUnicode_FromString(kn_hub_cache_dir(kn_context_hub(ctx))) : NULL;
}

static PyObject *forget(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (kpy.ctx) // else nothing was asked yet
        kn_context_forget(kpy.ctx);
    return Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"forget", forget, METH_NOARGS, "What references mean is found out anew from here on."},
    {"is_offline", is_offline, METH_NOARGS, "No socket is opened by this process's kernels."},
    {"endpoint", endpoint, METH_NOARGS, "Where repositories come from."},
    {"cache_dir", cache_dir, METH_NOARGS, "The cache that they are kept in."},
    {NULL, NULL, 0, NULL},
};

int kpy_context_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
