// Many processes on one cache, and processes that die.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hub/file_hub.h"
#include "hub/transfer_run.h"
#include "support/temp_dir.h"

#include "support/cmocka.h"

enum {
    N_PROCESSES = 64,
    N_KILLS = 10, // KN_TEST_KILLS: more
    KB = 1024,
};

static pid_t start(const file_hub *hub, const char *dir, kn_progress_fn progress)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    file_client client;
    kn_error err = KN_ERROR_INIT;
    file_client_open(&client, hub, dir);
    client.transfer.progress = progress;
    const kn_status st = kni_transfer_run(&client.transfer, &err);
    if (st != KN_OK && st != KN_ERR_CANCELLED)
        fprintf(stderr, "%d: %s\n", (int)getpid(), kn_error_text(&err));
    file_client_close(&client);
    kn_error_dispose(&err);
    _exit((int)st);
}

static int wait_for(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void kill_now(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(wait_for(pid), -SIGKILL);
}

static void until_asked(const file_hub *hub, int n)
{
    while (file_hub_n_requests(hub) < n)
        usleep(1000);
}

static void check_end(const file_hub *hub, const char *dir)
{
    file_hub_check_whole(hub, dir);
    file_hub_check_cache(dir);
    assert_int_equal(file_hub_n_incomplete(dir), 0);
}

static void test_64_processes(void **state)
{
    (void)state;
    file_hub_file files[] = {
        LARGE("build/v/a.so", 300 * KB, .fault = FILE_SLOW),
        LARGE("build/v/b.so", 200 * KB, .fault = FILE_SLOW),
        SMALL("build/v/c.py", 300),
        SMALL("build/v/d.py", 400),
        SMALL("build/v/e.py", 0),
        LARGE("build/v/f.so", 100 * KB),
        SMALL("build/v/metadata.json", 90),
    };
    file_hub hub;
    pid_t pids[N_PROCESSES];
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, KN_LEN(files));
    for (size_t i = 0; i < N_PROCESSES; ++i)
        pids[i] = start(&hub, dir, NULL);
    for (size_t i = 0; i < N_PROCESSES; ++i)
        assert_int_equal(wait_for(pids[i]), KN_OK);
    for (size_t f = 0; f < KN_LEN(files); ++f)
        assert_int_equal(file_hub_n_gets(&hub, f), files[f].size > 0);
    check_end(&hub, dir);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

typedef struct listener {
    bool was_waiting, was_done;
    uint64_t bytes_waiting; // the most that was seen while it waited
} listener;

static int listen_to(void *user, const kn_progress *progress)
{
    listener *heard = user;
    if (progress->is_waiting) {
        heard->was_waiting = true;
        if (progress->bytes_done > heard->bytes_waiting)
            heard->bytes_waiting = progress->bytes_done;
    }
    heard->was_done = progress->is_done != 0;
    return 0;
}

// It shows another's download as its own, and makes none.
static void test_wait(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE("build/v/a.so", 6000 * KB, .fault = FILE_SLOW)};
    file_hub hub;
    file_client client;
    listener heard = {0};
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 1);
    const pid_t other = start(&hub, dir, NULL);
    until_asked(&hub, 1);
    file_client_open(&client, &hub, dir);
    client.transfer.progress = listen_to;
    client.transfer.progress_user = &heard;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_int_equal(wait_for(other), KN_OK);
    assert_true(heard.was_waiting && heard.was_done);
    assert_true(heard.bytes_waiting > 0);
    assert_int_equal(file_hub_n_gets(&hub, 0), 1);
    check_end(&hub, dir);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// What another does not have is downloaded while the rest is waited for.
static void test_wait_and_work(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE("build/v/a.so", 3000 * KB, .fault = FILE_SLOW),
                             LARGE("build/v/b.so", 100 * KB)};
    file_hub hub, first;
    file_client client;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 2);
    first = hub;
    first.n_files = 1;
    const pid_t other = start(&first, dir, NULL);
    until_asked(&hub, 1);
    file_client_open(&client, &hub, dir);
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
    assert_int_equal(wait_for(other), KN_OK);
    assert_int_equal(file_hub_n_requests(&hub), 2);
    check_end(&hub, dir);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// The other dies (its lock is free then), or stands still (it is not).
static void test_take_over(void **state)
{
    (void)state;
    for (int dies = 0; dies < 2; ++dies) {
        file_hub_file files[] = {
            LARGE("build/v/a.so", 500 * KB, .fault = FILE_STALL, .times = 1),
            SMALL("build/v/metadata.json", 90, .fault = FILE_NEVER, .times = 1)};
        file_hub hub;
        char *dir = temp_dir_new();
        print_message("  %s\n", dies ? "killed" : "stopped");
        file_hub_start(&hub, files, 2);
        const pid_t other = start(&hub, dir, NULL);
        until_asked(&hub, 2);
        if (!dies)
            kill(other, SIGSTOP);
        const pid_t waiter = fork();
        if (waiter == 0) {
            file_client client;
            file_client_open(&client, &hub, dir);
            client.transfer.stall_ms = dies ? 0 : 300;
            _exit((int)kni_transfer_run(&client.transfer, NULL));
        }
        usleep(150000); // it waits now, or will find the lock free
        if (dies)
            kill_now(other);
        assert_int_equal(wait_for(waiter), KN_OK);
        assert_int_equal(file_hub_n_gets(&hub, 0), 2);
        assert_int_equal(file_hub_n_gets(&hub, 1), 2);
        file_hub_check_whole(&hub, dir);
        if (!dies) {
            kill(other, SIGCONT);
            kill_now(other);
        }
        assert_int_equal(wait_for(start(&hub, dir, NULL)), KN_OK); // sweeps
        assert_int_equal(file_hub_n_requests(&hub), 4);
        check_end(&hub, dir);
        file_hub_stop(&hub);
        temp_dir_remove(dir);
    }
}

// A wait that begins late in a long run has all of its patience.
static void test_patience(void **state)
{
    (void)state;
    kni_want wants[2] = {{.lock = KNI_BLOB_LOCK_INIT}, {.lock = KNI_BLOB_LOCK_INIT}};
    kni_run run = {.wants = wants, .n_wants = 2};
    kni_want_settle(&run, &wants[0], KNI_WANT_WAITING);
    assert_true(run.growth_ms > 0);
    run.growth_ms = 1;
    kni_want_settle(&run, &wants[1], KNI_WANT_WAITING); // the first waits already
    assert_int_equal(run.growth_ms, 1);
    kni_want_settle(&run, &wants[0], KNI_WANT_DONE);
    kni_want_settle(&run, &wants[1], KNI_WANT_DONE);
    assert_int_equal(run.n_waiting, 0);
    kni_want_settle(&run, &wants[0], KNI_WANT_WAITING);
    assert_true(run.growth_ms > 1);
}

static int cancel_the_wait(void *user, const kn_progress *progress)
{
    (void)user;
    return progress->is_waiting && !progress->is_done;
}

// While another downloads, which goes on undisturbed.
static void test_cancel_a_wait(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE("build/v/a.so", 3000 * KB, .fault = FILE_SLOW)};
    file_hub hub;
    file_client client;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 1);
    const pid_t other = start(&hub, dir, NULL);
    until_asked(&hub, 1);
    file_client_open(&client, &hub, dir);
    client.transfer.progress = cancel_the_wait;
    assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_ERR_CANCELLED);
    assert_int_equal(wait_for(other), KN_OK);
    check_end(&hub, dir);
    file_client_close(&client);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

static volatile sig_atomic_t is_interrupted;
static void interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}
static int stop_when_interrupted(void *user, const kn_progress *progress)
{
    (void)user;
    (void)progress;
    return is_interrupted;
}

static void test_sigint(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE("build/v/a.so", 500 * KB, .fault = FILE_STALL, .times = 2),
                             LARGE("build/v/b.so", 100 * KB)};
    file_hub hub;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files, 2);
    // With a handler and a callback that asks it; then without: as if it were killed.
    struct sigaction before, handler = {.sa_handler = interrupt};
    sigaction(SIGINT, &handler, &before);
    pid_t pid = start(&hub, dir, stop_when_interrupted);
    sigaction(SIGINT, &before, NULL);
    until_asked(&hub, 2);
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), KN_ERR_CANCELLED);
    file_hub_check_cache(dir);
    assert_int_equal(file_hub_n_incomplete(dir), 0);
    signal(SIGINT, SIG_DFL);
    const int asked = file_hub_n_requests(&hub);
    pid = start(&hub, dir, NULL);
    until_asked(&hub, asked + 1);
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), -SIGINT);
    assert_int_equal(wait_for(start(&hub, dir, NULL)), KN_OK);
    check_end(&hub, dir);
    sigaction(SIGINT, &before, NULL);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

static void test_kill_at_random(void **state)
{
    (void)state;
    const char *text = getenv("KN_TEST_KILLS");
    const int n_kills = text ? atoi(text) : N_KILLS;
    const unsigned seed = (unsigned)time(NULL);
    print_message("  seed %u\n", seed);
    srand(seed);
    file_hub_file files[] = {LARGE("build/v/a.so", 300 * KB, .fault = FILE_SLOW),
                             LARGE("build/v/b.so", 900 * KB), SMALL("build/v/c.py", 300),
                             SMALL("build/v/metadata.json", 90)};
    file_hub hub;
    file_hub_start(&hub, files, KN_LEN(files));
    char *dir = temp_dir_new();
    for (int i = 0; i < n_kills; ++i) {
        const pid_t victim = start(&hub, dir, NULL);
        usleep((useconds_t)(rand() % 120000));
        kill(victim, SIGKILL);
        const int status = wait_for(victim);
        assert_true(status == -SIGKILL || status == KN_OK);
        file_hub_check_cache(dir);
        if (i % 3 == 2) { // a usable cache, and nothing of the dead in it
            assert_int_equal(wait_for(start(&hub, dir, NULL)), KN_OK);
            check_end(&hub, dir);
            temp_dir_remove(dir);
            dir = temp_dir_new();
        }
    }
    assert_int_equal(wait_for(start(&hub, dir, NULL)), KN_OK);
    check_end(&hub, dir);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64_processes),  cmocka_unit_test(test_wait),
        cmocka_unit_test(test_wait_and_work), cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_patience),      cmocka_unit_test(test_cancel_a_wait),
        cmocka_unit_test(test_sigint),        cmocka_unit_test(test_kill_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
