#include "base/buf.h"
#include "base/toml.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

static kn_status parse(const char *text, kni_toml **out, kn_error *err)
{
    return kni_toml_parse(text, strlen(text), "f.toml", out, err);
}

static void render(const kni_toml *node, int depth, kni_buf *out)
{
    kni_buf_printf(out, "%*s%u %s %s", 2 * depth, "", node->line, node->key ? node->key : "-",
                   kni_toml_type_text(node->type));
    if (node->type == KNI_TOML_STRING)
        kni_buf_printf(out, " %s", node->string);
    if (node->type == KNI_TOML_INTEGER || node->type == KNI_TOML_BOOLEAN)
        kni_buf_printf(out, " %lld", (long long)node->integer);
    if (node->type == KNI_TOML_FLOAT)
        kni_buf_printf(out, " %g", node->number);
    kni_buf_puts(out, "\n");
    for (size_t i = 0; i < node->n_children; ++i)
        render(&node->children[i], depth + 1, out);
}

static const char document[] = "zeta = 1\n"
                               "[[kernel]]\n"
                               "layer = \"SiluAndMul\"\n"
                               "capability = [75, 89]\n"
                               "[[kernel]]\n"
                               "trust = true # a comment with \" in it\n"
                               "share = 0.5\n"
                               "when = 2024-01-01\n"
                               "text = '''a\n"
                               "'b''c'''\n"
                               "inline = { b = -1, a = [] }\n"
                               "[kernel.x.y]\n"
                               "\"quoted. key\" = 'its'\n";

static const char tree[] = "1 - a table\n"
                           "  1 zeta an integer 1\n"
                           "  2 kernel an array\n"
                           "    2 - a table\n"
                           "      3 layer a string SiluAndMul\n"
                           "      4 capability an array\n"
                           "        4 - an integer 75\n"
                           "        4 - an integer 89\n"
                           "    5 - a table\n"
                           "      6 trust a boolean 1\n"
                           "      7 share a float 0.5\n"
                           "      8 when a date or time\n"
                           "      9 text a string a\n'b''c\n"
                           "      11 inline a table\n"
                           "        11 b an integer -1\n"
                           "        11 a an array\n"
                           "      12 x a table\n"
                           "        12 y a table\n"
                           "          13 quoted. key a string its\n";

static void test_tree(void **state)
{
    (void)state;
    kni_toml *root = NULL;
    kn_error err = KN_ERROR_INIT;
    kni_buf text = KNI_BUF_ANY;
    if (parse(document, &root, &err) != KN_OK)
        fail_msg("said: %s", kn_error_text(&err));
    render(root, 0, &text);
    assert_string_equal(kni_buf_text(&text), tree);
    assert_ptr_equal(kni_toml_get(root, "zeta"), &root->children[0]);
    assert_null(kni_toml_get(root, "zet"));
    assert_null(kni_toml_get(&root->children[1], "layer")); // an array has no keys
    kni_buf_dispose(&text);
    kni_toml_free(root);
    kni_toml_free(NULL);
}

static void test_empty(void **state)
{
    (void)state;
    kni_toml *root = NULL;
    assert_int_equal(kni_toml_parse(NULL, 0, "f.toml", &root, NULL), KN_OK);
    assert_int_equal(root->n_children, 0);
    kni_toml_free(root);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error: how the message begins
    } rows[] = {
        {"no value", "a =", "f.toml:1: "},
        {"no equals sign", "\na", "f.toml:2: "},
        {"duplicate key", "a=1\na=2", "f.toml:2: Error while parsing key-value pair: cannot"},
        {"duplicate table", "[a]\n[a]", "f.toml:2: "},
        {"table over a value", "a=1\n[a.b]", "f.toml:2: "},
        {"open string", "a=\"b", "f.toml:1: "},
        {"open table", "[a", "f.toml:1: "},
        {"NUL escape in a string", "\na=\"\\u0000\"", "f.toml:2: a string holds a NUL"},
        {"NUL escape in a key", "\"\\u0000\"=1", "f.toml:1: a key holds a NUL"},
        {"control character", "a=\"\x01\"", "f.toml:1: "},
        {"not UTF-8", "a=\"\xC0\xAF\"", "f.toml:1: "},
        {"surrogate", "a=\"\\ud800\"", "f.toml:1: "},
        {"integer beyond 64 bits", "a=9223372036854775808", "f.toml:1: "},
        {"mixed up", "]\"'[=,.{", "f.toml:1: "},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_toml *root = (kni_toml *)&rows;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(parse(rows[i].text, &root, &err), KN_ERR_FORMAT);
        assert_null(root);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
    kni_toml *root = NULL;
    assert_int_equal(kni_toml_parse("a=1\0\n", 5, "f.toml", &root, NULL), KN_ERR_FORMAT);
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *name, *prefix, *repeated, *suffix;
        size_t times;
        bool accepted;
    } rows[] = {
        {"arrays", "a=", "[", "", 1000000, false},
        {"inline tables", "", "a={", "", 1000000, false},
        {"parts of a table's name", "[a", ".a", "]", 1000000, false},
        {"parts of a key", "a", ".a", "=1", 1000000, false},
        {"parts with blanks", "a", " .\t'a'", "=1", 1000000, false},
        {"parts in an inline table", "x={a", ".a", "=1}", 1000000, false},
        {"parts behind a string with a quote", "b=\"\\\"\"\na", ".a", "=1", 1000000, false},
        {"parts behind an open string", "b='\na", ".a", "=1", 1000000, false},
        {"parts behind a long string", "b='''x''''\na", ".a", "=1", 1000000, false},
        {"parts behind five quotes", "b=\"\"\"\\\"\"\"\"\"\"\na", ".a", "=1", 1000000, false},
        {"parts behind a comment", "#'\na", ".a", "=1", 1000000, false},
        {"keys that add up", "[a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a]\na", ".a", "=1", 20, false},
        {"32 parts", "a", ".a", "=1", 31, true},
        {"33 parts", "a", ".a", "=1", 32, false},
        {"many dots in a string", "a='", ".a", "'", 1000, true},
        {"many dots in a comment", "#", ".a", "", 1000, true},
        {"many dots in many floats", "a=[", "1.5,", "]", 1000, true},
        {"many dots over many lines", "", "[[a.b]]\n", "", 1000, true},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf text = KNI_BUF_ANY;
        kni_toml *root = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        kni_buf_puts(&text, rows[i].prefix);
        for (size_t k = 0; k < rows[i].times && text.size < 4000000; ++k)
            kni_buf_puts(&text, rows[i].repeated);
        kni_buf_puts(&text, rows[i].suffix);
        const kn_status st = kni_toml_parse(text.data, text.size, "f.toml", &root, &err);
        if (st != (rows[i].accepted ? KN_OK : KN_ERR_FORMAT))
            fail_msg("said: %s", kn_error_text(&err));
        kn_error_dispose(&err);
        kni_toml_free(root);
        kni_buf_dispose(&text);
    }
}

static void test_size(void **state)
{
    (void)state;
    const size_t max = (size_t)4 << 20;
    kni_toml *root = NULL;
    kn_error err = KN_ERROR_INIT;
    char *text = malloc(max + 1);
    assert_non_null(text);
    memset(text, '\n', max + 1);
    assert_int_equal(kni_toml_parse(text, max, "f.toml", &root, &err), KN_OK);
    kni_toml_free(root);
    assert_int_equal(kni_toml_parse(text, max + 1, "f.toml", &root, &err), KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err),
                        "f.toml: is larger than the 4194304 bytes that are accepted");
    kn_error_dispose(&err);
    free(text);
}

static kn_status parse_document(void *user, kn_error *err)
{
    kni_toml *root = NULL;
    const kn_status st = parse(user, &root, err);
    assert_int_equal(root != NULL, st == KN_OK);
    kni_toml_free(root);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char text[sizeof(document)];
    memcpy(text, document, sizeof(text));
    assert_true(fail_alloc_each(FAIL_OURS, parse_document, text) > 20);
    assert_true(fail_alloc_each(FAIL_ALL, parse_document, text) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),  cmocka_unit_test(test_empty), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_size),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
