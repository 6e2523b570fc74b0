// The backward kernel: gradients that came are made dense, those that are wanted allocated.
#include "call.h"
#include "mutation.h"

#include <string.h>

#include "layer/program.h"

typedef struct backward {
    kpy_values values; // inputs and members
    kpy_values saved;  // results of the forward
    kpy_values came;   // gradients, in the order of the signature
    PyObject *dense[KN_LAYER_PARAMS_MAX];
    kpy_output made[KPY_GRADS_MAX];
    bool is_made[KPY_GRADS_MAX];
} backward;

// --- what came ---

// Items of a tuple from `at` on. As kpy_values_…
static int put_items(const kpy_torch *torch, PyObject *tuple, Py_ssize_t at, int32_t n,
                     PyObject *const *defaults, kn_value *slots, kpy_values *values)
{
    for (int32_t i = 0; i < n; ++i) {
        PyObject *item = PyTuple_GetItem(tuple, at + i);
        if (!item)
            return -1;
        if (item == Py_None && defaults && defaults[i])
            item = defaults[i];
        if (kpy_values_put(torch, item, &slots[i], values) == 0)
            return 0;
    }
    return 1;
}

static PyObject *replace(PyObject *tensor, PyObject *better)
{
    Py_DECREF(tensor);
    return better;
}

// Dense, as those are made that came, whatever strides the result has.
static PyObject *zeros(const kpy_torch *torch, const kn_tensor_type *type, PyObject *like)
{
    kpy_output out;
    kn_tensor_type dense = *type;
    int64_t n = 1;
    for (int32_t i = dense.ndim - 1; i >= 0; --i) {
        dense.strides[i] = n;
        n *= dense.shape[i];
    }
    if (kpy_output_make(torch, &dense, like, &out) < 0) {
        kpy_output_dispose(torch, &out);
        return NULL;
    }
    PyObject *tensor = kpy_output_take(torch, &out);
    const double value = KPY_MUTATES(ZERO_FILL) ? 1.0 : 0.0; // memory is seldom empty
    return tensor ? replace(tensor, PyObject_CallMethod(tensor, "fill_", "d", value)) : NULL;
}

// The gradient as the kernel takes it: `y.sum().backward()` sends an expanded number. New reference.
static PyObject *make_dense(const kpy_torch *torch, PyObject *gradient, const kn_tensor_type *type)
{
    DLTensor t;
    Py_INCREF(gradient);
    if (!kpy_is_plain_tensor(torch, gradient))
        return gradient; // refused later
    gradient = replace(gradient, PyObject_CallMethod(gradient, "resolve_neg", NULL));
    if (gradient)
        gradient = replace(gradient, PyObject_CallMethod(gradient, "contiguous", NULL));
    if (!gradient || !kpy_is_plain_tensor(torch, gradient))
        return gradient;
    PyObject *capsule;
    if (kpy_tensor_read(torch, gradient, &t, &capsule) < 0) {
        PyErr_Clear();
        return gradient;
    }
    Py_XDECREF(capsule); // the dtype is all
    if (memcmp(&t.dtype, &type->dtype, sizeof(t.dtype)) != 0) {
        PyObject *dtype = kpy_torch_dtype(torch, type->dtype);
        gradient =
            replace(gradient, dtype ? PyObject_CallMethod(gradient, "to", "O", dtype) : NULL);
        Py_XDECREF(dtype);
    }
    return gradient;
}

static int take_gradients(const kpy_call *call, const kpy_torch *torch, PyObject *grads,
                          const kn_tensor_type *types, backward *b)
{
    const kn_layer *layer = call->layer;
    PyObject *like = b->values.n_tensors ? b->values.tensors[0] : NULL;
    const int32_t n = layer->count[KN_PARAM_GRAD_INPUT];
    for (int32_t i = 0; i < n; ++i) {
        const kni_param *param = &layer->params[layer->first[KN_PARAM_GRAD_INPUT] + i];
        const int32_t of = param->grad_slot - layer->first[KN_PARAM_OUTPUT];
        PyObject *gradient = PyTuple_GetItem(grads, i);
        if (!gradient)
            return -1;
        if (gradient == Py_None && param->optional) {
            b->came.inputs[i] = kn_none();
            continue;
        }
        b->dense[i] = gradient == Py_None ? zeros(torch, &types[of], like)
                                          : make_dense(torch, gradient, &types[of]);
        if (!b->dense[i])
            return -1;
        if (kpy_values_put(torch, b->dense[i], &b->came.inputs[i], &b->came) == 0)
            return 0;
    }
    return 1;
}

// --- what is wanted ---

static bool is_empty(const kpy_values *values)
{
    for (int32_t i = 0; i < values->n_tensors; ++i)
        for (int32_t d = 0; d < values->dl[i].ndim; ++d)
            if (values->dl[i].shape[d] == 0)
                return true;
    return false;
}

// Memory for the gradients; a kernel that has no way to leave one out writes it for nobody.
static int make_gradients(const kpy_call *call, const kpy_torch *torch, const bool *needs,
                          const kn_tensor_type *types, kn_value *out, backward *b)
{
    PyObject *like = b->values.n_tensors ? b->values.tensors[0] : NULL;
    const bool is_zero = is_empty(&b->values); // no row, no contribution
    for (int32_t i = 0; i < call->n_grads; ++i) {
        const uint32_t slot = call->layer->first[KN_PARAM_GRAD_OUTPUT] + (uint32_t)i;
        out[i] = kn_none();
        if (types[i].ndim < 0 || (!needs[call->grad_of[i]] && call->layer->params[slot].optional))
            continue;
        b->is_made[i] = true;
        if (kpy_output_make(torch, &types[i], like, &b->made[i]) < 0 ||
            (is_zero && kpy_output_zero(torch, &b->made[i]) < 0))
            return -1;
        out[i] = kn_tensor(&b->made[i].dl);
    }
    return 1;
}

static PyObject *take_wanted(const kpy_call *call, const kpy_torch *torch, const bool *needs,
                             backward *b)
{
    const int32_t n = call->n_inputs + call->n_members;
    PyObject *all = PyTuple_New(n);
    for (int32_t i = 0; all && i < call->n_grads; ++i) {
        const int32_t of = call->grad_of[i];
        if (!b->is_made[i] || !needs[of])
            continue;
        PyObject *one = kpy_output_take(torch, &b->made[i]);
        if (!one || PyTuple_SetItem(all, of, one) < 0)
            Py_CLEAR(all);
    }
    for (int32_t i = 0; all && i < n; ++i) {
        if (PyTuple_GetItem(all, i))
            continue;
        PyErr_Clear();
        Py_INCREF(Py_None);
        if (PyTuple_SetItem(all, i, Py_None) < 0)
            Py_CLEAR(all);
    }
    return all;
}

// --- the call ---

// As kpy_values_…; *result takes what comes back.
static int run_backward(kpy_call *call, const kpy_torch *torch, PyObject *const lists[4],
                        const bool *needs, backward *b, PyObject **result)
{
    kn_tensor_type types[KPY_GRADS_MAX], outputs[KN_LAYER_PARAMS_MAX];
    kn_value results[KN_LAYER_PARAMS_MAX], wanted[KPY_GRADS_MAX];
    kni_call_frame frame;
    int go = put_items(torch, lists[0], 0, call->n_inputs, call->input_defaults, b->values.inputs,
                       &b->values);
    if (go > 0)
        go = put_items(torch, lists[0], call->n_inputs, call->n_members, NULL, b->values.members,
                       &b->values);
    if (go > 0 && lists[1])
        go = put_items(torch, lists[1], 0, call->n_outputs, NULL, results, &b->saved);
    b->values.args.n_inputs = call->n_inputs;
    b->values.args.n_members = call->n_members;
    if (go > 0)
        go = kpy_values_check(call, torch, &b->saved);
    if (go > 0)
        go = kpy_values_check(call, torch, &b->values);
    if (go > 0)
        go = kn_layer_infer(call->layer, &b->values.args, outputs, NULL) == KN_FITS;
    if (go > 0)
        go = take_gradients(call, torch, lists[2], outputs, b);
    // Again: making gradients dense lets other threads in. All are asked before the memory of any is looked at.
    kpy_values *const all[] = {&b->values, &b->saved, &b->came};
    for (size_t i = 0; i < KN_LEN(all) && go > 0; ++i)
        go = kpy_values_ask(torch, all[i]);
    for (size_t i = 0; i < KN_LEN(all) && go > 0; ++i)
        go = kpy_values_read(call, torch, all[i]);
    if (go <= 0)
        return go;
    kni_backward_args args = {.forward = b->values.args,
                              .grads_in = b->came.inputs,
                              .n_grads_in = call->layer->count[KN_PARAM_GRAD_INPUT]};
    if (lists[1]) {
        args.forward.outputs = results;
        args.forward.n_outputs = call->n_outputs;
    }
    if (kni_layer_infer_backward(call->layer, &args, types, NULL) != KN_FITS)
        return 0;
    go = make_gradients(call, torch, needs, types, wanted, b);
    if (go <= 0)
        return go;
    args.grads_out = wanted;
    args.n_grads_out = call->n_grads;
    if (kni_layer_prepare_backward(call->layer, &args, &frame, NULL) != KN_FITS)
        return 0;
    if (kpy_launch(call, torch, call->host->backward, &frame) < 0)
        return -1;
    *result = take_wanted(call, torch, needs, b);
    return *result ? 1 : -1;
}

// What is asked for, of inputs and then members. The number of them, or -1 with an exception.
static int read_needs(PyObject *tuple, int32_t n, bool *needs)
{
    int wanted = 0;
    for (int32_t i = 0; i < n; ++i) {
        PyObject *item = PyTuple_GetItem(tuple, i);
        const int yes = item ? PyObject_IsTrue(item) : -1;
        if (yes < 0)
            return -1;
        needs[i] = yes != 0;
        wanted += yes;
    }
    return wanted;
}

static int check_sizes(const kpy_call *call, PyObject *const lists[4])
{
    static const char *const names[] = {"values", "outputs", "grads", "needs"};
    const Py_ssize_t sizes[] = {call->n_inputs + call->n_members, call->n_outputs,
                                call->layer->count[KN_PARAM_GRAD_INPUT],
                                call->n_inputs + call->n_members};
    for (int i = 0; i < 4; ++i)
        if (lists[i] && PyTuple_Size(lists[i]) != sizes[i]) {
            PyErr_Format(PyExc_TypeError, "run_backward: %zd %s, accepted %zd",
                         PyTuple_Size(lists[i]), names[i], sizes[i]);
            return -1;
        }
    return 0;
}

static PyObject *backward_of(kpy_call *call, const kpy_torch *torch, PyObject *const lists[4])
{
    bool needs[2 * KN_LAYER_PARAMS_MAX];
    backward b;
    PyObject *result = NULL;
    int go = check_sizes(call, lists) < 0 ||
                     read_needs(lists[3], call->n_inputs + call->n_members, needs) < 0
                 ? -1
                 : 1;
    if (go < 0)
        return NULL;
    memset(b.dense, 0, sizeof(b.dense));
    memset(b.made, 0, sizeof(b.made));
    memset(b.is_made, 0, sizeof(b.is_made));
    kpy_values_inputs(call, torch, NULL, 0, &b.values);
    kpy_values_inputs(call, torch, NULL, 0, &b.saved);
    kpy_values_inputs(call, torch, NULL, 0, &b.came);
    go = run_backward(call, torch, lists, needs, &b, &result);
    for (int32_t i = 0; i < KN_LAYER_PARAMS_MAX; ++i)
        Py_XDECREF(b.dense[i]);
    for (int32_t i = 0; i < call->n_grads; ++i)
        kpy_output_dispose(torch, &b.made[i]);
    kpy_values_dispose(&b.values);
    kpy_values_dispose(&b.saved);
    kpy_values_dispose(&b.came);
    if (go == 0) {
        Py_INCREF(Py_None);
        result = Py_None;
    }
    return result;
}

PyObject *kpy_backward(PyObject *self, PyObject *args)
{
    kpy_call *call = (kpy_call *)self;
    PyObject *given[4], *lists[4] = {NULL}, *result = NULL;
    if (!PyArg_ParseTuple(args, "OOOO:run_backward", &given[0], &given[1], &given[2], &given[3]))
        return NULL;
    const kpy_torch *torch = kpy_torch_get();
    if (!torch)
        return NULL;
    if (!call->host->backward || !torch->is_usable)
        Py_RETURN_NONE;
    for (int i = 0; i < 4; ++i)
        if ((i != 1 || given[i] != Py_None) && !(lists[i] = PySequence_Tuple(given[i])))
            goto done;
    result = backward_of(call, torch, lists);
done:
    for (int i = 0; i < 4; ++i)
        Py_XDECREF(lists[i]);
    return result;
}
