// Threads that call forwards while another kernelizes, changes the mode and undoes: every answer is one of the two that are right,
// and ten thousand rounds take no memory. TSan judges the rest (preset tsan).
#include <pthread.h>
#include <stdatomic.h>

#include "support/fail_alloc.h"

#include "kernelize/world.h"

enum { N_CALLERS = 3, N_MODULES = 8, ROUNDS = 10000 };

typedef struct stage {
    kn_module *modules[N_MODULES];
    atomic_bool stop;
    atomic_size_t calls, wrong, kernels, own;
    pthread_barrier_t start;
} stage;

static void *call_on(void *user)
{
    stage *s = user;
    float in[1] = {1}, out[1];
    int64_t shape[1] = {1};
    DLTensor x = {
        .data = in, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    DLTensor y = x, odd = x;
    y.data = out;
    odd.dtype.code = kDLInt; // falls back, and is counted
    pthread_barrier_wait(&s->start);
    for (size_t i = 0; !atomic_load(&s->stop); ++i) {
        kn_module *m = s->modules[i % N_MODULES];
        out[0] = 0;
        const kn_status st = kn_call(m, KN_ARGS(kn_tensor(&x), kn_tensor(&y)), NULL);
        const kn_status fallback = kn_call(m, KN_ARGS(kn_tensor(&odd), kn_tensor(&y)), NULL);
        atomic_fetch_add(&s->kernels, out[0] == 2);
        atomic_fetch_add(&s->own, out[0] == -1);
        if (st != KN_OK || fallback != KN_OK || (out[0] != 2 && out[0] != -1))
            atomic_fetch_add(&s->wrong, 1);
        kn_module_is_kernelized(m);
        kn_module_fallback_count(m, KN_MISMATCH_DTYPE);
        atomic_fetch_add(&s->calls, 1);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void test_calls_go_on(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    w->quiet = true;
    stage s = {.stop = false};
    pthread_t threads[N_CALLERS];
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = KN_MODE_INFERENCE),
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = w->dir.root, .layer_name = "Both",
                  .mode = KN_MODE_TRAINING),
        *KN_ENTRY(.layer = "M", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = KN_MODE_INFERENCE),
    };
    kn_mapping *map = world_map(w, entries, 3);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_class *l = world_class(w, "A", "L", SIGNATURE), *m = world_class(w, "B", "M", NULL);
    for (int i = 0; i < N_MODULES; ++i) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        s.modules[i] = world_module(w, root, name, i % 2 ? l : m);
    }
    pthread_barrier_init(&s.start, NULL, N_CALLERS + 1);
    for (int i = 0; i < N_CALLERS; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &s), 0);
    pthread_barrier_wait(&s.start);
    kn_status st = KN_OK;
    for (int round = 0; round < 400 && st == KN_OK; ++round) {
        const kn_kernelize_options *opts =
            KN_KERNELIZE_OPTIONS(.mode = round % 2 ? KN_MODE_TRAINING : KN_MODE_INFERENCE,
                                 .mapping = map, .device = "cpu");
        kn_plan *plan = NULL;
        st = kn_kernelize(w->ctx, root, opts, &plan, &w->err);
        kn_plan_free(plan);
        if (st == KN_OK && round % 3 == 0)
            st = kn_report(root, &plan, &w->err);
        kn_plan_free(round % 3 == 0 && st == KN_OK ? plan : NULL);
        if (st == KN_OK && round % 5 == 0)
            st = kn_unkernelize(root, NULL, &w->err);
        if (round % 16 == 0)
            sched_yield();
    }
    while (st == KN_OK && (!atomic_load(&s.kernels) || !atomic_load(&s.own))) { // both were seen
        st = kn_kernelize(
            w->ctx, root,
            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu"), NULL,
            &w->err);
        sched_yield();
        if (st == KN_OK)
            st = kn_unkernelize(root, NULL, &w->err);
        sched_yield();
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < N_CALLERS; ++i)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    world_ok(w, st);
    print_message("  %zu calls: %zu by a kernel, %zu by the own forward\n", atomic_load(&s.calls),
                  atomic_load(&s.kernels), atomic_load(&s.own));
    assert_int_equal(atomic_load(&s.wrong), 0);
    pthread_barrier_destroy(&s.start);
    kn_module_free(root);
    kn_class_unref(l);
    kn_class_unref(m);
    kn_mapping_unref(map);
    world_close(w);
}

typedef struct own_model {
    world *w;
    kn_mapping *map;
    kn_module *root;
    kn_status st;
} own_model;

static void *kernelize_and_undo(void *user)
{
    own_model *o = user;
    for (int i = 0; i < 200 && o->st == KN_OK; ++i) {
        o->st = kn_kernelize(
            o->w->ctx, o->root,
            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = o->map, .device = "cpu",
                                 .fallback = i % 2 ? KN_FALLBACK_ALL : KN_FALLBACK_NONE),
            NULL, NULL);
        if (o->st == KN_OK)
            o->st = kn_unkernelize(o->root, NULL, NULL);
    }
    return NULL;
}

// Models of one context and one class in several threads at once.
static void test_models_at_once(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    w->quiet = true;
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_class *cls = world_class(w, "A", "L", SIGNATURE);
    own_model models[N_CALLERS];
    pthread_t threads[N_CALLERS];
    for (int i = 0; i < N_CALLERS; ++i) {
        models[i] = (own_model){w, map, world_module(w, NULL, "model", cls), KN_OK};
        world_module(w, models[i].root, "child", cls);
    }
    for (int i = 0; i < N_CALLERS; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, kernelize_and_undo, &models[i]), 0);
    for (int i = 0; i < N_CALLERS; ++i) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        world_ok(w, models[i].st);
        assert_int_equal(world_ask(models[i].root), OWN);
        kn_module_free(models[i].root);
    }
    kn_class_unref(cls);
    kn_mapping_unref(map);
    world_close(w);
}

// Kernelize, change the mode, set and take back a foreign forward, undo: the blocks held are the same after each round.
static void test_constant_memory(void **state)
{
    (void)state;
    fail_alloc_install(FAIL_OURS, 0, false); // counts from here on
    world *w = world_open(NULL);
    w->quiet = true;
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = KN_MODE_INFERENCE),
        *KN_ENTRY(.layer = "L", .device = "cpu", .path = w->dir.root, .layer_name = "Both",
                  .mode = KN_MODE_TRAINING),
    };
    kn_mapping *map = world_map(w, entries, 2);
    kn_class *cls = world_class(w, "A", "L", SIGNATURE);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_module *a = world_module(w, root, "a", cls);
    world_module(w, root, "b", cls);
    size_t held = 0;
    for (int round = 0; round < ROUNDS; ++round) {
        kn_plan *plan = NULL;
        kn_status st;
        kn_kernelize_options opts =
            *KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu",
                                  .fallback = round % 2 ? KN_FALLBACK_NONE : KN_FALLBACK_ALL);
        world_ok(w, kn_kernelize(w->ctx, root, &opts, &plan, &w->err));
        kn_plan_free(plan);
        opts.mode = KN_MODE_TRAINING;
        world_ok(w, kn_kernelize(w->ctx, root, &opts, NULL, &w->err));
        opts.fallback = KN_FALLBACK_ALL;
        world_ok(w, kn_kernelize(w->ctx, root, &opts, NULL, &w->err));
        world_call(a, (DLDataType){kDLInt, 32, 1}, 0, &st, NULL); // falls back
        assert_int_equal(world_ask(a), KERNEL);
        world_ok(w, kn_module_set_forward(a, world_seven, NULL, &w->err));
        world_ok(w, kn_unkernelize(root, NULL, &w->err));
        world_ok(w, kn_module_set_forward(a, NULL, NULL, &w->err));
        if (round == 1) // both fallback sets have been bound
            held = fail_alloc_held();
        if (round > 1 && fail_alloc_held() != held)
            fail_msg("round %d: %zu blocks held, %zu before", round, fail_alloc_held(), held);
    }
    assert_true(held > 0);
    kn_module_free(root);
    kn_class_unref(cls);
    kn_mapping_unref(map);
    world_close(w);
    assert_int_equal(fail_alloc_held(), 0);
    fail_alloc_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_go_on),
        cmocka_unit_test(test_models_at_once),
        cmocka_unit_test(test_constant_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
