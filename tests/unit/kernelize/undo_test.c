// The way back, and what is bound now.
#include "kernelize/world.h"

#define OPTIONS(...)                                                                               \
    KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu", __VA_ARGS__)

typedef struct model {
    kn_module *root, *a, *b, *c;
    kn_class *cls, *plain;
} model;

// a and b are extensible, c is not.
static model make_model(world *w)
{
    model m = {.root = world_module(w, NULL, "model", NULL),
               .cls = world_class(w, "C", "L", SIGNATURE),
               .plain = world_class(w, "P", NULL, NULL)};
    m.a = world_module(w, m.root, "a", m.cls);
    m.b = world_module(w, m.root, "b", m.cls);
    m.c = world_module(w, m.root, "c", m.plain);
    return m;
}

static void free_model(model *m)
{
    kn_module_free(m->root);
    kn_class_unref(m->cls);
    kn_class_unref(m->plain);
}

static void test_undo(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    model m = make_model(w);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_plan *plan = NULL;
    world_ok(w, kn_unkernelize(m.root, &plan, &w->err)); // nothing to undo
    assert_int_equal(kn_plan_count(plan), 0);
    kn_plan_free(plan);
    for (int round = 0; round < 3; ++round) {
        world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(0), NULL, &w->err));
        assert_int_equal(world_ask(m.a), KERNEL);
        world_ok(w, kn_unkernelize(m.root, round ? &plan : NULL, &w->err));
        assert_int_equal(world_ask(m.a), OWN);
        assert_int_equal(world_ask(m.b), OWN);
        assert_false(kn_module_is_kernelized(m.a));
        if (!round)
            continue;
        assert_int_equal(kn_plan_count(plan), 2);
        assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_RESTORED), 2);
        const kn_record r = world_record(plan, 1);
        assert_string_equal(r.path, "b");
        assert_string_equal(r.layer, "L");
        assert_string_equal(r.class_name, "C");
        assert_int_equal(r.changed, 1);
        assert_non_null(strstr(kn_plan_text(plan), "2 extensible modules: 2 restored"));
        kn_plan_free(plan);
    }
    world_fails(w, kn_unkernelize(NULL, &plan, &w->err), KN_ERR_INVALID, "model");
    // A part of a tree.
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(0), NULL, &w->err));
    world_ok(w, kn_unkernelize(m.b, NULL, &w->err));
    assert_int_equal(world_ask(m.a), KERNEL);
    assert_int_equal(world_ask(m.b), OWN);
    // A class that is no longer extensible: its modules are restored all the same.
    world_ok(w, kn_class_set_layer(m.cls, NULL, &w->err));
    world_ok(w, kn_unkernelize(m.root, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), 1);
    assert_int_equal(world_ask(m.a), OWN);
    kn_plan_free(plan);
    free_model(&m);
    kn_mapping_unref(map);
    world_close(w);
}

// What somebody else set is left alone, before and since, and reported.
static void test_foreign(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    model m = make_model(w);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_plan *plan = NULL;
    world_ok(w, kn_module_set_forward(m.a, world_seven, NULL, &w->err));
    world_ok(w,
             kn_kernelize(w->ctx, m.root, OPTIONS(.fallback = KN_FALLBACK_NONE), &plan, &w->err));
    kn_record r = world_record(plan, 0);
    assert_int_equal(r.outcome, KN_OUTCOME_LEFT);
    assert_int_equal(r.changed, 0);
    assert_string_equal(r.reason, "a forward of its own was set on the module");
    assert_string_equal(r.admits, "giving the module its class's forward again");
    assert_int_equal(world_ask(m.a), SOMEBODY);
    assert_int_equal(world_ask(m.b), KERNEL);
    kn_plan_free(plan);

    world_ok(w, kn_module_set_forward(m.b, world_seven, NULL, &w->err)); // over the kernel
    assert_false(kn_module_is_kernelized(m.b));
    for (int round = 0; round < 2; ++round) { // again and again
        world_ok(w, kn_unkernelize(m.root, &plan, &w->err));
        assert_int_equal(kn_plan_count(plan), 1); // a was never kernelized
        r = world_record(plan, 0);
        assert_string_equal(r.path, "b");
        assert_int_equal(r.outcome, KN_OUTCOME_LEFT);
        assert_int_equal(r.changed, 0);
        assert_non_null(strstr(r.reason, "after it was kernelized"));
        assert_int_equal(world_ask(m.b), SOMEBODY);
        kn_plan_free(plan);
    }
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(0), &plan, &w->err));
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_LEFT), 2);
    assert_non_null(strstr(kn_plan_text(plan), "left alone: a forward of its own was set on the "
                                               "module after it was kernelized"));
    kn_plan_free(plan);

    // Given back, they are ours again.
    world_ok(w, kn_module_set_forward(m.a, NULL, NULL, &w->err));
    world_ok(w, kn_module_set_forward(m.b, NULL, NULL, &w->err));
    assert_int_equal(world_ask(m.b), OWN);
    world_ok(w, kn_unkernelize(m.root, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), 0);
    kn_plan_free(plan);
    world_ok(w, kn_kernelize(w->ctx, m.root, OPTIONS(0), NULL, &w->err));
    assert_int_equal(world_ask(m.a), KERNEL);
    // Undone by hand over a kernel.
    world_ok(w, kn_module_set_forward(m.a, NULL, NULL, &w->err));
    assert_int_equal(world_ask(m.a), OWN);
    free_model(&m);
    kn_mapping_unref(map);
    world_close(w);
}

static void test_report(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    model m = make_model(w);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_plan *plan = NULL;
    kn_class *sub = NULL;
    kn_status st;
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "Sub", .base = m.cls, .forward = world_seven),
                             &sub, &w->err));
    world_module(w, m.root, "d", sub);
    world_ok(w, kn_kernelize(w->ctx, m.a, OPTIONS(0), NULL, &w->err)); // a alone
    for (int i = 0; i < 3; ++i)
        world_call(m.a, (DLDataType){kDLInt, 32, 1}, 0, &st, NULL);
    kn_call(m.a, KN_ARGS(kn_int(1)), NULL);
    world_ok(w, kn_report(m.root, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), 3);
    kn_record r = world_record(plan, 0);
    assert_int_equal(r.outcome, KN_OUTCOME_KERNEL);
    assert_string_equal(r.layer_name, "Plain");
    assert_string_equal(r.variant, PACKAGE_VARIANT);
    assert_string_equal(r.repository, w->dir.variant);
    assert_int_equal(r.mode, 0);
    assert_int_equal(kn_plan_fallback_count(plan, 0, KN_MISMATCH_DTYPE), 3);
    assert_int_equal(kn_plan_fallback_count(plan, 0, KN_MISMATCH_SHAPE), 0);
    assert_int_equal(kn_plan_fallback_count(plan, 1, KN_MISMATCH_DTYPE), 0);
    assert_int_equal(kn_plan_fallback_count(plan, 9, KN_MISMATCH_DTYPE), 0);
    assert_int_equal(kn_plan_fallback_count(plan, 0, KN_MISMATCH_REASONS), 0);
    assert_int_equal(kn_plan_fallback_count(NULL, 0, KN_MISMATCH_DTYPE), 0);
    assert_int_equal(world_record(plan, 1).outcome, KN_OUTCOME_FALLBACK);
    assert_string_equal(world_record(plan, 1).reason, "was not kernelized");
    assert_int_equal(world_record(plan, 1).rule, 0);
    assert_non_null(strstr(world_record(plan, 2).reason, "a subclass with a forward of its own"));
    assert_non_null(strstr(kn_plan_text(plan), "3 calls fell back (dtype)"));
    assert_int_equal(r.device, KN_DEVICE_CPU); // of the kernel: the module has no tensors
    assert_non_null(strstr(kn_plan_text(plan), "L on cpu → "));
    assert_non_null(strstr(kn_plan_text(plan), ": its own forward: was not kernelized\n"));
    char *json = NULL;
    world_ok(w, kn_plan_json(plan, &json, &w->err));
    assert_non_null(strstr(json, "\"dtype\": 3"));
    kn_string_free(json);
    kn_plan_free(plan);

    // Truth lies on the modules: another context's kernel, a foreign forward.
    kn_context *other = NULL;
    world_ok(w, kn_context_open(NULL, &other, &w->err));
    world_ok(w, kn_kernelize(other, m.b, OPTIONS(0), NULL, &w->err));
    world_ok(w, kn_module_set_forward(m.a, world_seven, NULL, &w->err));
    world_ok(w, kn_report(m.root, &plan, &w->err));
    assert_int_equal(world_record(plan, 0).outcome, KN_OUTCOME_LEFT);
    assert_int_equal(world_record(plan, 1).outcome, KN_OUTCOME_KERNEL);
    kn_plan_free(plan);
    world_ok(w, kn_unkernelize(m.root, NULL, &w->err));
    world_fails(w, kn_report(NULL, &plan, &w->err), KN_ERR_INVALID, "model");
    world_fails(w, kn_report(m.root, NULL, &w->err), KN_ERR_INVALID, "room");
    free_model(&m);
    kn_context_close(other);
    kn_class_unref(sub);
    kn_mapping_unref(map);
    world_close(w);
}

// Why a module runs its own forward is what the last kernelize said of its class on its device.
static void test_reasons(void **state)
{
    (void)state;
    world *w = world_open("cpu:x86-64-v3");
    model m = make_model(w);
    kn_mapping *good = world_map_one(w, "L", "Plain", 0), *none = world_map(w, NULL, 0);
    static const struct {
        const char *name, *device; // given to kernelize
        bool has_kernel;
        uint32_t flags;
        // What the report says: of a module without tensors, and of one on each device.
        kn_device_type anywhere;
        uint32_t on_cpu, on_cuda;
    } rows[] = {
        {"a dry run says nothing", "cpu", false, KN_KERNELIZE_DRY_RUN, KN_DEVICE_NONE, 0, 0},
        {"no entry", "cpu", false, 0, KN_DEVICE_CPU, KN_FALLBACK_NO_LAYER, 0},
        {"another device", "cuda", true, 0, KN_DEVICE_CUDA, KN_FALLBACK_NO_LAYER,
         KN_FALLBACK_NO_DEVICE},
        {"said again", "cuda", false, 0, KN_DEVICE_CUDA, KN_FALLBACK_NO_LAYER,
         KN_FALLBACK_NO_LAYER},
        {"a kernel clears it", "cpu", true, 0, KN_DEVICE_CUDA, 0, KN_FALLBACK_NO_LAYER},
        {"and the newest counts", "cpu", false, 0, KN_DEVICE_CPU, KN_FALLBACK_NO_LAYER,
         KN_FALLBACK_NO_LAYER},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        world_ok(
            w, kn_kernelize(w->ctx, m.root,
                            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE,
                                                 .mapping = rows[i].has_kernel ? good : none,
                                                 .device = rows[i].device, .flags = rows[i].flags),
                            NULL, &w->err));
        world_ok(w, kn_unkernelize(m.root, NULL, &w->err));
        for (int at = 0; at < 3; ++at) { // another model of the class
            kn_plan *plan = NULL;
            kn_module *root = world_module(w, NULL, "other", NULL);
            world_module(w, root, "x", m.cls);
            if (at)
                world_place(w, root, at == 1 ? kDLCPU : kDLCUDA, 0);
            world_ok(w, kn_report(root, &plan, &w->err));
            const kn_record r = world_record(plan, 0);
            const kn_device_type asked = at == 0   ? rows[i].anywhere
                                         : at == 1 ? KN_DEVICE_CPU
                                                   : KN_DEVICE_CUDA;
            const uint32_t rule = asked == KN_DEVICE_CPU    ? rows[i].on_cpu
                                  : asked == KN_DEVICE_CUDA ? rows[i].on_cuda
                                                            : 0;
            assert_int_equal(r.outcome, KN_OUTCOME_FALLBACK);
            assert_int_equal(r.device, asked);
            assert_int_equal(r.rule, rule);
            if (rule) {
                assert_non_null(strstr(r.reason, "`L`"));
                assert_non_null(strstr(r.admits, "L"));
                assert_non_null(strstr(kn_plan_text(plan), r.admits));
                assert_non_null(strstr(kn_plan_text(plan), rule == KN_FALLBACK_NO_LAYER
                                                               ? ": its own forward: NO_LAYER: "
                                                               : ": NO_DEVICE: "));
            } else {
                assert_string_equal(r.reason, "was not kernelized");
                assert_string_equal(r.admits, "");
            }
            kn_plan_free(plan);
            kn_module_free(root);
        }
    }
    free_model(&m);
    kn_mapping_unref(good);
    kn_mapping_unref(none);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
