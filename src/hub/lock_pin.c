// The pin of one repository: the one that is there, while it satisfies what is
// asked, or a new one.
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "hub/ask.h"
#include "hub/lock_make.h"
#include "hub/version.h"

#define STAGE "lock"
#define ADMITS "kernels lock"

// What the files say of a want. All borrowed from them.
typedef struct pinned {
    const kni_sum_kernel *sum; // with the pinned commit; NULL
    const kni_lock_entry *entry;
    const char *commit; // NULL: not pinned
    const char *ref;    // what it was; NULL: not known
    bool satisfies;     // what is asked for now
} pinned;

static bool is_number(const char *version)
{
    return version && *version && version[strspn(version, "0123456789")] == '\0';
}

// May a commit that was `ref` stay for what is asked now? Specifiers are over tags: the branch v1 is no version 1.
static kn_status ref_satisfies(const kni_lock_want *want, const char *ref, bool is_tag, bool *out,
                               kn_error *err)
{
    kni_specifier *specifier = NULL;
    kni_version *version = NULL;
    kn_status st = KN_OK;
    *out = false;
    if (want->revision || !want->version) {
        *out = strcmp(ref, want->revision ? want->revision : "main") == 0;
    } else if (is_tag && ref[0] == 'v' && !is_number(want->version)) {
        st = kni_specifier_parse(want->version, &specifier, err);
        if (st == KN_OK)
            st = kni_version_parse(ref + 1, &version, err);
        *out = st == KN_OK && version && kni_specifier_admits(specifier, version);
    }
    kni_specifier_free(specifier);
    kni_version_free(version);
    return st;
}

static const kni_lock_entry *find_entry(const kni_lock_job *job, const kni_lock_want *want)
{
    int64_t number = -1;
    if (!job->has_lock || job->is_hashed)
        return kni_lock_find(job->old_lock, want->repo_id);
    kni_span_to_int(kni_span_of(want->version), INT64_MAX, &number);
    for (size_t i = 0; i < job->old_lock->count; ++i) {
        const kni_lock_entry *entry = &job->old_lock->entries[i];
        if (strcmp(entry->repo_id, want->repo_id) == 0 && !entry->revision &&
            entry->version == number)
            return entry;
    }
    return NULL;
}

// kernels.lock is what everybody goes by: sums of another commit are of an
// earlier one.
static kn_status find_pin(const kni_lock_job *job, const kni_lock_want *want, pinned *out,
                          kn_error *err)
{
    const kni_sums *sums = job->old_sums;
    kn_status st = KN_OK;
    *out = (pinned){.entry = find_entry(job, want)};
    if (out->entry)
        out->commit = out->entry->commit;
    const kni_sum_kernel *same = kni_sums_find(sums, want->repo_id, want->version, want->revision);
    if (same && (!out->commit || strcmp(same->commit, out->commit) == 0)) {
        out->sum = same;
        out->satisfies = true;
    }
    if (out->entry && !job->is_hashed)
        out->satisfies = true; // it was found by its version
    for (size_t i = 0; st == KN_OK && !out->sum && i < sums->count; ++i) {
        const kni_sum_kernel *sum = &sums->kernels[i];
        bool satisfies = false;
        if (strcmp(sum->repo.id, want->repo_id) != 0 ||
            (out->commit && strcmp(sum->commit, out->commit) != 0))
            continue;
        st = ref_satisfies(want, sum->ref, sum->version && !is_number(sum->version), &satisfies,
                           err);
        if (satisfies || out->satisfies) {
            out->sum = sum;
            out->satisfies = true;
        }
    }
    if (out->sum) {
        out->commit = out->sum->commit;
        out->ref = out->sum->ref;
    }
    return st;
}

// Has kernels.lock the variants that the sums have? It may have been edited, or
// be of another program.
static bool agrees(const kni_lock_entry *entry, const kni_sum_kernel *sum)
{
    size_t n = 0;
    for (size_t i = 0; i < sum->n_variants; ++i) {
        const char *name = sum->variants[i].name;
        if (!kni_span_starts(kni_span_of(name), "torch"))
            continue;
        ++n;
        if (!kni_lock_find_hash(entry, name))
            return false;
    }
    return n == entry->n_hashes;
}

// Is all that is to be written there?
static bool is_whole(const kni_lock_job *job, const pinned *pin)
{
    return pin->satisfies && pin->sum &&
           (!job->has_lock || !job->is_hashed || (pin->entry && agrees(pin->entry, pin->sum)));
}

// A kernels.lock without sums does not say of what tag its commit is. The
// endpoint may.
static kn_status ask_of_commit(kni_lock_job *job, const kni_lock_want *want, pinned *pin,
                               kn_error *err)
{
    const kni_known_refs *known = NULL;
    kni_repo repo;
    kn_status st = kni_repo_init(&repo, KNI_REPO_KERNEL, want->repo_id, err);
    if (st == KN_OK)
        st = kni_ask_refs(job->hub, &repo, false, &known, err);
    for (size_t i = 0; st == KN_OK && !pin->satisfies && i < known->refs.tags.count; ++i) {
        const kni_ref *tag = &known->refs.tags.refs[i];
        if (strcmp(tag->commit, pin->commit) != 0)
            continue;
        st = ref_satisfies(want, tag->name, true, &pin->satisfies, err);
        pin->ref = tag->name;
    }
    return st;
}

// commit: NULL for what is asked for.
static kn_status resolve(const kni_lock_job *job, const kni_lock_want *want, const char *commit,
                         kn_revision **out, kn_error *err)
{
    kn_hub_wish wish = KN_HUB_WISH_INIT;
    wish.repo_id = want->repo_id;
    wish.revision = commit ? commit : want->revision;
    wish.version = commit ? NULL : want->version;
    wish.trust_remote_code = want->consents;
    const kn_status st = kn_hub_resolve(job->hub, &wish, out, NULL, err);
    if (st != KN_OK || kn_revision_moved_to(*out)[0] == '\0' ||
        strcmp((*out)->repo.id, want->repo_id) == 0)
        return st;
    return kn_error_set(err, KN_ERR_INVALID,
                        "%s moved to %s: a lock names what is asked for: ask for %s", want->repo_id,
                        (*out)->repo.id, (*out)->repo.id);
}

static kn_status set_text(char **to, const char *text, kn_error *err)
{
    kni_free(*to);
    *to = kni_strdup(text);
    return !*to == !text ? KN_OK : kni_no_memory(err);
}

static kn_status set_wish(const kni_lock_job *job, const kni_lock_want *want, kni_sum_kernel *sum,
                          kni_lock_entry *entry, kn_error *err)
{
    kn_status st = kni_repo_init(&sum->repo, sum->repo.type, want->repo_id, err);
    if (st == KN_OK)
        st = set_text(&sum->version, want->version, err);
    if (st == KN_OK)
        st = set_text(&sum->revision, want->revision, err);
    if (st == KN_OK)
        st = set_text(&entry->repo_id, want->repo_id, err);
    memcpy(entry->commit, sum->commit, KNI_COMMIT_SIZE);
    if (job->has_lock && !job->is_hashed)
        kni_span_to_int(kni_span_of(want->version), INT64_MAX, &entry->version);
    return st;
}

static kn_status keep(const kni_lock_job *job, const kni_lock_want *want, const pinned *pin,
                      kni_sum_kernel *sum, kni_lock_entry *entry, kn_error *err)
{
    kn_status st = kni_sum_kernel_copy(pin->sum, sum, err);
    if (st == KN_OK && pin->entry)
        st = kni_lock_entry_copy(pin->entry, entry, err);
    return st == KN_OK ? set_wish(job, want, sum, entry, err) : st;
}

static kn_status make(const kni_lock_job *job, const kni_lock_want *want,
                      const kn_revision *revision, const char *ref, kni_sum_kernel *sum,
                      kni_lock_entry *entry, kn_error *err)
{
    memcpy(sum->commit, revision->commit, KNI_COMMIT_SIZE);
    sum->repo.type = revision->repo.type;
    kn_status st = set_text(&sum->ref, ref, err);
    if (st == KN_OK)
        st = set_wish(job, want, sum, entry, err);
    if (st == KN_OK)
        st = kni_lock_content(job->hub, &revision->repo, revision->commit, sum,
                              job->has_lock && job->is_hashed ? entry : NULL, err);
    return st;
}

static kn_status say(const kni_lock_job *job, const kni_lock_want *want, bool accepted,
                     const char *rule, const char *ref, const char *commit, const char *what,
                     kn_error *err)
{
    const char *comma = ref && *ref ? ", " : "";
    const bool good =
        kni_trace_add(job->trace, STAGE, want->repo_id, accepted, rule, accepted ? NULL : ADMITS,
                      "%s%s%s%s%s%s", ref ? ref : "", comma, commit ? "commit " : "",
                      commit ? commit : "", commit ? ": " : "", what);
    return good ? KN_OK : kni_no_memory(err);
}

static kn_status say_stale(kni_lock_job *job, const kni_lock_want *want, const char *rule,
                           const char *ref, const char *commit, const char *what, kn_error *err)
{
    job->is_stale = true;
    return say(job, want, false, rule, ref, commit, what, err);
}

// Without a look at the endpoint.
static kn_status check(kni_lock_job *job, const kni_lock_want *want, const pinned *pin,
                       kn_error *err)
{
    if (!pin->commit)
        return say_stale(job, want, "missing", NULL, NULL, "is not locked", err);
    if (!pin->satisfies)
        return say_stale(job, want, "changed", pin->ref, pin->commit,
                         "is locked, which is not known to satisfy what is asked for", err);
    return say_stale(job, want, "content", pin->ref, pin->commit,
                     "is locked without the content of its variants", err);
}

static kn_status make_anew(kni_lock_job *job, const kni_lock_want *want, const pinned *pin,
                           kni_sum_kernel *sum, kni_lock_entry *entry, kn_error *err)
{
    kn_revision *revision = NULL;
    char was[KNI_COMMIT_SIZE + 8] = "is new";
    const bool stays = pin->satisfies && !want->is_update;
    kn_status st = resolve(job, want, stays ? pin->commit : NULL, &revision, err);
    if (st != KN_OK)
        goto done;
    const char *ref = stays && pin->ref ? pin->ref : kn_revision_ref(revision);
    const bool is_same = pin->commit && strcmp(revision->commit, pin->commit) == 0;
    if (pin->commit)
        snprintf(was, sizeof(was), "%s%s", is_same ? "as it was" : "was ",
                 is_same ? "" : pin->commit);
    if (is_same && is_whole(job, pin)) {
        st = keep(job, want, pin, sum, entry, err);
    } else if (job->opts->check) {
        st = say_stale(job, want, "newer", ref, revision->commit, was, err);
        goto done;
    } else {
        st = make(job, want, revision, ref, sum, entry, err);
    }
    if (st == KN_OK)
        st = say(job, want, true,
                 is_same       ? ""
                 : pin->commit ? "updated"
                               : "new",
                 ref, revision->commit, was, err);
done:
    kn_revision_free(revision);
    return st;
}

kn_status kni_lock_pin(kni_lock_job *job, const kni_lock_want *want, kni_sum_kernel *sum,
                       kni_lock_entry *entry, kn_error *err)
{
    pinned pin;
    *sum = (kni_sum_kernel){.ref = NULL};
    *entry = (kni_lock_entry){.version = -1};
    kn_status st = find_pin(job, want, &pin, err);
    if (st != KN_OK)
        return st;
    if (!want->is_update && is_whole(job, &pin)) {
        st = keep(job, want, &pin, sum, entry, err);
        return st == KN_OK ? say(job, want, true, "", pin.ref, pin.commit, "as it was", err) : st;
    }
    if (!want->is_update && job->opts->check)
        return check(job, want, &pin, err);
    if (!want->is_update && pin.commit && !pin.satisfies && !pin.sum)
        st = ask_of_commit(job, want, &pin, err);
    return st == KN_OK ? make_anew(job, want, &pin, sum, entry, err) : st;
}
