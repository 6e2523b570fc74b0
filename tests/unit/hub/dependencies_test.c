#include "hub/lock.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#define TABLE "[project]\nname = \"p\"\n[tool.kernels.dependencies]\n"

static kn_status parse(const char *text, kni_dependencies *out, kn_error *err)
{
    return kni_dependencies_parse(text, strlen(text), "p.toml", out, err);
}

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        bool are_specifiers;
        kni_dependency items[3];
        size_t count;
    } rows[] = {
        {"specifiers, in their order",
         TABLE "\"o/b\" = \">=0.0.4,<0.1\"\n\"o/a\" = \"\"\n\"o/c\" = \"==1.*\"\n",
         true,
         {{(char *)"o/b", (char *)">=0.0.4,<0.1", -1},
          {(char *)"o/a", (char *)"", -1},
          {(char *)"o/c", (char *)"==1.*", -1}},
         3},
        {"integers",
         TABLE "\"o/b\" = 12\n'o/a' = 0\n",
         false,
         {{(char *)"o/b", NULL, 12}, {(char *)"o/a", NULL, 0}},
         2},
        {"on one line",
         "tool.kernels = {dependencies = {\"o/z\" = 1, \"o/a\" = 2}}",
         false,
         {{(char *)"o/z", NULL, 1}, {(char *)"o/a", NULL, 2}},
         2},
        {"none", TABLE, true, {{0}}, 0},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_dependencies out;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        if (parse(rows[i].text, &out, &err) != KN_OK)
            fail_msg("said: %s", kn_error_text(&err));
        assert_int_equal(out.are_specifiers, rows[i].are_specifiers);
        assert_int_equal(out.count, rows[i].count);
        for (size_t k = 0; k < out.count; ++k) {
            assert_string_equal(out.items[k].repo_id, rows[i].items[k].repo_id);
            assert_int_equal(out.items[k].version, rows[i].items[k].version);
            assert_int_equal(!out.items[k].specifier, !rows[i].items[k].specifier);
            if (out.items[k].specifier)
                assert_string_equal(out.items[k].specifier, rows[i].items[k].specifier);
        }
        kni_dependencies_dispose(&out);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error: the beginning of the message
    } rows[] = {
        {"no TOML", "[", "p.toml:1: "},
        {"no table", "[project]\nname = \"p\"\n",
         "p.toml: has no table [tool.kernels.dependencies]: expected one with a line for each"},
        {"nothing below kernels", "[tool.kernels]\n", "p.toml: has no table"},
        {"a list", "[tool.kernels]\ndependencies = [\"o/n\"]\n",
         "p.toml:2: dependencies: expected a table, found an array"},
        {"tool is a string", "tool = \"x\"\n", "p.toml:1: tool: expected a table, found a string"},
        {"both kinds", TABLE "\"o/a\" = \">1\"\n\"o/b\" = 1\n",
         "p.toml:5: \"o/b\" has an integer, the first kernel of the table a version specifier"},
        {"both kinds, the other way", TABLE "\"o/a\" = 1\n\"o/b\" = \">1\"\n",
         "p.toml:5: \"o/b\" has a version specifier, the first kernel of the table an integer"},
        {"a table", TABLE "\"o/a\" = {version = 1}\n",
         "p.toml:4: \"o/a\": expected a version specifier as a string, or an integer"},
        {"a boolean", TABLE "\"o/a\" = true\n", "p.toml:4: \"o/a\": expected a version specifier"},
        {"a float", TABLE "\"o/a\" = 1.5\n", "p.toml:4: \"o/a\": expected a version specifier"},
        {"a key with a dot", TABLE "o.a = 1\n", "p.toml:4: \"o\": "},
        {"no owner", TABLE "torch = \">=2\"\n", "p.toml:4: \"torch\": "},
        {"a hostile name", TABLE "\"o/\\u001b[2J\" = 1\n", "p.toml:4: \"o/\uFFFD[2J\": "},
        {"negative", TABLE "\"o/a\" = -1\n",
         "p.toml:4: \"o/a\": found -1: expected a version branch from 0"},
        {"digits as a string", TABLE "\"o/a\" = \"1\"\n",
         "p.toml:4: \"o/a\": found the string \"1\": expected a version specifier"},
        {"no specifier", TABLE "\"o/a\" = \"latest\"\n", "p.toml:4: \"o/a\": "},
        {"a tab", TABLE "\"o/a\" = \"\\t>=1\"\n",
         "p.toml:4: \"o/a\": found the string \"\uFFFD>=1\": expected a version specifier without"},
        {"twice", TABLE "\"o/a\" = 1\n\"o/a\" = 2\n", "p.toml:5: "},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_dependencies out;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(parse(rows[i].text, &out, &err), KN_ERR_FORMAT);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        assert_null(out.items);
        kn_error_dispose(&err);
    }
}

static void test_read(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    kni_dependencies out;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_dependencies_read(temp_dir_path(dir, "pyproject.toml"), &out, &err),
                     KN_ERR_NOT_FOUND);
    assert_non_null(strstr(kn_error_text(&err), "/pyproject.toml"));
    kn_error_dispose(&err);
    temp_dir_text(dir, "pyproject.toml", TABLE "\"o/a\" = 1\n");
    assert_int_equal(kni_dependencies_read(temp_dir_path(dir, "pyproject.toml"), &out, NULL),
                     KN_OK);
    assert_int_equal(out.count, 1);
    kni_dependencies_dispose(&out);
    temp_dir_remove(dir);
}

static kn_status all(void *user, kn_error *err)
{
    kni_dependencies out;
    const kn_status st = parse(user, &out, err);
    kni_dependencies_dispose(&out);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    static char specifiers[] = TABLE "\"o/a\" = \">1\"\n\"o/b\" = \">2\"\n";
    static char integers[] = TABLE "\"o/a\" = 1\n";
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_NEW, all, specifiers) > 5);
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_NEW, all, integers) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
