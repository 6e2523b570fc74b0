#include "kpy.h"

int kpy_host_init(PyObject *module)
{
    (void)module;
    return 0;
}
