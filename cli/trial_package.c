#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "output.h"
#include "trial.h"

#define TRIAL_SECONDS_MAX 600

// What the trial's process leaves for the one that waits.
typedef struct report {
    bool is_done;
    kn_status status;
    cli_trial_counts counts;
    char progress[512];
    char text[2048];
} report;

static kn_status run(const char *root, report *out, kn_error *err)
{
    kn_context *ctx = NULL;
    kn_kernel *kernel = NULL;
    // This machine, whatever KERNELS_DEVICE says.
    kn_status st = kn_context_open(KN_CONTEXT_OPTIONS(.device = "cpu"), &ctx, err);
    if (st == KN_OK)
        st = kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = root), &kernel, NULL, err);
    const kn_package *package = st == KN_OK ? kn_kernel_package(kernel) : NULL;
    for (size_t i = 0; st == KN_OK && i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        st = kn_package_layer_get(package, i, &layer, err);
        if (st == KN_OK)
            st = cli_trial_layer(kernel, &layer, &out->counts, out->progress, sizeof(out->progress),
                                 err);
    }
    kn_context_close(ctx);
    return st;
}

_Noreturn static void be_the_trial(const char *root, report *out)
{
    kn_error err = KN_ERROR_INIT;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(TRIAL_SECONDS_MAX);
    out->status = run(root, out, &err);
    snprintf(out->text, sizeof(out->text), "%s", kn_error_text(&err));
    kn_error_dispose(&err);
    out->is_done = true;
    _exit(0);
}

static kn_status read_report(const report *seen, int status, cli_trial_counts *counts,
                             kn_error *err)
{
    const char *at = seen->progress[0] ? seen->progress : "loading the library";
    if (seen->is_done) {
        *counts = seen->counts;
        return seen->status == KN_OK ? KN_OK : kn_error_set(err, seen->status, "%s", seen->text);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return kn_error_set(err, KN_ERR_CALL, "%s: did not end within %d s", at, TRIAL_SECONDS_MAX);
    if (WIFSIGNALED(status))
        return kn_error_set(err, KN_ERR_CALL, "%s: crashed: %s", at, strsignal(WTERMSIG(status)));
    return kn_error_set(err, KN_ERR_CALL, "%s: ended the process with status %d", at,
                        WEXITSTATUS(status));
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

// Waits for the trial, and ends it when this process is told to end: so the caller can tidy up.
static kn_status wait_for(pid_t child, int *status, kn_error *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction told = {.sa_handler = interrupt}, before[KN_LEN(signals)];
    kn_status st = KN_OK;
    for (size_t i = 0; i < KN_LEN(signals); ++i)
        sigaction(signals[i], &told, &before[i]);
    while (waitpid(child, status, 0) < 0) {
        if (errno != EINTR) {
            st = kn_error_set(err, KN_ERR_IO, "the trial's process is lost: %s", strerror(errno));
            break;
        }
        if (interrupted)
            kill(child, SIGKILL);
    }
    for (size_t i = 0; i < KN_LEN(signals); ++i)
        sigaction(signals[i], &before[i], NULL);
    if (st == KN_OK && interrupted)
        st = kn_error_set(err, KN_ERR_CALL, "interrupted");
    return st;
}

kn_status cli_trial_package(const char *root, cli_trial_counts *counts, kn_error *err)
{
    int status = 0;
    fflush(stdout);
    report *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        cli_no_memory();
    const pid_t child = fork();
    if (child == 0)
        be_the_trial(root, shared);
    kn_status st = KN_OK;
    if (child < 0)
        st = kn_error_set(err, KN_ERR_IO, "no process for the trial: %s", strerror(errno));
    if (st == KN_OK)
        st = wait_for(child, &status, err);
    if (st == KN_OK)
        st = read_report(shared, status, counts, err);
    munmap(shared, sizeof(*shared));
    return st;
}
