// kernels check: would each build variant of a package run here, and are its files what metadata.json says?
#include <stdio.h>
#include <stdlib.h>

#include "devices.h"
#include "judge.h"
#include "output.h"
#include "repo.h"
#include "verbs.h"

typedef struct check {
    const char *operand, *device;
    cli_hub hub;
    cli_wish wish;
    bool json;
    kn_context *ctx;
    cli_devices devices;
    json_t *variants; // NULL: text
    bool is_usable;   // one runs; a variant with a wrong digest does not
    kn_error err;
} check;

static void say(check *c, const char *name, cli_verdict *v)
{
    c->is_usable |= v->runs;
    if (c->variants)
        cli_json_add(c->variants, cli_json_verdict(name, v));
    else
        cli_print_verdict(name, v);
    cli_verdict_dispose(v);
}

static kn_status check_dir(check *c)
{
    kn_listing *listing = NULL;
    const kn_status st = kn_listing_open(c->operand, &listing, &c->err);
    for (size_t i = 0; st == KN_OK && i < kn_listing_count(listing); ++i) {
        const char *name = kn_listing_name(listing, i);
        cli_verdict v;
        cli_judge(name, kn_listing_path(listing, i), &c->devices, &v);
        say(c, name, &v);
    }
    kn_listing_close(listing);
    return st;
}

// Its metadata is fetched when its name is not against it, and the rest when that is not either.
static kn_status judge_variant(check *c, const kn_revision *revision, const char *name,
                               cli_verdict *v)
{
    kn_hub *hub = kn_context_hub(c->ctx);
    kn_package *package = NULL;
    char *text = NULL, *dir = NULL;
    size_t size = 0;
    cli_judge_metadata(name, NULL, &c->devices, v);
    if (!v->runs)
        return KN_OK;
    v->runs = false;
    kn_status st = kn_hub_fetch_metadata(hub, revision, name, &text, &size, &v->refusal);
    if (st == KN_OK)
        st = kn_package_parse(text, size, kn_revision_repo_id(revision), name, &package,
                              &v->refusal);
    if (st == KN_OK) {
        cli_verdict_dispose(v);
        cli_judge_metadata(name, package, &c->devices, v);
        if (v->runs) {
            v->runs = false;
            st = kn_hub_fetch(hub, revision, name, &dir, &v->refusal);
        }
    }
    if (dir) {
        cli_verdict_dispose(v);
        cli_judge(name, dir, &c->devices, v);
    }
    kn_package_close(package);
    kn_string_free(text);
    kn_string_free(dir);
    return st;
}

static kn_status check_repo(check *c, kn_revision **revision)
{
    kn_hub *hub = kn_context_hub(c->ctx);
    const kn_hub_wish wish = cli_hub_wish(&c->wish, c->operand);
    kn_variants *variants = NULL;
    kn_status st = kn_hub_resolve(hub, &wish, revision, NULL, &c->err);
    if (st == KN_OK)
        st = kn_hub_is_offline(hub) ? kn_hub_list(hub, *revision, &variants, &c->err)
                                    : kn_hub_list_all(hub, *revision, &variants, &c->err);
    if (st == KN_OK && !c->variants)
        cli_print_revision(*revision);
    for (size_t i = 0; st == KN_OK && i < kn_variants_count(variants); ++i) {
        cli_verdict v;
        st = judge_variant(c, *revision, kn_variants_name(variants, i), &v);
        cli_progress_clear(&c->hub.progress);
        if (st == KN_ERR_NETWORK || st == KN_ERR_CANCELLED || st == KN_ERR_NO_MEMORY) {
            kn_error_set(&c->err, st, "%s", kn_error_text(&v.refusal));
            cli_verdict_dispose(&v);
            break; // nothing is known of this one, nor of the next
        }
        st = KN_OK;
        say(c, kn_variants_name(variants, i), &v);
    }
    kn_variants_free(variants);
    return st;
}

static void print_json(check *c, bool is_repo, const kn_revision *revision)
{
    json_t *root = cli_json_object();
    cli_json_set(root, "path", cli_json_text(is_repo ? NULL : c->operand));
    cli_json_set(root, "repository", cli_json_revision(revision));
    cli_json_set(root, "usable", json_boolean(c->is_usable));
    cli_json_set(root, "variants", json_incref(c->variants));
    cli_json(root);
}

static int run(check *c)
{
    kn_revision *revision = NULL;
    const bool is_repo = cli_is_repo(c->operand);
    int status = CLI_TROUBLE;
    kn_status st = cli_refuse_wish(is_repo, c->operand, &c->wish, &c->err);
    if (st == KN_OK)
        st = cli_hub_open(&c->hub, c->device, &c->ctx, &c->err);
    if (st == KN_OK)
        st = cli_devices_find(c->ctx, c->device, &c->devices, &c->err);
    if (st == KN_OK && is_repo) {
        st = check_repo(c, &revision);
        status = cli_status_of(st);
    } else if (st == KN_OK) {
        st = check_dir(c);
    }
    if (st != KN_OK) {
        cli_fail_error("check", &c->err);
    } else {
        status = c->is_usable ? CLI_YES : CLI_NO;
        if (c->variants)
            print_json(c, is_repo, revision);
    }
    kn_revision_free(revision);
    return status;
}

int cli_cmd_check(int argc, char **argv)
{
    int status = CLI_YES;
    check *c = cli_alloc(sizeof(*c));
    const cli_option options[] = {{"device", "DEVICE", CLI_DEVICE_HELP, NULL, &c->device, NULL},
                                  CLI_REVISION_OPTIONS(&c->wish),
                                  CLI_TRUST_OPTION(&c->wish),
                                  CLI_HUB_OPTIONS(&c->hub),
                                  {"json", NULL, "as JSON", &c->json, NULL, NULL}};
    const cli_usage usage = {
        "check", "DIR|REPO",
        "Says for each build variant of a package whether it would run on this machine (or on "
        "--device), judged\nby its name, its metadata and the code in it, and whether its files "
        "have the digests that metadata.json\nlists. Of a repository, variants that their name and "
        "metadata rule out are not downloaded. Nothing of the\npackage is run.\n\n"
        "Exit status: 0 a variant runs, and its digests (where it lists any) are right, 1 none "
        "does, or the\nrepository is refused, 2 wrong use, no package there, or no answer.",
        options, KN_LEN(options)};
    if (cli_parse(&usage, argc, argv, &c->operand, &status)) {
        c->variants = c->json ? cli_json_array() : NULL;
        status = run(c);
        json_decref(c->variants);
        cli_hub_close(&c->hub, c->ctx);
    }
    free(c);
    return status;
}
