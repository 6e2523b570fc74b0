// A wish, understood; and which ref of a repository it means. Pure.
#ifndef KNI_HUB_WANTED_H
#define KNI_HUB_WANTED_H

#include "hub/answer.h"
#include "hub/version.h"
#include "kernels/hub.h"

typedef enum kni_wanted_kind {
    KNI_WANTED_MAIN,     // nothing was said
    KNI_WANTED_REVISION, // `ref`: a branch, a tag, or another ref
    KNI_WANTED_VERSION,  // `specifier` over tags
    KNI_WANTED_BRANCH,   // `ref`: the version branch v<N>
    KNI_WANTED_COMMIT,   // `ref`: in full
    KNI_WANTED_SHORT,    // `ref`: the beginning of a commit, unless it is a branch or tag
    KNI_WANTED_LOCKED,   // as `lock` says
} kni_wanted_kind;

typedef struct kni_wanted {
    kni_wanted_kind kind;
    kni_repo repo;       // its type is not known yet
    const char *ref;     // borrowed from the wish or from `branch`; NULL where it does not apply
    const char *version; // the text of the specifier or number; NULL
    char branch[32];
    kni_specifier *specifier;
    const char *lock; // borrowed
    const char *sums;
    bool consents; // trust_remote_code
} kni_wanted;

// Error: KN_ERR_INVALID. *out is to be disposed after success alone.
kn_status kni_wanted_init(kni_wanted *out, const kn_hub_wish *wish, kn_error *err);
void kni_wanted_dispose(kni_wanted *wanted);

// A ref with its version, as kn_hub_versions lists them.
typedef struct kni_candidate {
    const kni_ref *ref;   // borrowed
    kni_version *version; // of a tag v<version>; NULL
    int64_t number;       // of a version branch; -1
    bool is_branch;
} kni_candidate;

// Tags by version, oldest first; version branches by number; others by name.
typedef struct kni_candidates {
    kni_candidate *items;
    size_t count;
} kni_candidates;
kn_status kni_candidates_init(kni_candidates *out, const kni_refs *refs, kn_error *err);
void kni_candidates_dispose(kni_candidates *candidates);

// The candidate that is meant (a kind for which refs can tell), or NULL in *out. Error: KN_ERR_UNTRUSTED (two tags of the same version,
// of different commits), KN_ERR_NO_MEMORY.
kn_status kni_candidates_choose(const kni_candidates *candidates, const kni_wanted *wanted,
                                const kni_candidate **out, kn_error *err);

// KN_ERR_NOT_FOUND with what there is. where: "" or " (offline: …)" behind it.
kn_status kni_candidates_none(const kni_candidates *candidates, const kni_wanted *wanted,
                              const char *where, kn_error *err);

// Is the commit the target of a release tag, of a version branch, or of main? The ref, preferably the one that was asked for ("" or
// NULL: none was); or NULL. Error: KN_ERR_NO_MEMORY.
kn_status kni_released_as(const kni_refs *refs, const char *commit, const char *asked,
                          const kni_ref **out, kn_error *err);

#endif
