#include "kpy.h"

int kpy_hub_init(PyObject *module)
{
    (void)module;
    return 0;
}
