// kernels verify: how far a kernel is to be believed, and why.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "fetch.h"
#include "files.h"
#include "judge.h"
#include "lock_file.h"
#include "output.h"
#include "repo.h"
#include "verbs.h"

enum { TYPES_MAX = 16 };

typedef struct verify {
    const char *operand, *device, *lock;
    cli_texts variants;
    cli_hub hub;
    cli_wish wish;
    bool json;
    kn_context *ctx;
    cli_devices devices;
    kn_device_type types[TYPES_MAX];
    size_t n_types;
    json_t *answers; // NULL: text
    int status;
} verify;

// What is said of one kernel.
typedef struct answer {
    const char *subject;         // the repository or directory
    const kn_revision *revision; // NULL: a directory
    const char *variant;         // NULL: none was found
    const char *path;
    const kn_trace *belief;     // resolving and comparing; NULL
    const cli_verdict *verdict; // files and code; NULL
    kn_status st;
    const kn_error *refusal;
} answer;

// Its other steps say how a variant was chosen, which is for `explain` to tell.
static bool is_about_belief(const kn_trace_entry *e)
{
    static const char *const stages[] = {"resolve", "publisher", "compare"};
    for (size_t i = 0; i < KN_LEN(stages); ++i)
        if (strcmp(e->stage, stages[i]) == 0)
            return true;
    return false;
}

static json_t *trace_json(const answer *a)
{
    json_t *all = cli_json_trace(a->belief), *files = NULL;
    json_t *steps = cli_json_array(), *step;
    size_t i;
    json_array_foreach(all, i, step)
    {
        const kn_trace_entry e = kn_trace_get(a->belief, i);
        if (is_about_belief(&e))
            cli_json_add(steps, json_incref(step));
    }
    json_decref(all);
    files = cli_json_trace(a->verdict ? a->verdict->trace : NULL);
    if (json_array_extend(steps, files) != 0)
        cli_no_memory();
    json_decref(files);
    return steps;
}

static json_t *answer_json(const answer *a, const char *level)
{
    json_t *o = cli_json_object();
    const bool is_right = a->st == KN_OK;
    cli_json_set(o, "subject", cli_json_text(a->subject));
    cli_json_set(o, "repository", cli_json_revision(a->revision));
    cli_json_set(o, "variant", cli_json_text(a->variant));
    cli_json_set(o, "path", cli_json_text(a->path));
    cli_json_set(o, "right", json_boolean(is_right));
    cli_json_set(o, "level", cli_json_text(is_right ? level : NULL));
    cli_json_set(o, "digests",
                 cli_json_text(a->verdict ? cli_digests_text(a->verdict->digests) : NULL));
    cli_json_set(o, "runs", json_boolean(is_right && a->verdict && a->verdict->runs));
    cli_json_set(o, "reason", cli_json_text(is_right ? NULL : kn_error_text(a->refusal)));
    cli_json_set(o, "trace", trace_json(a));
    return o;
}

static void print(const answer *a, const char *level)
{
    const bool is_right = a->st == KN_OK;
    fputs(cli_paint(is_right ? CLI_GOOD : CLI_BAD), stdout);
    cli_text("%-9s", is_right ? level : "refused");
    fputs(cli_paint(CLI_PLAIN), stdout);
    cli_line(" %s%s%s", a->subject, a->variant ? ", " : "", a->variant ? a->variant : "");
    for (size_t i = 0; a->belief && i < kn_trace_count(a->belief); ++i) {
        const kn_trace_entry e = kn_trace_get(a->belief, i);
        if (e.accepted && is_about_belief(&e))
            cli_line("          %s: %s", e.stage, e.reason);
    }
    if (a->verdict && is_right)
        cli_line("          digests: %s",
                 a->verdict->digests == CLI_DIGESTS_RIGHT
                     ? "its files are those that its own metadata.json lists"
                     : "its metadata.json lists none");
    if (is_right && !a->revision)
        cli_line("          nobody but the owner of the directory says anything of it");
    if (!is_right)
        cli_line("          %s", kn_error_text(a->refusal));
}

static void say(verify *v, const answer *a)
{
    const char *level = kn_level_text(a->revision ? kn_revision_level(a->revision) : KN_LEVEL_NONE);
    const int status =
        cli_status_of(a->st) == CLI_TROUBLE && a->verdict ? CLI_NO : cli_status_of(a->st);
    v->status = status > v->status ? status : v->status;
    cli_progress_clear(&v->hub.progress);
    if (v->answers)
        cli_json_add(v->answers, answer_json(a, level));
    else
        print(a, level);
}

// What a verdict says of the bytes: code for another machine is right all the same.
static kn_status of_bytes(const cli_verdict *v)
{
    const kn_status st = v->finding.status;
    return st == KN_ERR_INCOMPATIBLE || st == KN_ERR_UNSUPPORTED ? KN_OK : st;
}

// One variant that is here: its bytes against what is known of them, then its files and code as a loader asks.
static void verify_variant(verify *v, const char *subject, const kn_revision *revision,
                           const char *dir, kn_trace *belief)
{
    const char *slash = strrchr(dir, '/'), *variant = slash ? slash + 1 : dir;
    kn_error why = KN_ERROR_INIT;
    cli_verdict verdict;
    kn_status st = KN_OK;
    if (revision)
        st = kn_hub_compare(kn_context_hub(v->ctx), revision, variant, belief, &why);
    cli_judge(variant, dir, &v->devices, &verdict);
    if (st == KN_OK) {
        st = of_bytes(&verdict);
        if (st != KN_OK)
            kn_error_set(&why, st, "%s", kn_error_text(&verdict.finding));
    }
    const answer a = {.subject = subject,
                      .revision = revision,
                      .variant = variant,
                      .path = dir,
                      .belief = belief,
                      .verdict = &verdict,
                      .st = st,
                      .refusal = &why};
    say(v, &a);
    cli_verdict_dispose(&verdict);
    kn_error_dispose(&why);
}

static kn_status verify_package(verify *v, kn_error *err)
{
    kn_listing *listing = NULL;
    const kn_status st = kn_listing_open(v->operand, &listing, err);
    for (size_t i = 0; st == KN_OK && i < kn_listing_count(listing); ++i)
        verify_variant(v, v->operand, NULL, kn_listing_path(listing, i), NULL);
    kn_listing_close(listing);
    return st;
}

// The variants that were named.
static kn_status verify_named(verify *v, const kn_hub_wish *wish, kn_trace *belief, kn_error *err)
{
    kn_hub *hub = kn_context_hub(v->ctx);
    kn_revision *revision = NULL;
    kn_status st = kn_hub_resolve(hub, wish, &revision, belief, err);
    for (size_t i = 0; st == KN_OK && i < v->variants.count; ++i) {
        char *dir = NULL;
        st = kn_hub_fetch(hub, revision, v->variants.items[i], &dir, err);
        if (st == KN_OK)
            verify_variant(v, kn_revision_repo_id(revision), revision, dir, belief);
        kn_string_free(dir);
    }
    kn_revision_free(revision);
    return st;
}

// The variant that would be loaded here.
static kn_status verify_best(verify *v, const kn_hub_wish *wish, kn_trace *belief, kn_error *err)
{
    const kn_kernel_options options = cli_kernel_options(wish);
    cli_fetched fetched;
    const kn_status st = cli_fetch(v->ctx, &options, v->types, v->n_types, &fetched, belief, err);
    if (st == KN_OK)
        verify_variant(v, wish->repo_id, fetched.revision, fetched.dir, belief);
    cli_fetched_dispose(&fetched);
    return st;
}

static void verify_repo(verify *v, const kn_hub_wish *wish)
{
    kn_error why = KN_ERROR_INIT;
    kn_trace *belief = kn_trace_new();
    if (!belief)
        cli_no_memory();
    const kn_status st = v->variants.count ? verify_named(v, wish, belief, &why)
                                           : verify_best(v, wish, belief, &why);
    const answer refused = {.subject = wish->repo_id, .belief = belief, .st = st, .refusal = &why};
    if (st != KN_OK && cli_status_of(st) == CLI_NO) {
        say(v, &refused);
    } else if (st != KN_OK) {
        cli_fail("verify: %s", kn_error_text(&why));
        v->status = CLI_TROUBLE;
    }
    kn_trace_free(belief);
    kn_error_dispose(&why);
}

// Every kernel of DIR/kernels.lock.
static kn_status verify_locked(verify *v, kn_error *err)
{
    cli_lock lock = {NULL, NULL, 0};
    const kn_status st = cli_lock_read(v->operand, &lock, err);
    for (size_t i = 0; st == KN_OK && i < lock.count; ++i) {
        kn_hub_wish wish = cli_hub_wish(&v->wish, lock.items[i].repo_id);
        if (lock.items[i].is_again)
            wish.revision = lock.items[i].commit;
        else
            wish.lock = lock.path;
        verify_repo(v, &wish);
    }
    cli_lock_dispose(&lock);
    return st;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t size = strlen(text), n = strlen(end);
    return size >= n && strcmp(text + size - n, end) == 0;
}

// --lock names a kernels.lock, or content hashes by themselves.
static void verify_with_lock(verify *v)
{
    char *lock = v->lock ? cli_absolute(v->lock) : NULL;
    kn_hub_wish wish = cli_hub_wish(&v->wish, v->operand);
    if (lock && ends_with(lock, ".sums"))
        wish.sums = lock;
    else
        wish.lock = lock;
    verify_repo(v, &wish);
    free(lock);
}

static bool has_lock(const char *dir)
{
    char *path = cli_join(dir, CLI_LOCK_NAME);
    const bool is_there = cli_is_file(path);
    free(path);
    return is_there;
}

static kn_status run(verify *v, kn_error *err)
{
    const bool is_dir = cli_is_directory(v->operand);
    kn_status st = cli_check_operand(v->operand, err);
    if (st == KN_OK)
        st = cli_refuse_wish(!is_dir, v->operand, &v->wish, err);
    if (st == KN_OK && is_dir && (v->lock || v->variants.count))
        st = kn_error_set(err, KN_ERR_INVALID,
                          "--%s is for repositories (owner/name), and '%s' is a directory",
                          v->lock ? "lock" : "variant", v->operand);
    if (st == KN_OK && v->lock && !cli_is_file(v->lock)) // else the kernel would seem to be refused
        st = kn_error_set(err, KN_ERR_INVALID, "--lock: '%s' is no file", v->lock);
    if (st == KN_OK)
        st = cli_hub_open(&v->hub, v->device, &v->ctx, err);
    if (st == KN_OK)
        st = cli_devices_find(v->ctx, v->device, &v->devices, err);
    if (st != KN_OK)
        return st;
    v->n_types = cli_devices_here(v->ctx, v->device, v->types, TYPES_MAX);
    if (is_dir)
        return has_lock(v->operand) ? verify_locked(v, err) : verify_package(v, err);
    verify_with_lock(v);
    return KN_OK;
}

int cli_cmd_verify(int argc, char **argv)
{
    verify *v = cli_alloc(sizeof(*v));
    kn_error err = KN_ERROR_INIT;
    int status = CLI_YES;
    const cli_option options[] = {
        {"lock", "FILE", "a kernels.lock, or a *.lock.sums, that pins it", NULL, &v->lock, NULL},
        CLI_REVISION_OPTIONS(&v->wish),
        {"variant", "NAME", "this build variant; repeatable", NULL, NULL, &v->variants},
        {"device", "DEVICE", CLI_DEVICE_HELP, NULL, &v->device, NULL},
        CLI_TRUST_OPTION(&v->wish),
        CLI_HUB_OPTIONS(&v->hub),
        {"json", NULL, "as JSON", &v->json, NULL, NULL}};
    const cli_usage usage = {
        "verify", "REPO|DIR",
        "Says how far the kernel that would be loaded is to be believed: none (a directory of this "
        "machine),\ntransport (its bytes are what the hub says), pinned (a lock names its bytes); "
        "who publishes it, and\nwhat its files were compared with. It is downloaded if need be. "
        "DIR is a package, or a project with a\nkernels.lock.\n\n"
        "Exit status: 0 every file is right, 1 something is refused, 2 wrong use, or no answer.",
        options, KN_LEN(options)};
    if (cli_parse(&usage, argc, argv, &v->operand, &status)) {
        v->answers = v->json ? cli_json_array() : NULL;
        if (run(v, &err) != KN_OK) {
            cli_fail_error("verify", &err);
            v->status = CLI_TROUBLE;
        } else if (v->answers && v->status != CLI_TROUBLE) {
            json_t *root = cli_json_object();
            cli_json_set(root, "kernels", json_incref(v->answers));
            cli_json(root);
        }
        status = v->status;
        json_decref(v->answers);
        cli_hub_close(&v->hub, v->ctx);
    }
    cli_texts_free(&v->variants);
    free(v);
    return status;
}
