// The spine over a hub: what is fetched when, what is refused before it runs, what is asked again.
#include "context/hub_site.h"
#include "hub/progress.h"
#include "support/fail_alloc.h"

#include "kernels/kernelize.h"

static void test_cold_and_warm(void **state)
{
    (void)state;
    site s;
    char *dir = NULL;
    kn_revision *revision = NULL;
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    kn_kernel *kernel = get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"});
    assert_string_equal(kn_kernel_repo_id(kernel), "o/n");
    assert_string_equal(kn_kernel_revision(kernel), WORLD_A);
    assert_int_equal(kn_kernel_level(kernel), KN_LEVEL_TRANSPORT);
    assert_string_equal(kn_package_variant(kn_kernel_package(kernel)), PACKAGE_VARIANT);
    assert_int_equal(package_canary_count(&s.dir), 1);
    // Once in this context; other ways to the same commit find the same kernel.
    const size_t cold = requests(&s);
    assert_ptr_equal(get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"}), kernel);
    assert_ptr_equal(get(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A}), kernel);
    assert_int_equal(requests(&s), cold);
    // A new one: a commit that is cached needs no request, online either.
    open_context(&s, 0);
    get(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A});
    assert_int_equal(requests(&s), cold);
    open_context(&s, KN_HUB_OFFLINE);
    get(&s, (kn_kernel_options){.repo_id = "o/n", .version = ">=1,<2"});
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .version = ">=2"}, KN_ERR_NOT_FOUND,
            "offline mode");
    assert_int_equal(kn_context_fetch_kernel(s.ctx,
                                             KN_KERNEL_OPTIONS(.repo_id = "o/n", .version = ">=1"),
                                             &dir, &revision, NULL, NULL),
                     KN_OK);
    assert_non_null(strstr(dir, "/snapshots/" WORLD_A "/build/" PACKAGE_VARIANT));
    assert_string_equal(kn_revision_ref(revision), "v1.0");
    kn_string_free(dir);
    kn_revision_free(revision);
    assert_int_equal(requests(&s), cold);
    site_dispose(&s);
}

// Metadata that does not fit ends it: the rest is not fetched. Then the next candidate.
static void test_metadata_first(void **state)
{
    (void)state;
    site s;
    site_init(&s);
    add_variant(&s, "tvm-ffi01-cpu-" PACKAGE_CPU "-linux", "good.so", CUDA_LAYERS);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"}, KN_ERR_INCOMPATIBLE,
            "metadata.json says that the library is for 'cuda'");
    assert_int_equal(hub_world_count(&s.world, "/kernels/o/n/resolve/" WORLD_A
                                               "/build/" PACKAGE_VARIANT "/kernel.so"),
                     0);
    assert_int_equal(package_canary_count(&s.dir), 0);
    site_dispose(&s);
}

// A cached variant that does not suit does not hide those that are not cached.
static void test_looks_further(void **state)
{
    (void)state;
    site s;
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    add_variant(&s, "torch28-cxx11-cu128-x86_64-linux", "good.so", CUDA_LAYERS);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    char *dir = NULL;
    kn_revision *revision = NULL;
    assert_int_equal(kn_hub_resolve(kn_context_hub(s.ctx),
                                    KN_HUB_WISH(.repo_id = "o/n", .version = "~=1.0"), &revision,
                                    NULL, NULL),
                     KN_OK);
    assert_int_equal(kn_hub_fetch(kn_context_hub(s.ctx), revision,
                                  "torch28-cxx11-cu128-x86_64-linux", &dir, NULL),
                     KN_OK);
    kn_string_free(dir);
    kn_revision_free(revision);
    open_context(&s, 0);
    get(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A});
    open_context(&s, KN_HUB_OFFLINE);
    get(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A});
    site_dispose(&s);
}

// What lies in the cache is held against metadata.json's digests, or the blob's name where it has none, before anything of it runs.
static void test_damaged_cache(void **state)
{
    (void)state;
    site s;
    char command[9000];
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    char *dir = NULL;
    assert_int_equal(
        kn_context_fetch_kernel(s.ctx, KN_KERNEL_OPTIONS(.repo_id = "o/n", .version = "~=1.0"),
                                &dir, NULL, NULL, NULL),
        KN_OK);
    assert_int_equal(package_canary_count(&s.dir), 0); // nothing was loaded
    open_context(&s, KN_HUB_OFFLINE);
    snprintf(command, sizeof(command),
             "printf X | dd of='%s/kernel.so' bs=1 seek=9 conv=notrunc 2>/dev/null", dir);
    assert_int_equal(system(command), 0);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A}, KN_ERR_UNTRUSTED,
            "kernel.so");
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A}, KN_ERR_UNTRUSTED,
            "; to fetch it again: kernels cache rm o/n@" WORLD_A);
    // A link that leads elsewhere is no link of a cache, whatever it leads to.
    snprintf(command, sizeof(command),
             "cp -L '%s/build/%s/kernel.so' '%s/elsewhere.so' && ln -sfn '%s/elsewhere.so' "
             "'%s/kernel.so'",
             s.dir.root, PACKAGE_VARIANT, s.world.dir, s.world.dir, dir);
    assert_int_equal(system(command), 0);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A}, KN_ERR_NOT_FOUND,
            "offline mode");
    assert_int_equal(package_canary_count(&s.dir), 0);
    kn_string_free(dir);
    site_dispose(&s);
}

static void write_sums(site *s, const char *name, bool is_right, char path[4096])
{
    kni_names files;
    kni_buf text = KNI_BUF_ANY, lines = KNI_BUF_ANY, list = KNI_BUF_ANY;
    char hex[129];
    kni_digest digest;
    assert_int_equal(kni_tree_list(s->dir.variant, &files, NULL), KN_OK);
    for (size_t i = 0; i < files.count; ++i) {
        kni_buf bytes = KNI_BUF_ANY;
        char local[PACKAGE_PATH_MAX];
        package_read(package_path(s->dir.variant, files.names[i], local), &bytes);
        if (!is_right && i == 0)
            bytes.data[0] ^= 1;
        assert_int_equal(kni_digest_bytes(KNI_SHA256, bytes.data, bytes.size, &digest, NULL),
                         KN_OK);
        kni_digest_hex(&digest, hex);
        kni_buf_printf(&lines, "%s %zu %s\n", hex, bytes.size, files.names[i]);
        kni_buf_printf(&list, "%s\"%s\": {\"sha256\": \"%s\", \"size\": %zu}", i ? ", " : "",
                       files.names[i], hex, bytes.size);
        kni_buf_dispose(&bytes);
    }
    assert_int_equal(kni_digest_bytes(KNI_SHA256, lines.data, lines.size, &digest, NULL), KN_OK);
    kni_digest_hex(&digest, hex);
    kni_buf_printf(&text,
                   "{\"format\": \"kernels.lock.sums\", \"version\": 1, \"source\": \"m.toml\", "
                   "\"kernels\": [{\"repo_id\": \"o/n\", "
                   "\"repo_type\": \"kernel\", \"version\": \"~=1.0\", \"ref\": \"v1.0\", "
                   "\"commit\": \"" WORLD_A "\", \"variants\": {\"%s\": "
                   "{\"manifest\": \"%s\", \"files\": {%s}}}}]}\n",
                   PACKAGE_VARIANT, hex, kni_buf_text(&list));
    temp_dir_text(s->world.dir, name, kni_buf_text(&text));
    snprintf(path, 4096, "%s/%s", s->world.dir, name);
    kni_names_free(&files);
    kni_buf_dispose(&lines);
    kni_buf_dispose(&list);
    kni_buf_dispose(&text);
}

// A lock with content hashes pins, and stands for the publisher; other bytes are refused, fetched or cached, even when the hub and the
// cache agree.
static void test_pinned(void **state)
{
    (void)state;
    site s;
    char right[4096], wrong[4096];
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    serve(&s, "n", WORLD_A);
    write_sums(&s, "right.lock.sums", true, right);
    write_sums(&s, "wrong.lock.sums", false, wrong);
    open_context(&s, 0);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .sums = wrong},
            KN_ERR_UNTRUSTED, "lock");
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .version = ">=2", .sums = right},
            KN_ERR_NOT_FOUND, "is not locked as >=2");
    assert_int_equal(package_canary_count(&s.dir), 0);
    kn_kernel *kernel =
        get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .sums = right});
    assert_int_equal(kn_kernel_level(kernel), KN_LEVEL_PINNED);
    assert_int_equal(hub_world_count(&s.world, "/api/organizations/o/overview"), 0);
    assert_int_equal(hub_world_count(&s.world, "/api/kernels/o/n/refs"), 0);
    open_context(&s, KN_HUB_OFFLINE);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .sums = wrong},
            KN_ERR_UNTRUSTED, "lock");
    assert_int_equal(
        kn_kernel_level(
            get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .sums = right})),
        KN_LEVEL_PINNED);
    site_dispose(&s);
}

// What a context has loaded without a lock is not pinned by a later look at the directory: what it has must be what was locked.
static void test_pinned_later(void **state)
{
    (void)state;
    static const char other[] = "{\"name\": \"fixture\", \"library\": \"kernel.so\", \"backend\": "
                                "{\"type\": \"cpu\"}}";
    const char *metadata =
        "cache/kernels--o--n/snapshots/" WORLD_A "/build/" PACKAGE_VARIANT "/metadata.json";
    for (int is_other = 0; is_other < 2; ++is_other) {
        site s;
        char sums[4096], path[PACKAGE_PATH_MAX];
        kni_buf right = KNI_BUF_ANY;
        site_init(&s);
        add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
        serve(&s, "n", WORLD_A);
        write_sums(&s, "right.lock.sums", true, sums);
        open_context(&s, 0);
        get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"});
        package_read(package_path(s.world.dir, metadata, path), &right);
        assert_int_equal(unlink(path), 0);
        temp_dir_text(s.world.dir, metadata, is_other ? other : kni_buf_text(&right));
        open_context(&s, KN_HUB_OFFLINE);
        kn_kernel *kernel = get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"});
        assert_int_equal(kn_kernel_level(kernel), KN_LEVEL_TRANSPORT);
        assert_int_equal(unlink(path), 0);
        temp_dir_text(s.world.dir, metadata, kni_buf_text(&right));
        const kn_kernel_options locked = {.repo_id = "o/n", .version = "~=1.0", .sums = sums};
        if (is_other)
            refused(&s, locked, KN_ERR_LOAD, "was loaded before it was what it is now");
        else
            assert_ptr_equal(get(&s, locked), kernel);
        assert_int_equal(kn_kernel_level(kernel), is_other ? KN_LEVEL_TRANSPORT : KN_LEVEL_PINNED);
        kni_buf_dispose(&right);
        site_dispose(&s);
    }
}

// Each allocation on the way to a pinned kernel of the cache fails once: it is said, and is no reason not to get it the next time.
static void test_memory(void **state)
{
    (void)state;
    site s;
    char sums[4096];
    bool failed = true;
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    serve(&s, "n", WORLD_A);
    write_sums(&s, "right.lock.sums", true, sums);
    const kn_kernel_options opts = {
        .struct_size = sizeof(opts), .repo_id = "o/n", .version = "~=1.0", .sums = sums};
    open_context(&s, 0);
    get(&s, opts);
    for (size_t nth = 1; failed; ++nth)
        for (int persist = 0; persist < 2; ++persist) {
            kn_kernel *kernel = NULL;
            kn_error err = KN_ERROR_INIT;
            open_context(&s, KN_HUB_OFFLINE);
            fail_alloc_install(FAIL_OURS | FAIL_JANSSON, nth, persist);
            const kn_status st = kn_context_get_kernel(s.ctx, &opts, &kernel, NULL, &err);
            failed = fail_alloc_remove();
            if (failed ? st != KN_ERR_NO_MEMORY && st != KN_OK : st != KN_OK)
                fail_msg("allocation %zu: %d, %s", nth, (int)st, kn_error_text(&err));
            kn_error_dispose(&err);
            assert_int_equal(kn_kernel_level(get(&s, opts)), KN_LEVEL_PINNED);
        }
    site_dispose(&s);
}

// A lock in the form with hashes loads only what it has the hash of, fetched or cached; one with no variant at all is no lock of commits.
static void test_hashed_lock(void **state)
{
    (void)state;
    static const struct {
        const char *variants, *says;
    } locks[] = {
        {"", "No lock found for build variant"},
        {"\"torch210-cxx11-cpu-x86_64-linux\": {\"hash_type\": \"git_lfs_concat\", \"hash\": "
         "\"sha256-" WORLD_A "aaaaaaaaaaaaaaaaaaaaaaaa\"}",
         "No lock found for build variant"},
        {"\"" PACKAGE_VARIANT "\": {\"hash_type\": \"git_lfs_concat\", \"hash\": "
         "\"sha256-" WORLD_A "aaaaaaaaaaaaaaaaaaaaaaaa\"}",
         "Lock file specifies kernel with hash"},
    };
    for (int cached = 0; cached < 2; ++cached)
        for (size_t i = 0; i < KN_LEN(locks); ++i) {
            site s;
            char path[4096], text[1024];
            site_init(&s);
            add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
            serve(&s, "n", WORLD_A);
            snprintf(text, sizeof(text),
                     "[{\"repo_id\": \"o/n\", \"sha\": \"" WORLD_A "\", \"variants\": {%s}}]",
                     locks[i].variants);
            temp_dir_text(s.world.dir, "kernels.lock", text);
            snprintf(path, sizeof(path), "%s/kernels.lock", s.world.dir);
            open_context(&s, 0);
            if (cached)
                get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"});
            refused(&s,
                    (kn_kernel_options){.repo_id = "o/n", .lock = path, .trust_remote_code = true},
                    KN_ERR_UNTRUSTED, locks[i].says);
            assert_int_equal(package_canary_count(&s.dir), cached);
            site_dispose(&s);
        }
}

enum { CROWD = 8, REPOS = 4 };

typedef struct visitor {
    pthread_t thread;
    site *s;
    size_t index;
    kn_kernel *kernels[REPOS];
    kn_status status;
} visitor;

// All repositories, each visitor beginning at another one: by version, then by commit.
static void *visit(void *user)
{
    static const char *const ids[REPOS] = {"o/n0", "o/n1", "o/n2", "o/n3"};
    static const char *const commits[REPOS] = {WORLD_A, WORLD_B, WORLD_C, WORLD_D};
    visitor *v = user;
    for (size_t i = 0; v->status == KN_OK && i < REPOS; ++i) {
        const size_t at = (i + v->index) % REPOS;
        kn_kernel *again = NULL;
        v->status = kn_context_get_kernel(v->s->ctx,
                                          KN_KERNEL_OPTIONS(.repo_id = ids[at], .version = "~=1.0"),
                                          &v->kernels[at], NULL, NULL);
        if (v->status == KN_OK)
            v->status =
                kn_context_get_kernel(v->s->ctx,
                                      KN_KERNEL_OPTIONS(.repo_id = ids[at], .revision = commits[at],
                                                        .trust_remote_code = 1),
                                      &again, NULL, NULL);
        if (v->status == KN_OK && again != v->kernels[at])
            v->status = KN_ERR_INVALID;
    }
    return NULL;
}

// Threads that want the same and different repositories at once: each file comes once, each kernel is one.
static void test_crowd(void **state)
{
    (void)state;
    static const char *const names[REPOS] = {"n0", "n1", "n2", "n3"};
    static const char *const commits[REPOS] = {WORLD_A, WORLD_B, WORLD_C, WORLD_D};
    site s;
    visitor crowd[CROWD];
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    for (size_t i = 0; i < REPOS; ++i)
        serve(&s, names[i], commits[i]);
    for (int warm = 0; warm < 2; ++warm) {
        open_context(&s, 0);
        for (size_t i = 0; i < CROWD; ++i) {
            crowd[i] = (visitor){.s = &s, .index = i};
            assert_int_equal(pthread_create(&crowd[i].thread, NULL, visit, &crowd[i]), 0);
        }
        for (size_t i = 0; i < CROWD; ++i)
            pthread_join(crowd[i].thread, NULL);
        for (size_t i = 0; i < CROWD; ++i) {
            assert_int_equal(crowd[i].status, KN_OK);
            for (size_t r = 0; r < REPOS; ++r) {
                assert_ptr_equal(crowd[i].kernels[r], crowd[0].kernels[r]);
                assert_string_equal(kn_kernel_revision(crowd[i].kernels[r]), commits[r]);
            }
        }
    }
    for (size_t r = 0; r < REPOS; ++r) {
        char path[512];
        snprintf(path, sizeof(path), "/kernels/o/%s/resolve/%s/build/" PACKAGE_VARIANT "/kernel.so",
                 names[r], commits[r]);
        assert_int_equal(hub_world_count(&s.world, path), 1);
    }
    site_dispose(&s);
}

static void test_local_kernels(void **state)
{
    (void)state;
    site s;
    char value[8192];
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    snprintf(value, sizeof(value), "o/n=%s", s.dir.root);
    setenv("LOCAL_KERNELS", value, 1);
    open_context(&s, 0);
    kn_kernel *kernel = get(&s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0"});
    assert_string_equal(kn_kernel_revision(kernel), "");
    assert_int_equal(kn_kernel_level(kernel), KN_LEVEL_NONE);
    assert_int_equal(requests(&s), 0);
    unsetenv("LOCAL_KERNELS");
    site_dispose(&s);
}

// Many repositories in one request: each is resolved and fetched once, and all are in the plan.
static void test_explain_many(void **state)
{
    (void)state;
    enum { N = 12 };
    site s;
    kn_entry entries[2 * N];
    char names[N][32], ids[N][32], layers[2 * N][32];
    kn_mapping *map = NULL;
    kn_plan *plan = NULL;
    kn_error err = KN_ERROR_INIT;
    site_init(&s);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    for (int i = 0; i < N; ++i) {
        snprintf(names[i], sizeof(names[i]), "n%d", i);
        snprintf(ids[i], sizeof(ids[i]), "o/n%d", i);
        serve(&s, names[i], WORLD_A);
    }
    for (int i = 0; i < 2 * N; ++i) {
        snprintf(layers[i], sizeof(layers[i]), "L%d", i);
        entries[i] = *KN_ENTRY(.layer = layers[i], .device = "cpu", .repo_id = ids[i % N],
                               .version = "~=1.0", .layer_name = "Scale");
    }
    open_context(&s, 0);
    assert_int_equal(kn_mapping_with(NULL, entries, 2 * N, &map, NULL), KN_OK);
    if (kn_explain(s.ctx, NULL, 0, KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map),
                   &plan, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_KERNEL), 2 * N);
    for (int i = 0; i < N; ++i) {
        char refs[64];
        snprintf(refs, sizeof(refs), "/api/kernels/o/n%d/refs", i);
        assert_int_equal(hub_world_count(&s.world, refs), 1);
    }
    assert_int_equal(hub_world_count(&s.world, "/api/organizations/o/overview"), 1);
    kn_plan_free(plan);
    kn_mapping_unref(map);
    site_dispose(&s);
}

// Whoever waits is asked on its own thread, however many others work for it.
typedef struct waiting {
    pthread_t thread;
    int n_calls, n_strange;
} waiting;

static int give_up(void *user, const kn_progress *progress)
{
    waiting *w = user;
    w->n_strange += !pthread_equal(w->thread, pthread_self()) || progress->files_total != 0;
    return ++w->n_calls == 4;
}

static void test_silent_hub(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; ++n) {
        site s;
        kn_plan *plan = NULL;
        kn_mapping *map = NULL;
        kn_error err = KN_ERROR_INIT;
        kn_entry entries[3];
        waiting w = {.thread = pthread_self()};
        site_init(&s);
        http_server_add(s.world.server, (http_reply){.head = "", .then = HTTP_STALL, .times = -1});
        open_context(&s, 0);
        kn_context_hub(s.ctx)->progress = give_up;
        kn_context_hub(s.ctx)->progress_user = &w;
        static const char *const ids[] = {"o/a", "o/b", "o/c"}, *const layers[] = {"A", "B", "C"};
        for (int i = 0; i < n; ++i)
            entries[i] = *KN_ENTRY(.layer = layers[i], .device = "cpu", .repo_id = ids[i],
                                   .version = "~=1.0", .layer_name = "Scale");
        assert_int_equal(kn_mapping_with(NULL, entries, (size_t)n, &map, NULL), KN_OK);
        const uint64_t begun_ms = kni_clock_ms();
        assert_int_equal(kn_explain(s.ctx, NULL, 0,
                                    KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map,
                                                         .fallback = KN_FALLBACK_ALL),
                                    &plan, &err),
                         KN_ERR_CANCELLED);
        assert_true(kni_clock_ms() - begun_ms < 4 * 200);
        assert_int_equal(w.n_strange, 0);
        assert_int_equal(w.n_calls, 4);
        kn_error_dispose(&err);
        kn_mapping_unref(map);
        site_dispose(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cold_and_warm), cmocka_unit_test(test_metadata_first),
        cmocka_unit_test(test_looks_further), cmocka_unit_test(test_damaged_cache),
        cmocka_unit_test(test_pinned),        cmocka_unit_test(test_local_kernels),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_pinned_later),
        cmocka_unit_test(test_hashed_lock),   cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_explain_many),  cmocka_unit_test(test_silent_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
