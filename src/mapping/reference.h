// The references that a mapping holds: one block of memory each, with all their strings in it, and a hold on the host's object.
#ifndef KNI_MAPPING_REFERENCE_H
#define KNI_MAPPING_REFERENCE_H

#include "kernels/mapping.h"

// What a reference is made of; checked before (mapping/entry.h). Strings are borrowed, NULL where they do not apply.
typedef struct kni_reference_parts {
    kn_reference_kind kind;
    bool trust_remote_code;
    const char *repo_id;
    const char *path;
    const char *path_written;
    const char *revision;
    const char *version;
    int64_t version_branch; // -1: none
    const char *layer_name;
    const char *lock;
    const char *sums;
    kn_object object;  // NULL data: none
    const char *label; // of KN_REFERENCE_HOST
    const char *user_agent;
} kni_reference_parts;

// Retains the object. NULL without memory.
kn_reference *kni_reference_new(const kni_reference_parts *parts);
// The host's object, to be held by another reference too.
kn_object kni_reference_object(const kn_reference *reference);
// Releases it. NULL is fine.
void kni_reference_free(kn_reference *reference);

#endif
