// Records: facts that this user's processes keep under the state directory (mode 0700), never verdicts: "on this day this endpoint called
// the owner a trusted publisher, and said that the commit is the target of this ref"; "this tag was first seen at this commit".
#ifndef KNI_HUB_RECORD_H
#define KNI_HUB_RECORD_H

#include "hub/repo.h"
#include "hub/settings.h"

// What a record is about, and what it says.
typedef enum kni_record_kind {
    KNI_RECORD_PUBLISHER, // of a commit: the ref by which it was released
    KNI_RECORD_REF,       // of a ref: the commit that it had
} kni_record_kind;

typedef struct kni_record {
    kni_record_kind kind;
    const char *endpoint;
    const kni_repo *repo;
    char commit[KNI_COMMIT_SIZE];
    char ref[272]; // of 255 bytes, with "refs/heads/" before it
    char day[16];  // "2025-01-31", UTC; filled by reading and writing
} kni_record;

// Looks for the record that is about the endpoint, the repository and the commit (or the ref); fills the rest. False: there is none that is
// whole, and this user's alone.
bool kni_record_read(const char *state_dir, kni_record *record);
// Keeps it, in the place of an older one. A failure (no state directory, a full disk) is nothing to the caller: the endpoint is asked
// again next time.
kn_status kni_record_write(const char *state_dir, const kni_record *record, kn_error *err);
// The file of a record, the caller's; NULL without memory.
char *kni_record_path(const char *state_dir, const kni_record *record);

#endif
