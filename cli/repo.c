#include "repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files.h"
#include "interrupt.h"
#include "output.h"

static void log_line(void *user, kn_log_level level, const char *text)
{
    static const char *const levels[] = {"debug", "info", "warning"};
    cli_progress_clear(user);
    cli_fail("%s: %s", levels[level], text);
}

// A wrong --device is told from what is wrong with the hub's settings.
static kn_status check_device(const char *device, kn_error *err)
{
    kn_machine *machine = NULL;
    const kn_status st = device ? kn_machine_parse(device, &machine, err) : KN_OK;
    if (st != KN_OK)
        kn_error_prefix(err, "--device");
    kn_machine_unref(machine);
    return st;
}

kn_status cli_hub_open(cli_hub *hub, const char *device, kn_context **out, kn_error *err)
{
    char *cache_dir = hub->cache_dir ? cli_absolute(hub->cache_dir) : NULL;
    kn_hub_options options = KN_HUB_OPTIONS_INIT;
    cli_progress_init(&hub->progress, hub->is_quiet);
    hub->is_open = true;
    options.endpoint = hub->endpoint;
    options.cache_dir = cache_dir;
    options.progress = cli_progress_tell;
    options.progress_user = &hub->progress;
    options.flags =
        (hub->is_offline ? KN_HUB_OFFLINE : 0) | (hub->follows ? KN_HUB_FOLLOW_REDIRECTS : 0);
    kn_status st = check_device(device, err);
    if (st == KN_OK)
        st = kn_context_open(KN_CONTEXT_OPTIONS(.device = device, .hub = &options, .log = log_line,
                                                .log_user = &hub->progress,
                                                .log_level = cli_env_is_true("HF_DEBUG")
                                                                 ? KN_LOG_DEBUG
                                                                 : KN_LOG_WARNING),
                             out, err);
    if (st == KN_OK)
        cli_interrupt_catch();
    free(cache_dir);
    return st;
}

void cli_hub_close(cli_hub *hub, kn_context *ctx)
{
    kn_context_close(ctx);
    if (hub->is_open)
        cli_progress_dispose(&hub->progress);
    hub->is_open = false;
    cli_interrupt_pass_on();
}

bool cli_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool cli_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool cli_is_repo(const char *operand)
{
    const char *slash = strchr(operand, '/');
    static const char accepted[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789_.-/";
    return slash && slash != operand && slash[1] && !strchr(slash + 1, '/') && operand[0] != '.' &&
           strspn(operand, accepted) == strlen(operand) && !cli_is_directory(operand);
}

kn_status cli_check_operand(const char *operand, kn_error *err)
{
    if (cli_is_directory(operand) || cli_is_repo(operand))
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "'%s' is no directory, and no repository: expected owner/name", operand);
}

kn_status cli_refuse_wish(bool is_repo, const char *operand, const cli_wish *wish, kn_error *err)
{
    if (is_repo || (!wish->revision && !wish->version))
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "--%s is for repositories (owner/name), and '%s' is %s",
                        wish->revision ? "revision" : "version", operand,
                        cli_is_directory(operand) ? "a directory" : "none");
}

kn_hub_wish cli_hub_wish(const cli_wish *wish, const char *repo_id)
{
    kn_hub_wish out = KN_HUB_WISH_INIT;
    out.repo_id = repo_id;
    out.revision = wish->revision;
    out.version = wish->version;
    out.trust_remote_code = wish->trusts;
    return out;
}

kn_kernel_options cli_kernel_options(const kn_hub_wish *wish)
{
    kn_kernel_options out = KN_KERNEL_OPTIONS_INIT;
    out.repo_id = wish->repo_id;
    out.revision = wish->revision;
    out.version = wish->version;
    out.lock = wish->lock;
    out.sums = wish->sums;
    out.trust_remote_code = wish->trust_remote_code;
    return out;
}

int cli_status_of(kn_status st)
{
    switch (st) {
    case KN_OK:
        return CLI_YES;
    case KN_ERR_NOT_FOUND:
    case KN_ERR_UNSUPPORTED:
    case KN_ERR_INCOMPATIBLE:
    case KN_ERR_UNTRUSTED:
    case KN_ERR_DENIED:
        return CLI_NO;
    default:
        return CLI_TROUBLE;
    }
}

void cli_print_revision(const kn_revision *revision)
{
    const char *ref = kn_revision_ref(revision);
    cli_line("%s at %s%s%s%s", kn_revision_repo_id(revision), kn_revision_commit(revision),
             ref[0] ? " (" : "", ref, ref[0] ? ")" : "");
}

json_t *cli_json_revision(const kn_revision *revision)
{
    if (!revision)
        return json_null();
    json_t *o = cli_json_object();
    cli_json_set(o, "id", cli_json_text(kn_revision_repo_id(revision)));
    cli_json_set(o, "type", cli_json_text(kn_revision_repo_type(revision)));
    cli_json_set(o, "ref", cli_json_text(kn_revision_ref(revision)));
    cli_json_set(o, "commit", cli_json_text(kn_revision_commit(revision)));
    cli_json_set(o, "level", cli_json_text(kn_level_text(kn_revision_level(revision))));
    cli_json_set(o, "publisher", cli_json_text(kn_revision_publisher(revision)));
    cli_json_set(o, "moved_to", cli_json_text(kn_revision_moved_to(revision)));
    return o;
}
