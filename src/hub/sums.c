// *.lock.sums: what a lock's variants contain, file by file.
#include "hub/lock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "hub/sums.h"

#define FILE_SIZE_MAX ((size_t)64 << 20)

// Of "kernels[12].variants.<name>" and of that with ".files.<path>", cut where names are longer.
#define VARIANT_PATH_SIZE 512
#define FILE_PATH_SIZE 1536

#define FAIL(at, format, ...)                                                                      \
    kn_error_set(err, KN_ERR_FORMAT, "%s: %s: " format, (at).name, (at).path, __VA_ARGS__)

static kn_status read_sha256(kni_json_at at, const char *key, char out[KNI_SHA256_SIZE],
                             kn_error *err)
{
    const char *text = NULL;
    const kn_status st = kni_json_string(at, key, true, &text, err);
    if (st != KN_OK)
        return st;
    if (strlen(text) != KNI_SHA256_SIZE - 1 || !kni_is_object_id(text))
        return FAIL(at, "%s: found \"%.80s\": expected a SHA-256, 64 lower-case hexadecimal digits",
                    key, text);
    memcpy(out, text, KNI_SHA256_SIZE);
    return KN_OK;
}

static kn_status read_file(kni_json_at at, const char *path, kni_sum_file *out, kn_error *err)
{
    static const char *const keys[] = {"sha256", "size"};
    int64_t size = 0;
    kn_status st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = read_sha256(at, "sha256", out->sha256, err);
    if (st == KN_OK)
        st = kni_json_int(at, "size", true, &size, err);
    if (st != KN_OK)
        return st;
    if (size < 0)
        return FAIL(at, "size: found %" PRId64 ": expected a number from 0", size);
    out->size = (uint64_t)size;
    out->path = kni_strdup(path);
    return out->path ? KN_OK : kni_no_memory(err);
}

static kn_status read_files(kni_json_at at, const json_t *files, kni_sum_variant *out,
                            kn_error *err)
{
    const char *path;
    json_t *value;
    const size_t count = json_object_size(files);
    if (count == 0)
        return FAIL(at, "%s", "files: names none: a variant has at least one");
    out->files = kni_calloc(count, sizeof(*out->files));
    if (!out->files)
        return kni_no_memory(err);
    json_object_foreach((json_t *)(uintptr_t)files, path, value)
    {
        char text[FILE_PATH_SIZE];
        snprintf(text, sizeof(text), "%s.files.%s", at.path, path);
        const kni_json_at below = {at.name, text, value};
        kn_status st = kni_path_check_relative(path, "file", NULL);
        if (st == KN_ERR_UNTRUSTED)
            return FAIL(at, "files: \"%.200s\": expected a path below the variant", path);
        st = st == KN_OK ? read_file(below, path, &out->files[out->n_files++], err)
                         : kni_no_memory(err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

// The manifest is there for people and other tools to compare; that it is what the files give is checked, so that it may be used.
static kn_status check_manifest(kni_json_at at, kni_sum_variant *variant, kn_error *err)
{
    char computed[KNI_SHA256_SIZE];
    kni_sum_variant_sort(variant);
    const kn_status st = kni_sum_manifest(variant->files, variant->n_files, computed, err);
    if (st == KN_OK && strcmp(computed, variant->manifest) != 0)
        return FAIL(at,
                    "manifest: found %s, but its files give %s: write the file anew by "
                    "`kernels lock`",
                    variant->manifest, computed);
    return st;
}

static kn_status read_variant(kni_json_at at, const char *name, kni_sum_variant *out, kn_error *err)
{
    static const char *const keys[] = {"manifest", "files"};
    const json_t *files = NULL;
    kn_status st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = read_sha256(at, "manifest", out->manifest, err);
    if (st == KN_OK)
        st = kni_json_object(at, "files", true, &files, err);
    if (st == KN_OK && !(out->name = kni_strdup(name)))
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = read_files(at, files, out, err);
    return st == KN_OK ? check_manifest(at, out, err) : st;
}

static kn_status read_variants(kni_json_at at, const json_t *variants, kni_sum_kernel *out,
                               kn_error *err)
{
    const char *name;
    json_t *value;
    out->variants = kni_calloc(json_object_size(variants), sizeof(*out->variants));
    if (!out->variants)
        return kni_no_memory(err);
    json_object_foreach((json_t *)(uintptr_t)variants, name, value)
    {
        char text[VARIANT_PATH_SIZE];
        snprintf(text, sizeof(text), "%s.variants.%s", at.path, name);
        const kni_json_at below = {at.name, text, value};
        if (!kni_is_component(name))
            return FAIL(at, "variants: \"%.200s\": expected the name of a build variant", name);
        const kn_status st = read_variant(below, name, &out->variants[out->n_variants++], err);
        if (st != KN_OK)
            return st;
    }
    kni_sum_kernel_sort(out);
    return KN_OK;
}

static kn_status read_repo(kni_json_at at, kni_repo *out, kn_error *err)
{
    const char *id = NULL, *type = NULL;
    kn_error problem = KN_ERROR_INIT;
    kn_status st = kni_json_string(at, "repo_id", true, &id, err);
    if (st == KN_OK)
        st = kni_json_string(at, "repo_type", true, &type, err);
    if (st != KN_OK)
        return st;
    const bool is_model = strcmp(type, kni_repo_type_text(KNI_REPO_MODEL)) == 0;
    if (!is_model && strcmp(type, kni_repo_type_text(KNI_REPO_KERNEL)) != 0)
        return FAIL(at, "repo_type: found \"%.64s\": expected \"kernel\" or \"model\"", type);
    st = kni_repo_init(out, is_model ? KNI_REPO_MODEL : KNI_REPO_KERNEL, id, &problem);
    if (st == KN_ERR_INVALID)
        st = FAIL(at, "repo_id: %s", kn_error_text(&problem));
    else if (st != KN_OK)
        st = kni_error_move(err, &problem);
    kn_error_dispose(&problem);
    return st;
}

// A text that may be absent. may_be_empty: "" is a specifier that every version satisfies, but no revision.
static kn_status read_text(kni_json_at at, const char *key, bool may_be_empty, char **out,
                           kn_error *err)
{
    const char *text = NULL;
    const kn_status st = kni_json_string(at, key, false, &text, err);
    if (st != KN_OK || !text)
        return st;
    if ((!*text && !may_be_empty) || !kni_text_is_clean(text, strlen(text)))
        return FAIL(at, "%s: found \"%.80s\": expected text without control characters", key, text);
    *out = kni_strdup(text);
    return *out ? KN_OK : kni_no_memory(err);
}

// What was asked for, and what it was.
static kn_status read_revision(kni_json_at at, kni_sum_kernel *out, kn_error *err)
{
    const char *ref = NULL, *commit = NULL;
    kn_status st = read_text(at, "version", true, &out->version, err);
    if (st == KN_OK)
        st = read_text(at, "revision", false, &out->revision, err);
    if (st == KN_OK)
        st = kni_json_string(at, "ref", true, &ref, err);
    if (st == KN_OK)
        st = kni_json_string(at, "commit", true, &commit, err);
    if (st != KN_OK)
        return st;
    if (out->version && out->revision)
        return FAIL(at, "%s", "has version and revision: expected at most one of them");
    if (*ref && kni_ref_check(ref, "ref", NULL) != KN_OK)
        return FAIL(at, "ref: found \"%.80s\": expected a branch or tag, or \"\"", ref);
    if (!kni_is_commit(commit))
        return FAIL(at,
                    "commit: found \"%.80s\": expected a commit, 40 lower-case hexadecimal digits",
                    commit);
    memcpy(out->commit, commit, KNI_COMMIT_SIZE);
    out->ref = kni_strdup(ref);
    return out->ref ? KN_OK : kni_no_memory(err);
}

static kn_status read_kernel(kni_json_at at, kni_sum_kernel *out, kn_error *err)
{
    static const char *const keys[] = {"repo_id", "repo_type", "version", "revision",
                                       "ref",     "commit",    "variants"};
    const json_t *variants = NULL;
    kn_status st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = read_repo(at, &out->repo, err);
    if (st == KN_OK)
        st = read_revision(at, out, err);
    if (st == KN_OK)
        st = kni_json_object(at, "variants", true, &variants, err);
    return st == KN_OK ? read_variants(at, variants, out, err) : st;
}

static kn_status read_kernels(kni_json_at root, const json_t *kernels, kni_sums *out, kn_error *err)
{
    const size_t count = json_array_size(kernels);
    if (count > KNI_LOCK_ENTRIES_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: kernels: names %zu: expected at most %d",
                            root.name, count, KNI_LOCK_ENTRIES_MAX);
    out->kernels = kni_calloc(count, sizeof(*out->kernels));
    if (!out->kernels)
        return kni_no_memory(err);
    for (size_t i = 0; i < count; ++i) {
        char path[32];
        snprintf(path, sizeof(path), "kernels[%zu]", i);
        const kni_json_at at = {root.name, path, json_array_get(kernels, i)};
        kni_sum_kernel *kernel = &out->kernels[i];
        ++out->count;
        const kn_status st = read_kernel(at, kernel, err);
        if (st != KN_OK)
            return st;
        if (kni_sums_find(out, kernel->repo.id, kernel->version, kernel->revision) != kernel)
            return FAIL(at,
                        "%s with the same version and revision stands here twice: expected it "
                        "once",
                        kernel->repo.id);
    }
    return KN_OK;
}

static kn_status read_root(kni_json_at root, kni_sums *out, kn_error *err)
{
    static const char *const keys[] = {"format", "version", "source", "kernels"};
    const char *format = NULL, *source = NULL;
    const json_t *kernels = NULL;
    int64_t version = 0;
    kn_status st = kni_json_string(root, "format", true, &format, err);
    if (st == KN_OK && strcmp(format, KNI_SUMS_FORMAT) != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: format: found \"%.64s\": expected \"" KNI_SUMS_FORMAT "\"",
                            root.name, format);
    if (st == KN_OK)
        st = kni_json_int(root, "version", true, &version, err);
    if (st == KN_OK && version != 1)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: version: found %" PRId64 ": this libkernels reads 1", root.name,
                            version);
    if (st == KN_OK)
        st = kni_json_only(root, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = kni_json_string(root, "source", true, &source, err);
    if (st == KN_OK && !kni_is_component(source))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: source: found \"%.200s\": expected the name of a file beside it",
                            root.name, source);
    if (st == KN_OK && !(out->source = kni_strdup(source)))
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = kni_json_array(root, "kernels", true, &kernels, err);
    return st == KN_OK ? read_kernels(root, kernels, out, err) : st;
}

kn_status kni_sums_parse(const char *text, size_t size, const char *name, kni_sums *out,
                         kn_error *err)
{
    json_t *root = NULL;
    *out = (kni_sums){0};
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = read_root((kni_json_at){name, "", root}, out, err);
    json_decref(root);
    if (st != KN_OK)
        kni_sums_dispose(out);
    return st;
}

kn_status kni_sums_read(const char *path, kni_sums *out, kn_error *err)
{
    kni_buf text = KNI_BUF(FILE_SIZE_MAX);
    *out = (kni_sums){0};
    kn_status st = kni_file_read(&text, path, err);
    if (st == KN_OK)
        st = kni_sums_parse(kni_buf_text(&text), text.size, path, out, err);
    kni_buf_dispose(&text);
    return st;
}
