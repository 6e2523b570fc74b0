#include "hub/locked.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"

static kn_status keep_sums(kn_revision *revision, const kni_sum_kernel *kernel, kn_error *err)
{
    revision->sums = kni_calloc(1, sizeof(*revision->sums));
    if (!revision->sums)
        return kni_no_memory(err);
    revision->level = KN_LEVEL_PINNED;
    revision->repo = kernel->repo;
    memcpy(revision->commit, kernel->commit, KNI_COMMIT_SIZE);
    return kni_sum_kernel_copy(kernel, revision->sums, err);
}

// X.lock.sums of a mapping, or given by itself: the entry for this very wish.
static kn_status take_sums(const kni_wanted *wanted, kn_revision *out, kn_error *err)
{
    kni_sums sums = {0};
    kn_status st = kni_sums_read(wanted->sums, &sums, err);
    if (st != KN_OK)
        return st;
    const char *revision = wanted->version || wanted->kind == KNI_WANTED_MAIN ? NULL : wanted->ref;
    const kni_sum_kernel *kernel = kni_sums_find(&sums, wanted->repo.id, wanted->version, revision);
    if (kernel)
        st = keep_sums(out, kernel, err);
    else
        st = kn_error_set(err, KN_ERR_NOT_FOUND,
                          "Kernel `%s` is not locked%s%s: %s does not have it: run kernels lock",
                          wanted->repo.id, wanted->version || revision ? " as " : "",
                          wanted->version ? wanted->version
                          : revision      ? revision
                                          : "",
                          wanted->sums);
    kni_sums_dispose(&sums);
    return st;
}

static kn_status take_lock_sums(const kni_wanted *wanted, const char *path, const char *commit,
                                kn_revision *out, kn_error *err)
{
    kni_sums sums = {0};
    kn_status st = kni_sums_read(path, &sums, err);
    const kni_sum_kernel *found = NULL;
    // A lock may have several versions of a repository: that of its commit, else any, to say that it differs.
    for (size_t i = 0; st == KN_OK && i < sums.count; ++i)
        if (strcmp(sums.kernels[i].repo.id, wanted->repo.id) == 0 &&
            (!found || strcmp(found->commit, commit) != 0))
            found = &sums.kernels[i];
    if (st == KN_OK && !found)
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: does not have %s, which %s locks: run kernels "
                          "lock",
                          path, wanted->repo.id, wanted->lock);
    else if (st == KN_OK && strcmp(found->commit, commit) != 0)
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: has the commit %s of %s, %s has %s: run kernels lock", path,
                          found->commit, wanted->repo.id, wanted->lock, commit);
    if (st == KN_OK)
        st = keep_sums(out, found, err);
    kni_sums_dispose(&sums);
    return st;
}

static kn_status keep_locked(kn_revision *out, const kni_lock_entry *entry, kn_error *err)
{
    out->locked = kni_calloc(1, sizeof(*out->locked));
    if (!out->locked)
        return kni_no_memory(err);
    memcpy(out->commit, entry->commit, KNI_COMMIT_SIZE);
    return kni_lock_entry_copy(entry, out->locked, err);
}

static kn_status take_lock(const kni_wanted *wanted, kn_revision *out, kn_error *err)
{
    kni_lock lock = {0};
    kni_buf sums = KNI_BUF_ANY;
    kn_status st = kni_lock_read(wanted->lock, &lock, err);
    const kni_lock_entry *entry = st == KN_OK ? kni_lock_find(&lock, wanted->repo.id) : NULL;
    if (st == KN_OK && !entry)
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "Kernel `%s` is not locked: %s does not have it",
                          wanted->repo.id, wanted->lock);
    if (st == KN_OK)
        st = keep_locked(out, entry, err);
    kni_buf_printf(&sums, "%s.sums", wanted->lock);
    if (st == KN_OK && sums.failed)
        st = kni_no_memory(err);
    if (st == KN_OK && kni_file_exists(kni_buf_text(&sums)))
        st = take_lock_sums(wanted, kni_buf_text(&sums), entry->commit, out, err);
    kni_buf_dispose(&sums);
    kni_lock_dispose(&lock);
    return st;
}

kn_status kni_locked_find(const kni_wanted *wanted, kn_revision *out, kn_error *err)
{
    return wanted->kind == KNI_WANTED_LOCKED ? take_lock(wanted, out, err)
                                             : take_sums(wanted, out, err);
}
