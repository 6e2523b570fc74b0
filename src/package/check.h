// The rules of kn_package_check, in the order they are asked: files (check.c), what metadata.json asks
// (check_target.c), the shared objects (check_object.c): what each needs (check_library.c), the code in it for the device (check_code.c).
#ifndef KNI_PACKAGE_CHECK_H
#define KNI_PACKAGE_CHECK_H

#include "package/elf.h"
#include "package/package.h"

// Stages of the trace.
#define KNI_STAGE_DIGEST "digest"
#define KNI_STAGE_CODE "code"

typedef struct kni_check {
    const kn_package *package;
    kni_expected expected;
    const kn_target *target;
    kni_checked *checked;
    kn_trace *trace; // NULL: nobody asks
    kn_error *err;
} kni_check;

// A shared object of the package, open.
typedef struct kni_object {
    char *name; // relative
    kni_checked_file file;
} kni_object;

// All of them, in the order of their names: one of a native package.
typedef struct kni_objects {
    kni_object *items;
    size_t count;
    size_t capacity;
} kni_objects;

// Takes the file over, also when it fails. Error: KN_ERR_NO_MEMORY; KN_ERR_FORMAT (too many).
kn_status kni_objects_add(const kni_check *check, kni_objects *objects, const char *name,
                          kni_checked_file *file);
void kni_objects_dispose(kni_objects *objects);

// Reads the objects where they lie, and judges each; nothing of them runs.
kn_status kni_check_objects(const kni_check *check, const kni_objects *objects);

// The rule was asked and admits the package: an entry of the trace. KN_OK, or KN_ERR_NO_MEMORY.
kn_status kni_check_pass(const kni_check *check, const char *stage, const char *rule,
                         const char *format, ...) KN_PRINTF(4, 5);

// The rule refuses: an entry of the trace, and the error with the directory before it. admits: what would be accepted, or NULL.
// Returns the status.
kn_status kni_check_refuse(const kni_check *check, kn_status status, const char *stage,
                           const char *rule, const char *admits, const char *format, ...)
    KN_PRINTF(6, 7);

// The same with a lower function's error, which is disposed. Without memory there, the error is that.
kn_status kni_check_refuse_because(const kni_check *check, kn_error *why, const char *stage,
                                   const char *rule, const char *admits);

// What metadata.json asks of the device and the CPU.
kn_status kni_check_target(const kni_check *check);

// What a shared object needs, exports and asks of the machine.
kn_status kni_check_library(const kni_check *check, const kni_elf *elf, const char *name);

// The code for the target's device that is in it.
kn_status kni_check_code(const kni_check *check, const kni_elf *elf, const char *name);

#endif
