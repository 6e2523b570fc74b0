/**
 * The layers that a kernel may take over, as libkernels sees them: RMSNorm, SiluAndMul and rotary_pos_emb. Classes with the
 * signatures and own forwards of layers.h, and a tree of modules under the names that transformers gives them.
 */
#ifndef LLAMA_MODULES_H
#define LLAMA_MODULES_H

#include <kernels/module.h>

#include "weights.h"

/** The modules of one layer; borrowed from the tree. */
typedef struct llama_layer_modules {
    kn_module *attn_norm;
    kn_module *rotary;
    kn_module *ffn_norm;
    kn_module *act;
} llama_layer_modules;

typedef struct llama_modules {
    kn_module *root; // owns all modules
    kn_module *output_norm;
    llama_layer_modules *layers;
    kn_class *rms_norm;
    kn_class *silu_and_mul;
    kn_class *rotary;
} llama_modules;

/** Start with {0}, dispose once, also after a failure. The weights are borrowed until then. Error: KN_ERR_NO_MEMORY. */
kn_status llama_modules_init(llama_modules *modules, const llama_weights *weights, kn_error *err);
void llama_modules_dispose(llama_modules *modules);

/** A float32 tensor on the CPU over memory of the caller, as are shape and strides. */
DLTensor llama_tensor(float *data, int32_t n_dims, int64_t *shape, int64_t *strides);

#endif
