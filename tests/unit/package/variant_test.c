#include "package/variant.h"

#include "support/cmocka.h"

static const struct {
    const char *name;
    kni_framework framework;
    int framework_major, framework_minor;
    kni_cxx_abi abi;
    kni_backend backend;
    int backend_major, backend_minor;
    const char *cpu;
    kni_os os;
} good[] = {
    {"torch28-cxx11-cu126-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_CXX11,
     KNI_BACKEND_CUDA, 12, 6, "x86_64", KNI_OS_LINUX},
    {"torch26-cxx98-cu118-aarch64-linux", KNI_FRAMEWORK_TORCH, 2, 6, KNI_CXX_ABI_CXX98,
     KNI_BACKEND_CUDA, 11, 8, "aarch64", KNI_OS_LINUX},
    {"torch210-cu1210-x86_64-windows", KNI_FRAMEWORK_TORCH, 2, 10, KNI_CXX_ABI_ANY,
     KNI_BACKEND_CUDA, 12, 10, "x86_64", KNI_OS_WINDOWS},
    {"torch20-cu130-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 0, KNI_CXX_ABI_ANY, KNI_BACKEND_CUDA, 13,
     0, "x86_64", KNI_OS_LINUX},
    {"torch28-metal-aarch64-darwin", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_METAL,
     -1, -1, "aarch64", KNI_OS_DARWIN},
    {"torch28-cxx11-rocm64-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_CXX11,
     KNI_BACKEND_ROCM, 6, 4, "x86_64", KNI_OS_LINUX},
    {"torch210-rocm710-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 10, KNI_CXX_ABI_ANY, KNI_BACKEND_ROCM,
     7, 10, "x86_64", KNI_OS_LINUX},
    {"torch210-rocm70-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 10, KNI_CXX_ABI_ANY, KNI_BACKEND_ROCM,
     7, 0, "x86_64", KNI_OS_LINUX},
    {"torch210-rocm100-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 10, KNI_CXX_ABI_ANY, KNI_BACKEND_ROCM,
     10, 0, "x86_64", KNI_OS_LINUX},
    {"torch28-xpu20252-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_XPU,
     2025, 2, "x86_64", KNI_OS_LINUX},
    {"torch28-xpu202510-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_XPU,
     2025, 10, "x86_64", KNI_OS_LINUX},
    {"torch28-cann83-aarch64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_CANN,
     8, 3, "aarch64", KNI_OS_LINUX},
    {"torch28-neuron-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_NEURON,
     -1, -1, "x86_64", KNI_OS_LINUX},
    {"torch28-tpu-x86_64-linux", KNI_FRAMEWORK_TORCH, 2, 8, KNI_CXX_ABI_ANY, KNI_BACKEND_TPU, -1,
     -1, "x86_64", KNI_OS_LINUX},
    {"torch-stable-abi29-cu128-x86_64-linux", KNI_FRAMEWORK_TORCH_STABLE_ABI, 2, 9, KNI_CXX_ABI_ANY,
     KNI_BACKEND_CUDA, 12, 8, "x86_64", KNI_OS_LINUX},
    {"torch-stable-abi210-cpu-x86_64-linux", KNI_FRAMEWORK_TORCH_STABLE_ABI, 2, 10, KNI_CXX_ABI_ANY,
     KNI_BACKEND_CPU, -1, -1, "x86_64", KNI_OS_LINUX},
    {"tvm-ffi01-cpu-x86_64-linux", KNI_FRAMEWORK_TVM_FFI, 0, 1, KNI_CXX_ABI_ANY, KNI_BACKEND_CPU,
     -1, -1, "x86_64", KNI_OS_LINUX},
    {"tvm-ffi010-cpu-x86_64-linux", KNI_FRAMEWORK_TVM_FFI, 0, 10, KNI_CXX_ABI_ANY, KNI_BACKEND_CPU,
     -1, -1, "x86_64", KNI_OS_LINUX},
    {"tvm-ffi110-cu128-x86_64-linux", KNI_FRAMEWORK_TVM_FFI, 1, 10, KNI_CXX_ABI_ANY,
     KNI_BACKEND_CUDA, 12, 8, "x86_64", KNI_OS_LINUX},
};

static void test_arch(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(good); ++i) {
        kni_variant v;
        char again[KNI_VARIANT_NAME_SIZE];
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", good[i].name);
        if (kni_variant_parse(kni_span_of(good[i].name), &v, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        assert_string_equal(v.name, good[i].name);
        assert_false(v.is_noarch);
        assert_int_equal(v.framework, good[i].framework);
        assert_int_equal(v.framework_major, good[i].framework_major);
        assert_int_equal(v.framework_minor, good[i].framework_minor);
        assert_int_equal(v.abi, good[i].abi);
        assert_int_equal(v.backend, good[i].backend);
        assert_int_equal(v.backend_major, good[i].backend_major);
        assert_int_equal(v.backend_minor, good[i].backend_minor);
        assert_string_equal(v.cpu, good[i].cpu);
        assert_int_equal(v.os, good[i].os);
        memset(v.name, 'x', sizeof(v.name)); // the fields alone tell the name
        assert_true(kni_variant_format(&v, again));
        assert_string_equal(again, good[i].name);
    }
}

static void test_noarch(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kni_backend backend;
        kn_device_type device;
    } rows[] = {
        {"torch-cpu", KNI_BACKEND_CPU, KN_DEVICE_CPU},
        {"torch-cuda", KNI_BACKEND_CUDA, KN_DEVICE_CUDA},
        {"torch-rocm", KNI_BACKEND_ROCM, KN_DEVICE_ROCM},
        {"torch-metal", KNI_BACKEND_METAL, KN_DEVICE_MPS},
        {"torch-xpu", KNI_BACKEND_XPU, KN_DEVICE_XPU},
        {"torch-npu", KNI_BACKEND_CANN, KN_DEVICE_NPU},
        {"torch-neuron", KNI_BACKEND_NEURON, KN_DEVICE_NEURON},
        {"torch-tpu", KNI_BACKEND_TPU, KN_DEVICE_TPU},
        {"torch-universal", KNI_BACKEND_UNIVERSAL, KN_DEVICE_NONE},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_variant v;
        char again[KNI_VARIANT_NAME_SIZE];
        assert_int_equal(kni_variant_parse(kni_span_of(rows[i].name), &v, NULL), KN_OK);
        assert_true(v.is_noarch);
        assert_int_equal(v.backend, rows[i].backend);
        assert_int_equal(kni_backend_device(v.backend), rows[i].device);
        assert_int_equal(v.framework_major, -1);
        assert_int_equal(v.backend_major, -1);
        assert_string_equal(v.cpu, "");
        assert_string_equal(kni_os_text(v.os), "");
        assert_true(kni_variant_format(&v, again));
        assert_string_equal(again, rows[i].name);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"", "an empty name"},
        {"build", "framework \"build\", accepted: torch<version>"},
        {"__pycache__", "framework"},
        {"torch", "framework"},
        {"torch-", "backend \"\", accepted: cpu, cuda"},
        {"torch-gpu", "backend \"gpu\", accepted: cpu, cuda"},
        {"torch-cuda-x86_64-linux", "backend \"cuda-x86_64-linux\""},
        {"torch2-cpu-x86_64-linux", "framework \"torch2\""},
        {"torch208-cpu-x86_64-linux", "framework \"torch208\""}, // 2.08 is no version
        {"torch2.8-cpu-x86_64-linux", "framework \"torch2.8\""},
        {"Torch28-cpu-x86_64-linux", "framework"},
        {"torch-stable-abi-cpu-x86_64-linux", "framework"},
        {"tvm-ffi-cpu-x86_64-linux", "framework"},
        {"tvm-ffi01-cxx11-cpu-x86_64-linux", "backend \"cxx11\""}, // the tag is PyTorch's
        {"torch28-cxx14-cu128-x86_64-linux", "backend \"cxx14\""},
        {"torch28", "backend \"\""},
        {"torch28-cxx11", "backend \"\""},
        {"torch28-cu-x86_64-linux", "backend \"cu\", accepted: cpu, cu<version>"},
        {"torch28-cu1-x86_64-linux", "backend \"cu1\""},
        {"torch28-cu12-x86_64-linux", "backend \"cu12\""},
        {"torch28-cu1208-x86_64-linux", "backend \"cu1208\""},
        {"torch28-cu12.8-x86_64-linux", "backend \"cu12.8\""},
        {"torch28-cu99999999999999999999-x86_64-linux", "backend"},
        {"torch28-cpu1-x86_64-linux", "backend \"cpu1\""},
        {"torch28-xpu2025-x86_64-linux", "backend \"xpu2025\""},
        {"torch28-npu-x86_64-linux", "backend \"npu\""},
        {"torch28-cpu", "processor"},
        {"torch28-cpu--linux", "processor \"\""},
        {"torch28-cpu-X86-linux", "processor \"X86\""},
        {"torch28-cpu-x86_64", "system \"\", accepted: linux, darwin, windows"},
        {"torch28-cpu-x86_64-", "system"},
        {"torch28-cpu-x86_64-linux-gnu", "system \"linux-gnu\""},
        {"torch28-cpu-x86_64-linux ", "system \"linux \""},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_variant v;
        kn_error err = KN_ERROR_INIT;
        print_message("  \"%s\"\n", rows[i].name);
        assert_int_equal(kni_variant_parse(kni_span_of(rows[i].name), &v, &err), KN_ERR_FORMAT);
        assert_non_null(strstr(kn_error_text(&err), "no variant's name"));
        if (!strstr(kn_error_text(&err), rows[i].text))
            fail_msg("%s", kn_error_text(&err));
        kn_error_dispose(&err);
    }
}

// Bytes that are no text, and lengths at the limit.
static void test_hostile(void **state)
{
    (void)state;
    kni_variant v;
    char name[2 * KNI_VARIANT_NAME_SIZE];
    assert_int_equal(kni_variant_parse((kni_span){"torch-cpu\0x", 11}, &v, NULL), KN_ERR_FORMAT);
    assert_int_equal(kni_variant_parse((kni_span){NULL, 0}, &v, NULL), KN_ERR_FORMAT);
    for (size_t size = 0; size < sizeof(name); ++size) {
        memset(name, 'a', sizeof(name));
        memcpy(name, "torch28-cpu-", 12);
        assert_int_equal(kni_variant_parse((kni_span){name, size}, &v, NULL), KN_ERR_FORMAT);
    }
}

// Every version that has one spelling keeps it.
static void test_round_trip(void **state)
{
    (void)state;
    size_t n_good = 0;
    for (int i = 0; i < 20000; ++i) {
        char name[64], again[KNI_VARIANT_NAME_SIZE];
        kni_variant v;
        snprintf(name, sizeof(name), "torch%d-%s%d-x86_64-linux", 10 + i % 90,
                 (const char *[]){"cu", "rocm", "xpu", "cann"}[i % 4], i);
        if (kni_variant_parse(kni_span_of(name), &v, NULL) != KN_OK)
            continue;
        ++n_good;
        assert_true(kni_variant_format(&v, again));
        assert_string_equal(again, name);
    }
    assert_true(n_good > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arch),       cmocka_unit_test(test_noarch),
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
