// Guard, results, kernel.
#include "call.h"

#include "layer/program.h"

// --- the kernel ---

static int64_t count_bytes(const kni_call_frame *frame)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < frame->n_args; ++i) {
        if (frame->args[i].type_index != kTVMFFIDLTensorPtr)
            continue;
        const DLTensor *t = frame->args[i].v_ptr;
        int64_t n = t->dtype.bits / 8;
        for (int32_t d = 0; d < t->ndim; ++d)
            n *= t->shape[d];
        bytes += n;
    }
    return bytes;
}

static kn_status call_function(const kn_function *function, const kni_call_frame *frame,
                               kn_error *err)
{
    TVMFFIAny result = {.type_index = kTVMFFINone};
    const int code = function->call(NULL, frame->args, frame->n_args, &result);
    return code == 0 && result.type_index < kTVMFFIStaticObjectBegin
               ? KN_OK
               : kni_function_finish(function, code, &result, NULL, err);
}

static kn_status call_without_gil(const kn_function *function, const kni_call_frame *frame,
                                  kn_error *err)
{
    kn_status st;
    Py_BEGIN_ALLOW_THREADS;
    st = call_function(function, frame, err);
    Py_END_ALLOW_THREADS;
    return st;
}

// Sets the current device of CUDA or ROCm; *before takes the one before. 0, or -1 with an exception.
static int exchange_device(const kpy_torch *torch, int32_t device, long *before)
{
    PyObject *cuda = PyObject_GetAttrString(torch->torch, "cuda");
    PyObject *old = cuda ? PyObject_CallMethod(cuda, "_exchange_device", "i", (int)device) : NULL;
    Py_XDECREF(cuda);
    *before = old ? PyLong_AsLong(old) : -1;
    Py_XDECREF(old);
    return PyErr_Occurred() ? -1 : 0;
}

// On the tensors' device, on torch's current stream; both are as before afterwards.
static int launch_on_gpu(const kpy_torch *torch, DLDevice device, const kn_function *function,
                         const kni_call_frame *frame, kn_status *st, kn_error *err)
{
    kpy_stream stream;
    long device_before;
    if (exchange_device(torch, device.device_id, &device_before) < 0)
        return -1;
    const int done = kpy_torch_stream_enter(&stream, torch, device);
    if (done == 0)
        *st = call_without_gil(function, frame, err);
    kpy_stream_leave(&stream);
    if (device_before >= 0 && device_before != device.device_id &&
        exchange_device(torch, (int32_t)device_before, &device_before) < 0)
        return -1;
    return done;
}

int kpy_launch(const kpy_call *call, const kpy_torch *torch, const kn_function *function,
               const kni_call_frame *frame)
{
    kn_error err = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (call->dl_device_type == kDLCPU) {
        st = count_bytes(frame) < KPY_GIL_HELD_BYTES ? call_function(function, frame, &err)
                                                     : call_without_gil(function, frame, &err);
    } else {
        DLDevice device = {(DLDeviceType)call->dl_device_type, 0};
        for (int32_t i = 0; i < frame->n_args; ++i)
            if (frame->args[i].type_index == kTVMFFIDLTensorPtr)
                device = ((const DLTensor *)frame->args[i].v_ptr)->device;
        if (launch_on_gpu(torch, device, function, frame, &st, &err) < 0)
            return -1;
    }
    if (st == KN_OK)
        return 0;
    kn_error_prefix(&err, "kernel layer %s", call->host->layer_name);
    kpy_fail(st, &err);
    return -1;
}

// --- the call ---

static PyObject *take_results(const kpy_torch *torch, kpy_output *outputs, int32_t n)
{
    if (n == 1)
        return kpy_output_take(torch, &outputs[0]);
    PyObject *all = PyTuple_New(n);
    for (int32_t i = 0; all && i < n; ++i) {
        PyObject *one = kpy_output_take(torch, &outputs[i]);
        if (!one || PyTuple_SetItem(all, i, one) < 0)
            Py_CLEAR(all);
    }
    return all;
}

PyObject *kpy_run(const kpy_call *call, const kpy_torch *torch, kpy_values *values)
{
    kn_tensor_type types[KN_LAYER_PARAMS_MAX];
    kn_value results[KN_LAYER_PARAMS_MAX];
    kpy_output outputs[KN_LAYER_PARAMS_MAX];
    kni_guard guard;
    kni_call_frame frame;
    PyObject *result = NULL;
    int32_t n = 0;

    const kn_mismatch_reason reason =
        kni_guard_infer(&guard, call->layer, &values->args, types, &values->mismatch);
    if (reason != KN_FITS) {
        values->reason = kn_mismatch_reason_text(reason);
        return NULL;
    }
    while (n < call->n_outputs) {
        PyObject *like = values->n_tensors ? values->tensors[0] : NULL;
        const int made = kpy_output_make(torch, &types[n], like, &outputs[n]);
        results[n] = kn_tensor(&outputs[n].dl);
        ++n; // an object may be there all the same
        if (made < 0)
            goto done;
    }
    kni_guard_fill(&guard, results, &frame);
    if (kpy_launch(call, torch, call->host->forward, &frame) == 0)
        result = take_results(torch, outputs, n);
done:
    for (int32_t i = 0; i < n; ++i)
        kpy_output_dispose(torch, &outputs[i]);
    return result;
}
