// Initialisation: everything is in place, or the import fails and says why.
#include "kpy.h"

kpy_state kpy;

PyObject *kpy_new(PyObject *type)
{
    const allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
    return alloc((PyTypeObject *)type, 0);
}

void kpy_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

// The core's state is the process's: one interpreter, under one GIL.
static int refuse_others(void)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "kernels: is imported into a sub-interpreter; accepted is the main one");
        return -1;
    }
    // sys.abiflags has a t there; sysconfig, which says the same, is slow to import.
    PyObject *flags = PySys_GetObject("abiflags");
    const Py_ssize_t at =
        flags ? PyUnicode_FindChar(flags, 't', 0, PyUnicode_GetLength(flags), 1) : -1;
    if (at >= 0)
        PyErr_SetString(
            PyExc_ImportError,
            "kernels: this Python is a free-threaded build; accepted are builds with a GIL");
    return at == -1 ? 0 : -1;
}

static int fill(PyObject *module)
{
    if (kpy.module) {
        PyErr_SetString(PyExc_ImportError, "kernels: was imported already in this process");
        return -1;
    }
    if (refuse_others() < 0 || PyModule_AddStringConstant(module, "version", kn_version()) < 0)
        return -1;
    int (*const inits[])(PyObject *) = {
        kpy_context_init,  kpy_mapping_init, kpy_plan_init,        kpy_kernel_init, kpy_layer_init,
        kpy_function_init, kpy_hub_init,     kpy_host_kernel_init, kpy_host_init,   kpy_call_init};
    for (size_t i = 0; i < KN_LEN(inits); ++i)
        if (inits[i](module) < 0)
            return -1;
    Py_INCREF(module);
    kpy.module = module;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)fill}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "kernels._kernels",
    .m_doc = "The C core of libkernels, as the Python side sees it.", .m_slots = slots};

PyMODINIT_FUNC PyInit__kernels(void);
PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
