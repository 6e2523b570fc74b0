// Plans as data: records, text, JSON, digest.
#include <jansson.h>

#include "kernelize/world.h"

#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mapping = map, .device = "cpu", __VA_ARGS__)
#define INFERENCE KN_MODE_INFERENCE

static kn_mapping *make_map(world *w)
{
    const kn_entry entries[] = {
        *KN_ENTRY(.layer = "A", .device = "cpu", .path = w->dir.root, .layer_name = "Both"),
        *KN_ENTRY(.layer = "B", .device = "cpu", .path = w->dir.root, .layer_name = "Plain",
                  .mode = INFERENCE)};
    return world_map(w, entries, 2);
}

// A plan of modules at these paths, of the layer after each '='.
static kn_plan *plan_of(world *w, const char *const *modules, size_t n, const kn_mapping *map,
                        uint32_t flags)
{
    kn_plan *plan = NULL;
    kn_class *classes[3];
    static const char *const layers[] = {"A", "B", "C"};
    kn_module *root = NULL;
    for (size_t i = 0; i < 3; ++i)
        classes[i] = world_class(w, "C", layers[i], SIGNATURE);
    root = world_module(w, NULL, "model", strcmp(modules[0], "=A") == 0 ? classes[0] : NULL);
    for (size_t i = 0; i < n; ++i) {
        char name[512];
        const char *at = strrchr(modules[i], '=');
        if (at == modules[i])
            continue; // the root
        snprintf(name, sizeof(name), "%.*s", (int)(at - modules[i]), modules[i]);
        world_module(w, root, name, classes[at[1] - 'A']);
    }
    world_ok(
        w, kn_kernelize(w->ctx, root, OPTIONS(.mode = INFERENCE, .flags = flags), &plan, &w->err));
    kn_module_free(root);
    for (size_t i = 0; i < 3; ++i)
        kn_class_unref(classes[i]);
    return plan; // which outlives its model
}

// The text with everything after a name's column cut, and the summary left out.
static void shorten(const char *text, char *out, size_t size)
{
    size_t n = 0;
    const char *line = strchr(text, '\n');
    assert_non_null(line);
    for (++line; *line;) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        size_t name = 0; // ends before two spaces that are no indentation
        while (line[name] == ' ')
            ++name;
        while (line + name < end && !(line[name] == ' ' && line[name + 1] == ' '))
            ++name;
        n += (size_t)snprintf(out + n, size - n, "%.*s|", (int)name, line);
        line = end + 1;
    }
}

static void test_folding(void **state)
{
    (void)state;
    static const struct {
        const char *name, *modules[10], *text;
    } cases[] = {
        {"a run", {"l.0.a=A", "l.1.a=A", "l.2.a=A"}, "l.0 … 2.a|"},
        {"two in each", {"l.0.a=A", "l.0.b=B", "l.1.a=A", "l.1.b=B"}, "l.0 … 1|  a|  b|"},
        {"one differs",
         {"l.0.a=A", "l.1.a=A", "l.2.a=B", "l.3.a=A", "l.4.a=A"},
         "l|  0 … 1.a|  2.a|  3 … 4.a|"},
        {"another name", {"l.0.a=A", "l.1.b=A"}, "l|  0.a|  1.b|"},
        {"a gap", {"l.0.a=A", "l.2.a=A", "l.3.a=A"}, "l|  0.a|  2 … 3.a|"},
        {"only numbers fold", {"a=A", "b=A"}, "a|b|"},
        {"numbers themselves", {"0=A", "1=A", "2=B"}, "0 … 1|2|"},
        {"leading zeros are names", {"00=A", "01=A"}, "00|01|"},
        {"nine and ten", {"9.a=A", "10.a=A"}, "9 … 10.a|"},
        {"descending", {"1.a=A", "0.a=A"}, "1.a|0.a|"},
        {"nested runs", {"l.0.e.0=A", "l.0.e.1=A", "l.1.e.0=A", "l.1.e.1=A"}, "l.0 … 1.e.0 … 1|"},
        {"parents count", {"l.0=A", "l.0.x=B", "l.1=A", "l.1.x=B"}, "l.0 … 1|  x|"},
        {"a parent that differs",
         {"l.0=A", "l.0.x=B", "l.1=B", "l.1.x=B"},
         "l|  0|    x|  1|    x|"},
        {"the root", {"=A", "x=A"}, "(root)|x|"},
        {"a name that comes again", {"a.x=A", "b=A", "a.y=A"}, "a.x|b|a.y|"},
    };
    world *w = world_open(NULL);
    kn_mapping *map = make_map(w);
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        char text[1024];
        size_t n = 0;
        while (n < 10 && cases[i].modules[n])
            ++n;
        print_message("  %s\n", cases[i].name);
        kn_plan *plan = plan_of(w, cases[i].modules, n, map, 0);
        assert_ptr_equal(kn_plan_text(plan), kn_plan_text(plan)); // made once
        shorten(kn_plan_text(plan), text, sizeof(text));
        assert_string_equal(text, cases[i].text);
        kn_plan_free(plan);
    }
    kn_mapping_unref(map);
    world_close(w);
}

static void test_text(void **state)
{
    (void)state;
    static const char *const modules[] = {"l.0.a=A", "l.1.a=A", "b=B", "c=C"};
    char expected[2048];
    world *w = world_open("cpu:x86-64-v3");
    kn_mapping *map = make_map(w);
    kn_plan *plan = plan_of(w, modules, 4, map, 0);
    snprintf(expected, sizeof(expected),
             "A on cpu (3) → %s, layer Both, " PACKAGE_VARIANT ", registered for FALLBACK\n",
             w->dir.root);
    const char *text = kn_plan_text(plan);
    static const char summary[] =
        "4 extensible modules for INFERENCE: 3 with a kernel, 1 with their own forward\n";
    assert_memory_equal(text, summary, sizeof(summary) - 1);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "registered for INFERENCE\n"));
    assert_non_null(
        strstr(text, "C on cpu (3): its own forward: NO_LAYER: No layer mapping for `C` (would "
                     "be admitted by a mapping entry for layer C on cpu)\n"));
    kn_plan_free(plan);
    plan = plan_of(w, modules, 3, map, KN_KERNELIZE_NO_RESOLVE);
    assert_non_null(strstr(kn_plan_text(plan), ": 3 with a repository\n"));
    kn_plan_free(plan);

    // A path deeper than levels are made for, and a name as long as one may be.
    char deep[700] = "";
    for (int i = 0; i < 150; ++i)
        strcat(deep, i ? ".d" : "d");
    strcat(deep, "=A");
    const char *const one[] = {deep};
    plan = plan_of(w, one, 1, map, 0);
    assert_non_null(strstr(kn_plan_text(plan), "d.d.d"));
    kn_plan_free(plan);
    assert_string_equal(kn_plan_text(NULL), "");
    kn_mapping_unref(map);
    world_close(w);
}

static void test_digest(void **state)
{
    (void)state;
    static const char *const modules[] = {"a=A", "b=B"}, *const moved[] = {"a=A", "c=B"},
                             *const other[] = {"a=A", "b=C"};
    world *w = world_open("cpu:x86-64-v3"), *v2 = world_open("cpu:x86-64-v2");
    kn_mapping *map = make_map(w);
    kn_plan *same[2], *different[6];
    for (int i = 0; i < 2; ++i)
        same[i] = plan_of(w, modules, 2, map, 0);
    different[0] = plan_of(w, moved, 2, map, 0);
    different[1] = plan_of(w, other, 2, map, 0);
    different[2] = plan_of(w, modules, 1, map, 0);
    different[3] = plan_of(w, modules, 2, map, KN_KERNELIZE_NO_RESOLVE);
    different[4] = plan_of(v2, modules, 2, map, 0);
    // Another version of a repository that nobody has resolved.
    kn_mapping *hub[2];
    for (int i = 0; i < 2; ++i)
        hub[i] = world_map(
            w,
            KN_ENTRY(.layer = "A", .device = "cpu", .repo_id = "o/n", .version = i ? ">=2" : ">=1"),
            1);
    different[5] = plan_of(w, modules, 2, hub[0], KN_KERNELIZE_NO_RESOLVE);
    kn_plan *version = plan_of(w, modules, 2, hub[1], KN_KERNELIZE_NO_RESOLVE);
    assert_string_not_equal(kn_plan_digest(different[5]), kn_plan_digest(version));
    kn_plan_free(version);
    assert_int_equal(strlen(kn_plan_digest(same[0])), 64);
    assert_int_equal(strspn(kn_plan_digest(same[0]), "0123456789abcdef"), 64);
    assert_string_equal(kn_plan_digest(same[0]), kn_plan_digest(same[1]));
    for (size_t i = 0; i < KN_LEN(different); ++i) {
        assert_string_not_equal(kn_plan_digest(different[i]), kn_plan_digest(same[0]));
        for (size_t j = 0; j < i; ++j)
            assert_string_not_equal(kn_plan_digest(different[i]), kn_plan_digest(different[j]));
    }
    for (size_t i = 0; i < KN_LEN(different); ++i)
        kn_plan_free(different[i]);
    assert_string_equal(kn_plan_digest(NULL), "");
    kn_plan_free(same[0]);
    kn_plan_free(same[1]);
    kn_mapping_unref(map);
    kn_mapping_unref(hub[0]);
    kn_mapping_unref(hub[1]);
    world_close(w);
    world_close(v2);
}

static void test_records(void **state)
{
    (void)state;
    static const char *const modules[] = {"a=A", "c=C"};
    world *w = world_open(NULL);
    kn_mapping *map = make_map(w);
    kn_plan *plan = plan_of(w, modules, 2, map, 0);
    kn_record r = {.struct_size = sizeof(r)};
    world_fails(w, kn_plan_get(plan, 2, &r, &w->err), KN_ERR_INVALID, "record 2; there are 2");
    world_fails(w, kn_plan_get(NULL, 0, &r, &w->err), KN_ERR_INVALID, "there are 0");
    world_fails(w, kn_plan_get(plan, 0, NULL, &w->err), KN_ERR_INVALID, "struct_size");
    world_fails(w, kn_plan_get(plan, 0, &(kn_record){.struct_size = 0}, &w->err), KN_ERR_INVALID,
                "struct_size");
    // A program that knows fewer fields gets those, and no byte more.
    kn_record small;
    memset(&small, 0x5A, sizeof(small));
    small.struct_size = offsetof(kn_record, device);
    world_ok(w, kn_plan_get(plan, 0, &small, &w->err));
    assert_string_equal(small.layer, "A");
    assert_int_equal(small.struct_size, offsetof(kn_record, device));
    assert_int_equal(((unsigned char *)&small)[offsetof(kn_record, device)], 0x5A);
    assert_int_equal(kn_plan_count(NULL), 0);
    assert_int_equal(kn_plan_outcome_count(NULL, KN_OUTCOME_KERNEL), 0);
    assert_null(kn_plan_trace(plan, 2));
    assert_null(kn_plan_trace(NULL, 0));
    assert_int_equal(kn_plan_fallback_count(plan, 0, KN_MISMATCH_DTYPE), 0);
    // The steps: the mapping, the mode, where it was found, its files and code, the layer.
    const kn_trace *trace = kn_plan_trace(plan, 0);
    const size_t n = kn_trace_count(trace);
    assert_true(n >= 5);
    assert_string_equal(kn_trace_get(trace, 0).stage, "mapping");
    assert_string_equal(kn_trace_get(trace, n - 1).stage, "layer");
    assert_true(kn_trace_get(trace, n - 1).accepted);
    assert_non_null(strstr(kn_trace_get(trace, n - 1).reason, "serves `A` by scale"));
    assert_false(kn_trace_get(kn_plan_trace(plan, 1), 0).accepted);
    assert_string_equal(kn_outcome_text(KN_OUTCOME_LEFT), "left alone");
    assert_non_null(kn_outcome_text((kn_outcome)99));
    kn_plan_free(plan);
    kn_plan_free(NULL);
    kn_mapping_unref(map);
    world_close(w);
}

// The JSON says what the records say.
static void is_text(const json_t *object, const char *key, const char *expected)
{
    const json_t *value = json_object_get(object, key);
    if (!value ||
        (expected[0] ? !json_is_string(value) || strcmp(json_string_value(value), expected)
                     : !json_is_null(value)))
        fail_msg("%s is not '%s'", key, expected);
}

static void is_mode(const json_t *object, const char *key, kn_mode mode)
{
    char text[KN_MODE_TEXT_SIZE] = "";
    is_text(object, key, mode ? kn_mode_text(mode, text) : "");
}

static void compare_json(world *w, kn_plan *plan, bool of_layers)
{
    char *text = NULL;
    world_ok(w, kn_plan_json(plan, &text, &w->err));
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    const json_t *records = json_object_get(root, of_layers ? "layers" : "modules");
    assert_int_equal(json_array_size(records), kn_plan_count(plan));
    assert_int_equal(json_object_size(root), of_layers ? 1 : 4);
    if (!of_layers) {
        is_text(root, "digest", kn_plan_digest(plan));
        const json_t *counts = json_object_get(root, "counts");
#define COUNT(name, value, text)                                                                   \
    assert_int_equal(json_integer_value(json_object_get(counts, text)),                            \
                     kn_plan_outcome_count(plan, name));
        KN_OUTCOME_LIST(COUNT)
#undef COUNT
    }
    for (size_t i = 0; i < kn_plan_count(plan); ++i) {
        const json_t *o = json_array_get(records, i);
        const kn_record r = world_record(plan, i);
        is_text(o, "layer", r.layer);
        is_text(o, "device", kn_device_type_name(r.device));
        is_text(o, "repository", r.repository);
        is_text(o, "revision", r.revision);
        is_text(o, "variant", r.variant);
        is_text(o, "layer_name", r.layer_name);
        is_text(o, "outcome", kn_outcome_text(r.outcome));
        is_text(o, "reason", r.reason);
        is_text(o, "admits", r.admits);
        is_mode(o, "mode", r.mode);
        is_mode(o, "mode_used", r.mode_used);
        const json_t *capability = json_object_get(o, "capability");
        assert_true(r.capability < 0 ? json_is_null(capability)
                                     : json_integer_value(capability) == r.capability);
        assert_int_equal(json_is_null(json_object_get(o, "rule")), r.rule == 0);
        assert_int_equal(json_array_size(json_object_get(o, "trace")),
                         kn_trace_count(kn_plan_trace(plan, i)));
        assert_int_equal(json_object_get(o, "changed") != NULL, !of_layers);
        assert_int_equal(json_object_get(o, "class") != NULL, !of_layers);
        if (of_layers)
            continue;
        assert_string_equal(json_string_value(json_object_get(o, "path")), r.path);
        assert_int_equal(json_integer_value(json_object_get(o, "device_index")), r.device_index);
        assert_int_equal(json_is_true(json_object_get(o, "changed")), r.changed);
    }
    json_decref(root);
    kn_string_free(text);
}

static void test_json(void **state)
{
    (void)state;
    static const char *const modules[] = {"a.0=A", "a.1=A", "b=B", "c=C"};
    world *w = world_open(NULL);
    kn_mapping *map = make_map(w);
    for (uint32_t flags = 0; flags <= KN_KERNELIZE_NO_RESOLVE; ++flags) {
        kn_plan *plan = plan_of(w, modules, 4, map, flags);
        compare_json(w, plan, false);
        kn_plan_free(plan);
    }
    kn_plan *plan = NULL;
    world_ok(w, kn_explain(w->ctx, NULL, 0, OPTIONS(.mode = INFERENCE), &plan, &w->err));
    compare_json(w, plan, true);
    kn_plan_free(plan);
    char *text = NULL;
    world_fails(w, kn_plan_json(NULL, &text, &w->err), KN_ERR_INVALID, "plan");
    plan = plan_of(w, modules, 1, map, 0);
    world_fails(w, kn_plan_json(plan, NULL, &w->err), KN_ERR_INVALID, "room");
    kn_plan_free(plan);
    kn_mapping_unref(map);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folding), cmocka_unit_test(test_text), cmocka_unit_test(test_digest),
        cmocka_unit_test(test_records), cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
