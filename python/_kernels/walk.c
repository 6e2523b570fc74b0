// The walk over the `_modules` dictionaries of PyTorch, in the order of named_modules(). Between two looks at a dictionary Python code may
// run (a tensor subclass, a condition): what is used after it is held.
#include <stdlib.h>
#include <string.h>

#include "host.h"

static PyObject *s_modules, *s_parameters, *s_buffers, *s_functions, *s_hook, *s_old_forward,
    *s_device, *s_condition;

int kpy_walk_init(void)
{
    const struct {
        PyObject **to;
        const char *text;
    } names[] = {{&s_modules, "_modules"}, {&s_parameters, "_parameters"},
                 {&s_buffers, "_buffers"}, {&s_functions, "_kernel_funcs"},
                 {&s_hook, "_hf_hook"},    {&s_old_forward, "_old_forward"},
                 {&s_device, "device"},    {&s_condition, "kernel_condition"}};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        if (!(*names[i].to = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
}

// --- pointers ---

static size_t slot_of(const kpy_map *map, const void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(h >> 32) & (map->capacity - 1);
    while (map->keys[at] && map->keys[at] != key)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

void *kpy_map_get(const kpy_map *map, const void *key)
{
    return map->capacity ? map->values[slot_of(map, key)] : NULL;
}

static bool grow(kpy_map *map)
{
    kpy_map larger = {.capacity = map->capacity ? map->capacity * 2 : 64, .count = map->count};
    larger.keys = calloc(larger.capacity, sizeof(*larger.keys));
    larger.values = calloc(larger.capacity, sizeof(*larger.values));
    if (!larger.keys || !larger.values) {
        kpy_map_dispose(&larger);
        return false;
    }
    for (size_t i = 0; i < map->capacity; ++i) {
        if (!map->keys[i])
            continue;
        const size_t at = slot_of(&larger, map->keys[i]);
        larger.keys[at] = map->keys[i];
        larger.values[at] = map->values[i];
    }
    kpy_map_dispose(map);
    *map = larger;
    return true;
}

void **kpy_map_at(kpy_map *map, const void *key)
{
    if (map->count * 2 >= map->capacity && !grow(map))
        return NULL;
    const size_t at = slot_of(map, key);
    if (!map->keys[at]) {
        map->keys[at] = key;
        map->count += 1;
    }
    return &map->values[at];
}

void kpy_map_dispose(kpy_map *map)
{
    free((void *)map->keys);
    free(map->values);
    *map = (kpy_map){0};
}

// --- classes ---

static void free_class(kpy_class *cls)
{
    while (cls) {
        kpy_class *next = cls->variants;
        Py_XDECREF(cls->type);
        Py_XDECREF(cls->name);
        Py_XDECREF(cls->layer);
        Py_XDECREF(cls->refusal);
        Py_XDECREF(cls->condition);
        free(cls);
        cls = next;
    }
}

// What the host says of a class, asked once a run. NULL with an exception.
static kpy_class *describe(kpy_run *run, PyObject *type)
{
    void **place = kpy_map_at(&run->classes, type);
    if (!place) {
        PyErr_NoMemory();
        return NULL;
    }
    if (*place)
        return *place;
    kpy_class *cls = calloc(1, sizeof(*cls));
    if (!cls) {
        PyErr_NoMemory();
        return NULL;
    }
    Py_INCREF(type);
    cls->type = type;
    PyObject *answer = PyObject_CallMethod(run->host, "describe", "O", type);
    if (!answer || !PyArg_ParseTuple(answer, "UOO", &cls->name, &cls->layer, &cls->refusal)) {
        cls->name = cls->layer = cls->refusal = NULL;
        goto failed;
    }
    Py_INCREF(cls->name);
    Py_INCREF(cls->layer);
    Py_INCREF(cls->refusal);
    Py_CLEAR(answer);
    if (cls->layer != Py_None && !(cls->condition = PyObject_GetAttr(type, s_condition))) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            goto failed;
        PyErr_Clear();
    }
    if (cls->condition == Py_None)
        Py_CLEAR(cls->condition);
    place = kpy_map_at(&run->classes, type); // describe may have grown it
    if (!place) {
        PyErr_NoMemory();
        goto failed;
    }
    *place = cls;
    return cls;
failed:
    Py_XDECREF(answer);
    free_class(cls);
    return NULL;
}

// Gives a module the variant of its class that is refused for a reason of the module's own. Steals `refusal`, which may be NULL with an
// exception. 0, or -1 with an exception.
static int refuse(kpy_module *m, PyObject *refusal)
{
    kpy_class *cls = m->cls, *v = cls->variants;
    if (!refusal)
        return -1;
    while (v && PyUnicode_Compare(v->refusal, refusal) != 0)
        v = v->variants;
    if (v || !(v = calloc(1, sizeof(*v)))) {
        Py_DECREF(refusal);
        m->cls = v;
        return v ? 0 : (PyErr_NoMemory(), -1);
    }
    *v = *cls;
    v->refusal = refusal;
    v->condition = NULL;
    Py_INCREF(v->type);
    Py_INCREF(v->name);
    Py_INCREF(v->layer);
    cls->variants = v;
    m->cls = v;
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
    for (size_t i = 0; i < run->classes.capacity; ++i)
        free_class(run->classes.values[i]);
    kpy_map_dispose(&run->classes);
    kpy_map_dispose(&run->seen);
    Py_CLEAR(run->device);
}

// Whether the module is the host's to replace: its condition, and what stands in the place of its forward. 0, or -1 with an exception.
static int settle_class(kpy_run *run, kpy_module *m)
{
    kpy_place place;
    if (m->cls->condition) {
        PyObject *answer = PyObject_CallFunctionObjArgs(m->cls->condition, m->object, NULL);
        const int yes = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
        if (yes < 0)
            return -1;
        if (!yes)
            return refuse(m, PyUnicode_FromString(
                                 "the condition of its class (condition=) declined the module"));
    }
    int done = kpy_place_find(m->object, run->replicate, &place);
    if (done == 0 && place.state != KN_HOST_OWN && place.state != KN_HOST_KERNEL)
        done = refuse(m, PyObject_CallMethod(run->host, "foreign", "OO", place.value,
                                             place.state == KN_HOST_FOREIGN ? Py_False : Py_True));
    kpy_place_dispose(&place);
    return done;
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

// A module that cannot be looked into is shown, as one without a layer name.
static int refuse_compiled(kpy_module *m)
{
    if (refuse(m, PyUnicode_FromString("a ScriptModule: its layers are compiled already; kernelize "
                                       "the model before it is scripted")) < 0)
        return -1;
    if (m->cls->layer != Py_None)
        return 0;
    PyObject *nameless = PyUnicode_FromString("");
    if (!nameless)
        return -1;
    Py_DECREF(m->cls->layer);
    m->cls->layer = nameless;
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
    m->cls = describe(run, (PyObject *)Py_TYPE(object));
    if (!m->cls)
        goto raised;
    if (!is_function) {
        children = PyDict_GetItemWithError(dict, s_modules);
        compiled = children && !PyDict_Check(children);
        if (!children && PyErr_Occurred())
            goto raised;
        if (compiled && refuse_compiled(m) < 0)
            goto raised;
    }
    kn_host_module met = {.module = m, .depth = (uint32_t)(w->depth + is_function)};
    met.extensible = m->cls->layer != Py_None;
    if (met.extensible && !compiled && m->cls->refusal == Py_None && settle_class(run, m) < 0)
        goto raised;
    if (run->looks && !is_function && !compiled && look(run, dict, &met) < 0)
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
    if (st == KN_OK && run->looks && !run->found && run->n_meta)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "kernelize: Cannot determine model device: every parameter and buffer is "
                          "on the meta device; load the weights first, or give the device");
    kpy_run_give(run, taken);
    return st;
}

size_t kpy_path(void *user, void *module, char *out, size_t size)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    size_t length = 0;
    for (const kpy_module *m = module; m->name; m = m->parent) {
        Py_ssize_t n = 1;
        if (!PyUnicode_AsUTF8AndSize(m->name, &n))
            PyErr_Clear(); // no text: "?"
        length += (size_t)n + (m->parent->name != NULL);
    }
    size_t end = length;
    if (length < size) {
        for (const kpy_module *m = module; m->name; m = m->parent) {
            Py_ssize_t n = 1;
            const char *text = PyUnicode_AsUTF8AndSize(m->name, &n);
            if (!text)
                PyErr_Clear();
            end -= (size_t)n;
            memcpy(out + end, text ? text : "?", (size_t)n);
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
