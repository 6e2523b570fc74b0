// The cases of PEP 440's own text; versions_differential.py has the others.
#include "base/str.h"
#include "hub/version.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define N_MAX 12

typedef struct offer {
    kni_version *versions[N_MAX];
    size_t count;
} offer;

static void offer_read(offer *out, const char *list) // with blanks between
{
    kni_span rest = kni_span_of(list), part;
    out->count = 0;
    while (kni_span_cut(&rest, ' ', &part)) {
        char text[128];
        snprintf(text, sizeof(text), "%.*s", (int)part.size, part.data);
        assert_true(out->count < N_MAX);
        assert_int_equal(kni_version_parse(text, &out->versions[out->count++], NULL), KN_OK);
    }
}

static void offer_dispose(offer *all)
{
    for (size_t i = 0; i < all->count; ++i)
        kni_version_free(all->versions[i]);
}

static kni_specifier *parse(const char *text)
{
    kni_specifier *specifier = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kni_specifier_parse(text, &specifier, &err) != KN_OK)
        fail_msg("said: %s", kn_error_text(&err));
    return specifier;
}

static const struct {
    const char *specifier, *admitted, *refused;
} clauses[] = {
    {"", "0 1.0 1.0a1 2!1+x", NULL},
    {" , ,", "1.0", NULL},
    // Compatible release: the same as ">=2.2,==2.*" and so on.
    {"~=2.2", "2.2 2.2.0 2.2.post3 2.3 2.99.1 2.3a1 2.2+x", "2.1 2.2a1 3.0 3.0.dev0 1!2.2 12.2"},
    {"~=1.4.5", "1.4.5 1.4.5.0 1.4.6 1.4.99", "1.4.4 1.5 1.5a1"},
    {"~=2.2.post3", "2.2.post3 2.3", "2.2 2.2.post2 3.0"},
    {"~=1.4.5a4", "1.4.5a4 1.4.5 1.4.9", "1.4.5a3 1.5"},
    {"~=2.2.0", "2.2.0 2.2 2.2.9", "2.3"},
    {"~=1.4.5.0", "1.4.5 1.4.5.9", "1.4.6"},
    {"~=1!2.2", "1!2.2 1!2.9", "2.2 1!3.0 2!2.2"},
    // Version matching.
    {"==1.1", "1.1 1.1.0 v1.1 1.1+x", "1.1.post1 1.1.dev1 1.1a1 1.1.1 1!1.1"},
    {"==1.1.post1", "1.1.post1 1.1-1 1.1.post1+x", "1.1 1.1.post2"},
    {"==1.1.*", "1.1 1.1.post1 1.1a1 1.1.dev0 1.1.9 1.1+x", "1.2 1.10 1.2.dev0 1.0.9 1!1.1"},
    {"==1.*", "1 1.0.dev1 1.9", "10 2.dev0 0.9"},
    {"== v1.1", "1.1", "1.2"},
    {"==1.1+x", "1.1+x 1.1+X 1.1.0+x", "1.1 1.1+y 1.1+x.1"},
    // Version exclusion.
    {"!=1.1", "1.1.post1 1.1.dev1 1.2", "1.1 1.1.0 1.1+x"},
    {"!=1.1.post1", "1.1 1.1.post2", "1.1.post1"},
    {"!=1.1.*", "1.2 1.0", "1.1 1.1.post1 1.1a1"},
    {"!=1.1+x", "1.1 1.1+y", "1.1+x"},
    // Inclusive ordered comparison.
    {">=1.1", "1.1 1.1+x 1.1.post1 1.2.dev1 1!0", "1.1a1 1.1.dev9 1.0.9"},
    {"<=1.1", "1.1 1.1.0 1.1+x 1.1a1 1.0", "1.1.post1 1.1.0.1 1.2.dev0 1!0"},
    // Exclusive ordered comparison.
    {">1.7", "1.7.1 1.8.dev0 1.7.0.1", "1.7.0.post1 1.7 1.7+x 1.7.post1.dev2"},
    {">1.7.post2", "1.7.1 1.7.0.post3 1.7.post3.dev0", "1.7.0 1.7.post2 1.7.post2+x"},
    {">1.7a1", "1.7a2.dev1 1.7b1 1.7 1.7.post1", "1.7a1 1.7a1.post1 1.7a1.dev1"},
    {">1.7.dev1", "1.7.dev2 1.7a1.dev0 1.7", "1.7.dev1 1.7.dev1+x"},
    {"<1.7", "1.6 1.6.post9 1.6.99rc1", "1.7 1.7.0 1.7rc1 1.7a1 1.7.0.dev0 1.7+x"},
    {"<1.7.post1", "1.7 1.7rc1 1.7+x", "1.7.post1 1.7.post1.dev1"},
    {"<1.7rc1", "1.7b9 1.7a1 1.7rc1.dev0 1.7.dev0", "1.7rc1 1.7"},
    // Arbitrary equality: letter for letter, but for the case.
    {"===1.0", "1.0 v1.0", "1 1.0.0 1.0+x"},
    {"===1.0RC1", "1.0rc1", "1.0"},
    {"===foobar", NULL, "1.0"},
    {"===", NULL, "0"},
    // Several.
    {"~= 0.9, >= 1.0, != 1.3.4.*, < 2.0", NULL,
     "0.9 1.0 1.3.4 2.0"}, // the text's own; nothing fits
    {"~= 1.0, != 1.3.4.*, < 2.0", "1.0 1.3.3 1.3.5 1.9", "0.9 1.3.4 1.3.4.1 2.0"},
    {">=0.0.4,<0.1", "0.0.4 0.0.5 0.0.4+x", "0.0.3 0.1 0.1.dev1 0.1rc1 0.0.4a1"},
    {"\xC2\xA0>=\t1.0\n,,\xE3\x80\x80<2", "1.0 1.9", "0.9 2"},
};

static void check(const kni_specifier *specifier, const char *list, bool admitted)
{
    offer all;
    if (!list)
        return;
    offer_read(&all, list);
    for (size_t i = 0; i < all.count; ++i) {
        assert_non_null(all.versions[i]);
        if (kni_specifier_admits(specifier, all.versions[i]) != admitted)
            fail_msg("%s: %s", kni_version_text(all.versions[i]),
                     admitted ? "refused" : "admitted");
    }
    offer_dispose(&all);
}

static void test_admits(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(clauses); ++i) {
        print_message("  %s\n", clauses[i].specifier);
        kni_specifier *specifier = parse(clauses[i].specifier);
        check(specifier, clauses[i].admitted, true);
        check(specifier, clauses[i].refused, false);
        kni_specifier_free(specifier);
    }
}

static const struct {
    const char *specifier, *offered, *chosen; // chosen NULL: none
    bool asks;
} choices[] = {
    {"", "1.0 2.0 1.5", "2.0", false},
    {"", "1.0 2.0a1", "1.0", false},
    {"", "1.0a1 2.0.dev1 main", "2.0.dev1", false}, // nothing else is there
    {">=1.0", "1.0 2.0rc1", "1.0", false},
    {">=1.0", "0.9 2.0rc1 1.1a1", "2.0rc1", false},
    {">=1.0", "0.9", NULL, false},
    {">=1.0", "main latest", NULL, false},
    {">=1.0a1", "1.0 2.0rc1", "2.0rc1", true},
    {">=1.0,<3.dev0", "1.0 2.0rc1", "2.0rc1", true},
    {"==1.0.dev1", "1.0.dev1 1.0", "1.0.dev1", true},
    {"===1.0a1", "1.0a1", "1.0a1", true},
    {"===a1", "1.0a1", NULL, false},
    {"!=1.0a1", "1.0a2 0.9", "0.9", false}, // what is excluded asks for nothing
    {"==1.*", "1.0a1 1.0 1.1a1", "1.0", false},
    {">1.0.post1", "1.0.post2 1.0.post2.dev1", "1.0.post2", false},
    {"~=1.0", "1.0 1.0+a 1.0+b", "1.0+b", false},
    {"", "main 1.0 1 1.0.0", "1.0", false}, // of equal ones the first
    {"", "0.9 9 10 1.10 1.9", "10", false},
};

static void test_choose(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(choices); ++i) {
        offer all;
        print_message("  '%s' of %s\n", choices[i].specifier, choices[i].offered);
        kni_specifier *specifier = parse(choices[i].specifier);
        offer_read(&all, choices[i].offered);
        assert_int_equal(kni_specifier_asks_prereleases(specifier), choices[i].asks);
        const size_t chosen =
            kni_specifier_choose(specifier, (const kni_version *const *)all.versions, all.count);
        if (choices[i].chosen)
            assert_true(chosen < all.count);
        else
            assert_int_equal(chosen, all.count);
        if (chosen < all.count)
            assert_string_equal(kni_version_text(all.versions[chosen]), choices[i].chosen);
        offer_dispose(&all);
        kni_specifier_free(specifier);
    }
}

static const struct {
    const char *specifier, *clause, *error;
} refused[] = {
    {"1.0", "\"1.0\"", "before each version"},
    {">=1.0,0.9", "\"0.9\"", "before each version"},
    {"=1.0", "\"=1.0\"", "before each version"},
    {"lolwat", "\"lolwat\"", "before each version"},
    {">=1.0,<", "\"<\"", "a version after the operator"},
    {">=", "\">=\"", "a version after the operator"},
    {">= 1.0 <2", "\">= 1.0 <2\"", "a version after the operator"},
    {"=>1.0", "\"=>1.0\"", "before each version"},
    {"==main", "\"==main\"", "a version after the operator"},
    {"==1.0*", "\"==1.0*\"", "a version after the operator"},
    {"==1..*", "\"==1..*\"", "a version after the operator"},
    {"==.*", "\"==.*\"", "a version after the operator"},
    {"==1.0 .*", "\"==1.0 .*\"", "a blank within"},
    {">=1.0.*", "\">=1.0.*\"", "with == and != alone"},
    {"~=1.0.*", "\"~=1.0.*\"", "with == and != alone"},
    {"==1.0a1.*", "\"==1.0a1.*\"", "after numbers alone"},
    {"==1.0a.*", "\"==1.0a.*\"", "after numbers alone"},
    {"!=1.0.post1.*", "\"!=1.0.post1.*\"", "after numbers alone"},
    {"==1.0.dev1.*", "\"==1.0.dev1.*\"", "after numbers alone"},
    {"==1.0+x.*", "\"==1.0+x.*\"", "accepted"},
    {">=1.0+x", "\">=1.0+x\"", "local version"},
    {"<1.0+x", "\"<1.0+x\"", "local version"},
    {"~=1", "\"~=1\"", "two numbers"},
    {"~=1!1", "\"~=1!1\"", "two numbers"},
    {"~=1.0+x", "\"~=1.0+x\"", "local version"},
    {"===a b", "\"===a b\"", "blanks"},
    {"===a;b", "\"===a;b\"", "blanks"},
    {"== v1.1 .0", "\"== v1.1 .0\"", "a version after the operator"},
    {">=1.0;<2", "\">=1.0;<2\"", "a version after the operator"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        kni_specifier *specifier = (kni_specifier *)&specifier;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", refused[i].specifier);
        assert_int_equal(kni_specifier_parse(refused[i].specifier, &specifier, &err),
                         KN_ERR_INVALID);
        assert_null(specifier);
        if (!strstr(kn_error_text(&err), refused[i].clause) ||
            !strstr(kn_error_text(&err), refused[i].error))
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
}

static kn_status run_once(void *user, kn_error *err)
{
    kni_specifier *specifier;
    const kn_status st = kni_specifier_parse(user, &specifier, err);
    kni_specifier_free(specifier);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char text[] = ">=1.0,<2,===1.0,!=1.1.*,!=1.2.*,!=1.3.*,!=1.4.*,!=1.5.*,!=1.6.*";
    assert_true(fail_alloc_each(FAIL_OURS, run_once, text) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admits),
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
