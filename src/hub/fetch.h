// The files of a revision.
#ifndef KNI_HUB_FETCH_H
#define KNI_HUB_FETCH_H

#include "hub/hub.h"

// kn_hub_fetch without the check of a lock's hashes over what lies in the cache: for the spine, whose check before loading does that
// on the very files that are loaded. *cache: the one that has it, borrowed; where it is known already (kni_cached_in), else NULL. is_new: NULL, or set when this call downloaded and hashed
// every large file of it.
kn_status kni_fetch(kn_hub *hub, const kn_revision *revision, const char *variant,
                    const kni_cache **cache, bool *is_new, kn_error *err);

// kn_hub_fetch_metadata, but that a variant which has files and no metadata.json is no error: *out is NULL then.
kn_status kni_fetch_metadata(kn_hub *hub, const kn_revision *revision, const char *variant,
                             char **out, size_t *size, kn_error *err);

#endif
