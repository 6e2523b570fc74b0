// The publisher rule: whose kernels are used at all.
#ifndef KNI_HUB_PUBLISHER_H
#define KNI_HUB_PUBLISHER_H

#include "hub/ask.h"
#include "hub/hub.h"
#include "hub/wanted.h"

// May this revision be used? In order: pinned by a lock with content hashes; over plain http to another machine nothing else will do;
// explicit consent; a record of this user that the endpoint vouched for the commit; a trusted endpoint that calls the owner a trusted
// publisher, for release tags, version branches, main and their commits. Sets revision->publisher. refs: NULL when they were not asked.
// Trace: "publisher". Error: KN_ERR_UNTRUSTED, and those of asking.
kn_status kni_publisher_check(kn_hub *hub, const kni_wanted *wanted, const kni_refs *refs,
                              kn_revision *revision, kn_trace *trace, kn_error *err);

#endif
