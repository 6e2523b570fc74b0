// Kernelize over Python modules, as its files see each other: walk.c meets the modules and class.c their classes, bind.c swaps their forwards, reason.c keeps
// why one stays as it is, host.c is the table that the core is given and what Python calls.
#ifndef KPY_HOST_H
#define KPY_HOST_H

#include "kpy.h"

// map.c. From pointers to pointers; a key is not NULL.
typedef struct kpy_map {
    const void **keys;
    void **values;
    size_t capacity; // a power of two, or 0
    size_t count;
} kpy_map;

// The value's place, NULL in it where the key is new; NULL without memory, and no exception is set.
void **kpy_map_at(kpy_map *map, const void *key);
void *kpy_map_get(const kpy_map *map, const void *key);
void kpy_map_dispose(kpy_map *map);

// What a run knows of a class: modules that take the same decisions have the same one. References are owned.
typedef struct kpy_class {
    PyObject *type; // of a function of use_kernelized_func, which is an object too, its own
    PyObject *name;
    PyObject *layer;            // None: not extensible
    PyObject *refusal;          // None: its modules are replaced
    PyObject *condition;        // of `condition=`; NULL: none
    struct kpy_class *variants; // the same class, refused for what its modules are themselves
} kpy_class;

// A module, or function, that was met. A reference to the object is held until the run ends.
typedef struct kpy_module {
    PyObject *object;
    PyObject *name; // in its parent; NULL: the model itself
    struct kpy_module *parent;
    kpy_class *cls;
    bool is_function; // of use_kernelized_func
} kpy_module;

#define KPY_CHUNK 255
typedef struct kpy_chunk {
    struct kpy_chunk *next;
    size_t n;
    kpy_module modules[KPY_CHUNK];
} kpy_chunk;

typedef struct kpy_run {
    PyObject *model;
    PyObject *host;
    PyThreadState *released; // NULL: this thread has the GIL
    bool looks;              // where tensors are is asked
    bool decides;            // and has to be known
    bool found;              // a tensor on a device
    size_t n_meta;           // modules with none but meta tensors
    kpy_map seen;
    kpy_map classes;
    kpy_chunk *chunks;
    PyObject *device; // that was asked for last, and what it is
    kn_device_type device_type;
    int32_t device_index;
    bool device_is_meta;
    PyObject *loaded;    // what host.load answered: the core borrows from it
    PyObject *said;      // what kpy_why answered last; NULL: nothing
    PyObject *functions; // that were met, a list
    bool failed;         // a swap had no memory
} kpy_run;

// The GIL in a callback of the core: held already, or taken for as long.
bool kpy_run_take(kpy_run *run);
void kpy_run_give(kpy_run *run, bool taken);

// class.c. What the host says of a class, asked once a run. NULL with an exception.
kpy_class *kpy_class_find(kpy_run *run, PyObject *type);
// Whether the module is the host's to replace: its condition, and what stands in the place of its forward. 0, or -1 with an exception.
int kpy_class_settle(kpy_run *run, kpy_module *m);
// A module that cannot be looked into is shown, as one without a layer name.
int kpy_class_refuse_compiled(kpy_module *m);
void kpy_classes_dispose(kpy_run *run);

// walk.c; names that are looked up in dictionaries are made once.
int kpy_walk_init(void);
kn_status kpy_walk(void *run, kn_host_visit_fn visit, void *data, kn_error *err);
size_t kpy_path(void *run, void *module, char *out, size_t size);
void kpy_walk_dispose(kpy_run *run);

// reason.c. Why the modules of a class keep their own forward, as the last kernelize said.
void kpy_declined(void *run, void *cls, const kn_host_reason *why);
void kpy_why(void *run, void *cls, kn_host_reason *out);

// bind.c. What is set on modules of a class; never freed, since a module may call it for as long as the process lives.
typedef struct kpy_binding {
    PyObject *kernel;         // HostKernel
    PyObject *function;       // the forward
    PyObject *own;            // the class's forward that it stands for
    struct kpy_binding *next; // of the same class
} kpy_binding;

// What stands where the forward of a module is looked up.
typedef struct kpy_place {
    PyObject *dict;  // owned
    PyObject *cell;  // name in it; borrowed
    PyObject *value; // owned; NULL: nothing
    kn_host_state state;
    const kpy_binding *binding;
    bool is_stray; // the binding's method has another module as its self (copy.copy)
} kpy_place;

int kpy_bind_init(void);
// host NULL: somebody else's forward is not looked into. 0, or -1 with an exception. Dispose it in either case.
int kpy_place_find(PyObject *object, PyObject *host, kpy_place *out);
void kpy_place_dispose(kpy_place *place);
kn_host_state kpy_module_state(void *run, void *module, void **binding);
void kpy_commit(void *run, void *module, void *binding);
kn_status kpy_prepare(void *run, void *cls, const kn_host_kernel *kernel, void **binding,
                      kn_error *err);
// The binding behind a handle of kpy_module_state or kpy_prepare.
const kpy_binding *kpy_binding_of(void *handle);

// candidate.c
int kpy_candidate_init(PyObject *module);
PyObject *kpy_candidate_object(const kn_host_candidate *from);

#endif
