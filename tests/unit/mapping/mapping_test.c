// Values: sharing, chains, threads, and every allocation that fails.
#include "support/cmocka.h"

#include <pthread.h>

#include "kernels/mapping.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

// Registers one repository for a layer on cuda; "" is none.
static kn_mapping *with(const kn_mapping *base, const char *layer, const char *repo_id)
{
    kn_mapping *out = NULL;
    assert_int_equal(kn_mapping_with(base,
                                     KN_ENTRY(.layer = layer, .device = "cuda", .repo_id = repo_id),
                                     1, &out, NULL),
                     KN_OK);
    return out;
}

static const char *find(const kn_mapping *mapping, const char *layer)
{
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    assert_int_equal(
        kn_mapping_find(mapping, layer, KN_DEVICE_CUDA, 86, KN_MODE_INFERENCE, &answer, NULL, NULL),
        KN_OK);
    return answer.found == KN_FOUND ? answer.reference->repo_id : "";
}

static void test_values(void **state)
{
    kn_mapping *base = with(NULL, "A", "o/a"), *more = with(base, "B", "o/b"),
               *changed = with(more, "A", "o/new"), *alone = with(NULL, "C", "o/c");
    static const struct {
        const char *layer, *base, *more, *changed, *alone;
    } rows[] = {
        {"A", "o/a", "o/a", "o/new", ""},
        {"B", "", "o/b", "o/b", ""},
        {"C", "", "", "", "o/c"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        assert_string_equal(find(base, rows[i].layer), rows[i].base);
        assert_string_equal(find(more, rows[i].layer), rows[i].more);
        assert_string_equal(find(changed, rows[i].layer), rows[i].changed);
        assert_string_equal(find(alone, rows[i].layer), rows[i].alone);
    }
    assert_int_equal(kn_mapping_count(base), 1);
    assert_int_equal(kn_mapping_count(changed), 2);
    assert_ptr_equal(find(more, "A"), find(base, "A")); // shared, not copied
    kn_mapping_unref(base);
    kn_mapping_unref(more);
    assert_string_equal(find(changed, "B"), "o/b");
    kn_mapping_unref(changed);
    kn_mapping_unref(alone);
}

static void test_null_is_empty(void **state)
{
    kn_mapping *empty = NULL, *one = with(NULL, "A", "o/a"), *out = NULL;
    char *text = NULL;
    (void)state;
    kn_mapping_unref(NULL);
    assert_null(kn_mapping_ref(NULL));
    assert_int_equal(kn_mapping_count(NULL), 0);
    assert_int_equal(kn_mapping_join(NULL, NULL, &empty, NULL), KN_OK);
    assert_int_equal(kn_mapping_count(empty), 0);
    assert_int_equal(kn_mapping_join(NULL, one, &out, NULL), KN_OK);
    assert_string_equal(find(out, "A"), "o/a");
    kn_mapping_unref(out);
    assert_int_equal(kn_mapping_join(one, NULL, &out, NULL), KN_OK);
    assert_string_equal(find(out, "A"), "o/a");
    kn_mapping_unref(out);
    assert_int_equal(kn_mapping_text(NULL, &text, NULL), KN_OK);
    assert_string_equal(text, "");
    kn_string_free(text);
    kn_mapping_unref(empty);
    kn_mapping_unref(one);
}

// A long chain, freed from either end, needs no stack; and what the last holds does not grow with the chain.
static void test_deep_chain(void **state)
{
    enum { LENGTH = 100000 };
    static kn_mapping *all[LENGTH];
    (void)state;
    for (int newest_first = 0; newest_first < 2; ++newest_first) {
        fail_alloc_install(FAIL_OURS, 0, false);
        for (size_t i = 0; i < LENGTH; ++i) {
            char layer[16];
            snprintf(layer, sizeof(layer), "L%zu", i % 50);
            all[i] = with(i ? all[i - 1] : NULL, layer, i + 1 < LENGTH ? "o/old" : "o/last");
        }
        assert_string_equal(find(all[LENGTH - 1], "L49"), "o/last");
        if (newest_first) {
            for (size_t i = LENGTH; i > 0; --i)
                kn_mapping_unref(all[i - 1]);
        } else {
            for (size_t i = 0; i + 1 < LENGTH; ++i)
                kn_mapping_unref(all[i]);
            // 50 layers of three blocks, the branches over them, the value
            assert_in_range(fail_alloc_held(), 151, 250);
            assert_int_equal(kn_mapping_count(all[LENGTH - 1]), 50);
            kn_mapping_unref(all[LENGTH - 1]);
        }
        assert_int_equal(fail_alloc_held(), 0);
        fail_alloc_remove();
    }
}

static void test_find_allocates_nothing(void **state)
{
    kn_mapping *mapping = with(NULL, "A", "o/a");
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    (void)state;
    fail_alloc_install(FAIL_OURS, 1, true);
    for (kn_device_type device = KN_DEVICE_CPU; device <= KN_DEVICE_CUDA; ++device) {
        assert_int_equal(
            kn_mapping_find(mapping, "A", device, 86, KN_MODE_TRAINING, &answer, NULL, NULL),
            KN_OK);
        assert_int_equal(
            kn_mapping_find(mapping, "B", device, 86, KN_MODE_TRAINING, &answer, NULL, NULL),
            KN_OK);
    }
    assert_false(fail_alloc_remove());
    kn_mapping_unref(mapping);
}

// Threads share one value, make others from it, look up, list and free.
enum { THREADS = 4, ROUNDS = 300 };

static void *work(void *user)
{
    kn_mapping *shared = user;
    for (size_t i = 0; i < ROUNDS; ++i) {
        char layer[16];
        kn_mapping *mine = kn_mapping_ref(shared), *scope = NULL, *joined = NULL;
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        snprintf(layer, sizeof(layer), "L%zu", i % 100);
        scope = with(mine, layer, "o/scope");
        if (strcmp(find(mine, layer), "o/base") != 0 || strcmp(find(scope, layer), "o/scope") != 0)
            return "a thread saw another's entry";
        if (kn_mapping_join(scope, mine, &joined, NULL) != KN_OK ||
            strcmp(find(joined, layer), "o/base") != 0 || kn_mapping_count(joined) != 100)
            return "join";
        if (kn_mapping_row_get(mine, i % 100, &row, NULL) != KN_OK || strcmp(row.layer, layer) != 0)
            return "rows";
        kn_mapping_unref(mine);
        kn_mapping_unref(joined);
        kn_mapping_unref(scope);
    }
    kn_mapping_unref(shared);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    kn_mapping *shared = NULL;
    (void)state;
    for (size_t i = 0; i < 100; ++i) {
        char layer[16];
        snprintf(layer, sizeof(layer), "L%zu", i);
        kn_mapping *next = with(shared, layer, "o/base");
        kn_mapping_unref(shared);
        shared = next;
    }
    for (size_t i = 0; i < THREADS; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, work, kn_mapping_ref(shared)), 0);
    kn_mapping_unref(shared); // the last thread frees it
    for (size_t i = 0; i < THREADS; ++i) {
        void *problem = NULL;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        if (problem)
            fail_msg("%s", (const char *)problem);
    }
}

// Out of memory: whatever allocation fails, the value that everything is made from stays as it is.
static const char file_text[] =
    "[[kernel]]\nlayer = \"A\"\ndevice = \"cuda\"\ncapability = [75, 89]\n"
    "repo_id = \"o/a\"\nversion = \">=1\"\n[[kernel]]\nlayer = \"B\"\n"
    "device = \"cpu\"\npath = \"p\"\n";

static kn_status run_with(void *user, kn_error *err)
{
    static const kn_entry entries[] = {
        {.struct_size = sizeof(kn_entry), .layer = "L0", .device = "cuda", .repo_id = "o/x"},
        {.struct_size = sizeof(kn_entry), .layer = "New", .device = "cpu", .path = "/p"},
        {.struct_size = sizeof(kn_entry),
         .layer = "L0",
         .device = "cuda",
         .repo_id = "o/y",
         .mode = KN_MODE_TRAINING},
        {.struct_size = sizeof(kn_entry),
         .layer = "L0",
         .device = "rocm",
         .repo_id = "o/y",
         .version = "3"},
    };
    kn_mapping *out = user;
    const kn_status st = kn_mapping_with(user, entries, KN_LEN(entries), &out, err);
    assert_int_equal(out != NULL, st == KN_OK);
    kn_mapping_unref(out);
    return st;
}

static kn_status run_join(void *user, kn_error *err)
{
    kn_mapping *over = NULL, *out = user;
    kn_status st = kn_mapping_with(NULL, KN_ENTRY(.layer = "L1", .device = "tpu", .repo_id = "o/x"),
                                   1, &over, err);
    if (st == KN_OK) {
        st = kn_mapping_join(user, over, &out, err);
        assert_int_equal(out != NULL, st == KN_OK);
        kn_mapping_unref(out);
    }
    kn_mapping_unref(over);
    return st;
}

static kn_status run_read(void *user, kn_error *err)
{
    kn_mapping *out = user, *joined = NULL;
    char *text = NULL;
    kn_status st = kn_mapping_parse(file_text, strlen(file_text), "f.toml", "/dir", &out, err);
    assert_int_equal(out != NULL, st == KN_OK);
    if (st == KN_OK)
        st = kn_mapping_text(out, &text, err);
    if (st == KN_OK)
        st = kn_mapping_join(user, out, &joined, err);
    kn_string_free(text);
    kn_mapping_unref(joined);
    kn_mapping_unref(out);
    return st;
}

static char *file_dir;

static kn_status run_file(void *user, kn_error *err)
{
    kn_mapping *few = NULL;
    const char *path = temp_dir_path(file_dir, "m.toml");
    kn_mapping *out = user;
    kn_status st = kn_mapping_parse(file_text, strlen(file_text), "f.toml", "/dir", &few, err);
    if (st == KN_OK)
        st = kn_mapping_write(few, path, err);
    if (st == KN_OK) {
        st = kn_mapping_read(path, &out, err);
        assert_int_equal(out != NULL, st == KN_OK);
        kn_mapping_unref(out);
    }
    kn_mapping_unref(few);
    return st;
}

static kn_status run_trace(void *user, kn_error *err)
{
    static const struct {
        const char *layer;
        kn_device_type device;
    } asked[] = {{"L0", KN_DEVICE_CUDA}, {"L0", KN_DEVICE_CPU}, {"None", KN_DEVICE_CUDA}};
    kn_trace *trace = kn_trace_new();
    kn_status st = trace ? KN_OK : kn_error_set(err, KN_ERR_NO_MEMORY, "trace");
    for (size_t i = 0; st == KN_OK && i < KN_LEN(asked); ++i) {
        kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
        st = kn_mapping_find(user, asked[i].layer, asked[i].device, 86, KN_MODE_INFERENCE, &answer,
                             trace, err);
    }
    kn_trace_free(trace);
    return st;
}

static void test_no_memory(void **state)
{
    static const struct {
        const char *name;
        fail_alloc_fn run;
    } rows[] = {{"with", run_with},
                {"join", run_join},
                {"read", run_read},
                {"trace", run_trace},
                {"file", run_file}};
    kn_mapping *base = NULL;
    char *before = NULL, *after = NULL;
    file_dir = temp_dir_new();
    (void)state;
    for (size_t i = 0; i < 40; ++i) { // more than one level
        char layer[16];
        snprintf(layer, sizeof(layer), "L%zu", i);
        kn_mapping *next = with(base, layer, "o/base");
        kn_mapping_unref(base);
        base = next;
    }
    assert_int_equal(kn_mapping_text(base, &before, NULL), KN_OK);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const size_t n = fail_alloc_each(FAIL_ALL, rows[i].run, base);
        print_message("  %s: %zu allocations\n", rows[i].name, n);
        assert_true(n > 5);
        assert_int_equal(kn_mapping_text(base, &after, NULL), KN_OK);
        assert_string_equal(before, after);
        kn_string_free(after);
    }
    kn_string_free(before);
    kn_mapping_unref(base);
    temp_dir_remove(file_dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_null_is_empty),
        cmocka_unit_test(test_deep_chain), cmocka_unit_test(test_find_allocates_nothing),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
