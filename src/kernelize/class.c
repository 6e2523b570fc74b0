#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kernelize/module.h"

static kn_status call_own(kn_module *module, const kn_value *values, int32_t n_values,
                          const kn_binding *self, kn_error *err)
{
    const kn_class *cls = (const kn_class *)(const void *)self; // `own` is the first field
    const kn_status st = cls->forward(module, values, n_values, cls->user, err);
    return st == KN_OK
               ? st
               : kn_error_set(err, st, "module %s: %s", kn_module_path(module), kn_status_text(st));
}

static kn_status call_nothing(kn_module *module, const kn_value *values, int32_t n_values,
                              const kn_binding *self, kn_error *err)
{
    (void)values, (void)n_values, (void)self;
    return kn_error_set(err, KN_ERR_INVALID, "module %s: its class has no forward to call",
                        kn_module_path(module));
}

static const kn_binding nothing = {call_nothing};

static kn_status check_layer_name(const char *layer, const char *name, kn_error *err)
{
    if (layer && !*layer)
        return kn_error_set(err, KN_ERR_INVALID,
                            "class %s: layer name is empty; NULL means not extensible", name);
    return KN_OK;
}

kn_status kn_class_new(const kn_class_options *given, kn_class **out, kn_error *err)
{
    kn_class_options opts = {0};
    kn_status st;

    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "class: out is NULL");
    *out = NULL;
    if (!given || given->struct_size < sizeof(size_t))
        return kn_error_set(err, KN_ERR_INVALID,
                            "class: options are required, with their struct_size");
    memcpy(&opts, given, given->struct_size < sizeof(opts) ? given->struct_size : sizeof(opts));
    if (!opts.name || !*opts.name)
        return kn_error_set(err, KN_ERR_INVALID, "class: a name is required");
    st = check_layer_name(opts.layer, opts.name, err);
    if (st != KN_OK)
        return st;
    if (opts.members && !opts.signature)
        return kn_error_set(err, KN_ERR_INVALID,
                            "class %s: members without a signature that speaks of them", opts.name);

    kn_class *cls = kni_calloc(1, sizeof(*cls));
    if (!cls)
        return kni_no_memory(err);
    if (pthread_mutex_init(&cls->lock, NULL) != 0) {
        kni_free(cls);
        return kni_no_memory(err);
    }
    atomic_init(&cls->refs, 1);
    cls->base = kn_class_ref(opts.base);
    cls->owns_forward = opts.forward != NULL;
    cls->forward = opts.forward ? opts.forward : opts.base ? opts.base->forward : NULL;
    cls->user = opts.forward ? opts.user : opts.base ? opts.base->user : NULL;
    cls->own = cls->forward ? (kn_binding){call_own} : nothing;
    cls->name = kni_strdup(opts.name);
    cls->layer = kni_strdup(opts.layer);
    if (!cls->name || (opts.layer && !cls->layer))
        st = kni_no_memory(err);
    else if (opts.layer && !cls->forward)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "an extensible class needs a forward to fall back to");
    else if (opts.signature)
        st = kn_layer_parse(
            KN_LAYER_SPEC(.name = opts.name, .signature = opts.signature, .members = opts.members),
            &cls->signature, err);
    else if (opts.base && !opts.forward)
        cls->signature = kn_layer_ref(opts.base->signature);
    if (st != KN_OK) {
        kn_error_prefix(err, "class %s", opts.name);
        kn_class_unref(cls);
        return st;
    }
    *out = cls;
    return KN_OK;
}

kn_class *kn_class_ref(kn_class *cls)
{
    if (cls)
        atomic_fetch_add_explicit(&cls->refs, 1, memory_order_relaxed);
    return cls;
}

void kn_class_unref(kn_class *cls)
{
    while (cls && atomic_fetch_sub_explicit(&cls->refs, 1, memory_order_acq_rel) == 1) {
        kn_class *base = cls->base;
        kn_layer_unref(cls->signature);
        kni_free(cls->name);
        kni_free(cls->layer);
        kni_notes_free(cls->notes);
        pthread_mutex_destroy(&cls->lock);
        kni_free(cls);
        cls = base; // a long line of bases is freed without recursion
    }
}

kn_status kn_class_set_layer(kn_class *cls, const char *layer, kn_error *err)
{
    if (!cls)
        return kn_error_set(err, KN_ERR_INVALID, "class: NULL cannot be made extensible");
    kn_status st = check_layer_name(layer, cls->name, err);
    if (st == KN_OK && layer && !cls->forward)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "class %s: an extensible class needs a forward to fall back to",
                          cls->name);
    if (st != KN_OK)
        return st;
    char *copy = kni_strdup(layer);
    if (layer && !copy)
        return kni_no_memory(err);
    kni_free(cls->layer);
    cls->layer = copy;
    return KN_OK;
}

const char *kn_class_name(const kn_class *cls)
{
    return cls ? cls->name : "";
}

const char *kn_class_layer(const kn_class *cls)
{
    const char *refusal = NULL;
    const char *layer = cls ? kni_class_marked_layer(cls, &refusal) : NULL;
    return refusal ? NULL : layer;
}

const char *kni_class_marked_layer(const kn_class *cls, const char **refusal)
{
    *refusal = NULL;
    for (; cls; cls = cls->base) {
        if (cls->layer)
            return cls->layer;
        if (cls->owns_forward && cls->base)
            *refusal = "a subclass with a forward of its own, which was not marked";
    }
    *refusal = NULL;
    return NULL;
}

const kn_binding *kni_module_own_binding(const kn_module *module)
{
    return module->cls ? &module->cls->own : &nothing;
}
