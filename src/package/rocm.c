#include "package/rocm.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#define BUNDLE_MAGIC "__CLANG_OFFLOAD_BUNDLE__"
#define COMPRESSED_MAGIC "CCOB"

enum {
    BUNDLE_MAGIC_SIZE = sizeof(BUNDLE_MAGIC) - 1,
    ENTRIES_MAX = 4096,
    NAME_MAX_SIZE = 256,
    TARGETS_MAX = 1 << 20,
    TEXT_TARGETS_MAX = 32,
};

// X(number in the ELF flags, processor): LLVM's list of EF_AMDGPU_MACH_AMDGCN_*, from the first that ROCm ran on.
#define PROCESSOR_LIST(X)                                                                          \
    X(0x02a, "gfx803")                                                                             \
    X(0x02c, "gfx900")                                                                             \
    X(0x02d, "gfx902")                                                                             \
    X(0x02e, "gfx904")                                                                             \
    X(0x02f, "gfx906")                                                                             \
    X(0x030, "gfx908")                                                                             \
    X(0x031, "gfx909")                                                                             \
    X(0x032, "gfx90c")                                                                             \
    X(0x033, "gfx1010")                                                                            \
    X(0x034, "gfx1011")                                                                            \
    X(0x035, "gfx1012")                                                                            \
    X(0x036, "gfx1030")                                                                            \
    X(0x037, "gfx1031")                                                                            \
    X(0x038, "gfx1032")                                                                            \
    X(0x039, "gfx1033")                                                                            \
    X(0x03d, "gfx1035")                                                                            \
    X(0x03e, "gfx1034")                                                                            \
    X(0x03f, "gfx90a")                                                                             \
    X(0x040, "gfx940")                                                                             \
    X(0x041, "gfx1100")                                                                            \
    X(0x042, "gfx1013")                                                                            \
    X(0x043, "gfx1150")                                                                            \
    X(0x044, "gfx1103")                                                                            \
    X(0x045, "gfx1036")                                                                            \
    X(0x046, "gfx1101")                                                                            \
    X(0x047, "gfx1102")                                                                            \
    X(0x048, "gfx1200")                                                                            \
    X(0x049, "gfx1250")                                                                            \
    X(0x04a, "gfx1151")                                                                            \
    X(0x04b, "gfx941")                                                                             \
    X(0x04c, "gfx942")                                                                             \
    X(0x04e, "gfx1201")                                                                            \
    X(0x04f, "gfx950")                                                                             \
    X(0x051, "gfx9-generic")                                                                       \
    X(0x052, "gfx10-1-generic")                                                                    \
    X(0x053, "gfx10-3-generic")                                                                    \
    X(0x054, "gfx11-generic")                                                                      \
    X(0x055, "gfx1152")                                                                            \
    X(0x058, "gfx1153")                                                                            \
    X(0x059, "gfx12-generic")                                                                      \
    X(0x05f, "gfx9-4-generic")

// The members of the generic processors, from LLVM's AMDGPU guide.
static const struct {
    const char *generic;
    const char *members[10];
} generics[] = {
    {"gfx9-generic", {"gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"}},
    {"gfx9-4-generic", {"gfx940", "gfx941", "gfx942", "gfx950"}},
    {"gfx10-1-generic", {"gfx1010", "gfx1011", "gfx1012", "gfx1013"}},
    {"gfx10-3-generic",
     {"gfx1030", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036"}},
    {"gfx11-generic",
     {"gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"}},
    {"gfx12-generic", {"gfx1200", "gfx1201"}},
};

static const char *processor_of(unsigned number)
{
    static const struct {
        unsigned number;
        const char *processor;
    } rows[] = {
#define PROCESSOR_ROW(number, processor) {number, processor},
        PROCESSOR_LIST(PROCESSOR_ROW)
#undef PROCESSOR_ROW
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        if (rows[i].number == number)
            return rows[i].processor;
    return NULL;
}

bool kni_rocm_target_parse(const char *text, size_t size, kni_rocm_target *out)
{
    kni_span rest = {text, size}, part;
    *out = (kni_rocm_target){.bundle = 0};
    if (!kni_span_cut(&rest, ':', &part) || part.size == 0 || part.size >= sizeof(out->processor))
        return false;
    for (size_t i = 0; i < part.size; ++i) {
        const char c = part.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    memcpy(out->processor, part.data, part.size);
    while (kni_span_cut(&rest, ':', &part)) {
        uint8_t *const feature = kni_span_starts(part, "xnack")     ? &out->xnack
                                 : kni_span_starts(part, "sramecc") ? &out->sramecc
                                                                    : NULL;
        if (!feature || *feature != KNI_ROCM_ANY)
            return false;
        const size_t named = feature == &out->xnack ? strlen("xnack") : strlen("sramecc");
        if (part.size != named + 1 || (part.data[named] != '+' && part.data[named] != '-'))
            return false;
        *feature = part.data[named] == '+' ? KNI_ROCM_ON : KNI_ROCM_OFF;
    }
    return true;
}

// A code object by itself: false when it is none, or for a processor that is not known here.
static bool read_code_object(kni_bytes object, kni_rocm_target *out)
{
    if (object.size < 64 || memcmp(object.data, "\177ELF", 4) != 0 || object.data[4] != 2 ||
        kni_bytes_u16(object, 18) != KNI_MACHINE_AMDGPU)
        return false;
    const uint32_t flags = kni_bytes_u32(object, 48);
    const char *processor = processor_of(flags & 0xFF);
    if (!processor)
        return false;
    *out = (kni_rocm_target){.bundle = 0};
    memcpy(out->processor, processor, strlen(processor));
    if (object.data[8] >= 2) { // the ABI version of code object 4 and up: 1 any, 2 off, 3 on
        static const uint8_t settings[] = {KNI_ROCM_ANY, KNI_ROCM_ANY, KNI_ROCM_OFF, KNI_ROCM_ON};
        out->xnack = settings[flags >> 8 & 3];
        out->sramecc = settings[flags >> 10 & 3];
    } else { // before, a feature was on or off
        out->xnack = flags & 0x100 ? KNI_ROCM_ON : KNI_ROCM_ANY;
        out->sramecc = flags & 0x200 ? KNI_ROCM_ON : KNI_ROCM_ANY;
    }
    return true;
}

static kn_status add_target(kni_rocm_code *code, kni_rocm_target target, const char *name,
                            kn_error *err)
{
    if (code->n_targets == TARGETS_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: more than a million pieces of ROCm code",
                            name);
    if (!kni_grow((void **)&code->targets, &code->capacity, code->n_targets + 1,
                  sizeof(*code->targets)))
        return kni_no_memory(err);
    target.bundle = code->n_bundles;
    code->targets[code->n_targets++] = target;
    return KN_OK;
}

// The target in an entry's name: behind "hip-amdgcn-amd-amdhsa-" or "hipv4-amdgcn-amd-amdhsa--". Empty for the host's and for
// code of another kind (SPIR-V, to be compiled later).
static kni_span target_of(kni_span entry)
{
    static const char *const prefixes[] = {"hipv4-amdgcn-amd-amdhsa--", "hip-amdgcn-amd-amdhsa--",
                                           "hip-amdgcn-amd-amdhsa-"};
    for (size_t i = 0; i < KN_LEN(prefixes); ++i) {
        const size_t used = strlen(prefixes[i]);
        if (kni_span_starts(entry, prefixes[i]))
            return (kni_span){entry.data + used, entry.size - used};
    }
    return (kni_span){NULL, 0};
}

static kn_status read_entry(kni_span id, kni_bytes object, size_t offset, const char *name,
                            kni_rocm_code *code, kn_error *err)
{
    kni_rocm_target target, inner;
    const kni_span text = target_of(id);
    if (text.size == 0 || object.size == 0)
        return KN_OK;
    if (!kni_rocm_target_parse(text.data, text.size, &target))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the ROCm bundle at offset %zu names no target: \"%.*s\"", name,
                            offset, (int)text.size, text.data);
    if (read_code_object(object, &inner) && strcmp(inner.processor, target.processor) != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the ROCm bundle at offset %zu says %s, but the code is for %s",
                            name, offset, target.processor, inner.processor);
    return add_target(code, target, name, err);
}

// Reads the bundle at `at` and moves *at behind its last code object.
static kn_status read_bundle(kni_bytes bytes, size_t *at, const char *name, kni_rocm_code *code,
                             kn_error *err)
{
    const size_t begin = *at, n_before = code->n_targets;
    const kni_bytes bundle = {bytes.data + begin, bytes.size - begin};
    uint64_t count, end, position = BUNDLE_MAGIC_SIZE + 8;
    if (!kni_bytes_uint(bundle, BUNDLE_MAGIC_SIZE, 8, &count) || count > ENTRIES_MAX)
        goto malformed;
    end = position;
    for (uint64_t i = 0; i < count; ++i) {
        kni_bytes fields, id, object;
        if (!kni_bytes_cut(bundle, position, 24, &fields))
            goto malformed;
        const uint64_t offset = kni_bytes_u64(fields, 0), size = kni_bytes_u64(fields, 8);
        const uint64_t id_size = kni_bytes_u64(fields, 16);
        if (id_size > NAME_MAX_SIZE || !kni_bytes_cut(bundle, position + 24, id_size, &id) ||
            !kni_bytes_cut(bundle, offset, size, &object))
            goto malformed;
        position += 24 + id_size;
        end = position > end ? position : end;
        end = offset + size > end ? offset + size : end;
        const kn_status st =
            read_entry((kni_span){(const char *)id.data, id.size}, object, begin, name, code, err);
        if (st != KN_OK)
            return st;
    }
    if (code->n_targets > n_before)
        ++code->n_bundles;
    *at = begin + (size_t)end;
    return KN_OK;
malformed:
    return kn_error_set(err, KN_ERR_FORMAT,
                        "%s: the ROCm bundle at offset %zu is malformed or cut off", name, begin);
}

// A compressed bundle: magic, u16 version, u16 method, then from version 2 on its whole size (u32, from version 3 on u64).
// Version 1 does not tell its size: the rest is taken for it.
static kn_status skip_compressed(kni_bytes bytes, size_t *at, const char *name, kni_rocm_code *code,
                                 kn_error *err)
{
    const kni_bytes bundle = {bytes.data + *at, bytes.size - *at};
    kni_bytes whole;
    const unsigned version = kni_bytes_u16(bundle, 4);
    const uint64_t size = version == 1   ? bundle.size
                          : version == 2 ? kni_bytes_u32(bundle, 8)
                          : version == 3 ? kni_bytes_u64(bundle, 8)
                                         : 0;
    if (size < 24 || !kni_bytes_cut(bundle, 0, size, &whole))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the compressed ROCm bundle at offset %zu (version %u) is "
                            "malformed, cut off or of a version other than 1 to 3",
                            name, *at, version);
    ++code->n_compressed;
    *at += whole.size;
    return KN_OK;
}

static bool is_at(kni_bytes bytes, size_t at, const char *magic)
{
    const size_t size = strlen(magic);
    return bytes.size - at >= size && memcmp(bytes.data + at, magic, size) == 0;
}

kn_status kni_rocm_read(kni_bytes bytes, const char *name, kni_rocm_code *code, kn_error *err)
{
    kn_status st = KN_OK;
    for (size_t at = 0; st == KN_OK && at < bytes.size;) {
        kni_rocm_target target;
        if (bytes.data[at] == 0) {
            ++at;
        } else if (is_at(bytes, at, BUNDLE_MAGIC)) {
            st = read_bundle(bytes, &at, name, code, err);
        } else if (is_at(bytes, at, COMPRESSED_MAGIC)) {
            st = skip_compressed(bytes, &at, name, code, err);
        } else if (at == 0 && read_code_object(bytes, &target)) {
            st = add_target(code, target, name, err);
            if (st == KN_OK)
                ++code->n_bundles;
            at = bytes.size;
        } else {
            st = kn_error_set(err, KN_ERR_FORMAT,
                              "%s: no bundle, and no code object of a known processor, at offset "
                              "%zu of its ROCm code",
                              name, at);
        }
    }
    return st;
}

// Searches bytes that may hold anything for bundles. The short mark of compressed ones occurs by chance; it is looked for only
// where a section says that there is device code.
static kn_status search(kni_bytes in, const char *name, kni_rocm_code *code, kn_error *err)
{
    for (size_t at = 0; at < in.size;) {
        const uint8_t *found = memmem(in.data + at, in.size - at, BUNDLE_MAGIC, BUNDLE_MAGIC_SIZE);
        if (!found)
            break;
        at = (size_t)(found - in.data);
        // A library that reads bundles itself holds the mark as a string, with a zero or text behind it.
        const uint64_t count = kni_bytes_u64((kni_bytes){found, in.size - at}, BUNDLE_MAGIC_SIZE);
        if (count == 0 || count > ENTRIES_MAX) {
            at += BUNDLE_MAGIC_SIZE;
            continue;
        }
        const kn_status st = read_bundle(in, &at, name, code, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

kn_status kni_rocm_read_elf(const kni_elf *elf, const char *name, kni_rocm_code *code,
                            kn_error *err)
{
    kn_status st = KN_OK;
    kni_bytes part;
    bool has_section = false;
    for (size_t index = 0;
         st == KN_OK && kni_elf_next_section(elf, ".hip_fatbin", &index, &part);) {
        has_section = true;
        st = kni_rocm_read(part, name, code, err);
    }
    for (size_t i = 0; st == KN_OK && !has_section && i < elf->n_loads; ++i)
        st = search(elf->loads[i].bytes, name, code, err);
    return st;
}

void kni_rocm_dispose(kni_rocm_code *code)
{
    kni_free(code->targets);
    *code = (kni_rocm_code){.targets = NULL};
}

static bool is_member(const char *generic, const char *processor)
{
    for (size_t i = 0; i < KN_LEN(generics); ++i) {
        if (strcmp(generics[i].generic, generic) != 0)
            continue;
        for (size_t j = 0; j < KN_LEN(generics[i].members) && generics[i].members[j]; ++j)
            if (strcmp(generics[i].members[j], processor) == 0)
                return true;
    }
    return false;
}

static bool features_agree(uint8_t code, uint8_t device)
{
    return code == KNI_ROCM_ANY || device == KNI_ROCM_ANY || code == device;
}

bool kni_rocm_target_runs(const kni_rocm_target *target, const kni_rocm_target *device)
{
    return (strcmp(target->processor, device->processor) == 0 ||
            is_member(target->processor, device->processor)) &&
           features_agree(target->xnack, device->xnack) &&
           features_agree(target->sramecc, device->sramecc);
}

kni_code_fit kni_rocm_code_runs(const kni_rocm_code *code, const char *device, kni_buf *reason)
{
    kni_rocm_target on;
    const bool is_known = kni_rocm_target_parse(device, strlen(device), &on);
    size_t fitting = 0;
    for (size_t i = 0; i < code->n_targets;) {
        const uint32_t bundle = code->targets[i].bundle;
        bool fits = false;
        for (; i < code->n_targets && code->targets[i].bundle == bundle; ++i)
            fits = fits || (is_known && kni_rocm_target_runs(&code->targets[i], &on));
        fitting += fits;
    }
    kni_code_fit fit = KNI_CODE_FITS;
    if (code->n_bundles == 0 && code->n_compressed == 0)
        fit = KNI_CODE_NONE;
    else if (code->n_compressed > 0 && fitting == code->n_bundles)
        fit = KNI_CODE_UNKNOWN;
    else if (fitting == 0)
        fit = KNI_CODE_NO;
    else if (fitting < code->n_bundles)
        fit = KNI_CODE_PARTLY;
    if (!reason)
        return fit;
    kni_buf_puts(reason, "ROCm code for ");
    kni_rocm_code_text(code, reason);
    if (code->n_compressed > 0)
        kni_buf_printf(reason, " and %u compressed bundle%s, which cannot be read here",
                       (unsigned)code->n_compressed, code->n_compressed == 1 ? "" : "s");
    if (fit == KNI_CODE_NO)
        kni_buf_printf(reason, "; none runs on %s", device);
    else if (fit == KNI_CODE_PARTLY)
        kni_buf_printf(reason, "; %zu of %u bundles have code for %s", fitting,
                       (unsigned)code->n_bundles, device);
    return fit;
}

void kni_rocm_target_text(const kni_rocm_target *target, kni_buf *out)
{
    static const char *const marks[] = {"", "-", "+"};
    kni_buf_puts(out, target->processor);
    if (target->sramecc)
        kni_buf_printf(out, ":sramecc%s", marks[target->sramecc]);
    if (target->xnack)
        kni_buf_printf(out, ":xnack%s", marks[target->xnack]);
}

void kni_rocm_code_text(const kni_rocm_code *code, kni_buf *out)
{
    const kni_rocm_target *seen[TEXT_TARGETS_MAX];
    size_t n_seen = 0;
    for (size_t i = 0; i < code->n_targets; ++i) {
        const kni_rocm_target *t = &code->targets[i];
        size_t j = 0;
        while (j < n_seen && (strcmp(seen[j]->processor, t->processor) != 0 ||
                              seen[j]->xnack != t->xnack || seen[j]->sramecc != t->sramecc))
            ++j;
        if (j < n_seen)
            continue;
        if (n_seen == TEXT_TARGETS_MAX) {
            kni_buf_puts(out, ", …");
            return;
        }
        seen[n_seen++] = t;
        if (n_seen > 1)
            kni_buf_puts(out, ", ");
        kni_rocm_target_text(t, out);
    }
    if (n_seen == 0)
        kni_buf_puts(out, "none");
}
