// Kernels of a hub that the host imports: what is fetched for the choice, those of the first era, and who asks.
#include "context/hub_site.h"

#define EXTENSION "torch213-cxx11-cpu-" PACKAGE_CPU "-linux"

static const kn_framework torch_213 = {sizeof(kn_framework), 2, 13, "cxx11"};

// Python and an object; members: NULL, there is no metadata.json.
static void add_hosted(site *s, const char *variant, const char *fixture, const char *members)
{
    char dir[PACKAGE_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/build/%s", s->dir.root, variant);
    package_copy_library(dir, fixture, "kernel.so");
    package_text(dir, "__init__.py", "x = 1\n");
    if (members)
        package_seal(dir, members);
}

static size_t count(site *s, const char *variant, const char *file)
{
    char path[512];
    snprintf(path, sizeof(path), "/kernels/o/n/resolve/" WORLD_A "/build/%s/%s", variant, file);
    return hub_world_count(&s->world, path);
}

// For the look at a variant's layers its metadata.json alone is fetched, once.
static void test_look(void **state)
{
    (void)state;
    static const struct {
        const char *name, *members, *other, *other_members, *chosen;
    } rows[] = {
        {"layers", LAYERS, EXTENSION, "", PACKAGE_VARIANT},
        {"no layers", "", EXTENSION, "", EXTENSION},
        {"no metadata", NULL, EXTENSION, "", EXTENSION},
        {"no layers, and nothing better", "", "torch-cpu", "", PACKAGE_VARIANT},
        {"none has metadata", NULL, EXTENSION, NULL, EXTENSION},
        {"another backend's layers", CUDA_LAYERS, "torch-cpu", "", "torch-cpu"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        site s;
        print_message("  %s\n", rows[i].name);
        site_init(&s);
        add_hosted(&s, PACKAGE_VARIANT, "good.so", rows[i].members);
        add_hosted(&s, rows[i].other, "good_2.so", rows[i].other_members);
        serve(&s, "n", WORLD_A);
        open_context(&s, 0);
        kn_kernel *kernel = get(
            &s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .framework = &torch_213});
        assert_string_equal(kn_package_variant(kn_kernel_package(kernel)), rows[i].chosen);
        const bool is_other = strcmp(rows[i].chosen, rows[i].other) == 0;
        assert_int_equal(count(&s, PACKAGE_VARIANT, "metadata.json"), rows[i].members != NULL);
        assert_int_equal(count(&s, PACKAGE_VARIANT, "kernel.so"), !is_other);
        assert_int_equal(count(&s, rows[i].other, "kernel.so"), is_other);
        // The same offline, from the cache alone.
        const size_t cold = requests(&s);
        open_context(&s, KN_HUB_OFFLINE);
        kernel = get(
            &s, (kn_kernel_options){.repo_id = "o/n", .version = "~=1.0", .framework = &torch_213});
        assert_string_equal(kn_package_variant(kn_kernel_package(kernel)), rows[i].chosen);
        assert_int_equal(requests(&s), cold);
        site_dispose(&s);
    }
}

// A package of the first era: by its blobs' names alone, read as it was fetched; for no host without PyTorch.
static void test_first_era(void **state)
{
    (void)state;
    site s;
    char command[9000];
    char *bytes = NULL, *path = NULL;
    size_t size = 0;
    site_init(&s);
    add_hosted(&s, EXTENSION, "good.so", NULL);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    const kn_kernel_options opts = {
        .repo_id = "o/n", .revision = WORLD_A, .trust_remote_code = 1, .framework = &torch_213};
    kn_kernel *kernel = get(&s, opts);
    assert_true(kn_kernel_is_hosted(kernel));
    assert_string_equal(kn_package_name(kn_kernel_package(kernel)), "n");
    assert_int_equal(kn_kernel_level(kernel), KN_LEVEL_TRANSPORT);
    assert_int_equal(kn_kernel_file_count(kernel), 2);
    assert_int_equal(kn_kernel_read(kernel, "__init__.py", &bytes, &size, NULL), KN_OK);
    assert_string_equal(bytes, "x = 1\n");
    kn_string_free(bytes);
    // The path is in the package, whose other files are beside it, and leads to the blob.
    char in_package[PACKAGE_PATH_MAX], link[PACKAGE_PATH_MAX];
    assert_int_equal(kn_kernel_check_file(kernel, "kernel.so", &path, NULL), KN_OK);
    assert_string_equal(
        path, package_path(kn_package_dir(kn_kernel_package(kernel)), "kernel.so", in_package));
    const ssize_t n_link = readlink(path, link, sizeof(link) - 1);
    assert_true(n_link > 0);
    link[n_link] = '\0';
    assert_non_null(strstr(link, "/blobs/"));
    open_context(&s, KN_HUB_OFFLINE);
    kernel = get(&s, opts);
    assert_int_equal(package_canary_count(&s.dir), 0);
    refused(&s, (kn_kernel_options){.repo_id = "o/n", .revision = WORLD_A, .trust_remote_code = 1},
            KN_ERR_INCOMPATIBLE, "is for PyTorch");
    // Another content under the blob's name.
    snprintf(command, sizeof(command), "printf X | dd of='%s' bs=1 seek=9 conv=notrunc 2>/dev/null",
             path);
    assert_int_equal(system(command), 0);
    assert_int_equal(kn_kernel_read(kernel, "kernel.so", &bytes, &size, NULL), KN_ERR_UNTRUSTED);
    kn_string_free(path);
    assert_int_equal(kn_kernel_check_file(kernel, "kernel.so", &path, NULL), KN_ERR_UNTRUSTED);
    open_context(&s, KN_HUB_OFFLINE);
    refused(&s, opts, KN_ERR_UNTRUSTED, "kernel.so");
    site_dispose(&s);
}

// Each request of the call says who asks, and what was asked before is not asked again for another.
static void test_user_agent(void **state)
{
    (void)state;
    static const struct {
        const char *agent, *begins; // begins NULL: refused
    } rows[] = {
        {NULL, "libkernels/"},
        {"", "libkernels/"},
        {"transformers/5.23.0", "transformers/5.23.0; libkernels/"},
        {" a/1 ;; b/2; ", "a/1; b/2; libkernels/"},
        {"a/1\r\nX: y", NULL},
        {"a/1\tb", NULL},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        site s;
        site_init(&s);
        print_message("  '%s'\n", rows[i].agent ? rows[i].agent : "(none)");
        add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
        serve(&s, "n", WORLD_A);
        open_context(&s, 0);
        const kn_kernel_options opts = {
            .repo_id = "o/n", .version = "~=1.0", .user_agent = rows[i].agent};
        if (!rows[i].begins) {
            refused(&s, opts, KN_ERR_INVALID, "printable ASCII");
            assert_int_equal(requests(&s), 0);
            site_dispose(&s);
            continue;
        }
        kn_kernel *kernel = get(&s, opts);
        char line[200];
        snprintf(line, sizeof(line), "\r\nUser-Agent: %s", rows[i].begins);
        const size_t n = requests(&s);
        assert_true(n >= 5);
        for (size_t r = 0; r < n; ++r)
            if (!strstr(http_server_request(s.world.server, r), line))
                fail_msg("'%s' lacks '%s'", http_server_request(s.world.server, r), line);
        char *dir = NULL;
        assert_int_equal(
            kn_context_fetch_kernel(
                s.ctx,
                KN_KERNEL_OPTIONS(.repo_id = "o/n", .version = "~=1.0", .user_agent = "other/1"),
                &dir, NULL, NULL, NULL),
            KN_OK);
        assert_string_equal(dir, kn_package_dir(kn_kernel_package(kernel)));
        kn_string_free(dir);
        assert_int_equal(requests(&s), n);
        site_dispose(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_first_era),
        cmocka_unit_test(test_user_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
