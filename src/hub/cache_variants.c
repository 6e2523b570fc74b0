#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/cache_snapshot.h"

#define METADATA_MAX ((size_t)8 << 20)
#define TREE_MAX ((size_t)64 << 20) // of a listing that huggingface_hub keeps: of the whole commit

// The listing that huggingface_hub keeps of the commit; count 0: there is none that can be read.
static kn_status read_tree(const kni_snapshot *snapshot, const char *commit, kni_tree *out,
                           kn_error *err)
{
    char name[KNI_COMMIT_SIZE + sizeof(".json")];
    kni_buf text = KNI_BUF(TREE_MAX);
    kni_at trees = KNI_AT_NONE;
    *out = (kni_tree){NULL, 0, 0};
    snprintf(name, sizeof(name), "%s.json", commit);
    kn_status st = kni_at_open(&snapshot->folder, "trees", false, &trees, NULL);
    if (st == KN_OK)
        st = kni_at_read(&trees, name, &text, NULL);
    if (st == KN_OK)
        st = kni_tree_parse_cached(kni_buf_text(&text), text.size, name, out, NULL);
    kni_at_close(&trees);
    kni_buf_dispose(&text);
    if (st != KN_OK)
        kni_tree_dispose(out);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err)
                                  : KN_OK; // a hint: what is wrong with it is nobody's
}

// Are all files of the variant here that the listing names?
static kn_status has_listed(const kni_snapshot *snapshot, const kni_tree *tree, const char *dir,
                            bool *yes, kn_error *err)
{
    const size_t size = strlen(dir);
    kni_at at = KNI_AT_NONE;
    kn_status st = KN_OK;
    *yes = true;
    for (size_t i = 0; st == KN_OK && *yes && i < tree->count; ++i) {
        const kni_tree_file *file = &tree->files[i];
        struct stat info;
        if (strncmp(file->path, dir, size) != 0 || file->path[size] != '/' ||
            kni_path_is_byte_code(file->path))
            continue;
        st = kni_snapshot_has(snapshot, file->path, &at, yes, &info, err);
        *yes = *yes && (uint64_t)info.st_size == file->size;
    }
    kni_at_close(&at);
    return st;
}

// Are all files here that the variant's digest block names? *has_block false: it has none.
static kn_status has_digested(const kni_snapshot *snapshot, const char *dir, bool *has_block,
                              bool *yes, kn_error *err)
{
    kni_buf text = KNI_BUF(METADATA_MAX);
    kni_names paths = {NULL, 0, 0};
    kni_at at = KNI_AT_NONE;
    char *metadata = kni_path_join(dir, "metadata.json");
    *yes = false;
    kn_status st =
        metadata ? kni_snapshot_read(snapshot, metadata, &text, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_digest_paths_parse(kni_buf_text(&text), text.size, metadata, &paths, err);
    *has_block = paths.count > 0;
    *yes = st == KN_OK;
    for (size_t i = 0; st == KN_OK && *yes && i < paths.count; ++i) {
        struct stat info;
        char *path = kni_path_join(dir, paths.names[i]);
        st = path ? kni_snapshot_has(snapshot, path, &at, yes, &info, err) : kni_no_memory(err);
        kni_free(path);
    }
    kni_at_close(&at);
    kni_names_free(&paths);
    kni_buf_dispose(&text);
    kni_free(metadata);
    return st;
}

// Has the variant Python to import, in itself or in a directory of it, and no metadata.json?
static kn_status is_bare_module(const kni_snapshot *snapshot, const char *dir, bool *yes,
                                kn_error *err)
{
    kni_at build = KNI_AT_NONE, variant = KNI_AT_NONE, at = KNI_AT_NONE;
    kni_names names = {NULL, 0, 0};
    bool is_there = false;
    struct stat info;
    *yes = false;
    kn_status st = kni_at_open_if(&snapshot->dir, "build", &build, err);
    if (st == KN_OK && build.fd >= 0)
        st = kni_at_open_if(&build, kni_path_basename(dir), &variant, err);
    if (st == KN_OK && variant.fd >= 0)
        st = kni_at_list(&variant, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count && !is_there; ++i)
        is_there = strcmp(names.names[i], "metadata.json") == 0;
    for (size_t i = 0; st == KN_OK && i < names.count && !is_there && !*yes; ++i) {
        const bool is_init = strcmp(names.names[i], "__init__.py") == 0;
        kni_buf path = KNI_BUF_ANY;
        kni_buf_printf(&path, "%s/%s%s", dir, names.names[i], is_init ? "" : "/__init__.py");
        st = path.failed ? kni_no_memory(err)
                         : kni_snapshot_has(snapshot, kni_buf_text(&path), &at, yes, &info, err);
        kni_buf_dispose(&path);
    }
    kni_at_close(&at);
    kni_names_free(&names);
    kni_at_close(&variant);
    kni_at_close(&build);
    return st;
}

// tree: read when it is first needed, by the caller's hand kept for the next variant. Only memory is a failure: a variant that is
// broken in any other way is one that is not whole.
typedef struct lazy_tree {
    kni_tree tree;
    bool is_read;
} lazy_tree;

static kn_status is_whole(const kni_snapshot *snapshot, const char *commit, const char *variant,
                          bool may_lack_metadata, lazy_tree *lazy, bool *yes, kn_error *err)
{
    bool has_block = false;
    *yes = false;
    char *dir = kni_path_join("build", variant);
    kn_status st = dir ? has_digested(snapshot, dir, &has_block, yes, NULL) : KN_ERR_NO_MEMORY;
    if (st == KN_ERR_NOT_FOUND && may_lack_metadata)
        st = is_bare_module(snapshot, dir, yes, NULL); // a listing that has metadata.json says no
    if (st == KN_OK && *yes && !has_block) {
        if (!lazy->is_read)
            st = read_tree(snapshot, commit, &lazy->tree, NULL);
        lazy->is_read = st == KN_OK;
        if (st == KN_OK)
            st = has_listed(snapshot, &lazy->tree, dir, yes, NULL);
    }
    *yes = *yes && st == KN_OK;
    kni_free(dir);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

// A directory's name that can be a variant's: one component that passes the rules of paths.
static bool is_name(const char *name)
{
    return name[0] != '.' && !strchr(name, '/') && kni_path_check_relative(name, "", NULL) == KN_OK;
}

kn_status kni_cache_list_variants(const kni_cache *cache, const kni_repo *repo, const char *commit,
                                  bool may_lack_metadata, kni_names *out, kn_error *err)
{
    kni_snapshot snapshot;
    kni_at build = KNI_AT_NONE;
    kni_names names = {NULL, 0, 0};
    lazy_tree lazy = {.is_read = false};
    *out = (kni_names){NULL, 0, 0};
    kn_status st = kni_snapshot_open_if(cache, repo, commit, &snapshot, err);
    if (st == KN_OK && snapshot.dir.fd >= 0)
        st = kni_at_open_if(&snapshot.dir, "build", &build, err);
    if (st == KN_OK && build.fd >= 0)
        st = kni_at_list(&build, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        bool yes = false;
        if (is_name(names.names[i]))
            st = is_whole(&snapshot, commit, names.names[i], may_lack_metadata, &lazy, &yes, err);
        if (st == KN_OK && yes && !kni_names_push(out, kni_strdup(names.names[i])))
            st = kni_no_memory(err);
    }
    if (st != KN_OK)
        kni_names_free(out);
    kni_tree_dispose(&lazy.tree);
    kni_names_free(&names);
    kni_at_close(&build);
    kni_snapshot_close(&snapshot);
    return st;
}

kn_status kni_cache_has_variant(const kni_cache *cache, const kni_repo *repo, const char *commit,
                                const char *variant, bool may_lack_metadata, bool *yes,
                                kn_error *err)
{
    kni_snapshot snapshot;
    lazy_tree lazy = {.is_read = false};
    *yes = false;
    if (!is_name(variant))
        return KN_OK;
    kn_status st = kni_snapshot_open(cache, repo, commit, &snapshot, NULL);
    if (st != KN_OK)
        return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
    st = is_whole(&snapshot, commit, variant, may_lack_metadata, &lazy, yes, err);
    kni_tree_dispose(&lazy.tree);
    kni_snapshot_close(&snapshot);
    return st;
}
