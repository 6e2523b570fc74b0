// What the verbs that reach a hub share: their options, the context that is opened with them, and repositories as operands.
#ifndef CLI_REPO_H
#define CLI_REPO_H

#include <jansson.h>

#include <kernels/context.h>

#include "options.h"
#include "progress.h"

// Options of the hub itself. Opened with cli_hub_open.
typedef struct cli_hub {
    const char *endpoint, *cache_dir;
    bool follows, is_offline, is_quiet;
    bool is_open;
    cli_progress progress;
} cli_hub;

#define CLI_HUB_OPTIONS(hub)                                                                       \
    {"follow-redirects", NULL, "go where a repository says that it moved",                         \
     &(hub)->follows,    NULL, NULL},                                                              \
        {"offline", NULL, "open no socket: the cache alone", &(hub)->is_offline, NULL, NULL},      \
        {"endpoint", "URL", "the hub, instead of HF_ENDPOINT", NULL, &(hub)->endpoint, NULL},      \
        {"cache-dir", "DIR", "the cache, instead of HF_HUB_CACHE", NULL, &(hub)->cache_dir, NULL}, \
    {                                                                                              \
        "quiet", NULL, "show no progress", &(hub)->is_quiet, NULL, NULL                            \
    }

// Which revision of a repository is meant.
typedef struct cli_wish {
    const char *revision, *version;
    bool trusts;
} cli_wish;

#define CLI_REVISION_OPTIONS(wish)                                                                 \
    {"revision", "REV", "a branch, tag or commit", NULL, &(wish)->revision, NULL},                 \
    {                                                                                              \
        "version", "SPEC", "as \">=0.1,<1\"; digits alone: the branch v<N>", NULL,                 \
            &(wish)->version, NULL                                                                 \
    }

#define CLI_TRUST_OPTION(wish)                                                                     \
    {                                                                                              \
        "trust-remote-code", NULL, "a publisher whom the hub does not call trusted too",           \
            &(wish)->trusts, NULL, NULL                                                            \
    }

// A context for this machine (device NULL: KERNELS_DEVICE counts), or for the one that `device` describes, with the hub's options;
// warnings go to stderr. From here on an interruption is a cancellation, until cli_hub_close.
kn_status cli_hub_open(cli_hub *hub, const char *device, kn_context **out, kn_error *err);
// NULL is fine. Ends the program when it was interrupted.
void cli_hub_close(cli_hub *hub, kn_context *ctx);

// owner/name, and no directory of that name is here.
bool cli_is_repo(const char *operand);
bool cli_is_directory(const char *path);
bool cli_is_file(const char *path);

// What is neither a directory nor the name of a repository. Error: KN_ERR_INVALID.
kn_status cli_check_operand(const char *operand, kn_error *err);
// A directory has no revisions, no publisher and no versions. Error: KN_ERR_INVALID.
kn_status cli_refuse_wish(bool is_repo, const char *operand, const cli_wish *wish, kn_error *err);

kn_hub_wish cli_hub_wish(const cli_wish *wish, const char *repo_id);
kn_kernel_options cli_kernel_options(const kn_hub_wish *wish);

// The exit status of a verb whose answer is this failure: no (there is none, it is refused), or trouble (nobody knows).
int cli_status_of(kn_status st);

// "owner/name at 0123456789ab (v0.1.0)", as a line.
void cli_print_revision(const kn_revision *revision);
json_t *cli_json_revision(const kn_revision *revision); // NULL: null

#endif
