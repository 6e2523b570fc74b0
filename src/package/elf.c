#include "package/elf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "package/elf_dynamic.h"

enum {
    EHDR_SIZE = 64,
    PHDR_SIZE = 56,
    SHDR_SIZE = 64,
    ET_DYN = 3,
    PT_LOAD = 1,
    PT_DYNAMIC = 2,
    PT_INTERP = 3,
    PT_GNU_STACK = 0x6474e551,
    PF_X = 1,
    PF_W = 2,
    SHT_NOBITS = 8,
    PROGRAM_HEADERS_MAX = 256, // real libraries have about ten
    PAGE = 4096,
};

const char *kni_machine_text(uint16_t machine)
{
    switch (machine) {
#define KNI_MACHINE_CASE(name, value, text)                                                        \
    case name:                                                                                     \
        return text;
        KNI_MACHINE_LIST(KNI_MACHINE_CASE)
#undef KNI_MACHINE_CASE
    default:
        return "unknown";
    }
}

static const char *type_text(unsigned type)
{
    static const char *const texts[] = {"a file of no type", "a relocatable object", "a program",
                                        "a shared object", "a core dump"};
    return type < KN_LEN(texts) ? texts[type] : "a file of an unknown type";
}

static kn_status read_header(const kni_bytes file, const char *name, kni_elf *elf, kn_error *err)
{
    if (file.size < 4 || memcmp(file.data, "\177ELF", 4) != 0)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: no ELF file; expected a shared object", name);
    if (file.size < EHDR_SIZE)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: cut off inside the ELF header", name);
    if (file.data[4] != 2)
        return kn_error_set(err, KN_ERR_INCOMPATIBLE, "%s: %s; expected a 64-bit one", name,
                            file.data[4] == 1 ? "32-bit ELF file" : "ELF file of no known class");
    if (file.data[5] != 1)
        return kn_error_set(err, KN_ERR_INCOMPATIBLE, "%s: %s; expected a little-endian one", name,
                            file.data[5] == 2 ? "big-endian ELF file"
                                              : "ELF file of no known byte order");
    if (file.data[6] != 1 || kni_bytes_u32(file, 20) != 1)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: ELF version other than 1", name);
    elf->machine = kni_bytes_u16(file, 18);
    const unsigned type = kni_bytes_u16(file, 16);
    if (type != ET_DYN)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s; expected a shared object", name,
                            type_text(type));
    return KN_OK;
}

// Adds a PT_LOAD. They must ascend and share no page: else what is read here need not be what is mapped.
static kn_status read_load(kni_bytes header, const char *name, kni_elf *elf, kn_error *err)
{
    kni_elf_load *load = &elf->loads[elf->n_loads];
    const uint64_t offset = kni_bytes_u64(header, 8), file_size = kni_bytes_u64(header, 32);
    load->flags = kni_bytes_u32(header, 4);
    load->address = kni_bytes_u64(header, 16);
    load->memory_size = kni_bytes_u64(header, 40);
    if (!kni_bytes_cut(elf->file, offset, file_size, &load->bytes))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: loaded segment %zu ends behind the file; is it cut off?", name,
                            elf->n_loads);
    if (file_size > load->memory_size || load->memory_size > UINT64_MAX / 4 ||
        load->address > UINT64_MAX / 4 || (load->address - offset) % PAGE != 0)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: loaded segment %zu has impossible bounds",
                            name, elf->n_loads);
    if (elf->n_loads > 0) {
        const kni_elf_load *before = load - 1;
        if (load->address / PAGE * PAGE < before->address + before->memory_size)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: loaded segments overlap or are out of order", name);
    }
    if ((load->flags & PF_X) && (load->flags & PF_W))
        elf->has_writable_code = true;
    ++elf->n_loads;
    return KN_OK;
}

static kn_status read_program_headers(const char *name, kni_elf *elf, kni_bytes *dynamic,
                                      kn_error *err)
{
    const uint64_t offset = kni_bytes_u64(elf->file, 32);
    const unsigned entry_size = kni_bytes_u16(elf->file, 54), count = kni_bytes_u16(elf->file, 56);
    kni_bytes table, interpreter = {NULL, 0};
    bool has_stack = false;
    uint64_t dynamic_address = 0, dynamic_size = 0;

    if (entry_size != PHDR_SIZE || count == 0 || count > PROGRAM_HEADERS_MAX ||
        !kni_bytes_cut(elf->file, offset, (uint64_t)count * PHDR_SIZE, &table))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %u program headers of %u bytes at %llu: none, too many or cut off",
                            name, count, entry_size, (unsigned long long)offset);
    elf->loads = kni_calloc(count, sizeof(*elf->loads));
    if (!elf->loads)
        return kni_no_memory(err);
    for (size_t i = 0; i < count; ++i) {
        kni_bytes header;
        if (!kni_bytes_cut(table, i * PHDR_SIZE, PHDR_SIZE, &header))
            break; // cannot happen: the table was cut to measure
        const uint32_t type = kni_bytes_u32(header, 0);
        if (type == PT_LOAD) {
            const kn_status st = read_load(header, name, elf, err);
            if (st != KN_OK)
                return st;
        } else if (type == PT_DYNAMIC) { // of several, the loader takes the last
            dynamic_address = kni_bytes_u64(header, 16);
            dynamic_size = kni_bytes_u64(header, 32);
        } else if (type == PT_INTERP) {
            if (!kni_bytes_cut(elf->file, kni_bytes_u64(header, 8), kni_bytes_u64(header, 32),
                               &interpreter) ||
                interpreter.size == 0 || interpreter.data[interpreter.size - 1] != 0)
                return kn_error_set(err, KN_ERR_FORMAT, "%s: PT_INTERP is no string in the file",
                                    name);
            elf->interpreter = (const char *)interpreter.data;
        } else if (type == PT_GNU_STACK) {
            has_stack = true;
            elf->has_executable_stack = kni_bytes_u32(header, 4) & PF_X;
        }
    }
    elf->lacks_stack_header = !has_stack;
    if (dynamic_size == 0)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: no dynamic segment; it cannot be loaded",
                            name);
    // The loader goes by the address, not by the offset.
    if (!kni_elf_at(elf, dynamic_address, dynamic_size, dynamic))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the dynamic segment is not inside a loaded segment", name);
    return KN_OK;
}

// Section headers are a convenience: whatever is wrong with them, the library loads all the same, so they are dropped then.
static void read_section_headers(kni_elf *elf)
{
    const uint64_t offset = kni_bytes_u64(elf->file, 40);
    uint64_t count = kni_bytes_u16(elf->file, 60), names = kni_bytes_u16(elf->file, 62);
    kni_bytes first, table, header;
    if (offset == 0 || kni_bytes_u16(elf->file, 58) != SHDR_SIZE ||
        !kni_bytes_cut(elf->file, offset, SHDR_SIZE, &first))
        return;
    if (count == 0)
        count = kni_bytes_u64(first, 32); // more than 16 bits hold: it is in the first header
    if (names == 0xFFFF)
        names = kni_bytes_u32(first, 40);
    if (count > elf->file.size / SHDR_SIZE || names >= count ||
        !kni_bytes_cut(elf->file, offset, count * SHDR_SIZE, &table) ||
        !kni_bytes_cut(table, names * SHDR_SIZE, SHDR_SIZE, &header) ||
        !kni_bytes_cut(elf->file, kni_bytes_u64(header, 24), kni_bytes_u64(header, 32),
                       &elf->section_names))
        return;
    elf->section_headers = table;
}

static bool is_loaded(const kni_elf *elf, kni_bytes part)
{
    for (size_t i = 0; i < elf->n_loads; ++i) {
        const kni_bytes in = elf->loads[i].bytes;
        if (part.data >= in.data && part.data + part.size <= in.data + in.size)
            return true;
    }
    return false;
}

bool kni_elf_next_section(const kni_elf *elf, const char *name, size_t *index, kni_bytes *out)
{
    const size_t name_size = strlen(name) + 1; // with its zero
    const size_t count = elf->section_headers.size / SHDR_SIZE;
    while (*index < count) {
        kni_bytes header, text, part;
        if (!kni_bytes_cut(elf->section_headers, SHDR_SIZE * (*index)++, SHDR_SIZE, &header))
            break;
        if (kni_bytes_u32(header, 4) == SHT_NOBITS ||
            !kni_bytes_cut(elf->section_names, kni_bytes_u32(header, 0), name_size, &text) ||
            memcmp(text.data, name, name_size) != 0)
            continue;
        if (kni_bytes_cut(elf->file, kni_bytes_u64(header, 24), kni_bytes_u64(header, 32), &part) &&
            part.size > 0 && is_loaded(elf, part)) {
            *out = part;
            return true;
        }
    }
    return false;
}

kn_status kni_elf_read(const void *data, size_t size, const char *name, kni_elf *out, kn_error *err)
{
    kni_bytes dynamic = {NULL, 0};
    *out = (kni_elf){.file = {data, size}};
    kn_status st = read_header(out->file, name, out, err);
    if (st == KN_OK)
        st = read_program_headers(name, out, &dynamic, err);
    if (st == KN_OK)
        st = kni_elf_read_dynamic(out, dynamic, name, err);
    if (st == KN_OK)
        read_section_headers(out);
    else
        kni_elf_dispose(out);
    return st;
}

void kni_elf_dispose(kni_elf *elf)
{
    kni_free(elf->loads);
    kni_free(elf->needed);
    kni_free(elf->functions);
    *elf = (kni_elf){.file = {NULL, 0}};
}
