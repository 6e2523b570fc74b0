// How far downloads are, on stderr: one line that is rewritten on a terminal, elsewhere a line every five seconds. Several downloads may
// tell at once; they are added up.
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <pthread.h>

#include <kernels/hub.h>

typedef struct cli_download {
    char *name; // repository and variant
    kn_progress last;
} cli_download;

typedef struct cli_progress {
    pthread_mutex_t lock; // over the rest
    bool is_wanted;
    bool is_terminal;
    bool is_shown;     // there is a bar on the terminal
    uint64_t told_ms;  // when something was shown last
    cli_download *all; // those that run, and those that ended beside them
    size_t count;
    size_t n_running;
} cli_progress;

// Nothing is shown when it is quiet, or HF_HUB_DISABLE_PROGRESS_BARS says so.
void cli_progress_init(cli_progress *progress, bool is_quiet);
void cli_progress_dispose(cli_progress *progress);

// A kn_progress_fn; user: the cli_progress. Cancels when the program was interrupted.
int cli_progress_tell(void *user, const kn_progress *progress);

// Takes the bar away before something else is written to stderr.
void cli_progress_clear(cli_progress *progress);

// 1, ON, YES or TRUE, in any case, as huggingface_hub reads its variables.
bool cli_env_is_true(const char *name);

#endif
