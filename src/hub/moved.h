// Where a repository moved, in the cache: kernel-status.toml in its snapshot, as huggingface_hub keeps it too, so that a redirect which
// was followed online is followed offline.
#ifndef KNI_HUB_MOVED_H
#define KNI_HUB_MOVED_H

#include "hub/hub.h"

// Puts the file into the user's cache, and the ref that led to it. A cache that cannot be written to is no error.
kn_status kni_moved_keep(kn_hub *hub, const kn_revision *revision, const kni_buf *text,
                         kn_error *err);

// What the caches have: out->to.id is "" when they have none. Dispose *out. Error: KN_ERR_FORMAT, KN_ERR_NO_MEMORY.
kn_status kni_moved_cached(const kn_hub *hub, const kn_revision *revision, kni_moved *out,
                           kn_error *err);

#endif
