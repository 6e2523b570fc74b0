// A plan for people: the tree of module names, equal neighbours folded.
//
//   30 modules for INFERENCE: 29 with a kernel, 1 with its own forward
//   layers.0 … 29
//     act    SiluAndMul on cpu (4) → /srv/activation, layer SiluAndMul, tvm-ffi01-cpu-x86_64-linux
//   norm     RMSNorm on cpu (4): its own forward: NO_LAYER: No layer mapping for `RMSNorm`
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"
#include "kernelize/plan.h"

#define DEPTH_MAX 64   // components of a path that become levels; the rest stays one name
#define NAME_COLUMN 32 // names are padded to this

// One component of the paths. Children and siblings are indices; 0: none (the root is nobody's child).
typedef struct node {
    kni_span name;
    uint64_t number; // of a name of digits; UINT64_MAX: no number
    uint64_t shape;  // hash of decision and subtree without the own name: equal shapes fold
    uint32_t first;
    uint32_t last;
    uint32_t next;
    uint32_t record; // + 1; 0: no module of the plan
} node;

typedef struct tree {
    const kn_plan *plan;
    node *nodes;
    size_t count;
    size_t capacity;
    kni_buf out;
} tree;

static bool add_node(tree *t, uint32_t parent, kni_span name, uint32_t *out)
{
    void *nodes = t->nodes;
    if (t->count >= UINT32_MAX || !kni_grow(&nodes, &t->capacity, t->count + 1, sizeof(node)))
        return false;
    t->nodes = nodes;
    *out = (uint32_t)t->count++;
    int64_t number = 0;
    const bool is_number =
        kni_span_to_int(name, INT32_MAX, &number) && (name.size == 1 || name.data[0] != '0');
    t->nodes[*out] = (node){.name = name, .number = is_number ? (uint64_t)number : UINT64_MAX};
    if (*out == 0)
        return true; // the root
    node *p = &t->nodes[parent];
    if (p->last)
        t->nodes[p->last].next = *out;
    else
        p->first = *out;
    p->last = *out;
    return true;
}

static bool same_name(kni_span a, kni_span b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

// Paths come in tree order, so only the last child can be the one that is looked for; a name that comes again later becomes a
// node of its own.
static bool add_path(tree *t, uint32_t record)
{
    kni_span rest = kni_span_of(kni_plan_path(t->plan, &t->plan->records[record])), part;
    uint32_t at = 0;
    for (int depth = 1; rest.data && rest.size; ++depth) {
        if (depth == DEPTH_MAX) {
            part = rest;
            rest = (kni_span){NULL, 0};
        } else {
            kni_span_cut(&rest, '.', &part);
        }
        const uint32_t last = t->nodes[at].last;
        if (last && same_name(t->nodes[last].name, part) && (rest.data || !t->nodes[last].record))
            at = last;
        else if (!add_node(t, at, part, &at))
            return false;
    }
    t->nodes[at].record = record + 1;
    return true;
}

// Nodes are made before their children: from the end, every child has its shape before its parent.
static void compute_shapes(tree *t)
{
    for (size_t i = t->count; i-- > 0;) {
        node *n = &t->nodes[i];
        uint64_t h = 0xcbf29ce484222325u;
        if (n->record) {
            const kni_record *r = &t->plan->records[n->record - 1];
            h = (h ^ (r->decision + 1u)) * 0x100000001b3u;
            h = (h ^ r->changed) * 0x100000001b3u;
            if (t->plan->fallbacks)
                for (int reason = 0; reason < KN_MISMATCH_REASONS; ++reason)
                    h = (h ^ t->plan->fallbacks[n->record - 1][reason]) * 0x100000001b3u;
        }
        for (uint32_t c = n->first; c; c = t->nodes[c].next) {
            for (size_t k = 0; k < t->nodes[c].name.size; ++k)
                h = (h ^ (unsigned char)t->nodes[c].name.data[k]) * 0x100000001b3u;
            h = (h ^ t->nodes[c].shape) * 0x100000001b3u;
        }
        n->shape = h ^ h >> 29;
    }
}

static void print_mode(kni_buf *out, kn_mode mode)
{
    char text[KN_MODE_TEXT_SIZE];
    kni_buf_puts(out, kn_mode_text(mode, text));
}

static void print_record(tree *t, uint32_t index)
{
    const kni_record *r = &t->plan->records[index];
    const kni_decision *d = t->plan->decisions[r->decision];
    kni_buf *out = &t->out;
    kni_buf_printf(out, "%s", d->layer[0] ? d->layer : d->class_name);
    if (d->device != KN_DEVICE_NONE)
        kni_buf_printf(out, " on %s", kn_device_type_name(d->device));
    if (d->device_index > 0)
        kni_buf_printf(out, ":%d", d->device_index);
    if (d->capability >= 0)
        kni_buf_printf(out, " (%lld)", (long long)d->capability);
    switch (d->outcome) {
    case KN_OUTCOME_KERNEL:
    case KN_OUTCOME_REFERENCE:
        kni_buf_printf(out, " \xE2\x86\x92 %s", d->repository);
        if (d->revision[0])
            kni_buf_printf(out, "@%s (%s)", d->revision, kn_level_text(d->level));
        kni_buf_printf(out, ", layer %s", d->layer_name);
        if (d->variant[0])
            kni_buf_printf(out, ", %s", d->variant);
        if (d->mode_used) {
            kni_buf_puts(out, ", registered for ");
            print_mode(out, d->mode_used);
        }
        if (!r->changed && d->outcome == KN_OUTCOME_KERNEL && t->plan->mode)
            kni_buf_puts(out, " (unchanged)");
        break;
    case KN_OUTCOME_FALLBACK:
    case KN_OUTCOME_ERROR:
        kni_buf_printf(out, ": %s", d->outcome == KN_OUTCOME_ERROR ? "error" : "its own forward");
        if (d->rule)
            kni_buf_printf(out, ": %s", kni_rule_text(d->rule));
        if (d->reason[0])
            kni_buf_printf(out, ": %s", d->reason);
        if (d->admits[0])
            kni_buf_printf(out, " (would be admitted by %s)", d->admits);
        break;
    case KN_OUTCOME_RESTORED:
        kni_buf_puts(out, ": its own forward again");
        break;
    case KN_OUTCOME_LEFT:
        kni_buf_printf(out, ": left alone: %s", d->reason);
        break;
    }
    for (int reason = 0; t->plan->fallbacks && reason < KN_MISMATCH_REASONS; ++reason)
        if (t->plan->fallbacks[index][reason])
            kni_buf_printf(out, ", %llu call%s fell back (%s)",
                           (unsigned long long)t->plan->fallbacks[index][reason],
                           t->plan->fallbacks[index][reason] == 1 ? "" : "s",
                           kn_mismatch_reason_text((kn_mismatch_reason)reason));
}

// The last sibling of a run of numbers with one shape that begins at `at`.
static uint32_t run_end(const tree *t, uint32_t at)
{
    uint32_t end = at;
    while (t->nodes[end].number != UINT64_MAX && t->nodes[end].next) {
        const node *next = &t->nodes[t->nodes[end].next];
        if (next->number != t->nodes[end].number + 1 || next->shape != t->nodes[at].shape)
            break;
        end = t->nodes[end].next;
    }
    return end;
}

// A name, or a run of them. Returns its width in columns.
static size_t print_name(tree *t, uint32_t from, uint32_t to)
{
    const size_t before = t->out.size;
    kni_buf_append(&t->out, t->nodes[from].name.data, t->nodes[from].name.size);
    size_t extra = 0;
    if (to != from) {
        kni_buf_printf(&t->out, " \xE2\x80\xA6 %llu", (unsigned long long)t->nodes[to].number);
        extra = 2; // the ellipsis has three bytes and one column
    }
    return t->out.size - before - extra;
}

static void print_children(tree *t, uint32_t parent, int depth)
{
    for (uint32_t at = t->nodes[parent].first; at;) {
        uint32_t from = at, end = run_end(t, at);
        const uint32_t next = t->nodes[end].next;
        size_t width = (size_t)depth * 2;
        kni_buf_printf(&t->out, "%*s", depth * 2, "");
        width += print_name(t, from, end);
        // A chain of modules that are not in the plan, with one child each, is one line.
        while (!t->nodes[from].record && t->nodes[from].first &&
               run_end(t, t->nodes[from].first) == t->nodes[from].last) {
            from = t->nodes[from].first;
            kni_buf_puts(&t->out, ".");
            width += 1 + print_name(t, from, run_end(t, from));
        }
        if (t->nodes[from].record) {
            kni_buf_printf(&t->out, "%*s", width < NAME_COLUMN ? (int)(NAME_COLUMN - width) : 2,
                           "");
            print_record(t, t->nodes[from].record - 1);
        }
        kni_buf_puts(&t->out, "\n");
        print_children(t, from, depth + 1);
        at = next;
    }
}

static void print_summary(tree *t)
{
    static const struct {
        kn_outcome outcome;
        const char *text;
    } kinds[] = {
        {KN_OUTCOME_KERNEL, "with a kernel"},
        {KN_OUTCOME_REFERENCE, "with a repository"},
        {KN_OUTCOME_FALLBACK, "with their own forward"},
        {KN_OUTCOME_ERROR, "with an error"},
        {KN_OUTCOME_RESTORED, "restored"},
        {KN_OUTCOME_LEFT, "left alone"},
    };
    const kn_plan *plan = t->plan;
    kni_buf_printf(&t->out, "%zu %s%s", plan->n_records,
                   plan->of_layers ? "layer" : "extensible module",
                   plan->n_records == 1 ? "" : "s");
    if (plan->mode) {
        kni_buf_puts(&t->out, " for ");
        print_mode(&t->out, plan->mode);
    }
    const char *separator = ": ";
    for (size_t i = 0; i < KN_LEN(kinds); ++i) {
        const size_t n = kn_plan_outcome_count(plan, kinds[i].outcome);
        if (n) {
            kni_buf_printf(&t->out, "%s%zu %s", separator, n, kinds[i].text);
            separator = ", ";
        }
    }
    kni_buf_puts(&t->out, "\n");
}

const char *kn_plan_text(kn_plan *plan)
{
    if (!plan)
        return "";
    if (plan->text)
        return plan->text;
    tree t = {.plan = plan, .out = KNI_BUF_ANY};
    uint32_t root = 0;
    bool whole = add_node(&t, 0, (kni_span){"", 0}, &root);
    for (uint32_t i = 0; whole && i < plan->n_records; ++i) {
        if (plan->of_layers) // a layer's name is no path
            whole = add_node(&t, 0, kni_span_of(kni_plan_path(plan, &plan->records[i])), &root);
        else
            whole = add_path(&t, i);
        if (whole && plan->of_layers)
            t.nodes[root].record = i + 1;
    }
    if (whole) {
        compute_shapes(&t);
        print_summary(&t);
        if (t.nodes[0].record) {
            kni_buf_printf(&t.out, "%-*s", NAME_COLUMN, "(root)");
            print_record(&t, t.nodes[0].record - 1);
            kni_buf_puts(&t.out, "\n");
        }
        print_children(&t, 0, 0);
        plan->text = kni_buf_take(&t.out);
    }
    kni_buf_dispose(&t.out);
    kni_free(t.nodes);
    return plan->text ? plan->text : "";
}
