#include "base/str.h"
#include "support/cmocka.h"

#define R "\xEF\xBF\xBD" // the replacement character

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *clean;
    } rows[] = {
        {"plain", "name-1.0", "name-1.0"},
        {"empty", "", ""},
        {"letters of every length", "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80",
         "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"newline and tab", "a\nb\tc", "a" R "b" R "c"},
        {"escape", "\x1b[2J", R "[2J"},
        {"delete", "\x7f", R},
        {"C1 control",
         "\xC2\x9B"
         "31m",
         R "31m"},
        {"soft hyphen", "\xC2\xAD", R},
        {"right-to-left override",
         "a\xE2\x80\xAE"
         "b",
         "a" R "b"},
        {"zero-width space", "\xE2\x80\x8B", R},
        {"word joiner", "\xE2\x81\xA0", R},
        {"byte order mark", "\xEF\xBB\xBFx", R "x"},
        {"tag characters", "\xF3\xA0\x81\x81", R},
        {"lone continuation", "\x80x", R "x"},
        {"cut at the end", "x\xE2\x82", "x" R R},
        {"cut inside", "\xE2\x82x", R R "x"},
        {"overlong slash", "\xC0\xAF", R R},
        {"overlong euro", "\xF0\x82\x82\xAC", R R R R},
        {"surrogate", "\xED\xA0\x80", R R R},
        {"beyond U+10FFFF", "\xF4\x90\x80\x80", R R R R},
        {"byte that UTF-8 never has", "\xFF", R},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf out = KNI_BUF_ANY;
        print_message("  %s\n", rows[i].name);
        kni_text_append_clean(&out, rows[i].text, strlen(rows[i].text));
        assert_string_equal(kni_buf_text(&out), rows[i].clean);
        kni_buf_dispose(&out);
    }
    kni_buf out = KNI_BUF_ANY;
    kni_text_append_clean(&out, "a\0b", 3);
    assert_string_equal(kni_buf_text(&out), "a" R "b");
    kni_buf_dispose(&out);
}

// Every byte at every place of a text: asking whether it is clean agrees with cleaning it.
static void test_is_clean(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 19; ++size)
        for (size_t at = 0; at < size; ++at)
            for (int byte = 0; byte < 256; ++byte) {
                char text[20];
                kni_buf out = KNI_BUF_ANY;
                memset(text, 'a' + (int)at, sizeof(text));
                text[at] = (char)byte;
                kni_text_append_clean(&out, text, size);
                const bool same = out.size == size && memcmp(out.data, text, size) == 0;
                assert_int_equal(kni_text_is_clean(text, size), same);
                assert_int_equal(same, byte >= 0x20 && byte < 0x7F);
                kni_buf_dispose(&out);
            }
    assert_true(kni_text_is_clean("", 0));
    assert_true(kni_text_is_clean("abcdefgh\xC3\xA9zzzzzzzzzz", 20));
    assert_false(kni_text_is_clean("abcdefg\xC3\xA9zzzzzz\x7Fz", 18));
}

static void test_span(void **state)
{
    (void)state;
    const kni_span span = kni_span_of("tvm-ffi01");
    assert_true(kni_span_is(span, "tvm-ffi01"));
    assert_false(kni_span_is(span, "tvm-ffi0"));
    assert_false(kni_span_is(span, "tvm-ffi011"));
    assert_true(kni_span_starts(span, "tvm"));
    assert_true(kni_span_starts(span, ""));
    assert_false(kni_span_starts(span, "tvm-ffi012"));
    assert_true(kni_span_ends(span, "01"));
    assert_false(kni_span_ends(span, "1tvm-ffi01"));
    assert_true(kni_span_is(kni_span_of(NULL), ""));
}

static void test_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text, *parts[4];
    } rows[] = {
        {"a-b-c", {"a", "b", "c"}}, {"a", {"a"}},      {"", {""}}, {"-", {"", ""}},
        {"a--b", {"a", "", "b"}},   {"a-", {"a", ""}},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_span rest = kni_span_of(rows[i].text), part;
        print_message("  '%s'\n", rows[i].text);
        for (size_t k = 0; rows[i].parts[k]; ++k) {
            assert_true(kni_span_cut(&rest, '-', &part));
            assert_true(kni_span_is(part, rows[i].parts[k]));
        }
        assert_false(kni_span_cut(&rest, '-', &part));
    }
}

static void test_trim(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""}, {"   ", ""}, {"a", "a"}, {" a  ", "a"}, {"  a b", "a b"}, {"\ta ", "\ta"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  '%s'\n", rows[i][0]);
        assert_true(kni_span_is(kni_span_trim(kni_span_of(rows[i][0])), rows[i][1]));
    }
    assert_int_equal(kni_span_trim((kni_span){NULL, 0}).size, 0);
}

static void test_to_int(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t max, value; // value -1: refused
    } rows[] = {
        {"0", 9, 0},
        {"007", 9, 7},
        {"10", 10, 10},
        {"11", 10, -1},
        {"", 9, -1},
        {"-1", 9, -1},
        {"+1", 9, -1},
        {" 1", 9, -1},
        {"1a", 99, -1},
        {"0x1", 99, -1},
        {"\xD9\xA1", 9, -1},
        {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"9223372036854775808", INT64_MAX, -1},
        {"99999999999999999999", INT64_MAX, -1},
        {"1", 0, -1},
        {"0", 0, 0},
        {"5", 3, -1},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        int64_t value = -1;
        print_message("  '%s' up to %lld\n", rows[i].text, (long long)rows[i].max);
        assert_int_equal(kni_span_to_int(kni_span_of(rows[i].text), rows[i].max, &value),
                         rows[i].value >= 0);
        assert_true(value == rows[i].value);
    }
}

static void test_glob(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"", "", true},
        {"*", "", true},
        {"*", "a.b", true},
        {"?", "", false},
        {"?", "a", true},
        {"a*c", "abbbc", true},
        {"a*c", "abbbd", false},
        {"*a*b*", "xaxxbx", true},
        {"model.*.mlp", "model.0.mlp", true},
        {"model.*.mlp", "model.0.mlp.act", false},
        {"*.act", "model.0.mlp.act", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"**", "", true},
        {"a**b?", "abc", true},
        {"[ab]", "a", false},
        {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s on '%s'\n", rows[i].pattern, rows[i].text);
        assert_int_equal(kni_glob_match(rows[i].pattern, rows[i].text), rows[i].match);
    }
}

static void test_string_equal(void **state)
{
    (void)state;
    assert_true(kni_string_equal(NULL, NULL));
    assert_false(kni_string_equal(NULL, ""));
    assert_false(kni_string_equal("", NULL));
    assert_true(kni_string_equal("a", "a"));
    assert_false(kni_string_equal("a", "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean), cmocka_unit_test(test_is_clean),
        cmocka_unit_test(test_span),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_trim),  cmocka_unit_test(test_to_int),
        cmocka_unit_test(test_glob),  cmocka_unit_test(test_string_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
