// Which kernels a kernels.lock names. What else it says, and whether it is right, is the library's to judge.
#ifndef CLI_LOCK_FILE_H
#define CLI_LOCK_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <kernels/base.h>

typedef struct cli_locked {
    char *repo_id;
    char *commit;
    bool is_again; // the lock has another entry of the repository before this one
} cli_locked;

typedef struct cli_lock {
    char *path; // absolute
    cli_locked *items;
    size_t count;
} cli_lock;

#define CLI_LOCK_NAME "kernels.lock"

// DIR/kernels.lock. Error: KN_ERR_NOT_FOUND, KN_ERR_FORMAT, KN_ERR_IO.
kn_status cli_lock_read(const char *dir, cli_lock *out, kn_error *err);
void cli_lock_dispose(cli_lock *lock);

#endif
