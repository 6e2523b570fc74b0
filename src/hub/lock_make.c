// `kernels lock`: from a project or a mapping file to the files that pin what it needs.
#include "hub/lock_make.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "mapping/mapping.h"

#define FILE_SIZE_MAX ((size_t)64 << 20)

// One of the files that are written.
typedef struct output {
    char *path;  // NULL: there is none
    kni_buf old; // what is there
    bool is_there;
    char *text; // what is to be there; NULL: nothing
} output;

typedef struct files {
    const char *source; // the name of what is locked
    output lock, sums;
} files;

static kn_status read_old(output *file, kn_error *err)
{
    file->old = KNI_BUF(FILE_SIZE_MAX);
    if (!file->path || (!kni_file_exists(file->path) && !kni_dir_exists(file->path)))
        return KN_OK;
    file->is_there = true;
    return kni_file_read(&file->old, file->path, err);
}

static bool is_current(const output *file)
{
    return !file->text || (file->is_there && file->old.size == strlen(file->text) &&
                           memcmp(kni_buf_text(&file->old), file->text, file->old.size) == 0);
}

static void dispose_output(output *file)
{
    kni_free(file->path);
    kni_free(file->text);
    kni_buf_dispose(&file->old);
}

// Sums of another source stay: the names of both say what to do.
static kn_status check_source(const files *f, const kni_sums *sums, kn_error *err)
{
    if (!f->sums.is_there || strcmp(sums->source, f->source) == 0)
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID,
                        "%s: is of %s, and %s would have the same: rename one of the two, or "
                        "remove this file",
                        f->sums.path, sums->source, f->source);
}

static kn_status read_files(files *f, bool is_hashed, kni_lock *lock, kni_sums *sums, kn_error *err)
{
    kn_status st = read_old(&f->lock, err);
    if (st == KN_OK)
        st = read_old(&f->sums, err);
    if (st == KN_OK && f->lock.is_there)
        st = kni_lock_parse(kni_buf_text(&f->lock.old), f->lock.old.size, f->lock.path, lock, err);
    if (st == KN_OK && lock->is_hashed != is_hashed)
        kni_lock_dispose(lock); // of the other form: it says nothing of what is asked for now
    if (st == KN_OK && f->sums.is_there)
        st = kni_sums_parse(kni_buf_text(&f->sums.old), f->sums.old.size, f->sums.path, sums, err);
    return st == KN_OK ? check_source(f, sums, err) : st;
}

static kn_status write_files(const files *f, kn_error *err)
{
    const output *const outputs[] = {&f->sums, &f->lock};
    kni_file_text texts[KN_LEN(outputs)];
    size_t n = 0;
    for (size_t i = 0; i < KN_LEN(outputs); ++i)
        if (!is_current(outputs[i]))
            texts[n++] =
                (kni_file_text){outputs[i]->path, outputs[i]->text, strlen(outputs[i]->text)};
    return kni_files_write(texts, n, err);
}

// The rest, for both kinds of source.
static kn_status make_lock(kn_hub *hub, files *f, kni_lock_wants *wants, bool is_hashed,
                           const kn_lock_options *opts, bool *current, kn_trace *trace,
                           kn_error *err)
{
    kni_lock old_lock = {.is_hashed = is_hashed}, lock = {.is_hashed = is_hashed};
    kni_sums old_sums = {0}, sums = {0};
    kni_lock_job job = {
        .hub = hub,
        .opts = opts,
        .trace = trace,
        .has_lock = f->lock.path != NULL,
        .is_hashed = is_hashed,
        .old_lock = &old_lock,
        .old_sums = &old_sums,
    };
    kn_status st = kni_lock_wants_choose(wants, opts, f->source, err);
    if (st == KN_OK)
        st = read_files(f, is_hashed, &old_lock, &old_sums, err);
    if (st == KN_OK)
        st = kni_lock_pins(&job, wants, &lock, &sums, err);
    if (st != KN_OK || job.is_stale) // with check: some pins are empty
        goto done;
    sums.source = kni_strdup(f->source);
    f->lock.text = job.has_lock ? kni_lock_text(&lock) : NULL;
    f->sums.text = sums.source ? kni_sums_text(&sums) : NULL;
    if ((job.has_lock && !f->lock.text) || !f->sums.text) {
        st = kni_no_memory(err);
        goto done;
    }
    *current = is_current(&f->lock) && is_current(&f->sums);
    if (!*current && !opts->check)
        st = write_files(f, err);
done:
    kni_lock_dispose(&old_lock);
    kni_lock_dispose(&lock);
    kni_sums_dispose(&old_sums);
    kni_sums_dispose(&sums);
    return st;
}

static kn_status read_options(const char *function, const kn_hub *hub, const char *path,
                              const kn_lock_options *opts, const bool *current,
                              kn_lock_options *out, kn_error *err)
{
    *out = KN_LOCK_OPTIONS_INIT;
    if (opts)
        memcpy(out, opts, opts->struct_size < sizeof(*out) ? opts->struct_size : sizeof(*out));
    if (!hub || !path || !current || (opts && opts->struct_size == 0) ||
        (out->n_update && !out->update))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: a hub, a path, is_current, and options that begin with "
                            "KN_LOCK_OPTIONS_INIT are required",
                            function);
    return KN_OK;
}

kn_status kn_hub_lock_project(kn_hub *hub, const char *dir, const kn_lock_options *opts,
                              bool *current, kn_trace *trace, kn_error *err)
{
    kn_lock_options all;
    kni_lock_wants wants = {0};
    bool is_hashed = true, answer = false;
    kn_status st = read_options("kn_hub_lock_project", hub, dir, opts, current, &all, err);
    if (st != KN_OK)
        return st;
    *current = false;
    char *source = kni_path_join(dir, "pyproject.toml");
    files f = {
        .source = "pyproject.toml",
        .lock.path = kni_path_join(dir, "kernels.lock"),
        .sums.path = kni_path_join(dir, "kernels.lock.sums"),
    };
    if (!source || !f.lock.path || !f.sums.path)
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = kni_lock_wants_project(source, &wants, &is_hashed, err);
    if (st == KN_OK)
        st = make_lock(hub, &f, &wants, is_hashed, &all, &answer, trace, err);
    if (st == KN_OK)
        *current = answer;
    kni_lock_wants_dispose(&wants);
    dispose_output(&f.lock);
    dispose_output(&f.sums);
    kni_free(source);
    return st;
}

kn_status kn_hub_lock_mapping(kn_hub *hub, const char *mapping_path, const kn_lock_options *opts,
                              bool *current, kn_trace *trace, kn_error *err)
{
    kn_lock_options all;
    kni_lock_wants wants = {0};
    bool answer = false;
    files f = {0};
    kn_status st = read_options("kn_hub_lock_mapping", hub, mapping_path, opts, current, &all, err);
    if (st != KN_OK)
        return st;
    *current = false;
    f.source = kni_path_basename(mapping_path);
    st = kni_mapping_sums_path(mapping_path, &f.sums.path, err);
    if (st == KN_OK && !f.sums.path)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "%s: expected a mapping file whose name ends in .toml: its sums get the "
                          "same name with .lock.sums",
                          mapping_path);
    if (st == KN_OK)
        st = kni_lock_wants_mapping(mapping_path, f.sums.path, &wants, err);
    if (st == KN_OK)
        st = make_lock(hub, &f, &wants, true, &all, &answer, trace, err);
    if (st == KN_OK)
        *current = answer;
    kni_lock_wants_dispose(&wants);
    dispose_output(&f.sums);
    return st;
}
