#include "context/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/trace.h"

#define LOCAL_KERNELS "LOCAL_KERNELS"

static kn_status set_source(kni_source *out, char *dir, kn_error *err)
{
    out->dir = dir;
    out->revision = kni_strdup("");
    if (out->dir && out->revision)
        return KN_OK;
    kni_source_dispose(out);
    return kni_no_memory(err);
}

static kn_status bad_local_kernels(kni_span entry, kn_error *err)
{
    return kn_error_set(err, KN_ERR_INVALID,
                        "Invalid LOCAL_KERNELS entry '%.*s': expected owner/name=/absolute/path, "
                        "several with ':' between them",
                        entry.size < 200 ? (int)entry.size : 200, entry.data);
}

// The directory that LOCAL_KERNELS names for a repository, into *dir (the caller's); NULL when it names none. The whole
// variable is read, so that a broken entry is an error whichever repository is wanted.
static kn_status find_local(const char *repo_id, char **dir, kn_error *err)
{
    const char *text = secure_getenv(LOCAL_KERNELS);
    kni_span rest = kni_span_of(text), entry;
    kni_span found = {NULL, 0};
    *dir = NULL;
    while (kni_span_cut(&rest, ':', &entry)) {
        kni_span path = entry, id;
        if (entry.size == 0)
            continue;
        if (!kni_span_cut(&path, '=', &id) || !path.data || id.size == 0 ||
            !kni_span_starts(path, "/"))
            return bad_local_kernels(entry, err);
        if (!found.data && kni_span_is(id, repo_id))
            found = path;
    }
    if (!found.data)
        return KN_OK;
    *dir = kni_strndup(found.data, found.size);
    return *dir ? KN_OK : kni_no_memory(err);
}

// This build has no hub: a repository that nobody put on disk cannot be had.
static kn_status resolve_hub(const kn_reference *reference, kni_source *out, kn_trace *trace,
                             kn_error *err)
{
    static const char admits[] = "a path, or LOCAL_KERNELS=owner/name=/absolute/path";
    (void)out;
    if (!kni_trace_add(trace, "resolve", reference->repo_id, false, "hub", admits,
                       "no hub in this build"))
        return kni_no_memory(err);
    return kn_error_set(err, KN_ERR_NOT_FOUND,
                        "no hub in this build: %s cannot be had: expected %s", reference->text,
                        admits);
}

kn_status kni_resolve(const kn_reference *reference, kni_source *out, kn_trace *trace,
                      kn_error *err)
{
    char *dir = NULL;
    const char *rule = "path";
    kn_status st = KN_OK;
    *out = (kni_source){NULL, NULL};
    if (reference->kind == KN_REFERENCE_PATH) {
        if (!kni_path_is_absolute(reference->path))
            return kn_error_set(err, KN_ERR_INVALID, "the path '%s' is not absolute",
                                reference->path);
        dir = kni_strdup(reference->path);
        st = dir ? KN_OK : kni_no_memory(err);
    } else {
        rule = LOCAL_KERNELS;
        st = find_local(reference->repo_id, &dir, err);
        if (st == KN_OK && !dir)
            return resolve_hub(reference, out, trace, err);
    }
    if (st == KN_OK && !kni_trace_add(trace, "resolve", reference->text, true, rule, NULL,
                                      "the directory %s", dir)) {
        kni_free(dir);
        st = kni_no_memory(err);
    } else if (st == KN_OK) {
        st = set_source(out, dir, err);
    }
    return st;
}

void kni_source_dispose(kni_source *source)
{
    kni_free(source->dir);
    kni_free(source->revision);
    *source = (kni_source){NULL, NULL};
}
