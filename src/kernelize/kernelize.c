// Kernelize: walk, decide, prepare, then swap. Everything that can fail comes before the first swap.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "context/context.h"
#include "context/prefetch.h"
#include "kernelize/decide.h"
#include "kernelize/native.h"
#include "kernelize/pin.h"
#include "kernelize/place.h"
#include "kernelize/say.h"
#include "kernelize/transaction.h"
#include "mapping/mapping.h"

// A module that was met: what the walk says of it, until its decision is made.
typedef struct met {
    void *module;
    void *cls;
    void *binding; // bound now; NULL: none of ours
    kn_host_state state;
    kn_device_type device; // KN_DEVICE_NONE: no ancestor has tensors
    int32_t device_index;
} met;

typedef struct work {
    kn_context *ctx;
    const kn_host *host;
    const kni_request *request;
    kn_plan *plan;
    met *met; // in the order of the plan's records
    size_t met_capacity;
    kni_places places;
    uint32_t *table; // decisions by question: open addressing; index + 1, 0: free
    size_t table_capacity;
} work;

static bool is_foreign(kn_host_state state)
{
    return state == KN_HOST_FOREIGN || state == KN_HOST_FOREIGN_SINCE;
}

// The slot of a question's decision, or the free one where it belongs.
static uint32_t *find_slot(const work *w, const void *cls, kn_host_state state,
                           kn_device_type device, int32_t index)
{
    size_t at = (size_t)kni_question_hash(cls, state, device, index) & (w->table_capacity - 1);
    for (; w->table[at]; at = (at + 1) & (w->table_capacity - 1)) {
        const kni_decision *d = w->plan->decisions[w->table[at] - 1];
        if (d->cls == cls && d->state == state && d->device == device && d->device_index == index)
            break;
    }
    return &w->table[at];
}

static bool reserve_slots(work *w)
{
    if (w->plan->n_decisions * 2 < w->table_capacity)
        return true;
    const size_t capacity = w->table_capacity ? w->table_capacity * 2 : 64;
    uint32_t *table = kni_calloc(capacity, sizeof(*table));
    if (!table)
        return false;
    kni_free(w->table);
    w->table = table;
    w->table_capacity = capacity;
    for (uint32_t i = 0; i < w->plan->n_decisions; ++i) {
        const kni_decision *d = w->plan->decisions[i];
        *find_slot(w, d->cls, d->state, d->device, d->device_index) = i + 1;
    }
    return true;
}

// --- the walk ---

static bool matches_path(const kni_request *request, const char *path)
{
    const kn_kernelize_options *opts = &request->options;
    for (size_t i = 0; i < opts->n_paths; ++i)
        if (kni_glob_match(opts->paths[i], path))
            return true;
    return opts->n_paths == 0;
}

static bool matches_layer(const kni_request *request, const char *layer)
{
    const kn_kernelize_options *opts = &request->options;
    for (size_t i = 0; i < opts->n_layers; ++i)
        if (strcmp(opts->layers[i], layer) == 0)
            return true;
    return opts->n_layers == 0;
}

static kn_status visit(const kn_host_module *module, void *data, kn_error *err)
{
    work *w = data;
    kni_place at;
    kn_status st = kni_place_find(&w->places, module, &at, err);
    if (st != KN_OK || !module->extensible)
        return st;
    if (w->request->options.n_layers) {
        kn_host_class cls = {.struct_size = sizeof(cls)};
        st = w->host->describe(w->host->user, module->cls, &cls, err);
        if (st != KN_OK || !matches_layer(w->request, cls.layer))
            return st;
    }
    const size_t path = w->plan->paths.size;
    st = kni_plan_append_path(w->plan, w->host, module->module, err);
    if (st != KN_OK)
        return st;
    if (!matches_path(w->request, w->plan->paths.data + path)) {
        w->plan->paths.size = path;
        return KN_OK;
    }
    void *all = w->met;
    if (!kni_grow(&all, &w->met_capacity, w->plan->n_records + 1, sizeof(met)))
        return kni_no_memory(err);
    w->met = all;
    met *m = &w->met[w->plan->n_records];
    *m = (met){.module = module->module,
               .cls = module->cls,
               .device = at.device,
               .device_index = at.index};
    m->state = w->host->state(w->host->user, module->module, &m->binding);
    return kni_plan_add_record(w->plan, path, 0, err);
}

// --- decisions ---

static kn_status leave_alone(kni_decision *d, const kn_host_class *cls, kn_error *err)
{
    const char *reason = cls->refusal ? cls->refusal : kni_foreign_text(d->state);
    d->outcome = KN_OUTCOME_LEFT;
    if (!kni_set(&d->class_name, cls->name) || !kni_set(&d->layer, cls->layer) ||
        !kni_set(&d->reason, reason) ||
        (is_foreign(d->state) &&
         !kni_set(&d->admits, "giving the module its class's forward again")))
        return kni_no_memory(err);
    return KN_OK;
}

static kn_status decide(work *w, const met *m, kni_decision *d, kn_error *err)
{
    kn_host_class cls = {.struct_size = sizeof(cls)};
    kn_status st = w->host->describe(w->host->user, m->cls, &cls, err);
    if (st != KN_OK)
        return st;
    if (is_foreign(m->state) || cls.refusal)
        return leave_alone(d, &cls, err);
    st = kni_decide(w->ctx, w->request, w->host, &cls, d, err);
    if (st == KN_OK && d->outcome == KN_OUTCOME_KERNEL && !kni_request_is_dry(w->request))
        st = w->host->prepare(w->host->user, m->cls, &d->kernel, &d->binding, err);
    return st;
}

// The device that is decided for: the option's type wins over the module's own; then its own index counts only for that type.
static kn_status settle_device(const work *w, met *m, kn_error *err)
{
    const kni_request *request = w->request;
    if (m->device == KN_DEVICE_NONE) {
        m->device = w->places.first.device;
        m->device_index = w->places.first.index;
    }
    if (request->device != KN_DEVICE_NONE) {
        const bool same = m->device == request->device;
        m->device = request->device;
        m->device_index = request->device_index >= 0 ? request->device_index
                          : same                     ? m->device_index
                                                     : 0;
    }
    if (m->device == KN_DEVICE_NONE)
        return kn_error_set(
            err, KN_ERR_INVALID,
            "kernelize: Cannot determine model device: no module has tensors; give the device");
    return KN_OK;
}

// Which module, layer, rule, and what would admit it.
static kn_status refuse(const kn_plan *plan, const kni_record *record, kn_error *err)
{
    const kni_decision *d = plan->decisions[record->decision];
    const char *path = kni_plan_path(plan, record), *rule = kni_rule_text(d->rule);
    const bool says_more = d->admits[0] && !strstr(d->reason, d->admits);
    return kn_error_set(err, d->status, "module %s, layer %s on %s: %s%s%s%s%s",
                        path[0] ? path : "(root)", d->layer, kn_device_type_name(d->device),
                        rule ? rule : "", rule ? ": " : "", d->reason,
                        says_more ? "; would be admitted by " : "", says_more ? d->admits : "");
}

// One decision for each class, state and device that was met, still without an answer. Decisions are in the order of the modules
// that ask first.
static kn_status ask_all(work *w, kn_error *err)
{
    for (size_t i = 0; i < w->plan->n_records; ++i) {
        met *m = &w->met[i];
        const kn_status st = settle_device(w, m, err);
        if (st != KN_OK)
            return st;
        if (!reserve_slots(w))
            return kni_no_memory(err);
        const kn_host_state state = is_foreign(m->state) ? m->state : KN_HOST_OWN;
        uint32_t *slot = find_slot(w, m->cls, state, m->device, m->device_index);
        if (!*slot) {
            kni_decision *d = kni_plan_add_decision(w->plan);
            if (!d)
                return kni_no_memory(err);
            d->cls = m->cls;
            d->state = state;
            d->device = m->device;
            d->device_index = m->device_index;
            *slot = (uint32_t)w->plan->n_decisions;
        }
        w->plan->records[i].decision = *slot - 1;
    }
    return KN_OK;
}

// The kernels of the hub that the decisions need, all at once.
static kn_status prefetch(work *w, kn_error *err)
{
    const size_t n_decisions = w->plan->n_decisions;
    kn_status st = KN_OK;
    size_t n = 0;
    if (!w->request->mapping->had_hub || n_decisions < 2)
        return KN_OK;
    kni_wanted_kernel *wanted = kni_calloc(n_decisions, sizeof(*wanted));
    if (!wanted)
        return kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < n_decisions; ++i) {
        const kni_decision *d = w->plan->decisions[i];
        kn_host_class cls = {.struct_size = sizeof(cls)};
        if (is_foreign(d->state))
            continue;
        st = w->host->describe(w->host->user, d->cls, &cls, err);
        if (st != KN_OK || cls.refusal)
            continue;
        wanted[n].reference =
            kni_decide_reference(w->ctx, w->request, w->host, cls.layer, d, &wanted[n].device);
        n += wanted[n].reference != NULL;
    }
    if (st == KN_OK)
        st = kni_context_prefetch(w->ctx, w->host->framework, wanted, n, err);
    kni_free(wanted);
    return st;
}

static kn_status decide_all(work *w, kn_error *err)
{
    size_t n_decided =
        0; // a decision is made for the module that asks first, which comes in their order
    kn_status st = ask_all(w, err);
    if (st == KN_OK)
        st = prefetch(w, err);
    for (size_t i = 0; st == KN_OK && i < w->plan->n_records; ++i) {
        kni_record *record = &w->plan->records[i];
        kni_decision *d = w->plan->decisions[record->decision];
        if (record->decision == n_decided) {
            st = decide(w, &w->met[i], d, err);
            ++n_decided;
        }
        if (st == KN_OK && d->outcome == KN_OUTCOME_ERROR)
            st = refuse(w->plan, record, err);
        if (st == KN_OK && !is_foreign(d->state)) // one that is refused since gives its kernel back
            record->changed = w->met[i].binding != d->binding;
    }
    return st;
}

// --- the transaction ---

// Returns whether a module was changed.
static bool commit_all(work *w, kni_tally *tallies)
{
    const bool dry = kni_request_is_dry(w->request);
    bool changed = false;
    for (size_t i = 0; i < w->plan->n_records; ++i) {
        kni_record *record = &w->plan->records[i];
        const kni_decision *d = w->plan->decisions[record->decision];
        if (i + 8 < w->plan->n_records) // a host's handle most likely points to what commit writes
            __builtin_prefetch(w->met[i + 8].module, 1);
        if (dry)
            record->changed = 0;
        else if (record->changed)
            w->host->commit(w->host->user, w->met[i].module, d->binding);
        tallies[record->decision].all += 1;
        tallies[record->decision].changed += record->changed;
        changed |= record->changed;
    }
    return changed;
}

// For reports: nothing is written on a module that keeps its own forward. What makes the host refuse a class or a module, a report sees.
static void tell_host(const kn_host *host, const kn_plan *plan)
{
    for (size_t i = 0; host->declined && i < plan->n_decisions; ++i) {
        const kni_decision *d = plan->decisions[i];
        kn_host_reason why = {.struct_size = sizeof(why),
                              .device = d->device,
                              .device_index = d->device_index,
                              .rule = d->rule,
                              .reason = d->outcome == KN_OUTCOME_KERNEL ? NULL : d->reason,
                              .admits = d->admits};
        if (d->outcome == KN_OUTCOME_KERNEL || d->outcome == KN_OUTCOME_FALLBACK)
            host->declined(host->user, d->cls, &why);
    }
}

// What is asked, into the plan: nothing was resolved, nothing to ask again.
static kn_status keep_request(kn_plan *plan, const kni_request *request, kn_error *err)
{
    const kn_kernelize_options *opts = &request->options;
    kni_asked *asked = &plan->asked;
    if (opts->flags & KN_KERNELIZE_NO_RESOLVE)
        return KN_OK;
    asked->fallback = request->fallback;
    asked->device = kni_strdup(opts->device);
    asked->is_there = !asked->device == !opts->device &&
                      kni_filter_set(&asked->layers, opts->layers, opts->n_layers) &&
                      kni_filter_set(&asked->paths, opts->paths, opts->n_paths);
    return asked->is_there ? KN_OK : kni_no_memory(err);
}

kn_status kni_kernelize(kn_context *ctx, const kn_host *given, const kn_kernelize_options *opts,
                        kni_judge_fn judge, void *data, kn_plan **plan, kn_error *err)
{
    kn_host host;
    kni_request request;
    kni_tally *tallies = NULL;

    if (plan)
        *plan = NULL;
    if (!ctx)
        return kn_error_set(err, KN_ERR_INVALID, "kernelize: a context is required");
    kn_status st = kni_host_read(given, &host, err);
    if (st != KN_OK)
        return st;
    st = kni_request_init(&request, ctx, opts, err);
    if (st != KN_OK)
        return st;
    work w = {.ctx = ctx, .host = &host, .request = &request, .plan = kni_plan_new(request.mode)};
    st = w.plan ? keep_request(w.plan, &request, err) : kni_no_memory(err);
    if (w.plan)
        w.plan->mapping = kn_mapping_ref(request.mapping);
    if (st == KN_OK)
        st = host.walk(host.user, visit, &w, err);
    if (st == KN_OK)
        st = decide_all(&w, err);
    if (st == KN_OK && judge)
        st = judge(data, w.plan, err);
    if (st == KN_OK && !(tallies = kni_calloc(w.plan->n_decisions + 1, sizeof(*tallies))))
        st = kni_no_memory(err);
    if (st == KN_OK) { // nothing fails from here
        const bool changed = commit_all(&w, tallies);
        if (!kni_request_is_dry(&request))
            tell_host(&host, w.plan);
        if (changed)
            kni_say_decisions(ctx, w.plan, tallies);
        kni_say_nothing_replaced(ctx, &request, w.plan, host.advice);
        if (plan) {
            *plan = w.plan;
            w.plan = NULL;
        }
    }
    kni_free(tallies);
    kn_plan_free(w.plan);
    kni_free(w.met);
    kni_free(w.places.above);
    kni_free(w.table);
    kni_request_dispose(&request);
    return st;
}

kn_status kn_kernelize_host(kn_context *ctx, const kn_host *host, const kn_kernelize_options *opts,
                            kn_plan **plan, kn_error *err)
{
    return kni_kernelize(ctx, host, opts, NULL, NULL, plan, err);
}

kn_status kn_kernelize(kn_context *ctx, kn_module *model, const kn_kernelize_options *opts,
                       kn_plan **plan, kn_error *err)
{
    if (plan)
        *plan = NULL;
    if (!model)
        return kn_error_set(err, KN_ERR_INVALID, "kernelize: a model is required");
    kni_native native = {.ctx = ctx, .root = model};
    const kn_host host = kni_native_host(&native);
    return kn_kernelize_host(ctx, &host, opts, plan, err);
}
