// What a bound call costs above a direct call of the same function, and what kernelize costs per module.
//
//   call       kn_call of a bound module (guard and arguments), minus the function called directly with its tvm-ffi arguments in
//              hand. Minima over rounds in which both alternate, since the clock of a shared machine swings. Bar: 30 ns
//   kernelize  a tree of n extensible modules (blocks of one plain module and one with members), everything loaded: the first
//              time, again with an equal decision, and undone. Bar: 0.2 us a module, linear
//   bytes      what a bound module keeps once the plan is freed, by the library's own allocator. Bar: 100
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

enum { ROUNDS = 1000, CALLS = 2000, PASSES = 7 };

_Noreturn static void die(const char *what, const kn_error *err)
{
    fprintf(stderr, "bench_kernelize: %s: %s\n", what, kn_error_text(err));
    exit(1);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// --- counted memory ---

static size_t live_bytes;

static void *count_alloc(size_t size, void *user)
{
    (void)user;
    size_t *block = malloc(size + 16);
    if (!block)
        return NULL;
    *block = size;
    live_bytes += size;
    return (char *)block + 16;
}

static void count_release(void *memory, void *user)
{
    (void)user;
    size_t *block = (size_t *)(void *)((char *)memory - 16);
    live_bytes -= *block;
    free(block);
}

static void *count_resize(void *memory, size_t size, void *user)
{
    if (!memory)
        return count_alloc(size, user);
    size_t *block = (size_t *)(void *)((char *)memory - 16);
    const size_t before = *block;
    block = realloc(block, size + 16);
    if (!block)
        return NULL;
    live_bytes += size - before;
    *block = size;
    return (char *)block + 16;
}

// --- the model ---

typedef struct model {
    kn_context *ctx;
    kn_mapping *map;
    kn_class *plain, *members;
    kn_module *root;
} model;

static kn_status own(kn_module *self, const kn_value *v, int32_t n, void *user, kn_error *err)
{
    (void)self, (void)v, (void)n, (void)user;
    return kn_error_set(err, KN_ERR_CALL, "the own forward must not run here");
}

static void open_model(model *m, kn_error *err)
{
    const kn_entry entries[] = {
        {.struct_size = sizeof(kn_entry),
         .layer = "Plain",
         .device = "cpu",
         .path = KN_BENCH_PACKAGE},
        {.struct_size = sizeof(kn_entry),
         .layer = "Members",
         .device = "cpu",
         .path = KN_BENCH_PACKAGE},
    };
    if (kn_context_open(NULL, &m->ctx, err) ||
        kn_mapping_with(NULL, entries, KN_LEN(entries), &m->map, err) ||
        kn_class_new(KN_CLASS_OPTIONS(.name = "bench.Plain", .layer = "Plain", .forward = own),
                     &m->plain, err) ||
        kn_class_new(KN_CLASS_OPTIONS(.name = "bench.Members", .layer = "Members", .forward = own),
                     &m->members, err))
        die("set-up", err);
}

static void add_modules(model *m, size_t n, const DLTensor *weight, kn_error *err)
{
    if (kn_module_new(NULL, "model", NULL, &m->root, err))
        die("root", err);
    for (size_t i = 0; i < n; ++i) {
        char name[64];
        kn_module *module = NULL;
        const bool has_members = i % 2;
        snprintf(name, sizeof(name), "layers.%zu.%s", i / 2, has_members ? "norm" : "act");
        if (kn_module_new(m->root, name, has_members ? m->members : m->plain, &module, err) ||
            (has_members && (kn_module_set_tensor(module, "weight", weight, err) ||
                             kn_module_set_value(module, "variance_epsilon", kn_float(1e-5), err))))
            die(name, err);
    }
}

static void kernelize(model *m, kn_plan **plan, kn_error *err)
{
    if (kn_kernelize(m->ctx, m->root,
                     KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = m->map,
                                          .device = "cpu", .fallback = KN_FALLBACK_NONE),
                     plan, err))
        die("kernelize", err);
}

// --- the figures ---

static void bench_call(model *m, const char *name, const kn_value *values,
                       const kn_function *function, const kn_value *args, int32_t n_args,
                       kn_error *err)
{
    // A function begins with its address in the tvm-ffi convention; this program alone looks at it, for the direct call.
    int (*direct)(void *, const kn_value *, int32_t, kn_value *);
    memcpy(&direct, function, sizeof(direct));
    kn_module *module = kn_module_find(m->root, name);
    double best_direct = 1e18, best_bound = 1e18;
    for (int round = 0; round < ROUNDS; ++round) {
        double begin = now_ns();
        for (int i = 0; i < CALLS; ++i) {
            kn_value result = kn_none();
            if (direct(NULL, args, n_args, &result))
                die("direct call", err);
        }
        const double direct_ns = now_ns() - begin;
        begin = now_ns();
        for (int i = 0; i < CALLS; ++i)
            if (kn_call(module, values, 2, err))
                die("bound call", err);
        const double bound_ns = now_ns() - begin;
        best_direct = direct_ns < best_direct ? direct_ns : best_direct;
        best_bound = bound_ns < best_bound ? bound_ns : best_bound;
    }
    printf("{\"bench\": \"call\", \"layer\": \"%s\", \"direct_ns\": %.1f, \"bound_ns\": %.1f, "
           "\"above_ns\": %.1f}\n",
           name, best_direct / CALLS, best_bound / CALLS, (best_bound - best_direct) / CALLS);
}

static void bench_calls(model *m, kn_error *err)
{
    static float in[8], out[8], w[8];
    DLTensor x8 = {.data = in,
                   .device = {kDLCPU, 0},
                   .ndim = 2,
                   .dtype = {kDLFloat, 32, 1},
                   .shape = (int64_t[]){1, 8},
                   .strides = (int64_t[]){8, 1}};
    DLTensor y4 = {.data = out,
                   .device = {kDLCPU, 0},
                   .ndim = 2,
                   .dtype = {kDLFloat, 32, 1},
                   .shape = (int64_t[]){1, 4},
                   .strides = (int64_t[]){4, 1}};
    DLTensor x4 = y4, weight = {.data = w,
                                .device = {kDLCPU, 0},
                                .ndim = 1,
                                .dtype = {kDLFloat, 32, 1},
                                .shape = (int64_t[]){4},
                                .strides = (int64_t[]){1}};
    x4.data = in;
    kn_kernel *kernel = NULL;
    const kn_function *plain = NULL, *members = NULL;
    add_modules(m, 2, &weight, err);
    kernelize(m, NULL, err);
    if (kn_context_get_kernel(m->ctx, KN_KERNEL_OPTIONS(.path = KN_BENCH_PACKAGE), &kernel, NULL,
                              err) ||
        kn_kernel_function(kernel, "bench_plain", &plain, err) ||
        kn_kernel_function(kernel, "bench_members", &members, err))
        die("functions", err);
    const kn_value v1[] = {kn_tensor(&x8), kn_tensor(&y4)}, a1[] = {kn_tensor(&y4), kn_tensor(&x8)};
    bench_call(m, "layers.0.act", v1, plain, a1, 2, err);
    const kn_value v2[] = {kn_tensor(&x4), kn_tensor(&y4)};
    const kn_value a2[] = {kn_tensor(&y4), kn_tensor(&x4), kn_tensor(&weight), kn_float(1e-5)};
    bench_call(m, "layers.0.norm", v2, members, a2, 4, err);
    kn_module_free(m->root);
}

static void bench_walk(model *m, size_t n, kn_error *err)
{
    static float w[4];
    const DLTensor weight = {.data = w,
                             .device = {kDLCPU, 0},
                             .ndim = 1,
                             .dtype = {kDLFloat, 32, 1},
                             .shape = (int64_t[]){4}};
    double first = 1e18, again = 1e18, undo = 1e18;
    size_t kept = 0;
    add_modules(m, n, &weight, err);
    kernelize(m, NULL, err); // loads
    if (kn_unkernelize(m->root, NULL, err))
        die("undo", err);
    for (int pass = 0; pass < PASSES; ++pass) {
        kn_plan *plan = NULL;
        const size_t before = live_bytes;
        double begin = now_ns();
        kernelize(m, &plan, err);
        double end = now_ns();
        first = end - begin < first ? end - begin : first;
        kn_plan_free(plan);
        kept = live_bytes - before;
        begin = now_ns();
        kernelize(m, NULL, err);
        end = now_ns();
        again = end - begin < again ? end - begin : again;
        begin = now_ns();
        if (kn_unkernelize(m->root, NULL, err))
            die("undo", err);
        end = now_ns();
        undo = end - begin < undo ? end - begin : undo;
    }
    printf("{\"bench\": \"kernelize\", \"modules\": %zu, \"us_per_module\": %.3f, \"again_us\": "
           "%.3f, \"undo_us\": %.3f, "
           "\"kept_bytes_per_module\": %.1f}\n",
           n, first / 1e3 / (double)n, again / 1e3 / (double)n, undo / 1e3 / (double)n,
           (double)kept / (double)n);
    kn_module_free(m->root);
}

int main(void)
{
    kn_error err = KN_ERROR_INIT;
    model m = {0};
    const kn_allocator counting = {count_alloc, count_resize, count_release, NULL};
    kn_set_allocator(&counting);
    open_model(&m, &err);
    bench_calls(&m, &err);
    for (size_t n = 1000; n <= 100000; n *= 10)
        bench_walk(&m, n, &err);
    kn_class_unref(m.plain);
    kn_class_unref(m.members);
    kn_mapping_unref(m.map);
    kn_context_close(m.ctx);
    return 0;
}
