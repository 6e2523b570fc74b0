#include "exchange.h"
#include "mutation.h"

#include <dlfcn.h>
#include <string.h>

int kpy_exchange_api(PyTypeObject *type, const DLPackExchangeAPI **out)
{
    static PyTypeObject *kept_type;
    static const DLPackExchangeAPI *kept_api;
    if (type == kept_type) {
        *out = kept_api;
        return 1;
    }
    PyObject *capsule = PyObject_GetAttrString((PyObject *)type, "__dlpack_c_exchange_api__");
    if (!capsule) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    const DLPackExchangeAPI *api = PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    Py_DECREF(capsule);
    if (!api)
        return -1;
    while (api && api->header.version.major > DLPACK_MAJOR_VERSION)
        api = (const DLPackExchangeAPI *)(const void *)api->header.prev_api;
    if (!api || api->header.version.major != DLPACK_MAJOR_VERSION ||
        !api->dltensor_from_py_object_no_sync)
        return 0;
    PyTypeObject *before = kept_type;
    Py_INCREF(type);
    kept_type = type;
    kept_api = api;
    Py_XDECREF(before);
    *out = api;
    return 1;
}

typedef int (*set_stream_fn)(int32_t device_type, int32_t device_id, void *stream, void **before);

// Of the libtvm_ffi that kernels are called through, which this process has open.
static set_stream_fn set_stream(void)
{
    static set_stream_fn kept;
    kn_tvm_ffi tvm_ffi = KN_TVM_FFI_INIT;
    kn_context *ctx = kept ? NULL : kpy_context();
    if (!ctx || kn_context_tvm_ffi(ctx, &tvm_ffi, NULL) != KN_OK || !tvm_ffi.path[0])
        return kept;
    void *handle = dlopen(tvm_ffi.path, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = handle ? dlsym(handle, "TVMFFIEnvSetStream") : NULL;
    memcpy(&kept, &symbol, sizeof(kept));
    return kept;
}

int kpy_stream_set(kpy_stream *stream, DLDevice device, void *current)
{
    *stream = (kpy_stream){.device_type = 0};
    const set_stream_fn set = set_stream();
    if (!set) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError,
                            "libtvm_ffi has no TVMFFIEnvSetStream: a kernel would not run on the "
                            "current stream");
        return -1;
    }
    if (KPY_MUTATES(STREAM))
        current = NULL;
    if (set((int32_t)device.device_type, device.device_id, current, &stream->before) != 0) {
        PyErr_SetString(PyExc_RuntimeError, "libtvm_ffi did not take the current stream");
        return -1;
    }
    stream->device_type = (int32_t)device.device_type;
    stream->device_id = device.device_id;
    return 0;
}

int kpy_stream_enter(kpy_stream *stream, const DLPackExchangeAPI *api, DLDevice device)
{
    void *current = NULL;
    *stream = (kpy_stream){.device_type = 0};
    if (kpy_is_host_memory(device))
        return 0;
    if (api->current_work_stream(device.device_type, device.device_id, &current) != 0)
        return -1;
    return kpy_stream_set(stream, device, current);
}

void kpy_stream_leave(kpy_stream *stream)
{
    void *unused = NULL;
    if (stream->device_type)
        set_stream()(stream->device_type, stream->device_id, stream->before, &unused);
}
