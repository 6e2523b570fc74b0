// The memory of results, as tensors of PyTorch.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "tensor.h"

// --- dtypes ---

static const struct {
    const char *name, *torch;
} dtypes[] = {
    {"f32", "float32"},
    {"bf16", "bfloat16"},
    {"f16", "float16"},
    {"f64", "float64"},
    {"bool", "bool"},
    {"u8", "uint8"},
    {"i8", "int8"},
    {"i16", "int16"},
    {"i32", "int32"},
    {"i64", "int64"},
    {"u16", "uint16"},
    {"u32", "uint32"},
    {"u64", "uint64"},
    {"f8_e4m3fn", "float8_e4m3fn"},
    {"f8_e4m3fnuz", "float8_e4m3fnuz"},
    {"f8_e5m2", "float8_e5m2"},
    {"f8_e5m2fnuz", "float8_e5m2fnuz"},
    {"f8_e8m0fnu", "float8_e8m0fnu"},
};

PyObject *kpy_torch_dtype(const kpy_torch *torch, DLDataType dtype)
{
    const char *name = kn_dtype_name(dtype);
    for (size_t i = 0; name && i < KN_LEN(dtypes); ++i)
        if (strcmp(name, dtypes[i].name) == 0)
            return PyObject_GetAttrString(torch->torch, dtypes[i].torch);
    return PyErr_Format(PyExc_TypeError, "PyTorch has no dtype for %s",
                        name ? name : "the one of a result");
}

bool kpy_find_f8(const kpy_torch *torch, PyObject *torch_dtype, DLDataType *out)
{
    for (size_t i = 0; i < KN_LEN(dtypes); ++i) {
        if (strncmp(dtypes[i].name, "f8_", 3) != 0)
            continue;
        PyObject *one = PyObject_GetAttrString(torch->torch, dtypes[i].torch);
        Py_XDECREF(one); // the module's
        if (!one)
            PyErr_Clear(); // not known to this PyTorch
        else if (one == torch_dtype)
            return kn_dtype_parse(dtypes[i].name, out);
    }
    return false;
}

// --- by libtorch ---

static struct {
    DLDataType dtype;
    int32_t code; // libtorch's
} codes[KN_LEN(dtypes)];
static size_t n_codes;

typedef int32_t (*constant_fn)(void);

static bool find_constant(void *lib, const char *prefix, const char *name, int32_t *out)
{
    char symbol[64];
    constant_fn get;
    snprintf(symbol, sizeof(symbol), "%s%s", prefix, name);
    void *found = dlsym(lib, symbol);
    if (!found)
        return false;
    memcpy(&get, &found, sizeof(get));
    *out = get();
    return true;
}

void kpy_output_look_up(kpy_torch *torch)
{
    static const char *const symbols[] = {"aoti_torch_empty_strided", "aoti_torch_get_data_ptr",
                                          "aoti_torch_delete_tensor_object",
                                          "_Z16THPVariable_WrapRKN2at10TensorBaseE"};
    kpy_libtorch lib;
    void *const places[] = {&lib.empty, &lib.data, &lib.free, &lib.wrap};
    Dl_info info;
    void *inside, *handle = NULL;
    memcpy(&inside, &torch->is_neg, sizeof(inside));
    if (dladdr(inside, &info) && info.dli_fname)
        handle =
            dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD); // searches what it is linked to, too
    if (!handle)
        return;
    for (size_t i = 0; i < KN_LEN(symbols); ++i) {
        void *found = dlsym(handle, symbols[i]);
        if (!found)
            return;
        memcpy(places[i], &found, sizeof(found));
    }
    if (!find_constant(handle, "aoti_torch_device_type_", "cpu", &lib.cpu) ||
        !find_constant(handle, "aoti_torch_device_type_", "cuda", &lib.cuda))
        return;
    for (size_t i = 0; i < KN_LEN(dtypes); ++i)
        if (kn_dtype_parse(dtypes[i].name, &codes[n_codes].dtype) &&
            find_constant(handle, "aoti_torch_dtype_", dtypes[i].torch, &codes[n_codes].code))
            ++n_codes;
    torch->lib = lib;
}

static bool is_same(DLDataType a, DLDataType b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

// False: another way has to, or says why it cannot.
static bool make_by_libtorch(const kpy_libtorch *lib, const kn_tensor_type *type, kpy_output *out)
{
    const bool is_cpu = type->device.device_type == kDLCPU;
    size_t i = 0;
    if (!lib->empty || (!is_cpu && type->device.device_type != kDLCUDA &&
                        type->device.device_type != kDLROCM)) // a ROCm build calls its devices cuda
        return false;
    while (i < n_codes && !is_same(codes[i].dtype, type->dtype))
        ++i;
    if (i == n_codes ||
        lib->empty(type->ndim, type->shape, type->strides, codes[i].code,
                   is_cpu ? lib->cpu : lib->cuda, type->device.device_id, &out->tensor) != 0) {
        out->tensor = NULL;
        return false;
    }
    out->dl = (DLTensor){.device = type->device,
                         .ndim = type->ndim,
                         .dtype = type->dtype,
                         .shape = (int64_t *)(uintptr_t)type->shape,
                         .strides = (int64_t *)(uintptr_t)type->strides};
    return lib->data(out->tensor, &out->dl.data) == 0;
}

// --- by Python ---

static PyObject *tuple_of(const int64_t *values, int32_t n)
{
    PyObject *tuple = PyTuple_New(n);
    for (int32_t i = 0; tuple && i < n; ++i) {
        PyObject *value = PyLong_FromLongLong(values[i]);
        if (!value || PyTuple_SetItem(tuple, i, value) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

// By torch itself: any device, any strides.
static PyObject *make_strided(const kpy_torch *torch, const kn_tensor_type *type, PyObject *like)
{
    PyObject *result = NULL, *keywords = NULL, *args = NULL;
    PyObject *dtype = kpy_torch_dtype(torch, type->dtype);
    PyObject *device = like ? PyObject_GetAttrString(like, "device") : PyUnicode_FromString("cpu");
    PyObject *size = tuple_of(type->shape, type->ndim);
    PyObject *stride = tuple_of(type->strides, type->ndim);
    if (dtype && device && size && stride) {
        args = PyTuple_Pack(2, size, stride);
        keywords = Py_BuildValue("{sOsO}", "dtype", dtype, "device", device);
    }
    if (args && keywords)
        result = PyObject_Call(torch->empty_strided, args, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(args);
    Py_XDECREF(stride);
    Py_XDECREF(size);
    Py_XDECREF(device);
    Py_XDECREF(dtype);
    return result;
}

static int make_object(const kpy_torch *torch, const kn_tensor_type *type, PyObject *like,
                       kpy_output *out)
{
    out->object = make_strided(torch, type, like);
    return out->object ? kpy_tensor_read(torch, out->object, &out->dl, &out->capsule) : -1;
}

static bool is_contiguous(const kn_tensor_type *type)
{
    int64_t n = 1;
    for (int32_t i = type->ndim - 1; i >= 0; --i) {
        if (type->strides[i] != n && type->shape[i] != 1)
            return false;
        n *= type->shape[i];
    }
    return true;
}

static void set_error(void *user, const char *kind, const char *message)
{
    (void)user;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_RuntimeError, "%s: %s", kind, message);
}

// --- by any of them ---

int kpy_output_make(const kpy_torch *torch, const kn_tensor_type *type, PyObject *like,
                    kpy_output *out)
{
    out->tensor = NULL;
    out->managed = NULL;
    out->object = NULL;
    out->capsule = NULL;
    if (make_by_libtorch(&torch->lib, type, out))
        return 0;
    // On other devices record_stream() does nothing for memory with a foreign deleter.
    if (!torch->api || type->device.device_type != kDLCPU || !is_contiguous(type))
        return make_object(torch, type, like, out);
    DLTensor prototype = {.device = type->device,
                          .ndim = type->ndim,
                          .dtype = type->dtype,
                          .shape = (int64_t *)(uintptr_t)type->shape};
    if (torch->api->managed_tensor_allocator(&prototype, &out->managed, NULL, set_error) != 0) {
        PyErr_Clear(); // a dtype that it does not know, though PyTorch does
        out->managed = NULL;
        return make_object(torch, type, like, out);
    }
    out->dl = out->managed->dl_tensor;
    return 0;
}

int kpy_output_zero(const kpy_torch *torch, kpy_output *out)
{
    if (out->dl.device.device_type != kDLCPU) {
        if (!out->object && !(out->object = kpy_output_take(torch, out)))
            return -1;
        PyObject *same = PyObject_CallMethod(out->object, "zero_", NULL);
        Py_XDECREF(same);
        return same ? 0 : -1;
    }
    size_t bytes = out->dl.dtype.bits / 8;
    for (int32_t d = 0; d < out->dl.ndim; ++d)
        bytes *= (size_t)out->dl.shape[d];
    if (bytes)
        memset((char *)out->dl.data + out->dl.byte_offset, 0, bytes);
    return 0;
}

PyObject *kpy_output_take(const kpy_torch *torch, kpy_output *out)
{
    PyObject *object = out->object;
    if (out->tensor) {
        object = torch->lib.wrap(out->tensor);
        torch->lib.free(out->tensor);
    } else if (out->managed) {
        void *made = NULL;
        if (torch->api->managed_tensor_to_py_object_no_sync(out->managed, &made) == 0)
            object = made;
    }
    Py_CLEAR(out->capsule);
    out->tensor = NULL;
    out->managed = NULL;
    out->object = NULL;
    return object;
}

void kpy_output_dispose(const kpy_torch *torch, kpy_output *out)
{
    if (out->tensor)
        torch->lib.free(out->tensor);
    if (out->managed && out->managed->deleter)
        out->managed->deleter(out->managed); // nobody else's yet
    Py_XDECREF(out->object);
    Py_CLEAR(out->capsule);
    out->tensor = NULL;
    out->managed = NULL;
    out->object = NULL;
}
