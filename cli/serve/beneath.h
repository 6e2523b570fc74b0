// Files below a directory that is served. Whatever a path says and wherever links lead, nothing outside of it is opened.
#ifndef SERVE_BENEATH_H
#define SERVE_BENEATH_H

#include <stdbool.h>

// Opens `path`, relative to the directory `root`; links are followed as long as they stay beneath it. -1 with errno. Never waits
// for the writer of a FIFO. flags: as of open(); O_CLOEXEC is added.
int serve_open_beneath(int root, const char *path, int flags);

// May this name of a file or directory be seen by clients? Not hidden ones, nor what no hub would hold: control bytes,
// backslashes, what is not UTF-8.
bool serve_is_name(const char *name);

#endif
