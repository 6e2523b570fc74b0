// One question to the endpoint each: a request, and its answer read. The answers are remembered for the run (hub->memo), the bad ones
// too, so that however many layers and threads want a repository, it is asked once. Answers are borrowed until the hub closes.
//
// Errors name the repository. KN_ERR_NOT_FOUND also offline; KN_ERR_UNTRUSTED also for what was renamed, to another owner.
#ifndef KNI_HUB_ASK_H
#define KNI_HUB_ASK_H

#include "hub/hub.h"

// The refs of a repository, and of which type it is: kernel; or model, when the endpoint says that there is no such kernel repository
// (404 with RepoNotFound).
typedef struct kni_known_refs {
    kni_repo repo; // as it was asked for
    kni_refs refs;
} kni_known_refs;
// is_urgent: one try alone, since there is another way (the cache).
kn_status kni_ask_refs(kn_hub *hub, const kni_repo *repo, bool is_urgent,
                       const kni_known_refs **out, kn_error *err);

// The commit that a revision has which is neither a branch nor a tag: "refs/pr/1", an abbreviated commit.
kn_status kni_ask_commit(kn_hub *hub, const kni_repo *repo, const char *revision,
                         const char **commit, kn_error *err);

// All files below build/ of a commit. repo->type is tried first; `either`: the other type too when there is no such repository.
typedef struct kni_known_tree {
    kni_repo repo;
    kni_tree tree;
} kni_known_tree;
kn_status kni_ask_tree(kn_hub *hub, const kni_repo *repo, const char *commit, bool either,
                       const kni_known_tree **out, kn_error *err);

// Does the endpoint call the owner a trusted publisher? *says: why not, for people.
typedef struct kni_known_publisher {
    bool is_trusted;
    const char *says; // "is not an organisation", "is not a trusted publisher"
} kni_known_publisher;
kn_status kni_ask_publisher(kn_hub *hub, const char *owner, const kni_known_publisher **out,
                            kn_error *err);

typedef struct kni_known_moved {
    kni_moved moved;
    kni_buf text;                 // the file
    char commit[KNI_COMMIT_SIZE]; // whose it is; "" when the hub does not say
} kni_known_moved;
// kernel-status.toml of a ref or commit: *out NULL when there is none, or when it cannot be had.
kn_status kni_ask_moved(kn_hub *hub, const kni_repo *repo, const char *ref,
                        const kni_known_moved **out, kn_error *err);

// The watch that asks the hub's progress callback whether to go on.
typedef struct kni_ask_watch {
    const kn_hub *hub;
    const char *repo_id;
} kni_ask_watch;
bool kni_ask_is_cancelled(void *user);

#endif
