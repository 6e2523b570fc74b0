#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "interrupt.h"
#include "output.h"

enum { LINE_MS = 5000, BAR_MS = 100, BAR_MIN = 6, BAR_MAX = 40, WIDTH_MAX = 240 };

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool cli_env_is_true(const char *name)
{
    static const char *const words[] = {"1", "ON", "YES", "TRUE"};
    const char *value = getenv(name);
    for (size_t i = 0; value && i < KN_LEN(words); ++i)
        if (strcasecmp(value, words[i]) == 0)
            return true;
    return false;
}

void cli_progress_init(cli_progress *progress, bool is_quiet)
{
    const char *term = getenv("TERM");
    *progress = (cli_progress){
        .is_wanted = !is_quiet && !cli_env_is_true("HF_HUB_DISABLE_PROGRESS_BARS"),
        .is_terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0,
        .told_ms = now_ms(),
    };
    pthread_mutex_init(&progress->lock, NULL);
}

static void forget(cli_progress *progress)
{
    for (size_t i = 0; i < progress->count; ++i)
        free(progress->all[i].name);
    free(progress->all);
    progress->all = NULL;
    progress->count = 0;
}

void cli_progress_dispose(cli_progress *progress)
{
    cli_progress_clear(progress);
    forget(progress);
    pthread_mutex_destroy(&progress->lock);
}

static void clear(cli_progress *progress)
{
    if (progress->is_shown)
        fputs("\r\033[K", stderr);
    progress->is_shown = false;
}

void cli_progress_clear(cli_progress *progress)
{
    pthread_mutex_lock(&progress->lock);
    clear(progress);
    pthread_mutex_unlock(&progress->lock);
}

// --- what is said ---

typedef struct sum {
    char name[WIDTH_MAX];
    uint64_t bytes_done, bytes_total, bytes_per_second;
    uint64_t files_done, files_total;
    bool is_waiting;
} sum;

static sum add_up(const cli_progress *progress)
{
    sum s = {.is_waiting = true};
    const char *only = "";
    size_t length = 0;
    for (size_t i = 0; i < progress->count; ++i) {
        const kn_progress *p = &progress->all[i].last;
        s.bytes_done += p->bytes_done;
        s.bytes_total += p->bytes_total;
        s.files_done += p->files_done;
        s.files_total += p->files_total;
        if (p->is_done)
            continue;
        s.bytes_per_second += p->bytes_per_second;
        s.is_waiting &= p->is_waiting != 0;
        only = progress->all[i].name; // without the variant
        length = strcspn(only, " ");
    }
    if (progress->n_running > 1)
        snprintf(s.name, sizeof(s.name), "%zu downloads", progress->n_running);
    else
        snprintf(s.name, sizeof(s.name), "%.*s", (int)length, only);
    return s;
}

static void describe(const sum *s, char *out, size_t size)
{
    char done[CLI_SIZE_TEXT], total[CLI_SIZE_TEXT], rate[CLI_SIZE_TEXT];
    const int length =
        snprintf(out, size, "%s/%s, %llu/%llu files, ", cli_size(s->bytes_done, done),
                 cli_size(s->bytes_total, total), (unsigned long long)s->files_done,
                 (unsigned long long)s->files_total);
    if (length < 0 || (size_t)length >= size)
        return;
    if (s->is_waiting)
        snprintf(out + length, size - (size_t)length, "another process fetches it");
    else
        snprintf(out + length, size - (size_t)length, "%s/s", cli_size(s->bytes_per_second, rate));
}

static size_t terminal_width(void)
{
    struct winsize window;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0)
        return 80;
    return window.ws_col < WIDTH_MAX ? window.ws_col : WIDTH_MAX - 1;
}

// name [####      ] 40 % 4.0 MB/10.0 MB, …: without the bar where there is no room for it, and never as wide as the terminal,
// which would begin a new line.
static void show_bar(cli_progress *progress, const sum *s)
{
    char text[WIDTH_MAX], line[3 * WIDTH_MAX] = "", bar[BAR_MAX + 1] = "";
    const size_t width = terminal_width() - 1;
    const double part = s->bytes_total   ? (double)s->bytes_done / (double)s->bytes_total
                        : s->files_total ? 0
                                         : 1;
    describe(s, text, sizeof(text));
    const size_t taken = strlen(s->name) + strlen(text) + sizeof(" [] 100 % ") - 1;
    if (taken + BAR_MIN <= width) {
        const size_t room = width - taken < BAR_MAX ? width - taken : BAR_MAX;
        const size_t filled = part >= 1 ? room : (size_t)(part * (double)room);
        memset(bar, ' ', room);
        memset(bar, '#', filled);
        snprintf(line, sizeof(line), "%s [%s] %3d %% %s", s->name, bar,
                 part >= 1 ? 100 : (int)(part * 100), text);
    } else {
        snprintf(line, sizeof(line), "%s %s", s->name, text);
    }
    fprintf(stderr, "\r%.*s\033[K", (int)width, line);
    fflush(stderr);
    progress->is_shown = true;
}

static void show(cli_progress *progress)
{
    const uint64_t now = now_ms();
    const bool is_end = progress->n_running == 0;
    if (progress->is_terminal && is_end) {
        clear(progress);
    } else if (progress->is_terminal && now - progress->told_ms >= BAR_MS) {
        const sum s = add_up(progress);
        show_bar(progress, &s);
        progress->told_ms = now;
    } else if (!progress->is_terminal && now - progress->told_ms >= LINE_MS && !is_end) {
        char text[WIDTH_MAX];
        const sum s = add_up(progress);
        describe(&s, text, sizeof(text));
        cli_fail("%s: %s", s.name, text);
        progress->told_ms = now;
    }
}

// --- being told ---

static cli_download *find(cli_progress *progress, const kn_progress *told)
{
    char *name = cli_format("%s%s%s", told->repo_id, told->variant[0] ? " " : "", told->variant);
    for (size_t i = 0; i < progress->count; ++i)
        if (strcmp(progress->all[i].name, name) == 0) {
            free(name);
            return &progress->all[i];
        }
    progress->all = cli_resize(progress->all, (progress->count + 1) * sizeof(*progress->all));
    progress->all[progress->count] = (cli_download){.name = name, .last = {.is_done = 1}};
    return &progress->all[progress->count++];
}

static void take(cli_progress *progress, const kn_progress *told)
{
    cli_download *download = find(progress, told);
    if (!download->last.is_done != !told->is_done)
        progress->n_running += told->is_done ? (size_t)-1 : 1;
    download->last = *told;
    download->last.repo_id = download->last.variant = ""; // were borrowed for the call
    show(progress);
    if (progress->n_running == 0)
        forget(progress);
}

int cli_progress_tell(void *user, const kn_progress *told)
{
    cli_progress *progress = user;
    if (progress->is_wanted && told->files_total > 0) { // else the hub is asked something
        pthread_mutex_lock(&progress->lock);
        take(progress, told);
        pthread_mutex_unlock(&progress->lock);
    }
    return cli_is_interrupted();
}
