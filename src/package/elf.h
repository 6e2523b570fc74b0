// What a shared object is, as the loader will see it: read from program headers and the dynamic segment, never from section
// headers, which the loader ignores and which may lie. Sections serve one purpose, to find device code (cuda.h, rocm.h).
//
// Stricter than the loader on purpose: a file in which two readers could see different things (loaded segments that overlap,
// tables that reach outside their segment, strings outside the string table) is malformed.
#ifndef KNI_PACKAGE_ELF_H
#define KNI_PACKAGE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base.h"
#include "package/bytes.h"

// X(name, ELF machine number, text): the text is that of variant names.
#define KNI_MACHINE_LIST(X)                                                                        \
    X(KNI_MACHINE_I386, 3, "i386")                                                                 \
    X(KNI_MACHINE_PPC64, 21, "ppc64le")                                                            \
    X(KNI_MACHINE_S390, 22, "s390x")                                                               \
    X(KNI_MACHINE_ARM, 40, "arm")                                                                  \
    X(KNI_MACHINE_X86_64, 62, "x86_64")                                                            \
    X(KNI_MACHINE_AARCH64, 183, "aarch64")                                                         \
    X(KNI_MACHINE_CUDA, 190, "cuda")                                                               \
    X(KNI_MACHINE_AMDGPU, 224, "amdgpu")                                                           \
    X(KNI_MACHINE_RISCV, 243, "riscv64")                                                           \
    X(KNI_MACHINE_LOONGARCH, 258, "loongarch64")

typedef enum kni_machine {
#define KNI_MACHINE_ENUM(name, value, text) name = value,
    KNI_MACHINE_LIST(KNI_MACHINE_ENUM)
#undef KNI_MACHINE_ENUM
} kni_machine;

// The highest version of one family of symbol versions that the library needs; all 0 when it needs none.
typedef struct kni_elf_version {
    uint32_t major, minor, patch;
} kni_elf_version;

// One PT_LOAD: `bytes` of the file appear at `address`.
typedef struct kni_elf_load {
    uint64_t address;
    uint64_t memory_size;
    kni_bytes bytes;
    uint32_t flags; // PF_X 1, PF_W 2, PF_R 4
} kni_elf_load;

// Strings and lists point into the file's bytes, which must outlive this; absent strings are NULL.
typedef struct kni_elf {
    kni_bytes file;
    uint16_t machine; // kni_machine, or a number that is none
    kni_elf_load *loads;
    size_t n_loads;

    const char **needed; // DT_NEEDED in the file's order
    size_t n_needed;
    const char *soname, *rpath, *runpath;
    const char *audit, *depaudit, *filter, *auxiliary;
    const char *interpreter;   // PT_INTERP: it can also be started as a program
    bool has_executable_stack; // PT_GNU_STACK says so
    bool lacks_stack_header;   // no PT_GNU_STACK: the loader then makes the stack executable
    bool has_text_relocations;
    bool has_writable_code; // a segment both writable and executable
    bool refuses_dlopen;    // a position-independent program, or DF_1_NOOPEN

    kni_elf_version glibc, glibcxx, cxxabi;
    bool needs_glibc_private;

    kni_bytes symbols; // the dynamic symbol table
    kni_bytes strings; // its string table, ends with a zero
    size_t n_symbols;
    bool
        has_unique_symbols; // exports STB_GNU_UNIQUE: shared by the whole process, so that two packages mix
    const char **functions; // exported tvm-ffi functions, without "__tvm_ffi_"
    size_t n_functions;
    const char *tvm_loader_symbol; // the symbol that only TVM's own loader serves; NULL: none

    kni_bytes section_headers; // empty: stripped or unusable
    kni_bytes section_names;
} kni_elf;

// Reads a shared object. `name` begins the errors. On failure nothing is held and *out is empty.
// Error: KN_ERR_FORMAT (no ELF, malformed, no shared object), KN_ERR_INCOMPATIBLE (32 bits, big-endian), KN_ERR_NO_MEMORY.
kn_status kni_elf_read(const void *data, size_t size, const char *name, kni_elf *out,
                       kn_error *err);
void kni_elf_dispose(kni_elf *elf); // of an empty one too

// Text of a machine; "unknown" for a number that is none.
const char *kni_machine_text(uint16_t machine);

// Is a symbol of that name exported as a function? As dlsym would find it, whatever the symbol's version.
bool kni_elf_exports_function(const kni_elf *elf, const char *symbol_name);

// The next section of that name that is really loaded (its bytes lie in a PT_LOAD), from section *index on; *index moves behind
// it. False: no more.
bool kni_elf_next_section(const kni_elf *elf, const char *name, size_t *index, kni_bytes *out);

#endif
