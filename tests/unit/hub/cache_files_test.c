// Files of a snapshot, hop by hop: what the layout has is opened, every other form is refused.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define SNAPSHOT CACHE_REPO "/snapshots/" CACHE_COMMIT_1
#define XET "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
#define STORE_LINK "../../blobs/ab/" XET
#define MARKER "blobs/.huggingface-shared-blobs"

typedef struct hostile {
    const char *name;
    void (*make)(const char *dir);
    const char *path; // NULL: build/v/file
    kn_status status; // KN_OK: it is opened, and holds "content"
    const char *error;
} hostile;

static char blob_path[256];

static const char *blob(const char *prefix)
{
    snprintf(blob_path, sizeof(blob_path), "%s%s", prefix, cache_blob_name("content", 40));
    return blob_path;
}

static void make_plain(const char *dir)
{
    cache_file(dir, CACHE_COMMIT_1, "build/v/file", "content");
}

static void make_regular(const char *dir)
{
    temp_dir_text(dir, SNAPSHOT "/build/v/file", "content");
}

static void make_sha256(const char *dir)
{
    char name[256], target[256];
    const char *id = cache_blob_name("content", 64);
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", id);
    snprintf(target, sizeof(target), "../../../../blobs/%s", id);
    temp_dir_text(dir, name, "content");
    temp_dir_link(dir, SNAPSHOT "/build/v/file", target);
}

static void make_no_blob(const char *dir)
{
    make_plain(dir);
    unlink(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")));
}

static void make_no_blobs(const char *dir)
{
    temp_dir_link(dir, SNAPSHOT "/build/v/file", blob("../../../../blobs/"));
}

static void make_shallow(const char *dir)
{
    make_plain(dir);
    unlink(temp_dir_path(dir, SNAPSHOT "/build/v/file"));
    temp_dir_link(dir, SNAPSHOT "/build/v/file", blob("../../../blobs/"));
}

static void make_deep(const char *dir)
{
    make_plain(dir);
    unlink(temp_dir_path(dir, SNAPSHOT "/build/v/file"));
    temp_dir_link(dir, SNAPSHOT "/build/v/file", blob("../../../../../" CACHE_REPO "/blobs/"));
}

static void make_absolute(const char *dir)
{
    char target[512];
    make_plain(dir);
    unlink(temp_dir_path(dir, SNAPSHOT "/build/v/file"));
    snprintf(target, sizeof(target), "%s/%s", dir, blob(CACHE_REPO "/blobs/"));
    temp_dir_link(dir, SNAPSHOT "/build/v/file", target);
}

static void make_passwd(const char *dir)
{
    temp_dir_link(dir, SNAPSHOT "/build/v/file", "/etc/passwd");
}

static void make_upper(const char *dir)
{
    char *at = blob("../../../../blobs/") ? blob_path + strlen("../../../../blobs/") : NULL;
    for (; *at; ++at)
        if (*at >= 'a' && *at <= 'f')
            *at -= 'a' - 'A';
    temp_dir_link(dir, SNAPSHOT "/build/v/file", blob_path);
}

static void make_name_of_blob(const char *dir)
{
    temp_dir_text(dir, CACHE_REPO "/blobs/evil", "content");
    temp_dir_link(dir, SNAPSHOT "/build/v/file", "../../../../blobs/evil");
}

static void make_long_link(const char *dir)
{
    char target[4000];
    for (size_t i = 0; i + 1 < sizeof(target); ++i)
        target[i] = "../"[i % 3];
    target[sizeof(target) - 1] = '\0';
    temp_dir_link(dir, SNAPSHOT "/build/v/file", target);
}

static void make_fifo(const char *dir)
{
    temp_dir_text(dir, SNAPSHOT "/build/v/other", "");
    assert_int_equal(mkfifo(temp_dir_path(dir, SNAPSHOT "/build/v/file"), 0666), 0);
}

static void make_directory(const char *dir)
{
    temp_dir_text(dir, SNAPSHOT "/build/v/file/below", "");
}

static void make_blob_fifo(const char *dir)
{
    make_no_blob(dir);
    assert_int_equal(mkfifo(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")), 0666), 0);
}

static void make_blob_directory(const char *dir)
{
    make_no_blob(dir);
    assert_int_equal(mkdir(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")), 0777), 0);
}

static void make_blob_link(const char *dir)
{
    make_no_blob(dir);
    temp_dir_text(dir, "outside", "content");
    temp_dir_link(dir, blob(CACHE_REPO "/blobs/"), "../../outside");
}

static void make_blob_to_blob(const char *dir)
{
    make_no_blob(dir);
    temp_dir_text(dir, CACHE_REPO "/blobs/other", "content");
    temp_dir_link(dir, blob(CACHE_REPO "/blobs/"), "other");
}

// Moves a directory away and links it back: no content changes, only the way there.
static void relink(const char *dir, const char *name, const char *target)
{
    assert_int_equal(rename(temp_dir_path(dir, name), temp_dir_path(dir, "elsewhere")), 0);
    temp_dir_link(dir, name, target);
}

static void make_linked_repo(const char *dir)
{
    make_plain(dir);
    relink(dir, CACHE_REPO, "elsewhere");
}

static void make_linked_snapshots(const char *dir)
{
    make_plain(dir);
    relink(dir, CACHE_REPO "/snapshots", "../elsewhere");
}

static void make_linked_commit(const char *dir)
{
    make_plain(dir);
    relink(dir, SNAPSHOT, "../../elsewhere");
}

static void make_linked_build(const char *dir)
{
    make_plain(dir);
    relink(dir, SNAPSHOT "/build", "../../../elsewhere");
}

static void make_linked_variant(const char *dir)
{
    make_plain(dir);
    relink(dir, SNAPSHOT "/build/v", "../../../../elsewhere");
}

static void make_linked_blobs(const char *dir)
{
    make_plain(dir);
    relink(dir, CACHE_REPO "/blobs", "../elsewhere");
}

static void make_file_as_build(const char *dir)
{
    temp_dir_text(dir, SNAPSHOT "/build", "");
}

static void make_shared(const char *dir)
{
    make_no_blob(dir);
    temp_dir_text(dir, "blobs/ab/" XET, "content");
    temp_dir_text(dir, MARKER, "1\n");
    temp_dir_link(dir, blob(CACHE_REPO "/blobs/"), STORE_LINK);
}

static void make_shared_unmarked(const char *dir)
{
    make_shared(dir);
    unlink(temp_dir_path(dir, MARKER));
}

static void make_shared_newer(const char *dir)
{
    make_shared(dir);
    temp_dir_text(dir, MARKER, "2\n");
}

static void make_shared_marker_link(const char *dir)
{
    make_shared_unmarked(dir);
    temp_dir_text(dir, "marker", "1\n");
    temp_dir_link(dir, MARKER, "../marker");
}

static void make_shared_content_link(const char *dir)
{
    make_shared(dir);
    unlink(temp_dir_path(dir, "blobs/ab/" XET));
    temp_dir_text(dir, "outside", "content");
    temp_dir_link(dir, "blobs/ab/" XET, "../../outside");
}

static void make_shared_gone(const char *dir)
{
    make_shared(dir);
    unlink(temp_dir_path(dir, "blobs/ab/" XET));
}

static void make_shared_linked_store(const char *dir)
{
    make_shared(dir);
    relink(dir, "blobs", "elsewhere");
}

static void make_shared_linked_prefix(const char *dir)
{
    make_shared(dir);
    relink(dir, "blobs/ab", "../elsewhere");
}

static void make_shared_wrong_prefix(const char *dir)
{
    make_shared(dir);
    temp_dir_text(dir, "blobs/cd/" XET, "content");
    unlink(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")));
    temp_dir_link(dir, blob(CACHE_REPO "/blobs/"), "../../blobs/cd/" XET);
}

static void make_shared_absolute(const char *dir)
{
    char target[512];
    make_shared(dir);
    unlink(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")));
    snprintf(target, sizeof(target), "%s/blobs/ab/" XET, dir);
    temp_dir_link(dir, blob(CACHE_REPO "/blobs/"), target);
}

// A snapshot's link straight into the store.
static void make_shared_skipped(const char *dir)
{
    make_shared(dir);
    unlink(temp_dir_path(dir, SNAPSHOT "/build/v/file"));
    temp_dir_link(dir, SNAPSHOT "/build/v/file", "../../../../../blobs/ab/" XET);
}

static const hostile rows[] = {
    {"a link to a blob", make_plain, NULL, KN_OK, NULL},
    {"a link to a blob of 64 digits", make_sha256, NULL, KN_OK, NULL},
    {"a regular file", make_regular, NULL, KN_OK, NULL},
    {"no such file", make_plain, "build/v/none", KN_ERR_NOT_FOUND, "build/v/none"},
    {"no such directory", make_plain, "build/w/file", KN_ERR_NOT_FOUND, "build/w"},
    {"a path out of the snapshot", make_plain, "../../refs/main", KN_ERR_UNTRUSTED, "'..'"},
    {"an absolute path", make_plain, "/etc/passwd", KN_ERR_UNTRUSTED, "is absolute"},
    {"the blob is gone", make_no_blob, NULL, KN_ERR_NOT_FOUND, "/blobs/"},
    {"no blobs at all", make_no_blobs, NULL, KN_ERR_NOT_FOUND, "/blobs/"},
    {"a link from too high", make_shallow, NULL, KN_ERR_UNTRUSTED, "expected '../../../../blobs/"},
    {"a link by way of the cache's root", make_deep, NULL, KN_ERR_UNTRUSTED, "is a link to"},
    {"an absolute link to the right blob", make_absolute, NULL, KN_ERR_UNTRUSTED, "is a link to"},
    {"a link out of the cache", make_passwd, NULL, KN_ERR_UNTRUSTED, "/etc/passwd"},
    {"digits in upper case", make_upper, NULL, KN_ERR_UNTRUSTED, "is a link to"},
    {"a blob with another name", make_name_of_blob, NULL, KN_ERR_UNTRUSTED, "blobs/evil"},
    {"a link of 4000 bytes", make_long_link, NULL, KN_ERR_UNTRUSTED, "is a link to"},
    {"a FIFO", make_fifo, NULL, KN_ERR_UNTRUSTED, "neither a regular file nor a link"},
    {"a directory", make_directory, NULL, KN_ERR_UNTRUSTED, "neither a regular file nor a link"},
    {"a FIFO as the blob", make_blob_fifo, NULL, KN_ERR_UNTRUSTED, "is a FIFO"},
    {"a directory as the blob", make_blob_directory, NULL, KN_ERR_UNTRUSTED, "is a directory"},
    {"a blob that leads out", make_blob_link, NULL, KN_ERR_UNTRUSTED, "../../outside"},
    {"a blob that is a link to a blob", make_blob_to_blob, NULL, KN_ERR_UNTRUSTED, "is a link to"},
    {"the repository is a link", make_linked_repo, NULL, KN_ERR_UNTRUSTED,
     CACHE_REPO ": is a link"},
    {"snapshots is a link", make_linked_snapshots, NULL, KN_ERR_UNTRUSTED, "/snapshots: is a link"},
    {"the snapshot is a link", make_linked_commit, NULL, KN_ERR_UNTRUSTED, "1111: is a link"},
    {"build is a link", make_linked_build, NULL, KN_ERR_UNTRUSTED, "/build: is a link"},
    {"the variant is a link", make_linked_variant, NULL, KN_ERR_UNTRUSTED, "/build/v: is a link"},
    {"blobs is a link", make_linked_blobs, NULL, KN_ERR_UNTRUSTED, "/blobs: is a link"},
    {"build is a file", make_file_as_build, NULL, KN_ERR_UNTRUSTED, "is not a directory"},
    {"a blob in the shared store", make_shared, NULL, KN_OK, NULL},
    {"a store without its marker", make_shared_unmarked, NULL, KN_ERR_NOT_FOUND, "shared-blobs"},
    {"a store of another version", make_shared_newer, NULL, KN_ERR_UNTRUSTED, "holds '2"},
    {"a marker that is a link", make_shared_marker_link, NULL, KN_ERR_UNTRUSTED, "is a link"},
    {"content that is a link", make_shared_content_link, NULL, KN_ERR_UNTRUSTED, "is a link"},
    {"content that is gone", make_shared_gone, NULL, KN_ERR_NOT_FOUND, XET},
    {"a store that is a link", make_shared_linked_store, NULL, KN_ERR_UNTRUSTED,
     "blobs: is a link"},
    {"a store's directory that is a link", make_shared_linked_prefix, NULL, KN_ERR_UNTRUSTED,
     "blobs/ab: is a link"},
    {"a directory of another prefix", make_shared_wrong_prefix, NULL, KN_ERR_UNTRUSTED,
     "is a link to"},
    {"an absolute link into the store", make_shared_absolute, NULL, KN_ERR_UNTRUSTED,
     "is a link to"},
    {"a snapshot's link into the store", make_shared_skipped, NULL, KN_ERR_UNTRUSTED,
     "is a link to"},
};

static void expect_content(int fd)
{
    char text[16] = "";
    assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), strlen("content"));
    assert_string_equal(text, "content");
}

static void test_forms(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        char *dir = temp_dir_new();
        kni_cache *cache = cache_open(dir);
        kni_cached_file file;
        kni_buf text = KNI_BUF(100);
        kn_error err = KN_ERROR_INIT;
        const char *path = rows[i].path ? rows[i].path : "build/v/file";
        print_message("  %s\n", rows[i].name);
        rows[i].make(dir);
        assert_int_equal(kni_cache_open_file(cache, &repo, CACHE_COMMIT_1, path, &file, &err),
                         rows[i].status);
        if (rows[i].status == KN_OK) {
            expect_content(file.fd);
            close(file.fd);
        } else {
            assert_int_equal(file.fd, -1);
            assert_string_equal(file.blob, "");
            cache_expect_error(&err, rows[i].error);
        }
        assert_int_equal(kni_cache_read_file(cache, &repo, CACHE_COMMIT_1, path, &text, NULL),
                         rows[i].status);
        assert_int_equal(text.size, rows[i].status == KN_OK ? strlen("content") : 0);
        kni_buf_dispose(&text);
        kni_cache_free(cache);
        temp_dir_remove(dir);
    }
}

static void test_blob_names(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_cached_file file;
    make_plain(dir);
    assert_int_equal(kni_cache_open_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &file, NULL),
                     KN_OK);
    assert_string_equal(file.blob, cache_blob_name("content", 40));
    close(file.fd);
    temp_dir_text(dir, SNAPSHOT "/README.md", "content");
    assert_int_equal(kni_cache_open_file(cache, &repo, CACHE_COMMIT_1, "README.md", &file, NULL),
                     KN_OK);
    assert_string_equal(file.blob, "");
    close(file.fd);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

// What a blob is named after is what a small file is believed by.
static void test_content(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*make)(const char *dir);
    } kinds[] = {{"40 digits", make_plain}, {"64 digits", make_sha256}, {"shared", make_shared}};
    const kni_repo repo = cache_repo();
    for (size_t i = 0; i < KN_LEN(kinds); ++i) {
        char *dir = temp_dir_new();
        kni_cache *cache = cache_open(dir);
        kni_buf text = KNI_BUF(100), small = KNI_BUF(3);
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", kinds[i].name);
        kinds[i].make(dir);
        // Larger than the buffer takes.
        assert_int_equal(
            kni_cache_read_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &small, &err),
            KN_ERR_FORMAT);
        cache_expect_error(&err, "larger than the 3 bytes");
        assert_int_equal(small.size, 0);
        FILE *file = fopen(temp_dir_path(dir, SNAPSHOT "/build/v/file"), "w");
        fputs("CONTENT", file);
        fclose(file);
        assert_int_equal(
            kni_cache_read_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &text, &err),
            KN_ERR_UNTRUSTED);
        cache_expect_error(&err, "is not what the blob's name says");
        assert_int_equal(text.size, 0);
        kni_buf_dispose(&text);
        kni_buf_dispose(&small);
        kni_cache_free(cache);
        temp_dir_remove(dir);
    }
}

static void test_blob_check(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content, *blob;
        kn_status status;
    } checks[] = {
        // printf '' | git hash-object --stdin; sha256sum
        {"git's empty blob", "", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", KN_OK},
        {"git's blob", "hello\n", "ce013625030ba8dba906f756967f9e9ca394464a", KN_OK},
        {"empty", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", KN_OK},
        {"SHA-256", "hello\n", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
         KN_OK},
        {"another content", "hello", "ce013625030ba8dba906f756967f9e9ca394464a", KN_ERR_UNTRUSTED},
        {"no name", "hello\n", "ce013625", KN_ERR_UNTRUSTED},
        {"a path", "hello\n", "../../evil", KN_ERR_UNTRUSTED},
    };
    char *dir = temp_dir_new();
    for (size_t i = 0; i < KN_LEN(checks); ++i) {
        print_message("  %s\n", checks[i].name);
        temp_dir_text(dir, "file", checks[i].content);
        const int fd = open(temp_dir_path(dir, "file"), O_RDONLY);
        assert_int_equal(kni_blob_check(fd, checks[i].blob, "file", NULL), checks[i].status);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
        close(fd);
    }
    temp_dir_remove(dir);
}

static void test_directory(void **state)
{
    (void)state;
    static const struct {
        const char *path, *end;
        kn_status status;
    } asks[] = {
        {"", "/snapshots/" CACHE_COMMIT_1, KN_OK},
        {"build/v", "/snapshots/" CACHE_COMMIT_1 "/build/v", KN_OK},
        {"build/w", NULL, KN_ERR_NOT_FOUND},
        {"build/v/file", NULL, KN_ERR_UNTRUSTED},
        {"build/linked", NULL, KN_ERR_UNTRUSTED},
        {"..", NULL, KN_ERR_UNTRUSTED},
    };
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    make_plain(dir);
    temp_dir_link(dir, SNAPSHOT "/build/linked", "v");
    for (size_t i = 0; i < KN_LEN(asks); ++i) {
        char *out = NULL, wanted[512];
        print_message("  '%s'\n", asks[i].path);
        assert_int_equal(
            kni_cache_directory(cache, &repo, CACHE_COMMIT_1, asks[i].path, &out, NULL),
            asks[i].status);
        if (asks[i].end) {
            snprintf(wanted, sizeof(wanted), "%s/" CACHE_REPO "%s", dir, asks[i].end);
            assert_string_equal(out, wanted);
        } else {
            assert_null(out);
        }
        kni_free(out);
    }
    char *out = NULL;
    assert_int_equal(kni_cache_directory(cache, &repo, CACHE_COMMIT_2, "", &out, NULL),
                     KN_ERR_NOT_FOUND);
    assert_int_equal(kni_cache_directory(cache, &repo, "main", "", &out, NULL), KN_ERR_INVALID);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

// A large blob is read in pieces and nothing of it is kept: 3 GB that are one hole.
static void test_huge(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    kni_buf text = KNI_BUF(1000);
    kni_cached_file file;
    kn_error err = KN_ERROR_INIT;
    make_plain(dir);
    assert_int_equal(truncate(temp_dir_path(dir, SNAPSHOT "/build/v/file"), (off_t)3 << 30), 0);
    assert_int_equal(kni_cache_open_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &file, NULL),
                     KN_OK);
    close(file.fd);
    assert_int_equal(kni_cache_read_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &text, &err),
                     KN_ERR_FORMAT);
    cache_expect_error(&err, "larger than the 1000 bytes");
    kni_buf_dispose(&text);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static void other_user(void *user)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = cache_open(user);
    kni_cached_file file;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_open_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &file, &err),
                     KN_ERR_IO);
    cache_expect_error(&err, "it belongs to uid 0, this is uid 65534");
    kni_cache_free(cache);
}

static void test_other_user(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    make_plain(dir);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(temp_dir_path(dir, blob(CACHE_REPO "/blobs/")), 0600), 0);
    cache_in_child(cache_other_user, other_user, dir);
    temp_dir_remove(dir);
}

static kn_status read_once(void *user, kn_error *err)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = NULL;
    kni_buf text = KNI_BUF(100);
    kn_status st = kni_cache_new(user, false, false, &cache, err);
    if (st == KN_OK)
        st = kni_cache_read_file(cache, &repo, CACHE_COMMIT_1, "build/v/file", &text, err);
    kni_buf_dispose(&text);
    kni_cache_free(cache);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    make_shared(dir);
    assert_true(fail_alloc_each(FAIL_OURS, read_once, dir) > 5);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),      cmocka_unit_test(test_blob_names),
        cmocka_unit_test(test_content),    cmocka_unit_test(test_blob_check),
        cmocka_unit_test(test_directory),  cmocka_unit_test(test_huge),
        cmocka_unit_test(test_other_user), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
