// Plans that are kept: pinned, written, read again, and done again on this model and on others.
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#include "kernelize/plan_file.h"
#include "kernelize/world.h"

// layers.0, layers.1: a layer each; norm: one that nothing serves.
typedef struct model {
    kn_module *root, *first, *second, *norm;
} model;

static model make_model(world *w)
{
    model m = {.root = world_module(w, NULL, "model", NULL)};
    m.first = world_layer(w, m.root, "layers.0", "A");
    m.second = world_layer(w, m.root, "layers.1", "B");
    m.norm = world_layer(w, m.root, "norm", "Norm");
    return m;
}

static kn_mapping *map_two(world *w, const char *root)
{
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "A", .device = "cpu", .path = root, .layer_name = "Plain"),
        *KN_ENTRY(.layer = "B", .device = "cpu", .path = root, .layer_name = "Both",
                  .mode = KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE, .trust_remote_code = 1),
    };
    return world_map(w, entries, KN_LEN(entries));
}

#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .device = "cpu", __VA_ARGS__)

static kn_plan *plan_of(world *w, const model *m, const kn_kernelize_options *opts)
{
    kn_plan *plan = NULL;
    world_ok(w, kn_kernelize(w->ctx, m->root, opts, &plan, &w->err));
    return plan;
}

static kn_plan *read_back(world *w, kn_plan *plan)
{
    char *dir = temp_dir_new();
    kn_plan *again = NULL;
    world_ok(w, kn_plan_write(plan, temp_dir_path(dir, "plan.json"), &w->err));
    world_ok(w, kn_plan_read(temp_dir_path(dir, "plan.json"), &again, &w->err));
    temp_dir_remove(dir);
    return again;
}

static void assert_bound(const model *m, who first, who second)
{
    assert_int_equal(world_ask(m->first), first);
    assert_int_equal(world_ask(m->second), second);
    assert_int_equal(world_ask(m->norm), OWN);
}

static void assert_mapping(world *w, const kn_plan *plan, const char *wanted)
{
    kn_mapping *mapping = NULL;
    char *text = NULL;
    world_ok(w, kn_plan_mapping(plan, &mapping, &w->err));
    world_ok(w, kn_mapping_text(mapping, &text, &w->err));
    assert_string_equal(text, wanted);
    kn_string_free(text);
    kn_mapping_unref(mapping);
}

// From a plan of this call or of a file, dry or not: the same comes out, on any model with those modules.
static void test_again(void **state)
{
    (void)state;
    world *w = world_open("cpu:x86-64-v3");
    kn_mapping *map = map_two(w, w->dir.root);
    char *expected = NULL;
    assert_true(asprintf(&expected,
                         "[[kernel]]\nlayer = \"A\"\ndevice = \"cpu\"\ncapability = [3, 3]\n"
                         "path = \"%s\"\nlayer_name = \"Plain\"\n\n"
                         "[[kernel]]\nlayer = \"B\"\ndevice = \"cpu\"\ncapability = [3, 3]\n"
                         "mode = \"INFERENCE|TORCH_COMPILE\"\npath = \"%s\"\n"
                         "layer_name = \"Both\"\ntrust_remote_code = true\n",
                         w->dir.root, w->dir.root) > 0);
    for (int dry = 0; dry < 2; ++dry)
        for (int from_file = 0; from_file < 2; ++from_file) {
            print_message("  %s, %s\n", dry ? "dry" : "done", from_file ? "file" : "call");
            model m = make_model(w), other = make_model(w);
            kn_plan *done = NULL;
            kn_plan *want =
                plan_of(w, &m, OPTIONS(.mapping = map, .flags = dry ? KN_KERNELIZE_DRY_RUN : 0));
            if (from_file) {
                kn_plan *again = read_back(w, want);
                assert_string_equal(kn_plan_digest(again), kn_plan_digest(want));
                assert_string_equal(kn_plan_text(again), kn_plan_text(want));
                kn_plan_free(want);
                want = again;
            }
            assert_mapping(w, want, expected);
            w->n_lines = 0;
            world_ok(w, kn_plan_apply(w->ctx, want, other.root, &done, &w->err));
            assert_bound(&other, KERNEL, KERNEL);
            for (size_t i = 0; i < kn_plan_count(want); ++i) {
                const kn_record a = world_record(want, i), b = world_record(done, i);
                assert_string_equal(a.path, b.path);
                assert_int_equal(a.outcome, b.outcome);
                assert_string_equal(a.repository, b.repository);
                assert_string_equal(a.variant, b.variant);
                assert_string_equal(a.layer_name, b.layer_name);
                assert_int_equal(a.mode_used, b.mode_used);
                assert_int_equal(a.level, b.level);
                assert_int_equal(b.changed, b.outcome == KN_OUTCOME_KERNEL);
            }
            assert_int_equal(world_lines(w, KN_LOG_INFO, "Using layer"), 2);
            // What was done can be done again, and then writes nothing.
            kn_plan *twice = NULL;
            world_ok(w, kn_plan_apply(w->ctx, done, other.root, &twice, &w->err));
            assert_int_equal(world_record(twice, 0).changed, 0);
            assert_mapping(w, twice, expected);
            world_ok(w, kn_plan_apply(w->ctx, twice, other.root, NULL, &w->err));
            kn_plan_free(twice);
            kn_plan_free(done);
            kn_plan_free(want);
            kn_module_free(m.root);
            kn_module_free(other.root);
        }
    free(expected);
    kn_mapping_unref(map);
    world_close(w);
}

// A class that the kernel would not serve any more.
static void refused_by(world *w, kn_module *parent, const char *name)
{
    kn_class *cls =
        world_class(w, "test.Other", "A", "(x: f32 [...], z: f32 [...]) -> (y: like x)");
    world_module(w, parent, name, cls);
    kn_class_unref(cls);
}

typedef enum change {
    MODULE_GONE,
    MODULE_RENAMED,
    MODULE_MORE,
    MODULE_MORE_OTHER,
    MODULE_FOREIGN,
    LAYER_OTHER,
    LAYER_BOUND,
    CLASS_OTHER,
    PACKAGE_GONE,
    DISABLED,
} change;

// Nothing is swapped where the model, the machine or the package is another.
static void test_differences(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        change change;
        uint32_t fallback;
        kn_status status; // KN_OK: it is applied
        const char *text;
    } rows[] = {
        {"a module is gone", MODULE_GONE, 0, KN_ERR_CONFLICT,
         "module layers.1: the plan has layer `B` by |here is no such extensible module"},
        {"it has another name", MODULE_RENAMED, 0, KN_ERR_CONFLICT,
         "module layers.1: the plan has layer `B`|no such extensible module"},
        {"one more of a layer", MODULE_MORE, 0, KN_ERR_CONFLICT,
         "module more: the plan has no such extensible module; here is layer `A` by |Plain"},
        {"one more that nothing serves", MODULE_MORE_OTHER, 0, KN_OK, NULL},
        {"somebody's forward", MODULE_FOREIGN, 0, KN_ERR_CONFLICT,
         "module layers.1: the plan has layer `B`|here is it left alone: a forward of its own"},
        {"another layer", LAYER_OTHER, 0, KN_ERR_CONFLICT,
         "module layers.1: the plan has layer `B`|here is layer `A`"},
        {"a layer where there was none", LAYER_BOUND, 0, KN_ERR_CONFLICT,
         "module norm: the plan has its own forward: No layer mapping|here is layer `A`"},
        {"another signature", CLASS_OTHER, 0, KN_ERR_LAYER, "module layers.1|does not match"},
        {"the package is gone", PACKAGE_GONE, 0, KN_ERR_NOT_FOUND, "module layers.0|CANNOT_LOAD"},
        {"that is admitted, and differs", PACKAGE_GONE, KN_FALLBACK_ALL, KN_ERR_CONFLICT,
         "module layers.0: the plan has layer `A`|here is its own forward"},
        {"no mapping counts", DISABLED, 0, KN_ERR_CONFLICT, "DISABLE_KERNEL_MAPPING is set"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        world *w = world_open(NULL);
        kn_mapping *map = map_two(w, w->dir.root);
        model m = make_model(w);
        kn_plan *plan = NULL, *want = plan_of(w, &m,
                                              OPTIONS(.mapping = map, .fallback = rows[i].fallback,
                                                      .flags = KN_KERNELIZE_DRY_RUN));
        kn_class *cls = kn_module_class(m.second);
        switch (rows[i].change) {
        case MODULE_GONE:
        case MODULE_RENAMED:
        case CLASS_OTHER:
            kn_module_free(m.second);
            m.second = NULL;
            if (rows[i].change == MODULE_RENAMED)
                m.second = world_layer(w, m.root, "layers.7", "B");
            else if (rows[i].change == CLASS_OTHER)
                refused_by(w, m.root, "layers.1");
            break;
        case MODULE_MORE:
            world_layer(w, m.root, "more", "A");
            break;
        case MODULE_MORE_OTHER:
            world_layer(w, m.root, "more", "C");
            break;
        case MODULE_FOREIGN:
            world_ok(w, kn_module_set_forward(m.second, world_seven, NULL, &w->err));
            break;
        case LAYER_OTHER:
            world_ok(w, kn_class_set_layer(cls, "A", &w->err));
            break;
        case LAYER_BOUND:
            world_ok(w, kn_class_set_layer(kn_module_class(m.norm), "A", &w->err));
            break;
        case PACKAGE_GONE: // a context that has not loaded it
            kn_context_close(w->ctx);
            world_ok(w, kn_context_open(NULL, &w->ctx, &w->err));
            package_text(w->dir.variant, "metadata.json", "{}");
            break;
        case DISABLED:
            setenv("DISABLE_KERNEL_MAPPING", "1", 1);
            break;
        }
        const kn_status st = kn_plan_apply(w->ctx, want, m.root, &plan, &w->err);
        if (rows[i].status == KN_OK) {
            world_ok(w, st);
            assert_bound(&m, KERNEL, KERNEL);
        } else {
            assert_null(plan);
            world_fails(w, st, rows[i].status, rows[i].text);
            assert_int_equal(world_ask(m.first), OWN);
        }
        unsetenv("DISABLE_KERNEL_MAPPING");
        kn_plan_free(plan);
        kn_plan_free(want);
        kn_module_free(m.root);
        kn_mapping_unref(map);
        world_close(w);
    }
}

// Filters, device, mode and strictness are asked again, from a file too.
static void test_request(void **state)
{
    (void)state;
    static const char *const layers[] = {"A", "Norm"}, *const paths[] = {"layers.?"};
    world *w = world_open(NULL);
    kn_mapping *map = map_two(w, w->dir.root);
    for (int from_file = 0; from_file < 2; ++from_file) {
        model m = make_model(w);
        kn_status st;
        kn_plan *want = plan_of(w, &m,
                                OPTIONS(.mapping = map, .layers = layers, .n_layers = 2,
                                        .paths = paths, .n_paths = 1, .fallback = KN_FALLBACK_NONE,
                                        .flags = KN_KERNELIZE_DRY_RUN));
        assert_int_equal(kn_plan_count(want), 1);
        if (from_file) {
            kn_plan *again = read_back(w, want);
            kn_plan_free(want);
            want = again;
        }
        world_ok(w, kn_plan_apply(w->ctx, want, m.root, NULL, &w->err));
        assert_bound(&m, KERNEL, OWN);
        assert_int_equal(world_call(m.first, (DLDataType){kDLInt, 32, 1}, 0, &st, &w->err), NOBODY);
        world_fails(w, st, KN_ERR_ARGUMENTS, "module layers.0"); // without fallback
        kn_plan_free(want);
        kn_module_free(m.root);
    }
    kn_mapping_unref(map);
    world_close(w);
}

// A path as it was written in a mapping file is an absolute one in the plan's file.
static void test_relative_path(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    char text[4096], *dir = NULL;
    kn_mapping *map = NULL;
    const char *name = kni_path_basename(w->dir.root);
    snprintf(text, sizeof(text),
             "[[kernel]]\nlayer = \"A\"\ndevice = \"cpu\"\npath = \"%s\"\nlayer_name = \"Plain\"\n",
             name);
    dir = kni_path_dirname(w->dir.root);
    world_ok(w, kn_mapping_parse(text, strlen(text), "m.toml", dir, &map, &w->err));
    model m = make_model(w);
    kn_plan *want = plan_of(w, &m, OPTIONS(.mapping = map)), *again = read_back(w, want);
    assert_string_equal(world_record(want, 0).repository, name);
    assert_string_equal(world_record(again, 0).repository, w->dir.root);
    world_ok(w, kn_plan_apply(w->ctx, want, m.root, NULL, &w->err));
    world_ok(w, kn_plan_apply(w->ctx, again, m.root, NULL, &w->err));
    kn_plan_free(want);
    kn_plan_free(again);
    kn_module_free(m.root);
    kn_mapping_unref(map);
    kni_free(dir);
    world_close(w);
}

// Plans that say nothing of how they came about.
static void test_other_plans(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = map_two(w, w->dir.root), *out = NULL;
    model m = make_model(w);
    for (int kind = 0; kind < 5; ++kind) {
        kn_plan *plan = NULL;
        switch (kind) {
        case 0:
            world_ok(w, kn_report(m.root, &plan, &w->err));
            break;
        case 1:
            world_ok(w, kn_unkernelize(m.root, &plan, &w->err));
            break;
        case 2:
            world_ok(w, kn_explain(w->ctx, NULL, 0, OPTIONS(.mapping = map), &plan, &w->err));
            break;
        case 3:
            plan = plan_of(w, &m, OPTIONS(.mapping = map, .flags = KN_KERNELIZE_NO_RESOLVE));
            break;
        case 4: // none
            break;
        }
        world_fails(w, kn_plan_write(plan, "/nowhere/p.json", &w->err), KN_ERR_INVALID, "plan");
        world_fails(w, kn_plan_mapping(plan, &out, &w->err), KN_ERR_INVALID, "accepted are");
        assert_null(out);
        world_fails(w, kn_plan_apply(w->ctx, plan, m.root, NULL, &w->err), KN_ERR_INVALID, "plan");
        kn_plan_free(plan);
    }
    kn_plan *plan = plan_of(w, &m, OPTIONS(.mapping = map)), *again = plan;
    world_fails(w, kn_plan_apply(w->ctx, plan, NULL, NULL, &w->err), KN_ERR_INVALID, "model");
    world_fails(w, kn_plan_write(plan, NULL, &w->err), KN_ERR_INVALID, "path");
    world_fails(w, kn_plan_write(plan, "/nowhere/p.json", &w->err), KN_ERR_NOT_FOUND, "/nowhere");
    world_fails(w, kn_plan_read("/nowhere/p.json", &again, &w->err), KN_ERR_NOT_FOUND, "/nowhere");
    assert_null(again);
    kn_plan_free(plan);
    kn_module_free(m.root);
    kn_mapping_unref(map);
    world_close(w);
}

typedef struct job {
    kn_context *ctx;
    kn_mapping *map;
    kn_module *root, *first;
    char *dir;
} job;

static kn_status run(void *user, kn_error *err)
{
    const job *j = user;
    kn_plan *plan = NULL, *again = NULL, *done = NULL;
    kn_mapping *mapping = NULL;
    const char *path = temp_dir_path(j->dir, "plan.json");
    kn_status st = kn_kernelize(
        j->ctx, j->root, OPTIONS(.mapping = j->map, .flags = KN_KERNELIZE_DRY_RUN), &plan, err);
    if (st == KN_OK)
        st = kn_plan_mapping(plan, &mapping, err);
    if (st == KN_OK)
        st = kn_plan_write(plan, path, err);
    if (st == KN_OK)
        st = kn_plan_read(path, &again, err);
    assert_int_equal(world_ask(j->first), OWN);
    if (st == KN_OK)
        st = kn_plan_apply(j->ctx, again, j->root, &done, err);
    assert_int_equal(world_ask(j->first), st == KN_OK ? KERNEL : OWN);
    if (st == KN_OK) {
        kn_error undo = KN_ERROR_INIT;
        st = kn_unkernelize(j->root, NULL, &undo);
        if (st != KN_OK) { // what is bound goes in the next run
            kn_error_set(err, st, "%s", kn_error_text(&undo));
            kn_error_dispose(&undo);
        }
    }
    kn_mapping_unref(mapping);
    kn_plan_free(plan);
    kn_plan_free(again);
    kn_plan_free(done);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    job j = {.map = map_two(w, w->dir.root), .dir = temp_dir_new()};
    model m = make_model(w);
    j.root = m.root;
    j.first = m.first;
    assert_int_equal(kn_context_open(NULL, &j.ctx, NULL), KN_OK); // without a log
    assert_int_equal(run(&j, NULL), KN_OK);
    size_t n = 0;
    bool failed = true;
    for (size_t nth = 1; failed; ++nth) {
        kn_error err = KN_ERROR_INIT;
        fail_alloc_install(FAIL_OURS | FAIL_JANSSON, nth, true);
        const kn_status st = run(&j, &err);
        failed = fail_alloc_remove();
        if (st != (failed ? KN_ERR_NO_MEMORY : KN_OK))
            fail_msg("allocation %zu: %s: %s", nth, kn_status_text(st), kn_error_text(&err));
        kn_error_dispose(&err);
        world_ok(w, kn_unkernelize(m.root, NULL, &w->err));
        n += failed;
    }
    print_message("  %zu allocations\n", n);
    kn_context_close(j.ctx);
    kn_module_free(m.root);
    kn_mapping_unref(j.map);
    temp_dir_remove(j.dir);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_again),       cmocka_unit_test(test_differences),
        cmocka_unit_test(test_request),     cmocka_unit_test(test_relative_path),
        cmocka_unit_test(test_other_plans), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
