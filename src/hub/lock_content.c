// What a commit holds, as a lock says it.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/ask.h"
#include "hub/lock_make.h"
#include "hub/sums.h"

#define BUILD "build/"
#define HASHED_PREFIX "torch" // of the variants that the peer's lock has

// The files of one variant: a run of the tree, since that is sorted by path.
typedef struct part {
    char *name;
    size_t first, n;
} part;

static kn_status name_of(const kni_repo *repo, const kni_tree_file *file, kni_span *name,
                         const char **rest, kn_error *err)
{
    kni_span path = kni_span_of(file->path + strlen(BUILD));
    *rest = NULL;
    if (kni_span_cut(&path, '/', name) && path.data && path.size)
        *rest = path.data; // else it is a file beside the variants
    if (*rest && name->size > 255)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: the build variant \"%.64s…\" has a name of %zu bytes: expected at "
                            "most 255",
                            repo->id, name->data, name->size);
    return KN_OK;
}

static bool is_of(const part *run, kni_span name)
{
    return run->name && kni_span_is(name, run->name);
}

// Adds a variant with room for its files.
static kn_status add_variant(const part *run, kni_sum_kernel *sum, kn_error *err)
{
    kni_sum_variant *variant = &sum->variants[sum->n_variants++];
    variant->name = kni_strdup(run->name);
    variant->files = kni_calloc(run->n, sizeof(*variant->files));
    return variant->name && variant->files ? KN_OK : kni_no_memory(err);
}

static kn_status fill_variant(const kni_tree *tree, const part *run,
                              const char (*digests)[KNI_SHA256_SIZE], kni_sum_variant *out,
                              kn_error *err)
{
    for (size_t i = 0; i < run->n; ++i) {
        const kni_tree_file *file = &tree->files[run->first + i];
        kni_sum_file *to = &out->files[out->n_files++];
        memcpy(to->sha256, digests[run->first + i], KNI_SHA256_SIZE);
        to->size = file->size;
        to->path = kni_strdup(file->path + strlen(BUILD) + strlen(run->name) + 1);
        if (!to->path)
            return kni_no_memory(err);
    }
    return kni_sum_manifest(out->files, out->n_files, out->manifest, err);
}

static kn_status hash_variant(const kni_tree *tree, const part *run, kni_lock_entry *out,
                              kn_error *err)
{
    kni_lock_hash *hash = &out->hashes[out->n_hashes++];
    kni_lock_file *files = kni_calloc(run->n, sizeof(*files));
    hash->variant = kni_strdup(run->name);
    kn_status st = files && hash->variant ? KN_OK : kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < run->n; ++i) {
        const kni_tree_file *file = &tree->files[run->first + i];
        files[i] = (kni_lock_file){file->path + strlen(BUILD) + strlen(run->name) + 1,
                                   kni_tree_file_blob(file)};
    }
    if (st == KN_OK)
        st = kni_lock_hash_files(files, run->n, hash->sha256, err);
    kni_free(files);
    return st;
}

// Cuts the tree into variants, in its order, which is that of the peer's lock.
static kn_status find_runs(const kni_repo *repo, const kni_tree *tree, part *runs, size_t *n,
                           kn_error *err)
{
    *n = 0;
    for (size_t i = 0; i < tree->count; ++i) {
        kni_span name;
        const char *rest;
        const kn_status st = name_of(repo, &tree->files[i], &name, &rest, err);
        if (st != KN_OK)
            return st;
        if (!rest)
            continue;
        if (*n == 0 || !is_of(&runs[*n - 1], name)) {
            runs[*n] = (part){kni_strndup(name.data, name.size), i, 0};
            if (!runs[(*n)++].name)
                return kni_no_memory(err);
        }
        ++runs[*n - 1].n;
    }
    return KN_OK;
}

static kn_status fill(const kni_tree *tree, const part *runs, size_t n,
                      const char (*digests)[KNI_SHA256_SIZE], kni_sum_kernel *sum,
                      kni_lock_entry *hashes, kn_error *err)
{
    kn_status st = KN_OK;
    sum->variants = kni_calloc(n, sizeof(*sum->variants));
    if (hashes)
        hashes->hashes = kni_calloc(n, sizeof(*hashes->hashes));
    if (!sum->variants || (hashes && !hashes->hashes))
        return kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        st = add_variant(&runs[i], sum, err);
        if (st == KN_OK)
            st = fill_variant(tree, &runs[i], digests, &sum->variants[i], err);
        if (st == KN_OK && hashes && kni_span_starts(kni_span_of(runs[i].name), HASHED_PREFIX))
            st = hash_variant(tree, &runs[i], hashes, err);
    }
    kni_sum_kernel_sort(sum);
    return st;
}

kn_status kni_lock_content(kn_hub *hub, const kni_repo *repo, const char *commit,
                           kni_sum_kernel *sum, kni_lock_entry *hashes, kn_error *err)
{
    const kni_known_tree *known = NULL;
    part *runs = NULL;
    char(*digests)[KNI_SHA256_SIZE] = NULL;
    size_t n = 0;
    kn_status st = kni_ask_tree(hub, repo, commit, false, &known, err);
    if (st != KN_OK)
        return st;
    sum->repo.type = known->repo.type;
    runs = kni_calloc(known->tree.count, sizeof(*runs));
    digests = kni_calloc(known->tree.count, sizeof(*digests));
    st = runs && digests ? KN_OK : kni_no_memory(err);
    if (st == KN_OK)
        st = find_runs(repo, &known->tree, runs, &n, err);
    if (st == KN_OK)
        st = kni_lock_digests(hub, &known->repo, commit, &known->tree, digests, err);
    if (st == KN_OK)
        st = fill(&known->tree, runs, n, (const char(*)[KNI_SHA256_SIZE])digests, sum, hashes, err);
    for (size_t i = 0; i < n; ++i)
        kni_free(runs[i].name);
    kni_free(runs);
    kni_free(digests);
    return st;
}
