// kernels versions: what a repository has to choose from, and what is taken of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "repo.h"
#include "verbs.h"

// False at the end.
static bool get(const kn_versions *versions, size_t index, kn_version_row *row)
{
    *row = (kn_version_row){.struct_size = sizeof(*row)};
    return index < kn_versions_count(versions) &&
           kn_versions_get(versions, index, row, NULL) == KN_OK;
}

static const char *chosen_ref(const kn_versions *versions)
{
    kn_version_row row;
    for (size_t i = 0; get(versions, i, &row); ++i)
        if (row.is_chosen)
            return row.ref;
    return NULL;
}

static const char *kind(const kn_version_row *row)
{
    return row->is_branch ? "branch" : "tag";
}

static void print(const char *repo, const cli_wish *wish, const kn_versions *versions)
{
    kn_version_row row;
    size_t width = 0;
    for (size_t i = 0; get(versions, i, &row); ++i)
        width = strlen(row.ref) > width ? strlen(row.ref) : width;
    cli_line("%s, a %s repository%s", repo, kn_versions_repo_type(versions),
             kn_versions_is_whole(versions) ? "" : ", as far as it is in the cache");
    for (size_t i = 0; get(versions, i, &row); ++i) {
        fputs(row.is_chosen ? cli_paint(CLI_GOOD) : "", stdout);
        cli_text("%s %-*s", row.is_chosen ? ">" : " ", (int)width, row.ref);
        fputs(row.is_chosen ? cli_paint(CLI_PLAIN) : "", stdout);
        cli_line("  %-6s  %.12s%s%s", kind(&row), row.commit, row.reason[0] ? "  " : "",
                 row.reason);
    }
    if (chosen_ref(versions))
        return;
    const char *asked = wish->version ? wish->version : wish->revision;
    cli_line("nothing of it is %s%s", asked ? "taken for " : "main", asked ? asked : "");
}

static void print_json(const char *repo, const kn_versions *versions)
{
    kn_version_row row;
    json_t *root = cli_json_object(), *refs = cli_json_array();
    for (size_t i = 0; get(versions, i, &row); ++i) {
        json_t *o = cli_json_object();
        cli_json_set(o, "ref", cli_json_text(row.ref));
        cli_json_set(o, "kind", cli_json_text(kind(&row)));
        cli_json_set(o, "version", cli_json_text(row.version));
        cli_json_set(o, "commit", cli_json_text(row.commit));
        cli_json_set(o, "chosen", json_boolean(row.is_chosen));
        cli_json_set(o, "reason", cli_json_text(row.reason));
        cli_json_add(refs, o);
    }
    cli_json_set(root, "repository", cli_json_text(repo));
    cli_json_set(root, "type", cli_json_text(kn_versions_repo_type(versions)));
    cli_json_set(root, "complete", json_boolean(kn_versions_is_whole(versions)));
    cli_json_set(root, "chosen", cli_json_text(chosen_ref(versions)));
    cli_json_set(root, "refs", refs);
    cli_json(root);
}

int cli_cmd_versions(int argc, char **argv)
{
    const char *repo = NULL;
    bool json = false;
    int status = CLI_YES;
    cli_hub hub = {.endpoint = NULL};
    cli_wish wish = {.revision = NULL};
    kn_context *ctx = NULL;
    kn_versions *versions = NULL;
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {CLI_REVISION_OPTIONS(&wish),
                                  CLI_HUB_OPTIONS(&hub),
                                  {"json", NULL, "as JSON", &json, NULL, NULL}};
    const cli_usage usage = {"versions", "REPO",
                             "Lists the tags and branches of a repository, versions in their "
                             "order, and says which one is taken\n(without --version and "
                             "--revision: main), and why.\n\n"
                             "Exit status: 0 one is taken, 1 none is, or there is no such "
                             "repository, 2 wrong use, or no answer.",
                             options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, &repo, &status))
        return status;
    kn_status st = cli_hub_open(&hub, NULL, &ctx, &err);
    if (st == KN_OK) {
        const kn_hub_wish wanted = cli_hub_wish(&wish, repo);
        st = kn_hub_versions(kn_context_hub(ctx), &wanted, &versions, &err);
    }
    if (st != KN_OK) {
        cli_fail_error("versions", &err);
        status = cli_status_of(st);
    } else {
        if (json)
            print_json(repo, versions);
        else
            print(repo, &wish, versions);
        status = chosen_ref(versions) ? CLI_YES : CLI_NO;
    }
    kn_versions_free(versions);
    cli_hub_close(&hub, ctx);
    return status;
}
