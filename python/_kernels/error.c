// From a status of the core to an exception, and back.
#include <ctype.h>
#include <string.h>

#include "kpy.h"

// An exception that a hook or host raised inside a call of the core: kept until that call fails because of it, or the core went on.
// One per thread: calls of the core nest only within a thread.
static _Thread_local PyObject *kept_type, *kept_value, *kept_traceback;

void kpy_forget(void)
{
    Py_CLEAR(kept_type);
    Py_CLEAR(kept_value);
    Py_CLEAR(kept_traceback);
}

kn_status kpy_pass(kn_status status, kn_error *err)
{
    kpy_forget();
    PyErr_Fetch(&kept_type, &kept_value, &kept_traceback);
    PyErr_NormalizeException(&kept_type, &kept_value, &kept_traceback);
    PyObject *text = kept_value ? PyObject_Str(kept_value) : NULL;
    const char *words = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
    if (!words)
        PyErr_Clear();
    kn_error_set(err, status, "%s", words ? words : "an exception without words");
    Py_XDECREF(text);
    return status;
}

static const char *status_name(kn_status status)
{
    switch (status) {
#define KPY_CASE(name, value, text)                                                                \
    case name:                                                                                     \
        return #name;
        KN_STATUS_LIST(KPY_CASE)
#undef KPY_CASE
    }
    return "KN_ERR_INVALID";
}

// "KN_ERR_NOT_FOUND" as "not_found".
static void short_name(kn_status status, char out[32])
{
    const char *name = status_name(status) + strlen("KN_ERR_");
    size_t i = 0;
    for (; name[i] && i < 31; ++i)
        out[i] = (char)tolower((unsigned char)name[i]);
    out[i] = 0;
}

PyObject *kpy_fail(kn_status status, kn_error *err)
{
    char name[32];
    if (kept_type) { // the core failed because of it
        PyErr_Restore(kept_type, kept_value, kept_traceback);
        kept_type = kept_value = kept_traceback = NULL;
    }
    if (PyErr_Occurred()) {
        kn_error_dispose(err);
        return NULL;
    }
    if (status == KN_ERR_NO_MEMORY) {
        kn_error_dispose(err);
        return PyErr_NoMemory();
    }
    short_name(status, name);
    PyObject *hook = kpy_hook("error");
    PyObject *exception = hook ? PyObject_CallFunction(hook, "ss", name, kn_error_text(err)) : NULL;
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    Py_XDECREF(hook);
    kn_error_dispose(err);
    return NULL;
}
