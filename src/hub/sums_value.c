// The content of a *.lock.sums as a value: order, search, copy, text.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "hub/sums.h"

static int compare_files(const void *a, const void *b)
{
    const kni_sum_file *one = a, *two = b;
    return strcmp(one->path, two->path);
}

static int compare_variants(const void *a, const void *b)
{
    const kni_sum_variant *one = a, *two = b;
    return strcmp(one->name, two->name);
}

void kni_sum_variant_sort(kni_sum_variant *variant)
{
    if (variant->n_files > 1)
        qsort(variant->files, variant->n_files, sizeof(*variant->files), compare_files);
}

void kni_sum_kernel_sort(kni_sum_kernel *kernel)
{
    if (kernel->n_variants > 1)
        qsort(kernel->variants, kernel->n_variants, sizeof(*kernel->variants), compare_variants);
}

const kni_sum_kernel *kni_sums_find(const kni_sums *sums, const char *repo_id, const char *version,
                                    const char *revision)
{
    for (size_t i = 0; i < sums->count; ++i) {
        const kni_sum_kernel *kernel = &sums->kernels[i];
        if (strcmp(kernel->repo.id, repo_id) == 0 && kni_string_equal(kernel->version, version) &&
            kni_string_equal(kernel->revision, revision))
            return kernel;
    }
    return NULL;
}

const kni_sum_variant *kni_sum_find_variant(const kni_sum_kernel *kernel, const char *variant)
{
    const kni_sum_variant wanted = {.name = (char *)(uintptr_t)variant};
    return kernel->n_variants ? bsearch(&wanted, kernel->variants, kernel->n_variants,
                                        sizeof(wanted), compare_variants)
                              : NULL;
}

const kni_sum_file *kni_sum_find_file(const kni_sum_variant *variant, const char *path)
{
    const kni_sum_file wanted = {.path = (char *)(uintptr_t)path};
    return variant->n_files
               ? bsearch(&wanted, variant->files, variant->n_files, sizeof(wanted), compare_files)
               : NULL;
}

kn_status kni_sum_manifest(const kni_sum_file *files, size_t n, char sha256[KNI_SHA256_SIZE],
                           kn_error *err)
{
    kni_buf lines = KNI_BUF_ANY;
    kni_digest digest;
    char hex[129];
    for (size_t i = 0; i < n; ++i)
        kni_buf_printf(&lines, "%s %" PRIu64 " %s\n", files[i].sha256, files[i].size,
                       files[i].path);
    kn_status st = lines.failed ? kni_no_memory(err) : KN_OK;
    if (st == KN_OK)
        st = kni_digest_bytes(KNI_SHA256, kni_buf_text(&lines), lines.size, &digest, err);
    if (st == KN_OK) {
        kni_digest_hex(&digest, hex);
        memcpy(sha256, hex, KNI_SHA256_SIZE);
    }
    kni_buf_dispose(&lines);
    return st;
}

static void dispose_variant(kni_sum_variant *variant)
{
    for (size_t i = 0; variant->files && i < variant->n_files; ++i)
        kni_free(variant->files[i].path);
    kni_free(variant->files);
    kni_free(variant->name);
}

void kni_sum_kernel_dispose(kni_sum_kernel *kernel)
{
    for (size_t i = 0; kernel->variants && i < kernel->n_variants; ++i)
        dispose_variant(&kernel->variants[i]);
    kni_free(kernel->variants);
    kni_free(kernel->version);
    kni_free(kernel->revision);
    kni_free(kernel->ref);
    *kernel = (kni_sum_kernel){0};
}

void kni_sums_dispose(kni_sums *sums)
{
    for (size_t i = 0; i < sums->count; ++i)
        kni_sum_kernel_dispose(&sums->kernels[i]);
    kni_free(sums->kernels);
    kni_free(sums->source);
    *sums = (kni_sums){0};
}

static bool copy_variant(const kni_sum_variant *from, kni_sum_variant *out)
{
    memcpy(out->manifest, from->manifest, sizeof(out->manifest));
    out->name = kni_strdup(from->name);
    out->files = kni_calloc(from->n_files, sizeof(*out->files));
    bool good = out->name && out->files;
    for (size_t i = 0; good && i < from->n_files; ++i) {
        kni_sum_file *file = &out->files[out->n_files++];
        *file = from->files[i];
        file->path = kni_strdup(from->files[i].path);
        good = file->path != NULL;
    }
    return good;
}

kn_status kni_sum_kernel_copy(const kni_sum_kernel *from, kni_sum_kernel *out, kn_error *err)
{
    *out = (kni_sum_kernel){.repo = from->repo};
    memcpy(out->commit, from->commit, sizeof(out->commit));
    out->version = kni_strdup(from->version);
    out->revision = kni_strdup(from->revision);
    out->ref = kni_strdup(from->ref);
    out->variants = kni_calloc(from->n_variants, sizeof(*out->variants));
    bool good = out->variants && !out->version == !from->version &&
                !out->revision == !from->revision && !out->ref == !from->ref;
    for (size_t i = 0; good && i < from->n_variants; ++i)
        good = copy_variant(&from->variants[i], &out->variants[out->n_variants++]);
    if (good)
        return KN_OK;
    kni_sum_kernel_dispose(out);
    return kni_no_memory(err);
}

// --- text ---

// Adds a value that was just made; false without memory.
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool put_string(json_t *object, const char *key, const char *value)
{
    return !value || put(object, key, json_string(value));
}

// Objects are added to their parents first, so that whatever fails is freed with the root.
static json_t *put_object(json_t *object, const char *key)
{
    json_t *child = json_object();
    return put(object, key, child) ? child : NULL;
}

static bool put_variant(json_t *variants, const kni_sum_variant *variant)
{
    json_t *object = put_object(variants, variant->name);
    if (!object || !put_string(object, "manifest", variant->manifest))
        return false;
    json_t *files = put_object(object, "files");
    bool good = files != NULL;
    for (size_t i = 0; good && i < variant->n_files; ++i) {
        const kni_sum_file *file = &variant->files[i];
        json_t *row = put_object(files, file->path);
        good = row && put_string(row, "sha256", file->sha256) &&
               put(row, "size", json_integer((json_int_t)file->size));
    }
    return good;
}

static bool put_kernel(json_t *kernels, const kni_sum_kernel *kernel)
{
    json_t *object = json_object();
    if (json_array_append_new(kernels, object) != 0)
        return false;
    bool good = put_string(object, "repo_id", kernel->repo.id) &&
                put_string(object, "repo_type", kni_repo_type_text(kernel->repo.type)) &&
                put_string(object, "version", kernel->version) &&
                put_string(object, "revision", kernel->revision) &&
                put_string(object, "ref", kernel->ref) &&
                put_string(object, "commit", kernel->commit);
    json_t *variants = good ? put_object(object, "variants") : NULL;
    good = variants != NULL;
    for (size_t i = 0; good && i < kernel->n_variants; ++i)
        good = put_variant(variants, &kernel->variants[i]);
    return good;
}

char *kni_sums_text(const kni_sums *sums)
{
    kni_buf out = KNI_BUF_ANY;
    json_t *root = json_object(), *kernels = json_array();
    char *text = NULL;
    bool good = root && kernels && put_string(root, "format", KNI_SUMS_FORMAT) &&
                put(root, "version", json_integer(1)) && put_string(root, "source", sums->source);
    if (json_object_set(root, "kernels", kernels) != 0)
        good = false;
    for (size_t i = 0; good && i < sums->count; ++i)
        good = put_kernel(kernels, &sums->kernels[i]);
    text = good ? kni_json_text(root) : NULL;
    if (text) {
        kni_buf_puts(&out, text);
        kni_buf_puts(&out, "\n");
        kni_free(text);
        text = kni_buf_take(&out);
    }
    json_decref(kernels);
    json_decref(root);
    return text;
}
