// Making a lock, from what is asked for to the two files. lock_make.c tells it; lock_wants.c reads what is asked for, lock_pin.c decides
// for one repository, lock_pins.c for all; lock_content.c asks the endpoint what a commit holds.
#ifndef KNI_HUB_LOCK_MAKE_H
#define KNI_HUB_LOCK_MAKE_H

#include "hub/hub.h"
#include "hub/lock.h"

// What is asked for of one repository.
typedef struct kni_lock_want {
    char *repo_id;
    char *version;  // as in a wish: a specifier, or digits; NULL
    char *revision; // NULL
    bool consents;  // trust_remote_code
    bool is_update; // its pin is looked for anew
} kni_lock_want;

typedef struct kni_lock_wants {
    kni_lock_want *items;
    size_t count;
    size_t capacity;
} kni_lock_wants;

// Of a project; *is_hashed: the form of its kernels.lock. Of a mapping file: the hub repositories that have no lock and no sums but
// sums_path, each wish once. Owns: kni_lock_wants_dispose, also after a failure.
kn_status kni_lock_wants_project(const char *path, kni_lock_wants *out, bool *is_hashed,
                                 kn_error *err);
kn_status kni_lock_wants_mapping(const char *path, const char *sums_path, kni_lock_wants *out,
                                 kn_error *err);
// Applies the options. Error: KN_ERR_INVALID: an update of what `name` does not ask for.
kn_status kni_lock_wants_choose(kni_lock_wants *wants, const kn_lock_options *opts,
                                const char *name, kn_error *err);
void kni_lock_wants_dispose(kni_lock_wants *wants);

// What there is, and what is to be.
typedef struct kni_lock_job {
    kn_hub *hub;
    const kn_lock_options *opts;
    kn_trace *trace;
    bool has_lock; // a kernels.lock belongs to it (a project)
    bool is_hashed;
    const kni_lock *old_lock; // empty where there was none, or one of the other form
    const kni_sums *old_sums;
    bool is_stale; // something is not as it would be
} kni_lock_job;

// The pin of a want: what is there when it will do, else made anew. With check, what cannot be told from the files makes the job stale,
// and *sum and *entry stay empty. Both are the caller's to dispose.
kn_status kni_lock_pin(kni_lock_job *job, const kni_lock_want *want, kni_sum_kernel *sum,
                       kni_lock_entry *entry, kn_error *err);

// All of them, in their order, into the entries and kernels of *lock and *sums; several at once, on threads of its own. The error is
// the first one's, in the order of the wants.
kn_status kni_lock_pins(kni_lock_job *job, const kni_lock_wants *wants, kni_lock *lock,
                        kni_sums *sums, kn_error *err);

// What a commit holds: the content of every file of all variants into *sum, and (hashes, unless NULL) the hashes of the variants build/torch*.
// Only repo, variants and n_variants of *sum are set.
kn_status kni_lock_content(kn_hub *hub, const kni_repo *repo, const char *commit,
                           kni_sum_kernel *sum, kni_lock_entry *hashes, kn_error *err);

// The SHA-256 of each file, in digits, where the endpoint tells it (large files); small ones are downloaded, and checked against their
// git ids. Files of the same id are downloaded once.
kn_status kni_lock_digests(kn_hub *hub, const kni_repo *repo, const char *commit,
                           const kni_tree *tree, char (*digests)[KNI_SHA256_SIZE], kn_error *err);

#endif
