// ROCm by the HIP runtime, opened at run time. Prototypes, layouts and numbers: HIP's hip_runtime_api.h.

#include <stdio.h>
#include <string.h>

#include "device/devices.h"

typedef struct hip_api {
    int (*count)(int *count);
    int (*version)(int *version);
    int (*properties)(void *properties, int device);     // the layout up to ROCm 5, "R0000"
    int (*properties_600)(void *properties, int device); // that of ROCm 6 and 7
    const char *(*error_name)(int error);
} hip_api;

// The runtime writes a struct whose layout goes with the name of the function; what is read of it is two arrays of 256
// characters, the device's name at the front and its gfx name. The room is more than twice the larger layout.
enum {
    PROPERTIES_ROOM = 4096,
    ARCH_NAME = 396,
    ARCH_NAME_600 = 1160,
    ARCH_NAME_SIZE = 256,
};

static const char *describe(const hip_api *api, const char *call, int error, char out[128])
{
    const char *name = api->error_name ? api->error_name(error) : NULL;
    snprintf(out, 128, "%s: %.64s (%d)", call, name ? name : "error", error);
    return out;
}

static void fill(const hip_api *api, kni_device *out)
{
    union {
        char bytes[PROPERTIES_ROOM];
        uint64_t align;
    } properties;
    memset(&properties, 0, sizeof(properties));
    const int error = api->properties_600 ? api->properties_600(&properties, out->info.index)
                                          : api->properties(&properties, out->info.index);
    if (error != 0) {
        char why[128];
        kni_copy_clean(out->refused, sizeof(out->refused),
                       describe(api, "hipGetDeviceProperties", error, why), sizeof(why));
        return;
    }
    kni_copy_clean(out->info.name, sizeof(out->info.name), properties.bytes, 256);
    const char *arch = properties.bytes + (api->properties_600 ? ARCH_NAME_600 : ARCH_NAME);
    const size_t size = strnlen(arch, ARCH_NAME_SIZE);
    const int64_t capability = kni_gfx_capability((kni_span){arch, size});
    if (capability < 0 || size >= sizeof(out->info.arch)) {
        char shown[64];
        kni_copy_clean(shown, sizeof(shown), arch, size);
        snprintf(out->refused, sizeof(out->refused),
                 "HIP gives \"%s\" where the name of a GPU such as gfx90a belongs", shown);
        return;
    }
    out->info.capability = capability;
    memcpy(out->info.arch, arch, size + 1);
}

bool kni_rocm_probe(const char *const *libraries, kni_devices *out)
{
    // Versions have names of their own; an unversioned name is a development package, or what the administrator chose.
    static const char *const usual[] = {
        "libamdhip64.so.7",
        "libamdhip64.so.6",
        "libamdhip64.so.5",
        "libamdhip64.so",
        "/opt/rocm/lib/libamdhip64.so",
        NULL,
    };
    hip_api api = {0};
    kni_driver_symbol symbols[] = {
        {"hipGetDeviceCount", &api.count, false},
        {"hipRuntimeGetVersion", &api.version, false},
        {"hipGetDevicePropertiesR0600", &api.properties_600, true},
        {"hipGetDeviceProperties", &api.properties, true},
        {"hipGetErrorName", &api.error_name, true},
    };
    int count = 0, version = 0, error;
    char why[128];

    *out = (kni_devices){0};
    if (!kni_driver_open("ROCm", libraries ? libraries : usual, symbols, KN_LEN(symbols), out))
        return true;
    if (!api.properties && !api.properties_600) {
        kni_devices_refuse(out, "no ROCm driver: the HIP runtime has no function "
                                "hipGetDeviceProperties");
        return true;
    }
    const char *call = "hipGetDeviceCount"; // initialises the runtime by itself
    error = api.count(&count);
    if (error == 0) {
        call = "hipRuntimeGetVersion";
        error = api.version(&version);
    }
    if (error != 0)
        kni_devices_refuse(out, "no ROCm device: %s", describe(&api, call, error, why));
    else if (count == 0)
        kni_devices_refuse(out, "no ROCm device: the HIP runtime finds none");
    else if (count < 0 || count > KNI_DEVICES_MAX)
        kni_devices_refuse(out, "no ROCm device: the HIP runtime counts %d", count);
    else if (version < 10000000 || version >= 1000000000)
        kni_devices_refuse(out, "no ROCm device: the HIP runtime gives the version %d", version);
    else
        for (int i = 0; i < count; ++i) {
            kni_device *device = kni_devices_add(out, KN_DEVICE_ROCM);
            if (!device)
                return false;
            device->info.backend_major = version / 10000000;
            device->info.backend_minor = version / 100000 % 100;
            fill(&api, device);
        }
    return true;
}
