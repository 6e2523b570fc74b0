#include <stdio.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "hub/answer.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"

#define OID "0123456789abcdef0123456789abcdef01234567"
#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define URL "https://huggingface.co/api/kernels/o/k/tree/" OID "/build"
#define STARS40 "****************************************"
#define STARS64 STARS40 "************************"

#define ENTRY(type, path, oid, size, more)                                                         \
    "{\"type\":\"" type "\",\"path\":\"" path "\",\"oid\":\"" oid "\",\"size\":" size more "}"
#define FILE_OF(path) ENTRY("file", path, OID, "5", "")
#define DIR_OF(path) ENTRY("directory", path, OID, "0", "")
#define LFS(oid, size) ",\"lfs\":{\"oid\":\"" oid "\",\"size\":" size ",\"pointerSize\":131}"

static kn_status add(kni_tree *tree, const char *text, const char *under, kn_error *err)
{
    return kni_tree_add_page(tree, text, strlen(text), URL, under, err);
}

static void test_pages(void **state)
{
    (void)state;
    kni_tree tree = {NULL, 0, 0};
    kn_error err = KN_ERROR_INIT;
    const char first[] = "[" DIR_OF("build/v") "," ENTRY(
        "file", "build/v/k.so", OID, "1048576",
        LFS(SHA, "1048576") ",\"xetHash\":\"" SHA "\"") "," FILE_OF("build/v/metadata.json") "]";
    const char second[] =
        "[" FILE_OF("build/a/x") "," ENTRY("commit", "build/sub", OID, "0", "") "," ENTRY(
            "file", "build/v/hidden.so", STARS40, "7", LFS(STARS64, "7")) "]";
    assert_int_equal(add(&tree, first, "build", &err), KN_OK);
    assert_int_equal(tree.count, 2);
    assert_int_equal(add(&tree, second, "build", &err), KN_OK);
    assert_int_equal(add(&tree, "[]", "build", &err), KN_OK);
    assert_int_equal(kni_tree_finish(&tree, URL, &err), KN_OK);
    assert_int_equal(tree.count, 4);

    const kni_tree_file *plain = &tree.files[0], *hidden = &tree.files[1], *large = &tree.files[2];
    assert_string_equal(plain->path, "build/a/x");
    assert_int_equal(plain->size, 5);
    assert_false(plain->is_large);
    assert_string_equal(kni_tree_file_blob(plain), OID);
    assert_string_equal(hidden->path, "build/v/hidden.so");
    assert_true(hidden->is_large);
    assert_string_equal(hidden->oid, "");
    assert_string_equal(kni_tree_file_blob(hidden), "");
    assert_string_equal(large->path, "build/v/k.so");
    assert_int_equal(large->size, 1048576);
    assert_string_equal(large->oid, OID);
    assert_string_equal(kni_tree_file_blob(large), SHA);
    assert_string_equal(tree.files[3].path, "build/v/metadata.json");
    kni_tree_dispose(&tree);
    assert_int_equal(tree.count, 0);
}

#define PATH_OF(path) "[" FILE_OF("build/ok") "," FILE_OF(path) "]"
#define SIZE_OF(size) "[" ENTRY("file", "build/x", OID, size, "") "]"
#define OID_OF(oid) "[" ENTRY("file", "build/x", oid, "1", "") "]"
#define LFS_OF(oid, size) "[" ENTRY("file", "build/x", OID, "1", LFS(oid, size)) "]"
#define NAME_255                                                                                   \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"        \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"        \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *name, *under, *text;
    kn_status status;
    const char *error; // after the URL
} rows[] = {
    {"nothing", "build", "[]", KN_OK, NULL},
    {"no file", "build", "[" DIR_OF("build/v") "]", KN_OK, NULL},
    {"a variant", "build/v", "[" FILE_OF("build/v/x") "]", KN_OK, NULL},
    {"the directory above is a directory", "build/v", "[" DIR_OF("build/v") "]", KN_OK, NULL},
    {"a real path", "build", PATH_OF("build/v/sub dir/\xC3\xA4#%2e%2e"), KN_OK, NULL},
    {"the longest name", "build", PATH_OF("build/" NAME_255), KN_OK, NULL},
    {"null instead of no lfs", "build", "[" ENTRY("file", "build/x", OID, "1", ",\"lfs\":null") "]",
     KN_OK, NULL},
    {"the largest size", "build", SIZE_OF("17592186044416"), KN_OK, NULL},
    {"empty", "build", SIZE_OF("0"), KN_OK, NULL},
    {"partly masked", "build", LFS_OF("0123****", "1"), KN_OK, NULL},

    {"above the root", "build", PATH_OF("../x"), KN_ERR_UNTRUSTED,
     ": [1].path: the path '../x' has a '.' or '..' component"},
    {"out of the variant", "build/v", PATH_OF("build/v/../w/x"), KN_ERR_UNTRUSTED, ": [0].path: "},
    {"out of it at the end", "build", PATH_OF("build/v/.."), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"absolute", "build", PATH_OF("/etc/passwd"), KN_ERR_UNTRUSTED,
     ": [1].path: the path '/etc/passwd' is absolute"},
    {"a dot", "build", PATH_OF("build/./x"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"two slashes", "build", PATH_OF("build//x"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"a slash at the end", "build", PATH_OF("build/x/"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"a backslash", "build", PATH_OF("build/..\\\\..\\\\x"), KN_ERR_UNTRUSTED,
     ": [1].path: the path 'build/..\\..\\x' holds a backslash"},
    {"no path", "build", PATH_OF(""), KN_ERR_UNTRUSTED, ": [1].path: the path '' is empty"},
    {"a newline", "build", PATH_OF("build/a\\nb"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"a bidirectional mark", "build", PATH_OF("build/a\\u202eb"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"too long a name", "build", PATH_OF("build/" NAME_255 "a"), KN_ERR_UNTRUSTED, ": [1].path: "},
    {"a hostile directory", "build", "[" DIR_OF("../../x") "]", KN_ERR_UNTRUSTED, ": [0].path: "},
    {"not below what was asked", "build/v", "[" FILE_OF("build/w/x") "]", KN_ERR_UNTRUSTED,
     ": [0].path: expected a path below 'build/v/', which was asked for, found 'build/w/x'"},
    {"a longer name", "build/v", "[" FILE_OF("build/v2/x") "]", KN_ERR_UNTRUSTED,
     ": [0].path: expected a path below"},
    {"what was asked itself", "build", "[" FILE_OF("build") "]", KN_ERR_UNTRUSTED,
     ": [0].path: expected a path below"},

    {"an oid that is a path", "build", OID_OF("../../../../evil"), KN_ERR_UNTRUSTED,
     ": [0].oid: expected 40 lower-case hexadecimal digits, or asterisks where they are hidden, "
     "found '../../../../evil'"},
    {"asterisks and a path", "build", OID_OF("../*"), KN_ERR_UNTRUSTED, ": [0].oid: "},
    {"no digits", "build", OID_OF(""), KN_ERR_UNTRUSTED, ": [0].oid: "},
    {"64 digits of git", "build", OID_OF(SHA), KN_ERR_UNTRUSTED, ": [0].oid: "},
    {"capitals", "build", OID_OF("ABCDEF6789ABCDEF0123456789ABCDEF01234567"), KN_ERR_UNTRUSTED,
     ": [0].oid: "},
    {"a SHA-1 for a large file", "build", LFS_OF(OID, "1"), KN_ERR_UNTRUSTED,
     ": [0].lfs.oid: expected 64 lower-case"},
    {"a path for a large file", "build", LFS_OF("../../../evil", "1"), KN_ERR_UNTRUSTED,
     ": [0].lfs.oid: "},
    {"sha256: before it", "build", LFS_OF("sha256:" SHA, "1"), KN_ERR_UNTRUSTED, ": [0].lfs.oid: "},

    {"a negative size", "build", SIZE_OF("-1"), KN_ERR_FORMAT,
     ": [0].size: expected a size of 0 to 16 TiB in bytes, found -1"},
    {"too large a size", "build", SIZE_OF("17592186044417"), KN_ERR_FORMAT, ": [0].size: "},
    {"the largest integer", "build", SIZE_OF("9223372036854775807"), KN_ERR_FORMAT, ": [0].size: "},
    {"beyond integers", "build", SIZE_OF("18446744073709551616"), KN_ERR_FORMAT, ":1: too big"},
    {"a real size", "build", SIZE_OF("1.5"), KN_ERR_FORMAT,
     ": [0].size: expected an integer, found a number"},
    {"a size in words", "build", SIZE_OF("\"5\""), KN_ERR_FORMAT,
     ": [0].size: expected an integer"},
    {"a negative large size", "build", LFS_OF(SHA, "-5"), KN_ERR_FORMAT, ": [0].lfs.size: "},
    {"lfs without a size", "build",
     "[" ENTRY("file", "build/x", OID, "1", ",\"lfs\":{\"oid\":\"" SHA "\"}") "]", KN_ERR_FORMAT,
     ": [0].lfs.size: is missing"},
    {"lfs is a list", "build", "[" ENTRY("file", "build/x", OID, "1", ",\"lfs\":[]") "]",
     KN_ERR_FORMAT, ": [0].lfs: expected an object, found an array"},

    {"no type", "build", "[{\"path\":\"build/x\"}]", KN_ERR_FORMAT,
     ": [0].type: is missing, expected a string"},
    {"the type is a number", "build", "[{\"type\":1,\"path\":\"build/x\"}]", KN_ERR_FORMAT,
     ": [0].type: expected a string"},
    {"the path is missing", "build", "[{\"type\":\"file\"}]", KN_ERR_FORMAT,
     ": [0].path: is missing"},
    {"the path is a list", "build", "[{\"type\":\"file\",\"path\":[\"x\"]}]", KN_ERR_FORMAT,
     ": [0].path: expected a string, found an array"},
    {"no oid", "build", "[{\"type\":\"file\",\"path\":\"build/x\",\"size\":1}]", KN_ERR_FORMAT,
     ": [0].oid: is missing"},
    {"no size", "build", "[{\"type\":\"file\",\"path\":\"build/x\",\"oid\":\"" OID "\"}]",
     KN_ERR_FORMAT, ": [0].size: is missing"},
    {"a file is a string", "build", "[\"build/x\"]", KN_ERR_FORMAT,
     ": [0]: expected an object, found a string"},
    {"an object", "build", "{\"error\":\"no\"}", KN_ERR_FORMAT,
     ": expected an array of files, found an object"},
    {"a key twice", "build", "[{\"path\":\"build/x\",\"path\":\"../x\"}]", KN_ERR_FORMAT,
     ":1: duplicate object key"},
    {"a NUL", "build", PATH_OF("build/x\\u0000.so"), KN_ERR_FORMAT, ":1: \\u0000 is not allowed"},
    {"not UTF-8", "build", PATH_OF("build/\xC0\xAF"), KN_ERR_FORMAT, ":1: unable to decode"},
    {"half a surrogate pair", "build", PATH_OF("build/\\ud800"), KN_ERR_FORMAT, ":1: invalid"},
    {"cut", "build", "[" FILE_OF("build/x") ",", KN_ERR_FORMAT, ":1: ends too early"},
    {"nothing at all", "build", "", KN_ERR_FORMAT, ":1: ends too early"},
};

static void test_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_tree tree = {NULL, 0, 0};
        kn_error err = KN_ERROR_INIT;
        char before[128];
        snprintf(before, sizeof(before), "[" FILE_OF("%s/before") "]", rows[i].under);
        print_message("  %s\n", rows[i].name);
        assert_int_equal(add(&tree, before, rows[i].under, NULL), KN_OK);
        assert_int_equal(add(&tree, rows[i].text, rows[i].under, &err), rows[i].status);
        const char *text = kn_error_text(&err);
        if (rows[i].error &&
            (strncmp(text, URL, strlen(URL)) != 0 ||
             strncmp(text + strlen(URL), rows[i].error, strlen(rows[i].error)) != 0))
            fail_msg("said: %s", text);
        if (rows[i].error) { // what was there stays
            assert_int_equal(tree.count, 1);
            assert_non_null(strstr(tree.files[0].path, "/before"));
        }
        kn_error_dispose(&err);
        kni_tree_dispose(&tree);
    }
}

static const struct {
    const char *name;
    const char *pages[2];
    const char *error; // after the URL; NULL: accepted
} finished[] = {
    {"other cases are other files", {"[" FILE_OF("build/a") "]", "[" FILE_OF("build/A") "]"}, NULL},
    {"names that begin alike",
     {"[" FILE_OF("build/a/x") "]", "[" FILE_OF("build/a.b") "," FILE_OF("build/ab/x") "]"},
     NULL},
    {"twice on a page",
     {"[" FILE_OF("build/x") "," FILE_OF("build/x") "]", "[]"},
     ": the path 'build/x' is listed twice"},
    {"twice on two pages",
     {"[" FILE_OF("build/x") "," FILE_OF("build/y") "]", "[" FILE_OF("build/x") "]"},
     ": the path 'build/x' is listed twice"},
    {"a file and a directory",
     {"[" FILE_OF("build/a") "," FILE_OF("build/a/x") "]", "[]"},
     ": the path 'build/a' is listed as a file and as a directory"},
    {"not beside each other",
     {"[" FILE_OF("build/a/x") "," FILE_OF("build/a.b") "]", "[" FILE_OF("build/a") "]"},
     ": the path 'build/a' is listed as a file and as a directory"},
    {"a directory further up",
     {"[" FILE_OF("build/a/b/c/x") "," FILE_OF("build/a-") "]", "[" FILE_OF("build/a") "]"},
     ": the path 'build/a' is listed as a file and as a directory"},
    {"behind another directory of the same length",
     {"[" FILE_OF("build/b/cd/x") "," FILE_OF("build/b-/c/x") "]", "[" FILE_OF("build/b") "]"},
     ": the path 'build/b' is listed as a file and as a directory"},
    {"behind a file of the same directory",
     {"[" FILE_OF("build/a/b/x") "," FILE_OF("build/a/b/y/z") "]", "[" FILE_OF("build/a/b/y") "]"},
     ": the path 'build/a/b/y' is listed as a file and as a directory"},
};

static void test_finish(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(finished); ++i) {
        kni_tree tree = {NULL, 0, 0};
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", finished[i].name);
        assert_int_equal(add(&tree, finished[i].pages[0], "build", &err), KN_OK);
        assert_int_equal(add(&tree, finished[i].pages[1], "build", &err), KN_OK);
        assert_int_equal(kni_tree_finish(&tree, URL, &err),
                         finished[i].error ? KN_ERR_UNTRUSTED : KN_OK);
        if (finished[i].error)
            assert_string_equal(kn_error_text(&err) + strlen(URL), finished[i].error);
        for (size_t f = 1; f < tree.count && !finished[i].error; ++f)
            assert_true(strcmp(tree.files[f - 1].path, tree.files[f].path) < 0);
        kn_error_dispose(&err);
        kni_tree_dispose(&tree);
    }
}

// One more file than a tree may have: in pages of 1000, as a hub sends them.
static void test_count(void **state)
{
    (void)state;
    kni_tree tree = {NULL, 0, 0};
    kni_buf page = KNI_BUF_ANY;
    kn_error err = KN_ERROR_INIT;
    for (size_t i = 0; i < KNI_TREE_FILES_MAX; i += 1000) {
        page.size = 0;
        for (size_t f = i; f < i + 1000; ++f)
            kni_buf_printf(&page, "%s" FILE_OF("build/v%zu/f%zu"), f == i ? "[" : ",", f % 7, f);
        kni_buf_puts(&page, "]");
        assert_int_equal(kni_tree_add_page(&tree, page.data, page.size, URL, "build", &err), KN_OK);
    }
    kni_buf_dispose(&page);
    assert_int_equal(add(&tree, "[" DIR_OF("build/v") "]", "build", &err), KN_OK);
    assert_int_equal(kni_tree_finish(&tree, URL, &err), KN_OK);
    assert_int_equal(add(&tree, "[" FILE_OF("build/v") "]", "build", &err), KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err), URL ": lists more than 100000 files");
    assert_int_equal(tree.count, KNI_TREE_FILES_MAX);
    kn_error_dispose(&err);
    kni_tree_dispose(&tree);
}

#define CACHED(files) "{\"format_version\": 1, \"files\": {" files "}}"
#define TREE_FILE "trees/" OID ".json"

static const struct {
    const char *name, *text;
    kn_status status;
    const char *error; // after the file
} cached[] = {
    {"nothing", CACHED(""), KN_OK, NULL},
    {"no version", "{\"files\": {}}", KN_ERR_FORMAT, ": format_version: is missing"},
    {"a newer version", "{\"format_version\": 2, \"entries\": []}", KN_ERR_UNSUPPORTED,
     ": format_version: expected 1, found 2"},
    {"no files", "{\"format_version\": 1}", KN_ERR_FORMAT, ": files: is missing"},
    {"a list of files", "{\"format_version\": 1, \"files\": []}", KN_ERR_FORMAT,
     ": files: expected an object, found an array"},
    {"a list", "[]", KN_ERR_FORMAT, ": expected an object"},
    {"a hostile path", CACHED("\"../x\": {\"size\": 1, \"blob_id\": \"" OID "\"}"),
     KN_ERR_UNTRUSTED, ": files: the path '../x'"},
    {"a hostile blob", CACHED("\"x\": {\"size\": 1, \"blob_id\": \"../../x\"}"), KN_ERR_UNTRUSTED,
     ": x.blob_id: expected 40"},
    {"a hostile large blob",
     CACHED("\"x\": {\"size\": 1, \"blob_id\": \"" OID "\", \"lfs_sha256\": \"/etc/passwd\"}"),
     KN_ERR_UNTRUSTED, ": x.lfs_sha256: expected 64"},
    {"a negative size", CACHED("\"x\": {\"size\": -1, \"blob_id\": \"" OID "\"}"), KN_ERR_FORMAT,
     ": x.size: expected a size"},
    {"a file is a list", CACHED("\"x\": []"), KN_ERR_FORMAT,
     ": x: expected an object, found an array"},
    {"a path twice",
     CACHED("\"x\": {\"size\": 1, \"blob_id\": \"" OID "\"}, \"x\": {\"size\": 1, \"blob_id\": "
            "\"" OID "\"}"),
     KN_ERR_FORMAT, ":1: duplicate object key"},
    {"a file and a directory",
     CACHED("\"x\": {\"size\": 1, \"blob_id\": \"" OID "\"}, \"x/y\": {\"size\": 1, \"blob_id\": "
            "\"" OID "\"}"),
     KN_ERR_UNTRUSTED, ": the path 'x' is listed as a file and as a directory"},
};

static void test_cached(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(cached); ++i) {
        kni_tree tree;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", cached[i].name);
        assert_int_equal(
            kni_tree_parse_cached(cached[i].text, strlen(cached[i].text), TREE_FILE, &tree, &err),
            cached[i].status);
        const char *text = kn_error_text(&err);
        if (cached[i].error &&
            strncmp(text + strlen(TREE_FILE), cached[i].error, strlen(cached[i].error)) != 0)
            fail_msg("said: %s", text);
        assert_null(tree.files);
        kn_error_dispose(&err);
    }
}

// As huggingface_hub writes it: indented by one, sorted, optional keys absent.
static const char cached_whole[] =
    "{\n \"format_version\": 1,\n \"files\": {\n"
    "  \"README.md\": {\n   \"size\": 31,\n   \"blob_id\": \"" OID "\"\n  },\n"
    "  \"build/v/k.so\": {\n   \"size\": 9,\n   \"blob_id\": \"" OID "\",\n   \"lfs_sha256\": "
    "\"" SHA "\",\n   \"lfs_size\": 9,\n   \"xet_hash\": \"" SHA "\"\n  },\n"
    "  \"build/v/masked.so\": {\n   \"size\": 8,\n   \"blob_id\": \"" OID "\",\n   \"lfs_sha256\": "
    "\"" STARS64 "\",\n   \"lfs_size\": 8\n  }\n }\n}";

static void test_cached_whole(void **state)
{
    (void)state;
    kni_tree tree;
    assert_int_equal(
        kni_tree_parse_cached(cached_whole, sizeof(cached_whole) - 1, TREE_FILE, &tree, NULL),
        KN_OK);
    assert_int_equal(tree.count, 3);
    assert_string_equal(tree.files[0].path, "README.md");
    assert_string_equal(kni_tree_file_blob(&tree.files[0]), OID);
    assert_string_equal(kni_tree_file_blob(&tree.files[1]), SHA);
    assert_int_equal(tree.files[1].size, 9);
    assert_true(tree.files[2].is_large);
    assert_string_equal(kni_tree_file_blob(&tree.files[2]), "");
    kni_tree_dispose(&tree);
}

static kn_status parse_all(void *user, kn_error *err)
{
    (void)user;
    kni_tree tree = {NULL, 0, 0}, hint;
    kn_status st = add(&tree,
                       "[" FILE_OF("build/v/x") "," FILE_OF("build/w/x") "," ENTRY(
                           "file", "build/l", OID, "1", LFS(SHA, "1")) "]",
                       "build", err);
    if (st == KN_OK)
        st = kni_tree_finish(&tree, URL, err);
    kni_tree_dispose(&tree);
    if (st != KN_OK)
        return st;
    st = kni_tree_parse_cached(cached_whole, sizeof(cached_whole) - 1, TREE_FILE, &hint, err);
    kni_tree_dispose(&hint);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_ALL, parse_all, NULL) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),  cmocka_unit_test(test_page),
        cmocka_unit_test(test_finish), cmocka_unit_test(test_count),
        cmocka_unit_test(test_cached), cmocka_unit_test(test_cached_whole),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
