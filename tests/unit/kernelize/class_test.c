// Classes: what they need, what a subclass inherits, which modules a mark counts for.
#include "kernelize/world.h"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kn_class_options opts;
        kn_status status;
        const char *text;
    } rows[] = {
        {"no name", {.forward = world_negate}, KN_ERR_INVALID, "a name is required"},
        {"empty name", {.name = "", .forward = world_negate}, KN_ERR_INVALID, "a name is required"},
        {"empty layer",
         {.name = "C", .layer = "", .forward = world_negate},
         KN_ERR_INVALID,
         "class C: layer name is empty"},
        {"nothing to fall back to",
         {.name = "C", .layer = "L"},
         KN_ERR_INVALID,
         "class C: an extensible class needs a forward"},
        {"members of nothing",
         {.name = "C", .forward = world_negate, .members = "eps: float"},
         KN_ERR_INVALID,
         "class C: members without a signature"},
        {"broken signature",
         {.name = "C", .forward = world_negate, .signature = "(x: f32 [d) -> (y: like x)"},
         KN_ERR_FORMAT,
         "class C|column"},
        {"broken members",
         {.name = "C", .forward = world_negate, .signature = SIGNATURE, .members = "eps float"},
         KN_ERR_FORMAT,
         "class C|members|column"},
    };
    world *w = world_open(NULL);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_class *cls = (kn_class *)(uintptr_t)w;
        kn_class_options opts = rows[i].opts;
        opts.struct_size = sizeof(opts);
        print_message("  %s\n", rows[i].name);
        const kn_status st = kn_class_new(&opts, &cls, &w->err);
        const char *twice = strstr(kn_error_text(&w->err), "class C");
        assert_true(!twice || !strstr(twice + 1, "class C")); // said once
        world_fails(w, st, rows[i].status, rows[i].text);
        assert_null(cls);
    }
    kn_class *cls = NULL;
    world_fails(w, kn_class_new(NULL, &cls, &w->err), KN_ERR_INVALID, "struct_size");
    world_fails(w, kn_class_new(&(kn_class_options){.name = "C"}, &cls, &w->err), KN_ERR_INVALID,
                "struct_size");
    world_fails(w, kn_class_new(KN_CLASS_OPTIONS(.name = "C"), NULL, &w->err), KN_ERR_INVALID,
                "out");
    // A program that knows fewer fields.
    kn_class_options small = {.struct_size = offsetof(kn_class_options, layer), .name = "Small"};
    small.layer = "never read";
    world_ok(w, kn_class_new(&small, &cls, &w->err));
    assert_null(kn_class_layer(cls));
    assert_ptr_equal(kn_class_ref(cls), cls); // two references: one given back leaves it
    kn_class_unref(cls);
    assert_string_equal(kn_class_name(cls), "Small");
    kn_class_unref(cls);
    assert_null(kn_class_ref(NULL));
    kn_class_unref(NULL);
    assert_string_equal(kn_class_name(NULL), "");
    assert_null(kn_class_layer(NULL));
    world_close(w);
}

static void test_set_layer(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_class *cls = world_class(w, "C", NULL, NULL), *box = NULL;
    assert_null(kn_class_layer(cls));
    world_ok(w, kn_class_set_layer(cls, "L", &w->err));
    assert_string_equal(kn_class_layer(cls), "L");
    world_ok(w, kn_class_set_layer(cls, kn_class_layer(cls), &w->err)); // from itself
    assert_string_equal(kn_class_layer(cls), "L");
    world_fails(w, kn_class_set_layer(cls, "", &w->err), KN_ERR_INVALID, "class C|empty");
    assert_string_equal(kn_class_layer(cls), "L");
    world_ok(w, kn_class_set_layer(cls, NULL, &w->err));
    assert_null(kn_class_layer(cls));
    world_fails(w, kn_class_set_layer(NULL, "L", &w->err), KN_ERR_INVALID, "NULL");
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "Box"), &box, &w->err));
    world_fails(w, kn_class_set_layer(box, "L", &w->err), KN_ERR_INVALID, "class Box|forward");
    kn_class_unref(cls);
    kn_class_unref(box);
    world_close(w);
}

// What is inherited, and what a forward of one's own drops. Every class gets a module in one model.
static void test_subclasses(void **state)
{
    (void)state;
    static const struct {
        const char *name, *base, *layer;
        bool own_forward;
        const char *marked; // as kn_class_layer says
        kn_outcome outcome; // 0: the plan does not name it
    } rows[] = {
        {"Base", NULL, "L", true, "L", KN_OUTCOME_KERNEL},
        {"Same", "Base", NULL, false, "L", KN_OUTCOME_KERNEL},
        {"Own", "Base", NULL, true, NULL, KN_OUTCOME_LEFT},
        {"BelowOwn", "Own", NULL, false, NULL, KN_OUTCOME_LEFT},
        {"Marked", "Own", "L", true, "L", KN_OUTCOME_KERNEL},
        {"BelowMarked", "Marked", NULL, false, "L", KN_OUTCOME_KERNEL},
        {"Renamed", "Base", "M", false, "M", KN_OUTCOME_FALLBACK},
        {"Unmarked", NULL, NULL, true, NULL, 0},
        {"BelowUnmarked", "Unmarked", NULL, false, NULL, 0},
        {"MarkedBelow", "Unmarked", "L", false, "L", KN_OUTCOME_KERNEL},
    };
    world *w = world_open(NULL);
    kn_class *classes[KN_LEN(rows)];
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_plan *plan = NULL;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_class *base = NULL;
        for (size_t j = 0; rows[i].base && j < i; ++j)
            if (strcmp(rows[j].name, rows[i].base) == 0)
                base = classes[j];
        world_ok(w, kn_class_new(
                        KN_CLASS_OPTIONS(.name = rows[i].name, .layer = rows[i].layer, .base = base,
                                         .forward = rows[i].own_forward ? world_negate : NULL),
                        &classes[i], &w->err));
        world_module(w, root, rows[i].name, classes[i]);
    }
    world_ok(w, kn_kernelize(w->ctx, root,
                             KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                  .device = "cpu"),
                             &plan, &w->err));
    size_t at = 0;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        kn_module *module = kn_module_find(root, rows[i].name);
        if (rows[i].marked)
            assert_string_equal(kn_class_layer(classes[i]), rows[i].marked);
        else
            assert_null(kn_class_layer(classes[i]));
        assert_int_equal(world_ask(module), rows[i].outcome == KN_OUTCOME_KERNEL ? KERNEL : OWN);
        if (!rows[i].outcome)
            continue;
        const kn_record r = world_record(plan, at++);
        assert_string_equal(r.path, rows[i].name);
        assert_int_equal(r.outcome, rows[i].outcome);
        if (rows[i].outcome == KN_OUTCOME_LEFT)
            assert_non_null(strstr(r.reason, "a subclass with a forward of its own"));
    }
    assert_int_equal(kn_plan_count(plan), at);
    kn_plan_free(plan);
    kn_module_free(root);
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        kn_class_unref(classes[i]);
    kn_mapping_unref(map);
    world_close(w);
}

// The signature goes with the forward: a subclass's own forward does not have the base's.
static void test_signature_inherited(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_class *base = world_class(w, "Base", "L", SIGNATURE), *same = NULL, *own = NULL;
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "Same", .base = base), &same, &w->err));
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "Own", .base = base, .forward = world_negate),
                             &own, &w->err));
    kn_module *root = world_module(w, NULL, "model", NULL);
    int64_t shape[1] = {4};
    float data[4];
    DLTensor x = {
        .data = data, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    const kn_value in = kn_tensor(&x);
    kn_tensor_type out;
    world_ok(w, kn_module_infer(world_module(w, root, "same", same), &in, 1, &out, 1, &w->err));
    assert_int_equal(out.shape[0], 4);
    world_fails(w, kn_module_infer(world_module(w, root, "own", own), &in, 1, &out, 1, &w->err),
                KN_ERR_UNSUPPORTED, "no signature");
    kn_class_unref(base); // the subclasses and modules hold it
    kn_class_unref(same);
    kn_class_unref(own);
    kn_module_free(root);

    // A long line of bases is let go without recursion.
    kn_class *top = world_class(w, "0", "L", NULL);
    for (int i = 0; i < 20000; ++i) {
        kn_class *next = NULL;
        world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "n", .base = top), &next, &w->err));
        kn_class_unref(top);
        top = next;
    }
    assert_string_equal(kn_class_layer(top), "L");
    kn_class_unref(top);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_set_layer),
        cmocka_unit_test(test_subclasses),
        cmocka_unit_test(test_signature_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
