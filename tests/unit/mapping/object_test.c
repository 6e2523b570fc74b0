// What a host hangs on its entries: shared with the reference, whatever becomes of the mappings that hold it.
#include "support/cmocka.h"

#include "kernels/mapping.h"
#include "support/fail_alloc.h"

typedef struct thing {
    size_t retained, released;
} thing;

static void retain(void *data)
{
    ++((thing *)data)->retained;
}

static void release(void *data)
{
    thing *t = data;
    ++t->released;
    assert_true(t->released <= t->retained);
}

#define OBJECT(thing_) .object = {&(thing_), retain, release}
#define S .struct_size = sizeof(kn_entry), .device = "cpu"

static kn_reference reference_at(const kn_mapping *mapping, size_t index)
{
    kn_mapping_row row = KN_MAPPING_ROW_INIT;
    assert_int_equal(kn_mapping_row_get(mapping, index, &row, NULL), KN_OK);
    return *row.reference;
}

static void test_references(void **state)
{
    thing things[3] = {{0, 0}};
    const struct {
        const char *name;
        kn_entry entry;
        kn_reference_kind kind;
        const char *label, *layer_name, *text;
    } rows[] = {
        {"host's own",
         {S, .layer = "L", OBJECT(things[0]), .label = "Mine(\"x\")"},
         KN_REFERENCE_HOST,
         "Mine(\"x\")",
         "L",
         "`Mine(\"x\")`, layer `L`"},
        {"with a layer name",
         {S, .layer = "L", OBJECT(things[0]), .label = "m", .layer_name = "N"},
         KN_REFERENCE_HOST,
         "m",
         "N",
         "`m`, layer `N`"},
        {"beside a repository",
         {S, .layer = "L", OBJECT(things[0]), .repo_id = "o/n", .revision = "r", .label = "m"},
         KN_REFERENCE_HUB,
         NULL,
         "L",
         "`o/n` (revision: r), layer `L`"},
        {"beside a lock",
         {S, .layer = "L", OBJECT(things[0]), .repo_id = "o/n", .lock = "/l"},
         KN_REFERENCE_LOCKED,
         NULL,
         "L",
         "`o/n` (lock: /l), layer `L`"},
        {"beside a path",
         {S, .layer = "L", OBJECT(things[0]), .path = "/p"},
         KN_REFERENCE_PATH,
         NULL,
         "L",
         "`/p`, layer `L`"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_mapping *out = NULL;
        kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
        things[0] = (thing){0, 0};
        print_message("  %s\n", rows[i].name);
        assert_int_equal(kn_mapping_with(NULL, &rows[i].entry, 1, &out, NULL), KN_OK);
        const kn_reference r = reference_at(out, 0);
        assert_int_equal(r.kind, rows[i].kind);
        assert_ptr_equal(r.object, &things[0]);
        assert_string_equal(r.label ? r.label : "", rows[i].label ? rows[i].label : "");
        assert_string_equal(r.layer_name, rows[i].layer_name);
        assert_string_equal(r.text, rows[i].text);
        assert_int_equal(
            kn_mapping_find(out, "L", KN_DEVICE_CPU, -1, KN_MODE_INFERENCE, &answer, NULL, NULL),
            KN_OK);
        assert_ptr_equal(answer.reference->object, &things[0]);
        kn_mapping_unref(out);
        assert_int_equal(things[0].retained, 1);
        assert_int_equal(things[0].released, 1);
    }
}

// One hold for a reference, however many mappings share it.
static void test_sharing(void **state)
{
    thing a = {0, 0}, b = {0, 0};
    kn_mapping *first = NULL, *more = NULL, *joined = NULL, *changed = NULL;
    const kn_entry one = {S, .layer = "L", OBJECT(a), .label = "a"};
    const kn_entry other = {S, .layer = "M", .repo_id = "o/m"};
    const kn_entry over = {S, .layer = "L", OBJECT(b), .label = "b"};
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, &one, 1, &first, NULL), KN_OK);
    assert_int_equal(kn_mapping_with(first, &other, 1, &more, NULL), KN_OK);
    assert_int_equal(kn_mapping_join(NULL, more, &joined, NULL), KN_OK);
    assert_int_equal(kn_mapping_with(joined, &over, 1, &changed, NULL), KN_OK);
    assert_int_equal(a.retained, 1);
    kn_mapping_unref(first);
    kn_mapping_unref(more);
    assert_ptr_equal(reference_at(joined, 0).object, &a);
    assert_int_equal(a.released, 0);
    kn_mapping_unref(joined);
    assert_int_equal(a.released, 1); // `changed` has b in its place
    assert_ptr_equal(reference_at(changed, 1).object, &b);
    kn_mapping_unref(changed);
    assert_int_equal(b.retained, 1);
    assert_int_equal(b.released, 1);
}

// A call that fails holds nothing.
static void test_failing(void **state)
{
    thing a = {0, 0};
    const kn_entry entries[] = {
        {S, .layer = "L", OBJECT(a), .label = "a"},
        {S, .layer = "M", OBJECT(a), .repo_id = "o/m"},
        {S, .layer = "L", OBJECT(a), .label = "twice"},
    };
    kn_mapping *out = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, 3, &out, NULL), KN_ERR_INVALID);
    assert_int_equal(a.retained, 3);
    assert_int_equal(a.released, 3);
}

static kn_status run_with(void *user, kn_error *err)
{
    thing *t = user;
    const kn_entry entries[] = {
        {S, .layer = "L", OBJECT(*t), .label = "a"},
        {S, .layer = "M", OBJECT(*t), .repo_id = "o/m"},
    };
    kn_mapping *out = NULL;
    const kn_status st = kn_mapping_with(NULL, entries, 2, &out, err);
    kn_mapping_unref(out);
    assert_int_equal(t->retained, t->released);
    return st;
}

static void test_no_memory(void **state)
{
    thing t = {0, 0};
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, run_with, &t) > 5);
    assert_true(t.retained > 2);
}

// Programs that were built before there were objects: what lies behind their entries is not theirs.
static void test_older_programs(void **state)
{
    enum { SIZE = offsetof(kn_entry, object) };
    kn_entry entry = {.struct_size = SIZE, .layer = "A", .device = "cpu", .repo_id = "o/a"};
    kn_mapping *out = NULL;
    (void)state;
    memset((char *)&entry + SIZE, 0x5A, sizeof(entry) - SIZE);
    assert_int_equal(kn_mapping_with(NULL, &entry, 1, &out, NULL), KN_OK);
    assert_null(reference_at(out, 0).object);
    assert_null(reference_at(out, 0).label);
    kn_mapping_unref(out);
}

// A file names repositories of a hub and directories; the objects beside them are left out.
static void test_text(void **state)
{
    thing a = {0, 0};
    const kn_entry entries[] = {
        {S, .layer = "L", OBJECT(a), .repo_id = "o/m"},
        {S, .layer = "Own", OBJECT(a), .label = "Mine()"},
    };
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    char *text = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, 1, &out, NULL), KN_OK);
    assert_int_equal(kn_mapping_text(out, &text, NULL), KN_OK);
    assert_string_equal(text, "[[kernel]]\nlayer = \"L\"\ndevice = \"cpu\"\nrepo_id = \"o/m\"\n");
    kn_string_free(text);
    kn_mapping_unref(out);
    assert_int_equal(kn_mapping_with(NULL, entries, 2, &out, NULL), KN_OK);
    assert_int_equal(kn_mapping_text(out, &text, &err), KN_ERR_UNSUPPORTED);
    assert_null(text);
    assert_non_null(strstr(kn_error_text(&err), "layer `Own` on cpu: `Mine()` is a repository of "
                                                "the host's own"));
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_write(out, "/nowhere/m.toml", &err), KN_ERR_UNSUPPORTED);
    kn_error_dispose(&err);
    kn_mapping_unref(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),     cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_failing),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_older_programs), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
