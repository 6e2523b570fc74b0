#include "generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kn_status logits_log_init(logits_log *log, int64_t n_vocab, int64_t n_steps, size_t max_bytes,
                          kn_error *err)
{
    const int64_t room = (int64_t)(max_bytes / sizeof(float)) / n_vocab;
    *log = (logits_log){.n_vocab = n_vocab, .max = n_steps < room ? n_steps : room};
    log->max = log->max < 1 ? 1 : log->max;
    log->kept = malloc((size_t)log->max * (size_t)n_vocab * sizeof(float));
    return log->kept
               ? KN_OK
               : kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for the logits of %lld steps",
                              (long long)log->max);
}

void logits_log_dispose(logits_log *log)
{
    free(log->kept);
    *log = (logits_log){0};
}

static void keep_logits(logits_log *log, const float *logits)
{
    if (log->n_kept < log->max)
        memcpy(log->kept + log->n_kept++ * log->n_vocab, logits,
               (size_t)log->n_vocab * sizeof(float));
}

static void compare_logits(const logits_log *log, const float *logits, int64_t step,
                           logits_difference *difference)
{
    if (difference->first_other >= 0 || step >= log->n_kept)
        return;
    const float *kept = log->kept + step * log->n_vocab;
    for (int64_t i = 0; i < log->n_vocab; ++i) {
        const double d = fabs((double)logits[i] - (double)kept[i]);
        if (!(d <= difference->largest)) // a NaN is the largest, too
            difference->largest = d;
    }
    difference->n_compared = step + 1;
}

// Where the text of a run goes: kept, and to the caller.
typedef struct output {
    generation *to;
    text_sink_fn sink;
    void *user;
    bool out_of_memory;
} output;

static void take_text(void *user, const char *text, size_t n_bytes)
{
    output *o = user;
    generation *g = o->to;
    if (o->sink)
        o->sink(o->user, text, n_bytes);
    if (g->n_text + n_bytes + 1 > g->text_capacity) {
        const size_t capacity = 2 * (g->n_text + n_bytes + 128);
        char *grown = realloc(g->text, capacity);
        if (!grown) {
            o->out_of_memory = true;
            return;
        }
        g->text = grown;
        g->text_capacity = capacity;
    }
    memcpy(g->text + g->n_text, text, n_bytes);
    g->n_text += n_bytes;
    g->text[g->n_text] = '\0';
}

kn_status generate(llama_model *model, const tokenizer *tok, const token_list *prompt,
                   int64_t n_tokens, text_sink_fn sink, void *user, logits_log *log,
                   const generation *before, logits_difference *difference, generation *out,
                   kn_error *err)
{
    const int64_t n_vocab = (int64_t)tokenizer_n_tokens(tok);
    double log_seconds = 0; // not the model's
    const float *logits;
    output o = {.to = out, .sink = sink, .user = user};
    text_stream stream = {.sink = take_text, .user = &o};
    double start = llama_clock();

    if (before)
        *difference = (logits_difference){.first_other = -1};
    take_text(&o, "", 0); // the text is there, even if it stays empty
    llama_model_reset(model);
    kn_status st = llama_model_forward(model, prompt->ids, (int64_t)prompt->count, &logits, err);
    out->prompt_seconds = llama_clock() - start;
    start = llama_clock();
    for (int64_t step = 0; st == KN_OK; ++step) {
        int32_t id = -1;
        const double log_start = llama_clock();
        if (before)
            compare_logits(log, logits, step, difference);
        else if (log)
            keep_logits(log, logits);
        log_seconds += llama_clock() - log_start;
        st = llama_greedy(logits, n_vocab, &id, err);
        if (st == KN_OK)
            st = token_list_add(&out->tokens, id, err);
        if (st != KN_OK)
            break;
        if (before && difference->first_other < 0 &&
            ((size_t)step >= before->tokens.count || before->tokens.ids[step] != id))
            difference->first_other = step;
        out->ended = tokenizer_is_end(tok, id);
        if (!tokenizer_is_special(tok, id)) {
            const gguf_string bytes = tokenizer_bytes(tok, id);
            text_stream_put(&stream, bytes.bytes, bytes.n_bytes);
        }
        if (out->ended || step + 1 >= n_tokens)
            break;
        st = llama_model_forward(model, &id, 1, &logits, err);
    }
    text_stream_end(&stream);
    out->seconds = llama_clock() - start - log_seconds;
    for (llama_work i = 0; i < WORK_KINDS; ++i)
        out->work_seconds[i] = llama_model_seconds(model, i);
    if (st == KN_OK && o.out_of_memory)
        st = kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for the text");
    return st;
}

void generation_dispose(generation *g)
{
    free(g->tokens.ids);
    free(g->text);
    *g = (generation){0};
}
