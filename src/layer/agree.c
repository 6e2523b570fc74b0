// Do a class's signature and a kernel's describe the same call?
#include "base/error.h"
#include "base/str.h"
#include "layer/program.h"

static const char *kind_text(uint8_t kind)
{
    return kind == KN_PARAM_TENSOR  ? "a tensor"
           : kind == KN_PARAM_INT   ? "an int"
           : kind == KN_PARAM_FLOAT ? "a float"
                                    : "a bool";
}

static bool is_same_default(const kni_param *a, const kni_param *b)
{
    return a->default_value.type == b->default_value.type &&
           (a->default_value.type == KN_VALUE_FLOAT
                ? a->default_value.as.number == b->default_value.as.number
                : a->default_value.as.integer == b->default_value.as.integer);
}

static kn_status agree_input(const kni_param *own, const kni_param *kernel, kn_error *err)
{
    if (!kni_string_equal(own->name, kernel->name))
        return kn_error_set(err, KN_ERR_LAYER,
                            "the class has the parameter '%s' where the kernel has '%s'", own->name,
                            kernel->name);
    if (own->kind != kernel->kind)
        return kn_error_set(err, KN_ERR_LAYER, "parameter %s: %s in the class, %s in the kernel",
                            own->name, kind_text(own->kind), kind_text(kernel->kind));
    // A kernel that takes more than the class ever passes is fine.
    if (own->optional && !kernel->optional)
        return kn_error_set(err, KN_ERR_LAYER,
                            "parameter %s: may be none in the class, not in the kernel", own->name);
    if (own->has_default && !kernel->has_default)
        return kn_error_set(err, KN_ERR_LAYER,
                            "parameter %s: has a default in the class, none in the kernel",
                            own->name);
    if (own->has_default && !is_same_default(own, kernel))
        return kn_error_set(err, KN_ERR_LAYER,
                            "parameter %s: its default differs in class and kernel", own->name);
    return KN_OK;
}

kn_status kn_layer_agree(const kn_layer *own, const kn_layer *kernel, kn_error *err)
{
    static const struct {
        kn_param_list list;
        const char *words;
    } lists[] = {{KN_PARAM_INPUT, "parameters"}, {KN_PARAM_OUTPUT, "results"}};
    for (size_t i = 0; i < KN_LEN(lists); ++i) {
        const unsigned a = own->count[lists[i].list], b = kernel->count[lists[i].list];
        if (a != b)
            return kn_error_set(err, KN_ERR_LAYER, "the class has %u %s, the kernel %u", a,
                                lists[i].words, b);
    }
    for (uint32_t i = 0; i < own->count[KN_PARAM_INPUT]; ++i) {
        const kn_status status = agree_input(&own->params[i], &kernel->params[i], err);
        if (status != KN_OK)
            return status;
    }
    return KN_OK;
}
