#include "kernelize/module.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#define NAME_MAX_BYTES 1024

static kn_status call_instance(kn_module *module, const kn_value *values, int32_t n_values,
                               const kn_binding *self, kn_error *err)
{
    const kni_instance_forward *set = (const kni_instance_forward *)(const void *)self;
    const kn_status st = set->forward(module, values, n_values, set->user, err);
    return st == KN_OK ? st
                       : kn_error_set(err, st, "module %s: %s", module->path, kn_status_text(st));
}

bool kni_binding_is_instance(const kn_binding *binding)
{
    return binding->call == call_instance;
}

const kn_binding *kni_module_bound(const kn_module *module)
{
    return __atomic_load_n(&module->head.bound, __ATOMIC_ACQUIRE);
}

// --- the index of a tree ---

static uint64_t hash_path(const char *path)
{
    uint64_t h = 0xcbf29ce484222325u; // FNV-1a
    for (; *path; ++path)
        h = (h ^ (unsigned char)*path) * 0x100000001b3u;
    return h ^ h >> 32;
}

static size_t index_slot(const kni_module_index *index, const char *path)
{
    size_t at = (size_t)hash_path(path) & (index->capacity - 1);
    while (index->slots[at] && strcmp(index->slots[at]->path, path) != 0)
        at = (at + 1) & (index->capacity - 1);
    return at;
}

static bool index_reserve(kni_module_index *index)
{
    if (index->count * 4 < index->capacity * 3)
        return true;
    const kni_module_index old = *index;
    index->capacity = old.capacity ? old.capacity * 2 : 16;
    index->slots = kni_calloc(index->capacity, sizeof(*index->slots));
    if (!index->slots) {
        *index = old;
        return false;
    }
    for (size_t i = 0; i < old.capacity; ++i)
        if (old.slots[i])
            index->slots[index_slot(index, old.slots[i]->path)] = old.slots[i];
    kni_free(old.slots);
    return true;
}

static void index_remove(kni_module_index *index, const kn_module *module)
{
    const size_t mask = index->capacity - 1;
    size_t hole = index_slot(index, module->path);
    if (index->slots[hole] != module)
        return;
    index->slots[hole] = NULL;
    --index->count;
    for (size_t i = (hole + 1) & mask; index->slots[i]; i = (i + 1) & mask) { // close the gap
        const size_t home = (size_t)hash_path(index->slots[i]->path) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            index->slots[hole] = index->slots[i];
            index->slots[i] = NULL;
            hole = i;
        }
    }
}

// --- the tree ---

static kn_status check_name(const char *name, kn_error *err)
{
    if (!name || !*name)
        return kn_error_set(err, KN_ERR_INVALID, "module: a name is required");
    const size_t size = strlen(name);
    if (size > NAME_MAX_BYTES)
        return kn_error_set(err, KN_ERR_INVALID,
                            "module %.40s…: a name of %zu bytes; at most %d are accepted", name,
                            size, NAME_MAX_BYTES);
    if (name[0] == '.' || name[size - 1] == '.' || strstr(name, ".."))
        return kn_error_set(err, KN_ERR_INVALID, "module %s: a component of the name is empty",
                            name);
    return KN_OK;
}

static kn_status join_path(const kn_module *parent, const char *name, char **out, kn_error *err)
{
    kni_buf path = KNI_BUF_ANY;
    if (parent && parent->parent) { // the root's own name is not part of a path
        kni_buf_puts(&path, parent->path);
        kni_buf_puts(&path, ".");
    }
    if (parent)
        kni_buf_puts(&path, name);
    *out = kni_buf_take(&path);
    return *out ? KN_OK : kni_no_memory(err);
}

kn_status kn_module_new(kn_module *parent, const char *name, kn_class *cls, kn_module **out,
                        kn_error *err)
{
    kn_status st;

    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "module: out is NULL");
    *out = NULL;
    st = check_name(name, err);
    if (st != KN_OK)
        return st;
    kn_module *module = kni_calloc(1, sizeof(*module));
    if (!module)
        return kni_no_memory(err);
    module->root = parent ? parent->root : module;
    module->cls = kn_class_ref(cls);
    module->head.bound = kni_module_own_binding(module);
    st = join_path(parent, name, &module->path, err);
    if (st == KN_OK && parent) {
        kni_module_index *index = &module->root->index;
        void *children = parent->children;
        if (!index_reserve(index) || !kni_grow(&children, &parent->children_capacity,
                                               parent->n_children + 1, sizeof(kn_module *))) {
            st = kni_no_memory(err);
        } else {
            parent->children = children;
            const size_t slot = index_slot(index, module->path);
            if (index->slots[slot]) {
                st = kn_error_set(err, KN_ERR_INVALID,
                                  "module %s: the tree has a module of this name already",
                                  module->path);
            } else {
                index->slots[slot] = module;
                ++index->count;
                module->parent = parent;
                module->at = parent->n_children;
                parent->children[parent->n_children++] = module;
            }
        }
    }
    if (st != KN_OK) {
        kn_module_free(module);
        return st;
    }
    *out = module;
    return KN_OK;
}

static void detach(kn_module *module)
{
    kn_module *parent = module->parent;
    if (!parent)
        return;
    index_remove(&module->root->index, module);
    memmove(parent->children + module->at, parent->children + module->at + 1,
            (parent->n_children - module->at - 1) * sizeof(*parent->children));
    --parent->n_children;
    for (size_t i = module->at; i < parent->n_children; ++i)
        parent->children[i]->at = i;
}

static void free_one(kn_module *module)
{
    for (size_t i = 0; i < module->n_members; ++i) {
        kni_free(module->members[i]->name);
        kni_free(module->members[i]);
    }
    while (module->forwards) {
        kni_instance_forward *next = module->forwards->next;
        kni_free(module->forwards);
        module->forwards = next;
    }
    kn_class_unref(module->cls);
    kni_free(module->members);
    kni_free(module->fallbacks);
    kni_free(module->path);
    kni_free(module->children);
    kni_free(module->index.slots);
    kni_free(module);
}

void kn_module_free(kn_module *module)
{
    if (!module)
        return;
    detach(module);
    kn_module *const top = module;
    const bool whole = !top->parent;
    for (;;) { // leaves first, without recursion: a tree may be deep
        while (module->n_children)
            module = module->children[module->n_children - 1];
        if (module == top)
            break;
        kn_module *parent = module->parent;
        --parent->n_children;
        if (!whole)
            index_remove(&module->root->index, module);
        free_one(module);
        module = parent;
    }
    free_one(top);
}

const char *kn_module_path(const kn_module *module)
{
    return module ? module->path : "";
}

kn_class *kn_module_class(const kn_module *module)
{
    return module->cls;
}

kn_module *kn_module_parent(const kn_module *module)
{
    return module->parent;
}

size_t kn_module_child_count(const kn_module *module)
{
    return module->n_children;
}

kn_module *kn_module_child(const kn_module *module, size_t index)
{
    return index < module->n_children ? module->children[index] : NULL;
}

kn_module *kn_module_find(kn_module *root, const char *path)
{
    if (!root || !path)
        return NULL;
    if (!*path)
        return root;
    kn_module *found = NULL;
    if (!root->parent) {
        found = root->index.count ? root->index.slots[index_slot(&root->index, path)] : NULL;
    } else { // paths are those from the tree's root
        char *whole = NULL;
        if (join_path(root, path, &whole, NULL) == KN_OK)
            found = root->root->index.slots[index_slot(&root->root->index, whole)];
        kni_free(whole);
    }
    return found;
}

// --- members ---

kni_name_key kni_name_key_of(const char *name)
{
    kni_name_key key = {{0, 0}};
    memcpy(key.words, name, strnlen(name, sizeof(key.words)));
    return key;
}

const kni_member *kni_module_find_member(const kn_module *module, kni_name_key key,
                                         const char *name)
{
    for (size_t i = 0; i < module->n_members; ++i)
        if (kni_member_is(module->members[i], key, name))
            return module->members[i];
    return NULL;
}

// After the members changed.
static void note_device(kn_module *module)
{
    module->dl_device_type = 0;
    module->device_index = 0;
    for (size_t i = 0; i < module->n_members; ++i) {
        if (module->members[i]->value.type == KN_VALUE_TENSOR) {
            module->dl_device_type = (int32_t)module->members[i]->tensor.device.device_type;
            module->device_index = module->members[i]->tensor.device.device_id;
            return;
        }
    }
}

// Puts a member in the place of one with its name, or at the end. On failure the member is freed.
static kn_status put_member(kn_module *module, const char *name, kni_member *member, kn_error *err)
{
    member->key = kni_name_key_of(name);
    member->name = kni_strdup(name);
    if (!member->name) {
        kni_free(member);
        return kni_no_memory(err);
    }
    for (size_t i = 0; i < module->n_members; ++i) {
        if (strcmp(module->members[i]->name, name) == 0) {
            kni_free(module->members[i]->name);
            kni_free(module->members[i]);
            module->members[i] = member;
            note_device(module);
            return KN_OK;
        }
    }
    void *members = module->members;
    if (!kni_grow(&members, &module->members_capacity, module->n_members + 1,
                  sizeof(kni_member *))) {
        kni_free(member->name);
        kni_free(member);
        return kni_no_memory(err);
    }
    module->members = members;
    module->members[module->n_members++] = member;
    note_device(module);
    return KN_OK;
}

static kn_status check_member(const kn_module *module, const char *name, kn_error *err)
{
    if (!module)
        return kn_error_set(err, KN_ERR_INVALID, "module: NULL has no members");
    if (!name || !*name)
        return kn_error_set(err, KN_ERR_INVALID, "module %s: a member needs a name", module->path);
    return KN_OK;
}

kn_status kn_module_set_tensor(kn_module *module, const char *name, const DLTensor *tensor,
                               kn_error *err)
{
    const kn_status st = check_member(module, name, err);
    if (st != KN_OK)
        return st;
    if (!tensor)
        return kn_module_set_value(module, name, kn_none(), err);
    if (tensor->ndim < 0 || (tensor->ndim > 0 && !tensor->shape))
        return kn_error_set(err, KN_ERR_INVALID,
                            "module %s: member %s: a tensor of %d dimensions without a shape",
                            module->path, name, tensor->ndim);
    const size_t n = (size_t)tensor->ndim;
    for (size_t i = 0; i < n; ++i)
        if (tensor->shape[i] < 0)
            return kn_error_set(
                err, KN_ERR_INVALID,
                "module %s: member %s: dimension %zu is %lld; 0 or more is accepted", module->path,
                name, i, (long long)tensor->shape[i]);
    kni_member *member = kni_calloc(1, sizeof(*member) + 2 * n * sizeof(int64_t));
    if (!member)
        return kni_no_memory(err);
    member->tensor = *tensor;
    member->tensor.shape = member->extents;
    member->tensor.strides = member->extents + n;
    int64_t stride = 1;
    for (size_t i = n; i-- > 0;) {
        member->extents[i] = tensor->shape[i];
        member->extents[n + i] = tensor->strides ? tensor->strides[i] : stride;
        if (!tensor->strides && tensor->shape[i] > 0 &&
            __builtin_mul_overflow(stride, tensor->shape[i], &stride)) {
            kni_free(member);
            return kn_error_set(err, KN_ERR_INVALID,
                                "module %s: member %s: the number of elements overflows",
                                module->path, name);
        }
    }
    member->value = kn_tensor(&member->tensor);
    return put_member(module, name, member, err);
}

kn_status kn_module_set_value(kn_module *module, const char *name, kn_value value, kn_error *err)
{
    const kn_status st = check_member(module, name, err);
    if (st != KN_OK)
        return st;
    if (value.type == KN_VALUE_TENSOR)
        return kn_module_set_tensor(module, name, value.as.tensor, err);
    if (value.type == KN_VALUE_NONE) {
        for (size_t i = 0; i < module->n_members; ++i) {
            if (strcmp(module->members[i]->name, name) == 0) {
                kni_free(module->members[i]->name);
                kni_free(module->members[i]);
                memmove(module->members + i, module->members + i + 1,
                        (module->n_members - i - 1) * sizeof(*module->members));
                --module->n_members;
                note_device(module);
                break;
            }
        }
        return KN_OK;
    }
    if (value.type != KN_VALUE_INT && value.type != KN_VALUE_BOOL && value.type != KN_VALUE_FLOAT)
        return kn_error_set(err, KN_ERR_INVALID,
                            "module %s: member %s: a value of type %d; none, int, bool, float and "
                            "tensors are accepted",
                            module->path, name, value.type);
    kni_member *member = kni_calloc(1, sizeof(*member));
    if (!member)
        return kni_no_memory(err);
    member->value = value;
    return put_member(module, name, member, err);
}

kn_value kn_module_member(const kn_module *module, const char *name)
{
    const kni_member *member =
        name ? kni_module_find_member(module, kni_name_key_of(name), name) : NULL;
    return member ? member->value : kn_none();
}

// --- what is bound ---

kn_status kn_module_set_forward(kn_module *module, kn_forward_fn forward, void *user, kn_error *err)
{
    if (!module)
        return kn_error_set(err, KN_ERR_INVALID, "module: NULL has no forward");
    const kn_binding *binding = kni_module_own_binding(module);
    const kn_binding *before = kni_module_bound(module);
    bool over_kernel = false;
    if (forward) {
        kni_instance_forward *set = module->forwards;
        while (set && (set->forward != forward || set->user != user))
            set = set->next;
        if (!set) {
            set = kni_alloc(sizeof(*set));
            if (!set)
                return kni_no_memory(err);
            *set = (kni_instance_forward){{call_instance}, forward, user, module->forwards};
            module->forwards = set;
        }
        binding = &set->binding;
        over_kernel = kni_binding_is_instance(before) ? module->set_over_kernel
                                                      : kn_module_is_kernelized(module);
    }
    module->set_over_kernel = over_kernel;
    __atomic_store_n(&module->head.bound, binding, __ATOMIC_RELEASE);
    return KN_OK;
}

uint64_t kn_module_fallback_count(const kn_module *module, kn_mismatch_reason reason)
{
    const uint64_t *counts = __atomic_load_n(&module->fallbacks, __ATOMIC_ACQUIRE);
    if (!counts || (unsigned)reason >= KN_MISMATCH_REASONS)
        return 0;
    return __atomic_load_n(&counts[reason], __ATOMIC_RELAXED);
}
