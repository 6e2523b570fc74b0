// Every allocation on the way from a mapping to a kernelized model and back fails once: the model is then as it was.
// libtvm_ffi is C++ of others: its operator new is left alone.
#include "support/fail_alloc.h"

#include "kernelize/world.h"

#define SOURCES (FAIL_OURS | FAIL_JANSSON)
#define N_MODULES 9 // enough that every array grows

typedef struct tree {
    kn_module *root;
    kn_module *first, *last, *own;
} tree;

// Returns what failed; the tree is then gone.
static kn_status make_tree(tree *t, kn_error *err)
{
    kn_class *cls = NULL, *odd = NULL;
    *t = (tree){NULL, NULL, NULL, NULL};
    kn_status st = kn_class_new(KN_CLASS_OPTIONS(.name = "C", .layer = "L", .forward = world_negate,
                                                 .signature = SIGNATURE),
                                &cls, err);
    if (st == KN_OK)
        st = kn_class_new(
            KN_CLASS_OPTIONS(.name = "Odd", .layer = "Unknown", .forward = world_negate), &odd,
            err);
    if (st == KN_OK)
        st = kn_class_set_layer(odd, "Unmapped", err);
    if (st == KN_OK)
        st = kn_module_new(NULL, "model", NULL, &t->root, err);
    for (int i = 0; i < N_MODULES && st == KN_OK; ++i) {
        char name[32];
        snprintf(name, sizeof(name), "layers.%d", i);
        st = kn_module_new(t->root, name, cls, i ? &t->last : &t->first, err);
    }
    if (st == KN_OK)
        st = kn_module_new(t->root, "own", odd, &t->own, err);
    if (st == KN_OK)
        st = kn_module_set_value(t->own, "eps", kn_float(1), err);
    if (st == KN_OK)
        st = kn_module_set_forward(t->own, world_seven, NULL, err);
    if (st == KN_OK)
        st = kn_module_set_forward(t->own, NULL, NULL, err);
    kn_class_unref(cls);
    kn_class_unref(odd);
    if (st != KN_OK) {
        kn_module_free(t->root);
        t->root = NULL;
    }
    return st;
}

static kn_status make_tree_run(void *user, kn_error *err)
{
    tree t;
    (void)user;
    const kn_status st = make_tree(&t, err);
    kn_module_free(t.root);
    return st;
}

static void test_tree(void **state)
{
    (void)state;
    print_message("  %zu allocations\n", fail_alloc_each(FAIL_OURS, make_tree_run, NULL));
}

// The package's path, and what one run may hold.
typedef struct job {
    const char *path;
    kn_context *ctx;
    tree tree;
    kn_mapping *map;
} job;

static kn_status kernelize(const job *j, kn_mode mode, kn_plan **plan, kn_error *err)
{
    return kn_kernelize(j->ctx, j->tree.root,
                        KN_KERNELIZE_OPTIONS(.mode = mode, .mapping = j->map, .device = "cpu"),
                        plan, err);
}

static kn_status map_it(job *j, kn_error *err)
{
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = j->path, .layer_name = "Plain",
                  .mode = KN_MODE_INFERENCE),
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = j->path, .layer_name = "Both",
                  .mode = KN_MODE_TRAINING),
    };
    return kn_mapping_with(NULL, entries, 2, &j->map, err);
}

// Everything from a mapping on, each step after the other: map, open and load, kernelize, what the plan says, again in another
// mode, report, undo. A step that fails leaves the model as it was.
static kn_status run_all(job *j, kn_error *err)
{
    kn_plan *plan = NULL;
    char *json = NULL;
    who now = OWN;
    kn_status st = map_it(j, err);
    if (st != KN_OK)
        return st;
    for (int step = 0; step < 5 && st == KN_OK; ++step) {
        who then = now;
        switch (step) {
        case 0:
        case 2:
            st = kernelize(j, step ? KN_MODE_TRAINING : KN_MODE_INFERENCE, &plan, err);
            then = KERNEL;
            break;
        case 1:
            st = kn_report(j->tree.root, &plan, err);
            break;
        case 3:
            st = kn_explain(j->ctx, NULL, 0,
                            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = j->map),
                            &plan, err);
            break;
        case 4:
            st = kn_unkernelize(j->tree.root, &plan, err);
            then = OWN;
            break;
        }
        assert_int_equal(plan != NULL, st == KN_OK);
        if (st == KN_OK)
            now = then;
        assert_int_equal(world_ask(j->tree.first), now);
        assert_int_equal(world_ask(j->tree.last), now);
        assert_int_equal(world_ask(j->tree.own), OWN);
        if (st == KN_OK && step % 2 == 1)
            st = kn_plan_json(plan, &json, err);
        kn_string_free(json);
        json = NULL;
        // Texts are made when they are asked for, and tried anew where there was no memory.
        if (st == KN_OK && !kn_plan_text(plan)[0] && !kn_plan_text(plan)[0])
            st = kn_error_set(err, KN_ERR_NO_MEMORY, "text");
        if (st == KN_OK && strlen(kn_plan_digest(plan)) != 64 && strlen(kn_plan_digest(plan)) != 64)
            st = kn_error_set(err, KN_ERR_NO_MEMORY, "digest");
        kn_plan_free(plan);
        plan = NULL;
    }
    kn_mapping_unref(j->map);
    j->map = NULL;
    return st;
}

// The first kernelize in a context, which loads the package: whatever fails, nothing is bound, and with memory again it works.
static kn_status run_first(job *j, kn_error *err)
{
    kn_status st = map_it(j, err);
    if (st == KN_OK)
        st = kernelize(j, KN_MODE_INFERENCE, NULL, err);
    kn_mapping_unref(j->map);
    j->map = NULL;
    assert_int_equal(world_ask(j->tree.first), st == KN_OK ? KERNEL : OWN);
    assert_int_equal(world_ask(j->tree.last), st == KN_OK ? KERNEL : OWN);
    if (st ==
        KN_OK) { // why a layer has no kernel is kept where there is memory: reported by what there was
        kn_plan *plan = NULL;
        st = kn_report(j->tree.root, &plan, err);
        kn_plan_free(plan);
    }
    return st;
}

// Fails each allocation of `run` in turn. An allocation may be dispensable where the result is as good without it (a reason that
// nobody asked for, a log line). fresh: each run in a context of its own.
static void fail_each(job *j, kn_status (*run)(job *j, kn_error *err), bool fresh)
{
    size_t n = 0, dispensable = 0;
    bool failed = true;
    for (size_t nth = 1; failed; ++nth)
        for (int persist = 0; persist < 2; ++persist) {
            kn_error err = KN_ERROR_INIT;
            assert_int_equal(make_tree(&j->tree, NULL), KN_OK);
            if (fresh)
                assert_int_equal(kn_context_open(NULL, &j->ctx, NULL), KN_OK);
            fail_alloc_install(SOURCES, nth, persist);
            const kn_status st = run(j, &err);
            failed = fail_alloc_remove();
            if (!(st == KN_OK && (!failed || !persist)) &&
                (st != KN_ERR_NO_MEMORY || err.status != st))
                fail_msg("allocation %zu%s: %s: %s", nth, persist ? " and all after it" : "",
                         kn_status_text(st), kn_error_text(&err));
            n += failed && !persist;
            dispensable += failed && st == KN_OK;
            kn_error_dispose(&err);
            if (failed && persist && nth % 16 == 0) {
                kn_module_free(j->tree.root);
                assert_int_equal(make_tree(&j->tree, NULL), KN_OK);
                assert_int_equal(run(j, NULL), KN_OK);
            }
            kn_module_free(j->tree.root);
            if (fresh)
                kn_context_close(j->ctx);
        }
    print_message("  %zu allocations, %zu of them dispensable\n", n, dispensable);
    assert_true(n > 100);
}

static void test_first(void **state)
{
    (void)state;
    package_dir dir;
    package_make(&dir, "good.so",
                 ", \"layers\": {\"Plain\": {\"signature\": \"" SIGNATURE
                 "\", \"forward\": \"scale(y, x, 2.0)\"}}");
    job j = {.path = dir.root};
    fail_each(&j, run_first, true);
    package_remove(&dir);
}

static void test_there_and_back(void **state)
{
    (void)state;
    package_dir dir;
    world_package(&dir, "");
    job j = {.path = dir.root};
    assert_int_equal(kn_context_open(NULL, &j.ctx, NULL), KN_OK);
    assert_int_equal(make_tree(&j.tree, NULL), KN_OK);
    assert_int_equal(run_all(&j, NULL), KN_OK); // loads the package
    kn_module_free(j.tree.root);
    fail_each(&j, run_all, false);
    kn_context_close(j.ctx);
    package_remove(&dir);
}

// A fallback without memory for its count is a fallback all the same.
static void test_calls(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_status st;
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_module *m = world_layer(w, NULL, "model", "L");
    world_ok(w, kn_kernelize(w->ctx, m,
                             KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                  .device = "cpu"),
                             NULL, &w->err));
    fail_alloc_install(FAIL_OURS, 1, true);
    const who answer = world_call(m, (DLDataType){kDLInt, 32, 1}, 0, &st, NULL);
    const who kernel = world_call(m, (DLDataType){kDLFloat, 32, 1}, 0, &st, NULL);
    assert_true(fail_alloc_remove());
    assert_int_equal(answer, OWN);
    assert_int_equal(kernel, KERNEL); // a call allocates nothing
    assert_int_equal(kn_module_fallback_count(m, KN_MISMATCH_DTYPE), 0);
    kn_module_free(m);
    kn_mapping_unref(map);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
