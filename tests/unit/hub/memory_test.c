// Every allocation of a whole conversation with a hub fails once: nothing is leaked, nothing is said to be done that is not, and the
// cache is usable afterwards.
#include "hub/hub_world.h"
#include "support/fail_alloc.h"

#define FILE_AT(commit, name) "/kernels/o/n/resolve/" commit "/build/" WORLD_VARIANT "/" name

enum { STEP = 3 };

static const char library_text[] = "\177ELF of a kind";

static void blob_of(const char *content, size_t n_digits, char out[KNI_SHA256_SIZE])
{
    assert_int_equal(kni_blob_hash_bytes(n_digits, content, strlen(content), out, NULL), KN_OK);
}

static void answer_all(hub_world *w, char *tree, size_t size)
{
    char metadata[KNI_SHA256_SIZE], library[KNI_SHA256_SIZE];
    blob_of(WORLD_METADATA, 40, metadata);
    blob_of(library_text, 64, library);
    snprintf(tree, size,
             "[{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT
             "/metadata.json\", \"oid\": \"%s\", \"size\": %zu},"
             "{\"type\": \"file\", \"path\": \"build/" WORLD_VARIANT "/k.so\", \"oid\": \"" WORLD_C
             "\", \"size\": %zu, \"lfs\": {\"oid\": \"%s\", \"size\": %zu}}]",
             metadata, strlen(WORLD_METADATA), strlen(library_text), library, strlen(library_text));
    hub_world_answer(w, "/api/kernels/o/n/tree/" WORLD_C "/build?recursive=true&expand=false",
                     tree);
    hub_world_answer(w, "/api/kernels/o/n/refs", WORLD_REFS);
    hub_world_answer(w, "/api/kernels/o/n/revision/ccccccc", "{\"sha\": \"" WORLD_C "\"}");
    hub_world_answer(w, "/api/organizations/o/overview", WORLD_TRUSTED);
    hub_world_answer(w, "/api/kernels/o/old/refs",
                     "{\"branches\": [{\"name\": \"v1\", \"targetCommit\": \"" WORLD_D
                     "\"}], \"tags\": [], \"converts\": []}");
    hub_world_status(w, "/kernels/o/old/resolve/v1/kernel-status.toml",
                     "HTTP/1.1 200 OK\r\nX-Repo-Commit: " WORLD_D "\r\n",
                     "kind = \"redirect\"\ndestination = \"o/n\"\nrevision = \"v0.2.0\"\n");
    hub_world_answer(w, FILE_AT(WORLD_C, "metadata.json"), WORLD_METADATA);
    hub_world_answer(w, FILE_AT(WORLD_C, "k.so"), library_text);
}

// What a program does with a hub, in order.
static kn_status converse(hub_world *w, kn_error *err)
{
    kn_revision *revision = NULL, *again = NULL, *moved = NULL;
    kn_variants *variants = NULL, *all = NULL;
    kn_versions *versions = NULL;
    kn_cache_list *list = NULL;
    char *text = NULL, *dir = NULL, *all_dir = NULL;
    size_t size = 0;
    kn_cache_item item = KN_CACHE_ITEM_INIT;
    kn_trace *trace = kn_trace_new();
    kn_status st = trace ? KN_OK : kn_error_set(err, KN_ERR_NO_MEMORY, "trace");
    if (st == KN_OK)
        st = kn_hub_resolve(w->hub, KN_HUB_WISH(.repo_id = "o/n", .version = ">=0.1"), &revision,
                            trace, err);
    if (st == KN_OK)
        st = kn_hub_versions(w->hub, KN_HUB_WISH(.repo_id = "o/n", .version = ">=0.1"), &versions,
                             err);
    if (st == KN_OK)
        st = kn_hub_list(w->hub, revision, &variants, err);
    if (st == KN_OK)
        st = kn_hub_list_all(w->hub, revision, &all, err);
    if (st == KN_OK)
        st = kn_hub_fetch_metadata(w->hub, revision, WORLD_VARIANT, &text, &size, err);
    if (st == KN_OK)
        st = kn_hub_fetch(w->hub, revision, WORLD_VARIANT, &dir, err);
    if (st == KN_OK)
        st = kn_hub_fetch_all(w->hub, revision, &all_dir, err);
    if (st == KN_OK)
        st = kn_hub_resolve(w->hub, KN_HUB_WISH(.repo_id = "o/n", .revision = "ccccccc"), &again,
                            trace, err);
    if (st == KN_OK)
        st = kn_hub_resolve(w->hub, KN_HUB_WISH(.repo_id = "o/old", .version = "1"), &moved, trace,
                            err);
    if (st == KN_OK)
        assert_string_equal(kn_revision_moved_to(moved), "o/n@v0.2.0");
    if (st == KN_OK)
        st = kn_hub_cache_list(w->hub, &list, err);
    if (st == KN_OK)
        st = kn_cache_list_get(list, 0, &item, err);
    if (st == KN_OK)
        st = kn_hub_cache_remove(w->hub, &item, NULL, err);
    kn_cache_list_free(list);
    kn_string_free(text);
    kn_string_free(dir);
    kn_string_free(all_dir);
    kn_variants_free(variants);
    kn_variants_free(all);
    kn_versions_free(versions);
    kn_revision_free(revision);
    kn_revision_free(again);
    kn_revision_free(moved);
    kn_trace_free(trace);
    return st;
}

// The same redirect, from the cache.
static kn_status move_offline(hub_world *w, kn_error *err)
{
    kn_revision *moved = NULL;
    const kn_status st =
        kn_hub_resolve(w->hub, KN_HUB_WISH(.repo_id = "o/old", .version = "1"), &moved, NULL, err);
    if (st == KN_OK)
        assert_string_equal(kn_revision_repo_id(moved), "o/n");
    kn_revision_free(moved);
    return st;
}

static bool fails_well(hub_world *w, size_t nth, bool persist)
{
    kn_error err = KN_ERROR_INIT;
    hub_world_open(w, KN_HUB_FOLLOW_REDIRECTS, true);
    fail_alloc_install(FAIL_OURS | FAIL_JANSSON, nth, persist);
    const kn_status st = converse(w, &err);
    const bool failed = fail_alloc_remove();
    if (st != KN_OK && st != KN_ERR_NO_MEMORY)
        fail_msg("allocation %zu%s: %s", nth, persist ? " and on" : "", kn_error_text(&err));
    kn_error_dispose(&err);
    hub_world_open(w, KN_HUB_FOLLOW_REDIRECTS, true);
    if (converse(w, &err) != KN_OK)
        fail_msg("after allocation %zu: %s", nth, kn_error_text(&err));
    return failed;
}

// Each for a start, then each third: loops go through the same code again.
static void test_every_allocation(void **state)
{
    (void)state;
    char tree[2048];
    bool failed = true;
    for (size_t nth = 1; failed; nth += nth < 100 ? 1 : STEP) {
        hub_world w;
        hub_world_init(&w);
        answer_all(&w, tree, sizeof(tree));
        failed = fails_well(&w, nth, false);
        if (failed)
            fails_well(&w, nth, true);
        hub_world_dispose(&w);
    }
}

static void test_moved_offline(void **state)
{
    (void)state;
    hub_world w;
    char tree[2048], *dir = NULL;
    kn_revision *revision = NULL;
    bool failed = true;
    hub_world_init(&w);
    answer_all(&w, tree, sizeof(tree));
    hub_world_open(&w, KN_HUB_FOLLOW_REDIRECTS, true);
    assert_int_equal(kn_hub_resolve(w.hub, KN_HUB_WISH(.repo_id = "o/old", .version = "1"),
                                    &revision, NULL, NULL),
                     KN_OK);
    assert_int_equal(kn_hub_fetch(w.hub, revision, WORLD_VARIANT, &dir, NULL), KN_OK);
    kn_string_free(dir);
    kn_revision_free(revision);
    for (size_t nth = 1; failed; ++nth) {
        kn_error err = KN_ERROR_INIT;
        hub_world_open(&w, KN_HUB_OFFLINE | KN_HUB_FOLLOW_REDIRECTS, true);
        fail_alloc_install(FAIL_OURS, nth, false);
        const kn_status st = move_offline(&w, &err);
        failed = fail_alloc_remove();
        // What cannot be looked at, a folder or a record, counts as not there: a refusal of any kind, but never the old kernel.
        if (st != KN_OK && !failed)
            fail_msg("allocation %zu: %d, %s", nth, (int)st, kn_error_text(&err));
        kn_error_dispose(&err);
    }
    hub_world_dispose(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation),
                                       cmocka_unit_test(test_moved_offline)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
