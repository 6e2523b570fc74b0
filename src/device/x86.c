// Instruction sets of x86-64. Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID, and AMD64
// Architecture Programmer's Manual, volume 3, appendix E. Levels: System V ABI, AMD64 supplement, "Micro-architecture levels".

#include <string.h>

#include "device/cpu.h"
#include "device/devices.h"
#include "kernels/base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// The registers that features are read from, in the order of register_of().
enum {
    L1_ECX,
    L1_EDX,
    L7_EBX,
    L7_ECX,
    L7_EDX,
    L7_1_EAX,
    L7_1_EDX,
    EXT_ECX,
};

// Register state that the system must save and restore. Without it CPUID may still show the instruction, and it faults: under a
// hypervisor or kernel that does not enable the state.
enum {
    ANY,   // general registers, or SSE, which the 64-bit mode always has
    YMM,   // XCR0 bits 1, 2
    ZMM,   // and 5, 6, 7
    TILES, // 17, 18
};
static const uint64_t states[] = {
    [ANY] = 0,
    [YMM] = 0x6,
    [ZMM] = 0xE6,
    [TILES] = 0x60000,
};

static const kni_cpu_feature features[] = {
    {"fpu", L1_EDX, 0, ANY},
    {"cx8", L1_EDX, 8, ANY},
    {"cmov", L1_EDX, 15, ANY},
    {"mmx", L1_EDX, 23, ANY},
    {"fxsr", L1_EDX, 24, ANY},
    {"sse", L1_EDX, 25, ANY},
    {"sse2", L1_EDX, 26, ANY},
    {"pni", L1_ECX, 0, ANY},
    {"pclmulqdq", L1_ECX, 1, ANY},
    {"ssse3", L1_ECX, 9, ANY},
    {"fma", L1_ECX, 12, YMM},
    {"cx16", L1_ECX, 13, ANY},
    {"sse4_1", L1_ECX, 19, ANY},
    {"sse4_2", L1_ECX, 20, ANY},
    {"movbe", L1_ECX, 22, ANY},
    {"popcnt", L1_ECX, 23, ANY},
    {"aes", L1_ECX, 25, ANY},
    {"xsave", L1_ECX, 26, ANY},
    {"avx", L1_ECX, 28, YMM},
    {"f16c", L1_ECX, 29, YMM},
    {"rdrand", L1_ECX, 30, ANY},
    {"lahf_lm", EXT_ECX, 0, ANY},
    {"abm", EXT_ECX, 5, ANY},
    {"sse4a", EXT_ECX, 6, ANY},
    {"3dnowprefetch", EXT_ECX, 8, ANY},
    {"xop", EXT_ECX, 11, YMM},
    {"fma4", EXT_ECX, 16, YMM},
    {"bmi1", L7_EBX, 3, ANY},
    {"avx2", L7_EBX, 5, YMM},
    {"bmi2", L7_EBX, 8, ANY},
    {"erms", L7_EBX, 9, ANY},
    {"avx512f", L7_EBX, 16, ZMM},
    {"avx512dq", L7_EBX, 17, ZMM},
    {"rdseed", L7_EBX, 18, ANY},
    {"adx", L7_EBX, 19, ANY},
    {"avx512ifma", L7_EBX, 21, ZMM},
    {"clflushopt", L7_EBX, 23, ANY},
    {"clwb", L7_EBX, 24, ANY},
    {"avx512cd", L7_EBX, 28, ZMM},
    {"sha_ni", L7_EBX, 29, ANY},
    {"avx512bw", L7_EBX, 30, ZMM},
    {"avx512vl", L7_EBX, 31, ZMM},
    {"avx512vbmi", L7_ECX, 1, ZMM},
    {"waitpkg", L7_ECX, 5, ANY},
    {"avx512_vbmi2", L7_ECX, 6, ZMM},
    {"gfni", L7_ECX, 8, ANY},
    {"vaes", L7_ECX, 9, YMM},
    {"vpclmulqdq", L7_ECX, 10, YMM},
    {"avx512_vnni", L7_ECX, 11, ZMM},
    {"avx512_bitalg", L7_ECX, 12, ZMM},
    {"avx512_vpopcntdq", L7_ECX, 14, ZMM},
    {"rdpid", L7_ECX, 22, ANY},
    {"movdiri", L7_ECX, 27, ANY},
    {"movdir64b", L7_ECX, 28, ANY},
    {"fsrm", L7_EDX, 4, ANY},
    {"avx512_vp2intersect", L7_EDX, 8, ZMM},
    {"serialize", L7_EDX, 14, ANY},
    {"amx_bf16", L7_EDX, 22, TILES},
    {"avx512_fp16", L7_EDX, 23, ZMM},
    {"amx_tile", L7_EDX, 24, TILES},
    {"amx_int8", L7_EDX, 25, TILES},
    {"avx_vnni", L7_1_EAX, 4, YMM},
    {"avx512_bf16", L7_1_EAX, 5, ZMM},
    {"amx_fp16", L7_1_EAX, 21, TILES},
    {"avx_ifma", L7_1_EAX, 23, YMM},
    {"avx_vnni_int8", L7_1_EDX, 4, YMM},
    {"avx_ne_convert", L7_1_EDX, 5, YMM},
    {"amx_complex", L7_1_EDX, 8, TILES},
    {"avx_vnni_int16", L7_1_EDX, 10, YMM},
};
_Static_assert(KN_LEN(features) <= KNI_CPU_FEATURES_MAX, "more features than bits");

// OSFXSR and OSXSAVE of the ABI's lists are what `state` stands for; SCE is on wherever a 64-bit process runs.
static const kni_cpu_level levels[] = {
    {1, "x86-64-v1", "cmov cx8 fpu fxsr mmx sse sse2"},
    {2, "x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"},
    {3, "x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"},
    {4, "x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"},
};

static const char *const aliases[][2] = {
    {"sse3", "pni"},
    {"lzcnt", "abm"},
    {"sse4.1", "sse4_1"},
    {"sse4.2", "sse4_2"},
    {"bmi", "bmi1"},
    {"pclmul", "pclmulqdq"},
    {"sha", "sha_ni"},
    {"avx512vbmi2", "avx512_vbmi2"},
    {"avx512vnni", "avx512_vnni"},
    {"avx512bitalg", "avx512_bitalg"},
    {"avx512vpopcntdq", "avx512_vpopcntdq"},
    {"avx512vp2intersect", "avx512_vp2intersect"},
    {"avx512bf16", "avx512_bf16"},
    {"avx512fp16", "avx512_fp16"},
    {"avxvnni", "avx_vnni"},
    {"amx-tile", "amx_tile"},
    {"amx-int8", "amx_int8"},
    {"amx-bf16", "amx_bf16"},
    {"amx-fp16", "amx_fp16"},
    {NULL, NULL},
};

const kni_cpu_family kni_cpu_x86_64 = {
    "x86_64", features, KN_LEN(features), levels, KN_LEN(levels), aliases,
};

static uint32_t register_of(const kni_x86_registers *r, unsigned word)
{
    switch (word) {
    case L1_ECX:
        return r->leaf1[2];
    case L1_EDX:
        return r->leaf1[3];
    case L7_EBX:
        return r->leaf7[1];
    case L7_ECX:
        return r->leaf7[2];
    case L7_EDX:
        return r->leaf7[3];
    case L7_1_EAX:
        return r->leaf7_1[0];
    case L7_1_EDX:
        return r->leaf7_1[3];
    default:
        return r->extended1[2];
    }
}

void kni_x86_decide(const kni_x86_registers *registers, kni_cpu *out)
{
    *out = (kni_cpu){.family = &kni_cpu_x86_64};
    for (size_t i = 0; i < KN_LEN(features); ++i) {
        const uint64_t state = states[features[i].state];
        if (register_of(registers, features[i].word) >> features[i].bit & 1 &&
            (registers->xcr0 & state) == state)
            kni_cpu_add(out, i);
    }
    kni_cpu_set_level(out);

    char brand[sizeof(registers->brand)];
    memcpy(brand, registers->brand, sizeof(brand));
    kni_copy_clean(out->name, sizeof(out->name), brand, sizeof(brand));
}

#if defined(__x86_64__)
static void read_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    // Checks the highest leaf of the range first: beyond it old CPUs answer with the data of another leaf.
    if (!__get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]))
        memset(out, 0, 4 * sizeof(out[0]));
}

void kni_x86_read(kni_x86_registers *out)
{
    *out = (kni_x86_registers){0};
    read_leaf(1, 0, out->leaf1);
    read_leaf(7, 0, out->leaf7);
    if (out->leaf7[0] >= 1) // its highest subleaf
        read_leaf(7, 1, out->leaf7_1);
    read_leaf(0x80000001, 0, out->extended1);
    for (uint32_t i = 0; i < 3; ++i)
        read_leaf(0x80000002 + i, 0, out->brand + 4 * i);
    if (out->leaf1[2] >> 27 & 1) { // OSXSAVE: without it XGETBV faults
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        out->xcr0 = (uint64_t)high << 32 | low;
    }
}
#endif
