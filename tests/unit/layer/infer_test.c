// What results are: shapes, dtypes, strides; against torch where torch decides.
#include "layer/layout.h"
#include "layer/values.h"

// ---- a table ------------------------------------------------------------------------------------------------------

static const struct {
    const char *signature, *members, *inputs, *member_values;
    const char *results; // as values with strides, NULL: refused
    kn_mismatch_reason reason;
} rows[] = {
    {"(x: f32|f16 rows[..., 2*d]) -> (y: x.dtype [..., d])", NULL, "f16[3, 8]{100, 1}", NULL,
     "f16[3, 4]{4, 1}", 0},
    {"(x: f32 rows[..., 2*d]) -> (y: x.dtype [..., d])", NULL, "f32[2, 1, 0, 8]", NULL,
     "f32[2, 1, 0, 4]{4, 4, 4, 1}", 0},
    {"(x: f32 rows[..., 2*d]) -> (y: x.dtype [..., d])", NULL, "f32[8] cuda:2", NULL,
     "f32[4]{1} cuda:2", 0},
    {"(x: f32 strided[b, s, d]) -> (y: like x, z: i64 [s, 3*b+1], n: bool [])", NULL,
     "f32[2, 3, 4]{4, 8, 1}", NULL, "f32[2, 3, 4]{4, 8, 1}; i64[3, 7]{7, 1}; bool[]{}", 0},
    {"(x: f32 strided[b, s, d]) -> (y: like x)", NULL, "f32[2, 3, 4]{100, 10, 1}", NULL,
     "f32[2, 3, 4]{12, 4, 1}", 0},
    {"(x: f16 [..., h]) -> (y: promote(x, w) [..., h], z: promote(x, w, self.v) [h])",
     "w: f32 [h], v?: f64 [h]", "f16[3, 4]", "f32[4]; none", "f32[3, 4]{4, 1}; f32[4]{1}", 0},
    {"(x: f16 [..., h]) -> (y: promote(x, self.w) [..., h], z: promote(x, w, self.v) [h])",
     "w: f32 [], v?: f64 [h]", "f16[3, 4]", "f32[]; f64[4]", "f16[3, 4]{4, 1}; f64[4]{1}", 0},
    {"(x: f32 [h], n: int = 3) -> (y: like x)", NULL, "f32[4]", NULL, "f32[4]{1}", 0},
    {"(x: f32 [d+1]) -> (y: f32 [d-1])", NULL, "f32[1]", NULL, NULL, KN_MISMATCH_SHAPE},
    {"(x: f32 [d+1]) -> (y: f32 [d-1])", NULL, "f32[2]", NULL, "f32[0]{1}", KN_MISMATCH_SHAPE},
    {"(x: f32 [a, b]) -> (y: f32 [2147483647*a, b])", NULL, "f32[0, 4611686018427387904]", NULL,
     "f32[0, 4611686018427387904]{4611686018427387904, 1}", 0},
    {"(x: f32 [0, b]) -> (y: f32 [3*b])", NULL, "f32[0, 4611686018427387904]", NULL, NULL,
     KN_MISMATCH_OVERFLOW},
    {"(x: f32 [0, b]) -> (y: f32 [b, 2])", NULL, "f32[0, 4611686018427387904]", NULL, NULL,
     KN_MISMATCH_OVERFLOW},
    {"(x: f32 [..., d]) -> (y: f32 [..., d, d])", NULL, "f32[1, 1, 1, 1, 1, 1, 1, 2]", NULL, NULL,
     KN_MISMATCH_RANK},
    {"(x: any [d], z: any [d]) -> (y: promote(x, z) [d])", NULL, "u16[2]; i32[2]", NULL, NULL,
     KN_MISMATCH_DTYPE},
    {"(x: f32 [d]) -> (y: like x)", NULL, "f16[2]", NULL, NULL, KN_MISMATCH_DTYPE},
    {"(n: int) -> (y: f32 [3])", NULL, "int 2", NULL, "f32[3]{1}", 0},
};

static void assert_type(const kn_tensor_type *type, const DLTensor *t)
{
    assert_int_equal(type->ndim, t->ndim);
    assert_memory_equal(&type->dtype, &t->dtype, sizeof(t->dtype));
    assert_int_equal(type->device.device_type, t->device.device_type);
    assert_int_equal(type->device.device_id, t->device.device_id);
    for (int32_t i = 0; i < t->ndim; ++i) {
        assert_int_equal(type->shape[i], t->shape[i]);
        assert_int_equal(type->strides[i], t->strides[i]);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        call c;
        values results;
        kn_tensor_type types[KN_LAYER_PARAMS_MAX];
        kn_mismatch m;
        kn_error err = KN_ERROR_INIT;
        kn_layer *layer =
            parse_layer(KN_LAYER_SPEC(.signature = rows[i].signature, .members = rows[i].members));
        print_message("  %s of %s\n", rows[i].signature, rows[i].inputs);
        read_call(&c, rows[i].inputs, rows[i].member_values, NULL);
        read_values(&results, rows[i].results, 3);
        const kn_mismatch_reason reason = kn_layer_infer(layer, &c.args, types, &m);
        assert_int_equal(m.reason, reason);
        if (rows[i].results) {
            assert_int_equal(reason, KN_FITS);
            assert_int_equal(results.n, kn_layer_param_count(layer, KN_PARAM_OUTPUT));
            for (int32_t r = 0; r < results.n; ++r)
                assert_type(&types[r], &results.tensors[r]);
            // Results of these types fit.
            c.args.outputs = results.values;
            c.args.n_outputs = results.n;
            assert_int_equal(kn_layer_check(layer, &c.args, NULL), KN_FITS);
        } else {
            assert_int_equal(reason, rows[i].reason);
            assert_int_equal(kn_mismatch_describe(layer, &c.args, &m, &err), KN_ERR_ARGUMENTS);
            assert_null(strstr(kn_error_text(&err), "do not fit"));
            print_message("    %s\n", kn_error_text(&err));
        }
        kn_error_dispose(&err);
        kn_layer_unref(layer);
    }
}

// ---- torch's tables -----------------------------------------------------------------------------------------------

static FILE *open_fixture(const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/layer/%s", KN_TEST_FIXTURES, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

static void test_promote_as_torch(void **state)
{
    (void)state;
    FILE *file = open_fixture("promote.txt");
    char a[24], b[24], wanted[24];
    int32_t m, n;
    size_t rows_read = 0;
    for (; fscanf(file, "%23s %d %23s %d = %23s", a, &m, b, &n, wanted) == 5; ++rows_read) {
        DLDataType da = {0}, db = {0};
        assert_true(kn_dtype_parse(a, &da));
        assert_true(kn_dtype_parse(b, &db));
        kni_promotion promotion = KNI_PROMOTION;
        kni_promotion_add(&promotion, kni_dtype_of(da), m);
        kni_promotion_add(&promotion, kni_dtype_of(db), n);
        const kni_dtype result = kni_promotion_result(&promotion);
        const char *name = result == KNI_DTYPE_NONE ? "-" : kni_dtype_name(result);
        if (strcmp(name, wanted) != 0)
            fail_msg("%s (%d) with %s (%d): %s, torch says %s", a, m, b, n, name, wanted);
    }
    assert_true(feof(file));
    assert_true(rows_read == (size_t)18 * 18 * 4);
    fclose(file);
}

static void test_empty_like_as_torch(void **state)
{
    (void)state;
    FILE *file = open_fixture("empty_like.txt");
    char line[256];
    size_t rows_read = 0;
    for (; fgets(line, sizeof(line), file); ++rows_read) {
        int64_t shape[KN_LAYER_RANK_MAX + 1], strides[KN_LAYER_RANK_MAX + 1],
            wanted[KN_LAYER_RANK_MAX + 1], out[KN_LAYER_RANK_MAX];
        const char *at = line;
        const int32_t ndim = read_numbers(&at, ']', shape);
        ++at;
        assert_int_equal(read_numbers(&at, ']', strides), ndim);
        at += 3;
        assert_int_equal(read_numbers(&at, ']', wanted), ndim);
        kni_like_strides(ndim, shape, strides, out);
        for (int32_t i = 0; i < ndim; ++i) {
            if (out[i] != wanted[i])
                fail_msg("stride %d is %lld: %s", i, (long long)out[i], line);
        }
    }
    assert_true(rows_read > 2000);
    fclose(file);
}

static void test_like_without_strides(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 1, 3};
    int64_t out[3];
    kni_like_strides(3, shape, NULL, out);
    assert_int_equal(out[0], 3);
    assert_int_equal(out[1], 3);
    assert_int_equal(out[2], 1);
}

// ---- dtypes -------------------------------------------------------------------------------------------------------

static void test_dtype_names(void **state)
{
    (void)state;
    for (int i = 1; i < KNI_DTYPES; ++i) {
        DLDataType dtype;
        const char *name = kni_dtype_name((kni_dtype)i);
        print_message("  %s\n", name);
        assert_true(kn_dtype_parse(name, &dtype));
        assert_int_equal(kni_dtype_of(dtype), i);
        assert_string_equal(kn_dtype_name(dtype), name);
    }
    DLDataType dtype;
    assert_false(kn_dtype_parse("f33", &dtype));
    assert_false(kn_dtype_parse("", &dtype));
    assert_false(kn_dtype_parse(NULL, &dtype));
    // Every other code, width and number of lanes has no name.
    size_t named = 0;
    for (int code = 0; code < 256; ++code) {
        for (int bits = 0; bits < 256; ++bits) {
            const DLDataType one = {(uint8_t)code, (uint8_t)bits, 1},
                             two = {(uint8_t)code, (uint8_t)bits, 2};
            named += kn_dtype_name(one) != NULL;
            assert_null(kn_dtype_name(two));
        }
    }
    assert_int_equal(named, KNI_DTYPES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_promote_as_torch),
        cmocka_unit_test(test_empty_like_as_torch),
        cmocka_unit_test(test_like_without_strides),
        cmocka_unit_test(test_dtype_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
