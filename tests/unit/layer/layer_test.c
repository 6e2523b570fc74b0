// A layer as an object: agreement of two, the export, memory that runs out.
#include "base/json.h"
#include "layer/values.h"
#include "support/fail_alloc.h"

static const struct {
    const char *own, *kernel;
    const char *text; // NULL: they agree
} agreements[] = {
    {"(x: f32 [..., d]) -> (y: like x)", "(x: f16|f32 rows[..., 2*d]) -> (out: f32 [..., d])",
     NULL},
    {"(hidden as x: f32 [d]) -> (y: like x)", "(hidden as h: f32 [d]) -> (y: like h)", NULL},
    {"(x: f32 [d], n: int = 1) -> (y: like x)", "(x: f32 [d], n: int == 1 = 1) -> (y: like x)",
     NULL},
    {"(x: f32 [d], m: f32 [d]) -> (y: like x)", "(x: f32 [d], m?: f32 [d]) -> (y: like x)", NULL},
    {"(x: f32 [d], n: int) -> (y: like x)", "(x: f32 [d], n: int = 1) -> (y: like x)", NULL},
    {"(x: f32 [d]) -> (y: like x)", "(x: f32 [d], n: int) -> (y: like x)",
     "the class has 1 parameters, the kernel 2"},
    {"(x: f32 [d]) -> (y: like x)", "(x: f32 [d]) -> (y: like x, z: like x)",
     "the class has 1 results, the kernel 2"},
    {"(x: f32 [d]) -> (y: like x)", "(z as x: f32 [d]) -> (y: like x)",
     "the class has the parameter 'x' where the kernel has 'z'"},
    {"(x: f32 [d], n: int) -> (y: like x)", "(x: f32 [d], n: float) -> (y: like x)",
     "parameter n: an int in the class, a float in the kernel"},
    {"(x: f32 [d], m?: f32 [d]) -> (y: like x)", "(x: f32 [d], m: f32 [d]) -> (y: like x)",
     "parameter m: may be none in the class, not in the kernel"},
    {"(x: f32 [d], n: int = 1) -> (y: like x)", "(x: f32 [d], n: int) -> (y: like x)",
     "parameter n: has a default in the class, none in the kernel"},
    {"(x: f32 [d], n: int = 1) -> (y: like x)", "(x: f32 [d], n: int = 2) -> (y: like x)",
     "parameter n: its default differs in class and kernel"},
};

static void test_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(agreements); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_layer *own = parse_layer(KN_LAYER_SPEC(.signature = agreements[i].own)),
                 *kernel = parse_layer(KN_LAYER_SPEC(.signature = agreements[i].kernel));
        print_message("  %s\n", agreements[i].kernel);
        const kn_status status = kn_layer_agree(own, kernel, &err);
        assert_int_equal(status, agreements[i].text ? KN_ERR_LAYER : KN_OK);
        if (agreements[i].text)
            assert_string_equal(kn_error_text(&err), agreements[i].text);
        kn_error_dispose(&err);
        kn_layer_unref(own);
        kn_layer_unref(kernel);
    }
}

#define EVERYTHING                                                                                 \
    .name = "A \"name\"", .members = "weight?: f32 [h], eps: float = 0.5",                         \
    .signature =                                                                                   \
        "(hidden as x: f32|f16 rows[..., h], z: any strided[b, 2*h+1], c: x.dtype [b|1], "         \
        "n: int == 3 = 3, on: bool = true) "                                                       \
        "-> (y: promote(x, weight) [h, ..., b-1], r: like x may alias x|z)",                       \
    .forward = "f(y, r, x, self.weight, self.eps, -1, 2.5, true, none)",                           \
    .backward_signature = "(dy?, dr: f16 [..., h]) -> (dx, d.weight: f32 [h])",                    \
    .backward = "g(dx, d.weight, dy, dr)"

static void test_export(void **state)
{
    (void)state;
    static const char expected[] =
        "{\"schema\": 1, \"name\": \"A \\\"name\\\"\", \"inputs\": ["
        "{\"name\": \"x\", \"kind\": \"tensor\", \"host_name\": \"hidden\", \"layout\": \"rows\", "
        "\"dtype\": {\"one_of\": [\"f16\", \"f32\"]}, \"dims\": [\"...\", {\"symbol\": \"h\", "
        "\"mul\": 1, \"add\": 0}]}, "
        "{\"name\": \"z\", \"kind\": \"tensor\", \"layout\": \"strided\", "
        "\"dtype\": {\"one_of\": [\"bool\", \"u8\", \"i8\", \"i16\", \"i32\", \"i64\", \"u16\", "
        "\"u32\", \"u64\", "
        "\"f16\", \"bf16\", \"f32\", \"f64\", \"f8_e3m4\", \"f8_e4m3\", \"f8_e4m3b11fnuz\", "
        "\"f8_e4m3fn\", "
        "\"f8_e4m3fnuz\", \"f8_e5m2\", \"f8_e5m2fnuz\", \"f8_e8m0fnu\"]}, "
        "\"dims\": [{\"symbol\": \"b\", \"mul\": 1, \"add\": 0}, {\"symbol\": \"h\", \"mul\": 2, "
        "\"add\": 1}]}, "
        "{\"name\": \"c\", \"kind\": \"tensor\", \"layout\": \"dense\", \"dtype\": {\"of\": "
        "\"x\"}, "
        "\"dims\": [{\"one_of\": [{\"symbol\": \"b\", \"mul\": 1, \"add\": 0}, {\"add\": 1}]}]}, "
        "{\"name\": \"n\", \"kind\": \"int\", \"equals\": 3, \"default\": 3}, "
        "{\"name\": \"on\", \"kind\": \"bool\", \"default\": true}], "
        "\"members\": [{\"name\": \"weight\", \"kind\": \"tensor\", \"optional\": true, "
        "\"layout\": \"dense\", "
        "\"dtype\": {\"one_of\": [\"f32\"]}, \"dims\": [{\"symbol\": \"h\", \"mul\": 1, \"add\": "
        "0}]}, "
        "{\"name\": \"eps\", \"kind\": \"float\", \"default\": 0.5}], "
        "\"outputs\": [{\"name\": \"y\", \"kind\": \"tensor\", \"layout\": \"dense\", "
        "\"dtype\": {\"promote\": [\"x\", \"weight\"]}, "
        "\"dims\": [{\"symbol\": \"h\", \"mul\": 1, \"add\": 0}, \"...\", {\"symbol\": \"b\", "
        "\"mul\": 1, \"add\": -1}]}, "
        "{\"name\": \"r\", \"kind\": \"tensor\", \"layout\": \"like\", \"like\": \"x\", "
        "\"may_alias\": [\"x\", \"z\"]}], "
        "\"call\": {\"function\": \"f\", \"args\": [{\"name\": \"y\"}, {\"name\": \"r\"}, "
        "{\"name\": \"x\"}, "
        "{\"name\": \"weight\"}, {\"name\": \"eps\"}, {\"value\": -1}, {\"value\": 2.5}, "
        "{\"value\": true}, "
        "{\"value\": null}]}, "
        "\"backward\": {\"grad_inputs\": [{\"name\": \"dy\", \"kind\": \"tensor\", \"optional\": "
        "true, \"of\": \"y\", "
        "\"layout\": \"dense\", \"dtype\": {\"promote\": [\"x\", \"weight\"]}, "
        "\"dims\": [{\"symbol\": \"h\", \"mul\": 1, \"add\": 0}, \"...\", {\"symbol\": \"b\", "
        "\"mul\": 1, \"add\": -1}]}, "
        "{\"name\": \"dr\", \"kind\": \"tensor\", \"of\": \"r\", \"layout\": \"dense\", \"dtype\": "
        "{\"one_of\": [\"f16\"]}, "
        "\"dims\": [\"...\", {\"symbol\": \"h\", \"mul\": 1, \"add\": 0}]}], "
        "\"grad_outputs\": [{\"name\": \"dx\", \"kind\": \"tensor\", \"of\": \"x\", \"layout\": "
        "\"like\", \"like\": \"x\"}, "
        "{\"name\": \"d.weight\", \"kind\": \"tensor\", \"optional\": true, \"of\": \"weight\", "
        "\"layout\": \"dense\", "
        "\"dtype\": {\"one_of\": [\"f32\"]}, \"dims\": [{\"symbol\": \"h\", \"mul\": 1, \"add\": "
        "0}]}], "
        "\"call\": {\"function\": \"g\", \"args\": [{\"name\": \"dx\"}, {\"name\": \"d.weight\"}, "
        "{\"name\": \"dy\"}, "
        "{\"name\": \"dr\"}]}}}";
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(EVERYTHING));
    char *text = NULL;
    json_t *got, *wanted;
    assert_int_equal(kn_layer_json(layer, &text, NULL), KN_OK);
    assert_int_equal(kni_json_parse(text, strlen(text), "got", &got, NULL), KN_OK);
    assert_int_equal(kni_json_parse(expected, strlen(expected), "expected", &wanted, NULL), KN_OK);
    if (!json_equal(got, wanted))
        fail_msg("%s", text);
    json_decref(got);
    json_decref(wanted);
    kn_string_free(text);
    kn_layer_unref(layer);

    layer = parse_layer(KN_LAYER_SPEC(.signature = "() -> (y: f32 [3])"));
    assert_int_equal(kn_layer_json(layer, &text, NULL), KN_OK);
    assert_non_null(strstr(text, "\"call\": null"));
    assert_non_null(strstr(text, "\"backward\": null"));
    kn_string_free(text);
    kn_layer_unref(layer);
}

// ---- no memory ----------------------------------------------------------------------------------------------------

static kn_status run_parse(void *user, kn_error *err)
{
    (void)user;
    kn_layer *layer;
    const kn_status status = kn_layer_parse(KN_LAYER_SPEC(EVERYTHING), &layer, err);
    assert_true((status == KN_OK) == (layer != NULL));
    kn_layer_unref(layer);
    return status;
}

static kn_status run_json(void *layer, kn_error *err)
{
    char *text;
    const kn_status status = kn_layer_json(layer, &text, err);
    assert_true((status == KN_OK) == (text != NULL));
    kn_string_free(text);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, run_parse, NULL) > 20);
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(EVERYTHING));
    assert_true(fail_alloc_each(FAIL_ALL, run_json, layer) > 100);
    kn_layer_unref(layer);
}

// Errors and sentences without memory keep their status.
static void test_texts_without_memory(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(EVERYTHING)), *none;
    call c;
    kn_mismatch m;
    read_call(&c, "f64[3]; f32[1]", NULL, NULL);
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_COUNT);
    for (size_t nth = 1;; ++nth) {
        kn_error err = KN_ERROR_INIT;
        fail_alloc_install(FAIL_ALL, nth, true);
        kn_status status = kn_mismatch_describe(layer, &c.args, &m, &err);
        assert_true(status == KN_ERR_ARGUMENTS || status == KN_ERR_NO_MEMORY);
        kn_error_dispose(&err);
        status = kn_layer_parse(KN_LAYER_SPEC(.signature = "(x"), &none, &err);
        assert_true(status == KN_ERR_FORMAT || status == KN_ERR_NO_MEMORY);
        assert_null(none);
        kn_error_dispose(&err);
        assert_int_equal(fail_alloc_held(), 0);
        if (!fail_alloc_remove())
            break;
    }
    kn_layer_unref(layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_texts_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
