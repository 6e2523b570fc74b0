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
    char *dir;     // real, absolute
    char *variant; // its last component
    char *library; // relative; "" without native code
    char *module;  // relative: the __init__.py of its Python package; "": none, or not looked for
    kni_origin *origin; // NULL: a directory of its own
    bool has_metadata;  // false: of the era before metadata.json; everything but the name is empty
    kni_metadata metadata;
    kni_digest metadata_sha256; // of the text that was read; of an opened package
};

// The __init__.py of the Python package among the files: the variant's own; else that of the directory in it which is called like the
// package, or is the only one that has it; "" for none.
const char *kni_module_find(const kn_package *package, const kni_names *files);

// The name of a package that says nothing of itself: its Python package's directory; where that is the variant itself, the repository;
// where there is none, the directory that the variants are in. With dashes, as metadata.json has it. The caller's; NULL without memory.
char *kni_module_name(const kn_package *package);

// Is it one that a host with PyTorch imports itself? Variants for PyTorch are, and those for tvm-ffi which name no layers and bring Python.
// Never for a target without PyTorch.
bool kni_package_is_hosted(const kn_package *package, const kn_target *target);

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

void kni_checked_file_dispose(kni_checked_file *file);

// The files that were checked, without byte code, and what was read of them. Sorted bytewise by path.
typedef struct kni_file_sums {
    kni_names paths;
    kni_digest *sha256; // as many
    size_t capacity;
} kni_file_sums;

bool kni_file_sums_add(kni_file_sums *sums, const char *path, const kni_digest *sha256);
bool kni_file_sums_equal(const kni_file_sums *a, const kni_file_sums *b);
void kni_file_sums_dispose(kni_file_sums *sums);

// What a check leaves behind.
typedef struct kni_checked {
    bool wants_sums; // set by the caller: every file is hashed
    bool is_hosted;
    kni_checked_file library; // of a native package: the shared object; none without native code
    kni_file_sums sums;
    kni_names notes; // of a hosted package: what a native one would be refused for
    char *object;    // the shared object that was judged last; NULL: it did not come to one
} kni_checked;

#define KNI_CHECKED_INIT ((kni_checked){.library = {.fd = -1}})

// kn_package_check, also against what is expected (NULL: nothing). Dispose *checked, also after a failure.
kn_status kni_package_check(const kn_package *package, const kni_expected *expected,
                            const kn_target *target, kn_package_verdict *out, kni_checked *checked,
                            kn_trace *trace, kn_error *err);
void kni_checked_dispose(kni_checked *checked);

// The same file, and nobody has written to it in between? By number, size, times and mode; times have the grain of a timer tick.
bool kni_same_file_state(const struct stat *then, const struct stat *now);

#endif
