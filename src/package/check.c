#include "package/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/trace.h"
#include "package/origin.h"

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

static kn_status open_file(const kni_check *check, const char *name, kni_checked_file *out,
                           char blob[KNI_SHA256_SIZE])
{
    const kn_package *package = check->package;
    kni_cached_file file;
    kn_status st = kni_origin_open_file(package->origin, package->dir, name, &file, check->err);
    *out = (kni_checked_file){.fd = file.fd};
    memcpy(blob, file.blob, KNI_SHA256_SIZE);
    if (st == KN_OK && fstat(out->fd, &out->info) != 0)
        st = kni_error_errno(check->err, errno, name, "cannot read");
    else if (st == KN_OK && !S_ISREG(out->info.st_mode))
        st = kn_error_set(check->err, KN_ERR_UNTRUSTED, "%s/%s: is not a regular file",
                          package->dir, name);
    return st;
}

// The file that lies there now may be another than the one that was read.
static bool is_read_as(const kn_package *package, const char *name, const kni_digest *digest)
{
    return strcmp(name, "metadata.json") != 0 ||
           memcmp(digest->bytes, package->metadata_sha256.bytes, kni_digest_size(KNI_SHA256)) == 0;
}

// A file's content, which is read once, however many ask for its hash.
typedef struct content {
    const char *name;
    int fd;
    const char *blob; // its name in a cache; "" when it is no blob
    bool has_sha256;
    kni_digest sha256;
} content;

static kn_status hash_content(const kni_check *check, content *c, kni_digest_algorithm algorithm,
                              kni_digest *out)
{
    kn_status st = KN_OK;
    if (algorithm != KNI_SHA256)
        return kni_digest_fd(algorithm, c->fd, c->name, out, check->err);
    if (!c->has_sha256 && check->expected.blobs_are_right)
        c->has_sha256 = kni_digest_from_hex(c->blob, &c->sha256);
    if (!c->has_sha256) {
        st = kni_digest_fd(KNI_SHA256, c->fd, c->name, &c->sha256, check->err);
        c->has_sha256 = st == KN_OK;
    }
    *out = c->sha256;
    return st;
}

static kn_status check_lock(const kni_check *check, content *c)
{
    const kni_sum_file *sum = kni_sum_find_file(check->expected.sums, c->name);
    kni_digest digest;
    char hex[129];
    if (!sum)
        return kni_check_refuse(check, KN_ERR_UNTRUSTED, KNI_STAGE_DIGEST, "lock",
                                "the files that the lock names", "'%s' is not in the lock",
                                c->name);
    const kn_status st = hash_content(check, c, KNI_SHA256, &digest);
    if (st != KN_OK)
        return st;
    kni_digest_hex(&digest, hex);
    if (strcmp(hex, sum->sha256) == 0 && is_read_as(check->package, c->name, &digest))
        return KN_OK;
    return kni_check_refuse(check, KN_ERR_UNTRUSTED, KNI_STAGE_DIGEST, "lock",
                            "the content that the lock names", "'%s' is not what was locked",
                            c->name);
}

static kn_status check_digest(const kni_check *check, content *c)
{
    const kni_digest_block *block = &check->package->metadata.digest;
    kni_digest digest;
    kn_error why = KN_ERROR_INIT;
    const kn_status st = hash_content(check, c, block->algorithm, &digest);
    if (st != KN_OK || kni_digest_block_check_digest(block, c->name, &digest, &why) == KN_OK)
        return st;
    return kni_check_refuse_because(check, &why, KNI_STAGE_DIGEST, "digest", NULL);
}

static kn_status check_blob(const kni_check *check, content *c)
{
    kn_error why = KN_ERROR_INIT;
    kni_digest digest, named;
    // The content is read once: its SHA-256 may be wanted for itself.
    if (check->checked->wants_sums && kni_digest_from_hex(c->blob, &named)) {
        const kn_status st = hash_content(check, c, KNI_SHA256, &digest);
        if (st != KN_OK || kni_digest_equal(&digest, &named))
            return st;
    }
    if (kni_blob_check(c->fd, c->blob, c->name, &why) == KN_OK)
        return KN_OK;
    return kni_check_refuse_because(check, &why, KNI_STAGE_DIGEST, "blob",
                                    "the content that the hub listed");
}

static kn_status keep_sum(const kni_check *check, content *c)
{
    kni_digest digest;
    if (!check->checked->wants_sums || kni_path_is_byte_code(c->name))
        return KN_OK;
    const kn_status st = hash_content(check, c, KNI_SHA256, &digest);
    if (st != KN_OK || kni_file_sums_add(&check->checked->sums, c->name, &digest))
        return st;
    return kni_no_memory(check->err);
}

// Against the lock and against metadata.json's digests; where there are neither, against the name of its blob, which the hub gave.
static kn_status check_content(const kni_check *check, const char *name, int fd, const char *blob)
{
    content c = {.name = name, .fd = fd, .blob = blob};
    const bool has_digests = check->package->metadata.digest.present;
    kn_status st = KN_OK;
    if (check->expected.sums && !kni_path_is_byte_code(name))
        st = check_lock(check, &c);
    else if (blob[0] && !has_digests)
        st = check_blob(check, &c);
    if (st == KN_OK && has_digests && !kni_digest_block_leaves_out(name))
        st = check_digest(check, &c);
    return st == KN_OK ? keep_sum(check, &c) : st;
}

static bool is_elf(int fd)
{
    char magic[4];
    return pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
           memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

// A second object could get in beside the first, as a needed library that lies in the package. So no file of a native package but the
// library may be one, whatever it is called and whether or not it is listed. Of a hosted package each is judged.
static kn_status check_file(const kni_check *check, const char *name, kni_objects *objects)
{
    const bool is_hosted = check->checked->is_hosted;
    const bool is_library = strcmp(name, check->package->library) == 0;
    kni_checked_file file;
    char blob[KNI_SHA256_SIZE];
    kn_status st = open_file(check, name, &file, blob);
    if (st == KN_OK)
        st = check_content(check, name, file.fd, blob);
    const bool is_object = st == KN_OK && is_elf(file.fd);
    if (st == KN_OK && is_object != is_library && !is_hosted)
        st = kni_check_refuse(check, is_library ? KN_ERR_FORMAT : KN_ERR_UNTRUSTED, KNI_STAGE_CODE,
                              "library", "one shared object, the one that metadata.json names",
                              is_library ? "the library '%s' is no ELF file"
                                         : "the file '%s' is a second ELF file",
                              name);
    if (st == KN_OK && is_object)
        st = kni_objects_add(check, objects, name, &file);
    kni_checked_file_dispose(&file);
    return st;
}

// Every file that the lock names is there.
static kn_status check_locked(const kni_check *check, const kni_names *files)
{
    const kni_sum_variant *sums = check->expected.sums;
    size_t n = 0;
    if (!sums)
        return KN_OK;
    for (size_t i = 0; i < files->count; ++i)
        n += !kni_path_is_byte_code(files->names[i]);
    if (n != sums->n_files)
        return kni_check_refuse(check, KN_ERR_UNTRUSTED, KNI_STAGE_DIGEST, "lock",
                                "the files that the lock names",
                                "there are %zu files, the lock names %zu", n, sums->n_files);
    return kni_check_pass(check, KNI_STAGE_DIGEST, "lock", "%zu files are what the lock says",
                          sums->n_files);
}

// Links, the digest block, and that a native package has no second object. Opens the objects.
static kn_status check_files(const kni_check *check, kni_objects *objects)
{
    const kn_package *package = check->package;
    const kni_digest_block *block = &package->metadata.digest;
    kni_names files = {NULL, 0, 0};
    kn_error why = KN_ERROR_INIT;
    kn_status st = KN_OK;
    if (kni_origin_list(package->origin, package->dir, &files, &why) != KN_OK)
        return kni_check_refuse_because(
            check, &why, KNI_STAGE_DIGEST, "link",
            "regular files, and links to such files inside the package");
    if (block->present && kni_digest_block_check_names(block, &files, &why) != KN_OK)
        st = kni_check_refuse_because(check, &why, KNI_STAGE_DIGEST, "digest",
                                      "exactly the files that metadata.json lists");
    for (size_t i = 0; st == KN_OK && i < files.count; ++i)
        st = check_file(check, files.names[i], objects);
    if (st == KN_OK)
        st = check_locked(check, &files);
    if (st == KN_OK && package->library[0] && objects->count == 0 && !check->checked->is_hosted)
        st = kni_check_refuse(check, KN_ERR_FORMAT, KNI_STAGE_CODE, "library", NULL,
                              "the library '%s' is not there", package->library);
    if (st == KN_OK)
        st = block->present
                 ? kni_check_pass(check, KNI_STAGE_DIGEST, "digest",
                                  "%zu files are what metadata.json says", block->n_files)
                 : kni_check_pass(check, KNI_STAGE_DIGEST, "digest",
                                  package->has_metadata ? "metadata.json lists no digests"
                                                        : "there is no metadata.json, as in the "
                                                          "first packages");
    kni_names_free(&files);
    return st;
}

kn_status kn_package_check_metadata(const kn_package *package, const kn_target *target,
                                    kn_trace *trace, kn_error *err)
{
    if (!package || !target || !target->machine)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_package_check_metadata: a package and a target are required");
    kni_checked checked = KNI_CHECKED_INIT;
    checked.is_hosted = kni_package_is_hosted(package, target);
    const kni_check check = {package, {NULL, false}, target, &checked, trace, err};
    return kni_check_target(&check);
}

// Only what a host imports may do without metadata.json.
static kn_status check_kind(const kni_check *check)
{
    if (check->checked->is_hosted || check->package->has_metadata)
        return KN_OK;
    return kni_check_refuse(check, KN_ERR_NOT_FOUND, KNI_STAGE_DIGEST, "metadata",
                            "a package for PyTorch, in a host that has it",
                            "there is no metadata.json");
}

kn_status kni_package_check(const kn_package *package, const kni_expected *expected,
                            const kn_target *target, kn_package_verdict *out, kni_checked *checked,
                            kn_trace *trace, kn_error *err)
{
    const kni_check check = {
        package, expected ? *expected : (kni_expected){NULL, false}, target, checked, trace, err};
    kn_package_verdict verdict = {.struct_size = sizeof(verdict)};
    kni_objects objects = {NULL, 0, 0};
    const bool wants_sums = checked->wants_sums;
    *checked = KNI_CHECKED_INIT;
    checked->wants_sums = wants_sums;
    checked->is_hosted = kni_package_is_hosted(package, target);
    kn_status st = check_kind(&check);
    if (st == KN_OK)
        st = check_files(&check, &objects);
    if (st == KN_OK) {
        verdict.digests_checked = package->metadata.digest.present;
        if (objects.count == 0)
            st = kni_check_pass(&check, KNI_STAGE_CODE, "library",
                                "the package holds no native code");
        if (st == KN_OK && (objects.count > 0 || checked->is_hosted))
            st = kni_check_target(&check);
        if (st == KN_OK)
            st = kni_check_objects(&check, &objects);
    }
    if (st == KN_OK && !checked->is_hosted && objects.count == 1) {
        checked->library = objects.items[0].file;
        objects.items[0].file = KNI_CHECKED_FILE_INIT;
    }
    kni_objects_dispose(&objects);
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
    kni_checked checked = KNI_CHECKED_INIT;
    if (!package || !target || !target->machine)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_package_check: a package and a target with a machine are required");
    const kn_status st = kni_package_check(package, NULL, target, out, &checked, trace, err);
    kni_checked_dispose(&checked);
    return st;
}
