// The transaction: what is swapped and when, again with another mode, filters, dry runs, log lines.
#include "kernelize/world.h"

#define INFERENCE KN_MODE_INFERENCE
#define TRAINING KN_MODE_TRAINING
#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mapping = map, .device = "cpu", __VA_ARGS__)

// layers.<i>.act of class A ("A" -> Both), layers.<i>.norm of class B ("B" -> Plain), and a head without a mapping.
typedef struct model {
    kn_module *root, *head;
    kn_module *acts[3], *norms[3];
    kn_class *a, *b, *h;
} model;

static model make_model(world *w)
{
    model m = {.root = world_module(w, NULL, "model", NULL),
               .a = world_class(w, "test.A", "A", SIGNATURE),
               .b = world_class(w, "test.B", "B", SIGNATURE),
               .h = world_class(w, "test.Head", "Head", SIGNATURE)};
    for (int i = 0; i < 3; ++i) {
        char name[32];
        snprintf(name, sizeof(name), "layers.%d.act", i);
        m.acts[i] = world_module(w, m.root, name, m.a);
        snprintf(name, sizeof(name), "layers.%d.norm", i);
        m.norms[i] = world_module(w, m.root, name, m.b);
    }
    m.head = world_module(w, m.root, "head", m.h);
    return m;
}

static void free_model(model *m)
{
    kn_module_free(m->root);
    kn_class_unref(m->a);
    kn_class_unref(m->b);
    kn_class_unref(m->h);
}

static kn_mapping *make_map(world *w)
{
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "A", .device = "cpu", .path = w->dir.root, .layer_name = "Both"),
        *KN_ENTRY(.layer = "B", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = INFERENCE)};
    return world_map(w, entries, 2);
}

static void expect_answers(const model *m, who acts, who norms)
{
    for (int i = 0; i < 3; ++i) {
        assert_int_equal(world_ask(m->acts[i]), acts);
        assert_int_equal(world_ask(m->norms[i]), norms);
        assert_int_equal(kn_module_is_kernelized(m->acts[i]), acts == KERNEL);
    }
    assert_int_equal(world_ask(m->head), OWN);
}

static void test_modes(void **state)
{
    (void)state;
    world *w = world_open("cpu:x86-64-v3");
    model m = make_model(w);
    kn_mapping *map = make_map(w);
    kn_plan *plan = NULL;
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), &plan, &w->err));
    expect_answers(&m, KERNEL, KERNEL);
    assert_int_equal(kn_plan_count(plan), 7);
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_KERNEL), 6);
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_FALLBACK), 1);
    kn_record r = world_record(plan, 1);
    assert_string_equal(r.path, "layers.0.norm");
    assert_string_equal(r.class_name, "test.B");
    assert_string_equal(r.layer, "B");
    assert_string_equal(r.layer_name, "Plain");
    assert_string_equal(r.repository, w->dir.root);
    assert_string_equal(r.revision, "");
    assert_string_equal(r.variant, PACKAGE_VARIANT);
    assert_string_equal(r.reason, "");
    assert_int_equal(r.device, KN_DEVICE_CPU);
    assert_int_equal(r.device_index, 0);
    assert_int_equal(r.capability, 3);
    assert_int_equal(r.mode, INFERENCE);
    assert_int_equal(r.mode_used, INFERENCE);
    assert_int_equal(r.changed, 1);
    assert_int_equal(world_record(plan, 0).mode_used, KN_MODE_FALLBACK);
    kn_plan_free(plan);
    assert_int_equal(w->n_lines, 2);
    assert_non_null(strstr(w->lines[0], "Using layer `Both` from repo "));
    assert_non_null(strstr(w->lines[0], "for 3 modules"));
    assert_non_null(strstr(w->lines[1], "Using layer `Plain` from repo "));

    // The same again writes and says nothing.
    const kn_binding *bound = ((kn_module_head *)(void *)m.acts[0])->bound;
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), &plan, &w->err));
    assert_int_equal(w->n_lines, 2);
    assert_int_equal(world_record(plan, 0).changed, 0);
    assert_int_equal(world_record(plan, 0).outcome, KN_OUTCOME_KERNEL);
    assert_ptr_equal(((kn_module_head *)(void *)m.acts[0])->bound, bound);
    kn_plan_free(plan);

    // Training: A goes on with the same kernel, B has none for it.
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = TRAINING), &plan, &w->err));
    expect_answers(&m, KERNEL, OWN);
    assert_ptr_equal(((kn_module_head *)(void *)m.acts[0])->bound, bound);
    assert_int_equal(world_record(plan, 0).changed, 0);
    assert_int_equal(world_record(plan, 1).changed, 1);
    assert_int_equal(world_record(plan, 1).rule, KN_FALLBACK_NO_COMPATIBLE_MODE);
    kn_plan_free(plan);
    assert_int_equal(w->n_lines, 3);
    assert_non_null(strstr(w->lines[2], "Layer `B` of 3 modules: No repository for `B`"));
    assert_non_null(strstr(w->lines[2], ", using fallback"));

    // And back; with one module more, the line counts all that the kernel serves.
    world_module(w, m.root, "extra", m.b);
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), NULL, &w->err));
    expect_answers(&m, KERNEL, KERNEL);
    assert_int_equal(w->n_lines, 4);
    assert_non_null(strstr(w->lines[3], "for 4 modules"));
    kn_mapping_unref(map); // the bindings do without it
    expect_answers(&m, KERNEL, KERNEL);
    free_model(&m);
    world_close(w);
}

// The last module fails in each way; whatever was bound before stays bound.
static void test_nothing_is_swapped(void **state)
{
    (void)state;
    static const struct {
        const char *name, *layer_name, *path;
        kn_status status;
    } cases[] = {
        {"contradiction", "TwoInputs", NULL, KN_ERR_LAYER},
        {"no such layer", "Nothing", NULL, KN_ERR_NOT_FOUND},
        {"no such package", "Plain", "/nonexistent", KN_ERR_NOT_FOUND},
        {"no mode", "Plain", NULL, KN_ERR_NO_KERNEL},
    };
    world *w = world_open(NULL);
    model m = make_model(w);
    kn_mapping *map = make_map(w);
    for (int kernelized = 0; kernelized < 2; ++kernelized) {
        if (kernelized)
            world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), NULL, &w->err));
        for (size_t i = 0; i < KN_LEN(cases); ++i) {
            print_message("  %s\n", cases[i].name);
            const bool no_mode = cases[i].status == KN_ERR_NO_KERNEL;
            const kn_entry entries[] = {
                *KN_ENTRY(.layer = "A", .device = "cpu", .path = w->dir.root,
                          .layer_name = "Plain"),
                *KN_ENTRY(.layer = "Head", .device = "cpu", .layer_name = cases[i].layer_name,
                          .path = cases[i].path ? cases[i].path : w->dir.root,
                          .mode = no_mode ? TRAINING | KN_MODE_TORCH_COMPILE : 0)};
            kn_mapping *bad = world_map(w, entries, 2);
            kn_plan *plan = NULL;
            w->n_lines = 0;
            world_fails(w,
                        kn_kernelize(
                            w->ctx, m.root,
                            KN_KERNELIZE_OPTIONS(.mode = no_mode ? INFERENCE | KN_MODE_TORCH_COMPILE
                                                                 : INFERENCE,
                                                 .mapping = bad, .device = "cpu",
                                                 .fallback = KN_FALLBACK_NO_LAYER),
                            &plan, &w->err),
                        cases[i].status, no_mode ? "layers.0.act" : "module head, layer Head");
            assert_null(plan);
            assert_int_equal(w->n_lines, 0);
            expect_answers(&m, kernelized ? KERNEL : OWN, kernelized ? KERNEL : OWN);
            kn_mapping_unref(bad);
        }
    }
    kn_mapping_unref(map);
    free_model(&m);
    world_close(w);
}

static void test_filters(void **state)
{
    (void)state;
    static const struct {
        const char *name, *layers[2], *paths[2];
        const char *bound; // one letter a module in tree order: K bound, - not
        size_t records;
    } cases[] = {
        {"a layer", {"A"}, {NULL}, "K-K-K-", 3},
        {"two layers", {"A", "B"}, {NULL}, "KKKKKK", 6},
        {"a path", {NULL}, {"layers.1.act"}, "--K---", 1},
        {"a glob", {NULL}, {"layers.1.*"}, "--KK--", 2},
        {"a glob over dots", {NULL}, {"*norm"}, "-K-K-K", 3},
        {"one character", {NULL}, {"layers.?.act", "head"}, "K-K-K-", 4},
        {"both", {"B"}, {"layers.0.*"}, "-K----", 1},
        {"no such layer", {"C"}, {NULL}, "------", 0},
        {"no such path", {NULL}, {"layer"}, "------", 0},
    };
    world *w = world_open(NULL);
    kn_mapping *map = make_map(w);
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        print_message("  %s\n", cases[i].name);
        model m = make_model(w);
        kn_plan *plan = NULL;
        const size_t n_layers = cases[i].layers[1] ? 2 : cases[i].layers[0] ? 1 : 0;
        const size_t n_paths = cases[i].paths[1] ? 2 : cases[i].paths[0] ? 1 : 0;
        w->n_lines = 0;
        world_ok(w, kn_kernelize(w->ctx, m.root,
                                 OPTIONS(.mode = INFERENCE, .layers = cases[i].layers,
                                         .n_layers = n_layers, .paths = cases[i].paths,
                                         .n_paths = n_paths),
                                 &plan, &w->err));
        assert_int_equal(kn_plan_count(plan), cases[i].records);
        assert_int_equal(world_lines(w, KN_LOG_WARNING, NULL), 0); // the caller chose
        for (int k = 0; k < 6; ++k)
            assert_int_equal(world_ask(k % 2 ? m.norms[k / 2] : m.acts[k / 2]),
                             cases[i].bound[k] == 'K' ? KERNEL : OWN);
        kn_plan_free(plan);

        // What a filter leaves out stays as it is.
        world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), NULL, &w->err));
        world_ok(w, kn_kernelize(
                        w->ctx, m.root,
                        OPTIONS(.mode = TRAINING, .layers = (const char *[]){"A"}, .n_layers = 1),
                        NULL, &w->err));
        expect_answers(&m, KERNEL, KERNEL);
        free_model(&m);
    }
    kn_mapping_unref(map);
    world_close(w);
}

static void test_dry_runs(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    package_set_canary(&w->dir);
    model m = make_model(w);
    kn_mapping *map = make_map(w);
    kn_plan *plan = NULL;
    world_ok(w, kn_kernelize(w->ctx, m.root,
                             OPTIONS(.mode = INFERENCE, .flags = KN_KERNELIZE_NO_RESOLVE), &plan,
                             &w->err));
    assert_false(package_is_mapped(&w->dir)); // nothing was read
    assert_int_equal(package_canary_count(&w->dir), 0);
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_REFERENCE), 6);
    assert_string_equal(world_record(plan, 0).variant, "");
    assert_string_equal(world_record(plan, 0).layer_name, "Both");
    assert_int_equal(world_record(plan, 0).changed, 0);
    assert_int_equal(w->n_lines, 0);
    expect_answers(&m, OWN, OWN);
    kn_plan_free(plan);

    world_ok(w,
             kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE, .flags = KN_KERNELIZE_DRY_RUN),
                          &plan, &w->err));
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_KERNEL), 6);
    assert_string_equal(world_record(plan, 0).variant, PACKAGE_VARIANT);
    assert_int_equal(world_record(plan, 0).changed, 0);
    assert_int_equal(w->n_lines, 0);
    expect_answers(&m, OWN, OWN);
    kn_plan_free(plan);

    // Over bound modules too, and with what would fail.
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(.mode = INFERENCE), NULL, &w->err));
    world_ok(w,
             kn_kernelize(w->ctx, m.root, OPTIONS(.mode = TRAINING, .flags = KN_KERNELIZE_DRY_RUN),
                          NULL, &w->err));
    expect_answers(&m, KERNEL, KERNEL);
    world_fails(w,
                kn_kernelize(w->ctx, m.root,
                             OPTIONS(.mode = TRAINING, .flags = KN_KERNELIZE_DRY_RUN,
                                     .fallback = KN_FALLBACK_NONE),
                             &plan, &w->err),
                KN_ERR_NO_KERNEL, "layers.0.norm|NO_COMPATIBLE_MODE");
    assert_null(plan);
    unsetenv("KN_TEST_CANARY");
    kn_mapping_unref(map);
    free_model(&m);
    world_close(w);
}

static void test_nothing_to_replace(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *bare = world_module(w, NULL, "bare", NULL);
    model m = make_model(w);
    kn_mapping *map = make_map(w);
    const kn_kernelize_options *empty = KN_KERNELIZE_OPTIONS(.mode = INFERENCE, .device = "cpu");
    for (int i = 0; i < 2; ++i) // once
        world_ok(w, kn_kernelize(w->ctx, bare, empty, NULL, &w->err));
    assert_int_equal(w->n_lines, 1);
    assert_int_equal(world_lines(w, KN_LOG_WARNING, "no extensible layer; see docs/"), 1);
    for (int i = 0; i < 2; ++i) // the context's base mapping is empty
        world_ok(w, kn_kernelize(w->ctx, m.root, empty, NULL, &w->err));
    assert_int_equal(w->n_lines, 2);
    assert_non_null(strstr(w->lines[1], "none of 7 extensible modules got a kernel (first reason: "
                                        "No layer mapping for `A`); see kn_plan_text"));
    // With the base set it is as if given.
    kn_context_set_mapping(w->ctx, map);
    world_ok(w, kn_kernelize(w->ctx, m.root, empty, NULL, &w->err));
    expect_answers(&m, KERNEL, KERNEL);
    assert_int_equal(world_lines(w, KN_LOG_WARNING, NULL), 2);
    kn_mapping_unref(map);
    kn_module_free(bare);
    free_model(&m);
    world_close(w);
}

// Bytes that are no UTF-8 in the names of a model reach plan, log and error as text.
static void test_hostile_names(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "A", "Plain", 0);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_class *cls = world_class(w, "C\xff\n", "A", SIGNATURE);
    kn_class *odd = world_class(w, "D", "L\x1b[2J\xc3", SIGNATURE);
    kn_plan *plan = NULL;
    world_module(w, root, "a\x80\x1b", cls);
    world_module(w, root, "b", odd);
    world_ok(w, kn_kernelize(w->ctx, root, OPTIONS(.mode = INFERENCE), &plan, &w->err));
    assert_string_equal(world_record(plan, 0).path, "a\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_string_equal(world_record(plan, 0).class_name, "C\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_string_equal(world_record(plan, 1).layer, "L\xEF\xBF\xBD[2J\xEF\xBF\xBD");
    char *json = NULL;
    world_ok(w, kn_plan_json(plan, &json, &w->err));
    kn_string_free(json);
    assert_null(strchr(kn_plan_text(plan), '\x1b'));
    kn_plan_free(plan);
    world_fails(w,
                kn_kernelize(w->ctx, root, OPTIONS(.mode = INFERENCE, .fallback = KN_FALLBACK_NONE),
                             NULL, &w->err),
                KN_ERR_NO_KERNEL, "module b, layer L\xEF\xBF\xBD[2J\xEF\xBF\xBD on cpu");
    kn_module_free(root);
    kn_class_unref(cls);
    kn_class_unref(odd);
    kn_mapping_unref(map);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_nothing_is_swapped),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_dry_runs),
        cmocka_unit_test(test_nothing_to_replace),
        cmocka_unit_test(test_hostile_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
