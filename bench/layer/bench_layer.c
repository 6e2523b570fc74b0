// What the guard costs: kni_layer_prepare and the call, over a direct call of the same function with its arguments in hand.
//
// The function does nothing but look at its arguments, so that the difference is the guard and the assembly of the arguments.
// Nanoseconds a call: minima over rounds in which direct and guarded calls alternate, since the clock of a shared machine swings.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "layer/layer.h"

enum { ROUNDS = 400, CALLS = 2000 };

// Through a volatile pointer, so that no compiler sees through it.
static int nothing(void *self, const TVMFFIAny *args, int32_t n_args, TVMFFIAny *result)
{
    (void)self;
    result->v_int64 += args[n_args - 1].v_int64 ^ args[0].v_int64;
    return 0;
}
static int (*volatile function)(void *, const TVMFFIAny *, int32_t, TVMFFIAny *) = nothing;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

typedef struct tensor {
    DLTensor dl;
    int64_t shape[4], strides[4];
    float data[4096];
} tensor;

static tensor *new_tensor(int32_t ndim, const int64_t *shape, bool with_strides)
{
    tensor *t = calloc(1, sizeof(*t));
    if (!t)
        abort();
    int64_t stride = 1;
    for (int32_t i = ndim - 1; i >= 0; --i) {
        t->shape[i] = shape[i];
        t->strides[i] = stride;
        stride *= shape[i];
    }
    t->dl = (DLTensor){.data = t->data,
                       .ndim = ndim,
                       .dtype = {kDLFloat, 32, 1},
                       .shape = t->shape,
                       .strides = with_strides ? t->strides : NULL,
                       .device = {kDLCPU, 0}};
    return t;
}
#define TENSOR(with_strides, ...)                                                                  \
    new_tensor((int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                      \
               (const int64_t[]){__VA_ARGS__}, with_strides)

typedef struct workload {
    const char *name;
    kn_layer_spec spec;
    tensor *tensors[5]; // inputs, members, outputs
    int n_inputs, n_members, n_outputs;
    bool has_eps; // a float follows the members
} workload;

static void measure(const workload *w)
{
    kn_error err = KN_ERROR_INIT;
    kn_layer *layer = NULL;
    if (kn_layer_parse(&w->spec, &layer, &err) != KN_OK) {
        fprintf(stderr, "%s\n", kn_error_text(&err));
        exit(1);
    }
    kn_value v[8];
    const int n = w->n_inputs + w->n_members + w->n_outputs;
    int at = 0;
    for (int i = 0; i < n; ++i) {
        v[at++] = kn_tensor(&w->tensors[i]->dl);
        if (w->has_eps && i == w->n_inputs + w->n_members - 1)
            v[at++] = kn_float(1e-6);
    }
    const kn_call_args args = {
        .inputs = v,
        .members = v + w->n_inputs,
        .outputs = v + at - w->n_outputs,
        .n_inputs = w->n_inputs,
        .n_members = w->n_members + w->has_eps,
        .n_outputs = w->n_outputs,
        .dl_device_type = kDLCPU,
    };
    double direct = 1e9, guarded = 1e9;
    TVMFFIAny result = {0};
    for (int round = 0; round < ROUNDS; ++round) {
        double begin = now_ns();
        for (int i = 0; i < CALLS; ++i) {
            TVMFFIAny direct_args[8];
            for (int a = 0; a < at; ++a)
                memcpy(&direct_args[a], &v[a], sizeof(v[a]));
            function(NULL, direct_args, at, &result);
        }
        const double d = (now_ns() - begin) / CALLS;
        begin = now_ns();
        for (int i = 0; i < CALLS; ++i) {
            kni_call_frame frame;
            if (kni_layer_prepare(layer, &args, &frame, NULL) != KN_FITS) {
                fprintf(stderr, "%s: the call does not fit\n", w->name);
                exit(1);
            }
            function(NULL, frame.args, frame.n_args, &result);
        }
        const double g = (now_ns() - begin) / CALLS;
        direct = d < direct ? d : direct;
        guarded = g < guarded ? g : guarded;
    }
    printf("{\"bench\": \"layer\", \"layer\": \"%s\", \"direct_ns\": %.1f, \"guarded_ns\": %.1f, "
           "\"guard_ns\": %.1f}\n",
           w->name, direct, guarded, guarded - direct);
    kn_layer_unref(layer);
    for (int i = 0; i < n; ++i)
        free(w->tensors[i]);
}

#define SPEC(...) ((kn_layer_spec){.struct_size = sizeof(kn_layer_spec), __VA_ARGS__})

int main(void)
{
    const kn_layer_spec silu =
        SPEC(.signature = "(x: f32|f16|bf16 rows[..., 2*d]) -> (y: x.dtype [..., d])",
             .forward = "silu_and_mul(y, x)");
    const kn_layer_spec norm =
        SPEC(.signature = "(x: f32|f16|bf16 rows[..., h]) -> (y: promote(x, weight) [..., h])",
             .members = "weight: f32|f16|bf16 [h], eps: float",
             .forward = "rms_norm(y, x, self.weight, self.eps)");
    const kn_layer_spec rotary = SPEC(.signature = "(q: f32 strided[b, s, hq, d], k: f32 "
                                                   "strided[b, s, hk, d], cos: f32 [b|1, s, d]) -> "
                                                   "(q_out: like q, k_out: like k)",
                                      .forward = "rotary(q_out, k_out, q, k, cos)");
    measure(&(workload){
        "silu_and_mul", silu, {TENSOR(true, 4, 128), TENSOR(true, 4, 64)}, 1, 0, 1, false});
    measure(&(workload){"silu_and_mul, no strides",
                        silu,
                        {TENSOR(false, 4, 128), TENSOR(false, 4, 64)},
                        1,
                        0,
                        1,
                        false});
    measure(&(workload){"rms_norm",
                        norm,
                        {TENSOR(true, 4, 128), TENSOR(true, 128), TENSOR(true, 4, 128)},
                        1,
                        1,
                        1,
                        true});
    measure(
        &(workload){"rotary",
                    rotary,
                    {TENSOR(true, 1, 4, 8, 16), TENSOR(true, 1, 4, 2, 16), TENSOR(true, 1, 4, 16),
                     TENSOR(true, 1, 4, 8, 16), TENSOR(true, 1, 4, 2, 16)},
                    3,
                    0,
                    2,
                    false});
    return 0;
}
