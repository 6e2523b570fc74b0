// The native module tree: names and paths, members, what a call of it reaches.
#include "kernelize/world.h"

static void test_paths(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *layers = world_module(w, root, "layers", NULL);
    kn_module *act = world_layer(w, layers, "0.act", "L");
    kn_module *deep = world_module(w, act, "inner", NULL);
    assert_string_equal(kn_module_path(root), "");
    assert_string_equal(kn_module_path(layers), "layers");
    assert_string_equal(kn_module_path(act), "layers.0.act");
    assert_string_equal(kn_module_path(deep), "layers.0.act.inner");
    assert_string_equal(kn_module_path(NULL), "");
    assert_ptr_equal(kn_module_parent(deep), act);
    assert_null(kn_module_parent(root));
    assert_int_equal(kn_module_child_count(root), 1);
    assert_ptr_equal(kn_module_child(root, 0), layers);
    assert_null(kn_module_child(root, 1));
    assert_null(kn_module_class(root));
    assert_string_equal(kn_class_name(kn_module_class(act)), "test.Class");
    assert_string_equal(kn_class_layer(kn_module_class(act)), "L");

    assert_ptr_equal(kn_module_find(root, ""), root);
    assert_ptr_equal(kn_module_find(root, "layers.0.act"), act);
    assert_ptr_equal(kn_module_find(layers, "0.act"), act); // below any module
    assert_ptr_equal(kn_module_find(act, "inner"), deep);
    assert_ptr_equal(kn_module_find(act, ""), act);
    static const char *const absent[] = {"layers.0", "layers.0.act.", ".layers", "x", "inner"};
    for (size_t i = 0; i < KN_LEN(absent); ++i)
        assert_null(kn_module_find(root, absent[i]));
    assert_null(kn_module_find(act, "act"));
    assert_null(kn_module_find(NULL, "x"));
    assert_null(kn_module_find(root, NULL));
    kn_module_free(root);
    world_close(w);
}

static void test_names_refused(void **state)
{
    (void)state;
    char longest[1025], longer[1026];
    memset(longest, 'a', sizeof(longest));
    memset(longer, 'a', sizeof(longer));
    longest[1024] = longer[1025] = '\0';
    const struct {
        const char *name, *text;
    } rows[] = {
        {NULL, "a name is required"},
        {"", "a name is required"},
        {".a", "a component of the name"},
        {"a.", "a component of the name"},
        {"a..b", "a component of the name"},
        {longer, "at most 1024"},
        {"layers", "already"},
        {"layers.0", "already"},
    };
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *layers = world_module(w, root, "layers", NULL);
    world_module(w, layers, "0", NULL);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_module *module = root;
        print_message("  %.20s\n", rows[i].name ? rows[i].name : "NULL");
        world_fails(w, kn_module_new(root, rows[i].name, NULL, &module, &w->err), KN_ERR_INVALID,
                    rows[i].text);
        assert_null(module);
        assert_int_equal(kn_module_child_count(root), 1);
    }
    world_fails(w, kn_module_new(root, "x", NULL, NULL, &w->err), KN_ERR_INVALID, "out");
    world_module(w, root, longest, NULL);
    world_module(w, root, "layers.1", NULL); // beside "layers", which is no parent of it
    assert_ptr_equal(kn_module_parent(kn_module_find(root, "layers.1")), root);
    kn_module_free(root);
    world_close(w);
}

// Bytes that are no UTF-8 and control characters are kept as a name, and never reach a message.
static void test_hostile_names(void **state)
{
    (void)state;
    static const char name[] = "a\xff\x1b[31m\n";
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, name, NULL);
    kn_module *child = world_module(w, root, name, NULL);
    assert_string_equal(kn_module_path(child), name);
    assert_ptr_equal(kn_module_find(root, name), child);
    kn_module *again = NULL;
    world_fails(w, kn_module_new(root, name, NULL, &again, &w->err), KN_ERR_INVALID,
                "module a\xEF\xBF\xBD\xEF\xBF\xBD[31m\xEF\xBF\xBD: ");
    kn_module_free(root);
    world_close(w);
}

// A reference model: an array of names. Modules are made and freed at random; find must agree.
static void test_random_tree(void **state)
{
    (void)state;
    enum { N = 97, STEPS = 4000 };
    kn_module *modules[N] = {NULL};
    unsigned seed = 12345;
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    for (int step = 0; step < STEPS; ++step) {
        char name[32];
        seed = seed * 1103515245u + 12345u;
        const size_t at = (seed >> 16) % N;
        if (modules[at]) {
            kn_module_free(modules[at]);
            modules[at] = NULL;
        } else {
            snprintf(name, sizeof(name), "m%zu", at);
            modules[at] = world_module(w, root, name, NULL);
            world_module(w, modules[at], "child.leaf", NULL);
        }
        if (step % 50)
            continue;
        size_t count = 0;
        for (size_t i = 0; i < N; ++i) {
            snprintf(name, sizeof(name), "m%zu", i);
            assert_ptr_equal(kn_module_find(root, name), modules[i]);
            strcat(name, ".child.leaf");
            assert_int_equal(kn_module_find(root, name) != NULL, modules[i] != NULL);
            count += modules[i] != NULL;
        }
        assert_int_equal(kn_module_child_count(root), count);
    }
    kn_module_free(root);
    world_close(w);
}

static void test_free_subtrees(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *a = world_module(w, root, "a", NULL);
    kn_module *b = world_layer(w, root, "b", "L");
    world_layer(w, a, "x.y", "L");
    world_layer(w, a, "z", "L");
    kn_module_free(a);
    assert_null(kn_module_find(root, "a"));
    assert_null(kn_module_find(root, "a.x.y"));
    assert_int_equal(kn_module_child_count(root), 1);
    assert_ptr_equal(kn_module_child(root, 0), b);
    a = world_module(w, root, "a", NULL); // the name is free again
    assert_ptr_equal(kn_module_child(root, 1), a);
    kn_module_free(NULL);
    kn_module_free(root);

    // A deep tree is freed, found in and walked without recursion.
    root = world_module(w, NULL, "model", NULL);
    kn_module *at = root;
    for (int i = 0; i < 3000; ++i)
        at = world_module(w, at, "d", NULL);
    kn_plan *plan = NULL;
    world_ok(w, kn_report(root, &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), 0);
    kn_plan_free(plan);
    kn_module_free(root);
    world_close(w);
}

static void test_members(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *m = world_layer(w, NULL, "m", "L");
    float data[6] = {0};
    int64_t shape[2] = {2, 3}, strides[2] = {1, 2};
    DLTensor t = {
        .data = data, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    world_ok(w, kn_module_set_tensor(m, "weight", &t, &w->err));
    world_ok(w, kn_module_set_value(m, "eps", kn_float(1e-5), &w->err));
    world_ok(w, kn_module_set_value(m, "n", kn_int(3), &w->err));
    world_ok(w, kn_module_set_value(m, "flag", kn_bool(true), &w->err));
    // Names that agree in their first 16 bytes are different names.
    world_ok(w, kn_module_set_value(m, "variance_epsilon", kn_int(16), &w->err));
    world_ok(w, kn_module_set_value(m, "variance_epsilon_2", kn_int(18), &w->err));
    assert_int_equal(kn_module_member(m, "variance_epsilon").as.integer, 16);
    assert_int_equal(kn_module_member(m, "variance_epsilon_2").as.integer, 18);
    assert_int_equal(kn_module_member(m, "variance_epsilo").type, KN_VALUE_NONE);

    shape[0] = 99; // header and shape were copied
    kn_value v = kn_module_member(m, "weight");
    assert_int_equal(v.type, KN_VALUE_TENSOR);
    assert_ptr_equal(v.as.tensor->data, data);
    assert_int_equal(v.as.tensor->shape[0], 2);
    assert_int_equal(v.as.tensor->strides[0], 3); // made explicit
    assert_int_equal(v.as.tensor->strides[1], 1);
    shape[0] = 2;
    t.strides = strides;
    world_ok(w, kn_module_set_tensor(m, "weight", &t, &w->err));
    assert_int_equal(kn_module_member(m, "weight").as.tensor->strides[1], 2);
    // From what it is itself.
    world_ok(w,
             kn_module_set_tensor(m, "weight", kn_module_member(m, "weight").as.tensor, &w->err));
    assert_int_equal(kn_module_member(m, "weight").as.tensor->shape[1], 3);

    world_ok(w, kn_module_set_value(m, "weight", kn_int(1), &w->err)); // another kind
    assert_int_equal(kn_module_member(m, "weight").as.integer, 1);
    world_ok(w, kn_module_set_value(m, "weight", kn_none(), &w->err));
    assert_int_equal(kn_module_member(m, "weight").type, KN_VALUE_NONE);
    world_ok(w, kn_module_set_tensor(m, "n", NULL, &w->err));
    assert_int_equal(kn_module_member(m, "n").type, KN_VALUE_NONE);
    assert_true(kn_module_member(m, "eps").as.number == 1e-5);
    world_ok(w, kn_module_set_value(m, "never there", kn_none(), &w->err));
    assert_int_equal(kn_module_member(m, NULL).type, KN_VALUE_NONE);
    // Rank 0, and no elements.
    t.ndim = 0;
    world_ok(w, kn_module_set_tensor(m, "scalar", &t, &w->err));
    t.ndim = 2, t.strides = NULL, shape[0] = INT64_MAX, shape[1] = 0;
    world_ok(w, kn_module_set_tensor(m, "empty", &t, &w->err));
    kn_module_free(m);
    world_close(w);
}

static void test_members_refused(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *m = world_layer(w, root, "m", "L");
    int64_t shape[2] = {INT64_MAX, 4};
    DLTensor t = {.ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    world_ok(w, kn_module_set_value(m, "w", kn_int(5), &w->err));
    world_fails(w, kn_module_set_tensor(m, "w", &t, &w->err), KN_ERR_INVALID,
                "module m: member w|overflows");
    shape[0] = -1;
    world_fails(w, kn_module_set_tensor(m, "w", &t, &w->err), KN_ERR_INVALID,
                "dimension 0 is -1; 0 or more");
    t.shape = NULL;
    world_fails(w, kn_module_set_tensor(m, "w", &t, &w->err), KN_ERR_INVALID,
                "2 dimensions without a shape");
    t.ndim = -1;
    world_fails(w, kn_module_set_tensor(m, "w", &t, &w->err), KN_ERR_INVALID, "-1 dimensions");
    world_fails(w, kn_module_set_value(m, "w", (kn_value){.type = 99}, &w->err), KN_ERR_INVALID,
                "type 99");
    world_fails(w, kn_module_set_value(m, "w", kn_tensor(&t), &w->err), KN_ERR_INVALID,
                "-1 dimensions");                             // a tensor is one either way
    assert_int_equal(kn_module_member(m, "w").as.integer, 5); // the old one stayed
    world_fails(w, kn_module_set_value(m, "", kn_int(1), &w->err), KN_ERR_INVALID, "needs a name");
    world_fails(w, kn_module_set_value(m, NULL, kn_int(1), &w->err), KN_ERR_INVALID,
                "needs a name");
    world_fails(w, kn_module_set_value(NULL, "w", kn_int(1), &w->err), KN_ERR_INVALID, "NULL");
    world_fails(w, kn_module_set_tensor(NULL, "w", &t, &w->err), KN_ERR_INVALID, "NULL");
    kn_module_free(root);
    world_close(w);
}

static void test_infer(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_class *cls = NULL, *bare = world_class(w, "test.Bare", NULL, NULL);
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = "test.Gated", .forward = world_negate,
                                              .signature = "(x: f32 [..., 2*d]) -> (y: x.dtype "
                                                           "[..., d], n: x.dtype [h])",
                                              .members = "weight: f32 [h]"),
                             &cls, &w->err));
    kn_module *m = world_module(w, root, "m", cls), *none = world_module(w, root, "none", bare);
    int64_t shape[2] = {3, 8}, wide[1] = {5};
    float data[24];
    DLTensor x = {
        .data = data, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    DLTensor weight = x;
    weight.ndim = 1;
    weight.shape = wide;
    kn_tensor_type out[2];
    const kn_value in = kn_tensor(&x);
    world_fails(w, kn_module_infer(m, &in, 1, out, 2, &w->err), KN_ERR_ARGUMENTS,
                "module m|weight"); // the member is missing
    world_ok(w, kn_module_set_tensor(m, "weight", &weight, &w->err));
    world_ok(w, kn_module_infer(m, &in, 1, out, 2, &w->err));
    assert_int_equal(out[0].ndim, 2);
    assert_int_equal(out[0].shape[0], 3);
    assert_int_equal(out[0].shape[1], 4);
    assert_int_equal(out[0].strides[0], 4);
    assert_int_equal(out[1].shape[0], 5);
    shape[1] = 7;
    world_fails(w, kn_module_infer(m, &in, 1, out, 2, &w->err), KN_ERR_ARGUMENTS, "module m|x");
    world_fails(w, kn_module_infer(m, &in, 1, out, 1, &w->err), KN_ERR_INVALID, "room for 1|has 2");
    world_fails(w, kn_module_infer(m, &in, 0, out, 2, &w->err), KN_ERR_ARGUMENTS, "module m");
    world_fails(w, kn_module_infer(none, &in, 1, out, 2, &w->err), KN_ERR_UNSUPPORTED,
                "module none|no signature");
    world_fails(w, kn_module_infer(root, &in, 1, out, 2, &w->err), KN_ERR_UNSUPPORTED,
                "no signature");
    world_fails(w, kn_module_infer(NULL, &in, 1, out, 2, &w->err), KN_ERR_INVALID, "a module");
    world_fails(w, kn_module_infer(m, NULL, 1, out, 2, &w->err), KN_ERR_INVALID, "inputs");
    world_fails(w, kn_module_infer(m, &in, 1, NULL, 2, &w->err), KN_ERR_INVALID, "room");
    kn_module_free(root);
    kn_class_unref(cls);
    kn_class_unref(bare);
    world_close(w);
}

static kn_status fail_mutely(kn_module *self, const kn_value *v, int32_t n, void *user,
                             kn_error *err)
{
    (void)self, (void)v, (void)n, (void)err;
    return *(kn_status *)user;
}

static void test_set_forward(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_status status = KN_ERR_IO;
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *m = world_layer(w, root, "m", "L"), *box = world_module(w, root, "box", NULL);
    assert_int_equal(world_ask(m), OWN);
    world_ok(w, kn_module_set_forward(m, world_seven, NULL, &w->err));
    assert_int_equal(world_ask(m), SOMEBODY);
    world_ok(w, kn_module_set_forward(m, NULL, NULL, &w->err));
    assert_int_equal(world_ask(m), OWN);
    world_fails(w, kn_module_set_forward(NULL, world_seven, NULL, &w->err), KN_ERR_INVALID, "NULL");

    // A forward that fails without a word is spoken for.
    world_ok(w, kn_module_set_forward(m, fail_mutely, &status, &w->err));
    world_fails(w, kn_call(m, NULL, 0, &w->err), KN_ERR_IO, "module m: input or output failed");
    kn_class *mute = NULL;
    world_ok(w,
             kn_class_new(KN_CLASS_OPTIONS(.name = "Mute", .forward = fail_mutely, .user = &status),
                          &mute, &w->err));
    kn_module *own = world_module(w, root, "own", mute);
    world_fails(w, kn_call(own, NULL, 0, &w->err), KN_ERR_IO, "module own: input or output failed");
    status = KN_OK;
    world_ok(w, kn_call(own, NULL, 0, &w->err));

    // A container is never called, until it gets a forward.
    world_fails(w, kn_call(box, NULL, 0, &w->err), KN_ERR_INVALID, "module box|no forward");
    world_ok(w, kn_module_set_forward(box, world_seven, NULL, &w->err));
    assert_int_equal(world_ask(box), SOMEBODY);
    assert_false(kn_module_is_kernelized(box));
    assert_false(kn_module_is_kernelized(NULL));
    kn_module_free(root);
    kn_class_unref(mute);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),           cmocka_unit_test(test_names_refused),
        cmocka_unit_test(test_hostile_names),   cmocka_unit_test(test_random_tree),
        cmocka_unit_test(test_free_subtrees),   cmocka_unit_test(test_members),
        cmocka_unit_test(test_members_refused), cmocka_unit_test(test_infer),
        cmocka_unit_test(test_set_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
