// The way back, and what is bound now.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kernelize/native.h"
#include "kernelize/plan.h"
#include "kernels/kernelize.h"

// Walks a model into a plan whose decisions are made per module class and state.
typedef struct survey {
    const kn_host *host;
    kn_plan *plan;
    void **modules; // in the order of the records
    size_t modules_capacity;
    bool undo; // only modules that were kernelized; else every extensible one
} survey;

static bool set_if_given(char **field, const char *text)
{
    return !text || kni_set(field, text);
}

// binding: looked at for a report; NULL when nothing of the host's is bound, and for undo.
static kn_status describe_decision(const survey *s, const kn_host_module *module,
                                   kn_host_state state, void *binding, kni_decision *d,
                                   kn_error *err)
{
    kn_host_class cls = {.struct_size = sizeof(cls)};
    const kn_status st = s->host->describe(s->host->user, module->cls, &cls, err);
    if (st != KN_OK)
        return st;
    d->cls = module->cls;
    d->state = state;
    d->device = module->device;
    d->device_index = module->device_index;
    d->binding = binding;
    const char *reason = "";
    if (state == KN_HOST_KERNEL) {
        d->outcome = s->undo ? KN_OUTCOME_RESTORED : KN_OUTCOME_KERNEL;
    } else if (state == KN_HOST_OWN) {
        d->outcome = KN_OUTCOME_FALLBACK;
        reason = cls.refusal ? cls.refusal : "";
    } else {
        d->outcome = KN_OUTCOME_LEFT;
        reason = cls.refusal ? cls.refusal : kni_foreign_text(state);
    }
    bool whole = kni_set(&d->class_name, cls.name) &&
                 kni_set(&d->layer, cls.layer ? cls.layer : "") && kni_set(&d->reason, reason);
    if (binding) {
        kn_host_bound bound = {.struct_size = sizeof(bound)};
        s->host->bound(s->host->user, binding, &bound);
        d->level = bound.level;
        d->mode = bound.mode;
        d->mode_used = bound.mode_used;
        whole = whole && set_if_given(&d->repository, bound.repository) &&
                set_if_given(&d->revision, bound.revision) &&
                set_if_given(&d->variant, bound.variant) &&
                set_if_given(&d->layer_name, bound.layer_name);
    }
    return whole ? KN_OK : kni_no_memory(err);
}

static kn_status survey_visit(const kn_host_module *module, void *data, kn_error *err)
{
    survey *s = data;
    void *binding = NULL;
    const kn_host_state state = s->host->state(s->host->user, module->module, &binding);
    if (s->undo ? state != KN_HOST_KERNEL && state != KN_HOST_FOREIGN_SINCE : !module->extensible)
        return KN_OK;
    uint32_t index = 0; // few decisions: a model has few classes and kernels
    while (index < s->plan->n_decisions) {
        const kni_decision *d = s->plan->decisions[index];
        if (d->cls == module->cls && d->state == state && d->device == module->device &&
            d->device_index == module->device_index && (s->undo || d->binding == binding))
            break;
        ++index;
    }
    if (index == s->plan->n_decisions) {
        kni_decision *d = kni_plan_add_decision(s->plan);
        if (!d)
            return kni_no_memory(err);
        const kn_status st = describe_decision(s, module, state, s->undo ? NULL : binding, d, err);
        if (st != KN_OK)
            return st;
    }
    void *modules = s->modules;
    if (!kni_grow(&modules, &s->modules_capacity, s->plan->n_records + 1, sizeof(void *)))
        return kni_no_memory(err);
    s->modules = modules;
    s->modules[s->plan->n_records] = module->module;
    const size_t path = s->plan->paths.size;
    const kn_status st = kni_plan_append_path(s->plan, s->host, module->module, err);
    return st == KN_OK ? kni_plan_add_record(s->plan, path, index, err) : st;
}

kn_status kn_unkernelize_host(const kn_host *given, kn_plan **plan, kn_error *err)
{
    kn_host host;
    if (plan)
        *plan = NULL;
    kn_status st = kni_host_read(given, &host, err);
    if (st != KN_OK)
        return st;
    survey s = {.host = &host, .plan = kni_plan_new(0), .undo = true};
    st = s.plan ? host.walk(host.user, survey_visit, &s, err) : kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < s.plan->n_records; ++i) {
        kni_record *record = &s.plan->records[i];
        if (s.plan->decisions[record->decision]->outcome == KN_OUTCOME_RESTORED) {
            host.commit(host.user, s.modules[i], NULL);
            record->changed = 1;
        }
    }
    kni_free(s.modules);
    if (st == KN_OK && plan)
        *plan = s.plan;
    else
        kn_plan_free(s.plan);
    return st;
}

kn_status kn_unkernelize(kn_module *model, kn_plan **plan, kn_error *err)
{
    if (plan)
        *plan = NULL;
    if (!model)
        return kn_error_set(err, KN_ERR_INVALID, "unkernelize: a model is required");
    kni_native native = {.root = model};
    const kn_host host = kni_native_host(&native);
    return kn_unkernelize_host(&host, plan, err);
}

static kn_status count_fallbacks(const survey *s, kn_error *err)
{
    if (!s->host->fallbacks)
        return KN_OK;
    s->plan->fallbacks = kni_calloc(s->plan->n_records + 1, sizeof(*s->plan->fallbacks));
    if (!s->plan->fallbacks)
        return kni_no_memory(err);
    for (size_t i = 0; i < s->plan->n_records; ++i)
        for (int reason = 0; reason < KN_MISMATCH_REASONS; ++reason)
            s->plan->fallbacks[i][reason] =
                s->host->fallbacks(s->host->user, s->modules[i], (kn_mismatch_reason)reason);
    return KN_OK;
}

kn_status kn_report_host(const kn_host *given, kn_plan **plan, kn_error *err)
{
    kn_host host;
    if (!plan)
        return kn_error_set(err, KN_ERR_INVALID, "report: room for the plan is required");
    *plan = NULL;
    kn_status st = kni_host_read(given, &host, err);
    if (st != KN_OK)
        return st;
    if (!host.bound)
        return kn_error_set(err, KN_ERR_INVALID, "report: the host table lacks its entry bound");
    survey s = {.host = &host, .plan = kni_plan_new(0)};
    st = s.plan ? host.walk(host.user, survey_visit, &s, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = count_fallbacks(&s, err);
    kni_free(s.modules);
    if (st == KN_OK)
        *plan = s.plan;
    else
        kn_plan_free(s.plan);
    return st;
}

kn_status kn_report(kn_module *model, kn_plan **plan, kn_error *err)
{
    if (plan)
        *plan = NULL;
    if (!model || !plan)
        return kn_error_set(err, KN_ERR_INVALID,
                            "report: a model and room for the plan are required");
    kni_native native = {.root = model};
    const kn_host host = kni_native_host(&native);
    return kn_report_host(&host, plan, err);
}
