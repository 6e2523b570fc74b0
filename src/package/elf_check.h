// The rules for a native kernel library: can this machine's loader take it, and does it ask for anything that a kernel may not.
#ifndef KNI_PACKAGE_ELF_CHECK_H
#define KNI_PACKAGE_ELF_CHECK_H

#include "base/fs.h"
#include "package/elf.h"

// For this processor ("x86_64", as in variant names), and no newer glibc than this; {0} does not judge glibc.
// libstdc++ is not judged: which one a process gets is not known before. Error: KN_ERR_INCOMPATIBLE.
kn_status kni_elf_check_runs(const kni_elf *elf, const char *name, const char *cpu,
                             kni_elf_version glibc, kn_error *err);

// What a kernel library may need: libraries by bare names of a short list, search paths below $ORIGIN, nothing that makes
// memory both writable and executable, no loader of TVM's own. Unique symbols are not judged: C++ kernels over tvm-ffi's
// header-only classes have them. Error: KN_ERR_UNTRUSTED, KN_ERR_UNSUPPORTED (TVM's own loader; not for dlopen).
//
// notes: NULL for a native kernel. Of a hosted package, whose path below it `name` is, it takes a line for each library that is on
// neither list and each search path that leaves the package: packages for PyTorch were published before there were rules, so that those
// are told and not refused; and TVM's loader is its host's.
kn_status kni_elf_check_needs(const kni_elf *elf, const char *name, kni_names *notes,
                              kn_error *err);

// Is it on the list of libraries that a kernel may need? hosted: also PyTorch's, and the vendors' run-time families.
bool kni_elf_may_need(const char *library, bool hosted);

#endif
