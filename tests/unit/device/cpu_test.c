// What recorded registers mean, and what this CPU says.
#include "device/cpu.h"

#include "expect.h"

// {eax, ebx, ecx, edx} as recorded with the CPUID instruction on the machines named, XCR0 with XGETBV or, where a dump has none,
// what its system enables of leaf 0xD. The last rows are recorded registers under a system that enables less than the CPU has.
static const struct {
    const char *name;
    kni_x86_registers registers;
    int64_t level;
    const char *has, *lacks;
} x86_rows[] = {
    {"Pentium III", {.leaf1 = {0x00000673, 0, 0, 0x0387F9FF}}, -1, "fpu mmx sse", "sse2 pni avx"},
    {"Xeon E5462 (Harpertown)",
     {.leaf1 = {0x00010676, 0x00040800, 0x000CE3BD, 0xBFEBFBFF},
      .extended1 = {0, 0, 1, 0x20100000}},
     1,
     "sse2 ssse3 sse4_1",
     "sse4_2 popcnt avx"},
    {"Nehalem-EP",
     {.leaf1 = {0x000106A2, 0x00100800, 0x00BCE3BD, 0xBFEBFBFF},
      .extended1 = {0, 0, 1, 0x28100000}},
     2,
     "sse4_2 popcnt",
     "aes avx xsave"},
    {"Xeon E5-2660 (Sandy Bridge)",
     {.leaf1 = {0x000206D7, 0x03200800, 0x1FBEE3FF, 0xBFEBFBFF},
      .extended1 = {0, 0, 1, 0x2C100800},
      .xcr0 = 0x7},
     2,
     "avx aes xsave",
     "avx2 fma f16c"},
    {"Pentium G4600 (Kaby Lake without AVX)",
     {.leaf1 = {0x000906E9, 0x00100800, 0x4FFAEBBF, 0xBFEBFBFF},
      .leaf7 = {0, 0x02946687, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100000},
      .brand = {0x65746E49, 0x2952286C, 0x6E655020, 0x6D756974, 0x20295228, 0x20555043, 0x30363447,
                0x20402030},
      .xcr0 = 0x1B},
     2,
     "sse4_2 movbe aes rdseed abm",
     "avx avx2 fma f16c bmi1 bmi2"},
    {"Core i7-6700K (Skylake)",
     {.leaf1 = {0x000506E3, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF},
      .leaf7 = {0, 0x029C6FBB, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100000},
      .xcr0 = 0x1F},
     3,
     "avx avx2 fma f16c bmi1 bmi2 abm",
     "avx512f sha_ni"},
    {"EPYC 9004 (Genoa), a guest",
     {.leaf1 = {0x00A10F11, 0x01020800, 0xFFFA3203, 0x178BFBFF},
      .leaf7 = {0x00000001, 0xF1BF07AB, 0x00405FC6, 0x00000010},
      .leaf7_1 = {0x00000020, 0, 0, 0},
      .extended1 = {0x00A10F11, 0x40000000, 0x004003F3, 0x2FD3FBFF},
      .xcr0 = 0xE7},
     4,
     "avx2 avx512f avx512vl avx512_bf16 avx512_vnni vaes sse4a fsrm",
     "amx_tile amx_bf16 avx_vnni avx512_fp16 xop fma4"},
    {"Xeon (Emerald Rapids), a guest",
     {.leaf1 = {0x000C06F2, 0x0F100800, 0xFFFA3203, 0x1F8BFBFF},
      .leaf7 = {0x00000002, 0xF1BF27EB, 0x1B415FDE, 0xBFD14410},
      .leaf7_1 = {0x00001C30, 0, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100800},
      .xcr0 = 0x602E7},
     4,
     "avx512f avx512_fp16 avx512_bf16 avx_vnni amx_tile amx_bf16 amx_int8 movdir64b",
     "sse4a amx_fp16 avx_ifma avx512_vp2intersect"},
    {"Emerald Rapids, the system keeps no tiles",
     {.leaf1 = {0x000C06F2, 0x0F100800, 0xFFFA3203, 0x1F8BFBFF},
      .leaf7 = {0x00000002, 0xF1BF27EB, 0x1B415FDE, 0xBFD14410},
      .leaf7_1 = {0x00001C30, 0, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100800},
      .xcr0 = 0x2E7},
     4,
     "avx512_fp16 avx_vnni",
     "amx_tile amx_bf16 amx_int8"},
    {"Genoa, the system keeps no AVX-512 registers",
     {.leaf1 = {0x00A10F11, 0x01020800, 0xFFFA3203, 0x178BFBFF},
      .leaf7 = {0x00000001, 0xF1BF07AB, 0x00405FC6, 0x00000010},
      .leaf7_1 = {0x00000020, 0, 0, 0},
      .extended1 = {0x00A10F11, 0x40000000, 0x004003F3, 0x2FD3FBFF},
      .xcr0 = 0x7},
     3,
     "avx avx2 fma vaes bmi2",
     "avx512f avx512vl avx512_bf16 avx512_vnni"},
    {"Genoa, the opmask state alone is not enough",
     {.leaf1 = {0x00A10F11, 0x01020800, 0xFFFA3203, 0x178BFBFF},
      .leaf7 = {0x00000001, 0xF1BF07AB, 0x00405FC6, 0x00000010},
      .extended1 = {0x00A10F11, 0x40000000, 0x004003F3, 0x2FD3FBFF},
      .xcr0 = 0x27},
     3,
     "avx2",
     "avx512f"},
    {"Skylake, AVX bits set, XSAVE state of YMM not enabled",
     {.leaf1 = {0x000506E3, 0x00100800, 0x7FFAFBBF, 0xBFEBFBFF},
      .leaf7 = {0, 0x029C6FBB, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100000},
      .xcr0 = 0x3},
     2,
     "sse4_2 bmi1 bmi2 movbe abm aes",
     "avx avx2 fma f16c"},
    {"Skylake, the system does not use XSAVE",
     {.leaf1 = {0x000506E3, 0x00100800, 0x77FAFBBF, 0xBFEBFBFF},
      .leaf7 = {0, 0x029C6FBB, 0, 0},
      .extended1 = {0, 0, 0x121, 0x2C100000}},
     2,
     "sse4_2 bmi2",
     "avx avx2 fma f16c"},
    {"nothing at all", {.xcr0 = ~UINT64_C(0)}, -1, "", "fpu sse2 avx avx512f amx_tile"},
};

// {AT_HWCAP, AT_HWCAP2, MIDR_EL1}: as recorded, or from the Features line of /proc/cpuinfo by the kernel's numbers (then without
// MIDR).
static const struct {
    const char *name;
    kni_arm_hwcaps hwcaps;
    int64_t level;
    const char *has, *lacks;
} arm_rows[] = {
    {"Cortex-A53", {0x8FB, 0, 0x410FD034}, 80, "asimd crc32 aes", "atomics asimdhp sve"},
    {"Cortex-A76", {0x119FFB, 0, 0x414FD0B1}, 82, "atomics asimdhp asimddp", "fcma sve bf16"},
    {"Neoverse N1", {0x119FFB, 0, 0x414FD0C1}, 82, "asimddp lrcpc", "jscvt sve"},
    {"A64FX", {0x415FFB, 0, 0x461F0010}, 82, "sve fcma", "asimddp sve2"},
    {"Neoverse V1", {0xDFFFFFFF, 0x1F201, 0}, 84, "sve bf16 i8mm asimddp", "sve2 frint"},
    {"Neoverse N2", {0xFFFFFFFB, 0x3F3FF, 0}, 90, "sve2 bf16 i8mm frint sb", "sme"},
    {"Neoverse V2", {0xEFFFFFFF, 0x3F3FF, 0}, 90, "sve2 svebitperm", "sme ssbs"},
    {"Kunpeng 920B", {0x3FFFFFFF, 0x9FF81, 0}, 86, "sve bf16 svef64mm", "sve2 paca"},
    {"N2 without bf16", {0xFFFFFFFB, 0x3B3FF, 0}, 85, "sve2 i8mm", "bf16"},
    {"nothing at all", {0, 0, 0}, -1, "", "fp asimd"},
};

static void expect_features(const kni_cpu *cpu, const char *names, bool expected)
{
    kni_span rest = kni_span_of(names), name;
    while (rest.size && kni_span_cut(&rest, ' ', &name)) {
        char text[32];
        snprintf(text, sizeof(text), "%.*s", (int)name.size, name.data);
        if (kni_cpu_has(cpu, text) != expected)
            fail_msg("%s is %s", text, expected ? "missing" : "there");
    }
}

static void test_x86(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(x86_rows); ++i) {
        kni_cpu cpu;
        print_message("  %s\n", x86_rows[i].name);
        kni_x86_decide(&x86_rows[i].registers, &cpu);
        assert_int_equal(cpu.capability, x86_rows[i].level);
        expect_features(&cpu, x86_rows[i].has, true);
        expect_features(&cpu, x86_rows[i].lacks, false);
        assert_string_equal(kni_cpu_arch(&cpu), "x86_64");
        if (strstr(x86_rows[i].name, "G4600"))
            assert_string_equal(cpu.name, "Intel(R) Pentium(R) CPU G4600 @");
    }
}

static void test_arm(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(arm_rows); ++i) {
        kni_cpu cpu;
        print_message("  %s\n", arm_rows[i].name);
        kni_arm_decide(&arm_rows[i].hwcaps, &cpu);
        assert_int_equal(cpu.capability, arm_rows[i].level);
        expect_features(&cpu, arm_rows[i].has, true);
        expect_features(&cpu, arm_rows[i].lacks, false);
        assert_string_equal(kni_cpu_arch(&cpu), "aarch64");
        if (arm_rows[i].hwcaps.midr == 0x410FD034)
            assert_string_equal(cpu.name, "Arm part 0xd03");
    }
}

static size_t rows_named(const kni_cpu_family *family, kni_span name)
{
    size_t count = 0;
    for (size_t i = 0; i < family->n_features; ++i)
        count += kni_span_is(name, family->features[i].name);
    return count;
}

// The tables hang together: each feature and each bit once, levels and other spellings name features that exist, and a CPU of
// exactly one level has that level.
static void test_tables(void **state)
{
    (void)state;
    const kni_cpu_family *const families[] = {&kni_cpu_x86_64, &kni_cpu_aarch64};
    for (size_t f = 0; f < KN_LEN(families); ++f) {
        const kni_cpu_family *family = families[f];
        for (size_t i = 0; i < family->n_features; ++i) {
            const kni_cpu_feature *a = &family->features[i];
            assert_int_equal(rows_named(family, kni_span_of(a->name)), 1);
            for (size_t j = 0; j < i; ++j)
                assert_false(a->word == family->features[j].word &&
                             a->bit == family->features[j].bit);
        }
        for (const char *const(*alias)[2] = family->aliases; (*alias)[0]; ++alias) {
            assert_int_equal(rows_named(family, kni_span_of((*alias)[0])), 0);
            assert_int_equal(rows_named(family, kni_span_of((*alias)[1])), 1);
        }
        for (size_t i = 0; i < family->n_levels; ++i) {
            const kni_cpu_level *level = &family->levels[i];
            kni_span rest = kni_span_of(level->adds), name;
            while (kni_span_cut(&rest, ' ', &name))
                assert_int_equal(rows_named(family, name), 1);
            kni_cpu cpu;
            assert_true(kni_cpu_of_level(kni_span_of(level->name), &cpu));
            assert_int_equal(cpu.capability, level->capability);
            assert_string_equal(cpu.level_name, level->name);
            assert_ptr_equal(cpu.family, family);
            if (i)
                assert_true(level->capability > family->levels[i - 1].capability);
        }
    }
}

// A level covers itself and those below it, of its own family.
static void test_covers(void **state)
{
    (void)state;
    static const char *const names[] = {"x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4",
                                        "armv8.0",   "armv8.2",   "armv9.0"};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        for (size_t j = 0; j < KN_LEN(names); ++j) {
            kni_cpu cpu, other;
            print_message("  %s, %s\n", names[i], names[j]);
            assert_true(kni_cpu_of_level(kni_span_of(names[i]), &cpu));
            assert_true(kni_cpu_of_level(kni_span_of(names[j]), &other));
            assert_int_equal(kni_cpu_covers(&cpu, &other), cpu.family == other.family && j <= i);
        }
}

// Every feature that the kernel lists in /proc/cpuinfo and that we know by name, we find too.
static void test_this_cpu(void **state)
{
    (void)state;
    kni_cpu cpu;
    char line[8192];
    const char *flags = NULL;
    kni_cpu_probe(&cpu);
    if (!cpu.family) {
        print_message("skipped: an architecture without tables\n");
        skip();
    }
    assert_true(cpu.capability >= 1);
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (!flags && file && fgets(line, sizeof(line), file))
        if (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0)
            flags = strchr(line, ':');
    if (file)
        fclose(file);
    if (!flags) {
        print_message("skipped: no list of features in /proc/cpuinfo\n");
        skip();
    }
    size_t compared = 0;
    kni_span rest = {flags + 2, strcspn(flags + 2, "\n")}, name;
    while (kni_span_cut(&rest, ' ', &name))
        if (rows_named(cpu.family, name)) {
            char text[32];
            snprintf(text, sizeof(text), "%.*s", (int)name.size, name.data);
            expect_features(&cpu, text, true);
            ++compared;
        }
    print_message("  %zu features compared\n", compared);
    assert_true(compared >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x86),      cmocka_unit_test(test_arm),
        cmocka_unit_test(test_tables),   cmocka_unit_test(test_covers),
        cmocka_unit_test(test_this_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
