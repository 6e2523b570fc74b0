// Names of device types, and those of DLPack.
#include "expect.h"

#include <dlpack/dlpack.h>

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "cpu", "cuda",   "rocm", "mps",
                                        "xpu",  "npu", "neuron", "tpu"};
    for (int i = 0; i < (int)KN_LEN(names); ++i) {
        kn_device_type type = KN_DEVICE_TPU;
        assert_string_equal(kn_device_type_name((kn_device_type)i), names[i]);
        assert_int_equal(kn_device_type_parse(names[i], &type, NULL), i ? KN_OK : KN_ERR_INVALID);
        assert_int_equal(type, i);
    }
    assert_string_equal(kn_device_type_name((kn_device_type)99), "none");
    assert_string_equal(kn_device_type_name((kn_device_type)-1), "none");
}

static void test_parse(void **state)
{
    (void)state;
    kn_device_type type;
    assert_int_equal(kn_device_type_parse("metal", &type, NULL), KN_OK);
    assert_int_equal(type, KN_DEVICE_MPS);
    const char *const refused[] = {"", "cuda ", "Cuda", "cuda:0", "gpu", "none", NULL};
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        kn_error err = KN_ERROR_INIT;
        type = KN_DEVICE_TPU;
        assert_int_equal(kn_device_type_parse(refused[i], &type, &err), KN_ERR_INVALID);
        assert_int_equal(type, KN_DEVICE_NONE);
        for (int t = KN_DEVICE_CPU; t <= KN_DEVICE_TPU; ++t) // it lists what is accepted
            expect_contains(kn_error_text(&err), kn_device_type_name((kn_device_type)t));
        kn_error_dispose(&err);
    }
}

static void test_of_dl(void **state)
{
    (void)state;
    static const struct {
        int32_t dl;
        kn_device_type type;
    } rows[] = {
        {kDLCPU, KN_DEVICE_CPU},          {kDLCUDA, KN_DEVICE_CUDA},   {kDLCUDAHost, KN_DEVICE_CPU},
        {kDLMetal, KN_DEVICE_MPS},        {kDLROCM, KN_DEVICE_ROCM},   {kDLROCMHost, KN_DEVICE_CPU},
        {kDLCUDAManaged, KN_DEVICE_CUDA}, {kDLOneAPI, KN_DEVICE_XPU},  {kDLTrn, KN_DEVICE_NEURON},
        {kDLOpenCL, KN_DEVICE_NONE},      {kDLVulkan, KN_DEVICE_NONE}, {kDLExtDev, KN_DEVICE_NONE},
        {kDLWebGPU, KN_DEVICE_NONE},      {0, KN_DEVICE_NONE},         {-1, KN_DEVICE_NONE},
        {1 << 30, KN_DEVICE_NONE},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        assert_int_equal(kn_device_type_of_dl(rows[i].dl), rows[i].type);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_of_dl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
