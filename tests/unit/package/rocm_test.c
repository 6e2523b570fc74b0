#include "package/rocm.h"

#include "support/fail_alloc.h"
#include "support/object.h"

static kn_status read_bytes(kni_bytes file, const char *name, kni_rocm_code *code, kn_error *err)
{
    const size_t size = strlen(name);
    if (size < 3 || strcmp(name + size - 3, ".so") != 0)
        return kni_rocm_read(file, name, code, err);
    kni_elf elf;
    kn_status st = kni_elf_read(file.data, file.size, name, &elf, err);
    if (st == KN_OK)
        st = kni_rocm_read_elf(&elf, name, code, err);
    kni_elf_dispose(&elf);
    return st;
}

static kni_rocm_code read_file(const char *name)
{
    const kni_bytes file = object_read(name);
    kni_rocm_code code = {.n_targets = 0};
    kn_error err = KN_ERROR_INIT;
    if (read_bytes(file, name, &code, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    object_free(file);
    return code;
}

static const struct {
    const char *file, *targets;
    uint32_t n_bundles;
} files[] = {
    {"plain.so", "none", 0},
    {"cuda_sm80.so", "none", 0},
    {"rocm_gfx908.so", "gfx908", 1},
    {"rocm_many.so", "gfx1030, gfx908, gfx90a", 1},
    {"rocm_features.so", "gfx90a:sramecc-:xnack+, gfx90a:sramecc-:xnack-", 1},
    {"rocm_no_sections.so", "gfx908", 1},
    {"rocm_gfx90a_xnack.co", "gfx90a:xnack+", 1}, // a code object alone, by its ELF flags
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(files); ++i) {
        print_message("  %s\n", files[i].file);
        kni_rocm_code code = read_file(files[i].file);
        kni_buf text = KNI_BUF_ANY;
        kni_rocm_code_text(&code, &text);
        assert_string_equal(kni_buf_text(&text), files[i].targets);
        assert_int_equal(code.n_bundles, files[i].n_bundles);
        assert_int_equal(code.n_compressed, 0);
        kni_buf_dispose(&text);
        kni_rocm_dispose(&code);
    }
}

static void test_target_text(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"gfx90a", "gfx90a"},
        {"gfx90a:xnack+", "gfx90a:xnack+"},
        {"gfx90a:xnack+:sramecc-", "gfx90a:sramecc-:xnack+"},
        {"gfx906:sramecc+:xnack-", "gfx906:sramecc+:xnack-"},
        {"gfx9-4-generic:xnack-", "gfx9-4-generic:xnack-"},
    };
    static const char *const bad[] = {
        "",
        ":",
        ":xnack+",
        "gfx90a:",
        "gfx90a:xnack",
        "gfx90a:xnack*",
        "gfx90a:xnack++",
        "gfx90a:xnack+:xnack+",
        "gfx90a:wave64+",
        "gfx90a xnack",
        "GFX90A",
        "gfx9999999999999999999999999",
    };
    for (size_t i = 0; i < KN_LEN(good); ++i) {
        kni_rocm_target target;
        kni_buf text = KNI_BUF_ANY;
        assert_true(kni_rocm_target_parse(good[i][0], strlen(good[i][0]), &target));
        kni_rocm_target_text(&target, &text);
        assert_string_equal(kni_buf_text(&text), good[i][1]);
        kni_buf_dispose(&text);
    }
    for (size_t i = 0; i < KN_LEN(bad); ++i) {
        kni_rocm_target target;
        print_message("  \"%s\"\n", bad[i]);
        assert_false(kni_rocm_target_parse(bad[i], strlen(bad[i]), &target));
    }
}

static void test_rule(void **state)
{
    (void)state;
    static const struct {
        const char *code, *device;
        bool runs;
    } rows[] = {
        {"gfx908", "gfx908", true},
        {"gfx908", "gfx908:sramecc+:xnack-", true},
        {"gfx908", "gfx90a", false},
        {"gfx90a", "gfx908", false},
        {"gfx90a:xnack+", "gfx90a:sramecc+:xnack-", false},
        {"gfx90a:xnack-", "gfx90a:sramecc+:xnack-", true},
        {"gfx90a:sramecc-", "gfx90a:sramecc+:xnack-", false},
        {"gfx90a:xnack+", "gfx90a", true}, // the device does not say
        {"gfx90a:xnack+", "gfx90a:sramecc+", true},
        {"gfx11-generic", "gfx1100", true},
        {"gfx11-generic", "gfx1153", true},
        {"gfx11-generic", "gfx1200", false},
        {"gfx9-4-generic:xnack-", "gfx942:sramecc+:xnack-", true},
        {"gfx9-4-generic:xnack+", "gfx942:sramecc+:xnack-", false},
        {"gfx9-generic", "gfx90a", false},
        {"gfx1100", "gfx11-generic", false}, // the other way round there is no promise
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_rocm_target code, device;
        print_message("  %s on %s\n", rows[i].code, rows[i].device);
        assert_true(kni_rocm_target_parse(rows[i].code, strlen(rows[i].code), &code));
        assert_true(kni_rocm_target_parse(rows[i].device, strlen(rows[i].device), &device));
        assert_int_equal(kni_rocm_target_runs(&code, &device), rows[i].runs);
    }
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *file, *device;
        kni_code_fit fit;
        const char *reason;
    } rows[] = {
        {"plain.so", "gfx90a", KNI_CODE_NONE, "ROCm code for none"},
        {"rocm_gfx908.so", "gfx908:sramecc+:xnack-", KNI_CODE_FITS, "gfx908"},
        {"rocm_gfx908.so", "gfx90a:sramecc+:xnack-", KNI_CODE_NO,
         "none runs on gfx90a:sramecc+:xnack-"},
        {"rocm_many.so", "gfx90a:sramecc+:xnack-", KNI_CODE_FITS, "gfx90a"},
        {"rocm_many.so", "gfx942", KNI_CODE_NO, "gfx1030, gfx908, gfx90a; none runs on gfx942"},
        {"rocm_features.so", "gfx90a:sramecc+:xnack-", KNI_CODE_NO, "none runs"},
        {"rocm_features.so", "gfx90a:sramecc-:xnack-", KNI_CODE_FITS, "gfx90a"},
        {"rocm_no_sections.so", "gfx908", KNI_CODE_FITS, "gfx908"},
        {"rocm_many.so", "not a device!", KNI_CODE_NO, "none runs on not a device!"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_rocm_code code = read_file(rows[i].file);
        kni_buf reason = KNI_BUF_ANY;
        print_message("  %s on %s\n", rows[i].file, rows[i].device);
        assert_int_equal(kni_rocm_code_runs(&code, rows[i].device, &reason), rows[i].fit);
        assert_non_null(strstr(kni_buf_text(&reason), rows[i].reason));
        kni_buf_dispose(&reason);
        kni_rocm_dispose(&code);
    }
}

// A bundle by hand, where the tools here make none: old names, several bundles, compressed ones.
typedef struct maker {
    uint8_t data[4096];
    size_t size;
} maker;

static void put(maker *m, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        m->data[m->size++] = (uint8_t)(value >> (8 * i));
}

static void put_text(maker *m, const char *text)
{
    memcpy(m->data + m->size, text, strlen(text));
    m->size += strlen(text);
}

static void put_bundle(maker *m, const char *id, uint64_t code_size)
{
    const size_t offset = 32 + 24 + strlen(id);
    put_text(m, "__CLANG_OFFLOAD_BUNDLE__");
    put(m, 1, 8);
    put(m, offset, 8);
    put(m, code_size, 8);
    put(m, strlen(id), 8);
    put_text(m, id);
    for (uint64_t i = 0; i < code_size; ++i)
        put(m, 'c', 1);
}

static void put_compressed(maker *m, unsigned version, uint64_t size)
{
    put_text(m, "CCOB");
    put(m, version, 2);
    put(m, 1, 2);
    if (version > 1)
        put(m, size, version == 2 ? 4 : 8);
    for (size_t i = 0; i < 3; ++i)
        put(m, 0, 8);
}

static kn_status read_made(const maker *m, kni_rocm_code *code, kn_error *err)
{
    const kni_bytes bytes = object_copy(m->data, m->size);
    *code = (kni_rocm_code){.n_targets = 0};
    const kn_status st = kni_rocm_read(bytes, "f", code, err);
    object_free(bytes);
    return st;
}

static void test_made(void **state)
{
    (void)state;
    kni_rocm_code code;
    kni_buf text = KNI_BUF_ANY;
    maker m = {.size = 0};
    put_bundle(&m, "hip-amdgcn-amd-amdhsa-gfx906", 8);
    put(&m, 0, 8);
    put_bundle(&m, "hipv4-amdgcn-amd-amdhsa--gfx11-generic", 8);
    put_bundle(&m, "hip-spirv64-amd-amdhsa--amdgcnspirv", 8);
    put_bundle(&m, "hipv4-amdgcn-amd-amdhsa--gfx908", 0); // empty: no code
    assert_int_equal(read_made(&m, &code, NULL), KN_OK);
    kni_rocm_code_text(&code, &text);
    assert_string_equal(kni_buf_text(&text), "gfx906, gfx11-generic");
    assert_int_equal(code.n_bundles, 2);
    assert_int_equal(kni_rocm_code_runs(&code, "gfx906", NULL), KNI_CODE_PARTLY);
    kni_buf_dispose(&text);
    kni_rocm_dispose(&code);
}

static void test_compressed(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 3; ++version) {
        kni_rocm_code code;
        kni_buf reason = KNI_BUF_ANY;
        maker m = {.size = 0};
        put_bundle(&m, "hipv4-amdgcn-amd-amdhsa--gfx906", 8);
        put_compressed(&m, version, version == 2 ? 36 : 40);
        print_message("  version %u\n", version);
        assert_int_equal(read_made(&m, &code, NULL), KN_OK);
        assert_int_equal(code.n_compressed, 1);
        assert_int_equal(kni_rocm_code_runs(&code, "gfx906", &reason), KNI_CODE_UNKNOWN);
        assert_non_null(
            strstr(kni_buf_text(&reason), "gfx906 and 1 compressed bundle, which cannot"));
        assert_int_equal(kni_rocm_code_runs(&code, "gfx90a", NULL), KNI_CODE_NO);
        kni_buf_dispose(&reason);
        kni_rocm_dispose(&code);

        m = (maker){.size = 0};
        put_compressed(&m, version, 36);
        assert_int_equal(read_made(&m, &code, NULL), KN_OK);
        assert_int_equal(kni_rocm_code_runs(&code, "gfx90a", NULL), KNI_CODE_UNKNOWN);
        kni_rocm_dispose(&code);
    }
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned what;
        const char *text;
    } rows[] = {
        {"no bundle", 0, "no bundle, and no code object"},
        {"many entries", 1, "malformed or cut off"},
        {"code behind the file", 2, "malformed or cut off"},
        {"a long name", 3, "malformed or cut off"},
        {"no target in the name", 4, "names no target: \"gfx_!\""},
        {"compressed, version 9", 5, "compressed ROCm bundle at offset 0 (version 9)"},
        {"compressed, too long", 6, "compressed ROCm bundle"},
        {"another processor inside", 7, "says gfx908, but the code is for gfx90a"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_rocm_code code;
        kn_error err = KN_ERROR_INIT;
        maker m = {.size = 0};
        switch (rows[i].what) {
        case 0:
            put_text(&m, "something else");
            break;
        case 4:
            put_bundle(&m, "hipv4-amdgcn-amd-amdhsa--gfx_!", 8);
            break;
        case 5:
            put_compressed(&m, 9, 40);
            break;
        case 6:
            put_compressed(&m, 3, 4000);
            break;
        default:
            put_bundle(&m, "hipv4-amdgcn-amd-amdhsa--gfx908", 64);
        }
        const kni_bytes made = {m.data, m.size};
        if (rows[i].what == 1)
            object_put(made, 24, 8, UINT64_MAX);
        if (rows[i].what == 2)
            object_put(made, 32, 8, UINT64_MAX - 16);
        if (rows[i].what == 3)
            object_put(made, 48, 8, 4000);
        if (rows[i].what == 7) {
            const kni_bytes object = object_read("rocm_gfx90a_xnack.co");
            memcpy(m.data + m.size - 64, object.data, 64);
            object_free(object);
        }
        print_message("  %s\n", rows[i].name);
        assert_int_equal(read_made(&m, &code, &err), KN_ERR_FORMAT);
        assert_non_null(strstr(kn_error_text(&err), rows[i].text));
        kn_error_dispose(&err);
        kni_rocm_dispose(&code);
    }
}

static bool look_as(kni_bytes file, const char *name)
{
    kni_rocm_code code = {.n_targets = 0};
    kni_buf text = KNI_BUF_ANY;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = read_bytes(file, name, &code, &err);
    kni_rocm_code_runs(&code, "gfx90a:xnack+", &text);
    assert_true(st == KN_OK || kn_error_text(&err)[0] != '\0');
    kn_error_dispose(&err);
    kni_buf_dispose(&text);
    kni_rocm_dispose(&code);
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
    object_sweep("rocm_gfx90a_xnack.co", look_bytes);
    object_sweep("rocm_gfx908.so", look_library);
    object_sweep("rocm_no_sections.so", look_library);
}

static kn_status read_once(void *user, kn_error *err)
{
    const kni_bytes *file = user;
    kni_rocm_code code = {.n_targets = 0};
    const kn_status st = read_bytes(*file, "f.so", &code, err);
    kni_rocm_dispose(&code);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    kni_bytes file = object_read("rocm_many.so");
    assert_true(fail_alloc_each(FAIL_OURS, read_once, &file) >= 3);
    object_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),     cmocka_unit_test(test_target_text),
        cmocka_unit_test(test_rule),      cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_made),      cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
