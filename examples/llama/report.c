#include "report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

static double tokens_per_second(const generation *g)
{
    // The first token comes out of the prompt.
    return g->tokens.count > 1 && g->seconds > 0 ? (double)(g->tokens.count - 1) / g->seconds : 0;
}

static double work_total(const generation *g)
{
    double sum = 0;
    for (llama_work i = 0; i < WORK_KINDS; ++i)
        sum += g->work_seconds[i];
    return sum;
}

static double other_seconds(const generation *g)
{
    const double other = g->prompt_seconds + g->seconds - work_total(g);
    return other > 0 ? other : 0;
}

static double peak_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024.0 * (double)usage.ru_maxrss : 0;
}

// One line: the name, then a number for each run that there was.
static void print_row(const llama_report *r, const char *name, double kernels, double plain,
                      const char *unit)
{
    printf("  %-20s", name);
    if (r->kernels)
        printf(" %11.2f", kernels);
    printf(" %11.2f  %s\n", plain, unit);
}

void llama_report_print(const llama_report *r)
{
    static const generation none = {0};
    const generation *k = r->kernels ? r->kernels : &none, *p = r->plain;
    printf("\n  %-20s", "");
    if (r->kernels)
        printf(" %11s", "kernels");
    printf(" %11s\n", "plain");
    print_row(r, "speed", tokens_per_second(k), tokens_per_second(p), "tokens/s");
    print_row(r, "prompt", 1e3 * k->prompt_seconds, 1e3 * p->prompt_seconds, "ms");
    print_row(r, "tokens", 1e3 * k->seconds, 1e3 * p->seconds, "ms");
    for (llama_work i = 0; i < WORK_KINDS; ++i)
        print_row(r, llama_work_text(i), 1e3 * k->work_seconds[i], 1e3 * p->work_seconds[i], "ms");
    print_row(r, "other", 1e3 * other_seconds(k), 1e3 * other_seconds(p), "ms");
    if (r->kernels) {
        printf("\n  largest difference of the logits: %.3g, over %lld steps; ",
               r->difference.largest, (long long)r->difference.n_compared);
        if (r->difference.first_other < 0)
            printf("the same tokens\n");
        else
            printf("other tokens from the %lldth on\n", (long long)r->difference.first_other + 1);
        printf("  calls that fell back to a layer's own forward: %llu\n",
               (unsigned long long)r->n_fallback_calls);
    }
    printf("  peak memory: %.0f MB, %.2f of the weights as float\n", peak_bytes() / 1e6,
           peak_bytes() / (double)r->weights_bytes);
}

static json_t *ids_json(const token_list *list)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < list->count; ++i)
        json_array_append_new(ids, json_integer(list->ids[i]));
    return ids;
}

static json_t *run_json(const generation *g, bool kernels)
{
    json_t *layers = json_object();
    for (llama_work i = 0; i < WORK_KINDS; ++i)
        json_object_set_new(layers, llama_work_text(i), json_real(g->work_seconds[i]));
    json_object_set_new(layers, "other", json_real(other_seconds(g)));
    return json_pack("{s:b, s:s, s:o, s:b, s:f, s:f, s:f, s:o}", "kernels", kernels, "text",
                     g->text, "tokens", ids_json(&g->tokens), "ended", g->ended,
                     "tokens_per_second", tokens_per_second(g), "prompt_seconds", g->prompt_seconds,
                     "seconds", g->seconds, "layer_seconds", layers);
}

static json_t *difference_json(const llama_report *r)
{
    const logits_difference *d = &r->difference;
    if (!r->kernels || !r->plain)
        return json_null();
    // JSON has no NaN and no infinity.
    return json_pack("{s:o, s:I, s:o}", "max_abs",
                     isfinite(d->largest) ? json_real(d->largest) : json_null(), "steps",
                     (json_int_t)d->n_compared, "first_other_token",
                     d->first_other < 0 ? json_null() : json_integer(d->first_other));
}

static kn_status plan_json(kn_plan *plan, json_t **out, kn_error *err)
{
    char *text = NULL;
    kn_status st = KN_OK;
    *out = NULL;
    if (plan)
        st = kn_plan_json(plan, &text, err);
    if (st == KN_OK)
        *out = text ? json_loads(text, 0, NULL) : json_null();
    kn_string_free(text);
    return st;
}

kn_status llama_report_json(const llama_report *r, kn_error *err)
{
    json_t *plan;
    json_t *runs = json_array();
    const kn_status st = plan_json(r->plan, &plan, err);
    if (r->kernels)
        json_array_append_new(runs, run_json(r->kernels, true));
    if (r->plain)
        json_array_append_new(runs, run_json(r->plain, false));
    json_t *document =
        json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:o, s:I, s:f, s:I}", "model", r->options->model,
                  "prompt", r->options->prompt, "prompt_tokens", ids_json(r->prompt), "threads",
                  r->options->n_threads, "plan", plan, "runs", runs, "logits_difference",
                  difference_json(r), "fallback_calls", (json_int_t)r->n_fallback_calls,
                  "peak_bytes", peak_bytes(), "weights_bytes", (json_int_t)r->weights_bytes);
    if (st != KN_OK) {
        json_decref(document);
        return st;
    }
    if (!document)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for the report");
    const bool written = json_dumpf(document, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    json_decref(document);
    return written ? KN_OK : kn_error_set(err, KN_ERR_IO, "cannot write the report");
}
