#include "hub/repo.h"
#include "support/cmocka.h"

#define A96                                                                                        \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaa"
#define HEX40 "0123456789abcdef0123456789abcdef01234567"
#define HEX64 HEX40 "89abcdef0123456789abcdef"

static const struct {
    const char *id, *error; // error NULL: accepted
} ids[] = {
    {"kernels-community/relu", NULL},
    {"a/b", NULL},
    {"_a/b_", NULL},
    {"A.b-c_d/9.x", NULL},
    {A96 "/" A96, NULL},
    {"a/tmp", NULL},
    {NULL, "accepted is \"owner/name\""},
    {"", "accepted is \"owner/name\""},
    {"relu", "accepted is \"owner/name\""},
    {"a/b/c", "with one '/'"},
    {"a/b/", "with one '/'"},
    {"/b", "may not be empty"},
    {"a/", "may not be empty"},
    {"a" A96 "/b", "at most 96 bytes"},
    {"a/b" A96, "at most 96 bytes"},
    {"a/b c", "accepted are the characters"},
    {"a/b\n", "accepted are the characters"},
    {"a/b%2F", "accepted are the characters"},
    {"a/b\\c", "accepted are the characters"},
    {"a/\xC3\xA9", "accepted are the characters"}, // Python's \w takes it
    {"a/.b", "begin and end with"},
    {"-a/b", "begin and end with"},
    {"a/b-", "begin and end with"},
    {"./b", "begin and end with"},
    {"../b", "are not accepted"},
    {"a/..", "are not accepted"},
    {"a/b--c", "are not accepted"},
    {"a/b..c", "are not accepted"},
    {"a/b.git", "may not end in \".git\""},
    {"a.git/b", "may not end in \".git\""},
    {"https://huggingface.co/a/b", "accepted are the characters"},
};

static void test_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(ids); ++i) {
        kni_repo repo;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", ids[i].id ? ids[i].id : "NULL");
        const kn_status st = kni_repo_init(&repo, KNI_REPO_KERNEL, ids[i].id, &err);
        assert_int_equal(st, ids[i].error ? KN_ERR_INVALID : KN_OK);
        if (!ids[i].error) {
            assert_string_equal(repo.id, ids[i].id);
        } else {
            assert_string_equal(repo.id, "");
            if (!strstr(kn_error_text(&err), ids[i].error))
                fail_msg("said: %s", kn_error_text(&err));
        }
        kn_error_dispose(&err);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        kni_repo_type type;
        const char *id, *text, *owner, *folder, *api, *resolve;
    } rows[] = {
        {KNI_REPO_KERNEL, "org/relu", "kernel", "org", "kernels--org--relu",
         "/api/kernels/org/relu", "/kernels/org/relu/resolve/refs%2Fpr%2F1/sub%20dir/a%23b.py"},
        {KNI_REPO_MODEL, "o-x/n.1", "model", "o-x", "models--o-x--n.1", "/api/models/o-x/n.1",
         "/o-x/n.1/resolve/refs%2Fpr%2F1/sub%20dir/a%23b.py"},
        {KNI_REPO_KERNEL, A96 "/" A96, "kernel", A96, "kernels--" A96 "--" A96,
         "/api/kernels/" A96 "/" A96,
         "/kernels/" A96 "/" A96 "/resolve/refs%2Fpr%2F1/sub%20dir/a%23b.py"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_repo repo;
        char owner[KNI_REPO_ID_MAX], folder[KNI_REPO_ID_MAX + 16];
        kni_buf api = KNI_BUF_ANY, resolve = KNI_BUF_ANY;
        print_message("  %s\n", rows[i].id);
        assert_int_equal(kni_repo_init(&repo, rows[i].type, rows[i].id, NULL), KN_OK);
        assert_string_equal(kni_repo_type_text(repo.type), rows[i].text);
        kni_repo_owner(&repo, owner);
        assert_string_equal(owner, rows[i].owner);
        kni_repo_folder(&repo, folder);
        assert_string_equal(folder, rows[i].folder);
        kni_repo_append_api(&api, &repo);
        assert_string_equal(kni_buf_text(&api), rows[i].api);
        kni_repo_append_resolve(&resolve, &repo, "refs/pr/1", "sub dir/a#b.py");
        assert_string_equal(kni_buf_text(&resolve), rows[i].resolve);
        kni_buf_dispose(&api);
        kni_buf_dispose(&resolve);
    }
}

static void test_hex(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool commit, abbreviated, object;
    } rows[] = {
        {HEX40, true, false, true},
        {HEX64, false, false, true},
        {"abcdef", false, false, false},
        {"abcdef0", false, true, false},
        {"0123456789abcdef0123456789abcdef0123456", false, true, false}, // 39
        {"0123456789ABCDEF0123456789abcdef01234567", false, false, false},
        {"0123456789abcdef0123456789abcdef0123456\n", false, false, false},
        {HEX40 "8", false, false, false},
        {HEX64 "0", false, false, false},
        {"../../../../evil", false, false, false},
        {"", false, false, false},
        {NULL, false, false, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].text ? rows[i].text : "NULL");
        assert_int_equal(kni_is_commit(rows[i].text), rows[i].commit);
        assert_int_equal(kni_is_short_commit(rows[i].text), rows[i].abbreviated);
        assert_int_equal(kni_is_object_id(rows[i].text), rows[i].object);
    }
}

static const struct {
    const char *ref, *error; // error NULL: accepted
} refs[] = {
    {"main", NULL},
    {"v0.0.5", NULL},
    {"refs/pr/1", NULL},
    {"refs/heads/v1", NULL},
    {"a@b", NULL},
    {"a{b}", NULL},
    {"h\xC3\xA9", NULL},
    {"tmp", NULL},
    {"a.lockx", NULL},
    {"feature/x-y_z+1", NULL},
    {A96 "/" A96 "/" HEX40 "/01234567890123456789", NULL}, // 255
    {NULL, "it is empty"},
    {"", "it is empty"},
    {A96 "/" A96 "/" HEX40 "/012345678901234567890", "more than 255"},
    {"../../../rev", "\"..\""},
    {"a..b", "\"..\""},
    {"a@{1}", "\"@{\""},
    {"@", "\"@\" alone"},
    {"/a", "no component may be empty"},
    {"a/", "no component may be empty"},
    {"a//b", "no component may be empty"},
    {".a", "begin with '.'"},
    {"a/.b", "begin with '.'"},
    {"a.", "may not end with '.'"},
    {"-f", "may not begin with '-'"},
    {"a.lock", "\".lock\""},
    {"a.lock/b", "\".lock\""},
    {"main.0123abcd.tmp", "\".tmp\""},
    {"x.kn-0123abcd.incomplete", "\".incomplete\""},
    {"a b", "spaces"},
    {"a~1", "spaces"},
    {"a^", "spaces"},
    {"a:b", "spaces"},
    {"a?", "spaces"},
    {"a*", "spaces"},
    {"a[b", "spaces"},
    {"a\\b", "spaces"},
    {"a\nb", "control characters"},
    {"a\x7F", "control characters"},
    {"a\xFF", "not UTF-8"},
};

static void test_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(refs); ++i) {
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", refs[i].ref ? refs[i].ref : "NULL");
        assert_int_equal(kni_ref_check(refs[i].ref, "org/relu", &err),
                         refs[i].error ? KN_ERR_INVALID : KN_OK);
        if (refs[i].error && (strncmp(kn_error_text(&err), "org/relu: revision", 18) != 0 ||
                              !strstr(kn_error_text(&err), refs[i].error)))
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
}

static void test_version_branch(void **state)
{
    (void)state;
    static const struct {
        const char *ref;
        int64_t number;
    } rows[] = {
        {"v0", 0},   {"v1", 1},    {"v12", 12},     {"v9223372036854775807", INT64_MAX},
        {"v", -1},   {"v01", -1},  {"v00", -1},     {"v9223372036854775808", -1},
        {"V1", -1},  {"v1.0", -1}, {"v-1", -1},     {"1", -1},
        {"v1 ", -1}, {"", -1},     {"version", -1}, {NULL, -1},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].ref ? rows[i].ref : "NULL");
        assert_true(kni_version_branch(rows[i].ref) == rows[i].number);
    }
}

static void test_encoding(void **state)
{
    (void)state;
    kni_buf out = KNI_BUF_ANY;
    kni_url_append_segment(&out, "AZaz09-._~/\xC3\xA9%+&=\x01");
    assert_string_equal(kni_buf_text(&out), "AZaz09-._~%2F%C3%A9%25%2B%26%3D%01");
    out.size = 0;
    kni_url_append_path(&out, "build/torch cpu/?x");
    assert_string_equal(kni_buf_text(&out), "build/torch%20cpu/%3Fx");
    kni_buf_dispose(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_hex),      cmocka_unit_test(test_ref),
        cmocka_unit_test(test_encoding), cmocka_unit_test(test_version_branch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
