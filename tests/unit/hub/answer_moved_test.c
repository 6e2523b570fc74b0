#include "base/alloc.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define FILE_NAME "o/k@main: kernel-status.toml"
#define MOVED "kind = \"redirect\"\ndestination = \"new-owner/k2\"\n"
#define C "0123456789abcdef0123456789abcdef01234567"

static const struct {
    const char *name, *text, *revision; // revision NULL: refused
    const char *error;                  // in the message
} rows[] = {
    {"main when nothing is said", MOVED, "main", NULL},
    {"a tag", MOVED "revision = \"v0.0.5\"\n", "v0.0.5", NULL},
    {"a commit", MOVED "revision = \"" C "\"\n", C, NULL},
    {"a pull request", MOVED "revision = \"refs/pr/1\"\n", "refs/pr/1", NULL},
    {"what else there is does not matter", MOVED "since = 2026-01-01\n[x]\nkind = 7\n", "main",
     NULL},
    {"literal strings", "kind = 'redirect'\ndestination = 'new-owner/k2'", "main", NULL},

    {"empty", "", NULL, "must contain a 'kind' field"},
    {"no kind", "destination = \"a/b\"\n", NULL, "must contain a 'kind' field"},
    {"kind in a table", "[status]\nkind = \"redirect\"\n", NULL, "must contain a 'kind' field"},
    {"another kind", "kind = \"deprecated\"\n", NULL, "Unknown kernel status kind 'deprecated'"},
    {"in capitals", "kind = \"Redirect\"\ndestination = \"a/b\"\n", NULL,
     "Unknown kernel status kind 'Redirect'"},
    {"an empty kind", "kind = \"\"\n", NULL, "Unknown kernel status kind ''"},
    {"a kind of several lines", "kind = \"a\\nb\"\n", NULL,
     "Unknown kernel status kind 'a\xEF\xBF\xBD"
     "b'"},
    {"kind is a number", "kind = 1\n", NULL, ":1: kind: expected a string, found an integer"},
    {"no destination", "kind = \"redirect\"\n", NULL, "must contain a 'destination'"},
    {"destination is a list", "kind = \"redirect\"\n\ndestination = [\"a/b\"]\n", NULL,
     ":3: destination: expected a string, found an array"},
    {"destination is a path", "kind = \"redirect\"\ndestination = \"../../etc\"\n", NULL,
     "destination: "},
    {"no owner", "kind = \"redirect\"\ndestination = \"k\"\n", NULL, "destination: "},
    {"an empty destination", "kind = \"redirect\"\ndestination = \"\"\n", NULL, "destination: "},
    {"a URL", "kind = \"redirect\"\ndestination = \"https://evil.example/a\"\n", NULL,
     "destination: "},
    {"a query", "kind = \"redirect\"\ndestination = \"a/b?c\"\n", NULL, "destination: "},
    {"an escape", "kind = \"redirect\"\ndestination = \"a/%2e%2e\"\n", NULL, "destination: "},
    {"a revision that is a path", MOVED "revision = \"../../x\"\n", NULL, "revision"},
    {"an option", MOVED "revision = \"-x\"\n", NULL, "revision"},
    {"an empty revision", MOVED "revision = \"\"\n", NULL, "revision"},
    {"revision is a number", MOVED "revision = 5\n", NULL,
     ":3: revision: expected a string, found an integer"},
    {"kind twice", "kind = \"redirect\"\n" MOVED, NULL, "kind"},
    {"a NUL", "kind = \"re\\u0000\"\n", NULL, FILE_NAME},
    {"not UTF-8", "kind = \"\xFF\"\n", NULL, FILE_NAME},
    {"no TOML", "<!doctype html>", NULL, FILE_NAME},
};

static void test_moved(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_moved moved;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        const kn_status st = kni_moved_parse(rows[i].text, strlen(rows[i].text), FILE_NAME,
                                             KNI_REPO_MODEL, &moved, &err);
        assert_int_equal(st, rows[i].revision ? KN_OK : KN_ERR_FORMAT);
        if (st == KN_OK) {
            assert_string_equal(moved.to.id, "new-owner/k2");
            assert_int_equal(moved.to.type, KNI_REPO_MODEL);
            assert_string_equal(moved.revision, rows[i].revision);
        } else {
            assert_int_equal(err.status, KN_ERR_FORMAT);
            assert_int_equal(strncmp(kn_error_text(&err), FILE_NAME ":", strlen(FILE_NAME) + 1), 0);
            if (!strstr(kn_error_text(&err), rows[i].error))
                fail_msg("said: %s", kn_error_text(&err));
            assert_null(moved.revision);
        }
        kn_error_dispose(&err);
        kni_moved_dispose(&moved);
    }
}

static kn_status parse_moved(void *user, kn_error *err)
{
    (void)user;
    kni_moved moved;
    const kn_status st =
        kni_moved_parse(MOVED, sizeof(MOVED) - 1, FILE_NAME, KNI_REPO_KERNEL, &moved, err);
    kni_moved_dispose(&moved);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, parse_moved, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moved), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
