// Plans and traces.
#include "kpy.h"

typedef struct {
    PyObject base;
    kn_plan *plan;
    // The core makes a plan's texts at the first question: one thread at a time.
    PyThread_type_lock lock;
} plan_object;

static PyTypeObject *trace_entry; // a named tuple

PyObject *kpy_plan_object(kn_plan *plan)
{
    plan_object *self = PyObject_New(plan_object, (PyTypeObject *)kpy.plan);
    if (!self) {
        kn_plan_free(plan);
        return NULL;
    }
    self->plan = plan;
    self->lock = PyThread_allocate_lock();
    if (self->lock)
        return (PyObject *)self;
    Py_DECREF(self);
    return PyErr_NoMemory();
}

kn_plan *kpy_plan_of(PyObject *object)
{
    if (PyObject_TypeCheck(object, (PyTypeObject *)kpy.plan))
        return ((plan_object *)object)->plan;
    PyErr_Format(PyExc_TypeError, "expected a Plan: found %R", object);
    return NULL;
}

static void dealloc(PyObject *object)
{
    plan_object *self = (plan_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    kn_plan_free(self->plan);
    if (self->lock)
        PyThread_free_lock(self->lock);
    PyObject_Free(object);
    Py_DECREF(type);
}

// Waits without the GIL, which the holder may want.
static void lock(plan_object *self)
{
    if (PyThread_acquire_lock(self->lock, NOWAIT_LOCK))
        return;
    Py_BEGIN_ALLOW_THREADS;
    PyThread_acquire_lock(self->lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS;
}

// --- traces ---

static PyObject *trace_item(const kn_trace_entry *e)
{
    const char *const texts[] = {e->stage, e->subject, e->rule, e->reason, e->admits};
    PyObject *item = PyStructSequence_New(trace_entry);
    for (size_t i = 0; item && i < KN_LEN(texts); ++i) {
        PyObject *text = PyUnicode_FromString(texts[i]);
        if (text)
            PyStructSequence_SetItem(item, (Py_ssize_t)i, text);
        else
            Py_CLEAR(item);
    }
    if (item)
        PyStructSequence_SetItem(item, KN_LEN(texts), PyBool_FromLong(e->accepted));
    return item;
}

PyObject *kpy_trace_list(const kn_trace *trace)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < kn_trace_count(trace); ++i) {
        const kn_trace_entry e = kn_trace_get(trace, i);
        PyObject *item = trace_item(&e);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

// --- records ---

static const char *rule_text(uint32_t rule)
{
    switch (rule) {
#define RULE(name, value, text)                                                                    \
    case value:                                                                                    \
        return text;
        KN_FALLBACK_LIST(RULE)
#undef RULE
    default:
        return "";
    }
}

static const char *mode_text(kn_mode mode, char out[KN_MODE_TEXT_SIZE])
{
    return mode ? kn_mode_text(mode, out) : "";
}

static PyObject *record_of(const kn_record *r)
{
    char mode[KN_MODE_TEXT_SIZE], used[KN_MODE_TEXT_SIZE];
    PyObject *capability =
        r->capability < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong((long long)r->capability);
    if (!capability)
        return NULL;
    return Py_BuildValue(
        "{ss ss ss ss si sN ss ss ss ss ss ss ss ss ss ss sN ss}", "path", r->path, "class_name",
        r->class_name, "layer", r->layer, "device",
        r->device == KN_DEVICE_NONE ? "" : kn_device_type_name(r->device), "device_index",
        (int)r->device_index, "capability", capability, "mode", mode_text(r->mode, mode),
        "mode_used", mode_text(r->mode_used, used), "repository", r->repository, "revision",
        r->revision, "variant", r->variant, "layer_name", r->layer_name, "outcome",
        kn_outcome_text(r->outcome), "rule", rule_text(r->rule), "reason", r->reason, "admits",
        r->admits, "changed", PyBool_FromLong(r->changed != 0), "level", kn_level_text(r->level));
}

// Adds the calls that fell back, by reason. 0, or -1 with an exception.
static int add_fallbacks(PyObject *item, const kn_plan *plan, size_t index)
{
    static const kn_mismatch_reason reasons[] = {
#define REASON(name, value, text) name,
        KN_MISMATCH_LIST(REASON)
#undef REASON
    };
    PyObject *counts = PyDict_New();
    int st = counts ? 0 : -1;
    for (size_t i = 0; st == 0 && i < KN_LEN(reasons); ++i) {
        const uint64_t n = kn_plan_fallback_count(plan, index, reasons[i]);
        if (n == 0)
            continue;
        PyObject *count = PyLong_FromUnsignedLongLong(n);
        st = count ? PyDict_SetItemString(counts, kn_mismatch_reason_text(reasons[i]), count) : -1;
        Py_XDECREF(count);
    }
    if (st == 0)
        st = PyDict_SetItemString(item, "fallbacks", counts);
    Py_XDECREF(counts);
    return st;
}

static PyObject *plan_records(PyObject *self, PyObject *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    const kn_plan *plan = ((plan_object *)self)->plan;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < kn_plan_count(plan); ++i) {
        kn_record record = {.struct_size = sizeof(record)};
        const kn_status st = kn_plan_get(plan, i, &record, &err);
        PyObject *item = st == KN_OK ? record_of(&record) : kpy_fail(st, &err);
        if (!item || add_fallbacks(item, plan, i) < 0 || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *plan_trace(PyObject *self, PyObject *args)
{
    Py_ssize_t index;
    if (!PyArg_ParseTuple(args, "n:trace", &index))
        return NULL;
    const kn_plan *plan = ((plan_object *)self)->plan;
    if (index >= 0 && (size_t)index < kn_plan_count(plan))
        return kpy_trace_list(kn_plan_trace(plan, (size_t)index));
    return PyErr_Format(PyExc_IndexError, "plan: no record %zd: there are %zu", index,
                        kn_plan_count(plan));
}

// --- texts ---

// A text that the core borrows from the plan; "" without memory, or for an empty plan's tree.
static PyObject *borrowed(PyObject *object, const char *(*make)(kn_plan *plan))
{
    plan_object *self = (plan_object *)object;
    lock(self);
    PyObject *text = PyUnicode_FromString(make(self->plan));
    PyThread_release_lock(self->lock);
    return text;
}

static PyObject *plan_text(PyObject *self, PyObject *unused)
{
    (void)unused;
    return borrowed(self, kn_plan_text);
}

static PyObject *plan_digest(PyObject *self, PyObject *unused)
{
    (void)unused;
    return borrowed(self, kn_plan_digest);
}

static PyObject *plan_json(PyObject *object, PyObject *unused)
{
    (void)unused;
    plan_object *self = (plan_object *)object;
    kn_error err = KN_ERROR_INIT;
    char *json = NULL;
    lock(self);
    const kn_status st = kn_plan_json(self->plan, &json, &err);
    PyThread_release_lock(self->lock);
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *text = PyUnicode_FromString(json);
    kn_string_free(json);
    return text;
}

// --- files ---

static PyObject *plan_write(PyObject *object, PyObject *args)
{
    plan_object *self = (plan_object *)object;
    kn_error err = KN_ERROR_INIT;
    const char *path;
    kn_status st;
    if (!PyArg_ParseTuple(args, "s:write", &path))
        return NULL;
    lock(self);
    Py_BEGIN_ALLOW_THREADS;
    st = kn_plan_write(self->plan, path, &err);
    Py_END_ALLOW_THREADS;
    PyThread_release_lock(self->lock);
    return st == KN_OK ? Py_NewRef(Py_None) : kpy_fail(st, &err);
}

static PyObject *plan_read(PyObject *type, PyObject *args)
{
    (void)type;
    kn_error err = KN_ERROR_INIT;
    kn_plan *out = NULL;
    const char *path;
    kn_status st;
    if (!PyArg_ParseTuple(args, "s:read", &path))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_plan_read(path, &out, &err);
    Py_END_ALLOW_THREADS;
    return st == KN_OK ? kpy_plan_object(out) : kpy_fail(st, &err);
}

static PyObject *plan_mapping(PyObject *object, PyObject *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    const kn_status st = kn_plan_mapping(((plan_object *)object)->plan, &out, &err);
    return st == KN_OK ? kpy_mapping_object(out) : kpy_fail(st, &err);
}

// --- the rest of the type ---

static Py_ssize_t plan_length(PyObject *self)
{
    return (Py_ssize_t)kn_plan_count(((plan_object *)self)->plan);
}

// What was asked for, which every record says; 0 for a plan of none.
static PyObject *plan_mode(PyObject *self, void *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    kn_record record = {.struct_size = sizeof(record)};
    const kn_plan *plan = ((plan_object *)self)->plan;
    const kn_status st = kn_plan_count(plan) ? kn_plan_get(plan, 0, &record, &err) : KN_OK;
    return st == KN_OK ? PyLong_FromUnsignedLong(record.mode) : kpy_fail(st, &err);
}

static PyGetSetDef properties[] = {{"mode", plan_mode, NULL, "What was asked for.", NULL},
                                   {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef methods[] = {
    {"records", plan_records, METH_NOARGS, "The decisions, one dictionary each."},
    {"trace", plan_trace, METH_VARARGS, "The steps that led to a decision."},
    {"text", plan_text, METH_NOARGS, "The plan for people."},
    {"json", plan_json, METH_NOARGS, "The plan for programs: docs/plan.schema.json."},
    {"digest", plan_digest, METH_NOARGS, "Equal digests, equal decisions."},
    {"mapping", plan_mapping, METH_NOARGS, "The kernels that are bound, each at its revision."},
    {"write", plan_write, METH_VARARGS, "Into a file, whole or not at all."},
    {"read", plan_read, METH_VARARGS | METH_STATIC, "A file that write made."},
    {"apply", kpy_plan_apply, METH_VARARGS, "Does what the plan says with a model; a Plan."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {{Py_tp_doc, "What kernelize decided: immutable."},
                              {Py_tp_dealloc, (void *)dealloc},
                              {Py_tp_methods, methods},
                              {Py_tp_getset, properties},
                              {Py_sq_length, (void *)plan_length},
                              {0, NULL}};
static PyType_Spec spec = {.name = "kernels._kernels.Plan",
                           .basicsize = sizeof(plan_object),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

static PyStructSequence_Field trace_fields[] = {
    {"stage", "the part of the walk"},
    {"subject", "the candidate"},
    {"rule", "that decided, one word"},
    {"reason", "a sentence"},
    {"admits", "what would admit it"},
    {"accepted", NULL},
    {NULL, NULL},
};
static PyStructSequence_Desc trace_description = {
    "kernels._kernels.TraceEntry", "One step of a search.", trace_fields, KN_LEN(trace_fields) - 1};

int kpy_plan_init(PyObject *module)
{
    kpy.plan = PyType_FromSpec(&spec);
    trace_entry = PyStructSequence_NewType(&trace_description);
    return kpy.plan && trace_entry && PyModule_AddObjectRef(module, "Plan", kpy.plan) == 0 &&
                   PyModule_AddObjectRef(module, "TraceEntry", (PyObject *)trace_entry) == 0
               ? 0
               : -1;
}
