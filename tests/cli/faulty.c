// One good function, and others that each do one thing that a layer's kernel must not do.
#include <kernels/author.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int copy(const DLTensor *y, const DLTensor *x, int64_t n)
{
    memcpy(kna_data(y), kna_data(x), (size_t)(n * x->dtype.bits / 8));
    return 0;
}

// y = x
KNA_FUNCTION(good)
{
    DLTensor *y, *x;
    if (!kna_args("good", args, n_args, "tt", &y, &x) || !kna_same_shape("good", y, x))
        return -1;
    return copy(y, x, kna_numel(x));
}

KNA_FUNCTION(good_backward)
{
    DLTensor *dx, *dy;
    if (!kna_args("good_backward", args, n_args, "tt", &dx, &dy))
        return -1;
    return copy(dx, dy, kna_numel(dy));
}

// All but the last element.
KNA_FUNCTION(forgets_one)
{
    DLTensor *y, *x;
    if (!kna_args("forgets_one", args, n_args, "tt", &y, &x))
        return -1;
    return copy(y, x, kna_numel(x) - 1);
}

// One byte too many.
KNA_FUNCTION(writes_past)
{
    DLTensor *y, *x;
    if (!kna_args("writes_past", args, n_args, "tt", &y, &x))
        return -1;
    ((unsigned char *)kna_data(y))[kna_numel(x) * x->dtype.bits / 8] = 0;
    return copy(y, x, kna_numel(x));
}

KNA_FUNCTION(changes_input)
{
    DLTensor *y, *x;
    if (!kna_args("changes_input", args, n_args, "tt", &y, &x))
        return -1;
    ((unsigned char *)kna_data(x))[0] ^= 1;
    return copy(y, x, kna_numel(x));
}

// Admits less than its signature says.
KNA_FUNCTION(f32_only)
{
    DLTensor *y, *x;
    if (!kna_args("f32_only", args, n_args, "tt", &y, &x))
        return -1;
    if (x->dtype.code != kDLFloat || x->dtype.bits != 32)
        return kna_raise("TypeError", "f32_only", "x must be f32");
    return copy(y, x, kna_numel(x));
}

KNA_FUNCTION(aborts)
{
    abort();
}

KNA_FUNCTION(exits)
{
    _exit(9);
}

KNA_FUNCTION(never_ends)
{
    for (;;)
        pause();
}
