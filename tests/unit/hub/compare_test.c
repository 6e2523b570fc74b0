// What is here, held against what is known of it, offline: the names of blobs. The listing of a hub is in tests/hub/cli_test.py.
#include "base/alloc.h"
#include "kernels/hub.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define VARIANT "tvm-ffi01-cpu-x86_64-linux"
#define IN_VARIANT(name) "build/" VARIANT "/" name
#define IN_CACHE(name) CACHE_REPO "/snapshots/" CACHE_COMMIT_1 "/" IN_VARIANT(name)

typedef struct world {
    char *dir;
    kn_hub *hub;
    kn_revision *revision;
} world;

static void world_init(world *w)
{
    w->dir = temp_dir_new();
    w->hub = NULL;
    w->revision = NULL;
    cache_file(w->dir, CACHE_COMMIT_1, IN_VARIANT("metadata.json"), "{}");
    cache_file(w->dir, CACHE_COMMIT_1, IN_VARIANT("a.so"), "a library");
    assert_int_equal(kn_hub_open(KN_HUB_OPTIONS(.cache_dir = w->dir, .state_dir = w->dir,
                                                .token = "", .flags = KN_HUB_OFFLINE),
                                 &w->hub, NULL),
                     KN_OK);
    assert_int_equal(kn_hub_resolve(w->hub,
                                    KN_HUB_WISH(.repo_id = "owner/name", .revision = CACHE_COMMIT_1,
                                                .trust_remote_code = 1),
                                    &w->revision, NULL, NULL),
                     KN_OK);
}

static void world_dispose(world *w)
{
    kn_revision_free(w->revision);
    kn_hub_close(w->hub);
    temp_dir_remove(w->dir);
}

static void change_blob(world *w)
{
    char name[256];
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", cache_blob_name("a library", 40));
    temp_dir_text(w->dir, name, "A library");
}

static void empty_blob(world *w)
{
    char name[256];
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", cache_blob_name("a library", 40));
    temp_dir_text(w->dir, name, "");
}

static void plant_link(world *w)
{
    temp_dir_link(w->dir, IN_CACHE("planted.py"), "/etc/passwd");
}

static void add_file(world *w)
{
    temp_dir_text(w->dir, IN_CACHE("regular"), "a copy, as where there are no links");
}

static void add_compiled(world *w)
{
    temp_dir_text(w->dir, IN_CACHE("__pycache__/a.pyc"), "not looked at");
}

static void leave(world *w)
{
    (void)w;
}

static void test_compare(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(world *w);
        kn_status status;
        const char *says; // the last entry of the trace
    } rows[] = {
        {"unchanged", leave, KN_OK, "2 of its 2 files have the hashes"},
        {"a byte", change_blob, KN_ERR_UNTRUSTED, "a.so"},
        {"cut", empty_blob, KN_ERR_UNTRUSTED, "a.so"},
        {"a link elsewhere", plant_link, KN_ERR_UNTRUSTED, "planted.py"},
        {"a regular file", add_file, KN_OK, "2 of its 3 files have the hashes"},
        {"compiled Python", add_compiled, KN_OK, "2 of its 2 files have the hashes"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        world w;
        kn_error err = KN_ERROR_INIT;
        kn_trace *trace = kn_trace_new();
        print_message("  %s\n", rows[i].name);
        world_init(&w);
        rows[i].change(&w);
        assert_int_equal(kn_hub_compare(w.hub, w.revision, VARIANT, trace, &err), rows[i].status);
        assert_int_equal(kn_trace_count(trace), 1);
        const kn_trace_entry entry = kn_trace_get(trace, 0);
        assert_string_equal(entry.stage, "compare");
        assert_int_equal(entry.accepted, rows[i].status == KN_OK);
        assert_non_null(strstr(entry.reason, rows[i].says));
        assert_int_equal(err.status, rows[i].status);
        kn_error_dispose(&err);
        assert_int_equal(kn_hub_compare(w.hub, w.revision, VARIANT, NULL, NULL), rows[i].status);
        kn_trace_free(trace);
        world_dispose(&w);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *variant;
        kn_status status;
    } rows[] = {{"other", KN_ERR_NOT_FOUND},
                {"", KN_ERR_NOT_FOUND},
                {"../" VARIANT, KN_ERR_NOT_FOUND},
                {NULL, KN_ERR_INVALID}};
    world w;
    world_init(&w);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].variant ? rows[i].variant : "NULL");
        assert_int_equal(kn_hub_compare(w.hub, w.revision, rows[i].variant, NULL, NULL),
                         rows[i].status);
    }
    assert_int_equal(kn_hub_compare(NULL, w.revision, VARIANT, NULL, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_hub_compare(w.hub, NULL, VARIANT, NULL, NULL), KN_ERR_INVALID);
    world_dispose(&w);
}

static kn_status compare_once(void *user, kn_error *err)
{
    world *w = user;
    kn_trace *trace = kn_trace_new();
    const kn_status st = trace ? kn_hub_compare(w->hub, w->revision, VARIANT, trace, err)
                               : kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory");
    kn_trace_free(trace);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, compare_once, &w) > 10);
    world_dispose(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
