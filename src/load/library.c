#include "load/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#define MAPS_PATH "/proc/self/maps"

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

// Finds the mappings that contain two addresses; *same: both are of one file. The kernel's own numbers on both sides: stat's
// may differ from them (overlayfs). Reading ends when both are found: what was mapped last is near the top of a long list.
static kn_status compare_mappings(const void *a, const void *b, bool *same, kn_error *err)
{
    char line[256], buffer[16 * 1024]; // the numbers stand before the path, which is cut
    mapped_file first, second;
    bool found_first = false, found_second = false, at_start = true;
    FILE *maps = fopen(MAPS_PATH, "re");
    *same = false;
    if (!maps)
        return kni_error_errno(err, errno, MAPS_PATH, "cannot open");
    setvbuf(maps, buffer, _IOFBF, sizeof(buffer));
    while (!(found_first && found_second) && fgets(line, sizeof(line), maps)) {
        if (at_start && !found_first)
            found_first = parse_mapping(line, (uintptr_t)a, &first);
        if (at_start && !found_second)
            found_second = parse_mapping(line, (uintptr_t)b, &second);
        at_start = strchr(line, '\n') != NULL;
    }
    fclose(maps);
    *same = found_first && found_second && first.inode != 0 && first.inode == second.inode &&
            first.device_major == second.device_major && first.device_minor == second.device_minor;
    return KN_OK;
}

// An address in the mapped file; NULL when the linker does not tell. The linker's lock orders this read after its writing, but
// ThreadSanitizer does not see that lock.
__attribute__((no_sanitize("thread"))) static const void *address_in(const kni_library *library)
{
    struct link_map *map = NULL;
    return dlinfo(library->handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_ld : NULL;
}

kn_status kni_library_verify(const kni_library *library, const char *path,
                             const kni_checked_file *checked, kn_error *err)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    const void *mapped = address_in(library);
    struct stat now;
    bool same = false;
    if (!mapped)
        return kn_error_set(err, KN_ERR_LOAD, "%s: the dynamic linker does not tell what it mapped",
                            path);
    void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE, checked->fd, 0);
    if (page == MAP_FAILED)
        return kni_error_errno(err, errno, path, "cannot map");
    const kn_status st = compare_mappings(page, mapped, &same, err);
    munmap(page, size);
    if (st != KN_OK)
        return st;
    if (!same)
        return kn_error_set(err, KN_ERR_LOAD,
                            "%s: another file is loaded under this path: it was replaced while "
                            "the process runs; restart the process to load the new one",
                            path);
    if (fstat(checked->fd, &now) != 0 || !kni_same_file_state(&checked->info, &now))
        return kn_error_set(err, KN_ERR_UNTRUSTED, "%s: was written to after it was checked", path);
    return KN_OK;
}

kn_status kni_library_open(const char *path, const kni_checked_file *checked, kni_library *out,
                           kn_error *err)
{
    struct stat now;
    *out = (kni_library){.info = checked->info};
    if (stat(path, &now) != 0)
        return kni_error_errno(err, errno, path, "cannot read");
    if (!kni_same_file_state(&checked->info, &now))
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
