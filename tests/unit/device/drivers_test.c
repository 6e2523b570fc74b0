// CUDA and ROCm, with stand-ins for their libraries: several devices, errors at each call, absurd answers, missing functions, no
// driver. The program runs itself again with the stand-ins on the library path.
#include "expect.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "device/devices.h"
#include "support/fail_alloc.h"

#define STANDIN(directory, file) KN_TEST_BUILD_DIR "/standin/" directory "/" file

static bool is_loaded(const char *library)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (handle)
        dlclose(handle);
    return handle != NULL;
}

// First of all tests: nothing is opened before a device is asked for, and never where the devices were named.
static void test_lazy(void **state)
{
    (void)state;
    kn_machine *machine = expect_machine("cuda:9.0,rocm:gfx90a");
    char *text;
    assert_int_equal(expect_device(machine, KN_DEVICE_CUDA, 0).capability, 90);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_ROCM), 1);
    assert_int_equal(kn_machine_text(machine, &text, NULL), KN_OK);
    kn_string_free(text);
    kn_machine_unref(machine);

    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CPU), 1);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_MPS), 0);
    assert_string_equal(kn_machine_reason(machine, KN_DEVICE_MPS), "not detected here");
    assert_false(is_loaded("libcuda.so.1"));
    assert_false(is_loaded("libamdhip64.so.6"));
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CUDA), 1);
    assert_true(is_loaded("libcuda.so.1"));
    assert_false(is_loaded("libamdhip64.so.6"));
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_ROCM), 1);
    assert_true(is_loaded("libamdhip64.so.6"));
    kn_machine_unref(machine);
}

static void *ask(void *machine)
{
    return (void *)kn_machine_device_count(machine, KN_DEVICE_CUDA);
}

// Threads that ask at once wait for one answer.
static void test_threads(void **state)
{
    (void)state;
    enum { N = 8 };
    pthread_t threads[N];
    kn_machine *machine;
    void *library = dlopen("libcuda.so.1", RTLD_LAZY);
    int *inits = dlsym(library, "standin_cuda_inits");
    assert_non_null(inits);
    assert_int_equal(setenv("STANDIN_CUDA", "count=3", 1), 0);
    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    *inits = 0;
    for (size_t i = 0; i < N; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, machine), 0);
    for (size_t i = 0; i < N; ++i) {
        void *count;
        assert_int_equal(pthread_join(threads[i], &count), 0);
        assert_int_equal((uintptr_t)count, 3);
    }
    assert_int_equal(*inits, 1);
    assert_int_equal(setenv("STANDIN_CUDA", "count=0", 1), 0); // what was answered stays
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CUDA), 3);
    kn_machine_unref(machine);
    dlclose(library);
}

static void test_cuda_devices(void **state)
{
    (void)state;
    kn_machine *machine;
    kn_error err = KN_ERROR_INIT;
    kn_device_info info = KN_DEVICE_INFO_INIT;
    char *text;
    assert_int_equal(setenv("STANDIN_CUDA", "count=3 major=8 minor=6 version=13010", 1), 0);
    assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
    assert_int_equal(kn_machine_device_count(machine, KN_DEVICE_CUDA), 3);
    assert_string_equal(kn_machine_reason(machine, KN_DEVICE_CUDA), "");
    info = expect_device(machine, KN_DEVICE_CUDA, 0);
    assert_int_equal(info.capability, 86);
    assert_int_equal(info.backend_major, 13);
    assert_int_equal(info.backend_minor, 1);
    assert_string_equal(info.arch, "sm_86");
    assert_string_equal(info.name, "Stand-in A");
    assert_false(info.overridden);
    info = expect_device(machine, KN_DEVICE_CUDA, 2);
    assert_int_equal(info.capability, 87);
    assert_int_equal(info.index, 2);
    assert_string_equal(info.name, "Stand-in C");
    assert_int_equal(kn_machine_device(machine, KN_DEVICE_CUDA, 3, &info, &err), KN_ERR_NOT_FOUND);
    assert_string_equal(kn_error_text(&err), "device cuda:3: this machine has 3, from 0");
    kn_error_dispose(&err);
    assert_int_equal(kn_machine_device(machine, KN_DEVICE_CUDA, -1, &info, NULL), KN_ERR_NOT_FOUND);
    assert_int_equal(kn_machine_text(machine, &text, NULL), KN_OK);
    expect_contains(text, ",cuda:8.6@13.1,cuda:8.7@13.1,cuda:8.7@13.1");
    kn_string_free(text);
    kn_machine_unref(machine);
}

static const char *const cuda_library[] = {STANDIN("here", "libcuda.so.1"), NULL};

static const struct {
    const char *told;    // STANDIN_CUDA
    const char *reason;  // why there is no device; NULL: there is one
    const char *refused; // what the second device answers; NULL: it is usable
} cuda_rows[] = {
    {"count=2", NULL, NULL},
    {"init=100", "no CUDA device: cuInit: CUDA_ERROR_NO_DEVICE (100)", NULL},
    {"init=999", "no CUDA device: cuInit: error (999)", NULL},
    {"init=-2147483648", "cuInit: error (-2147483648)", NULL},
    {"version_error=1", "no CUDA device: cuDriverGetVersion: error (1)", NULL},
    {"version=0", "the driver gives the version 0", NULL},
    {"version=-12080", "the driver gives the version -12080", NULL},
    {"version=2147483647", "the driver gives the version 2147483647", NULL},
    {"count_error=3", "no CUDA device: cuDeviceGetCount: error (3)", NULL},
    {"count=0", "no CUDA device: the driver finds none", NULL},
    {"count=-1", "no CUDA device: the driver counts -1", NULL},
    {"count=2147483647", "no CUDA device: the driver counts 2147483647", NULL},
    {"count=1025", "no CUDA device: the driver counts 1025", NULL},
    {"count=1024", NULL, NULL},
    {"count=2 at=1 get=101", NULL, "device cuda:1: cuDeviceGet: error (101)"},
    {"count=2 at=1 name=1", NULL, NULL}, // a name is no more than a name
    {"count=2 evil_name=1", NULL, NULL},
    {"count=2 at=1 major_error=1", NULL, "device cuda:1: cuDeviceGetAttribute: error (1)"},
    {"count=2 at=1 minor_error=1", NULL, "device cuda:1: cuDeviceGetAttribute: error (1)"},
    {"count=2 minor=9", NULL, "device cuda:1: the driver gives the compute capability 9.10"},
    {"count=2 major=0", NULL, "device cuda:1: the driver gives the compute capability 0.1"},
    {"count=2 major=-9", NULL, "the compute capability -9.1"},
    {"count=2 major=2147483647", NULL, "the compute capability 2147483647.1"},
    {"count=2 minor=-5", NULL, "the compute capability 9.-4"},
};

static void test_cuda_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(cuda_rows); ++i) {
        kni_devices devices;
        kn_machine *machine;
        kn_device_info info = KN_DEVICE_INFO_INIT;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", cuda_rows[i].told);
        assert_int_equal(setenv("STANDIN_CUDA", cuda_rows[i].told, 1), 0);
        assert_true(kni_cuda_probe(cuda_library, &devices));
        if (cuda_rows[i].reason) {
            assert_int_equal(devices.count, 0);
            expect_contains(devices.reason, cuda_rows[i].reason);
        } else {
            assert_true(devices.count >= 2);
            assert_string_equal(devices.reason, "");
        }
        kni_devices_dispose(&devices);

        assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
        const kn_status st = kn_machine_device(machine, KN_DEVICE_CUDA, 1, &info, &err);
        const char *expected = cuda_rows[i].reason ? cuda_rows[i].reason : cuda_rows[i].refused;
        assert_int_equal(st, expected ? KN_ERR_NOT_FOUND : KN_OK);
        if (expected)
            expect_contains(kn_error_text(&err), expected);
        else
            assert_int_equal(info.capability, 91);
        assert_null(strchr(info.name, 0x1B));
        kn_error_dispose(&err);
        char *text; // of the devices that are usable
        assert_int_equal(kn_machine_text(machine, &text, NULL), KN_OK);
        kn_machine_unref(machine);
        machine = expect_machine(text);
        kn_string_free(text);
        kn_machine_unref(machine);
    }
}

static const char *const hip_new[] = {STANDIN("here", "libamdhip64.so.6"), NULL};
static const char *const hip_old[] = {STANDIN("old", "libamdhip64.so.5"), NULL};

static const struct {
    const char *told, *arch; // STANDIN_HIP, STANDIN_HIP_ARCH
    const char *reason;      // why there is no device; NULL: there is one
    const char *refused;     // what the second device answers; NULL: it is usable
    int64_t capability;
} hip_rows[] = {
    {"count=2", "gfx90a:sramecc+:xnack-", NULL, NULL, 90},
    {"count=2", "gfx908", NULL, NULL, 90},
    {"count=2", "gfx942:sramecc+:xnack-", NULL, NULL, 94},
    {"count=2", "gfx1030", NULL, NULL, 103},
    {"count=2", "gfx1100", NULL, NULL, 110},
    {"count=2", "gfx1151", NULL, NULL, 115},
    {"count_error=100", "gfx90a", "no ROCm device: hipGetDeviceCount: hipErrorNoDevice (100)", NULL,
     0},
    {"count_error=3", "gfx90a", "no ROCm device: hipGetDeviceCount: error (3)", NULL, 0},
    {"count=0", "gfx90a", "no ROCm device: the HIP runtime finds none", NULL, 0},
    {"count=-7", "gfx90a", "the HIP runtime counts -7", NULL, 0},
    {"count=2147483647", "gfx90a", "the HIP runtime counts 2147483647", NULL, 0},
    {"version_error=1", "gfx90a", "no ROCm device: hipRuntimeGetVersion: error (1)", NULL, 0},
    {"version=0", "gfx90a", "the HIP runtime gives the version 0", NULL, 0},
    {"version=-1", "gfx90a", "the HIP runtime gives the version -1", NULL, 0},
    {"count=2 at=1 properties=101", "gfx90a", NULL, "hipGetDeviceProperties: error (101)", 0},
    {"count=2 evil_arch=1", "gfx90a", NULL, "HIP gives \"ggg", 0},
    {"count=2", "", NULL, "HIP gives \"\" where the name of a GPU such as gfx90a belongs", 0},
    {"count=2", "sm_90", NULL, "HIP gives \"sm_90\"", 0},
    {"count=2", "gfx", NULL, "HIP gives \"gfx\"", 0},
    {"count=2", "gfx90a:xnack\x1B[31m+", NULL, "HIP gives \"gfx90a:xnack\xEF\xBF\xBD[31m+\"", 0},
    {"count=2", "gfx90a:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa+", NULL,
     "HIP gives \"gfx90a:aaa", 0},
};

static void test_hip_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * KN_LEN(hip_rows); ++i) {
        const size_t row = i / 2;
        const bool old = i % 2;
        kni_devices devices;
        print_message("  %s %s%s\n", hip_rows[row].told, hip_rows[row].arch, old ? ", ROCm 5" : "");
        assert_int_equal(setenv("STANDIN_HIP", hip_rows[row].told, 1), 0);
        assert_int_equal(setenv("STANDIN_HIP_ARCH", hip_rows[row].arch, 1), 0);
        assert_true(kni_rocm_probe(old ? hip_old : hip_new, &devices));
        if (hip_rows[row].reason) {
            assert_int_equal(devices.count, 0);
            expect_contains(devices.reason, hip_rows[row].reason);
        } else {
            assert_int_equal(devices.count, 2);
            const kni_device *second = &devices.items[1];
            if (hip_rows[row].refused) {
                expect_contains(second->refused, hip_rows[row].refused);
            } else {
                assert_string_equal(second->refused, "");
                assert_int_equal(second->info.capability, hip_rows[row].capability);
                assert_string_equal(second->info.arch, hip_rows[row].arch);
                assert_string_equal(second->info.name, "Stand-in B");
                assert_int_equal(second->info.backend_major, old ? 5 : 6);
                assert_int_equal(second->info.backend_minor, 2);
            }
        }
        kni_devices_dispose(&devices);
    }
}

static void test_no_driver(void **state)
{
    (void)state;
    static const struct {
        bool (*probe)(const char *const *libraries, kni_devices *out);
        const char *libraries[3];
        const char *reason;
    } rows[] = {
        {kni_cuda_probe,
         {"libcuda-that-nobody-has.so.1"},
         "no CUDA driver: libcuda-that-nobody-has.so.1: cannot open shared object file"},
        {kni_cuda_probe, {STANDIN("broken", "libcuda.so.1")}, "no CUDA driver: " KN_TEST_BUILD_DIR},
        {kni_cuda_probe, {STANDIN("part", "libcuda.so.1")}, "has no function cuDeviceGetCount"},
        {kni_rocm_probe,
         {"libamdhip64-that-nobody-has.so.7", "libamdhip64-that-nobody-has.so.6"},
         "no ROCm driver: libamdhip64-that-nobody-has.so.7: cannot open"},
        {kni_rocm_probe,
         {STANDIN("part", "libamdhip64.so.6")},
         "no ROCm driver: the HIP runtime has no function hipGetDeviceProperties"},
        {kni_rocm_probe, {STANDIN("here", "libcuda.so.1")}, "has no function hipGetDeviceCount"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_devices devices;
        print_message("  %s\n", rows[i].reason);
        assert_true(rows[i].probe(rows[i].libraries, &devices));
        assert_int_equal(devices.count, 0);
        expect_contains(devices.reason, rows[i].reason);
        assert_null(strchr(devices.reason, '\n'));
        kni_devices_dispose(&devices);
    }
}

static kn_status ask_all(void *user, kn_error *err)
{
    (void)user;
    kn_machine *machine = NULL;
    char *text = NULL;
    kn_device_info info = KN_DEVICE_INFO_INIT;
    kn_status st = kn_machine_probe(&machine, err);
    if (st == KN_OK)
        st = kn_machine_device(machine, KN_DEVICE_CUDA, 0, &info, err);
    if (st == KN_OK)
        st = kn_machine_device(machine, KN_DEVICE_ROCM, 1, &info, err);
    if (st == KN_OK)
        st = kn_machine_text(machine, &text, err);
    kn_string_free(text);
    kn_machine_unref(machine);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    setenv("STANDIN_CUDA", "count=2", 1);
    setenv("STANDIN_HIP", "count=20", 1);
    setenv("STANDIN_HIP_ARCH", "gfx90a", 1);
    assert_true(fail_alloc_each(FAIL_OURS, ask_all, NULL) > 3);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *path = getenv("LD_LIBRARY_PATH");
    if (!path || strncmp(path, STANDIN("here", ""), strlen(STANDIN("here", ""))) != 0) {
        if (setenv("LD_LIBRARY_PATH", STANDIN("here", ""), 1) == 0)
            execv("/proc/self/exe", argv);
        perror("cannot run again with the stand-ins");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lazy),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_cuda_devices), cmocka_unit_test(test_cuda_answers),
        cmocka_unit_test(test_hip_answers),  cmocka_unit_test(test_no_driver),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
