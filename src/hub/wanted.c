#include "hub/wanted.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"

#define HEADS "refs/heads/"
#define TAGS "refs/tags/"

static kn_status take_version(kni_wanted *out, const char *version, kn_error *err)
{
    int64_t number = 0;
    out->version = version;
    if (!kni_span_to_int(kni_span_of(version), INT64_MAX, &number)) {
        if (*version && version[strspn(version, "0123456789")] == '\0')
            return kn_error_set(err, KN_ERR_INVALID,
                                "version \"%.80s\": digits alone name a version branch, at most "
                                "%" PRId64,
                                version, INT64_MAX);
        out->kind = KNI_WANTED_VERSION;
        return kni_specifier_parse(version, &out->specifier, err);
    }
    out->kind = KNI_WANTED_BRANCH;
    snprintf(out->branch, sizeof(out->branch), "v%" PRId64, number);
    out->ref = out->branch;
    return KN_OK;
}

static kn_status take_revision(kni_wanted *out, const char *revision, kn_error *err)
{
    out->ref = revision;
    out->kind = kni_is_commit(revision)         ? KNI_WANTED_COMMIT
                : kni_is_short_commit(revision) ? KNI_WANTED_SHORT
                                                : KNI_WANTED_REVISION;
    return kni_ref_check(revision, "the revision", err);
}

static kn_status check_path(const char *path, const char *what, kn_error *err)
{
    return !path || kni_path_is_absolute(path)
               ? KN_OK
               : kn_error_set(err, KN_ERR_INVALID, "the path '%s' of %s is not absolute", path,
                              what);
}

kn_status kni_wanted_init(kni_wanted *out, const kn_hub_wish *wish, kn_error *err)
{
    kn_hub_wish all = KN_HUB_WISH_INIT;
    *out = (kni_wanted){.kind = KNI_WANTED_MAIN};
    if (!wish || wish->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID, "a wish is required: use KN_HUB_WISH");
    memcpy(&all, wish, wish->struct_size < sizeof(all) ? wish->struct_size : sizeof(all));
    if (!all.repo_id)
        return kn_error_set(err, KN_ERR_INVALID, "a wish without repo_id: expected owner/name");
    if ((all.revision != NULL) + (all.version != NULL) + (all.lock != NULL) > 1)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: takes at most one of revision, version and lock", all.repo_id);
    kn_status st = kni_repo_init(&out->repo, KNI_REPO_KERNEL, all.repo_id, err);
    out->lock = all.lock;
    out->sums = all.sums;
    out->consents = all.trust_remote_code != 0;
    if (st == KN_OK)
        st = check_path(all.lock, "a lock", err);
    if (st == KN_OK)
        st = check_path(all.sums, "a lock's sums", err);
    if (st != KN_OK)
        return st;
    if (all.version)
        st = take_version(out, all.version, err);
    else if (all.revision)
        st = take_revision(out, all.revision, err);
    else if (all.lock)
        out->kind = KNI_WANTED_LOCKED;
    else
        out->ref = "main";
    if (st != KN_OK)
        kn_error_prefix(err, "%s", out->repo.id);
    return st;
}

void kni_wanted_dispose(kni_wanted *wanted)
{
    kni_specifier_free(wanted->specifier);
    wanted->specifier = NULL;
}

// --- candidates ---

static int rank(const kni_candidate *c)
{
    return c->version ? 0 : c->number >= 0 ? 1 : 2;
}

static int compare(const void *left, const void *right)
{
    const kni_candidate *a = left, *b = right;
    int order = rank(a) - rank(b);
    if (order == 0 && a->version)
        order = kni_version_compare(a->version, b->version);
    if (order == 0 && a->number != b->number)
        order = a->number < b->number ? -1 : 1;
    return order ? order : strcmp(a->ref->name, b->ref->name);
}

static kn_status add(kni_candidates *out, const kni_ref *ref, bool is_branch, kn_error *err)
{
    kni_candidate *c = &out->items[out->count];
    *c = (kni_candidate){.ref = ref, .number = -1, .is_branch = is_branch};
    if (is_branch)
        c->number = kni_version_branch(ref->name);
    else if (ref->name[0] == 'v') {
        const kn_status st = kni_version_parse(ref->name + 1, &c->version, err);
        if (st != KN_OK)
            return st;
    }
    ++out->count;
    return KN_OK;
}

kn_status kni_candidates_init(kni_candidates *out, const kni_refs *refs, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (kni_candidates){NULL, 0};
    out->items = kni_calloc(refs->tags.count + refs->branches.count + 1, sizeof(*out->items));
    if (!out->items)
        return kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < refs->tags.count; ++i)
        st = add(out, &refs->tags.refs[i], false, err);
    for (size_t i = 0; st == KN_OK && i < refs->branches.count; ++i)
        st = add(out, &refs->branches.refs[i], true, err);
    if (st != KN_OK) {
        kni_candidates_dispose(out);
        return st;
    }
    qsort(out->items, out->count, sizeof(*out->items), compare);
    return KN_OK;
}

void kni_candidates_dispose(kni_candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; ++i)
        kni_version_free(candidates->items[i].version);
    kni_free(candidates->items);
    *candidates = (kni_candidates){NULL, 0};
}

// A branch goes before a tag of the same name, as in git.
static const kni_candidate *find(const kni_candidates *candidates, const char *name,
                                 bool with_branches, bool with_tags)
{
    const kni_candidate *found = NULL;
    for (size_t i = 0; i < candidates->count; ++i) {
        const kni_candidate *c = &candidates->items[i];
        if (strcmp(c->ref->name, name) == 0 && (c->is_branch ? with_branches : with_tags) &&
            (!found || c->is_branch))
            found = c;
    }
    return found;
}

static const kni_candidate *find_revision(const kni_candidates *candidates, const char *name)
{
    const kni_span span = kni_span_of(name);
    const kni_candidate *exact = find(candidates, name, true, true); // a cache keeps refs as asked
    if (exact)
        return exact;
    if (kni_span_starts(span, HEADS))
        return find(candidates, name + strlen(HEADS), true, false);
    if (kni_span_starts(span, TAGS))
        return find(candidates, name + strlen(TAGS), false, true);
    return NULL;
}

// Which of two tags of one version is meant cannot be told, when they are of different commits.
static kn_status check_single(const kni_candidates *candidates, const kni_candidate *chosen,
                              const char *repo_id, kn_error *err)
{
    for (size_t i = 0; i < candidates->count; ++i) {
        const kni_candidate *c = &candidates->items[i];
        if (c != chosen && c->version && kni_version_compare(c->version, chosen->version) == 0 &&
            strcmp(c->ref->commit, chosen->ref->commit) != 0)
            return kn_error_set(
                err, KN_ERR_UNTRUSTED,
                "%s: the tags %s (%s) and %s (%s) are the same version of different "
                "commits: ask for one of them as revision",
                repo_id, chosen->ref->name, chosen->ref->commit, c->ref->name, c->ref->commit);
    }
    return KN_OK;
}

static kn_status choose_version(const kni_candidates *candidates, const kni_wanted *wanted,
                                const kni_candidate **out, kn_error *err)
{
    const kni_version **versions = kni_calloc(candidates->count + 1, sizeof(const kni_version *));
    if (!versions)
        return kni_no_memory(err);
    for (size_t i = 0; i < candidates->count; ++i)
        versions[i] = candidates->items[i].version;
    const size_t chosen = kni_specifier_choose(wanted->specifier, versions, candidates->count);
    kni_free(versions);
    if (chosen == candidates->count)
        return KN_OK;
    *out = &candidates->items[chosen];
    return check_single(candidates, *out, wanted->repo.id, err);
}

kn_status kni_candidates_choose(const kni_candidates *candidates, const kni_wanted *wanted,
                                const kni_candidate **out, kn_error *err)
{
    *out = NULL;
    if (wanted->kind == KNI_WANTED_VERSION)
        return choose_version(candidates, wanted, out, err);
    if (wanted->kind == KNI_WANTED_BRANCH)
        *out = find(candidates, wanted->ref, true, false);
    else if (wanted->ref)
        *out = find_revision(candidates, wanted->ref);
    return KN_OK;
}

enum { NAMES_SHOWN = 12 };

// "1, 2, 10" of those that `is_shown` picks; the newest, when there are many.
static void append_names(kni_buf *out, const kni_candidates *candidates,
                         bool (*is_shown)(const kni_candidate *c), size_t skip)
{
    size_t count = 0, n = 0;
    for (size_t i = 0; i < candidates->count; ++i)
        count += is_shown(&candidates->items[i]);
    for (size_t i = 0; i < candidates->count; ++i) {
        if (!is_shown(&candidates->items[i]))
            continue;
        if (n++ + NAMES_SHOWN < count)
            continue;
        if (out->size > 0 || count > NAMES_SHOWN)
            kni_buf_puts(out, out->size == 0 ? "…, " : ", ");
        kni_buf_puts(out, candidates->items[i].ref->name + skip);
    }
    if (count == 0)
        kni_buf_puts(out, "none");
}

static bool is_version_tag(const kni_candidate *c)
{
    return c->version != NULL;
}

static bool is_version_branch(const kni_candidate *c)
{
    return c->number >= 0;
}

static bool is_any(const kni_candidate *c)
{
    (void)c;
    return true;
}

kn_status kni_candidates_none(const kni_candidates *candidates, const kni_wanted *wanted,
                              const char *where, kn_error *err)
{
    kni_buf names = KNI_BUF_ANY;
    kn_status st = KN_ERR_NOT_FOUND;
    if (wanted->kind == KNI_WANTED_VERSION) {
        append_names(&names, candidates, is_version_tag, 0);
        kn_error_set(err, st, "No version of %s satisfies requirement: %s; its version tags: %s%s",
                     wanted->repo.id, wanted->version, kni_buf_text(&names), where);
    } else if (wanted->kind == KNI_WANTED_BRANCH) {
        append_names(&names, candidates, is_version_branch, 1);
        kn_error_set(err, st, "%s: Version %s not found, available versions: %s%s", wanted->repo.id,
                     wanted->version, kni_buf_text(&names), where);
    } else {
        append_names(&names, candidates, is_any, 0);
        kn_error_set(err, st, "%s: no revision '%s'; there are: %s%s", wanted->repo.id,
                     wanted->ref ? wanted->ref : "", kni_buf_text(&names), where);
    }
    if (names.failed)
        st = KN_ERR_NO_MEMORY;
    kni_buf_dispose(&names);
    return st;
}

static kn_status ask_release(const kni_ref *ref, bool is_branch, bool *is, kn_error *err)
{
    kni_version *version = NULL;
    *is = is_branch && (strcmp(ref->name, "main") == 0 || kni_version_branch(ref->name) >= 0);
    if (is_branch || ref->name[0] != 'v')
        return KN_OK;
    const kn_status st = kni_version_parse(ref->name + 1, &version, err);
    *is = version != NULL;
    kni_version_free(version);
    return st;
}

kn_status kni_released_as(const kni_refs *refs, const char *commit, const char *asked,
                          const kni_ref **out, kn_error *err)
{
    const kni_ref_list *const lists[] = {&refs->tags, &refs->branches};
    *out = NULL;
    for (size_t l = 0; l < KN_LEN(lists); ++l)
        for (size_t i = 0; i < lists[l]->count; ++i) {
            const kni_ref *ref = &lists[l]->refs[i];
            const bool is_asked = asked && strcmp(ref->name, asked) == 0;
            bool is = false;
            if ((*out && !is_asked) || strcmp(ref->commit, commit) != 0)
                continue;
            const kn_status st = ask_release(ref, lists[l] == &refs->branches, &is, err);
            if (st != KN_OK)
                return st;
            if (is)
                *out = ref;
            if (is && is_asked)
                return KN_OK;
        }
    return KN_OK;
}
