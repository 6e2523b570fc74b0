#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/package.h"

// One machine and host for each row; CPUs are described, so that it does not matter where the test runs.
typedef struct row {
    const char *name;
    const char *device; // as KERNELS_DEVICE; the type asked for is that of its first device
    kn_device_type type;
    int32_t torch_major, torch_minor;
    const char *torch_abi;
    const char *offered[5];
    const char *chosen[4]; // in order
    const char *rule;      // of the first that is refused
    const char *reason;    // a part of it
} row;

#define X86 "cpu:x86-64-v3"
#define CPU KN_DEVICE_CPU
#define CUDA KN_DEVICE_CUDA

static const row rows[] = {
    // without PyTorch
    {"tvm-ffi for the CPU",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cpu-x86_64-linux"},
     {"tvm-ffi01-cpu-x86_64-linux"},
     NULL,
     NULL},
    {"the highest minor first",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi00-cpu-x86_64-linux", "tvm-ffi01-cpu-x86_64-linux"},
     {"tvm-ffi01-cpu-x86_64-linux", "tvm-ffi00-cpu-x86_64-linux"},
     NULL,
     NULL},
    {"newer minor",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi02-cpu-x86_64-linux"},
     {NULL},
     "tvm-ffi",
     "needs tvm-ffi 0.2, this process has 0.1"},
    {"two-digit minor",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi010-cpu-x86_64-linux"},
     {NULL},
     "tvm-ffi",
     "needs tvm-ffi 0.10"},
    {"another major",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi11-cpu-x86_64-linux"},
     {NULL},
     "tvm-ffi",
     "needs tvm-ffi 1.1"},
    {"another CPU",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cpu-aarch64-linux"},
     {NULL},
     "cpu",
     "is for aarch64, this machine is x86_64"},
    {"on Arm",
     "cpu:armv8.2",
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cpu-x86_64-linux", "tvm-ffi01-cpu-aarch64-linux"},
     {"tvm-ffi01-cpu-aarch64-linux"},
     "cpu",
     "is for x86_64"},
    {"another system",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cpu-x86_64-darwin"},
     {NULL},
     "os",
     "is for darwin, this machine is linux"},
    {"another backend",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cu128-x86_64-linux"},
     {NULL},
     "backend",
     "is for cuda, the device is cpu"},
    {"PyTorch's",
     X86,
     CPU,
     0,
     0,
     NULL,
     {"torch28-cpu-x86_64-linux", "torch-stable-abi29-cpu-x86_64-linux", "torch-cpu",
      "torch-universal"},
     {NULL},
     "framework",
     "is for PyTorch, and this host is without it"},
    // CUDA
    {"older CUDA minor",
     "cuda:9.0@12.8," X86,
     CUDA,
     0,
     0,
     NULL,
     {"tvm-ffi01-cu126-x86_64-linux", "tvm-ffi01-cu128-x86_64-linux",
      "tvm-ffi01-cu129-x86_64-linux"},
     {"tvm-ffi01-cu128-x86_64-linux", "tvm-ffi01-cu126-x86_64-linux"},
     "version",
     "needs cuda 12.9, this machine has 12.8"},
    {"two-digit CUDA minor",
     "cuda:9.0@12.8," X86,
     CUDA,
     0,
     0,
     NULL,
     {"tvm-ffi01-cu1210-x86_64-linux"},
     {NULL},
     "version",
     "needs cuda 12.10"},
    {"older CUDA major",
     "cuda:9.0@12.8," X86,
     CUDA,
     0,
     0,
     NULL,
     {"tvm-ffi01-cu118-x86_64-linux"},
     {NULL},
     "version",
     "needs cuda 11.8"},
    {"tvm-ffi before CUDA",
     "cuda:9.0@12.8," X86,
     CUDA,
     0,
     0,
     NULL,
     {"tvm-ffi00-cu128-x86_64-linux", "tvm-ffi01-cu120-x86_64-linux"},
     {"tvm-ffi01-cu120-x86_64-linux", "tvm-ffi00-cu128-x86_64-linux"},
     NULL,
     NULL},
    {"CUDA of unknown version is the newest",
     "cuda:9.0," X86,
     CUDA,
     0,
     0,
     NULL,
     {"tvm-ffi01-cu139-x86_64-linux"},
     {"tvm-ffi01-cu139-x86_64-linux"},
     NULL,
     NULL},
    {"ROCm of the same version",
     "rocm:gfx90a@7.10," X86,
     KN_DEVICE_ROCM,
     0,
     0,
     NULL,
     {"tvm-ffi01-rocm710-x86_64-linux", "tvm-ffi01-rocm63-x86_64-linux"},
     {"tvm-ffi01-rocm710-x86_64-linux"},
     "version",
     "needs rocm 6.3, this machine has 7.10"},
    {"metal is mps",
     "mps," X86,
     KN_DEVICE_MPS,
     0,
     0,
     NULL,
     {"tvm-ffi01-metal-x86_64-linux"},
     {"tvm-ffi01-metal-x86_64-linux"},
     NULL,
     NULL},
    {"XPU's long versions",
     "xpu," X86,
     KN_DEVICE_XPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-xpu20251-x86_64-linux", "tvm-ffi01-xpu202510-x86_64-linux"},
     {"tvm-ffi01-xpu202510-x86_64-linux", "tvm-ffi01-xpu20251-x86_64-linux"},
     NULL,
     NULL},
    {"cann is npu",
     "npu," X86,
     KN_DEVICE_NPU,
     0,
     0,
     NULL,
     {"tvm-ffi01-cann81-x86_64-linux"},
     {"tvm-ffi01-cann81-x86_64-linux"},
     NULL,
     NULL},
    // with PyTorch
    {"PyTorch's order",
     X86,
     CPU,
     2,
     10,
     "cxx11",
     {"torch-universal", "tvm-ffi01-cpu-x86_64-linux", "torch210-cxx11-cpu-x86_64-linux",
      "torch-stable-abi29-cpu-x86_64-linux"},
     {"tvm-ffi01-cpu-x86_64-linux", "torch-stable-abi29-cpu-x86_64-linux",
      "torch210-cxx11-cpu-x86_64-linux", "torch-universal"},
     NULL,
     NULL},
    {"its device before every device",
     X86,
     CPU,
     2,
     10,
     NULL,
     {"torch-universal", "torch-cpu"},
     {"torch-cpu", "torch-universal"},
     NULL,
     NULL},
    {"untagged before tagged",
     X86,
     CPU,
     2,
     8,
     "cxx11",
     {"torch28-cxx11-cpu-x86_64-linux", "torch28-cpu-x86_64-linux"},
     {"torch28-cpu-x86_64-linux", "torch28-cxx11-cpu-x86_64-linux"},
     NULL,
     NULL},
    {"another PyTorch",
     X86,
     CPU,
     2,
     9,
     NULL,
     {"torch28-cpu-x86_64-linux"},
     {NULL},
     "torch",
     "is for PyTorch 2.8, this is 2.9"},
    {"another ABI",
     X86,
     CPU,
     2,
     8,
     "cxx11",
     {"torch28-cxx98-cpu-x86_64-linux"},
     {NULL},
     "abi",
     "is for the C++ ABI cxx98"},
    {"newer stable ABI",
     X86,
     CPU,
     2,
     8,
     NULL,
     {"torch-stable-abi29-cpu-x86_64-linux"},
     {NULL},
     "torch",
     "needs PyTorch 2.9"},
    {"noarch of another device",
     X86,
     CPU,
     2,
     8,
     NULL,
     {"torch-cuda"},
     {NULL},
     "backend",
     "is for cuda"},
};

// No variant of any grammar.
static const char *const no_names[] = {
    "",
    "-",
    "src",
    "__pycache__",
    "torch",
    "torch-",
    "torch-gpu",
    "tvm-ffi",
    "tvm-ffi01",
    "tvm-ffi01-cpu",
    "tvm-ffi01-cpu-x86_64",
    "tvm-ffi01-cpu-x86_64-",
    "tvm-ffi01-cpu--linux",
    "tvm-ffi01-cpu-x86_64-linux-more",
    "tvm-ffi01-cpu-x86_64-linux-",
    "tvm-ffi0-cpu-x86_64-linux",
    "tvm-ffi-cpu-x86_64-linux",
    "tvm-ffi0x-cpu-x86_64-linux",
    "tvm-ffi000-cpu-x86_64-linux",
    "tvm-ffi01-cuda-x86_64-linux",
    "tvm-ffi01-cu12-x86_64-linux",
    "tvm-ffi01-cu1200-x86_64-linux",
    "tvm-ffi01-cu-x86_64-linux",
    "tvm-ffi01-cpu8-x86_64-linux",
    "tvm-ffi01-cxx11-cpu-x86_64-linux",
    "tvm-ffi01-cu99999999999999999999-x86_64-linux",
    "Tvm-ffi01-cpu-x86_64-linux",
    "torch28-cxx11-x86_64-linux",
    "torch28-cxx14-cpu-x86_64-linux",
};

static void make_target(const row *r, kn_target *out)
{
    kn_machine *machine = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kn_machine_parse(r->device, &machine, &err) != KN_OK ||
        kn_target_init(machine, r->type, 0, out, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    out->tvm_ffi_major = 0;
    out->tvm_ffi_minor = 1;
    out->torch_major = r->torch_major;
    out->torch_minor = r->torch_minor;
    out->torch_abi = r->torch_abi;
}

static void test_choose(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const row *r = &rows[i];
        kn_target target;
        size_t order[KN_LEN(r->offered)], n_fit = 99, n_offered = 0, n_chosen = 0, first = 0;
        kn_trace *trace = kn_trace_new();
        print_message("  %s\n", r->name);
        make_target(r, &target);
        while (n_offered < KN_LEN(r->offered) && r->offered[n_offered])
            ++n_offered;
        while (n_chosen < KN_LEN(r->chosen) && r->chosen[n_chosen])
            ++n_chosen;
        assert_int_equal(
            kn_package_choose(r->offered, n_offered, &target, order, &n_fit, trace, NULL), KN_OK);
        assert_int_equal(n_fit, n_chosen);
        for (size_t n = 0; n < n_fit; ++n)
            assert_string_equal(r->offered[order[n]], r->chosen[n]);
        assert_int_equal(kn_trace_count(trace), n_offered); // one entry a name
        while (first < n_offered && kn_trace_get(trace, first).accepted)
            ++first;
        assert_int_equal(first < n_offered, r->rule != NULL);
        if (r->rule) {
            const kn_trace_entry entry = kn_trace_get(trace, first);
            assert_string_equal(entry.rule, r->rule);
            if (!strstr(entry.reason, r->reason))
                fail_msg("'%s' lacks '%s'", entry.reason, r->reason);
            assert_true(entry.admits[0] != '\0');
            assert_string_equal(entry.subject, r->offered[first]);
        }
        kn_trace_free(trace);
        kn_machine_unref(target.machine);
    }
}

static void test_no_names(void **state)
{
    (void)state;
    kn_target target;
    make_target(&rows[0], &target);
    for (size_t i = 0; i < KN_LEN(no_names); ++i) {
        size_t order[1], n_fit = 99;
        kn_trace *trace = kn_trace_new();
        print_message("  '%s'\n", no_names[i]);
        assert_int_equal(kn_package_choose(&no_names[i], 1, &target, order, &n_fit, trace, NULL),
                         KN_OK);
        assert_int_equal(n_fit, 0);
        assert_string_equal(kn_trace_get(trace, 0).rule, "name");
        kn_trace_free(trace);
    }
    kn_machine_unref(target.machine);
}

static void test_wrong_use(void **state)
{
    (void)state;
    kn_target target;
    size_t order[1], n_fit = 99;
    make_target(&rows[0], &target);
    assert_int_equal(kn_package_choose(NULL, 0, &target, order, &n_fit, NULL, NULL), KN_OK);
    assert_int_equal(n_fit, 0);
    assert_int_equal(kn_package_choose(NULL, 1, &target, order, &n_fit, NULL, NULL),
                     KN_ERR_INVALID);
    assert_int_equal(kn_package_choose(no_names, 1, NULL, order, &n_fit, NULL, NULL),
                     KN_ERR_INVALID);
    target.tvm_ffi_major = -1;
    kn_trace *trace = kn_trace_new();
    assert_int_equal(kn_package_choose(rows[0].offered, 1, &target, order, &n_fit, trace, NULL),
                     KN_OK);
    assert_int_equal(n_fit, 0);
    assert_non_null(strstr(kn_trace_text(trace), "needs tvm-ffi 0.1, there is none here"));
    kn_trace_free(trace);
    kn_machine_unref(target.machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
