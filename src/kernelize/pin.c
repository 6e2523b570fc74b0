#include "kernelize/pin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "mapping/reference.h"

// --- what was asked for ---

void kni_filter_dispose(kni_filter *filter)
{
    for (size_t i = 0; i < filter->count; ++i)
        kni_free(filter->items[i]);
    kni_free(filter->items);
    *filter = (kni_filter){0};
}

bool kni_filter_set(kni_filter *out, const char *const *items, size_t count)
{
    kni_filter_dispose(out);
    out->items = count ? kni_calloc(count, sizeof(*out->items)) : NULL;
    bool whole = count == 0 || out->items;
    for (size_t i = 0; whole && i < count; ++i) {
        out->items[i] = kni_strdup(items[i]);
        out->count = i + 1;
        whole = out->items[i] != NULL;
    }
    if (!whole)
        kni_filter_dispose(out);
    return whole;
}

void kni_asked_dispose(kni_asked *asked)
{
    kni_free(asked->device);
    kni_filter_dispose(&asked->layers);
    kni_filter_dispose(&asked->paths);
    *asked = (kni_asked){0};
}

kn_status kni_plan_check_asked(const kn_plan *plan, kn_error *err)
{
    if (plan && plan->asked.is_there)
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "plan: %s: accepted are those of kn_kernelize without NO_RESOLVE, and what "
                        "kn_plan_read has read",
                        plan ? "it does not say how to make it again" : "NULL");
}

// --- the kernels ---

const char *kni_decision_place(const kni_decision *d)
{
    return d->registered && d->registered->path ? d->registered->path : d->repository;
}

// A capability belongs to devices of these types alone.
static bool has_capability(const kni_decision *d)
{
    return d->capability >= 0 && (d->device == KN_DEVICE_CPU || d->device == KN_DEVICE_CUDA ||
                                  d->device == KN_DEVICE_ROCM);
}

enum { BRANCH_TEXT_SIZE = 24 };

// branch: room for the number of a version branch.
static kn_entry entry_of(const kni_decision *d, char branch[BRANCH_TEXT_SIZE])
{
    const kn_reference *r = d->registered;
    kn_entry entry = KN_ENTRY_INIT;
    entry.layer = d->layer;
    entry.device = kn_device_type_name(d->device);
    if (has_capability(d))
        entry.capability = KN_RANGE(d->capability, d->capability);
    entry.mode = d->mode_used;
    entry.trust_remote_code = r->trust_remote_code;
    entry.repo_id = r->repo_id;
    entry.path = r->path;
    entry.layer_name = r->layer_name;
    entry.object = kni_reference_object(r);
    entry.label = r->label;
    entry.lock = r->lock;
    entry.sums = r->sums;
    entry.user_agent = r->user_agent;
    // A lock and sums name the commit and hold its files against what they know; LOCAL_KERNELS has no commit: the wish stays as it is.
    if (r->kind == KN_REFERENCE_HUB && !r->sums && d->revision[0]) {
        entry.revision = d->revision;
        return entry;
    }
    entry.revision = r->revision;
    entry.version = r->version;
    if (r->version_branch >= 0) {
        snprintf(branch, BRANCH_TEXT_SIZE, "%" PRId64, r->version_branch);
        entry.version = branch;
    }
    return entry;
}

// By what an entry is registered for: decisions that are equal in it take one reference.
static int compare_decisions(const void *a, const void *b)
{
    const kni_decision *x = *(const kni_decision *const *)a, *y = *(const kni_decision *const *)b;
    const int layers = strcmp(x->layer, y->layer);
    if (layers)
        return layers;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->capability != y->capability)
        return x->capability < y->capability ? -1 : 1;
    return (x->mode_used > y->mode_used) - (x->mode_used < y->mode_used);
}

static kn_status pin(const kn_plan *plan, kn_mapping **out, kn_error *err)
{
    size_t n = 0, n_entries = 0;
    kn_status st = KN_OK;
    const kni_decision **bound = kni_calloc(plan->n_decisions + 1, sizeof(kni_decision *));
    kn_entry *entries = kni_calloc(plan->n_decisions + 1, sizeof(*entries));
    char(*branches)[BRANCH_TEXT_SIZE] = kni_calloc(plan->n_decisions + 1, sizeof(*branches));
    if (!bound || !entries || !branches) {
        st = kni_no_memory(err);
        goto done;
    }
    for (size_t i = 0; i < plan->n_decisions; ++i)
        if (plan->decisions[i]->outcome == KN_OUTCOME_KERNEL)
            bound[n++] = plan->decisions[i];
    qsort(bound, n, sizeof(*bound), compare_decisions);
    for (size_t i = 0; i < n; ++i) {
        if (i > 0 && compare_decisions(&bound[i - 1], &bound[i]) == 0)
            continue;
        entries[n_entries] = entry_of(bound[i], branches[n_entries]);
        ++n_entries;
    }
    st = kn_mapping_with(NULL, entries, n_entries, out, err);
done:
    kni_free(bound);
    kni_free(entries);
    kni_free(branches);
    return st;
}

kn_status kn_plan_mapping(const kn_plan *plan, kn_mapping **out, kn_error *err)
{
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "plan: room for the mapping is required");
    *out = NULL;
    const kn_status st = kni_plan_check_asked(plan, err);
    if (st != KN_OK)
        return st;
    if (!plan->asked.is_read)
        return pin(plan, out, err);
    *out = kn_mapping_ref(plan->mapping);
    return KN_OK;
}
