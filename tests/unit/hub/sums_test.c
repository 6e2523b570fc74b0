#include "base/alloc.h"
#include "hub/lock.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#define A "000000000000000000000000000000000000000a"
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS "2222222222222222222222222222222222222222222222222222222222222222"
// printf '%s 2 a.so\n%s 30 metadata.json\n' 2222… 1111… | sha256sum
#define MANIFEST "5969353ecaa44f02a65a1dfe3e2c4b90da1b295ebfa92dfc76b445d3e64f8b48"
// printf '%s 0 x\n' 1111… | sha256sum
#define MANIFEST_X "54a3e2b760ac0f63fe2dbe87acbd13ea679b5e6479af34331ab5430ce687360e"

static const char whole[] = "{\n"
                            "  \"format\": \"kernels.lock.sums\",\n"
                            "  \"version\": 1,\n"
                            "  \"source\": \"pyproject.toml\",\n"
                            "  \"kernels\": [\n"
                            "    {\n"
                            "      \"repo_id\": \"o/n\",\n"
                            "      \"repo_type\": \"kernel\",\n"
                            "      \"version\": \">=0.0.4\",\n"
                            "      \"ref\": \"v0.0.5\",\n"
                            "      \"commit\": \"" A "\",\n"
                            "      \"variants\": {\n"
                            "        \"torch28-cxx11-cpu-x86_64-linux\": {\n"
                            "          \"manifest\": \"" MANIFEST_X "\",\n"
                            "          \"files\": {\n"
                            "            \"x\": {\n"
                            "              \"sha256\": \"" ONES "\",\n"
                            "              \"size\": 0\n"
                            "            }\n"
                            "          }\n"
                            "        },\n"
                            "        \"tvm-ffi01-cpu-x86_64-linux\": {\n"
                            "          \"manifest\": \"" MANIFEST "\",\n"
                            "          \"files\": {\n"
                            "            \"a.so\": {\n"
                            "              \"sha256\": \"" TWOS "\",\n"
                            "              \"size\": 2\n"
                            "            },\n"
                            "            \"metadata.json\": {\n"
                            "              \"sha256\": \"" ONES "\",\n"
                            "              \"size\": 30\n"
                            "            }\n"
                            "          }\n"
                            "        }\n"
                            "      }\n"
                            "    },\n"
                            "    {\n"
                            "      \"repo_id\": \"o/n\",\n"
                            "      \"repo_type\": \"model\",\n"
                            "      \"revision\": \"" A "\",\n"
                            "      \"ref\": \"\",\n"
                            "      \"commit\": \"" A "\",\n"
                            "      \"variants\": {}\n"
                            "    },\n"
                            "    {\n"
                            "      \"repo_id\": \"o/n\",\n"
                            "      \"repo_type\": \"kernel\",\n"
                            "      \"ref\": \"main\",\n"
                            "      \"commit\": \"" A "\",\n"
                            "      \"variants\": {}\n"
                            "    }\n"
                            "  ]\n"
                            "}\n";

static kn_status parse(const char *text, kni_sums *out, kn_error *err)
{
    return kni_sums_parse(text, strlen(text), "k.sums", out, err);
}

static void test_whole(void **state)
{
    (void)state;
    kni_sums sums;
    kn_error err = KN_ERROR_INIT;
    if (parse(whole, &sums, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_string_equal(sums.source, "pyproject.toml");
    assert_int_equal(sums.count, 3);
    const kni_sum_kernel *kernel = kni_sums_find(&sums, "o/n", ">=0.0.4", NULL);
    assert_ptr_equal(kernel, &sums.kernels[0]);
    assert_int_equal(kernel->repo.type, KNI_REPO_KERNEL);
    assert_string_equal(kernel->ref, "v0.0.5");
    assert_string_equal(kernel->commit, A);
    assert_ptr_equal(kni_sums_find(&sums, "o/n", NULL, A), &sums.kernels[1]);
    assert_int_equal(sums.kernels[1].repo.type, KNI_REPO_MODEL);
    assert_ptr_equal(kni_sums_find(&sums, "o/n", NULL, NULL), &sums.kernels[2]);
    assert_null(kni_sums_find(&sums, "o/n", ">=0.0.5", NULL));
    assert_null(kni_sums_find(&sums, "o/n", NULL, "main"));
    assert_null(kni_sums_find(&sums, "o/m", NULL, NULL));

    assert_null(kni_sum_find_variant(&sums.kernels[2], "torch"));
    assert_null(kni_sum_find_variant(kernel, "torch"));
    const kni_sum_variant *variant = kni_sum_find_variant(kernel, "tvm-ffi01-cpu-x86_64-linux");
    assert_non_null(variant);
    assert_int_equal(variant->n_files, 2);
    assert_int_equal(kni_sum_find_file(variant, "metadata.json")->size, 30);
    assert_string_equal(kni_sum_find_file(variant, "a.so")->sha256, TWOS);
    assert_null(kni_sum_find_file(variant, "a"));
    char *text = kni_sums_text(&sums);
    assert_string_equal(text, whole);
    kni_free(text);
    kni_sums_dispose(&sums);
}

#define HEAD "{\"format\":\"kernels.lock.sums\",\"version\":1,\"source\":\"k.toml\",\"kernels\":"
#define KERNEL(more)                                                                               \
    "{\"repo_id\":\"o/n\",\"repo_type\":\"kernel\",\"ref\":\"v1\",\"commit\":\"" A                 \
    "\",\"variants\":{}" more "}"
#define VARIANTS(variants)                                                                         \
    HEAD "[{\"repo_id\":\"o/n\",\"repo_type\":\"kernel\",\"ref\":\"v1\",\"commit\":\"" A           \
         "\",\"variants\":{" variants "}}]}"
#define FILES(files) VARIANTS("\"v\":{\"manifest\":\"" ONES "\",\"files\":{" files "}}")
#define AT_V "k.sums: kernels[0].variants.v"

// The order of files and variants in the text does not count: what is held is sorted.
static void test_order(void **state)
{
    (void)state;
    kni_sums sums;
    assert_int_equal(
        parse(VARIANTS("\"w\":{\"files\":{\"metadata.json\":{\"size\":30,\"sha256\":\"" ONES
                       "\"},\"a.so\":{\"sha256\":\"" TWOS "\",\"size\":2}},\"manifest\":\"" MANIFEST
                       "\"},\"v\":{\"manifest\":\"" MANIFEST_X
                       "\",\"files\":{\"x\":{\"sha256\":\"" ONES "\",\"size\":0}}}"),
              &sums, NULL),
        KN_OK);
    assert_string_equal(sums.kernels[0].variants[0].name, "v");
    assert_string_equal(sums.kernels[0].variants[1].files[0].path, "a.so");
    kni_sums_dispose(&sums);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error: the beginning of the message
    } rows[] = {
        {"no JSON", "{", "k.sums:1: ends too early"},
        {"an array", "[]", "k.sums: expected an object, found an array"},
        {"nothing in it", "{}", "k.sums: format: is missing, expected a string"},
        {"another format", "{\"format\":\"\\u001b\"}",
         "k.sums: format: found \"\uFFFD\": expected \"kernels.lock.sums\""},
        {"no version", "{\"format\":\"kernels.lock.sums\"}", "k.sums: version: is missing"},
        {"a newer one", "{\"format\":\"kernels.lock.sums\",\"version\":2,\"x\":1}",
         "k.sums: version: found 2: this libkernels reads 1"},
        {"unknown key", "{\"format\":\"kernels.lock.sums\",\"version\":1,\"x\":1}",
         "k.sums: x: is not known: accepted are format, version, source, kernels"},
        {"source elsewhere",
         "{\"format\":\"kernels.lock.sums\",\"version\":1,\"source\":\"../a.toml\"}",
         "k.sums: source: found \"../a.toml\": expected the name of a file beside it"},
        {"kernels are an object", HEAD "{}}",
         "k.sums: kernels: expected an array, found an object"},
        {"kernel is a number", HEAD "[1]}", "k.sums: kernels[0]: expected an object, found an"},
        {"key of a kernel", HEAD "[" KERNEL(",\"sha\":1") "]}",
         "k.sums: kernels[0].sha: is not known: accepted are repo_id, repo_type, version"},
        {"no repository", HEAD "[{}]}", "k.sums: kernels[0].repo_id: is missing"},
        {"repository", HEAD "[{\"repo_id\":\"o\",\"repo_type\":\"kernel\"}]}",
         "k.sums: kernels[0]: repo_id: "},
        {"type", HEAD "[{\"repo_id\":\"o/n\",\"repo_type\":\"dataset\"}]}",
         "k.sums: kernels[0]: repo_type: found \"dataset\": expected \"kernel\" or \"model\""},
        {"version and revision", HEAD "[" KERNEL(",\"version\":\"1\",\"revision\":\"v1\"") "]}",
         "k.sums: kernels[0]: has version and revision: expected at most one"},
        {"version is a number", HEAD "[" KERNEL(",\"version\":1") "]}",
         "k.sums: kernels[0].version: expected a string, found an integer"},
        {"empty revision", HEAD "[" KERNEL(",\"revision\":\"\"") "]}",
         "k.sums: kernels[0]: revision: found \"\": expected text"},
        {"ref",
         HEAD "[{\"repo_id\":\"o/n\",\"repo_type\":\"kernel\",\"ref\":\"a..b\",\"commit\":\"" A
              "\"}]}",
         "k.sums: kernels[0]: ref: found \"a..b\": expected a branch or tag"},
        {"commit",
         HEAD "[{\"repo_id\":\"o/n\",\"repo_type\":\"kernel\",\"ref\":\"\",\"commit\":\"v1\"}]}",
         "k.sums: kernels[0]: commit: found \"v1\": expected a commit, 40"},
        {"same wish twice", HEAD "[" KERNEL("") "," KERNEL("") "]}",
         "k.sums: kernels[1]: o/n with the same version and revision stands here twice"},
        {"name of a variant", VARIANTS("\"a/b\":{}"),
         "k.sums: kernels[0]: variants: \"a/b\": expected the name of a build variant"},
        {"key of a variant", VARIANTS("\"v\":{\"hash\":1}"),
         AT_V ".hash: is not known: accepted are manifest, files"},
        {"no manifest", VARIANTS("\"v\":{}"), AT_V ".manifest: is missing"},
        {"manifest", VARIANTS("\"v\":{\"manifest\":\"" A "\"}"),
         AT_V ": manifest: found \"" A "\": expected a SHA-256, 64"},
        {"no files", FILES(""), AT_V ": files: names none"},
        {"path above", FILES("\"a/../b\":{}"), AT_V ": files: \"a/../b\": expected a path below"},
        {"key of a file", FILES("\"f\":{\"oid\":1}"), AT_V ".files.f.oid: is not known"},
        {"no hash", FILES("\"f\":{\"size\":1}"), AT_V ".files.f.sha256: is missing"},
        {"hash of git", FILES("\"f\":{\"sha256\":\"" A "\",\"size\":1}"),
         AT_V ".files.f: sha256: found"},
        {"negative size", FILES("\"f\":{\"sha256\":\"" ONES "\",\"size\":-1}"),
         AT_V ".files.f: size: found -1: expected a number from 0"},
        {"another size than in the manifest",
         VARIANTS("\"v\":{\"manifest\":\"" MANIFEST_X "\",\"files\":{\"x\":{\"sha256\":\"" ONES
                  "\",\"size\":1}}}"),
         AT_V ": manifest: found " MANIFEST_X ", but its files give "},
        {"another path",
         VARIANTS("\"v\":{\"manifest\":\"" MANIFEST_X "\",\"files\":{\"y\":{\"sha256\":\"" ONES
                  "\",\"size\":0}}}"),
         AT_V ": manifest: found"},
        {"another content",
         VARIANTS("\"v\":{\"manifest\":\"" MANIFEST_X "\",\"files\":{\"x\":{\"sha256\":\"" TWOS
                  "\",\"size\":0}}}"),
         AT_V ": manifest: found"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_sums sums;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(parse(rows[i].text, &sums, &err), KN_ERR_FORMAT);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        assert_null(sums.kernels);
        assert_null(sums.source);
        kn_error_dispose(&err);
    }
}

static void test_read(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    kni_sums sums;
    assert_int_equal(kni_sums_read(temp_dir_path(dir, "k.lock.sums"), &sums, NULL),
                     KN_ERR_NOT_FOUND);
    temp_dir_text(dir, "k.lock.sums", whole);
    assert_int_equal(kni_sums_read(temp_dir_path(dir, "k.lock.sums"), &sums, NULL), KN_OK);
    assert_int_equal(sums.count, 3);
    kni_sums_dispose(&sums);
    temp_dir_remove(dir);
}

static kn_status all(void *user, kn_error *err)
{
    (void)user;
    kni_sums sums, other = {0};
    kni_sum_kernel copies[3] = {{.version = NULL}};
    kn_status st = parse(whole, &sums, err);
    for (size_t i = 0; st == KN_OK && i < 3; ++i)
        st = kni_sum_kernel_copy(&sums.kernels[i], &copies[i], err);
    if (st == KN_OK) {
        other = (kni_sums){sums.source, copies, 3};
        char *text = kni_sums_text(&other);
        if (!text)
            st = kn_error_set(err, KN_ERR_NO_MEMORY, "no text");
        else
            assert_string_equal(text, whole);
        kni_free(text);
    }
    for (size_t i = 0; i < 3; ++i)
        kni_sum_kernel_dispose(&copies[i]);
    kni_sums_dispose(&sums);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, all, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_order),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_read),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
