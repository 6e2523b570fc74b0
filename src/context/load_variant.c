#include "context/load_variant.h"

#include <string.h>

#include "base/error.h"
#include "base/trace.h"
#include "context/kernel.h"
#include "device/machine.h"

// Out of memory is said as such, whatever else went wrong before.
static kn_status pass_on(kn_status st, kn_error *why, kn_error *err)
{
    if (st == KN_OK)
        return st;
    if (st != KN_ERR_NO_MEMORY)
        return kni_error_move(err, why);
    kn_error_dispose(why);
    return kni_no_memory(err);
}

// Asks the rules, unless it is remembered what they said.
static kn_status check(kn_context *ctx, const kn_package *package, const kn_target *target,
                       kni_checked_file *library, kn_trace *trace, kn_error *err)
{
    kn_status st = kni_refusals_find(&ctx->refusals, package, &target->device, trace, err);
    if (st != KN_OK)
        return st;
    kn_error why = KN_ERROR_INIT;
    kn_trace *steps = kn_trace_new();
    st = steps ? kni_package_check(package, target, NULL, library, steps, &why) : KN_ERR_NO_MEMORY;
    if (!kni_trace_append(trace, steps))
        st = KN_ERR_NO_MEMORY;
    if (st == KN_ERR_INCOMPATIBLE)
        kni_refusals_add(&ctx->refusals, package, &target->device, &why, steps);
    else
        kn_trace_free(steps);
    return pass_on(st, &why, err);
}

// Is the target another machine than this one, by its description? A CPU that can do no more than this one counts as this one.
static bool is_elsewhere(const kn_target *target)
{
    kni_cpu here;
    if (!target->device.overridden || target->device.type != KN_DEVICE_CPU)
        return target->device.overridden;
    kni_cpu_probe(&here);
    return !kni_cpu_covers(&here, &target->machine->cpu);
}

// Makes a kernel of a checked package. *package is NULL once the kernel has it.
static kn_status load(kn_context *ctx, kn_package **package, const kni_checked_file *library,
                      const char *revision, const kn_target *target, kn_kernel **out, kn_error *err)
{
    kn_kernel *kernel = NULL;
    const kni_tvm_ffi *tvm_ffi = NULL;
    kn_status st;
    if (is_elsewhere(target)) {
        st = kni_kernel_plan(*package, revision, &kernel, err);
    } else {
        st = kni_context_tvm_ffi(ctx, &tvm_ffi, err);
        if (st == KN_OK)
            st = kni_kernel_load(*package, library, tvm_ffi, revision, &kernel, err);
    }
    if (st != KN_OK)
        return st;
    *package = NULL;
    return kni_kept_intern(&ctx->kept, kernel, out, err);
}

kn_status kni_load_variant(kn_context *ctx, const char *dir, const char *revision,
                           const kn_target *target, kn_kernel **out, kn_trace *trace, kn_error *err)
{
    kn_package *package = NULL;
    kni_checked_file library = KNI_CHECKED_FILE_INIT;
    kn_error why = KN_ERROR_INIT;
    const char *rule = "metadata";
    kn_status st = kn_package_open(dir, &package, &why);
    if (st == KN_OK) {
        rule = NULL; // the check has its own entries
        st = check(ctx, package, target, &library, trace, &why);
    }
    if (st == KN_OK) {
        rule = "load";
        st = load(ctx, &package, &library, revision, target, out, &why);
    }
    if (st != KN_OK && rule &&
        !kni_trace_add(trace, "load", kni_path_basename(dir), false, rule, NULL, "%s",
                       kn_error_text(&why)))
        st = KN_ERR_NO_MEMORY;
    kni_checked_file_dispose(&library);
    kn_package_close(package);
    return pass_on(st, &why, err);
}
