#include "base/error.h"
#include "package/check.h"
#include "package/cuda.h"
#include "package/rocm.h"

// The verdict on the device code as an entry of the trace.
static kn_status judge(const kni_check *check, kni_code_fit fit, const char *rule,
                       const kni_buf *reason)
{
    const char *arch = check->target->device.arch;
    const char *text = kni_buf_text(reason);
    switch (fit) {
    case KNI_CODE_NONE: // host code that calls a library of the vendor's, or compiles at run time
        return kni_check_pass(check, KNI_STAGE_CODE, rule, "holds no device code");
    case KNI_CODE_FITS:
        return kni_check_pass(check, KNI_STAGE_CODE, rule, "has code for %s", arch);
    case KNI_CODE_PARTLY: // a package may choose among its kernels by device
        return kni_check_pass(check, KNI_STAGE_CODE, rule, "%s", text);
    case KNI_CODE_NO:
    case KNI_CODE_UNKNOWN:
        break;
    }
    return kni_check_refuse(check, KN_ERR_INCOMPATIBLE, KNI_STAGE_CODE, rule,
                            "a build with code for that device", "no code for %s: %s", arch, text);
}

// What reading (an error in `why`) and judging came to. Disposes both texts.
static kn_status conclude(const kni_check *check, kn_error *why, kni_code_fit fit, const char *rule,
                          kni_buf *reason)
{
    const kn_status st = why->status != KN_OK
                             ? kni_check_refuse_because(check, why, KNI_STAGE_CODE, rule, NULL)
                         : reason->failed ? kni_no_memory(check->err)
                                          : judge(check, fit, rule, reason);
    kni_buf_dispose(reason);
    return st;
}

static kn_status check_cuda(const kni_check *check, const kni_elf *elf, const char *name)
{
    const kn_device_info *info = &check->target->device;
    const kni_cuda_device device = {
        .capability = (int)info->capability,
        .driver_version =
            info->backend_major < 0 ? 0 : info->backend_major * 1000 + info->backend_minor * 10,
    };
    kni_cuda_code code = {.n_targets = 0};
    kni_buf reason = KNI_BUF_ANY;
    kn_error why = KN_ERROR_INIT;
    const kn_status st = kni_cuda_read_elf(elf, name, &code, &why);
    const kni_code_fit fit =
        st == KN_OK ? kni_cuda_code_runs(&code, device, &reason) : KNI_CODE_UNKNOWN;
    kni_cuda_dispose(&code);
    return conclude(check, &why, fit, "cuda", &reason);
}

static kn_status check_rocm(const kni_check *check, const kni_elf *elf, const char *name)
{
    kni_rocm_code code = {.n_targets = 0};
    kni_buf reason = KNI_BUF_ANY;
    kn_error why = KN_ERROR_INIT;
    const kn_status st = kni_rocm_read_elf(elf, name, &code, &why);
    const kni_code_fit fit = st == KN_OK
                                 ? kni_rocm_code_runs(&code, check->target->device.arch, &reason)
                                 : KNI_CODE_UNKNOWN;
    kni_rocm_dispose(&code);
    return conclude(check, &why, fit, "rocm", &reason);
}

kn_status kni_check_code(const kni_check *check, const kni_elf *elf, const char *name)
{
    const kn_device_info *device = &check->target->device;
    if (device->capability < 0) // nothing is known that the code could contradict
        return KN_OK;
    if (device->type == KN_DEVICE_CUDA)
        return check_cuda(check, elf, name);
    if (device->type == KN_DEVICE_ROCM)
        return check_rocm(check, elf, name);
    return KN_OK;
}
