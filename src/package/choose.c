// Variants by their names alone.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "kernels/package.h"
#include "package/variant.h"

// Why a name does not fit. Texts of a listing are cut where they are long: names are at most 255 bytes.
typedef struct refusal {
    const char *rule; // NULL: it fits
    char reason[320];
    char admits[160];
} refusal;

KN_PRINTF(4, 5)
static void refuse(refusal *out, const char *rule, const char *admits, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out->reason, sizeof(out->reason), format, args);
    va_end(args);
    snprintf(out->admits, sizeof(out->admits), "%s", admits);
    out->rule = rule;
}

static void judge_framework(const kni_variant *v, const kn_target *t, refusal *out)
{
    char admits[96];
    if (v->framework == KNI_FRAMEWORK_TVM_FFI) {
        snprintf(admits, sizeof(admits), "libtvm_ffi %d.%d or a newer minor", v->framework_major,
                 v->framework_minor);
        if (t->tvm_ffi_major < 0)
            refuse(out, "tvm-ffi", admits, "needs tvm-ffi %d.%d, there is none here",
                   v->framework_major, v->framework_minor);
        else if (v->framework_major != t->tvm_ffi_major || v->framework_minor > t->tvm_ffi_minor)
            refuse(out, "tvm-ffi", admits, "needs tvm-ffi %d.%d, this process has %d.%d",
                   v->framework_major, v->framework_minor, t->tvm_ffi_major, t->tvm_ffi_minor);
    } else if (t->torch_major == 0) {
        refuse(out, "framework", "a tvm-ffi variant, or PyTorch as the host",
               "is for PyTorch, and this host is without it");
    } else if (v->framework == KNI_FRAMEWORK_TORCH_STABLE_ABI) {
        snprintf(admits, sizeof(admits), "PyTorch %d.%d or newer", v->framework_major,
                 v->framework_minor);
        if (v->framework_major > t->torch_major ||
            (v->framework_major == t->torch_major && v->framework_minor > t->torch_minor))
            refuse(out, "torch", admits, "needs PyTorch %d.%d, this is %d.%d", v->framework_major,
                   v->framework_minor, t->torch_major, t->torch_minor);
    } else if (v->framework == KNI_FRAMEWORK_TORCH && !v->is_noarch) {
        snprintf(admits, sizeof(admits), "PyTorch %d.%d", v->framework_major, v->framework_minor);
        if (v->framework_major != t->torch_major || v->framework_minor != t->torch_minor)
            refuse(out, "torch", admits, "is for PyTorch %d.%d, this is %d.%d", v->framework_major,
                   v->framework_minor, t->torch_major, t->torch_minor);
        else if (v->abi && t->torch_abi && strcmp(kni_cxx_abi_text(v->abi), t->torch_abi) != 0)
            refuse(out, "abi", t->torch_abi, "is for the C++ ABI %s, this PyTorch has %s",
                   kni_cxx_abi_text(v->abi), t->torch_abi);
    }
}

static void judge_backend(const kni_variant *v, const kn_target *t, refusal *out)
{
    const kn_device_info *device = &t->device;
    const char *wanted = kn_device_type_name(device->type);
    char admits[96];
    const kn_device_type type = kni_backend_device(v->backend);
    if (type == KN_DEVICE_NONE) // universal
        return;
    if (type != device->type) {
        refuse(out, "backend", wanted, "is for %s, the device is %s", kn_device_type_name(type),
               wanted);
        return;
    }
    if (v->backend_major < 0 || device->backend_major < 0)
        return; // no version, or one that is not known: to be taken as the newest
    const bool same_major = v->backend_major == device->backend_major;
    const bool fits = device->type == KN_DEVICE_CUDA
                          ? same_major && v->backend_minor <= device->backend_minor
                          : same_major && v->backend_minor == device->backend_minor;
    snprintf(admits, sizeof(admits), "%s %d.%d%s", wanted, v->backend_major, v->backend_minor,
             device->type == KN_DEVICE_CUDA ? " or a newer minor" : "");
    if (!fits)
        refuse(out, "version", admits, "needs %s %d.%d, this machine has %d.%d", wanted,
               v->backend_major, v->backend_minor, device->backend_major, device->backend_minor);
}

static void judge(const char *name, const kn_target *t, kni_variant *v, refusal *out)
{
    const char *cpu = kn_machine_cpu_arch(t->machine), *os = kn_machine_os(t->machine);
    out->rule = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kni_variant_parse(kni_span_of(name), v, &err) != KN_OK)
        refuse(out, "name", "a name such as tvm-ffi01-cpu-x86_64-linux", "%s", kn_error_text(&err));
    else if (!v->is_noarch && strcmp(v->cpu, cpu) != 0)
        refuse(out, "cpu", cpu, "is for %s, this machine is %s", v->cpu, cpu);
    else if (!v->is_noarch && strcmp(kni_os_text(v->os), os) != 0)
        refuse(out, "os", os, "is for %s, this machine is %s", kni_os_text(v->os), os);
    kn_error_dispose(&err);
    if (!out->rule)
        judge_framework(v, t, out);
    if (!out->rule)
        judge_backend(v, t, out);
}

// tvm-ffi, which may have layers of its own, stable ABI, PyTorch, then Python alone, for one device before for all.
static int rank(const kni_variant *v)
{
    static const int ranks[] = {[KNI_FRAMEWORK_TVM_FFI] = 0,
                                [KNI_FRAMEWORK_TORCH_STABLE_ABI] = 1,
                                [KNI_FRAMEWORK_TORCH] = 2};
    if (!v->is_noarch)
        return ranks[v->framework];
    return v->backend == KNI_BACKEND_UNIVERSAL ? 4 : 3;
}

// Is a better than b? By rank, then the newest framework, untagged before tagged, the highest backend version.
static bool is_better(const kni_variant *a, const kni_variant *b)
{
    if (rank(a) != rank(b))
        return rank(a) < rank(b);
    if (a->framework_major != b->framework_major)
        return a->framework_major > b->framework_major;
    if (a->framework_minor != b->framework_minor)
        return a->framework_minor > b->framework_minor;
    if (!a->abi != !b->abi)
        return !a->abi;
    if (a->backend_major != b->backend_major)
        return a->backend_major > b->backend_major;
    return a->backend_minor > b->backend_minor;
}

kn_status kn_package_choose(const char *const *names, size_t n_names, const kn_target *target,
                            size_t *order, size_t *n_fit, kn_trace *trace, kn_error *err)
{
    if ((!names && n_names) || !target || !target->machine || !order || !n_fit)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_choose: an argument is NULL");
    *n_fit = 0;
    for (size_t i = 0; i < n_names; ++i) {
        kni_variant v, other;
        refusal no;
        judge(names[i], target, &v, &no);
        if (!(no.rule ? kni_trace_add(trace, "variant", names[i], false, no.rule, no.admits, "%s",
                                      no.reason)
                      : kni_trace_add(trace, "variant", names[i], true, "", NULL, "fits by name")))
            return kni_no_memory(err);
        if (no.rule)
            continue;
        size_t at = (*n_fit)++; // into its place; equal ones keep their order
        for (; at > 0 &&
               kni_variant_parse(kni_span_of(names[order[at - 1]]), &other, NULL) == KN_OK &&
               is_better(&v, &other);
             --at)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return KN_OK;
}
