// What the cache directories know of a repository: the way without the network.
#ifndef KNI_HUB_CACHED_H
#define KNI_HUB_CACHED_H

#include "hub/hub.h"

// The repository as it is cached: of type kernel if any cache has that, else model. False: no cache has it.
bool kni_cached_repo(const kn_hub *hub, const char *id, kni_repo *repo);

// Its refs, of all caches; the first cache that has a name decides. "v<N>" and what is no version are branches, "v<version>" tags: a
// cache does not tell them apart. Dispose *out.
kn_status kni_cached_refs(const kn_hub *hub, const kni_repo *repo, kni_refs *out, kn_error *err);

// The one cached commit that begins with `prefix`: KN_ERR_NOT_FOUND for none, KN_ERR_INVALID for several.
kn_status kni_cached_commit(const kn_hub *hub, const kni_repo *repo, const char *prefix,
                            char commit[KNI_COMMIT_SIZE], kn_error *err);

// The first cache with a whole variant; *out NULL: none has it. Error: KN_ERR_NO_MEMORY alone.
kn_status kni_cached_in(const kn_hub *hub, const kni_repo *repo, const char *commit,
                        const char *variant, const kni_cache **out, kn_error *err);

// The whole variants of a commit, of all caches, each once.
kn_status kni_cached_variants(const kn_hub *hub, const kni_repo *repo, const char *commit,
                              kni_names *out, kn_error *err);

// The absolute directory of a variant in a cache, the caller's.
kn_status kni_cached_directory(const kn_revision *revision, const char *variant,
                               const kni_cache *cache, char **dir, kn_error *err);

#endif
