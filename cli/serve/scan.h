// The files below a ref's directory, without their contents.
#ifndef SERVE_SCAN_H
#define SERVE_SCAN_H

#include "snapshot.h"

typedef struct serve_scan {
    serve_entry *entries; // sorted; path, kind and stamp are filled
    size_t count, capacity;
    size_t
        n_left_out; // links that lead out of what is served or nowhere, and what is neither file nor directory
} serve_scan;

kn_status serve_scan_read(const serve_place *place, serve_scan *out, kn_error *err);
void serve_entries_free(serve_entry *entries, size_t count);

// Sorts a directory right before what is in it, and all as git sorts a tree.
int serve_path_compare(const char *a, bool a_is_dir, const char *b, bool b_is_dir);

char *serve_place_path(const serve_place *place,
                       const char *path); // on disk, below root; free() it

#endif
