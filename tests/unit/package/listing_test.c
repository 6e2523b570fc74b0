#include "support/package_dir.h"

#include "kernels/package.h"

static void make_link(const package_dir *dir, const char *target, const char *name)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(symlink(target, package_path(dir->root, name, path)), 0);
}

static const struct {
    const char *name;
    const char *files[4];    // what is made
    const char *link[2];     // target, name
    const char *below;       // opened: root or this below it
    const char *variants[3]; // in order
    kn_status status;
    const char *error;
} rows[] = {
    {"below build/", {"build/b/x", "build/a/x", "other/x"}, {NULL}, "", {"a", "b"}, KN_OK, NULL},
    {"below the root", {"b/x", "a/x"}, {NULL}, "", {"a", "b"}, KN_OK, NULL},
    {"the variant itself", {"build/a/metadata.json"}, {NULL}, "build/a", {"a"}, KN_OK, NULL},
    {"the variant itself, by its name",
     {"build/torch-cpu/a/__init__.py"},
     {NULL},
     "build/torch-cpu",
     {"torch-cpu"},
     KN_OK,
     NULL},
    {"build/ itself", {"build/a/x"}, {NULL}, "build", {"a"}, KN_OK, NULL},
    {"files and hidden ones do not count",
     {"build/a/x", "build/f", "build/.git/x"},
     {NULL},
     "",
     {"a"},
     KN_OK,
     NULL},
    {"a linked file does not count",
     {"build/a/x", "build/f"},
     {"f", "build/g"},
     "",
     {"a"},
     KN_OK,
     NULL},
    {"nothing", {"f"}, {NULL}, "", {NULL}, KN_ERR_NOT_FOUND, "holds no build variant"},
    {"an empty build/",
     {"build/f", "a/x"},
     {NULL},
     "",
     {NULL},
     KN_ERR_NOT_FOUND,
     "directories below build/"},
    {"no such directory", {"f"}, {NULL}, "none", {NULL}, KN_ERR_NOT_FOUND, "none"},
    {"a file", {"f"}, {NULL}, "f", {NULL}, KN_ERR_NOT_FOUND, "is not a directory"},
    {"a linked variant",
     {"elsewhere/x", "build/f"},
     {"../elsewhere", "build/a"},
     "",
     {NULL},
     KN_ERR_UNTRUSTED,
     "is a link to a directory"},
    {"a linked build/",
     {"elsewhere/a/x"},
     {"elsewhere", "build"},
     "",
     {NULL},
     KN_ERR_UNTRUSTED,
     "is a link to a directory"},
};

static void test_listing(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        package_dir dir;
        char path[PACKAGE_PATH_MAX];
        kn_listing *listing = NULL;
        kn_error err = KN_ERROR_INIT;
        size_t count = 0;
        print_message("  %s\n", rows[i].name);
        package_root(&dir);
        for (size_t f = 0; f < KN_LEN(rows[i].files) && rows[i].files[f]; ++f)
            package_text(dir.root, rows[i].files[f], "{}");
        if (rows[i].link[0])
            make_link(&dir, rows[i].link[0], rows[i].link[1]);
        assert_int_equal(
            kn_listing_open(package_path(dir.root, rows[i].below, path), &listing, &err),
            rows[i].status);
        if (rows[i].error) {
            assert_null(listing);
            if (!strstr(kn_error_text(&err), rows[i].error))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        } else {
            for (; count < KN_LEN(rows[i].variants) && rows[i].variants[count]; ++count) {
                const char *found = kn_listing_path(listing, count);
                assert_string_equal(kn_listing_name(listing, count), rows[i].variants[count]);
                assert_true(kni_path_is_absolute(found) && kni_dir_exists(found));
            }
            assert_int_equal(kn_listing_count(listing), count);
            assert_null(kn_listing_name(listing, count));
            assert_null(kn_listing_path(listing, count));
        }
        kn_error_dispose(&err);
        kn_listing_close(listing);
        package_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_listing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
