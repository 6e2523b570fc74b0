// What stands in the place of a module's forward, and the swap. A binding is a method of a function in the instance dictionary: copies,
// wrappers and the compiler of PyTorch treat it as they treat every other method.
#include <stdlib.h>
#include <string.h>

#include "host.h"

static struct {
    PyObject *method; // types.MethodType
    PyObject *forward, *old_forward, *hook, *func, *self;
    kpy_map by_function; // function -> kpy_binding
    kpy_map by_class;    // class -> its kpy_bindings
} own;

int kpy_bind_init(void)
{
    const struct {
        PyObject **to;
        const char *text;
    } names[] = {{&own.forward, "forward"},
                 {&own.old_forward, "_old_forward"},
                 {&own.hook, "_hf_hook"},
                 {&own.func, "__func__"},
                 {&own.self, "__self__"}};
    for (size_t i = 0; i < KN_LEN(names); ++i)
        if (!(*names[i].to = PyUnicode_InternFromString(names[i].text)))
            return -1;
    PyObject *types = PyImport_ImportModule("types");
    own.method = types ? PyObject_GetAttrString(types, "MethodType") : NULL;
    Py_XDECREF(types);
    return own.method ? 0 : -1;
}

// A handle's last bit says that the binding is a stray: it has to be bound again, whatever is decided.
static void *handle_of(const kpy_place *place)
{
    return place->binding ? (char *)(uintptr_t)place->binding + place->is_stray : NULL;
}

const kpy_binding *kpy_binding_of(void *handle)
{
    return (const kpy_binding *)((char *)handle - ((uintptr_t)handle & 1));
}

// --- what is there ---

static bool is_method(PyObject *value)
{
    return value && (PyObject *)Py_TYPE(value) == own.method;
}

// What a value in the place of the forward is. 0, or -1 with an exception.
static int classify(PyObject *object, kpy_place *place)
{
    place->state = KN_HOST_FOREIGN;
    if (!is_method(place->value))
        return 0;
    PyObject *func = PyObject_GetAttr(place->value, own.func);
    PyObject *self = func ? PyObject_GetAttr(place->value, own.self) : NULL;
    int done = self ? 0 : -1;
    if (self) {
        place->binding = kpy_map_get(&own.by_function, func);
        place->is_stray = self != object;
    }
    if (place->binding)
        place->state = KN_HOST_KERNEL;
    else if (self == object && self) {
        PyObject *of_class = PyObject_GetAttr((PyObject *)Py_TYPE(object), own.forward);
        if (!of_class)
            PyErr_Clear();
        if (of_class == func)
            place->state = KN_HOST_OWN;
        Py_XDECREF(of_class);
    }
    Py_XDECREF(func);
    Py_XDECREF(self);
    return done;
}

int kpy_place_find(PyObject *object, PyObject *host, kpy_place *out)
{
    *out = (kpy_place){.dict = PyObject_GenericGetDict(object, NULL), .cell = own.forward};
    if (!out->dict)
        return -1;
    out->value = PyDict_GetItemWithError(out->dict, own.forward);
    if (!out->value)
        return PyErr_Occurred() ? -1 : 0;
    // accelerate: its forward runs the hook and then what stands beneath, which is where a kernel belongs.
    if (!is_method(out->value) && PyDict_GetItemWithError(out->dict, own.hook)) {
        PyObject *beneath = PyDict_GetItemWithError(out->dict, own.old_forward);
        if (beneath) {
            out->value = beneath;
            out->cell = own.old_forward;
        }
    }
    Py_INCREF(out->value);
    if (PyErr_Occurred() || classify(object, out) < 0)
        return -1;
    if (out->state == KN_HOST_FOREIGN && host) {
        PyObject *answer = PyObject_CallMethod(host, "wraps", "O", out->value);
        const int wraps = answer ? PyObject_IsTrue(answer) : -1;
        Py_XDECREF(answer);
        if (wraps < 0)
            return -1;
        if (wraps)
            out->state = KN_HOST_FOREIGN_SINCE;
    }
    return 0;
}

void kpy_place_dispose(kpy_place *place)
{
    Py_CLEAR(place->dict);
    Py_CLEAR(place->value);
}

kn_host_state kpy_module_state(void *user, void *module, void **binding)
{
    kpy_run *run = user;
    const bool taken = kpy_run_take(run);
    kpy_place place;
    *binding = NULL;
    if (kpy_place_find(((kpy_module *)module)->object, run->host, &place) < 0) {
        PyErr_WriteUnraisable(((kpy_module *)module)->object);
        place.state = KN_HOST_FOREIGN; // not to be touched
    } else {
        *binding = handle_of(&place);
    }
    const kn_host_state state = place.state;
    kpy_place_dispose(&place);
    kpy_run_give(run, taken);
    return state;
}

// --- what is set ---

static int set_method(PyObject *dict, PyObject *name, PyObject *function, PyObject *self)
{
    PyObject *method = PyObject_CallFunctionObjArgs(own.method, function, self, NULL);
    const int done = method ? PyDict_SetItem(dict, name, method) : -1;
    Py_XDECREF(method);
    return done;
}

static int unbind(PyObject *object, const kpy_place *place)
{
    if (place->cell == own.forward)
        return PyDict_DelItem(place->dict, place->cell);
    PyObject *of_class = PyObject_GetAttr((PyObject *)Py_TYPE(object), own.forward);
    const int done = of_class ? set_method(place->dict, place->cell, of_class, object) : -1;
    Py_XDECREF(of_class);
    return done;
}

void kpy_commit(void *user, void *module, void *handle)
{
    kpy_run *run = user;
    kpy_module *m = module;
    kpy_place place;
    kpy_run_take(run); // and kept: nothing blocks between one swap and the next
    int done = kpy_place_find(m->object, run->host, &place);
    if (done == 0 && handle)
        done = set_method(place.dict, place.cell, kpy_binding_of(handle)->function, m->object);
    else if (done == 0 && place.binding)
        done = unbind(m->object, &place);
    kpy_place_dispose(&place);
    if (done < 0) { // no memory for a method: the module keeps what it has
        PyErr_WriteUnraisable(m->object);
        run->failed = true;
    }
}

// --- bindings ---

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_kernel(const kn_host_kernel *a, const kn_host_kernel *b)
{
    return a->kernel == b->kernel && a->layer == b->layer && a->forward == b->forward &&
           a->backward == b->backward && a->device == b->device &&
           a->device_index == b->device_index && a->strict == b->strict && a->mode == b->mode &&
           a->mode_used == b->mode_used && a->hosted == b->hosted && a->level == b->level &&
           same_text(a->layer_name, b->layer_name) && same_text(a->repository, b->repository) &&
           same_text(a->revision, b->revision) && same_text(a->variant, b->variant) &&
           same_text(a->text, b->text);
}

// Steals own_forward. NULL with an exception.
static kpy_binding *make(kpy_run *run, PyObject *type, const kn_host_kernel *kernel,
                         PyObject *own_forward)
{
    kpy_binding *b = calloc(1, sizeof(*b));
    if (!b) {
        Py_DECREF(own_forward);
        PyErr_NoMemory();
        return NULL;
    }
    b->own = own_forward;
    b->kernel = kpy_host_kernel_object(kernel);
    b->function =
        b->kernel ? PyObject_CallMethod(run->host, "prepare", "OO", type, b->kernel) : NULL;
    void **by_class = b->function ? kpy_map_at(&own.by_class, type) : NULL;
    void **by_function = by_class ? kpy_map_at(&own.by_function, b->function) : NULL;
    if (b->function && !by_function)
        PyErr_NoMemory();
    if (by_function && *by_function) {
        PyErr_SetString(PyExc_RuntimeError, "kernels: the host gave one function for two kernels");
        by_function = NULL;
    }
    if (!by_function) {
        Py_XDECREF(b->function);
        Py_XDECREF(b->kernel);
        Py_DECREF(b->own);
        free(b);
        return NULL;
    }
    if (!*by_class)
        Py_INCREF(type); // like its bindings, for good
    b->next = *by_class;
    *by_class = b;
    *by_function = b;
    return b;
}

kn_status kpy_prepare(void *user, void *cls, const kn_host_kernel *kernel, void **binding,
                      kn_error *err)
{
    kpy_run *run = user;
    const kpy_class *c = cls;
    const bool taken = kpy_run_take(run);
    kn_status st = KN_OK;
    kpy_forget();
    PyObject *own_forward = PyObject_GetAttr(c->type, own.forward);
    kpy_binding *b = own_forward ? kpy_map_get(&own.by_class, c->type) : NULL;
    // Made for another forward of the class: that was patched since.
    while (b && (b->own != own_forward || !same_kernel(kpy_host_kernel_of(b->kernel), kernel)))
        b = b->next;
    if (b)
        Py_DECREF(own_forward);
    else if (own_forward)
        b = make(run, c->type, kernel, own_forward);
    if (!b)
        st = kpy_pass(PyErr_ExceptionMatches(PyExc_MemoryError) ? KN_ERR_NO_MEMORY : KN_ERR_LAYER,
                      err);
    *binding = b;
    kpy_run_give(run, taken);
    return st;
}
