// ROCm device code in a file: which AMD processors it was compiled for.
//
// A bundle (clang's offload bundler) is "__CLANG_OFFLOAD_BUNDLE__", u64 count, and that many of u64 offset (from the bundle's
// beginning), u64 size, u64 length of a name, the name: "hipv4-amdgcn-amd-amdhsa--gfx90a:sramecc-:xnack+", "hip-…" before code
// object 4, "host-…" for the host (empty). Each code object is an ELF file of machine 224 whose flags tell the processor again
// (bits 0 to 7), and the features (ABI version 2 and up: xnack in bits 8 and 9, sramecc in bits 10 and 11; 1 any, 2 off, 3 on).
// Compressed bundles begin with "CCOB"; what they hold is not known without decompressing them.
#ifndef KNI_PACKAGE_ROCM_H
#define KNI_PACKAGE_ROCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kernels/base.h"
#include "package/code.h"
#include "package/elf.h"

typedef enum kni_rocm_feature {
    KNI_ROCM_ANY, // compiled for both, or the processor does not have it
    KNI_ROCM_OFF,
    KNI_ROCM_ON,
} kni_rocm_feature;

typedef struct kni_rocm_target {
    uint32_t bundle;    // which bundle of the file, from 0
    char processor[24]; // "gfx90a", "gfx11-generic"
    uint8_t xnack, sramecc;
} kni_rocm_target;

typedef struct kni_rocm_code {
    kni_rocm_target *targets; // in the file's order, ascending bundles
    size_t n_targets, capacity;
    uint32_t n_bundles;    // readable ones with device code
    uint32_t n_compressed; // those that are not readable
} kni_rocm_code;

// Parses a target as drivers, compilers and KERNELS_DEVICE name it: "gfx90a:sramecc+:xnack-"; features in any order.
bool kni_rocm_target_parse(const char *text, size_t size, kni_rocm_target *out);

// Reads bundles that follow one another with zeros between them (the content of a section or a file), or one code object.
// Adds to *code (start with zeros); on failure what was added so far stays, to be disposed.
// Error: KN_ERR_FORMAT with the offset, KN_ERR_NO_MEMORY.
kn_status kni_rocm_read(kni_bytes bytes, const char *name, kni_rocm_code *code, kn_error *err);

// Reads those of a shared object: its section .hip_fatbin; without one, every loaded segment is searched for bundles.
kn_status kni_rocm_read_elf(const kni_elf *elf, const char *name, kni_rocm_code *code,
                            kn_error *err);
void kni_rocm_dispose(kni_rocm_code *code);

// Does code for `target` run on a device? The processor is equal, or a member of the generic one; each feature is equal, or one
// side says nothing of it. (The runtime's device name tells every feature that the device has.)
bool kni_rocm_target_runs(const kni_rocm_target *target, const kni_rocm_target *device);

// All of the code against a device as its driver names it. `reason` (NULL, or takes a sentence) says what there is and why it
// does not fit. A name that does not parse fits nothing.
kni_code_fit kni_rocm_code_runs(const kni_rocm_code *code, const char *device, kni_buf *reason);

void kni_rocm_target_text(const kni_rocm_target *target, kni_buf *out); // "gfx90a:sramecc-:xnack+"
// All targets, each once, with ", " between them; "none".
void kni_rocm_code_text(const kni_rocm_code *code, kni_buf *out);

#endif
