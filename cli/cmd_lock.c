// kernels lock: pins what a project or a mapping file needs, to the byte.
#include <stdio.h>

#include <kernels/hub.h>

#include "options.h"
#include "output.h"
#include "repo.h"
#include "verbs.h"

static void print_steps(const kn_trace *trace)
{
    for (size_t i = 0; i < kn_trace_count(trace); ++i) {
        const kn_trace_entry e = kn_trace_get(trace, i);
        fputs(cli_paint(!e.accepted ? CLI_BAD : e.rule[0] ? CLI_GOOD : CLI_FAINT), stdout);
        fputs(!e.accepted ? "stale   " : e.rule[0] ? "locked  " : "kept    ", stdout);
        fputs(cli_paint(CLI_PLAIN), stdout);
        cli_line("%s: %s", e.subject, e.reason);
    }
}

static void print_json(const char *path, bool is_current, const kn_trace *trace)
{
    json_t *root = cli_json_object();
    cli_json_set(root, "path", cli_json_text(path));
    cli_json_set(root, "current", json_boolean(is_current));
    cli_json_set(root, "trace", cli_json_trace(trace));
    cli_json(root);
}

static void print_answer(const char *path, bool is_current, bool check, const kn_trace *trace)
{
    print_steps(trace);
    if (is_current)
        cli_line("%s: its lock is current", path);
    else if (check)
        cli_line("%s: its lock is stale: run kernels lock", path);
    else
        cli_line("%s: its lock was written", path);
}

int cli_cmd_lock(int argc, char **argv)
{
    const char *path = NULL;
    cli_texts updates = {NULL, 0};
    bool update_all = false, check = false, json = false;
    bool is_current = false;
    cli_hub hub = {.endpoint = NULL};
    cli_wish wish = {.revision = NULL};
    kn_context *ctx = NULL;
    int status = CLI_YES;
    const cli_option options[] = {
        {"update", "REPO", "look for the newest of this one again; may be repeated", NULL, NULL,
         &updates},
        {"update-all", NULL, "look for the newest of all of them again", &update_all, NULL, NULL},
        {"check", NULL, "write nothing: is the lock as it would be written?", &check, NULL, NULL},
        CLI_TRUST_OPTION(&wish),
        CLI_HUB_OPTIONS(&hub),
        {"json", NULL, "as JSON", &json, NULL, NULL},
    };
    const cli_usage usage = {
        "lock", "[DIR|MAPPING.toml]",
        "Pins the hub repositories of a project (DIR/pyproject.toml, table "
        "[tool.kernels.dependencies]; without DIR\nthe working directory's) in kernels.lock and "
        "kernels.lock.sums, or those of a mapping file in MAPPING.lock.sums.\nWhat is pinned stays "
        "while it satisfies what is asked for.\n\n"
        "Exit status: 0 done, or current, 1 stale (with --check), 2 wrong use, or no answer.",
        options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, &path, &status)) {
        cli_texts_free(&updates);
        return status;
    }
    if (!path)
        path = ".";
    kn_error err = KN_ERROR_INIT;
    kn_trace *trace = kn_trace_new();
    if (!trace)
        cli_no_memory();
    kn_lock_options lock_options = KN_LOCK_OPTIONS_INIT;
    lock_options.update = updates.items;
    lock_options.n_update = updates.count;
    lock_options.update_all = update_all;
    lock_options.check = check;
    lock_options.trust_remote_code = wish.trusts;
    kn_status st = cli_is_directory(path) || cli_is_file(path)
                       ? cli_hub_open(&hub, NULL, &ctx, &err)
                       : kn_error_set(&err, KN_ERR_NOT_FOUND,
                                      "'%s' is not here: expected a directory with a "
                                      "pyproject.toml, or a mapping file, X.toml",
                                      path);
    if (st == KN_OK)
        st = cli_is_directory(path) ? kn_hub_lock_project(kn_context_hub(ctx), path, &lock_options,
                                                          &is_current, trace, &err)
                                    : kn_hub_lock_mapping(kn_context_hub(ctx), path, &lock_options,
                                                          &is_current, trace, &err);
    if (st != KN_OK) {
        cli_fail_error("lock", &err);
        status = CLI_TROUBLE;
    } else {
        if (json)
            print_json(path, is_current, trace);
        else
            print_answer(path, is_current, check, trace);
        status = check && !is_current ? CLI_NO : CLI_YES;
    }
    kn_trace_free(trace);
    cli_texts_free(&updates);
    cli_hub_close(&hub, ctx);
    return status;
}
