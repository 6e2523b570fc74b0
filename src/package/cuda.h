// CUDA device code in a file: which machine code (cubin) and which PTX, for which compute capabilities.
//
// A fat binary is a header of 16 bytes and entries, each with a header of its own that is never compressed:
//
//   container  u32 magic 0xBA55ED50, u16 version 1, u16 header size 16, u64 size of all entries
//   entry      u16 kind (1 PTX, 2 cubin, 8 LTO IR), u16 version 0x0101, u32 header size (64 or more), u64 payload size (padded),
//              u32 compressed size, u32 offset of the options, u16 minor and u16 major version (PTX: the ISA's; cubin: 1 and the
//              ABI of its ELF file), u32 architecture (90), u32 offset and u32 size of the source's name, u64 flags,
//              u64 0, u64 size once decompressed (0: not compressed)
//   flags      0x1 64 bits, 0x10 Linux, 0x2000 LZ4, 0x8000 zstd, 0x10000 LTO, 0x100000 'a', 0x200000 'f'
//
// Measured with nvcc 13.0, its fatbinary and cuobjdump, and libraries of CUDA 12.6, which write the same; an H100's driver (CUDA
// 13.0) takes exactly those of 35 fat binaries that the rule below accepts. Since CUDA 13 the ELF
// flags of a cubin (ABI 8: architecture in bits 8 to 15) no longer tell sm_90a from sm_90; up to ABI 7 (bits 0 to 7) they do, in
// bit 11. The entry's flags tell it in both. A cubin that stands alone says it in the arguments that .note.nv.tkinfo records.
#ifndef KNI_PACKAGE_CUDA_H
#define KNI_PACKAGE_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kernels/base.h"
#include "package/code.h"
#include "package/elf.h"

typedef enum kni_cuda_kind {
    KNI_CUDA_CUBIN,
    KNI_CUDA_PTX,
    KNI_CUDA_LTO,   // input of a linker, not of the driver
    KNI_CUDA_OTHER, // of a kind that is not known here
} kni_cuda_kind;

typedef struct kni_cuda_target {
    uint32_t container; // which fat binary of the file, from 0
    uint16_t arch;      // 90: major * 10 + minor
    uint8_t kind;       // kni_cuda_kind
    char suffix; // 'a': this capability alone; 'f': its family; 0: forward within the major version
    uint8_t ptx_major, ptx_minor; // of PTX: the ISA version
    bool is_compressed;
} kni_cuda_target;

typedef struct kni_cuda_code {
    kni_cuda_target *targets; // in the file's order, ascending containers
    size_t n_targets, capacity;
    uint32_t n_containers; // those without an entry are not counted
} kni_cuda_code;

// A device to judge for. Versions are those of the driver, as it gives them: 12080 for CUDA 12.8; 0: not known, new enough.
typedef struct kni_cuda_device {
    int capability; // 90: major * 10 + minor
    int driver_version;
} kni_cuda_device;

// Reads fat binaries that follow one another, with zeros between them: the content of a section or of a .fatbin file; or one cubin.
// Adds to *code (start with zeros); on failure what was added so far stays, to be disposed.
// Error: KN_ERR_FORMAT with the offset, KN_ERR_UNSUPPORTED (a newer container), KN_ERR_NO_MEMORY.
kn_status kni_cuda_read(kni_bytes bytes, const char *name, kni_cuda_code *code, kn_error *err);

// Reads those of a shared object: its sections .nv_fatbin and __nv_relfatbin. Where it has none of these (section headers
// stripped, or code embedded as data), every loaded segment is searched for fat binaries and cubins instead.
kn_status kni_cuda_read_elf(const kni_elf *elf, const char *name, kni_cuda_code *code,
                            kn_error *err);
void kni_cuda_dispose(kni_cuda_code *code);

// Can the device run this?
//   cubin sm_XY    on X.Z, Z >= Y (NVIDIA promises this between desktop and data-centre devices, not for Tegra)
//   cubin sm_XYa   on X.Y alone           sm_XYf    on X.Z, Z >= Y: the members of a family share the major version
//   PTX compute_XY on X.Y and above       compute_XYa, compute_XYf   as the cubins
// PTX is compiled by the driver, which must know its ISA version; cubins are not judged by the driver's version.
bool kni_cuda_target_runs(const kni_cuda_target *target, kni_cuda_device device);

// The least driver_version that compiles a PTX ISA version; 0 for those that every driver in use knows. One newer than our table
// is taken for that of the CUDA release with the same minor number, as it has been since PTX 9.0.
int kni_cuda_driver_for_ptx(unsigned major, unsigned minor);

// All of the code against a device. `reason` (NULL, or takes a sentence) says what there is and why it does not fit.
kni_code_fit kni_cuda_code_runs(const kni_cuda_code *code, kni_cuda_device device, kni_buf *reason);

// "sm_90a", "compute_90 (PTX 8.4)".
void kni_cuda_target_text(const kni_cuda_target *target, kni_buf *out);
// All targets, each once, with ", " between them; "none".
void kni_cuda_code_text(const kni_cuda_code *code, kni_buf *out);

#endif
