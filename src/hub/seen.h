// What a ref of the endpoint was when this user saw it: a record under the state directory.
#ifndef KNI_HUB_SEEN_H
#define KNI_HUB_SEEN_H

#include "hub/hub.h"

// A tag that has another commit than when it was seen first is KN_ERR_UNTRUSTED: a release does not change. On a server of this machine,
// where one makes it anew, that is a warning. A branch may move. may_be_tag: it was asked for by a name that says neither branch nor tag,
// so that it may not be another commit than a tag of that name was, even when it is a branch now.
kn_status kni_seen_compare(const kn_hub *hub, const kn_revision *revision, bool is_tag,
                           bool may_be_tag, kn_error *err);
// Keeps it, once the revision may be used. Not being able to is no failure: then it is seen first again.
kn_status kni_seen_keep(const kn_hub *hub, const kn_revision *revision, bool is_tag, kn_error *err);

#endif
