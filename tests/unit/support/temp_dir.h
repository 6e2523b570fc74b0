// A directory of a test's own, and the files in it. Every function asserts that it worked.
#ifndef SUPPORT_TEMP_DIR_H
#define SUPPORT_TEMP_DIR_H

#include <stddef.h>

char *temp_dir_new(void);         // its real absolute path; free with temp_dir_remove
void temp_dir_remove(char *path); // with all that is in it

// Paths below it, relative; missing directories are made.
void temp_dir_write(const char *dir, const char *name, const void *data, size_t size);
void temp_dir_text(const char *dir, const char *name, const char *text);
void temp_dir_link(const char *dir, const char *name, const char *target);
const char *temp_dir_path(const char *dir, const char *name); // one of four buffers, in turn

#endif
