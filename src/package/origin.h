// A package that lies in a hub's cache, where its files are links to blobs: it is known by the form of its path,
// <cache>/<type>s--<owner>--<name>/snapshots/<commit>/build/<variant>. Each file is opened as the cache's layout has it.
#ifndef KNI_PACKAGE_ORIGIN_H
#define KNI_PACKAGE_ORIGIN_H

#include "base/fs.h"
#include "hub/cache.h"

typedef struct kni_origin {
    kni_cache *cache; // owned
    kni_repo repo;
    char commit[KNI_COMMIT_SIZE];
    char *in_snapshot; // "build/<variant>"
} kni_origin;

// *out NULL: the path has another form. path: real and absolute.
kn_status kni_origin_of(const char *path, kni_origin **out, kn_error *err);
void kni_origin_free(kni_origin *origin);

// The package's files, as kni_tree_list gives them; links are judged when they are opened. origin NULL: a directory of its own.
kn_status kni_origin_list(const kni_origin *origin, const char *dir, kni_names *out, kn_error *err);

// One file, open, with the name of the blob it is ("" when it is none).
kn_status kni_origin_open_file(const kni_origin *origin, const char *dir, const char *name,
                               kni_cached_file *out, kn_error *err);

// A small file, whole. That of a cache is held against its blob's name.
kn_status kni_origin_read(const kni_origin *origin, const char *dir, const char *name, kni_buf *out,
                          kn_error *err);

#endif
