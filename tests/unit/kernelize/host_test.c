// Kernelize over a host that is not the native tree: what it asks, in which order, and what it does with each answer.
#include "kernelize/world.h"

enum { NODES_MAX = 16 };

// A model of a foreign framework: numbers for classes, a note of every call.
typedef struct node {
    const char *path;
    size_t cls; // index of the toy's classes
    uint32_t depth;
    kn_device_type device;
    int32_t index;
    kn_host_state state;
    void *bound; // a binding of ours: the toy's record
} node;

typedef struct toy_class {
    const char *name, *layer, *refusal;
    size_t described, prepared;
} toy_class;

typedef struct binding {
    kn_host_kernel kernel;
} binding;

typedef struct toy {
    node nodes[NODES_MAX];
    size_t n_nodes;
    toy_class classes[4];
    binding bindings[NODES_MAX];
    size_t n_bindings, commits, walks;
    kn_status fail_walk, fail_describe, fail_prepare, fail_capability;
    int64_t capability; // of every cuda device
    bool long_path;
} toy;

static kn_status toy_walk(void *user, kn_host_visit_fn visit, void *data, kn_error *err)
{
    toy *t = user;
    ++t->walks;
    for (size_t i = 0; i < t->n_nodes; ++i) {
        node *n = &t->nodes[i];
        toy_class *cls = &t->classes[n->cls];
        const kn_host_module m = {.module = n,
                                  .cls = cls,
                                  .device = n->device,
                                  .device_index = n->index,
                                  .depth = n->depth,
                                  .extensible = cls->layer != NULL};
        const kn_status st = visit(&m, data, err);
        if (st != KN_OK)
            return st;
    }
    return t->fail_walk ? kn_error_set(err, t->fail_walk, "the walk failed") : KN_OK;
}

static kn_status toy_describe(void *user, void *cls, kn_host_class *out, kn_error *err)
{
    toy *t = user;
    toy_class *c = cls;
    if (t->fail_describe)
        return kn_error_set(err, t->fail_describe, "not described");
    ++c->described;
    assert_int_equal(out->struct_size, sizeof(*out));
    out->name = c->name;
    out->layer = c->layer;
    out->refusal = c->refusal;
    return KN_OK;
}

static size_t toy_path(void *user, void *module, char *out, size_t size)
{
    char text[600];
    const toy *t = user;
    const node *n = module;
    snprintf(text, sizeof(text), "%s", n->path);
    if (t->long_path) { // longer than what is offered at first
        memset(text, 'p', 500);
        snprintf(text + 500, 32, ".%s", n->path);
    }
    return (size_t)snprintf(out, size, "%s", text);
}

static kn_host_state toy_state(void *user, void *module, void **bound)
{
    (void)user;
    const node *n = module;
    *bound = n->state == KN_HOST_KERNEL ? n->bound : NULL;
    return n->state;
}

static kn_status toy_prepare(void *user, void *cls, const kn_host_kernel *kernel, void **out,
                             kn_error *err)
{
    toy *t = user;
    assert_int_equal(t->commits, 0); // all is prepared before anything is swapped
    assert_int_equal(kernel->struct_size, sizeof(*kernel));
    if (t->fail_prepare && ++((toy_class *)cls)->prepared && cls == &t->classes[1])
        return kn_error_set(err, t->fail_prepare, "cannot be wrapped");
    ++((toy_class *)cls)->prepared;
    t->bindings[t->n_bindings].kernel = *kernel;
    *out = &t->bindings[t->n_bindings++];
    return KN_OK;
}

static void toy_commit(void *user, void *module, void *bound)
{
    toy *t = user;
    node *n = module;
    ++t->commits;
    n->bound = bound;
    n->state = bound ? KN_HOST_KERNEL : KN_HOST_OWN;
}

static kn_status toy_capability(void *user, kn_device_type device, int32_t index, int64_t *out,
                                kn_error *err)
{
    const toy *t = user;
    (void)index;
    if (t->fail_capability)
        return kn_error_set(err, t->fail_capability, "no answer");
    if (device == KN_DEVICE_CUDA)
        *out = t->capability;
    return KN_OK;
}

static kn_host table_of(toy *t)
{
    return (kn_host){.struct_size = sizeof(kn_host),
                     .walk = toy_walk,
                     .describe = toy_describe,
                     .path = toy_path,
                     .state = toy_state,
                     .prepare = toy_prepare,
                     .commit = toy_commit,
                     .user = t};
}

static toy make_toy(void)
{
    return (toy){
        .classes = {{.name = "Box"},
                    {.name = "A", .layer = "L"},
                    {.name = "B", .layer = "L"},
                    {.name = "Sub", .layer = "L", .refusal = "a subclass of its own mind"}},
        .nodes = {{.path = "", .cls = 0, .depth = 0},
                  {.path = "a", .cls = 1, .depth = 1, .device = KN_DEVICE_CPU},
                  {.path = "b", .cls = 2, .depth = 1},
                  {.path = "a2", .cls = 1, .depth = 1},
                  {.path = "sub", .cls = 3, .depth = 1},
                  {.path = "foreign", .cls = 1, .depth = 1, .state = KN_HOST_FOREIGN}},
        .n_nodes = 6,
        .capability = 90,
    };
}

#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, __VA_ARGS__)

static void test_protocol(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Backward", 0);
    toy t = make_toy();
    kn_host host = table_of(&t);
    kn_plan *plan = NULL;
    world_ok(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), &plan, &w->err));
    assert_int_equal(t.walks, 1);
    assert_int_equal(t.classes[0].described, 0);
    assert_int_equal(t.classes[1].described, 2); // own and foreign are two questions
    assert_int_equal(t.classes[2].described, 1);
    assert_int_equal(t.classes[1].prepared, 1);
    assert_int_equal(t.classes[2].prepared, 1);
    assert_int_equal(t.commits, 3);
    const kn_host_kernel *k = &t.bindings[0].kernel;
    assert_string_equal(k->layer_name, "Backward");
    assert_non_null(k->forward);
    assert_non_null(k->backward);
    assert_int_equal(k->device, KN_DEVICE_CPU);
    assert_int_equal(k->device_index, -1);
    assert_int_equal(k->strict, 0);
    static const kn_outcome outcomes[] = {KN_OUTCOME_KERNEL, KN_OUTCOME_KERNEL, KN_OUTCOME_KERNEL,
                                          KN_OUTCOME_LEFT, KN_OUTCOME_LEFT};
    assert_int_equal(kn_plan_count(plan), 5);
    for (size_t i = 0; i < 5; ++i)
        assert_int_equal(world_record(plan, i).outcome, outcomes[i]);
    assert_string_equal(world_record(plan, 3).reason, "a subclass of its own mind");
    assert_string_equal(world_record(plan, 3).admits, "");
    kn_plan_free(plan);

    // The host finds the same binding again: nothing is written.
    t.n_bindings = t.commits = 0;
    world_ok(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), &plan, &w->err));
    assert_int_equal(t.commits, 0);
    assert_int_equal(world_record(plan, 0).changed, 0);
    kn_plan_free(plan);

    // Somebody set a forward over ours: left alone by both ways.
    t.nodes[2].state = KN_HOST_FOREIGN_SINCE;
    world_ok(w, kn_unkernelize_host(&host, &plan, &w->err));
    assert_int_equal(t.commits, 2);
    assert_int_equal(kn_plan_count(plan), 3);
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_RESTORED), 2);
    assert_string_equal(world_record(plan, 1).path, "b");
    assert_int_equal(world_record(plan, 1).outcome, KN_OUTCOME_LEFT);
    assert_int_equal(t.nodes[2].state, KN_HOST_FOREIGN_SINCE);
    assert_int_equal(t.nodes[1].state, KN_HOST_OWN);
    kn_plan_free(plan);

    // A dry run prepares and swaps nothing; no model is strict unless asked for.
    t.n_bindings = t.commits = 0;
    world_ok(
        w, kn_kernelize_host(w->ctx, &host, OPTIONS(.flags = KN_KERNELIZE_DRY_RUN), NULL, &w->err));
    assert_int_equal(t.n_bindings, 0);
    assert_int_equal(t.commits, 0);
    world_ok(
        w, kn_kernelize_host(w->ctx, &host, OPTIONS(.fallback = KN_FALLBACK_NONE), NULL, &w->err));
    assert_int_equal(t.bindings[0].kernel.strict, 1);
    kn_mapping_unref(map);
    world_close(w);
}

// Whatever a callback fails with comes back, and nothing was committed.
static void test_failing_callbacks(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    for (int i = 0; i < 4; ++i) {
        toy t = make_toy();
        kn_host host = table_of(&t);
        kn_plan *plan = NULL;
        host.capability = toy_capability;
        kn_status *const knobs[] = {&t.fail_walk, &t.fail_describe, &t.fail_prepare,
                                    &t.fail_capability};
        static const char *const texts[] = {"the walk failed", "not described", "cannot be wrapped",
                                            "no answer"};
        print_message("  %s\n", texts[i]);
        *knobs[i] = KN_ERR_UNSUPPORTED;
        world_fails(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), &plan, &w->err),
                    KN_ERR_UNSUPPORTED, texts[i]);
        assert_null(plan);
        assert_int_equal(t.commits, 0);
        if (i < 2) { // undo walks and describes as well
            t.nodes[1].state = KN_HOST_KERNEL;
            world_fails(w, kn_unkernelize_host(&host, &plan, &w->err), KN_ERR_UNSUPPORTED,
                        texts[i]);
            assert_int_equal(t.commits, 0);
        }
    }
    kn_mapping_unref(map);
    world_close(w);
}

// The table may end after `user`, and must reach it.
static void test_tables(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t at;
    } required[] = {
        {"walk", offsetof(kn_host, walk)},       {"describe", offsetof(kn_host, describe)},
        {"path", offsetof(kn_host, path)},       {"state", offsetof(kn_host, state)},
        {"prepare", offsetof(kn_host, prepare)}, {"commit", offsetof(kn_host, commit)},
    };
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    toy t = make_toy();
    for (size_t i = 0; i < KN_LEN(required); ++i) {
        kn_host host = table_of(&t);
        char text[64];
        memset((char *)&host + required[i].at, 0, sizeof(void *));
        snprintf(text, sizeof(text), "lacks its entry %s", required[i].name);
        world_fails(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), NULL, &w->err), KN_ERR_INVALID,
                    text);
        world_fails(w, kn_unkernelize_host(&host, NULL, &w->err), KN_ERR_INVALID, text);
    }
    kn_host host = table_of(&t);
    const size_t short_sizes[] = {0, offsetof(kn_host, commit), offsetof(kn_host, user)};
    for (size_t i = 0; i < KN_LEN(short_sizes); ++i) {
        host.struct_size = short_sizes[i];
        world_fails(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), NULL, &w->err), KN_ERR_INVALID,
                    "struct_size");
        world_fails(w, kn_unkernelize_host(&host, NULL, &w->err), KN_ERR_INVALID, "struct_size");
    }
    world_fails(w, kn_kernelize_host(w->ctx, NULL, OPTIONS(0), NULL, &w->err), KN_ERR_INVALID,
                "host");
    world_fails(w, kn_unkernelize_host(NULL, NULL, &w->err), KN_ERR_INVALID, "host");
    // A table of a later release is longer.
    struct {
        kn_host host;
        void *later;
    } longer = {table_of(&t), NULL};
    longer.host.struct_size = sizeof(longer);
    world_ok(w, kn_kernelize_host(w->ctx, &longer.host, OPTIONS(0), NULL, &w->err));
    assert_int_equal(t.commits, 3);
    kn_mapping_unref(map);
    world_close(w);
}

// The framework's own word on capabilities counts, and levels of depth may be left out.
static void test_capability_and_depth(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint32_t depth;
        kn_device_type device; // of its own
        kn_device_type expected;
    } rows[] = {
        {"m", 0, 0, KN_DEVICE_CUDA},              // the model's first
        {"x", 1, KN_DEVICE_CUDA, KN_DEVICE_CUDA}, //
        {"x.deep", 3, 0, KN_DEVICE_CUDA},         // depth 2 was left out: x stands for it
        {"x.cpu", 2, KN_DEVICE_CPU, KN_DEVICE_CPU},
        {"y", 1, KN_DEVICE_ROCM, KN_DEVICE_ROCM},
        {"y.deep", 3, 0, KN_DEVICE_ROCM}, // and not what stood at depth 2 before
        {"y.deeper", 4, 0, KN_DEVICE_ROCM},
        {"z", 1, 0, KN_DEVICE_CUDA},
    };
    world *w = world_open("cpu:x86-64-v3");
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "L", .device = "cuda", .capability = KN_RANGE(90, 99), .repo_id = "o/n"),
        *KN_ENTRY(.layer = "L", .device = "cpu", .repo_id = "o/cpu"),
        *KN_ENTRY(.layer = "L", .device = "rocm", .repo_id = "o/rocm"),
    };
    kn_mapping *map = world_map(w, entries, 3);
    for (int deepest_first = 0; deepest_first < 2; ++deepest_first) {
        toy t = make_toy();
        kn_host host = table_of(&t);
        kn_plan *plan = NULL;
        host.capability = toy_capability;
        t.n_nodes = KN_LEN(rows);
        for (size_t i = 0; i < t.n_nodes; ++i)
            t.nodes[i] = (node){.path = rows[i].path,
                                .cls = 1,
                                .depth = rows[i].depth + (deepest_first && i == 0 ? 5 : 0),
                                .device = rows[i].device};
        t.long_path = deepest_first;
        world_ok(w, kn_kernelize_host(w->ctx, &host, OPTIONS(.flags = KN_KERNELIZE_NO_RESOLVE),
                                      &plan, &w->err));
        for (size_t i = 0; i < t.n_nodes; ++i) {
            const kn_record r = world_record(plan, i);
            print_message("  %s\n", rows[i].path);
            assert_int_equal(r.device, rows[i].expected);
            assert_int_equal(r.outcome, KN_OUTCOME_REFERENCE);
            if (r.device == KN_DEVICE_CUDA)
                assert_int_equal(r.capability, 90); // though no CUDA device is here
            if (t.long_path)
                assert_int_equal(strlen(r.path), 501 + strlen(rows[i].path));
        }
        kn_plan_free(plan);
        t.capability = 80;
        world_ok(w, kn_kernelize_host(w->ctx, &host, OPTIONS(.flags = KN_KERNELIZE_NO_RESOLVE),
                                      &plan, &w->err));
        assert_int_equal(world_record(plan, 1).rule, KN_FALLBACK_NO_COMPATIBLE_PROPERTIES);
        assert_non_null(strstr(world_record(plan, 1).reason, "capability 80"));
        kn_plan_free(plan);
    }
    kn_mapping_unref(map);
    world_close(w);
}

static void toy_bound(void *user, void *bound, kn_host_bound *out)
{
    const binding *b = bound;
    (void)user;
    assert_int_equal(out->struct_size, sizeof(*out));
    out->repository = "o/n";
    out->revision = "r7";
    out->variant = NULL; // nothing to say
    out->layer_name = b->kernel.layer_name;
    out->mode = KN_MODE_TRAINING;
    out->level = KN_LEVEL_PINNED;
    out->device = KN_DEVICE_ROCM;
    out->device_index = 2;
}

static void toy_fallbacks(void *user, void *module, uint64_t *counts, size_t n_counts)
{
    const toy *t = user;
    assert_int_equal(n_counts, KN_MISMATCH_REASONS);
    if (module == &t->nodes[1])
        counts[KN_MISMATCH_DTYPE] = 3;
}

// What is bound is the host's word, and how often it was left.
static void test_report(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    toy t = make_toy();
    kn_host host = table_of(&t);
    kn_plan *plan = NULL;
    char *json = NULL;
    world_ok(w, kn_kernelize_host(w->ctx, &host, OPTIONS(0), NULL, &w->err));
    t.nodes[3].state = KN_HOST_FOREIGN_SINCE;
    world_fails(w, kn_report_host(&host, &plan, &w->err), KN_ERR_INVALID, "lacks its entry bound");
    host.bound = toy_bound;
    world_fails(w, kn_report_host(&host, NULL, &w->err), KN_ERR_INVALID, "room");
    world_fails(w, kn_report_host(NULL, &plan, &w->err), KN_ERR_INVALID, "host");
    for (int counted = 0; counted < 2; ++counted) {
        host.fallbacks = counted ? toy_fallbacks : NULL;
        world_ok(w, kn_report_host(&host, &plan, &w->err));
        static const kn_outcome outcomes[] = {KN_OUTCOME_KERNEL, KN_OUTCOME_KERNEL, KN_OUTCOME_LEFT,
                                              KN_OUTCOME_FALLBACK, KN_OUTCOME_LEFT};
        assert_int_equal(kn_plan_count(plan), KN_LEN(outcomes));
        for (size_t i = 0; i < KN_LEN(outcomes); ++i) {
            const kn_record r = world_record(plan, i);
            const bool is_bound = outcomes[i] == KN_OUTCOME_KERNEL;
            assert_int_equal(r.outcome, outcomes[i]);
            assert_string_equal(r.repository, is_bound ? "o/n" : "");
            assert_string_equal(r.revision, is_bound ? "r7" : "");
            assert_string_equal(r.variant, "");
            assert_string_equal(r.layer_name, is_bound ? "Plain" : "");
            assert_int_equal(r.mode, is_bound ? KN_MODE_TRAINING : 0);
            assert_string_equal(r.reason[0] && outcomes[i] == KN_OUTCOME_FALLBACK ? r.reason : "",
                                i == 3 ? "a subclass of its own mind" : "");
            if (is_bound) { // what it was bound for, wherever the module is
                assert_int_equal(r.device, KN_DEVICE_ROCM);
                assert_int_equal(r.device_index, 2);
            }
            assert_int_equal(r.level, is_bound ? KN_LEVEL_PINNED : KN_LEVEL_NONE);
            assert_int_equal(kn_plan_fallback_count(plan, i, KN_MISMATCH_DTYPE),
                             i == 0 && counted ? 3 : 0);
        }
        world_ok(w, kn_plan_json(plan, &json, &w->err));
        assert_int_equal(strstr(json, "\"fallbacks\"") != NULL, counted);
        kn_string_free(json);
        kn_plan_free(plan);
    }
    kn_mapping_unref(map);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol), cmocka_unit_test(test_failing_callbacks),
        cmocka_unit_test(test_tables),   cmocka_unit_test(test_capability_and_depth),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
