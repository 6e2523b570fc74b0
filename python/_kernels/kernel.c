#include "kpy.h"

int kpy_kernel_init(PyObject *module)
{
    (void)module;
    return 0;
}
