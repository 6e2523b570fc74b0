// Kernelize over a host with a say on layers: what it is asked, and what becomes of each answer.
#include "support/fail_alloc.h"

#include "kernelize/world.h"

static const kn_framework torch_213 = {sizeof(kn_framework), 2, 13, "cxx11"};

// A model of one module, of a framework that loads layers of its own.
typedef struct loader {
    kn_status refuses; // what `load` answers, with `text`
    const char *text;
    kn_host_layer says;
    bool without_load;
    // what it was asked, and what was prepared
    size_t loads, prepared, commits;
    bool had_kernel, had_layer;
    void *object;
    char layer_name[64], candidate_text[256];
    kn_host_kernel kernel;
    char repository[256], revision[64], variant[64], kernel_text[256], kernel_layer[64];
} loader;

static kn_status walk(void *user, kn_host_visit_fn visit, void *data, kn_error *err)
{
    const kn_host_module m = {
        .module = user, .cls = user, .device = KN_DEVICE_CUDA, .extensible = 1};
    return visit(&m, data, err);
}

static kn_status walk_cpu(void *user, kn_host_visit_fn visit, void *data, kn_error *err)
{
    const kn_host_module m = {
        .module = user, .cls = user, .device = KN_DEVICE_CPU, .extensible = 1};
    return visit(&m, data, err);
}

static kn_status describe(void *user, void *cls, kn_host_class *out, kn_error *err)
{
    (void)user, (void)cls, (void)err;
    out->name = "Class";
    out->layer = "L";
    return KN_OK;
}

static size_t path(void *user, void *module, char *out, size_t size)
{
    (void)user, (void)module;
    return (size_t)snprintf(out, size, "m");
}

static kn_host_state state_of(void *user, void *module, void **binding)
{
    (void)user, (void)module;
    *binding = NULL;
    return KN_HOST_OWN;
}

static kn_status prepare(void *user, void *cls, const kn_host_kernel *kernel, void **binding,
                         kn_error *err)
{
    loader *l = user;
    (void)cls, (void)err;
    ++l->prepared;
    l->kernel = *kernel;
    snprintf(l->repository, sizeof(l->repository), "%s", kernel->repository);
    snprintf(l->revision, sizeof(l->revision), "%s", kernel->revision);
    snprintf(l->variant, sizeof(l->variant), "%s", kernel->variant);
    snprintf(l->kernel_text, sizeof(l->kernel_text), "%s", kernel->text);
    snprintf(l->kernel_layer, sizeof(l->kernel_layer), "%s", kernel->layer_name);
    *binding = l;
    return KN_OK;
}

static void commit(void *user, void *module, void *binding)
{
    loader *l = user;
    (void)module, (void)binding;
    ++l->commits;
}

static kn_status load(void *user, void *cls, const kn_host_candidate *candidate, kn_host_layer *out,
                      kn_error *err)
{
    loader *l = user;
    assert_ptr_equal(cls, l);
    assert_int_equal(candidate->struct_size, sizeof(*candidate));
    assert_int_equal(out->struct_size, sizeof(*out));
    ++l->loads;
    l->had_kernel = candidate->kernel != NULL;
    l->had_layer = candidate->layer != NULL;
    l->object = candidate->reference->object;
    snprintf(l->layer_name, sizeof(l->layer_name), "%s", candidate->layer_name);
    snprintf(l->candidate_text, sizeof(l->candidate_text), "%s", candidate->text);
    if (l->refuses)
        return kn_error_set(err, l->refuses, "%s", l->text);
    const size_t size = out->struct_size;
    *out = l->says;
    out->struct_size = size;
    return KN_OK;
}

static void hold(void *data)
{
    (void)data;
}

static kn_host table_of(loader *l, const kn_entry *entry)
{
    return (kn_host){.struct_size = sizeof(kn_host),
                     .walk = strcmp(entry->device, "cpu") == 0 ? walk_cpu : walk,
                     .describe = describe,
                     .path = path,
                     .state = state_of,
                     .prepare = prepare,
                     .commit = commit,
                     .user = l,
                     .framework = &torch_213,
                     .load = l->without_load ? NULL : load};
}

static int thing;

// On a device that is not here: only the host knows of it, and of its own repositories.
#define HOST                                                                                       \
    .struct_size = sizeof(kn_entry), .layer = "L", .device = "cuda",                               \
    .object = {&thing, hold, hold}, .label = "Mine(\"x\")"
#define NATIVE(name_)                                                                              \
    .struct_size = sizeof(kn_entry), .layer = "L", .device = "cpu",                                \
    .layer_name = name_ // its path is the package's
#define HOSTED                                                                                     \
    .struct_size = sizeof(kn_entry), .layer = "L", .device = "cpu",                                \
    .layer_name = "Hosted" // of the package that is imported
#define GIVES .hosted = &thing

// A package of Python that the host imports.
static void make_hosted(package_dir *out, const char *variant, const char *members)
{
    char dir[PACKAGE_PATH_MAX];
    package_root(out);
    snprintf(dir, sizeof(dir), "%s/build/%s", out->root, variant);
    package_text(dir, "__init__.py", "x = 1\n");
    package_seal(dir, members);
}

static void test_answers(void **state)
{
    static const struct {
        const char *name;
        kn_entry entry;
        loader answers;
        kn_mode mode;
        uint32_t fallback;
        kn_outcome outcome; // ERROR: kernelize fails with `status`
        kn_status status;
        uint32_t rule;
        const char *reason;  // a part of the reason, or of the error
        const char *warning; // a part of a line
        size_t loads;
    } rows[] = {
        {"a host's layer",
         {HOST},
         {.says = {GIVES}},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"strict",
         {HOST},
         {.says = {GIVES}},
         KN_MODE_INFERENCE,
         KN_FALLBACK_NONE,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"it contradicts the class",
         {HOST},
         {.refuses = KN_ERR_LAYER, .text = "two inputs, one"},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_ERROR,
         KN_ERR_LAYER,
         0,
         "module m, layer L on cuda: two inputs, one",
         NULL,
         1},
        {"it cannot be imported",
         {HOST},
         {.refuses = KN_ERR_LOAD, .text = "ImportError: no x"},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_ERROR,
         KN_ERR_LOAD,
         0,
         "CANNOT_LOAD: ImportError: no x",
         NULL,
         1},
        {"that is admitted",
         {HOST},
         {.refuses = KN_ERR_LOAD, .text = "ImportError: no x"},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "ImportError: no x",
         NULL,
         1},
        {"no layer came",
         {HOST},
         {.text = ""},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "the host gave no layer",
         NULL,
         1},
        {"a host without load",
         {HOST},
         {.without_load = true},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "takes native layers alone",
         NULL,
         0},
        {"no backward",
         {HOST},
         {.says = {GIVES}},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_NO_COMPATIBLE_MODE,
         "it has no backward",
         NULL,
         1},
        {"backward",
         {HOST},
         {.says = {GIVES, .has_backward = 1}},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"no compile",
         {HOST},
         {.says = {GIVES, .has_backward = 1}},
         KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE,
         0,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_NO_COMPATIBLE_MODE,
         "it has no torch.compile",
         NULL,
         1},
        {"compile",
         {HOST},
         {.says = {GIVES, .can_torch_compile = 1}},
         KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"registered for more than it can",
         {HOST, .mode = KN_MODE_TRAINING},
         {.says = {GIVES}},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_ERROR,
         KN_ERR_LAYER,
         0,
         "does not support backward. Was registered for TRAINING",
         NULL,
         1},
        {"a warning",
         {HOST},
         {.says = {GIVES, .warning = "it is old"}},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         "it is old",
         1},
        {"two warnings",
         {HOST, .mode = KN_MODE_TRAINING},
         {.says = {GIVES, .warning = "it is old"}},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         "it is old; Layer `Mine(\"x\")`, layer `L` does not support backward",
         1},
        {"a native layer",
         {NATIVE("Backward")},
         {.text = ""},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"the package says what a native one can",
         {NATIVE("Plain")},
         {.says = {GIVES, .has_backward = 1}},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_NO_COMPATIBLE_MODE,
         "it has no backward",
         NULL,
         1},
        {"a native one contradicts the class",
         {NATIVE("Plain")},
         {.refuses = KN_ERR_LAYER, .text = "forward takes y"},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_ERROR,
         KN_ERR_LAYER,
         0,
         "forward takes y",
         NULL,
         1},
        {"a native one without load",
         {NATIVE("Plain")},
         {.without_load = true},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         0},
        {"a native one is not there",
         {NATIVE("None")},
         {.text = ""},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "None",
         NULL,
         0},
        {"a hosted layer",
         {HOSTED},
         {.says = {GIVES}},
         KN_MODE_INFERENCE,
         0,
         KN_OUTCOME_KERNEL,
         KN_OK,
         0,
         "",
         NULL,
         1},
        {"a hosted one has no backward",
         {HOSTED},
         {.says = {GIVES}},
         KN_MODE_TRAINING,
         0,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_NO_COMPATIBLE_MODE,
         "it has no backward",
         NULL,
         1},
        {"a hosted one contradicts the class",
         {HOSTED},
         {.refuses = KN_ERR_LAYER, .text = "forward takes y"},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_ERROR,
         KN_ERR_LAYER,
         0,
         "forward takes y",
         NULL,
         1},
        {"a hosted one cannot be imported",
         {HOSTED},
         {.refuses = KN_ERR_LOAD, .text = "ImportError: no x"},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "ImportError: no x",
         NULL,
         1},
        {"a hosted one without load",
         {HOSTED},
         {.without_load = true},
         KN_MODE_INFERENCE,
         KN_FALLBACK_ALL,
         KN_OUTCOME_FALLBACK,
         KN_OK,
         KN_FALLBACK_CANNOT_LOAD,
         "takes native layers alone",
         NULL,
         0},
    };
    package_dir hosted;
    (void)state;
    make_hosted(&hosted, "torch-cpu", "");
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        for (int dry = 0; dry < 2; ++dry) {
            world *w = world_open(NULL);
            loader l = rows[i].answers;
            kn_entry entry = rows[i].entry;
            const bool is_own = entry.object.data;
            const bool is_hosted = !is_own && strcmp(entry.layer_name, "Hosted") == 0;
            const bool is_native = !is_own && !is_hosted;
            if (!is_own)
                entry.path = is_native ? w->dir.root : hosted.root;
            const kn_host host = table_of(&l, &entry);
            kn_mapping *map = world_map(w, &entry, 1);
            kn_plan *plan = NULL;
            print_message("  %s%s\n", rows[i].name, dry ? ", dry" : "");
            const kn_status st =
                kn_kernelize_host(w->ctx, &host,
                                  KN_KERNELIZE_OPTIONS(.mode = rows[i].mode, .mapping = map,
                                                       .fallback = rows[i].fallback,
                                                       .flags = dry ? KN_KERNELIZE_DRY_RUN : 0),
                                  &plan, &w->err);
            assert_int_equal(l.loads, rows[i].loads);
            const bool is_bound = rows[i].outcome == KN_OUTCOME_KERNEL && !dry;
            assert_int_equal(l.prepared, is_bound);
            assert_int_equal(l.commits, is_bound);
            if (rows[i].outcome == KN_OUTCOME_ERROR) {
                assert_null(plan);
                world_fails(w, st, rows[i].status, rows[i].reason);
            } else {
                world_ok(w, st);
                const kn_record r = world_record(plan, 0);
                assert_int_equal(r.outcome, rows[i].outcome);
                assert_int_equal(r.rule, rows[i].rule);
                if (!strstr(r.reason, rows[i].reason))
                    fail_msg("'%s' is not in '%s'", rows[i].reason, r.reason);
            }
            if (l.loads) {
                assert_int_equal(l.had_kernel, !is_own);
                assert_int_equal(l.had_layer, is_native);
                assert_ptr_equal(l.object, is_own ? &thing : NULL);
                assert_string_equal(l.layer_name, is_own ? "L" : entry.layer_name);
            }
            if (is_bound) {
                assert_ptr_equal(l.kernel.hosted, is_native ? NULL : &thing);
                assert_int_equal(l.kernel.kernel != NULL, !is_own);
                assert_int_equal(l.kernel.layer != NULL, is_native);
                assert_int_equal(l.kernel.forward != NULL, is_native);
                assert_int_equal(l.kernel.mode, rows[i].mode);
                assert_int_equal(l.kernel.strict, rows[i].fallback == KN_FALLBACK_NONE);
                assert_string_equal(l.repository, is_own ? "Mine(\"x\")" : entry.path);
                assert_string_equal(l.kernel_layer, l.loads ? l.layer_name : entry.layer_name);
                assert_string_equal(l.variant, is_own      ? ""
                                               : is_native ? PACKAGE_VARIANT
                                                           : "torch-cpu");
            }
            assert_int_equal(
                world_lines(w, KN_LOG_WARNING, rows[i].warning) > 0,
                rows[i].warning && is_bound ? 1 : rows[i].outcome == KN_OUTCOME_FALLBACK && !dry);
            kn_plan_free(plan);
            kn_mapping_unref(map);
            world_close(w);
        }
    package_remove(&hosted);
}

// A package with an object for another device than this machine's is planned with, and nothing of it is imported. Python alone is imported:
// what it does with a device that was only described is between the two.
static void test_planned(void **state)
{
    (void)state;
    for (int row = 0; row < 4; ++row) {
        const bool dry = row & 1, has_object = row & 2;
        package_dir hosted;
        char dir[PACKAGE_PATH_MAX];
        print_message("  %s, %s\n", has_object ? "an object" : "Python alone",
                      dry ? "dry" : "for good");
        package_root(&hosted);
        snprintf(dir, sizeof(dir), "%s/build/torch-cuda", hosted.root);
        package_text(dir, "__init__.py", "x = 1\n");
        if (has_object)
            package_copy_library(dir, "gpu.so", "_x.abi3.so");
        package_seal(dir, ", \"backend\": {\"type\": \"cuda\"}");
        world *w = world_open("cuda:9.0");
        loader l = {.says = {GIVES}};
        const kn_entry entry = {.struct_size = sizeof(entry),
                                .layer = "L",
                                .device = "cuda",
                                .layer_name = "Hosted",
                                .path = hosted.root};
        const kn_host host = table_of(&l, &entry);
        kn_mapping *map = world_map(w, &entry, 1);
        kn_plan *plan = NULL;
        const kn_status st =
            kn_kernelize_host(w->ctx, &host,
                              KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                   .flags = dry ? KN_KERNELIZE_DRY_RUN : 0),
                              &plan, &w->err);
        if (has_object && !dry) {
            world_fails(w, st, KN_ERR_LOAD, "CANNOT_LOAD|is planned for a device that is not here");
        } else {
            world_ok(w, st);
            assert_int_equal(world_record(plan, 0).outcome, KN_OUTCOME_KERNEL);
            assert_string_equal(world_record(plan, 0).variant, "torch-cuda");
        }
        assert_int_equal(l.loads > 0, !has_object);
        kn_plan_free(plan);
        kn_mapping_unref(map);
        world_close(w);
        package_remove(&hosted);
    }
}

// What a host says of its own repository is what the record says.
static void test_words(void **state)
{
    (void)state;
    world *w = world_open(NULL);
    loader l = {.says = {GIVES, .repository = "mine/x", .revision = "r7"}};
    const kn_entry entry = {HOST, .layer_name = "N"};
    const kn_host host = table_of(&l, &entry);
    kn_mapping *map = world_map(w, &entry, 1);
    kn_plan *plan = NULL;
    world_ok(w, kn_kernelize_host(w->ctx, &host,
                                  KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map),
                                  &plan, &w->err));
    const kn_record r = world_record(plan, 0);
    assert_string_equal(r.repository, "mine/x");
    assert_string_equal(r.revision, "r7");
    assert_string_equal(r.variant, "");
    assert_string_equal(r.layer_name, "N");
    assert_string_equal(l.repository, "mine/x");
    assert_string_equal(l.revision, "r7");
    assert_string_equal(l.candidate_text, "`Mine(\"x\")`, layer `N`");
    assert_string_equal(l.kernel_text, l.candidate_text);
    kn_plan_free(plan);

    // Nothing is resolved, and nobody is asked.
    l.loads = 0;
    world_ok(w, kn_kernelize_host(w->ctx, &host,
                                  KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                       .flags = KN_KERNELIZE_NO_RESOLVE),
                                  &plan, &w->err));
    assert_int_equal(l.loads, 0);
    assert_int_equal(world_record(plan, 0).outcome, KN_OUTCOME_REFERENCE);
    assert_string_equal(world_record(plan, 0).repository, "Mine(\"x\")");
    kn_plan_free(plan);

    // Without a host there is nobody to load it.
    world_ok(w, kn_explain(w->ctx, NULL, 0,
                           KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                .device = "cuda"),
                           &plan, &w->err));
    assert_int_equal(world_record(plan, 0).outcome, KN_OUTCOME_ERROR);
    assert_int_equal(world_record(plan, 0).rule, KN_FALLBACK_CANNOT_LOAD);
    kn_plan_free(plan);
    kn_mapping_unref(map);
    world_close(w);
}

// Where a user is sent: by the host's words, which are not there in an older one.
static void test_advice(void **state)
{
    (void)state;
    for (int older = 0; older < 2; ++older)
        for (int empty = 0; empty < 2; ++empty) {
            world *w = world_open(NULL);
            loader l = {.text = ""};
            const kn_entry entry = {HOST};
            kn_host host = table_of(&l, &entry);
            kn_mapping *map = NULL;
            host.advice = "the host's pages";
            if (older) // what lies behind its table is not the table's
                host.struct_size = offsetof(kn_host, user) + sizeof(host.user);
            world_ok(w, kn_mapping_join(NULL, NULL, &map, &w->err));
            world_ok(w, kn_kernelize_host(
                            w->ctx, &host,
                            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map), NULL,
                            &w->err));
            assert_int_equal(world_lines(w, KN_LOG_WARNING, "; see the host's pages"), !older);
            assert_int_equal(world_lines(w, KN_LOG_WARNING, "; see kn_plan_text"), older);
            kn_mapping_unref(map);
            world_close(w);
        }
}

typedef struct job {
    loader l;
    kn_context *ctx;
    kn_mapping *map;
    kn_host host;
} job;

static kn_status run(void *user, kn_error *err)
{
    job *j = user;
    kn_plan *plan = NULL;
    j->l.commits = 0;
    const kn_status st = kn_kernelize_host(
        j->ctx, &j->host, KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = j->map), &plan,
        err);
    assert_int_equal(j->l.commits, st == KN_OK);
    kn_plan_free(plan);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    kn_entry entry = {HOST, .mode = KN_MODE_TRAINING};
    entry.device = "cpu"; // that a device is not here is said to nobody: the words are dispensable
    job j = {.l = {.says = {GIVES, .warning = "it is old", .repository = "r", .revision = "v"}}};
    j.host = table_of(&j.l, &entry);
    assert_int_equal(kn_mapping_with(NULL, &entry, 1, &j.map, NULL), KN_OK);
    assert_int_equal(kn_context_open(NULL, &j.ctx, NULL), KN_OK); // log lines are too
    assert_int_equal(run(&j, NULL), KN_OK);                       // makes what the context keeps
    print_message("  %zu allocations\n", fail_alloc_each(FAIL_OURS, run, &j));
    kn_mapping_unref(j.map);
    kn_context_close(j.ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_planned),
        cmocka_unit_test(test_words),     cmocka_unit_test(test_advice),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
