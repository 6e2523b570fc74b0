// kernels.lock, in both of its forms.
#include "hub/sums.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"

#define FILE_SIZE_MAX ((size_t)16 << 20)
#define HASH_TYPE "git_lfs_concat"
#define HASH_PREFIX "sha256-"

// One entry of the file, as it is read.
typedef struct reader {
    kni_json_at at; // the entry
    kni_lock_entry *out;
    kn_error *err;
} reader;

#define PATH_SIZE 512 // of "[12].variants.<name>", cut where names are longer

static kn_status read_repo_id(kni_json_at at, const char *key, char **out, kn_error *err)
{
    const char *text = NULL;
    kni_repo repo;
    kn_error problem = KN_ERROR_INIT;
    kn_status st = kni_json_string(at, key, true, &text, err);
    if (st != KN_OK)
        return st;
    st = kni_repo_init(&repo, KNI_REPO_KERNEL, text, &problem);
    if (st == KN_ERR_INVALID)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: %s.%s: %s", at.name, at.path, key,
                          kn_error_text(&problem));
    else if (st != KN_OK)
        st = kni_error_move(err, &problem);
    kn_error_dispose(&problem);
    if (st == KN_OK && !(*out = kni_strdup(text)))
        st = kni_no_memory(err);
    return st;
}

static kn_status read_commit(kni_json_at at, const char *key, char out[KNI_COMMIT_SIZE],
                             kn_error *err)
{
    const char *text = NULL;
    const kn_status st = kni_json_string(at, key, true, &text, err);
    if (st != KN_OK)
        return st;
    if (!kni_is_commit(text))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.%s: found \"%.80s\": expected a commit, 40 lower-case "
                            "hexadecimal digits",
                            at.name, at.path, key, text);
    memcpy(out, text, KNI_COMMIT_SIZE);
    return KN_OK;
}

// --- hashed ---

static kn_status read_hash(kni_json_at at, const char *variant, kni_lock_hash *out, kn_error *err)
{
    static const char *const keys[] = {"hash", "hash_type"};
    const char *hash = NULL, *type = HASH_TYPE;
    kn_status st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = kni_json_string(at, "hash", true, &hash, err);
    if (st == KN_OK)
        st = kni_json_string(at, "hash_type", false, &type, err);
    if (st != KN_OK)
        return st;
    if (strcmp(type, HASH_TYPE) != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.hash_type: found \"%.64s\": expected \"" HASH_TYPE "\"",
                            at.name, at.path, type);
    const char *digits = hash + strlen(HASH_PREFIX);
    if (strncmp(hash, HASH_PREFIX, strlen(HASH_PREFIX)) != 0 ||
        strlen(digits) != KNI_SHA256_SIZE - 1 || !kni_is_object_id(digits))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.hash: found \"%.80s\": expected \"" HASH_PREFIX
                            "\" and 64 lower-case hexadecimal digits",
                            at.name, at.path, hash);
    memcpy(out->sha256, digits, KNI_SHA256_SIZE);
    out->variant = kni_strdup(variant);
    return out->variant ? KN_OK : kni_no_memory(err);
}

static kn_status read_hashes(const reader *r, const json_t *variants)
{
    const char *variant;
    json_t *value;
    kni_lock_entry *out = r->out;
    kn_status st = KN_OK;
    out->hashes = kni_calloc(json_object_size(variants), sizeof(*out->hashes));
    if (!out->hashes)
        return kni_no_memory(r->err);
    json_object_foreach((json_t *)(uintptr_t)variants, variant, value)
    {
        char path[PATH_SIZE];
        snprintf(path, sizeof(path), "%s.variants.%s", r->at.path, variant);
        if (!kni_is_component(variant))
            return kn_error_set(r->err, KN_ERR_FORMAT,
                                "%s: %.200s: expected the name of a build variant", r->at.name,
                                path);
        kni_lock_hash *hash = &out->hashes[out->n_hashes++];
        st = read_hash((kni_json_at){r->at.name, path, value}, variant, hash, r->err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

static kn_status read_hashed(const reader *r)
{
    static const char *const keys[] = {"repo_id", "sha", "variants"};
    const json_t *variants = NULL;
    kn_status st = kni_json_only(r->at, keys, KN_LEN(keys), r->err);
    if (st == KN_OK)
        st = read_repo_id(r->at, "repo_id", &r->out->repo_id, r->err);
    if (st == KN_OK)
        st = read_commit(r->at, "sha", r->out->commit, r->err);
    if (st == KN_OK)
        st = kni_json_object(r->at, "variants", true, &variants, r->err);
    return st == KN_OK ? read_hashes(r, variants) : st;
}

// --- commits ---

static kn_status read_wish(kni_json_at at, kni_lock_entry *out, kn_error *err)
{
    static const char *const keys[] = {"repo-id", "version", "revision"};
    const char *revision = NULL;
    kn_status st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = read_repo_id(at, "repo-id", &out->repo_id, err);
    if (st == KN_OK)
        st = kni_json_int(at, "version", false, &out->version, err);
    if (st == KN_OK)
        st = kni_json_string(at, "revision", false, &revision, err);
    if (st != KN_OK)
        return st;
    const json_t *version = json_object_get(at.object, "version");
    const bool has_version = version && !json_is_null(version);
    if (has_version == (revision != NULL))
        return kn_error_set(
            err, KN_ERR_FORMAT, "%s: %s: %s: expected exactly one of them", at.name, at.path,
            revision ? "has version and revision" : "has neither version nor revision");
    if (has_version && out->version < 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.version: found %" PRId64 ": expected a number from 0", at.name,
                            at.path, out->version);
    if (revision && kni_ref_check(revision, "revision", NULL) != KN_OK && !kni_is_commit(revision))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s.revision: found \"%.80s\": expected a branch, tag or commit",
                            at.name, at.path, revision);
    if (revision && !(out->revision = kni_strdup(revision)))
        return kni_no_memory(err);
    return KN_OK;
}

static kn_status read_committed(const reader *r)
{
    static const char *const keys[] = {"dependency", "lock"}, *const lock_keys[] = {"commit"};
    char path[PATH_SIZE];
    const json_t *dependency = NULL, *lock = NULL;
    kn_status st = kni_json_only(r->at, keys, KN_LEN(keys), r->err);
    if (st == KN_OK)
        st = kni_json_object(r->at, "dependency", true, &dependency, r->err);
    if (st == KN_OK)
        st = kni_json_object(r->at, "lock", true, &lock, r->err);
    if (st != KN_OK)
        return st;
    snprintf(path, sizeof(path), "%s.dependency", r->at.path);
    st = read_wish((kni_json_at){r->at.name, path, dependency}, r->out, r->err);
    if (st != KN_OK)
        return st;
    snprintf(path, sizeof(path), "%s.lock", r->at.path);
    const kni_json_at at = {r->at.name, path, lock};
    st = kni_json_only(at, lock_keys, KN_LEN(lock_keys), r->err);
    return st == KN_OK ? read_commit(at, "commit", r->out->commit, r->err) : st;
}

// --- the file ---

// The hashed form names a repository once. In the other one, which also locks what kernels depend on, it may stand with several
// versions; the peer takes the first.
static bool is_same(const kni_lock *lock, const kni_lock_entry *a, const kni_lock_entry *b)
{
    if (strcmp(a->repo_id, b->repo_id) != 0)
        return false;
    return lock->is_hashed ||
           (a->version == b->version && kni_string_equal(a->revision, b->revision));
}

static kn_status read_entry(const char *name, const json_t *value, kni_lock *out, kn_error *err)
{
    char path[32];
    snprintf(path, sizeof(path), "[%zu]", out->count);
    kni_lock_entry *entry = &out->entries[out->count++];
    entry->version = -1;
    const reader r = {{name, path, value}, entry, err};
    const bool is_hashed = json_object_get(value, "dependency") == NULL;
    if (out->count == 1)
        out->is_hashed = is_hashed;
    else if (json_is_object(value) && is_hashed != out->is_hashed)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s: is %s, but [0] is not: expected one form for the whole file",
                            name, path,
                            is_hashed ? "an entry with hashes" : "an entry with a dependency");
    entry->is_hashed = out->is_hashed;
    const kn_status st = out->is_hashed ? read_hashed(&r) : read_committed(&r);
    for (size_t i = 0; st == KN_OK && i + 1 < out->count; ++i)
        if (is_same(out, &out->entries[i], entry))
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: %s: %s is locked already by [%zu]: expected it once", name,
                                path, entry->repo_id, i);
    return st;
}

kn_status kni_lock_parse(const char *text, size_t size, const char *name, kni_lock *out,
                         kn_error *err)
{
    json_t *root = NULL;
    *out = (kni_lock){.is_hashed = true};
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st != KN_OK)
        goto done;
    const size_t count = json_array_size(root);
    if (!json_is_array(root))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: expected an array of locked kernels, found %s",
                          name, kni_json_type_text(root));
    else if (count > KNI_LOCK_ENTRIES_MAX)
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: locks %zu kernels: expected at most %d", name,
                          count, KNI_LOCK_ENTRIES_MAX);
    else if (!(out->entries = kni_calloc(count, sizeof(*out->entries))))
        st = kni_no_memory(err);
    for (size_t i = 0; st == KN_OK && i < count; ++i)
        st = read_entry(name, json_array_get(root, i), out, err);
done:
    json_decref(root);
    if (st != KN_OK)
        kni_lock_dispose(out);
    return st;
}

kn_status kni_lock_read(const char *path, kni_lock *out, kn_error *err)
{
    kni_buf text = KNI_BUF(FILE_SIZE_MAX);
    *out = (kni_lock){.is_hashed = true};
    kn_status st = kni_file_read(&text, path, err);
    if (st == KN_OK)
        st = kni_lock_parse(kni_buf_text(&text), text.size, path, out, err);
    kni_buf_dispose(&text);
    return st;
}

void kni_lock_entry_dispose(kni_lock_entry *entry)
{
    for (size_t i = 0; entry->hashes && i < entry->n_hashes; ++i)
        kni_free(entry->hashes[i].variant);
    kni_free(entry->hashes);
    kni_free(entry->repo_id);
    kni_free(entry->revision);
    *entry = (kni_lock_entry){.version = -1};
}

kn_status kni_lock_entry_copy(const kni_lock_entry *from, kni_lock_entry *out, kn_error *err)
{
    *out = (kni_lock_entry){.version = from->version, .is_hashed = from->is_hashed};
    memcpy(out->commit, from->commit, sizeof(out->commit));
    out->repo_id = kni_strdup(from->repo_id);
    out->revision = kni_strdup(from->revision);
    out->hashes = kni_calloc(from->n_hashes, sizeof(*out->hashes));
    bool good = out->repo_id && out->hashes && (out->revision || !from->revision);
    for (size_t i = 0; good && i < from->n_hashes; ++i) {
        kni_lock_hash *hash = &out->hashes[out->n_hashes++];
        memcpy(hash->sha256, from->hashes[i].sha256, sizeof(hash->sha256));
        hash->variant = kni_strdup(from->hashes[i].variant);
        good = hash->variant != NULL;
    }
    if (good)
        return KN_OK;
    kni_lock_entry_dispose(out);
    return kni_no_memory(err);
}

void kni_lock_dispose(kni_lock *lock)
{
    for (size_t i = 0; i < lock->count; ++i)
        kni_lock_entry_dispose(&lock->entries[i]);
    kni_free(lock->entries);
    *lock = (kni_lock){.is_hashed = true};
}

const kni_lock_entry *kni_lock_find(const kni_lock *lock, const char *repo_id)
{
    for (size_t i = 0; i < lock->count; ++i)
        if (strcmp(lock->entries[i].repo_id, repo_id) == 0)
            return &lock->entries[i];
    return NULL;
}

const kni_lock_hash *kni_lock_find_hash(const kni_lock_entry *entry, const char *variant)
{
    for (size_t i = 0; i < entry->n_hashes; ++i)
        if (strcmp(entry->hashes[i].variant, variant) == 0)
            return &entry->hashes[i];
    return NULL;
}
