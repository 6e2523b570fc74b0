// What an entry may say, through kn_mapping_with.
#include "support/cmocka.h"

#include "kernels/mapping.h"

#define S .struct_size = sizeof(kn_entry)
#define CUDA S, .layer = "L", .device = "cuda"
#define HUB CUDA, .repo_id = "o/n"
#define HOST CUDA, .object = {&held, hold, let_go}, .label = "Mine()"
#define A16 "aaaaaaaaaaaaaaaa"
#define A96 A16 A16 A16 A16 A16 A16
#define A256 A96 A96 A16 A16 A16 A16

// A host's object, which counts who holds it.
static size_t held;

static void hold(void *data)
{
    ++*(size_t *)data;
}

static void let_go(void *data)
{
    assert_true(*(size_t *)data > 0);
    --*(size_t *)data;
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        kn_entry entry;
        const char *error;
    } rows[] = {
        {"no size", {.layer = "L"}, "struct_size is 0"},
        {"no layer", {S, .device = "cuda", .repo_id = "o/n"}, "layer: is missing"},
        {"empty layer", {S, .layer = "", .device = "cuda", .repo_id = "o/n"}, "layer: is empty"},
        {"long layer",
         {S, .layer = A256 "a", .device = "cuda", .repo_id = "o/n"},
         "layer: \"aaaaaaaa"},
        {"newline", {S, .layer = "a\nb", .device = "cuda", .repo_id = "o/n"}, "control character"},
        {"escape",
         {S, .layer = "a\033[1m", .device = "cuda", .repo_id = "o/n"},
         "control character"},
        {"bidi", {S, .layer = "a\u202Eb", .device = "cuda", .repo_id = "o/n"}, "control character"},
        {"not UTF-8", {S, .layer = "a\xFF", .device = "cuda", .repo_id = "o/n"}, "not UTF-8"},
        {"no device",
         {S, .layer = "L", .repo_id = "o/n"},
         "device: is missing: accepted are cpu, "},
        {"device index",
         {S, .layer = "L", .device = "cuda:0", .repo_id = "o/n"},
         "Unknown device type: cuda:0"},
        {"device case",
         {S, .layer = "L", .device = "CUDA", .repo_id = "o/n"},
         "Unknown device type: CUDA: accepted are cpu, cuda, rocm, mps, xpu, npu, neuron, tpu, and "
         "metal"},
        {"device none",
         {S, .layer = "L", .device = "none", .repo_id = "o/n"},
         "Unknown device type"},
        {"inverted", {HUB, .capability = {90, 80, 1, 0}}, "90 to 80 is empty"},
        {"negative least", {HUB, .capability = {-1, 80, 1, 0}}, "accepted are numbers from 0"},
        {"negative both", {HUB, .capability = {-5, -2, 1, 0}}, "accepted are numbers from 0"},
        {"no capability on mps",
         {S, .layer = "L", .device = "mps", .repo_id = "o/n", .capability = {1, 2, 1, 0}},
         "accepted with cpu, cuda and rocm"},
        {"exclusive modes",
         {HUB, .mode = KN_MODE_INFERENCE | KN_MODE_TRAINING},
         "mutually exclusive"},
        {"fallback and more",
         {HUB, .mode = KN_MODE_FALLBACK | KN_MODE_TRAINING},
         "cannot be combined with other modes"},
        {"compile alone", {HUB, .mode = KN_MODE_TORCH_COMPILE}, "mode must contain"},
        {"unknown flag", {HUB, .mode = KN_MODE_TRAINING | 64}, "accepted are the flags"},
        {"no reference", {CUDA}, "neither is given"},
        {"two references", {HUB, .path = "/p"}, "both are given"},
        {"path and revision",
         {CUDA, .path = "/p", .revision = "main"},
         "revision: is given with path"},
        {"path and version", {CUDA, .path = "/p", .version = "1"}, "version: is given with path"},
        {"path and lock", {CUDA, .path = "/p", .lock = "/l"}, "lock: is given with path"},
        {"revision and version",
         {HUB, .revision = "r", .version = "1"},
         "version: is given with revision"},
        {"revision and lock", {HUB, .revision = "r", .lock = "/l"}, "lock: is given with revision"},
        {"version and lock", {HUB, .version = "1", .lock = "/l"}, "lock: is given with version"},
        {"path and sums", {CUDA, .path = "/p", .sums = "/s"}, "sums: is given with path"},
        {"lock and sums", {HUB, .lock = "/l", .sums = "/s"}, "sums: is given with lock"},
        {"relative sums", {HUB, .sums = "k.lock.sums"}, "sums: found \"k.lock.sums\""},
        {"path and user agent",
         {CUDA, .path = "/p", .user_agent = "a"},
         "user_agent: is given with path"},
        {"empty user agent", {HUB, .user_agent = ""}, "user_agent: is empty"},
        {"empty sums", {HUB, .sums = ""}, "sums: is empty"},
        {"trust", {HUB, .trust_remote_code = 2}, "accepted are 0 and 1"},
        {"relative path", {CUDA, .path = "p"}, "accepted is an absolute path"},
        {"home", {CUDA, .path = "~/p"}, "accepted is an absolute path"},
        {"empty path", {CUDA, .path = ""}, "path: is empty"},
        {"relative lock", {HUB, .lock = "kernels.lock"}, "lock: found \"kernels.lock\""},
        {"control in path", {CUDA, .path = "/a\x7F"}, "control character"},
        {"name alone", {CUDA, .repo_id = "activation"}, "accepted is owner/name"},
        {"empty id", {CUDA, .repo_id = ""}, "accepted is owner/name"},
        {"empty owner", {CUDA, .repo_id = "/n"}, "accepted is owner/name"},
        {"empty name", {CUDA, .repo_id = "o/"}, "accepted is owner/name"},
        {"two slashes", {CUDA, .repo_id = "o/n/m"}, "accepted is owner/name"},
        {"dots", {CUDA, .repo_id = "../n"}, "accepted is owner/name"},
        {"dots inside", {CUDA, .repo_id = "o/a..b"}, "accepted is owner/name"},
        {"dashes", {CUDA, .repo_id = "o/a--b"}, "accepted is owner/name"},
        {"ends on dash", {CUDA, .repo_id = "o/a-"}, "accepted is owner/name"},
        {"begins with dot", {CUDA, .repo_id = "o/.a"}, "accepted is owner/name"},
        {"git", {CUDA, .repo_id = "o/a.git"}, "accepted is owner/name"},
        {"space", {CUDA, .repo_id = "o/a b"}, "accepted is owner/name"},
        {"percent", {CUDA, .repo_id = "o/a%2Fb"}, "accepted is owner/name"},
        {"letter beyond ASCII", {CUDA, .repo_id = "o/ä"}, "accepted is owner/name"},
        {"long name", {CUDA, .repo_id = "o/" A96 "a"}, "accepted is owner/name"},
        {"empty revision", {HUB, .revision = ""}, "revision: is empty"},
        {"long revision", {HUB, .revision = A256 "a"}, "at most 256"},
        {"tab in revision", {HUB, .revision = "a\tb"}, "control character"},
        {"empty version", {HUB, .version = ""}, "version: is empty"},
        {"leading zero", {HUB, .version = "01"}, "without leading zeros"},
        {"huge branch",
         {HUB, .version = "9223372036854775808"},
         "digits alone name a version branch"},
        {"newline in version", {HUB, .version = ">=1\n"}, "control character"},
        {"empty layer name", {HUB, .layer_name = ""}, "layer_name: is empty"},
        {"long layer name", {HUB, .layer_name = A256 "a"}, "layer_name: \"aaa"},
        {"object without retain",
         {HUB, .object = {&held, NULL, let_go}},
         "object: retain is missing"},
        {"object without release",
         {HUB, .object = {&held, hold, NULL}},
         "object: release is missing"},
        {"object alone", {CUDA, .object = {&held, hold, let_go}}, "label: is missing"},
        {"label alone", {CUDA, .label = "Mine()"}, "neither is given"},
        {"empty label", {CUDA, .object = {&held, hold, let_go}, .label = ""}, "label: is empty"},
        {"newline in label",
         {CUDA, .object = {&held, hold, let_go}, .label = "a\nb"},
         "control character"},
        {"host and revision", {HOST, .revision = "r"}, "revision: is given with an object alone"},
        {"host and version", {HOST, .version = "1"}, "version: is given with an object alone"},
        {"host and lock", {HOST, .lock = "/l"}, "lock: is given with an object alone"},
        {"host and sums", {HOST, .sums = "/s"}, "sums: is given with an object alone"},
    };
    kn_mapping *base = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL,
                                     KN_ENTRY(.layer = "B", .device = "cpu", .repo_id = "o/b"), 1,
                                     &base, NULL),
                     KN_OK);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_mapping *out = base;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(kn_mapping_with(base, &rows[i].entry, 1, &out, &err), KN_ERR_INVALID);
        assert_null(out);
        assert_ptr_equal(strstr(kn_error_text(&err), "entries[0]: "), kn_error_text(&err));
        if (!strstr(kn_error_text(&err), rows[i].error))
            fail_msg("\"%s\" has no \"%s\"", kn_error_text(&err), rows[i].error);
        kn_error_dispose(&err);
        assert_int_equal(kn_mapping_with(base, &rows[i].entry, 1, &out, NULL), KN_ERR_INVALID);
    }
    assert_int_equal(kn_mapping_count(base), 1);
    assert_int_equal(held, 0);
    kn_mapping_unref(base);
}

static void test_accepted(void **state)
{
    static const struct {
        const char *name;
        kn_entry entry;
        kn_reference_kind kind;
        const char *version;
        int64_t branch;
        const char *text;
        kn_range range;
    } rows[] = {
        {"plain",
         {HUB},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"revision",
         {HUB, .revision = "refs/pr/1", .layer_name = "M"},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: refs/pr/1), layer `M`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"specifier",
         {HUB, .version = ">=0.0.4,<0.1.0"},
         KN_REFERENCE_HUB,
         ">=0.0.4,<0.1.0",
         -1,
         "`o/n` (version: >=0.0.4,<0.1.0), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"branch",
         {HUB, .version = "1"},
         KN_REFERENCE_HUB,
         NULL,
         1,
         "`o/n` (version: 1), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"branch 0",
         {HUB, .version = "0"},
         KN_REFERENCE_HUB,
         NULL,
         0,
         "`o/n` (version: 0), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"greatest branch",
         {HUB, .version = "9223372036854775807"},
         KN_REFERENCE_HUB,
         NULL,
         INT64_MAX,
         "`o/n` (version: 9223372036854775807), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"path",
         {CUDA, .path = "/k/a b", .trust_remote_code = 1},
         KN_REFERENCE_PATH,
         NULL,
         -1,
         "`/k/a b`, layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"locked",
         {HUB, .lock = "/p/kernels.lock"},
         KN_REFERENCE_LOCKED,
         NULL,
         -1,
         "`o/n` (lock: /p/kernels.lock), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"sums",
         {HUB, .version = "1", .sums = "/p/k.lock.sums"},
         KN_REFERENCE_HUB,
         NULL,
         1,
         "`o/n` (version: 1), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"interval",
         {HUB, .capability = {75, 89, 1, 0}},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `L`",
         {75, 89, 1, 0}},
        {"point",
         {HUB, .capability = {90, 90, 1, 0}},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `L`",
         {90, 90, 1, 0}},
        {"whole interval is none",
         {HUB, .capability = {0, KN_CAPABILITY_MAX, 1, 0}},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"interval not given",
         {HUB, .capability = {90, 80, 0, 0}},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"longest names",
         {S, .layer = A256, .device = "npu", .repo_id = A96 "/" A96},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`" A96 "/" A96 "` (revision: main), layer `" A256 "`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"all characters",
         {CUDA, .repo_id = "_O.1-a/9_b.C-d_"},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`_O.1-a/9_b.C-d_` (revision: main), layer `L`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
        {"other scripts",
         {S, .layer = "Schicht \"ä\" 層", .device = "metal", .repo_id = "o/n"},
         KN_REFERENCE_HUB,
         NULL,
         -1,
         "`o/n` (revision: main), layer `Schicht \"ä\" 層`",
         {0, KN_CAPABILITY_MAX, 0, 0}},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const kn_entry *e = &rows[i].entry;
        kn_error err = KN_ERROR_INIT;
        kn_mapping *out = NULL;
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        print_message("  %s\n", rows[i].name);
        if (kn_mapping_with(NULL, e, 1, &out, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        assert_int_equal(kn_mapping_count(out), 1);
        assert_int_equal(kn_mapping_row_get(out, 0, &row, &err), KN_OK);
        assert_string_equal(row.layer, e->layer);
        assert_ptr_not_equal(row.layer, e->layer); // a copy
        assert_int_equal(row.mode, KN_MODE_FALLBACK);
        assert_memory_equal(&row.capability, &rows[i].range, sizeof(row.capability));
        const kn_reference *r = row.reference;
        assert_int_equal(r->struct_size, sizeof(*r));
        assert_int_equal(r->kind, rows[i].kind);
        assert_int_equal(r->trust_remote_code, e->trust_remote_code);
        assert_string_equal(r->repo_id ? r->repo_id : "", e->repo_id ? e->repo_id : "");
        assert_string_equal(r->path ? r->path : "", e->path ? e->path : "");
        assert_string_equal(r->path_written ? r->path_written : "", e->path ? e->path : "");
        assert_string_equal(r->revision ? r->revision : "", e->revision ? e->revision : "");
        assert_string_equal(r->version ? r->version : "", rows[i].version ? rows[i].version : "");
        assert_string_equal(r->lock ? r->lock : "", e->lock ? e->lock : "");
        assert_string_equal(r->sums ? r->sums : "", e->sums ? e->sums : "");
        assert_string_equal(r->layer_name, e->layer_name ? e->layer_name : e->layer);
        assert_true(r->version_branch == rows[i].branch);
        assert_string_equal(r->text, rows[i].text);
        assert_int_equal(kn_mapping_row_get(out, 1, &row, &err), KN_ERR_INVALID);
        kn_error_dispose(&err);
        row.struct_size = 0;
        assert_int_equal(kn_mapping_row_get(out, 0, &row, &err), KN_ERR_INVALID);
        assert_non_null(strstr(kn_error_text(&err), "KN_MAPPING_ROW_INIT"));
        kn_error_dispose(&err);
        kn_mapping_unref(out);
    }
}

// Elements of a program that was built with a later header are longer.
static void test_longer_entries(void **state)
{
    struct later {
        kn_entry entry;
        const char *more;
    } entries[2] = {
        {{.struct_size = sizeof(struct later), .layer = "A", .device = "cpu", .repo_id = "o/a"},
         "x"},
        {{.struct_size = sizeof(struct later), .layer = "B", .device = "cpu", .repo_id = "o/b"},
         "x"},
    };
    kn_mapping *out = NULL;
    kn_mapping_row row = KN_MAPPING_ROW_INIT;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, &entries[0].entry, 2, &out, NULL), KN_OK);
    assert_int_equal(kn_mapping_row_get(out, 1, &row, NULL), KN_OK);
    assert_string_equal(row.layer, "B");
    kn_mapping_unref(out);
}

// Elements of a program that was built before there were sums are shorter; what lies behind them is not theirs.
static void test_shorter_entries(void **state)
{
    enum {
        SIZE = offsetof(kn_entry, sums),
    };
    const kn_entry whole[2] = {
        {.struct_size = SIZE, .layer = "A", .device = "cpu", .repo_id = "o/a"},
        {.struct_size = SIZE, .layer = "B", .device = "cpu", .repo_id = "o/b"},
    };
    _Alignas(kn_entry) char entries[2 * SIZE];
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    (void)state;
    for (size_t i = 0; i < 2; ++i)
        memcpy(entries + i * SIZE, &whole[i], SIZE);
    assert_int_equal(kn_mapping_with(NULL, (const kn_entry *)(void *)entries, 2, &out, NULL),
                     KN_OK);
    for (size_t i = 0; i < 2; ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        assert_int_equal(kn_mapping_row_get(out, i, &row, NULL), KN_OK);
        assert_string_equal(row.layer, whole[i].layer);
        assert_null(row.reference->sums);
    }
    kn_mapping_unref(out);
    const kn_entry older = {
        .struct_size = SIZE - 1, .layer = "A", .device = "cpu", .repo_id = "o/a"};
    assert_int_equal(kn_mapping_with(NULL, &older, 1, &out, &err), KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "struct_size is"));
    kn_error_dispose(&err);
}

// The first wrong entry is named, and nothing of the call remains.
static void test_all_or_nothing(void **state)
{
    const kn_entry entries[] = {
        {S, .layer = "A", .device = "cpu", .repo_id = "o/a"},
        {S, .layer = "B", .device = "cpu", .repo_id = "o/b"},
        {S, .layer = "C", .device = "cpu", .repo_id = "c"},
        {S, .layer = "D", .device = "gpu", .repo_id = "o/d"},
    };
    const kn_entry twice[] = {
        {S, .layer = "A", .device = "mps", .repo_id = "o/a", .mode = KN_MODE_TRAINING},
        {S, .layer = "B", .device = "cpu", .repo_id = "o/b"},
        {S, .layer = "A", .device = "mps", .repo_id = "o/b"},
        {S, .layer = "A", .device = "metal", .repo_id = "o/c", .mode = KN_MODE_TRAINING},
    };
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, 4, &out, &err), KN_ERR_INVALID);
    assert_null(out);
    assert_non_null(strstr(kn_error_text(&err), "entries[2]: repo_id: found \"c\""));
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_with(NULL, twice, 4, &out, &err), KN_ERR_INVALID);
    assert_null(out);
    assert_string_equal(kn_error_text(&err),
                        "entries[3]: layer `A`, device mps, every capability, mode TRAINING is "
                        "given twice: first in entries[0]");
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_with(NULL, NULL, 1, &out, &err), KN_ERR_INVALID);
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_with(NULL, NULL, 0, &out, &err), KN_OK);
    assert_int_equal(kn_mapping_count(out), 0);
    kn_mapping_unref(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_longer_entries), cmocka_unit_test(test_shorter_entries),
        cmocka_unit_test(test_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
