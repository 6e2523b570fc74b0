#include "package/variant.h"

#include <stdio.h>
#include <string.h>

#define FRAMEWORKS_TEXT "torch<version>, torch-stable-abi<version>, tvm-ffi<version>"
#define BACKENDS_TEXT                                                                              \
    "cpu, cu<version>, rocm<version>, metal, xpu<version>, cann<version>, neuron, tpu"
#define NOARCH_TEXT "cpu, cuda, rocm, metal, xpu, npu, neuron, tpu, universal"

static const struct {
    kn_device_type device;
    const char *arch, *noarch;
    size_t major_digits;
} backends[] = {
#define BACKEND_ROW(name, device, arch, noarch, digits) [name] = {device, arch, noarch, digits},
    KNI_BACKEND_LIST(BACKEND_ROW)
#undef BACKEND_ROW
};

static const char *const frameworks[] = {
#define FRAMEWORK_ROW(name, text) [name] = text,
    KNI_FRAMEWORK_LIST(FRAMEWORK_ROW)
#undef FRAMEWORK_ROW
};

static const char *const systems[] = {"", "linux", "darwin", "windows"};
static const char *const abis[] = {"", "cxx11", "cxx98"};

kn_device_type kni_backend_device(kni_backend backend)
{
    return backends[backend].device;
}

const char *kni_cxx_abi_text(kni_cxx_abi abi)
{
    return abis[abi];
}

const char *kni_os_text(kni_os os)
{
    return systems[os];
}

// A number without a zero in front: what formatting gives back.
static bool parse_number(kni_span digits, int *out)
{
    int64_t value;
    if ((digits.size > 1 && digits.data[0] == '0') || !kni_span_to_int(digits, 99999, &value))
        return false;
    *out = (int)value;
    return true;
}

static bool parse_version(kni_span digits, size_t major_digits, int *major, int *minor)
{
    return digits.size > major_digits &&
           parse_number((kni_span){digits.data, major_digits}, major) &&
           parse_number((kni_span){digits.data + major_digits, digits.size - major_digits}, minor);
}

// Where the major version of a backend ends; the header tells why.
static size_t backend_major_digits(kni_backend backend, kni_span digits)
{
    const size_t usual = backends[backend].major_digits;
    return usual == 1 && digits.size > 2 && digits.data[0] == '1' ? 2 : usual;
}

static bool parse_backend(kni_span text, kni_variant *out)
{
    for (size_t i = 0; i < KN_LEN(backends); ++i) {
        if (!backends[i].arch || !kni_span_starts(text, backends[i].arch))
            continue;
        const size_t used = strlen(backends[i].arch);
        const kni_span digits = {text.data + used, text.size - used};
        out->backend = (kni_backend)i;
        if (backends[i].major_digits == 0) {
            if (digits.size == 0)
                return true;
        } else if (parse_version(digits, backend_major_digits(out->backend, digits),
                                 &out->backend_major, &out->backend_minor)) {
            return true;
        }
    }
    return false;
}

// Cuts the framework off the front of *rest; `part` is what it was, for the error.
static bool parse_framework(kni_span *rest, kni_span *part, kni_variant *out)
{
    // The longest first: "torch" begins two of them.
    static const kni_framework order[] = {KNI_FRAMEWORK_TORCH_STABLE_ABI, KNI_FRAMEWORK_TVM_FFI,
                                          KNI_FRAMEWORK_TORCH};
    for (size_t i = 0; i < KN_LEN(order); ++i) {
        const char *text = frameworks[order[i]];
        if (!kni_span_starts(*rest, text))
            continue;
        const size_t used = strlen(text);
        kni_span tail = {rest->data + used, rest->size - used}, digits;
        if (!kni_span_cut(&tail, '-', &digits))
            return false;
        *part = (kni_span){rest->data, used + digits.size};
        *rest = tail;
        out->framework = order[i];
        return parse_version(digits, 1, &out->framework_major, &out->framework_minor);
    }
    kni_span_cut(rest, '-', part);
    return false;
}

static bool parse_noarch(kni_span name, kni_variant *out)
{
    for (size_t i = 0; i < KN_LEN(backends); ++i) {
        if (!kni_span_is(name, backends[i].noarch))
            continue;
        out->is_noarch = true;
        out->framework = KNI_FRAMEWORK_TORCH;
        out->backend = (kni_backend)i;
        return true;
    }
    return false;
}

static bool parse_cpu(kni_span text, kni_variant *out)
{
    if (text.size == 0 || text.size >= sizeof(out->cpu))
        return false;
    for (size_t i = 0; i < text.size; ++i) {
        const char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    memcpy(out->cpu, text.data, text.size);
    return true;
}

static bool parse_os(kni_span text, kni_variant *out)
{
    for (size_t i = KNI_OS_LINUX; i < KN_LEN(systems); ++i) {
        if (kni_span_is(text, systems[i])) {
            out->os = (kni_os)i;
            return true;
        }
    }
    return false;
}

static kn_status wrong(kn_error *err, kni_span name, const char *what, kni_span found,
                       const char *accepted)
{
    return kn_error_set(err, KN_ERR_FORMAT,
                        "\"%.*s\" is no variant's name: %s \"%.*s\", accepted: %s", (int)name.size,
                        name.data, what, (int)found.size, found.data ? found.data : "", accepted);
}

kn_status kni_variant_parse(kni_span name, kni_variant *out, kn_error *err)
{
    kni_span rest = name, part = kni_span_of("");
    *out = (kni_variant){
        .framework_major = -1, .framework_minor = -1, .backend_major = -1, .backend_minor = -1};
    if (name.size == 0 || name.size >= sizeof(out->name) || memchr(name.data, 0, name.size))
        return kn_error_set(err, KN_ERR_FORMAT, "%s is no variant's name: expected 1 to %d bytes",
                            name.size ? "a name of this length" : "an empty name",
                            KNI_VARIANT_NAME_SIZE - 1);
    memcpy(out->name, name.data, name.size);

    const size_t torch = strlen("torch-");
    if (kni_span_starts(name, "torch-") && !kni_span_starts(name, "torch-stable-abi")) {
        part = (kni_span){name.data + torch, name.size - torch};
        if (!parse_noarch(part, out))
            return wrong(err, name, "backend", part, NOARCH_TEXT);
        return KN_OK;
    }
    if (!parse_framework(&rest, &part, out))
        return wrong(err, name, "framework", part, FRAMEWORKS_TEXT);
    if (!kni_span_cut(&rest, '-', &part))
        part = kni_span_of("");
    for (size_t i = KNI_CXX_ABI_CXX11; i < KN_LEN(abis); ++i) {
        if (out->framework == KNI_FRAMEWORK_TORCH && kni_span_is(part, abis[i])) {
            out->abi = (kni_cxx_abi)i;
            if (!kni_span_cut(&rest, '-', &part))
                part = kni_span_of("");
            break;
        }
    }
    if (!parse_backend(part, out))
        return wrong(err, name, "backend", part, BACKENDS_TEXT);
    if (!kni_span_cut(&rest, '-', &part) || !parse_cpu(part, out))
        return wrong(err, name, "processor", part, "x86_64, aarch64, …");
    if (!rest.data || !parse_os(rest, out))
        return wrong(err, name, "system", rest, "linux, darwin, windows");
    return KN_OK;
}

bool kni_variant_format(const kni_variant *variant, char *out)
{
    const kni_variant *v = variant;
    int size = 0;
    if (v->is_noarch) {
        size = snprintf(out, KNI_VARIANT_NAME_SIZE, "torch-%s", backends[v->backend].noarch);
    } else if (backends[v->backend].arch) {
        char version[32] = "";
        if (backends[v->backend].major_digits)
            snprintf(version, sizeof(version), "%d%d", v->backend_major, v->backend_minor);
        size =
            snprintf(out, KNI_VARIANT_NAME_SIZE, "%s%d%d%s%s-%s%s-%s-%s", frameworks[v->framework],
                     v->framework_major, v->framework_minor, v->abi ? "-" : "", abis[v->abi],
                     backends[v->backend].arch, version, v->cpu, systems[v->os]);
    }
    return size > 0 && size < KNI_VARIANT_NAME_SIZE;
}
