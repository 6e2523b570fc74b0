// The way back, and what is bound now.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kernelize/native.h"
#include "kernelize/place.h"
#include "kernelize/plan.h"
#include "kernels/kernelize.h"

// A module that was met: what its decision is made of.
typedef struct met {
    void *module;
    void *cls;
    void *binding; // looked at for a report; NULL when nothing of the host's is bound, and for undo
    kn_host_state state;
    kni_place at;
} met;

// Walks a model into a plan whose decisions are made per module class and state.
typedef struct survey {
    const kn_host *host;
    kn_plan *plan;
    met *met; // in the order of the records
    size_t met_capacity;
    kni_places places;
    bool undo; // only modules that were kernelized; else every extensible one
} survey;

static bool set_if_given(char **field, const char *text)
{
    return !text || kni_set(field, text);
}

// What the host's binding is.
static bool describe_bound(const survey *s, const met *m, kni_decision *d)
{
    kn_host_bound bound = {.struct_size = sizeof(bound), .device_index = -1};
    s->host->bound(s->host->user, m->binding, &bound);
    d->level = bound.level;
    d->mode = bound.mode;
    d->mode_used = bound.mode_used;
    if (bound.device != KN_DEVICE_NONE) {
        const bool here = bound.device == m->at.device;
        d->device = bound.device;
        d->device_index = bound.device_index >= 0 ? bound.device_index : here ? m->at.index : 0;
    }
    return set_if_given(&d->repository, bound.repository) &&
           set_if_given(&d->revision, bound.revision) && set_if_given(&d->variant, bound.variant) &&
           set_if_given(&d->layer_name, bound.layer_name);
}

// Why the own forward serves: the host's word on the class, else what kernelize told of it.
static bool describe_own(const survey *s, const kn_host_class *cls, kni_decision *d)
{
    if (cls->refusal || s->undo)
        return set_if_given(&d->reason, cls->refusal);
    if (!s->host->why)
        return true;
    kn_host_reason why = {
        .struct_size = sizeof(why), .device = d->device, .device_index = d->device_index};
    s->host->why(s->host->user, d->cls, &why);
    if (!why.reason)
        return kni_set(&d->reason, "was not kernelized");
    d->device = why.device;
    d->device_index = why.device_index;
    d->rule = why.rule;
    return kni_set(&d->reason, why.reason) && set_if_given(&d->admits, why.admits);
}

static kn_status describe_decision(const survey *s, const met *m, kni_decision *d, kn_error *err)
{
    kn_host_class cls = {.struct_size = sizeof(cls)};
    const kn_status st = s->host->describe(s->host->user, m->cls, &cls, err);
    if (st != KN_OK)
        return st;
    bool whole =
        kni_set(&d->class_name, cls.name) && kni_set(&d->layer, cls.layer ? cls.layer : "");
    if (m->state == KN_HOST_KERNEL) {
        d->outcome = s->undo ? KN_OUTCOME_RESTORED : KN_OUTCOME_KERNEL;
    } else if (m->state == KN_HOST_OWN) {
        d->outcome = KN_OUTCOME_FALLBACK;
        whole = whole && describe_own(s, &cls, d);
    } else {
        d->outcome = KN_OUTCOME_LEFT;
        whole =
            whole && kni_set(&d->reason, cls.refusal ? cls.refusal : kni_foreign_text(m->state));
    }
    whole = whole && (!m->binding || describe_bound(s, m, d));
    return whole ? KN_OK : kni_no_memory(err);
}

static kn_status survey_visit(const kn_host_module *module, void *data, kn_error *err)
{
    survey *s = data;
    met m = {.module = module->module, .cls = module->cls};
    kn_status st = kni_place_find(&s->places, module, &m.at, err);
    if (st != KN_OK)
        return st;
    m.state = s->host->state(s->host->user, module->module, &m.binding);
    if (s->undo ? m.state != KN_HOST_KERNEL && m.state != KN_HOST_FOREIGN_SINCE
                : !module->extensible)
        return KN_OK;
    if (s->undo)
        m.binding = NULL;
    void *all = s->met;
    if (!kni_grow(&all, &s->met_capacity, s->plan->n_records + 1, sizeof(met)))
        return kni_no_memory(err);
    s->met = all;
    s->met[s->plan->n_records] = m;
    const size_t path = s->plan->paths.size;
    st = kni_plan_append_path(s->plan, s->host, module->module, err);
    return st == KN_OK ? kni_plan_add_record(s->plan, path, 0, err) : st;
}

// The question that a module asks; the same as an earlier one's: its decision.
static bool is_question(const met *a, const met *b)
{
    return a->cls == b->cls && a->state == b->state && a->binding == b->binding &&
           a->at.device == b->at.device && a->at.index == b->at.index;
}

// Walks, and describes each question once.
static kn_status look(survey *s, kn_error *err)
{
    size_t asked_capacity = 0;
    void *asked = NULL; // by decision: the first module with its question
    kn_status st =
        s->plan ? s->host->walk(s->host->user, survey_visit, s, err) : kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < s->plan->n_records; ++i) {
        met *m = &s->met[i];
        uint32_t index = 0; // few decisions: a model has few classes and kernels
        if (m->at.device == KN_DEVICE_NONE)
            m->at = s->places.first;
        while (index < s->plan->n_decisions && !is_question(&s->met[((size_t *)asked)[index]], m))
            ++index;
        s->plan->records[i].decision = index;
        if (index < s->plan->n_decisions)
            continue;
        kni_decision *d = NULL;
        if (!kni_grow(&asked, &asked_capacity, (size_t)index + 1, sizeof(size_t)) ||
            !(d = kni_plan_add_decision(s->plan))) {
            st = kni_no_memory(err);
            break;
        }
        ((size_t *)asked)[index] = i;
        d->cls = m->cls;
        d->state = m->state;
        d->device = m->at.device;
        d->device_index = m->at.index;
        d->binding = m->binding;
        st = describe_decision(s, m, d, err);
    }
    kni_free(asked);
    kni_free(s->places.above);
    return st;
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
    st = look(&s, err);
    for (size_t i = 0; st == KN_OK && i < s.plan->n_records; ++i) {
        kni_record *record = &s.plan->records[i];
        if (s.plan->decisions[record->decision]->outcome == KN_OUTCOME_RESTORED) {
            host.commit(host.user, s.met[i].module, NULL);
            record->changed = 1;
        }
    }
    kni_free(s.met);
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
        s->host->fallbacks(s->host->user, s->met[i].module, s->plan->fallbacks[i],
                           KN_MISMATCH_REASONS);
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
    st = look(&s, err);
    if (st == KN_OK)
        st = count_fallbacks(&s, err);
    kni_free(s.met);
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
    kni_native native = {.root = model, .said = KNI_BUF_ANY};
    const kn_host host = kni_native_host(&native);
    const kn_status st = kn_report_host(&host, plan, err);
    kni_buf_dispose(&native.said);
    return st;
}
