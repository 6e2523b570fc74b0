// Files and paths. Paths are UTF-8 bytes with '/'.
#ifndef KNI_BASE_FS_H
#define KNI_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kernels/base.h"

// A path below a root as metadata and hubs name it: relative, no empty, "." or ".." component, no backslash, no control
// character, at most 1024 bytes and 255 of each component. On failure err says which rule, naming `what` ("digest.files").
kn_status kni_path_check_relative(const char *path, const char *what, kn_error *err);

// Byte code that Python leaves behind when it imports a package: "*.pyc", and all below a "__pycache__". Never fetched, hashed or run.
bool kni_path_is_byte_code(const char *path);

char *
kni_path_join(const char *dir,
              const char *name); // caller's; NULL without memory. An absolute name stands alone
char *kni_path_dirname(const char *path); // caller's; "." when there is no directory part
const char *kni_path_basename(const char *path);
bool kni_path_is_absolute(const char *path);

// The real absolute path (links resolved), caller's. KN_ERR_NOT_FOUND when there is none.
kn_status kni_path_real(const char *path, char **out, kn_error *err);

// Reads a whole regular file (never a FIFO or device, never a directory) up to the buffer's ceiling.
kn_status kni_file_read(kni_buf *out, const char *path, kn_error *err);

// Writes a file whole: aside, fsync, then rename. On failure nothing is left behind.
kn_status kni_file_write(const char *path, const void *data, size_t size, kn_error *err);

// Several files that belong together: all are written aside before the first is renamed, so that a full disk or a directory that may
// not be written to changes none of them.
typedef struct kni_file_text {
    const char *path;
    const void *data;
    size_t size;
} kni_file_text;
#define KNI_FILES_MAX 4
kn_status kni_files_write(const kni_file_text *files, size_t n, kn_error *err);

bool kni_file_exists(const char *path);
bool kni_dir_exists(const char *path);

// Creates a directory and its missing parents (mode 0777 & ~umask).
kn_status kni_dir_make(const char *path, kn_error *err);

// The names in a directory, sorted bytewise, without "." and ".."; at most 10 000 (an error beyond). Free with kni_names_free.
typedef struct kni_names {
    char **names;
    size_t count;
    size_t capacity;
} kni_names;
kn_status kni_dir_list(const char *path, kni_names *out, kn_error *err);
void kni_names_free(kni_names *names);

// Adds a name, which is the list's from now on. False without memory: the name (NULL: there was none for it) is freed then.
bool kni_names_push(kni_names *names, char *name);

// Every regular file below a directory, as paths relative to it, sorted bytewise. Links that resolve to a regular file inside the
// directory count as files; other links, linked directories and special files are errors (KN_ERR_UNTRUSTED) that name them.
kn_status kni_tree_list(const char *root, kni_names *out, kn_error *err);
// The same, but every link counts as a file, wherever it leads: for a caller that judges each when it opens it.
kn_status kni_tree_list_links(const char *root, kni_names *out, kn_error *err);

#endif
