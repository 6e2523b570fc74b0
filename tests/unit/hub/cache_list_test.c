// The cache as `kernels cache` shows it, through the public functions.
#include "base/alloc.h"
#include "kernels/hub.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

static kn_hub *open_hub(const char *dir)
{
    kn_hub *hub = NULL;
    assert_int_equal(kn_hub_open(KN_HUB_OPTIONS(.cache_dir = dir, .state_dir = dir, .token = "",
                                                .flags = KN_HUB_OFFLINE),
                                 &hub, NULL),
                     KN_OK);
    return hub;
}

// Two snapshots that share a file.
static char *make(void)
{
    char *dir = temp_dir_new();
    cache_file(dir, CACHE_COMMIT_1, "build/v/metadata.json", "{}");
    cache_file(dir, CACHE_COMMIT_1, "build/v/a", "shared by both");
    cache_file(dir, CACHE_COMMIT_2, "build/v/a", "shared by both");
    cache_file(dir, CACHE_COMMIT_2, "build/v/b", "another");
    cache_ref(dir, "main", CACHE_COMMIT_1);
    cache_ref(dir, "v1", CACHE_COMMIT_1);
    return dir;
}

static void test_list(void **state)
{
    (void)state;
    static const struct {
        const char *commit;
        size_t n_refs, n_variants;
        uint64_t size, unique, new;
    } rows[] = {{CACHE_COMMIT_1, 2, 1, 16, 2, 16}, {CACHE_COMMIT_2, 0, 0, 21, 7, 7}};
    char *dir = make();
    kn_hub *hub = open_hub(dir);
    kn_cache_list *list = NULL;
    kn_cache_item item = KN_CACHE_ITEM_INIT;
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_count(list), KN_LEN(rows));
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].commit);
        assert_int_equal(kn_cache_list_get(list, i, &item, NULL), KN_OK);
        assert_string_equal(item.repo_id, "owner/name");
        assert_string_equal(item.repo_type, "kernel");
        assert_string_equal(item.commit, rows[i].commit);
        assert_int_equal(item.n_refs, rows[i].n_refs);
        assert_int_equal(item.n_variants, rows[i].n_variants);
        assert_int_equal(item.size_bytes, rows[i].size);
        assert_int_equal(item.unique_bytes, rows[i].unique);
        assert_int_equal(item.new_bytes, rows[i].new);
        assert_true(item.modified > 0);
    }
    assert_int_equal(kn_cache_list_get(list, 2, &item, NULL), KN_ERR_INVALID);
    item.struct_size = 0;
    assert_int_equal(kn_cache_list_get(list, 0, &item, NULL), KN_ERR_INVALID);
    kn_cache_list_free(list);
    kn_cache_list_free(NULL);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

// What no snapshot has: beside snapshots, and where there are none.
static void test_leftovers(void **state)
{
    (void)state;
    static const char *const repos[] = {"kernels--a--only-blobs", CACHE_REPO};
    char *dir = make();
    kn_hub *hub = open_hub(dir);
    kn_cache_list *list = NULL;
    kn_cache_item item = KN_CACHE_ITEM_INIT;
    uint64_t freed = 0;
    char name[256];
    for (size_t i = 0; i < KN_LEN(repos); ++i) {
        snprintf(name, sizeof(name), "%s/blobs/%s", repos[i], cache_blob_name("left over", 64));
        temp_dir_text(dir, name, "left over");
        snprintf(name, sizeof(name), "%s/blobs/a file of somebody else", repos[i]);
        temp_dir_text(dir, name, "not counted");
    }
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_count(list), 4);
    for (size_t i = 0; i < 4; i += 3) {
        assert_int_equal(kn_cache_list_get(list, i, &item, NULL), KN_OK);
        assert_string_equal(item.repo_id, i == 0 ? "a/only-blobs" : "owner/name");
        assert_string_equal(item.commit, "");
        assert_int_equal(item.size_bytes, 9);
        assert_int_equal(item.unique_bytes, 9);
        assert_int_equal(item.new_bytes, 9);
        assert_int_equal(item.n_refs + item.n_variants, 0);
        assert_int_equal(kn_hub_cache_remove(hub, &item, &freed, NULL), KN_OK);
        assert_int_equal(freed, 9);
        assert_int_equal(kn_hub_cache_remove(hub, &item, &freed, NULL), KN_OK); // there is none
        assert_int_equal(freed, 0);
    }
    kn_cache_list_free(list);
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_count(list), 2); // the snapshots, whole
    assert_int_equal(kn_cache_list_get(list, 0, &item, NULL), KN_OK);
    assert_int_equal(item.size_bytes, 16);
    kn_cache_list_free(list);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

static void test_remove(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kn_cache_item item;
        kn_status status;
    } refused[] = {
        {"no type",
         {.struct_size = sizeof(kn_cache_item), .commit = CACHE_COMMIT_1},
         KN_ERR_INVALID},
        {"a data set",
         {.struct_size = sizeof(kn_cache_item),
          .repo_id = "owner/name",
          .repo_type = "dataset",
          .commit = CACHE_COMMIT_1},
         KN_ERR_INVALID},
        {"a path",
         {.struct_size = sizeof(kn_cache_item),
          .repo_id = "../name",
          .repo_type = "kernel",
          .commit = CACHE_COMMIT_1},
         KN_ERR_INVALID},
        {"no commit",
         {.struct_size = sizeof(kn_cache_item),
          .repo_id = "owner/name",
          .repo_type = "kernel",
          .commit = "../../x"},
         KN_ERR_INVALID},
        {"not there",
         {.struct_size = sizeof(kn_cache_item),
          .repo_id = "owner/other",
          .repo_type = "kernel",
          .commit = CACHE_COMMIT_1},
         KN_ERR_NOT_FOUND},
    };
    char *dir = make();
    kn_hub *hub = open_hub(dir);
    kn_cache_list *list = NULL;
    kn_cache_item item = KN_CACHE_ITEM_INIT;
    uint64_t freed = 1;
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        print_message("  %s\n", refused[i].name);
        assert_int_equal(kn_hub_cache_remove(hub, &refused[i].item, &freed, NULL),
                         refused[i].status);
        assert_int_equal(freed, 0);
    }
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_get(list, 1, &item, NULL), KN_OK);
    assert_int_equal(kn_hub_cache_remove(hub, &item, &freed, NULL), KN_OK);
    assert_int_equal(freed, 7);
    assert_int_equal(kn_hub_cache_remove(hub, &item, &freed, NULL), KN_ERR_NOT_FOUND);
    kn_cache_list_free(list);
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_count(list), 1);
    kn_cache_list_free(list);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

static void test_nothing_there(void **state)
{
    (void)state;
    kn_hub *hub = open_hub("/no/such/cache");
    kn_cache_list *list = NULL;
    assert_int_equal(kn_hub_cache_list(hub, &list, NULL), KN_OK);
    assert_int_equal(kn_cache_list_count(list), 0);
    kn_cache_list_free(list);
    assert_int_equal(kn_hub_cache_list(NULL, &list, NULL), KN_ERR_INVALID);
    assert_null(list);
    kn_hub_close(hub);
}

static kn_status list_once(void *hub, kn_error *err)
{
    kn_cache_list *list = NULL;
    const kn_status st = kn_hub_cache_list(hub, &list, err);
    assert_int_equal(st == KN_OK, list != NULL);
    kn_cache_list_free(list);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = make();
    char name[256];
    kn_hub *hub = open_hub(dir);
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", cache_blob_name("left over", 64));
    temp_dir_text(dir, name, "left over");
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, list_once, hub) > 10);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),   cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_remove), cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
