#include "support/package_dir.h"

#include "kernels/package.h"

#define SIGNATURE "\"signature\": \"(x: f32 [...], factor: float = 2.0) -> (y: like x)\""

static void test_content(void **state)
{
    (void)state;
    package_dir dir;
    kn_package *package = NULL;
    kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
    kn_error err = KN_ERROR_INIT;
    const DLDataType f32 = {kDLFloat, 32, 1}, f16 = {kDLFloat, 16, 1};
    package_make(
        &dir, "good.so",
        ", \"python-depends\": [\"einops\"], \"cpu-features\": [\"avx2\"], \"layers\": "
        "{\"B\": {" SIGNATURE ", \"forward\": \"scale(y, x, factor)\", \"autocast\": "
        "\"lower\", \"can_torch_compile\": true, \"tolerance\": {\"f32\": 0.5}}, \"A\": {" SIGNATURE
        ", \"forward\": \"scale(y, x, factor)\", \"backward\": {\"signature\": "
        "\"(dy: f32 [...]) -> (dx: like x)\", \"call\": \"scale(dx, dy, factor)\"}}}");
    if (kn_package_open(dir.variant, &package, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_string_equal(kn_package_dir(package), dir.variant);
    assert_string_equal(kn_package_variant(package), PACKAGE_VARIANT);
    assert_string_equal(kn_package_name(package), "fixture");
    assert_string_equal(kn_package_id(package), "_fixture_1");
    assert_int_equal(kn_package_version(package), 1);
    assert_string_equal(kn_package_license(package), "Apache-2.0");
    assert_string_equal(kn_package_backend(package), "cpu");
    assert_int_equal(kn_package_arch_count(package), 0);
    assert_string_equal(kn_package_arch(package, 0), "");
    assert_int_equal(kn_package_depend_count(package), 1);
    assert_string_equal(kn_package_depend(package, 0), "einops");
    assert_string_equal(kn_package_depend(package, 1), "");
    assert_int_equal(kn_package_feature_count(package), 1);
    assert_string_equal(kn_package_feature(package, 0), "avx2");
    assert_true(kn_package_has_digests(package));
    assert_string_equal(kn_package_library(package), "kernel.so");

    assert_int_equal(kn_package_layer_count(package), 2);
    assert_int_equal(kn_package_layer_get(package, 0, &layer, NULL), KN_OK);
    assert_string_equal(layer.name, "B");
    assert_string_equal(layer.autocast, "lower");
    assert_int_equal(layer.can_torch_compile, 1);
    assert_int_equal(layer.has_backward, 0);
    assert_int_equal(kn_package_layer_find(package, "A", &layer, NULL), KN_OK);
    assert_string_equal(layer.name, "A");
    assert_string_equal(layer.autocast, "");
    assert_int_equal(layer.can_torch_compile, 0);
    assert_int_equal(layer.has_backward, 1);
    assert_true(kn_package_layer_tolerance(package, "B", f32) > 0.4);
    assert_true(kn_package_layer_tolerance(package, "B", f16) <= 0);
    assert_true(kn_package_layer_tolerance(package, "A", f32) <= 0);
    assert_true(kn_package_layer_tolerance(package, "none", f32) <= 0);

    assert_int_equal(kn_package_layer_find(package, "C", &layer, &err), KN_ERR_NOT_FOUND);
    assert_non_null(strstr(kn_error_text(&err), "has no layer 'C': it has B, A"));
    kn_error_dispose(&err);
    assert_int_equal(kn_package_layer_get(package, 2, &layer, NULL), KN_ERR_INVALID);
    layer.struct_size = 0;
    assert_int_equal(kn_package_layer_get(package, 0, &layer, NULL), KN_ERR_INVALID);

    struct { // an older program's: what it does not know is not written
        kn_package_layer layer;
    } old = {{.struct_size = offsetof(kn_package_layer, autocast), .autocast = "untouched"}};
    assert_int_equal(kn_package_layer_get(package, 0, &old.layer, NULL), KN_OK);
    assert_string_equal(old.layer.name, "B");
    assert_string_equal(old.layer.autocast, "untouched");
    kn_package_close(package);
    kn_package_close(NULL);
    package_remove(&dir);
}

// Which file is the library, when metadata.json does not say.
static void test_library(void **state)
{
    (void)state;
    static const struct {
        const char *name, *files[3], *metadata, *library;
        kn_status status;
    } rows[] = {
        {"the only one", {"lib/a.so", "a.py"}, "{}", "lib/a.so", KN_OK},
        {"none", {"a.py"}, "{}", "", KN_OK},
        {"one of two", {"a.so", "b.so"}, "{}", "", KN_OK}, // the check refuses it
        {"as said", {"a.so", "b.so"}, "{\"library\": \"b.so\"}", "b.so", KN_OK},
        {"not in what is never code", {"__pycache__/a.so"}, "{}", "", KN_OK},
        {"versioned names are others", {"a.so.1"}, "{}", "", KN_OK},
        {"no metadata", {"a.so"}, NULL, NULL, KN_ERR_NOT_FOUND},
        {"broken metadata", {"a.so"}, "{", NULL, KN_ERR_FORMAT},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        package_dir dir;
        kn_package *package = NULL;
        print_message("  %s\n", rows[i].name);
        package_root(&dir);
        for (size_t f = 0; f < KN_LEN(rows[i].files) && rows[i].files[f]; ++f)
            package_text(dir.root, rows[i].files[f], "x");
        if (rows[i].metadata)
            package_text(dir.root, "metadata.json", rows[i].metadata);
        assert_int_equal(kn_package_open(dir.root, &package, NULL), rows[i].status);
        if (rows[i].library)
            assert_string_equal(kn_package_library(package), rows[i].library);
        else
            assert_null(package);
        kn_package_close(package);
        package_remove(&dir);
    }
}

static void test_metadata_too_large(void **state)
{
    (void)state;
    package_dir dir;
    kn_package *package = NULL;
    kn_error err = KN_ERROR_INIT;
    const size_t size = ((size_t)8 << 20) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "{}", 2);
    package_root(&dir);
    package_write(dir.root, "metadata.json", text, size);
    assert_int_equal(kn_package_open(dir.root, &package, &err), KN_ERR_FORMAT);
    assert_non_null(strstr(kn_error_text(&err), "larger than the 8388608 bytes"));
    kn_error_dispose(&err);
    package_write(dir.root, "metadata.json", text, size - 1);
    assert_int_equal(kn_package_open(dir.root, &package, NULL), KN_OK);
    kn_package_close(package);
    free(text);
    package_remove(&dir);
}

static void test_target(void **state)
{
    (void)state;
    kn_machine *machine = NULL;
    kn_target target;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_machine_parse("cuda:9.0,cuda:8.0", &machine, NULL), KN_OK);
    assert_int_equal(kn_target_init(machine, KN_DEVICE_CUDA, 1, &target, NULL), KN_OK);
    assert_int_equal(target.struct_size, sizeof(target));
    assert_ptr_equal(target.machine, machine);
    assert_int_equal(target.device.capability, 80);
    assert_true(target.tvm_ffi_major >= 0 && target.tvm_ffi_minor >= 0);
    assert_int_equal(target.torch_major, 0);
    assert_int_equal(kn_target_init(machine, KN_DEVICE_CUDA, 2, &target, &err), KN_ERR_NOT_FOUND);
    assert_true(kn_error_text(&err)[0] != '\0');
    kn_error_dispose(&err);
    assert_int_equal(kn_target_init(NULL, KN_DEVICE_CPU, 0, &target, NULL), KN_ERR_INVALID);
    kn_machine_unref(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_metadata_too_large),
        cmocka_unit_test(test_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
