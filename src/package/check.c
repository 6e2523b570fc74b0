#include "package/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"

// Takes a formatted text; NULL without memory.
static char *format_text(const char *format, va_list args)
{
    kni_buf text = KNI_BUF_ANY;
    kni_buf_vprintf(&text, format, args);
    return kni_buf_take(&text);
}

kn_status kni_check_pass(const kni_check *check, const char *stage, const char *rule,
                         const char *format, ...)
{
    if (!check->trace)
        return KN_OK;
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    const bool added = text && kni_trace_add(check->trace, stage, check->package->variant, true,
                                             rule, NULL, "%s", text);
    kni_free(text);
    return added ? KN_OK : kni_no_memory(check->err);
}

kn_status kni_check_refuse(const kni_check *check, kn_status status, const char *stage,
                           const char *rule, const char *admits, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    const bool added = text && kni_trace_add(check->trace, stage, check->package->variant, false,
                                             rule, admits, "%s", text);
    if (!added)
        status = kni_no_memory(check->err);
    else
        kn_error_set(check->err, status, "%s: %s%s%s%s", check->package->dir, text,
                     admits ? " (accepted: " : "", admits ? admits : "", admits ? ")" : "");
    kni_free(text);
    return status;
}

kn_status kni_check_refuse_because(const kni_check *check, kn_error *why, const char *stage,
                                   const char *rule, const char *admits)
{
    kn_status status = why->status;
    if (status == KN_ERR_NO_MEMORY)
        status = kni_no_memory(check->err);
    else
        status = kni_check_refuse(check, status, stage, rule, admits, "%s", kn_error_text(why));
    kn_error_dispose(why);
    return status;
}

void kni_checked_file_dispose(kni_checked_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    *file = KNI_CHECKED_FILE_INIT;
}

bool kni_same_file_state(const struct stat *then, const struct stat *now)
{
    return now->st_dev == then->st_dev && now->st_ino == then->st_ino &&
           now->st_size == then->st_size && now->st_mode == then->st_mode &&
           now->st_mtim.tv_sec == then->st_mtim.tv_sec &&
           now->st_mtim.tv_nsec == then->st_mtim.tv_nsec &&
           now->st_ctim.tv_sec == then->st_ctim.tv_sec &&
           now->st_ctim.tv_nsec == then->st_ctim.tv_nsec;
}

static kn_status open_file(const kni_check *check, const char *name, kni_checked_file *out)
{
    char *path = kni_path_join(check->package->dir, name);
    kn_status st = KN_OK;
    *out = KNI_CHECKED_FILE_INIT;
    if (!path)
        return kni_no_memory(check->err);
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (out->fd < 0 || fstat(out->fd, &out->info) != 0)
        st = kni_error_errno(check->err, errno, path, "cannot read");
    else if (!S_ISREG(out->info.st_mode))
        st = kn_error_set(check->err, KN_ERR_UNTRUSTED, "%s: is not a regular file", path);
    kni_free(path);
    return st;
}

static bool is_elf(int fd)
{
    char magic[4];
    return pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
           memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

// A second object could get in beside the first, as a needed library that lies in the package. So no file but the library may
// be one, whatever it is called and whether or not it is listed.
static kn_status check_file(const kni_check *check, const char *name, kni_checked_file *library)
{
    const kn_package *package = check->package;
    const bool is_library = strcmp(name, package->library) == 0;
    kni_checked_file file;
    kn_error why = KN_ERROR_INIT;
    kn_status st = open_file(check, name, &file);
    if (st == KN_OK && is_elf(file.fd) != is_library)
        st = kni_check_refuse(check, is_library ? KN_ERR_FORMAT : KN_ERR_UNTRUSTED, KNI_STAGE_CODE,
                              "library", "one shared object, the one that metadata.json names",
                              is_library ? "the library '%s' is no ELF file"
                                         : "the file '%s' is a second ELF file",
                              name);
    if (st == KN_OK && package->metadata.digest.present && !kni_digest_block_leaves_out(name) &&
        kni_digest_block_check_file(&package->metadata.digest, name, file.fd, &why) != KN_OK)
        st = kni_check_refuse_because(check, &why, KNI_STAGE_DIGEST, "digest", NULL);
    if (st == KN_OK && is_library)
        *library = file;
    else
        kni_checked_file_dispose(&file);
    return st;
}

// Links, the digest block, and that there is no second object. Opens the library.
static kn_status check_files(const kni_check *check, kni_checked_file *library)
{
    const kn_package *package = check->package;
    const kni_digest_block *block = &package->metadata.digest;
    kni_names files = {NULL, 0, 0};
    kn_error why = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (kni_tree_list(package->dir, &files, &why) != KN_OK)
        return kni_check_refuse_because(
            check, &why, KNI_STAGE_DIGEST, "link",
            "regular files, and links to such files inside the package");
    if (block->present && kni_digest_block_check_names(block, &files, &why) != KN_OK)
        st = kni_check_refuse_because(check, &why, KNI_STAGE_DIGEST, "digest",
                                      "exactly the files that metadata.json lists");
    for (size_t i = 0; st == KN_OK && i < files.count; ++i)
        st = check_file(check, files.names[i], library);
    if (st == KN_OK && package->library[0] && library->fd < 0)
        st = kni_check_refuse(check, KN_ERR_FORMAT, KNI_STAGE_CODE, "library", NULL,
                              "the library '%s' is not there", package->library);
    if (st == KN_OK)
        st = block->present
                 ? kni_check_pass(check, KNI_STAGE_DIGEST, "digest",
                                  "%zu files are what metadata.json says", block->n_files)
                 : kni_check_pass(check, KNI_STAGE_DIGEST, "digest",
                                  "metadata.json lists no digests");
    kni_names_free(&files);
    return st;
}

// Reads the shared object where it lies; nothing of it runs.
static kn_status check_object(const kni_check *check, const kni_checked_file *library)
{
    const size_t size = library->info.st_size > 0 ? (size_t)library->info.st_size : 0;
    const char *name = check->package->library;
    kni_elf elf = {.n_loads = 0};
    kn_error why = KN_ERROR_INIT;
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, library->fd, 0) : NULL;
    if (data == MAP_FAILED)
        return kni_error_errno(check->err, errno, name, "cannot map");
    kn_status st = kni_elf_read(data, size, name, &elf, &why);
    if (st != KN_OK)
        st = kni_check_refuse_because(check, &why, KNI_STAGE_CODE, "elf",
                                      "a shared object for Linux");
    if (st == KN_OK)
        st = kni_check_library(check, &elf);
    if (st == KN_OK)
        st = kni_check_code(check, &elf);
    kni_elf_dispose(&elf);
    if (data)
        munmap(data, size);
    return st;
}

kn_status kni_package_check(const kn_package *package, const kn_target *target,
                            kn_package_verdict *out, kni_checked_file *library, kn_trace *trace,
                            kn_error *err)
{
    const kni_check check = {package, target, trace, err};
    kn_package_verdict verdict = {.struct_size = sizeof(verdict)};
    *library = KNI_CHECKED_FILE_INIT;
    kn_status st = check_files(&check, library);
    if (st == KN_OK) {
        verdict.digests_checked = package->metadata.digest.present;
        st = library->fd >= 0 ? kni_check_target(&check)
                              : kni_check_pass(&check, KNI_STAGE_CODE, "library",
                                               "the package holds no native code");
        if (st == KN_OK && library->fd >= 0)
            st = check_object(&check, library);
    }
    verdict.runs = st == KN_OK;
    if (out) {
        verdict.struct_size = out->struct_size;
        memcpy(out, &verdict,
               out->struct_size < sizeof(verdict) ? out->struct_size : sizeof(verdict));
    }
    return st;
}

kn_status kn_package_check(const kn_package *package, const kn_target *target,
                           kn_package_verdict *out, kn_trace *trace, kn_error *err)
{
    kni_checked_file library = KNI_CHECKED_FILE_INIT;
    if (!package || !target || !target->machine)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_package_check: a package and a target with a machine are required");
    const kn_status st = kni_package_check(package, target, out, &library, trace, err);
    kni_checked_file_dispose(&library);
    return st;
}
