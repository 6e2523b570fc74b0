// Instruction sets of 64-bit Arm, as the Linux kernel tells them to a process. Bits: the kernel's arm64/elf_hwcaps
// documentation. What a version demands: Arm Architecture Reference Manual for A-profile, "Armv8.x architecture extensions".

#include <stdio.h>

#include "device/cpu.h"
#include "kernels/base.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum {
    HWCAP,
    HWCAP2,
};

static const kni_cpu_feature features[] = {
    {"fp", HWCAP, 0, 0},          {"asimd", HWCAP, 1, 0},       {"aes", HWCAP, 3, 0},
    {"pmull", HWCAP, 4, 0},       {"sha1", HWCAP, 5, 0},        {"sha2", HWCAP, 6, 0},
    {"crc32", HWCAP, 7, 0},       {"atomics", HWCAP, 8, 0},     {"fphp", HWCAP, 9, 0},
    {"asimdhp", HWCAP, 10, 0},    {"asimdrdm", HWCAP, 12, 0},   {"jscvt", HWCAP, 13, 0},
    {"fcma", HWCAP, 14, 0},       {"lrcpc", HWCAP, 15, 0},      {"dcpop", HWCAP, 16, 0},
    {"sha3", HWCAP, 17, 0},       {"sm3", HWCAP, 18, 0},        {"sm4", HWCAP, 19, 0},
    {"asimddp", HWCAP, 20, 0},    {"sha512", HWCAP, 21, 0},     {"sve", HWCAP, 22, 0},
    {"asimdfhm", HWCAP, 23, 0},   {"dit", HWCAP, 24, 0},        {"uscat", HWCAP, 25, 0},
    {"ilrcpc", HWCAP, 26, 0},     {"flagm", HWCAP, 27, 0},      {"ssbs", HWCAP, 28, 0},
    {"sb", HWCAP, 29, 0},         {"paca", HWCAP, 30, 0},       {"pacg", HWCAP, 31, 0},
    {"dcpodp", HWCAP2, 0, 0},     {"sve2", HWCAP2, 1, 0},       {"sveaes", HWCAP2, 2, 0},
    {"svepmull", HWCAP2, 3, 0},   {"svebitperm", HWCAP2, 4, 0}, {"svesha3", HWCAP2, 5, 0},
    {"svesm4", HWCAP2, 6, 0},     {"flagm2", HWCAP2, 7, 0},     {"frint", HWCAP2, 8, 0},
    {"svei8mm", HWCAP2, 9, 0},    {"svef32mm", HWCAP2, 10, 0},  {"svef64mm", HWCAP2, 11, 0},
    {"svebf16", HWCAP2, 12, 0},   {"i8mm", HWCAP2, 13, 0},      {"bf16", HWCAP2, 14, 0},
    {"rng", HWCAP2, 16, 0},       {"bti", HWCAP2, 17, 0},       {"mte", HWCAP2, 18, 0},
    {"sme", HWCAP2, 23, 0},       {"smei16i64", HWCAP2, 24, 0}, {"smef64f64", HWCAP2, 25, 0},
    {"smei8i32", HWCAP2, 26, 0},  {"smef16f32", HWCAP2, 27, 0}, {"smeb16f32", HWCAP2, 28, 0},
    {"smef32f32", HWCAP2, 29, 0}, {"smefa64", HWCAP2, 30, 0},   {"ebf16", HWCAP2, 32, 0},
    {"sveebf16", HWCAP2, 33, 0},  {"sve2p1", HWCAP2, 36, 0},    {"sme2", HWCAP2, 37, 0},
};
_Static_assert(KN_LEN(features) <= KNI_CPU_FEATURES_MAX, "more features than bits");

// The rule: a version counts when every instruction that it makes mandatory and that a hwcap shows is there; protection features
// that kernels and hypervisors switch off (pointer authentication, bti, ssbs) are left out, since code for the version runs without
// them. A level can run what those below it can: so 90 is SVE2 on top of 86, and an Armv9.0 core without bf16 or i8mm, which 9.0 leaves
// optional, counts as 85.
static const kni_cpu_level levels[] = {
    {80, "armv8.0", "fp asimd"},
    {81, "armv8.1", "atomics asimdrdm crc32"},
    {82, "armv8.2", "dcpop"},
    {83, "armv8.3", "jscvt fcma lrcpc"},
    {84, "armv8.4", "asimddp dit uscat ilrcpc flagm"},
    {85, "armv8.5", "flagm2 frint sb dcpodp"},
    {86, "armv8.6", "bf16 i8mm"},
    {90, "armv9.0", "sve sve2"},
};

static const char *const aliases[][2] = {
    {"neon", "asimd"},       {"dotprod", "asimddp"}, {"fp16", "asimdhp"},
    {"fp16fml", "asimdfhm"}, {"lse", "atomics"},     {"rdma", "asimdrdm"},
    {"crc", "crc32"},        {"memtag", "mte"},      {NULL, NULL},
};

const kni_cpu_family kni_cpu_aarch64 = {
    "aarch64", features, KN_LEN(features), levels, KN_LEN(levels), aliases,
};

void kni_arm_decide(const kni_arm_hwcaps *hwcaps, kni_cpu *out)
{
    static const struct {
        uint32_t implementer;
        const char *name;
    } makers[] = {
        {0x41, "Arm"},       {0x42, "Broadcom"}, {0x43, "Cavium"},   {0x46, "Fujitsu"},
        {0x48, "HiSilicon"}, {0x4E, "NVIDIA"},   {0x51, "Qualcomm"}, {0x61, "Apple"},
        {0x6D, "Microsoft"}, {0xC0, "Ampere"},
    };
    *out = (kni_cpu){.family = &kni_cpu_aarch64};
    for (size_t i = 0; i < KN_LEN(features); ++i) {
        const uint64_t word = features[i].word == HWCAP ? hwcaps->hwcap : hwcaps->hwcap2;
        if (word >> features[i].bit & 1)
            kni_cpu_add(out, i);
    }
    kni_cpu_set_level(out);
    for (size_t i = 0; i < KN_LEN(makers); ++i)
        if (hwcaps->midr >> 24 == makers[i].implementer)
            snprintf(out->name, sizeof(out->name), "%s part 0x%03x", makers[i].name,
                     hwcaps->midr >> 4 & 0xFFFu);
}

#if defined(__aarch64__)
void kni_arm_read(kni_arm_hwcaps *out)
{
    *out = (kni_arm_hwcaps){getauxval(AT_HWCAP), getauxval(AT_HWCAP2), 0};
    if (out->hwcap >> 11 & 1) { // HWCAP_CPUID: the kernel lets a process read it
        uint64_t midr;
        __asm__("mrs %0, midr_el1" : "=r"(midr));
        out->midr = (uint32_t)midr;
    }
}
#endif
