#include <stdlib.h>
#include <string.h>

#include "borrow.h"

// A lazy negation or conjugation is no part of a DLTensor: the numbers would be wrong without a word.
static int refuse_lazy(PyObject *object)
{
    static const char *const asked[][2] = {{"is_neg", "resolve_neg"}, {"is_conj", "resolve_conj"}};
    for (size_t i = 0; i < KN_LEN(asked); ++i) {
        PyObject *answer = PyObject_CallMethod(object, asked[i][0], NULL);
        if (!answer) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError))
                return -1;
            PyErr_Clear();
            continue;
        }
        const int is = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (is > 0)
            PyErr_Format(PyExc_BufferError,
                         "a tensor with %s() cannot be passed; accepted is its %s()", asked[i][0],
                         asked[i][1]);
        if (is)
            return -1;
    }
    return 0;
}

static PyObject *ask_capsule(PyObject *method)
{
    PyObject *no_args = PyTuple_New(0);
    PyObject *version = Py_BuildValue("{s(ii)}", "max_version", DLPACK_MAJOR_VERSION, 0);
    PyObject *capsule = no_args && version ? PyObject_Call(method, no_args, version) : NULL;
    if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) { // from before max_version
        PyErr_Clear();
        capsule = PyObject_CallFunctionObjArgs(method, NULL);
    }
    Py_XDECREF(version);
    Py_XDECREF(no_args);
    return capsule;
}

// Takes the tensor out of a capsule, as the protocol has it: the name says that it is used.
static int take_capsule(PyObject *capsule, kpy_borrowed *out)
{
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        out->versioned = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        if (!out->versioned || PyCapsule_SetName(capsule, "used_dltensor_versioned") < 0)
            return -1;
        if (out->versioned->version.major != DLPACK_MAJOR_VERSION) {
            PyErr_Format(PyExc_BufferError, "a DLPack tensor of version %u; accepted is %d",
                         out->versioned->version.major, DLPACK_MAJOR_VERSION);
            return -1;
        }
        if (out->versioned->flags & DLPACK_FLAG_BITMASK_IS_COPIED) {
            PyErr_SetString(PyExc_BufferError,
                            "__dlpack__ gave a copy, into which a result would be lost");
            return -1;
        }
        out->tensor = out->versioned->dl_tensor;
        return 0;
    }
    out->managed = PyCapsule_GetPointer(capsule, "dltensor");
    if (!out->managed || PyCapsule_SetName(capsule, "used_dltensor") < 0)
        return -1;
    out->tensor = out->managed->dl_tensor;
    return 0;
}

static int borrow_capsule(PyObject *object, kpy_borrowed *out)
{
    PyObject *method = PyObject_GetAttrString(object, "__dlpack__");
    if (!method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    PyObject *capsule = ask_capsule(method);
    const int st = capsule ? take_capsule(capsule, out) : -1;
    Py_XDECREF(capsule);
    Py_DECREF(method);
    return st < 0 ? -1 : 1;
}

// Kernels see strides always, and data wherever there are elements.
static int complete(kpy_borrowed *out)
{
    DLTensor *t = &out->tensor;
    int64_t n = 1;
    if (!t->strides && t->ndim > 0) {
        out->strides = malloc((size_t)t->ndim * sizeof(*out->strides));
        if (!out->strides) {
            PyErr_NoMemory();
            return -1;
        }
        int64_t step = 1;
        for (int32_t i = t->ndim; i-- > 0;) {
            out->strides[i] = step;
            step *= t->shape[i] > 0 ? t->shape[i] : 1;
        }
        t->strides = out->strides;
    }
    for (int32_t i = 0; i < t->ndim; ++i)
        n = t->shape[i] ? n : 0;
    if (!t->data && n) {
        PyErr_SetString(PyExc_BufferError, "a tensor has elements but no data");
        return -1;
    }
    return 0;
}

int kpy_borrow(PyObject *object, kpy_borrowed *out)
{
    int is = kpy_exchange_api(Py_TYPE(object), &out->api);
    if (is < 0)
        return -1;
    if (is)
        is = refuse_lazy(object) < 0 ? -1 : 1;
    else
        is = borrow_capsule(object, out);
    if (is < 0)
        kpy_borrowed_release(out);
    return is;
}

int kpy_borrowed_read(PyObject *object, kpy_borrowed *out)
{
    if (out->api && out->api->dltensor_from_py_object_no_sync(object, &out->tensor) != 0)
        return -1;
    return complete(out);
}

void kpy_borrowed_release(kpy_borrowed *borrowed)
{
    if (borrowed->managed && borrowed->managed->deleter)
        borrowed->managed->deleter(borrowed->managed);
    if (borrowed->versioned && borrowed->versioned->deleter)
        borrowed->versioned->deleter(borrowed->versioned);
    free(borrowed->strides);
    *borrowed = (kpy_borrowed){.api = NULL};
}

size_t kpy_borrowed_bytes(const kpy_borrowed *borrowed)
{
    const DLTensor *t = &borrowed->tensor;
    size_t bytes = (size_t)t->dtype.bits * t->dtype.lanes / 8;
    for (int32_t i = 0; i < t->ndim; ++i)
        bytes *= (size_t)t->shape[i];
    return bytes;
}
