// What a download puts into a cache: temporaries, blobs, links, locks, and what is left of those who died.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "hub/cache_write.h"
#include "support/cache_dir.h"
#include "support/fail_alloc.h"

#define BLOBS CACHE_REPO "/blobs"
#define SNAPSHOT CACHE_REPO "/snapshots/" CACHE_COMMIT_1
#define XET "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"

typedef struct fixture {
    char *dir;
    kni_cache *cache;
    kni_cache_writer *writer;
} fixture;

static fixture begin(bool without_symlinks)
{
    const kni_repo repo = cache_repo();
    fixture f = {.dir = temp_dir_new()};
    assert_int_equal(kni_cache_new(f.dir, false, without_symlinks, &f.cache, NULL), KN_OK);
    assert_int_equal(kni_cache_writer_open(f.cache, &repo, &f.writer, NULL), KN_OK);
    return f;
}

static void end(fixture *f)
{
    kni_cache_writer_close(f->writer);
    kni_cache_free(f->cache);
    temp_dir_remove(f->dir);
}

static const char *put_blob(const fixture *f, const char *content)
{
    const char *blob = cache_blob_name(content, 40);
    kni_blob_file file;
    assert_int_equal(kni_cache_begin_blob(f->writer, blob, strlen(content), &file, NULL), KN_OK);
    assert_int_equal(kni_cache_append_blob(f->writer, &file, content, strlen(content), NULL),
                     KN_OK);
    assert_int_equal(kni_cache_commit_blob(f->writer, &file, NULL), KN_OK);
    return blob;
}

static size_t count_names(const char *dir, const char *name)
{
    kni_names names;
    assert_int_equal(kni_dir_list(temp_dir_path(dir, name), &names, NULL), KN_OK);
    const size_t count = names.count;
    kni_names_free(&names);
    return count;
}

static const char *below(const char *dir, const char *name)
{
    static char path[2][512];
    static size_t turn;
    char *out = path[turn++ % 2];
    snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
    return out;
}

static void test_layout(void **state)
{
    (void)state;
    fixture f = begin(false);
    kni_buf tag = KNI_BUF(1000);
    assert_true(kni_dir_exists(temp_dir_path(f.dir, BLOBS)));
    assert_true(kni_dir_exists(temp_dir_path(f.dir, CACHE_REPO "/snapshots")));
    assert_int_equal(kni_file_read(&tag, temp_dir_path(f.dir, "CACHEDIR.TAG"), NULL), KN_OK);
    assert_memory_equal(tag.data, "Signature: 8a477f597d28d172789f06886806bc55\n", 44);
    kni_buf_dispose(&tag);
    assert_int_equal(count_names(f.dir, "."), 2);
    end(&f);
}

static void test_blob(void **state)
{
    (void)state;
    fixture f = begin(false);
    const char *blob = cache_blob_name("content", 40);
    kni_blob_file file;
    struct stat info;
    const mode_t mask = umask(0027);
    assert_int_equal(kni_cache_begin_blob(f.writer, blob, 7, &file, NULL), KN_OK);
    umask(mask);
    // Named as ours, and its length is what was appended, whatever was reserved.
    assert_memory_equal(file.name, blob, 40);
    assert_memory_equal(file.name + 40, ".kn-", 4);
    assert_string_equal(file.name + 52, ".incomplete");
    assert_int_equal(fstat(file.fd, &info), 0);
    assert_int_equal(info.st_size, 0);
    assert_int_equal(kni_cache_append_blob(f.writer, &file, "wrong start", 11, NULL), KN_OK);
    assert_int_equal(file.size, 11);
    assert_int_equal(kni_cache_restart_blob(f.writer, &file, NULL), KN_OK);
    assert_int_equal(kni_cache_append_blob(f.writer, &file, "con", 3, NULL), KN_OK);
    assert_int_equal(kni_cache_append_blob(f.writer, &file, "tent", 4, NULL), KN_OK);
    assert_false(kni_cache_has_blob(f.writer, blob, 7));
    assert_int_equal(kni_cache_commit_blob(f.writer, &file, NULL), KN_OK);
    assert_int_equal(file.fd, -1);
    assert_true(kni_cache_has_blob(f.writer, blob, 7));
    assert_false(kni_cache_has_blob(f.writer, blob, 8));
    assert_int_equal(stat(temp_dir_path(f.dir, below(BLOBS, blob)), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(count_names(f.dir, BLOBS), 1);

    assert_int_equal(kni_cache_begin_blob(f.writer, blob, 0, &file, NULL), KN_OK);
    assert_int_equal(count_names(f.dir, BLOBS), 2);
    kni_cache_abandon_blob(f.writer, &file);
    kni_cache_abandon_blob(f.writer, &file);
    assert_int_equal(count_names(f.dir, BLOBS), 1);
    end(&f);
}

static void test_blob_hostile(void **state)
{
    (void)state;
    static const char *const names[] = {"", "../../evil", "abc",
                                        "ABCDEF1111111111111111111111111111111111",
                                        "1111111111111111111111111111111111111111.lock"};
    fixture f = begin(false);
    kni_blob_file file;
    kn_error err = KN_ERROR_INIT;
    for (size_t i = 0; i < KN_LEN(names); ++i) {
        assert_int_equal(kni_cache_begin_blob(f.writer, names[i], 1, &file, &err),
                         KN_ERR_UNTRUSTED);
        cache_expect_error(&err, "expected 40 or 64 hexadecimal digits");
        assert_int_equal(
            kni_cache_link_file(f.writer, CACHE_COMMIT_1, "build/v/x", names[i], false, NULL),
            KN_ERR_UNTRUSTED);
        assert_false(kni_cache_has_blob(f.writer, names[i], 1));
    }
    // A size that no disk has is found before anything comes.
    assert_int_equal(kni_cache_begin_blob(f.writer, CACHE_COMMIT_1, UINT64_MAX, &file, &err),
                     KN_ERR_IO);
    assert_int_equal(file.fd, -1);
    cache_expect_error(&err, "cannot reserve the space");
    assert_int_equal(kni_cache_begin_blob(f.writer, CACHE_COMMIT_1, (uint64_t)1 << 61, &file, &err),
                     KN_ERR_IO);
    kn_error_dispose(&err);
    assert_int_equal(count_names(f.dir, BLOBS), 0);

    // What lies there instead of a blob is replaced, not followed.
    const char *blob = cache_blob_name("content", 40);
    temp_dir_text(f.dir, "outside", "before!");
    temp_dir_link(f.dir, below(BLOBS, blob), "../../outside");
    assert_false(kni_cache_has_blob(f.writer, blob, 7));
    put_blob(&f, "content");
    assert_true(kni_cache_has_blob(f.writer, blob, 7));
    kni_buf text = KNI_BUF(100);
    assert_int_equal(kni_file_read(&text, temp_dir_path(f.dir, "outside"), NULL), KN_OK);
    assert_string_equal(kni_buf_text(&text), "before!");
    kni_buf_dispose(&text);
    end(&f);
}

static void test_shared_store(void **state)
{
    (void)state;
    fixture f = begin(false);
    const char *blob = cache_blob_name("content", 40);
    temp_dir_text(f.dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_text(f.dir, "blobs/ab/" XET, "content");
    temp_dir_link(f.dir, below(BLOBS, blob), "../../blobs/ab/" XET);
    assert_true(kni_cache_has_blob(f.writer, blob, 7));
    assert_false(kni_cache_has_blob(f.writer, blob, 8));
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "build/v/x", blob, true, NULL),
                     KN_OK);
    assert_true(kni_cache_has_file(f.writer, CACHE_COMMIT_1, "build/v/x", blob, 7));
    // Of the wrong size: the repository's own link is replaced, the store's file stays.
    temp_dir_text(f.dir, "blobs/ab/" XET, "contents");
    assert_false(kni_cache_has_blob(f.writer, blob, 7));
    put_blob(&f, "content");
    assert_true(kni_cache_has_blob(f.writer, blob, 7));
    struct stat info;
    assert_int_equal(lstat(temp_dir_path(f.dir, "blobs/ab/" XET), &info), 0);
    assert_int_equal(info.st_size, 8);
    end(&f);
}

static void expect_link(const char *dir, const char *name, const char *text)
{
    char found[512] = "";
    assert_true(readlink(temp_dir_path(dir, name), found, sizeof(found) - 1) > 0);
    assert_string_equal(found, text);
}

static void test_link(void **state)
{
    (void)state;
    fixture f = begin(false);
    const char *blob = put_blob(&f, "content");
    char text[128];
    kn_error err = KN_ERROR_INIT;
    struct stat before, after;
    snprintf(text, sizeof(text), "../../../../blobs/%s", blob);
    assert_false(kni_cache_has_file(f.writer, CACHE_COMMIT_1, "build/v/x", blob, 7));
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "build/v/x", blob, true, NULL),
                     KN_OK);
    expect_link(f.dir, SNAPSHOT "/build/v/x", text);
    assert_true(kni_cache_has_file(f.writer, CACHE_COMMIT_1, "build/v/x", blob, 7));
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "x", blob, true, NULL), KN_OK);
    expect_link(f.dir, SNAPSHOT "/x", text + 6);
    assert_int_equal(count_names(f.dir, BLOBS), 1);
    // Right already: left alone.
    assert_int_equal(lstat(temp_dir_path(f.dir, SNAPSHOT "/x"), &before), 0);
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "x", blob, true, NULL), KN_OK);
    assert_int_equal(lstat(temp_dir_path(f.dir, SNAPSHOT "/x"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    // A regular file with the right content stays, one with another is replaced; so is a link of another form.
    temp_dir_text(f.dir, SNAPSHOT "/regular", "content");
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "regular", blob, true, NULL),
                     KN_OK);
    assert_int_equal(lstat(temp_dir_path(f.dir, SNAPSHOT "/regular"), &after), 0);
    assert_true(S_ISREG(after.st_mode));
    temp_dir_text(f.dir, SNAPSHOT "/wrong", "CONTENT");
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "wrong", blob, true, NULL),
                     KN_OK);
    expect_link(f.dir, SNAPSHOT "/wrong", text + 6);
    temp_dir_text(f.dir, "outside", "before");
    temp_dir_link(f.dir, SNAPSHOT "/planted", "../../../outside");
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "planted", blob, true, NULL),
                     KN_OK);
    expect_link(f.dir, SNAPSHOT "/planted", text + 6);
    // Planted directories.
    temp_dir_text(f.dir, "elsewhere/y", "");
    temp_dir_link(f.dir, SNAPSHOT "/linked", "../../../elsewhere");
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "linked/x", blob, true, &err),
                     KN_ERR_UNTRUSTED);
    cache_expect_error(&err, "/linked: is a link");
    assert_int_equal(count_names(f.dir, "elsewhere"), 1);
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "x/below", blob, true, NULL),
                     KN_ERR_UNTRUSTED);
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "../x", blob, true, NULL),
                     KN_ERR_UNTRUSTED);
    assert_int_equal(kni_cache_link_file(f.writer, "main", "x", blob, true, NULL),
                     KN_ERR_UNTRUSTED);
    // The blob went away.
    assert_int_equal(unlink(temp_dir_path(f.dir, below(BLOBS, blob))), 0);
    assert_false(kni_cache_has_file(f.writer, CACHE_COMMIT_1, "x", blob, 7));
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "x", blob, true, &err),
                     KN_ERR_NOT_FOUND);
    cache_expect_error(&err, "the blob is gone");
    end(&f);
}

static void test_without_symlinks(void **state)
{
    (void)state;
    fixture f = begin(true);
    const char *blob = put_blob(&f, "content");
    struct stat info;
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "build/v/a", blob, false, NULL),
                     KN_OK);
    assert_true(kni_cache_has_blob(f.writer, blob, 7)); // copied
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "build/v/b", blob, true, NULL),
                     KN_OK);
    assert_false(kni_cache_has_blob(f.writer, blob, 7)); // moved
    static const char *const names[] = {"build/v/a", "build/v/b"};
    for (size_t i = 0; i < KN_LEN(names); ++i) {
        assert_int_equal(lstat(temp_dir_path(f.dir, below(SNAPSHOT, names[i])), &info), 0);
        assert_true(S_ISREG(info.st_mode));
        assert_true(kni_cache_has_file(f.writer, CACHE_COMMIT_1, names[i], blob, 7));
        assert_false(kni_cache_has_file(f.writer, CACHE_COMMIT_1, names[i], CACHE_COMMIT_1, 7));
        // There, although the blob is not.
        assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, names[i], blob, true, NULL),
                         KN_OK);
    }
    assert_int_equal(count_names(f.dir, BLOBS), 0);
    end(&f);
}

static void test_lock(void **state)
{
    (void)state;
    fixture f = begin(false);
    kni_blob_lock lock, other;
    struct stat info;
    kn_error err = KN_ERROR_INIT;
    char path[512];
    snprintf(path, sizeof(path), "%s/.locks/" CACHE_REPO "/" CACHE_COMMIT_2 ".lock", f.dir);
    const mode_t mask = umask(0002);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &lock, NULL), KN_OK);
    umask(mask);
    assert_true(lock.fd >= 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0664);
    assert_int_equal(info.st_size, 0);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &other, NULL), KN_OK);
    assert_int_equal(other.fd, -1);
    kni_cache_unlock_blob(&other);
    // Removed by its holder: the next one does not wait for a file without a name.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &other, NULL), KN_OK);
    assert_true(other.fd >= 0);
    kni_cache_unlock_blob(&other);
    kni_cache_unlock_blob(&lock);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &lock, NULL), KN_OK);
    assert_true(lock.fd >= 0);
    kni_cache_unlock_blob(&lock);
    // In a place that it cannot be had, it says why.
    assert_int_equal(unlink(path), 0);
    temp_dir_text(f.dir, "outside", "before");
    assert_int_equal(symlink("../../outside", path), 0);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &lock, &err),
                     KN_ERR_UNSUPPORTED);
    cache_expect_error(&err, ".lock: is a link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &lock, &err),
                     KN_ERR_UNSUPPORTED);
    kn_error_dispose(&err);
    assert_int_equal(rename(temp_dir_path(f.dir, ".locks"), temp_dir_path(f.dir, "elsewhere")), 0);
    temp_dir_link(f.dir, ".locks", "elsewhere");
    assert_int_equal(kni_cache_lock_blob(f.writer, CACHE_COMMIT_2, &lock, &err),
                     KN_ERR_UNSUPPORTED);
    cache_expect_error(&err, ".locks: is a link");
    end(&f);
}

static void test_watch(void **state)
{
    (void)state;
    fixture f = begin(false);
    const char *blob = cache_blob_name("content", 40);
    uint64_t sum = 1, largest = 1, before;
    char name[256];
    kni_cache_watch_blob(f.writer, blob, &sum, &largest);
    assert_int_equal(sum, 0);
    assert_int_equal(largest, 0);
    snprintf(name, sizeof(name), BLOBS "/%s.0a1b2c3d.incomplete", blob); // huggingface_hub's
    temp_dir_text(f.dir, name, "12345");
    kni_cache_watch_blob(f.writer, blob, &sum, &largest);
    assert_int_equal(largest, 5);
    before = sum;
    kni_blob_file file;
    assert_int_equal(kni_cache_begin_blob(f.writer, blob, 1 << 20, &file, NULL), KN_OK);
    kni_cache_watch_blob(f.writer, blob, &sum, &largest);
    assert_int_not_equal(sum, before);
    assert_int_equal(largest, 5); // not what was reserved
    before = sum;
    assert_int_equal(kni_cache_append_blob(f.writer, &file, "1", 1, NULL), KN_OK);
    kni_cache_watch_blob(f.writer, blob, &sum, &largest);
    assert_int_not_equal(sum, before);
    assert_int_equal(largest, 5);
    before = sum;
    kni_cache_watch_blob(f.writer, blob, &sum, &largest);
    assert_int_equal(sum, before);
    kni_cache_abandon_blob(f.writer, &file);
    end(&f);
}

// A process that is killed with a temporary, and one that lives.
static void test_sweep(void **state)
{
    (void)state;
    fixture f = begin(false);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kni_blob_file file;
        if (kni_cache_begin_blob(f.writer, CACHE_COMMIT_1, 100, &file, NULL) != KN_OK ||
            kni_cache_append_blob(f.writer, &file, "x", 1, NULL) != KN_OK ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kni_blob_file mine;
    assert_int_equal(kni_cache_begin_blob(f.writer, CACHE_COMMIT_2, 100, &mine, NULL), KN_OK);
    // Strangers: of huggingface_hub, blobs, what only looks like ours.
    static const char *const strangers[] = {
        CACHE_COMMIT_1,
        CACHE_COMMIT_1 ".incomplete",
        CACHE_COMMIT_1 ".0a1b2c3d.incomplete",
        CACHE_COMMIT_1 ".kn-0a1b2c3.incomplete",
        CACHE_COMMIT_1 ".kn-0a1b2c3d4.incomplete",
        CACHE_COMMIT_1 ".kn-0A1B2C3D.incomplete",
        CACHE_COMMIT_1 ".kn-0a1b2c3d.incomplete.x",
    };
    for (size_t i = 0; i < KN_LEN(strangers); ++i)
        temp_dir_text(f.dir, below(BLOBS, strangers[i]), "");
    const size_t count = count_names(f.dir, BLOBS);
    assert_int_equal(count, KN_LEN(strangers) + 2);
    assert_int_equal(kni_cache_sweep(f.writer), 0);
    assert_int_equal(count_names(f.dir, BLOBS), count);
    // A link on its way, and the temporary of a dead process; what a planted link leads to stays.
    temp_dir_text(f.dir, "outside", "before");
    temp_dir_link(f.dir, BLOBS "/" CACHE_COMMIT_1 ".kn-0a1b2c3d.incomplete", "../../outside");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(kni_cache_sweep(f.writer), 2);
    assert_true(kni_file_exists(temp_dir_path(f.dir, "outside")));
    assert_int_equal(count_names(f.dir, BLOBS), KN_LEN(strangers) + 1);
    kni_cache_abandon_blob(f.writer, &mine);
    close(ready[0]);
    close(ready[1]);
    end(&f);
}

static void *sweep_all_the_time(void *user)
{
    fixture *f = user;
    for (int i = 0; i < 3000; ++i)
        kni_cache_sweep(f->writer);
    return NULL;
}

// Sweeping never takes what a living writer needs.
static void test_sweep_race(void **state)
{
    (void)state;
    fixture f = begin(false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sweep_all_the_time, &f), 0);
    for (int i = 0; i < 300; ++i) {
        char content[32], path[32];
        snprintf(content, sizeof(content), "content %d", i);
        snprintf(path, sizeof(path), "build/v/%d", i);
        const char *blob = put_blob(&f, content);
        assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, path, blob, true, NULL),
                         KN_OK);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(count_names(f.dir, BLOBS), 300);
    end(&f);
}

static void full_disk(void *user)
{
    const kni_repo repo = cache_repo();
    static char data[128 * 1024];
    kni_cache *cache = cache_open(user);
    kni_cache_writer *writer = NULL;
    kni_blob_file file;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK);
    assert_int_equal(kni_cache_begin_blob(writer, CACHE_COMMIT_1, sizeof(data), &file, &err),
                     KN_ERR_IO);
    cache_expect_error(&err, "cannot reserve the space: No space left on device: free some space");
    assert_int_equal(kni_cache_begin_blob(writer, CACHE_COMMIT_1, 0, &file, NULL), KN_OK);
    assert_int_equal(kni_cache_append_blob(writer, &file, data, sizeof(data), &err), KN_ERR_IO);
    cache_expect_error(&err, "cannot write: No space left on device: free some space");
    kni_cache_abandon_blob(writer, &file);
    assert_int_equal(count_names(user, BLOBS), 0);
    // With the room back, it goes on.
    assert_int_equal(kni_cache_begin_blob(writer, CACHE_COMMIT_1, 40000, &file, NULL), KN_OK);
    assert_int_equal(kni_cache_append_blob(writer, &file, data, 40000, NULL), KN_OK);
    assert_int_equal(kni_cache_commit_blob(writer, &file, NULL), KN_OK);

    assert_int_equal(mount(NULL, user, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_int_equal(kni_cache_begin_blob(writer, CACHE_COMMIT_2, 1, &file, &err), KN_ERR_IO);
    cache_expect_error(&err, "Read-only file system: name a cache directory that can be written");
    kni_blob_lock lock;
    assert_int_equal(kni_cache_lock_blob(writer, CACHE_COMMIT_1, &lock, &err), KN_ERR_UNSUPPORTED);
    cache_expect_error(&err, ".locks: cannot create the directory: Read-only file system");
    kni_cache_writer_close(writer);
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK);
    kni_cache_writer_close(writer);
    kni_cache_free(cache);
}

static void test_full_disk(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    cache_in_child(cache_small_disk, full_disk, dir);
    temp_dir_remove(dir);
}

static void other_user(void *user)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = cache_open(user);
    kni_cache *none = cache_open(temp_dir_path(user, "new/cache"));
    kni_cache_writer *writer = NULL;
    kni_blob_file file;
    kni_blob_lock lock;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_cache_writer_open(none, &repo, &writer, &err), KN_ERR_IO);
    cache_expect_error(&err, "KERNELS_CACHE");
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK); // all is there
    assert_int_equal(kni_cache_begin_blob(writer, CACHE_COMMIT_1, 1, &file, &err), KN_ERR_IO);
    cache_expect_error(&err, "it belongs to uid 0, this is uid 65534");
    assert_int_equal(kni_cache_lock_blob(writer, CACHE_COMMIT_1, &lock, &err), KN_ERR_UNSUPPORTED);
    cache_expect_error(&err, ".locks");
    assert_int_equal(kni_cache_link_file(writer, CACHE_COMMIT_1, "new",
                                         cache_blob_name("content", 40), true, &err),
                     KN_ERR_IO);
    kn_error_dispose(&err);
    // What is there needs no writing.
    assert_int_equal(kni_cache_link_file(writer, CACHE_COMMIT_1, "x",
                                         cache_blob_name("content", 40), true, NULL),
                     KN_OK);
    assert_int_equal(kni_cache_sweep(writer), 0);
    kni_cache_writer_close(writer);
    kni_cache_free(none);
    kni_cache_free(cache);
}

static void test_other_user(void **state)
{
    (void)state;
    fixture f = begin(false);
    const char *blob = put_blob(&f, "content");
    assert_int_equal(kni_cache_link_file(f.writer, CACHE_COMMIT_1, "x", blob, true, NULL), KN_OK);
    temp_dir_text(f.dir, BLOBS "/" CACHE_COMMIT_1 ".kn-0a1b2c3d.incomplete", "");
    assert_int_equal(chmod(f.dir, 0755), 0);
    cache_in_child(cache_other_user, other_user, f.dir);
    end(&f);
}

static void test_refused(void **state)
{
    (void)state;
    const kni_repo repo = cache_repo();
    static const char *const linked[] = {CACHE_REPO, BLOBS, CACHE_REPO "/snapshots"};
    kni_cache_writer *writer = NULL;
    kn_error err = KN_ERROR_INIT;
    for (size_t i = 0; i < KN_LEN(linked); ++i) {
        char *dir = temp_dir_new();
        kni_cache *cache = cache_open(dir);
        temp_dir_text(dir, "elsewhere/x", "");
        char target[512];
        snprintf(target, sizeof(target), "%s/elsewhere", dir);
        temp_dir_link(dir, linked[i], target);
        assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, &err), KN_ERR_UNTRUSTED);
        cache_expect_error(&err, "is a link");
        assert_int_equal(count_names(dir, "elsewhere"), 1);
        kni_cache_free(cache);
        temp_dir_remove(dir);
    }
    kni_cache *site = NULL;
    assert_int_equal(kni_cache_new("/nowhere", true, false, &site, NULL), KN_OK);
    assert_int_equal(kni_cache_writer_open(site, &repo, &writer, &err), KN_ERR_INVALID);
    cache_expect_error(&err, "site's cache");
    kni_cache_free(site);
    // A file where the cache should be.
    char *dir = temp_dir_new();
    temp_dir_text(dir, "file", "");
    kni_cache *cache = cache_open(temp_dir_path(dir, "file"));
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, &err), KN_ERR_IO);
    cache_expect_error(&err, "/file");
    assert_null(writer);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

static kn_status write_once(void *user, kn_error *err)
{
    const kni_repo repo = cache_repo();
    const char *blob = cache_blob_name("content", 40);
    kni_cache *cache = NULL;
    kni_cache_writer *writer = NULL;
    kni_blob_file file = KNI_BLOB_FILE_INIT;
    kni_blob_lock lock = KNI_BLOB_LOCK_INIT;
    const bool is_plain = user != NULL;
    char *dir = temp_dir_new();
    kn_status st = kni_cache_new(dir, false, is_plain, &cache, err);
    if (st == KN_OK)
        st = kni_cache_writer_open(cache, &repo, &writer, err);
    if (st == KN_OK)
        st = kni_cache_lock_blob(writer, blob, &lock, err);
    if (st == KN_OK)
        st = kni_cache_begin_blob(writer, blob, 7, &file, err);
    if (st == KN_OK)
        st = kni_cache_append_blob(writer, &file, "content", 7, err);
    if (st == KN_OK)
        st = kni_cache_commit_blob(writer, &file, err);
    if (st == KN_OK)
        st = kni_cache_link_file(writer, CACHE_COMMIT_1, "build/v/x", blob, false, err);
    if (st == KN_OK)
        st = kni_cache_link_file(writer, CACHE_COMMIT_1, "build/v/x", blob, false, err);
    kni_cache_unlock_blob(&lock);
    if (writer)
        kni_cache_abandon_blob(writer, &file);
    kni_cache_writer_close(writer);
    kni_cache_free(cache);
    temp_dir_remove(dir);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS, write_once, NULL) > 20);
    assert_true(fail_alloc_each(FAIL_OURS, write_once, "") > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),       cmocka_unit_test(test_blob),
        cmocka_unit_test(test_blob_hostile), cmocka_unit_test(test_shared_store),
        cmocka_unit_test(test_link),         cmocka_unit_test(test_without_symlinks),
        cmocka_unit_test(test_lock),         cmocka_unit_test(test_watch),
        cmocka_unit_test(test_sweep),        cmocka_unit_test(test_sweep_race),
        cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_other_user),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
