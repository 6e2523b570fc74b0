// What is asked of a reference: the kernel, its files, its variants, its commit, its versions.
#include <stdlib.h>
#include <string.h>

#include "kpy.h"

// The keywords that say which kernel. Strings are borrowed from the caller's dictionary.
static int read_options(PyObject *args, PyObject *kwargs, kn_kernel_options *out)
{
    static char *names[] = {"repo_id", "path",   "revision",     "version",           "lock",
                            "sums",    "device", "device_index", "trust_remote_code", "user_agent",
                            NULL};
    int trust = 0, index = 0;
    *out = (kn_kernel_options){.struct_size = sizeof(*out)};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$zzzzzzzipz:kernel", names, &out->repo_id,
                                     &out->path, &out->revision, &out->version, &out->lock,
                                     &out->sums, &out->device, &index, &trust, &out->user_agent))
        return -1;
    out->device_index = index;
    out->trust_remote_code = trust != 0;
    return 0;
}

// What a call begins with that loads or looks for kernels: its options, which point to the framework. NULL with an exception.
static kn_context *begin(PyObject *args, PyObject *kwargs, kn_kernel_options *options,
                         kn_framework *framework)
{
    kn_context *ctx = read_options(args, kwargs, options) < 0 ? NULL : kpy_context();
    options->framework = framework;
    return ctx && kpy_framework(framework) == 0 ? ctx : NULL;
}

static PyObject *get_kernel(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_framework framework;
    kn_kernel *kernel = NULL;
    kn_status st;
    kn_context *ctx = begin(args, kwargs, &options, &framework);
    if (!ctx)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_context_get_kernel(ctx, &options, &kernel, NULL, &err);
    Py_END_ALLOW_THREADS;
    return st == KN_OK ? kpy_kernel_object(kernel) : kpy_fail(st, &err);
}

static PyObject *fetch_kernel(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_framework framework;
    char *dir = NULL;
    kn_revision *revision = NULL;
    kn_status st;
    kn_context *ctx = begin(args, kwargs, &options, &framework);
    if (!ctx)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_context_fetch_kernel(ctx, &options, &dir, &revision, NULL, &err);
    Py_END_ALLOW_THREADS;
    if (st != KN_OK)
        return kpy_fail(st, &err);
    const char *slash = strrchr(dir, '/');
    PyObject *path = PyUnicode_DecodeFSDefault(dir);
    PyObject *out =
        path ? Py_BuildValue("(Nsss)", path, revision ? kn_revision_repo_id(revision) : "",
                             revision ? kn_revision_commit(revision) : "", slash ? slash + 1 : dir)
             : NULL;
    kn_revision_free(revision);
    kn_string_free(dir);
    return out;
}

static kn_hub_wish wish_of(const kn_kernel_options *options)
{
    return (kn_hub_wish){.struct_size = sizeof(kn_hub_wish),
                         .repo_id = options->repo_id,
                         .revision = options->revision,
                         .version = options->version,
                         .lock = options->lock,
                         .sums = options->sums,
                         .trust_remote_code = options->trust_remote_code};
}

static kn_status target_of(kn_context *ctx, const kn_kernel_options *options, kn_target *out,
                           kn_error *err)
{
    kn_device_type type = KN_DEVICE_CPU;
    kn_tvm_ffi tvm_ffi = KN_TVM_FFI_INIT;
    kn_status st = options->device ? kn_device_type_parse(options->device, &type, err) : KN_OK;
    if (st == KN_OK)
        st = kn_target_init(kn_context_machine(ctx), type, options->device_index, out, err);
    if (st == KN_OK)
        st = kn_context_tvm_ffi(ctx, &tvm_ffi, err);
    if (st != KN_OK)
        return st;
    out->tvm_ffi_major = tvm_ffi.major;
    out->tvm_ffi_minor = tvm_ffi.minor;
    out->torch_major = options->framework->torch_major;
    out->torch_minor = options->framework->torch_minor;
    out->torch_abi = options->framework->torch_abi;
    return KN_OK;
}

// The names of what there is to choose from, and what they are borrowed from.
typedef struct offer {
    kn_revision *revision;
    kn_variants *variants;
    kn_listing *listing;
    const char **names;
    size_t *order;
    size_t count, n_fit;
    bool lists_cached; // the cache's variants suffice, where it has some of the commit
} offer;

static void offer_dispose(offer *o)
{
    free(o->order);
    free(o->names);
    kn_listing_close(o->listing);
    kn_variants_free(o->variants);
    kn_revision_free(o->revision);
}

static kn_status offer_list(kn_context *ctx, const kn_kernel_options *options, offer *o,
                            kn_error *err)
{
    kn_hub *hub = kn_context_hub(ctx);
    const kn_hub_wish wish = wish_of(options);
    if (options->path)
        return kn_listing_open(options->path, &o->listing, err);
    kn_status st = kn_hub_resolve(hub, &wish, &o->revision, NULL, err);
    if (st == KN_OK)
        st = kn_hub_is_offline(hub) || o->lists_cached
                 ? kn_hub_list(hub, o->revision, &o->variants, err)
                 : kn_hub_list_all(hub, o->revision, &o->variants, err);
    return st;
}

static kn_status offer_choose(kn_context *ctx, const kn_kernel_options *options, offer *o,
                              kn_trace *trace, kn_error *err)
{
    kn_target target = {.struct_size = sizeof(target)};
    kn_status st = offer_list(ctx, options, o, err);
    if (st == KN_OK)
        st = target_of(ctx, options, &target, err);
    if (st != KN_OK)
        return st;
    o->count = o->listing ? kn_listing_count(o->listing) : kn_variants_count(o->variants);
    o->names = calloc(o->count + 1, sizeof(*o->names));
    o->order = calloc(o->count + 1, sizeof(*o->order));
    if (!o->names || !o->order)
        return KN_ERR_NO_MEMORY;
    for (size_t i = 0; i < o->count; ++i)
        o->names[i] =
            o->listing ? kn_listing_name(o->listing, i) : kn_variants_name(o->variants, i);
    return kn_package_choose(o->names, o->count, &target, o->order, &o->n_fit, trace, err);
}

// Is this entry about the variant at this place of the order?
static bool is_of(const offer *o, const kn_trace *trace, size_t entry, size_t place)
{
    return strcmp(kn_trace_get(trace, entry).subject, o->names[o->order[place]]) == 0;
}

static bool fits(const offer *o, const kn_trace *trace, size_t entry)
{
    for (size_t i = 0; i < o->n_fit; ++i)
        if (is_of(o, trace, entry, i))
            return true;
    return false;
}

// The entries as a list: those that fit in their order, then the others as they came.
static PyObject *sorted_trace(const offer *o, const kn_trace *trace)
{
    PyObject *rows = kpy_trace_list(trace);
    PyObject *out = rows ? PyList_New(0) : NULL;
    int failed = !out;
    for (size_t i = 0; !failed && i <= o->n_fit; ++i)
        for (size_t at = 0; !failed && at < kn_trace_count(trace); ++at)
            if (i < o->n_fit ? is_of(o, trace, at, i) : !fits(o, trace, at))
                failed = PyList_Append(out, PyList_GetItem(rows, (Py_ssize_t)at)) < 0;
    Py_XDECREF(rows);
    if (failed)
        Py_CLEAR(out);
    return out;
}

static PyObject *choose_variants(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_framework framework;
    offer o = {.count = 0};
    kn_status st;
    kn_context *ctx = begin(args, kwargs, &options, &framework);
    if (!ctx)
        return NULL;
    kn_trace *trace = kn_trace_new();
    if (!trace)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    st = offer_choose(ctx, &options, &o, trace, &err);
    Py_END_ALLOW_THREADS;
    PyObject *out = st == KN_OK ? sorted_trace(&o, trace) : kpy_fail(st, &err);
    kn_trace_free(trace);
    offer_dispose(&o);
    return out;
}

// The metadata of a variant at a place of the order; *package of it, checked against the target.
static kn_status read_variant(kn_context *ctx, const kn_kernel_options *options, const offer *o,
                              size_t place, char **text, size_t *size, kn_error *err)
{
    kn_package *package = NULL;
    kn_target target = {.struct_size = sizeof(target)};
    const char *name = o->names[o->order[place]];
    kn_status st = target_of(ctx, options, &target, err);
    if (st == KN_OK && o->variants)
        st = kn_hub_fetch_metadata(kn_context_hub(ctx), o->revision, name, text, size, err);
    if (st == KN_OK && o->variants)
        st = kn_package_parse(*text, *size, name, name, &package, err);
    if (st == KN_OK && o->listing)
        st = kn_package_open(kn_listing_path(o->listing, o->order[place]), &package, err);
    if (st == KN_OK)
        st = kn_package_check_metadata(package, &target, NULL, err);
    kn_package_close(package);
    return st;
}

// The first variant, best first, whose metadata suits too. The error is that of the best one.
static kn_status find_variant(kn_context *ctx, const kn_kernel_options *options, const offer *o,
                              size_t *place, char **text, size_t *size, kn_error *err)
{
    kn_status st = kn_error_set(o->n_fit ? NULL : err, KN_ERR_INCOMPATIBLE,
                                "%s: none of its %zu build variants is for this system",
                                options->path ? options->path : options->repo_id, o->count);
    kn_status first = KN_OK;
    for (*place = 0; *place < o->n_fit; ++*place) {
        st = read_variant(ctx, options, o, *place, text, size, first == KN_OK ? err : NULL);
        if (st == KN_OK) {
            kn_error_dispose(err);
            return st;
        }
        first = first == KN_OK ? st : first;
        kn_string_free(*text);
        *text = NULL;
    }
    return first == KN_OK ? st : first;
}

static PyObject *find_kernel(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_framework framework;
    offer o = {.count = 0};
    char *text = NULL;
    size_t size = 0, place = 0;
    kn_status st;
    kn_context *ctx = begin(args, kwargs, &options, &framework);
    if (!ctx)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = offer_choose(ctx, &options, &o, NULL, &err);
    if (st == KN_OK)
        st = find_variant(ctx, &options, &o, &place, &text, &size, &err);
    Py_END_ALLOW_THREADS;
    PyObject *out =
        st != KN_OK ? kpy_fail(st, &err)
                    : Py_BuildValue("(sssy#)", o.revision ? kn_revision_repo_id(o.revision) : "",
                                    o.revision ? kn_revision_commit(o.revision) : "",
                                    o.names[o.order[place]], text ? text : "", (Py_ssize_t)size);
    kn_string_free(text);
    offer_dispose(&o);
    return out;
}

static PyObject *is_downloaded(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_framework framework;
    offer o = {.lists_cached = true};
    bool is = false;
    kn_status st;
    kn_context *ctx = begin(args, kwargs, &options, &framework);
    if (!ctx)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = offer_choose(ctx, &options, &o, NULL, &err);
    for (size_t i = 0; st == KN_OK && !is && i < o.n_fit; ++i)
        is = o.listing || kn_variants_is_cached(o.variants, o.order[i]);
    Py_END_ALLOW_THREADS;
    offer_dispose(&o);
    return st == KN_OK ? PyBool_FromLong(is) : kpy_fail(st, &err);
}

static PyObject *resolve(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_kernel_options options;
    kn_revision *revision = NULL;
    kn_status st;
    kn_context *ctx = read_options(args, kwargs, &options) < 0 ? NULL : kpy_context();
    if (!ctx)
        return NULL;
    const kn_hub_wish wish = wish_of(&options);
    Py_BEGIN_ALLOW_THREADS;
    st = kn_hub_resolve(kn_context_hub(ctx), &wish, &revision, NULL, &err);
    Py_END_ALLOW_THREADS;
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *out =
        Py_BuildValue("(ssss)", kn_revision_repo_id(revision), kn_revision_commit(revision),
                      kn_revision_ref(revision), kn_revision_moved_to(revision));
    kn_revision_free(revision);
    return out;
}

static PyObject *version_rows(const kn_versions *versions)
{
    PyObject *out = PyList_New(0);
    for (size_t i = 0; out && i < kn_versions_count(versions); ++i) {
        kn_error err = KN_ERROR_INIT;
        kn_version_row row = KN_VERSION_ROW_INIT;
        const kn_status st = kn_versions_get(versions, i, &row, &err);
        PyObject *tuple = st == KN_OK
                              ? Py_BuildValue("(sssOOs)", row.ref, row.version, row.commit,
                                              row.is_branch ? Py_True : Py_False,
                                              row.is_chosen ? Py_True : Py_False, row.reason)
                              : kpy_fail(st, &err);
        if (!tuple || PyList_Append(out, tuple) < 0)
            Py_CLEAR(out);
        Py_XDECREF(tuple);
    }
    return out;
}

static PyObject *list_versions(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    static char *names[] = {"repo_id", "revision", "version", NULL};
    kn_error err = KN_ERROR_INIT;
    kn_hub_wish wish = KN_HUB_WISH_INIT;
    kn_versions *versions = NULL;
    kn_status st;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|zz:versions", names, &wish.repo_id,
                                     &wish.revision, &wish.version))
        return NULL;
    kn_context *ctx = kpy_context();
    if (!ctx)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_hub_versions(kn_context_hub(ctx), &wish, &versions, &err);
    Py_END_ALLOW_THREADS;
    PyObject *out = st == KN_OK ? version_rows(versions) : kpy_fail(st, &err);
    kn_versions_free(versions);
    return out;
}

static PyMethodDef functions[] = {
    {"get_kernel", (PyCFunction)(void (*)(void))get_kernel, METH_VARARGS | METH_KEYWORDS,
     "The loaded kernel."},
    {"fetch_kernel", (PyCFunction)(void (*)(void))fetch_kernel, METH_VARARGS | METH_KEYWORDS,
     "Everything but loading: directory, repository, commit, variant."},
    {"choose_variants", (PyCFunction)(void (*)(void))choose_variants, METH_VARARGS | METH_KEYWORDS,
     "The variants, judged by name: accepted ones first, best first."},
    {"find_kernel", (PyCFunction)(void (*)(void))find_kernel, METH_VARARGS | METH_KEYWORDS,
     "What would be taken by name and metadata: repository, commit, variant, metadata."},
    {"is_downloaded", (PyCFunction)(void (*)(void))is_downloaded, METH_VARARGS | METH_KEYWORDS,
     "A variant that fits is here."},
    {"resolve", (PyCFunction)(void (*)(void))resolve, METH_VARARGS | METH_KEYWORDS,
     "Repository, commit, ref, where it moved."},
    {"versions", (PyCFunction)(void (*)(void))list_versions, METH_VARARGS | METH_KEYWORDS,
     "ref, version, commit, is a branch, is chosen, why."},
    {NULL, NULL, 0, NULL},
};

int kpy_hub_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
