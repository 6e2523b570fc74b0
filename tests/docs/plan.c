// plan MAPPING FILE: kernelizes two modules, writes the plan to FILE and prints its JSON, for schema.py.
#include <stdio.h>

#include <kernels/kernels.h>

static kn_status own_forward(kn_module *self, const kn_value *values, int32_t n_values, void *user,
                             kn_error *err)
{
    (void)self, (void)values, (void)n_values, (void)user, (void)err;
    return KN_OK;
}

static kn_status add_module(kn_module *root, const char *name, const char *layer, kn_error *err)
{
    kn_class *cls = NULL;
    kn_module *module;
    kn_status st = kn_class_new(
        KN_CLASS_OPTIONS(.name = "C", .layer = layer, .forward = own_forward), &cls, err);
    if (st == KN_OK)
        st = kn_module_new(root, name, cls, &module, err);
    kn_class_unref(cls);
    return st;
}

int main(int argc, char **argv)
{
    kn_error err = KN_ERROR_INIT;
    kn_context *ctx = NULL;
    kn_mapping *map = NULL;
    kn_module *root = NULL;
    kn_plan *plan = NULL;
    char *json = NULL;
    kn_status st = argc == 3
                       ? kn_context_open(NULL, &ctx, &err)
                       : kn_error_set(&err, KN_ERR_INVALID, "usage: %s MAPPING FILE", argv[0]);
    if (st == KN_OK)
        st = kn_mapping_read(argv[1], &map, &err);
    if (st == KN_OK)
        st = kn_module_new(NULL, "model", NULL, &root, &err);
    if (st == KN_OK)
        st = add_module(root, "act", "SiluAndMul", &err);
    if (st == KN_OK)
        st = add_module(root, "other", "Nowhere", &err);
    if (st == KN_OK)
        st = kn_kernelize(
            ctx, root,
            KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = map, .device = "cpu"), &plan,
            &err);
    if (st == KN_OK)
        st = kn_plan_write(plan, argv[2], &err);
    if (st == KN_OK)
        st = kn_plan_json(plan, &json, &err);
    if (st == KN_OK)
        puts(json);
    else
        fprintf(stderr, "%s\n", kn_error_text(&err));
    kn_string_free(json);
    kn_plan_free(plan);
    kn_module_free(root);
    kn_mapping_unref(map);
    kn_context_close(ctx);
    kn_error_dispose(&err);
    return st != KN_OK;
}
