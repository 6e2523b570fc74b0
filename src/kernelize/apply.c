// A plan is done again: kernelize with its kernels, and nothing when something else would come out.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kernelize/native.h"
#include "kernelize/pin.h"
#include "kernelize/transaction.h"

// --- do two plans bind the same? ---

// A module of a plan.
typedef struct place {
    const char *path;
    const kni_decision *decision;
} place;

static int compare_places(const void *a, const void *b)
{
    return strcmp(((const place *)a)->path, ((const place *)b)->path);
}

// The plan's modules by path; the caller's. NULL without memory.
static place *sort_places(const kn_plan *plan)
{
    place *places = kni_calloc(plan->n_records + 1, sizeof(*places));
    if (!places)
        return NULL;
    for (size_t i = 0; i < plan->n_records; ++i)
        places[i] = (place){kni_plan_path(plan, &plan->records[i]),
                            plan->decisions[plan->records[i].decision]};
    qsort(places, plan->n_records, sizeof(*places), compare_places);
    return places;
}

static const kni_decision *find_place(const place *places, size_t n, const char *path)
{
    const place key = {path, NULL};
    const place *found = bsearch(&key, places, n, sizeof(*places), compare_places);
    return found ? found->decision : NULL;
}

static bool is_kernel(const kni_decision *d)
{
    return d && d->outcome == KN_OUTCOME_KERNEL;
}

// Bound to the same kernel, or both to none.
static bool is_same(const kni_decision *a, const kni_decision *b)
{
    if (!is_kernel(a) || !is_kernel(b))
        return is_kernel(a) == is_kernel(b);
    return strcmp(a->layer, b->layer) == 0 &&
           strcmp(kni_decision_place(a), kni_decision_place(b)) == 0 &&
           strcmp(a->revision, b->revision) == 0 && strcmp(a->variant, b->variant) == 0 &&
           strcmp(a->layer_name, b->layer_name) == 0;
}

static void append_decision(kni_buf *out, const kni_decision *d)
{
    if (!d) {
        kni_buf_puts(out, "no such extensible module");
    } else if (is_kernel(d)) {
        kni_buf_printf(out, "layer `%s` by %s", d->layer, kni_decision_place(d));
        kni_buf_printf(out, "%s%s", d->revision[0] ? " at " : "", d->revision);
        kni_buf_printf(out, ", layer `%s`%s%s", d->layer_name, d->variant[0] ? ", " : "",
                       d->variant);
    } else {
        kni_buf_printf(out, "%s%s%s",
                       d->outcome == KN_OUTCOME_LEFT ? "it left alone" : "its own forward",
                       d->reason[0] ? ": " : "", d->reason);
    }
}

static kn_status fail_conflict(const char *path, const kni_decision *want,
                               const kni_decision *would, kn_error *err)
{
    kni_buf text = KNI_BUF_ANY;
    kni_buf_printf(&text, "module %s: the plan has ", path[0] ? path : "(root)");
    append_decision(&text, want);
    kni_buf_puts(&text, "; here is ");
    append_decision(&text, would);
    const kn_status st = text.failed
                             ? kni_no_memory(err)
                             : kn_error_set(err, KN_ERR_CONFLICT, "%s", kni_buf_text(&text));
    kni_buf_dispose(&text);
    return st;
}

// data: the plan that is to be done.
static kn_status judge(void *data, kn_plan *would, kn_error *err)
{
    const kn_plan *want = data;
    kn_status st = KN_OK;
    place *wanted = sort_places(want), *found = sort_places(would);
    if (!wanted || !found)
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < want->n_records; ++i) {
        const kni_record *record = &want->records[i];
        const char *path = kni_plan_path(want, record);
        const kni_decision *d = want->decisions[record->decision];
        const kni_decision *here = find_place(found, would->n_records, path);
        if (!is_same(d, here))
            st = fail_conflict(path, d, here, err);
    }
    for (size_t i = 0; st == KN_OK && i < would->n_records; ++i) {
        const kni_record *record = &would->records[i];
        const char *path = kni_plan_path(would, record);
        const kni_decision *d = would->decisions[record->decision];
        if (is_kernel(d) && !is_kernel(find_place(wanted, want->n_records, path)))
            st = fail_conflict(path, NULL, d, err);
    }
    would->asked.fallback = want->asked.fallback;
    kni_free(wanted);
    kni_free(found);
    return st;
}

// --- the plan as options of kernelize ---

// A module that the plan leaves its own forward has no kernel in the plan's mapping, whatever the reason was: those cases are admitted.
// That a kernel of the plan cannot be loaded is none of them.
static uint32_t admitted(const kni_asked *asked)
{
    return asked->fallback ? asked->fallback | KN_FALLBACK_DEFAULT : KN_FALLBACK_NONE;
}

kn_status kn_plan_apply_host(kn_context *ctx, const kn_plan *want, const kn_host *host,
                             kn_plan **plan, kn_error *err)
{
    kn_mapping *mapping = NULL;
    if (plan)
        *plan = NULL;
    kn_status st = kn_plan_mapping(want, &mapping, err);
    if (st != KN_OK)
        return st;
    const kni_asked *asked = &want->asked;
    const kn_kernelize_options opts = {
        .struct_size = sizeof(opts),
        .mode = want->mode,
        .fallback = admitted(asked),
        .mapping = mapping,
        .device = asked->device,
        .layers = (const char *const *)asked->layers.items,
        .n_layers = asked->layers.count,
        .paths = (const char *const *)asked->paths.items,
        .n_paths = asked->paths.count,
    };
    st = kni_kernelize(ctx, host, &opts, judge, (void *)(uintptr_t)want, plan, err);
    kn_mapping_unref(mapping);
    return st;
}

kn_status kn_plan_apply(kn_context *ctx, const kn_plan *want, kn_module *model, kn_plan **plan,
                        kn_error *err)
{
    if (plan)
        *plan = NULL;
    if (!model)
        return kn_error_set(err, KN_ERR_INVALID, "plan: a model is required");
    kni_native native = {.ctx = ctx, .root = model};
    const kn_host host = kni_native_host(&native);
    return kn_plan_apply_host(ctx, want, &host, plan, err);
}
