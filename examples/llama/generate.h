/** Text from a model, token by token, and what it took. */
#ifndef LLAMA_GENERATE_H
#define LLAMA_GENERATE_H

#include "model.h"
#include "stream.h"
#include "tokenizer.h"

/** The logits of one run, kept to compare another with it. */
typedef struct logits_log {
    float *kept; // [max, n_vocab]
    int64_t n_vocab;
    int64_t max; // steps that are kept at most
    int64_t n_kept;
} logits_log;

/** What a run gave. Start with {0}, dispose once. */
typedef struct generation {
    token_list tokens; // without the prompt, with the token that ends a text
    char *text;        // terminated; "" before the first run
    size_t n_text;
    size_t text_capacity;
    bool ended; // by a token that ends a text, not by the number asked for
    double prompt_seconds;
    double seconds; // of the tokens after the first
    double work_seconds[WORK_KINDS];
} generation;

/** How two runs differ, step by step, up to and with the first step at which they chose different tokens. */
typedef struct logits_difference {
    double largest; // of |a - b|
    int64_t n_compared;
    int64_t first_other; // the step at which the tokens differ; -1: none
} logits_difference;

/** Room for at most max_bytes of logits. Error: KN_ERR_NO_MEMORY. */
kn_status logits_log_init(logits_log *log, int64_t n_vocab, int64_t n_steps, size_t max_bytes,
                          kn_error *err);
void logits_log_dispose(logits_log *log);

/**
 * Runs the prompt, then takes up to n_tokens greedily. sink gets the text as it comes, NULL: nobody does.
 * log: NULL, or takes the logits; with `before`, what an earlier run gave, the log is compared with instead, into *difference.
 */
kn_status generate(llama_model *model, const tokenizer *tok, const token_list *prompt,
                   int64_t n_tokens, text_sink_fn sink, void *user, logits_log *log,
                   const generation *before, logits_difference *difference, generation *out,
                   kn_error *err);
void generation_dispose(generation *g);

#endif
