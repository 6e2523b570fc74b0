// Inside the library: classes, modules and what can be bound to them.
#ifndef KNI_KERNELIZE_MODULE_H
#define KNI_KERNELIZE_MODULE_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/buf.h"
#include "kernels/host.h"
#include "kernels/module.h"

// What kernelize said last of a class that it gave no kernel, for reports.
typedef struct kni_note {
    struct kni_note *next;
    kn_device_type device;
    int32_t device_index;
    uint32_t rule;
    char text[]; // the reason, then what would admit it
} kni_note;

struct kn_class {
    kn_binding own; // what its modules are bound to by default
    atomic_size_t refs;
    char *name;
    char *layer;           // as marked on this class; NULL: not marked
    kn_forward_fn forward; // its own, or the base's
    void *user;
    bool owns_forward;
    kn_layer *signature; // its own, or the base's; NULL: none
    kn_class *base;
    pthread_mutex_t lock; // over the next
    kni_note *notes;      // one for each device, the newest first
};

// A member's name, so that the common case is compared in two words: zero-padded, cut at 16 bytes.
typedef struct kni_name_key {
    uint64_t words[2];
} kni_name_key;

typedef struct kni_member {
    kni_name_key key;
    char *name;
    kn_value value;  // a tensor's points to `tensor`
    DLTensor tensor; // with shape and strides in `extents`
    int64_t extents[];
} kni_member;

// A module's own forward, set from outside. Kept until the module is freed, since calls may be inside.
typedef struct kni_instance_forward {
    kn_binding binding;
    kn_forward_fn forward;
    void *user;
    struct kni_instance_forward *next;
} kni_instance_forward;

// All modules of one tree by path: open addressing, linear probing. Held by the root.
typedef struct kni_module_index {
    kn_module **slots;
    size_t capacity; // a power of two, or 0
    size_t count;
} kni_module_index;

// What the walk and a call read stands first, in one cache line: a large model is walked at the speed of memory.
struct kn_module {
    kn_module_head head; // first: kn_call reads it
    kn_class *cls;       // NULL: a container
    kn_module *parent;
    kn_module **children;
    size_t n_children;
    size_t at; // in the parent's children
    char *path;
    int32_t dl_device_type; // of its first tensor; 0: it has none
    int32_t device_index;
    kni_member **members;
    size_t n_members;
    size_t members_capacity;
    uint64_t *fallbacks; // by reason; atomic, made at the first fallback
    kni_instance_forward *forwards;
    bool set_over_kernel; // of a forward of its own: a kernel was bound when it was set
    kn_module *root;
    size_t children_capacity;
    kni_module_index index; // of a root
};

kni_name_key kni_name_key_of(const char *name);
// The member of that name; NULL: none.
const kni_member *kni_module_find_member(const kn_module *module, kni_name_key key,
                                         const char *name);

static inline bool kni_member_is(const kni_member *member, kni_name_key key, const char *name)
{
    return member->key.words[0] == key.words[0] && member->key.words[1] == key.words[1] &&
           (key.words[1] >> 56 == 0 || strcmp(member->name, name) == 0);
}

// The same, looked for at `hint` first: what a call does for every member.
static inline const kni_member *kni_module_member_at(const kn_module *module, kni_name_key key,
                                                     const char *name, size_t hint)
{
    if (__builtin_expect(hint < module->n_members, 1) &&
        kni_member_is(module->members[hint], key, name))
        return module->members[hint];
    return kni_module_find_member(module, key, name);
}

// What a module without a kernel is bound to.
const kn_binding *kni_module_own_binding(const kn_module *module);
const kn_binding *kni_module_bound(const kn_module *module);
bool kni_binding_is_instance(const kn_binding *binding);

// The extensible layer that the class's forward was marked with; NULL: none. *refusal: why the mark does not count for it
// although it inherits one; NULL otherwise.
const char *kni_class_marked_layer(const kn_class *cls, const char **refusal);

// As kn_host.declined and kn_host.why; the answer's strings are in `said`.
void kni_class_decline(kn_class *cls, const kn_host_reason *why);
void kni_class_why(kn_class *cls, kn_host_reason *out, kni_buf *said);
void kni_notes_free(kni_note *notes);

#endif
