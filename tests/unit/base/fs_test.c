#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

static void test_check_relative(void **state)
{
    (void)state;
    static char longest[1025], too_long[1026], name[256], long_name[257];
    memset(longest, 'a', sizeof(longest) - 1);
    memset(too_long, 'a', sizeof(too_long) - 1);
    for (size_t i = 200; i < 1024; i += 200)
        longest[i] = too_long[i] = '/';
    memset(name, 'a', sizeof(name) - 1);
    memset(long_name, 'a', sizeof(long_name) - 1);
    const struct {
        const char *path, *rule; // rule NULL: accepted
    } rows[] = {
        {"a", NULL},
        {"build/x/_ops.abi3.so", NULL},
        {"..a/b../...", NULL},
        {".hidden/a b", NULL},
        {"\xC3\xA4/\xE2\x82\xAC", NULL},
        {longest, NULL},
        {too_long, "is longer than 1024 bytes"},
        {name, NULL},
        {long_name, "has a component longer than 255 bytes"},
        {"", "is empty"},
        {"/etc/passwd", "is absolute"},
        {"//a", "is absolute"},
        {"..", "has a '.' or '..' component"},
        {"a/../b", "has a '.' or '..' component"},
        {"a/..", "has a '.' or '..' component"},
        {"./a", "has a '.' or '..' component"},
        {"a/.", "has a '.' or '..' component"},
        {"a//b", "has an empty component"},
        {"a/", "has an empty component"},
        {"a\\..\\b", "holds a backslash"},
        {"a\nb", "holds a control character"},
        {"a\x7f", "holds a control character"},
        {"a\xC2\x85", "holds a control character"},
        {"a\xE2\x80\xAEos", "holds a control character"},
        {"a\xFF", "or is not UTF-8"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_error err = KN_ERROR_INIT;
        print_message("  %.60s\n", rows[i].path);
        const kn_status st = kni_path_check_relative(rows[i].path, "digest.files", &err);
        assert_int_equal(st, rows[i].rule ? KN_ERR_UNTRUSTED : KN_OK);
        if (rows[i].rule) {
            assert_non_null(strstr(kn_error_text(&err), rows[i].rule));
            assert_non_null(strstr(kn_error_text(&err), "digest.files: "));
        }
        kn_error_dispose(&err);
    }
}

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *path, *dir, *base;
    } rows[] = {
        {"a", ".", "a"},     {"a/b", "a", "b"},  {"/a", "/", "a"},  {"a/b/c.so", "a/b", "c.so"},
        {"/a/b", "/a", "b"}, {"a//b", "a", "b"}, {"//a", "/", "a"}, {"a/", "a", ""},
        {"", ".", ""},       {"/", "/", ""},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  '%s'\n", rows[i].path);
        char *dir = kni_path_dirname(rows[i].path);
        assert_string_equal(dir, rows[i].dir);
        assert_string_equal(kni_path_basename(rows[i].path), rows[i].base);
        kni_free(dir);
    }
}

static void test_join(void **state)
{
    (void)state;
    static const struct {
        const char *dir, *name, *path;
    } rows[] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"},
        {"", "b", "b"},    {"a", "/b", "/b"},  {"a", "", "a/"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *path = kni_path_join(rows[i].dir, rows[i].name);
        print_message("  %s + %s\n", rows[i].dir, rows[i].name);
        assert_string_equal(path, rows[i].path);
        kni_free(path);
    }
}

static void test_real(void **state)
{
    const char *dir = *state;
    char *real = NULL;
    kn_error err = KN_ERROR_INIT;
    temp_dir_text(dir, "d/file", "x");
    temp_dir_link(dir, "link", "d/../d/file");
    temp_dir_link(dir, "loop", "loop");
    assert_int_equal(kni_path_real(temp_dir_path(dir, "link"), &real, NULL), KN_OK);
    assert_string_equal(real, temp_dir_path(dir, "d/file"));
    kni_free(real);
    assert_int_equal(kni_path_real(temp_dir_path(dir, "absent"), &real, &err), KN_ERR_NOT_FOUND);
    assert_null(real);
    kn_error_dispose(&err);
    assert_int_equal(kni_path_real(temp_dir_path(dir, "loop"), &real, NULL), KN_ERR_IO);
    assert_int_equal(kni_path_real(temp_dir_path(dir, "d/file/x"), &real, NULL), KN_ERR_NOT_FOUND);
}

static void test_read(void **state)
{
    const char *dir = *state;
    static char big[200000];
    memset(big, 'x', sizeof(big));
    static const struct {
        const char *name;
        size_t size, max;
        bool accepted;
    } rows[] = {
        {"empty", 0, 100, true},
        {"empty, nothing allowed", 0, 0, true},
        {"small", 5, 100, true},
        {"exactly the ceiling", 100, 100, true},
        {"one more", 101, 100, false},
        {"larger than a chunk", sizeof(big), 1 << 20, true},
        {"far too large", sizeof(big), 10, false},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf buf = KNI_BUF(rows[i].max);
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        temp_dir_write(dir, "file", big, rows[i].size);
        const kn_status st = kni_file_read(&buf, temp_dir_path(dir, "file"), &err);
        assert_int_equal(st, rows[i].accepted ? KN_OK : KN_ERR_FORMAT);
        assert_int_equal(buf.size, rows[i].accepted ? rows[i].size : 0);
        assert_int_equal(strlen(kni_buf_text(&buf)), buf.size);
        assert_int_equal(strstr(kn_error_text(&err), "is larger than the") == NULL,
                         rows[i].accepted);
        kn_error_dispose(&err);
        kni_buf_dispose(&buf);
    }
    kni_buf buf = KNI_BUF(20); // appends to what is there; the ceiling is of both together
    kni_buf_puts(&buf, "before ");
    temp_dir_text(dir, "file", "after");
    assert_int_equal(kni_file_read(&buf, temp_dir_path(dir, "file"), NULL), KN_OK);
    assert_string_equal(kni_buf_text(&buf), "before after");
    temp_dir_text(dir, "file", "123456789");
    assert_int_equal(kni_file_read(&buf, temp_dir_path(dir, "file"), NULL), KN_ERR_FORMAT);
    assert_string_equal(kni_buf_text(&buf), "before after");
    kni_buf_dispose(&buf);

    buf = KNI_BUF_ANY; // files of /proc say that they are empty
    assert_int_equal(kni_file_read(&buf, "/proc/self/status", NULL), KN_OK);
    assert_true(buf.size > 100);
    kni_buf_dispose(&buf);
    buf = KNI_BUF(50);
    assert_int_equal(kni_file_read(&buf, "/proc/self/status", NULL), KN_ERR_FORMAT);
    kni_buf_dispose(&buf);
}

// None of these may block, and none is read.
static void test_read_refused(void **state)
{
    const char *dir = *state;
    static const struct {
        const char *name;
        kn_status status;
        const char *text;
    } rows[] = {
        {"absent", KN_ERR_NOT_FOUND, "No such file"},
        {"directory", KN_ERR_INVALID, "is a directory: expected a regular file"},
        {"fifo", KN_ERR_INVALID, "is a FIFO: expected a regular file"},
        {"link to fifo", KN_ERR_INVALID, "is a FIFO: expected a regular file"},
        {"socket", KN_ERR_IO, "cannot open"},
        {"device", KN_ERR_INVALID, "is a device: expected a regular file"},
        {"loop", KN_ERR_IO, "Too many levels of symbolic links"},
        {"closed", KN_ERR_IO, "Permission denied"},
    };
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    temp_dir_text(dir, "directory/x", "x");
    assert_int_equal(mkfifo(temp_dir_path(dir, "fifo"), 0600), 0);
    temp_dir_link(dir, "link to fifo", "fifo");
    temp_dir_link(dir, "device", "/dev/zero");
    temp_dir_link(dir, "loop", "loop");
    temp_dir_text(dir, "closed", "x");
    assert_int_equal(chmod(temp_dir_path(dir, "closed"), 0), 0);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/socket", dir);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf buf = KNI_BUF(1000);
        kn_error err = KN_ERROR_INIT;
        if (strcmp(rows[i].name, "closed") == 0 && geteuid() == 0) {
            print_message("  closed: skipped, root may read everything\n");
            continue;
        }
        print_message("  %s\n", rows[i].name);
        assert_int_equal(kni_file_read(&buf, temp_dir_path(dir, rows[i].name), &err),
                         rows[i].status);
        assert_non_null(strstr(kn_error_text(&err), rows[i].text));
        assert_int_equal(buf.size, 0);
        kn_error_dispose(&err);
        kni_buf_dispose(&buf);
    }
    close(fd);
}

static size_t count_names(const char *dir)
{
    kni_names names;
    assert_int_equal(kni_dir_list(dir, &names, NULL), KN_OK);
    const size_t count = names.count;
    kni_names_free(&names);
    return count;
}

static void test_write(void **state)
{
    const char *dir = *state;
    const char *path = temp_dir_path(dir, "file");
    kni_buf buf = KNI_BUF_ANY;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_file_write(path, "first", 5, NULL), KN_OK);
    assert_int_equal(kni_file_write(path, "second one", 10, NULL), KN_OK);
    assert_int_equal(kni_file_read(&buf, path, NULL), KN_OK);
    assert_string_equal(kni_buf_text(&buf), "second one");
    kni_buf_dispose(&buf);
    assert_int_equal(kni_file_write(path, "", 0, NULL), KN_OK);
    assert_int_equal(count_names(dir), 1);

    static const struct {
        const char *name;
        kn_status status;
    } refused[] = {
        {"absent/file", KN_ERR_NOT_FOUND}, {"file/below", KN_ERR_NOT_FOUND}, {"sub", KN_ERR_IO}};
    temp_dir_text(dir, "sub/x", "x");
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        print_message("  %s\n", refused[i].name);
        assert_int_equal(kni_file_write(temp_dir_path(dir, refused[i].name), "x", 1, &err),
                         refused[i].status);
        assert_non_null(strstr(kn_error_text(&err), refused[i].name));
        kn_error_dispose(&err);
    }
    assert_int_equal(count_names(dir), 2); // nothing is left behind
    assert_int_equal(count_names(temp_dir_path(dir, "sub")), 1);
}

// Files that belong together change together.
static void test_write_several(void **state)
{
    const char *dir = *state;
    char *a = kni_path_join(dir, "a"), *b = kni_path_join(dir, "b");
    char *absent = kni_path_join(dir, "absent/b"), *below = kni_path_join(dir, "sub");
    kn_error err = KN_ERROR_INIT;
    kni_buf buf = KNI_BUF_ANY;
    temp_dir_text(dir, "sub/x", "");
    assert_int_equal(kni_files_write((kni_file_text[]){{a, "first", 5}, {b, "other", 5}}, 2, NULL),
                     KN_OK);
    const char *const bad[] = {absent, below};
    for (size_t i = 0; i < KN_LEN(bad); ++i) {
        print_message("  %s\n", bad[i]);
        assert_int_not_equal(
            kni_files_write((kni_file_text[]){{a, "second", 6}, {bad[i], "x", 1}}, 2, &err), KN_OK);
        assert_non_null(strstr(kn_error_text(&err), bad[i]));
        kn_error_dispose(&err);
        assert_int_equal(kni_file_read(&buf, a, NULL), KN_OK);
        assert_string_equal(kni_buf_text(&buf), "first");
        kni_buf_dispose(&buf);
        assert_int_equal(count_names(dir), 3);
    }
    assert_int_equal(kni_file_read(&buf, b, NULL), KN_OK);
    assert_string_equal(kni_buf_text(&buf), "other");
    kni_buf_dispose(&buf);
    kni_free(a);
    kni_free(b);
    kni_free(absent);
    kni_free(below);
}

// A relative path with the longest name that a file may have.
static void test_write_relative(void **state)
{
    const char *dir = *state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    const int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(kni_file_write(name, "x", 1, NULL), KN_OK);
    assert_true(kni_file_exists(name));
    assert_int_equal(fchdir(before), 0);
    close(before);
}

static void test_write_nowhere(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_file_write("/proc/file", "x", 1, &err) == KN_OK, 0);
    assert_non_null(strstr(kn_error_text(&err), "/proc/file: cannot create"));
    kn_error_dispose(&err);
}

static void test_make(void **state)
{
    const char *dir = *state;
    assert_int_equal(kni_dir_make(temp_dir_path(dir, "a/b//c/"), NULL), KN_OK);
    assert_true(kni_dir_exists(temp_dir_path(dir, "a/b/c")));
    assert_int_equal(kni_dir_make(temp_dir_path(dir, "a/b/c"), NULL), KN_OK);
    temp_dir_text(dir, "file", "x");
    temp_dir_link(dir, "nowhere", "absent/x");
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_dir_make(temp_dir_path(dir, "file/x"), &err), KN_ERR_IO);
    assert_non_null(strstr(kn_error_text(&err), "/file: cannot create the directory: File exists"));
    kn_error_dispose(&err);
    assert_int_equal(kni_dir_make(temp_dir_path(dir, "nowhere"), NULL), KN_ERR_IO);
    assert_false(kni_file_exists(dir));
    assert_true(kni_file_exists(temp_dir_path(dir, "file")));
    assert_false(kni_dir_exists(temp_dir_path(dir, "file")));
    assert_false(kni_file_exists(temp_dir_path(dir, "absent")));
}

static void test_list(void **state)
{
    const char *dir = *state;
    static const char *const expected[] = {".c", "B", "a", "b"};
    kni_names names;
    temp_dir_text(dir, "b/x", "");
    temp_dir_text(dir, "a", "");
    temp_dir_text(dir, "B", "");
    temp_dir_link(dir, ".c", "absent");
    assert_int_equal(kni_dir_list(dir, &names, NULL), KN_OK);
    assert_int_equal(names.count, KN_LEN(expected));
    for (size_t i = 0; i < KN_LEN(expected); ++i)
        assert_string_equal(names.names[i], expected[i]);
    kni_names_free(&names);
    assert_int_equal(kni_dir_list(temp_dir_path(dir, "a"), &names, NULL), KN_ERR_NOT_FOUND);
    assert_int_equal(kni_dir_list(temp_dir_path(dir, "absent"), &names, NULL), KN_ERR_NOT_FOUND);
    assert_int_equal(names.count, 0);
}

static void test_list_too_many(void **state)
{
    const char *dir = *state;
    kni_names names;
    kn_error err = KN_ERROR_INIT;
    char name[32];
    for (int i = 0; i < 10000; ++i) {
        snprintf(name, sizeof(name), "%d", i);
        temp_dir_link(dir, name, "x");
    }
    assert_int_equal(kni_dir_list(dir, &names, NULL), KN_OK);
    assert_int_equal(names.count, 10000);
    kni_names_free(&names);
    temp_dir_link(dir, "last", "x");
    assert_int_equal(kni_dir_list(dir, &names, &err), KN_ERR_UNSUPPORTED);
    assert_non_null(strstr(kn_error_text(&err), "holds more than 10000 names"));
    assert_int_equal(names.count, 0);
    kn_error_dispose(&err);
}

static void test_tree(void **state)
{
    const char *dir = *state;
    static const char *const expected[] = {"a/b/link", "a/x", "a/y", "b", "link to the root's"};
    kni_names names;
    temp_dir_text(dir, "root/a/x", "");
    temp_dir_text(dir, "root/a/y", "");
    temp_dir_text(dir, "root/b", "");
    temp_dir_link(dir, "root/a/b/link", "../x");
    temp_dir_link(dir, "root/link to the root's", temp_dir_path(dir, "root/b"));
    temp_dir_link(dir, "root's other name", "root");
    for (int round = 0; round < 2; ++round) {
        const char *root = temp_dir_path(dir, round ? "root's other name" : "root");
        assert_int_equal(kni_tree_list(root, &names, NULL), KN_OK);
        assert_int_equal(names.count, KN_LEN(expected));
        for (size_t i = 0; i < KN_LEN(expected); ++i)
            assert_string_equal(names.names[i], expected[i]);
        kni_names_free(&names);
    }
    assert_int_equal(kni_tree_list(temp_dir_path(dir, "absent"), &names, NULL), KN_ERR_NOT_FOUND);
    assert_int_equal(kni_tree_list(temp_dir_path(dir, "root/b"), &names, NULL), KN_ERR_NOT_FOUND);
}

static void test_tree_refused(void **state)
{
    const char *dir = *state;
    static const struct {
        const char *name, *target, *text; // target NULL: a FIFO
    } rows[] = {
        {"out", "../outside", "is a link that leads out of"},
        {"absolute", "/etc/passwd", "is a link that leads out of"},
        {"sibling whose name begins alike", "../root2/x", "is a link that leads out of"},
        {"linked directory", "sub", "is a link to something that is not a regular file"},
        {"the root itself", ".", "is a link to something that is not a regular file"},
        {"out and back", "../link", "is a link that leads out of"},
        {"nowhere", "absent", "is a link that leads nowhere"},
        {"loop", "loop", "is a link that leads nowhere"},
        {"fifo", NULL, "is a FIFO: expected a regular file"},
        {"link to a device", "/dev/null", "is a link that leads out of"},
    };
    temp_dir_text(dir, "outside", "");
    temp_dir_text(dir, "root2/x", "");
    temp_dir_text(dir, "root/sub/x", "");
    temp_dir_link(dir, "link", "root2/x");
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_names names;
        kn_error err = KN_ERROR_INIT;
        char name[64];
        snprintf(name, sizeof(name), "root/%s", rows[i].name);
        print_message("  %s\n", rows[i].name);
        if (rows[i].target)
            temp_dir_link(dir, name, rows[i].target);
        else
            assert_int_equal(mkfifo(temp_dir_path(dir, name), 0600), 0);
        assert_int_equal(kni_tree_list(temp_dir_path(dir, "root"), &names, &err), KN_ERR_UNTRUSTED);
        assert_int_equal(names.count, 0);
        assert_non_null(strstr(kn_error_text(&err), rows[i].text));
        assert_non_null(strstr(kn_error_text(&err), rows[i].name));
        kn_error_dispose(&err);
        assert_int_equal(unlink(temp_dir_path(dir, name)), 0);
    }
}

// Every function that allocates, in one walk.
static kn_status use_all(void *user, kn_error *err)
{
    const char *dir = user;
    kni_buf buf = KNI_BUF_ANY;
    kni_names names = {NULL, 0, 0};
    char *real = NULL;
    char *path = kni_path_join(dir, "root/a/x");
    kn_status st = path ? kni_file_write(path, "text", 4, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_file_read(&buf, path, err);
    if (st == KN_OK)
        st = kni_path_real(path, &real, err);
    if (st == KN_OK)
        st = kni_path_check_relative("a/b", "test", err);
    if (st == KN_OK)
        st = kni_dir_make(dir, err);
    if (st == KN_OK)
        st = kni_tree_list(dir, &names, err);
    kni_names_free(&names);
    kni_buf_dispose(&buf);
    kni_free(real);
    kni_free(path);
    return st;
}

static void test_memory(void **state)
{
    char *dir = *state;
    temp_dir_text(dir, "root/a/x", "");
    temp_dir_link(dir, "root/a/b/link", "../x");
    assert_true(fail_alloc_each(FAIL_OURS, use_all, dir) > 20);
    assert_int_equal(count_names(temp_dir_path(dir, "root/a")), 2); // no file of a failed write
}

static int set_up(void **state)
{
    *state = temp_dir_new();
    return 0;
}

static int tear_down(void **state)
{
    temp_dir_remove(*state);
    return 0;
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_relative),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_join),
        WITH_DIR(test_real),
        WITH_DIR(test_read),
        WITH_DIR(test_read_refused),
        WITH_DIR(test_write),
        WITH_DIR(test_write_several),
        WITH_DIR(test_write_relative),
        cmocka_unit_test(test_write_nowhere),
        WITH_DIR(test_make),
        WITH_DIR(test_list),
        WITH_DIR(test_list_too_many),
        WITH_DIR(test_tree),
        WITH_DIR(test_tree_refused),
        WITH_DIR(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
