// Which variants of a snapshot are whole.
#include "base/alloc.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define SNAPSHOT CACHE_REPO "/snapshots/" CACHE_COMMIT_1
#define TREE CACHE_REPO "/trees/" CACHE_COMMIT_1 ".json"
#define DIGEST                                                                                     \
    "{\"digest\": {\"algorithm\": \"sha256\", \"files\": {\"a.so\": \"x\", \"sub/b.py\": \"y\"}}}"

static void add(const char *dir, const char *path, const char *content)
{
    cache_file(dir, CACHE_COMMIT_1, path, content);
}

static void drop(const char *dir, const char *path)
{
    char name[256];
    snprintf(name, sizeof(name), SNAPSHOT "/%s", path);
    assert_int_equal(unlink(temp_dir_path(dir, name)), 0);
}

static void drop_blob(const char *dir, const char *content)
{
    char name[256];
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", cache_blob_name(content, 40));
    assert_int_equal(unlink(temp_dir_path(dir, name)), 0);
}

static void make_digested(const char *dir)
{
    add(dir, "build/v/metadata.json", DIGEST);
    add(dir, "build/v/a.so", "a");
    add(dir, "build/v/sub/b.py", "b");
}

static void make_digest_lacks(const char *dir)
{
    make_digested(dir);
    drop(dir, "build/v/sub/b.py");
}

static void make_digest_lacks_blob(const char *dir)
{
    make_digested(dir);
    drop_blob(dir, "b");
}

static void make_digest_planted(const char *dir)
{
    make_digested(dir);
    drop(dir, "build/v/a.so");
    temp_dir_link(dir, SNAPSHOT "/build/v/a.so", "/etc/passwd");
}

static void make_digest_changed(const char *dir)
{
    make_digested(dir);
    FILE *file = fopen(temp_dir_path(dir, SNAPSHOT "/build/v/metadata.json"), "w");
    fputs("{}", file);
    fclose(file);
}

static void make_digest_garbage(const char *dir)
{
    make_digested(dir);
    drop(dir, "build/v/metadata.json");
    add(dir, "build/v/metadata.json", "{\"digest\": {\"files\": {\"../../../x\": \"y\"}}}");
}

static void make_regular(const char *dir)
{
    temp_dir_text(dir, SNAPSHOT "/build/v/metadata.json", DIGEST);
    temp_dir_text(dir, SNAPSHOT "/build/v/a.so", "a");
    temp_dir_text(dir, SNAPSHOT "/build/v/sub/b.py", "b");
}

static void make_bare(const char *dir)
{
    add(dir, "build/v/metadata.json", "{}");
}

static void make_no_metadata(const char *dir)
{
    add(dir, "build/v/a.so", "a");
}

// As huggingface_hub keeps it: all files of the commit, those that nobody downloaded too.
static void make_listed(const char *dir)
{
    make_bare(dir);
    add(dir, "build/v/a.so", "a");
    temp_dir_text(dir, TREE,
                  "{\"format_version\": 1, \"files\": {"
                  "\"README.md\": {\"size\": 9, \"blob_id\": \"" CACHE_COMMIT_1 "\"},"
                  "\"build/other/a.so\": {\"size\": 9, \"blob_id\": \"" CACHE_COMMIT_1 "\"},"
                  "\"build/vv/a.so\": {\"size\": 9, \"blob_id\": \"" CACHE_COMMIT_1 "\"},"
                  "\"build/v/x.pyc\": {\"size\": 9, \"blob_id\": \"" CACHE_COMMIT_1 "\"},"
                  "\"build/v/__pycache__/x.py\": {\"size\": 9, \"blob_id\": \"" CACHE_COMMIT_1
                  "\"},"
                  "\"build/v/metadata.json\": {\"size\": 2, \"blob_id\": \"" CACHE_COMMIT_1 "\"},"
                  "\"build/v/a.so\": {\"size\": 1, \"blob_id\": \"" CACHE_COMMIT_1 "\"}}}");
}

static void make_listed_lacks(const char *dir)
{
    make_listed(dir);
    drop(dir, "build/v/a.so");
}

static void make_listed_size(const char *dir)
{
    make_listed(dir);
    drop(dir, "build/v/a.so");
    add(dir, "build/v/a.so", "longer");
}

static void make_listed_garbage(const char *dir)
{
    make_bare(dir);
    temp_dir_text(dir, TREE, "garbage");
}

static void make_listed_link(const char *dir)
{
    make_listed_lacks(dir);
    assert_int_equal(rename(temp_dir_path(dir, TREE), temp_dir_path(dir, CACHE_REPO "/tree")), 0);
    temp_dir_link(dir, TREE, "../tree");
}

// The digest block decides, not the hint.
static void make_both(const char *dir)
{
    make_listed_lacks(dir);
    drop(dir, "build/v/metadata.json");
    make_digested(dir);
    drop(dir, "build/v/sub/b.py");
    add(dir, "build/v/sub/b.py", "c");
}

static void make_linked_variant(const char *dir)
{
    make_digested(dir);
    assert_int_equal(
        rename(temp_dir_path(dir, SNAPSHOT "/build/v"), temp_dir_path(dir, SNAPSHOT "/build/.w")),
        0);
    temp_dir_link(dir, SNAPSHOT "/build/v", ".w");
}

static const struct {
    const char *name;
    void (*make)(const char *dir);
    bool is_whole;
} rows[] = {
    {"all that the digest block lists", make_digested, true},
    {"a file is missing", make_digest_lacks, false},
    {"a blob is missing", make_digest_lacks_blob, false},
    {"a link leads out", make_digest_planted, false},
    {"metadata.json does not hash to its blob", make_digest_changed, false},
    {"a hostile path in the digest block", make_digest_garbage, false},
    {"regular files", make_regular, true},
    {"metadata.json alone, nothing says more", make_bare, true},
    {"no metadata.json", make_no_metadata, false},
    {"all that the listing has for it", make_listed, true},
    {"a listed file is missing", make_listed_lacks, false},
    {"a listed file has another size", make_listed_size, false},
    {"a listing that is garbage", make_listed_garbage, true},
    {"a listing that is a link", make_listed_link, true},
    {"the digest block goes before the listing", make_both, true},
    {"the variant is a link", make_linked_variant, false},
};

static bool has_variant(const kni_cache *cache, const char *variant)
{
    const kni_repo repo = cache_repo();
    bool yes = false;
    assert_int_equal(
        kni_cache_has_variant(cache, &repo, CACHE_COMMIT_1, variant, false, &yes, NULL), KN_OK);
    return yes;
}

static void test_whole(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new();
        kni_cache *cache = cache_open(dir);
        kni_names names;
        print_message("  %s\n", rows[i].name);
        rows[i].make(dir);
        assert_int_equal(kni_cache_list_variants(cache, &repo, CACHE_COMMIT_1, false, &names, NULL),
                         KN_OK);
        assert_int_equal(names.count, rows[i].is_whole ? 1 : 0);
        if (names.count)
            assert_string_equal(names.names[0], "v");
        assert_int_equal(has_variant(cache, "v"), rows[i].is_whole);
        kni_names_free(&names);
        kni_cache_free(cache);
        temp_dir_remove(dir);
    }
}

static void test_several(void **state)
{
    (void)state;
    static const char *const refused[] = {"", ".", "..", "v/sub", "../build/v", ".hidden", "x"};
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_names names;
    kn_error err = KN_ERROR_INIT;
    make_digested(dir);
    add(dir, "build/a/metadata.json", "{}");
    add(dir, "build/.hidden/metadata.json", "{}");
    add(dir, "build/metadata.json", "{}");
    add(dir, "build/broken/other", "");
    assert_int_equal(kni_cache_list_variants(cache, &repo, CACHE_COMMIT_1, false, &names, NULL),
                     KN_OK);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], "a");
    assert_string_equal(names.names[1], "v");
    kni_names_free(&names);
    for (size_t i = 0; i < KN_LEN(refused); ++i)
        assert_false(has_variant(cache, refused[i]));
    // No snapshot, none without build/, and one whose way is planted.
    assert_int_equal(kni_cache_list_variants(cache, &repo, CACHE_COMMIT_2, false, &names, NULL),
                     KN_OK);
    assert_int_equal(names.count, 0);
    cache_file(dir, CACHE_COMMIT_2, "README.md", "text");
    assert_int_equal(kni_cache_list_variants(cache, &repo, CACHE_COMMIT_2, false, &names, NULL),
                     KN_OK);
    assert_int_equal(names.count, 0);
    temp_dir_link(dir, CACHE_REPO "/snapshots/" CACHE_COMMIT_2 "/build",
                  "../" CACHE_COMMIT_1 "/build");
    assert_int_equal(kni_cache_list_variants(cache, &repo, CACHE_COMMIT_2, false, &names, &err),
                     KN_ERR_UNTRUSTED);
    cache_expect_error(&err, "/build: is a link");
    assert_int_equal(names.count, 0);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static kn_status list_once(void *user, kn_error *err)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = NULL;
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_cache_new(user, false, false, &cache, err);
    if (st == KN_OK)
        st = kni_cache_list_variants(cache, &repo, CACHE_COMMIT_1, false, &names, err);
    if (st == KN_OK)
        assert_int_equal(names.count, 2);
    kni_names_free(&names);
    kni_cache_free(cache);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    make_listed(dir);
    add(dir, "build/w/metadata.json", DIGEST);
    add(dir, "build/w/a.so", "a");
    add(dir, "build/w/sub/b.py", "b");
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, list_once, dir) > 20);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
