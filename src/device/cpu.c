#include "device/cpu.h"

#include <string.h>

static bool has_row(const kni_cpu *cpu, size_t row)
{
    return cpu->features[row / 64] >> row % 64 & 1;
}

void kni_cpu_add(kni_cpu *cpu, size_t feature)
{
    cpu->features[feature / 64] |= UINT64_C(1) << feature % 64;
}

// The row of a name; the number of rows when there is none.
static size_t find_row(const kni_cpu_family *family, kni_span name)
{
    size_t row = 0;
    while (row < family->n_features && !kni_span_is(name, family->features[row].name))
        ++row;
    return row;
}

// All the features that a level adds are there.
static bool has_all(const kni_cpu *cpu, const char *names)
{
    kni_span rest = kni_span_of(names), name;
    while (kni_span_cut(&rest, ' ', &name))
        if (!has_row(cpu, find_row(cpu->family, name)))
            return false;
    return true;
}

void kni_cpu_set_level(kni_cpu *cpu)
{
    cpu->capability = -1;
    cpu->level_name = "";
    for (size_t i = 0; i < cpu->family->n_levels; ++i) {
        const kni_cpu_level *level = &cpu->family->levels[i];
        if (!has_all(cpu, level->adds))
            return;
        cpu->capability = level->capability;
        cpu->level_name = level->name;
    }
}

static bool of_level(const kni_cpu_family *family, kni_span wanted, kni_cpu *out)
{
    *out = (kni_cpu){.family = family, .capability = -1, .level_name = ""};
    for (size_t i = 0; i < family->n_levels; ++i) {
        kni_span rest = kni_span_of(family->levels[i].adds), name;
        while (kni_span_cut(&rest, ' ', &name))
            kni_cpu_add(out, find_row(family, name));
        if (kni_span_is(wanted, family->levels[i].name)) {
            kni_cpu_set_level(out);
            return true;
        }
    }
    return false;
}

bool kni_cpu_of_level(kni_span level, kni_cpu *out)
{
    return of_level(&kni_cpu_x86_64, level, out) || of_level(&kni_cpu_aarch64, level, out);
}

bool kni_cpu_has(const kni_cpu *cpu, const char *feature)
{
    if (!cpu->family || !feature)
        return false;
    for (const char *const(*alias)[2] = cpu->family->aliases; (*alias)[0]; ++alias)
        if (strcmp((*alias)[0], feature) == 0)
            feature = (*alias)[1];
    const size_t row = find_row(cpu->family, kni_span_of(feature));
    return row < cpu->family->n_features && has_row(cpu, row);
}

bool kni_cpu_covers(const kni_cpu *cpu, const kni_cpu *other)
{
    for (size_t i = 0; i < KN_LEN(cpu->features); ++i)
        if (other->features[i] & ~cpu->features[i])
            return false;
    return cpu->family == other->family;
}

size_t kni_cpu_feature_count(const kni_cpu *cpu)
{
    size_t count = 0;
    for (size_t row = 0; cpu->family && row < cpu->family->n_features; ++row)
        count += has_row(cpu, row);
    return count;
}

const char *kni_cpu_feature_name(const kni_cpu *cpu, size_t index)
{
    for (size_t row = 0; cpu->family && row < cpu->family->n_features; ++row)
        if (has_row(cpu, row) && index-- == 0)
            return cpu->family->features[row].name;
    return "";
}

const char *kni_cpu_arch(const kni_cpu *cpu)
{
    return cpu->family ? cpu->family->arch : "unknown";
}

void kni_cpu_probe(kni_cpu *out)
{
#if defined(__x86_64__)
    kni_x86_registers registers;
    kni_x86_read(&registers);
    kni_x86_decide(&registers, out);
#elif defined(__aarch64__)
    kni_arm_hwcaps hwcaps;
    kni_arm_read(&hwcaps);
    kni_arm_decide(&hwcaps, out);
#else
    *out = (kni_cpu){.capability = -1, .level_name = ""};
#endif
}
