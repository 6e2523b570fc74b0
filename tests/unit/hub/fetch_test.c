// Listing and fetching: what is asked, what is checked, what lies in the cache afterwards.
#include "hub/hub_world.h"

#include <sys/stat.h>
#include <unistd.h>

#define TREE "/api/kernels/o/n/tree/" WORLD_A "/build?recursive=true&expand=false"
#define FILE_AT(name) "/kernels/o/n/resolve/" WORLD_A "/build/" WORLD_VARIANT "/" name
#define LIBRARY "\177ELF of a kind"
#define OTHER "tvm-ffi01-cu128-x86_64-linux"

typedef struct listing {
    char tree[4096];
} listing;

static void name_blob(const char *content, size_t n_digits, char out[KNI_SHA256_SIZE])
{
    assert_int_equal(kni_blob_hash_bytes(n_digits, content, strlen(content), out, NULL), KN_OK);
}

// A variant of two files, a compiled Python file that is never wanted, and one of another variant.
static void answer_files(hub_world *w, listing *l)
{
    char metadata[KNI_SHA256_SIZE], library[KNI_SHA256_SIZE];
    name_blob(WORLD_METADATA, 40, metadata);
    name_blob(LIBRARY, 64, library);
    snprintf(l->tree, sizeof(l->tree),
             "[{\"type\": \"directory\", \"path\": \"build/" WORLD_VARIANT "\", \"oid\": \"" WORLD_B
             "\", \"size\": 0},"
             "{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT
             "/metadata.json\", \"oid\": \"%s\", \"size\": %zu},"
             "{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT "/k.so\", \"oid\": \"" WORLD_C
             "\", \"size\": %zu,"
             " \"lfs\": {\"oid\": \"%s\", \"size\": %zu, \"pointerSize\": 130}},"
             "{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT
             "/__pycache__/k.pyc\", \"oid\": \"" WORLD_D "\", \"size\": 7},"
             "{\"type\": \"file\", \"path\": \"build/" OTHER
             "/metadata.json\", \"oid\": \"%s\", \"size\": %zu}]",
             metadata, strlen(WORLD_METADATA), strlen(LIBRARY), library, strlen(LIBRARY), metadata,
             strlen(WORLD_METADATA));
    hub_world_answer(w, TREE, l->tree);
    hub_world_answer(w, "/api/kernels/o/n/refs", WORLD_REFS);
    hub_world_answer(w, FILE_AT("metadata.json"), WORLD_METADATA);
}

static kn_revision *resolve(hub_world *w, const char *revision_name)
{
    kn_revision *revision = NULL;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kn_hub_resolve(
        w->hub, KN_HUB_WISH(.repo_id = "o/n", .revision = revision_name, .trust_remote_code = 1),
        &revision, NULL, &err);
    if (st != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    return revision;
}

static bool is_there(hub_world *w, const char *name)
{
    struct stat info;
    return lstat(temp_dir_path(w->dir, name), &info) == 0;
}

#define SNAPSHOT "cache/kernels--o--n/snapshots/" WORLD_A "/build/" WORLD_VARIANT

static void test_fetch(void **state)
{
    (void)state;
    hub_world w;
    listing l;
    char *dir = NULL, *text = NULL;
    size_t size = 0;
    kn_variants *variants = NULL;
    kn_error err = KN_ERROR_INIT;
    hub_world_init(&w);
    answer_files(&w, &l);
    hub_world_answer(&w, FILE_AT("k.so"), LIBRARY);
    hub_world_open(&w, 0, true);
    kn_revision *revision = resolve(&w, "main");

    assert_int_equal(kn_hub_list(w.hub, revision, &variants, NULL), KN_OK);
    assert_int_equal(kn_variants_count(variants), 2);
    assert_true(kn_variants_is_whole(variants));
    assert_string_equal(kn_variants_name(variants, 0), WORLD_VARIANT);
    assert_int_equal(kn_variants_size_bytes(variants, 0), strlen(WORLD_METADATA LIBRARY));
    assert_false(kn_variants_is_cached(variants, 0));
    assert_string_equal(kn_variants_name(variants, 1), OTHER);
    assert_null(kn_variants_name(variants, 2));
    kn_variants_free(variants);

    // Metadata first: nothing else is fetched, and nothing is visible under its name.
    assert_int_equal(kn_hub_fetch_metadata(w.hub, revision, WORLD_VARIANT, &text, &size, NULL),
                     KN_OK);
    assert_string_equal(text, WORLD_METADATA);
    assert_int_equal(size, strlen(WORLD_METADATA));
    kn_string_free(text);
    assert_int_equal(hub_world_count(&w, FILE_AT("k.so")), 0);
    assert_false(is_there(&w, SNAPSHOT));

    if (kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_string_equal(dir, temp_dir_path(w.dir, SNAPSHOT));
    kn_string_free(dir);
    assert_true(is_there(&w, SNAPSHOT "/k.so"));
    assert_false(is_there(&w, SNAPSHOT "/__pycache__"));
    assert_true(is_there(&w, "cache/kernels--o--n/refs/main"));
    assert_int_equal(hub_world_count(&w, FILE_AT("metadata.json")), 1); // what was got is kept
    kn_revision_free(revision);

    // Warm: a commit that is named in full needs nobody.
    hub_world_open(&w, 0, true);
    const size_t before = http_server_count(w.server);
    revision = resolve(&w, WORLD_A);
    assert_int_equal(kn_hub_list(w.hub, revision, &variants, NULL), KN_OK);
    assert_int_equal(kn_variants_count(variants), 1);
    assert_false(kn_variants_is_whole(variants));
    assert_true(kn_variants_is_cached(variants, 0));
    kn_variants_free(variants);
    assert_int_equal(kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, NULL), KN_OK);
    kn_string_free(dir);
    assert_int_equal(kn_hub_fetch_metadata(w.hub, revision, WORLD_VARIANT, &text, &size, NULL),
                     KN_OK);
    kn_string_free(text);
    assert_int_equal(http_server_count(w.server), before);
    kn_revision_free(revision);

    // Offline: as it was asked for; what is not here is said to be not here.
    hub_world_open(&w, KN_HUB_OFFLINE, true);
    revision = resolve(&w, "main");
    assert_int_equal(kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, NULL), KN_OK);
    kn_string_free(dir);
    assert_int_equal(kn_hub_fetch(w.hub, revision, OTHER, &dir, &err), KN_ERR_NOT_FOUND);
    assert_non_null(strstr(kn_error_text(&err), "offline mode, and the build variant " OTHER));
    kn_error_dispose(&err);
    assert_null(dir);
    assert_int_equal(http_server_count(w.server), before);
    kn_revision_free(revision);
    hub_world_dispose(&w);
}

// Wrong bytes, before anything of them is visible.
static void test_wrong_bytes(void **state)
{
    (void)state;
    hub_world w;
    listing l;
    char *dir = NULL;
    kn_error err = KN_ERROR_INIT;
    hub_world_init(&w);
    answer_files(&w, &l);
    hub_world_answer(&w, FILE_AT("k.so"), "\177ELF of a kinD");
    hub_world_open(&w, 0, true);
    kn_revision *revision = resolve(&w, "main");
    assert_int_equal(kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, &err), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "k.so"));
    kn_error_dispose(&err);
    assert_null(dir);
    assert_false(is_there(&w, SNAPSHOT));
    assert_false(is_there(&w, "cache/kernels--o--n/refs/main"));
    kn_revision_free(revision);
    hub_world_dispose(&w);
}

static void test_wrong_metadata(void **state)
{
    (void)state;
    hub_world w;
    char *text = NULL;
    size_t size = 0;
    kn_error err = KN_ERROR_INIT;
    hub_world_init(&w);
    hub_world_answer(&w, "/api/kernels/o/n/refs", WORLD_REFS);
    hub_world_answer(&w, TREE,
                     "[{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT
                     "/metadata.json\", \"oid\": \"" WORLD_B "\", \"size\": 13}]");
    hub_world_answer(&w, FILE_AT("metadata.json"), WORLD_METADATA);
    hub_world_open(&w, 0, true);
    kn_revision *revision = resolve(&w, "main");
    assert_int_equal(kn_hub_fetch_metadata(w.hub, revision, WORLD_VARIANT, &text, &size, &err),
                     KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "but the hub lists " WORLD_B));
    kn_error_dispose(&err);
    assert_null(text);
    static const char *const names[] = {"..", "a/b", "", "/etc"};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        assert_int_equal(kn_hub_fetch(w.hub, revision, names[i], &text, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_hub_fetch(w.hub, revision, "absent", &text, NULL), KN_ERR_NOT_FOUND);
    kn_revision_free(revision);
    hub_world_dispose(&w);
}

// A site's cache serves before the network; nothing is written to it, nor copied from it.
static void test_site_cache(void **state)
{
    (void)state;
    hub_world w;
    char site[4096], cache[4096];
    char *dir = NULL;
    hub_world_init(&w);
    snprintf(site, sizeof(site), "%s/site", w.dir);
    snprintf(cache, sizeof(cache), "%s/cache", w.dir);
    const char *const sites[] = {site};
    temp_dir_text(w.dir,
                  "site/kernels--o--n/snapshots/" WORLD_A "/build/" WORLD_VARIANT "/metadata.json",
                  "{}");
    temp_dir_text(w.dir, "site/kernels--o--n/refs/v1.0", WORLD_A);
    assert_int_equal(
        kn_hub_open(KN_HUB_OPTIONS(.endpoint = http_server_url(w.server, "127.0.0.1", ""),
                                   .token = "", .cache_dir = cache, .state_dir = w.dir,
                                   .site_caches = sites, .n_site_caches = 1,
                                   .flags = KN_HUB_ONLINE),
                    &w.hub, NULL),
        KN_OK);
    kn_revision *revision = resolve(&w, WORLD_A);
    assert_int_equal(kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, NULL), KN_OK);
    assert_int_equal(strncmp(dir, site, strlen(site)), 0);
    kn_string_free(dir);
    kn_revision_free(revision);
    assert_int_equal(http_server_count(w.server), 0);
    assert_false(is_there(&w, "cache"));
    hub_world_dispose(&w);
}

static int cancel(void *user, const kn_progress *progress)
{
    (void)progress;
    return ++*(int *)user > 0;
}

static void test_cancel(void **state)
{
    (void)state;
    hub_world w;
    char cache[4096];
    int n_calls = 0;
    kn_revision *revision = NULL;
    hub_world_init(&w);
    snprintf(cache, sizeof(cache), "%s/cache", w.dir);
    http_server_add(w.server, (http_reply){.head = "", .then = HTTP_STALL, .times = -1});
    assert_int_equal(
        kn_hub_open(KN_HUB_OPTIONS(.endpoint = http_server_url(w.server, "127.0.0.1", ""),
                                   .token = "", .cache_dir = cache, .state_dir = w.dir,
                                   .progress = cancel, .progress_user = &n_calls,
                                   .flags = KN_HUB_ONLINE),
                    &w.hub, NULL),
        KN_OK);
    assert_int_equal(kn_hub_resolve(w.hub, KN_HUB_WISH(.repo_id = "o/n", .trust_remote_code = 1),
                                    &revision, NULL, NULL),
                     KN_ERR_CANCELLED);
    assert_true(n_calls > 0);
    hub_world_dispose(&w);
}

// The pages of a tree are followed on the endpoint alone, and end.
static void test_pages(void **state)
{
    (void)state;
    static const struct {
        const char *name, *link;
        kn_status status;
        const char *says;
    } cases[] = {
        {"another origin", "Link: <http://localhost:1/next>; rel=\"next\"\r\n", KN_ERR_UNTRUSTED,
         "is said to be elsewhere"},
        {"itself", "Link: <" TREE ">; rel=\"next\"\r\n", KN_ERR_FORMAT, "names itself as the next"},
        {"a second page", "Link: </second>; rel=\"next\"\r\n", KN_OK, NULL},
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        hub_world w;
        char head[512];
        kn_variants *variants = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", cases[i].name);
        hub_world_init(&w);
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n%s", cases[i].link);
        hub_world_answer(&w, "/api/kernels/o/n/refs", WORLD_REFS);
        http_server_add(
            w.server,
            (http_reply){
                .path = TREE,
                .head = head,
                .times = -1,
                .body =
                    "[{\"type\": \"file\", \"path\": \"build/a/metadata.json\", \"oid\": \"" WORLD_B
                    "\", \"size\": 1}]"});
        hub_world_answer(
            &w, "/second",
            "[{\"type\": \"file\", \"path\": \"build/b/metadata.json\", \"oid\": \"" WORLD_B
            "\", \"size\": 1}]");
        hub_world_open(&w, 0, true);
        kn_revision *revision = resolve(&w, "main");
        assert_int_equal(kn_hub_list(w.hub, revision, &variants, &err), cases[i].status);
        if (cases[i].says && !strstr(kn_error_text(&err), cases[i].says))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), cases[i].says);
        if (variants)
            assert_int_equal(kn_variants_count(variants), 2);
        kn_variants_free(variants);
        kn_error_dispose(&err);
        kn_revision_free(revision);
        hub_world_dispose(&w);
    }
}

static void test_versions(void **state)
{
    (void)state;
    hub_world w;
    kn_versions *versions = NULL;
    hub_world_init(&w);
    hub_world_answer(&w, "/api/kernels/o/n/refs", WORLD_REFS);
    hub_world_open(&w, 0, true);
    static const struct {
        const char *ref, *version, *reason;
        bool is_branch, is_chosen;
    } expected[] = {
        {"v0.1.0", "0.1.0", "older than v0.2.0", false, false},
        {"v0.2.0", "0.2.0", "newest that satisfies >=0.1", false, true},
        {"v0.3.0rc1", "0.3.0rc1", "a pre-release, which the specifier does not ask for", false,
         false},
        {"v2", "2", "is no version tag", true, false},
        {"dev", "", "is no version tag", true, false},
        {"main", "", "is no version tag", true, false},
        {"nightly", "", "is no version tag", false, false},
    };
    assert_int_equal(
        kn_hub_versions(w.hub, KN_HUB_WISH(.repo_id = "o/n", .version = ">=0.1"), &versions, NULL),
        KN_OK);
    assert_int_equal(kn_versions_count(versions), KN_LEN(expected));
    assert_true(kn_versions_is_whole(versions));
    for (size_t i = 0; i < KN_LEN(expected); ++i) {
        kn_version_row row = KN_VERSION_ROW_INIT;
        assert_int_equal(kn_versions_get(versions, i, &row, NULL), KN_OK);
        assert_string_equal(row.ref, expected[i].ref);
        assert_string_equal(row.version, expected[i].version);
        assert_string_equal(row.reason, expected[i].reason);
        assert_int_equal(row.is_branch, expected[i].is_branch);
        assert_int_equal(row.is_chosen, expected[i].is_chosen);
    }
    kn_version_row row = KN_VERSION_ROW_INIT;
    assert_int_equal(kn_versions_get(versions, KN_LEN(expected), &row, NULL), KN_ERR_INVALID);
    kn_versions_free(versions);
    hub_world_dispose(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch),          cmocka_unit_test(test_wrong_bytes),
        cmocka_unit_test(test_wrong_metadata), cmocka_unit_test(test_site_cache),
        cmocka_unit_test(test_cancel),         cmocka_unit_test(test_pages),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
