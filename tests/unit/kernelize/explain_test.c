// Decisions without a model: what kernelize would refuse is a record here.
#include "kernelize/world.h"

#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, __VA_ARGS__)

static void test_layers(void **state)
{
    (void)state;
    world *w = world_open("cpu:x86-64-v3");
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "Good", .device = "cpu", .path = w->dir.root, .layer_name = "Plain"),
        *KN_ENTRY(.layer = "Elsewhere", .device = "cuda", .path = w->dir.root),
        *KN_ENTRY(.layer = "Gone", .device = "cpu", .path = "/nonexistent"),
        *KN_ENTRY(.layer = "Good", .device = "cuda", .path = w->dir.root, .layer_name = "Plain"),
        *KN_ENTRY(.layer = "Lies", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE),
    };
    static const struct {
        const char *layer;
        kn_outcome outcome;
        uint32_t rule;
    } expected[] = {{"Good", KN_OUTCOME_KERNEL, 0},
                    {"Elsewhere", KN_OUTCOME_FALLBACK, KN_FALLBACK_NO_DEVICE},
                    {"Gone", KN_OUTCOME_ERROR, KN_FALLBACK_CANNOT_LOAD},
                    {"Lies", KN_OUTCOME_ERROR, 0}};
    kn_mapping *map = world_map(w, entries, KN_LEN(entries));
    kn_plan *plan = NULL;
    const kn_kernelize_options *opts = OPTIONS(0);
    kn_kernelize_options compile = *opts;
    compile.mode |= KN_MODE_TORCH_COMPILE;
    world_ok(w, kn_explain(w->ctx, NULL, 0, &compile, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), KN_LEN(expected)); // each once, in order of registration
    for (size_t i = 1; i < KN_LEN(expected); ++i) {
        const kn_record r = world_record(plan, i);
        assert_string_equal(r.path, expected[i].layer);
        assert_string_equal(r.layer, expected[i].layer);
        assert_string_equal(r.class_name, "");
        assert_int_equal(r.outcome, expected[i].outcome);
        assert_int_equal(r.rule, expected[i].rule);
        assert_int_equal(r.device, KN_DEVICE_CPU);
        assert_int_equal(r.capability, 3);
        assert_int_equal(r.changed, 0);
    }
    assert_non_null(strstr(kn_plan_text(plan), "4 layers for INFERENCE|TORCH_COMPILE: 2 with their "
                                               "own forward, 2 with an error\n"));
    kn_plan_free(plan);

    // Named: in their order, also unknown ones, also twice.
    static const char *const names[] = {"Nobody", "Good", "Nobody", "a.0\xff", "a.1"};
    world_ok(w, kn_explain(w->ctx, names, 5, opts, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), 5);
    assert_int_equal(world_record(plan, 0).rule, KN_FALLBACK_NO_LAYER);
    assert_int_equal(world_record(plan, 1).outcome, KN_OUTCOME_KERNEL);
    assert_string_equal(world_record(plan, 1).variant, PACKAGE_VARIANT);
    assert_string_equal(world_record(plan, 3).path, "a.0\xEF\xBF\xBD");
    assert_null(strchr(kn_plan_text(plan), '\xff'));
    assert_non_null(strstr(kn_plan_text(plan), "\na.1 ")); // a layer's name is no path
    kn_plan_free(plan);
    world_ok(w, kn_explain(w->ctx, names, 0, opts, &plan, &w->err)); // none at all
    assert_int_equal(kn_plan_count(plan), 0);
    kn_plan_free(plan);

    // With every case admitted, only the contradiction is an error.
    compile.fallback = KN_FALLBACK_ALL;
    world_ok(w, kn_explain(w->ctx, NULL, 0, &compile, &plan, &w->err));
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_ERROR), 1);
    kn_plan_free(plan);
    assert_int_equal(world_lines(w, KN_LOG_WARNING, NULL), 0);
    kn_mapping_unref(map);
    world_close(w);
}

static void test_devices(void **state)
{
    (void)state;
    static const struct {
        const char *name, *machine, *mapped[2], *asked;
        kn_device_type device;
        int32_t index;
        int64_t capability;
    } cases[] = {
        {"cpu is always here", "cpu:x86-64-v2", {"cuda"}, NULL, KN_DEVICE_CPU, 0, 2},
        {"an accelerator first",
         "cpu:x86-64-v2,cuda:9.0",
         {"cpu", "cuda"},
         NULL,
         KN_DEVICE_CUDA,
         0,
         90},
        {"if the mapping names it", "cpu:x86-64-v2,cuda:9.0", {"cpu"}, NULL, KN_DEVICE_CPU, 0, 2},
        {"if it is here", "cpu:x86-64-v2", {"cpu", "cuda"}, NULL, KN_DEVICE_CPU, 0, 2},
        {"cuda before rocm", "rocm:gfx90a,cuda:8.0", {"rocm", "cuda"}, NULL, KN_DEVICE_CUDA, 0, 80},
        {"as asked",
         "cpu:x86-64-v2,cuda:9.0,cuda:8.0",
         {"cpu", "cuda"},
         "cuda:1",
         KN_DEVICE_CUDA,
         1,
         80},
        {"as asked, not here", "cpu:x86-64-v2", {"cpu"}, "cuda", KN_DEVICE_CUDA, 0, -1},
        {"metal is mps", "mps", {"mps"}, "metal", KN_DEVICE_MPS, 0, -1},
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        world *w = world_open(cases[i].machine);
        kn_entry entries[2];
        const size_t n = cases[i].mapped[1] ? 2 : 1;
        kn_plan *plan = NULL;
        print_message("  %s\n", cases[i].name);
        for (size_t k = 0; k < n; ++k)
            entries[k] =
                *KN_ENTRY(.layer = "L", .device = cases[i].mapped[k], .repo_id = "owner/name");
        kn_mapping *map = world_map(w, entries, n);
        world_ok(w, kn_explain(w->ctx, NULL, 0,
                               OPTIONS(.device = cases[i].asked, .flags = KN_KERNELIZE_NO_RESOLVE),
                               &plan, &w->err));
        const kn_record r = world_record(plan, 0);
        assert_int_equal(r.device, cases[i].device);
        assert_int_equal(r.device_index, cases[i].index);
        assert_int_equal(r.capability, cases[i].capability);
        kn_plan_free(plan);
        kn_mapping_unref(map);
        world_close(w);
    }
}

// As many layers as a large mapping has: once each, in time that grows with their number.
static void test_many(void **state)
{
    (void)state;
    enum { N = 20000 };
    world *w = world_open(NULL);
    char(*names)[16] = calloc(N, sizeof(*names));
    kn_entry *entries = calloc((size_t)N * 2, sizeof(*entries));
    kn_plan *plan = NULL;
    assert_true(names && entries);
    for (size_t i = 0; i < N; ++i) {
        snprintf(names[i], sizeof(*names), "Layer%zu", i);
        entries[2 * i] = *KN_ENTRY(.layer = names[i], .device = "cpu", .repo_id = "o/n");
        entries[2 * i + 1] = *KN_ENTRY(.layer = names[i], .device = "cuda", .repo_id = "o/n");
    }
    kn_mapping *map = world_map(w, entries, (size_t)N * 2);
    world_ok(w,
             kn_explain(w->ctx, NULL, 0, OPTIONS(.device = "cpu", .flags = KN_KERNELIZE_NO_RESOLVE),
                        &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), N);
    for (size_t i = 0; i < N; ++i)
        assert_string_equal(world_record(plan, i).layer, names[i]);
    kn_plan_free(plan);
    kn_mapping_unref(map);
    free(names);
    free(entries);
    world_close(w);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"A", NULL}, *const empty[] = {""};
    world *w = world_open(NULL);
    kn_mapping *map = NULL;
    kn_plan *plan = (kn_plan *)(uintptr_t)w;
    world_fails(w, kn_explain(w->ctx, bad, 2, OPTIONS(0), &plan, &w->err), KN_ERR_INVALID,
                "layers[1] is NULL");
    assert_null(plan);
    world_fails(w, kn_explain(w->ctx, empty, 1, OPTIONS(0), &plan, &w->err), KN_ERR_INVALID,
                "layers[0] is empty");
    world_fails(w, kn_explain(w->ctx, NULL, 1, OPTIONS(0), &plan, &w->err), KN_ERR_INVALID,
                "layers where n_layers is given");
    world_fails(w, kn_explain(NULL, NULL, 0, OPTIONS(0), &plan, &w->err), KN_ERR_INVALID,
                "context");
    world_fails(w, kn_explain(w->ctx, NULL, 0, OPTIONS(0), NULL, &w->err), KN_ERR_INVALID, "room");
    world_fails(w, kn_explain(w->ctx, NULL, 0, NULL, &plan, &w->err), KN_ERR_INVALID, "options");
    world_fails(w, kn_explain(w->ctx, NULL, 0, KN_KERNELIZE_OPTIONS(.mode = 0), &plan, &w->err),
                KN_ERR_INVALID, "mode");
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
