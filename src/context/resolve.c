#include "context/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/trace.h"

#define LOCAL_KERNELS "LOCAL_KERNELS"

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

static kn_status read_framework(const kn_framework *given, kn_framework *out, kn_error *err)
{
    *out = KN_FRAMEWORK_INIT;
    if (!given)
        return KN_OK;
    if (given->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "a framework's struct_size is 0: use KN_FRAMEWORK_INIT");
    memcpy(out, given, given->struct_size < sizeof(*out) ? given->struct_size : sizeof(*out));
    out->struct_size = sizeof(*out);
    if (out->torch_major < 0 || out->torch_minor < 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "PyTorch %d.%d as the framework: expected a version, or 0.0 for none",
                            out->torch_major, out->torch_minor);
    if (out->torch_abi && strcmp(out->torch_abi, "cxx11") != 0 &&
        strcmp(out->torch_abi, "cxx98") != 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "the C++ ABI '%.40s' of the framework: expected cxx11, cxx98 or NULL",
                            out->torch_abi);
    return KN_OK;
}

// What a host with PyTorch gets is not what one without it gets.
static void begin_key(kni_buf *key, const kn_framework *framework)
{
    if (framework->torch_major)
        kni_buf_printf(key, "torch %d.%d %s\n", framework->torch_major, framework->torch_minor,
                       framework->torch_abi ? framework->torch_abi : "");
}

// Everything that tells one wish from another. References are free of control characters, so that a newline separates.
static char *hub_key(const kn_framework *framework, const kn_reference *reference)
{
    kni_buf key = KNI_BUF_ANY;
    begin_key(&key, framework);
    kni_buf_printf(&key, "hub\n%s\n%s\n%s\n%lld\n%s\n%s\n%d", reference->repo_id,
                   reference->revision ? reference->revision : "",
                   reference->version ? reference->version : "",
                   (long long)reference->version_branch, reference->lock ? reference->lock : "",
                   reference->sums ? reference->sums : "", reference->trust_remote_code != 0);
    return kni_buf_take(&key);
}

static kn_status take_dir(kni_source *out, const char *subject, const char *rule, char *dir,
                          kn_trace *trace, kn_error *err)
{
    kni_buf key = KNI_BUF_ANY;
    begin_key(&key, &out->framework);
    kni_buf_puts(&key, dir ? dir : "");
    out->dir = dir;
    out->key = kni_buf_take(&key);
    if (out->key && dir &&
        kni_trace_add(trace, "resolve", subject, true, rule, NULL, "the directory %s", dir))
        return KN_OK;
    return kni_no_memory(err);
}

kn_status kni_source_init(kni_source *out, const kn_reference *reference, const kn_framework *given,
                          kn_trace *trace, kn_error *err)
{
    char *dir = NULL;
    *out = (kni_source){.key = NULL};
    kn_status st = read_framework(given, &out->framework, err);
    if (st != KN_OK)
        return st;
    if (reference->kind == KN_REFERENCE_PATH) {
        if (!kni_path_is_absolute(reference->path))
            return kn_error_set(err, KN_ERR_INVALID, "the path '%s' is not absolute",
                                reference->path);
        st = take_dir(out, reference->text, "path", kni_strdup(reference->path), trace, err);
    } else {
        st = find_local(reference->repo_id, &dir, err);
        if (st == KN_OK && dir) {
            st = take_dir(out, reference->text, LOCAL_KERNELS, dir, trace, err);
        } else if (st == KN_OK) {
            out->key = hub_key(&out->framework, reference);
            st = out->key ? KN_OK : kni_no_memory(err);
        }
    }
    if (st != KN_OK)
        kni_source_dispose(out);
    return st;
}

kn_status kni_source_resolve(kni_source *source, const kn_reference *reference, kn_trace *trace,
                             kn_error *err)
{
    char branch[32];
    kn_hub_wish wish = KN_HUB_WISH_INIT;
    wish.repo_id = reference->repo_id;
    wish.revision = reference->revision;
    wish.version = reference->version;
    wish.lock = reference->lock;
    wish.sums = reference->sums;
    wish.trust_remote_code = reference->trust_remote_code;
    if (!wish.version && reference->version_branch >= 0) {
        snprintf(branch, sizeof(branch), "%lld", (long long)reference->version_branch);
        wish.version = branch;
    }
    return kn_hub_resolve(source->hub, &wish, &source->revision, trace, err);
}

void kni_source_dispose(kni_source *source)
{
    kni_free(source->key);
    kni_free(source->dir);
    kn_revision_free(source->revision);
    *source = (kni_source){.key = NULL};
}
