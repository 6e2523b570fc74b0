// Records: facts that this user's processes keep under the state directory (mode 0700), never verdicts. "On this day this endpoint
// called the owner a trusted publisher, and said that the commit is the target of this ref."
#ifndef KNI_HUB_RECORD_H
#define KNI_HUB_RECORD_H

#include "hub/repo.h"
#include "hub/settings.h"

typedef struct kni_record {
    const char *endpoint;
    const kni_repo *repo;
    const char *commit;
    char ref[256]; // the release tag, version branch or main
    char day[16];  // "2025-01-31", UTC
} kni_record;

// Looks for the record of endpoint, repo and commit; fills ref and day. False: there is none that is whole, and this user's alone.
bool kni_record_read(const char *state_dir, kni_record *record);
// Keeps it. A failure (no state directory, a full disk) is nothing to the caller: the endpoint is asked again next time.
kn_status kni_record_write(const char *state_dir, const kni_record *record, kn_error *err);

#endif
