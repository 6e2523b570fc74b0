// Texts of layers: what is taken and how it reads, what is refused and where.
#include "layer/values.h"

#define SILU "(x: f32|f16|bf16 rows[..., 2*d]) -> (y: x.dtype [..., d])"

// ---- errors -------------------------------------------------------------------------------------------------------

static const struct {
    const char *signature, *members, *forward, *backward_signature, *backward;
    const char *text; // the whole error
} wrong[] = {
    {"", NULL, NULL, NULL, NULL, "signature, column 1: the text ends, expected '('"},
    {"x", NULL, NULL, NULL, NULL, "signature, column 1: found 'x', expected '('"},
    {"(x: f32 [d]) -> ()", NULL, NULL, NULL, NULL,
     "signature, column 18: found ')', expected the name of a result"},
    {"(x: f32 [d]) (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 14: found '(', expected '->'"},
    {"(x: f32 [d]) -> (y: like x) z", NULL, NULL, NULL, NULL,
     "signature, column 29: found 'z', expected the end of the text"},
    {"(x f32 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 4: found 'f32', expected ':', '?' or 'as'"},
    {"(x as: f32 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 6: found ':', expected an alias"},
    {"(x: f31 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 5: found 'f31', expected a dtype (f32, f16, bf16, f64, i32, bool, …), any, "
     "NAME.dtype or "
     "promote(NAME, …)"},
    {"(x: f32|f31 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 9: found 'f31', expected a dtype"},
    {"(x: 3) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 5: found '3', expected a kind: dtypes with dimensions (f32|f16 [..., d]), "
     "int, float or "
     "bool"},
    {"(x: f32|f16|f32 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 13: f32 stands here twice"},
    {"(x: f32 cols[d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 9: found 'cols', expected dimensions in brackets, or rows, strided or "
     "dense before them"},
    {"(x: f32) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 8: found ')', expected dimensions in brackets, or rows, strided or dense "
     "before them"},
    {"(x: f32 [d,]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 12: found ']', expected a dimension: a name, a number, 2*d, d+1 or ..."},
    {"(x: f32 [2d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 10: found '2d', expected a dimension: a name, a number, 2*d, d+1 or ..."},
    {"(x: f32 [0*d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 10: a factor of 0, expected 1 or more"},
    {"(x: f32 [d*2]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 11: found '*', expected ',' or ']'"},
    {"(x: f32 [d+e]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 12: found 'e', expected a number"},
    {"(x: f32 [2147483648]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 10: the number is larger than 2147483647"},
    {"(x: f32 [..., d, ...]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 18: '...' stands here twice"},
    {"(x: f32 [a, b, c, d, e, f, g, h, i]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 34: more than 8 dimensions"},
    {"(x: f32 [b|1]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 10: the dimension 'b' is not known here, expected one of a tensor before "
     "this that is "
     "always there"},
    {"(x: f32 [b], z: f32 [b|1|2|3|4]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 30: more than 4 alternatives"},
    {"(x: f32 [d]) -> (y: f32 [e])", NULL, NULL, NULL, NULL,
     "signature, column 26: the dimension 'e' is not known here, expected one of a tensor before "
     "this that is "
     "always there"},
    {"(x: f32 [d], z?: f32 [e]) -> (y: f32 [e])", NULL, NULL, NULL, NULL,
     "signature, column 39: the dimension 'e' is not known here, expected one of a tensor before "
     "this that is "
     "always there"},
    {"(x: f32 [d]) -> (y: f32 [...])", NULL, NULL, NULL, NULL,
     "signature, column 26: '...' is not known here, expected it in a tensor before this that is "
     "always there"},
    {"(x: f32 [d]) -> (y: f32 [d|1])", NULL, NULL, NULL, NULL,
     "signature, column 27: a result has one extent, expected ',' or ']'"},
    {"(x: f32 [d]) -> (y: f32|f16 [d])", NULL, NULL, NULL, NULL,
     "signature, column 21: a result has one dtype, expected f32, NAME.dtype or promote(NAME, …)"},
    {"(x: f32 [d]) -> (y: any [d])", NULL, NULL, NULL, NULL,
     "signature, column 21: a result has one dtype, expected f32, NAME.dtype or promote(NAME, …)"},
    {"(x: f32 [d]) -> (y: z.dtype [d])", NULL, NULL, NULL, NULL,
     "signature, column 21: found 'z', expected the name of a tensor before this one"},
    {"(x: x.dtype [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 5: found 'x', expected the name of a tensor before this one"},
    {"(x: f32 [d]) -> (y: like x, z: like y)", NULL, NULL, NULL, NULL,
     "signature, column 37: 'y' is a result, expected the name of an input or member"},
    {"(x: f32 [d], n: int) -> (y: like n)", NULL, NULL, NULL, NULL,
     "signature, column 34: 'n' is no tensor, expected the name of one"},
    {"(x: f32 [d], z?: f32 [d]) -> (y: like z)", NULL, NULL, NULL, NULL,
     "signature, column 39: 'z' may be none, expected the name of a tensor that is always there"},
    {"(x?: f32 [d]) -> (y: promote(x) [3])", NULL, NULL, NULL, NULL,
     "signature, column 29: promote() of tensors that may all be none, expected one that is always "
     "there"},
    {"(x: f32 [d]) -> (y: x.shape [d])", NULL, NULL, NULL, NULL,
     "signature, column 23: found 'shape', expected 'dtype'"},
    {"(x: f32 [d], x: int) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 14: the name 'x' is taken, expected another one"},
    {"(x as a: f32 [d], x as b: int) -> (y: like a)", NULL, NULL, NULL, NULL,
     "signature, column 19: the name 'x' is taken, expected another one"},
    {"(self: f32 [d]) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 2: 'self' is a word of the language, expected another name"},
    {"(x: f32 [d], n?: int) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 21: only a tensor may be none, expected a default ('= 1') instead of '?'"},
    {"(x: f32 [d] = 1) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 13: a tensor has no default, expected '?' after its name"},
    {"(x: f32 [d], n: int = 1.5) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 23: found '1.5', expected an integer"},
    {"(x: f32 [d], n: int = 9223372036854775808) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 23: the integer is out of range"},
    {"(x: f32 [d], e: float = 1e999) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 25: the number is out of range"},
    {"(x: f32 [d], n: int == 1 = 2) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 28: the default is not the value that is accepted"},
    {"(x: f32 [d], n: bool = 1) -> (y: like x)", NULL, NULL, NULL, NULL,
     "signature, column 24: found '1', expected true or false"},
    {"(x: f32 [d]) -> (y: like x may x)", NULL, NULL, NULL, NULL,
     "signature, column 32: found 'x', expected 'alias'"},
    {"(x: f32 [d]) -> (y: like x may alias w)", "w: f32 [d]", NULL, NULL, NULL,
     "signature, column 38: a member is never written, expected the name of an input"},
    {"(x: f32 [d]) -> (y: like x\x01)", NULL, NULL, NULL, NULL,
     "signature, column 27: found '\xEF\xBF\xBD', expected ',' or ')'"},
    {SILU, "weight", NULL, NULL, NULL,
     "members, column 7: the text ends, expected ':', '?' or 'as'"},
    {SILU, "(w: f32 [d])", NULL, NULL, NULL,
     "members, column 1: found '(', expected the name of a parameter"},
    {SILU, "x: f32 [d]", NULL, NULL, NULL,
     "members, column 1: the name 'x' is taken, expected another one"},
    {SILU, "w: f32 [d] e: float", NULL, NULL, NULL,
     "members, column 12: found 'e', expected ',' or the end of the text"},
    {SILU, NULL, "f(y, z)", NULL, NULL,
     "forward, column 6: found 'z', expected an argument: a name of the signature, self.MEMBER, a "
     "number, true, "
     "false or none"},
    {SILU, NULL, "f(x)", NULL, NULL,
     "forward, column 5: the result 'y' is not among the arguments"},
    {SILU, NULL, "f(y, x", NULL, NULL, "forward, column 7: the text ends, expected ',' or ')'"},
    {SILU, NULL, "f(y, x) ;", NULL, NULL,
     "forward, column 9: found ';', expected the end of the text"},
    {SILU, NULL, "f y", NULL, NULL, "forward, column 3: found 'y', expected '('"},
    {SILU, "w: f32 [d]", "f(y, w)", NULL, NULL,
     "forward, column 6: 'w' is a member, expected 'self.w'"},
    {SILU, "w: f32 [d]", "f(y, self.v)", NULL, NULL,
     "forward, column 6: there is no member 'v', expected one that the members name"},
    {SILU, NULL, "f(y, -true)", NULL, NULL,
     "forward, column 6: found '-', expected an argument: a name of the signature, self.MEMBER, a "
     "number, true, "
     "false or none"},
    {SILU, NULL, NULL, "() -> (dx)", "f(dx)",
     "backward signature, column 2: found ')', expected the gradient of a result (dy for y)"},
    {SILU, NULL, NULL, "(dx) -> (dx)", "f(dx)",
     "backward signature, column 2: found 'dx', expected the gradient of a result (dy for y)"},
    {SILU, "w: f32 [d], e: float", NULL, "(dy) -> (d.v)", "f(dx)",
     "backward signature, column 10: found 'd.v', expected the gradient of an input or member (dx "
     "for x, d.weight "
     "for weight)"},
    {SILU, "w: f32 [d], e: float", NULL, "(dy) -> (d.e)", "f(dx)",
     "backward signature, column 10: 'e' is no tensor, and has no gradient"},
    {SILU, NULL, NULL, "(dy, dy) -> (dx)", "f(dx)",
     "backward signature, column 6: the name 'dy' is taken, expected another one"},
    {SILU, NULL, NULL, "(dy) -> (dx: like y)", "f(dx)",
     "backward signature, column 19: 'y' is a result, expected the name of an input or member"},
    {SILU, NULL, NULL, "(dy) -> (dx)", "f(dy, x)",
     "backward, column 9: the result 'dx' is not among the arguments"},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(wrong); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_layer *layer = (kn_layer *)1;
        print_message("  %s\n", wrong[i].text);
        const kn_status status =
            kn_layer_parse(KN_LAYER_SPEC(.signature = wrong[i].signature,
                                         .members = wrong[i].members, .forward = wrong[i].forward,
                                         .backward_signature = wrong[i].backward_signature,
                                         .backward = wrong[i].backward),
                           &layer, &err);
        assert_int_equal(status, KN_ERR_FORMAT);
        assert_null(layer);
        assert_string_equal(kn_error_text(&err), wrong[i].text);
        kn_error_dispose(&err);
    }
}

static void test_error_names_the_layer(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    kn_layer *layer;
    assert_int_equal(kn_layer_parse(KN_LAYER_SPEC(.name = "Silu", .signature = "?"), &layer, &err),
                     KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err),
                        "layer Silu: signature, column 1: found '?', expected '('");
    kn_error_dispose(&err);
}

static void test_wrong_use(void **state)
{
    (void)state;
    kn_layer *layer = NULL;
    kn_layer_spec spec = KN_LAYER_SPEC_INIT;
    assert_int_equal(kn_layer_parse(&spec, &layer, NULL), KN_ERR_INVALID);
    assert_int_equal(kn_layer_parse(NULL, &layer, NULL), KN_ERR_INVALID);
    spec.signature = SILU;
    assert_int_equal(kn_layer_parse(&spec, NULL, NULL), KN_ERR_INVALID);
    spec.backward = "f(dx)";
    assert_int_equal(kn_layer_parse(&spec, &layer, NULL), KN_ERR_INVALID);
    spec.backward = NULL;
    spec.backward_signature = "(dy) -> (dx)";
    assert_int_equal(kn_layer_parse(&spec, &layer, NULL), KN_ERR_INVALID);
    spec.struct_size = 0;
    assert_int_equal(kn_layer_parse(&spec, &layer, NULL), KN_ERR_INVALID);
    // A struct from before the backward fields: they are not read.
    spec.struct_size = offsetof(kn_layer_spec, backward_signature);
    assert_int_equal(kn_layer_parse(&spec, &layer, NULL), KN_OK);
    assert_false(kn_layer_has_backward(layer));
    kn_layer_unref(layer);
    kn_layer_unref(NULL);
}

// ---- ceilings -----------------------------------------------------------------------------------------------------

// `prefix`, then `item` with %d from 0 below n between commas, then `suffix`.
static void repeat(char *out, size_t size, const char *prefix, const char *item, int n,
                   const char *suffix)
{
    size_t used = (size_t)snprintf(out, size, "%s", prefix);
    for (int i = 0; i < n; ++i) {
        used += (size_t)snprintf(out + used, size - used, "%s", i ? ", " : "");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        used += (size_t)snprintf(out + used, size - used, item, i);
#pragma GCC diagnostic pop
    }
    assert_true(used + (size_t)snprintf(out + used, size - used, "%s", suffix) < size);
}

static const struct {
    const char *prefix, *item, *suffix;
    int most; // one more is refused
    const char *text;
} ceilings[] = {
    {"(x: f32 [d], ", "p%d: int", ") -> (y: like x)", 14, "more than 16 parameters and results"},
    {"(x: f32 [d]) -> (", "y%d: like x", ")", 15, "more than 16 parameters and results"},
    {"(", "x%1$d: f32 [d%1$d]", ") -> (y: like x0)", 15, "more than 16 parameters and results"},
    {"(x: f32 [d, d, d, d, d, d, d, d], x1: f32 [", "s%d", "]) -> (y: like x)", 8,
     "more than 8 dimensions"},
    {"(x: f32 [d]) -> (y: promote(", "x", ") [d])", 8, "promote() of more than 8 tensors"},
};

static void test_ceilings(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(ceilings); ++i) {
        for (int extra = 0; extra < 2; ++extra) {
            char text[KNI_CALL_ARGS_MAX * 32];
            kn_error err = KN_ERROR_INIT;
            kn_layer *layer;
            repeat(text, sizeof(text), ceilings[i].prefix, ceilings[i].item,
                   ceilings[i].most + extra, ceilings[i].suffix);
            print_message("  %s\n", text);
            const kn_status status = kn_layer_parse(KN_LAYER_SPEC(.signature = text), &layer, &err);
            assert_int_equal(status, extra ? KN_ERR_FORMAT : KN_OK);
            if (extra)
                assert_non_null(strstr(kn_error_text(&err), ceilings[i].text));
            kn_layer_unref(layer);
            kn_error_dispose(&err);
        }
    }
}

static void test_ceilings_of_other_texts(void **state)
{
    (void)state;
    char text[5000];
    kn_error err = KN_ERROR_INIT;
    kn_layer *layer;
    for (int extra = 0; extra < 2; ++extra) {
        repeat(text, sizeof(text), "", "m%d: float", 16 + extra, "");
        assert_int_equal(
            kn_layer_parse(KN_LAYER_SPEC(.signature = SILU, .members = text), &layer, NULL),
            extra ? KN_ERR_FORMAT : KN_OK);
        kn_layer_unref(layer);
        repeat(text, sizeof(text), "f(y, ", "%d", KNI_CALL_ARGS_MAX - 1 + extra, ")");
        assert_int_equal(
            kn_layer_parse(KN_LAYER_SPEC(.signature = SILU, .forward = text), &layer, NULL),
            extra ? KN_ERR_FORMAT : KN_OK);
        kn_layer_unref(layer);
        // Symbols over inputs and members: 16 and 17.
        repeat(text, sizeof(text), "", "m%1$d: f32 [s%1$d]", 15 + extra, "");
        assert_int_equal(
            kn_layer_parse(KN_LAYER_SPEC(.signature = SILU, .members = text), &layer, NULL),
            extra ? KN_ERR_FORMAT : KN_OK);
        kn_layer_unref(layer);
        memset(text, ' ', sizeof(text));
        memcpy(text, SILU, strlen(SILU));
        text[4096 + extra] = '\0';
        assert_int_equal(kn_layer_parse(KN_LAYER_SPEC(.signature = text), &layer, &err),
                         extra ? KN_ERR_FORMAT : KN_OK);
        kn_layer_unref(layer);
    }
    assert_string_equal(kn_error_text(&err),
                        "signature, column 4097: the text is longer than 4096 bytes");
    kn_error_dispose(&err);
}

// ---- what was read ------------------------------------------------------------------------------------------------

static kn_param get(const kn_layer *layer, kn_param_list list, size_t index)
{
    kn_param param = {.struct_size = sizeof(param)};
    assert_int_equal(kn_layer_param(layer, list, index, &param, NULL), KN_OK);
    return param;
}

static void test_params(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(
            .name = "Norm",
            .members = "weight?: f32 [h], eps: float = 1,\n\tflag: bool == true = true",
            .signature =
                "( hidden_states as x : f32|f16 rows [ ..., h ], n: int = -9223372036854775808, "
                "mask?: bool [..., h|1], on: bool) -> (y: like x may alias x)",
            .forward = "norm(y, x, n, self.weight, self.eps, 1e-6, -2, none, true)",
            .backward_signature = "(dy?) -> (dx, d . weight: f32 [h])",
            .backward = "norm_backward(dx, d.weight, dy, x, self.weight)"));
    static const struct {
        kn_param_list list;
        const char *name, *alias, *text;
        kn_param_kind kind;
        bool optional, has_default;
    } rows[] = {
        {KN_PARAM_INPUT, "hidden_states", "x", "f32|f16 rows [ ..., h ]", KN_PARAM_TENSOR, false,
         false},
        {KN_PARAM_INPUT, "n", "n", "int", KN_PARAM_INT, false, true},
        {KN_PARAM_INPUT, "mask", "mask", "bool [..., h|1]", KN_PARAM_TENSOR, true, false},
        {KN_PARAM_INPUT, "on", "on", "bool", KN_PARAM_BOOL, false, false},
        {KN_PARAM_MEMBER, "weight", "weight", "f32 [h]", KN_PARAM_TENSOR, true, false},
        {KN_PARAM_MEMBER, "eps", "eps", "float", KN_PARAM_FLOAT, false, true},
        {KN_PARAM_MEMBER, "flag", "flag", "bool == true", KN_PARAM_BOOL, false, true},
        {KN_PARAM_OUTPUT, "y", "y", "like x may alias x", KN_PARAM_TENSOR, false, false},
        {KN_PARAM_GRAD_INPUT, "dy", "dy", "like y", KN_PARAM_TENSOR, true, false},
        {KN_PARAM_GRAD_OUTPUT, "dx", "dx", "like x", KN_PARAM_TENSOR, false, false},
        {KN_PARAM_GRAD_OUTPUT, "d.weight", "d.weight", "f32 [h]", KN_PARAM_TENSOR, true, false},
    };
    size_t seen[5] = {0};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        const kn_param param = get(layer, rows[i].list, seen[rows[i].list]++);
        assert_string_equal(param.name, rows[i].name);
        assert_string_equal(param.alias, rows[i].alias);
        assert_string_equal(param.text, rows[i].text);
        assert_int_equal(param.kind, rows[i].kind);
        assert_int_equal(param.optional, rows[i].optional);
        assert_int_equal(param.has_default, rows[i].has_default);
    }
    for (int list = 0; list < 5; ++list)
        assert_int_equal(kn_layer_param_count(layer, (kn_param_list)list), seen[list]);
    assert_int_equal(kn_layer_param_count(layer, (kn_param_list)5), 0);
    assert_int_equal(get(layer, KN_PARAM_INPUT, 1).default_value.as.integer, INT64_MIN);
    assert_int_equal(get(layer, KN_PARAM_MEMBER, 1).default_value.type, KN_VALUE_FLOAT);
    assert_true(get(layer, KN_PARAM_MEMBER, 1).default_value.as.number == 1.0);
    assert_string_equal(kn_layer_name(layer), "Norm");
    assert_string_equal(kn_layer_function(layer, false), "norm");
    assert_string_equal(kn_layer_function(layer, true), "norm_backward");
    assert_true(kn_layer_has_backward(layer));

    kn_param none = {.struct_size = sizeof(none)};
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_layer_param(layer, KN_PARAM_OUTPUT, 1, &none, &err), KN_ERR_INVALID);
    assert_string_equal(kn_error_text(&err), "layer Norm: no parameter 1 in list 1");
    kn_error_dispose(&err);
    kn_layer_unref(kn_layer_ref(layer));
    kn_layer_unref(layer);
}

static void test_an_interface_has_no_call(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(.signature = "() -> (y: f32 [3])"));
    assert_null(kn_layer_function(layer, false));
    assert_null(kn_layer_function(layer, true));
    assert_string_equal(kn_layer_name(layer), "");
    kn_layer_unref(layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_names_the_layer),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_ceilings_of_other_texts),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_an_interface_has_no_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
