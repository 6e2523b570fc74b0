// This machine, as a program asks for it.
#include "expect.h"

#include <sys/utsname.h>

#include "support/fail_alloc.h"
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

static void test_cpu(void **state)
{
    (void)state;
    kn_machine *machine;
    struct utsname name;
    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CPU), 1);
    assert_string_equal(kn_machine_reason(machine, KN_DEVICE_CPU), "");
    const kn_device_info info = expect_device(machine, KN_DEVICE_CPU, 0);
    assert_int_equal(info.type, KN_DEVICE_CPU);
    assert_int_equal(info.index, 0);
    assert_int_equal(info.backend_major, -1);
    assert_false(info.overridden);
    assert_int_equal(uname(&name), 0);
    assert_string_equal(kn_machine_cpu_arch(machine), name.machine);
    assert_string_equal(kn_machine_os(machine), "linux");
#if defined(__x86_64__)
    assert_in_range(info.capability, 1, 4);
    assert_int_equal(info.capability >= 3, __builtin_cpu_supports("avx2") &&
                                               __builtin_cpu_supports("bmi2") &&
                                               __builtin_cpu_supports("fma"));
    assert_int_equal(kn_machine_has_feature(machine, "avx512f"),
                     __builtin_cpu_supports("avx512f") != 0);
    assert_true(kn_machine_has_feature(machine, "sse2"));
#elif defined(__aarch64__)
    assert_in_range(info.capability, 80, 90);
    assert_true(kn_machine_has_feature(machine, "neon"));
#endif
    kn_machine_unref(machine);
}

static void test_not_detected(void **state)
{
    (void)state;
    static const kn_device_type types[] = {KN_DEVICE_MPS,     KN_DEVICE_XPU, KN_DEVICE_NPU,
                                           KN_DEVICE_NEURON,  KN_DEVICE_TPU, KN_DEVICE_NONE,
                                           (kn_device_type)77};
    kn_machine *machine;
    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    for (size_t i = 0; i < KN_LEN(types); ++i) {
        kn_device_info info = KN_DEVICE_INFO_INIT;
        kn_error err = KN_ERROR_INIT;
        assert_int_equal(kn_machine_device_count(machine, types[i]), 0);
        assert_string_equal(kn_machine_reason(machine, types[i]), "not detected here");
        assert_int_equal(kn_machine_device(machine, types[i], 0, &info, &err), KN_ERR_NOT_FOUND);
        expect_contains(kn_error_text(&err), "not detected here");
        kn_error_dispose(&err);
    }
    kn_machine_unref(machine);
}

static void test_glibc(void **state)
{
    (void)state;
    kn_machine *machine;
    int32_t major = 0, minor = 0;
    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    kn_machine_glibc(machine, &major, &minor);
#if defined(__GLIBC__)
    char text[32];
    snprintf(text, sizeof(text), "%d.%d", (int)major, (int)minor);
    assert_int_equal(strncmp(gnu_get_libc_version(), text, strlen(text)), 0);
#else
    assert_int_equal(major, -1);
    assert_int_equal(minor, -1);
#endif
    kn_machine_unref(machine);
}

// A struct of an older or newer program: the smaller size is copied, the rest left alone.
static void test_struct_size(void **state)
{
    (void)state;
    kn_machine *machine = expect_machine("cuda:9.0");
    kn_error err = KN_ERROR_INIT;
    kn_device_info info = {0};
    assert_int_equal(kn_machine_device(machine, KN_DEVICE_CUDA, 0, &info, &err), KN_ERR_INVALID);
    expect_contains(kn_error_text(&err), "KN_DEVICE_INFO_INIT");
    kn_error_dispose(&err);

    info.struct_size = offsetof(kn_device_info, backend_major);
    info.backend_major = 77;
    assert_int_equal(kn_machine_device(machine, KN_DEVICE_CUDA, 0, &info, NULL), KN_OK);
    assert_int_equal(info.capability, 90);
    assert_int_equal(info.backend_major, 77);
    assert_int_equal(info.struct_size, offsetof(kn_device_info, backend_major));

    struct {
        kn_device_info info;
        char newer[8];
    } larger = {.newer = "newer"};
    larger.info.struct_size = sizeof(larger);
    assert_int_equal(kn_machine_device(machine, KN_DEVICE_CUDA, 0, &larger.info, NULL), KN_OK);
    assert_int_equal(larger.info.struct_size, sizeof(larger));
    assert_string_equal(larger.info.arch, "sm_90");
    assert_string_equal(larger.newer, "newer");
    kn_machine_unref(machine);
}

static void test_references(void **state)
{
    (void)state;
    kn_machine *machine = expect_machine("cuda:9.0");
    assert_ptr_equal(kn_machine_ref(machine), machine);
    kn_machine_unref(machine);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CUDA), 1); // one is left
    kn_machine_unref(machine);
    assert_null(kn_machine_ref(NULL));
    kn_machine_unref(NULL);
}

static kn_status parse(void *text, kn_error *err)
{
    kn_machine *machine;
    char *again = NULL;
    kn_status st = kn_machine_parse(text, &machine, err);
    if (st == KN_OK)
        st = kn_machine_text(machine, &again, err);
    kn_string_free(again);
    kn_machine_unref(machine);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    char text[] = "cuda:9.0@12.8,rocm:gfx90a:xnack+,cpu:x86-64-v3,tpu";
    assert_true(fail_alloc_each(FAIL_OURS, parse, text) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu),        cmocka_unit_test(test_not_detected),
        cmocka_unit_test(test_glibc),      cmocka_unit_test(test_struct_size),
        cmocka_unit_test(test_references), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
