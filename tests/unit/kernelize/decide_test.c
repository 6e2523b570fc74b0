// The rules of one decision: every case of the fallback set, what is always an error, and what the records say.
#include "kernelize/world.h"

#define TC KN_MODE_TORCH_COMPILE
#define INFERENCE KN_MODE_INFERENCE
#define TRAINING KN_MODE_TRAINING

// One layer, "L", and what is registered for it. path NULL: the world's package.
typedef struct row {
    const char *name;
    struct {
        const char *device, *layer_name, *path, *repo_id;
        kn_mode mode;
        kn_range range;
    } entry;            // device NULL: nothing is registered
    const char *device; // asked for
    kn_mode mode;
    uint32_t rule; // KN_FALLBACK_…; 0: contradiction, always an error
    kn_status status;
    const char *reason, *admits;
    const char *signature; // of the class; NULL: the usual one
} row;

#define CUDA_ONLY                                                                                  \
    {                                                                                              \
        .device = "cuda", .layer_name = "Plain"                                                    \
    }
#define CPU(name_, mode_)                                                                          \
    {                                                                                              \
        .device = "cpu", .layer_name = name_, .mode = mode_                                        \
    }

static const row rows[] = {
    {"nothing registered",
     {.device = NULL},
     "cpu",
     INFERENCE,
     KN_FALLBACK_NO_LAYER,
     KN_ERR_NO_KERNEL,
     "No layer mapping for `L`",
     "a mapping entry for layer L on cpu",
     NULL},
    {"another device", CUDA_ONLY, "cpu", INFERENCE, KN_FALLBACK_NO_DEVICE, KN_ERR_NO_KERNEL,
     "No layer mapping for `L` with device type `cpu`", "device = \"cpu\"", NULL},
    {"capability below",
     {.device = "cpu", .layer_name = "Plain", .range = {4, 9, 1, 0}},
     "cpu",
     INFERENCE,
     KN_FALLBACK_NO_COMPATIBLE_PROPERTIES,
     KN_ERR_NO_KERNEL,
     "with the right properties: capability 3",
     "an entry whose interval contains 3",
     NULL},
    {"capability unknown",
     {.device = "cuda", .layer_name = "Plain", .range = {1, 90, 1, 0}},
     "cuda",
     INFERENCE,
     KN_FALLBACK_NO_COMPATIBLE_PROPERTIES,
     KN_ERR_NO_KERNEL,
     "with the right properties: an unknown capability",
     "an entry without an interval",
     NULL},
    {"no mode of the chain", CPU("Plain", INFERENCE), "cpu", TRAINING,
     KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL,
     "No repository for `L` for configuration mode=TRAINING on cpu with capability 3",
     "an entry without a mode", NULL},
    {"no mode for compile", CPU("Plain", TRAINING), "cpu", TRAINING | TC,
     KN_FALLBACK_NO_COMPATIBLE_MODE, KN_ERR_NO_KERNEL, "mode=TRAINING|TORCH_COMPILE",
     "an entry without a mode", NULL},
    {"no backward", CPU("Compile", 0), "cpu", TRAINING, KN_FALLBACK_NO_COMPATIBLE_MODE,
     KN_ERR_NO_KERNEL, "does not support mode: TRAINING (it has no backward)",
     "a kernel layer that supports backward", NULL},
    {"no compile", CPU("Backward", 0), "cpu", INFERENCE | TC, KN_FALLBACK_NO_COMPATIBLE_MODE,
     KN_ERR_NO_KERNEL, "does not support mode: INFERENCE|TORCH_COMPILE (it has no torch.compile)",
     "a kernel layer that supports torch.compile", NULL},
    {"neither", CPU("Plain", 0), "cpu", TRAINING | TC, KN_FALLBACK_NO_COMPATIBLE_MODE,
     KN_ERR_NO_KERNEL, "does not support mode: TRAINING|TORCH_COMPILE", "backward", NULL},
    {"no such directory",
     {.device = "cpu", .path = "/nonexistent/kernel"},
     "cpu",
     INFERENCE,
     KN_FALLBACK_CANNOT_LOAD,
     KN_ERR_NOT_FOUND,
     "/nonexistent/kernel",
     "",
     NULL},
    {"no such layer there", CPU("Nothing", 0), "cpu", INFERENCE, KN_FALLBACK_CANNOT_LOAD,
     KN_ERR_NOT_FOUND, "Nothing", "", NULL},
    {"hub repository",
     {.device = "cpu", .repo_id = "kernels-community/activation"},
     "cpu",
     INFERENCE,
     KN_FALLBACK_CANNOT_LOAD,
     KN_ERR_NOT_FOUND,
     "kernels-community/activation",
     "",
     NULL},
    {"no variant for it",
     {.device = "xpu", .layer_name = "Plain"},
     "xpu",
     INFERENCE,
     KN_FALLBACK_CANNOT_LOAD,
     KN_ERR_INCOMPATIBLE,
     "xpu",
     "",
     NULL},
    {"no such device", CUDA_ONLY, "cuda", INFERENCE, KN_FALLBACK_CANNOT_LOAD, KN_ERR_NOT_FOUND,
     "cuda", "KERNELS_DEVICE", NULL},
    {"registered for training without backward", CPU("Compile", TRAINING), "cpu", TRAINING, 0,
     KN_ERR_LAYER, "does not support backward. Was registered for TRAINING",
     "registering it for modes that it supports", NULL},
    {"registered for compile without it", CPU("Backward", TRAINING | TC), "cpu", INFERENCE | TC, 0,
     KN_ERR_LAYER, "does not support torch.compile. Was registered for TRAINING|TORCH_COMPILE",
     "registering it", NULL},
    {"registered for both, has neither", CPU("Plain", TRAINING | TC), "cpu", TRAINING, 0,
     KN_ERR_LAYER, "does not support backward", "registering it", NULL},
    {"another number of arguments", CPU("TwoInputs", 0), "cpu", INFERENCE, 0, KN_ERR_LAYER,
     "Forward signature of|layer `TwoInputs`|does not match `test.L`: different number of "
     "arguments",
     "", NULL},
    {"another name", CPU("Plain", 0), "cpu", INFERENCE, 0, KN_ERR_LAYER,
     "Forward signature of|does not match `test.L`: the class has the parameter 'hidden'", "",
     "(hidden: f32 [..., d]) -> (y: like hidden)"},
    {"another kind", CPU("Plain", 0), "cpu", INFERENCE, 0, KN_ERR_LAYER,
     "does not match|parameter x: a float in the class", "", "(x: float) -> (y: f32 [1])"},
    {"another number of results", CPU("CopyTwo", 0), "cpu", INFERENCE, 0, KN_ERR_LAYER,
     "does not match|the class has 1 results, the kernel 2", "", NULL},
};

static const char *rule_name(uint32_t rule)
{
#define CASE(name, value, text)                                                                    \
    if (rule == (value))                                                                           \
        return text;
    KN_FALLBACK_LIST(CASE)
#undef CASE
    return "";
}

static void has_parts(const char *text, const char *parts)
{
    char buffer[512];
    snprintf(buffer, sizeof(buffer), "%s", parts);
    for (char *part = strtok(buffer, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(text, part))
            fail_msg("'%s' is not in '%s'", part, text);
}

static void try_row(world *w, const row *r, uint32_t fallback)
{
    kn_plan *plan = (kn_plan *)(uintptr_t)w;
    kn_entry entries[2] = {
        *KN_ENTRY(.layer = "Good", .device = r->device, .path = w->dir.root, .layer_name = "Both")};
    const size_t n = r->entry.device ? 2 : 1;
    entries[1] =
        *KN_ENTRY(.layer = "L", .device = r->entry.device, .capability = r->entry.range,
                  .mode = r->entry.mode, .repo_id = r->entry.repo_id,
                  .version = r->entry.repo_id ? "1" : NULL, .layer_name = r->entry.layer_name);
    if (!r->entry.repo_id)
        entries[1].path = r->entry.path ? r->entry.path : w->dir.root;
    kn_mapping *map = world_map(w, entries, n);
    kn_module *root = world_module(w, NULL, "model", NULL);
    const bool is_cpu = strcmp(r->device, "cpu") == 0;
    kn_module *first = is_cpu ? world_layer(w, root, "first", "Good") : NULL;
    kn_class *cls = world_class(w, "test.L", "L", r->signature ? r->signature : SIGNATURE);
    kn_module *last = world_module(w, root, "last", cls);
    w->n_lines = 0;
    const kn_status st =
        kn_kernelize(w->ctx, root,
                     KN_KERNELIZE_OPTIONS(.mode = r->mode, .mapping = map, .device = r->device,
                                          .fallback = fallback),
                     &plan, &w->err);
    const uint32_t set = fallback == 0                  ? KN_FALLBACK_DEFAULT
                         : fallback == KN_FALLBACK_NONE ? 0
                                                        : fallback;
    if (r->rule & set) {
        world_ok(w, st);
        const kn_record record = world_record(plan, kn_plan_count(plan) - 1);
        assert_string_equal(record.path, "last");
        assert_int_equal(record.outcome, KN_OUTCOME_FALLBACK);
        assert_int_equal(record.rule, r->rule);
        assert_int_equal(record.changed, 0);
        assert_string_equal(record.class_name, "test.L");
        assert_int_equal(record.mode, r->mode);
        has_parts(record.reason, r->reason);
        has_parts(record.admits, r->admits);
        if (!r->admits[0])
            assert_null(strstr(record.admits, "mode")); // nothing of an earlier stage
        assert_int_equal(world_ask(last), OWN);
        if (first)
            assert_int_equal(world_ask(first), KERNEL);
    } else {
        char parts[1024];
        snprintf(parts, sizeof(parts), "module last, layer L on %s: |%s|%s", r->device,
                 rule_name(r->rule), r->reason);
        world_fails(w, st, r->status, parts);
        assert_null(plan);
        assert_int_equal(w->n_lines, 0);
        plan = NULL;
        if (first)
            assert_int_equal(world_ask(first), OWN); // nothing is swapped
        assert_int_equal(kn_module_is_kernelized(last), false);
    }
    kn_plan_free(plan);
    kn_module_free(root);
    kn_class_unref(cls);
    kn_mapping_unref(map);
}

static void test_fallback_sets(void **state)
{
    (void)state;
    static const uint32_t sets[] = {0,
                                    KN_FALLBACK_NONE,
                                    KN_FALLBACK_ALL,
                                    KN_FALLBACK_NO_LAYER,
                                    KN_FALLBACK_NO_DEVICE,
                                    KN_FALLBACK_NO_COMPATIBLE_PROPERTIES,
                                    KN_FALLBACK_NO_COMPATIBLE_MODE,
                                    KN_FALLBACK_CANNOT_LOAD,
                                    KN_FALLBACK_NO_LAYER | KN_FALLBACK_CANNOT_LOAD};
    world *w = world_open("cpu:x86-64-v3,xpu");
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        for (size_t j = 0; j < KN_LEN(sets); ++j)
            try_row(w, &rows[i], sets[j]);
    }
    world_close(w);
}

// A flag that was registered, is not supported and not asked for: the kernel serves, with one warning.
static void test_unsupported_flag_warns(void **state)
{
    (void)state;
    static const struct {
        const char *layer_name;
        kn_mode registered, asked;
        const char *warning; // NULL: none
    } cases[] = {
        {"Plain", TRAINING, INFERENCE, "does not support backward. Was registered for TRAINING"},
        {"Backward", INFERENCE | TC, INFERENCE, "does not support torch.compile."},
        {"Backward", TRAINING | TC, TRAINING, "does not support torch.compile."},
        {"Compile", TRAINING | TC, INFERENCE | TC, "does not support backward."},
        {"Plain", TRAINING | TC, INFERENCE, "does not support backward and torch.compile."},
        {"Both", TRAINING | TC, INFERENCE, NULL},
        {"Plain", 0, INFERENCE, NULL},
        {"Plain", INFERENCE, INFERENCE, NULL},
    };
    world *w = world_open(NULL);
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        kn_plan *plan = NULL;
        kn_mapping *map = world_map_one(w, "L", cases[i].layer_name, cases[i].registered);
        kn_module *root = world_module(w, NULL, "model", NULL);
        kn_class *cls = world_class(w, "C", "L", SIGNATURE);
        kn_module *a = world_module(w, root, "a", cls);
        world_module(w, root, "b", cls);
        w->n_lines = 0;
        print_message("  %s\n", cases[i].layer_name);
        for (int round = 0; round < 3; ++round) {
            kn_plan_free(plan);
            world_ok(w, kn_kernelize(w->ctx, root,
                                     KN_KERNELIZE_OPTIONS(.mode = cases[i].asked, .mapping = map,
                                                          .device = "cpu"),
                                     &plan, &w->err));
        }
        assert_int_equal(world_ask(a), KERNEL);
        assert_int_equal(world_lines(w, KN_LOG_WARNING, NULL), cases[i].warning != NULL);
        assert_int_equal(world_lines(w, KN_LOG_INFO, NULL), 1);
        if (cases[i].warning) {
            assert_int_equal(world_lines(w, KN_LOG_WARNING, cases[i].warning), 1);
            bool traced = false;
            for (size_t e = 0; e < kn_trace_count(kn_plan_trace(plan, 0)); ++e)
                traced |= strstr(kn_trace_get(kn_plan_trace(plan, 0), e).reason,
                                 cases[i].warning) != NULL;
            assert_true(traced);
        }
        kn_plan_free(plan);
        kn_module_free(root);
        kn_class_unref(cls);
        kn_mapping_unref(map);
    }
    world_close(w);
}

// A second class with another signature is judged for itself, though the layer is loaded already.
static void test_each_class_is_judged(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "L", "Plain", 0);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_class *good = world_class(w, "Good", "L", SIGNATURE);
    kn_class *other = world_class(w, "Other", "L", "(z: f32 [..., d]) -> (y: like z)");
    kn_class *bare = world_class(w, "Bare", "L", NULL); // no signature: taken without comparing
    kn_module *a = world_module(w, root, "a", good), *b = world_module(w, root, "b", bare);
    const kn_kernelize_options *opts =
        KN_KERNELIZE_OPTIONS(.mode = INFERENCE, .mapping = map, .device = "cpu");
    world_ok(w, kn_kernelize(w->ctx, root, opts, NULL, &w->err));
    assert_int_equal(world_ask(a), KERNEL);
    assert_int_equal(world_ask(b), KERNEL);
    world_module(w, root, "c", other);
    world_fails(w, kn_kernelize(w->ctx, root, opts, NULL, &w->err), KN_ERR_LAYER,
                "module c|`Other`");
    assert_int_equal(world_ask(a), KERNEL); // as it was
    kn_module_free(root);
    kn_class_unref(good);
    kn_class_unref(other);
    kn_class_unref(bare);
    kn_mapping_unref(map);
    world_close(w);
}

// A library that lacks a function of its layers.
static void test_missing_function(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    package_dir broken;
    world_package(&broken, ", \"Absent\": {\"signature\": \"" SIGNATURE
                           "\", \"forward\": \"no_such_function(y, x)\"}");
    kn_mapping *map = world_map(
        w, KN_ENTRY(.layer = "L", .device = "cpu", .path = broken.root, .layer_name = "Plain"), 1);
    kn_module *m = world_layer(w, NULL, "model", "L");
    world_fails(
        w,
        kn_kernelize(w->ctx, m,
                     KN_KERNELIZE_OPTIONS(.mode = INFERENCE, .mapping = map, .device = "cpu"), NULL,
                     &w->err),
        KN_ERR_INCOMPATIBLE, "module (root), layer L on cpu: CANNOT_LOAD|no_such_function");
    kn_module_free(m);
    kn_mapping_unref(map);
    package_remove(&broken);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fallback_sets),
        cmocka_unit_test(test_unsupported_flag_warns),
        cmocka_unit_test(test_each_class_is_judged),
        cmocka_unit_test(test_missing_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
