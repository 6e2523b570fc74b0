// From a wish to a commit that may be used.
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "hub/ahead.h"
#include "hub/ask.h"
#include "hub/cached.h"
#include "hub/hub.h"
#include "hub/locked.h"
#include "hub/moved.h"
#include "hub/publisher.h"
#include "hub/seen.h"
#include "hub/wanted.h"

typedef struct search {
    kn_hub *hub;
    kni_wanted wanted;
    kn_revision *revision; // being filled
    const kni_refs *refs;  // of the endpoint, borrowed; NULL: it was not asked
    bool is_tag;           // what was found by refs is a tag
    kn_trace *trace;
    kn_error *err;
} search;

// --- a commit that is known: which type of repository has it? ---

static kn_status find_type(search *s)
{
    static const kni_repo_type types[] = {KNI_REPO_KERNEL, KNI_REPO_MODEL};
    kn_revision *revision = s->revision;
    const kni_known_tree *known = NULL;
    char found[KNI_COMMIT_SIZE];
    for (size_t i = 0; i < KN_LEN(types); ++i) {
        kni_repo repo = s->wanted.repo;
        repo.type = types[i];
        if (kni_cached_commit(s->hub, &repo, revision->commit, found, NULL) == KN_OK) {
            revision->repo = repo;
            return KN_OK;
        }
    }
    if (s->hub->settings.is_offline)
        return kn_error_set(s->err, KN_ERR_NOT_FOUND,
                            "%s: offline mode, and the commit %s is not in the cache %s",
                            s->wanted.repo.id, revision->commit, kn_hub_cache_dir(s->hub));
    const kn_status st =
        kni_ask_tree(s->hub, &s->wanted.repo, revision->commit, true, &known, s->err);
    if (st == KN_OK)
        revision->repo = known->repo;
    return st;
}

// --- refs ---

static kn_status take(search *s, const kni_candidate *chosen)
{
    const char *ref = s->wanted.kind == KNI_WANTED_REVISION || s->wanted.kind == KNI_WANTED_SHORT
                          ? s->wanted.ref
                          : chosen->ref->name;
    memcpy(s->revision->commit, chosen->ref->commit, KNI_COMMIT_SIZE);
    s->is_tag = !chosen->is_branch;
    kni_free(s->revision->ref);
    s->revision->ref = kni_strdup(ref);
    return s->revision->ref ? KN_OK : kni_no_memory(s->err);
}

// What refs do not tell: an abbreviated commit, refs/pr/N. *found: false without an error when there is none such.
static kn_status look_further(search *s, bool *found)
{
    const char *commit = NULL;
    char cached[KNI_COMMIT_SIZE];
    kn_error why = KN_ERROR_INIT;
    kn_status st = KN_OK;
    *found = false;
    if (s->wanted.kind == KNI_WANTED_REVISION || s->wanted.kind == KNI_WANTED_SHORT) {
        if (s->refs) {
            st = kni_ask_commit(s->hub, &s->revision->repo, s->wanted.ref, &commit, &why);
        } else if (s->wanted.kind == KNI_WANTED_SHORT) {
            st = kni_cached_commit(s->hub, &s->revision->repo, s->wanted.ref, cached, &why);
            commit = cached;
        }
        if (st == KN_OK && commit) {
            memcpy(s->revision->commit, commit, KNI_COMMIT_SIZE);
            *found = true;
            s->revision->ref = kni_strdup(s->wanted.kind == KNI_WANTED_SHORT ? "" : s->wanted.ref);
            return s->revision->ref ? KN_OK : kni_no_memory(s->err);
        }
    }
    if (st == KN_ERR_NOT_FOUND) {
        kn_error_dispose(&why);
        return KN_OK;
    }
    return st == KN_OK ? st : kni_error_move(s->err, &why);
}

static kn_status choose(search *s, const kni_refs *refs, const char *where)
{
    kni_candidates candidates = {NULL, 0};
    const kni_candidate *chosen = NULL;
    bool found = false;
    kn_status st = kni_candidates_init(&candidates, refs, s->err);
    if (st == KN_OK)
        st = kni_candidates_choose(&candidates, &s->wanted, &chosen, s->err);
    if (st == KN_OK && chosen)
        st = take(s, chosen);
    else if (st == KN_OK)
        st = look_further(s, &found);
    if (st == KN_OK && !chosen && !found)
        st = kni_candidates_none(&candidates, &s->wanted, where, s->err);
    kni_candidates_dispose(&candidates);
    return st;
}

static kn_status locate_offline(search *s, const char *reason, kn_error *err)
{
    kni_refs refs = {0};
    kni_buf where = KNI_BUF_ANY;
    kn_error *given = s->err;
    kn_status st = KN_OK;
    if (!kni_cached_repo(s->hub, s->wanted.repo.id, &s->revision->repo))
        return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: %s, and it is not in the cache %s",
                            s->wanted.repo.id, reason, kn_hub_cache_dir(s->hub));
    s->err = err;
    st = kni_cached_refs(s->hub, &s->revision->repo, &refs, err);
    kni_buf_printf(&where, " (%s: these are in the cache %s)", reason, kn_hub_cache_dir(s->hub));
    if (st == KN_OK)
        st = choose(s, &refs, kni_buf_text(&where));
    s->err = given;
    kni_buf_dispose(&where);
    kni_refs_dispose(&refs);
    return st;
}

// When the network fails, what is cached serves; when the hub says no, nothing does.
static kn_status locate_online(search *s)
{
    const kni_known_refs *known = NULL;
    kni_repo cached;
    kni_ahead publisher = {.is_running = false}, moved = {.is_running = false};
    kn_error why = KN_ERROR_INIT, nothing = KN_ERROR_INIT;
    const bool is_cached = kni_cached_repo(s->hub, s->wanted.repo.id, &cached);
    // What is cached has a record most likely, and then nobody is asked.
    if (!is_cached && !s->wanted.consents && s->hub->settings.endpoint_is_trusted)
        kni_ahead_publisher(&publisher, s->hub, &s->wanted.repo);
    if (!is_cached && s->wanted.ref)
        kni_ahead_moved(&moved, s->hub, &s->wanted.repo, s->wanted.ref);
    kn_status st = kni_ask_refs(s->hub, &s->wanted.repo, is_cached, &known, &why);
    st = kni_ahead_end(&publisher, st, &why);
    st = kni_ahead_end(&moved, st, &why);
    if (st == KN_OK) {
        s->revision->repo = known->repo;
        s->refs = &known->refs;
        return choose(s, s->refs, "");
    }
    if (st == KN_ERR_NETWORK && is_cached &&
        locate_offline(s, "the network fails", &nothing) == KN_OK) {
        kni_log_write(&s->hub->log, KN_LOG_WARNING,
                      "%s: the cache serves, since the hub cannot be asked: %s", s->wanted.repo.id,
                      kn_error_text(&why));
        kn_error_dispose(&why);
        return KN_OK;
    }
    kn_error_dispose(&nothing);
    return kni_error_move(s->err, &why);
}

static void warn_of_main(search *s)
{
    kni_buf key = KNI_BUF_ANY;
    kni_buf_printf(&key, "warned of main %s", s->wanted.repo.id);
    if (!key.failed && kni_memo_first(s->hub->memo, kni_buf_text(&key)))
        kni_log_write(&s->hub->log, KN_LOG_WARNING,
                      "%s: neither a version nor a revision is given: main is used, which may "
                      "change at any time",
                      s->wanted.repo.id);
    kni_buf_dispose(&key);
}

static kn_status locate(search *s)
{
    if (s->wanted.kind == KNI_WANTED_LOCKED || s->wanted.sums ||
        s->wanted.kind == KNI_WANTED_COMMIT) {
        kn_status st = KN_OK;
        s->revision->is_fixed = true;
        if (s->wanted.kind == KNI_WANTED_LOCKED || s->wanted.sums)
            st = kni_locked_find(&s->wanted, s->revision, s->err);
        else
            memcpy(s->revision->commit, s->wanted.ref, KNI_COMMIT_SIZE);
        return st == KN_OK && !s->revision->sums ? find_type(s) : st;
    }
    if (s->wanted.kind == KNI_WANTED_MAIN)
        warn_of_main(s);
    return s->hub->settings.is_offline ? locate_offline(s, "offline mode", s->err)
                                       : locate_online(s);
}

// --- moved ---

static kn_status resolve(kn_hub *hub, const kn_hub_wish *wish, bool follows, kn_revision **out,
                         kn_trace *trace, kn_error *err);

// Consent was for the repository that was named: where it leads is judged by itself, and leads no further.
static kn_status follow(search *s, const kni_moved *moved, kn_revision **out)
{
    kn_hub_wish wish = KN_HUB_WISH_INIT;
    kn_revision *there = NULL;
    wish.repo_id = moved->to.id;
    wish.revision = moved->revision;
    kn_status st = resolve(s->hub, &wish, false, &there, s->trace, s->err);
    if (st != KN_OK) {
        kn_error_prefix(s->err, "%s moved to %s", s->revision->repo.id, s->revision->moved_to);
        return st;
    }
    memcpy(there->asked_id, s->revision->asked_id, sizeof(there->asked_id));
    kni_free(there->moved_to);
    there->moved_to = kni_strdup(s->revision->moved_to);
    if (!there->moved_to) {
        kn_revision_free(there);
        return kni_no_memory(s->err);
    }
    *out = there;
    return KN_OK;
}

static kn_status tell_of_move(search *s, const kni_moved *moved, bool follows)
{
    kni_buf to = KNI_BUF_ANY, key = KNI_BUF_ANY;
    kni_buf_printf(&to, "%s@%s", moved->to.id, moved->revision);
    kni_free(s->revision->moved_to);
    s->revision->moved_to = kni_buf_take(&to);
    if (!s->revision->moved_to ||
        !kni_trace_add(s->trace, "resolve", s->revision->repo.id, true, "moved", NULL,
                       "kernel-status.toml says that it moved to %s%s", s->revision->moved_to,
                       follows ? "" : ", which is not followed"))
        return kni_no_memory(s->err);
    if (follows)
        return KN_OK;
    kni_buf_printf(&key, "warned of move %s", s->revision->repo.id);
    if (!key.failed && kni_memo_first(s->hub->memo, kni_buf_text(&key)))
        kni_log_write(&s->hub->log, KN_LOG_WARNING,
                      "'%s' redirected to '%s': it is not followed: name the new repository "
                      "instead, or ask for redirects to be followed",
                      s->revision->repo.id, s->revision->moved_to);
    kni_buf_dispose(&key);
    return KN_OK;
}

// kernel-status.toml is looked at when the endpoint was asked anyway, and in the cache when that answered instead.
static kn_status look_for_move(search *s, bool follows, kn_revision **out)
{
    const kni_known_moved *known = NULL;
    kni_moved cached = {.revision = NULL};
    kn_status st;
    if (s->refs) {
        kni_ahead tree; // the next question of whoever resolves
        const char *ref = s->wanted.ref ? s->wanted.ref : s->revision->commit;
        kni_ahead_tree(&tree, s->hub, &s->revision->repo, s->revision->commit);
        st = kni_ask_moved(s->hub, &s->revision->repo, ref, &known, s->err);
        st = kni_ahead_end(&tree, st, s->err);
    } else {
        st = kni_moved_cached(s->hub, s->revision, &cached, s->err);
    }
    const kni_moved *moved = known ? &known->moved : cached.to.id[0] ? &cached : NULL;
    if (st == KN_OK && moved)
        st = tell_of_move(s, moved, follows);
    if (st == KN_OK && moved && follows)
        st = follow(s, moved, out);
    // Asked by name: the ref may have moved since its commit was told.
    if (st == KN_OK && known && follows && strcmp(known->commit, s->revision->commit) == 0)
        st = kni_moved_keep(s->hub, s->revision, &known->text, s->err);
    if (st != KN_OK) {
        kn_revision_free(*out);
        *out = NULL;
    }
    kni_moved_dispose(&cached);
    return st;
}

// --- all together ---

static kn_status explain(search *s)
{
    const kn_revision *revision = s->revision;
    char as[300];
    snprintf(as, sizeof(as), "%s%s", revision->ref[0] ? revision->ref : "the commit",
             revision->ref[0] ? " is the commit" : "");
    return kni_trace_add(s->trace, "resolve", s->wanted.repo.id, true,
                         revision->sums     ? "sums"
                         : revision->locked ? "lock"
                         : s->refs          ? "refs"
                                            : "cache",
                         NULL, "%s %s of the %s repository%s%s", as, revision->commit,
                         kni_repo_type_text(revision->repo.type), s->wanted.version ? ", for " : "",
                         s->wanted.version ? s->wanted.version : "")
               ? KN_OK
               : kni_no_memory(s->err);
}

// Was it asked for by a name that says neither branch nor tag?
static bool is_bare_name(const kni_wanted *wanted)
{
    return (wanted->kind == KNI_WANTED_REVISION || wanted->kind == KNI_WANTED_SHORT) &&
           !kni_span_starts(kni_span_of(wanted->ref), "refs/");
}

static kn_status resolve(kn_hub *hub, const kn_hub_wish *wish, bool follows, kn_revision **out,
                         kn_trace *trace, kn_error *err)
{
    search s = {.hub = hub, .trace = trace, .err = err};
    kn_status st = kni_wanted_init(&s.wanted, wish, err);
    *out = NULL;
    if (st != KN_OK)
        return st;
    s.revision = kni_calloc(1, sizeof(*s.revision));
    if (!s.revision) {
        st = kni_no_memory(err);
        goto done;
    }
    memcpy(s.revision->asked_id, s.wanted.repo.id, sizeof(s.revision->asked_id));
    s.revision->repo = s.wanted.repo;
    s.revision->level = KN_LEVEL_TRANSPORT;
    st = locate(&s);
    if (st == KN_OK && !s.revision->ref) {
        s.revision->ref = kni_strdup("");
        st = s.revision->ref ? KN_OK : kni_no_memory(err);
    }
    if (st == KN_OK)
        st = explain(&s);
    if (st == KN_OK && s.refs)
        st = kni_seen_compare(hub, s.revision, s.is_tag, is_bare_name(&s.wanted), err);
    if (st == KN_OK)
        st = kni_publisher_check(hub, &s.wanted, s.refs, s.revision, trace, err);
    if (st == KN_OK && s.refs)
        st = kni_seen_keep(hub, s.revision, s.is_tag, err);
    if (st == KN_OK && (s.refs || !s.revision->is_fixed))
        st = look_for_move(&s, follows, out);
    if (st == KN_OK && !*out) {
        *out = s.revision;
        s.revision = NULL;
    }
done:
    kn_revision_free(s.revision);
    kni_wanted_dispose(&s.wanted);
    return st;
}

kn_status kn_hub_resolve(kn_hub *hub, const kn_hub_wish *wish, kn_revision **out, kn_trace *trace,
                         kn_error *err)
{
    if (out)
        *out = NULL;
    if (!hub || !out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_resolve: a hub and out are required");
    return resolve(hub, wish, hub->settings.follows_redirects, out, trace, err);
}
