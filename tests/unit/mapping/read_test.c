// Mapping files: what is accepted, and what each error says.
#include "support/cmocka.h"

#include <unistd.h>

#include "kernels/mapping.h"
#include "support/temp_dir.h"

#define K "[[kernel]]\nlayer = \"L\"\ndevice = \"cuda\"\n"
#define KR K "repo_id = \"o/n\"\n" // the next line is 5

static void test_refused(void **state)
{
    static const struct {
        const char *name, *text, *error;
    } rows[] = {
        {"not TOML", "[[kernel]\n", "f.toml:1: "},
        {"not TOML, later", KR "version = \n", "f.toml:5: "},
        {"same key twice", KR "repo_id = \"o/m\"\n", "f.toml:5: "},
        {"unknown key at the top", "\nkernels = 1\n",
         "f.toml:2: unknown key \"kernels\": accepted is [[kernel]]"},
        {"unknown table", KR "[settings]\n", "f.toml:5: unknown key \"settings\": accepted is"},
        {"kernel is a table", "[kernel]\nlayer = \"L\"\n",
         "f.toml:1: kernel: expected [[kernel]] for each kernel, found a table"},
        {"kernel is a string", "kernel = \"L\"\n", "found a string"},
        {"array of numbers", "kernel = [1]\n",
         "f.toml:1: kernel: expected a table for each kernel, found an integer"},
        {"unknown key", KR "repository = \"o/n\"\n",
         "f.toml:5: unknown key \"repository\": accepted in [[kernel]] are layer, device, "
         "capability, "
         "mode, repo_id, path, version, revision, lock, sums, layer_name and trust_remote_code"},
        {"dotted key", KR "a.b = 1\n", "f.toml:5: unknown key \"a\""},
        {"layer is a number", "[[kernel]]\nlayer = 3\n",
         "f.toml:2: layer: expected a string, found an integer"},
        {"repo_id is an array", K "repo_id = [\"o/n\"]\n",
         "f.toml:4: repo_id: expected a string, found an array"},
        {"path is a boolean", K "path = true\n",
         "f.toml:4: path: expected a string, found a boolean"},
        {"capability is a number", KR "capability = 90\n",
         "f.toml:5: capability: expected an array, found an integer: accepted are [least, "
         "greatest] "
         "and [least], major*10+minor"},
        {"empty capability", KR "capability = []\n",
         "f.toml:5: capability: the array has 0 numbers"},
        {"three capabilities", KR "capability = [1, 2, 3]\n", "the array has 3 numbers"},
        {"float capability", KR "capability = [7.5, 8]\n",
         "f.toml:5: capability: expected an integer, found a float"},
        {"float on its line", KR "capability = [\n7,\n8.0]\n",
         "f.toml:7: capability: expected an integer, found a float"},
        {"string capability", KR "capability = [\"80\"]\n", "expected an integer, found a string"},
        {"empty interval", KR "capability = [89, 75]\n",
         "f.toml:5: capability: 89 to 75 is empty: the least must be <= the greatest"},
        {"negative", KR "capability = [-1, 75]\n",
         "f.toml:5: capability: found -1 to 75: accepted"},
        {"mode is an array", KR "mode = [\"INFERENCE\"]\n", "f.toml:5: mode: expected a string"},
        {"unknown mode", KR "mode = \"EVAL\"\n",
         "f.toml:5: mode: unknown mode \"EVAL\": accepted are"},
        {"exclusive modes", KR "mode = \"INFERENCE|TRAINING\"\n", "mutually exclusive"},
        {"fallback with more", KR "mode = \"FALLBACK|TRAINING\"\n",
         "cannot be combined with other modes"},
        {"compile alone", KR "mode = \"TORCH_COMPILE\"\n", "f.toml:5: mode must contain"},
        {"version is a float", KR "version = 1.0\n",
         "f.toml:5: version: expected a specifier as a string, or an integer, found a float"},
        {"version is a boolean", KR "version = true\n", "found a boolean"},
        {"negative version", KR "version = -1\n",
         "f.toml:5: version: found -1: accepted are branches"},
        {"trust is a number", KR "trust_remote_code = 1\n",
         "f.toml:5: trust_remote_code: expected true or false, found an integer"},
        {"trust is a list", KR "trust_remote_code = [\"o\"]\n",
         "expected true or false, found an array"},
        {"no layer", "\n[[kernel]]\ndevice = \"cuda\"\n", "f.toml:2: layer: is missing"},
        {"no device", "[[kernel]]\nlayer = \"L\"\nrepo_id = \"o/n\"\n",
         "f.toml:1: device: is missing"},
        {"unknown device", "[[kernel]]\nlayer = \"L\"\ndevice = \"cuda:0\"\n",
         "f.toml:3: device: Unknown device type: cuda:0: accepted are cpu, cuda"},
        {"no reference", K, "f.toml:1: repo_id, path: neither is given"},
        {"two references", KR "path = \"p\"\n", "f.toml:5: repo_id, path: both are given"},
        {"version and revision", KR "version = 1\nrevision = \"main\"\n",
         "f.toml:5: version: is given with revision"},
        {"path and version", K "path = \"p\"\nversion = 1\n",
         "f.toml:5: version: is given with path"},
        {"bad id", K "repo_id = \"n\"\n", "f.toml:4: repo_id: found \"n\": accepted is owner/name"},
        {"empty path", K "path = \"\"\n", "f.toml:4: path: is empty"},
        {"empty sums", KR "sums = \"\"\n", "f.toml:5: sums: is empty"},
        {"sums is a number", KR "sums = 1\n",
         "f.toml:5: sums: expected a string, found an integer"},
        {"sums and lock", KR "lock = \"l\"\nsums = \"s\"\n",
         "f.toml:6: sums: is given with lock: accepted with repo_id and without lock"},
        {"sums and path", K "path = \"p\"\nsums = \"s\"\n", "f.toml:5: sums: is given with path"},
        {"empty lock", KR "lock = \"\"\n", "f.toml:5: lock: is empty"},
        {"control character", KR "revision = \"a\\u0007\"\n",
         "f.toml:5: revision: \"a\uFFFD\" has"},
        {"NUL", KR "revision = \"a\\u0000\"\n", "f.toml:5: a string holds a NUL"},
        {"the second entry", KR KR "path = \"p\"\n", "f.toml:9: repo_id, path: both"},
        {"mode twice", KR KR,
         "f.toml:5: layer `L`, device cuda, every capability, mode FALLBACK is given twice: first "
         "on "
         "line 1"},
        {"mode twice, apart",
         KR "capability = [75, 89]\nmode = \"TRAINING\"\n" KR KR
            "mode = \"TRAINING\"\ncapability = [75, 89]\n",
         "f.toml:11: layer `L`, device cuda, capability 75 to 89, mode TRAINING is given twice: "
         "first "
         "on line 1"},
        {"whole interval is none", KR KR "capability = [0]\n",
         "f.toml:5: layer `L`, device cuda, every"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_mapping *out = (kn_mapping *)&err;
        print_message("  %s\n", rows[i].name);
        const kn_status st =
            kn_mapping_parse(rows[i].text, strlen(rows[i].text), "f.toml", "/dir", &out, &err);
        if (st != KN_ERR_FORMAT || !strstr(kn_error_text(&err), rows[i].error) ||
            strncmp(kn_error_text(&err), "f.toml:", 7) != 0)
            fail_msg("\"%s\" has no \"%s\"", kn_error_text(&err), rows[i].error);
        assert_null(out);
        kn_error_dispose(&err);
    }
}

static void test_accepted(void **state)
{
    static const char text[] =
        "# the whole of the format\n"
        "[[kernel]]\nlayer = \"SiluAndMul\"\ndevice = \"cuda\"\ncapability = [75, 89]\n"
        "mode = \"TORCH_COMPILE | INFERENCE\"\nrepo_id = \"kernels-community/activation\"\n"
        "version = \">=0.0.4,<0.1.0\"\nlayer_name = \"Silu\"\ntrust_remote_code = true\n"
        "[[kernel]]\nlayer = \"SiluAndMul\"\ndevice = \"rocm\"\ncapability = [90]\n"
        "repo_id = \"o/n\"\nversion = 1\ntrust_remote_code = false\n"
        "[[kernel]]\nlayer = \"Norm\"\ndevice = \"metal\"\npath = \"kernels/../norm\"\n"
        "[[kernel]]\nlayer = \"Norm\"\ndevice = \"cpu\"\npath = \"/abs/norm\"\nmode = "
        "\"FALLBACK\"\n"
        "[[kernel]]\nlayer = \"Norm\"\ndevice = \"xpu\"\nrepo_id = \"o/n\"\nlock = "
        "\"kernels.lock\"\n"
        "[[kernel]]\nlayer = \"Norm\"\ndevice = \"npu\"\nrepo_id = \"o/n\"\nrevision = \"main\"\n";
    static const struct {
        const char *layer;
        kn_device_type device;
        kn_mode mode;
        kn_range range;
        const char *path, *path_written, *lock, *text;
        uint32_t trust;
    } rows[] = {
        {"SiluAndMul",
         KN_DEVICE_CUDA,
         KN_MODE_INFERENCE | KN_MODE_TORCH_COMPILE,
         {75, 89, 1, 0},
         "",
         "",
         "",
         "`kernels-community/activation` (version: >=0.0.4,<0.1.0), layer `Silu`",
         1},
        {"SiluAndMul",
         KN_DEVICE_ROCM,
         KN_MODE_FALLBACK,
         {90, KN_CAPABILITY_MAX, 1, 0},
         "",
         "",
         "",
         "`o/n` (version: 1), layer `SiluAndMul`",
         0},
        {"Norm",
         KN_DEVICE_MPS,
         KN_MODE_FALLBACK,
         {0, KN_CAPABILITY_MAX, 0, 0},
         "/dir/kernels/../norm",
         "kernels/../norm",
         "",
         "`kernels/../norm`, layer `Norm`",
         0},
        {"Norm",
         KN_DEVICE_CPU,
         KN_MODE_FALLBACK,
         {0, KN_CAPABILITY_MAX, 0, 0},
         "/abs/norm",
         "/abs/norm",
         "",
         "`/abs/norm`, layer `Norm`",
         0},
        {"Norm",
         KN_DEVICE_XPU,
         KN_MODE_FALLBACK,
         {0, KN_CAPABILITY_MAX, 0, 0},
         "",
         "",
         "/dir/kernels.lock",
         "`o/n` (lock: /dir/kernels.lock), layer `Norm`",
         0},
        {"Norm",
         KN_DEVICE_NPU,
         KN_MODE_FALLBACK,
         {0, KN_CAPABILITY_MAX, 0, 0},
         "",
         "",
         "",
         "`o/n` (revision: main), layer `Norm`",
         0},
    };
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    (void)state;
    if (kn_mapping_parse(text, strlen(text), "f.toml", "/dir", &out, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_int_equal(kn_mapping_count(out), KN_LEN(rows));
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        assert_int_equal(kn_mapping_row_get(out, i, &row, &err), KN_OK);
        print_message("  %s\n", row.reference->text);
        assert_string_equal(row.layer, rows[i].layer);
        assert_int_equal(row.device, rows[i].device);
        assert_int_equal(row.mode, rows[i].mode);
        assert_memory_equal(&row.capability, &rows[i].range, sizeof(row.capability));
        const kn_reference *r = row.reference;
        assert_string_equal(r->path ? r->path : "", rows[i].path);
        assert_string_equal(r->path_written ? r->path_written : "", rows[i].path_written);
        assert_string_equal(r->lock ? r->lock : "", rows[i].lock);
        assert_string_equal(r->text, rows[i].text);
        assert_int_equal(r->trust_remote_code, rows[i].trust);
    }
    kn_mapping_unref(out);
}

// Entries of one file make one mode table wherever they stand, which ranks by its last entry.
static void test_one_table(void **state)
{
    static const char text[] =
        KR "mode = \"TRAINING\"\n"
           "[[kernel]]\nlayer = \"M\"\ndevice = \"cuda\"\nrepo_id = \"o/m\"\n" KR;
    kn_mapping *out = NULL;
    (void)state;
    assert_int_equal(kn_mapping_parse(text, strlen(text), "f.toml", NULL, &out, NULL), KN_OK);
    static const struct {
        const char *layer;
        kn_mode mode;
    } rows[] = {{"M", KN_MODE_FALLBACK}, {"L", KN_MODE_TRAINING}, {"L", KN_MODE_FALLBACK}};
    assert_int_equal(kn_mapping_count(out), KN_LEN(rows));
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        assert_int_equal(kn_mapping_row_get(out, i, &row, NULL), KN_OK);
        assert_string_equal(row.layer, rows[i].layer);
        assert_int_equal(row.mode, rows[i].mode);
    }
    kn_mapping_unref(out);
}

static void test_small(void **state)
{
    static const struct {
        const char *name, *text;
        size_t count;
    } rows[] = {
        {"empty", "", 0},
        {"comment", "# nothing\n", 0},
        {"empty array", "kernel = []\n", 0},
        {"inline on one line",
         "kernel = [{layer = \"L\", device = \"cpu\", repo_id = \"o/n\"}, {layer = \"L\", device = "
         "\"cpu\", repo_id = \"o/m\", mode = \"TRAINING\"}]",
         2},
    };
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        if (kn_mapping_parse(rows[i].text, strlen(rows[i].text), NULL, NULL, &out, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        assert_int_equal(kn_mapping_count(out), rows[i].count);
        kn_mapping_unref(out);
    }
    assert_int_equal(
        kn_mapping_parse(K "path = \"p\"\n", strlen(K "path = \"p\"\n"), NULL, NULL, &out, &err),
        KN_ERR_FORMAT);
    assert_non_null(
        strstr(kn_error_text(&err), "mapping:4: path: found \"p\": accepted is an absolute"));
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_parse("", 0, NULL, "dir", &out, &err), KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "accepted is an absolute path"));
    kn_error_dispose(&err);
}

static const char *path_of(const kn_mapping *mapping)
{
    kn_mapping_row row = KN_MAPPING_ROW_INIT;
    assert_int_equal(kn_mapping_row_get(mapping, 0, &row, NULL), KN_OK);
    return row.reference->path;
}

// Relative paths are relative to the file, wherever the program stands.
static void test_files(void **state)
{
    char *dir = temp_dir_new(), *old = getcwd(NULL, 0);
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    (void)state;
    temp_dir_text(dir, "a/kernels.toml", K "path = \"p\"\n");
    temp_dir_text(dir, "a/bad.toml", K "path = 1\n");
    assert_int_equal(kn_mapping_read(temp_dir_path(dir, "a/kernels.toml"), &out, &err), KN_OK);
    assert_string_equal(path_of(out), temp_dir_path(dir, "a/p"));
    kn_mapping_unref(out);
    assert_int_equal(chdir(temp_dir_path(dir, "a")), 0);
    assert_int_equal(kn_mapping_read("kernels.toml", &out, &err), KN_OK);
    assert_string_equal(path_of(out), temp_dir_path(dir, "a/p"));
    kn_mapping_unref(out);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(kn_mapping_read(temp_dir_path(dir, "a/bad.toml"), &out, &err), KN_ERR_FORMAT);
    assert_non_null(strstr(kn_error_text(&err), "/a/bad.toml:4: path: expected a string"));
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_read(temp_dir_path(dir, "none.toml"), &out, &err),
                     KN_ERR_NOT_FOUND);
    assert_null(out);
    assert_non_null(strstr(kn_error_text(&err), "/none.toml"));
    kn_error_dispose(&err);
    assert_int_not_equal(kn_mapping_read(dir, &out, &err), KN_OK);
    kn_error_dispose(&err);
    temp_dir_remove(dir);
    free(old);
}

static const char *sums_of(const kn_mapping *mapping, size_t index)
{
    kn_mapping_row row = KN_MAPPING_ROW_INIT;
    assert_int_equal(kn_mapping_row_get(mapping, index, &row, NULL), KN_OK);
    return row.reference->sums ? row.reference->sums : "";
}

// X.lock.sums beside X.toml is of every hub repository of that file that has nothing of the kind.
static void test_sums(void **state)
{
    static const char text[] =
        "[[kernel]]\nlayer = \"A\"\ndevice = \"cpu\"\nrepo_id = \"o/n\"\n"
        "[[kernel]]\nlayer = \"B\"\ndevice = \"cpu\"\nrepo_id = \"o/n\"\nsums = \"s\"\n"
        "[[kernel]]\nlayer = \"C\"\ndevice = \"cpu\"\nrepo_id = \"o/n\"\nlock = \"l\"\n"
        "[[kernel]]\nlayer = \"D\"\ndevice = \"cpu\"\npath = \"p\"\n";
    static const struct {
        const char *name, *mapping, *sums;
        bool is_dir;          // where the sums would stand
        const char *expected; // of the first entry
        const char *content;  // NULL: nothing that can be read
    } rows[] = {
        {"none there", "m.toml", NULL, false, "", NULL},
        {"beside", "m.toml", "m.lock.sums", false, "m.lock.sums", NULL},
        {"of another file", "m.toml", "n.lock.sums", false, "", NULL},
        {"of a name with dots", "m.1.toml", "m.1.lock.sums", false, "m.1.lock.sums", NULL},
        {"another suffix", "m.tml", "m.lock.sums", false, "", NULL},
        {"nothing but the suffix", ".toml", ".lock.sums", false, "", NULL},
        {"a directory", "m.toml", "m.lock.sums", true, "", NULL},
        {"made of it", "m.toml", "m.lock.sums", false, "m.lock.sums", "{\"source\": \"m.toml\"}"},
        {"made of another file", "m.toml", "m.lock.sums", false, "",
         "{\"source\": \"pyproject.toml\"}"},
        {"without a source", "m.toml", "m.lock.sums", false, "m.lock.sums", "{\"source\": 1}"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new(), *old = getcwd(NULL, 0), *written = NULL;
        kn_mapping *out = NULL, *again = NULL;
        print_message("  %s\n", rows[i].name);
        temp_dir_text(dir, rows[i].mapping, text);
        if (rows[i].is_dir)
            temp_dir_text(dir, "m.lock.sums/x", "");
        else if (rows[i].sums)
            temp_dir_text(dir, rows[i].sums, rows[i].content ? rows[i].content : "broken");
        assert_int_equal(chdir(dir), 0);
        assert_int_equal(kn_mapping_read(rows[i].mapping, &out, NULL), KN_OK);
        assert_string_equal(sums_of(out, 0),
                            rows[i].expected[0] ? temp_dir_path(dir, rows[i].expected) : "");
        assert_string_equal(sums_of(out, 1), temp_dir_path(dir, "s"));
        assert_string_equal(sums_of(out, 2), "");
        assert_string_equal(sums_of(out, 3), "");
        assert_int_equal(kn_mapping_text(out, &written, NULL), KN_OK);
        assert_int_equal(kn_mapping_parse(written, strlen(written), NULL, NULL, &again, NULL),
                         KN_OK);
        for (size_t k = 0; k < 4; ++k)
            assert_string_equal(sums_of(again, k), sums_of(out, k));
        kn_mapping_unref(again);
        assert_int_equal(
            kn_mapping_parse(text, sizeof(text) - 1, rows[i].mapping, dir, &again, NULL),
            KN_OK); // does not look at the disk
        assert_string_equal(sums_of(again, 0), "");
        kn_string_free(written);
        kn_mapping_unref(again);
        kn_mapping_unref(out);
        assert_int_equal(chdir(old), 0);
        temp_dir_remove(dir);
        free(old);
    }
}

// Every block of TOML in the page that describes the format.
static void test_documentation(void **state)
{
    static const char begin[] = "```toml\n", path[] = KN_TEST_FIXTURES "/../../docs/mapping.md";
    static char page[64 * 1024];
    size_t blocks = 0;
    (void)state;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(page, 1, sizeof(page) - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_in_range(size, 1, sizeof(page) - 2);
    for (const char *at = page; (at = strstr(at, begin)); ++blocks) {
        kn_error err = KN_ERROR_INIT;
        kn_mapping *out = NULL;
        at += strlen(begin);
        const char *end = strstr(at, "```");
        assert_non_null(end);
        if (kn_mapping_parse(at, (size_t)(end - at), "mapping.md", "/dir", &out, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        assert_true(kn_mapping_count(out) > 0);
        kn_mapping_unref(out);
    }
    assert_true(blocks > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_one_table),     cmocka_unit_test(test_small),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_sums),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
