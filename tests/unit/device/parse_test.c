// Machines from a text: what is accepted, what they are then, what the errors say.
#include "expect.h"

#include "device/devices.h"

static const struct {
    const char *text;
    kn_device_type type; // of the device looked at
    int32_t index;
    int64_t capability;
    int32_t backend_major, backend_minor;
    const char *arch;
    const char *again; // what kn_machine_text writes; NULL: not compared, the CPU is this machine's
} accepted[] = {
    {"cuda:9.0", KN_DEVICE_CUDA, 0, 90, -1, -1, "sm_90", NULL},
    {"cuda:9.0@12.8", KN_DEVICE_CUDA, 0, 90, 12, 8, "sm_90", NULL},
    {"cuda:12.1", KN_DEVICE_CUDA, 0, 121, -1, -1, "sm_121", NULL},
    {"cuda", KN_DEVICE_CUDA, 0, -1, -1, -1, "", NULL},
    {"cuda@13.0,cpu:x86-64-v2", KN_DEVICE_CUDA, 0, -1, 13, 0, "", "cpu:x86-64-v2,cuda@13.0"},
    {"cuda:8.0,cuda:9.0", KN_DEVICE_CUDA, 1, 90, -1, -1, "sm_90", NULL},
    {"rocm:gfx90a", KN_DEVICE_ROCM, 0, 90, -1, -1, "gfx90a", NULL},
    {"rocm:gfx90a:sramecc+:xnack-@6.2,cpu:armv8.2", KN_DEVICE_ROCM, 0, 90, 6, 2,
     "gfx90a:sramecc+:xnack-", "cpu:armv8.2,rocm:gfx90a:sramecc+:xnack-@6.2"},
    {"rocm:gfx908", KN_DEVICE_ROCM, 0, 90, -1, -1, "gfx908", NULL},
    {"rocm:gfx942", KN_DEVICE_ROCM, 0, 94, -1, -1, "gfx942", NULL},
    {"rocm:gfx1100", KN_DEVICE_ROCM, 0, 110, -1, -1, "gfx1100", NULL},
    {"rocm:gfx1151", KN_DEVICE_ROCM, 0, 115, -1, -1, "gfx1151", NULL},
    {"cpu:x86-64-v1", KN_DEVICE_CPU, 0, 1, -1, -1, "x86-64-v1", "cpu:x86-64-v1"},
    {"cpu:x86-64-v3", KN_DEVICE_CPU, 0, 3, -1, -1, "x86-64-v3", "cpu:x86-64-v3"},
    {"cpu:armv8.0", KN_DEVICE_CPU, 0, 80, -1, -1, "armv8.0", "cpu:armv8.0"},
    {"cpu:armv8.2", KN_DEVICE_CPU, 0, 82, -1, -1, "armv8.2", "cpu:armv8.2"},
    {"cpu:armv9.0", KN_DEVICE_CPU, 0, 90, -1, -1, "armv9.0", "cpu:armv9.0"},
    {"metal,cpu:x86-64-v4", KN_DEVICE_MPS, 0, -1, -1, -1, "", "cpu:x86-64-v4,mps"},
    {" mps , xpu ", KN_DEVICE_XPU, 0, -1, -1, -1, "", NULL},
    {"npu,neuron,tpu,cpu:x86-64-v1", KN_DEVICE_TPU, 0, -1, -1, -1, "",
     "cpu:x86-64-v1,npu,neuron,tpu"},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(accepted); ++i) {
        char *text = NULL;
        print_message("  %s\n", accepted[i].text);
        kn_machine *machine = expect_machine(accepted[i].text);
        const kn_device_info info = expect_device(machine, accepted[i].type, accepted[i].index);
        assert_int_equal(info.struct_size, sizeof(info));
        assert_int_equal(info.type, accepted[i].type);
        assert_int_equal(info.index, accepted[i].index);
        assert_int_equal(info.capability, accepted[i].capability);
        assert_int_equal(info.backend_major, accepted[i].backend_major);
        assert_int_equal(info.backend_minor, accepted[i].backend_minor);
        assert_string_equal(info.arch, accepted[i].arch);
        assert_true(info.overridden);
        assert_int_equal(kn_machine_device_count(machine, accepted[i].type), accepted[i].index + 1);
        assert_string_equal(kn_machine_reason(machine, accepted[i].type), "");

        assert_int_equal(kn_machine_text(machine, &text, NULL), KN_OK);
        if (accepted[i].again)
            assert_string_equal(text, accepted[i].again);
        kn_machine_unref(machine);
        machine = expect_machine(text); // what it writes, it reads
        kn_machine_unref(machine);
        kn_string_free(text);
    }
}

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "no device is named"},
    {"   ", "no device is named"},
    {"cuda:9.0,", "device \"\": a device is TYPE[:CAPABILITY][@BACKEND]"},
    {",", "device \"\""},
    {":9.0", "a device is TYPE"},
    {"@12.8", "a device is TYPE"},
    {"gpu", "device \"gpu\": unknown device type \"gpu\": accepted are cpu, cuda, rocm, mps"},
    {"CUDA", "unknown device type \"CUDA\""},
    {"none", "unknown device type \"none\""},
    {"cuda:90", "device \"cuda:90\": a compute capability is MAJOR.MINOR, such as 9.0"},
    {"cuda:", "a compute capability is"},
    {"cuda:9.", "a compute capability is"},
    {"cuda:.0", "a compute capability is"},
    {"cuda:0.0", "a compute capability is"},
    {"cuda:9.10", "a compute capability is"},
    {"cuda:9.0.0", "a compute capability is"},
    {"cuda:-9.0", "a compute capability is"},
    {"cuda:999999999999999999999.0", "a compute capability is"},
    {"cuda:9.0@", "a backend version is MAJOR.MINOR, such as 12.8"},
    {"cuda:9.0@12", "a backend version is"},
    {"cuda:9.0@12.8.1", "a backend version is"},
    {"rocm:90a", "a GPU is named as in gfx90a"},
    {"rocm:gfx", "a GPU is named"},
    {"rocm:gfx90", "a GPU is named"},
    {"rocm:gfx90g", "a GPU is named"},
    {"rocm:gfxa0a", "a GPU is named"},
    {"rocm:gfx12345", "a GPU is named"},
    {"rocm:gfx90a:", "a GPU is named"},
    {"rocm:gfx90a:xnack", "a GPU is named"},
    {"rocm:gfx90a:+", "a GPU is named"},
    {"rocm:gfx90a:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+", "a GPU is named"},
    {"cpu:x86-64-v5", "accepted levels are x86-64-v1 to x86-64-v4, armv8.0 to armv8.6 and armv9.0"},
    {"cpu:", "accepted levels"},
    {"cpu:armv8", "accepted levels"},
    {"cpu@1.0", "cpu takes no backend version"},
    {"mps:1", "mps takes no capability"},
    {"cpu,cpu:x86-64-v2", "cpu is named twice"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        kn_machine *machine = (kn_machine *)&machine;
        kn_error err = KN_ERROR_INIT;
        print_message("  \"%s\"\n", refused[i].text);
        assert_int_equal(kn_machine_parse(refused[i].text, &machine, &err), KN_ERR_INVALID);
        assert_null(machine);
        expect_contains(kn_error_text(&err), refused[i].message);
        kn_error_dispose(&err);
        assert_int_equal(kn_machine_parse(refused[i].text, &machine, NULL), KN_ERR_INVALID);
    }
    assert_int_equal(kn_machine_parse(NULL, &(kn_machine *){NULL}, NULL), KN_ERR_INVALID);
}

static void test_too_many(void **state)
{
    (void)state;
    enum { N = KNI_DEVICES_MAX + 1 };
    char text[N * 4 + 1];
    kn_machine *machine;
    kn_error err = KN_ERROR_INIT;
    for (size_t i = 0; i < N; ++i)
        memcpy(text + 4 * i, "tpu,", 4);
    text[N * 4 - 1] = '\0';
    assert_int_equal(kn_machine_parse(text, &machine, &err), KN_ERR_INVALID);
    expect_contains(kn_error_text(&err), "more than 1024 devices of one type");
    kn_error_dispose(&err);
    text[(N - 1) * 4 - 1] = '\0';
    machine = expect_machine(text);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_TPU), KNI_DEVICES_MAX);
    kn_machine_unref(machine);
}

// A machine has the devices named and no others; the CPU is this machine's unless its level is named.
static void test_exactly_these(void **state)
{
    (void)state;
    kn_machine *machine, *real;
    kn_device_info info = KN_DEVICE_INFO_INIT;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kn_machine_probe(&real, NULL), KN_OK);
    const char *const texts[] = {"cuda:9.0", "cuda:9.0,cpu"};
    for (size_t i = 0; i < KN_LEN(texts); ++i) {
        machine = expect_machine(texts[i]);
        assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_ROCM), 0);
        expect_contains(kn_machine_reason(machine, KN_DEVICE_ROCM), "not among the devices named");
        assert_int_equal(kn_machine_device(machine, KN_DEVICE_ROCM, 0, &info, &err),
                         KN_ERR_NOT_FOUND);
        expect_contains(kn_error_text(&err),
                        "device rocm:0: not among the devices named: cuda:9.0");
        kn_error_dispose(&err);
        info = expect_device(machine, KN_DEVICE_CPU, 0);
        assert_false(info.overridden);
        assert_string_equal(kn_machine_cpu_arch(machine), kn_machine_cpu_arch(real));
        assert_int_equal(kn_machine_feature_count(machine), kn_machine_feature_count(real));
        kn_machine_unref(machine);
    }
    kn_machine_unref(real);
}

static void test_levels_imply_features(void **state)
{
    (void)state;
    static const struct {
        const char *text, *arch;
        const char *has[4], *lacks[4];
    } rows[] = {
        {"cpu:x86-64-v1", "x86_64", {"sse2", "cmov"}, {"sse3", "avx", "neon"}},
        {"cpu:x86-64-v2", "x86_64", {"sse2", "sse4_2", "sse4.2", "popcnt"}, {"avx"}},
        {"cpu:x86-64-v3", "x86_64", {"avx2", "fma", "lzcnt", "sse3"}, {"avx512f", "aes"}},
        {"cpu:x86-64-v4", "x86_64", {"avx512vl", "avx512f", "avx2"}, {"avx512_bf16", "amx_tile"}},
        {"cpu:armv8.0", "aarch64", {"neon", "asimd"}, {"atomics", "sve", "avx2"}},
        {"cpu:armv8.2", "aarch64", {"lse", "asimdrdm"}, {"fp16", "dotprod", "sve"}},
        {"cpu:armv8.4", "aarch64", {"dotprod", "fcma"}, {"bf16", "sve"}},
        {"cpu:armv8.6", "aarch64", {"bf16", "i8mm", "dotprod"}, {"sve"}},
        {"cpu:armv9.0", "aarch64", {"bf16", "sve", "sve2"}, {"sme"}},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].text);
        kn_machine *machine = expect_machine(rows[i].text);
        assert_string_equal(kn_machine_cpu_arch(machine), rows[i].arch);
        for (size_t j = 0; j < 4 && rows[i].has[j]; ++j)
            assert_true(kn_machine_has_feature(machine, rows[i].has[j]));
        for (size_t j = 0; j < 4 && rows[i].lacks[j]; ++j)
            assert_false(kn_machine_has_feature(machine, rows[i].lacks[j]));
        assert_false(kn_machine_has_feature(machine, ""));
        assert_false(kn_machine_has_feature(machine, "no_such_feature"));
        assert_false(kn_machine_has_feature(machine, NULL));
        for (size_t j = 0; j < kn_machine_feature_count(machine); ++j)
            assert_true(kn_machine_has_feature(machine, kn_machine_feature_name(machine, j)));
        assert_string_equal(kn_machine_feature_name(machine, kn_machine_feature_count(machine)),
                            "");
        kn_machine_unref(machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_exactly_these),
        cmocka_unit_test(test_levels_imply_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
