#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../output.h"
#include "beneath.h"
#include "scan.h"

enum {
    ATTEMPTS = 4, // for files that change while they are read
};

serve_snapshot *serve_snapshot_ref(serve_snapshot *snapshot)
{
    atomic_fetch_add(&snapshot->refs, 1);
    return snapshot;
}

void serve_snapshot_unref(serve_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub(&snapshot->refs, 1) != 1)
        return;
    serve_entries_free(snapshot->entries, snapshot->count);
    free(snapshot);
}

static bool is_same(const serve_scan *scan, const serve_snapshot *last)
{
    if (!last || !last->is_settled || last->count != scan->count)
        return false;
    for (size_t i = 0; i < scan->count; ++i) {
        const serve_entry *a = &scan->entries[i], *b = &last->entries[i];
        if (strcmp(a->path, b->path) != 0 || a->is_dir != b->is_dir ||
            a->is_executable != b->is_executable || !serve_stamp_equal(&a->stamp, &b->stamp))
            return false;
    }
    return true;
}

// What git holds for a large file: the text of a pointer.
static void set_pointer(serve_entry *entry)
{
    char text[256];
    const int n = snprintf(text, sizeof(text),
                           "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %llu\n",
                           entry->sha256, (unsigned long long)entry->stamp.size);
    entry->is_lfs = true;
    entry->pointer_size = (size_t)n;
    serve_git_object("blob", text, (size_t)n, entry->oid);
}

static bool is_large(const serve_entry *entry, uint64_t large_bytes)
{
    const size_t size = strlen(entry->path);
    return entry->stamp.size >= large_bytes ||
           (size > 3 && strcmp(entry->path + size - 3, ".so") == 0);
}

static kn_status hash_file(const serve_place *place, serve_hash_cache *cache, uint64_t large_bytes,
                           serve_entry *entry, bool *is_settled, kn_error *err)
{
    serve_hashes hashes = {.is_settled = false};
    char *title = cli_format("%s: '%s'", place->title, entry->path);
    const int fd = serve_snapshot_open(place, entry);
    kn_status st;
    if (fd < 0) {
        const bool is_gone = errno == ESTALE || errno == ENOENT;
        st = kn_error_set(err, is_gone ? KN_ERR_CONFLICT : KN_ERR_IO, "%s: cannot be opened: %s",
                          title, strerror(errno));
    } else {
        st = serve_hash(cache, fd, title, &entry->stamp, !is_large(entry, large_bytes), &hashes,
                        err);
        close(fd);
    }
    free(title);
    if (st != KN_OK)
        return st;
    *is_settled &= hashes.is_settled;
    memcpy(entry->sha256, hashes.sha256, sizeof(entry->sha256));
    memcpy(entry->oid, hashes.blob, sizeof(entry->oid));
    if (is_large(entry, large_bytes))
        set_pointer(entry);
    return KN_OK;
}

static void unhex(const char *hex, unsigned char *out, size_t size)
{
    for (size_t i = 0; i < size; ++i) {
        unsigned int byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (unsigned char)byte;
    }
}

// Fills the oid of the directory at *at and moves *at behind what is in it.
static void set_tree(serve_snapshot *snapshot, size_t *at)
{
    serve_entry *dir = &snapshot->entries[*at];
    const size_t below = strlen(dir->path) + 1;
    unsigned char *text = NULL;
    size_t size = 0;
    for (++*at; *at < snapshot->count;) {
        const serve_entry *entry = &snapshot->entries[*at];
        if (strncmp(entry->path, dir->path, below - 1) != 0 || entry->path[below - 1] != '/')
            break;
        if (entry->is_dir)
            set_tree(snapshot, at);
        else
            ++*at;
        const char *mode = entry->is_dir ? "40000" : entry->is_executable ? "100755" : "100644";
        const size_t more = strlen(mode) + 1 + strlen(entry->path + below) + 1 + 20;
        text = cli_resize(text, size + more);
        snprintf((char *)text + size, more, "%s %s", mode, entry->path + below);
        unhex(entry->oid, text + size + more - 20, 20);
        size += more;
    }
    serve_git_object("tree", text, size, dir->oid);
    free(text);
}

// The commit: SHA-1 of the manifest, a line for each file: its SHA-256, size and path.
static void set_commit(serve_snapshot *snapshot)
{
    char *manifest = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&manifest, &size);
    if (!out)
        cli_no_memory();
    for (size_t i = 0; i < snapshot->count; ++i) {
        const serve_entry *entry = &snapshot->entries[i];
        if (!entry->is_dir)
            fprintf(out, "%s %llu %s\n", entry->sha256, (unsigned long long)entry->stamp.size,
                    entry->path);
    }
    if (fclose(out) != 0)
        cli_no_memory();
    serve_sha1(manifest, size, snapshot->commit);
    free(manifest);
}

static kn_status build(const serve_place *place, serve_hash_cache *cache, uint64_t large_bytes,
                       serve_scan *scan, serve_snapshot **out, kn_error *err)
{
    kn_status st = KN_OK;
    serve_snapshot *made = cli_alloc(sizeof(*made));
    made->entries = scan->entries;
    made->count = scan->count;
    if (scan->n_left_out)
        cli_fail("serve: %s: %zu names are not served: links that lead out or nowhere, or no files",
                 place->title, scan->n_left_out);
    made->is_settled = true;
    atomic_init(&made->refs, 1);
    *scan = (serve_scan){.entries = NULL};
    for (size_t i = 0; st == KN_OK && i < made->count; ++i) {
        serve_entry *entry = &made->entries[i];
        if (entry->is_dir)
            continue;
        st = hash_file(place, cache, large_bytes, entry, &made->is_settled, err);
        if (entry->stamp.mtime_ns > made->modified_ns)
            made->modified_ns = entry->stamp.mtime_ns;
    }
    if (st != KN_OK) {
        serve_snapshot_unref(made);
        return st;
    }
    for (size_t at = 0; at < made->count;)
        if (made->entries[at].is_dir)
            set_tree(made, &at);
        else
            ++at;
    set_commit(made);
    *out = made;
    return KN_OK;
}

kn_status serve_snapshot_read(const serve_place *place, serve_hash_cache *cache,
                              uint64_t large_bytes, serve_snapshot *last, serve_snapshot **out,
                              kn_error *err)
{
    kn_status st = KN_ERR_CONFLICT;
    *out = NULL;
    for (int attempt = 0; st == KN_ERR_CONFLICT && attempt < ATTEMPTS; ++attempt) {
        serve_scan scan;
        kn_error_dispose(err);
        st = serve_scan_read(place, &scan, err);
        if (st != KN_OK)
            continue;
        if (is_same(&scan, last))
            *out = serve_snapshot_ref(last);
        else
            st = build(place, cache, large_bytes, &scan, out, err);
        serve_entries_free(scan.entries, scan.count);
    }
    return st;
}

static const serve_entry *find(const serve_snapshot *snapshot, const char *path, bool is_dir)
{
    size_t low = 0, high = snapshot->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const serve_entry *entry = &snapshot->entries[middle];
        const int order = serve_path_compare(entry->path, entry->is_dir, path, is_dir);
        if (order == 0)
            return entry;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const serve_entry *serve_snapshot_find(const serve_snapshot *snapshot, const char *path)
{
    const serve_entry *entry = path[0] ? find(snapshot, path, false) : NULL;
    return entry || !path[0] ? entry : find(snapshot, path, true);
}

bool serve_snapshot_below(const serve_snapshot *snapshot, const char *dir, size_t *begin,
                          size_t *end)
{
    *begin = 0;
    *end = snapshot->count;
    if (!dir[0])
        return true;
    const serve_entry *entry = find(snapshot, dir, true);
    if (!entry)
        return false;
    const size_t size = strlen(dir);
    *begin = (size_t)(entry - snapshot->entries) + 1;
    for (*end = *begin; *end < snapshot->count; ++*end) {
        const char *path = snapshot->entries[*end].path;
        if (strncmp(path, dir, size) != 0 || path[size] != '/')
            break;
    }
    return true;
}

int serve_snapshot_open(const serve_place *place, const serve_entry *entry)
{
    struct stat info;
    char *on_disk = serve_place_path(place, entry->path);
    int fd = serve_open_beneath(place->root, on_disk, O_RDONLY);
    free(on_disk);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        const serve_stamp now = serve_stamp_of(&info);
        if (serve_stamp_equal(&now, &entry->stamp))
            return fd;
    }
    close(fd);
    errno = ESTALE;
    return -1;
}
