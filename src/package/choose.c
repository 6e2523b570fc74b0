#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/trace.h"
#include "kernels/package.h"

// The minor version of tvm-ffi that a native variant of this target's device, CPU and system is for; -1: another name.
static int32_t minor_of(const char *name, const kn_target *target)
{
    for (int32_t minor = target->tvm_ffi_minor; minor >= 0; --minor) {
        char expected[128];
        snprintf(expected, sizeof(expected), "tvm-ffi%d%d-%s-%s-%s", target->tvm_ffi_major, minor,
                 kn_device_type_name(target->device.type), kn_machine_cpu_arch(target->machine),
                 kn_machine_os(target->machine));
        if (strcmp(name, expected) == 0)
            return minor;
    }
    return -1;
}

kn_status kn_package_choose(const char *const *names, size_t n_names, const kn_target *target,
                            size_t *order, size_t *n_fit, kn_trace *trace, kn_error *err)
{
    if ((!names && n_names) || !target || !target->machine || !order || !n_fit)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_choose: an argument is NULL");
    *n_fit = 0;
    for (size_t i = 0; i < n_names; ++i) {
        const int32_t minor = minor_of(names[i], target);
        if (!kni_trace_add(trace, "variant", names[i], minor >= 0, minor >= 0 ? "" : "name", NULL,
                           minor >= 0 ? "fits" : "is for another host, device or CPU"))
            return kni_no_memory(err);
        if (minor < 0)
            continue;
        size_t at = (*n_fit)++;
        for (; at > 0 && minor_of(names[order[at - 1]], target) < minor; --at)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return KN_OK;
}
