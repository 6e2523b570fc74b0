#include "refs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../output.h"
#include "beneath.h"
#include "target.h"

#define REF_SIZE_MAX 255

#define DIR_TEXT(kind, dir, full, key) [kind] = dir,
#define FULL_TEXT(kind, dir, full, key) [kind] = full,
#define KEY_TEXT(kind, dir, full, key) [kind] = key,
const char *const serve_ref_dirs[SERVE_REF_KINDS] = {SERVE_REF_KIND_LIST(DIR_TEXT)};
const char *const serve_ref_full[SERVE_REF_KINDS] = {SERVE_REF_KIND_LIST(FULL_TEXT)};
const char *const serve_ref_keys[SERVE_REF_KINDS] = {SERVE_REF_KIND_LIST(KEY_TEXT)};

static bool ends(const char *text, size_t size, const char *with)
{
    const size_t n = strlen(with);
    return size >= n && memcmp(text + size - n, with, n) == 0;
}

// Git's rules for the name of a ref, and that it cannot be taken for a commit.
static bool is_ref_name(const char *name)
{
    const size_t size = strlen(name);
    if (size == 0 || size > REF_SIZE_MAX || name[0] == '-' || strstr(name, "..") ||
        strstr(name, "@{") || strcmp(name, "@") == 0)
        return false;
    for (const char *part = name; part;) {
        const char *slash = strchr(part, '/');
        const size_t n = slash ? (size_t)(slash - part) : strlen(part);
        if (n == 0 || part[0] == '.' || part[n - 1] == '.' || ends(part, n, ".lock") ||
            ends(part, n, ".tmp"))
            return false;
        part = slash ? slash + 1 : NULL;
    }
    for (size_t i = 0; i < size; ++i)
        if ((unsigned char)name[i] <= ' ' || strchr("~^:?*[\\\x7f", name[i]))
            return false;
    return !(size == 40 && strspn(name, "0123456789abcdef") == 40);
}

void serve_refs_add(serve_refs *refs, serve_ref_kind kind, char *name, char *dir)
{
    refs->items = cli_resize(refs->items, (refs->count + 1) * sizeof(*refs->items));
    refs->items[refs->count++] = (serve_ref){kind, name, dir, NULL};
}

void serve_refs_dispose(serve_refs *refs)
{
    for (size_t i = 0; i < refs->count; ++i) {
        free(refs->items[i].name);
        free(refs->items[i].dir);
        serve_snapshot_unref(refs->items[i].snapshot);
    }
    free(refs->items);
    *refs = (serve_refs){NULL, 0};
}

static bool is_dir(int root, const char *path)
{
    struct stat info;
    const int fd = serve_open_beneath(root, path, O_PATH | O_DIRECTORY);
    const bool is = fd >= 0 && fstat(fd, &info) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

static kn_status read_kind(serve_refs *refs, int root, const char *repo_dir, serve_ref_kind kind,
                           kn_error *err)
{
    kn_status st = KN_OK;
    char *path = cli_format("%s/%s", repo_dir, serve_ref_dirs[kind]);
    const int fd = serve_open_beneath(root, path, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (errno != ENOENT && errno != ENOTDIR)
            st = kn_error_set(err, KN_ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        free(path);
        return st;
    }
    const struct dirent *found;
    while ((errno = 0, found = readdir(dir))) {
        char *name = serve_is_name(found->d_name) ? serve_decode(found->d_name, NULL) : NULL;
        char *ref_dir = cli_format("%s/%s", path, found->d_name);
        if (name && is_ref_name(name) && is_dir(root, ref_dir)) {
            serve_refs_add(refs, kind, name, ref_dir);
        } else {
            free(name);
            free(ref_dir);
        }
    }
    if (errno != 0)
        st = kn_error_set(err, KN_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    closedir(dir);
    free(path);
    return st;
}

static int compare(const void *a, const void *b)
{
    const serve_ref *x = a, *y = b;
    const int by_name = x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->dir, y->dir);
}

kn_status serve_refs_read(serve_refs *refs, int root, const char *repo_dir, kn_error *err)
{
    kn_status st = KN_OK;
    serve_refs now = {NULL, 0};
    for (int kind = 0; st == KN_OK && kind < SERVE_REF_KINDS; ++kind)
        st = read_kind(&now, root, repo_dir, (serve_ref_kind)kind, err);
    if (st != KN_OK) {
        serve_refs_dispose(&now);
        return st;
    }
    if (now.count)
        qsort(now.items, now.count, sizeof(*now.items), compare);
    // Both are sorted alike: those of one directory meet.
    for (size_t i = 0, j = 0; i < now.count && j < refs->count;) {
        const int order = compare(&now.items[i], &refs->items[j]);
        if (order == 0) {
            now.items[i].snapshot = refs->items[j].snapshot;
            refs->items[j].snapshot = NULL;
        }
        i += order <= 0;
        j += order >= 0;
    }
    serve_refs_dispose(refs);
    *refs = now;
    return KN_OK;
}

serve_ref *serve_refs_find(serve_refs *refs, const char *revision)
{
    for (size_t i = 0; i < refs->count; ++i) { // sorted: branches first
        serve_ref *ref = &refs->items[i];
        const char *full = serve_ref_full[ref->kind];
        const size_t n = strlen(full);
        const bool by_name = ref->kind <= SERVE_TAG && strcmp(ref->name, revision) == 0;
        if (by_name || (strncmp(revision, full, n) == 0 && strcmp(ref->name, revision + n) == 0))
            return ref;
    }
    return NULL;
}
