// The walk over the `_modules` dictionaries of PyTorch, in the order of named_modules(). Between two looks at a dictionary Python code may
// run (a tensor subclass, a condition): what is used after it is held.
#include <stdlib.h>
#include <string.h>

#include "host.h"

static PyObject *s_modules, *s_parameters, *s_buffers, *s_functions, *s_hook, *s_device;

int kpy_walk_init(void)
{
    const struct {
        PyObject **to;
        const char *text;
    } names[] = {{&s_modules, "_modules"}, {&s_parameters, "_parameters"},
                 {&s_buffers, "_buffers"}, {&s_functions, "_kernel_funcs"},
                 {&s_hook, "_hf_hook"},    {&s_device, "device"}};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        if (!(*names[i].to = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
}

// --- where a module's tensors are ---

// A pair (type or None, index) of the host.
static int read_device(PyObject *answer, kn_device_type *type, int32_t *index, bool *is_meta)
{
    const char *name;
    kn_error ignored = KN_ERROR_INIT;
    if (!answer || !PyArg_ParseTuple(answer, "zi", &name, index))
        return -1;
    *is_meta = name && strcmp(name, "meta") == 0;
    if (!name || *is_meta || kn_device_type_parse(name, type, &ignored) != KN_OK)
        *type = KN_DEVICE_NONE; // one that no kernel is for
    kn_error_dispose(&ignored);
    return 0;
}

static int ask_device(kpy_run *run, PyObject *device)
{
    if (run->device) {
        const int same = PyObject_RichCompareBool(run->device, device, Py_EQ);
        if (same)
            return same < 0 ? -1 : 0;
    }
    PyObject *answer = PyObject_CallMethod(run->host, "device", "O", device);
    const int done =
        read_device(answer, &run->device_type, &run->device_index, &run->device_is_meta);
    Py_XDECREF(answer);
    PyObject *last = run->device;
    Py_INCREF(device);
    run->device = done < 0 ? NULL : device;
    if (done < 0)
        Py_DECREF(device);
    Py_XDECREF(last);
    return done;
}

// The first tensor of a dictionary that is somewhere. 1: found; 0: none; -1: an exception.
static int look_into(kpy_run *run, PyObject *dict, PyObject *name, kn_host_module *met, bool *meta)
{
    PyObject *tensors = PyDict_GetItemWithError(dict, name), *key, *tensor;
    Py_ssize_t at = 0;
    int found = 0;
    if (!tensors || !PyDict_Check(tensors))
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(tensors);
    while (!found && PyDict_Next(tensors, &at, &key, &tensor)) {
        if (tensor == Py_None)
            continue;
        Py_INCREF(tensor);
        PyObject *device = PyObject_GetAttr(tensor, s_device);
        Py_DECREF(tensor);
        if (!device) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
                found = -1;
                break;
            }
            PyErr_Clear();
            continue;
        }
        if (ask_device(run, device) < 0)
            found = -1;
        Py_DECREF(device);
        if (found == 0 && run->device_is_meta)
            *meta = true;
        else if (found == 0) {
            met->device = run->device_type;
            met->device_index = run->device_index;
            found = 1;
        }
    }
    Py_DECREF(tensors);
    return found;
}

// Where accelerate's hook puts the inputs: it has moved the module's tensors away.
static int look_at_hook(kpy_run *run, PyObject *dict, kn_host_module *met)
{
    bool is_meta;
    PyObject *hook = PyDict_GetItemWithError(dict, s_hook);
    if (!hook)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(hook);
    PyObject *answer = PyObject_CallMethod(run->host, "hook_device", "O", hook);
    Py_DECREF(hook);
    kn_device_type type;
    int32_t index;
    const int done = read_device(answer, &type, &index, &is_meta);
    Py_XDECREF(answer);
    if (done == 0 && type != KN_DEVICE_NONE) {
        met->device = type;
        met->device_index = index;
    }
    return done;
}

// A traced module tells its modules as an attribute alone.
static bool has_hidden_modules(PyObject *object)
{
    PyObject *modules = PyObject_GetAttr(object, s_modules);
    const bool hidden = modules && !PyDict_Check(modules);
    PyErr_Clear();
    Py_XDECREF(modules);
    return hidden;
}

// A ScriptModule's tensors are behind its methods.
static int look_at_compiled(kpy_run *run, PyObject *object, kn_host_module *met)
{
    PyObject *all = PyObject_CallMethod(object, "parameters", NULL);
    PyObject *tensor = all ? PyIter_Next(all) : NULL;
    PyObject *device = tensor ? PyObject_GetAttr(tensor, s_device) : NULL;
    if (device && ask_device(run, device) == 0 && !run->device_is_meta) {
        met->device = run->device_type;
        met->device_index = run->device_index;
        run->found |= met->device != KN_DEVICE_NONE;
    }
    Py_XDECREF(device);
    Py_XDECREF(tensor);
    Py_XDECREF(all);
    return PyErr_Occurred() ? -1 : 0;
}

static int look(kpy_run *run, PyObject *dict, kn_host_module *met)
{
    bool meta = false;
    int found = look_into(run, dict, s_parameters, met, &meta);
    if (found == 0)
        found = look_into(run, dict, s_buffers, met, &meta);
    if (found >= 0 && (meta || met->extensible) && look_at_hook(run, dict, met) < 0)
        return -1;
    run->found |= met->device != KN_DEVICE_NONE;
    run->n_meta += meta && met->device == KN_DEVICE_NONE;
    return found < 0 ? -1 : 0;
}

// --- modules ---

typedef struct frame {
    PyObject *children; // owned
    Py_ssize_t at;
    kpy_module *owner;
} frame;

typedef struct walk {
    kpy_run *run;
    kn_host_visit_fn visit;
    void *data;
    kn_error *err;
    frame *stack;
    size_t depth, capacity;
} walk;

static kpy_module *add(kpy_run *run, PyObject *object, PyObject *name, kpy_module *parent,
                       bool is_function)
{
    kpy_chunk *chunk = run->chunks;
    if (!chunk || chunk->n == KPY_CHUNK) {
        chunk = malloc(sizeof(*chunk));
        if (!chunk) {
            PyErr_NoMemory();
            return NULL;
        }
        chunk->n = 0;
        chunk->next = run->chunks;
        run->chunks = chunk;
    }
    kpy_module *m = &chunk->modules[chunk->n++];
    *m = (kpy_module){object, name, parent, NULL, is_function};
    Py_INCREF(object);
    Py_XINCREF(name);
    return m;
}

void kpy_walk_dispose(kpy_run *run)
{
    while (run->chunks) {
        kpy_chunk *chunk = run->chunks;
        for (size_t i = 0; i < chunk->n; ++i) {
            Py_DECREF(chunk->modules[i].object);
            Py_XDECREF(chunk->modules[i].name);
        }
        run->chunks = chunk->next;
        free(chunk);
    }
    kpy_classes_dispose(run);
    kpy_map_dispose(&run->seen);
    Py_CLEAR(run->device);
}

static int push(walk *w, PyObject *children, kpy_module *owner)
{
    if (w->depth == w->capacity) {
        const size_t capacity = w->capacity ? w->capacity * 2 : 32;
        frame *stack = realloc(w->stack, capacity * sizeof(*stack));
        if (!stack) {
            PyErr_NoMemory();
            return -1;
        }
        w->stack = stack;
        w->capacity = capacity;
    }
    Py_INCREF(children);
    w->stack[w->depth++] = (frame){children, 0, owner};
    return 0;
}

// The functions that the module's class calls by name (use_kernelized_func).
static kn_status enter(walk *w, PyObject *object, PyObject *name, kpy_module *parent,
                       bool is_function);
static kn_status enter_functions(walk *w, PyObject *functions, kpy_module *owner)
{
    PyObject *name, *function;
    Py_ssize_t at = 0;
    kn_status st = KN_OK;
    Py_INCREF(functions);
    while (st == KN_OK && PyDict_Next(functions, &at, &name, &function)) {
        Py_INCREF(name);
        Py_INCREF(function);
        st = enter(w, function, name, owner, true);
        Py_DECREF(name);
        Py_DECREF(function);
    }
    Py_DECREF(functions);
    return st;
}

static kn_status enter(walk *w, PyObject *object, PyObject *name, kpy_module *parent,
                       bool is_function)
{
    kpy_run *run = w->run;
    kn_status st = KN_ERR_INVALID;
    PyObject *children = NULL, *functions = NULL;
    bool compiled = false;

    void **seen = kpy_map_at(&run->seen, object);
    if (!seen)
        return kn_error_set(w->err, KN_ERR_NO_MEMORY, "out of memory");
    if (*seen)
        return KN_OK;
    *seen = object;
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    kpy_module *m = dict ? add(run, object, name, parent, is_function) : NULL;
    if (!m)
        goto raised;
    m->cls = kpy_class_find(run, (PyObject *)Py_TYPE(object));
    if (!m->cls)
        goto raised;
    if (is_function && PyList_Append(run->functions, object) < 0)
        goto raised;
    if (!is_function) {
        children = PyDict_GetItemWithError(dict, s_modules);
        if (!children && PyErr_Occurred())
            goto raised;
        compiled = children ? !PyDict_Check(children) : has_hidden_modules(object);
        if (compiled && kpy_class_refuse_compiled(m) < 0)
            goto raised;
    }
    kn_host_module met = {.module = m, .depth = (uint32_t)(w->depth + is_function)};
    met.extensible = m->cls->layer != Py_None;
    if (met.extensible && !compiled && m->cls->refusal == Py_None && kpy_class_settle(run, m) < 0)
        goto raised;
    if (run->looks && !is_function &&
        (compiled ? look_at_compiled(run, object, &met) : look(run, dict, &met)) < 0)
        goto raised;
    met.cls = m->cls;
    st = w->visit(&met, w->data, w->err);
    if (st == KN_OK && !is_function) {
        functions = PyDict_GetItemWithError(dict, s_functions);
        if (functions && PyDict_Check(functions))
            st = enter_functions(w, functions, m);
        children = PyDict_GetItemWithError(dict, s_modules); // Python code may have run
        if (st == KN_OK && children && PyDict_Check(children) && push(w, children, m) < 0)
            goto raised;
    }
    Py_DECREF(dict);
    return st;
raised:
    Py_XDECREF(dict);
    return kpy_pass(PyErr_ExceptionMatches(PyExc_MemoryError) ? KN_ERR_NO_MEMORY : KN_ERR_INVALID,
                    w->err);
}

kn_status kpy_walk(void *user, kn_host_visit_fn visit, void *data, kn_error *err)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    walk w = {.run = run, .visit = visit, .data = data, .err = err};
    kn_status st = enter(&w, run->model, NULL, NULL, false);
    while (st == KN_OK && w.depth) {
        PyObject *name, *child;
        frame *top = &w.stack[w.depth - 1];
        kpy_module *owner = top->owner;
        if (!PyDict_Next(top->children, &top->at, &name, &child)) {
            Py_DECREF(top->children);
            --w.depth;
            continue;
        }
        if (child == Py_None)
            continue;
        Py_INCREF(name);
        Py_INCREF(child);
        st = enter(&w, child, name, owner, false); // may move the stack
        Py_DECREF(name);
        Py_DECREF(child);
    }
    while (w.depth)
        Py_DECREF(w.stack[--w.depth].children);
    free(w.stack);
    if (st == KN_OK && run->decides && run->looks && !run->found && run->n_meta)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "kernelize: Cannot determine model device: every parameter and buffer is "
                          "on the meta device; load the weights first, or give the device");
    kpy_run_give(run, taken);
    return st;
}

// A module's name as text; "?" for one that is none. What Python writes into *size then depends on its version.
static const char *name_text(const kpy_module *m, size_t *size)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(m->name, &n);
    *size = text ? (size_t)n : 1;
    if (!text)
        PyErr_Clear();
    return text ? text : "?";
}

size_t kpy_path(void *user, void *module, char *out, size_t size)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    size_t length = 0, n;
    for (const kpy_module *m = module; m->name; m = m->parent) {
        name_text(m, &n);
        length += n + (m->parent->name != NULL);
    }
    size_t end = length;
    if (length < size) {
        for (const kpy_module *m = module; m->name; m = m->parent) {
            const char *text = name_text(m, &n);
            end -= n;
            memcpy(out + end, text, n);
            if (m->parent->name)
                out[--end] = '.';
        }
        out[length] = '\0';
    } else if (size) {
        out[0] = '\0'; // the core asks again with room
    }
    kpy_run_give(run, taken);
    return length;
}
