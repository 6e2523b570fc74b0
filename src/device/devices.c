#include "device/devices.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

kni_device *kni_devices_add(kni_devices *devices, kn_device_type type)
{
    void *items = devices->items;
    if (!kni_grow(&items, &devices->capacity, devices->count + 1, sizeof(kni_device)))
        return NULL;
    devices->items = items;
    kni_device *device = &devices->items[devices->count];
    *device = (kni_device){.info = KN_DEVICE_INFO_INIT};
    device->info.type = type;
    device->info.index = (int32_t)devices->count++;
    device->info.capability = -1;
    device->info.backend_major = device->info.backend_minor = -1;
    devices->reason[0] = '\0';
    return device;
}

void kni_devices_refuse(kni_devices *devices, const char *format, ...)
{
    char text[2 * sizeof(devices->reason)];
    va_list args;
    kni_devices_dispose(devices);
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    kni_copy_clean(devices->reason, sizeof(devices->reason), text, sizeof(text));
}

void kni_devices_dispose(kni_devices *devices)
{
    kni_free(devices->items);
    *devices = (kni_devices){0};
}

void kni_copy_clean(char *out, size_t out_size, const char *text, size_t text_size)
{
    // A replacement takes three bytes for one. The buffer has its room already and never grows, so nothing fails here.
    enum { MOST = 1024 };
    char room[3 * MOST + 1];
    kni_buf clean = {.data = room, .capacity = sizeof(room), .max = sizeof(room) - 1};
    size_t size = strnlen(text, text_size < MOST ? text_size : MOST);
    while (size && text[0] == ' ')
        ++text, --size;
    while (size && text[size - 1] == ' ')
        --size;
    kni_text_append_clean(&clean, text, size);
    size = clean.size;
    if (size >= out_size) {
        size = out_size - 1;
        while (size && ((unsigned char)room[size] & 0xC0) == 0x80)
            --size; // not within a character
    }
    memcpy(out, room, size);
    out[size] = '\0';
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// ":sramecc+:xnack-": letters and digits, then whether the feature is on.
static bool is_target_features(kni_span rest)
{
    kni_span feature;
    while (kni_span_cut(&rest, ':', &feature)) {
        if (feature.size < 2 || (!kni_span_ends(feature, "+") && !kni_span_ends(feature, "-")))
            return false;
        for (size_t i = 0; i + 1 < feature.size; ++i) {
            const char c = feature.data[i];
            if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
                return false;
        }
    }
    return true;
}

int64_t kni_gfx_capability(kni_span name)
{
    kni_span rest = name, processor;
    int64_t major;
    if (!kni_span_cut(&rest, ':', &processor) || !kni_span_starts(processor, "gfx") ||
        !is_target_features(rest))
        return -1;
    // The last two digits are hexadecimal, minor version and stepping; the major version before them is decimal.
    const kni_span version = {processor.data + 3, processor.size - 3};
    if (version.size < 3 || version.size > 4 ||
        !kni_span_to_int((kni_span){version.data, version.size - 2}, 99, &major) || major == 0)
        return -1;
    const int minor = hex_digit(version.data[version.size - 2]);
    const int stepping = hex_digit(version.data[version.size - 1]);
    return minor < 0 || minor > 9 || stepping < 0 ? -1 : major * 10 + minor;
}

void kni_cuda_set_capability(kn_device_info *info, int64_t major, int64_t minor)
{
    info->capability = major * 10 + minor;
    snprintf(info->arch, sizeof(info->arch), "sm_%d", (int)info->capability);
}

static void *open_library(const char *const *libraries, char *why, size_t why_size)
{
    for (const char *const *name = libraries; *name; ++name) {
        void *library = dlopen(*name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
        if (library)
            return library;
    }
    for (const char *const *name = libraries; *name; ++name) {
        void *library = dlopen(*name, RTLD_LAZY | RTLD_LOCAL);
        if (library)
            return library;
        // The error of a library that is there begins with its path or with the name of another that it needs: worth more than
        // that of the first, which is not there.
        const char *text = dlerror();
        if (name == libraries || (text && strncmp(text, *name, strlen(*name)) != 0))
            snprintf(why, why_size, "%s", text ? text : *name);
    }
    return NULL;
}

bool kni_driver_open(const char *what, const char *const *libraries, kni_driver_symbol *symbols,
                     size_t n_symbols, kni_devices *devices)
{
    char why[sizeof(devices->reason)] = "";
    void *library = open_library(libraries, why, sizeof(why));
    if (!library) {
        kni_devices_refuse(devices, "no %s driver: %s", what, why);
        return false;
    }
    for (size_t i = 0; i < n_symbols; ++i) {
        void *address = dlsym(library, symbols[i].name);
        if (!address && !symbols[i].optional) {
            kni_devices_refuse(devices, "no %s driver: %s has no function %s", what, libraries[0],
                               symbols[i].name);
            return false;
        }
        memcpy(symbols[i].function, &address, sizeof(address));
    }
    return true;
}
