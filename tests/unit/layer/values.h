// Arguments written as text, so that a row of a table reads like a call:
//
//   f32[3, 4]            contiguous, NULL strides, data of its own
//   f32[3, 4]{8, 1}      with strides
//   f32[3, 4]@1000       data at that (hexadecimal) address; nothing reads it. @0: NULL
//   f32[3, 4]+16         byte_offset
//   f32[3, 4] cuda:1     on another device
//   int 3, float 2.5, bool 1, none
//
// Several are separated by ';'.
#ifndef KN_TEST_LAYER_VALUES_H
#define KN_TEST_LAYER_VALUES_H

#include "support/cmocka.h"

#include "kernels/layer.h"
#include "layer/layer.h"

#define VALUES_MAX 20

typedef struct values {
    int32_t n;
    kn_value values[VALUES_MAX];
    DLTensor tensors[VALUES_MAX];
    int64_t shapes[VALUES_MAX][KN_LAYER_RANK_MAX + 1];
    int64_t strides[VALUES_MAX][KN_LAYER_RANK_MAX + 1];
} values;

static inline int32_t read_numbers(const char **at, char close, int64_t *out)
{
    int32_t n = 0;
    for (++*at; **at != close; ++n) {
        char *end;
        assert_true(n <= KN_LAYER_RANK_MAX);
        out[n] = strtoll(*at, &end, 0);
        assert_true(end != *at);
        *at = end + strspn(end, ", ");
    }
    ++*at;
    return n;
}

static inline void read_tensor(const char *text, DLTensor *t, int64_t *shape, int64_t *strides,
                               uintptr_t address)
{
    char dtype[24] = "";
    const char *at = strchr(text, '[');
    assert_non_null(at);
    memcpy(dtype, text, (size_t)(at - text));
    memset(t, 0, sizeof(*t));
    if (strcmp(dtype, "c64") == 0)
        t->dtype = (DLDataType){kDLComplex, 64, 1};
    else
        assert_true(kn_dtype_parse(dtype, &t->dtype));
    t->device.device_type = kDLCPU;
    t->data = (void *)address;
    t->shape = shape;
    t->ndim = read_numbers(&at, ']', shape);
    if (*at == '{') {
        t->strides = strides;
        assert_int_equal(read_numbers(&at, '}', strides), t->ndim);
    }
    if (*at == '@')
        t->data = (void *)(uintptr_t)strtoull(at + 1, (char **)(uintptr_t)&at, 16);
    if (*at == '+')
        t->byte_offset = strtoull(at + 1, (char **)(uintptr_t)&at, 10);
    if (strncmp(at, " cuda:", 6) == 0)
        t->device = (DLDevice){kDLCUDA, (int32_t)strtol(at + 6, (char **)(uintptr_t)&at, 10)};
    assert_string_equal(at, "");
}

// `list` tells apart the addresses of inputs, members and outputs.
static inline void read_values(values *out, const char *text, unsigned list)
{
    char copy[512], *rest = copy;
    out->n = 0;
    if (!text)
        return;
    assert_true(strlen(text) < sizeof(copy));
    strcpy(copy, text);
    for (char *part = strtok_r(copy, ";", &rest); part; part = strtok_r(NULL, ";", &rest)) {
        const int32_t i = out->n++;
        kn_value *v = &out->values[i];
        part += strspn(part, " ");
        assert_true(i < VALUES_MAX);
        if (strcmp(part, "none") == 0)
            *v = kn_none();
        else if (strncmp(part, "int ", 4) == 0)
            *v = kn_int(strtoll(part + 4, NULL, 10));
        else if (strncmp(part, "float ", 6) == 0)
            *v = kn_float(strtod(part + 6, NULL));
        else if (strncmp(part, "bool ", 5) == 0)
            *v = kn_bool(part[5] == '1');
        else {
            const uintptr_t address = ((uintptr_t)list << 40) + ((uintptr_t)(i + 1) << 32);
            read_tensor(part, &out->tensors[i], out->shapes[i], out->strides[i], address);
            *v = kn_tensor(&out->tensors[i]);
        }
    }
}

typedef struct call {
    values inputs, members, outputs;
    kn_call_args args;
} call;

static inline void read_call(call *out, const char *inputs, const char *members,
                             const char *outputs)
{
    read_values(&out->inputs, inputs, 1);
    read_values(&out->members, members, 2);
    read_values(&out->outputs, outputs, 3);
    out->args = (kn_call_args){
        .inputs = out->inputs.values,
        .members = out->members.values,
        .outputs = outputs ? out->outputs.values : NULL,
        .n_inputs = out->inputs.n,
        .n_members = out->members.n,
        .n_outputs = out->outputs.n,
    };
}

static inline kn_layer *parse_layer(const kn_layer_spec *spec)
{
    kn_error err = KN_ERROR_INIT;
    kn_layer *layer = NULL;
    if (kn_layer_parse(spec, &layer, &err) != KN_OK)
        print_error("%s\n", kn_error_text(&err));
    assert_non_null(layer);
    kn_error_dispose(&err);
    return layer;
}

#endif
