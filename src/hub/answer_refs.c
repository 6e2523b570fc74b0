#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"
#include "hub/answer.h"

kn_status kni_ref_list_add(kni_ref_list *list, const char *name, const char *commit, kn_error *err)
{
    void *array = list->refs;
    if (!kni_grow(&array, &list->capacity, list->count + 1, sizeof(*list->refs)))
        return kni_no_memory(err);
    list->refs = array;
    kni_ref *ref = &list->refs[list->count];
    ref->name = kni_strdup(name);
    if (!ref->name)
        return kni_no_memory(err);
    snprintf(ref->commit, sizeof(ref->commit), "%s", commit);
    ++list->count;
    return KN_OK;
}

static int compare_refs(const void *a, const void *b)
{
    return strcmp(((const kni_ref *)a)->name, ((const kni_ref *)b)->name);
}

void kni_ref_list_sort(kni_ref_list *list)
{
    if (list->count)
        qsort(list->refs, list->count, sizeof(*list->refs), compare_refs);
}

const kni_ref *kni_ref_list_find(const kni_ref_list *list, const char *name)
{
    const kni_ref key = {.name = (char *)(uintptr_t)name};
    return list->count ? bsearch(&key, list->refs, list->count, sizeof(key), compare_refs) : NULL;
}

void kni_ref_list_dispose(kni_ref_list *list)
{
    for (size_t i = 0; i < list->count; ++i)
        kni_free(list->refs[i].name);
    kni_free(list->refs);
    *list = (kni_ref_list){NULL, 0, 0};
}

static kn_status add_ref(kni_json_at at, kni_ref_list *out, kn_error *err)
{
    const char *ref = "", *commit = "";
    kn_status st = kni_json_string(at, "name", true, &ref, err);
    if (st == KN_OK)
        st = kni_json_string(at, "targetCommit", true, &commit, err);
    if (st != KN_OK)
        return st;
    st = kni_ref_check(ref, "name", NULL);
    if (st != KN_OK) // nobody can ask for it: one such branch does not make the others useless
        return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
    if (!kni_is_commit(commit))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: %s.targetCommit: expected 40 lower-case hexadecimal digits for "
                            "'%s', found '%.80s'",
                            at.name, at.path, ref, commit);
    return kni_ref_list_add(out, ref, commit, err);
}

static kn_status parse_list(kni_json_at root, const char *key, kni_ref_list *out, kn_error *err)
{
    const json_t *array = NULL;
    kn_status st = kni_json_array(root, key, true, &array, err);
    for (size_t i = 0; st == KN_OK && i < json_array_size(array); ++i) {
        char path[48];
        snprintf(path, sizeof(path), "%s[%zu]", key, i);
        st = add_ref((kni_json_at){root.name, path, json_array_get(array, i)}, out, err);
    }
    if (st != KN_OK)
        return st;
    kni_ref_list_sort(out);
    for (size_t i = 1; i < out->count; ++i)
        if (compare_refs(&out->refs[i - 1], &out->refs[i]) == 0)
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: %s: expected each name once, found '%s' twice", root.name, key,
                                out->refs[i].name);
    return KN_OK;
}

kn_status kni_refs_parse(const char *text, size_t size, const char *name, kni_refs *out,
                         kn_error *err)
{
    json_t *root = NULL;
    kni_refs refs = {0};
    *out = refs;
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = parse_list((kni_json_at){name, "", root}, "branches", &refs.branches, err);
    if (st == KN_OK)
        st = parse_list((kni_json_at){name, "", root}, "tags", &refs.tags, err);
    json_decref(root);
    if (st == KN_OK)
        *out = refs;
    else
        kni_refs_dispose(&refs);
    return st;
}

void kni_refs_dispose(kni_refs *refs)
{
    kni_ref_list_dispose(&refs->branches);
    kni_ref_list_dispose(&refs->tags);
}
