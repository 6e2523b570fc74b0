#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "hub/answer.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static kn_status add_path(kni_names *out, const char *path, const char *name, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (kni_path_check_relative(path, "digest.files", &why) != KN_OK) {
        kn_error_prefix(&why, "%s", name);
        return kni_error_move(err, &why);
    }
    return kni_names_push(out, kni_strdup(path)) ? KN_OK : kni_no_memory(err);
}

kn_status kni_digest_paths_parse(const char *text, size_t size, const char *name, kni_names *out,
                                 kn_error *err)
{
    json_t *root = NULL;
    const json_t *digest = NULL, *files = NULL;
    *out = (kni_names){NULL, 0, 0};
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = kni_json_object((kni_json_at){name, "", root}, "digest", false, &digest, err);
    if (st == KN_OK && digest)
        st = kni_json_object((kni_json_at){name, "digest", digest}, "files", true, &files, err);
    const char *path;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)files, path, value)
    {
        st = add_path(out, path, name, err);
        if (st != KN_OK)
            break;
    }
    json_decref(root);
    if (st != KN_OK)
        kni_names_free(out);
    else if (out->count)
        qsort(out->names, out->count, sizeof(*out->names), compare_names);
    return st;
}
