// Files and directories, most of them those that `kernels pack` reads and makes. Paths are the caller's strings; messages go to err.
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include <kernels/base.h>

#define CLI_SHA256_HEX_SIZE 65
#define CLI_SHA256_BASE64_SIZE 45

char *cli_join(const char *dir, const char *name); // free() it
char *cli_absolute(const char *path); // below the working directory, "" as it is; free() it

// Missing parents are made too.
kn_status cli_make_dir(const char *path, kn_error *err);
// A directory of this process's own below dir; free() it.
kn_status cli_make_temporary(const char *dir, char **out, kn_error *err);
// With all that is in it, links not followed. What cannot be removed stays.
void cli_remove_tree(const char *path);

kn_status cli_write_file(const char *path, const void *data, size_t size, kn_error *err);
// A regular file, links followed.
kn_status cli_copy_file(const char *from, const char *to, kn_error *err);
kn_status cli_read_file(const char *path, char **data, size_t *size, kn_error *err); // free() it

// Puts a finished directory or file in its place in one step; what was there is at `from` afterwards.
kn_status cli_put_in_place(const char *from, const char *to, kn_error *err);

void cli_sha256_hex(const void *data, size_t size, char out[CLI_SHA256_HEX_SIZE]);
void cli_sha256_base64(const void *data, size_t size, char out[CLI_SHA256_BASE64_SIZE]);

#endif
