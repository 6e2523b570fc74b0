// The layer language: any five texts (lines: signature, members, forward, backward signature, backward; an empty line is none) give
// a layer or an error with its column. A layer is exported, and checked, inferred, described and prepared with calls made from the
// bytes after the fifth; nothing may follow a pointer that it was not given.
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "fuzz.h"
#include "layer/layer.h"

typedef struct bytes {
    const uint8_t *at, *end;
} bytes;

static uint8_t take(bytes *b)
{
    return b->at < b->end ? *b->at++ : 0;
}

typedef struct args {
    kn_value values[2 * KN_LAYER_PARAMS_MAX];
    DLTensor tensors[2 * KN_LAYER_PARAMS_MAX];
    int64_t shapes[2 * KN_LAYER_PARAMS_MAX][KN_LAYER_RANK_MAX];
    int64_t strides[2 * KN_LAYER_PARAMS_MAX][KN_LAYER_RANK_MAX];
    int32_t n;
} args;

static int64_t take_number(bytes *b)
{
    static const int64_t numbers[] = {0, 1,  2,  3,         4,         6,
                                      8, 16, -1, INT64_MAX, INT64_MIN, INT64_C(1) << 32};
    return numbers[take(b) % KN_LEN(numbers)];
}

static void take_value(bytes *b, args *out, int32_t i)
{
    static const DLDataType dtypes[] = {{kDLFloat, 32, 1}, {kDLFloat, 16, 1}, {kDLBfloat, 16, 1},
                                        {kDLInt, 64, 1},   {kDLBool, 8, 1},   {kDLComplex, 64, 1}};
    const uint8_t kind = take(b);
    switch (kind % 16) {
    case 0:
        out->values[i] = kn_none();
        return;
    case 1:
        out->values[i] = kn_int(take_number(b));
        return;
    case 2:
        out->values[i] = kn_bool(take(b) & 1);
        return;
    case 3:
        out->values[i] = kn_float((double)take_number(b));
        return;
    default:
        break;
    }
    DLTensor *t = &out->tensors[i];
    *t = (DLTensor){.dtype = dtypes[take(b) % KN_LEN(dtypes)],
                    .device = {kind & 16 && kind & 32 ? kDLCUDA : kDLCPU, 0},
                    .ndim = take(b) % (KN_LAYER_RANK_MAX + 1),
                    .shape = out->shapes[i],
                    .strides = kind & 64 ? out->strides[i] : NULL,
                    .data = (void *)(uintptr_t)(0x1000 * (uint64_t)take(b))};
    for (int32_t d = 0; d < t->ndim; ++d) {
        out->shapes[i][d] = take_number(b);
        out->strides[i][d] = kind & 64 ? take_number(b) : 0;
    }
    out->values[i] = kn_tensor(t);
}

static void take_values(bytes *b, args *out, size_t n)
{
    out->n = (int32_t)n;
    for (size_t i = 0; i < n; ++i)
        take_value(b, out, (int32_t)i);
}

static void describe(const kn_layer *layer, const kn_call_args *call, const kn_mismatch *m)
{
    kn_error err = KN_ERROR_INIT;
    FUZZ_CHECK(kn_mismatch_describe(layer, call, m, &err) == KN_ERR_ARGUMENTS);
    FUZZ_CHECK(!strstr(kn_error_text(&err), "do not fit")); // a sentence that says nothing
    kn_error_dispose(&err);
}

static void run(const kn_layer *layer, bytes *b)
{
    args in, members, out, grads_in, grads_out;
    kn_tensor_type types[2 * KN_LAYER_PARAMS_MAX];
    kni_call_frame frame;
    kn_mismatch m;
    take_values(b, &in, kn_layer_param_count(layer, KN_PARAM_INPUT));
    take_values(b, &members, kn_layer_param_count(layer, KN_PARAM_MEMBER));
    take_values(b, &out, kn_layer_param_count(layer, KN_PARAM_OUTPUT));
    take_values(b, &grads_in, kn_layer_param_count(layer, KN_PARAM_GRAD_INPUT));
    take_values(b, &grads_out, kn_layer_param_count(layer, KN_PARAM_GRAD_OUTPUT));
    kn_call_args call = {.inputs = in.values,
                         .members = members.values,
                         .n_inputs = in.n - (in.n && take(b) % 4 == 0),
                         .n_members = members.n};
    if (kn_layer_infer(layer, &call, types, &m) != KN_FITS)
        describe(layer, &call, &m);
    call.outputs = out.values;
    call.n_outputs = out.n;
    if (kni_layer_prepare(layer, &call, &frame, &m) != KN_FITS)
        describe(layer, &call, &m);
    for (int32_t i = 0; i < frame.n_args; ++i) {
        if (frame.args[i].type_index == kTVMFFIDLTensorPtr) {
            const DLTensor *t = frame.args[i].v_ptr;
            FUZZ_CHECK(t->strides && t->ndim >= 0 && t->ndim <= KN_LAYER_RANK_MAX);
        }
    }
    if (!kn_layer_has_backward(layer))
        return;
    kni_backward_args backward = {call, grads_in.values, NULL, grads_in.n, 0};
    if (kni_layer_infer_backward(layer, &backward, types, &m) != KN_FITS)
        FUZZ_CHECK(kni_mismatch_describe_backward(layer, &backward, &m, NULL) == KN_ERR_ARGUMENTS);
    backward.grads_out = grads_out.values;
    backward.n_grads_out = grads_out.n;
    if (kni_layer_prepare_backward(layer, &backward, &frame, &m) != KN_FITS)
        FUZZ_CHECK(kni_mismatch_describe_backward(layer, &backward, &m, NULL) == KN_ERR_ARGUMENTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *texts[5] = {NULL};
    bytes rest = {data, data + size};
    for (int i = 0; i < 5; ++i) {
        const uint8_t *end =
            rest.at < rest.end ? memchr(rest.at, '\n', (size_t)(rest.end - rest.at)) : NULL;
        if (!end)
            end = rest.end;
        if (end > rest.at)
            texts[i] = kni_strndup((const char *)rest.at, (size_t)(end - rest.at));
        rest.at = end < rest.end ? end + 1 : end;
    }
    kn_error err = KN_ERROR_INIT;
    kn_layer *layer, *again;
    const kn_layer_spec spec = {sizeof(spec), "fuzz",   texts[0], texts[1],
                                texts[2],     texts[3], texts[4]};
    const kn_status status = kn_layer_parse(&spec, &layer, &err);
    FUZZ_CHECK((status == KN_OK) == (layer != NULL) && status == err.status);
    FUZZ_CHECK(status != KN_ERR_FORMAT || strstr(kn_error_text(&err), ", column "));
    kn_error_dispose(&err);
    if (layer) {
        char *text;
        json_t *json;
        FUZZ_CHECK(kn_layer_json(layer, &text, NULL) == KN_OK);
        FUZZ_CHECK(kni_json_parse(text, strlen(text), "export", &json, NULL) == KN_OK);
        json_decref(json);
        kni_free(text);
        FUZZ_CHECK(kn_layer_parse(&spec, &again, NULL) == KN_OK &&
                   kn_layer_agree(layer, again, NULL) == KN_OK);
        kn_layer_unref(again);
        for (int i = 0; i < 4; ++i)
            run(layer, &rest);
    }
    kn_layer_unref(layer);
    for (int i = 0; i < 5; ++i)
        kni_free(texts[i]);
    return 0;
}
