// The smallest kernel there is, for bench_load.
#include <kernels/author.h>

KNA_FUNCTION(nothing)
{
    return 0;
}
