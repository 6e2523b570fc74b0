#include "package/elf_dynamic.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

enum {
    DYN_SIZE = 16,
    SYM_SIZE = 24,
    VERSION_SIZE = 16, // of a needed file and of one of its versions alike
    NEEDED_MAX = 256,
    VERSIONS_MAX = 65536,
    SHN_UNDEF = 0,
    STB_GLOBAL = 1,
    STB_WEAK = 2,
    STB_GNU_UNIQUE = 10,
    STT_FUNC = 2,
    STT_GNU_IFUNC = 10,
    STV_DEFAULT = 0,
    STV_PROTECTED = 3,
    VER_FLG_WEAK = 2,
    DF_TEXTREL = 4,
};

#define DF_1_NOOPEN 0x40u
#define DF_1_PIE 0x08000000u
#define TVM_PREFIX "__tvm_ffi_"

// X(field, tag): the entries of which the loader keeps the last one.
#define DYNAMIC_LIST(X)                                                                            \
    X(hash, 4)                                                                                     \
    X(strtab, 5)                                                                                   \
    X(symtab, 6)                                                                                   \
    X(strsz, 10)                                                                                   \
    X(syment, 11)                                                                                  \
    X(soname, 14)                                                                                  \
    X(rpath, 15)                                                                                   \
    X(textrel, 22)                                                                                 \
    X(runpath, 29)                                                                                 \
    X(flags, 30)                                                                                   \
    X(gnu_hash, 0x6ffffef5)                                                                        \
    X(depaudit, 0x6ffffefb)                                                                        \
    X(audit, 0x6ffffefc)                                                                           \
    X(flags_1, 0x6ffffffb)                                                                         \
    X(verneed, 0x6ffffffe)                                                                         \
    X(auxiliary, 0x7ffffffd)                                                                       \
    X(filter, 0x7fffffff)

enum { DT_NULL = 0, DT_NEEDED = 1 };

typedef struct entry {
    bool there;
    uint64_t value;
} entry;

typedef struct entries {
#define DYNAMIC_FIELD(field, tag) entry field;
    DYNAMIC_LIST(DYNAMIC_FIELD)
#undef DYNAMIC_FIELD
    size_t n; // entries before DT_NULL
} entries;

bool kni_elf_at(const kni_elf *elf, uint64_t address, uint64_t size, kni_bytes *out)
{
    for (size_t i = 0; i < elf->n_loads; ++i) {
        const kni_elf_load *load = &elf->loads[i];
        if (address >= load->address && address - load->address <= load->bytes.size)
            return kni_bytes_cut(load->bytes, address - load->address, size, out);
    }
    return false;
}

// Everything from an address to the end of its segment: for tables that do not say how long they are.
static bool bytes_from(const kni_elf *elf, uint64_t address, kni_bytes *out)
{
    for (size_t i = 0; i < elf->n_loads; ++i) {
        const kni_elf_load *load = &elf->loads[i];
        if (address >= load->address && address - load->address < load->bytes.size)
            return kni_bytes_cut(load->bytes, address - load->address,
                                 load->bytes.size - (address - load->address), out);
    }
    return false;
}

static kn_status read_entries(kni_bytes dynamic, const char *name, entries *out, kn_error *err)
{
    *out = (entries){.n = 0};
    for (size_t at = 0; at + DYN_SIZE <= dynamic.size; at += DYN_SIZE) {
        const uint64_t tag = kni_bytes_u64(dynamic, at), value = kni_bytes_u64(dynamic, at + 8);
        switch (tag) {
        case DT_NULL:
            return KN_OK;
#define DYNAMIC_CASE(field, tag_)                                                                  \
    case tag_:                                                                                     \
        out->field = (entry){true, value};                                                         \
        break;
            DYNAMIC_LIST(DYNAMIC_CASE)
#undef DYNAMIC_CASE
        default:
            break;
        }
        ++out->n;
    }
    return kn_error_set(err, KN_ERR_FORMAT, "%s: the dynamic segment has no end (DT_NULL)", name);
}

// A string of the string table; it ends with a zero because the table does. NULL: outside.
static const char *string_at(const kni_elf *elf, uint64_t offset)
{
    return offset < elf->strings.size ? (const char *)elf->strings.data + offset : NULL;
}

static kn_status read_strings(kni_elf *elf, const entries *dyn, const char *name, kn_error *err)
{
    if (!dyn->strtab.there || !dyn->strsz.there ||
        !kni_elf_at(elf, dyn->strtab.value, dyn->strsz.value, &elf->strings) ||
        elf->strings.size == 0 || elf->strings.data[elf->strings.size - 1] != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the dynamic string table is missing, outside a loaded segment or "
                            "without a final zero",
                            name);
    const struct {
        const entry *from;
        const char **to;
        const char *what;
    } rows[] = {
        {&dyn->soname, &elf->soname, "DT_SONAME"},
        {&dyn->rpath, &elf->rpath, "DT_RPATH"},
        {&dyn->runpath, &elf->runpath, "DT_RUNPATH"},
        {&dyn->audit, &elf->audit, "DT_AUDIT"},
        {&dyn->depaudit, &elf->depaudit, "DT_DEPAUDIT"},
        {&dyn->filter, &elf->filter, "DT_FILTER"},
        {&dyn->auxiliary, &elf->auxiliary, "DT_AUXILIARY"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        if (!rows[i].from->there)
            continue;
        *rows[i].to = string_at(elf, rows[i].from->value);
        if (!*rows[i].to)
            return kn_error_set(err, KN_ERR_FORMAT, "%s: %s is outside the string table", name,
                                rows[i].what);
    }
    return KN_OK;
}

static kn_status read_needed(kni_elf *elf, kni_bytes dynamic, const entries *dyn, const char *name,
                             kn_error *err)
{
    size_t capacity = 0;
    for (size_t i = 0; i < dyn->n; ++i) {
        if (kni_bytes_u64(dynamic, i * DYN_SIZE) != DT_NEEDED)
            continue;
        const char *text = string_at(elf, kni_bytes_u64(dynamic, i * DYN_SIZE + 8));
        if (!text || elf->n_needed == NEEDED_MAX)
            return kn_error_set(err, KN_ERR_FORMAT, "%s: %s", name,
                                text ? "needs more than 256 libraries"
                                     : "DT_NEEDED is outside the string table");
        if (!kni_grow((void **)&elf->needed, &capacity, elf->n_needed + 1, sizeof(*elf->needed)))
            return kni_no_memory(err);
        elf->needed[elf->n_needed++] = text;
    }
    return KN_OK;
}

// "2.34" after the prefix, up to three numbers; false for other names ("GLIBC_PRIVATE").
static bool parse_version(const char *text, const char *prefix, kni_elf_version *out)
{
    const kni_span whole = kni_span_of(text);
    if (!kni_span_starts(whole, prefix))
        return false;
    kni_span rest = {text + strlen(prefix), whole.size - strlen(prefix)}, part;
    uint32_t numbers[3] = {0, 0, 0};
    for (size_t i = 0; kni_span_cut(&rest, '.', &part); ++i) {
        int64_t value;
        if (i == KN_LEN(numbers) || !kni_span_to_int(part, 999999, &value))
            return false;
        numbers[i] = (uint32_t)value;
    }
    *out = (kni_elf_version){numbers[0], numbers[1], numbers[2]};
    return true;
}

static void keep_highest(kni_elf_version *highest, kni_elf_version v)
{
    const kni_elf_version h = *highest;
    if (v.major > h.major || (v.major == h.major && v.minor > h.minor) ||
        (v.major == h.major && v.minor == h.minor && v.patch > h.patch))
        *highest = v;
}

static void note_version(kni_elf *elf, const char *text)
{
    kni_elf_version v;
    if (parse_version(text, "GLIBC_", &v))
        keep_highest(&elf->glibc, v);
    else if (strcmp(text, "GLIBC_ABI_DT_RELR") == 0) // packed relocations: a name, not a number
        keep_highest(&elf->glibc, (kni_elf_version){2, 36, 0});
    else if (strcmp(text, "GLIBC_PRIVATE") == 0)
        elf->needs_glibc_private = true;
    else if (parse_version(text, "GLIBCXX_", &v))
        keep_highest(&elf->glibcxx, v);
    else if (parse_version(text, "CXXABI_", &v))
        keep_highest(&elf->cxxabi, v);
}

// Needed versions are a list of files, each with a list of versions. Links only go forward and the whole walk has a ceiling, so
// that crossed lists end.
static kn_status read_versions(kni_elf *elf, const entries *dyn, const char *name, kn_error *err)
{
    kni_bytes table;
    uint64_t file = 0;
    size_t walked = 0;
    if (!dyn->verneed.there)
        return KN_OK;
    if (!bytes_from(elf, dyn->verneed.value, &table))
        goto malformed;
    for (;;) {
        kni_bytes part;
        if (!kni_bytes_cut(table, file, VERSION_SIZE, &part) || kni_bytes_u16(part, 0) != 1)
            goto malformed;
        const unsigned count = kni_bytes_u16(part, 2);
        const uint32_t next_file = kni_bytes_u32(part, 12);
        uint64_t version = file + kni_bytes_u32(part, 8);
        for (unsigned i = 0; i < count; ++i) {
            if (!kni_bytes_cut(table, version, VERSION_SIZE, &part) || ++walked > VERSIONS_MAX)
                goto malformed;
            const char *text = string_at(elf, kni_bytes_u32(part, 8));
            if (!text)
                goto malformed;
            if (!(kni_bytes_u16(part, 4) & VER_FLG_WEAK)) // a weak one may be missing
                note_version(elf, text);
            const uint32_t next = kni_bytes_u32(part, 12);
            if (next == 0)
                break;
            version += next;
        }
        if (next_file == 0)
            return KN_OK;
        if (++walked > VERSIONS_MAX)
            goto malformed;
        file += next_file;
    }
malformed:
    return kn_error_set(err, KN_ERR_FORMAT, "%s: the table of needed symbol versions is malformed",
                        name);
}

// The number of symbols that a GNU hash table reaches: the end of the chain of the highest bucket.
static bool count_gnu_hash(kni_bytes table, uint64_t *count)
{
    kni_bytes buckets;
    if (table.size < 16)
        return false;
    const uint64_t n_buckets = kni_bytes_u32(table, 0), first = kni_bytes_u32(table, 4);
    const uint64_t bloom_words = kni_bytes_u32(table, 8);
    const uint64_t buckets_at = 16 + bloom_words * 8, chains_at = buckets_at + n_buckets * 4;
    if (!kni_bytes_cut(table, buckets_at, n_buckets * 4, &buckets))
        return false;
    uint64_t last = 0;
    for (size_t at = 0; at < buckets.size; at += 4)
        last = kni_bytes_u32(buckets, at) > last ? kni_bytes_u32(buckets, at) : last;
    *count = first;
    if (last == 0)
        return true; // no exported symbol; those before `first` are the undefined ones
    if (last < first)
        return false;
    for (uint64_t hash;; ++last) {
        if (!kni_bytes_uint(table, chains_at + (last - first) * 4, 4, &hash))
            return false;
        if (hash & 1)
            break;
    }
    *count = last + 1;
    return true;
}

static kn_status read_symbol_table(kni_elf *elf, const entries *dyn, const char *name,
                                   kn_error *err)
{
    uint64_t count = 0, other;
    kni_bytes table;
    if (!dyn->symtab.there)
        return KN_OK;
    if (dyn->syment.there && dyn->syment.value != SYM_SIZE)
        goto malformed;
    if (dyn->gnu_hash.there &&
        (!bytes_from(elf, dyn->gnu_hash.value, &table) || !count_gnu_hash(table, &count)))
        goto malformed;
    if (dyn->hash.there) {
        if (!bytes_from(elf, dyn->hash.value, &table) || !kni_bytes_uint(table, 4, 4, &other))
            goto malformed;
        count = other > count ? other : count;
    }
    if (count && !kni_elf_at(elf, dyn->symtab.value, count * SYM_SIZE, &elf->symbols))
        goto malformed;
    elf->n_symbols = (size_t)count;
    return KN_OK;
malformed:
    return kn_error_set(err, KN_ERR_FORMAT, "%s: the dynamic symbol table is malformed", name);
}

typedef struct symbol {
    const char *name; // NULL: outside the string table
    unsigned bind, type, visibility;
    bool is_defined;
} symbol;

static symbol symbol_at(const kni_elf *elf, size_t index)
{
    kni_bytes part;
    if (!kni_bytes_cut(elf->symbols, (uint64_t)index * SYM_SIZE, SYM_SIZE, &part))
        return (symbol){.name = NULL};
    return (symbol){
        .name = string_at(elf, kni_bytes_u32(part, 0)),
        .bind = part.data[4] >> 4,
        .type = part.data[4] & 15,
        .visibility = part.data[5] & 3,
        .is_defined = kni_bytes_u16(part, 6) != SHN_UNDEF,
    };
}

static bool is_exported(symbol s)
{
    return s.is_defined &&
           (s.bind == STB_GLOBAL || s.bind == STB_WEAK || s.bind == STB_GNU_UNIQUE) &&
           (s.visibility == STV_DEFAULT || s.visibility == STV_PROTECTED);
}

static bool is_function(symbol s)
{
    return s.type == STT_FUNC || s.type == STT_GNU_IFUNC;
}

// What only TVM's own loader serves: variables that it fills after opening the library (the module's context, functions under
// "__TVMFFI…"), the modules that a library carries inside, and look-ups among imported modules, which need that context.
static bool needs_tvm_loader(symbol s)
{
    if (!s.is_defined)
        return strcmp(s.name, "TVMFFIEnvModLookupFromImports") == 0;
    return is_exported(s) &&
           (strcmp(s.name, TVM_PREFIX "_library_ctx") == 0 ||
            strcmp(s.name, TVM_PREFIX "_library_bin") == 0 ||
            (!is_function(s) && strncmp(s.name, "__TVMFFI", strlen("__TVMFFI")) == 0));
}

// One name of a tvm-ffi function; names that go on with another underscore are TVM's own (metadata, documentation, cubins).
static const char *tvm_function(symbol s)
{
    const size_t prefix = strlen(TVM_PREFIX);
    if (!is_exported(s) || !is_function(s) || strncmp(s.name, TVM_PREFIX, prefix) != 0)
        return NULL;
    const char *rest = s.name + prefix;
    return *rest == '\0' || *rest == '_' ? NULL : rest;
}

static kn_status read_symbols(kni_elf *elf, const char *name, kn_error *err)
{
    size_t capacity = 0;
    for (size_t i = 0; i < elf->n_symbols; ++i) {
        const symbol s = symbol_at(elf, i);
        if (!s.name)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: the name of dynamic symbol %zu is outside the string table",
                                name, i);
        if (s.bind == STB_GNU_UNIQUE && s.is_defined)
            elf->has_unique_symbols = true;
        if (!elf->tvm_loader_symbol && needs_tvm_loader(s))
            elf->tvm_loader_symbol = s.name;
        const char *function = tvm_function(s);
        if (!function)
            continue;
        if (!kni_grow((void **)&elf->functions, &capacity, elf->n_functions + 1,
                      sizeof(*elf->functions)))
            return kni_no_memory(err);
        elf->functions[elf->n_functions++] = function;
    }
    return KN_OK;
}

bool kni_elf_exports_function(const kni_elf *elf, const char *symbol_name)
{
    for (size_t i = 0; i < elf->n_symbols; ++i) {
        const symbol s = symbol_at(elf, i);
        if (s.name && s.name[0] && is_exported(s) && is_function(s) &&
            strcmp(s.name, symbol_name) == 0)
            return true;
    }
    return false;
}

kn_status kni_elf_read_dynamic(kni_elf *elf, kni_bytes dynamic, const char *name, kn_error *err)
{
    entries dyn;
    kn_status st = read_entries(dynamic, name, &dyn, err);
    if (st == KN_OK)
        st = read_strings(elf, &dyn, name, err);
    if (st == KN_OK)
        st = read_needed(elf, dynamic, &dyn, name, err);
    if (st == KN_OK)
        st = read_versions(elf, &dyn, name, err);
    if (st == KN_OK)
        st = read_symbol_table(elf, &dyn, name, err);
    if (st == KN_OK)
        st = read_symbols(elf, name, err);
    elf->has_text_relocations = dyn.textrel.there || (dyn.flags.value & DF_TEXTREL);
    elf->refuses_dlopen = dyn.flags_1.value & (DF_1_PIE | DF_1_NOOPEN);
    return st;
}
