#include "support/cmocka.h"

#include "mapping/mode.h"

#define F KN_MODE_FALLBACK
#define T KN_MODE_TRAINING
#define I KN_MODE_INFERENCE
#define C KN_MODE_TORCH_COMPILE

static void assert_error(const kn_error *err, const char *pattern)
{
    if (!strstr(kn_error_text(err), pattern))
        fail_msg("\"%s\" has no \"%s\"", kn_error_text(err), pattern);
}

static void test_union(void **state)
{
    static const struct {
        kn_mode a, b, result;
        const char *error; // NULL: none
    } rows[] = {
        {I, C, I | C, NULL},
        {C, T, T | C, NULL},
        {I, I, I, NULL},
        {F, F, F, NULL},
        {0, T, T, NULL},
        {0, 0, 0, NULL},
        {C, C, C, NULL},
        {I, T, 0, "mutually exclusive"},
        {T, I, 0, "mutually exclusive"},
        {T | C, I, 0, "mutually exclusive"},
        {I | T, F, 0, "mutually exclusive"},
        {F, I, 0, "cannot be combined with other modes"},
        {C, F, 0, "cannot be combined with other modes"},
        {F, 16, 0, "cannot be combined with other modes"},
        {I, 16, 0, "accepted are the flags"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_mode out = 99;
        print_message("  %u | %u\n", rows[i].a, rows[i].b);
        const kn_status st = kn_mode_union(rows[i].a, rows[i].b, &out, &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_INVALID : KN_OK);
        assert_int_equal(out, rows[i].result);
        if (rows[i].error)
            assert_error(&err, rows[i].error);
        kn_error_dispose(&err);
    }
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        kn_mode mode;
        const char *error;
    } rows[] = {
        {"INFERENCE", I, NULL},
        {"TRAINING", T, NULL},
        {"FALLBACK", F, NULL},
        {"TORCH_COMPILE", C, NULL},
        {"INFERENCE|TORCH_COMPILE", I | C, NULL},
        {"TORCH_COMPILE | TRAINING", T | C, NULL},
        {"  INFERENCE |TORCH_COMPILE ", I | C, NULL},
        {"INFERENCE|INFERENCE", I, NULL},
        {"", 0, "accepted are FALLBACK"},
        {NULL, 0, "accepted are FALLBACK"},
        {"|", 0, "accepted are FALLBACK"},
        {"INFERENCE|", 0, "accepted are FALLBACK"},
        {"INFERENCE||TORCH_COMPILE", 0, "accepted are FALLBACK"},
        {"inference", 0, "unknown mode \"inference\""},
        {"INFERENCE,TORCH_COMPILE", 0, "unknown mode"},
        {"INFERENCE\t", 0, "unknown mode"},
        {"INFERENCE|TRAINING", 0, "mutually exclusive"},
        {"FALLBACK|INFERENCE", 0, "cannot be combined with other modes"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_mode out = 99;
        print_message("  \"%s\"\n", rows[i].text ? rows[i].text : "(null)");
        const kn_status st = kn_mode_parse(rows[i].text, &out, &err);
        assert_int_equal(st, rows[i].error ? KN_ERR_INVALID : KN_OK);
        assert_int_equal(out, rows[i].mode);
        if (rows[i].error)
            assert_error(&err, rows[i].error);
        kn_error_dispose(&err);
    }
}

static void test_text(void **state)
{
    static const struct {
        kn_mode mode;
        const char *text;
    } rows[] = {
        {0, "0"},
        {F, "FALLBACK"},
        {I, "INFERENCE"},
        {I | C, "INFERENCE|TORCH_COMPILE"},
        {T | C, "TRAINING|TORCH_COMPILE"},
        {16, "0x10"},
        {UINT32_MAX, "FALLBACK|TRAINING|INFERENCE|TORCH_COMPILE|0xfffffff0"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char text[KN_MODE_TEXT_SIZE];
        assert_ptr_equal(kn_mode_text(rows[i].mode, text), text);
        assert_string_equal(text, rows[i].text);
    }
}

// Every set of flags, named or not: what may be asked for has a chain, what may be registered is that or FALLBACK.
static void test_check(void **state)
{
    static const kn_mode requests[] = {I, I | C, T, T | C};
    (void)state;
    for (kn_mode mode = 0; mode < 32; ++mode) {
        kn_error err = KN_ERROR_INIT;
        kn_mode chain[KN_MODE_CHAIN_MAX];
        bool expected = false;
        for (size_t i = 0; i < KN_LEN(requests); ++i)
            expected |= mode == requests[i];
        const char *pattern = mode == F           ? "can only be used to register kernel mappings"
                              : !(mode & (I | T)) ? "mode must contain"
                                                  : "Unsupported mode: ";
        assert_int_equal(kn_mode_check_request(mode, &err), expected ? KN_OK : KN_ERR_INVALID);
        if (!expected)
            assert_error(&err, pattern);
        kn_error_dispose(&err);
        assert_int_equal(kn_mode_chain(mode, chain) > 0, expected);
        assert_int_equal(kni_mode_check_registration(mode, &err) == KN_OK, expected || mode == F);
        if (mode == C)
            assert_error(&err, "mode must contain INFERENCE or TRAINING, or be FALLBACK");
        kn_error_dispose(&err);
    }
}

static void test_chain(void **state)
{
    static const struct {
        kn_mode mode;
        size_t count;
        kn_mode chain[KN_MODE_CHAIN_MAX];
    } rows[] = {
        {I, 5, {I, I | C, T, T | C, F}},
        {I | C, 3, {I | C, T | C, F}},
        {T, 3, {T, T | C, F}},
        {T | C, 2, {T | C, F}},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_mode chain[KN_MODE_CHAIN_MAX];
        assert_int_equal(kn_mode_chain(rows[i].mode, chain), rows[i].count);
        assert_memory_equal(chain, rows[i].chain, rows[i].count * sizeof(chain[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_union), cmocka_unit_test(test_parse), cmocka_unit_test(test_text),
        cmocka_unit_test(test_check), cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
