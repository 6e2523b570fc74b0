// Writing a mapping and reading it again.
#include "support/cmocka.h"

#include "kernels/mapping.h"
#include "support/temp_dir.h"

#define S .struct_size = sizeof(kn_entry)

static const kn_entry entries[] = {
    {S, .layer = "A", .device = "cuda", .capability = {75, 89, 1, 0}, .repo_id = "o/n",
     .mode = KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE, .version = ">=0.0.4,<0.1.0"},
    {S, .layer = "quote \" and \\ back", .device = "cpu", .path = "/k/\"a\\b\"/層",
     .layer_name = "x"},
    {S, .layer = "A", .device = "cuda", .capability = {75, 89, 1, 0}, .repo_id = "o/m",
     .version = "12", .trust_remote_code = 1},
    {S, .layer = "A", .device = "cuda", .capability = {90, KN_CAPABILITY_MAX, 1, 0},
     .repo_id = "o/n", .revision = "refs/pr/1"},
    {S, .layer = "A", .device = "metal", .repo_id = "o/n", .lock = "/k/kernels.lock",
     .layer_name = "A"},
    {S, .layer = "B", .device = "cpu", .repo_id = "o/n", .version = ">1", .sums = "/k/m.lock.sums"},
};

static const char expected[] =
    "[[kernel]]\nlayer = \"quote \\\" and \\\\ back\"\ndevice = \"cpu\"\n"
    "path = \"/k/\\\"a\\\\b\\\"/層\"\nlayer_name = \"x\"\n\n"
    "[[kernel]]\nlayer = \"A\"\ndevice = \"cuda\"\ncapability = [75, 89]\n"
    "mode = \"INFERENCE|TORCH_COMPILE\"\nrepo_id = \"o/n\"\nversion = \">=0.0.4,<0.1.0\"\n\n"
    "[[kernel]]\nlayer = \"A\"\ndevice = \"cuda\"\ncapability = [75, 89]\nrepo_id = \"o/m\"\n"
    "version = 12\ntrust_remote_code = true\n\n"
    "[[kernel]]\nlayer = \"A\"\ndevice = \"cuda\"\ncapability = [90]\nrepo_id = \"o/n\"\n"
    "revision = \"refs/pr/1\"\n\n"
    "[[kernel]]\nlayer = \"A\"\ndevice = \"mps\"\nrepo_id = \"o/n\"\nlock = \"/k/kernels.lock\"\n\n"
    "[[kernel]]\nlayer = \"B\"\ndevice = \"cpu\"\nrepo_id = \"o/n\"\nversion = \">1\"\n"
    "sums = \"/k/m.lock.sums\"\n";

static void assert_same_text(const kn_mapping *mapping, const char *wanted)
{
    char *text = NULL;
    assert_int_equal(kn_mapping_text(mapping, &text, NULL), KN_OK);
    assert_string_equal(text, wanted);
    kn_string_free(text);
}

static void test_text(void **state)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *mapping = NULL, *again = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, KN_LEN(entries), &mapping, NULL), KN_OK);
    assert_same_text(mapping, expected);
    if (kn_mapping_parse(expected, strlen(expected), "again", NULL, &again, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_same_text(again, expected);
    for (size_t i = 0; i < KN_LEN(entries); ++i) { // and all that the text stands for
        kn_mapping_row a = KN_MAPPING_ROW_INIT, b = KN_MAPPING_ROW_INIT;
        assert_int_equal(kn_mapping_row_get(mapping, i, &a, NULL), KN_OK);
        assert_int_equal(kn_mapping_row_get(again, i, &b, NULL), KN_OK);
        assert_string_equal(a.layer, b.layer);
        assert_int_equal(a.mode, b.mode);
        assert_memory_equal(&a.capability, &b.capability, sizeof(a.capability));
        assert_string_equal(a.reference->text, b.reference->text);
        assert_string_equal(a.reference->layer_name, b.reference->layer_name);
        assert_true(a.reference->version_branch == b.reference->version_branch);
        assert_int_equal(a.reference->trust_remote_code, b.reference->trust_remote_code);
    }
    kn_mapping_unref(mapping);
    kn_mapping_unref(again);
}

static void test_file(void **state)
{
    char *dir = temp_dir_new();
    kn_error err = KN_ERROR_INIT;
    kn_mapping *mapping = NULL, *again = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, KN_LEN(entries), &mapping, NULL), KN_OK);
    temp_dir_text(dir, "m.toml", "what was there");
    assert_int_equal(kn_mapping_write(mapping, temp_dir_path(dir, "m.toml"), &err), KN_OK);
    assert_int_equal(kn_mapping_read(temp_dir_path(dir, "m.toml"), &again, &err), KN_OK);
    assert_same_text(again, expected);
    assert_int_equal(kn_mapping_write(mapping, temp_dir_path(dir, "none/m.toml"), &err),
                     KN_ERR_NOT_FOUND);
    assert_non_null(strstr(kn_error_text(&err), "none/m.toml"));
    kn_error_dispose(&err);
    kn_mapping_unref(mapping);
    kn_mapping_unref(again);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
