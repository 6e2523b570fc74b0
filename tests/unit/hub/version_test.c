// The cases of PEP 440's own text; versions_differential.py has the others.
#include "hub/version.h"

#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define DIGITS30 "123456789012345678901234567890"

static const struct {
    const char *text, *normal; // NULL: no version
} texts[] = {
    // Normalization, section by section.
    {"1.1RC1", "1.1rc1"},
    {"00", "0"},
    {"09000", "9000"},
    {"1.0+0foo0100", "1.0+0foo0100"},
    {"1.1.a1", "1.1a1"},
    {"1.1-a1", "1.1a1"},
    {"1.1_a1", "1.1a1"},
    {"1.1a.1", "1.1a1"},
    {"1.1a-1", "1.1a1"},
    {"1.1alpha1", "1.1a1"},
    {"1.1beta2", "1.1b2"},
    {"1.1c3", "1.1rc3"},
    {"1.1pre3", "1.1rc3"},
    {"1.1preview3", "1.1rc3"},
    {"1.2a", "1.2a0"},
    {"1.2-post2", "1.2.post2"},
    {"1.2post2", "1.2.post2"},
    {"1.2.post-2", "1.2.post2"},
    {"1.0-r4", "1.0.post4"},
    {"1.0.rev4", "1.0.post4"},
    {"1.2.post", "1.2.post0"},
    {"1.0-1", "1.0.post1"},
    {"1.2-dev2", "1.2.dev2"},
    {"1.2dev2", "1.2.dev2"},
    {"1.2.dev", "1.2.dev0"},
    {"1.0+ubuntu-1", "1.0+ubuntu.1"},
    {"1.0+ubuntu_1", "1.0+ubuntu.1"},
    {"1.0+UBUNTU.01", "1.0+ubuntu.1"},
    {"v1.0", "1.0"},
    {"V1.0", "1.0"},
    {"1.0\n", "1.0"},
    {" \t1.0 \r\n", "1.0"},
    {"\xE2\x80\x83"
     "1.0\xC2\xA0",
     "1.0"},
    // All parts.
    {"1!1.0rc1.post2.dev3+local.1", "1!1.0rc1.post2.dev3+local.1"},
    {"v01!01.00-PREVIEW_01-REV.02_DEV-03+A_B-C.004", "1!1.0rc1.post2.dev3+a.b.c.4"},
    {"0!1", "1"},
    {"1r", "1.post0"},
    {"1.0a.post1", "1.0a0.post1"},
    {"1.0a--1", "1.0a0.post1"},
    {"1.0.", NULL},
    {"1.0a.", "1.0a0"}, // the grammar of the appendix takes it
    {"2012.4", "2012.4"},
    {DIGITS30 "." DIGITS30, DIGITS30 "." DIGITS30},
    {"", NULL},
    {" ", NULL},
    {"v", NULL},
    {"vv1", NULL},
    {"main", NULL},
    {"1..0", NULL},
    {".1", NULL},
    {"1.0-", NULL},
    {"1.0+", NULL},
    {"1.0+a+b", NULL},
    {"1.0+a..b", NULL},
    {"1.0+a.", NULL},
    {"1.0+_a", NULL},
    {"1.0.x", NULL},
    {"1.0p1", NULL},
    {"1 .0", NULL},
    {"v 1", NULL},
    {"!1", NULL},
    {"1!", NULL},
    {"1!2!3", NULL},
    {"-1", NULL},
    {"1.0.dev1.post1", NULL},
    {"1.0.post1a1", NULL},
    {"1.0-1-1", NULL},
    {"\xD9\xA3", NULL}, // a digit, but not ASCII's
    {"1.0\xE2\x80", NULL},
};

static kni_version *parse(const char *text)
{
    kni_version *version = NULL;
    assert_int_equal(kni_version_parse(text, &version, NULL), KN_OK);
    return version;
}

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(texts); ++i) {
        print_message("  %s\n", texts[i].text);
        kni_version *version = parse(texts[i].text);
        assert_int_equal(version != NULL, texts[i].normal != NULL);
        if (version)
            assert_string_equal(kni_version_text(version), texts[i].normal);
        kni_version_free(version);
    }
    assert_null(parse(NULL));
}

// Each before the next; where there are several spellings of one, with '=' between.
static const char *const order[] = {
    "0.dev0",
    "0=0.0=0.0.0=00",
    "0.0.1",
    "0.9",
    "0.9.1",
    "0.10=0.10.0",
    "1.0.dev456=1.dev456",
    "1.0a1.dev1",
    "1.0a1=1.0.alpha-1",
    "1.0a1.post0.dev1",
    "1.0a1.post0",
    "1.0a2.dev456",
    "1.0a12.dev456",
    "1.0a12",
    "1.0b1.dev456",
    "1.0b2",
    "1.0b2.post345.dev456",
    "1.0b2.post345",
    "1.0rc1.dev456",
    "1.0rc1=1.0c1=1.0pre1",
    "1.0=1=v1.0.0",
    "1.0+abc.5",
    "1.0+abc.7",
    "1.0+abc.7.1",
    "1.0+abc.10",
    "1.0+abcd",
    "1.0+5=1.0+05",
    "1.0+5.a",
    "1.0+5.0",
    "1.0.post456.dev34",
    "1.0.post456=1.0-456=1.0.rev456",
    "1.0.post456+x",
    "1.0.15",
    "1.1.dev1",
    "1.9999999999999999999",
    "1.18446744073709551615",
    "1.18446744073709551616",
    "2012.4",
    DIGITS30,
    DIGITS30 "1",
    "1!0.dev1",
    "1!1.0",
    "2!0",
};

static void test_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(order); ++i) {
        char row[256], *rest = row, *first, *text;
        snprintf(row, sizeof(row), "%s", order[i]);
        first = strsep(&rest, "=");
        kni_version *a = parse(first);
        print_message("  %s\n", first);
        assert_non_null(a);
        while ((text = strsep(&rest, "=")) != NULL) {
            kni_version *same = parse(text);
            assert_int_equal(kni_version_compare(a, same), 0);
            assert_int_equal(kni_version_compare(same, a), 0);
            kni_version_free(same);
        }
        for (size_t k = i + 1; k < KN_LEN(order); ++k) {
            snprintf(row, sizeof(row), "%s", order[k]);
            row[strcspn(row, "=")] = '\0';
            kni_version *b = parse(row);
            if (kni_version_compare(a, b) >= 0 || kni_version_compare(b, a) <= 0)
                fail_msg("%s is not before %s", first, row);
            kni_version_free(b);
        }
        kni_version_free(a);
    }
}

static void test_prerelease(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_prerelease;
    } rows[] = {
        {"1.0", false},    {"1.0.post1", false},     {"1.0+dev", false},
        {"1.0a1", true},   {"1.0rc1", true},         {"1.0.dev1", true},
        {"1!1.0b1", true}, {"1.0.post1.dev1", true}, {"1.0a1.post1", true},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_version *version = parse(rows[i].text);
        print_message("  %s\n", rows[i].text);
        assert_int_equal(kni_version_is_prerelease(version), rows[i].is_prerelease);
        kni_version_free(version);
    }
}

static kn_status run_once(void *user, kn_error *err)
{
    kni_version *version;
    const kn_status st = kni_version_parse(user, &version, err);
    kni_version_free(version);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char text[] = "1!1.0rc1.post2.dev3+local.1";
    assert_int_equal(fail_alloc_each(FAIL_OURS, run_once, text), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_prerelease),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
