#include "device/machine.h"

#include <stdio.h>
#include <string.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

#include "base/alloc.h"
#include "base/error.h"

kn_machine *kni_machine_new(void)
{
    kn_machine *machine = kni_calloc(1, sizeof(*machine));
    if (machine && pthread_mutex_init(&machine->lock, NULL) != 0) {
        kni_free(machine);
        return NULL;
    }
    if (machine)
        atomic_init(&machine->references, 1);
    return machine;
}

bool kni_machine_add_cpu(kn_machine *machine, bool overridden)
{
    kni_device *device = kni_devices_add(&machine->devices[KN_DEVICE_CPU], KN_DEVICE_CPU);
    if (!device)
        return false;
    device->info.capability = machine->cpu.capability;
    device->info.overridden = overridden;
    snprintf(device->info.arch, sizeof(device->info.arch), "%s", machine->cpu.level_name);
    memcpy(device->info.name, machine->cpu.name, sizeof(device->info.name));
    return true;
}

kn_status kn_machine_probe(kn_machine **out, kn_error *err)
{
    *out = NULL;
    kn_machine *machine = kni_machine_new();
    if (!machine)
        return kni_no_memory(err);
    kni_cpu_probe(&machine->cpu);
    if (!kni_machine_add_cpu(machine, false)) {
        kn_machine_unref(machine);
        return kni_no_memory(err);
    }
    for (size_t type = 0; type < KNI_DEVICE_TYPES; ++type) {
        if (type == KN_DEVICE_CUDA || type == KN_DEVICE_ROCM)
            continue;
        if (type != KN_DEVICE_CPU)
            kni_devices_refuse(&machine->devices[type], "not detected here");
        atomic_store(&machine->known[type], true);
    }
    *out = machine;
    return KN_OK;
}

kn_machine *kn_machine_ref(kn_machine *machine)
{
    if (machine)
        atomic_fetch_add(&machine->references, 1);
    return machine;
}

void kn_machine_unref(kn_machine *machine)
{
    if (!machine || atomic_fetch_sub(&machine->references, 1) != 1)
        return;
    for (size_t type = 0; type < KNI_DEVICE_TYPES; ++type)
        kni_devices_dispose(&machine->devices[type]);
    pthread_mutex_destroy(&machine->lock);
    kni_free(machine);
}

// The devices of a type, asking its driver when nobody has yet; NULL without memory, and then the next caller tries again.
static const kni_devices *devices_of(kn_machine *machine, kn_device_type type)
{
    const size_t i = (size_t)type < KNI_DEVICE_TYPES ? (size_t)type : KN_DEVICE_NONE;
    kni_devices *devices = &machine->devices[i];
    if (atomic_load(&machine->known[i]))
        return devices;
    pthread_mutex_lock(&machine->lock);
    bool known = atomic_load(&machine->known[i]);
    if (!known) {
        known = i == KN_DEVICE_CUDA ? kni_cuda_probe(NULL, devices) : kni_rocm_probe(NULL, devices);
        if (!known)
            kni_devices_dispose(devices);
        atomic_store(&machine->known[i], known);
    }
    pthread_mutex_unlock(&machine->lock);
    return known ? devices : NULL;
}

size_t kn_machine_device_count(kn_machine *machine, kn_device_type type)
{
    const kni_devices *devices = devices_of(machine, type);
    return devices ? devices->count : 0;
}

kn_status kn_machine_device(kn_machine *machine, kn_device_type type, int32_t index,
                            kn_device_info *out, kn_error *err)
{
    if (out->struct_size < sizeof(size_t))
        return kn_error_set(err, KN_ERR_INVALID, "kn_device_info: start with KN_DEVICE_INFO_INIT");
    const kni_devices *devices = devices_of(machine, type);
    const char *name = kn_device_type_name(type);
    if (!devices)
        return kni_no_memory(err);
    if (devices->count == 0)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "device %s:%d: %s", name, (int)index,
                            devices->reason);
    if (index < 0 || (size_t)index >= devices->count)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "device %s:%d: this machine has %zu, from 0",
                            name, (int)index, devices->count);
    const kni_device *device = &devices->items[index];
    if (device->refused[0])
        return kn_error_set(err, KN_ERR_NOT_FOUND, "device %s:%d: %s", name, (int)index,
                            device->refused);
    const size_t size = out->struct_size;
    memcpy(out, &device->info, size < sizeof(*out) ? size : sizeof(*out));
    out->struct_size = size;
    return KN_OK;
}

const char *kn_machine_reason(kn_machine *machine, kn_device_type type)
{
    const kni_devices *devices = devices_of(machine, type);
    return devices ? devices->reason : kn_status_text(KN_ERR_NO_MEMORY);
}

bool kn_machine_has_feature(kn_machine *machine, const char *feature)
{
    return kni_cpu_has(&machine->cpu, feature);
}

size_t kn_machine_feature_count(kn_machine *machine)
{
    return kni_cpu_feature_count(&machine->cpu);
}

const char *kn_machine_feature_name(kn_machine *machine, size_t index)
{
    return kni_cpu_feature_name(&machine->cpu, index);
}

const char *kn_machine_cpu_arch(kn_machine *machine)
{
    return kni_cpu_arch(&machine->cpu);
}

const char *kn_machine_os(kn_machine *machine)
{
    (void)machine;
#if defined(__linux__)
    return "linux";
#else
    return "unknown";
#endif
}

void kn_machine_glibc(kn_machine *machine, int32_t *major, int32_t *minor)
{
    (void)machine;
    *major = *minor = -1;
#if defined(__GLIBC__)
    int major_found, minor_found;
    if (sscanf(gnu_get_libc_version(), "%d.%d", &major_found, &minor_found) == 2) {
        *major = major_found;
        *minor = minor_found;
    }
#endif
}

static void append_device(kni_buf *text, const kn_device_info *info)
{
    kni_buf_printf(text, "%s%s", text->size ? "," : "", kn_device_type_name(info->type));
    if (info->type == KN_DEVICE_CUDA && info->capability >= 0)
        kni_buf_printf(text, ":%d.%d", (int)(info->capability / 10), (int)(info->capability % 10));
    else if (info->arch[0])
        kni_buf_printf(text, ":%s", info->arch);
    if (info->backend_major >= 0)
        kni_buf_printf(text, "@%d.%d", (int)info->backend_major, (int)info->backend_minor);
}

kn_status kn_machine_text(kn_machine *machine, char **out, kn_error *err)
{
    kni_buf text = KNI_BUF_ANY;
    for (size_t type = 1; type < KNI_DEVICE_TYPES && !text.failed; ++type) {
        const kni_devices *devices = devices_of(machine, (kn_device_type)type);
        if (!devices)
            text.failed = true;
        for (size_t i = 0; devices && i < devices->count; ++i)
            if (!devices->items[i].refused[0])
                append_device(&text, &devices->items[i].info);
    }
    *out = kni_buf_take(&text);
    return *out ? KN_OK : kni_no_memory(err);
}
