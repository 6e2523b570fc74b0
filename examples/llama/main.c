// Runs a Llama model in C. Its RMSNorm, SiluAndMul and rotary layers are extensible: a mapping names kernels for them, and
// the program shows which it got and why, what that gains, and how much the results differ.

#include <cblas.h>
#include <kernels/kernels.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "generate.h"
#include "model.h"
#include "options.h"
#include "report.h"

// All that the program holds.
typedef struct program {
    llama_options options;
    tokenizer *tok;
    llama_weights weights;
    llama_model *model;
    token_list prompt;
    kn_context *context;
    kn_plan *plan;
    logits_log log;
    generation kernels;
    generation plain;
    logits_difference difference;
    uint64_t n_fallback_calls; // of the run with kernels
} program;

static void print_text(void *user, const char *text, size_t n_bytes)
{
    (void)user;
    fwrite(text, 1, n_bytes, stdout);
    fflush(stdout);
}

// Tokenizer and weights hold all that is needed of the file, which is closed again.
static kn_status read_model(program *p, kn_error *err)
{
    gguf_file *file = NULL;
    kn_status st = gguf_open(p->options.model, &file, err);
    if (st == KN_OK)
        st = tokenizer_new(file, &p->tok, err);
    if (st == KN_OK)
        st = llama_weights_read(file, &p->weights, err);
    if (st == KN_OK && (int64_t)tokenizer_n_tokens(p->tok) != p->weights.config.n_vocab)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: %zu tokens for an embedding of %lld",
                          p->options.model, tokenizer_n_tokens(p->tok),
                          (long long)p->weights.config.n_vocab);
    gguf_close(file);
    return st;
}

static kn_status make_prompt(program *p, kn_error *err)
{
    const char *text = p->options.prompt;
    kn_status st = KN_OK;
    if (!p->options.raw && chat_is_known(p->tok)) {
        st = chat_prompt(p->tok, text, &p->prompt, err);
    } else {
        if (tokenizer_bos(p->tok) >= 0)
            st = token_list_add(&p->prompt, tokenizer_bos(p->tok), err);
        if (st == KN_OK)
            st = tokenizer_encode(p->tok, text, strlen(text), false, &p->prompt, err);
    }
    if (st == KN_OK && p->prompt.count == 0)
        st = kn_error_set(err, KN_ERR_INVALID, "no token stands for the prompt");
    if (st != KN_OK)
        kn_error_prefix(err, "--prompt");
    return st;
}

static void log_line(void *user, kn_log_level level, const char *text)
{
    (void)user;
    fprintf(stderr, "%s%s\n", level == KN_LOG_WARNING ? "warning: " : "", text);
}

// One line for each kernel that came over the network. Kernels are downloaded side by side, each on a thread of its own.
static int show_download(void *user, const kn_progress *progress)
{
    (void)user;
    if (progress->is_done && progress->files_done == progress->files_total)
        fprintf(stderr, "downloaded %s, %s: %u files, %.2f MB\n", progress->repo_id,
                progress->variant, progress->files_total, (double)progress->bytes_total / 1e6);
    return 0; // anything else would cancel it
}

// What the mapping file names takes over, downloaded where it has to be; the plan tells.
static kn_status use_kernels(program *p, kn_error *err)
{
    kn_mapping *mapping = NULL;
    kn_status st = kn_mapping_read(p->options.mapping, &mapping, err);
    if (st == KN_OK)
        st = kn_context_open(KN_CONTEXT_OPTIONS(.log = log_line, .log_level = KN_LOG_WARNING,
                                                .hub = KN_HUB_OPTIONS(.progress = show_download)),
                             &p->context, err);
    if (st == KN_OK)
        st = kn_kernelize(p->context, llama_model_root(p->model),
                          KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = mapping),
                          &p->plan, err);
    kn_mapping_unref(mapping);
    if (st == KN_OK && !p->options.json)
        printf("%s\n", kn_plan_text(p->plan));
    return st;
}

static kn_status run(program *p, const char *title, const generation *before, generation *out,
                     kn_error *err)
{
    const text_sink_fn sink = p->options.json ? NULL : print_text;
    if (sink)
        printf("%s\n", title);
    const kn_status st = generate(p->model, p->tok, &p->prompt, p->options.n_tokens, sink, NULL,
                                  p->log.kept ? &p->log : NULL, before, &p->difference, out, err);
    if (sink)
        printf("\n\n");
    return st;
}

// A kernel takes only calls that fit its signature; the others fell back to the layer's own forward.
static kn_status count_fallback_calls(program *p, kn_error *err)
{
    kn_plan *now = NULL;
    const kn_status st = kn_report(llama_model_root(p->model), &now, err);
    for (size_t i = 0; st == KN_OK && i < kn_plan_count(now); ++i)
        for (int reason = KN_FITS + 1; reason < KN_MISMATCH_REASONS; ++reason)
            p->n_fallback_calls += kn_plan_fallback_count(now, i, (kn_mismatch_reason)reason);
    kn_plan_free(now);
    return st;
}

// The first call pays for what later ones find ready: memory, threads, caches. It is not measured.
static kn_status warm_up(program *p, kn_error *err)
{
    const float *logits;
    return llama_model_forward(p->model, p->prompt.ids, 1, &logits, err);
}

static kn_status run_both(program *p, kn_error *err)
{
    kn_status st = warm_up(p, err);
    if (st != KN_OK)
        return st;
    if (!p->options.mapping || p->options.no_kernels)
        return run(p, "Without kernels:", NULL, &p->plain, err);
    st = use_kernels(p, err);
    // What is kept to compare stays small beside the weights.
    if (st == KN_OK && !p->options.brief)
        st = logits_log_init(&p->log, p->weights.config.n_vocab, p->options.n_tokens,
                             p->weights.n_bytes / 20, err);
    if (st == KN_OK)
        st = run(p, "With kernels:", NULL, &p->kernels, err);
    if (st == KN_OK)
        st = count_fallback_calls(p, err);
    if (p->options.brief)
        return st;
    if (st == KN_OK)
        st = kn_unkernelize(llama_model_root(p->model), NULL, err);
    if (st == KN_OK)
        st = run(p, "Without kernels:", &p->kernels, &p->plain, err);
    return st;
}

static kn_status report(program *p, kn_error *err)
{
    const llama_report r = {.options = &p->options,
                            .prompt = &p->prompt,
                            .plan = p->plan,
                            .kernels = p->plan ? &p->kernels : NULL,
                            .plain = p->plan && p->options.brief ? NULL : &p->plain,
                            .difference = p->difference,
                            .n_fallback_calls = p->n_fallback_calls,
                            .weights_bytes = p->weights.n_bytes};
    if (p->options.json)
        return llama_report_json(&r, err);
    if (!p->options.brief)
        llama_report_print(&r);
    return KN_OK;
}

// Matrix products are OpenBLAS's; kernels use OpenMP, which reads its variables when the first of them is loaded. Its threads
// shall sleep between kernels, not spin: the processors are OpenBLAS's then.
static kn_status set_threads(int n_threads, kn_error *err)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", n_threads);
    openblas_set_num_threads(n_threads);
    return setenv("OMP_NUM_THREADS", text, 1) == 0 && setenv("OMP_WAIT_POLICY", "passive", 0) == 0
               ? KN_OK
               : kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for the environment");
}

static void program_dispose(program *p)
{
    llama_model_free(p->model); // its last call was before
    kn_context_close(p->context);
    kn_plan_free(p->plan);
    logits_log_dispose(&p->log);
    generation_dispose(&p->kernels);
    generation_dispose(&p->plain);
    free(p->prompt.ids);
    llama_weights_dispose(&p->weights);
    tokenizer_free(p->tok);
}

int main(int argc, char **argv)
{
    program p = {0};
    kn_error err = KN_ERROR_INIT;
    kn_status st = llama_options_parse(argc, argv, &p.options, &err);
    if (st != KN_OK) {
        fprintf(stderr, "llama: %s\n", kn_error_text(&err));
        kn_error_dispose(&err);
        return 2;
    }
    if (p.options.help) {
        fputs(llama_usage, stdout);
        return 0;
    }
    st = set_threads(p.options.n_threads, &err);
    if (st == KN_OK)
        st = read_model(&p, &err);
    if (st == KN_OK)
        st = make_prompt(&p, &err);
    if (st == KN_OK)
        st = llama_model_new(&p.weights, (int64_t)p.prompt.count + p.options.n_tokens, &p.model,
                             &err);
    if (st == KN_OK)
        st = run_both(&p, &err);
    if (st == KN_OK)
        st = report(&p, &err);
    if (st == KN_OK && (fflush(stdout) != 0 || ferror(stdout)))
        st = kn_error_set(&err, KN_ERR_IO, "cannot write to standard output");
    if (st != KN_OK)
        fprintf(stderr, "llama: %s\n", kn_error_text(&err));
    program_dispose(&p);
    kn_error_dispose(&err);
    return st == KN_OK ? 0 : 1;
}
