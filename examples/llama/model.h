/** A Llama model that runs: its weights, the keys and values of the positions so far, and room to work in. */
#ifndef LLAMA_MODEL_H
#define LLAMA_MODEL_H

#include <kernels/module.h>

#include "weights.h"

/**
 * Kinds of work, for the clock.
 *
 *   X(name, text)
 */
#define LLAMA_WORK_LIST(X)                                                                         \
    X(WORK_RMS_NORM, "RMSNorm")                                                                    \
    X(WORK_SILU_AND_MUL, "SiluAndMul")                                                             \
    X(WORK_ROTARY, "rotary_pos_emb")                                                               \
    X(WORK_MATRIX, "matrix products")                                                              \
    X(WORK_ATTENTION, "attention")

typedef enum llama_work {
#define LLAMA_WORK_ENUM(name, text) name,
    LLAMA_WORK_LIST(LLAMA_WORK_ENUM)
#undef LLAMA_WORK_ENUM
        WORK_KINDS // their number
} llama_work;

const char *llama_work_text(llama_work work);

typedef struct llama_model llama_model;

/**
 * A model with room for n_positions. The weights are borrowed until llama_model_free.
 * Error: KN_ERR_INVALID (more positions than the model was made for), KN_ERR_NO_MEMORY.
 */
kn_status llama_model_new(const llama_weights *weights, int64_t n_positions, llama_model **out,
                          kn_error *err);

/** NULL is fine. */
void llama_model_free(llama_model *model);

/** The model's extensible layers, for kn_kernelize; borrowed until llama_model_free. */
kn_module *llama_model_root(const llama_model *model);

/** Forgets all positions and sets the clocks to zero. */
void llama_model_reset(llama_model *model);

/**
 * Runs n further tokens and gives the logits after the last of them: n_vocab numbers, borrowed until the next call.
 * Error: KN_ERR_INVALID (no room, or no such token), and what a layer returns.
 */
kn_status llama_model_forward(llama_model *model, const int32_t *ids, int64_t n,
                              const float **logits, kn_error *err);

/** Seconds that went into one kind of work since the last reset. */
double llama_model_seconds(const llama_model *model, llama_work work);

/** Seconds on a clock that only goes forward. */
double llama_clock(void);

/** The token with the largest logit, the first of equals. Error: KN_ERR_FORMAT (a logit is NaN: the weights are damaged). */
kn_status llama_greedy(const float *logits, int64_t n_vocab, int32_t *out, kn_error *err);

#endif
