#include "base/alloc.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "0123456789abcdef0123456789abcdef01234567"
#define URL "https://huggingface.co/api/kernels/o/k/refs"
#define REF(name, commit)                                                                          \
    "{\"name\":\"" name "\",\"ref\":\"refs/x/" name "\",\"targetCommit\":\"" commit "\"}"

static const char whole[] = "{\"tags\":[" REF("v0.0.10", A) "," REF(
    "v0.0.5", B) "],"
                 "\"branches\":[" REF("main", A) "," REF(
                     "feature/x", B) "],"
                                     "\"converts\":[],\"pullRequests\":[{\"name\":\"refs/pr/1\"}]}";

static void test_whole(void **state)
{
    (void)state;
    kni_refs refs;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_refs_parse(whole, sizeof(whole) - 1, URL, &refs, &err), KN_OK);
    assert_int_equal(refs.branches.count, 2);
    assert_string_equal(refs.branches.refs[0].name, "feature/x");
    assert_string_equal(refs.branches.refs[0].commit, B);
    assert_int_equal(refs.tags.count, 2);
    assert_string_equal(refs.tags.refs[0].name, "v0.0.10");
    assert_string_equal(kni_ref_list_find(&refs.tags, "v0.0.5")->commit, B);
    assert_null(kni_ref_list_find(&refs.tags, "v0.0"));
    assert_null(kni_ref_list_find(&refs.tags, "main"));
    kni_refs_dispose(&refs);
    assert_int_equal(refs.tags.count, 0);
}

static const struct {
    const char *name, *text;
    size_t n_branches, n_tags;
} good[] = {
    {"no converts", "{\"branches\":[" REF("main", A) "],\"tags\":[]}", 1, 0},
    {"nothing", "{\"branches\":[],\"tags\":[],\"converts\":[]}", 0, 0},
    {"what else there is does not matter",
     "{\"branches\":[{\"name\":\"main\",\"targetCommit\":\"" A
     "\",\"x\":{\"y\":[1,2.5,null]}}],\"tags\":[],\"z\":7}",
     1, 0},
    {"the same name as branch and tag",
     "{\"branches\":[" REF("v1", A) "],\"tags\":[" REF("v1", B) "]}", 1, 1},
    {"names that nobody can ask for are left out",
     "{\"branches\":[" REF("../../x", A) "," REF("", A) "," REF("-x", A) "," REF("a b", A) "," REF(
         "/etc/passwd",
         A) "," REF("x.lock",
                    A) "," REF("a\\u0007b",
                               A) "," REF("a\\\\b",
                                          A) "," REF("main",
                                                     A) "],\"tags\":[" REF("a..b",
                                                                           "../../evil") "]}",
     1, 0},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(good); ++i) {
        kni_refs refs;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", good[i].name);
        if (kni_refs_parse(good[i].text, strlen(good[i].text), URL, &refs, &err) != KN_OK)
            fail_msg("said: %s", kn_error_text(&err));
        assert_int_equal(refs.branches.count, good[i].n_branches);
        assert_int_equal(refs.tags.count, good[i].n_tags);
        kni_refs_dispose(&refs);
    }
}

#define TAG(text) "{\"branches\":[],\"tags\":[" text "]}"

static const struct {
    const char *name, *text;
    kn_status status;
    const char *error; // after the URL
} bad[] = {
    {"no JSON", "<html>", KN_ERR_FORMAT, ":1: "},
    {"an array", "[]", KN_ERR_FORMAT, ": expected an object, found an array"},
    {"no branches", "{\"tags\":[]}", KN_ERR_FORMAT, ": branches: is missing, expected an array"},
    {"no tags", "{\"branches\":[]}", KN_ERR_FORMAT, ": tags: is missing, expected an array"},
    {"null tags", "{\"branches\":[],\"tags\":null}", KN_ERR_FORMAT,
     ": tags: expected an array, found null"},
    {"branches is an object", "{\"branches\":{},\"tags\":[]}", KN_ERR_FORMAT,
     ": branches: expected an array, found an object"},
    {"a tag is a string", TAG("\"v1\""), KN_ERR_FORMAT,
     ": tags[0]: expected an object, found a string"},
    {"no name", TAG("{\"targetCommit\":\"" A "\"}"), KN_ERR_FORMAT,
     ": tags[0].name: is missing, expected a string"},
    {"the name is a number", TAG("{\"name\":1,\"targetCommit\":\"" A "\"}"), KN_ERR_FORMAT,
     ": tags[0].name: expected a string, found an integer"},
    {"no commit", TAG(REF("v0", A) ",{\"name\":\"v1\"}"), KN_ERR_FORMAT,
     ": tags[1].targetCommit: is missing, expected a string"},
    {"the commit is null", TAG("{\"name\":\"v1\",\"targetCommit\":null}"), KN_ERR_FORMAT,
     ": tags[0].targetCommit: expected a string, found null"},
    {"the commit is a path", TAG(REF("v1", "../../../../evil")), KN_ERR_UNTRUSTED,
     ": tags[0].targetCommit: expected 40 lower-case hexadecimal digits for 'v1', found "
     "'../../../../evil'"},
    {"the commit is short", TAG(REF("v1", "abcdef0")), KN_ERR_UNTRUSTED, ": tags[0].targetCommit"},
    {"the commit is long", TAG(REF("v1", A "a")), KN_ERR_UNTRUSTED, ": tags[0].targetCommit"},
    {"the commit is in capitals", TAG(REF("v1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
     KN_ERR_UNTRUSTED, ": tags[0].targetCommit"},
    {"the commit ends with a newline", TAG(REF("v1", A "\\n")), KN_ERR_UNTRUSTED,
     ": tags[0].targetCommit"},
    {"a name twice", TAG(REF("v1", A) "," REF("v0", A) "," REF("v1", B)), KN_ERR_FORMAT,
     ": tags: expected each name once, found 'v1' twice"},
    {"a key twice", "{\"branches\":[],\"tags\":[],\"tags\":[]}", KN_ERR_FORMAT,
     ":1: duplicate object key"},
    {"a NUL in a name", TAG(REF("v1\\u0000x", A)), KN_ERR_FORMAT, ":1: \\u0000 is not allowed"},
    {"not UTF-8", TAG(REF("v\xFF", A)), KN_ERR_FORMAT, ":1: unable to decode byte 0xff"},
    {"cut", "{\"branches\":[" REF("main", A), KN_ERR_FORMAT, ":1: ends too early"},
    {"deep",
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     KN_ERR_FORMAT, ":1: nests deeper than 32 levels"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(bad); ++i) {
        kni_refs refs;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", bad[i].name);
        assert_int_equal(kni_refs_parse(bad[i].text, strlen(bad[i].text), URL, &refs, &err),
                         bad[i].status);
        const char *text = kn_error_text(&err);
        if (strncmp(text, URL, strlen(URL)) != 0 ||
            strncmp(text + strlen(URL), bad[i].error, strlen(bad[i].error)) != 0)
            fail_msg("said: %s", text);
        assert_null(refs.branches.refs);
        assert_null(refs.tags.refs);
        kn_error_dispose(&err);
    }
}

static void test_own_list(void **state)
{
    (void)state;
    kni_ref_list list = {NULL, 0, 0};
    assert_null(kni_ref_list_find(&list, "main"));
    kni_ref_list_sort(&list);
    assert_int_equal(kni_ref_list_add(&list, "v1", A, NULL), KN_OK);
    assert_int_equal(kni_ref_list_add(&list, "refs/pr/1", B, NULL), KN_OK);
    assert_int_equal(kni_ref_list_add(&list, "main", A, NULL), KN_OK);
    kni_ref_list_sort(&list);
    assert_string_equal(list.refs[0].name, "main");
    assert_string_equal(kni_ref_list_find(&list, "refs/pr/1")->commit, B);
    kni_ref_list_dispose(&list);
}

static kn_status parse_whole(void *user, kn_error *err)
{
    (void)user;
    kni_refs refs;
    const kn_status st = kni_refs_parse(whole, sizeof(whole) - 1, URL, &refs, err);
    kni_refs_dispose(&refs);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, parse_whole, NULL) > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),    cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_own_list), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
