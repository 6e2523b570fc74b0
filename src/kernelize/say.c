#include "kernelize/say.h"

#include <string.h>

#include "base/log.h"
#include "context/context.h"
#include "kernelize/bind.h"

static bool same_kernel(const kni_decision *a, const kni_decision *b)
{
    return a->outcome == b->outcome && a->kernel.kernel == b->kernel.kernel &&
           strcmp(a->reference, b->reference) == 0 && strcmp(a->layer, b->layer) == 0;
}

static void say_decision(const kni_log *log, const kn_plan *plan, const kni_tally *tallies,
                         size_t index)
{
    const kni_decision *d = plan->decisions[index];
    kni_tally total = {0, 0};
    for (size_t i = 0; i < plan->n_decisions; ++i) {
        const bool same =
            d->outcome == KN_OUTCOME_KERNEL ? same_kernel(d, plan->decisions[i]) : i == index;
        if (same && i < index)
            return; // said already
        if (same) {
            total.changed += tallies[i].changed;
            total.all += tallies[i].all;
        }
    }
    if (total.changed == 0)
        return;
    if (d->warning)
        kni_log_write(log, KN_LOG_WARNING, "%s", d->warning);
    if (d->outcome == KN_OUTCOME_KERNEL)
        kni_log_write(log, KN_LOG_INFO, "Using layer `%s` from repo %s for %zu module%s",
                      d->layer_name, d->reference, total.all, total.all == 1 ? "" : "s");
    else
        kni_log_write(log, KN_LOG_INFO, "Layer `%s` of %zu module%s: %s, using fallback", d->layer,
                      total.all, total.all == 1 ? "" : "s", d->reason);
}

void kni_say_decisions(kn_context *ctx, const kn_plan *plan, const kni_tally *tallies)
{
    for (size_t i = 0; i < plan->n_decisions; ++i)
        say_decision(kni_context_log(ctx), plan, tallies, i);
}

// By its name: a host's handle of a class may be another in each run.
static uint64_t add_text(uint64_t hash, const char *text)
{
    for (; *text; ++text)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u; // FNV-1a
    return hash;
}

void kni_say_nothing_replaced(kn_context *ctx, const kni_request *request, const kn_plan *plan,
                              const char *advice)
{
    const size_t n = plan->n_records;
    uint64_t picture = n + 1;
    if (kni_request_is_dry(request))
        return; // the plan is what was asked for
    if (request->options.n_layers || request->options.n_paths || request->disabled ||
        kn_plan_outcome_count(plan, KN_OUTCOME_KERNEL))
        picture = 0; // something is served, or the caller chose
    for (size_t i = 0; picture && i < plan->n_decisions; ++i) {
        const kni_decision *d = plan->decisions[i];
        picture = add_text(add_text(picture, d->class_name), d->layer);
        picture =
            picture * 31 + kni_question_hash(NULL, d->state, d->device, d->device_index) + d->rule;
    }
    if (!kni_warn_once(ctx, picture))
        return;
    if (n == 0)
        kni_log_write(kni_context_log(ctx), KN_LOG_WARNING,
                      "kernelize: the model has no extensible layer; see %s",
                      advice ? advice : "docs/c-api.md, \"Making a layer extensible\"");
    else
        kni_log_write(kni_context_log(ctx), KN_LOG_WARNING,
                      "kernelize: none of %zu extensible modules got a kernel (first reason: %s); "
                      "see %s",
                      n, plan->decisions[plan->records[0].decision]->reason,
                      advice ? advice : "kn_plan_text, or `kernels explain`");
}
