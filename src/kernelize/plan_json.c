// A plan for programs.
#include <jansson.h>

#include "base/error.h"
#include "base/json.h"
#include "kernelize/pin.h"
#include "kernelize/plan_json.h"

// Takes over `value`; false when it is NULL or does not fit in.
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *mode_or_null(kn_mode mode)
{
    char text[KN_MODE_TEXT_SIZE];
    return mode ? json_string(kn_mode_text(mode, text)) : json_null();
}

static json_t *rule_or_null(uint32_t rule)
{
    const char *text = kni_rule_text(rule);
    return text ? json_string(text) : json_null();
}

static json_t *trace_json(const kn_trace *trace)
{
    json_t *steps = json_array();
    for (size_t i = 0; steps && i < kn_trace_count(trace); ++i) {
        const kn_trace_entry e = kn_trace_get(trace, i);
        json_t *step = json_object();
        if (!step || !put(step, "stage", json_string(e.stage)) ||
            !put(step, "subject", json_string(e.subject)) ||
            !put(step, "accepted", json_boolean(e.accepted)) ||
            !put(step, "rule", text_or_null(e.rule)) ||
            !put(step, "reason", text_or_null(e.reason)) ||
            !put(step, "admits", text_or_null(e.admits))) {
            json_decref(step);
            json_decref(steps);
            return NULL;
        }
        if (json_array_append_new(steps, step) != 0) {
            json_decref(steps);
            return NULL;
        }
    }
    return steps;
}

static json_t *fallbacks_json(const kn_plan *plan, size_t index)
{
    json_t *counts = json_object();
    for (int reason = 0; counts && reason < KN_MISMATCH_REASONS; ++reason) {
        const uint64_t n = plan->fallbacks[index][reason];
        if (n && !put(counts, kn_mismatch_reason_text((kn_mismatch_reason)reason),
                      json_integer((json_int_t)n))) {
            json_decref(counts);
            return NULL;
        }
    }
    return counts;
}

// All of a decision but its trace. In a file paths are absolute.
static bool put_decision(json_t *o, const kn_plan *plan, const kni_decision *d, bool in_file)
{
    const bool is_somewhere = d->device != KN_DEVICE_NONE;
    bool whole = plan->of_layers || put(o, "class", text_or_null(d->class_name));
    whole =
        whole && put(o, "layer", json_string(d->layer)) &&
        put(o, "device", is_somewhere ? json_string(kn_device_type_name(d->device)) : json_null());
    if (!plan->of_layers)
        whole = whole &&
                put(o, "device_index", is_somewhere ? json_integer(d->device_index) : json_null());
    return whole &&
           put(o, "capability", d->capability < 0 ? json_null() : json_integer(d->capability)) &&
           put(o, "mode", mode_or_null(d->mode)) &&
           put(o, "mode_used", mode_or_null(d->mode_used)) &&
           put(o, "repository", text_or_null(in_file ? kni_decision_place(d) : d->repository)) &&
           put(o, "revision", text_or_null(d->revision)) &&
           put(o, "level", d->variant[0] ? json_string(kn_level_text(d->level)) : json_null()) &&
           put(o, "variant", text_or_null(d->variant)) &&
           put(o, "layer_name", text_or_null(d->layer_name)) &&
           put(o, "outcome", json_string(kn_outcome_text(d->outcome))) &&
           put(o, "rule", rule_or_null(d->rule)) && put(o, "reason", text_or_null(d->reason)) &&
           put(o, "admits", text_or_null(d->admits));
}

static json_t *record_json(const kn_plan *plan, size_t index)
{
    const kni_record *r = &plan->records[index];
    const kni_decision *d = plan->decisions[r->decision];
    json_t *o = json_object();
    bool whole = o && (plan->of_layers || put(o, "path", json_string(kni_plan_path(plan, r)))) &&
                 put_decision(o, plan, d, false);
    if (!plan->of_layers)
        whole = whole && put(o, "changed", json_boolean(r->changed));
    if (plan->fallbacks)
        whole = whole && put(o, "fallbacks", fallbacks_json(plan, index));
    whole = whole && put(o, "trace", trace_json(d->trace));
    if (whole)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *records_json(const kn_plan *plan)
{
    json_t *records = json_array();
    bool whole = records != NULL;
    for (size_t i = 0; whole && i < plan->n_records; ++i)
        whole = json_array_append_new(records, record_json(plan, i)) == 0;
    if (whole)
        return records;
    json_decref(records);
    return NULL;
}

// --- in a file: each decision once, and the modules that take it by its index ---

static json_t *decisions_json(const kn_plan *plan)
{
    json_t *decisions = json_array();
    bool whole = decisions != NULL;
    for (size_t i = 0; whole && i < plan->n_decisions; ++i) {
        json_t *o = json_object();
        whole = o && put_decision(o, plan, plan->decisions[i], true) &&
                put(o, "trace", trace_json(plan->decisions[i]->trace));
        if (!whole)
            json_decref(o);
        else
            whole = json_array_append_new(decisions, o) == 0;
    }
    if (whole)
        return decisions;
    json_decref(decisions);
    return NULL;
}

static json_t *modules_json(const kn_plan *plan)
{
    json_t *modules = json_array();
    bool whole = modules != NULL;
    for (size_t i = 0; whole && i < plan->n_records; ++i) {
        const kni_record *r = &plan->records[i];
        json_t *module = json_array();
        whole = module && json_array_append_new(module, json_string(kni_plan_path(plan, r))) == 0 &&
                json_array_append_new(module, json_integer(r->decision)) == 0 &&
                json_array_append_new(module, json_boolean(r->changed)) == 0;
        if (!whole)
            json_decref(module);
        else
            whole = json_array_append_new(modules, module) == 0;
    }
    if (whole)
        return modules;
    json_decref(modules);
    return NULL;
}

static json_t *counts_json(const kn_plan *plan)
{
    json_t *counts = json_object();
    bool whole = counts != NULL;
#define COUNT(name, value, text)                                                                   \
    whole = whole && put(counts, text, json_integer((json_int_t)kn_plan_outcome_count(plan, name)));
    KN_OUTCOME_LIST(COUNT)
#undef COUNT
    if (!whole) {
        json_decref(counts);
        return NULL;
    }
    return counts;
}

json_t *kni_plan_value(kn_plan *plan, bool in_file)
{
    json_t *root = json_object();
    bool whole = root != NULL;
    if (!plan->of_layers)
        whole = whole && put(root, "mode", mode_or_null(plan->mode)) &&
                put(root, "counts", counts_json(plan)) && kn_plan_digest(plan)[0] &&
                put(root, "digest", json_string(kn_plan_digest(plan)));
    if (in_file)
        whole = whole && put(root, "decisions", decisions_json(plan)) &&
                put(root, "modules", modules_json(plan));
    else
        whole = whole && put(root, plan->of_layers ? "layers" : "modules", records_json(plan));
    if (whole)
        return root;
    json_decref(root);
    return NULL;
}

kn_status kn_plan_json(kn_plan *plan, char **out, kn_error *err)
{
    if (!plan || !out)
        return kn_error_set(err, KN_ERR_INVALID, "plan: a plan and room for its text are required");
    *out = NULL;
    json_t *root = kni_plan_value(plan, false);
    if (root)
        *out = kni_json_text(root);
    json_decref(root);
    return *out ? KN_OK : kni_no_memory(err);
}
