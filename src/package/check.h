// The rules of kn_package_check, in the order they are asked: files (check.c), what metadata.json asks
// (check_target.c), the shared object (check_library.c), the code in
// it for the device (check_code.c).
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
    kn_trace *trace; // NULL: nobody asks
    kn_error *err;
} kni_check;

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

// What the shared object needs, exports and asks of the machine.
kn_status kni_check_library(const kni_check *check, const kni_elf *elf);

// The code for the target's device that is in it.
kn_status kni_check_code(const kni_check *check, const kni_elf *elf);

#endif
