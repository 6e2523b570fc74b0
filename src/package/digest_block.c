#include "package/digest_block.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const kni_digest_file *)a)->path, ((const kni_digest_file *)b)->path);
}

static kn_status parse_file(kni_digest_block *block, const char *name, const char *path,
                            const json_t *value, kn_error *err)
{
    kni_digest_file *file = &block->files[block->n_files];
    kn_error why = KN_ERROR_INIT;
    if (kni_path_check_relative(path, "digest.files", &why) != KN_OK) {
        // Whatever the rule says, here it is a file that cannot be understood.
        kn_error_set(err, KN_ERR_FORMAT, "%s: %s", name, kn_error_text(&why));
        kn_error_dispose(&why);
        return KN_ERR_FORMAT;
    }
    if (kni_digest_block_leaves_out(path))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: digest.files: '%s' is a file that a digest block never lists",
                            name, path);
    const char *text = json_string_value(value);
    if (!text || !kni_digest_from_base64(text, block->algorithm, &file->digest))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: digest.files['%s']: expected the base64 of %zu bytes%s%s", name,
                            path, kni_digest_size(block->algorithm), text ? ", found " : "",
                            text ? text : "");
    file->path = kni_strdup(path);
    if (!file->path)
        return kni_no_memory(err);
    ++block->n_files;
    return KN_OK;
}

kn_status kni_digest_block_parse(const json_t *object, const char *name, kni_digest_block *out,
                                 kn_error *err)
{
    const kni_json_at at = {name, "digest", object};
    const char *algorithm = "";
    const json_t *files = NULL;
    kni_digest_block block = {.present = true};
    *out = (kni_digest_block){.present = false};
    kn_status st = kni_json_string(at, "algorithm", true, &algorithm, err);
    if (st == KN_OK)
        st = kni_json_object(at, "files", true, &files, err);
    if (st == KN_OK && !kni_digest_algorithm_parse(algorithm, &block.algorithm))
        st = kn_error_set(err, KN_ERR_FORMAT,
                          "%s: digest.algorithm: expected sha256 or sha512, found '%s'", name,
                          algorithm);
    if (st != KN_OK)
        return st;
    block.files = kni_calloc(json_object_size(files), sizeof(*block.files));
    if (!block.files)
        return kni_no_memory(err);
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)files, path, value)
    {
        st = parse_file(&block, name, path, value, err);
        if (st != KN_OK) {
            kni_digest_block_dispose(&block);
            return st;
        }
    }
    if (block.n_files)
        qsort(block.files, block.n_files, sizeof(*block.files), compare_files);
    *out = block;
    return KN_OK;
}

void kni_digest_block_dispose(kni_digest_block *block)
{
    for (size_t i = 0; i < block->n_files; ++i)
        kni_free(block->files[i].path);
    kni_free(block->files);
    *block = (kni_digest_block){.present = false};
}

bool kni_digest_block_leaves_out(const char *path)
{
    if (strcmp(path, "metadata.json") == 0 || strcmp(path, "metadata.json.sigstore") == 0)
        return true;
    return kni_path_is_byte_code(path);
}

const kni_digest *kni_digest_block_find(const kni_digest_block *block, const char *path)
{
    const kni_digest_file key = {.path = (char *)(uintptr_t)path};
    const kni_digest_file *found =
        block->n_files ? bsearch(&key, block->files, block->n_files, sizeof(key), compare_files)
                       : NULL;
    return found ? &found->digest : NULL;
}

kn_status kni_digest_block_check_names(const kni_digest_block *block, const kni_names *present,
                                       kn_error *err)
{
    size_t listed = 0; // both lists are sorted: one walk
    for (size_t i = 0; i < present->count; ++i) {
        const char *path = present->names[i];
        if (kni_digest_block_leaves_out(path))
            continue;
        const int order = listed < block->n_files ? strcmp(path, block->files[listed].path) : -1;
        if (order > 0)
            break;
        if (order < 0)
            return kn_error_set(err, KN_ERR_UNTRUSTED,
                                "the file '%s' is not listed in the digest block of "
                                "metadata.json",
                                path);
        ++listed;
    }
    if (listed < block->n_files)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "the file '%s' is listed in metadata.json but is not there",
                            block->files[listed].path);
    return KN_OK;
}

kn_status kni_digest_block_check_digest(const kni_digest_block *block, const char *path,
                                        const kni_digest *found, kn_error *err)
{
    const kni_digest *expected = kni_digest_block_find(block, path);
    if (!expected)
        return kn_error_set(err, KN_ERR_UNTRUSTED, "the file '%s' has no digest", path);
    if (kni_digest_equal(expected, found))
        return KN_OK;
    char expected_text[89], found_text[89];
    kni_digest_base64(expected, expected_text);
    kni_digest_base64(found, found_text);
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "the file '%s' is not what metadata.json says: expected digest %s, "
                        "found %s",
                        path, expected_text, found_text);
}
