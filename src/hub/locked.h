// The commit that a lock names.
#ifndef KNI_HUB_LOCKED_H
#define KNI_HUB_LOCKED_H

#include "hub/hub.h"
#include "hub/wanted.h"

// Of a wish that names a lock or sums: sets the commit, and what the files are to be. With content hashes, which lie beside a kernels.lock
// or are named by themselves, the revision is pinned, and its type is known. Error: KN_ERR_NOT_FOUND (not locked), KN_ERR_FORMAT, KN_ERR_IO.
kn_status kni_locked_find(const kni_wanted *wanted, kn_revision *out, kn_error *err);

#endif
