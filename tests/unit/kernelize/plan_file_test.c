// The text of a plan's file: what is read of it, and each thing that is refused with its key.
#include "support/cmocka.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "kernelize/plan_file.h"
#include "support/fail_alloc.h"

#define ENTRY                                                                                      \
    "[[kernel]]\\nlayer = \\\"L\\\"\\ndevice = \\\"cpu\\\"\\ncapability = [3, 3]\\nrepo_id = "     \
    "\\\"o/n\\\"\\nrevision = \\\"abc\\\"\\n"

static const char whole[] =
    "{\"mode\": \"INFERENCE\", \"counts\": {}, \"digest\": \"\", \"decisions\": [\n"
    "{\"class\": \"C\", \"layer\": \"L\", \"device\": \"cpu\", "
    "\"device_index\": 0, \"capability\": 3, \"mode\": \"INFERENCE\", \"mode_used\": "
    "\"FALLBACK\", \"repository\": \"o/n\", \"revision\": \"abc\", \"level\": \"transport\", "
    "\"variant\": \"v\", \"layer_name\": \"N\", \"outcome\": \"kernel\", \"rule\": null, "
    "\"reason\": null, \"admits\": null, \"trace\": []},\n"
    "{\"layer\": \"M\", \"outcome\": \"fallback\", \"rule\": \"NO_LAYER\", "
    "\"reason\": \"none\", \"admits\": \"one\", \"later\": 1}],\n"
    "\"modules\": [[\"a.b\", 0, true], [\"\", 1, false]],\n"
    "\"request\": {\"mode\": \"INFERENCE\", \"fallback\": [\"NO_LAYER\", \"NO_DEVICE\"], "
    "\"device\": \"cpu:1\", \"layers\": [\"L\", \"M\"], \"paths\": null},\n"
    "\"mapping\": \"" ENTRY "\"}";

static kn_status parse(const char *text, kn_plan **out, kn_error *err)
{
    return kni_plan_parse(text, strlen(text), "p.json", out, err);
}

static kn_record record_at(const kn_plan *plan, size_t index)
{
    kn_record record = {.struct_size = sizeof(record)};
    assert_int_equal(kn_plan_get(plan, index, &record, NULL), KN_OK);
    return record;
}

static void test_read(void **state)
{
    kn_plan *plan = NULL;
    kn_mapping *mapping = NULL;
    kn_mapping_row row = KN_MAPPING_ROW_INIT;
    kn_error err = KN_ERROR_INIT;
    (void)state;
    if (parse(whole, &plan, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_int_equal(kn_plan_count(plan), 2);
    kn_record r = record_at(plan, 0);
    assert_string_equal(r.path, "a.b");
    assert_string_equal(r.class_name, "C");
    assert_string_equal(r.layer, "L");
    assert_int_equal(r.device, KN_DEVICE_CPU);
    assert_int_equal(r.capability, 3);
    assert_int_equal(r.mode, KN_MODE_INFERENCE);
    assert_int_equal(r.mode_used, KN_MODE_FALLBACK);
    assert_string_equal(r.repository, "o/n");
    assert_string_equal(r.revision, "abc");
    assert_string_equal(r.variant, "v");
    assert_string_equal(r.layer_name, "N");
    assert_int_equal(r.outcome, KN_OUTCOME_KERNEL);
    assert_int_equal(r.level, KN_LEVEL_TRANSPORT);
    assert_int_equal(r.changed, 1);
    assert_int_equal(kn_trace_count(kn_plan_trace(plan, 0)), 0);
    r = record_at(plan, 1);
    assert_string_equal(r.path, "");
    assert_int_equal(r.outcome, KN_OUTCOME_FALLBACK);
    assert_int_equal(r.rule, KN_FALLBACK_NO_LAYER);
    assert_string_equal(r.reason, "none");
    assert_string_equal(r.admits, "one");
    assert_int_equal(r.device, KN_DEVICE_NONE);
    assert_int_equal(r.capability, -1);
    assert_int_equal(plan->asked.fallback, KN_FALLBACK_NO_LAYER | KN_FALLBACK_NO_DEVICE);
    assert_string_equal(plan->asked.device, "cpu:1");
    assert_int_equal(plan->asked.layers.count, 2);
    assert_string_equal(plan->asked.layers.items[1], "M");
    assert_int_equal(plan->asked.paths.count, 0);
    assert_int_equal(kn_plan_mapping(plan, &mapping, NULL), KN_OK);
    assert_int_equal(kn_mapping_count(mapping), 1);
    assert_int_equal(kn_mapping_row_get(mapping, 0, &row, NULL), KN_OK);
    assert_string_equal(row.reference->revision, "abc");
    kn_mapping_unref(mapping);

    // Written again, it says the same.
    char *text = NULL, *again = NULL;
    assert_int_equal(kni_plan_file_text(plan, &text, NULL), KN_OK);
    kn_plan_free(plan);
    assert_int_equal(parse(text, &plan, NULL), KN_OK);
    assert_int_equal(kni_plan_file_text(plan, &again, NULL), KN_OK);
    assert_string_equal(text, again);
    kn_string_free(text);
    kn_string_free(again);
    kn_plan_free(plan);
}

// `whole` with one piece replaced; the caller's.
static char *with(const char *from, const char *to)
{
    kni_buf text = KNI_BUF_ANY;
    const char *at = strstr(whole, from);
    assert_non_null(at);
    kni_buf_append(&text, whole, (size_t)(at - whole));
    kni_buf_puts(&text, to);
    kni_buf_puts(&text, at + strlen(from));
    return kni_buf_take(&text);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *from, *to, *error;
    } rows[] = {
        {"no JSON", "{\"mode\"", "<\"mode\"", "p.json:"},
        {"a report", "\"request\"", "\"requests\"", "p.json: request: "},
        {"no mapping", "\"mapping\"", "\"map\"", "p.json: mapping: "},
        {"a mapping of objects", "\"mapping\": \"", "\"mapping\": {}, \"x\": \"",
         "mapping: expected"},
        {"a broken mapping", "[[kernel]]", "[[kernels]]", "p.json: mapping:1: unknown key"},
        {"a relative path", "repo_id = \\\"o/n\\\"\\nrevision = \\\"abc\\\"", "path = \\\"n\\\"",
         "p.json: mapping:5: "},
        {"no modules", "\"modules\"", "\"module\"", "p.json: modules: "},
        {"no decisions", "\"decisions\"", "\"decision\"", "p.json: decisions: "},
        {"layers", "\"modules\": [", "\"modules\": 1, \"layers\": [", "modules: expected an array"},
        {"a decision that is none", "{\"layer\": \"M\"", "7, {\"layer\": \"M\"",
         "decisions[1]: expected an object, found an integer"},
        {"a module that is none", "[\"\", 1", "7, [\"\", 1", "modules[1]: expected an array of a"},
        {"no path", "[\"a.b\", 0", "[0", "modules[0]: expected an array of a path"},
        {"more in a module", "\"a.b\", 0", "\"a.b\", 0, 0", "modules[0]: expected an array of a"},
        {"a path of another kind", "\"a.b\"", "1", "modules[0]: expected an array of a path"},
        {"control in a path", "a.b", "a\\nb", "modules[0][0]: has a control character"},
        {"an index of another kind", "0, true", "\"0\", true", "modules[0]: expected an array"},
        {"a negative decision", "0, true", "-1, true", "modules[0][1]: found -1: there are 2 "},
        {"a decision too far", "1, false", "2, false", "modules[1][1]: found 2: there are 2 "},
        {"escape in a reason", "\"none\"", "\"\\u001b[1m\"", "decisions[1].reason: has a control"},
        {"bidi in a name", "\"C\"", "\"\\u202e\"", "decisions[0].class: has a control"},
        {"an outcome of explain", "\"kernel\"", "\"error\"",
         "decisions[0].outcome: found \"error\": accepted are kernel, fallback and left alone"},
        {"an unknown outcome", "\"fallback\", \"rule\"", "\"bound\", \"rule\"",
         "decisions[1].outcome: found \"bound\""},
        {"an unknown rule", "\"rule\": \"NO_LAYER\"", "\"rule\": \"NO\"",
         "decisions[1].rule: found \"NO\": accepted are NO_LAYER, "},
        {"an unknown device", "\"device\": \"cpu\", ", "\"device\": \"gpu\", ",
         "decisions[0].device: found \"gpu\""},
        {"a kernel without device", "\"device\": \"cpu\", ", "", "decisions[0].device: "},
        {"a negative index", "\"device_index\": 0", "\"device_index\": -1",
         "decisions[0].device_index: found -1: accepted are 0 to 2147483647"},
        {"a large index", "\"device_index\": 0", "\"device_index\": 2147483648", "device_index"},
        {"a negative capability", "\"capability\": 3", "\"capability\": -2",
         "decisions[0].capability: found -2"},
        {"a capability of text", "\"capability\": 3", "\"capability\": \"3\"",
         "decisions[0].capability: expected an integer"},
        {"an unknown mode", "\"FALLBACK\"", "\"FAST\"", "decisions[0].mode_used: "},
        {"an unknown level", "\"transport\"", "\"high\"", "decisions[0].level: found \"high\""},
        {"a kernel without repository", "\"repository\": \"o/n\"", "\"repository\": null",
         "decisions[0].repository: "},
        {"a kernel without layer", "\"layer_name\": \"N\"", "\"layer_name\": \"\"",
         "decisions[0].layer_name: "},
        {"no boolean", "0, true", "0, 1", "modules[0]: expected an array of a path"},
        {"no mode", "{\"mode\": \"INFERENCE\", \"fallback\"", "{\"fallback\"", "request.mode: "},
        {"a mode that cannot be asked for", "{\"mode\": \"INFERENCE\", \"fallback\"",
         "{\"mode\": \"FALLBACK\", \"fallback\"", "request.mode: "},
        {"no fallback", "\"fallback\": [", "\"fallback\": null, \"layers\": [", "p.json"},
        {"an unknown case", "\"NO_DEVICE\"", "\"NO_GPU\"",
         "request.fallback: found \"NO_GPU\": accepted are"},
        {"a case of another kind", "\"NO_DEVICE\"", "3", "request.fallback[1]: expected a string"},
        {"an empty filter name", "\"M\"], ", "\"a\\tb\"], ",
         "request.layers[1]: expected a string"},
        {"something to do that is not known", "\"paths\": null", "\"paths\": null, \"flags\": 1",
         "request.flags: is not known: accepted are mode, fallback, device, layers"},
        {"a device of another kind", "\"cpu:1\"", "1", "request.device: expected a string"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_plan *plan = NULL;
        char *text = with(rows[i].from, rows[i].to);
        print_message("  %s\n", rows[i].name);
        const kn_status st = parse(text, &plan, &err);
        if (st != KN_ERR_FORMAT || !strstr(kn_error_text(&err), rows[i].error))
            fail_msg("%s: \"%s\" has no \"%s\"", kn_status_text(st), kn_error_text(&err),
                     rows[i].error);
        assert_ptr_equal(strstr(kn_error_text(&err), "p.json"), kn_error_text(&err));
        assert_null(strchr(kn_error_text(&err), '\n'));
        assert_null(plan);
        kn_error_dispose(&err);
        kni_free(text);
    }
}

// A million modules are written and read; more are not written, and not read.
static void test_many(void **state)
{
    (void)state;
    for (int over = 0; over < 2; ++over) {
        kn_error err = KN_ERROR_INIT;
        kn_plan *plan = NULL, *again = NULL;
        char *text = NULL;
        assert_int_equal(parse(whole, &plan, &err), KN_OK);
        while (plan->n_records < (size_t)KNI_PLAN_MODULES_MAX + (size_t)over) {
            const size_t at = plan->paths.size;
            kni_buf_printf(&plan->paths, "model.layers.%zu.mlp.act_fn", plan->n_records);
            kni_buf_append(&plan->paths, "", 1);
            const uint32_t decision = plan->n_records % 2;
            assert_int_equal(kni_plan_add_record(plan, at, decision, &err), KN_OK);
        }
        const kn_status st = kni_plan_file_text(plan, &text, &err);
        assert_int_equal(st, over ? KN_ERR_UNSUPPORTED : KN_OK);
        if (over) {
            assert_null(text);
            assert_non_null(strstr(kn_error_text(&err), "plan: 1048577 modules with 2 decisions"));
        } else {
            assert_int_equal(parse(text, &again, &err), KN_OK);
            assert_string_equal(kn_plan_digest(again), kn_plan_digest(plan));
            assert_int_equal(again->n_decisions, 2);
        }
        kn_error_dispose(&err);
        kn_string_free(text);
        kn_plan_free(again);
        kn_plan_free(plan);
    }
}

static void test_ceilings(void **state)
{
    (void)state;
    for (int over = 0; over < 2; ++over) {
        enum { MAX = 1 << 16 };
        kn_error err = KN_ERROR_INIT;
        kn_plan *plan = NULL;
        char *name = malloc(MAX + 4);
        assert_non_null(name);
        memset(name, 'a', MAX + 4);
        name[0] = name[MAX + 1 + over] = '"';
        name[MAX + 2 + over] = '\0';
        char *text = with("\"a.b\"", name);
        const kn_status st = parse(text, &plan, &err);
        assert_int_equal(st, over ? KN_ERR_FORMAT : KN_OK);
        if (over)
            assert_non_null(strstr(kn_error_text(&err), "modules[0][0]: has 65537 bytes"));
        kn_error_dispose(&err);
        kn_plan_free(plan);
        kni_free(text);
        free(name);
    }
}

static kn_status run(void *user, kn_error *err)
{
    kn_plan *plan = NULL;
    char *text = NULL;
    (void)user;
    kn_status st = parse(whole, &plan, err);
    assert_int_equal(plan != NULL, st == KN_OK);
    if (st == KN_OK)
        st = kni_plan_file_text(plan, &text, err);
    kn_string_free(text);
    kn_plan_free(plan);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, run, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),      cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
