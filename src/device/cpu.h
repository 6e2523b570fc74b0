// The CPU: which instruction sets code may use, and the level that they add up to.
//
// What the hardware says is read into a plain struct (registers of CPUID, words of AT_HWCAP); what it means is decided by pure
// functions over that struct, which are compiled on every architecture and tested with values recorded elsewhere.
#ifndef KNI_DEVICE_CPU_H
#define KNI_DEVICE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define KNI_CPU_FEATURES_MAX 128

// One row of an architecture's table: features are bits in the order of their rows.
typedef struct kni_cpu_feature {
    const char *name; // as in /proc/cpuinfo
    uint8_t word;     // where the hardware says so: the architecture's index of a register or word,
    uint8_t bit;      // and the bit in it
    uint8_t
        state; // x86: the register state that it needs, index into the table of XCR0 masks; 0 elsewhere
} kni_cpu_feature;

// One level: what it adds to the level in the row before.
typedef struct kni_cpu_level {
    int64_t capability;
    const char *name;
    const char *adds; // feature names with spaces between
} kni_cpu_level;

// An architecture as tables. `levels` rise; `aliases` are pairs, other spelling and name, ended by NULL.
typedef struct kni_cpu_family {
    const char *arch; // "x86_64"
    const kni_cpu_feature *features;
    size_t n_features;
    const kni_cpu_level *levels;
    size_t n_levels;
    const char *const (*aliases)[2];
} kni_cpu_family;

extern const kni_cpu_family kni_cpu_x86_64;
extern const kni_cpu_family kni_cpu_aarch64;

typedef struct kni_cpu {
    const kni_cpu_family *family; // NULL: an architecture without tables
    uint64_t features[KNI_CPU_FEATURES_MAX / 64];
    int64_t capability;     // -1: below every level, or not known
    const char *level_name; // "x86-64-v3"; "" without a level
    char name[128];         // "AMD EPYC 9654"; "" when not known
} kni_cpu;

// The CPU that this code runs on.
void kni_cpu_probe(kni_cpu *out);

// A CPU that has exactly the features that a level demands ("x86-64-v3", "armv8.2"); false for any other text.
bool kni_cpu_of_level(kni_span level, kni_cpu *out);

bool kni_cpu_has(const kni_cpu *cpu, const char *feature); // by name or other spelling
size_t kni_cpu_feature_count(const kni_cpu *cpu);
const char *kni_cpu_feature_name(const kni_cpu *cpu, size_t index); // "" out of range
const char *kni_cpu_arch(const kni_cpu *cpu);                       // "unknown" without a family

// Can this CPU run whatever the other one can: is it of the same family, with all of its features?
bool kni_cpu_covers(const kni_cpu *cpu, const kni_cpu *other);

// Finds the highest level all of whose features, and those of the levels below, are there.
void kni_cpu_set_level(kni_cpu *cpu);
void kni_cpu_add(kni_cpu *cpu, size_t feature); // by row

// What CPUID says, as far as it is read: {eax, ebx, ecx, edx} of each leaf, zero for leaves that the CPU does not have.
typedef struct kni_x86_registers {
    uint32_t leaf1[4];
    uint32_t leaf7[4];     // subleaf 0
    uint32_t leaf7_1[4];   // subleaf 1
    uint32_t extended1[4]; // 0x80000001
    uint32_t brand[12];    // 0x80000002 … 4: 48 bytes of text
    uint64_t
        xcr0; // which register states the system keeps; 0 when it does not use XSAVE (OSXSAVE clear)
} kni_x86_registers;
void kni_x86_decide(const kni_x86_registers *registers, kni_cpu *out);

// What the kernel tells a process on Arm.
typedef struct kni_arm_hwcaps {
    uint64_t hwcap;  // AT_HWCAP
    uint64_t hwcap2; // AT_HWCAP2
    uint32_t midr;   // MIDR_EL1: who made the core, and which one; 0 when it may not be read
} kni_arm_hwcaps;
void kni_arm_decide(const kni_arm_hwcaps *hwcaps, kni_cpu *out);

#if defined(__x86_64__)
void kni_x86_read(kni_x86_registers *out);
#elif defined(__aarch64__)
void kni_arm_read(kni_arm_hwcaps *out);
#endif

#endif
