// Entries as they come from a program or a file, checked and made ready for registration.
#ifndef KNI_MAPPING_ENTRY_H
#define KNI_MAPPING_ENTRY_H

#include "kernels/mapping.h"

// Ceilings of an entry's texts, in bytes.
#define KNI_LAYER_NAME_MAX 256
#define KNI_REPO_NAME_MAX 96 // the owner's too
#define KNI_REVISION_MAX 256
#define KNI_VERSION_MAX 1024
#define KNI_USER_AGENT_MAX 4096
#define KNI_PATH_MAX 4096

// An entry of the first header that had it: what came later is at the end, and zero in older programs.
#define KNI_ENTRY_SIZE_MIN offsetof(kn_entry, sums)

// A checked entry.
typedef struct kni_registration {
    const char *layer; // borrowed from the entry
    size_t layer_size;
    uint64_t hash;
    kn_device_type device;
    kn_mode mode;
    kn_range range;          // whole: 0 to KN_CAPABILITY_MAX where none was given
    kn_reference *reference; // the registration's, until a table takes it
    size_t index;            // in the call or file
    uint32_t line;           // in the file; 0 in a call
} kni_registration;

// Checks one entry, whose struct_size is not looked at. path_written: as it stands in a file; NULL: as path.
// Error: KN_ERR_INVALID, and *key is the name of the key that is wrong. Owns: free out->reference (mapping/reference.h).
kn_status kni_entry_check(const kn_entry *entry, const char *path_written, kni_registration *out,
                          const char **key, kn_error *err);

#endif
