// Writers that are killed at any moment leave a cache that can be used: nothing under its final name that is not whole, no ref without
// its snapshot, and no temporary after the next one's sweep.
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "base/alloc.h"
#include "hub/cache_write.h"
#include "support/cache_dir.h"

enum {
    N_KILLS = 60,
    N_FILES = 6,
};

static const char *const commits[] = {CACHE_COMMIT_1, CACHE_COMMIT_2};

static void put(kni_cache_writer *writer, const char *commit, const char *path, const char *content)
{
    const char *blob = cache_blob_name(content, 40);
    kni_blob_file file;
    if (!kni_cache_has_blob(writer, blob, strlen(content)) &&
        kni_cache_begin_blob(writer, blob, strlen(content), &file, NULL) == KN_OK) {
        kni_cache_append_blob(writer, &file, content, strlen(content), NULL);
        kni_cache_commit_blob(writer, &file, NULL);
    }
    kni_cache_link_file(writer, commit, path, blob, false, NULL);
}

// Fills snapshots and takes them away again, until it is killed.
static void work(const char *dir, bool without_symlinks)
{
    const kni_repo repo = cache_repo();
    kni_cache *cache = NULL;
    kni_cache_writer *writer = NULL;
    uint64_t freed;
    if (kni_cache_new(dir, false, without_symlinks, &cache, NULL) != KN_OK)
        _exit(1);
    for (unsigned round = 0;; ++round) {
        const char *commit = commits[round % 2];
        if (kni_cache_writer_open(cache, &repo, &writer, NULL) != KN_OK)
            _exit(1);
        for (unsigned i = 0; i < N_FILES; ++i) {
            char path[32], content[64];
            snprintf(path, sizeof(path), "build/v/%u", i);
            snprintf(content, sizeof(content), "%s of %u", i ? "own" : "shared", i ? round % 2 : 0);
            put(writer, commit, path, content);
        }
        kni_cache_writer_close(writer);
        kni_cache_write_ref(cache, &repo, round % 2 ? "main" : "refs/pr/1", commit, NULL);
        if (round % 3 == 2)
            kni_cache_remove(cache, &repo, commit, &freed, NULL);
    }
}

// Each file that is there has its content: by its blob's name, or (no symlinks) by being one of those that were put.
static void check_files(const kni_cache *cache, const char *commit)
{
    const kni_repo repo = cache_repo();
    for (unsigned i = 0; i < N_FILES; ++i) {
        char path[32];
        kni_cached_file file;
        kn_error err = KN_ERROR_INIT;
        snprintf(path, sizeof(path), "build/v/%u", i);
        const kn_status st = kni_cache_open_file(cache, &repo, commit, path, &file, &err);
        if (st == KN_ERR_NOT_FOUND) {
            kn_error_dispose(&err);
            continue;
        }
        if (st != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        char text[64] = "";
        assert_true(pread(file.fd, text, sizeof(text) - 1, 0) > 0);
        assert_non_null(strstr(text, " of "));
        if (file.blob[0])
            assert_int_equal(kni_blob_check(file.fd, file.blob, path, NULL), KN_OK);
        close(file.fd);
    }
}

// What lies in blobs/ is a whole blob, or one of our temporaries (then it is counted).
static size_t check_blobs(const char *dir)
{
    size_t n_temporaries = 0;
    kni_names names;
    if (kni_dir_list(temp_dir_path(dir, CACHE_REPO "/blobs"), &names, NULL) != KN_OK)
        return 0;
    for (size_t i = 0; i < names.count; ++i) {
        char path[256];
        if (strstr(names.names[i], ".incomplete")) {
            ++n_temporaries;
            continue;
        }
        snprintf(path, sizeof(path), CACHE_REPO "/blobs/%s", names.names[i]);
        const int fd = open(temp_dir_path(dir, path), O_RDONLY | O_NOFOLLOW);
        assert_int_equal(kni_blob_check(fd, names.names[i], path, NULL), KN_OK);
        close(fd);
    }
    kni_names_free(&names);
    return n_temporaries;
}

static const char *const refs[] = {"main", "refs/pr/1"};

static void check_refs(const char *dir, const kni_cache *cache)
{
    const kni_repo repo = cache_repo();
    for (size_t i = 0; i < KN_LEN(refs); ++i) {
        char commit[KNI_COMMIT_SIZE], path[128];
        const kn_status st = kni_cache_read_ref(cache, &repo, refs[i], commit, NULL);
        if (st == KN_ERR_NOT_FOUND)
            continue;
        assert_int_equal(st, KN_OK);
        snprintf(path, sizeof(path), CACHE_REPO "/snapshots/%s", commit);
        assert_true(kni_dir_exists(temp_dir_path(dir, path)));
    }
    // Nothing else lies there: huggingface_hub would take it for a ref.
    kni_names names = {NULL, 0, 0};
    if (kni_tree_list(temp_dir_path(dir, CACHE_REPO "/refs"), &names, NULL) == KN_OK)
        for (size_t i = 0; i < names.count; ++i)
            assert_true(strcmp(names.names[i], refs[0]) == 0 ||
                        strcmp(names.names[i], refs[1]) == 0);
    kni_names_free(&names);
}

static size_t kill_often(bool without_symlinks)
{
    const kni_repo repo = cache_repo();
    size_t n_left = 0;
    char *dir = temp_dir_new();
    kni_cache *cache = cache_open(dir);
    for (int i = 0; i < N_KILLS; ++i) {
        fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            work(dir, without_symlinks);
        // A different moment each time, over several rounds of its work.
        const struct timespec pause = {.tv_nsec = 1000000L + (i * 7919 % 97) * 150000L};
        nanosleep(&pause, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        n_left += check_blobs(dir);
        check_refs(dir, cache);
        for (size_t c = 0; c < KN_LEN(commits); ++c)
            check_files(cache, commits[c]);
        kni_cache_writer *writer = NULL;
        assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK);
        kni_cache_sweep(writer);
        kni_cache_writer_close(writer);
        assert_int_equal(check_blobs(dir), 0);
    }
    kni_cache_free(cache);
    temp_dir_remove(dir);
    return n_left;
}

static void test_kill(void **state)
{
    (void)state;
    const size_t n_links = kill_often(false), n_copies = kill_often(true);
    print_message("  %zu and %zu temporaries were swept\n", n_links, n_copies);
}

// A removal that was broken off: the snapshot in its trash goes with the next sweep.
static void test_trash(void **state)
{
    (void)state;
    static const char trash[] =
        CACHE_REPO "/blobs/" CACHE_COMMIT_1 ".kn-0a1b2c3d.incomplete/" CACHE_COMMIT_1;
    const kni_repo repo = cache_repo();
    char *dir = temp_dir_new();
    char path[512];
    kni_cache *cache = cache_open(dir);
    kni_cache_writer *writer = NULL;
    assert_int_equal(kni_cache_writer_open(cache, &repo, &writer, NULL), KN_OK);
    snprintf(path, sizeof(path), "%s/build/v/x", trash);
    temp_dir_text(dir, path, "x");
    temp_dir_text(dir, "outside/y", "y");
    snprintf(path, sizeof(path), "%s/linked", trash);
    temp_dir_link(dir, path, "../../../../outside");
    assert_int_equal(kni_cache_sweep(writer), 1);
    assert_int_equal(check_blobs(dir), 0);
    assert_true(kni_file_exists(temp_dir_path(dir, "outside/y")));
    kni_cache_writer_close(writer);
    kni_cache_free(cache);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trash),
        cmocka_unit_test(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
