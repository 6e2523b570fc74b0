// The arguments of a kernel call, from a call that fits.
#include <string.h>

#include "layer/layout.h"
#include "layer/program.h"

// A copy of the header that has strides: kernels never see NULL ones.
static DLTensor *with_strides(kni_call_frame *frame, const DLTensor *t)
{
    DLTensor *copy = &frame->tensors[frame->n_tensors];
    *copy = *t;
    copy->strides = frame->strides[frame->n_tensors];
    kni_dense_strides(t->ndim, t->shape, copy->strides);
    ++frame->n_tensors;
    return copy;
}

// False when the call names a result that was not given.
static inline bool fill_frame(const kni_guard *g, const kni_call *call, kni_call_frame *frame)
{
    frame->n_args = call->n_args;
    frame->n_tensors = 0;
    const kni_arg *arg = call->args;
    TVMFFIAny *out = frame->args;
    for (const kni_arg *end = arg + call->n_args; arg < end; ++arg, ++out) {
        out->zero_padding = 0;
        if (arg->rule == KNI_ARG_TENSOR) {
            const DLTensor *t = g->tensors[arg->slot];
            out->type_index = kTVMFFIDLTensorPtr;
            out->v_ptr = (void *)(uintptr_t)t;
            if (!t) {
                out->type_index = kTVMFFINone;
                if (!g->layer->params[arg->slot].optional)
                    return false;
            } else if (!t->strides) {
                out->v_ptr = with_strides(frame, t);
            }
            continue;
        }
        const kn_value *v = arg->rule == KNI_ARG_LITERAL ? &arg->literal : g->values[arg->slot];
        out->type_index = v->type;
        out->v_int64 = v->as.integer;
        if (arg->rule == KNI_ARG_FLOAT && v->type == KN_VALUE_INT) {
            out->type_index = kTVMFFIFloat;
            out->v_float64 = (double)v->as.integer;
        }
    }
    return true;
}

static kn_mismatch_reason refuse_results(const kn_layer *layer, kn_param_list list,
                                         kn_mismatch *out)
{
    if (out)
        *out = (kn_mismatch){.reason = KN_MISMATCH_COUNT,
                             .list = list,
                             .dim = -1,
                             .came = 0,
                             .wanted = layer->count[list]};
    return KN_MISMATCH_COUNT;
}

kn_mismatch_reason kni_layer_prepare(const kn_layer *layer, const kn_call_args *args,
                                     kni_call_frame *frame, kn_mismatch *out)
{
    kni_guard guard;
    frame->n_args = 0;
    if (!args->outputs)
        return refuse_results(layer, KN_PARAM_OUTPUT, out);
    const kn_mismatch_reason reason = kni_guard_forward(&guard, layer, args, out);
    if (reason == KN_FITS)
        fill_frame(&guard, &layer->forward, frame);
    return reason;
}

void kni_guard_fill(kni_guard *g, const kn_value *outputs, kni_call_frame *frame)
{
    const uint32_t first = g->layer->first[KN_PARAM_OUTPUT];
    for (uint32_t i = 0; i < g->layer->count[KN_PARAM_OUTPUT]; ++i)
        g->tensors[first + i] = outputs[i].as.tensor;
    fill_frame(g, &g->layer->forward, frame);
}

kn_mismatch_reason kni_layer_prepare_backward(const kn_layer *layer, const kni_backward_args *args,
                                              kni_call_frame *frame, kn_mismatch *out)
{
    kni_guard guard;
    frame->n_args = 0;
    if (!args->grads_out)
        return refuse_results(layer, KN_PARAM_GRAD_OUTPUT, out);
    const kn_mismatch_reason reason = kni_guard_backward(&guard, layer, args, out);
    if (reason == KN_FITS && !fill_frame(&guard, &layer->backward, frame)) {
        frame->n_args = 0;
        return refuse_results(layer, KN_PARAM_OUTPUT, out);
    }
    return reason;
}
