#include "package/cuda.h"

#include "support/fail_alloc.h"
#include "support/object.h"

// Reads a library, or (by the name's end) bytes that are fat binaries or a cubin.
static kn_status read_bytes(kni_bytes file, const char *name, kni_cuda_code *code, kn_error *err)
{
    const size_t size = strlen(name);
    if (size < 3 || strcmp(name + size - 3, ".so") != 0)
        return kni_cuda_read(file, name, code, err);
    kni_elf elf;
    kn_status st = kni_elf_read(file.data, file.size, name, &elf, err);
    if (st == KN_OK)
        st = kni_cuda_read_elf(&elf, name, code, err);
    kni_elf_dispose(&elf);
    return st;
}

static kni_cuda_code read_file(const char *name)
{
    const kni_bytes file = object_read(name);
    kni_cuda_code code = {.n_targets = 0};
    kn_error err = KN_ERROR_INIT;
    if (read_bytes(file, name, &code, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    object_free(file);
    return code;
}

// What is in real files: what nvcc was asked for, and what cuobjdump lists.
static const struct {
    const char *file, *targets;
    uint32_t n_containers;
    size_t n_targets, n_compressed;
} files[] = {
    {"plain.so", "none", 0, 0, 0},
    {"cuda_sm80.so", "sm_80", 1, 1, 0},
    {"cuda_sm90a.so", "sm_90a", 1, 1, 0},
    {"cuda_ptx.so", "compute_90 (PTX 9.0)", 1, 1, 1},
    {"cuda_many_plain.so",
     "compute_80 (PTX 9.0), sm_80, compute_90a (PTX 9.0), sm_90a, compute_100f (PTX 9.0), sm_100f, "
     "sm_120",
     1, 7, 0},
    {"cuda_many_zstd.so",
     "compute_80 (PTX 9.0), sm_80, compute_90a (PTX 9.0), sm_90a, compute_100f (PTX 9.0), sm_100f, "
     "sm_120",
     1, 7, 7},
    {"cuda_lz4.so", "compute_80 (PTX 9.0), sm_80", 1, 2, 1},
    {"cuda_rdc.so", "sm_80, compute_90 (PTX 9.0)", 1, 2, 2},
    {"cuda_lto.so", "lto_90", 1, 1, 1},
    {"cuda_two_units.so", "sm_80, sm_90a", 2, 2, 2},
    {"cuda_no_sections.so", "sm_80, sm_90a", 2, 2, 2},
    {"cuda.fatbin", "sm_80, compute_90 (PTX 9.0), sm_90", 1, 3, 3},
    {"cuda_ptx84.fatbin", "compute_90 (PTX 8.4)", 1, 1, 1},
    {"cuda_sm100a.cubin", "sm_100a", 1, 1, 0},
    {"cuda_embedded_cubin.so", "sm_100a", 1, 1, 0},
    {"rocm_many.so", "none", 0, 0, 0},
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(files); ++i) {
        print_message("  %s\n", files[i].file);
        kni_cuda_code code = read_file(files[i].file);
        kni_buf text = KNI_BUF_ANY;
        size_t n_compressed = 0;
        kni_cuda_code_text(&code, &text);
        assert_string_equal(kni_buf_text(&text), files[i].targets);
        for (size_t j = 0; j < code.n_targets; ++j)
            n_compressed += code.targets[j].is_compressed;
        assert_int_equal(code.n_containers, files[i].n_containers);
        assert_int_equal(code.n_targets, files[i].n_targets);
        assert_int_equal(n_compressed, files[i].n_compressed);
        kni_buf_dispose(&text);
        kni_cuda_dispose(&code);
    }
}

// The rule for one target: it runs on exactly these of the devices that there are.
static void test_rule(void **state)
{
    (void)state;
    static const int devices[] = {70, 75, 80, 86, 89, 90, 100, 103, 110, 120, 121};
    static const struct {
        kni_cuda_target target;
        int runs_on[KN_LEN(devices)];
    } rows[] = {
        {{.kind = KNI_CUDA_CUBIN, .arch = 80}, {80, 86, 89}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 86}, {86, 89}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 90}, {90}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 90, .suffix = 'a'}, {90}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 100}, {100, 103}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 100, .suffix = 'a'}, {100}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 100, .suffix = 'f'}, {100, 103}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 103, .suffix = 'f'}, {103}},
        {{.kind = KNI_CUDA_CUBIN, .arch = 120, .suffix = 'f'}, {120, 121}},
        {{.kind = KNI_CUDA_PTX, .arch = 75}, {75, 80, 86, 89, 90, 100, 103, 110, 120, 121}},
        {{.kind = KNI_CUDA_PTX, .arch = 90}, {90, 100, 103, 110, 120, 121}},
        {{.kind = KNI_CUDA_PTX, .arch = 90, .suffix = 'a'}, {90}},
        {{.kind = KNI_CUDA_PTX, .arch = 100, .suffix = 'f'}, {100, 103}},
        {{.kind = KNI_CUDA_LTO, .arch = 80}, {0}},
        {{.kind = KNI_CUDA_OTHER, .arch = 80}, {0}},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_buf text = KNI_BUF_ANY;
        kni_cuda_target_text(&rows[i].target, &text);
        for (size_t j = 0; j < KN_LEN(devices); ++j) {
            bool expected = false;
            for (size_t k = 0; k < KN_LEN(devices); ++k)
                expected = expected || rows[i].runs_on[k] == devices[j];
            print_message("  %s on %d\n", kni_buf_text(&text), devices[j]);
            assert_int_equal(
                kni_cuda_target_runs(&rows[i].target, (kni_cuda_device){devices[j], 0}), expected);
        }
        kni_buf_dispose(&text);
    }
}

static void test_driver(void **state)
{
    (void)state;
    static const struct {
        unsigned major, minor;
        int driver;
    } rows[] = {{3, 2, 0},     {6, 3, 10000}, {7, 8, 11080}, {8, 4, 12040}, {8, 5, 12050},
                {8, 6, 12070}, {8, 8, 12090}, {9, 0, 13000}, {9, 3, 13030}, {10, 0, 14000}};
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        assert_int_equal(kni_cuda_driver_for_ptx(rows[i].major, rows[i].minor), rows[i].driver);
}

static const struct {
    const char *file;
    kni_cuda_device device;
    kni_code_fit fit;
    const char *reason; // part of it
} verdicts[] = {
    {"plain.so", {90, 0}, KNI_CODE_NONE, "CUDA code for none"},
    {"cuda_sm80.so", {80, 0}, KNI_CODE_FITS, "CUDA code for sm_80"},
    {"cuda_sm80.so", {89, 0}, KNI_CODE_FITS, "CUDA code for sm_80"},
    {"cuda_sm80.so", {75, 0}, KNI_CODE_NO, "sm_80; none runs on capability 7.5"},
    {"cuda_sm80.so", {90, 0}, KNI_CODE_NO, "none runs on capability 9.0"},
    {"cuda_sm90a.so", {90, 0}, KNI_CODE_FITS, "sm_90a"},
    {"cuda_sm90a.so", {100, 0}, KNI_CODE_NO, "none runs on capability 10.0"},
    {"cuda_ptx.so", {120, 13000}, KNI_CODE_FITS, "compute_90"},
    {"cuda_ptx.so", {120, 0}, KNI_CODE_FITS, "compute_90"},
    {"cuda_ptx.so",
     {120, 12080},
     KNI_CODE_NO,
     "PTX 9.0 needs a driver for CUDA 13.0, this one is for 12.8"},
    {"cuda_ptx.so", {80, 13000}, KNI_CODE_NO, "none runs on capability 8.0"},
    {"cuda_ptx84.fatbin", {120, 12080}, KNI_CODE_FITS, "PTX 8.4"},
    {"cuda_many_zstd.so", {103, 12080}, KNI_CODE_FITS, "sm_100f"},
    {"cuda_many_zstd.so", {110, 13000}, KNI_CODE_FITS, "compute_80"}, // by the PTX alone
    {"cuda_many_zstd.so", {110, 12080}, KNI_CODE_NO, "needs a driver"},
    {"cuda_two_units.so",
     {80, 0},
     KNI_CODE_PARTLY,
     "1 of 2 fat binaries have code for capability 8.0"},
    {"cuda_two_units.so", {90, 0}, KNI_CODE_PARTLY, "1 of 2"},
    {"cuda_two_units.so", {70, 0}, KNI_CODE_NO, "none runs"},
    {"cuda_no_sections.so", {90, 0}, KNI_CODE_PARTLY, "1 of 2"},
    {"cuda_lto.so", {90, 0}, KNI_CODE_NO, "lto_90; none runs"},
    {"cuda_embedded_cubin.so", {103, 0}, KNI_CODE_NO, "sm_100a; none runs on capability 10.3"},
    {"cuda_embedded_cubin.so", {100, 0}, KNI_CODE_FITS, "sm_100a"},
};

static void test_verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(verdicts); ++i) {
        kni_cuda_code code = read_file(verdicts[i].file);
        kni_buf reason = KNI_BUF_ANY;
        print_message("  %s on %d\n", verdicts[i].file, verdicts[i].device.capability);
        assert_int_equal(kni_cuda_code_runs(&code, verdicts[i].device, &reason), verdicts[i].fit);
        assert_non_null(strstr(kni_buf_text(&reason), verdicts[i].reason));
        assert_int_equal(kni_cuda_code_runs(&code, verdicts[i].device, NULL), verdicts[i].fit);
        kni_buf_dispose(&reason);
        kni_cuda_dispose(&code);
    }
}

// Edits of cuda_many_plain's first entries, as bytes of a fat binary: the header is at 0, the first entry at 16.
enum { ENTRY = 16 };
static void newer_container(kni_bytes f)
{
    object_put(f, 4, 2, 2);
}
static void long_container(kni_bytes f)
{
    object_put(f, 8, 8, UINT64_MAX - 8);
}
static void short_entry_header(kni_bytes f)
{
    object_put(f, ENTRY + 4, 4, 16);
}
static void long_entry_header(kni_bytes f)
{
    object_put(f, ENTRY + 4, 4, UINT32_MAX);
}
static void long_payload(kni_bytes f)
{
    object_put(f, ENTRY + 8, 8, UINT64_MAX - 64);
}
static void no_architecture(kni_bytes f)
{
    object_put(f, ENTRY + 28, 4, 0);
}
static void huge_architecture(kni_bytes f)
{
    object_put(f, ENTRY + 28, 4, 1u << 20);
}
static void no_magic(kni_bytes f)
{
    object_put(f, 0, 4, 0x12345678);
}
static void claim_uncompressed(kni_bytes f)
{
    object_put(f, ENTRY + 40, 8, 0x11);
    object_put(f, ENTRY + 56, 8, 0);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*edit)(kni_bytes file);
        kn_status status;
        const char *text;
    } edits[] = {
        {"a newer container", newer_container, KN_ERR_UNSUPPORTED, "has version 2"},
        {"container behind its bytes", long_container, KN_ERR_FORMAT, "ends behind its section"},
        {"short entry header", short_entry_header, KN_ERR_FORMAT,
         "offset 16 of its fat binaries is malformed"},
        {"long entry header", long_entry_header, KN_ERR_FORMAT, "malformed or cut off"},
        {"long payload", long_payload, KN_ERR_FORMAT, "malformed or cut off"},
        {"no architecture", no_architecture, KN_ERR_FORMAT, "impossible architecture 0"},
        {"huge architecture", huge_architecture, KN_ERR_FORMAT, "impossible architecture 1048576"},
        {"another magic number", no_magic, KN_ERR_FORMAT, "no fat binary at offset 0"},
        {"a cubin that is none", claim_uncompressed, KN_ERR_FORMAT,
         "says sm_80, but is no such cubin"},
    };
    for (size_t i = 0; i < KN_LEN(edits); ++i) {
        const kni_bytes file = object_read("cuda.fatbin"); // begins with the cubin for sm_80
        kni_cuda_code code = {.n_targets = 0};
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", edits[i].name);
        edits[i].edit(file);
        assert_int_equal(kni_cuda_read(file, "f", &code, &err), edits[i].status);
        assert_non_null(strstr(kn_error_text(&err), edits[i].text));
        kn_error_dispose(&err);
        kni_cuda_dispose(&code);
        object_free(file);
    }
}

// ABI 7 of CUDA 12, which nothing here makes: the flags of ptxas 12.4 for sm_90 and sm_90a.
static void test_older_cubin(void **state)
{
    (void)state;
    static const struct {
        uint32_t flags;
        const char *text;
    } rows[] = {{0x005a055a, "sm_90"}, {0x005a0d5a, "sm_90a"}};
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const kni_bytes file = object_read("cuda_sm100a.cubin");
        const kni_bytes head = object_copy(file.data, 64); // without the note of newer ones
        kni_cuda_code code = {.n_targets = 0};
        kni_buf text = KNI_BUF_ANY;
        object_put(head, 7, 2, 0x0733);
        object_put(head, 48, 4, rows[i].flags);
        assert_int_equal(kni_cuda_read(head, "f", &code, NULL), KN_OK);
        kni_cuda_code_text(&code, &text);
        assert_string_equal(kni_buf_text(&text), rows[i].text);
        kni_buf_dispose(&text);
        kni_cuda_dispose(&code);
        object_free(head);
        object_free(file);
    }
}

static bool look_as(kni_bytes file, const char *name)
{
    kni_cuda_code code = {.n_targets = 0};
    kni_buf text = KNI_BUF_ANY;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = read_bytes(file, name, &code, &err);
    kni_cuda_code_runs(&code, (kni_cuda_device){90, 12080}, &text);
    assert_true(st == KN_OK || kn_error_text(&err)[0] != '\0');
    kn_error_dispose(&err);
    kni_buf_dispose(&text);
    kni_cuda_dispose(&code);
    return st == KN_OK;
}

static bool look_library(kni_bytes file)
{
    return look_as(file, "f.so");
}

static bool look_bytes(kni_bytes file)
{
    return look_as(file, "f");
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    // Without a byte there is no fat binary, which is right; any longer part of one is malformed.
    assert_int_equal(object_sweep("cuda.fatbin", look_bytes), 1);
    assert_int_equal(object_sweep("cuda_ptx84.fatbin", look_bytes), 1);
    object_sweep("cuda_sm100a.cubin", look_bytes);
    object_sweep("cuda_two_units.so", look_library);
    object_sweep("cuda_no_sections.so", look_library);
    object_sweep("cuda_embedded_cubin.so", look_library);
}

static kn_status read_once(void *user, kn_error *err)
{
    const kni_bytes *file = user;
    kni_cuda_code code = {.n_targets = 0};
    const kn_status st = read_bytes(*file, "f.so", &code, err);
    kni_cuda_dispose(&code);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"cuda_two_units.so", "cuda_embedded_cubin.so"};
    for (size_t i = 0; i < KN_LEN(names); ++i) {
        kni_bytes file = object_read(names[i]);
        assert_true(fail_alloc_each(FAIL_OURS, read_once, &file) >= 3);
        object_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),           cmocka_unit_test(test_rule),
        cmocka_unit_test(test_driver),          cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_malformed),       cmocka_unit_test(test_older_cubin),
        cmocka_unit_test(test_cut_and_flipped), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
