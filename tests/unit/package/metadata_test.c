#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "package/metadata.h"
#include "support/fail_alloc.h"

#define DIGEST "PRJgMAJ9e/0xBxfWIbCHMXfhCGOBRC7G8EFQTfZp+wI=" // 32 bytes
#define LAYER "\"signature\": \"(x: f32 [...]) -> (y: like x)\", \"forward\": \"f(y, x)\""

static const struct {
    const char *name, *text;
    const char *error; // a part of it; NULL: accepted
} rows[] = {
    {"nothing", "{}", NULL},
    {"0.11: dependencies alone", "{\"python-depends\": []}", NULL},
    {"0.12: a version", "{\"version\": 1, \"python-depends\": [\"einops\"]}", NULL},
    {"main",
     "{\"name\": \"flash-attn\", \"id\": \"_flash_attn_cuda_1a2b3c\", \"version\": 2, \"license\": "
     "\"MIT\", \"upstream\": \"https://example.org/x.git\", \"source\": \"git@example.org:x.git\", "
     "\"python-depends\": [\"einops\"], \"backend\": {\"type\": \"cuda\", \"archs\": [\"8.0\", "
     "\"9.0a+PTX\"]}, \"digest\": {\"algorithm\": \"sha256\", \"files\": {\"a.so\": \"" DIGEST
     "\"}}, \"provenance\": {\"kernel\": {\"commit\": \"x\", \"dirty\": false}}, "
     "\"kernel-depends\": [{\"repo-id\": \"a/b\", \"version\": 1}]}",
     NULL},
    {"unknown keys", "{\"future\": {\"deep\": [1, 2, {\"x\": null}]}, \"name\": \"ab\"}", NULL},
    {"null is absent", "{\"name\": null, \"backend\": null, \"layers\": null, \"digest\": null}",
     NULL},
    {"layers",
     "{\"layers\": {\"A\": {" LAYER ", \"can_torch_compile\": true, \"autocast\": \"lower\", "
     "\"tolerance\": {\"f32\": 1e-6, \"bf16\": 0.01}, \"later\": 1}}}",
     NULL},

    {"not JSON", "{", "metadata.json:1: "},
    {"an array", "[]", "expected an object"},
    {"twice the same key", "{\"name\": \"ab\", \"name\": \"cd\"}", "duplicate"},
    {"too deep",
     "{\"x\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
     "deeper"},
    {"name is a number", "{\"name\": 1}", "name: expected a string, found an integer"},
    {"name with capitals", "{\"name\": \"Flash\"}", "name: expected lower-case letters"},
    {"name ends with a dash", "{\"name\": \"flash-\"}", "name: expected lower-case letters"},
    {"version is a string", "{\"version\": \"1\"}", "version: expected an integer, found a string"},
    {"version is negative", "{\"version\": -2}", "version: expected a number that is not negative"},
    {"version is -1", "{\"version\": -1}", "version: expected a number that is not negative"},
    {"version is true", "{\"version\": true}", "version: expected an integer, found a boolean"},
    {"archs is a string", "{\"backend\": {\"type\": \"cuda\", \"archs\": \"9.0\"}}",
     "backend.archs: expected an array, found a string"},
    {"an arch is a number", "{\"backend\": {\"type\": \"cuda\", \"archs\": [\"9.0\", 9.0]}}",
     "backend.archs[1]: expected a string"},
    {"an empty feature", "{\"cpu-features\": [\"\"]}",
     "cpu-features[0]: expected a string that is not empty"},
    {"backend is a string", "{\"backend\": \"cuda\"}",
     "backend: expected an object, found a string"},
    {"library outside", "{\"library\": \"../x.so\"}", "'..' component"},
    {"library absolute", "{\"library\": \"/x.so\"}", "is absolute"},
    {"library that is never code", "{\"library\": \"__pycache__/x.so\"}",
     "library: '__pycache__/x.so' is a file that is never read as code"},

    {"unknown algorithm", "{\"digest\": {\"algorithm\": \"md5\", \"files\": {}}}",
     "digest.algorithm: expected sha256 or sha512, found 'md5'"},
    {"no algorithm", "{\"digest\": {\"files\": {}}}", "digest.algorithm: is missing"},
    {"no files", "{\"digest\": {\"algorithm\": \"sha256\"}}", "digest.files: is missing"},
    {"digest of another size",
     "{\"digest\": {\"algorithm\": \"sha512\", \"files\": {\"a\": \"" DIGEST "\"}}}",
     "digest.files['a']: expected the base64 of 64 bytes"},
    {"digest is a number", "{\"digest\": {\"algorithm\": \"sha256\", \"files\": {\"a\": 3}}}",
     "digest.files['a']: expected the base64 of 32 bytes"},
    {"digest of a file outside",
     "{\"digest\": {\"algorithm\": \"sha256\", \"files\": {\"a/../../b\": \"" DIGEST "\"}}}",
     "'..' component"},
    {"digest of byte code",
     "{\"digest\": {\"algorithm\": \"sha256\", \"files\": {\"a.pyc\": \"" DIGEST "\"}}}",
     "never lists"},
    {"digest of the metadata",
     "{\"digest\": {\"algorithm\": \"sha256\", \"files\": {\"metadata.json\": \"" DIGEST "\"}}}",
     "never lists"},

    {"layers is an array", "{\"layers\": []}", "layers: expected an object, found an array"},
    {"a layer is a string", "{\"layers\": {\"A\": \"x\"}}", "layers.A: expected an object"},
    {"no signature", "{\"layers\": {\"A\": {\"forward\": \"f(y, x)\"}}}",
     "layers.A.signature: is missing"},
    {"no forward", "{\"layers\": {\"A\": {\"signature\": \"(x: f32 [...]) -> (y: like x)\"}}}",
     "layers.A.forward: is missing"},
    {"no backward call",
     "{\"layers\": {\"A\": {" LAYER
     ", \"backward\": {\"signature\": \"(dy: f32 [...]) -> (dx: like x)\"}}}}",
     "layers.A.backward.call: is missing"},
    {"autocast", "{\"layers\": {\"A\": {" LAYER ", \"autocast\": \"fp16\"}}}",
     "layers.A.autocast: expected neutral, lower or f32, found 'fp16'"},
    {"tolerance of no dtype", "{\"layers\": {\"A\": {" LAYER ", \"tolerance\": {\"q7\": 1}}}}",
     "layers.A.tolerance: 'q7' is no dtype"},
    {"tolerance 0", "{\"layers\": {\"A\": {" LAYER ", \"tolerance\": {\"f32\": 0}}}}",
     "layers.A.tolerance.f32: expected a number above 0"},
    {"tolerance is a string",
     "{\"layers\": {\"A\": {" LAYER ", \"tolerance\": {\"f32\": \"1e-6\"}}}}",
     "layers.A.tolerance.f32: expected a number above 0"},
    {"an empty layer name", "{\"layers\": {\"\": {" LAYER "}}}", "layers: expected names of 1"},
    {"a layer name with a newline", "{\"layers\": {\"a\\nb\": {" LAYER "}}}",
     "layers: expected names of 1"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_metadata metadata;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        const kn_status st = kni_metadata_parse(rows[i].text, strlen(rows[i].text),
                                                "/p/metadata.json", &metadata, &err);
        if (rows[i].error) {
            assert_int_equal(st, KN_ERR_FORMAT);
            if (!strstr(kn_error_text(&err), rows[i].error))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
            assert_non_null(strstr(kn_error_text(&err), "/p/metadata.json"));
        } else {
            if (st != KN_OK)
                fail_msg("%s", kn_error_text(&err));
            assert_int_equal(err.status, KN_OK);
        }
        kn_error_dispose(&err);
        kni_metadata_dispose(&metadata);
    }
}

static void test_content(void **state)
{
    (void)state;
    static const char text[] =
        "{\"name\": \"activation\", \"id\": \"_activation_1\", \"version\": 3, \"license\": "
        "\"Apache-2.0\", \"library\": \"lib/a.so\", \"cpu-features\": [\"avx2\", \"fma\"], "
        "\"backend\": {\"type\": \"cuda\", \"archs\": [\"8.0\", \"9.0a\"]}, \"layers\": "
        "{\"Zed\": {" LAYER ", \"tolerance\": {\"f32\": 1e-6, \"bf16\": 0.01}}, \"Alpha\": {" LAYER
        ", \"backward\": {\"signature\": \"(dy: f32 [...]) -> (dx: like x)\", \"call\": "
        "\"b(dx, dy)\"}, \"can_torch_compile\": true, \"autocast\": \"lower\"}}, \"digest\": "
        "{\"algorithm\": \"sha256\", \"files\": {\"z\": \"" DIGEST "\", \"lib/a.so\": \"" DIGEST
        "\"}}}";
    kni_metadata m;
    kn_error err = KN_ERROR_INIT;
    if (kni_metadata_parse(text, sizeof(text) - 1, "m", &m, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_string_equal(m.name, "activation");
    assert_string_equal(m.id, "_activation_1");
    assert_int_equal(m.version, 3);
    assert_string_equal(m.license, "Apache-2.0");
    assert_string_equal(m.library, "lib/a.so");
    assert_string_equal(m.backend, "cuda");
    assert_int_equal(m.archs.count, 2);
    assert_string_equal(m.archs.names[1], "9.0a");
    assert_int_equal(m.features.count, 2);
    assert_string_equal(m.features.names[0], "avx2");
    assert_int_equal(m.n_layers, 2);
    assert_string_equal(m.layers[0].name, "Zed"); // the file's order
    assert_false(m.layers[0].can_torch_compile);
    assert_string_equal(m.layers[0].autocast, "");
    assert_int_equal(m.layers[0].n_tolerances, 2);
    assert_true(m.layers[0].tolerances[1].value > 0.009 && m.layers[0].tolerances[1].value < 0.011);
    assert_true(m.layers[1].can_torch_compile);
    assert_string_equal(m.layers[1].autocast, "lower");
    assert_true(kn_layer_has_backward(m.layers[1].layer));
    assert_string_equal(kn_layer_function(m.layers[1].layer, true), "b");
    assert_true(m.digest.present);
    assert_int_equal(m.digest.n_files, 2);
    assert_string_equal(m.digest.files[0].path, "lib/a.so"); // sorted
    assert_non_null(kni_digest_block_find(&m.digest, "z"));
    assert_null(kni_digest_block_find(&m.digest, "y"));
    kni_metadata_dispose(&m);

    if (kni_metadata_parse("{}", 2, "m", &m, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_int_equal(m.version, -1);
    assert_string_equal(m.name, "");
    assert_string_equal(m.backend, "");
    assert_false(m.digest.present);
    kni_metadata_dispose(&m);
}

static kn_status parse(void *user, kn_error *err)
{
    kni_metadata metadata;
    const kn_status st = kni_metadata_parse(user, strlen(user), "m", &metadata, err);
    kni_metadata_dispose(&metadata);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        if (!rows[i].error) {
            print_message("  %s\n", rows[i].name);
            assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, parse,
                                        (char *)(uintptr_t)rows[i].text) > 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
