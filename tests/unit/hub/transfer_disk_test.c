// Disks that are full or read only, and a death between every two steps that change the disk.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/file_hub.h"
#include "support/temp_dir.h"

#include "support/cmocka.h"

enum {
    KB = 1024,
    SKIPPED = 77,
    NOBODY = 65534,
};

static int wait_for(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// In a child: runs it, and exits with its status when its error has `part`, else with 100.
static void run_and_exit(const file_hub *hub, const char *dir, const char *part)
{
    file_client client;
    kn_error err = KN_ERROR_INIT;
    file_client_open(&client, hub, dir);
    const kn_status st = kni_transfer_run(&client.transfer, &err);
    if (part && !strstr(kn_error_text(&err), part)) {
        fprintf(stderr, "'%s' lacks '%s'\n", kn_error_text(&err), part);
        _exit(100);
    }
    file_hub_check_cache(dir);
    file_client_close(&client);
    kn_error_dispose(&err);
    _exit(file_hub_n_incomplete(dir) ? 101 : (int)st);
}

static file_hub_file files_of_disk[] = {LARGE("build/v/a.so", 700 * KB),
                                        LARGE("build/v/b.so", 700 * KB),
                                        SMALL("build/v/metadata.json", 90)};

static void test_full_disk(void **state)
{
    (void)state;
    file_hub hub;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files_of_disk, KN_LEN(files_of_disk));
    const pid_t pid = fork();
    if (pid == 0) { // a small file system of its own
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0)
            _exit(SKIPPED);
        run_and_exit(&hub, dir, "No space left on device");
    }
    const int status = wait_for(pid);
    if (status == SKIPPED)
        print_message("  skipped: no right to mount\n");
    else
        assert_int_equal(status, KN_ERR_IO);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// A quota may hit in the middle of a file, where nothing could be reserved.
static void test_file_too_large(void **state)
{
    (void)state;
    file_hub hub;
    char *dir = temp_dir_new();
    file_hub_start(&hub, files_of_disk, KN_LEN(files_of_disk));
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){300 * KB, 300 * KB});
        run_and_exit(&hub, dir, "File too large");
    }
    assert_int_equal(wait_for(pid), KN_ERR_IO);
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

// Another user's cache: what is there is used; else the error names it, before the network is asked.
static void test_read_only(void **state)
{
    (void)state;
    file_hub hub;
    file_client client;
    char *dir = temp_dir_new();
    if (geteuid() != 0) {
        print_message("  skipped: not root\n");
        temp_dir_remove(dir);
        return;
    }
    file_hub_start(&hub, files_of_disk, KN_LEN(files_of_disk));
    chmod(dir, 0755);
    for (int is_filled = 0; is_filled < 2; ++is_filled) {
        if (is_filled) {
            file_client_open(&client, &hub, dir);
            assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
            file_client_close(&client);
        }
        const int before = file_hub_n_requests(&hub);
        const pid_t pid = fork();
        if (pid == 0) {
            if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
                _exit(102);
            run_and_exit(&hub, dir, is_filled ? NULL : "ermission denied");
        }
        assert_int_equal(wait_for(pid), is_filled ? KN_OK : KN_ERR_IO);
        assert_int_equal(file_hub_n_requests(&hub), before);
    }
    file_hub_stop(&hub);
    temp_dir_remove(dir);
}

static bool changes_disk(unsigned long long number)
{
    switch (number) {
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_symlinkat:
    case SYS_linkat:
    case SYS_unlinkat:
    case SYS_fdatasync:
    case SYS_fsync:
    case SYS_flock:
    case SYS_fallocate:
    case SYS_write:
    case SYS_pwrite64:
        return true;
    default:
        return false;
    }
}

// Lets the child run until it enters its nth call that changes the disk, and kills it there. False: it ended before.
static bool kill_at(pid_t child, int nth)
{
    int status = 0, n = 0;
    assert_int_equal(waitpid(child, &status, 0), child); // its own stop
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL,
                            PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE),
                     0);
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    for (;;) {
        const pid_t who = waitpid(-1, &status, __WALL);
        assert_true(who > 0);
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (who == child)
                return false;
            continue;
        }
        int number = WSTOPSIG(status);
        if (number == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            const long size = ptrace(PTRACE_GET_SYSCALL_INFO, who, sizeof(info), &info);
            assert_true(size > 0);
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY && changes_disk(info.entry.nr) && ++n == nth) {
                kill(child, SIGKILL);
                while (waitpid(child, &status, __WALL) == child && !WIFSIGNALED(status))
                    ;
                return true;
            }
            number = 0;
        } else if (number == SIGTRAP || number == SIGSTOP) {
            number = 0; // a new thread
        }
        ptrace(PTRACE_SYSCALL, who, NULL, number);
    }
}

static void test_death_at_every_step(void **state)
{
    (void)state;
    file_hub_file files[] = {LARGE("build/v/a.so", 50 * KB), SMALL("build/v/metadata.json", 90)};
    file_hub hub;
    int n = 0;
    bool died = true;
    file_hub_start(&hub, files, KN_LEN(files));
    while (died) {
        file_client client;
        char *dir = temp_dir_new();
        const pid_t child = fork();
        if (child == 0) {
            file_client_open(&client, &hub, dir);
            if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
                _exit(SKIPPED);
            raise(SIGSTOP);
            _exit((int)kni_transfer_run(&client.transfer, NULL));
        }
        died = kill_at(child, ++n);
        const char *meta = "kernels--o--n/snapshots/" FILE_HUB_COMMIT "/build/v/metadata.json";
        file_hub_check_cache(dir);
        if (access(temp_dir_path(dir, meta), F_OK) == 0)
            file_hub_check_whole(&hub, dir); // it comes last
        file_client_open(&client, &hub, dir);
        assert_int_equal(kni_transfer_run(&client.transfer, NULL), KN_OK);
        file_client_close(&client);
        file_hub_check_whole(&hub, dir);
        file_hub_check_cache(dir);
        assert_int_equal(file_hub_n_incomplete(dir), 0);
        temp_dir_remove(dir);
    }
    print_message("  %d steps\n", n - 1);
    assert_true(n > 20);
    file_hub_stop(&hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_file_too_large),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_death_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
