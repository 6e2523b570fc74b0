// Variants by their names alone.
//
//   arch   = framework "-" backend "-" cpu "-" os
//   noarch = "torch-" ("universal" | a backend)
//   framework = "torch" D N ["-cxx11" | "-cxx98"] | "torch-stable-abi" D N | "tvm-ffi" D N     D: one digit
//   backend   = "cpu" | "metal" | "neuron" | "tpu" | ("cu" | "rocm" | "xpu" | "cann") MAJOR MINOR
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "kernels/package.h"

typedef enum framework {
    FRAMEWORK_TORCH,
    FRAMEWORK_TORCH_STABLE_ABI,
    FRAMEWORK_TVM_FFI,
    FRAMEWORK_NOARCH,
} framework;

typedef struct variant {
    framework framework;
    int64_t major, minor; // of the framework
    kni_span abi;         // "cxx11"; empty: any
    kn_device_type device;
    bool is_universal;                    // noarch for every device
    int64_t backend_major, backend_minor; // -1: the backend has no version
    kni_span cpu, os;
} variant;

static const struct {
    const char *prefix;
    kn_device_type device;
    size_t
        major_digits; // 0: no version follows. The rest is the minor: cu1210 is 12.10, rocm710 is 7.10
} backends[] = {
    {"cpu", KN_DEVICE_CPU, 0}, {"metal", KN_DEVICE_MPS, 0}, {"neuron", KN_DEVICE_NEURON, 0},
    {"tpu", KN_DEVICE_TPU, 0}, {"cu", KN_DEVICE_CUDA, 2},   {"rocm", KN_DEVICE_ROCM, 1},
    {"xpu", KN_DEVICE_XPU, 4}, {"cann", KN_DEVICE_NPU, 1},
};

static const char *const noarch_names[][2] = {
    {"cpu", "cpu"}, {"cuda", "cuda"}, {"rocm", "rocm"},     {"metal", "mps"},
    {"xpu", "xpu"}, {"npu", "npu"},   {"neuron", "neuron"}, {"tpu", "tpu"},
};

// Digits as a version: the first of them the major, the rest, without a leading zero, the minor.
static bool parse_version(kni_span digits, size_t major_digits, int64_t *major, int64_t *minor)
{
    if (digits.size <= major_digits)
        return false;
    const kni_span head = {digits.data, major_digits};
    const kni_span tail = {digits.data + major_digits, digits.size - major_digits};
    if (tail.size > 1 && tail.data[0] == '0')
        return false;
    return kni_span_to_int(head, 9999, major) && kni_span_to_int(tail, 9999, minor);
}

static bool parse_backend(kni_span text, variant *out)
{
    out->backend_major = out->backend_minor = -1;
    for (size_t i = 0; i < KN_LEN(backends); ++i) {
        const size_t size = strlen(backends[i].prefix);
        if (!kni_span_starts(text, backends[i].prefix))
            continue;
        const kni_span rest = {text.data + size, text.size - size};
        out->device = backends[i].device;
        if (backends[i].major_digits == 0 ? rest.size == 0
                                          : parse_version(rest, backends[i].major_digits,
                                                          &out->backend_major, &out->backend_minor))
            return true;
    }
    return false;
}

static bool parse_noarch(kni_span text, variant *out)
{
    out->framework = FRAMEWORK_NOARCH;
    out->is_universal = kni_span_is(text, "universal");
    for (size_t i = 0; i < KN_LEN(noarch_names); ++i)
        if (kni_span_is(text, noarch_names[i][0]))
            return kn_device_type_parse(noarch_names[i][1], &out->device, NULL) == KN_OK;
    return out->is_universal;
}

static bool parse_framework(kni_span *rest, variant *out)
{
    static const struct {
        const char *prefix;
        framework framework;
    } rows[] = {{"torch-stable-abi", FRAMEWORK_TORCH_STABLE_ABI},
                {"torch", FRAMEWORK_TORCH},
                {"tvm-ffi", FRAMEWORK_TVM_FFI}};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const size_t size = strlen(rows[i].prefix);
        if (!kni_span_starts(*rest, rows[i].prefix))
            continue;
        kni_span tail = {rest->data + size, rest->size - size}, digits;
        if (!kni_span_cut(&tail, '-', &digits) || !tail.data ||
            !parse_version(digits, 1, &out->major, &out->minor))
            return false;
        out->framework = rows[i].framework;
        *rest = tail;
        return true;
    }
    return false;
}

static bool parse_variant(const char *name, variant *out)
{
    kni_span rest = kni_span_of(name), part;
    *out = (variant){.backend_major = -1, .backend_minor = -1};
    if (kni_span_starts(rest, "torch-") &&
        parse_noarch((kni_span){rest.data + 6, rest.size - 6}, out))
        return true;
    if (!parse_framework(&rest, out) || !kni_span_cut(&rest, '-', &part))
        return false;
    if (out->framework == FRAMEWORK_TORCH &&
        (kni_span_is(part, "cxx11") || kni_span_is(part, "cxx98"))) {
        out->abi = part;
        if (!kni_span_cut(&rest, '-', &part))
            return false;
    }
    return parse_backend(part, out) && kni_span_cut(&rest, '-', &out->cpu) && out->cpu.size &&
           kni_span_cut(&rest, '-', &out->os) && out->os.size && !rest.data;
}

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

static void judge_framework(const variant *v, const kn_target *t, refusal *out)
{
    char admits[96];
    if (v->framework == FRAMEWORK_TVM_FFI) {
        snprintf(admits, sizeof(admits), "libtvm_ffi %lld.%lld or a newer minor",
                 (long long)v->major, (long long)v->minor);
        if (t->tvm_ffi_major < 0)
            refuse(out, "tvm-ffi", admits, "needs tvm-ffi %lld.%lld, there is none here",
                   (long long)v->major, (long long)v->minor);
        else if (v->major != t->tvm_ffi_major || v->minor > t->tvm_ffi_minor)
            refuse(out, "tvm-ffi", admits, "needs tvm-ffi %lld.%lld, this process has %d.%d",
                   (long long)v->major, (long long)v->minor, t->tvm_ffi_major, t->tvm_ffi_minor);
    } else if (t->torch_major == 0) {
        refuse(out, "framework", "a tvm-ffi variant, or PyTorch as the host",
               "is for PyTorch, and this host is without it");
    } else if (v->framework == FRAMEWORK_TORCH_STABLE_ABI) {
        snprintf(admits, sizeof(admits), "PyTorch %lld.%lld or newer", (long long)v->major,
                 (long long)v->minor);
        if (v->major > t->torch_major || (v->major == t->torch_major && v->minor > t->torch_minor))
            refuse(out, "torch", admits, "needs PyTorch %lld.%lld, this is %d.%d",
                   (long long)v->major, (long long)v->minor, t->torch_major, t->torch_minor);
    } else if (v->framework == FRAMEWORK_TORCH) {
        snprintf(admits, sizeof(admits), "PyTorch %lld.%lld", (long long)v->major,
                 (long long)v->minor);
        if (v->major != t->torch_major || v->minor != t->torch_minor)
            refuse(out, "torch", admits, "is for PyTorch %lld.%lld, this is %d.%d",
                   (long long)v->major, (long long)v->minor, t->torch_major, t->torch_minor);
        else if (v->abi.size && t->torch_abi && !kni_span_is(v->abi, t->torch_abi))
            refuse(out, "abi", t->torch_abi, "is for the C++ ABI %.*s, this PyTorch has %s",
                   (int)v->abi.size, v->abi.data, t->torch_abi);
    }
}

static void judge_backend(const variant *v, const kn_target *t, refusal *out)
{
    const kn_device_info *device = &t->device;
    const char *wanted = kn_device_type_name(device->type);
    char admits[96];
    if (v->is_universal)
        return;
    if (v->device != device->type) {
        refuse(out, "backend", wanted, "is for %s, the device is %s",
               kn_device_type_name(v->device), wanted);
        return;
    }
    if (v->backend_major < 0 || device->backend_major < 0)
        return; // no version, or one that is not known: to be taken as the newest
    const bool same_major = v->backend_major == device->backend_major;
    const bool fits = device->type == KN_DEVICE_CUDA
                          ? same_major && v->backend_minor <= device->backend_minor
                          : same_major && v->backend_minor == device->backend_minor;
    snprintf(admits, sizeof(admits), "%s %lld.%lld%s", wanted, (long long)v->backend_major,
             (long long)v->backend_minor,
             device->type == KN_DEVICE_CUDA ? " or a newer minor" : "");
    if (!fits)
        refuse(out, "version", admits, "needs %s %lld.%lld, this machine has %d.%d", wanted,
               (long long)v->backend_major, (long long)v->backend_minor, device->backend_major,
               device->backend_minor);
}

static void judge(const char *name, const kn_target *t, variant *v, refusal *out)
{
    const char *cpu = kn_machine_cpu_arch(t->machine), *os = kn_machine_os(t->machine);
    out->rule = NULL;
    if (!parse_variant(name, v)) {
        refuse(out, "name", "a name such as tvm-ffi01-cpu-x86_64-linux", "is no variant's name");
        return;
    }
    if (v->framework != FRAMEWORK_NOARCH) {
        if (!kni_span_is(v->cpu, cpu))
            refuse(out, "cpu", cpu, "is for %.*s, this machine is %s", (int)v->cpu.size,
                   v->cpu.data, cpu);
        else if (!kni_span_is(v->os, os))
            refuse(out, "os", os, "is for %.*s, this machine is %s", (int)v->os.size, v->os.data,
                   os);
    }
    if (!out->rule)
        judge_framework(v, t, out);
    if (!out->rule)
        judge_backend(v, t, out);
}

// Is a better than b? Stable ABI (newest first), PyTorch (untagged first), tvm-ffi (highest minor), then Python alone; among
// equals the highest backend version.
static bool is_better(const variant *a, const variant *b)
{
    static const int rank[] = {[FRAMEWORK_TORCH_STABLE_ABI] = 0,
                               [FRAMEWORK_TORCH] = 1,
                               [FRAMEWORK_TVM_FFI] = 2,
                               [FRAMEWORK_NOARCH] = 3};
    if (a->framework != b->framework)
        return rank[a->framework] < rank[b->framework];
    if (a->is_universal != b->is_universal)
        return b->is_universal;
    if (a->major != b->major)
        return a->major > b->major;
    if (a->minor != b->minor)
        return a->minor > b->minor;
    if (!a->abi.size != !b->abi.size)
        return !a->abi.size;
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
        variant v, other;
        refusal no;
        judge(names[i], target, &v, &no);
        if (!(no.rule ? kni_trace_add(trace, "variant", names[i], false, no.rule, no.admits, "%s",
                                      no.reason)
                      : kni_trace_add(trace, "variant", names[i], true, "", NULL, "fits by name")))
            return kni_no_memory(err);
        if (no.rule)
            continue;
        size_t at = (*n_fit)++; // into its place; equal ones keep their order
        for (; at > 0 && parse_variant(names[order[at - 1]], &other) && is_better(&v, &other); --at)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return KN_OK;
}
