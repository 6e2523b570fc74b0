// The devices of one type, as a driver or a text gives them.
#ifndef KNI_DEVICE_DEVICES_H
#define KNI_DEVICE_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "kernels/device.h"

#define KNI_DEVICES_MAX 1024 // of one type: a driver that counts more talks nonsense

typedef struct kni_device {
    kn_device_info info;
    char refused[192]; // why this one cannot be used, while its neighbours can; "" when it can
} kni_device;

typedef struct kni_devices {
    kni_device *items;
    size_t count;
    size_t capacity;
    char reason[320]; // why there is none; "" when there is one
} kni_devices;

// A new device at the end with its type, index and "not known" in the rest; NULL without memory.
kni_device *kni_devices_add(kni_devices *devices, kn_device_type type);

// Drops the devices: there is none, for this reason.
void kni_devices_refuse(kni_devices *devices, const char *format, ...) KN_PRINTF(2, 3);
void kni_devices_dispose(kni_devices *devices);

// Copies text from outside into a field: up to its zero or text_size, without spaces around it, sanitized, cut to what fits.
void kni_copy_clean(char *out, size_t out_size, const char *text, size_t text_size);

// major * 10 + minor of "gfx90a", "gfx1100:xnack-"; -1 when the text is not the name of an AMD GPU.
int64_t kni_gfx_capability(kni_span name);

// Fills in capability and arch ("sm_90") of a CUDA device.
void kni_cuda_set_capability(kn_device_info *info, int64_t major, int64_t minor);

// A driver library and the functions that are asked of it.
typedef struct kni_driver_symbol {
    const char *name;
    void *function; // where the pointer to the function goes
    bool optional;  // stays NULL when the library lacks it
} kni_driver_symbol;

// Opens the first library of a list that ends with NULL, preferring one that the process has already, and looks its functions up.
// It stays open: drivers start threads. False with the reason in devices, which begins with "no <what> driver".
bool kni_driver_open(const char *what, const char *const *libraries, kni_driver_symbol *symbols,
                     size_t n_symbols, kni_devices *devices);

// Asks a driver, opened from the first of these libraries that is there (NULL: where it usually is). The devices, or a reason:
// whatever the driver answers, that is no failure. False without memory.
bool kni_cuda_probe(const char *const *libraries, kni_devices *out);
bool kni_rocm_probe(const char *const *libraries, kni_devices *out);

#endif
