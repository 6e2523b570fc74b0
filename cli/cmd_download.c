// kernels download: kernels into the cache, several at once.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "fetch.h"
#include "interrupt.h"
#include "lock_file.h"
#include "output.h"
#include "repo.h"
#include "verbs.h"

enum { AT_ONCE = 8, TYPES_MAX = 16 };

// A variant that is here now.
typedef struct place {
    char *variant, *path;
    const char *device; // that it was chosen for; NULL: it was named
} place;

// One repository, or one kernel of a lock.
typedef struct job {
    char *repo_id;
    char *lock;     // NULL: none
    char *revision; // NULL: the command line's wish counts
    kn_revision *found;
    place *places;
    size_t n_places;
    char *snapshot; // of all variants
    kn_error err;
    kn_status status;
} job;

typedef struct download {
    cli_hub hub;
    cli_wish wish;
    cli_texts variants;
    bool all, json;
    const char *device;
    kn_context *ctx;
    kn_device_type types[TYPES_MAX];
    size_t n_types;
    job *jobs;
    size_t n_jobs;
    size_t next; // the first job that nobody has begun
    int status;
} download;

// --- one of them ---

static void add_place(job *j, const char *device, char *path)
{
    const char *slash = strrchr(path, '/');
    j->places = cli_resize(j->places, (j->n_places + 1) * sizeof(*j->places));
    j->places[j->n_places++] =
        (place){cli_format("%s", slash ? slash + 1 : path), cli_format("%s", path), device};
    kn_string_free(path);
}

static kn_hub_wish wish_of(const download *d, const job *j)
{
    kn_hub_wish wish = cli_hub_wish(&d->wish, j->repo_id);
    if (j->revision)
        wish.revision = j->revision;
    wish.lock = j->lock;
    return wish;
}

static kn_status fetch_all(const download *d, job *j)
{
    kn_hub *hub = kn_context_hub(d->ctx);
    kn_variants *variants = NULL;
    char *dir = NULL;
    kn_status st = kn_hub_fetch_all(hub, j->found, &dir, &j->err);
    if (st == KN_OK)
        st = kn_hub_list(hub, j->found, &variants, &j->err);
    for (size_t i = 0; st == KN_OK && i < kn_variants_count(variants); ++i) {
        char *path = NULL;
        st = kn_hub_fetch(hub, j->found, kn_variants_name(variants, i), &path, &j->err);
        if (st == KN_OK)
            add_place(j, NULL, path);
    }
    j->snapshot = dir ? cli_format("%s", dir) : NULL;
    kn_string_free(dir);
    kn_variants_free(variants);
    return st;
}

static kn_status fetch_named(const download *d, job *j)
{
    const kn_hub_wish wish = wish_of(d, j);
    kn_status st = kn_hub_resolve(kn_context_hub(d->ctx), &wish, &j->found, NULL, &j->err);
    if (st == KN_OK && d->all)
        st = fetch_all(d, j);
    for (size_t i = 0; st == KN_OK && !d->all && i < d->variants.count; ++i) {
        char *path = NULL;
        st = kn_hub_fetch(kn_context_hub(d->ctx), j->found, d->variants.items[i], &path, &j->err);
        if (st == KN_OK)
            add_place(j, NULL, path);
    }
    return st;
}

// Of every device that was named; else of the best that is here and that there is a variant for.
static kn_status fetch_for_devices(const download *d, job *j)
{
    const kn_hub_wish wish = wish_of(d, j);
    const size_t at_once = d->device ? 1 : d->n_types;
    kn_kernel_options options = cli_kernel_options(&wish);
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < d->n_types; i += at_once) {
        cli_fetched fetched;
        st = cli_fetch(d->ctx, &options, d->types + i, at_once, &fetched, NULL, &j->err);
        if (st != KN_OK)
            continue;
        kn_revision_free(j->found);
        j->found = fetched.revision;
        add_place(j, fetched.device, fetched.dir);
    }
    return st;
}

static void run_job(const download *d, job *j)
{
    if (cli_is_interrupted())
        j->status = kn_error_set(&j->err, KN_ERR_CANCELLED, "cancelled");
    else if (d->all || d->variants.count)
        j->status = fetch_named(d, j);
    else
        j->status = fetch_for_devices(d, j);
    if (j->status != KN_OK && !strstr(kn_error_text(&j->err), j->repo_id))
        kn_error_prefix(&j->err, "%s", j->repo_id);
}

static void *work(void *user)
{
    download *d = user;
    for (;;) {
        const size_t mine = __atomic_fetch_add(&d->next, 1, __ATOMIC_RELAXED);
        if (mine >= d->n_jobs)
            return NULL;
        run_job(d, &d->jobs[mine]);
    }
}

// This thread works too, so that without others it still gets done.
static void run_jobs(download *d)
{
    pthread_t threads[AT_ONCE - 1];
    size_t n = 0;
    while (n + 1 < AT_ONCE && n + 1 < d->n_jobs && pthread_create(&threads[n], NULL, work, d) == 0)
        ++n;
    work(d);
    for (size_t i = 0; i < n; ++i)
        pthread_join(threads[i], NULL);
}

// --- what is asked for ---

static job *add_job(download *d, const char *repo_id)
{
    d->jobs = cli_resize(d->jobs, (d->n_jobs + 1) * sizeof(*d->jobs));
    d->jobs[d->n_jobs] = (job){.repo_id = cli_format("%s", repo_id), .err = KN_ERROR_INIT};
    return &d->jobs[d->n_jobs++];
}

static void add_locked(download *d, const char *dir)
{
    cli_lock lock = {NULL, NULL, 0};
    kn_error err = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (d->wish.revision || d->wish.version)
        st = kn_error_set(&err, KN_ERR_INVALID,
                          "%s is a directory: its lock says which revisions are meant, so "
                          "--revision and --version are not accepted",
                          dir);
    if (st == KN_OK)
        st = cli_lock_read(dir, &lock, &err);
    for (size_t i = 0; st == KN_OK && i < lock.count; ++i) {
        job *j = add_job(d, lock.items[i].repo_id);
        if (lock.items[i].is_again)
            j->revision = cli_format("%s", lock.items[i].commit);
        else
            j->lock = cli_format("%s", lock.path);
    }
    if (st != KN_OK) {
        cli_fail_error("download", &err);
        d->status = cli_status_of(st);
    }
    cli_lock_dispose(&lock);
}

static void add_operand(download *d, const char *operand)
{
    kn_error err = KN_ERROR_INIT;
    if (cli_check_operand(operand, &err) != KN_OK) {
        cli_fail_error("download", &err);
        d->status = CLI_TROUBLE;
    } else if (cli_is_directory(operand)) {
        add_locked(d, operand);
    } else {
        add_job(d, operand);
    }
}

static kn_status check_options(const download *d, kn_error *err)
{
    if ((d->all && d->variants.count) || (d->device && (d->all || d->variants.count)))
        return kn_error_set(err, KN_ERR_INVALID,
                            "accepted is one of --variant, --all-variants and --device");
    for (size_t i = 0; i < d->variants.count; ++i)
        if (!d->variants.items[i][0])
            return kn_error_set(err, KN_ERR_INVALID, "--variant '': expected a build variant");
    return KN_OK;
}

// --- what is said ---

static json_t *job_json(const job *j)
{
    json_t *o = cli_json_object(), *places = cli_json_array();
    cli_json_set(o, "asked", cli_json_text(j->repo_id));
    cli_json_set(o, "repository", cli_json_revision(j->found));
    for (size_t i = 0; i < j->n_places; ++i) {
        json_t *p = cli_json_object();
        cli_json_set(p, "variant", cli_json_text(j->places[i].variant));
        cli_json_set(p, "device", cli_json_text(j->places[i].device));
        cli_json_set(p, "path", cli_json_text(j->places[i].path));
        cli_json_add(places, p);
    }
    cli_json_set(o, "variants", places);
    cli_json_set(o, "snapshot", cli_json_text(j->snapshot));
    cli_json_set(o, "error", cli_json_text(j->status == KN_OK ? NULL : kn_error_text(&j->err)));
    return o;
}

static void report(download *d)
{
    json_t *kernels = d->json ? cli_json_array() : NULL;
    bool was_cancelled = false;
    for (size_t i = 0; i < d->n_jobs; ++i) {
        job *j = &d->jobs[i];
        const int status = cli_status_of(j->status);
        if (kernels)
            cli_json_add(kernels, job_json(j));
        for (size_t p = 0; !kernels && !j->snapshot && p < j->n_places; ++p)
            cli_line("%s", j->places[p].path);
        if (!kernels && j->snapshot)
            cli_line("%s", j->snapshot);
        if (j->status == KN_ERR_CANCELLED && was_cancelled)
            continue; // once is enough
        was_cancelled |= j->status == KN_ERR_CANCELLED;
        if (j->status != KN_OK)
            cli_fail("download: %s", kn_error_text(&j->err));
        d->status = status > d->status ? status : d->status;
    }
    if (kernels) {
        json_t *root = cli_json_object();
        cli_json_set(root, "kernels", kernels);
        cli_json(root);
    }
}

static void dispose(download *d)
{
    for (size_t i = 0; i < d->n_jobs; ++i) {
        job *j = &d->jobs[i];
        for (size_t p = 0; p < j->n_places; ++p) {
            free(j->places[p].variant);
            free(j->places[p].path);
        }
        free(j->places);
        free(j->repo_id);
        free(j->lock);
        free(j->revision);
        free(j->snapshot);
        kn_revision_free(j->found);
        kn_error_dispose(&j->err);
    }
    free(d->jobs);
    cli_texts_free(&d->variants);
}

int cli_cmd_download(int argc, char **argv)
{
    download d = {.status = CLI_YES};
    cli_texts operands = {NULL, 0};
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {
        CLI_REVISION_OPTIONS(&d.wish),
        {"variant", "NAME", "this build variant; repeatable", NULL, NULL, &d.variants},
        {"all-variants", NULL, "every build variant", &d.all, NULL, NULL},
        {"device", "DEVICE", CLI_DEVICE_HELP, NULL, &d.device, NULL},
        CLI_TRUST_OPTION(&d.wish),
        CLI_HUB_OPTIONS(&d.hub),
        {"json", NULL, "as JSON", &d.json, NULL, NULL}};
    const cli_usage usage = {
        "download", "REPO…|DIR…",
        "Downloads the build variant that would be loaded on this machine (on its best device that "
        "there is one for),\nand prints its directory: of several repositories at once, one line "
        "each. Of a directory with a\nkernels.lock, every kernel that is locked.\n\n"
        "Exit status: 0 everything is in the cache, 1 something there is not, or is refused, 2 "
        "wrong use, or no answer.",
        options, KN_LEN(options)};
    if (!cli_parse_many(&usage, argc, argv, &operands, &d.status)) {
        cli_texts_free(&operands);
        cli_texts_free(&d.variants);
        return d.status;
    }
    kn_status st = check_options(&d, &err);
    if (st == KN_OK)
        st = cli_hub_open(&d.hub, d.device, &d.ctx, &err);
    if (st == KN_OK) {
        d.n_types = cli_devices_here(d.ctx, d.device, d.types, TYPES_MAX);
        for (size_t i = 0; i < operands.count; ++i)
            add_operand(&d, operands.items[i]);
        run_jobs(&d);
        cli_progress_clear(&d.hub.progress);
        report(&d);
    } else {
        cli_fail_error("download", &err);
        d.status = CLI_TROUBLE;
    }
    dispose(&d);
    cli_texts_free(&operands);
    cli_hub_close(&d.hub, d.ctx);
    return d.status;
}
