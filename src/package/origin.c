#include "package/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

// Cuts "/name" off the end of the span.
static bool cut_last(kni_span *path, kni_span *name)
{
    for (size_t i = path->size; i-- > 0;)
        if (path->data[i] == '/') {
            *name = (kni_span){path->data + i + 1, path->size - i - 1};
            path->size = i;
            return name->size > 0;
        }
    return false;
}

// "kernels--owner--name"
static bool read_folder(kni_span folder, kni_repo *out)
{
    static const struct {
        const char *prefix;
        kni_repo_type type;
    } types[] = {{"kernels--", KNI_REPO_KERNEL}, {"models--", KNI_REPO_MODEL}};
    char id[KNI_REPO_ID_MAX];
    for (size_t t = 0; t < KN_LEN(types); ++t) {
        const size_t skip = strlen(types[t].prefix);
        if (!kni_span_starts(folder, types[t].prefix) || folder.size - skip >= sizeof(id))
            continue;
        memcpy(id, folder.data + skip, folder.size - skip);
        id[folder.size - skip] = '\0';
        char *dashes = strstr(id, "--");
        if (!dashes)
            return false;
        *dashes = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
        return kni_repo_init(out, types[t].type, id, NULL) == KN_OK;
    }
    return false;
}

static bool has_the_form(const char *path, kni_span *cache, kni_repo *repo,
                         char commit[KNI_COMMIT_SIZE])
{
    kni_span rest = kni_span_of(path), variant, build, id, snapshots, folder;
    if (!cut_last(&rest, &variant) || !cut_last(&rest, &build) || !cut_last(&rest, &id) ||
        !cut_last(&rest, &snapshots) || !cut_last(&rest, &folder) || !kni_span_is(build, "build") ||
        !kni_span_is(snapshots, "snapshots") || id.size != KNI_COMMIT_SIZE - 1)
        return false;
    memcpy(commit, id.data, id.size);
    commit[id.size] = '\0';
    *cache = rest;
    return kni_is_commit(commit) && read_folder(folder, repo);
}

kn_status kni_origin_of(const char *path, kni_origin **out, kn_error *err)
{
    kni_span cache;
    kni_repo repo;
    char commit[KNI_COMMIT_SIZE];
    *out = NULL;
    if (!has_the_form(path, &cache, &repo, commit))
        return KN_OK;
    kni_origin *origin = kni_calloc(1, sizeof(*origin));
    char *dir = cache.size ? kni_strndup(cache.data, cache.size) : kni_strdup("/");
    kni_buf in_snapshot = KNI_BUF_ANY;
    kni_buf_printf(&in_snapshot, "build/%s", kni_path_basename(path));
    kn_status st = origin && dir && !in_snapshot.failed ? KN_OK : kni_no_memory(err);
    if (st == KN_OK) {
        origin->repo = repo;
        memcpy(origin->commit, commit, sizeof(commit));
        origin->in_snapshot = kni_buf_take(&in_snapshot);
        st = kni_cache_new(dir, true, false, &origin->cache, err); // it is only read
    }
    kni_buf_dispose(&in_snapshot);
    kni_free(dir);
    if (st == KN_OK)
        *out = origin;
    else
        kni_origin_free(origin);
    return st;
}

void kni_origin_free(kni_origin *origin)
{
    if (!origin)
        return;
    kni_cache_free(origin->cache);
    kni_free(origin->in_snapshot);
    kni_free(origin);
}

kn_status kni_origin_list(const kni_origin *origin, const char *dir, kni_names *out, kn_error *err)
{
    return origin ? kni_tree_list_links(dir, out, err) : kni_tree_list(dir, out, err);
}

static kn_status join(const char *dir, const char *name, char **out, kn_error *err)
{
    *out = kni_path_join(dir, name);
    return *out ? KN_OK : kni_no_memory(err);
}

kn_status kni_origin_open_file(const kni_origin *origin, const char *dir, const char *name,
                               kni_cached_file *out, kn_error *err)
{
    char *path = NULL;
    *out = (kni_cached_file){.fd = -1};
    kn_status st = join(origin ? origin->in_snapshot : dir, name, &path, err);
    if (st == KN_OK && origin) {
        st = kni_cache_open_file(origin->cache, &origin->repo, origin->commit, path, out, err);
    } else if (st == KN_OK) {
        out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (out->fd < 0)
            st = kni_error_errno(err, errno, path, "cannot read");
    }
    kni_free(path);
    return st;
}

kn_status kni_origin_read(const kni_origin *origin, const char *dir, const char *name, kni_buf *out,
                          kn_error *err)
{
    char *path = NULL;
    kn_status st = join(origin ? origin->in_snapshot : dir, name, &path, err);
    if (st == KN_OK)
        st = origin
                 ? kni_cache_read_file(origin->cache, &origin->repo, origin->commit, path, out, err)
                 : kni_file_read(out, path, err);
    kni_free(path);
    return st;
}
