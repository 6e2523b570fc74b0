// What the library's cache does, one call a run, for tests that look at the same directory with huggingface_hub:
//
//   cache_tool put  CACHE TYPE REPO COMMIT DIR [copies]   all files below DIR into a snapshot; *.so are large files (SHA-256)
//   cache_tool ref  CACHE TYPE REPO REF COMMIT
//   cache_tool refs CACHE TYPE REPO                       REF COMMIT
//   cache_tool variants CACHE TYPE REPO COMMIT            VARIANT
//   cache_tool read CACHE TYPE REPO COMMIT PATH           BLOB (or -) and the content, which is checked against it
//   cache_tool ls   CACHE                                 TYPE REPO COMMIT SIZE UNIQUE REFS VARIANTS (or -), with ',' between
//   cache_tool rm   CACHE TYPE REPO COMMIT                bytes freed
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hub/blob_hash.h"
#include "hub/cache.h"
#include "hub/cache_write.h"

typedef struct tool {
    int n_args;
    char **args; // after the verb
    kni_cache *cache;
    kni_repo repo;
} tool;

static kn_status put_file(kni_cache_writer *writer, const char *commit, const char *dir,
                          const char *path, bool may_move, kn_error *err)
{
    kni_buf content = KNI_BUF((size_t)64 << 20);
    kni_blob_hash hash = {NULL};
    kni_blob_file file = KNI_BLOB_FILE_INIT;
    char blob[KNI_SHA256_SIZE] = "";
    char *whole = kni_path_join(dir, path);
    const size_t n_digits = kni_span_ends(kni_span_of(path), ".so") ? 64 : 40;
    kn_status st = kni_file_read(&content, whole, err);
    const char *data = kni_buf_text(&content);
    if (st == KN_OK)
        st = kni_blob_hash_begin(&hash, n_digits, content.size, err);
    if (st == KN_OK)
        st = kni_blob_hash_add(&hash, data, content.size, err);
    if (st == KN_OK)
        st = kni_blob_hash_end(&hash, blob, err);
    if (st == KN_OK && !kni_cache_has_file(writer, commit, path, blob, content.size)) {
        if (!kni_cache_has_blob(writer, blob, content.size)) {
            st = kni_cache_begin_blob(writer, blob, content.size, &file, err);
            if (st == KN_OK)
                st = kni_cache_append_blob(writer, &file, data, content.size, err);
            if (st == KN_OK)
                st = kni_cache_commit_blob(writer, &file, err);
        }
        if (st == KN_OK)
            st = kni_cache_link_file(writer, commit, path, blob, may_move, err);
    }
    kni_cache_abandon_blob(writer, &file);
    kni_blob_hash_dispose(&hash);
    kni_buf_dispose(&content);
    kni_free(whole);
    return st;
}

static kn_status put(tool *t, kn_error *err)
{
    kni_names files = {NULL, 0, 0};
    kni_cache_writer *writer = NULL;
    kn_status st = kni_tree_list(t->args[4], &files, err);
    if (st == KN_OK)
        st = kni_cache_writer_open(t->cache, &t->repo, &writer, err);
    for (size_t i = 0; st == KN_OK && i < files.count; ++i)
        st = put_file(writer, t->args[3], t->args[4], files.names[i], t->n_args > 5, err);
    if (st == KN_OK)
        printf("%zu\n", kni_cache_sweep(writer));
    kni_cache_writer_close(writer);
    kni_names_free(&files);
    return st;
}

static kn_status ref(tool *t, kn_error *err)
{
    return kni_cache_write_ref(t->cache, &t->repo, t->args[3], t->args[4], err);
}

static kn_status refs(tool *t, kn_error *err)
{
    kni_refs all = {.branches = {NULL, 0, 0}};
    const kn_status st = kni_cache_list_refs(t->cache, &t->repo, &all.branches, err);
    for (size_t i = 0; i < all.branches.count; ++i)
        printf("%s %s\n", all.branches.refs[i].name, all.branches.refs[i].commit);
    kni_refs_dispose(&all);
    return st;
}

static kn_status variants(tool *t, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    const kn_status st =
        kni_cache_list_variants(t->cache, &t->repo, t->args[3], false, &names, err);
    for (size_t i = 0; i < names.count; ++i)
        printf("%s\n", names.names[i]);
    kni_names_free(&names);
    return st;
}

static kn_status read_file(tool *t, kn_error *err)
{
    kni_cached_file file = {.fd = -1};
    char chunk[64 * 1024];
    ssize_t n;
    kn_status st = kni_cache_open_file(t->cache, &t->repo, t->args[3], t->args[4], &file, err);
    if (st != KN_OK)
        return st;
    if (file.blob[0])
        st = kni_blob_check(file.fd, file.blob, t->args[4], err);
    printf("%s\n", file.blob[0] ? file.blob : "-");
    while (st == KN_OK && (n = read(file.fd, chunk, sizeof(chunk))) > 0)
        fwrite(chunk, 1, (size_t)n, stdout);
    close(file.fd);
    return st;
}

static void print_names(const kni_names *names)
{
    for (size_t i = 0; i < names->count; ++i)
        printf("%s%s", i ? "," : " ", names->names[i]);
    if (names->count == 0)
        printf(" -");
}

static kn_status ls(tool *t, kn_error *err)
{
    kni_cache_items items = {NULL, 0, 0};
    const kn_status st = kni_cache_scan(t->cache, &items, err);
    for (size_t i = 0; i < items.count; ++i) {
        const kni_cache_item *item = &items.items[i];
        printf("%s %s %s %llu %llu", kni_repo_type_text(item->repo.type), item->repo.id,
               item->commit, (unsigned long long)item->size_bytes,
               (unsigned long long)item->unique_bytes);
        print_names(&item->refs);
        print_names(&item->variants);
        printf("\n");
    }
    kni_cache_items_dispose(&items);
    return st;
}

static kn_status rm(tool *t, kn_error *err)
{
    uint64_t freed = 0;
    const kn_status st = kni_cache_remove(t->cache, &t->repo, t->args[3], &freed, err);
    if (st == KN_OK)
        printf("%llu\n", (unsigned long long)freed);
    return st;
}

static const struct {
    const char *name;
    int n_least, n_most;
    kn_status (*run)(tool *t, kn_error *err);
} verbs[] = {
    {"put", 5, 6, put},        {"ref", 5, 5, ref},
    {"refs", 3, 3, refs},      {"variants", 4, 4, variants},
    {"read", 5, 5, read_file}, {"ls", 1, 1, ls},
    {"rm", 4, 4, rm},
};

int main(int argc, char **argv)
{
    tool t = {.n_args = argc - 2, .args = argv + 2};
    kn_error err = KN_ERROR_INIT;
    kn_status st = KN_ERR_INVALID;
    for (size_t i = 0; argc > 2 && i < KN_LEN(verbs); ++i) {
        if (strcmp(verbs[i].name, argv[1]) != 0 || t.n_args < verbs[i].n_least ||
            t.n_args > verbs[i].n_most)
            continue;
        const bool copies = t.n_args > 5 && strcmp(t.args[5], "copies") == 0;
        st = kni_cache_new(t.args[0], false, copies, &t.cache, &err);
        if (st == KN_OK && t.n_args > 2)
            st = kni_repo_init(&t.repo,
                               strcmp(t.args[1], "model") == 0 ? KNI_REPO_MODEL : KNI_REPO_KERNEL,
                               t.args[2], &err);
        if (st == KN_OK)
            st = verbs[i].run(&t, &err);
    }
    if (st != KN_OK)
        fprintf(stderr, "cache_tool: %s\n", kn_error_text(&err));
    kn_error_dispose(&err);
    kni_cache_free(t.cache);
    return st == KN_OK ? 0 : 1;
}
