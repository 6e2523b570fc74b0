#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/toml.h"
#include "hub/answer.h"

// A string of the table; NULL in *out when it is absent.
static kn_status get_string(const kni_toml *table, const char *key, const char *name,
                            const char **out, kn_error *err)
{
    const kni_toml *value = kni_toml_get(table, key);
    *out = value ? value->string : NULL;
    if (value && value->type != KNI_TOML_STRING)
        return kn_error_set(err, KN_ERR_FORMAT, "%s:%u: %s: expected a string, found %s", name,
                            value->line, key, kni_toml_type_text(value->type));
    return KN_OK;
}

// What the rules of names say, as a file that cannot be understood.
static kn_status refused(kn_error *err, kn_error *why, const char *name)
{
    if (why->status == KN_ERR_NO_MEMORY)
        return kni_error_move(err, why);
    kn_error_set(err, KN_ERR_FORMAT, "%s: %s", name, kn_error_text(why));
    kn_error_dispose(why);
    return KN_ERR_FORMAT;
}

static kn_status read_moved(const kni_toml *root, const char *name, kni_repo_type type,
                            kni_moved *out, kn_error *err)
{
    const char *kind, *destination, *revision;
    kn_error why = KN_ERROR_INIT;
    kn_status st = get_string(root, "kind", name, &kind, err);
    if (st != KN_OK)
        return st;
    if (!kind)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: must contain a 'kind' field: \"redirect\"",
                            name);
    if (strcmp(kind, "redirect") != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: Unknown kernel status kind '%.80s': expected \"redirect\"", name,
                            kind);
    st = get_string(root, "destination", name, &destination, err);
    if (st == KN_OK)
        st = get_string(root, "revision", name, &revision, err);
    if (st != KN_OK)
        return st;
    if (!destination)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: must contain a 'destination': the repository that it moved to",
                            name);
    if (kni_repo_init(&out->to, type, destination, &why) != KN_OK) {
        kn_error_prefix(&why, "destination");
        return refused(err, &why, name);
    }
    if (!revision)
        revision = "main";
    if (kni_ref_check(revision, "revision", &why) != KN_OK) // a commit passes too
        return refused(err, &why, name);
    out->revision = kni_strdup(revision);
    return out->revision ? KN_OK : kni_no_memory(err);
}

kn_status kni_moved_parse(const char *text, size_t size, const char *name, kni_repo_type type,
                          kni_moved *out, kn_error *err)
{
    kni_toml *root = NULL;
    kni_moved moved = {.revision = NULL};
    *out = moved;
    kn_status st = kni_toml_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = read_moved(root, name, type, &moved, err);
    kni_toml_free(root);
    if (st == KN_OK)
        *out = moved;
    else
        kni_moved_dispose(&moved);
    return st;
}

void kni_moved_dispose(kni_moved *moved)
{
    kni_free(moved->revision);
    *moved = (kni_moved){.revision = NULL};
}
