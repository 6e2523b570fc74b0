#include "kpy.h"

int kpy_mapping_init(PyObject *module)
{
    (void)module;
    return 0;
}
