// Refs and commits: which of them count, and how a ref is written.
#include "base/alloc.h"
#include "hub/cache_write.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define REFS CACHE_REPO "/refs/"

static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *ref, *content; // content NULL: not made
        kn_status status;
        const char *error;
    } rows[] = {
        {"plain", "main", CACHE_COMMIT_1, KN_OK, NULL},
        {"white space around it", "main", " " CACHE_COMMIT_1 "\r\n", KN_OK, NULL},
        {"nested", "refs/pr/1", CACHE_COMMIT_1, KN_OK, NULL},
        {"none", "main", NULL, KN_ERR_NOT_FOUND, "main"},
        {"none, nested", "a/b", NULL, KN_ERR_NOT_FOUND, "refs/a"},
        {"empty", "main", "", KN_ERR_FORMAT, "expected a commit"},
        {"short", "main", "1111111", KN_ERR_FORMAT, "holds '1111111'"},
        {"upper case", "main", "ABCDEF1111111111111111111111111111111111", KN_ERR_FORMAT,
         "expected a commit"},
        {"a path", "main", "../../../../../../../../../etc/passwd-xxxx", KN_ERR_FORMAT,
         "expected a commit"},
        {"two commits", "main", CACHE_COMMIT_1 "\n" CACHE_COMMIT_2, KN_ERR_FORMAT,
         "expected a commit"},
        {"a ref out of refs/", "../main", NULL, KN_ERR_INVALID, "../main"},
    };
    const kni_repo repo = cache_repo();
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char commit[KNI_COMMIT_SIZE];
        kn_error err = KN_ERROR_INIT;
        char *dir = temp_dir_new();
        kni_cache *cache = cache_open(dir);
        print_message("  %s\n", rows[i].name);
        cache_ref(dir, "other", CACHE_COMMIT_1);
        if (rows[i].content)
            cache_ref(dir, rows[i].ref, rows[i].content);
        assert_int_equal(kni_cache_read_ref(cache, &repo, rows[i].ref, commit, &err),
                         rows[i].status);
        assert_string_equal(commit, rows[i].status == KN_OK ? CACHE_COMMIT_1 : "");
        if (rows[i].error)
            cache_expect_error(&err, rows[i].error);
        kni_cache_free(cache);
        temp_dir_remove(dir);
    }
}

static void test_read_hostile(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char commit[KNI_COMMIT_SIZE];
    kn_error err = KN_ERROR_INIT;
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    cache_ref(dir, "main", CACHE_COMMIT_1);
    temp_dir_link(dir, REFS "link", "main");
    temp_dir_link(dir, REFS "nowhere", "none");
    temp_dir_text(dir, "outside/main", CACHE_COMMIT_1);
    temp_dir_link(dir, REFS "dir", "../../outside");
    assert_int_equal(mkfifo(temp_dir_path(dir, REFS "fifo"), 0666), 0);
    static const char *const refused[] = {"link", "nowhere", "dir/main", "fifo"};
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        print_message("  %s\n", refused[i]);
        assert_int_equal(kni_cache_read_ref(cache, &repo, refused[i], commit, &err),
                         KN_ERR_UNTRUSTED);
        kn_error_dispose(&err);
    }
    char *big = malloc(1 << 20);
    memset(big, '1', 1 << 20);
    temp_dir_write(dir, REFS "big", big, 1 << 20);
    free(big);
    assert_int_equal(kni_cache_read_ref(cache, &repo, "big", commit, &err), KN_ERR_FORMAT);
    cache_expect_error(&err, "larger than");
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void test_list(void **state)
{
    (void)state;
    static const char *const wanted[] = {"main", "refs/pr/1", "v1"};
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_ref_list refs;
    assert_int_equal(kni_cache_list_refs(cache, &repo, &refs, NULL), KN_OK);
    assert_int_equal(refs.count, 0);
    assert_false(kni_cache_has_repo(cache, &repo));
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    assert_true(kni_cache_has_repo(cache, &repo));
    cache_ref(dir, "v1", CACHE_COMMIT_1);
    cache_ref(dir, "main", CACHE_COMMIT_1 "\n");
    cache_ref(dir, "refs/pr/1", CACHE_COMMIT_1);
    cache_ref(dir, "gone", CACHE_COMMIT_2); // no snapshot
    cache_ref(dir, "garbage", "garbage");
    cache_ref(dir, "v1.0a1b2c3d.tmp", CACHE_COMMIT_1); // of huggingface_hub
    cache_ref(dir, "v1.lock", CACHE_COMMIT_1);
    cache_ref(dir, "-v2", CACHE_COMMIT_1);
    temp_dir_link(dir, REFS "link", "main");
    temp_dir_link(dir, REFS "dir", "refs");
    assert_int_equal(mkfifo(temp_dir_path(dir, REFS "fifo"), 0666), 0);
    char deep[256] = "";
    for (int i = 0; i < 60; ++i)
        strcat(deep, "d/");
    strcat(deep, "x");
    cache_ref(dir, deep, CACHE_COMMIT_1);
    assert_int_equal(kni_cache_list_refs(cache, &repo, &refs, NULL), KN_OK);
    assert_int_equal(refs.count, KN_LEN(wanted));
    for (size_t i = 0; i < refs.count; ++i) {
        assert_string_equal(refs.refs[i].name, wanted[i]);
        assert_string_equal(refs.refs[i].commit, CACHE_COMMIT_1);
    }
    kni_refs all = {.branches = refs};
    kni_refs_dispose(&all);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void test_commits(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_names names;
    assert_int_equal(kni_cache_list_commits(cache, &repo, "", &names, NULL), KN_OK);
    assert_int_equal(names.count, 0);
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    cache_file(dir, CACHE_COMMIT_2, "build/v/file", "content");
    cache_file(dir, "main", "build/v/file", "content");
    temp_dir_text(dir, CACHE_REPO "/snapshots/3333333333333333333333333333333333333333", "");
    temp_dir_link(dir, CACHE_REPO "/snapshots/4444444444444444444444444444444444444444",
                  CACHE_COMMIT_1);
    assert_int_equal(kni_cache_list_commits(cache, &repo, "", &names, NULL), KN_OK);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], CACHE_COMMIT_1);
    assert_string_equal(names.names[1], CACHE_COMMIT_2);
    kni_names_free(&names);
    assert_int_equal(kni_cache_list_commits(cache, &repo, "2222222", &names, NULL), KN_OK);
    assert_int_equal(names.count, 1);
    kni_names_free(&names);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void expect_file(const char *dir, const char *name, const char *content)
{
    kni_buf text = KNI_BUF(100);
    assert_int_equal(kni_file_read(&text, temp_dir_path(dir, name), NULL), KN_OK);
    assert_string_equal(kni_buf_text(&text), content);
    kni_buf_dispose(&text);
}

static size_t count_names(const char *dir, const char *name)
{
    kni_names names;
    assert_int_equal(kni_dir_list(temp_dir_path(dir, name), &names, NULL), KN_OK);
    const size_t count = names.count;
    kni_names_free(&names);
    return count;
}

static void test_write(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    struct stat before, after;
    kn_error err = KN_ERROR_INIT;
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_2, &err),
                     KN_ERR_NOT_FOUND);
    cache_expect_error(&err, CACHE_COMMIT_2);
    assert_int_not_equal(access(temp_dir_path(dir, CACHE_REPO "/refs"), F_OK), 0);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "../../v1", CACHE_COMMIT_1, NULL),
                     KN_ERR_INVALID);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", "main", NULL), KN_ERR_INVALID);

    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, NULL), KN_OK);
    expect_file(dir, REFS "v1", CACHE_COMMIT_1);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "refs/pr/1", CACHE_COMMIT_1, NULL), KN_OK);
    expect_file(dir, REFS "refs/pr/1", CACHE_COMMIT_1);
    assert_int_equal(count_names(dir, CACHE_REPO "/refs"), 2);
    assert_int_equal(count_names(dir, CACHE_REPO "/blobs"), 1); // no temporary

    // Not written when nothing changes; a newline is a change.
    assert_int_equal(stat(temp_dir_path(dir, REFS "v1"), &before), 0);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, NULL), KN_OK);
    assert_int_equal(stat(temp_dir_path(dir, REFS "v1"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    cache_ref(dir, "v1", CACHE_COMMIT_1 "\n");
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, NULL), KN_OK);
    expect_file(dir, REFS "v1", CACHE_COMMIT_1);
    cache_ref(dir, "v1", CACHE_COMMIT_2);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, NULL), KN_OK);
    expect_file(dir, REFS "v1", CACHE_COMMIT_1);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

// What a planted link leads to is not written.
static void test_write_hostile(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_cache *site = NULL;
    kn_error err = KN_ERROR_INIT;
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    temp_dir_text(dir, "outside/file", "before");
    cache_ref(dir, "main", CACHE_COMMIT_1);
    temp_dir_link(dir, REFS "link", "../../outside/file");
    temp_dir_link(dir, REFS "dir", "../../outside");
    assert_int_equal(kni_cache_write_ref(cache, &repo, "link", CACHE_COMMIT_1, NULL), KN_OK);
    expect_file(dir, "outside/file", "before");
    expect_file(dir, REFS "link", CACHE_COMMIT_1);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "dir/file", CACHE_COMMIT_1, &err),
                     KN_ERR_UNTRUSTED);
    cache_expect_error(&err, "refs/dir: is a link");
    expect_file(dir, "outside/file", "before");
    // A ref below another ref.
    assert_int_equal(kni_cache_write_ref(cache, &repo, "main/x", CACHE_COMMIT_1, &err),
                     KN_ERR_UNTRUSTED);
    cache_expect_error(&err, "refs/main: is not a directory");
    assert_int_equal(mkdir(temp_dir_path(dir, REFS "v1"), 0777), 0);
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, &err), KN_ERR_IO);
    cache_expect_error(&err, "refs/v1");
    assert_int_equal(count_names(dir, CACHE_REPO "/blobs"), 1);

    assert_int_equal(kni_cache_new(dir, true, false, &site, NULL), KN_OK);
    assert_int_equal(kni_cache_write_ref(site, &repo, "new", CACHE_COMMIT_1, &err), KN_ERR_INVALID);
    cache_expect_error(&err, "site's cache");
    kni_cache_free(site);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void other_user(void *user)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = cache_open(user);
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v2", CACHE_COMMIT_1, &err), KN_ERR_IO);
    cache_expect_error(&err, "it belongs to uid 0, this is uid 65534");
    // Nothing to change: nothing is written.
    assert_int_equal(kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, NULL), KN_OK);
    kni_cache_free(cache);
}

static void test_other_user(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    assert_int_equal(chmod(dir, 0755), 0);
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    cache_ref(dir, "v1", CACHE_COMMIT_1);
    cache_in_child(cache_other_user, other_user, dir);
    temp_dir_remove(dir);
}

static kn_status all_once(void *user, kn_error *err)
{
    const kni_repo repo = cache_repo();
    char commit[KNI_COMMIT_SIZE];
    kni_cache *cache = NULL;
    kni_names names = {NULL, 0, 0};
    kni_refs refs = {.branches = {NULL, 0, 0}};
    kn_status st = kni_cache_new(user, false, false, &cache, err);
    if (st == KN_OK)
        st = kni_cache_list_refs(cache, &repo, &refs.branches, err);
    if (st == KN_OK)
        st = kni_cache_list_commits(cache, &repo, "", &names, err);
    if (st == KN_OK)
        st = kni_cache_read_ref(cache, &repo, "refs/pr/1", commit, err);
    if (st == KN_OK) { // back and forth, so that it is written each time
        cache_ref(user, "v1", CACHE_COMMIT_2);
        st = kni_cache_write_ref(cache, &repo, "v1", CACHE_COMMIT_1, err);
    }
    kni_refs_dispose(&refs);
    kni_names_free(&names);
    kni_cache_free(cache);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
    cache_ref(dir, "v1", CACHE_COMMIT_1);
    cache_ref(dir, "refs/pr/1", CACHE_COMMIT_1);
    assert_true(fail_alloc_each(FAIL_OURS, all_once, dir) > 20);
    temp_dir_remove(dir);
}

static void test_new(void **state)
{
    (void)state;
    kni_cache *cache = NULL;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_new("relative", false, false, &cache, &err), KN_ERR_INVALID);
    cache_expect_error(&err, "'relative'");
    assert_null(cache);
    assert_int_equal(kni_cache_new("/a/b//", true, false, &cache, NULL), KN_OK);
    assert_string_equal(kni_cache_dir(cache), "/a/b");
    assert_true(kni_cache_is_site(cache));
    kni_cache_free(cache);
    kni_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),           cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_hostile),  cmocka_unit_test(test_list),
        cmocka_unit_test(test_commits),       cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_hostile), cmocka_unit_test(test_other_user),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
