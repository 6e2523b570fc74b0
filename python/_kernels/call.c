#include "kpy.h"

int kpy_call_init(PyObject *module)
{
    (void)module;
    return 0;
}
