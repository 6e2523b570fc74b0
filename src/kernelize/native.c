#include "kernelize/native.h"

#include <string.h>

#include "kernelize/bind.h"

// Siblings that come soon: the module itself, then, once it is there, its path.
static void prefetch_siblings(const kn_module *module)
{
    const kn_module *parent = module->parent;
    const size_t left = parent->n_children - module->at;
    if (left > 8)
        __builtin_prefetch(parent->children[module->at + 8]);
    if (left > 4)
        __builtin_prefetch(parent->children[module->at + 4]->path);
}

static kn_status walk(void *user, kn_host_visit_fn visit, void *data, kn_error *err)
{
    kn_module *const top = ((kni_native *)user)->root;
    kn_module *module = top;
    uint32_t depth = 0;
    while (module) {
        const char *refusal = NULL;
        kn_host_module met = {.module = module, .cls = module->cls, .depth = depth};
        met.extensible = module->cls && kni_class_marked_layer(module->cls, &refusal);
        met.device = kn_device_type_of_dl(module->dl_device_type);
        met.device_index = module->device_index;
        if (module != top)
            prefetch_siblings(module);
        const kn_status st = visit(&met, data, err);
        if (st != KN_OK)
            return st;
        if (module->n_children) {
            module = module->children[0];
            ++depth;
            continue;
        }
        while (module != top && module->at + 1 == module->parent->n_children) {
            module = module->parent;
            --depth;
        }
        module = module == top ? NULL : module->parent->children[module->at + 1];
    }
    return KN_OK;
}

static kn_status describe(void *user, void *cls, kn_host_class *out, kn_error *err)
{
    (void)user, (void)err;
    const kn_class *c = cls;
    out->name = c->name;
    out->layer = kni_class_marked_layer(c, &out->refusal);
    out->signature = c->signature;
    return KN_OK;
}

static size_t path(void *user, void *module, char *out, size_t size)
{
    (void)user;
    const char *text = ((const kn_module *)module)->path;
    const size_t length = strlen(text);
    if (size) {
        const size_t n = length < size ? length : size - 1;
        memcpy(out, text, n);
        out[n] = '\0';
    }
    return length;
}

static kn_host_state state(void *user, void *module, void **binding)
{
    (void)user;
    const kn_module *m = module;
    const kn_binding *bound = kni_module_bound(m);
    *binding = NULL;
    if (kni_binding_is_instance(bound))
        return m->set_over_kernel ? KN_HOST_FOREIGN_SINCE : KN_HOST_FOREIGN;
    if (!kni_binding_kernel(bound))
        return KN_HOST_OWN;
    *binding = (void *)(uintptr_t)bound;
    return KN_HOST_KERNEL;
}

static kn_status prepare(void *user, void *cls, const kn_host_kernel *kernel, void **binding,
                         kn_error *err)
{
    kni_kernel_binding *record = NULL;
    const kn_status st = kni_bind(((kni_native *)user)->ctx, cls, kernel, &record, err);
    *binding = record;
    return st;
}

static void commit(void *user, void *module, void *binding)
{
    (void)user;
    kn_module *m = module;
    const kn_binding *bound = binding ? binding : kni_module_own_binding(m);
    __atomic_store_n(&m->head.bound, bound, __ATOMIC_RELEASE);
}

static void bound(void *user, void *binding, kn_host_bound *out)
{
    (void)user;
    const kni_kernel_binding *record = binding;
    const kn_package *package = kn_kernel_package(record->kernel);
    const char *repo_id = kn_kernel_repo_id(record->kernel);
    out->repository = repo_id[0] ? repo_id : kn_package_dir(package);
    out->revision = kn_kernel_revision(record->kernel);
    out->variant = kn_package_variant(package);
    out->layer_name = record->layer_name;
    out->level = kn_kernel_level(record->kernel); // and no mode: one record serves all of them
    out->device = record->device;
    out->device_index = record->device_index;
}

static void declined(void *user, void *cls, const kn_host_reason *why)
{
    (void)user;
    kni_class_decline(cls, why);
}

static void why(void *user, void *cls, kn_host_reason *out)
{
    kni_class_why(cls, out, &((kni_native *)user)->said);
}

static void fallbacks(void *user, void *module, uint64_t *counts, size_t n_counts)
{
    (void)user;
    for (size_t i = 0; i < n_counts; ++i)
        counts[i] = kn_module_fallback_count(module, (kn_mismatch_reason)i);
}

kn_host kni_native_host(kni_native *native)
{
    return (kn_host){
        .struct_size = sizeof(kn_host),
        .walk = walk,
        .describe = describe,
        .path = path,
        .state = state,
        .prepare = prepare,
        .commit = commit,
        .user = native,
        .bound = bound,
        .fallbacks = fallbacks,
        .declined = declined,
        .why = why,
    };
}
