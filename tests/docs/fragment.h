// What the fragments of the documentation speak of: see examples.py.
#include <stdio.h>

#include <kernels/kernels.h>

extern kn_error err;
extern kn_context *ctx;
extern kn_mapping *file, *map;
extern kn_plan *plan;
extern kn_class *norm, *cls;
extern kn_module *root, *module;
extern kn_kernel *kernel;
extern kn_package_layer layer;
extern DLTensor weight;
extern void *model;
kn_status rms_norm(kn_module *self, const kn_value *v, int32_t n, void *user, kn_error *err);
