#include "support/package_dir.h"

#include <pthread.h>

#include "device/cpu.h"
#include "kernels/context.h"

static const char layers[] =
    ", \"library\": \"kernel.so\", \"layers\": {\"Scale\": {\"signature\": \"(x: f32 [...], "
    "factor: float = 2.0) -> (y: like x)\", \"forward\": \"scale(y, x, factor)\", "
    "\"can_torch_compile\": true, \"tolerance\": {\"f32\": 1e-6}}}";

static kn_context *open_context(kn_log_fn log, void *user)
{
    kn_context *ctx = NULL;
    assert_int_equal(
        kn_context_open(KN_CONTEXT_OPTIONS(.log = log, .log_user = user, .log_level = KN_LOG_INFO),
                        &ctx, NULL),
        KN_OK);
    return ctx;
}

static kn_kernel *get(kn_context *ctx, const char *path)
{
    kn_kernel *kernel = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path), &kernel, NULL, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_non_null(kernel);
    return kernel;
}

static int64_t version_of(const kn_kernel *kernel)
{
    const kn_function *version = NULL;
    kn_value result;
    assert_int_equal(kn_kernel_function(kernel, "version", &version, NULL), KN_OK);
    assert_int_equal(kn_function_call(version, NULL, 0, &result, NULL), KN_OK);
    assert_int_equal(result.type, KN_VALUE_INT);
    return result.as.integer;
}

static void test_get(void **state)
{
    (void)state;
    package_dir dir;
    kn_kernel *kernel = NULL;
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    kn_trace *trace = kn_trace_new(), *again = kn_trace_new();
    package_make(&dir, "good.so", layers);
    package_set_canary(&dir);
    kn_context *ctx = open_context(NULL, NULL);
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, trace, NULL),
        KN_OK);
    assert_int_equal(package_canary_count(&dir), 1);
    assert_int_equal(version_of(kernel), 1);
    const kn_package *package = kn_kernel_package(kernel);
    assert_string_equal(kn_package_dir(package), dir.variant);
    assert_string_equal(kn_package_variant(package), PACKAGE_VARIANT);
    assert_string_equal(kn_package_name(package), "fixture");
    assert_string_equal(kn_kernel_revision(kernel), "");
    assert_int_equal(kn_package_layer_find(package, "Scale", &layer, NULL), KN_OK);
    assert_string_equal(kn_layer_function(layer.layer, false), "scale");

    // Every rule left an entry, and asking again tells the same.
    static const char *const rules[] = {"path",     "",      "digest",  "backend",
                                        "features", "needs", "machine", "exports"};
    assert_int_equal(kn_trace_count(trace), KN_LEN(rules));
    for (size_t i = 0; i < KN_LEN(rules); ++i) {
        assert_string_equal(kn_trace_get(trace, i).rule, rules[i]);
        assert_true(kn_trace_get(trace, i).accepted);
    }
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, again, NULL),
        KN_OK);
    assert_string_equal(kn_trace_text(again), kn_trace_text(trace));

    // By the root and by the variant itself, for one machine or another: one kernel.
    assert_ptr_equal(get(ctx, dir.variant), kernel);
    assert_int_equal(package_canary_count(&dir), 1);
    kn_trace_free(trace);
    kn_trace_free(again);
    kn_context_close(ctx);
    package_remove(&dir);
}

static void test_versions_side_by_side(void **state)
{
    (void)state;
    package_dir one, two;
    package_make(&one, "good.so", layers);
    package_make(&two, "good_2.so", layers); // the same name, id and layers
    kn_context *ctx = open_context(NULL, NULL), *other = open_context(NULL, NULL);
    kn_kernel *first = get(ctx, one.root), *second = get(ctx, two.root);
    assert_ptr_not_equal(first, second);
    assert_int_equal(version_of(first), 1);
    assert_int_equal(version_of(second), 2);
    assert_int_equal(version_of(get(other, two.root)), 2); // contexts share code and nothing else
    kn_context_close(other);
    assert_int_equal(version_of(second), 2);
    kn_context_close(ctx);
    package_remove(&one);
    package_remove(&two);
}

enum {
    N_THREADS = 16,
};

typedef struct asker {
    kn_context *ctx;
    const char *path;
    pthread_barrier_t *start;
    kn_kernel *kernel;
    kn_status status;
} asker;

static void *ask(void *user)
{
    asker *self = user;
    pthread_barrier_wait(self->start);
    self->status = kn_context_get_kernel(self->ctx, KN_KERNEL_OPTIONS(.path = self->path),
                                         &self->kernel, NULL, NULL);
    return NULL;
}

// All threads at once, by both of the package's paths; `bad`: it is refused.
static void ask_in_threads(const package_dir *dir, bool bad)
{
    kn_context *ctx = open_context(NULL, NULL);
    pthread_t threads[N_THREADS];
    asker askers[N_THREADS];
    pthread_barrier_t start;
    assert_int_equal(pthread_barrier_init(&start, NULL, N_THREADS), 0);
    for (size_t i = 0; i < N_THREADS; ++i) {
        askers[i] = (asker){ctx, i % 2 ? dir->root : dir->variant, &start, NULL, KN_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; ++i)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < N_THREADS; ++i) {
        assert_int_equal(askers[i].status, bad ? KN_ERR_UNTRUSTED : KN_OK);
        assert_ptr_equal(askers[i].kernel, askers[0].kernel);
        assert_int_equal(askers[i].kernel == NULL, bad);
    }
    assert_int_equal(package_canary_count(dir), bad ? 0 : 1);
    pthread_barrier_destroy(&start);
    kn_context_close(ctx);
}

static void test_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 5; ++round) {
        package_dir dir;
        package_make(&dir, "good.so", layers);
        package_set_canary(&dir);
        ask_in_threads(&dir, false);
        package_remove(&dir);

        package_make(&dir, "good.so", layers);
        package_set_canary(&dir);
        package_text(dir.variant, "extra", "not listed");
        ask_in_threads(&dir, true);
        assert_false(package_is_mapped(&dir));
        package_remove(&dir);
    }
}

// The canary again, from the whole way down: nothing of a refused package runs.
static void test_refusals_run_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *fixture, *extra;
        kn_status status;
    } rows[] = {
        {"file not listed", "good.so", "extra", KN_ERR_UNTRUSTED},
        {"needs another library", "needed.so", NULL, KN_ERR_UNTRUSTED},
        {"search path", "rpath.so", NULL, KN_ERR_UNTRUSTED},
        {"executable stack", "executable_stack.so", NULL, KN_ERR_UNTRUSTED},
        {"newer glibc", "future_glibc.so", NULL, KN_ERR_INCOMPATIBLE},
        {"TVM's loader", "tvm_loader.so", NULL, KN_ERR_UNSUPPORTED},
    };
    kn_context *ctx = open_context(NULL, NULL);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        package_dir dir;
        kn_kernel *kernel = NULL;
        kn_error err = KN_ERROR_INIT;
        kn_trace *trace = kn_trace_new();
        print_message("  %s\n", rows[i].name);
        package_make(&dir, rows[i].fixture, "");
        package_set_canary(&dir);
        if (rows[i].extra)
            package_text(dir.variant, rows[i].extra, "x");
        assert_int_equal(
            kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, trace, &err),
            rows[i].status);
        assert_null(kernel);
        assert_false(kn_trace_get(trace, kn_trace_count(trace) - 1).accepted);
        assert_non_null(strstr(kn_error_text(&err), dir.variant));
        assert_int_equal(package_canary_count(&dir), 0);
        assert_false(package_is_mapped(&dir));
        kn_error_dispose(&err);
        kn_trace_free(trace);
        package_remove(&dir);
    }
    kn_context_close(ctx);
}

typedef struct lines {
    kn_context *ctx;
    const char *path;
    size_t count;
    char last[1024];
} lines;

// Asks for the kernel that the line is about: nothing is held while the log is told.
static void take_line(void *user, kn_log_level level, const char *text)
{
    lines *self = user;
    assert_int_equal(level, KN_LOG_INFO);
    ++self->count;
    snprintf(self->last, sizeof(self->last), "%s", text);
    get(self->ctx, self->path);
}

static void test_one_line_without_digests(void **state)
{
    (void)state;
    package_dir dir;
    lines seen = {.count = 0};
    package_root(&dir);
    package_copy_library(dir.variant, "good.so", "kernel.so");
    package_text(dir.variant, "metadata.json", "{\"version\": 1}");
    kn_context *ctx = open_context(take_line, &seen);
    seen.ctx = ctx;
    seen.path = dir.root;
    alarm(60); // a deadlock ends here
    get(ctx, dir.root);
    alarm(0);
    get(ctx, dir.root);
    get(ctx, dir.variant);
    assert_int_equal(seen.count, 1);
    assert_non_null(strstr(seen.last, dir.variant));
    assert_non_null(strstr(seen.last, "no digests"));

    package_dir sealed;
    package_make(&sealed, "good.so", "");
    get(ctx, sealed.root);
    assert_int_equal(seen.count, 1);
    kn_context_close(ctx);
    package_remove(&sealed);
    package_remove(&dir);
}

// The best variant is refused: the next one serves, and the trace tells both.
static void test_next_variant(void **state)
{
    (void)state;
    package_dir dir;
    char older[PACKAGE_PATH_MAX];
    kn_kernel *kernel = NULL;
    kn_trace *trace = kn_trace_new();
    package_make(&dir, "needed.so", "");
    package_path(dir.root, "build/tvm-ffi00-cpu-" PACKAGE_CPU "-linux", older);
    package_copy_library(older, "good.so", "kernel.so");
    package_seal(older, "");
    kn_context *ctx = open_context(NULL, NULL);
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, trace, NULL),
        KN_OK);
    assert_string_equal(kn_package_dir(kn_kernel_package(kernel)), older);
    assert_non_null(strstr(kn_trace_text(trace), "libkn_fixture_helper.so"));
    kn_trace_free(trace);
    kn_context_close(ctx);
    package_remove(&dir);
}

// Code that does not run here stays refused while the files are the same; other files are judged anew.
static void test_refusal_is_remembered(void **state)
{
    (void)state;
    package_dir dir;
    kn_kernel *kernel = NULL;
    kn_trace *first = kn_trace_new(), *second = kn_trace_new();
    kn_error err = KN_ERROR_INIT, again = KN_ERROR_INIT;
    package_make(&dir, "good.so", ", \"cpu-features\": [\"sse99\"]");
    kn_context *ctx = open_context(NULL, NULL);
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, first, &err),
        KN_ERR_INCOMPATIBLE);
    package_text(dir.variant, "extra", "not listed"); // would be KN_ERR_UNTRUSTED
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, second, &again),
        KN_ERR_INCOMPATIBLE);
    assert_string_equal(kn_error_text(&again), kn_error_text(&err));
    assert_string_equal(kn_trace_text(second), kn_trace_text(first));

    package_seal(dir.variant, ", \"cpu-features\": []");
    assert_int_equal(
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, NULL, NULL),
        KN_OK);
    kn_error_dispose(&err);
    kn_error_dispose(&again);
    kn_trace_free(first);
    kn_trace_free(second);
    kn_context_close(ctx);
    package_remove(&dir);
}

// For a device that is described, everything happens but the loading.
static void test_planned(void **state)
{
    (void)state;
    package_dir dir;
    char variant[PACKAGE_PATH_MAX];
    kn_context *ctx = NULL;
    kn_kernel *kernel = NULL, *again = NULL;
    const kn_function *function = NULL;
    kn_error err = KN_ERROR_INIT;
    package_root(&dir);
    package_set_canary(&dir);
    package_path(dir.root, "build/tvm-ffi01-cu126-" PACKAGE_CPU "-linux", variant);
    package_copy_library(variant, "good.so", "kernel.so");
    package_seal(variant, ", \"backend\": {\"type\": \"cuda\"}");
    assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.device = "cuda:9.0@12.8"), &ctx, NULL),
                     KN_OK);
    if (kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .device = "cuda"), &kernel,
                              NULL, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_int_equal(kn_context_get_kernel(ctx,
                                           KN_KERNEL_OPTIONS(.path = variant, .device = "cuda"),
                                           &again, NULL, NULL),
                     KN_OK);
    assert_ptr_equal(again, kernel);
    assert_string_equal(kn_package_dir(kn_kernel_package(kernel)), variant);
    assert_int_equal(kn_kernel_function(kernel, "version", &function, &err), KN_ERR_LOAD);
    assert_non_null(strstr(kn_error_text(&err), "a device that is not here"));
    assert_null(function);
    assert_int_equal(package_canary_count(&dir), 0);
    assert_false(package_is_mapped(&dir));
    kn_error_dispose(&err);
    kn_context_close(ctx);
    package_remove(&dir);
}

// A described CPU that can do more than this one is not here either: its code need not run.
static void test_planned_cpu(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu:x86-64-v1", "cpu:x86-64-v4", "cpu:armv8.0",
                                          "cpu:armv9.0"};
    package_dir dir;
    package_make(&dir, "good.so", layers);
    for (size_t i = 0; i < KN_LEN(devices); ++i) {
        kn_context *ctx = NULL;
        kn_kernel *kernel = NULL;
        const kn_function *function = NULL;
        kni_cpu here, there;
        kni_cpu_probe(&here);
        assert_true(kni_cpu_of_level(kni_span_of(devices[i] + strlen("cpu:")), &there));
        print_message("  %s\n", devices[i]);
        assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.device = devices[i]), &ctx, NULL),
                         KN_OK);
        const kn_status st =
            kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, NULL, NULL);
        assert_int_equal(st, here.family == there.family ? KN_OK : KN_ERR_INCOMPATIBLE);
        if (st == KN_OK)
            assert_int_equal(kn_kernel_function(kernel, "version", &function, NULL),
                             kni_cpu_covers(&here, &there) ? KN_OK : KN_ERR_LOAD);
        kn_context_close(ctx);
    }
    package_remove(&dir);
}

static void test_not_found(void **state)
{
    (void)state;
    static const struct {
        const char *name, *variant, *metadata;
        kn_status status;
        const char *error;
    } rows[] = {
        {"empty directory", NULL, NULL, KN_ERR_NOT_FOUND, "holds no build variant"},
        {"no variant of this machine", "build/tvm-ffi01-cpu-mips-linux", "{}", KN_ERR_INCOMPATIBLE,
         "none of its 1 build variants"},
        {"no metadata", "build/" PACKAGE_VARIANT, NULL, KN_ERR_NOT_FOUND, "metadata.json"},
        {"broken metadata", "build/" PACKAGE_VARIANT, "{\"version\": \"1\"}", KN_ERR_FORMAT,
         "version: expected an integer"},
        {"no native code", "build/" PACKAGE_VARIANT, "{}", KN_ERR_LOAD, "no native code"},
    };
    kn_context *ctx = open_context(NULL, NULL);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        package_dir dir;
        char path[PACKAGE_PATH_MAX];
        kn_kernel *kernel = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        package_root(&dir);
        if (rows[i].variant) {
            package_path(dir.root, rows[i].variant, path);
            package_text(path, "layers.py", "");
            if (rows[i].metadata)
                package_text(path, "metadata.json", rows[i].metadata);
        }
        assert_int_equal(
            kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root), &kernel, NULL, &err),
            rows[i].status);
        if (!strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        assert_null(kernel);
        kn_error_dispose(&err);
        package_remove(&dir);
    }
    kn_context_close(ctx);
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kn_kernel_options opts;
        kn_status status;
        const char *error;
    } rows[] = {
        {"neither", {.path = NULL}, KN_ERR_INVALID, "either path or repo_id"},
        {"both", {.path = "/x", .repo_id = "a/b"}, KN_ERR_INVALID, "either path or repo_id"},
        {"relative path", {.path = "x"}, KN_ERR_INVALID, "'x' is not absolute"},
        {"path and revision", {.path = "/x", .revision = "r"}, KN_ERR_INVALID, "takes none"},
        {"two pins",
         {.repo_id = "a/b", .revision = "r", .version = "1"},
         KN_ERR_INVALID,
         "takes at most one"},
        {"path with sums", {.path = "/x", .sums = "/s"}, KN_ERR_INVALID, "sums is given with path"},
        {"lock with sums",
         {.repo_id = "a/b", .lock = "/l", .sums = "/s"},
         KN_ERR_INVALID,
         "sums is given with lock"},
        {"hub",
         {.repo_id = "a/b"},
         KN_ERR_NOT_FOUND,
         "a/b: offline mode, and it is not in the cache"},
        {"no such device type", {.path = "/x", .device = "gpu"}, KN_ERR_INVALID, "gpu"},
        {"no such device", {.path = "/x", .device = "cuda"}, KN_ERR_NOT_FOUND, "cuda"},
        {"no such directory", {.path = "/nowhere/at/all"}, KN_ERR_NOT_FOUND, "/nowhere/at/all"},
    };
    kn_context *ctx = NULL;
    assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.device = "cpu"), &ctx, NULL), KN_OK);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_kernel_options opts = rows[i].opts;
        kn_kernel *kernel = (kn_kernel *)(uintptr_t)1;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        opts.struct_size = sizeof(opts);
        assert_int_equal(kn_context_get_kernel(ctx, &opts, &kernel, NULL, &err), rows[i].status);
        if (!strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        assert_null(kernel);
        kn_error_dispose(&err);
    }
    kn_context_close(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_versions_side_by_side),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals_run_nothing),
        cmocka_unit_test(test_one_line_without_digests),
        cmocka_unit_test(test_next_variant),
        cmocka_unit_test(test_refusal_is_remembered),
        cmocka_unit_test(test_planned),
        cmocka_unit_test(test_planned_cpu),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
