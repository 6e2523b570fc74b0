// One process: what is asked, what appears, and what does not when something is wrong.
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/file_hub.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#include "support/cmocka.h"

#define SO "build/v/kernel.so"
#define META "build/v/metadata.json"
#define TINY "build/v/sub dir/tiny.txt"

#define SNAPSHOT "kernels--o--n/snapshots/" FILE_HUB_COMMIT

enum {
    N_FILES = 3,
    BIG = 600 * 1024,
};

static const struct {
    const char *name;
    file_hub_file files[N_FILES];
    kn_status status;
    const char *error; // a part of it
    int n_gets;        // of all files; -1: any number
    int n_ranges;      // at least
} rows[] = {
    {"all well", {LARGE(SO, BIG), SMALL(META, 90), SMALL(TINY, 5)}, KN_OK, NULL, 3, 0},
    {"one blob for two files", {LARGE(SO, BIG), SMALL(META, 0), SMALL(TINY, 0)}, KN_OK, NULL, 1, 0},
    {"nothing but empty ones", {LARGE(SO, 0), SMALL(META, 0), SMALL(TINY, 0)}, KN_OK, NULL, 0, 0},
    {"masked names",
     {LARGE(SO, BIG, .is_masked = true), SMALL(META, 90, .is_masked = true),
      SMALL(TINY, 0, .is_masked = true)},
     KN_OK,
     NULL,
     2,
     0},
    {"a body that breaks off goes on where it was",
     {LARGE(SO, BIG, .fault = FILE_SHORT, .times = 1), SMALL(META, 90), SMALL(TINY, 5)},
     KN_OK,
     NULL,
     4,
     1},
    {"a reset too",
     {LARGE(SO, BIG, .fault = FILE_RESET, .times = 1), SMALL(META, 90), SMALL(TINY, 5)},
     KN_OK,
     NULL,
     4,
     0},
    {"a server that is busy for a moment",
     {LARGE(SO, BIG, .fault = FILE_BUSY, .times = 1), SMALL(META, 90), SMALL(TINY, 5)},
     KN_OK,
     NULL,
     4,
     0},
    {"an ETag that leads out of the cache names nothing",
     {LARGE(SO, BIG, .etag = "../../../../evil"), SMALL(META, 90), SMALL(TINY, 5)},
     KN_OK,
     NULL,
     3,
     0},
    {"no commit",
     {LARGE(SO, BIG, .named = ""), SMALL(META, 90), SMALL(TINY, 5)},
     KN_OK,
     NULL,
     3,
     0},
    {"wrong bytes",
     {LARGE(SO, BIG, .fault = FILE_WRONG), SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "o/n: " SO ": the 614400 bytes that came have the SHA-256 ",
     -1,
     0},
    {"wrong bytes of a small file",
     {LARGE(SO, BIG), SMALL(META, 90, .fault = FILE_WRONG), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "o/n: " META ": the 90 bytes that came have the git hash ",
     -1,
     0},
    {"wrong bytes of a masked one",
     {LARGE(SO, BIG, .is_masked = true, .fault = FILE_WRONG), SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "SHA-256",
     -1,
     0},
    {"another commit",
     {LARGE(SO, BIG), SMALL(META, 90, .named = "ffffffffffffffffffffffffffffffffffffffff"),
      SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "is of commit 'ffffffffffffffffffffffffffffffffffffffff': expected " FILE_HUB_COMMIT,
     -1,
     0},
    {"a commit that is a path",
     {LARGE(SO, BIG, .named = "../../evil"), SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "commit",
     -1,
     0},
    {"a masked name that leads out of the cache",
     {LARGE(SO, BIG, .is_masked = true, .etag = "../../../../evil"), SMALL(META, 90),
      SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "ETag",
     0,
     0},
    {"as long as a hash",
     {LARGE(SO, BIG, .is_masked = true,
            .etag = "../../../../../../../../../../../../../../../../../../../../evil"),
      SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "ETag",
     0,
     0},
    {"of a small file",
     {SMALL(SO, 10, .is_masked = true, .etag = "../../../../evil"), SMALL(META, 90),
      SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "ETag",
     0,
     0},
    {"a masked large file with a small one's name",
     {LARGE(SO, BIG, .is_masked = true, .etag = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
      SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "expected 64 hexadecimal digits",
     0,
     0},
    {"a masked name of other content",
     {SMALL(SO, 10, .is_masked = true, .etag = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
      SMALL(META, 90), SMALL(TINY, 5)},
     KN_ERR_UNTRUSTED,
     "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
     -1,
     0},
    {"a file that is gone",
     {LARGE(SO, BIG), SMALL(META, 90), SMALL(TINY, 5, .fault = FILE_GONE)},
     KN_ERR_NOT_FOUND,
     "o/n: " TINY,
     -1,
     0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        file_hub_file files[N_FILES];
        file_hub hub;
        file_client client;
        kn_error err = KN_ERROR_INIT;
        char *dir = temp_dir_new();
        print_message("  %s\n", rows[i].name);
        memcpy(files, rows[i].files, sizeof(files));
        file_hub_start(&hub, files, N_FILES);
        file_client_open(&client, &hub, dir);
        const kn_status st = kni_transfer_run(&client.transfer, &err);
        if (st != rows[i].status)
            fail_msg("status %d: %s", (int)st, kn_error_text(&err));
        if (rows[i].error && !strstr(kn_error_text(&err), rows[i].error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].error);
        int n_gets = 0, n_ranges = 0;
        for (size_t f = 0; f < N_FILES; ++f) {
            n_gets += file_hub_n_gets(&hub, f);
            n_ranges += file_hub_n_ranges(&hub, f);
        }
        if (rows[i].n_gets >= 0)
            assert_int_equal(n_gets, rows[i].n_gets);
        assert_true(n_ranges >= rows[i].n_ranges);
        file_hub_check_cache(dir);
        assert_int_equal(file_hub_n_incomplete(dir), 0);
        assert_int_not_equal(access(temp_dir_path(dir, "../evil"), F_OK), 0);
        if (st == KN_OK) {
            file_hub_check_whole(&hub, dir);
            const int before = file_hub_n_requests(&hub);
            for (size_t f = 0; f < N_FILES; ++f) // names are known now
                memcpy(strlen(files[f].blob) == 64 ? files[f].listed.sha256 : files[f].listed.oid,
                       files[f].blob, strlen(files[f].blob) + 1);
            assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
            assert_int_equal(file_hub_n_requests(&hub), before);
        } else { // what failed left nothing in the snapshot
            assert_int_not_equal(access(temp_dir_path(dir, SNAPSHOT), F_OK), 0);
        }
        kn_error_dispose(&err);
        file_client_close(&client);
        file_hub_stop(&hub);
        temp_dir_remove(dir);
    }
}

// A blob of the wrong size is not the blob; blobs alone are no snapshot.
static void test_repair(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE(SO, BIG), SMALL(META, 90)};
    file_hub hub;
    file_client client;
    char *dir = temp_dir_new(), name[256];
    file_hub_start(&hub, files, 2);
    snprintf(name, sizeof(name), "kernels--o--n/blobs/%s", files[0].blob);
    temp_dir_text(dir, name, "cut off");
    file_client_open(&client, &hub, dir);
    client.transfer.links = false;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_int_equal(file_hub_check_cache(dir), 2);
    assert_int_not_equal(access(temp_dir_path(dir, SNAPSHOT), F_OK), 0);
    client.transfer.links = true;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    file_hub_check_whole(&hub, dir);
    assert_int_equal(file_hub_n_requests(&hub), 2);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// Without links the blobs move into the snapshot; one that two files name is there twice, and all of it counts as there later.
static void test_without_links(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE(SO, BIG), SMALL(META, 0), SMALL(TINY, 0)};
    file_hub hub;
    file_client client;
    struct stat info;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 3);
    file_client_open(&client, &hub, dir);
    kni_cache_free(client.cache);
    assert_int_equal(kni_cache_new(dir, false, true, &client.cache, NULL), KN_OK);
    client.transfer.cache = client.cache;
    for (int i = 0; i < 2; ++i) {
        assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
        file_hub_check_whole(&hub, dir);
        assert_int_equal(lstat(temp_dir_path(dir, SNAPSHOT "/" SO), &info), 0);
        assert_true(S_ISREG(info.st_mode));
        assert_int_equal(file_hub_check_cache(dir), 0);
        assert_int_equal(file_hub_n_requests(&hub), 1);
    }
    // One that is damaged comes again.
    assert_int_equal(unlink(temp_dir_path(dir, SNAPSHOT "/" META)), 0);
    temp_dir_text(dir, SNAPSHOT "/" SO, "cut off");
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    file_hub_check_whole(&hub, dir);
    assert_int_equal(file_hub_n_requests(&hub), 2);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// Somebody empties the cache between the download and the links: it begins again.
typedef struct thief {
    const char *dir;
    const file_hub *hub;
    bool is_done;
} thief;

static int steal(void *user, const kn_progress *progress)
{
    thief *who = user;
    char path[256];
    snprintf(path, sizeof(path), "kernels--o--n/blobs/%s", who->hub->files[1].blob);
    if (!who->is_done && progress->files_done == 1)
        who->is_done = unlink(temp_dir_path(who->dir, path)) == 0;
    return 0;
}

static void test_emptied_meanwhile(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE(SO, 4 * BIG, .fault = FILE_SLOW), SMALL(META, 90)};
    file_hub hub;
    file_client client;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 2);
    thief who = {dir, &hub, false};
    file_client_open(&client, &hub, dir);
    client.transfer.progress = steal;
    client.transfer.progress_user = &who;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_true(who.is_done);
    file_hub_check_whole(&hub, dir);
    assert_int_equal(file_hub_n_requests(&hub), 3);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// One blob of which the listing tells two sizes.
static void test_two_sizes(void **state)
{
    (void)state;
    file_hub_file files[] = {SMALL(SO, 10), SMALL(META, 10)};
    file_hub hub;
    file_client client;
    kn_error err = KN_ERROR_INIT;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 2);
    file_client_open(&client, &hub, dir);
    strcpy(files[1].listed.oid, files[0].listed.oid);
    files[1].listed.size = 11;
    assert_int_equal(kni_transfer_run(&client.transfer, &err), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "10 bytes for " SO " and 11 for " META));
    assert_int_equal(file_hub_n_requests(&hub), 0);
    kn_error_dispose(&err);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

typedef struct listener {
    int count, done, cancel_at;
    bool was_waiting;
    kn_progress last;
} listener;

static int listen_to(void *user, const kn_progress *progress)
{
    listener *heard = user;
    assert_true(progress->bytes_done <= progress->bytes_total);
    assert_true(progress->files_done <= progress->files_total);
    assert_int_equal(heard->done, 0);
    heard->done = (int)progress->is_done;
    heard->was_waiting |= progress->is_waiting != 0;
    heard->last = *progress;
    return ++heard->count == heard->cancel_at;
}

static void test_progress(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE(SO, 4 * BIG, .fault = FILE_SLOW), SMALL(META, 90),
                             SMALL(TINY, 0)};
    file_hub hub;
    file_client client;
    listener heard = {0};
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 3);
    file_client_open(&client, &hub, dir);
    client.transfer.progress = listen_to;
    client.transfer.progress_user = &heard;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_true(heard.count >= 3); // it takes 0.38 s or more
    assert_int_equal(heard.done, 1);
    assert_false(heard.was_waiting);
    assert_int_equal(heard.last.bytes_done, 4 * BIG + 90);
    assert_int_equal(heard.last.bytes_total, 4 * BIG + 90);
    assert_int_equal(heard.last.files_done, 3);
    assert_int_equal(heard.last.files_total, 3);
    heard = (listener){0};
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_int_equal(heard.count, 0); // there was nothing to do
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// Also while nothing arrives at all.
static void test_cancel(void **state)
{
    (void)state;
    static const file_fault faults[] = {FILE_NEVER, FILE_STALL, FILE_SLOW};
    for (size_t i = 0; i < KN_LEN(faults); ++i) {
        file_hub_file files[] = {LARGE(SO, 40 * BIG, .fault = faults[i]), SMALL(META, 90)};
        file_hub hub;
        file_client client;
        listener heard = {.cancel_at = 4};
        kn_error err = KN_ERROR_INIT;
        char *dir = temp_dir_new();
        file_hub_start(&hub, files, 2);
        file_client_open(&client, &hub, dir);
        client.transfer.progress = listen_to;
        client.transfer.progress_user = &heard;
        assert_int_equal(kni_transfer_run(&client.transfer, &err), KN_ERR_CANCELLED);
        assert_string_equal(kn_error_text(&err), "o/n: the download was cancelled");
        assert_int_equal(heard.count, 5);
        assert_int_equal(heard.done, 1);
        assert_int_equal(file_hub_check_cache(dir), 1); // what was complete stays
        assert_int_equal(file_hub_n_incomplete(dir), 0);
        kn_error_dispose(&err);
        file_client_close(&client);
        file_hub_stop(&hub);
        temp_dir_remove(dir);
    }
}

// So much that threads share it: one file fails the others, or all are there.
static void test_threads(void **state)
{
    (void)state;
    enum { N = 24, SIZE = 1 << 20 };
    for (int fails = 0; fails < 3; ++fails) {
        file_hub_file files[N];
        char names[N][32];
        file_hub hub;
        file_client client;
        listener heard = {.cancel_at = fails == 2 ? 1 : 0};
        kn_error err = KN_ERROR_INIT;
        char *dir = temp_dir_new();
        for (int i = 0; i < N; ++i) {
            snprintf(names[i], sizeof(names[i]), "build/v/%d.so", i);
            files[i] = (file_hub_file)LARGE(names[i], SIZE - (size_t)i);
        }
        if (fails == 1)
            files[7].fault = FILE_WRONG;
        file_hub_start(&hub, files, N);
        file_client_open(&client, &hub, dir);
        client.transfer.progress = listen_to;
        client.transfer.progress_user = &heard;
        const kn_status st = kni_transfer_run(&client.transfer, &err);
        static const kn_status expected[] = {KN_OK, KN_ERR_UNTRUSTED, KN_ERR_CANCELLED};
        if (st != expected[fails])
            fail_msg("%s", kn_error_text(&err));
        if (fails == 1)
            assert_non_null(strstr(kn_error_text(&err), "o/n: build/v/7.so: the 1048569 bytes"));
        assert_int_equal(heard.done, 1);
        assert_int_equal(file_hub_n_incomplete(dir), 0);
        const size_t n_blobs = file_hub_check_cache(dir);
        assert_true(fails ? n_blobs < N : n_blobs == N);
        if (!fails) {
            assert_int_equal(file_hub_n_requests(&hub), N);
            file_hub_check_whole(&hub, dir);
        }
        kn_error_dispose(&err);
        file_client_close(&client);
        file_hub_stop(&hub);
        temp_dir_remove(dir);
    }
}

// With each allocation failing in turn, alone and with all after it. What is only looked for (is a file there?) may do without.
static void test_no_memory(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE(SO, 90), SMALL(META, 90)};
    file_hub hub;
    file_client client;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 2);
    file_client_open(&client, &hub, dir);
    for (int persist = 0; persist < 2; ++persist) {
        size_t n = 0, n_refused = 0;
        for (bool failed = true; failed;) {
            kn_error err = KN_ERROR_INIT;
            if (kni_dir_exists(temp_dir_path(dir, "kernels--o--n")))
                temp_dir_remove(strdup(temp_dir_path(dir, "kernels--o--n")));
            fail_alloc_install(FAIL_OURS, ++n, persist);
            const kn_status st = kni_transfer_run(&client.transfer, &err);
            kn_error_dispose(&err);
            failed = fail_alloc_remove();
            if (st != KN_OK)
                assert_int_equal(st, KN_ERR_NO_MEMORY);
            n_refused += st != KN_OK;
            assert_true(st == KN_ERR_NO_MEMORY || file_hub_check_cache(dir) == 2);
            assert_int_equal(file_hub_n_incomplete(dir), 0);
        }
        print_message("  %zu allocations, %zu of them needed\n", n - 1, n_refused);
        assert_true(n_refused > 10);
    }
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_two_sizes),
        cmocka_unit_test(test_without_links),
        cmocka_unit_test(test_emptied_meanwhile),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
