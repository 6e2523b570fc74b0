#include "base/alloc.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define N "https://h/api/x?cursor=2"

static const struct {
    const char *name, *header, *next; // next NULL: there is none
} rows[] = {
    {"as the hub sends it", "<" N ">; rel=\"next\"", N},
    {"no quotes", "<" N ">;rel=next", N},
    {"relative", "</api/x?cursor=2>; rel=\"next\"", "/api/x?cursor=2"},
    {"blanks and tabs", "  <" N "> \t; \t rel \t = \t \"next\"  ", N},
    {"in capitals", "<" N ">; REL=\"NEXT\"", N},
    {"several relations", "<" N ">; rel=\"last next\"", N},
    {"other parameters", "<" N ">; title=\"x\"; a; b=c; rel=\"next\"; d=\"e\"", N},
    {"an empty parameter", "<" N ">;; rel=\"next\";", N},
    {"the second element", "<https://h/1>; rel=\"first\", <" N ">; rel=\"next\"", N},
    {"the first of two", "<" N ">; rel=\"next\", <https://h/3>; rel=\"next\"", N},
    {"empty elements", ", ,<" N ">; rel=\"next\",,", N},
    {"a comma within <>", "<https://h/1,2>; rel=\"prev\", <https://h/3,4>; rel=\"next\"",
     "https://h/3,4"},
    {"a semicolon within <>", "<https://h/a;rel=x>; rel=next", "https://h/a;rel=x"},
    {"a comma within quotes", "<https://h/1>; title=\"a, <b>; rel=next\", <" N ">; rel=\"next\"",
     N},
    {"a quote within quotes", "<https://h/1>; title=\"\\\", <x>; rel=next\", <" N ">; rel=next", N},
    {"an element for xet first", "<https://h/t>; rel=\"xet-auth\", <" N ">; rel=\"next\"", N},

    {"no header", NULL, NULL},
    {"empty", "", NULL},
    {"commas", ",,, ,", NULL},
    {"no rel", "<" N ">", NULL},
    {"another rel", "<" N ">; rel=\"prev\"", NULL},
    {"a longer word", "<" N ">; rel=\"nextpage\"", NULL},
    {"only the first rel counts", "<" N ">; rel=\"prev\"; rel=\"next\"", NULL},
    {"next as a title", "<" N ">; title=\"next\"", NULL},
    {"rel in a title", "<" N ">; title=\"; rel=next\"", NULL},
    {"rev is not rel", "<" N ">; rev=\"next\"", NULL},
    {"an empty URL", "<>; rel=\"next\"", NULL},
    {"no <", N "; rel=\"next\"", NULL},
    {"no >", "<" N "; rel=\"next\"", NULL},
    {"an open quote", "<" N ">; rel=\"next", NULL},
    {"an open quote with an escape", "<" N ">; rel=\"next\\", NULL},
    {"a blank in the URL", "<https://h/a b>; rel=\"next\"", NULL},
    {"a control character in the URL", "<https://h/a\x01>; rel=\"next\"", NULL},
    {"bytes beyond ASCII in the URL", "<https://h/\xC3\xA4>; rel=\"next\"", NULL},
    {"a quote in the URL", "<https://h/a\"b>; rel=\"next\"", NULL},
    {"a < in the URL", "<https://h/<" N ">; rel=\"next\"", NULL},
    {"words behind the URL", "<" N "> rel=\"next\"", NULL},
    {"words behind the value", "<" N ">; rel=\"next\" x", NULL},
    {"malformed, then good", "<a b>; rel=\"next\", x, <, \"y\", <" N ">; rel=\"next\"", N},
    {"words, then good", "x; rel=next, \"a,b\", <" N ">; rel=\"next\"", N},
    {"malformed, with a quoted element", "x \"a, <https://h/1>; rel=next, b\", <" N ">; rel=next",
     N},
    {"an open quote hides what follows", "<https://h/1>; a=\"b, <" N ">; rel=\"next\"", NULL},
};

static void test_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *next = (char *)(uintptr_t)N;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(kni_link_next(rows[i].header, &next, &err), KN_OK);
        if (rows[i].next && next)
            assert_string_equal(next, rows[i].next);
        else
            assert_true(!next && !rows[i].next);
        kni_free(next);
    }
}

static kn_status find_next(void *user, kn_error *err)
{
    (void)user;
    char *next;
    const kn_status st = kni_link_next(rows[0].header, &next, err);
    kni_free(next);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(fail_alloc_each(FAIL_ALL, find_next, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_next), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
