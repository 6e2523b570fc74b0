#include "lock_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "output.h"

static const char *text_at(const json_t *object, const char *outer, const char *key)
{
    const json_t *in = outer ? json_object_get(object, outer) : object;
    const char *text = json_string_value(json_object_get(in, key));
    return text ? text : "";
}

// Of either of the two formats.
static bool add(cli_lock *lock, const json_t *entry)
{
    const bool is_hashed = json_object_get(entry, "repo_id") != NULL;
    const char *repo_id =
        is_hashed ? text_at(entry, NULL, "repo_id") : text_at(entry, "dependency", "repo-id");
    const char *commit = is_hashed ? text_at(entry, NULL, "sha") : text_at(entry, "lock", "commit");
    cli_locked *item = &lock->items[lock->count];
    if (!repo_id[0] || !commit[0])
        return false;
    for (size_t i = 0; i < lock->count; ++i)
        item->is_again |= strcmp(lock->items[i].repo_id, repo_id) == 0;
    item->repo_id = cli_format("%s", repo_id);
    item->commit = cli_format("%s", commit);
    ++lock->count;
    return true;
}

kn_status cli_lock_read(const char *dir, cli_lock *out, kn_error *err)
{
    char *absolute = cli_absolute(dir), *text = NULL;
    size_t size = 0;
    json_error_t why;
    json_t *root = NULL;
    *out = (cli_lock){.path = cli_join(absolute, CLI_LOCK_NAME)};
    free(absolute);
    if (access(out->path, F_OK) != 0)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "No kernels.lock file found in: %s", dir);
    kn_status st = cli_read_file(out->path, &text, &size, err);
    if (st != KN_OK)
        return st;
    root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!root)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: line %d, column %d: %s", out->path, why.line,
                            why.column, why.text);
    const size_t count = json_array_size(root); // 0 of what is no array
    out->items = cli_alloc(count * sizeof(*out->items));
    for (size_t i = 0; st == KN_OK && i < count; ++i)
        if (!add(out, json_array_get(root, i)))
            st = kn_error_set(err, KN_ERR_FORMAT,
                              "%s: entry %zu: expected an object with a repository and a commit",
                              out->path, i);
    if (st == KN_OK && !json_is_array(root))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: expected an array", out->path);
    json_decref(root);
    return st;
}

void cli_lock_dispose(cli_lock *lock)
{
    for (size_t i = 0; i < lock->count; ++i) {
        free(lock->items[i].repo_id);
        free(lock->items[i].commit);
    }
    free(lock->items);
    free(lock->path);
    *lock = (cli_lock){NULL, NULL, 0};
}
