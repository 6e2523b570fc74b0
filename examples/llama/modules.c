#include "modules.h"

#include "layers.h"
#include <stdio.h>
#include <stdlib.h>

DLTensor llama_tensor(float *data, int32_t n_dims, int64_t *shape, int64_t *strides)
{
    return (DLTensor){.data = data,
                      .device = {kDLCPU, 0},
                      .ndim = n_dims,
                      .dtype = {kDLFloat, 32, 1},
                      .shape = shape,
                      .strides = strides};
}

// Own forwards: inputs, then outputs, in the order of the class's signature.

static kn_status own_rms_norm(kn_module *self, const kn_value *v, int32_t n, void *user,
                              kn_error *err)
{
    (void)n, (void)user, (void)err;
    rms_norm(v[0].as.tensor, kn_module_member(self, "weight").as.tensor,
             kn_module_member(self, "variance_epsilon").as.number, v[1].as.tensor);
    return KN_OK;
}

static kn_status own_silu_and_mul(kn_module *self, const kn_value *v, int32_t n, void *user,
                                  kn_error *err)
{
    (void)self, (void)n, (void)user, (void)err;
    silu_and_mul(v[0].as.tensor, v[1].as.tensor);
    return KN_OK;
}

// v[4], the dimension that cos and sin lack, is always 1 here.
static kn_status own_rotary(kn_module *self, const kn_value *v, int32_t n, void *user,
                            kn_error *err)
{
    (void)self, (void)n, (void)user, (void)err;
    rotary(v[0].as.tensor, v[1].as.tensor, v[2].as.tensor, v[3].as.tensor, v[5].as.tensor,
           v[6].as.tensor);
    return KN_OK;
}

static kn_status make_classes(llama_modules *m, kn_error *err)
{
    kn_status st = kn_class_new(
        KN_CLASS_OPTIONS(.name = "llama.RMSNorm", .layer = "RMSNorm", .forward = own_rms_norm,
                         .signature = "(hidden_states as x: f32 rows[..., h]) -> (y: f32 [..., h])",
                         .members = "weight: f32 [h], variance_epsilon: float"),
        &m->rms_norm, err);
    if (st == KN_OK)
        st = kn_class_new(
            KN_CLASS_OPTIONS(.name = "llama.SiluAndMul", .layer = "SiluAndMul",
                             .forward = own_silu_and_mul,
                             .signature = "(x: f32 rows[..., 2*d]) -> (y: f32 [..., d])"),
            &m->silu_and_mul, err);
    if (st == KN_OK)
        st = kn_class_new(
            KN_CLASS_OPTIONS(.name = "llama.RotaryPosEmb", .layer = "rotary_pos_emb",
                             .forward = own_rotary,
                             .signature =
                                 "(q: f32 strided[b, hq, s, d], k: f32 strided[b, hk, s, d], "
                                 "cos: f32 [b|1, s, d], sin: f32 [b|1, s, d], "
                                 "unsqueeze_dim: int == 1 = 1) "
                                 "-> (q_out: like q, k_out: like k)"),
            &m->rotary, err);
    return st;
}

static kn_status add_norm(llama_modules *m, const char *name, const llama_weights *weights,
                          float *weight, kn_module **out, kn_error *err)
{
    int64_t shape[] = {weights->config.n_hidden}, strides[] = {1};
    const DLTensor t = llama_tensor(weight, 1, shape, strides);
    kn_status st = kn_module_new(m->root, name, m->rms_norm, out, err);
    if (st == KN_OK)
        st = kn_module_set_tensor(*out, "weight", &t, err);
    if (st == KN_OK)
        st = kn_module_set_value(*out, "variance_epsilon", kn_float(weights->config.norm_eps), err);
    return st;
}

static kn_status add_layer(llama_modules *m, const llama_weights *weights, int64_t layer,
                           kn_error *err)
{
    const llama_layer_weights *w = &weights->layers[layer];
    llama_layer_modules *out = &m->layers[layer];
    char name[80];
    const int index = (int)layer;
    snprintf(name, sizeof(name), "model.layers.%d.input_layernorm", index);
    kn_status st = add_norm(m, name, weights, w->attn_norm, &out->attn_norm, err);
    snprintf(name, sizeof(name), "model.layers.%d.self_attn.rotary", index);
    if (st == KN_OK)
        st = kn_module_new(m->root, name, m->rotary, &out->rotary, err);
    snprintf(name, sizeof(name), "model.layers.%d.post_attention_layernorm", index);
    if (st == KN_OK)
        st = add_norm(m, name, weights, w->ffn_norm, &out->ffn_norm, err);
    snprintf(name, sizeof(name), "model.layers.%d.mlp.act", index);
    if (st == KN_OK)
        st = kn_module_new(m->root, name, m->silu_and_mul, &out->act, err);
    return st;
}

kn_status llama_modules_init(llama_modules *modules, const llama_weights *weights, kn_error *err)
{
    const int64_t n_layers = weights->config.n_layers;
    kn_status st = make_classes(modules, err);
    if (st == KN_OK)
        st = kn_module_new(NULL, "llama", NULL, &modules->root, err);
    if (st != KN_OK)
        return st;
    modules->layers = calloc((size_t)n_layers, sizeof(*modules->layers));
    if (!modules->layers)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for the modules");
    for (int64_t i = 0; i < n_layers && st == KN_OK; ++i)
        st = add_layer(modules, weights, i, err);
    if (st == KN_OK)
        st = add_norm(modules, "model.norm", weights, weights->output_norm, &modules->output_norm,
                      err);
    return st;
}

void llama_modules_dispose(llama_modules *modules)
{
    kn_module_free(modules->root);
    kn_class_unref(modules->rms_norm);
    kn_class_unref(modules->silu_and_mul);
    kn_class_unref(modules->rotary);
    free(modules->layers);
    *modules = (llama_modules){0};
}
