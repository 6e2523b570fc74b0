// The dynamic segment of an ELF file: what elf.c hands over once it knows what is loaded where.
#ifndef KNI_PACKAGE_ELF_DYNAMIC_H
#define KNI_PACKAGE_ELF_DYNAMIC_H

#include "package/elf.h"

// The file's bytes that appear at [address, address + size) once loaded; false when they are not all in one segment.
bool kni_elf_at(const kni_elf *elf, uint64_t address, uint64_t size, kni_bytes *out);

// Fills everything of *elf that the dynamic segment tells: needed libraries, search paths, versions, symbols.
kn_status kni_elf_read_dynamic(kni_elf *elf, kni_bytes dynamic, const char *name, kn_error *err);

#endif
