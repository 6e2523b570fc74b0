#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "hub/answer.h"

// Of one file: 16 TiB. The sum over all files of a tree stays far below 2^64.
#define FILE_SIZE_MAX ((int64_t)1 << 44)

static kn_status check_path(const char *name, const char *where, const char *path,
                            const char *under, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_status st = kni_path_check_relative(path, where, &why);
    const size_t size = strlen(under);
    if (st == KN_OK && size && (strncmp(path, under, size) != 0 || path[size] != '/'))
        st = kn_error_set(&why, KN_ERR_UNTRUSTED,
                          "%s: expected a path below '%s/', which was asked for, found '%.200s'",
                          where, under, path);
    if (st == KN_OK)
        return KN_OK;
    kn_error_prefix(&why, "%s", name);
    return kni_error_move(err, &why);
}

// A hub shows the object ids of a gated repository with asterisks to those who may not read it.
static bool is_masked(const char *text)
{
    return strchr(text, '*') && strspn(text, "*0123456789abcdef") == strlen(text);
}

// Copies an object id of `digits` digits; "" for one that is masked.
static kn_status copy_oid(kni_json_at at, const char *key, size_t digits, char *out, kn_error *err)
{
    const char *text = "";
    const kn_status st = kni_json_string(at, key, true, &text, err);
    out[0] = '\0';
    if (st != KN_OK || is_masked(text))
        return st;
    if (strlen(text) != digits || !kni_is_object_id(text))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: %s.%s: expected %zu lower-case hexadecimal digits, or asterisks "
                            "where they are hidden, found '%.80s'",
                            at.name, at.path, key, digits, text);
    memcpy(out, text, digits + 1);
    return KN_OK;
}

static kn_status read_size(kni_json_at at, const char *key, uint64_t *out, kn_error *err)
{
    int64_t size = 0;
    const kn_status st = kni_json_int(at, key, true, &size, err);
    if (st != KN_OK)
        return st;
    if (size < 0 || size > FILE_SIZE_MAX)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.%s: expected a size of 0 to 16 TiB in bytes, found %lld",
                            at.name, at.path, key, (long long)size);
    *out = (uint64_t)size;
    return KN_OK;
}

// Adds a file whose other fields are set; the tree copies the path.
static kn_status add_file(kni_tree *tree, const kni_tree_file *file, const char *path,
                          const char *name, kn_error *err)
{
    void *array = tree->files;
    if (tree->count == KNI_TREE_FILES_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: lists more than %d files", name,
                            KNI_TREE_FILES_MAX);
    if (!kni_grow(&array, &tree->capacity, tree->count + 1, sizeof(*tree->files)))
        return kni_no_memory(err);
    tree->files = array;
    tree->files[tree->count] = *file;
    tree->files[tree->count].path = kni_strdup(path);
    if (!tree->files[tree->count].path)
        return kni_no_memory(err);
    ++tree->count;
    return KN_OK;
}

static void cut_to(kni_tree *tree, size_t count)
{
    while (tree->count > count)
        kni_free(tree->files[--tree->count].path);
}

// {"type", "path", "oid", "size", "lfs": {"oid", "size"}}
static kn_status add_entry(kni_tree *tree, kni_json_at at, const char *under, kn_error *err)
{
    const char *type = "", *path = "";
    const json_t *lfs = NULL;
    kni_tree_file file = {0};
    char where[64];
    kn_status st = kni_json_string(at, "type", true, &type, err);
    if (st == KN_OK)
        st = kni_json_string(at, "path", true, &path, err);
    if (st != KN_OK)
        return st;
    const bool is_file = strcmp(type, "file") == 0;
    snprintf(where, sizeof(where), "%s.path", at.path);
    st = check_path(at.name, where, path, is_file ? under : "", err);
    if (st != KN_OK || !is_file)
        return st;

    st = copy_oid(at, "oid", KNI_SHA1_SIZE - 1, file.oid, err);
    if (st == KN_OK)
        st = read_size(at, "size", &file.size, err);
    if (st == KN_OK)
        st = kni_json_object(at, "lfs", false, &lfs, err);
    if (st == KN_OK && lfs) {
        snprintf(where, sizeof(where), "%s.lfs", at.path);
        const kni_json_at inner = {at.name, where, lfs};
        file.is_large = true;
        st = copy_oid(inner, "oid", KNI_SHA256_SIZE - 1, file.sha256, err);
        if (st == KN_OK) // of the content, whatever a mirror means by the outer one
            st = read_size(inner, "size", &file.size, err);
    }
    return st == KN_OK ? add_file(tree, &file, path, at.name, err) : st;
}

kn_status kni_tree_add_page(kni_tree *out, const char *text, size_t size, const char *name,
                            const char *under, kn_error *err)
{
    json_t *root = NULL;
    const size_t before = out->count;
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK && !json_is_array(root))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: expected an array of files, found an object",
                          name);
    for (size_t i = 0; st == KN_OK && i < json_array_size(root); ++i) {
        char path[32];
        snprintf(path, sizeof(path), "[%zu]", i);
        st = add_entry(out, (kni_json_at){name, path, json_array_get(root, i)}, under, err);
    }
    json_decref(root);
    if (st != KN_OK)
        cut_to(out, before);
    return st;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const kni_tree_file *)a)->path, ((const kni_tree_file *)b)->path);
}

// Is a directory of this file listed as a file? Such a pair need not be neighbours: "a", "a.b", "a/b".
static kn_status check_parents(const kni_tree *tree, char *path, const char *name, kn_error *err)
{
    const kni_tree_file key = {.path = path};
    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (bsearch(&key, tree->files, tree->count, sizeof(key), compare_files))
            return kn_error_set(err, KN_ERR_UNTRUSTED,
                                "%s: the path '%.200s' is listed as a file and as a directory",
                                name, path);
    }
    return KN_OK;
}

// Files of one directory are asked about once: they are neighbours but for those below it.
static bool is_same_directory(const char *a, const char *b)
{
    const char *a_end = strrchr(a, '/'), *b_end = strrchr(b, '/');
    return a_end && b_end && a_end - a == b_end - b && memcmp(a, b, (size_t)(a_end - a)) == 0;
}

kn_status kni_tree_finish(kni_tree *tree, const char *name, kn_error *err)
{
    if (tree->count == 0)
        return KN_OK;
    qsort(tree->files, tree->count, sizeof(*tree->files), compare_files);
    for (size_t i = 1; i < tree->count; ++i)
        if (compare_files(&tree->files[i - 1], &tree->files[i]) == 0)
            return kn_error_set(err, KN_ERR_UNTRUSTED, "%s: the path '%.200s' is listed twice",
                                name, tree->files[i].path);
    for (size_t i = 0; i < tree->count; ++i) {
        if (i > 0 && is_same_directory(tree->files[i - 1].path, tree->files[i].path))
            continue;
        char *path = kni_strdup(tree->files[i].path);
        if (!path)
            return kni_no_memory(err);
        const kn_status st = check_parents(tree, path, name, err);
        kni_free(path);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

void kni_tree_dispose(kni_tree *tree)
{
    cut_to(tree, 0);
    kni_free(tree->files);
    *tree = (kni_tree){NULL, 0, 0};
}

const char *kni_tree_file_blob(const kni_tree_file *file)
{
    return file->is_large ? file->sha256 : file->oid;
}

// "path": {"size", "blob_id", "lfs_sha256", "lfs_size", "xet_hash"}, of which the last three may be absent.
static kn_status add_cached(kni_tree *tree, const char *name, const char *path, const json_t *value,
                            kn_error *err)
{
    kni_tree_file file = {0};
    kn_status st = check_path(name, "files", path, "", err);
    if (st != KN_OK)
        return st;
    const kni_json_at at = {name, path, value};
    st = copy_oid(at, "blob_id", KNI_SHA1_SIZE - 1, file.oid, err);
    if (st == KN_OK)
        st = read_size(at, "size", &file.size, err);
    const json_t *sha256 = json_object_get(value, "lfs_sha256");
    if (st == KN_OK && sha256 && !json_is_null(sha256)) {
        file.is_large = true;
        st = copy_oid(at, "lfs_sha256", KNI_SHA256_SIZE - 1, file.sha256, err);
    }
    return st == KN_OK ? add_file(tree, &file, path, name, err) : st;
}

kn_status kni_tree_parse_cached(const char *text, size_t size, const char *name, kni_tree *out,
                                kn_error *err)
{
    json_t *root = NULL;
    const json_t *files = NULL;
    int64_t version = 0;
    kni_tree tree = {NULL, 0, 0};
    *out = tree;
    kn_status st = kni_json_parse(text, size, name, &root, err);
    const kni_json_at at = {name, "", root};
    if (st == KN_OK)
        st = kni_json_int(at, "format_version", true, &version, err);
    if (st == KN_OK && version != 1)
        st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: format_version: expected 1, found %lld",
                          name, (long long)version);
    if (st == KN_OK)
        st = kni_json_object(at, "files", true, &files, err);
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)files, path, value)
    {
        st = add_cached(&tree, name, path, value, err);
        if (st != KN_OK)
            break;
    }
    json_decref(root);
    if (st == KN_OK)
        st = kni_tree_finish(&tree, name, err);
    if (st == KN_OK)
        *out = tree;
    else
        kni_tree_dispose(&tree);
    return st;
}
