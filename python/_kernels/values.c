// The values of a call: arguments and the module's members, as the layer's guard takes them.
#include "call.h"
#include "mutation.h"

// --- one value ---

int kpy_values_put(const kpy_torch *torch, PyObject *object, kn_value *slot, kpy_values *values)
{
    if (kpy_is_plain_tensor(torch, object)) {
        values->tensors[values->n_tensors] = object;
        values->slots[values->n_tensors++] = slot;
    } else if (object == Py_None) {
        *slot = kn_none();
    } else if (PyBool_Check(object)) {
        *slot = kn_bool(object == Py_True);
    } else if (Py_TYPE(object) == &PyFloat_Type) {
        *slot = kn_float(PyFloat_AsDouble(object) * (KPY_MUTATES(EPS) ? 100 : 1));
    } else if (Py_TYPE(object) == &PyLong_Type) {
        int overflow = 0;
        const long long integer = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow)
            return 0;
        *slot = kn_int(integer);
    } else {
        return 0;
    }
    return 1;
}

static int refuse(const kpy_call *call, const kpy_torch *torch, PyObject *object,
                  kn_param_list list, int32_t index, kpy_values *values)
{
    kn_param param = {.struct_size = sizeof(param)};
    values->who =
        kn_layer_param(call->layer, list, (size_t)index, &param, NULL) == KN_OK ? param.name : NULL;
    values->reason = PyType_IsSubtype(Py_TYPE(object), torch->tensor)
                         ? kn_mismatch_reason_text(KN_MISMATCH_SUBCLASS)
                         : kn_mismatch_reason_text(KN_MISMATCH_KIND);
    return 0;
}

int kpy_values_inputs(const kpy_call *call, const kpy_torch *torch, PyObject *const *args,
                      Py_ssize_t n, kpy_values *out)
{
    out->mismatch.reason = KN_FITS;
    out->reason = NULL;
    out->who = NULL;
    out->is_elsewhere = false;
    out->n_held = 0;
    out->n_tensors = 0;
    out->n_capsules = 0;
    if (n > call->n_inputs) {
        out->mismatch = (kn_mismatch){.reason = KN_MISMATCH_COUNT,
                                      .list = KN_PARAM_INPUT,
                                      .dim = -1,
                                      .came = n,
                                      .wanted = call->n_inputs};
        out->reason = kn_mismatch_reason_text(KN_MISMATCH_COUNT);
        n = 0;
    }
    out->args = (kn_call_args){.inputs = out->inputs,
                               .members = out->members,
                               .n_inputs = (int32_t)n,
                               .n_members = 0,
                               .dl_device_type = call->dl_device_type};
    for (int32_t i = 0; i < n; ++i)
        if (kpy_values_put(torch, args[i], &out->inputs[i], out) == 0)
            return refuse(call, torch, args[i], KN_PARAM_INPUT, i, out);
    return out->reason ? 0 : 1;
}

// --- members ---

// What `module.name` reads, for modules that leave reading to nn.Module: the instance dictionary comes first there, too. Members of
// children are not looked for: who wraps a child (LoRA, FSDP) wants its forward to run.
PyObject *kpy_member(PyObject *module_dict, PyObject *name)
{
    static PyObject *places[2]; // interned
    if (!places[1] && (!(places[0] = PyUnicode_InternFromString("_parameters")) ||
                       !(places[1] = PyUnicode_InternFromString("_buffers"))))
        return NULL;
    PyObject *found = PyDict_GetItemWithError(module_dict, name);
    for (int i = 0; i < 2 && !found && !PyErr_Occurred(); ++i) {
        PyObject *place = PyDict_GetItemWithError(module_dict, places[i]);
        if (place && PyDict_Check(place))
            found = PyDict_GetItemWithError(place, name);
    }
    return found;
}

int kpy_values_members(const kpy_call *call, const kpy_torch *torch, PyObject *module,
                       kpy_values *values)
{
    if (call->n_members == 0)
        return 1;
    PyObject *dict = PyObject_GenericGetDict(module, NULL);
    if (!dict)
        return -1;
    int st = 1;
    for (int32_t i = 0; i < call->n_members && st == 1; ++i) {
        PyObject *member = kpy_member(dict, call->member_names[i]);
        if (!member && PyErr_Occurred()) {
            st = -1;
        } else if (!member) { // a parametrization, a class attribute: only the own forward knows
            kn_param param = {.struct_size = sizeof(param)};
            kn_layer_param(call->layer, KN_PARAM_MEMBER, (size_t)i, &param, NULL);
            values->who = param.name;
            values->reason = kn_mismatch_reason_text(KN_MISMATCH_MEMBER);
            st = 0;
        } else if (kpy_values_put(torch, member, &values->members[i], values) == 0) {
            st = refuse(call, torch, member, KN_PARAM_MEMBER, i, values);
        } else { // another thread may replace it while this one calls
            Py_INCREF(member);
            values->held[values->n_held++] = member;
        }
    }
    values->args.n_members = call->n_members;
    Py_DECREF(dict);
    return st;
}

static void free_capsules(kpy_values *values)
{
    while (values->n_capsules)
        Py_DECREF(values->capsules[--values->n_capsules]);
}

void kpy_values_dispose(kpy_values *values)
{
    for (int32_t i = 0; i < values->n_held; ++i)
        Py_DECREF(values->held[i]);
    values->n_held = 0;
    free_capsules(values);
}

// --- tensors ---

static void warn_of_device(kpy_call *call, const DLTensor *t)
{
    call->has_warned = true;
    PyObject *hook = kpy_hook("log");
    PyObject *text = PyUnicode_FromFormat(
        "kernel layer %s of %s was chosen for %s, and is called with tensors on %s: such calls go "
        "to "
        "the module's own forward. Kernelize again after moving a model.",
        call->host->layer_name, call->host->text ? call->host->text : "",
        kn_device_type_name(call->host->device),
        kn_device_type_name(kn_device_type_of_dl((int32_t)t->device.device_type)));
    PyObject *done =
        hook && text ? PyObject_CallFunction(hook, "iO", (int)KN_LOG_WARNING, text) : NULL;
    if (!done)
        PyErr_WriteUnraisable(hook);
    Py_XDECREF(done);
    Py_XDECREF(text);
    Py_XDECREF(hook);
}

// The only device that the code was chosen for, where devices of one type differ.
static int refuse_device(const DLTensor *t, kpy_values *values)
{
    values->mismatch = (kn_mismatch){.dim = -1, .came = t->device.device_id};
    values->is_elsewhere = true;
    values->reason = kn_mismatch_reason_text(KN_MISMATCH_DEVICE);
    return 0;
}

int kpy_values_ask(const kpy_torch *torch, kpy_values *values)
{
    // Tensors with the negative bit look like others in DLPack. Those with the conjugate bit are complex, which no layer takes.
    for (int32_t i = 0; i < values->n_tensors; ++i) {
        const int negative = KPY_MUTATES(NEG_BIT) ? 0 : kpy_is_neg(torch, values->tensors[i]);
        if (negative > 0)
            values->reason = kn_mismatch_reason_text(KN_MISMATCH_NEGATED);
        if (negative != 0)
            return negative < 0 ? -1 : 0;
    }
    return 1;
}

int kpy_values_read(kpy_call *call, const kpy_torch *torch, kpy_values *values)
{
    free_capsules(values); // of a reading before
    // From here to the allocation of results nothing lets other threads in, unless tensors cross as capsules, which keep memory.
    for (int32_t i = 0; i < values->n_tensors; ++i) {
        DLTensor *t = &values->dl[i];
        PyObject *capsule;
        if (kpy_tensor_read(torch, values->tensors[i], t, &capsule) < 0) {
            PyErr_Clear(); // sparse, quantized, meta
            values->reason = kn_mismatch_reason_text(KN_MISMATCH_EXCHANGE);
            return 0;
        }
        if (capsule)
            values->capsules[values->n_capsules++] = capsule;
        *values->slots[i] = kn_tensor(t);
    }
    if (values->n_tensors) {
        const DLTensor *t = &values->dl[0];
        if ((int32_t)t->device.device_type != call->dl_device_type) {
            if (!call->has_warned)
                warn_of_device(call, t); // the guard refuses
        } else if (call->host->device_index >= 0 &&
                   t->device.device_id != call->host->device_index) {
            return refuse_device(t, values);
        }
    }
    return 1;
}

int kpy_values_check(kpy_call *call, const kpy_torch *torch, kpy_values *values)
{
    const int go = kpy_values_ask(torch, values);
    return go > 0 ? kpy_values_read(call, torch, values) : go;
}

PyObject *kpy_values_raise(const kpy_call *call, const kpy_values *values)
{
    kn_error err = KN_ERROR_INIT;
    const kn_mismatch *m = &values->mismatch;
    if (values->is_elsewhere)
        kn_error_set(
            &err, KN_ERR_ARGUMENTS,
            "on device %lld of its type, accepted device %lld, which the code was chosen for",
            (long long)m->came, (long long)call->host->device_index);
    else if (m->reason != KN_FITS)
        kn_mismatch_describe(call->layer, &values->args, m, &err);
    else
        kn_error_set(&err, KN_ERR_ARGUMENTS, "%s%s%s, accepted plain tensors and numbers",
                     values->who ? values->who : "", values->who ? ": " : "", values->reason);
    kn_error_prefix(&err, "kernel layer %s", call->host->layer_name);
    return kpy_fail(KN_ERR_ARGUMENTS, &err);
}
