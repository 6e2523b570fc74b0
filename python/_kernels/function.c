#include "kpy.h"

int kpy_function_init(PyObject *module)
{
    (void)module;
    return 0;
}
