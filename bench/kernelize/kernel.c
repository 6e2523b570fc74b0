// Kernels that do as little as they may: what is measured is the way to them. Each writes the first half of what came.
#include <kernels/author.h>

static int halve(const char *name, const TVMFFIAny *args, int32_t n_args, const char *format,
                 DLTensor **y, DLTensor **x, DLTensor **weight, double *eps)
{
    if (!kna_args(name, args, n_args, format, y, x, weight, eps))
        return -1;
    const float *in = kna_data(*x);
    float *out = kna_data(*y);
    for (int64_t i = 0, n = kna_numel(*y); i < n; ++i)
        out[i] = in[i];
    return 0;
}

KNA_FUNCTION(bench_plain)
{
    DLTensor *y, *x, *weight = NULL;
    double eps = 0;
    return halve("bench_plain", args, n_args, "tt", &y, &x, &weight, &eps);
}

KNA_FUNCTION(bench_members)
{
    DLTensor *y, *x, *weight;
    double eps;
    return halve("bench_members", args, n_args, "tttf", &y, &x, &weight, &eps);
}
