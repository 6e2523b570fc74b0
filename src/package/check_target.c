#include <string.h>

#include "base/error.h"
#include "package/check.h"
#include "package/variant.h"

// One name for every device: whatever metadata.json names was where it was built.
static bool is_universal(const kni_check *check)
{
    kni_variant variant;
    return check->checked->is_hosted &&
           kni_variant_parse(kni_span_of(check->package->variant), &variant, NULL) == KN_OK &&
           variant.backend == KNI_BACKEND_UNIVERSAL;
}

// The directory's name may say one thing and metadata.json another.
static kn_status check_backend(const kni_check *check)
{
    const char *backend = check->package->metadata.backend;
    const kn_device_type wanted = check->target->device.type;
    kn_device_type type = KN_DEVICE_NONE;
    if (is_universal(check))
        return kni_check_pass(check, KNI_STAGE_CODE, "backend", "for every device");
    if (!backend[0])
        return kni_check_pass(check, KNI_STAGE_CODE, "backend", "metadata.json names no backend");
    if (strcmp(backend, "cann") == 0)
        type = KN_DEVICE_NPU;
    else if (kn_device_type_parse(backend, &type, NULL) == KN_ERR_NO_MEMORY)
        return kni_no_memory(check->err);
    if (type != wanted)
        return kni_check_refuse(check, KN_ERR_INCOMPATIBLE, KNI_STAGE_CODE, "backend",
                                kn_device_type_name(wanted),
                                "metadata.json says that the library is for '%s', the device is %s",
                                backend, kn_device_type_name(wanted));
    return kni_check_pass(check, KNI_STAGE_CODE, "backend", "for %s", backend);
}

static kn_status check_features(const kni_check *check)
{
    const kni_names *features = &check->package->metadata.features;
    for (size_t i = 0; i < features->count; ++i)
        if (!kn_machine_has_feature(check->target->machine, features->names[i]))
            return kni_check_refuse(
                check, KN_ERR_INCOMPATIBLE, KNI_STAGE_CODE, "features", "a CPU that has it",
                "the library needs the CPU feature '%s', which is not here", features->names[i]);
    return kni_check_pass(check, KNI_STAGE_CODE, "features", "needs %zu CPU features, all here",
                          features->count);
}

kn_status kni_check_target(const kni_check *check)
{
    const kn_status st = check_backend(check);
    return st == KN_OK ? check_features(check) : st;
}
