// PyTorch as a host of the core's kernelize: the table over a Python object (kernels._torch.host), and what Python calls.
#include <stdlib.h>
#include <string.h>

#include "host.h"

// --- the GIL: released while the core works, held in its callbacks ---

bool kpy_run_take(kpy_run *run)
{
    if (!run->released)
        return false;
    PyEval_RestoreThread(run->released);
    run->released = NULL;
    return true;
}

void kpy_run_give(kpy_run *run, bool taken)
{
    if (taken)
        run->released = PyEval_SaveThread();
}

// --- the table ---

// What a host raised, as an answer of the core's: an exception that is none (a signal's) ends the call whatever the fallback is.
static kn_status raised(kn_status status, kn_error *err)
{
    const bool ends =
        !PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError);
    return kpy_pass(ends ? KN_ERR_NO_MEMORY : status, err);
}

static kn_status describe(void *user, void *cls, kn_host_class *out, kn_error *err)
{
    kpy_run *run = user;
    const kpy_class *c = cls;
    const bool taken = kpy_run_take(run);
    kpy_forget(); // the core went on
    const char *refusal = NULL, *layer = NULL;
    const char *name = PyUnicode_AsUTF8AndSize(c->name, NULL);
    if (name && c->layer != Py_None)
        layer = PyUnicode_AsUTF8AndSize(c->layer, NULL);
    if (name && c->refusal != Py_None)
        refusal = PyUnicode_AsUTF8AndSize(c->refusal, NULL);
    const kn_status st = PyErr_Occurred() ? raised(KN_ERR_INVALID, err) : KN_OK;
    out->name = name;
    out->layer = layer;
    out->refusal = refusal;
    kpy_run_give(run, taken);
    return st;
}

static kn_status capability(void *user, kn_device_type device, int32_t index, int64_t *out,
                            kn_error *err)
{
    kpy_run *run = user;
    const char *override = getenv("KERNELS_DEVICE");
    // A CPU is what the core finds; so is a machine that is described.
    if (device == KN_DEVICE_CPU || (override && override[0]))
        return KN_OK;
    const bool taken = kpy_run_take(run);
    kn_status st = KN_OK;
    kpy_forget();
    PyObject *answer =
        PyObject_CallMethod(run->host, "capability", "si", kn_device_type_name(device), index);
    const long long value = answer ? PyLong_AsLongLong(answer) : -1;
    Py_XDECREF(answer);
    if (value == -1 && PyErr_Occurred())
        st = raised(KN_ERR_INVALID, err);
    else if (value >= 0)
        *out = value;
    kpy_run_give(run, taken);
    return st;
}

// Warnings that were given with a swap: clients kernelize at every change of the mode, and one is enough.
static PyObject *given_warnings; // a set

static int drop_given(PyObject *answer, kn_host_layer *out)
{
    PyObject *warning = PySequence_GetItem(answer, 3);
    const int given = warning ? PySet_Contains(given_warnings, warning) : -1;
    Py_XDECREF(warning);
    if (given > 0)
        out->warning = NULL;
    return given < 0 ? -1 : 0;
}

static void keep_given(const kpy_run *run)
{
    for (Py_ssize_t i = 0; i < PyList_Size(run->loaded); ++i) {
        PyObject *warning = PySequence_GetItem(PyList_GetItem(run->loaded, i), 3);
        if (!warning || (warning != Py_None && PySet_Add(given_warnings, warning) < 0))
            PyErr_Clear(); // it is given again
        Py_XDECREF(warning);
    }
}

static int read_layer(PyObject *answer, kn_host_layer *out)
{
    PyObject *hosted;
    int has_backward, can_torch_compile;
    if (!answer || !PyArg_ParseTuple(answer, "Oppzzz", &hosted, &has_backward, &can_torch_compile,
                                     &out->warning, &out->repository, &out->revision))
        return -1;
    out->has_backward = (uint32_t)has_backward;
    out->can_torch_compile = (uint32_t)can_torch_compile;
    out->hosted = hosted == Py_None ? NULL : hosted;
    return out->warning ? drop_given(answer, out) : 0;
}

static kn_status load(void *user, void *cls, const kn_host_candidate *from, kn_host_layer *out,
                      kn_error *err)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    kn_status st = KN_OK;
    kpy_forget();
    PyObject *given = kpy_candidate_object(from);
    PyObject *answer =
        given ? PyObject_CallMethod(run->host, "load", "OO", ((kpy_class *)cls)->type, given)
              : NULL;
    Py_XDECREF(given);
    // Kept until the run ends: a binding takes references of its own.
    const int done =
        !answer || PyList_Append(run->loaded, answer) < 0 ? -1 : read_layer(answer, out);
    Py_XDECREF(answer);
    if (done < 0) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyObject *layer_error = PyObject_GetAttrString(run->host, "LayerError");
        const bool contradicts = layer_error && PyErr_GivenExceptionMatches(type, layer_error);
        PyErr_Clear();
        Py_XDECREF(layer_error);
        PyErr_Restore(type, value, traceback);
        st = raised(contradicts ? KN_ERR_LAYER : KN_ERR_LOAD, err);
    }
    kpy_run_give(run, taken);
    return st;
}

static void fill_bound(void *user, void *handle, kn_host_bound *out)
{
    const kn_host_kernel *kernel = kpy_host_kernel_of(kpy_binding_of(handle)->kernel);
    (void)user;
    out->repository = kernel->repository;
    out->revision = kernel->revision;
    out->variant = kernel->variant;
    out->layer_name = kernel->layer_name;
    out->mode = kernel->mode;
    out->mode_used = kernel->mode_used;
    out->level = kernel->level;
    out->device = kernel->device;
    out->device_index = kernel->device_index;
}

static void fallbacks(void *user, void *module, uint64_t *counts, size_t n_counts)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    kpy_fallbacks(((kpy_module *)module)->object, counts, n_counts);
    kpy_run_give(run, taken);
}

// Functions are there once for all models: the host says what that means for others.
static void tell_of_functions(kpy_run *run)
{
    if (PyList_Size(run->functions) == 0)
        return;
    PyObject *done = PyObject_CallMethod(run->host, "share", "OO", run->functions, run->model);
    if (!done)
        PyErr_WriteUnraisable(run->model); // what is done is done
    Py_XDECREF(done);
}

PyObject *kpy_with_host(const char *name, PyObject *model, PyObject *host, unsigned flags,
                        kpy_host_call call, void *data)
{
    kn_error err = KN_ERROR_INIT;
    kn_framework framework;
    kn_plan *plan = NULL;
    kpy_run run = {
        .model = model, .host = host, .looks = flags & KPY_LOOKS, .decides = flags & KPY_DECIDES};
    PyObject *advice = NULL, *result = NULL;
    PyObject *children = PyObject_GetAttrString(model, "_modules");
    if (!children) {
        PyErr_Format(PyExc_TypeError, "%s: a torch.nn.Module is required, not %R", name, model);
        return NULL;
    }
    Py_DECREF(children);
    run.loaded = PyList_New(0);
    run.functions = run.loaded ? PyList_New(0) : NULL;
    advice = PyObject_GetAttrString(host, "advice");
    const char *words = advice ? PyUnicode_AsUTF8AndSize(advice, NULL) : NULL;
    kn_context *ctx =
        words && run.functions && kpy_framework(&framework) == 0 ? kpy_context() : NULL;
    if (ctx) {
        const kn_host table = {
            .struct_size = sizeof(table),
            .walk = kpy_walk,
            .describe = describe,
            .path = kpy_path,
            .state = kpy_module_state,
            .prepare = kpy_prepare,
            .commit = kpy_commit,
            .capability = capability,
            .user = &run,
            .framework = &framework,
            .load = load,
            .bound = fill_bound,
            .fallbacks = fallbacks,
            .advice = words,
            .declined = kpy_declined,
            .why = kpy_why,
        };
        run.released = PyEval_SaveThread();
        const kn_status st = call(ctx, &table, data, &plan, &err);
        kpy_run_take(&run);
        if (st != KN_OK)
            kpy_fail(st, &err);
        else if (run.failed)
            PyErr_NoMemory();
        else
            result = kpy_plan_object(plan);
        if (st == KN_OK && (flags & KPY_SWAPS)) {
            keep_given(&run);
            tell_of_functions(&run);
        }
        if (!result && st == KN_OK && run.failed)
            kn_plan_free(plan);
        kpy_forget();
    }
    kpy_walk_dispose(&run);
    Py_XDECREF(run.loaded);
    Py_XDECREF(run.functions);
    Py_XDECREF(run.said);
    Py_XDECREF(advice);
    return result;
}

// --- what Python calls ---

static kn_status do_kernelize(kn_context *ctx, const kn_host *host, void *data, kn_plan **plan,
                              kn_error *err)
{
    return kn_kernelize_host(ctx, host, data, plan, err);
}

static kn_status do_unkernelize(kn_context *ctx, const kn_host *host, void *data, kn_plan **plan,
                                kn_error *err)
{
    (void)ctx, (void)data;
    return kn_unkernelize_host(host, plan, err);
}

static kn_status do_report(kn_context *ctx, const kn_host *host, void *data, kn_plan **plan,
                           kn_error *err)
{
    (void)ctx, (void)data;
    return kn_report_host(host, plan, err);
}

static PyObject *kernelize(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"", "", "mode", "fallback", "device", "mapping", "dry_run", NULL};
    PyObject *model, *host, *mapping = Py_None;
    kn_kernelize_options options = KN_KERNELIZE_OPTIONS_INIT;
    int dry_run = 0;
    (void)self;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|$IIzOp", names, &model, &host,
                                     &options.mode, &options.fallback, &options.device, &mapping,
                                     &dry_run))
        return NULL;
    if (mapping != Py_None && !(options.mapping = kpy_mapping_of(mapping)))
        return NULL;
    options.flags = dry_run ? KN_KERNELIZE_DRY_RUN : 0;
    // A device that is given settles it, but for the number of a GPU.
    const bool looks =
        !options.device || (strcmp(options.device, "cpu") != 0 && !strchr(options.device, ':'));
    return kpy_with_host("kernelize", model, host,
                         KPY_DECIDES | (looks ? KPY_LOOKS : 0) | (dry_run ? 0 : KPY_SWAPS),
                         do_kernelize, &options);
}

static PyObject *unkernelize(PyObject *self, PyObject *args)
{
    PyObject *model, *host;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &model, &host))
        return NULL;
    return kpy_with_host("unkernelize", model, host, KPY_SWAPS, do_unkernelize, NULL);
}

static PyObject *report(PyObject *self, PyObject *args)
{
    PyObject *model, *host;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &model, &host))
        return NULL;
    return kpy_with_host("report", model, host, KPY_LOOKS, do_report, NULL);
}

static kn_status do_apply(kn_context *ctx, const kn_host *host, void *data, kn_plan **plan,
                          kn_error *err)
{
    return kn_plan_apply_host(ctx, data, host, plan, err);
}

PyObject *kpy_plan_apply(PyObject *self, PyObject *args)
{
    PyObject *model, *host;
    if (!PyArg_ParseTuple(args, "OO:apply", &model, &host))
        return NULL;
    return kpy_with_host("apply", model, host, KPY_LOOKS | KPY_DECIDES | KPY_SWAPS, do_apply,
                         kpy_plan_of(self));
}

static PyObject *bound(PyObject *self, PyObject *module)
{
    kpy_place place;
    PyObject *kernel = NULL;
    (void)self;
    if (kpy_place_find(module, NULL, &place) == 0) {
        kernel = place.binding ? place.binding->kernel : Py_None;
        Py_INCREF(kernel);
    }
    kpy_place_dispose(&place);
    return kernel;
}

static PyMethodDef functions[] = {
    {"kernelize", (PyCFunction)(void (*)(void))kernelize, METH_VARARGS | METH_KEYWORDS,
     "Binds kernels to the extensible modules of a model, in place; a Plan."},
    {"unkernelize", unkernelize, METH_VARARGS, "Gives modules their own forwards again; a Plan."},
    {"report", report, METH_VARARGS, "What the extensible modules of a model run now; a Plan."},
    {"bound", bound, METH_O, "The HostKernel that serves a module now, or None."},
    {NULL, NULL, 0, NULL},
};

int kpy_host_init(PyObject *module)
{
    given_warnings = PySet_New(NULL);
    if (!given_warnings || kpy_candidate_init(module) < 0 || kpy_walk_init() < 0 ||
        kpy_bind_init() < 0)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
