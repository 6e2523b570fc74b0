#include "load/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"

#define MAPS_PATH "/proc/self/maps"
#define MAPS_MAX ((size_t)256 << 20)

// Which file is mapped at an address, as the kernel names it.
typedef struct mapped_file {
    uint64_t device_major;
    uint64_t device_minor;
    uint64_t inode; // 0: no file's
} mapped_file;

// Reads a number and the character after it, which moves *text on.
static bool take_number(const char **text, int base, char after, uint64_t *out)
{
    char *end = NULL;
    *out = strtoull(*text, &end, base);
    if (end == *text || *end != after)
        return false;
    *text = end + 1;
    return true;
}

// "7f1c2a000000-7f1c2a021000 r--p 00000000 08:01 131077    /usr/lib/libc.so.6"
static bool parse_mapping(const char *line, uintptr_t address, mapped_file *out)
{
    uint64_t begin, end, offset;
    if (!take_number(&line, 16, '-', &begin) || !take_number(&line, 16, ' ', &end) ||
        address < begin || address >= end)
        return false;
    line += strcspn(line, " \n"); // the rights
    return *line == ' ' && take_number(&line, 16, ' ', &offset) &&
           take_number(&line, 16, ':', &out->device_major) &&
           take_number(&line, 16, ' ', &out->device_minor) &&
           take_number(&line, 10, ' ', &out->inode);
}

// Finds the mapping that contains the address. False: none, or it is no file's.
static bool find_mapping(const char *maps, const void *address, mapped_file *out)
{
    kni_span rest = kni_span_of(maps), line;
    while (kni_span_cut(&rest, '\n', &line))
        if (parse_mapping(line.data, (uintptr_t)address, out))
            return out->inode != 0;
    return false;
}

// Compares what is mapped at two addresses. The kernel's own numbers on both sides: stat's may differ from them (overlayfs).
static kn_status compare_mappings(const void *a, const void *b, bool *same, kn_error *err)
{
    mapped_file first, second;
    kni_buf maps = KNI_BUF(MAPS_MAX);
    const kn_status st = kni_file_read(&maps, MAPS_PATH, err);
    *same = st == KN_OK && find_mapping(kni_buf_text(&maps), a, &first) &&
            find_mapping(kni_buf_text(&maps), b, &second) &&
            first.device_major == second.device_major &&
            first.device_minor == second.device_minor && first.inode == second.inode;
    kni_buf_dispose(&maps);
    return st;
}

kn_status kni_library_verify(const kni_library *library, const char *path,
                             const kni_checked_file *checked, kn_error *err)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    struct link_map *map = NULL;
    struct stat now;
    bool same = false;
    if (dlinfo(library->handle, RTLD_DI_LINKMAP, &map) != 0 || !map->l_ld)
        return kn_error_set(err, KN_ERR_LOAD, "%s: the dynamic linker does not tell what it mapped",
                            path);
    void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE, checked->fd, 0);
    if (page == MAP_FAILED)
        return kni_error_errno(err, errno, path, "cannot map");
    const kn_status st = compare_mappings(page, map->l_ld, &same, err);
    munmap(page, size);
    if (st != KN_OK)
        return st;
    if (!same)
        return kn_error_set(err, KN_ERR_LOAD,
                            "%s: another file is loaded under this path: it was replaced while "
                            "the process runs; restart the process to load the new one",
                            path);
    if (fstat(checked->fd, &now) != 0 || !kni_checked_file_is_same(checked, &now))
        return kn_error_set(err, KN_ERR_UNTRUSTED, "%s: was written to after it was checked", path);
    return KN_OK;
}

kn_status kni_library_open(const char *path, const kni_checked_file *checked, kni_library *out,
                           kn_error *err)
{
    struct stat now;
    out->handle = NULL;
    if (stat(path, &now) != 0)
        return kni_error_errno(err, errno, path, "cannot read");
    if (now.st_dev != checked->info.st_dev || now.st_ino != checked->info.st_ino ||
        !kni_checked_file_is_same(checked, &now))
        return kn_error_set(err, KN_ERR_UNTRUSTED, "%s: was changed after it was checked", path);
    // glibc answers by name before it looks at files: what is loaded under this path may be another file.
    out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (!out->handle)
        out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!out->handle) {
        const char *why = dlerror();
        return kn_error_set(err, KN_ERR_LOAD, "%s", why ? why : path);
    }
    return kni_library_verify(out, path, checked, err);
}

void *kni_library_symbol(const kni_library *library, const char *name)
{
    struct link_map *own = NULL, *found = NULL;
    Dl_info info;
    void *symbol = dlsym(library->handle, name);
    if (!symbol || dlinfo(library->handle, RTLD_DI_LINKMAP, &own) != 0 ||
        dladdr1(symbol, &info, (void **)&found, RTLD_DL_LINKMAP) == 0 || own != found)
        return NULL;
    return symbol;
}
