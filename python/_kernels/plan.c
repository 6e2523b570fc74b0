#include "kpy.h"

int kpy_plan_init(PyObject *module)
{
    (void)module;
    return 0;
}
