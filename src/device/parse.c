// The text of a machine: see kn_machine_parse.

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/machine.h"

static bool parse_version(kni_span text, int64_t max_minor, int64_t *major, int64_t *minor)
{
    kni_span rest = text, first;
    return kni_span_cut(&rest, '.', &first) && rest.data && kni_span_to_int(first, 99, major) &&
           kni_span_to_int(rest, max_minor, minor);
}

static kn_status parse_type(kni_span text, kn_device_type *out, kn_error *err)
{
    char *name = kni_strndup(text.data, text.size);
    if (!name)
        return kni_no_memory(err);
    const kn_status st = kn_device_type_parse(name, out, err);
    kni_free(name);
    return st;
}

static kn_status set_capability(kn_machine *machine, kn_device_info *info, kni_span text,
                                kn_error *err)
{
    int64_t major, minor;
    switch (info->type) {
    case KN_DEVICE_CPU:
        if (!kni_cpu_of_level(text, &machine->cpu))
            return kn_error_set(
                err, KN_ERR_INVALID,
                "accepted levels are x86-64-v1 to x86-64-v4, armv8.0 to armv8.6 and "
                "armv9.0");
        return KN_OK;
    case KN_DEVICE_CUDA:
        if (!parse_version(text, 9, &major, &minor) || major == 0)
            return kn_error_set(err, KN_ERR_INVALID,
                                "a compute capability is MAJOR.MINOR, such as 9.0");
        kni_cuda_set_capability(info, major, minor);
        return KN_OK;
    case KN_DEVICE_ROCM:
        info->capability = kni_gfx_capability(text);
        if (info->capability < 0 || text.size >= sizeof(info->arch))
            return kn_error_set(err, KN_ERR_INVALID,
                                "a GPU is named as in gfx90a or gfx90a:sramecc+:xnack-");
        memcpy(info->arch, text.data, text.size);
        info->arch[text.size] = '\0';
        return KN_OK;
    default:
        return kn_error_set(err, KN_ERR_INVALID, "%s takes no capability",
                            kn_device_type_name(info->type));
    }
}

static kn_status set_backend(kn_device_info *info, kni_span text, kn_error *err)
{
    int64_t major, minor;
    if (info->type != KN_DEVICE_CUDA && info->type != KN_DEVICE_ROCM)
        return kn_error_set(err, KN_ERR_INVALID, "%s takes no backend version after @",
                            kn_device_type_name(info->type));
    if (!parse_version(text, 99, &major, &minor))
        return kn_error_set(err, KN_ERR_INVALID, "a backend version is MAJOR.MINOR, such as 12.8");
    info->backend_major = (int32_t)major;
    info->backend_minor = (int32_t)minor;
    return KN_OK;
}

// type [":" capability] ["@" backend]
static kn_status parse_device(kn_machine *machine, kni_span text, kn_error *err)
{
    kn_device_type type;
    kni_span backend = text, type_name, capability;
    if (!kni_span_cut(&backend, '@', &capability) || !kni_span_cut(&capability, ':', &type_name) ||
        type_name.size == 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "a device is TYPE[:CAPABILITY][@BACKEND], such as cuda:9.0@12.8");
    kn_status st = parse_type(type_name, &type, err);
    if (st != KN_OK)
        return st;
    kni_devices *devices = &machine->devices[type];
    if (type == KN_DEVICE_CPU && devices->count)
        return kn_error_set(err, KN_ERR_INVALID, "cpu is named twice");
    if (devices->count == KNI_DEVICES_MAX)
        return kn_error_set(err, KN_ERR_INVALID, "more than %d devices of one type",
                            KNI_DEVICES_MAX);
    kni_device *device = kni_devices_add(devices, type);
    if (!device)
        return kni_no_memory(err);
    device->info.overridden = type != KN_DEVICE_CPU || capability.data;
    if (capability.data)
        st = set_capability(machine, &device->info, capability, err);
    if (st == KN_OK && backend.data)
        st = set_backend(&device->info, backend, err);
    return st;
}

kn_status kn_machine_parse(const char *text, kn_machine **out, kn_error *err)
{
    kn_status st = KN_OK;
    kni_span rest = kni_span_of(text), part;

    *out = NULL;
    kn_machine *machine = kni_machine_new();
    if (!machine)
        return kni_no_memory(err);
    kni_cpu_probe(&machine->cpu);
    if (kni_span_trim(rest).size == 0)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "no device is named: a device is TYPE[:CAPABILITY][@BACKEND], such as "
                          "cuda:9.0@12.8, and commas part several");
    while (st == KN_OK && kni_span_cut(&rest, ',', &part)) {
        kn_error why = KN_ERROR_INIT;
        part = kni_span_trim(part);
        st = parse_device(machine, part, &why);
        if (st == KN_ERR_INVALID)
            kn_error_prefix(&why, "device \"%.*s\"", part.size < 128 ? (int)part.size : 128,
                            part.data);
        kni_error_move(err, &why);
    }
    if (st == KN_OK) {
        const bool overridden = machine->devices[KN_DEVICE_CPU].count &&
                                machine->devices[KN_DEVICE_CPU].items[0].info.overridden;
        kni_devices_dispose(&machine->devices[KN_DEVICE_CPU]);
        if (!kni_machine_add_cpu(machine, overridden))
            st = kni_no_memory(err);
    }
    if (st != KN_OK) {
        kn_machine_unref(machine);
        return st;
    }
    for (size_t type = 0; type < KNI_DEVICE_TYPES; ++type) {
        if (machine->devices[type].count == 0)
            kni_devices_refuse(&machine->devices[type], "not among the devices named: %s", text);
        atomic_store(&machine->known[type], true);
    }
    *out = machine;
    return KN_OK;
}
