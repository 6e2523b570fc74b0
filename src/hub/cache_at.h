// Directories of a cache by open descriptor: every hop below the cache's root is opened relative to the one before it and never
// through a link, so that what was checked is what is used.
#ifndef KNI_HUB_CACHE_AT_H
#define KNI_HUB_CACHE_AT_H

#include <sys/stat.h>

#include "base/fs.h"
#include "hub/cache.h"

struct kni_cache {
    char *dir;
    bool is_site;
    bool without_symlinks;
};

// An open directory and its path, which begins the errors.
typedef struct kni_at {
    int fd; // -1: none
    char *path;
} kni_at;

#define KNI_AT_NONE ((kni_at){.fd = -1, .path = NULL})

void kni_at_close(kni_at *at); // and empties it; fine for none

// The root itself may be a link: it is what the user named. make: with its parents.
kn_status kni_at_root(const char *dir, bool make, kni_at *out, kn_error *err);
// The directory at a relative path below base ("" for base again), hop by hop. make: those that are missing.
// Error: KN_ERR_NOT_FOUND; KN_ERR_UNTRUSTED (a hop is a link, or no directory); KN_ERR_IO.
kn_status kni_at_open(const kni_at *base, const char *path, bool make, kni_at *out, kn_error *err);
// The folder of a repository.
kn_status kni_at_folder(const kni_cache *cache, const kni_repo *repo, kni_at *out, kn_error *err);
// The same for directories that may be missing: KN_OK and no directory then.
kn_status kni_at_open_if(const kni_at *base, const char *path, kni_at *out, kn_error *err);
kn_status kni_at_folder_if(const kni_cache *cache, const kni_repo *repo, kni_at *out,
                           kn_error *err);

// "<at>/<name>: <what>: <the text of errno>", and what to do about it. KN_ERR_NOT_FOUND, KN_ERR_UNTRUSTED (links), else KN_ERR_IO.
kn_status kni_at_fail(const kni_at *at, const char *name, int number, const char *what,
                      kn_error *err);

// Its names, sorted bytewise, at most 100 000 (an error beyond).
kn_status kni_at_list(const kni_at *at, kni_names *out, kn_error *err);

// An entry without following it; false: not there, or not to be seen.
bool kni_at_stat(const kni_at *at, const char *name, struct stat *info);

// Opens a regular file itself for reading: never a link, a FIFO, a device. Error: KN_ERR_NOT_FOUND, KN_ERR_UNTRUSTED, KN_ERR_IO.
kn_status kni_at_file(const kni_at *at, const char *name, int *fd, kn_error *err);
// Reads a whole one, up to the buffer's ceiling.
kn_status kni_at_read(const kni_at *at, const char *name, kni_buf *out, kn_error *err);
kn_status kni_fd_read(int fd, const char *subject, kni_buf *out, kn_error *err);

// Removes an entry, with all below it when it is a directory; links are not followed. *freed grows by the sizes of regular files. What
// is not there is removed already.
kn_status kni_at_remove(const kni_at *at, const char *name, uint64_t *freed, kn_error *err);

#endif
