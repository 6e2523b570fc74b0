// CUDA by its driver library, opened at run time. Prototypes and numbers: CUDA Driver API reference.

#include <stdio.h>

#include "device/devices.h"

enum {
    CAPABILITY_MAJOR = 75, // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    CAPABILITY_MINOR = 76,
};

// Enumerations are int in that ABI, and so are device handles.
typedef struct cuda_api {
    int (*init)(unsigned flags);
    int (*version)(int *version);
    int (*count)(int *count);
    int (*device)(int *device, int ordinal);
    int (*name)(char *name, int size, int device);
    int (*attribute)(int *value, int attribute, int device);
    int (*error_name)(int error, const char **name);
} cuda_api;

// "cuInit: CUDA_ERROR_NO_DEVICE (100)"
static const char *describe(const cuda_api *api, const char *call, int error, char out[128])
{
    const char *name = NULL;
    if (!api->error_name || api->error_name(error, &name) != 0 || !name)
        name = "error";
    snprintf(out, 128, "%s: %.64s (%d)", call, name, error);
    return out;
}

// One device of the driver; what it fails to tell makes this device unusable, not its neighbours.
static void fill(const cuda_api *api, kni_device *out)
{
    char text[256] = "";
    int device, major = 0, minor = 0, error;
    const char *call = "cuDeviceGet";
    error = api->device(&device, out->info.index);
    if (error == 0 && api->name(text, (int)sizeof(text), device) == 0)
        kni_copy_clean(out->info.name, sizeof(out->info.name), text, sizeof(text));
    if (error == 0) {
        call = "cuDeviceGetAttribute";
        error = api->attribute(&major, CAPABILITY_MAJOR, device);
    }
    if (error == 0)
        error = api->attribute(&minor, CAPABILITY_MINOR, device);
    if (error != 0) {
        char why[128];
        kni_copy_clean(out->refused, sizeof(out->refused), describe(api, call, error, why),
                       sizeof(why));
    } else if (major < 1 || major > 99 || minor < 0 || minor > 9) {
        snprintf(out->refused, sizeof(out->refused),
                 "the driver gives the compute capability %d.%d", major, minor);
    } else {
        kni_cuda_set_capability(&out->info, major, minor);
    }
}

bool kni_cuda_probe(const char *const *libraries, kni_devices *out)
{
    static const char *const usual[] = {"libcuda.so.1", NULL};
    cuda_api api = {0};
    kni_driver_symbol symbols[] = {
        {"cuInit", &api.init, false},
        {"cuDriverGetVersion", &api.version, false},
        {"cuDeviceGetCount", &api.count, false},
        {"cuDeviceGet", &api.device, false},
        {"cuDeviceGetName", &api.name, false},
        {"cuDeviceGetAttribute", &api.attribute, false},
        {"cuGetErrorName", &api.error_name, true},
    };
    int version = 0, count = 0, error;
    char why[128];

    *out = (kni_devices){0};
    if (!kni_driver_open("CUDA", libraries ? libraries : usual, symbols, KN_LEN(symbols), out))
        return true;
    const char *call = "cuInit";
    error = api.init(0);
    if (error == 0) {
        call = "cuDriverGetVersion";
        error = api.version(&version);
    }
    if (error == 0) {
        call = "cuDeviceGetCount";
        error = api.count(&count);
    }
    if (error != 0)
        kni_devices_refuse(out, "no CUDA device: %s", describe(&api, call, error, why));
    else if (version < 1000 || version > 99990)
        kni_devices_refuse(out, "no CUDA device: the driver gives the version %d", version);
    else if (count == 0)
        kni_devices_refuse(out, "no CUDA device: the driver finds none");
    else if (count < 0 || count > KNI_DEVICES_MAX)
        kni_devices_refuse(out, "no CUDA device: the driver counts %d", count);
    else
        for (int i = 0; i < count; ++i) {
            kni_device *device = kni_devices_add(out, KN_DEVICE_CUDA);
            if (!device)
                return false;
            device->info.backend_major = version / 1000;
            device->info.backend_minor = version % 1000 / 10;
            fill(&api, device);
        }
    return true;
}
