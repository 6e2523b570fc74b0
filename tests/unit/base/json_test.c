#include "base/alloc.h"
#include "base/json.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static kn_status parse(const char *text, json_t **out, kn_error *err)
{
    return kni_json_parse(text, strlen(text), "m.json", out, err);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error: the beginning of the message
    } rows[] = {
        {"nothing", "", "m.json:1: ends too early"},
        {"blank", " \n ", "m.json:2: ends too early"},
        {"scalar", "1", "m.json:1: expected one object or array"},
        {"string", "\"a\"", "m.json:1: expected one object or array"},
        {"two values", "{},{}", "m.json:1: expected one object or array"},
        {"bracket too many", "{}]", "m.json:1: end of file expected"},
        {"closes what it did not open", "{}],[{}", "m.json:1: end of file expected"},
        {"cut in an object", "{\"a\":", "m.json:1: ends too early"},
        {"cut in a string", "{\n\"a", "m.json:2: ends too early"},
        {"cut after an escape", "[\"a\\", "m.json:1: "},
        {"duplicate key", "{\"a\":1,\n\"b\":2,\n\"a\":3}", "m.json:3: duplicate object key"},
        {"duplicate key by an escape", "{\"a\":1,\"\\u0061\":3}", "m.json:1: duplicate object key"},
        {"NUL in a string", "[\"x\\u0000y\"]", "m.json:1: \\u0000 is not allowed"},
        {"NUL in a key", "{\"x\\u0000y\":1}", "m.json:1: "},
        {"control character in a string", "[\"\x01\"]", "m.json:1: "},
        {"not UTF-8", "[\"\xC0\xAF\"]", "m.json:1: unable to decode byte 0xc0"},
        {"half a surrogate pair", "[\"\\ud800\"]", "m.json:1: invalid Unicode"},
        {"trailing comma", "[1,]", "m.json:1: unexpected token"},
        {"comment", "{} // c", "m.json:1: "},
        {"NaN", "[NaN]", "m.json:1: invalid token"},
        {"leading zero", "[01]", "m.json:1: "},
        {"too large an integer", "[9223372036854775808]", "m.json:1: too big integer"},
        {"too small an integer", "[-9223372036854775809]", "m.json:1: too big negative integer"},
        {"too large a real", "[1e999]", "m.json:1: real number overflow"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        json_t *value = (json_t *)&rows;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(parse(rows[i].text, &value, &err), KN_ERR_FORMAT);
        assert_null(value);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
    json_t *value = NULL;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_json_parse("[1]\0", 4, "m.json", &value, &err), KN_ERR_FORMAT);
    kn_error_dispose(&err);
}

// `[first, rest, rest, …]` with so many values inside.
static kn_status parse_many(const char *first, const char *rest, size_t count, kn_error *err)
{
    kni_buf text = KNI_BUF_ANY;
    json_t *value = NULL;
    kni_buf_puts(&text, first);
    for (size_t i = 1; i < count; ++i)
        kni_buf_puts(&text, rest);
    kni_buf_puts(&text, "]");
    const kn_status st = kni_json_parse(text.data, text.size, "m.json", &value, err);
    json_decref(value);
    kni_buf_dispose(&text);
    return st;
}

// A value of two bytes takes two hundred as an object.
static void test_counts(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(parse_many("[{}", ",{}", KNI_JSON_CONTAINERS_MAX - 1, &err), KN_OK);
    assert_int_equal(parse_many("[{}", ",[]", KNI_JSON_CONTAINERS_MAX, &err), KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err),
                        "m.json: has 262145 objects and arrays, at most 262144");
    kn_error_dispose(&err);
    assert_int_equal(parse_many("[0", ",0", KNI_JSON_VALUES_MAX, &err), KN_OK);
    assert_int_equal(parse_many("[0", ",0", KNI_JSON_VALUES_MAX + 1, &err), KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err), "m.json: has more than 1048576 values");
    kn_error_dispose(&err);
    // What stands in strings does not count.
    assert_int_equal(parse_many("[\"", "{[,", KNI_JSON_VALUES_MAX + 1, &err), KN_ERR_FORMAT);
    assert_non_null(strstr(kn_error_text(&err), "ends too early"));
    kn_error_dispose(&err);
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *name, *open, *close;
        size_t levels;
        bool accepted;
    } rows[] = {
        {"deepest arrays", "[", "]", KNI_JSON_DEPTH_MAX, true},
        {"arrays too deep", "[", "]", KNI_JSON_DEPTH_MAX + 1, false},
        {"objects too deep", "{\"a\":", "}", KNI_JSON_DEPTH_MAX + 1, false},
        {"a million levels, never closed", "[", "", 1000000, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf text = KNI_BUF_ANY;
        json_t *value = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        for (size_t k = 0; k < rows[i].levels; ++k)
            kni_buf_puts(&text, rows[i].open);
        for (size_t k = 0; k < rows[i].levels; ++k)
            kni_buf_puts(&text, rows[i].close);
        const kn_status st = kni_json_parse(text.data, text.size, "m.json", &value, &err);
        assert_int_equal(st, rows[i].accepted ? KN_OK : KN_ERR_FORMAT);
        if (!rows[i].accepted)
            assert_string_equal(kn_error_text(&err), "m.json:1: nests deeper than 32 levels");
        json_decref(value);
        kn_error_dispose(&err);
        kni_buf_dispose(&text);
    }
    json_t *value = NULL; // brackets in strings do not count
    assert_int_equal(
        parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[\"]", &value, NULL), KN_OK);
    json_decref(value);
}

static const char document[] =
    "{\"s\": \"text\", \"i\": -5, \"r\": 0.5, \"t\": true, \"f\": false, \"n\": null,"
    " \"a\": [1, 2], \"o\": {\"k\": \"v\"}}";

// Each getter on each member, as one table: what is found, or what the error says.
static void test_members(void **state)
{
    (void)state;
    static const struct {
        char getter; // s, i, b, n(umber), a, o
        const char *key;
        bool required;
        const char *error; // NULL: succeeds
    } rows[] = {
        {'s', "s", true, NULL},
        {'i', "i", true, NULL},
        {'b', "t", true, NULL},
        {'b', "f", true, NULL},
        {'n', "r", true, NULL},
        {'n', "i", true, NULL},
        {'a', "a", true, NULL},
        {'o', "o", true, NULL},
        {'s', "absent", false, NULL},
        {'i', "n", false, NULL},
        {'s', "absent", true, "m.json: backend.absent: is missing, expected a string"},
        {'s', "i", true, "m.json: backend.i: expected a string, found an integer"},
        {'s', "i", false, "m.json: backend.i: expected a string, found an integer"},
        {'i', "r", true, "m.json: backend.r: expected an integer, found a number"},
        {'b', "i", true, "m.json: backend.i: expected a boolean, found an integer"},
        {'n', "t", true, "m.json: backend.t: expected a number, found a boolean"},
        {'a', "o", true, "m.json: backend.o: expected an array, found an object"},
        {'o', "a", true, "m.json: backend.a: expected an object, found an array"},
        {'o', "n", true, "m.json: backend.n: expected an object, found null"},
    };
    json_t *root = NULL;
    assert_int_equal(parse(document, &root, NULL), KN_OK);
    const kni_json_at at = {"m.json", "backend", root};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        const char *text = "default";
        int64_t integer = 77;
        bool boolean = true;
        double number = 77;
        const json_t *child = NULL;
        const char *key = rows[i].key;
        const bool required = rows[i].required;
        print_message("  %c %s\n", rows[i].getter, key);
        const kn_status st =
            rows[i].getter == 's'   ? kni_json_string(at, key, required, &text, &err)
            : rows[i].getter == 'i' ? kni_json_int(at, key, required, &integer, &err)
            : rows[i].getter == 'b' ? kni_json_bool(at, key, required, &boolean, &err)
            : rows[i].getter == 'n' ? kni_json_number(at, key, required, &number, &err)
            : rows[i].getter == 'a' ? kni_json_array(at, key, required, &child, &err)
                                    : kni_json_object(at, key, required, &child, &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_FORMAT : KN_OK);
        assert_string_equal(kn_error_text(&err), rows[i].error ? rows[i].error : "success");
        const bool found = !rows[i].error && required;
        assert_string_equal(text, found && rows[i].getter == 's' ? "text" : "default");
        assert_int_equal(integer, found && rows[i].getter == 'i' ? -5 : 77);
        assert_int_equal(boolean, !(found && key[0] == 'f'));
        assert_true(number == (!found || rows[i].getter != 'n' ? 77 : key[0] == 'i' ? -5 : 0.5));
        assert_int_equal(child != NULL, found && (key[0] == 'a' || key[0] == 'o'));
        kn_error_dispose(&err);
    }
    json_decref(root);
}

static void test_root_is_no_object(void **state)
{
    (void)state;
    json_t *root = NULL;
    const char *text = NULL;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(parse("[1]", &root, NULL), KN_OK);
    assert_int_equal(kni_json_string((kni_json_at){"m.json", "", root}, "k", false, &text, &err),
                     KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err), "m.json: expected an object, found an array");
    kn_error_dispose(&err);
    assert_int_equal(kni_json_string((kni_json_at){"m.json", "x.y", NULL}, "k", true, &text, &err),
                     KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err), "m.json: x.y: expected an object, found nothing");
    kn_error_dispose(&err);
    json_decref(root);
}

static void test_only(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path, *error; // error NULL: succeeds
    } rows[] = {
        {"{}", "", NULL},
        {"{\"b\": 1}", "", NULL},
        {"{\"a\": 1, \"b\": 2}", "x", NULL},
        {"{\"a\": 1, \"c\": 2}", "", "m.json: c: is not known: accepted are a, b"},
        {"{\"a\u202e\": 1}", "x[1]", "m.json: x[1].a\uFFFD: is not known: accepted are a, b"},
        {"[]", "x", "m.json: x: expected an object, found an array"},
    };
    static const char *const keys[] = {"a", "b"};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        json_t *value = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].text);
        assert_int_equal(parse(rows[i].text, &value, NULL), KN_OK);
        const kn_status st =
            kni_json_only((kni_json_at){"m.json", rows[i].path, value}, keys, KN_LEN(keys), &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_FORMAT : KN_OK);
        assert_string_equal(kn_error_text(&err), rows[i].error ? rows[i].error : "success");
        kn_error_dispose(&err);
        json_decref(value);
    }
    assert_string_equal(kni_json_type_text(NULL), "nothing");
}

static void test_text(void **state)
{
    (void)state;
    json_t *root = NULL;
    assert_int_equal(parse("{\"z\":1e-6,\"a\":[0.1,\"\xC3\xA4\"]}", &root, NULL), KN_OK);
    char *text = kni_json_text(root);
    assert_string_equal(text, "{\n  \"z\": 1e-6,\n  \"a\": [\n    0.1,\n    \"\xC3\xA4\"\n  ]\n}");
    kn_string_free(text);
    json_decref(root);
}

// A string as long as a token may be makes jansson's buffer grow; a hole in the text must not go unnoticed.
static kn_status parse_long(void *user, kn_error *err)
{
    const kni_buf *text = user;
    json_t *value = NULL;
    kn_status st = kni_json_parse(text->data, text->size, "m.json", &value, err);
    if (st == KN_OK) {
        const char *string = NULL;
        const kni_json_at at = {"m.json", "", value};
        assert_int_equal(kni_json_string(at, "digest", true, &string, NULL), KN_OK);
        assert_int_equal(strspn(string, "x"),
                         text->size - strlen("{\"digest\":\"\", \"n\": [1,2]}"));
        char *again = kni_json_text(value);
        if (!again) {
            st = KN_ERR_NO_MEMORY;
            err->status = st;
        }
        kn_string_free(again);
    }
    json_decref(value);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,  1,  13, 14, 15, 16,  29,  30,   31,
                                     44, 61, 62, 63, 88, 126, 254, 1000, 5000};
    for (size_t i = 0; i < KN_LEN(lengths); ++i) {
        kni_buf text = KNI_BUF_ANY;
        kni_buf_puts(&text, "{\"digest\":\"");
        for (size_t k = 0; k < lengths[i]; ++k)
            kni_buf_puts(&text, "x");
        kni_buf_puts(&text, "\", \"n\": [1,2]}");
        print_message("  a string of %zu\n", lengths[i]);
        assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, parse_long, &text) > 10);
        kni_buf_dispose(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_root_is_no_object),
        cmocka_unit_test(test_only),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
