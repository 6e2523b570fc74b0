// program PACKAGE: loads the package relu2 from a directory and calls its function.
#include <kernels/kernels.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    kn_error err = KN_ERROR_INIT;
    kn_context *ctx = NULL;
    kn_kernel *kernel = NULL;
    const kn_function *relu2 = NULL;
    float in[3] = {-1, 2, 3}, out[3] = {0};
    int64_t shape[] = {3}, strides[] = {1};
    DLTensor x = {.data = in,
                  .device = {kDLCPU, 0},
                  .ndim = 1,
                  .dtype = {kDLFloat, 32, 1},
                  .shape = shape,
                  .strides = strides};
    DLTensor y = x;
    y.data = out;
    if (argc != 2)
        return 2;
    if (kn_context_open(NULL, &ctx, &err) ||
        kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = argv[1]), &kernel, NULL, &err) ||
        kn_kernel_function(kernel, "relu2", &relu2, &err) ||
        kn_function_call(relu2, KN_ARGS(kn_tensor(&y), kn_tensor(&x)), NULL, &err))
        fprintf(stderr, "%s\n", kn_error_text(&err));
    else
        printf("libkernels %s: %g %g %g\n", kn_version(), out[0], out[1], out[2]);
    const int failed = err.status != KN_OK;
    kn_context_close(ctx);
    kn_error_dispose(&err);
    return failed;
}
