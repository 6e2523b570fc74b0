// kernels serve DIR…: directories as a hub. A program of its own, which `kernels` executes, so that only those who serve need
// the HTTP library.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../output.h"
#include "host.h"
#include "listen.h"
#include "log.h"
#include "server.h"

#define DEFAULT_PORT 8090
#define DEFAULT_PAGE_SIZE 1000
#define DEFAULT_LARGE_BYTES (1u << 20)
#define TOKEN_SIZE_MAX 4096

enum {
    DRAIN_STEP_MS = 200,
    DRAIN_MS = 30000,
};

typedef struct arguments {
    const char *host, *port, *token, *token_file, *access_log, *ready_file, *page_size, *large,
        *url;
    cli_texts publishers, dirs;
} arguments;

// A whole number of an option. NULL text: what it has by default.
static kn_status read_number(const char *option, const char *text, uint64_t least, uint64_t most,
                             uint64_t *value, kn_error *err)
{
    char *end = NULL;
    if (!text)
        return KN_OK;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || number < least || number > most)
        return kn_error_set(err, KN_ERR_INVALID, "--%s '%s': expected a number from %llu to %llu",
                            option, text, (unsigned long long)least, (unsigned long long)most);
    *value = number;
    return KN_OK;
}

// The first line of a file, without blanks at its ends.
static kn_status read_token_file(const char *path, char **out, kn_error *err)
{
    char line[TOKEN_SIZE_MAX + 2];
    FILE *file = fopen(path, "re");
    const bool has_line = file && fgets(line, sizeof(line), file);
    const int number = errno;
    if (file)
        fclose(file);
    if (!file)
        return kn_error_set(err, KN_ERR_IO, "--token-file %s: %s", path, strerror(number));
    if (!has_line)
        line[0] = '\0';
    char *begin = line + strspn(line, " \t\r\n");
    begin[strcspn(begin, " \t\r\n")] = '\0';
    *out = cli_format("%s", begin);
    return KN_OK;
}

static kn_status read_token(const arguments *a, char **out, kn_error *err)
{
    kn_status st = KN_OK;
    if (a->token && a->token_file)
        return kn_error_set(err, KN_ERR_INVALID, "--token and --token-file exclude each other");
    if (a->token)
        *out = cli_format("%s", a->token);
    else if (a->token_file)
        st = read_token_file(a->token_file, out, err);
    if (st != KN_OK || !*out)
        return st;
    const size_t size = strlen(*out);
    bool is_good = size > 0 && size <= TOKEN_SIZE_MAX;
    for (size_t i = 0; i < size; ++i)
        is_good &= (*out)[i] > ' ' && (*out)[i] < 127;
    return is_good ? KN_OK
                   : kn_error_set(err, KN_ERR_INVALID,
                                  "the token is empty, longer than %d bytes, or has a character "
                                  "that no header may have",
                                  TOKEN_SIZE_MAX);
}

// Written aside and renamed: who waits for the file finds the whole line in it.
static kn_status write_ready(const char *path, const char *url, kn_error *err)
{
    char *aside = cli_format("%s.%ld.tmp", path, (long)getpid());
    FILE *file = fopen(aside, "we");
    bool is_written = file && fprintf(file, "%s\n", url) > 0;
    is_written = file && fclose(file) == 0 && is_written;
    const bool is_there = is_written && rename(aside, path) == 0;
    const int number = errno;
    if (file && !is_there)
        unlink(aside);
    free(aside);
    return is_there ? KN_OK
                    : kn_error_set(err, KN_ERR_IO, "--ready-file %s: cannot be written: %s", path,
                                   strerror(number));
}

static kn_status configure(const arguments *a, serve_config *config, kn_error *err)
{
    uint64_t page_size = DEFAULT_PAGE_SIZE, large = DEFAULT_LARGE_BYTES;
    kn_status st = read_number("page-size", a->page_size, 1, DEFAULT_PAGE_SIZE, &page_size, err);
    if (st == KN_OK)
        st = read_number("large", a->large, 1, INT64_MAX, &large, err);
    if (st == KN_OK)
        st = read_token(a, &config->token, err);
    for (size_t i = 0; st == KN_OK && i < a->dirs.count; ++i)
        st = serve_repos_add_root(&config->repos, a->dirs.items[i], err);
    if (st == KN_OK && a->access_log)
        st = serve_log_open(a->access_log, &config->log, err);
    if (st == KN_OK && a->url)
        st = serve_host_check_url(a->url, &config->url, err);
    config->page_size = (size_t)page_size;
    config->repos.large_bytes = large;
    config->publishers = a->publishers;
    return st;
}

// Until somebody ends it; then answers that are under way may end, unless it is asked for again.
static void wait_for_end(serve_server *server, const sigset_t *ends)
{
    const struct timespec now = {0, 0};
    siginfo_t info;
    while (sigwaitinfo(ends, &info) < 0 && errno == EINTR)
        ;
    size_t n_running = serve_drain(server, 0);
    for (unsigned int ms = 0; n_running > 0 && ms < DRAIN_MS; ms += DRAIN_STEP_MS) {
        n_running = serve_drain(server, DRAIN_STEP_MS);
        if (sigtimedwait(ends, &info, &now) > 0)
            break;
    }
    if (n_running > 0)
        cli_fail("serve: answers that were cut off: %zu", n_running);
}

static kn_status run(const arguments *a, serve_config *config, kn_error *err)
{
    uint64_t port = DEFAULT_PORT;
    sigset_t ends;
    serve_socket socket = {.fd = -1};
    serve_server *server = NULL;
    char *url = NULL;
    // Before any thread: all of them inherit it, and one waits for them.
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    kn_status st = read_number("port", a->port, 0, UINT16_MAX, &port, err);
    if (st == KN_OK)
        st = configure(a, config, err);
    // Who waits for the file must not find that of an earlier run.
    if (st == KN_OK && a->ready_file && unlink(a->ready_file) != 0 && errno != ENOENT)
        st = kn_error_set(err, KN_ERR_IO, "--ready-file %s: cannot be replaced: %s", a->ready_file,
                          strerror(errno));
    if (st == KN_OK)
        st = serve_listen(a->host ? a->host : "127.0.0.1", (uint16_t)port, &socket, err);
    if (st != KN_OK)
        return st;
    config->address = socket.address;
    config->is_loopback = socket.is_loopback;
    if (!socket.is_loopback && !config->token)
        fprintf(stderr,
                "kernels: serve: anybody who reaches %s can read what is served: there is "
                "no --token\n",
                socket.address);
    st = serve_start(config, socket.fd, &server, err);
    if (st != KN_OK)
        return st;
    url = cli_format("http://%s", socket.address);
    if (a->ready_file)
        st = write_ready(a->ready_file, url, err);
    if (st == KN_OK) {
        printf("serving %s\n", url);
        if (cli_finish(CLI_YES) == CLI_YES)
            wait_for_end(server, &ends);
        else
            st = KN_ERR_IO; // said already
    }
    serve_stop(server);
    free(url);
    return st;
}

static const char about[] =
    "Serves directories as a hub: repositories of kernels and models, read-only, over HTTP. DIR is "
    "a tree\n"
    "{kernels,models}/OWNER/NAME/{branches,tags}/REF/..., or a package with build variants, which "
    "is served as\n"
    "local/<its name>. Prints 'serving URL' when it is ready, and ends at SIGINT or SIGTERM.\n\n"
    "Exit status: 0 it was ended, 2 wrong use, or it cannot serve.";

int main(int argc, char **argv)
{
    arguments a = {.host = NULL};
    int status = CLI_YES;
    kn_error err = KN_ERROR_INIT;
    serve_config config = {.repos = {.hashes = SERVE_HASH_CACHE_INIT}};
    const cli_option options[] = {
        {"host", "ADDRESS", "where to listen; 127.0.0.1 by default", NULL, &a.host, NULL},
        {"port", "N", "8090 by default; 0: any free one", NULL, &a.port, NULL},
        {"url", "URL", "by which clients call it, when it stands behind a proxy", NULL, &a.url,
         NULL},
        {"token", "TOKEN", "every request must bring it", NULL, &a.token, NULL},
        {"token-file", "FILE", "the same, from the first line of a file", NULL, &a.token_file,
         NULL},
        {"publisher", "OWNER", "a trusted publisher; may be repeated; without it, all are", NULL,
         NULL, &a.publishers},
        {"large", "BYTES", "files from this size on have SHA-256 hashes; 1048576 by default", NULL,
         &a.large, NULL},
        {"page-size", "N", "entries of one page of a listing; 1000 by default", NULL, &a.page_size,
         NULL},
        {"access-log", "FILE", "a line for each request; '-' is the standard output", NULL,
         &a.access_log, NULL},
        {"ready-file", "FILE", "the URL is written to it when the server is ready", NULL,
         &a.ready_file, NULL},
    };
    const cli_usage usage = {"serve", "DIR...", about, options, KN_LEN(options)};
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&config.repos.lock, NULL);
    if (cli_parse_many(&usage, argc - 1, argv + 1, &a.dirs, &status)) {
        if (run(&a, &config, &err) != KN_OK) {
            status = CLI_TROUBLE;
            if (err.text)
                cli_fail_error("serve", &err);
        }
    }
    serve_log_close(config.log);
    serve_repos_dispose(&config.repos);
    pthread_mutex_destroy(&config.repos.lock);
    free(config.token);
    free(config.address);
    free(config.url);
    cli_texts_free(&a.publishers);
    cli_texts_free(&a.dirs);
    return cli_finish(status);
}
