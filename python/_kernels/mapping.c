// Mappings. An entry's Python object travels through the core as kn_entry.object.
#include <string.h>

#include "kpy.h"

// No cycle through a mapping can be collected: its objects belong to values of the core, which mappings share, so that no single
// owner could show them to the collector. A repository that holds the mapping it is in lives on with it.
typedef struct {
    PyObject base;
    kn_mapping *mapping;
} mapping_object;

static void retain(void *data)
{
    const PyGILState_STATE gil = PyGILState_Ensure();
    Py_INCREF((PyObject *)data);
    PyGILState_Release(gil);
}

static void release(void *data)
{
    if (!Py_IsInitialized()) // the process ends, and everything with it
        return;
    const PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF((PyObject *)data);
    PyGILState_Release(gil);
}

PyObject *kpy_mapping_object(kn_mapping *mapping)
{
    mapping_object *self = PyObject_New(mapping_object, (PyTypeObject *)kpy.mapping);
    if (!self) {
        kn_mapping_unref(mapping);
        return NULL;
    }
    self->mapping = mapping;
    return (PyObject *)self;
}

kn_mapping *kpy_mapping_of(PyObject *object)
{
    if (PyObject_TypeCheck(object, (PyTypeObject *)kpy.mapping))
        return ((mapping_object *)object)->mapping;
    PyErr_Format(PyExc_TypeError, "expected a Mapping: found %R", object);
    return NULL;
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    kn_mapping_unref(((mapping_object *)self)->mapping);
    PyObject_Free(self);
    Py_DECREF(type);
}

// --- entries ---

// The texts of an entry that say where a kernel comes from, by their keys.
static const struct {
    const char *key;
    size_t at;
} texts[] = {
#define TEXT(name)                                                                                 \
    {                                                                                              \
#name, offsetof(kn_entry, name)                                                            \
    }
    TEXT(repo_id), TEXT(path), TEXT(revision), TEXT(version),    TEXT(layer_name),
    TEXT(lock),    TEXT(sums), TEXT(label),    TEXT(user_agent),
#undef TEXT
};

static const char **text_at(kn_entry *entry, size_t index)
{
    return (const char **)(void *)((char *)entry + texts[index].at);
}

// A text without NUL, borrowed from the object.
static int read_text(PyObject *value, const char *key, const char **out)
{
    Py_ssize_t size = 0;
    if (value == Py_None)
        return 0;
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s: expected str: found %R", key, value);
        return -1;
    }
    *out = PyUnicode_AsUTF8AndSize(value, &size);
    if (!*out)
        return -1;
    if (strlen(*out) == (size_t)size)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: expected text without NUL: found %R", key, value);
    return -1;
}

// Where a kernel comes from. The values belong to `source`, which is ours alone.
static int read_source(PyObject *source, kn_entry *out)
{
    Py_ssize_t known = 0;
    for (size_t i = 0; i < KN_LEN(texts); ++i) {
        PyObject *value = PyDict_GetItemString(source, texts[i].key);
        known += value != NULL;
        if (value && read_text(value, texts[i].key, text_at(out, i)) < 0)
            return -1;
    }
    PyObject *trust = PyDict_GetItemString(source, "trust_remote_code");
    if (trust) {
        const int yes = PyObject_IsTrue(trust);
        if (yes < 0)
            return -1;
        out->trust_remote_code = (uint32_t)yes;
        ++known;
    }
    if (known == PyDict_Size(source))
        return 0;
    PyErr_Format(PyExc_TypeError, "an entry has a key that is not known: %R", source);
    return -1;
}

static int read_mode(PyObject *value, kn_mode *out)
{
    const unsigned long mode = PyLong_AsUnsignedLong(value);
    if (mode == (unsigned long)-1 && PyErr_Occurred())
        return -1;
    if (mode > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "Unsupported mode: %R", value);
        return -1;
    }
    *out = (kn_mode)mode;
    return 0;
}

// One entry; what it borrows is kept by `keep`.
static int read_entry(PyObject *item, PyObject *keep, kn_entry *out)
{
    PyObject *layer, *device, *range, *mode, *given, *object;
    *out = KN_ENTRY_INIT;
    PyObject *source = PyDict_New(); // a copy, which nobody changes meanwhile
    if (!source || PyList_Append(keep, item) < 0 || PyList_Append(keep, source) < 0) {
        Py_XDECREF(source);
        return -1;
    }
    Py_DECREF(source);
    if (!PyTuple_Check(item)) {
        PyErr_Format(PyExc_TypeError, "expected an entry, a tuple: found %R", item);
        return -1;
    }
    if (!PyArg_ParseTuple(item, "OOOOOO:entry", &layer, &device, &range, &mode, &given, &object) ||
        PyDict_Update(source, given) < 0 || read_text(layer, "layer", &out->layer) < 0 ||
        read_text(device, "device", &out->device) < 0 || read_mode(mode, &out->mode) < 0 ||
        read_source(source, out) < 0)
        return -1;
    if (range != Py_None) {
        long long min, max;
        if (!PyTuple_Check(range) || !PyArg_ParseTuple(range, "LL:capability", &min, &max)) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_TypeError, "capability: expected (min, max): found %R", range);
            return -1;
        }
        out->capability = KN_RANGE(min, max);
    }
    if (object != Py_None)
        out->object = (kn_object){object, retain, release};
    return 0;
}

static PyObject *mapping_register(PyObject *self, PyObject *argument)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    PyObject *result = NULL, *keep = PyList_New(0);
    PyObject *items = PySequence_List(argument);
    const size_t count = items ? (size_t)PyList_Size(items) : 0;
    kn_entry *entries = PyMem_Calloc(count ? count : 1, sizeof(*entries));
    if (!keep || !items || !entries) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < count; ++i)
        if (read_entry(PyList_GetItem(items, (Py_ssize_t)i), keep, &entries[i]) < 0)
            goto done;
    const kn_status st =
        kn_mapping_with(((mapping_object *)self)->mapping, entries, count, &out, &err);
    result = st == KN_OK ? kpy_mapping_object(out) : kpy_fail(st, &err);
done:
    PyMem_Free(entries);
    Py_XDECREF(items);
    Py_XDECREF(keep);
    return result;
}

// --- rows ---

static int put_text(PyObject *source, const char *key, const char *text)
{
    PyObject *value = text ? PyUnicode_FromString(text) : Py_NewRef(Py_None);
    const int st = value ? PyDict_SetItemString(source, key, value) : -1;
    Py_XDECREF(value);
    return st;
}

static PyObject *source_of(const kn_reference *from)
{
    char branch[24];
    PyOS_snprintf(branch, sizeof(branch), "%lld", (long long)from->version_branch);
    kn_entry entry = {.repo_id = from->repo_id,
                      .path = from->path,
                      .revision = from->revision,
                      .version = from->version_branch >= 0 ? branch : from->version,
                      .layer_name = from->layer_name,
                      .lock = from->lock,
                      .sums = from->sums,
                      .label = from->label,
                      .user_agent = from->user_agent};
    PyObject *source = PyDict_New();
    PyObject *trust = PyBool_FromLong(from->trust_remote_code != 0);
    int st = source && trust ? PyDict_SetItemString(source, "trust_remote_code", trust) : -1;
    for (size_t i = 0; st == 0 && i < KN_LEN(texts); ++i)
        st = put_text(source, texts[i].key, *text_at(&entry, i));
    Py_XDECREF(trust);
    if (st < 0)
        Py_CLEAR(source);
    return source;
}

static PyObject *row_of(const kn_mapping_row *row)
{
    PyObject *object = row->reference->object ? row->reference->object : Py_None;
    PyObject *range = row->capability.given ? Py_BuildValue("LL", (long long)row->capability.min,
                                                            (long long)row->capability.max)
                                            : Py_NewRef(Py_None);
    PyObject *source = source_of(row->reference);
    if (!range || !source) {
        Py_XDECREF(range);
        Py_XDECREF(source);
        return NULL;
    }
    return Py_BuildValue("ssNINO", row->layer, kn_device_type_name(row->device), range,
                         (unsigned)row->mode, source, object);
}

static PyObject *mapping_rows(PyObject *self, PyObject *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    const kn_mapping *mapping = ((mapping_object *)self)->mapping;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < kn_mapping_count(mapping); ++i) {
        kn_mapping_row row = KN_MAPPING_ROW_INIT;
        const kn_status st = kn_mapping_row_get(mapping, i, &row, &err);
        PyObject *item = st == KN_OK ? row_of(&row) : kpy_fail(st, &err);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

// --- the rest of the type ---

static PyObject *mapping_join(PyObject *self, PyObject *over)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    const kn_mapping *other = kpy_mapping_of(over);
    if (!other)
        return NULL;
    const kn_status st = kn_mapping_join(((mapping_object *)self)->mapping, other, &out, &err);
    return st == KN_OK ? kpy_mapping_object(out) : kpy_fail(st, &err);
}

static PyObject *mapping_text(PyObject *self, PyObject *unused)
{
    (void)unused;
    kn_error err = KN_ERROR_INIT;
    char *text = NULL;
    const kn_status st = kn_mapping_text(((mapping_object *)self)->mapping, &text, &err);
    if (st != KN_OK)
        return kpy_fail(st, &err);
    PyObject *result = PyUnicode_FromString(text);
    kn_string_free(text);
    return result;
}

static PyObject *mapping_write(PyObject *self, PyObject *args)
{
    kn_error err = KN_ERROR_INIT;
    const char *path;
    kn_status st;
    if (!PyArg_ParseTuple(args, "s:write", &path))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_mapping_write(((mapping_object *)self)->mapping, path, &err);
    Py_END_ALLOW_THREADS;
    return st == KN_OK ? Py_NewRef(Py_None) : kpy_fail(st, &err);
}

static PyObject *mapping_read(PyObject *type, PyObject *args)
{
    (void)type;
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    const char *path;
    kn_status st;
    if (!PyArg_ParseTuple(args, "s:read", &path))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    st = kn_mapping_read(path, &out, &err);
    Py_END_ALLOW_THREADS;
    return st == KN_OK ? kpy_mapping_object(out) : kpy_fail(st, &err);
}

static PyObject *mapping_parse(PyObject *type, PyObject *args)
{
    (void)type;
    kn_error err = KN_ERROR_INIT;
    kn_mapping *out = NULL;
    const char *text, *name, *dir;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#sz:parse", &text, &size, &name, &dir))
        return NULL;
    const kn_status st = kn_mapping_parse(text, (size_t)size, name, dir, &out, &err);
    return st == KN_OK ? kpy_mapping_object(out) : kpy_fail(st, &err);
}

static Py_ssize_t mapping_length(PyObject *self)
{
    return (Py_ssize_t)kn_mapping_count(((mapping_object *)self)->mapping);
}

static PyMethodDef methods[] = {
    {"register", mapping_register, METH_O, "A new mapping with entries registered over this one."},
    {"join", mapping_join, METH_O,
     "A new mapping with every table of another registered over this one."},
    {"rows", mapping_rows, METH_NOARGS, "The entries, in order of registration."},
    {"text", mapping_text, METH_NOARGS, "As a mapping file."},
    {"write", mapping_write, METH_VARARGS, "Into a mapping file."},
    {"read", mapping_read, METH_VARARGS | METH_STATIC, "A mapping file."},
    {"parse", mapping_parse, METH_VARARGS | METH_STATIC, "The text of a mapping file."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {{Py_tp_doc, "Which kernel serves a layer: an immutable value."},
                              {Py_tp_dealloc, (void *)dealloc},
                              {Py_tp_methods, methods},
                              {Py_sq_length, (void *)mapping_length},
                              {0, NULL}};
static PyType_Spec spec = {.name = "kernels._kernels.Mapping",
                           .basicsize = sizeof(mapping_object),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

static PyObject *mode_union(PyObject *self, PyObject *args)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_mode a, b, out;
    PyObject *first, *second;
    if (!PyArg_ParseTuple(args, "OO:mode_union", &first, &second) || read_mode(first, &a) < 0 ||
        read_mode(second, &b) < 0)
        return NULL;
    const kn_status st = kn_mode_union(a, b, &out, &err);
    return st == KN_OK ? PyLong_FromUnsignedLong(out) : kpy_fail(st, &err);
}

static PyObject *mode_check(PyObject *self, PyObject *argument)
{
    (void)self;
    kn_error err = KN_ERROR_INIT;
    kn_mode mode;
    if (read_mode(argument, &mode) < 0)
        return NULL;
    const kn_status st = kn_mode_check_request(mode, &err);
    return st == KN_OK ? Py_NewRef(Py_None) : kpy_fail(st, &err);
}

static PyMethodDef functions[] = {
    {"mode_union", mode_union, METH_VARARGS, "The flags of both, where they may stand together."},
    {"mode_check", mode_check, METH_O, "Raises unless kernelize may be asked for the mode."},
    {NULL, NULL, 0, NULL},
};

int kpy_mapping_init(PyObject *module)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *empty = NULL;
    kpy.mapping = PyType_FromSpec(&spec);
    if (!kpy.mapping || PyModule_AddObjectRef(module, "Mapping", kpy.mapping) < 0 ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    const kn_status st = kn_mapping_with(NULL, NULL, 0, &empty, &err);
    PyObject *object = st == KN_OK ? kpy_mapping_object(empty) : kpy_fail(st, &err);
    const int added = object ? PyModule_AddObjectRef(module, "EMPTY", object) : -1;
    Py_XDECREF(object);
    return added;
}
