// What is asked for: options that are refused, the device of each module, the variable that turns kernels off.
#include "kernelize/world.h"

#define INFERENCE KN_MODE_INFERENCE
#define TRAINING KN_MODE_TRAINING
#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mapping = map, .device = "cpu", __VA_ARGS__)

// Whose device counts, with a capability for each: two GPUs that differ and a CPU, of which none is here.
static void test_mixed_devices(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        DLDeviceType type; // 0: no tensors of its own
        int32_t index;
        const char *repo; // expected; NULL: NO_COMPATIBLE_PROPERTIES
        kn_device_type device;
        int64_t capability;
    } modules[] = {
        {"a", 0, 0, "o/hopper", KN_DEVICE_CUDA, 90}, // the model's first: that of b
        {"b", kDLCUDA, 0, "o/hopper", KN_DEVICE_CUDA, 90},
        {"c", kDLCUDA, 1, "o/ampere", KN_DEVICE_CUDA, 80},
        {"c.child", 0, 0, "o/ampere", KN_DEVICE_CUDA, 80}, // its ancestor's
        {"c.other", kDLCPU, 0, "o/cpu", KN_DEVICE_CPU, 3},
        {"c.other.leaf", 0, 0, "o/cpu", KN_DEVICE_CPU, 3},
        {"c.last", 0, 0, "o/ampere", KN_DEVICE_CUDA, 80}, // not its sibling's
        {"d", kDLCUDAManaged, 0, "o/hopper", KN_DEVICE_CUDA, 90},
        {"e", kDLCUDAHost, 0, "o/cpu", KN_DEVICE_CPU, 3}, // pinned memory of the host
        {"f", kDLCUDA, 7, NULL, KN_DEVICE_CUDA, -1},      // no such device: capability unknown
        {"g", 0, 0, "o/hopper", KN_DEVICE_CUDA, 90},
    };
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "L", .device = "cuda", .capability = KN_RANGE(90, 90),
                  .repo_id = "o/hopper"),
        *KN_ENTRY(.layer = "L", .device = "cuda", .capability = KN_RANGE(75, 89),
                  .repo_id = "o/ampere"),
        *KN_ENTRY(.layer = "L", .device = "cpu", .repo_id = "o/cpu"),
    };
    world *w = world_open("cuda:9.0,cuda:8.0,cpu:x86-64-v3");
    kn_mapping *map = world_map(w, entries, KN_LEN(entries));
    kn_class *cls = world_class(w, "C", "L", SIGNATURE);
    kn_module *root = world_module(w, NULL, "model", NULL);
    kn_plan *plan = NULL;
    for (size_t i = 0; i < KN_LEN(modules); ++i) {
        const char *dot = strrchr(modules[i].path, '.');
        char parent[32] = "";
        if (dot)
            memcpy(parent, modules[i].path, (size_t)(dot - modules[i].path));
        kn_module *m =
            world_module(w, kn_module_find(root, parent), dot ? dot + 1 : modules[i].path, cls);
        if (modules[i].type)
            world_place(w, m, modules[i].type, modules[i].index);
    }
    world_ok(w, kn_kernelize(w->ctx, root,
                             KN_KERNELIZE_OPTIONS(.mode = INFERENCE, .mapping = map,
                                                  .flags = KN_KERNELIZE_NO_RESOLVE),
                             &plan, &w->err));
    assert_int_equal(kn_plan_count(plan), KN_LEN(modules));
    for (size_t i = 0; i < KN_LEN(modules); ++i) {
        const kn_record r = world_record(plan, i);
        print_message("  %s\n", r.path);
        assert_string_equal(r.path, modules[i].path);
        assert_string_equal(r.repository, modules[i].repo ? modules[i].repo : "");
        assert_int_equal(r.device, modules[i].device);
        assert_int_equal(r.capability, modules[i].capability);
        assert_int_equal(r.outcome, modules[i].repo ? KN_OUTCOME_REFERENCE : KN_OUTCOME_FALLBACK);
    }
    kn_plan_free(plan);

    // The option decides for all; the module's own index counts for the same type.
    static const struct {
        const char *device;
        int32_t b, c, other; // index of the device
        int64_t c_capability;
    } asked[] = {{"cuda", 0, 1, 0, 80},
                 {"cuda:1", 1, 1, 1, 80},
                 {"cuda:0", 0, 0, 0, 90},
                 {"cpu", 0, 0, 0, 3}};
    for (size_t i = 0; i < KN_LEN(asked); ++i) {
        print_message("  %s\n", asked[i].device);
        world_ok(w, kn_kernelize(w->ctx, root,
                                 KN_KERNELIZE_OPTIONS(.mode = INFERENCE, .mapping = map,
                                                      .device = asked[i].device,
                                                      .flags = KN_KERNELIZE_NO_RESOLVE),
                                 &plan, &w->err));
        assert_int_equal(world_record(plan, 1).device_index, asked[i].b);
        assert_int_equal(world_record(plan, 2).device_index, asked[i].c);
        assert_int_equal(world_record(plan, 2).capability, asked[i].c_capability);
        assert_int_equal(world_record(plan, 4).device_index, asked[i].other);
        kn_plan_free(plan);
    }
    kn_module_free(root);
    kn_class_unref(cls);
    kn_mapping_unref(map);
    world_close(w);
}

static void test_refused_options(void **state)
{
    (void)state;
    static const char *const with_null[] = {"A", NULL};
    static const struct {
        const char *name;
        kn_kernelize_options opts;
        const char *text;
    } cases[] = {
        {"no mode", {0}, "mode"},
        {"fallback is no request", {.mode = KN_MODE_FALLBACK}, "register kernel mappings"},
        {"only compile", {.mode = KN_MODE_TORCH_COMPILE}, "mode must contain"},
        {"both", {.mode = INFERENCE | TRAINING}, "mutually exclusive|Unsupported mode"},
        {"unknown fallback", {.mode = INFERENCE, .fallback = 64}, "fallback set 0x40"},
        {"none and more",
         {.mode = INFERENCE, .fallback = KN_FALLBACK_NONE | KN_FALLBACK_NO_LAYER},
         "KN_FALLBACK_NONE stands alone"},
        {"unknown flags", {.mode = INFERENCE, .flags = 8}, "unknown flags 0x8"},
        {"unknown device", {.mode = INFERENCE, .device = "gpu"}, "gpu"},
        {"empty device", {.mode = INFERENCE, .device = ""}, "Unsupported device type ''."},
        {"no index", {.mode = INFERENCE, .device = "cuda:"}, "after the colon an index"},
        {"negative index", {.mode = INFERENCE, .device = "cuda:-1"}, "after the colon an index"},
        {"a capability", {.mode = INFERENCE, .device = "cuda:9.0"}, "KERNELS_DEVICE"},
        {"large index", {.mode = INFERENCE, .device = "cuda:99999999999"}, "an index"},
        {"long type",
         {.mode = INFERENCE, .device = "a-device-type-of-more-than-thirty-two-bytes:1"},
         "a device type is expected"},
        {"list missing", {.mode = INFERENCE, .n_layers = 1}, "1 layers, but the list is NULL"},
        {"NULL in a list",
         {.mode = INFERENCE, .layers = with_null, .n_layers = 2},
         "layers[1] is NULL"},
        {"NULL path", {.mode = INFERENCE, .paths = with_null, .n_paths = 2}, "paths[1] is NULL"},
    };
    world *w = world_open(NULL);
    kn_module *root = world_layer(w, NULL, "model", "A");
    kn_plan *plan = (kn_plan *)(uintptr_t)w;
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        kn_kernelize_options opts = cases[i].opts;
        char text[64];
        opts.struct_size = sizeof(opts);
        print_message("  %s\n", cases[i].name);
        snprintf(text, sizeof(text), "%s", cases[i].text);
        if (strchr(text, '|'))
            *strchr(text, '|') = '\0'; // the first alternative
        plan = (kn_plan *)(uintptr_t)w;
        const kn_status st = kn_kernelize(w->ctx, root, &opts, &plan, &w->err);
        if (st == KN_ERR_INVALID && !strstr(kn_error_text(&w->err), text) &&
            strchr(cases[i].text, '|'))
            snprintf(text, sizeof(text), "%s", strchr(cases[i].text, '|') + 1);
        world_fails(w, st, KN_ERR_INVALID, text);
        assert_null(plan);
    }
    world_fails(w, kn_kernelize(w->ctx, root, NULL, NULL, &w->err), KN_ERR_INVALID, "options");
    world_fails(
        w, kn_kernelize(w->ctx, root, &(kn_kernelize_options){.mode = INFERENCE}, NULL, &w->err),
        KN_ERR_INVALID, "options");
    world_fails(w, kn_kernelize(NULL, root, KN_KERNELIZE_OPTIONS(.mode = INFERENCE), NULL, &w->err),
                KN_ERR_INVALID, "context");
    world_fails(w,
                kn_kernelize(w->ctx, NULL, KN_KERNELIZE_OPTIONS(.mode = INFERENCE), NULL, &w->err),
                KN_ERR_INVALID, "model");
    // A model without a tensor, and no device given.
    world_fails(w,
                kn_kernelize(w->ctx, root, KN_KERNELIZE_OPTIONS(.mode = INFERENCE), NULL, &w->err),
                KN_ERR_INVALID, "Cannot determine model device");
    kn_module_free(root);
    world_close(w);
}

static void test_disabled(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool disables;
    } cases[] = {{"1", true},  {"true", true}, {"yes", true},   {"", false},
                 {"0", false}, {"off", false}, {"False", false}};
    world *w = world_open(NULL);
    kn_mapping *map = world_map_one(w, "A", "Plain", 0);
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        print_message("  '%s'\n", cases[i].value);
        kn_module *root = world_layer(w, NULL, "model", "A");
        kn_plan *plan = NULL;
        world_ok(w, kn_kernelize(w->ctx, root, OPTIONS(.mode = INFERENCE), NULL, &w->err));
        w->n_lines = 0;
        setenv("DISABLE_KERNEL_MAPPING", cases[i].value, 1); // read at each call
        world_ok(w, kn_kernelize(w->ctx, root,
                                 OPTIONS(.mode = INFERENCE, .fallback = KN_FALLBACK_DEFAULT), &plan,
                                 &w->err));
        unsetenv("DISABLE_KERNEL_MAPPING");
        assert_int_equal(world_ask(root), cases[i].disables ? OWN : KERNEL);
        assert_int_equal(world_lines(w, KN_LOG_WARNING, NULL), 0);
        if (cases[i].disables) {
            assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_FALLBACK), 1);
            assert_string_equal(world_record(plan, 0).reason, "DISABLE_KERNEL_MAPPING is set");
            assert_int_equal(world_record(plan, 0).rule, 0);
            assert_int_equal(world_record(plan, 0).changed, 1);
        }
        kn_plan_free(plan);
        kn_module_free(root);
    }
    kn_mapping_unref(map);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_devices),
        cmocka_unit_test(test_refused_options),
        cmocka_unit_test(test_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
