// Selection against a brute-force table: every set of registered modes, every ability, intervals that overlap, every request and
// fallback set. What is expected is computed here by asking every registered entry in turn, from the rules as the manual has them.
#include "kernelize/world.h"

#define TC KN_MODE_TORCH_COMPILE
#define INFERENCE KN_MODE_INFERENCE
#define TRAINING KN_MODE_TRAINING
#define FALLBACK KN_MODE_FALLBACK

enum {
    CAPABILITY = 3, // of the CPU that the context describes
    N_MODES = 5,
    N_SETS = 1 << N_MODES, // 0: the layer has no entry at all
    N_ABILITIES = 4,
    TABLES_MAX = 3,
};

static const kn_mode modes[N_MODES] = {INFERENCE, INFERENCE | TC, TRAINING, TRAINING | TC,
                                       FALLBACK};
static const kn_mode requests[] = {INFERENCE, INFERENCE | TC, TRAINING, TRAINING | TC};
static const char *const ability_layers[N_ABILITIES] = {"Plain", "Backward", "Compile", "Both"};

// Tables of one layer, in the order of their registration (one call each). The first has the modes of the set under test, the others
// those of `other`, and another ability.
typedef struct shape {
    const char *name;
    size_t n;
    struct {
        kn_range range;
        bool tested; // has the set; else FALLBACK alone
    } tables[TABLES_MAX];
} shape;

#define R(min, max)                                                                                \
    {                                                                                              \
        (min), (max), 1, 0                                                                         \
    }
#define ALL                                                                                        \
    {                                                                                              \
        0, 0, 0, 0                                                                                 \
    }
static const shape shapes[] = {
    {"everywhere", 1, {{ALL, true}}},
    {"exactly", 1, {{R(3, 3), true}}},
    {"beside", 1, {{R(4, 9), true}}},
    {"narrow in wide", 2, {{ALL, false}, {R(2, 4), true}}},
    {"wide after narrow", 2, {{R(2, 4), true}, {ALL, false}}},
    {"narrow elsewhere", 2, {{R(0, 5), true}, {R(4, 4), false}}},
    {"equal width, tested last", 2, {{R(2, 4), false}, {R(3, 5), true}}},
    {"equal width, tested first", 2, {{R(3, 5), true}, {R(2, 4), false}}},
    {"replaced by the same interval", 2, {{R(1, 9), true}, {R(1, 9), false}}},
    {"replaces the same interval", 2, {{R(1, 9), false}, {R(1, 9), true}}},
    {"all is 0 to the end", 2, {{ALL, false}, {R(0, KN_CAPABILITY_MAX), true}}},
    {"registered anew counts as later", 3, {{R(2, 4), false}, {R(3, 5), false}, {R(2, 4), true}}},
    {"three, the middle one", 3, {{R(0, 9), false}, {R(3, 5), true}, {R(5, 5), false}}},
};

typedef struct entry {
    kn_range range;
    kn_mode mode;
    int ability;  // index of ability_layers
    size_t table; // order of registration
} entry;

typedef struct expected {
    kn_outcome outcome;
    uint32_t rule;
    kn_mode mode_used;
    int ability; // -1: nothing was found
} expected;

// The ability of the tables that are not under test: one that serves whatever is asked.
#define OTHER_ABILITY 3

static size_t entries_of(const shape *s, unsigned set, int ability, entry out[TABLES_MAX * N_MODES])
{
    size_t n = 0;
    for (size_t t = 0; t < s->n; ++t)
        for (size_t m = 0; m < N_MODES; ++m)
            if (s->tables[t].tested ? set >> m & 1 : modes[m] == FALLBACK)
                out[n++] = (entry){s->tables[t].range, modes[m],
                                   s->tables[t].tested ? ability : OTHER_ABILITY, t};
    return n;
}

static uint64_t low(kn_range r)
{
    return r.given ? (uint64_t)r.min : 0;
}

static uint64_t high(kn_range r)
{
    return r.given ? (uint64_t)r.max : (uint64_t)INT64_MAX;
}

// By the book, one entry at a time.
static expected expect(const entry *entries, size_t n, kn_mode request, uint32_t set)
{
    expected e = {KN_OUTCOME_KERNEL, 0, 0, -1};
    const entry *best = NULL; // any entry of the chosen table
    for (size_t i = 0; i < n; ++i) {
        bool replaced = false; // by a later table of the same interval
        for (size_t j = 0; j < n; ++j)
            replaced |= entries[j].table > entries[i].table &&
                        low(entries[j].range) == low(entries[i].range) &&
                        high(entries[j].range) == high(entries[i].range);
        if (replaced || low(entries[i].range) > CAPABILITY || high(entries[i].range) < CAPABILITY)
            continue;
        const uint64_t width = high(entries[i].range) - low(entries[i].range);
        const uint64_t least = best ? high(best->range) - low(best->range) : UINT64_MAX;
        if (!best || width < least || (width == least && entries[i].table > best->table))
            best = &entries[i];
    }
    uint32_t rule = n == 0 ? KN_FALLBACK_NO_LAYER : best ? 0 : KN_FALLBACK_NO_COMPATIBLE_PROPERTIES;
    const entry *chosen = NULL;
    if (best) {
        // The chains, written out.
        static const kn_mode chains[4][6] = {
            {INFERENCE, INFERENCE | TC, TRAINING, TRAINING | TC, FALLBACK, 0},
            {INFERENCE | TC, TRAINING | TC, FALLBACK, 0},
            {TRAINING, TRAINING | TC, FALLBACK, 0},
            {TRAINING | TC, FALLBACK, 0},
        };
        const kn_mode *chain = chains[request == INFERENCE          ? 0
                                      : request == (INFERENCE | TC) ? 1
                                      : request == TRAINING         ? 2
                                                                    : 3];
        for (; *chain && !chosen; ++chain)
            for (size_t i = 0; i < n && !chosen; ++i)
                if (entries[i].table == best->table && entries[i].mode == *chain)
                    chosen = &entries[i];
        if (!chosen)
            rule = KN_FALLBACK_NO_COMPATIBLE_MODE;
    }
    if (chosen) {
        const bool backward = chosen->ability & 1, compile = chosen->ability & 2;
        e.mode_used = chosen->mode;
        e.ability = chosen->ability;
        const bool lacks_backward = (request & TRAINING) && !backward;
        const bool lacks_compile = (request & TC) && !compile;
        if ((lacks_backward && (chosen->mode & TRAINING)) ||
            (lacks_compile && (chosen->mode & TC))) {
            e.outcome = KN_OUTCOME_ERROR; // whatever the fallback set
            return e;
        }
        if (lacks_backward || lacks_compile)
            rule = KN_FALLBACK_NO_COMPATIBLE_MODE;
    }
    e.rule = rule;
    if (rule)
        e.outcome = set & rule ? KN_OUTCOME_FALLBACK : KN_OUTCOME_ERROR;
    return e;
}

// All layers of the table: name "s<shape>.m<set>.a<ability>".
enum { N_LAYERS = (int)KN_LEN(shapes) * N_SETS * N_ABILITIES };

typedef struct table {
    char (*names)[32];
    const char **pointers;
    entry (*entries)[TABLES_MAX * N_MODES];
    size_t *n_entries;
    kn_mapping *map;
} table;

static table make_table(world *w)
{
    table t = {calloc(N_LAYERS, sizeof(*t.names)), calloc(N_LAYERS, sizeof(*t.pointers)),
               calloc(N_LAYERS, sizeof(*t.entries)), calloc(N_LAYERS, sizeof(*t.n_entries)), NULL};
    kn_entry *batch = calloc((size_t)N_LAYERS * N_MODES, sizeof(*batch));
    assert_true(t.names && t.pointers && t.entries && t.n_entries && batch);
    size_t at = 0;
    for (size_t s = 0; s < KN_LEN(shapes); ++s)
        for (unsigned set = 0; set < N_SETS; ++set)
            for (int a = 0; a < N_ABILITIES; ++a, ++at) {
                snprintf(t.names[at], sizeof(*t.names), "s%zu.m%u.a%d", s, set, a);
                t.pointers[at] = t.names[at];
                t.n_entries[at] = entries_of(&shapes[s], set, a, t.entries[at]);
            }
    for (size_t order = 0; order < TABLES_MAX;
         ++order) { // the nth tables of all layers in one call
        size_t n = 0;
        for (at = 0; at < N_LAYERS; ++at)
            for (size_t i = 0; i < t.n_entries[at]; ++i) {
                const entry *e = &t.entries[at][i];
                if (e->table != order)
                    continue;
                batch[n++] = *KN_ENTRY(.layer = t.names[at], .device = "cpu",
                                       .capability = e->range, .mode = e->mode, .path = w->dir.root,
                                       .layer_name = ability_layers[e->ability]);
            }
        kn_mapping *next = NULL;
        world_ok(w, kn_mapping_with(t.map, batch, n, &next, &w->err));
        kn_mapping_unref(t.map);
        t.map = next;
    }
    free(batch);
    return t;
}

static void free_table(table *t)
{
    kn_mapping_unref(t->map);
    free(t->names);
    free(t->pointers);
    free(t->entries);
    free(t->n_entries);
}

static void compare(const kn_record *r, const expected *e, const char *name, kn_mode request,
                    uint32_t set)
{
    if (r->outcome != e->outcome || r->rule != e->rule || r->mode_used != e->mode_used ||
        (e->ability >= 0 && strcmp(r->layer_name, ability_layers[e->ability]) != 0))
        fail_msg("%s, asked for %u with fallback %u: outcome %d rule %u used %u layer '%s' (%s); "
                 "expected outcome %d rule %u used %u ability %d",
                 name, request, set, r->outcome, r->rule, r->mode_used, r->layer_name, r->reason,
                 e->outcome, e->rule, e->mode_used, e->ability);
    if (r->outcome == KN_OUTCOME_FALLBACK || r->outcome == KN_OUTCOME_ERROR)
        assert_true(r->reason[0]);
}

static void test_every_decision(void **state)
{
    (void)state;
    static const uint32_t sets[] = {KN_FALLBACK_NONE, KN_FALLBACK_ALL, KN_FALLBACK_NO_LAYER,
                                    KN_FALLBACK_NO_COMPATIBLE_PROPERTIES,
                                    KN_FALLBACK_NO_COMPATIBLE_MODE};
    world *w = world_open("cpu:x86-64-v3");
    table t = make_table(w);
    size_t outcomes[8] = {0};
    for (size_t q = 0; q < KN_LEN(requests); ++q)
        for (size_t f = 0; f < KN_LEN(sets); ++f) {
            kn_plan *plan = NULL;
            world_ok(w, kn_explain(w->ctx, t.pointers, N_LAYERS,
                                   KN_KERNELIZE_OPTIONS(.mode = requests[q], .mapping = t.map,
                                                        .device = "cpu", .fallback = sets[f]),
                                   &plan, &w->err));
            assert_int_equal(kn_plan_count(plan), N_LAYERS);
            for (size_t i = 0; i < N_LAYERS; ++i) {
                const kn_record r = world_record(plan, i);
                const expected e =
                    expect(t.entries[i], t.n_entries[i], requests[q], sets[f] & KN_FALLBACK_ALL);
                compare(&r, &e, t.names[i], requests[q], sets[f]);
                assert_int_equal(r.capability, CAPABILITY);
                ++outcomes[r.outcome];
            }
            kn_plan_free(plan);
        }
    print_message("  %zu kernels, %zu fallbacks, %zu errors\n", outcomes[KN_OUTCOME_KERNEL],
                  outcomes[KN_OUTCOME_FALLBACK], outcomes[KN_OUTCOME_ERROR]);
    assert_true(outcomes[KN_OUTCOME_KERNEL] && outcomes[KN_OUTCOME_FALLBACK] &&
                outcomes[KN_OUTCOME_ERROR]);
    free_table(&t);
    world_close(w);
}

// The same table bound to a model, request after request on one tree; each error alone refuses the whole.
static void test_every_model(void **state)
{
    (void)state;
    world *w = world_open("cpu:x86-64-v3");
    table t = make_table(w);
    for (size_t q = 0; q < KN_LEN(requests); ++q) {
        kn_module *root = world_module(w, NULL, "model", NULL);
        kn_plan *plan = NULL;
        kn_module *error = NULL;
        for (size_t i = 0; i < N_LAYERS; ++i) {
            const expected e =
                expect(t.entries[i], t.n_entries[i], requests[q], KN_FALLBACK_DEFAULT);
            if (e.outcome != KN_OUTCOME_ERROR)
                world_layer(w, root, t.names[i], t.names[i]);
            else if (!error)
                error = world_layer(w, root, "wrong", t.names[i]);
        }
        const kn_kernelize_options *opts =
            KN_KERNELIZE_OPTIONS(.mode = requests[q], .mapping = t.map, .device = "cpu");
        if (error) { // inference contradicts nothing
            world_fails(w, kn_kernelize(w->ctx, root, opts, &plan, &w->err), KN_ERR_LAYER, "wrong");
            for (size_t i = 0; i < kn_module_child_count(root); ++i)
                assert_false(kn_module_is_kernelized(kn_module_child(root, i)));
            kn_module_free(error);
        }
        w->n_lines = 0;
        w->quiet = true;
        world_ok(w, kn_kernelize(w->ctx, root, opts, &plan, &w->err));
        w->quiet = false;
        size_t at = 0;
        for (size_t i = 0; i < N_LAYERS; ++i) {
            const expected e =
                expect(t.entries[i], t.n_entries[i], requests[q], KN_FALLBACK_DEFAULT);
            if (e.outcome == KN_OUTCOME_ERROR)
                continue;
            const kn_record r = world_record(plan, at);
            assert_string_equal(r.path, t.names[i]);
            compare(&r, &e, t.names[i], requests[q], KN_FALLBACK_DEFAULT);
            kn_module *module = kn_module_child(root, at++);
            assert_int_equal(world_ask(module), e.outcome == KN_OUTCOME_KERNEL ? KERNEL : OWN);
            assert_int_equal(r.changed, e.outcome == KN_OUTCOME_KERNEL);
        }
        assert_int_equal(at, kn_plan_count(plan));
        kn_plan_free(plan);
        kn_module_free(root);
    }
    free_table(&t);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_decision),
        cmocka_unit_test(test_every_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
