// kn_hub_lock_project and _mapping where the files alone answer: no hub is asked. tests/hub/lock_test.py has the rest.
#include "base/alloc.h"
#include "base/fs.h"
#include "kernels/hub.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#define A "000000000000000000000000000000000000000a"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
// Of one empty file "x" with the SHA-256 above: printf '%s 0 x\n' 1111… | sha256sum
#define MANIFEST "54a3e2b760ac0f63fe2dbe87acbd13ea679b5e6479af34331ab5430ce687360e"

#define TABLE "[tool.kernels.dependencies]\n"
#define LOCKED(variants)                                                                           \
    "[\n  {\n    \"repo_id\": \"o/a\",\n    \"sha\": \"" A "\",\n    \"variants\": {" variants     \
    "}\n  }\n]"
#define TORCH                                                                                      \
    "\n      \"torch29\": {\n        \"hash\": \"sha256-" ONES                                     \
    "\",\n        \"hash_type\": \"git_lfs_concat\"\n      }\n    "
#define COMMITTED                                                                                  \
    "[\n  {\n    \"dependency\": {\n      \"repo-id\": \"o/a\",\n      \"version\": 1\n    },\n"   \
    "    \"lock\": {\n      \"commit\": \"" A "\"\n    }\n  }\n]"
#define SUMS_OF(source, wish, ref, commit, variant)                                                \
    "{\n  \"format\": \"kernels.lock.sums\",\n  \"version\": 1,\n  \"source\": \"" source          \
    "\",\n  \"kernels\": [\n    {\n      \"repo_id\": \"o/a\",\n      \"repo_type\": "             \
    "\"kernel\",\n" wish "      \"ref\": \"" ref "\",\n      \"commit\": \"" commit                \
    "\",\n      \"variants\": {\n        \"" variant "\": {\n          \"manifest\": \"" MANIFEST  \
    "\",\n          \"files\": {\n            \"x\": "                                             \
    "{\n              \"sha256\": \"" ONES "\",\n              \"size\": 0\n            }\n"       \
    "          }\n        }\n      }\n    }\n  ]\n}\n"
#define VERSION(text) "      \"version\": \"" text "\",\n"
#define SUMS(wish, ref) SUMS_OF("pyproject.toml", wish, ref, A, "torch29")

static kn_hub *open_hub(const char *dir)
{
    kn_hub *hub = NULL;
    kn_hub_options opts = KN_HUB_OPTIONS_INIT;
    opts.flags = KN_HUB_OFFLINE;
    opts.cache_dir = dir;
    opts.state_dir = dir;
    opts.endpoint = "http://127.0.0.1:9";
    opts.token = "";
    assert_int_equal(kn_hub_open(&opts, &hub, NULL), KN_OK);
    return hub;
}

static void assert_file(const char *dir, const char *name, const char *expected)
{
    kni_buf text = KNI_BUF_ANY;
    const char *path = temp_dir_path(dir, name);
    assert_int_equal(kni_file_exists(path), expected != NULL);
    if (!expected)
        return;
    assert_int_equal(kni_file_read(&text, path, NULL), KN_OK);
    assert_string_equal(kni_buf_text(&text), expected);
    kni_buf_dispose(&text);
}

static void test_project(void **state)
{
    (void)state;
    static const struct {
        const char *name, *project, *lock, *sums;
        bool is_current;  // before
        const char *rule; // of the first step with check; NULL: there is none
        const char *new_lock,
            *new_sums; // what is written offline; NULL: the hub would have to be asked
    } rows[] = {
        {"nothing there", TABLE "'o/a' = '>=1'", NULL, NULL, false, "missing", NULL, NULL},
        {"current", TABLE "'o/a' = '>=1'", LOCKED(TORCH), SUMS(VERSION(">=1"), "v1.2"), true, "",
         LOCKED(TORCH), SUMS(VERSION(">=1"), "v1.2")},
        {"current, by number", TABLE "'o/a' = 1", COMMITTED, SUMS(VERSION("1"), "v1"), true, "",
         COMMITTED, SUMS(VERSION("1"), "v1")},
        {"a number without its lock", TABLE "'o/a' = 1", NULL, SUMS(VERSION("1"), "v1"), false, "",
         COMMITTED, SUMS(VERSION("1"), "v1")},
        {"another number", TABLE "'o/a' = 2", COMMITTED, SUMS(VERSION("1"), "v1"), false, "missing",
         NULL, NULL},
        {"another specifier that the tag satisfies", TABLE "'o/a' = '>=1.1,<2'", LOCKED(TORCH),
         SUMS(VERSION(">=1"), "v1.2"), false, "", LOCKED(TORCH), SUMS(VERSION(">=1.1,<2"), "v1.2")},
        {"one that it does not", TABLE "'o/a' = '>=1.3'", LOCKED(TORCH),
         SUMS(VERSION(">=1"), "v1.2"), false, "changed", NULL, NULL},
        {"no sums", TABLE "'o/a' = '>=1'", LOCKED(TORCH), NULL, false, "changed", NULL, NULL},
        {"no sums, by number", TABLE "'o/a' = 1", COMMITTED, NULL, false, "content", NULL, NULL},
        {"no lock", TABLE "'o/a' = '>=1'", NULL, SUMS(VERSION(">=1"), "v1.2"), false, "content",
         NULL, NULL},
        {"sums of another commit", TABLE "'o/a' = '>=1'", LOCKED(TORCH),
         SUMS_OF("pyproject.toml", VERSION(">=1"), "v1.2", B, "torch29"), false, "changed", NULL,
         NULL},
        {"a variant that the lock has not", TABLE "'o/a' = '>=1'", LOCKED(TORCH),
         SUMS_OF("pyproject.toml", VERSION(">=1"), "v1.2", A, "torch28"), false, "content", NULL,
         NULL},
        {"one that it cannot have", TABLE "'o/a' = '>=1'", LOCKED(""),
         SUMS_OF("pyproject.toml", VERSION(">=1"), "v1.2", A, "tvm-ffi01"), true, "", LOCKED(""),
         SUMS_OF("pyproject.toml", VERSION(">=1"), "v1.2", A, "tvm-ffi01")},
        {"of the other form", TABLE "'o/a' = '>=1'", COMMITTED, SUMS(VERSION("1"), "v1"), false,
         "missing", NULL, NULL},
        {"other spaces", TABLE "'o/a' = '>=1'", LOCKED(TORCH) "\n", SUMS(VERSION(">=1"), "v1.2"),
         false, "", LOCKED(TORCH), SUMS(VERSION(">=1"), "v1.2")},
        {"nothing asked for", TABLE, LOCKED(TORCH), SUMS(VERSION(">=1"), "v1.2"), false, NULL, "[]",
         "{\n  \"format\": \"kernels.lock.sums\",\n  \"version\": 1,\n  \"source\": "
         "\"pyproject.toml\",\n  \"kernels\": []\n}\n"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new();
        kn_hub *hub = open_hub(dir);
        kn_trace *trace = kn_trace_new();
        kn_lock_options opts = KN_LOCK_OPTIONS_INIT;
        bool is_current = !rows[i].is_current;
        print_message("  %s\n", rows[i].name);
        temp_dir_text(dir, "pyproject.toml", rows[i].project);
        if (rows[i].lock)
            temp_dir_text(dir, "kernels.lock", rows[i].lock);
        if (rows[i].sums)
            temp_dir_text(dir, "kernels.lock.sums", rows[i].sums);
        opts.check = 1;
        assert_int_equal(kn_hub_lock_project(hub, dir, &opts, &is_current, trace, NULL), KN_OK);
        assert_int_equal(is_current, rows[i].is_current);
        const kn_trace_entry first = kn_trace_get(trace, 0);
        assert_int_equal(kn_trace_count(trace), rows[i].rule ? 1 : 0);
        if (rows[i].rule) {
            assert_string_equal(first.stage, "lock");
            assert_string_equal(first.subject, "o/a");
            assert_string_equal(first.rule, rows[i].rule);
            assert_int_equal(first.accepted, !rows[i].rule[0]);
        }
        assert_file(dir, "kernels.lock", rows[i].lock);
        assert_file(dir, "kernels.lock.sums", rows[i].sums);
        is_current = true;
        const kn_status st = kn_hub_lock_project(hub, dir, NULL, &is_current, NULL, NULL);
        assert_int_equal(st == KN_OK, rows[i].new_lock != NULL);
        assert_int_equal(is_current, rows[i].is_current);
        assert_file(dir, "kernels.lock", rows[i].new_lock ? rows[i].new_lock : rows[i].lock);
        assert_file(dir, "kernels.lock.sums", rows[i].new_lock ? rows[i].new_sums : rows[i].sums);
        kn_trace_free(trace);
        kn_hub_close(hub);
        temp_dir_remove(dir);
    }
}

#define ENTRY "[[kernel]]\nlayer = \"L\"\ndevice = \"cpu\"\nrepo_id = \"o/a\"\n"

static void test_mapping(void **state)
{
    (void)state;
    static const struct {
        const char *name, *mapping, *sums;
        bool is_current;
    } rows[] = {
        {"main", ENTRY, SUMS_OF("m.toml", "", "main", A, "v"), true},
        {"a revision", ENTRY "revision = 'v1'\n",
         SUMS_OF("m.toml", "      \"revision\": \"v1\",\n", "v1", A, "v"), true},
        {"a number", ENTRY "version = 1\n", SUMS_OF("m.toml", VERSION("1"), "v1", A, "v"), true},
        {"a number as text", ENTRY "version = '1'\n", SUMS_OF("m.toml", VERSION("1"), "v1", A, "v"),
         true},
        {"a specifier", ENTRY "version = '~=1.0'\n",
         SUMS_OF("m.toml", VERSION("~=1.0"), "v1.2", A, "v"), true},
        {"named sums", ENTRY "sums = 'm.lock.sums'\n", SUMS_OF("m.toml", "", "main", A, "v"), true},
        {"main by name", ENTRY "revision = 'main'\n", SUMS_OF("m.toml", "", "main", A, "v"), false},
        {"with a lock", ENTRY "lock = 'l'\n", SUMS_OF("m.toml", "", "main", A, "v"), false},
        {"other sums", ENTRY "sums = 's'\n", SUMS_OF("m.toml", "", "main", A, "v"), false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new();
        kn_hub *hub = open_hub(dir);
        kn_lock_options opts = KN_LOCK_OPTIONS_INIT;
        bool is_current = false;
        print_message("  %s\n", rows[i].name);
        temp_dir_text(dir, "m.toml", rows[i].mapping);
        temp_dir_text(dir, "m.lock.sums", rows[i].sums);
        opts.check = 1;
        assert_int_equal(
            kn_hub_lock_mapping(hub, temp_dir_path(dir, "m.toml"), &opts, &is_current, NULL, NULL),
            KN_OK);
        assert_int_equal(is_current, rows[i].is_current);
        kn_hub_close(hub);
        temp_dir_remove(dir);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {"o/a", "o/z"};
    static const struct {
        const char *name, *file, *lock, *sums;
        kn_lock_options opts;
        kn_status status;
        const char *error;
    } rows[] = {
        {"no project", "x", NULL, NULL, {0}, KN_ERR_NOT_FOUND, "/pyproject.toml"},
        {"a broken lock",
         "pyproject.toml",
         "{}",
         NULL,
         {0},
         KN_ERR_FORMAT,
         "/kernels.lock: expect"},
        {"broken sums",
         "pyproject.toml",
         NULL,
         "{}",
         {0},
         KN_ERR_FORMAT,
         "/kernels.lock.sums: format: is missing"},
        {"sums of a mapping",
         "pyproject.toml",
         NULL,
         SUMS_OF("kernels.toml", "", "main", A, "v"),
         {0},
         KN_ERR_INVALID,
         "/kernels.lock.sums: is of kernels.toml, and pyproject.toml would have the same"},
        {"an update of nothing",
         "pyproject.toml",
         NULL,
         NULL,
         {.update = twice, .n_update = 2},
         KN_ERR_INVALID,
         "update: pyproject.toml does not ask for \"o/z\": accepted are o/a"},
        {"updates that are not there",
         "pyproject.toml",
         NULL,
         NULL,
         {.n_update = 2},
         KN_ERR_INVALID,
         "KN_LOCK_OPTIONS_INIT are required"},
        {"offline", "pyproject.toml", NULL, NULL, {0}, KN_ERR_NOT_FOUND, "o/a"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new();
        kn_hub *hub = open_hub(dir);
        kn_error err = KN_ERROR_INIT;
        kn_lock_options opts = rows[i].opts;
        bool is_current = true;
        print_message("  %s\n", rows[i].name);
        opts.struct_size = sizeof(opts);
        temp_dir_text(dir, rows[i].file, TABLE "'o/a' = '>=1'\n");
        if (rows[i].lock)
            temp_dir_text(dir, "kernels.lock", rows[i].lock);
        if (rows[i].sums)
            temp_dir_text(dir, "kernels.lock.sums", rows[i].sums);
        assert_int_equal(kn_hub_lock_project(hub, dir, &opts, &is_current, NULL, &err),
                         rows[i].status);
        if (!strstr(kn_error_text(&err), rows[i].error))
            fail_msg("said: %s", kn_error_text(&err));
        assert_file(dir, "kernels.lock", rows[i].lock);
        assert_file(dir, "kernels.lock.sums", rows[i].sums);
        kn_error_dispose(&err);
        kn_hub_close(hub);
        temp_dir_remove(dir);
    }
}

static void test_mapping_name(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    kn_hub *hub = open_hub(dir);
    kn_error err = KN_ERROR_INIT;
    bool is_current = true;
    temp_dir_text(dir, "kernels", ENTRY);
    assert_int_equal(
        kn_hub_lock_mapping(hub, temp_dir_path(dir, "kernels"), NULL, &is_current, NULL, &err),
        KN_ERR_INVALID);
    assert_non_null(
        strstr(kn_error_text(&err), "/kernels: expected a mapping file whose name ends"));
    assert_false(is_current);
    kn_error_dispose(&err);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

typedef struct place {
    kn_hub *hub;
    const char *dir, *mapping;
} place;

static kn_status lock_both(void *user, kn_error *err)
{
    const place *at = user;
    bool is_current = false;
    kn_trace *trace = kn_trace_new();
    if (!trace)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "no trace");
    kn_status st = kn_hub_lock_project(at->hub, at->dir, NULL, &is_current, trace, err);
    if (st == KN_OK)
        st = kn_hub_lock_mapping(at->hub, at->mapping, NULL, &is_current, trace, err);
    kn_trace_free(trace);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    char *mapping = kni_path_join(dir, "m.toml");
    place at = {open_hub(dir), dir, mapping};
    temp_dir_text(dir, "pyproject.toml", TABLE "'o/a' = '>=1.1'");
    temp_dir_text(dir, "kernels.lock", LOCKED(TORCH));
    temp_dir_text(dir, "kernels.lock.sums", SUMS(VERSION(">=1.1"), "v1.2"));
    temp_dir_text(dir, "m.toml", ENTRY "version = '>=1'\n");
    temp_dir_text(dir, "m.lock.sums", SUMS_OF("m.toml", VERSION(">=1"), "v1.2", A, "v"));
    assert_true(fail_alloc_each(FAIL_ALL, lock_both, &at) > 100);
    kn_hub_close(at.hub);
    kni_free(mapping);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_project), cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_mapping_name),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
