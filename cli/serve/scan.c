#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../output.h"
#include "beneath.h"

enum {
    DEPTH_MAX = 48,
    PATH_SIZE_MAX = 1024,
    ENTRIES_MAX = 200000,
};

char *serve_place_path(const serve_place *place, const char *path)
{
    const char *rest = path + strlen(place->prefix);
    return rest[0] ? cli_format("%s/%s", place->dir, rest) : cli_format("%s", place->dir);
}

void serve_entries_free(serve_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        free(entries[i].path);
    free(entries);
}

int serve_path_compare(const char *a, bool a_is_dir, const char *b, bool b_is_dir)
{
    size_t i = 0;
    while (a[i] && a[i] == b[i])
        ++i;
    // A directory's name ends with a slash.
    const int at_a = a[i] ? (unsigned char)a[i] : a_is_dir ? '/' : 0;
    const int at_b = b[i] ? (unsigned char)b[i] : b_is_dir ? '/' : 0;
    if (at_a != at_b || (!a[i] && !b[i]))
        return at_a - at_b;
    // One is a directory in which the other lies, or would.
    return a[i] ? 1 : -1;
}

static int compare(const void *a, const void *b)
{
    const serve_entry *x = a, *y = b;
    return serve_path_compare(x->path, x->is_dir, y->path, y->is_dir);
}

static kn_status add(serve_scan *scan, const serve_place *place, char *path, bool is_dir,
                     const struct stat *info, kn_error *err)
{
    if (scan->count == ENTRIES_MAX || strlen(path) > PATH_SIZE_MAX) {
        free(path);
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: holds more than %d files, or a path longer than %d bytes",
                            place->title, ENTRIES_MAX, PATH_SIZE_MAX);
    }
    if (scan->count == scan->capacity) {
        scan->capacity = scan->capacity ? 2 * scan->capacity : 64;
        scan->entries = cli_resize(scan->entries, scan->capacity * sizeof(*scan->entries));
    }
    serve_entry *entry = &scan->entries[scan->count++];
    *entry = (serve_entry){.path = path, .is_dir = is_dir};
    if (!is_dir) {
        entry->stamp = serve_stamp_of(info);
        entry->is_executable = (info->st_mode & S_IXUSR) != 0;
    }
    return KN_OK;
}

// Of a link, what it leads to; only regular files count there. False: not to be served.
static bool look_at(const serve_place *place, int dir, const char *name, const char *path,
                    struct stat *info)
{
    if (fstatat(dir, name, info, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (!S_ISLNK(info->st_mode))
        return S_ISREG(info->st_mode) || S_ISDIR(info->st_mode);
    char *on_disk = serve_place_path(place, path);
    const int fd = serve_open_beneath(place->root, on_disk, O_PATH);
    const bool is_file = fd >= 0 && fstat(fd, info) == 0 && S_ISREG(info->st_mode);
    if (fd >= 0)
        close(fd);
    free(on_disk);
    return is_file;
}

static kn_status scan_dir(serve_scan *scan, const serve_place *place, const char *path, int depth,
                          kn_error *err)
{
    kn_status st = KN_OK;
    char *on_disk = serve_place_path(place, path);
    const int fd = serve_open_beneath(place->root, on_disk, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    free(on_disk);
    if (!dir) {
        // One below that was there a moment ago: things are being moved.
        const kn_status gone = depth == 0 ? KN_ERR_NOT_FOUND : KN_ERR_CONFLICT;
        st = kn_error_set(err, errno == ENOENT || errno == ENOTDIR ? gone : KN_ERR_IO,
                          "%s: '%s': %s", place->title, path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return st;
    }
    const struct dirent *found;
    while (st == KN_OK && (errno = 0, found = readdir(dir))) {
        if (!serve_is_name(found->d_name))
            continue;
        const bool joined = !path[0] || path[strlen(path) - 1] == '/';
        char *child = cli_format("%s%s%s", path, joined ? "" : "/", found->d_name);
        struct stat info;
        if (!look_at(place, dirfd(dir), found->d_name, child, &info)) {
            free(child);
            ++scan->n_left_out;
        } else if (S_ISREG(info.st_mode)) {
            st = add(scan, place, child, false, &info, err);
        } else if (depth == DEPTH_MAX) {
            st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: '%s' is deeper than %d directories",
                              place->title, child, DEPTH_MAX);
            free(child);
        } else {
            char *again = cli_format("%s", child);
            const size_t before = scan->count;
            st = add(scan, place, child, true, &info, err);
            if (st == KN_OK)
                st = scan_dir(scan, place, again, depth + 1, err);
            if (st == KN_OK && scan->count == before + 1) // git knows no empty directories
                free(scan->entries[--scan->count].path);
            free(again);
        }
    }
    if (st == KN_OK && errno != 0)
        st = kn_error_set(err, KN_ERR_IO, "%s: '%s': cannot be read: %s", place->title, path,
                          strerror(errno));
    closedir(dir);
    return st;
}

kn_status serve_scan_read(const serve_place *place, serve_scan *out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (serve_scan){.entries = NULL};
    if (place->prefix[0]) // "build/": the directory itself
        st = add(out, place, cli_format("%.*s", (int)strlen(place->prefix) - 1, place->prefix),
                 true, NULL, err);
    if (st == KN_OK)
        st = scan_dir(out, place, place->prefix, 0, err);
    if (st != KN_OK) {
        serve_entries_free(out->entries, out->count);
        *out = (serve_scan){.entries = NULL};
    } else if (out->count) {
        qsort(out->entries, out->count, sizeof(*out->entries), compare);
    }
    return st;
}
