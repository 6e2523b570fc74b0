// What a lock says of a variant's files: held against the endpoint's listing before anything is fetched, and against the files
// themselves before they are used.
#ifndef KNI_HUB_EXPECT_H
#define KNI_HUB_EXPECT_H

#include "hub/hub.h"

// The variant as the lock has it; *sums and *hash are NULL without a lock, or without that kind. Error: KN_ERR_UNTRUSTED: there is a
// lock, and it does not have the variant.
kn_status kni_expect(const kn_revision *revision, const char *variant, const kni_sum_variant **sums,
                     const kni_lock_hash **hash, kn_error *err);

// Files of a listing that belong to one variant, paths from the repository's root.
kn_status kni_expect_listing(const kn_revision *revision, const char *variant,
                             const kni_tree_file *const *files, size_t n, kn_error *err);

// The files that lie in a cache. Nothing is read when there is no lock.
kn_status kni_expect_cached(const kn_revision *revision, const char *variant,
                            const kni_cache *cache, kn_error *err);

#endif
