/** What a GGUF file says about a Llama model: its sizes and its weights, as float. */
#ifndef LLAMA_WEIGHTS_H
#define LLAMA_WEIGHTS_H

#include "gguf.h"

typedef struct llama_config {
    int64_t n_layers;
    int64_t n_vocab;
    int64_t n_hidden;
    int64_t n_heads;
    int64_t n_kv_heads;
    int64_t head_dim;
    int64_t n_ffn;       // columns of the gate
    int64_t context_max; // positions that the model was made for
    double rope_base;
    double norm_eps;
} llama_config;

/** Rows of q, then k, then v: one product gives all three. */
static inline int64_t llama_qkv_rows(const llama_config *c)
{
    return (c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

/** Matrices are [out, in], row by row; borrowed from llama_weights. */
typedef struct llama_layer_weights {
    float *attn_norm; // [hidden]
    float *qkv;       // [qkv_rows, hidden]
    float *attn_out;  // [hidden, heads * head_dim]
    float *ffn_norm;  // [hidden]
    float *gate_up;   // [2 * ffn, hidden]: the rows of the gate, then those of up
    float *ffn_down;  // [hidden, ffn]
} llama_layer_weights;

typedef struct llama_weights {
    llama_config config;
    llama_layer_weights *layers; // n_layers
    float *embedding;            // [vocab, hidden]
    float *output;               // [vocab, hidden]; the embedding itself where the file ties them
    float *output_norm;          // [hidden]
    float *memory;               // all of the above
    size_t n_bytes;
} llama_weights;

/**
 * Reads a model's weights; start with {0}, dispose once, also after a failure.
 * Error: KN_ERR_FORMAT (missing or wrong metadata or tensors), KN_ERR_UNSUPPORTED (another architecture, a tensor or a
 * setting that this program does not know), KN_ERR_IO, KN_ERR_NO_MEMORY.
 */
kn_status llama_weights_read(gguf_file *file, llama_weights *out, kn_error *err);
void llama_weights_dispose(llama_weights *weights);

#endif
