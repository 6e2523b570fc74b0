// What is in a cache, how large it is, and how it goes away.
#include <fcntl.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "hub/cache_write.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define COMMIT_3 "3333333333333333333333333333333333333333"
#define XET "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"

static size_t count_names(const char *dir, const char *name)
{
    kni_names names;
    assert_int_equal(kni_dir_list(temp_dir_path(dir, name), &names, NULL), KN_OK);
    const size_t count = names.count;
    kni_names_free(&names);
    return count;
}

static const char *blob_path(const char *content)
{
    static char name[256];
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", cache_blob_name(content, 40));
    return name;
}

// Two snapshots that share a file; strangers beside them.
static char *make(void)
{
    char *dir = temp_dir_new();
    cache_file(dir, CACHE_COMMIT_1, "build/v/metadata.json", "{}");
    cache_file(dir, CACHE_COMMIT_1, "build/v/a", "shared by both");
    cache_file(dir, CACHE_COMMIT_1, "build/v/b", "one");
    cache_file(dir, CACHE_COMMIT_1, "build/v/c", "one"); // the same blob twice
    cache_file(dir, CACHE_COMMIT_2, "build/v/a", "shared by both");
    cache_file(dir, CACHE_COMMIT_2, "build/v/b", "another");
    temp_dir_text(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_2 "/build/v/regular", "12345");
    temp_dir_link(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_2 "/build/v/planted", "/etc/passwd");
    cache_ref(dir, "main", CACHE_COMMIT_1);
    cache_ref(dir, "refs/pr/1", CACHE_COMMIT_1);
    cache_ref(dir, "v2", CACHE_COMMIT_2);
    temp_dir_text(dir, CACHE_REPO "/trees/" CACHE_COMMIT_1 ".json", "{}");
    temp_dir_text(dir, CACHE_REPO "/.no_exist/" CACHE_COMMIT_1 "/kernel-status.toml", "");
    temp_dir_text(dir, CACHE_REPO "/.no_exist/" CACHE_COMMIT_2 "/kernel-status.toml", "");
    temp_dir_text(dir, "CACHEDIR.TAG", "");
    temp_dir_text(dir, "models--owner--language/snapshots/" CACHE_COMMIT_1 "/config.json", "{}");
    temp_dir_text(dir, "models--old--kernel/snapshots/" CACHE_COMMIT_1 "/build/v/metadata.json",
                  "{}");
    temp_dir_text(dir, "models--gpt2/snapshots/" CACHE_COMMIT_1 "/build/x", "");
    temp_dir_text(dir, "datasets--a--b/snapshots/" CACHE_COMMIT_1 "/build/x", "");
    temp_dir_text(dir, "kernels--a--b--c/snapshots/" CACHE_COMMIT_1 "/build/x", "");
    temp_dir_text(dir, "kernels--a--..--/snapshots/" CACHE_COMMIT_1 "/build/x", "");
    temp_dir_text(dir, "kernels--file--file", "");
    temp_dir_text(dir, "elsewhere/snapshots/" CACHE_COMMIT_1 "/build/x", "");
    temp_dir_link(dir, "kernels--linked--repo", "elsewhere");
    return dir;
}

static void test_scan(void **state)
{
    (void)state;
    static const struct {
        const char *id, *commit;
        kni_repo_type type;
        size_t n_refs, n_variants;
        uint64_t size, unique;
    } wanted[] = {
        {"owner/name", CACHE_COMMIT_1, KNI_REPO_KERNEL, 2, 1, 2 + 14 + 3, 2 + 3},
        {"owner/name", CACHE_COMMIT_2, KNI_REPO_KERNEL, 1, 0, 14 + 7 + 5, 7 + 5},
        {"old/kernel", CACHE_COMMIT_1, KNI_REPO_MODEL, 0, 1, 2, 2},
    };
    char *dir = make();
    kni_cache *cache = cache_open(dir);
    kni_cache_items items;
    assert_int_equal(kni_cache_scan(cache, &items, NULL), KN_OK);
    assert_int_equal(items.count, KN_LEN(wanted));
    for (size_t i = 0; i < items.count; ++i) {
        const kni_cache_item *item = &items.items[i];
        print_message("  %s %s\n", wanted[i].id, wanted[i].commit);
        assert_string_equal(item->repo.id, wanted[i].id);
        assert_int_equal(item->repo.type, wanted[i].type);
        assert_string_equal(item->commit, wanted[i].commit);
        assert_int_equal(item->refs.count, wanted[i].n_refs);
        assert_int_equal(item->variants.count, wanted[i].n_variants);
        assert_int_equal(item->size_bytes, wanted[i].size);
        assert_int_equal(item->unique_bytes, wanted[i].unique);
        assert_true(item->modified > 1700000000);
    }
    kni_cache_items_dispose(&items);
    kni_cache_free(cache);
    cache = cache_open(temp_dir_path(dir, "none"));
    assert_int_equal(kni_cache_scan(cache, &items, NULL), KN_OK);
    assert_int_equal(items.count, 0);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static bool is_there(const char *dir, const char *name)
{
    struct stat info;
    return lstat(temp_dir_path(dir, name), &info) == 0;
}

static void test_remove(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = make();
    kni_cache *cache = cache_open(dir);
    uint64_t freed = 1;
    kn_error err = KN_ERROR_INIT;
    cache_ref(dir, "left.0a1b2c3d.tmp", CACHE_COMMIT_1); // huggingface_hub would read it as a ref
    assert_int_equal(kni_cache_remove(cache, &repo, COMMIT_3, &freed, &err), KN_ERR_NOT_FOUND);
    cache_expect_error(&err, COMMIT_3);
    assert_int_equal(freed, 0);
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, NULL), KN_OK);
    assert_int_equal(freed, 2 + 3);
    assert_false(is_there(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_1));
    assert_false(is_there(dir, CACHE_REPO "/trees/" CACHE_COMMIT_1 ".json"));
    assert_false(is_there(dir, CACHE_REPO "/.no_exist/" CACHE_COMMIT_1));
    assert_true(is_there(dir, CACHE_REPO "/.no_exist/" CACHE_COMMIT_2));
    assert_int_equal(count_names(dir, CACHE_REPO "/refs"), 1); // v2
    assert_int_equal(count_names(dir, CACHE_REPO "/blobs"), 2);
    assert_true(is_there(dir, blob_path("shared by both")));
    assert_true(is_there(dir, blob_path("another")));
    assert_false(is_there(dir, blob_path("one")));
    // The last: the folder goes, with what no snapshot ever named.
    temp_dir_text(dir, blob_path("orphan"), "orphan");
    temp_dir_text(dir, CACHE_REPO "/blobs/" COMMIT_3 ".0a1b2c3d.incomplete", "1234");
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_2, &freed, NULL), KN_OK);
    assert_int_equal(freed, 14 + 7 + 5 + 6 + 4);
    assert_false(is_there(dir, CACHE_REPO));
    assert_int_equal(count_names(dir, ".locks"), 0);
    assert_true(kni_file_exists("/etc/passwd"));
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_2, &freed, NULL),
                     KN_ERR_NOT_FOUND);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

// What somebody else holds or put there stays.
static void test_remove_busy(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_cache_writer *writer = NULL;
    kni_blob_file file;
    kni_blob_lock lock;
    uint64_t freed;
    cache_file(dir, CACHE_COMMIT_1, "build/v/a", "held");
    cache_file(dir, CACHE_COMMIT_1, "build/v/b", "free");
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK);
    assert_int_equal(kni_cache_begin_blob(writer, COMMIT_3, 4, &file, NULL), KN_OK);
    assert_int_equal(kni_cache_lock_blob(writer, cache_blob_name("held", 40), &lock, NULL), KN_OK);
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, NULL), KN_OK);
    assert_int_equal(freed, 4);
    assert_true(is_there(dir, blob_path("held")));
    assert_false(is_there(dir, blob_path("free")));
    // The writer goes on as if nothing had been.
    assert_int_equal(kni_cache_append_blob(writer, &file, "1234", 4, NULL), KN_OK);
    assert_int_equal(kni_cache_commit_blob(writer, &file, NULL), KN_OK);
    assert_int_equal(kni_cache_link_file(writer, CACHE_COMMIT_2, "x", COMMIT_3, true, NULL), KN_OK);
    kni_cache_unlock_blob(&lock);
    temp_dir_text(dir, CACHE_REPO "/stranger", "");
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_2, &freed, NULL), KN_OK);
    assert_int_equal(freed, 4 + 4);
    assert_int_equal(count_names(dir, CACHE_REPO "/blobs"), 0);
    assert_true(is_there(dir, CACHE_REPO "/snapshots")); // else it would count as corrupt
    assert_true(is_there(dir, CACHE_REPO "/stranger"));
    kni_cache_writer_close(writer);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void test_shared_store(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_cache_items items;
    uint64_t freed;
    cache_file(dir, CACHE_COMMIT_1, "build/v/a", "content");
    cache_file(dir, CACHE_COMMIT_1, "build/v/b", "own");
    temp_dir_text(dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_text(dir, "blobs/ab/" XET, "content");
    temp_dir_text(dir, "blobs/ab/" XET ".refs", "x");
    assert_int_equal(unlink(temp_dir_path(dir, blob_path("content"))), 0);
    temp_dir_link(dir, blob_path("content"), "../../blobs/ab/" XET);
    assert_int_equal(kni_cache_scan(cache, &items, NULL), KN_OK);
    assert_int_equal(items.count, 1);
    assert_int_equal(items.items[0].size_bytes, 7 + 3);
    assert_int_equal(items.items[0].unique_bytes, 3);
    kni_cache_items_dispose(&items);
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, NULL), KN_OK);
    assert_int_equal(freed, 3);
    assert_false(is_there(dir, CACHE_REPO));
    assert_true(is_there(dir, "blobs/ab/" XET));
    assert_true(is_there(dir, "blobs/ab/" XET ".refs"));
    assert_true(is_there(dir, "blobs/.huggingface-shared-blobs"));
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

// Nothing outside is removed through a planted link.
static void test_remove_hostile(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    char *outside = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_cache *site = NULL;
    uint64_t freed;
    kn_error err = KN_ERROR_INIT;
    temp_dir_text(outside, CACHE_COMMIT_1 "/keep", CACHE_COMMIT_1);
    temp_dir_text(outside, "main", CACHE_COMMIT_1);
    cache_file(dir, CACHE_COMMIT_1, "build/v/a", "content");
    temp_dir_link(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_1 "/dir", outside);
    temp_dir_link(dir, CACHE_REPO "/trees", outside);
    temp_dir_link(dir, CACHE_REPO "/.no_exist", outside);
    cache_ref(dir, "v1", CACHE_COMMIT_1);
    temp_dir_link(dir, CACHE_REPO "/refs/dir", outside);
    assert_int_equal(kni_cache_new(dir, true, false, &site, NULL), KN_OK);
    assert_int_equal(kni_cache_remove(site, &repo, CACHE_COMMIT_1, &freed, &err), KN_ERR_INVALID);
    cache_expect_error(&err, "site's cache");
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, NULL), KN_OK);
    assert_false(is_there(dir, CACHE_REPO));
    assert_true(is_there(outside, CACHE_COMMIT_1 "/keep"));
    assert_true(is_there(outside, "main"));
    // The snapshot itself, or all of them, behind a link.
    temp_dir_link(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_1, outside);
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, &err),
                     KN_ERR_UNTRUSTED);
    cache_expect_error(&err, "is a link");
    assert_int_equal(rename(temp_dir_path(dir, CACHE_REPO), temp_dir_path(dir, "elsewhere")), 0);
    temp_dir_link(dir, CACHE_REPO, outside);
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, NULL),
                     KN_ERR_UNTRUSTED);
    assert_true(is_there(outside, CACHE_COMMIT_1 "/keep"));
    kni_cache_free(site);
    kni_cache_free(cache);
    temp_dir_remove(outside);
    temp_dir_remove(dir);
}

static void other_user(void *user)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = cache_open(user);
    uint64_t freed;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, &err), KN_ERR_IO);
    cache_expect_error(&err, "it belongs to uid 0, this is uid 65534");
    kni_cache_free(cache);
}

static void test_other_user(void **state)
{
    (void)state;
    char *dir = make();
    assert_int_equal(chmod(dir, 0755), 0);
    cache_in_child(cache_other_user, other_user, dir);
    assert_true(is_there(dir, CACHE_REPO "/refs/main"));
    assert_true(is_there(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_1 "/build/v/a"));
    temp_dir_remove(dir);
}

static kn_status all_once(void *user, kn_error *err)
{
    (void)user;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = NULL;
    kni_cache_items items = {NULL, 0, 0};
    uint64_t freed;
    cache_file(dir, CACHE_COMMIT_1, "build/v/metadata.json", "{}");
    cache_file(dir, CACHE_COMMIT_2, "build/v/metadata.json", "{ }");
    cache_ref(dir, "main", CACHE_COMMIT_1);
    kn_status st = kni_cache_new(dir, false, false, &cache, err);
    if (st == KN_OK)
        st = kni_cache_scan(cache, &items, err);
    if (st == KN_OK)
        st = kni_cache_remove(cache, &repo, CACHE_COMMIT_1, &freed, err);
    if (st == KN_OK)
        st = kni_cache_remove(cache, &repo, CACHE_COMMIT_2, &freed, err);
    kni_cache_items_dispose(&items);
    kni_cache_free(cache);
    temp_dir_remove(dir);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, all_once, NULL) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),           cmocka_unit_test(test_remove),
        cmocka_unit_test(test_remove_busy),    cmocka_unit_test(test_shared_store),
        cmocka_unit_test(test_remove_hostile), cmocka_unit_test(test_other_user),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
