#include "kernelize/plan.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/str.h"
#include "kernelize/pin.h"

static bool set_clean(char **field, const char *text, size_t size)
{
    kni_buf clean = KNI_BUF_ANY;
    kni_text_append_clean(&clean, text, size);
    char *made = kni_buf_take(&clean);
    if (!made)
        return false;
    kni_free(*field);
    *field = made;
    return true;
}

bool kni_set(char **field, const char *text)
{
    return set_clean(field, text, strlen(text));
}

bool kni_setf(char **field, const char *format, ...)
{
    kni_buf text = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&text, format, args);
    va_end(args);
    const bool set = !text.failed && set_clean(field, kni_buf_text(&text), text.size);
    kni_buf_dispose(&text);
    return set;
}

kn_plan *kni_plan_new(kn_mode mode)
{
    kn_plan *plan = kni_calloc(1, sizeof(*plan));
    if (plan) {
        plan->mode = mode;
        plan->paths = KNI_BUF_ANY;
    }
    return plan;
}

static void free_decision(kni_decision *d)
{
    kni_free(d->class_name);
    kni_free(d->layer);
    kni_free(d->reference);
    kni_free(d->repository);
    kni_free(d->revision);
    kni_free(d->variant);
    kni_free(d->layer_name);
    kni_free(d->reason);
    kni_free(d->admits);
    kni_free(d->warning);
    kn_trace_free(d->trace);
    kni_free(d);
}

void kn_plan_free(kn_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_decisions; ++i)
        free_decision(plan->decisions[i]);
    kni_free(plan->decisions);
    kni_free(plan->records);
    kni_buf_dispose(&plan->paths);
    kni_free(plan->text);
    kni_free(plan->digest);
    kni_free(plan->fallbacks);
    kni_asked_dispose(&plan->asked);
    kn_mapping_unref(plan->mapping);
    kni_free(plan);
}

kni_decision *kni_plan_add_decision(kn_plan *plan)
{
    void *decisions = plan->decisions;
    if (plan->n_decisions >= UINT32_MAX || !kni_grow(&decisions, &plan->decisions_capacity,
                                                     plan->n_decisions + 1, sizeof(kni_decision *)))
        return NULL;
    plan->decisions = decisions;
    kni_decision *d = kni_calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->capability = -1;
    d->mode = plan->mode;
    d->trace = kn_trace_new();
    char **const strings[] = {&d->class_name, &d->layer,    &d->reference,
                              &d->repository, &d->revision, &d->variant,
                              &d->layer_name, &d->reason,   &d->admits};
    bool whole = d->trace != NULL;
    for (size_t i = 0; i < KN_LEN(strings); ++i)
        whole = whole && kni_set(strings[i], "");
    if (!whole) {
        free_decision(d);
        return NULL;
    }
    plan->decisions[plan->n_decisions++] = d;
    return d;
}

kn_status kni_plan_add_record(kn_plan *plan, size_t path, uint32_t decision, kn_error *err)
{
    void *records = plan->records;
    if (!kni_grow(&records, &plan->records_capacity, plan->n_records + 1, sizeof(kni_record)))
        return kni_no_memory(err);
    plan->records = records;
    plan->records[plan->n_records++] = (kni_record){path, decision, 0};
    return KN_OK;
}

const char *kni_plan_path(const kn_plan *plan, const kni_record *record)
{
    return plan->paths.data + record->path;
}

const char *kn_outcome_text(kn_outcome outcome)
{
    switch (outcome) {
#define CASE(name, value, text)                                                                    \
    case name:                                                                                     \
        return text;
        KN_OUTCOME_LIST(CASE)
#undef CASE
    }
    return "unknown outcome";
}

const char *kni_rule_text(uint32_t rule)
{
#define CASE(name, value, text)                                                                    \
    if (rule == (value))                                                                           \
        return text;
    KN_FALLBACK_LIST(CASE)
#undef CASE
    return NULL;
}

size_t kn_plan_count(const kn_plan *plan)
{
    return plan ? plan->n_records : 0;
}

kn_status kn_plan_get(const kn_plan *plan, size_t index, kn_record *out, kn_error *err)
{
    if (!out || out->struct_size < sizeof(size_t))
        return kn_error_set(err, KN_ERR_INVALID, "plan: a record with its struct_size is required");
    if (index >= kn_plan_count(plan))
        return kn_error_set(err, KN_ERR_INVALID, "plan: record %zu; there are %zu", index,
                            kn_plan_count(plan));
    const kni_record *r = &plan->records[index];
    const kni_decision *d = plan->decisions[r->decision];
    const kn_record record = {
        .struct_size = out->struct_size,
        .path = kni_plan_path(plan, r),
        .class_name = d->class_name,
        .layer = d->layer,
        .device = d->device,
        .device_index = d->device_index,
        .capability = d->capability,
        .mode = d->mode,
        .mode_used = d->mode_used,
        .repository = d->repository,
        .revision = d->revision,
        .variant = d->variant,
        .layer_name = d->layer_name,
        .outcome = d->outcome,
        .rule = d->rule,
        .reason = d->reason,
        .admits = d->admits,
        .changed = r->changed,
        .level = d->level,
    };
    memcpy(out, &record, out->struct_size < sizeof(record) ? out->struct_size : sizeof(record));
    return KN_OK;
}

const kn_trace *kn_plan_trace(const kn_plan *plan, size_t index)
{
    return index < kn_plan_count(plan) ? plan->decisions[plan->records[index].decision]->trace
                                       : NULL;
}

size_t kn_plan_outcome_count(const kn_plan *plan, kn_outcome outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < kn_plan_count(plan); ++i)
        count += plan->decisions[plan->records[i].decision]->outcome == outcome;
    return count;
}

uint64_t kn_plan_fallback_count(const kn_plan *plan, size_t index, kn_mismatch_reason reason)
{
    if (!plan || !plan->fallbacks || index >= plan->n_records ||
        (unsigned)reason >= KN_MISMATCH_REASONS)
        return 0;
    return plan->fallbacks[index][reason];
}

const char *kn_plan_digest(kn_plan *plan)
{
    if (!plan)
        return "";
    if (!plan->digest) {
        kni_digest digest;
        char hex[129];
        kni_buf text = KNI_BUF_ANY; // each field ends with a zero: no two plans give the same bytes
        for (size_t i = 0; i < plan->n_records; ++i) {
            const kni_decision *d = plan->decisions[plan->records[i].decision];
            const char *const fields[] = {kni_plan_path(plan, &plan->records[i]), d->class_name,
                                          d->layer, d->repository, d->revision, d->variant,
                                          d->layer_name,
                                          // What was resolved is named by its revision alone.
                                          d->outcome == KN_OUTCOME_REFERENCE ? d->reference : ""};
            for (size_t f = 0; f < KN_LEN(fields); ++f)
                kni_buf_append(&text, fields[f], strlen(fields[f]) + 1);
            kni_buf_printf(&text, "%s %d %lld %u %u %d %u %u", kn_device_type_name(d->device),
                           d->device_index, (long long)d->capability, d->mode, d->mode_used,
                           (int)d->outcome, d->rule, d->kernel.strict);
            kni_buf_append(&text, "", 1);
        }
        if (!text.failed &&
            kni_digest_bytes(KNI_SHA256, kni_buf_text(&text), text.size, &digest, NULL) == KN_OK) {
            kni_digest_hex(&digest, hex);
            plan->digest = kni_strdup(hex);
        }
        kni_buf_dispose(&text);
    }
    return plan->digest ? plan->digest : "";
}
