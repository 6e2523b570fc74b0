// A kernel's shared object in the process. Nothing else maps kernel code, and nothing is unmapped.
#ifndef KNI_LOAD_LIBRARY_H
#define KNI_LOAD_LIBRARY_H

#include "package/package.h"

typedef struct kni_library {
    void *handle;
    struct stat info; // of the file that was checked
} kni_library;

// Maps the file at `path` (real, absolute), which must be the open, checked one: before, so that nothing else runs, and after,
// so that no other file of that name was there already. Runs its constructors.
// Error: KN_ERR_LOAD (the linker's words; another file is mapped under this path), KN_ERR_UNTRUSTED (changed since the check).
// Threads: any.
kn_status kni_library_open(const char *path, const kni_checked_file *checked, kni_library *out,
                           kn_error *err);

// Is the mapped library the checked file? Error: as above.
kn_status kni_library_verify(const kni_library *library, const char *path,
                             const kni_checked_file *checked, kn_error *err);

// A symbol that the library itself defines, not one of its needed libraries; NULL when there is none.
void *kni_library_symbol(const kni_library *library, const char *name);

#endif
