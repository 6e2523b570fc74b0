#include "package/cuda.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    CONTAINER_SIZE = 16, // of its header
    ENTRY_SIZE = 64,     // least, of an entry's header
    KIND_PTX = 1,
    KIND_CUBIN = 2,
    KIND_LTO = 8,
    FLAG_LZ4 = 0x2000,
    FLAG_ZSTD = 0x8000,
    FLAG_SPECIFIC = 0x100000, // 'a'
    FLAG_FAMILY = 0x200000,   // 'f'
    TARGETS_MAX = 1 << 20,
    TEXT_TARGETS_MAX = 32, // different targets that a text lists
};

static const uint8_t container_magic[4] = {0x50, 0xED, 0x55, 0xBA};
static const uint8_t elf_magic[4] = {0x7F, 'E', 'L', 'F'};

static bool starts_with(kni_bytes bytes, const uint8_t magic[4])
{
    return bytes.size >= 4 && memcmp(bytes.data, magic, 4) == 0;
}

static kn_status add_target(kni_cuda_code *code, kni_cuda_target target, const char *name,
                            kn_error *err)
{
    if (code->n_targets == TARGETS_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: more than a million pieces of CUDA code",
                            name);
    if (!kni_grow((void **)&code->targets, &code->capacity, code->n_targets + 1,
                  sizeof(*code->targets)))
        return kni_no_memory(err);
    code->targets[code->n_targets++] = target;
    return KN_OK;
}

// The suffix of "-arch sm_90a" among the arguments of ptxas, which the file records; 0 when it does not say.
static char recorded_suffix(kni_bytes cubin, unsigned arch)
{
    static const char key[] = "-arch sm_";
    const uint8_t *at = memmem(cubin.data, cubin.size, key, sizeof(key) - 1);
    if (!at)
        return 0;
    const uint8_t *const end = cubin.data + cubin.size;
    unsigned number = 0;
    for (at += sizeof(key) - 1; at < end && *at >= '0' && *at <= '9' && number < 10000; ++at)
        number = number * 10 + (unsigned)(*at - '0');
    return number == arch && at < end && (*at == 'a' || *at == 'f') ? (char)*at : 0;
}

// A cubin by itself. Fills arch and suffix; false when it is none.
static bool read_cubin(kni_bytes cubin, kni_cuda_target *out)
{
    if (cubin.size < 64 || !starts_with(cubin, elf_magic) || cubin.data[4] != 2 ||
        kni_bytes_u16(cubin, 18) != KNI_MACHINE_CUDA)
        return false;
    const uint32_t flags = kni_bytes_u32(cubin, 48);
    const bool is_old = cubin.data[8] < 8; // the ABI version
    const bool is_specific = flags & (is_old ? 0x800u : 0x8u);
    const unsigned arch = is_old ? flags & 0xFF : flags >> 8 & 0xFF;
    *out = (kni_cuda_target){
        .arch = (uint16_t)arch,
        .kind = KNI_CUDA_CUBIN,
        .suffix = is_specific ? 'a' : recorded_suffix(cubin, arch),
    };
    return true;
}

// Where a cubin inside other bytes ends: behind the later of its two tables of headers.
static size_t cubin_size(kni_bytes from)
{
    uint64_t end = 64;
    const uint64_t tables[2][2] = {
        {kni_bytes_u64(from, 32), (uint64_t)kni_bytes_u16(from, 56) * kni_bytes_u16(from, 54)},
        {kni_bytes_u64(from, 40), (uint64_t)kni_bytes_u16(from, 60) * kni_bytes_u16(from, 58)},
    };
    for (size_t i = 0; i < 2; ++i) {
        kni_bytes table;
        if (kni_bytes_cut(from, tables[i][0], tables[i][1], &table) &&
            tables[i][0] + tables[i][1] > end)
            end = tables[i][0] + tables[i][1];
    }
    return (size_t)end;
}

static uint8_t kind_of(unsigned kind)
{
    return kind == KIND_PTX     ? KNI_CUDA_PTX
           : kind == KIND_CUBIN ? KNI_CUDA_CUBIN
           : kind == KIND_LTO   ? KNI_CUDA_LTO
                                : KNI_CUDA_OTHER;
}

// Reads the entry at the front of *rest and cuts it off. `offset` is where it stands, for errors.
static kn_status read_entry(kni_bytes *rest, size_t offset, const char *name, kni_cuda_code *code,
                            kn_error *err)
{
    kni_bytes header, payload;
    const uint64_t header_size = kni_bytes_u32(*rest, 4), payload_size = kni_bytes_u64(*rest, 8);
    if (header_size < ENTRY_SIZE || !kni_bytes_cut(*rest, 0, header_size, &header) ||
        !kni_bytes_cut(*rest, header_size, payload_size, &payload))
        return kn_error_set(
            err, KN_ERR_FORMAT,
            "%s: the CUDA code at offset %zu of its fat binaries is malformed or cut off", name,
            offset);
    const uint64_t flags = kni_bytes_u64(header, 40);
    const uint32_t arch = kni_bytes_u32(header, 28);
    kni_cuda_target target = {
        .container = code->n_containers,
        .arch = (uint16_t)arch,
        .kind = kind_of(kni_bytes_u16(header, 0)),
        .suffix = flags & FLAG_SPECIFIC ? 'a'
                  : flags & FLAG_FAMILY ? 'f'
                                        : 0,
        .is_compressed = (flags & (FLAG_LZ4 | FLAG_ZSTD)) || kni_bytes_u64(header, 56) != 0,
    };
    if (arch == 0 || arch > UINT16_MAX)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the CUDA code at offset %zu names the impossible architecture %lu",
                            name, offset, (unsigned long)arch);
    if (target.kind == KNI_CUDA_PTX) {
        const unsigned minor = kni_bytes_u16(header, 24), major = kni_bytes_u16(header, 26);
        target.ptx_minor = minor > UINT8_MAX ? UINT8_MAX : (uint8_t)minor;
        target.ptx_major = major > UINT8_MAX ? UINT8_MAX : (uint8_t)major;
    }
    kni_cuda_target inner;
    if (target.kind == KNI_CUDA_CUBIN && !target.is_compressed) {
        if (!read_cubin(payload, &inner) || inner.arch != target.arch)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: the CUDA code at offset %zu says sm_%u, but is no such cubin",
                                name, offset, (unsigned)target.arch);
        if (!target.suffix)
            target.suffix = inner.suffix;
    }
    const size_t used = (size_t)(header_size + payload_size);
    *rest = (kni_bytes){rest->data + used, rest->size - used};
    return add_target(code, target, name, err);
}

// Reads the fat binary at `at` and moves *at behind it.
static kn_status read_container(kni_bytes bytes, size_t *at, const char *name, kni_cuda_code *code,
                                kn_error *err)
{
    kni_bytes rest;
    uint64_t magic, version, header_size, size;
    if (!kni_bytes_uint(bytes, *at, 4, &magic) || !kni_bytes_uint(bytes, *at + 4, 2, &version) ||
        !kni_bytes_uint(bytes, *at + 6, 2, &header_size) ||
        !kni_bytes_uint(bytes, *at + 8, 8, &size))
        return kn_error_set(err, KN_ERR_FORMAT, "%s: the fat binary at offset %zu is cut off", name,
                            *at);
    if (version != 1 || header_size != CONTAINER_SIZE)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: the fat binary at offset %zu has version %u with a header of %u "
                            "bytes; known is version 1 with 16",
                            name, *at, (unsigned)version, (unsigned)header_size);
    if (!kni_bytes_cut(bytes, *at + CONTAINER_SIZE, size, &rest))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the fat binary at offset %zu ends behind its section", name, *at);
    const size_t begin = *at + CONTAINER_SIZE, before = code->n_targets;
    while (rest.size > 0) {
        const kn_status st = read_entry(&rest, begin + (size_t)size - rest.size, name, code, err);
        if (st != KN_OK)
            return st;
    }
    if (code->n_targets > before)
        ++code->n_containers;
    *at = begin + (size_t)size;
    return KN_OK;
}

kn_status kni_cuda_read(kni_bytes bytes, const char *name, kni_cuda_code *code, kn_error *err)
{
    kni_cuda_target cubin;
    if (starts_with(bytes, elf_magic)) {
        if (!read_cubin(bytes, &cubin) || cubin.arch == 0)
            return kn_error_set(err, KN_ERR_FORMAT, "%s: an ELF file that is no cubin", name);
        cubin.container = code->n_containers++;
        return add_target(code, cubin, name, err);
    }
    for (size_t at = 0; at < bytes.size;) {
        if (bytes.data[at] == 0) {
            ++at;
            continue;
        }
        const kni_bytes rest = {bytes.data + at, bytes.size - at};
        if (!starts_with(rest, container_magic))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: no fat binary at offset %zu of its CUDA code", name, at);
        const kn_status st = read_container(bytes, &at, name, code, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

// The next place of a magic number at or behind `at`; the size when there is none.
static size_t find(kni_bytes in, size_t at, const uint8_t magic[4])
{
    const uint8_t *found = at < in.size ? memmem(in.data + at, in.size - at, magic, 4) : NULL;
    return found ? (size_t)(found - in.data) : in.size;
}

// Searches bytes that may hold anything. Lone cubins count as one fat binary together: each is some kernel for some device.
static kn_status search(kni_bytes in, const char *name, kni_cuda_code *code, kn_error *err)
{
    kn_status st = KN_OK;
    kni_cuda_code cubins = {NULL, 0, 0, 0};
    size_t at = 0, container = find(in, 0, container_magic), elf = find(in, 0, elf_magic);
    while (st == KN_OK && (container < in.size || elf < in.size)) {
        kni_cuda_target target;
        kni_bytes cubin;
        at = container < elf ? container : elf;
        const kni_bytes rest = {in.data + at, in.size - at};
        if (at == container && kni_bytes_u32(rest, 4) == 0x00100001) {
            st = read_container(in, &at, name, code, err);
        } else if (at == elf && kni_bytes_cut(rest, 0, cubin_size(rest), &cubin) &&
                   read_cubin(cubin, &target) && target.arch != 0) {
            st = add_target(&cubins, target, name, err);
            at += cubin.size;
        } else {
            at += 4; // the four bytes alone
        }
        if (container < at)
            container = find(in, at, container_magic);
        if (elf < at)
            elf = find(in, at, elf_magic);
    }
    for (size_t i = 0; st == KN_OK && i < cubins.n_targets; ++i) {
        cubins.targets[i].container = code->n_containers;
        st = add_target(code, cubins.targets[i], name, err);
    }
    if (st == KN_OK && cubins.n_targets > 0)
        ++code->n_containers;
    kni_cuda_dispose(&cubins);
    return st;
}

kn_status kni_cuda_read_elf(const kni_elf *elf, const char *name, kni_cuda_code *code,
                            kn_error *err)
{
    static const char *const sections[] = {".nv_fatbin", "__nv_relfatbin"};
    const size_t before = code->n_targets;
    kni_bytes part;
    for (size_t i = 0; i < KN_LEN(sections); ++i) {
        for (size_t index = 0; kni_elf_next_section(elf, sections[i], &index, &part);) {
            const kn_status st = kni_cuda_read(part, name, code, err);
            if (st != KN_OK)
                return st;
        }
    }
    for (size_t i = 0; code->n_targets == before && i < elf->n_loads; ++i) {
        const kn_status st = search(elf->loads[i].bytes, name, code, err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

void kni_cuda_dispose(kni_cuda_code *code)
{
    kni_free(code->targets);
    *code = (kni_cuda_code){NULL, 0, 0, 0};
}

int kni_cuda_driver_for_ptx(unsigned major, unsigned minor)
{
    static const struct {
        unsigned isa; // major * 100 + minor
        int driver;
    } rows[] = {
        {600, 9000},  {601, 9010},  {602, 9020},  {603, 10000}, {604, 10010}, {605, 10020},
        {700, 11000}, {701, 11010}, {702, 11020}, {703, 11030}, {704, 11040}, {705, 11050},
        {706, 11060}, {707, 11070}, {708, 11080}, {800, 12000}, {801, 12010}, {802, 12020},
        {803, 12030}, {804, 12040}, {805, 12050}, {806, 12070}, {807, 12080}, {808, 12090},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        if (rows[i].isa == major * 100 + minor)
            return rows[i].driver;
    return major < 6 ? 0 : (int)(major + 4) * 1000 + (int)minor * 10;
}

static bool fits_capability(const kni_cuda_target *target, int capability)
{
    if (target->suffix == 'a')
        return capability == target->arch;
    const bool is_newer = capability >= target->arch;
    if (target->kind == KNI_CUDA_PTX && target->suffix == 0)
        return is_newer;
    return is_newer && capability / 10 == target->arch / 10;
}

static bool driver_compiles(const kni_cuda_target *target, int driver_version)
{
    return driver_version == 0 ||
           driver_version >= kni_cuda_driver_for_ptx(target->ptx_major, target->ptx_minor);
}

bool kni_cuda_target_runs(const kni_cuda_target *target, kni_cuda_device device)
{
    if (target->kind == KNI_CUDA_CUBIN)
        return fits_capability(target, device.capability);
    return target->kind == KNI_CUDA_PTX && fits_capability(target, device.capability) &&
           driver_compiles(target, device.driver_version);
}

kni_code_fit kni_cuda_code_runs(const kni_cuda_code *code, kni_cuda_device device, kni_buf *reason)
{
    size_t total = 0,
           fitting = 0; // fat binaries with code for the driver; those with code for this device
    const kni_cuda_target *too_new = NULL; // PTX that fits, but not this driver
    for (size_t i = 0; i < code->n_targets;) {
        const uint32_t container = code->targets[i].container;
        bool counts = false, fits = false;
        for (; i < code->n_targets && code->targets[i].container == container; ++i) {
            const kni_cuda_target *t = &code->targets[i];
            counts = counts || t->kind == KNI_CUDA_CUBIN || t->kind == KNI_CUDA_PTX;
            fits = fits || kni_cuda_target_runs(t, device);
            if (t->kind == KNI_CUDA_PTX && fits_capability(t, device.capability) &&
                !driver_compiles(t, device.driver_version))
                too_new = t;
        }
        total += counts;
        fitting += fits;
    }
    const kni_code_fit fit = code->n_targets == 0 ? KNI_CODE_NONE
                             : fitting == 0       ? KNI_CODE_NO
                             : fitting < total    ? KNI_CODE_PARTLY
                                                  : KNI_CODE_FITS;
    if (!reason)
        return fit;
    kni_buf_puts(reason, "CUDA code for ");
    kni_cuda_code_text(code, reason);
    const int capability = device.capability;
    if (fit == KNI_CODE_NO && too_new) {
        const int need = kni_cuda_driver_for_ptx(too_new->ptx_major, too_new->ptx_minor);
        kni_buf_printf(
            reason, "; its PTX %u.%u needs a driver for CUDA %d.%d, this one is for %d.%d",
            (unsigned)too_new->ptx_major, (unsigned)too_new->ptx_minor, need / 1000,
            need % 1000 / 10, device.driver_version / 1000, device.driver_version % 1000 / 10);
    } else if (fit == KNI_CODE_NO) {
        kni_buf_printf(reason, "; none runs on capability %d.%d", capability / 10, capability % 10);
    } else if (fit == KNI_CODE_PARTLY) {
        kni_buf_printf(reason, "; %zu of %zu fat binaries have code for capability %d.%d", fitting,
                       total, capability / 10, capability % 10);
    }
    return fit;
}

void kni_cuda_target_text(const kni_cuda_target *target, kni_buf *out)
{
    static const char *const prefixes[] = {"sm_", "compute_", "lto_", "unknown code for sm_"};
    kni_buf_printf(out, "%s%u", prefixes[target->kind], (unsigned)target->arch);
    if (target->suffix)
        kni_buf_append(out, &target->suffix, 1);
    if (target->kind == KNI_CUDA_PTX)
        kni_buf_printf(out, " (PTX %u.%u)", (unsigned)target->ptx_major,
                       (unsigned)target->ptx_minor);
}

static bool is_same(const kni_cuda_target *a, const kni_cuda_target *b)
{
    return a->kind == b->kind && a->arch == b->arch && a->suffix == b->suffix &&
           a->ptx_major == b->ptx_major && a->ptx_minor == b->ptx_minor;
}

void kni_cuda_code_text(const kni_cuda_code *code, kni_buf *out)
{
    const kni_cuda_target *seen[TEXT_TARGETS_MAX];
    size_t n_seen = 0;
    for (size_t i = 0; i < code->n_targets; ++i) {
        size_t j = 0;
        while (j < n_seen && !is_same(seen[j], &code->targets[i]))
            ++j;
        if (j < n_seen)
            continue;
        if (n_seen == TEXT_TARGETS_MAX) {
            kni_buf_puts(out, ", …");
            return;
        }
        seen[n_seen++] = &code->targets[i];
        if (n_seen > 1)
            kni_buf_puts(out, ", ");
        kni_cuda_target_text(&code->targets[i], out);
    }
    if (n_seen == 0)
        kni_buf_puts(out, "none");
}
