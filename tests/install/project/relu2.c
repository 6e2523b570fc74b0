#include <kernels/author.h>

// relu2(y, x): y = max(x, 0)^2.
KNA_FUNCTION(relu2)
{
    DLTensor *y, *x;
    if (!kna_args("relu2", args, n_args, "tt", &y, &x) || !kna_on_cpu("relu2", y) ||
        !kna_dtype("relu2", y, KNA_F32) || !kna_dense("relu2", y, x))
        return -1; // the error is raised
    const float *in = kna_data(x);
    float *out = kna_data(y);
    for (int64_t i = 0, n = kna_numel(x); i < n; ++i)
        out[i] = in[i] < 0 ? 0 : in[i] * in[i];
    return 0;
}
