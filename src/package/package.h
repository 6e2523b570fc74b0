// Inside the library: an opened package, and what kn_package_check leaves for the loader.
#ifndef KNI_PACKAGE_PACKAGE_H
#define KNI_PACKAGE_PACKAGE_H

#include <sys/stat.h>

#include "base/digest.h"
#include "hub/lock.h"
#include "kernels/package.h"
#include "package/metadata.h"
#include "package/origin.h"

struct kn_package {
    char *dir;          // real, absolute
    char *variant;      // its last component
    char *library;      // relative; "" without native code
    kni_origin *origin; // NULL: a directory of its own
    kni_metadata metadata;
    kni_digest metadata_sha256; // of the text that was read; of an opened package
};

// A file that was checked: open, so that the loader can tell whether what it maps is this file.
typedef struct kni_checked_file {
    int fd;           // -1: none
    struct stat info; // before its bytes were read
} kni_checked_file;

#define KNI_CHECKED_FILE_INIT ((kni_checked_file){.fd = -1})

// What is known of a package's files beside its metadata.
typedef struct kni_expected {
    const kni_sum_variant *sums; // a lock's content hashes; NULL: no lock
    bool blobs_are_right;        // this very call wrote them: the blobs' names are their hashes
} kni_expected;

// kn_package_check, also against what is expected (NULL: nothing), and the shared object that it checked (none for a package without native code). Dispose *library, also
// after a failure.
kn_status kni_package_check(const kn_package *package, const kni_expected *expected,
                            const kn_target *target, kn_package_verdict *out,
                            kni_checked_file *library, kn_trace *trace, kn_error *err);
void kni_checked_file_dispose(kni_checked_file *file);

// The same file, and nobody has written to it in between? By number, size, times and mode; times have the grain of a timer tick.
bool kni_same_file_state(const struct stat *then, const struct stat *now);

#endif
