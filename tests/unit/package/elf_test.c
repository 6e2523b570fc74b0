#include "package/elf.h"

#include "package/elf_check.h"
#include "support/fail_alloc.h"
#include "support/object.h"

static const kni_elf_version glibc_236 = {2, 36, 0};

static void test_plain(void **state)
{
    (void)state;
    const kni_bytes file = object_read("plain.so");
    kni_elf elf;
    assert_int_equal(kni_elf_read(file.data, file.size, "plain.so", &elf, NULL), KN_OK);
    assert_int_equal(elf.machine, KNI_MACHINE_X86_64);
    assert_string_equal(elf.soname, "libplain.so");
    assert_int_equal(elf.n_needed, 2);
    assert_string_equal(elf.needed[0], "libm.so.6");
    assert_string_equal(elf.needed[1], "libc.so.6");
    assert_int_equal(elf.glibc.major, 2);
    assert_int_equal(elf.glibc.minor, 29); // pow of today
    assert_int_equal(elf.glibcxx.major, 0);
    assert_null(elf.rpath);
    assert_null(elf.runpath);
    assert_null(elf.interpreter);
    assert_null(elf.tvm_loader_symbol);
    assert_false(elf.has_executable_stack || elf.lacks_stack_header || elf.has_unique_symbols);
    assert_false(elf.has_text_relocations || elf.has_writable_code || elf.refuses_dlopen);
    // Functions alone: not the metadata of one, not data.
    assert_int_equal(elf.n_functions, 2);
    for (size_t i = 0; i < elf.n_functions; ++i)
        assert_true(strcmp(elf.functions[i], "scale") == 0 ||
                    strcmp(elf.functions[i], "zero") == 0);
    assert_true(kni_elf_exports_function(&elf, "__tvm_ffi_scale"));
    assert_true(kni_elf_exports_function(&elf, "__tvm_ffi__metadata_scale"));
    assert_false(kni_elf_exports_function(&elf, "data"));   // no function
    assert_false(kni_elf_exports_function(&elf, "getenv")); // imported
    assert_false(kni_elf_exports_function(&elf, "__tvm_ffi_scal"));
    kni_elf_dispose(&elf);
    kni_elf_dispose(&elf); // of an empty one
    object_free(file);
}

// What both checks say to real files.
static const struct {
    const char *file, *cpu;
    kni_elf_version glibc;
    kn_status runs, needs;
    const char *text; // part of the error
} rows[] = {
    {"plain.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"plain.so", "x86_64", {2, 29, 0}, KN_OK, KN_OK, NULL},
    {"plain.so", "x86_64", {0, 0, 0}, KN_OK, KN_OK, NULL},
    {"plain.so",
     "x86_64",
     {2, 28, 0},
     KN_ERR_INCOMPATIBLE,
     KN_OK,
     "needs glibc 2.29, this machine has 2.28"},
    {"plain.so", "aarch64", {2, 36, 0}, KN_ERR_INCOMPATIBLE, KN_OK, "code for x86_64"},
    {"aarch64.so", "aarch64", {2, 17, 0}, KN_OK, KN_OK, NULL},
    {"aarch64.so", "x86_64", {2, 36, 0}, KN_ERR_INCOMPATIBLE, KN_OK, "code for aarch64"},
    {"relr.so", "x86_64", {2, 35, 0}, KN_ERR_INCOMPATIBLE, KN_OK, "needs glibc 2.36"},
    {"relr.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"sysv_hash.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"unique.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"runpath_origin.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"cuda_sm80.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"rocm_many.so", "x86_64", {2, 36, 0}, KN_OK, KN_OK, NULL},
    {"rpath.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "RPATH is \"/opt/lib:$ORIGIN\""},
    {"executable_stack.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "executable stack"},
    {"audit.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "DT_AUDIT names \"libspy.so\""},
    {"depaudit.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "DT_DEPAUDIT"},
    {"filter.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "DT_FILTER"},
    {"auxiliary.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "DT_AUXILIARY"},
    {"unusual.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "\"libunusual.so.3\""},
    {"text_relocations.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNTRUSTED, "text relocations"},
    {"tvm_loader.so", "x86_64", {2, 36, 0}, KN_OK, KN_ERR_UNSUPPORTED, "__tvm_ffi__library_ctx"},
    {"tvm_imports.so",
     "x86_64",
     {2, 36, 0},
     KN_OK,
     KN_ERR_UNSUPPORTED,
     "TVMFFIEnvModLookupFromImports"},
    {"program.so", "x86_64", {2, 36, 0}, KN_ERR_INCOMPATIBLE, KN_OK, "a program"},
};

static void test_checks(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const kni_bytes file = object_read(rows[i].file);
        kn_error err = KN_ERROR_INIT;
        kni_elf elf;
        print_message("  %s on %s, glibc %u.%u\n", rows[i].file, rows[i].cpu, rows[i].glibc.major,
                      rows[i].glibc.minor);
        assert_int_equal(kni_elf_read(file.data, file.size, rows[i].file, &elf, &err), KN_OK);
        assert_int_equal(kni_elf_check_runs(&elf, rows[i].file, rows[i].cpu, rows[i].glibc, &err),
                         rows[i].runs);
        assert_int_equal(kni_elf_check_needs(&elf, rows[i].file, NULL, &err), rows[i].needs);
        if (rows[i].text) {
            assert_non_null(strstr(kn_error_text(&err), rows[i].text));
            assert_true(strncmp(kn_error_text(&err), rows[i].file, strlen(rows[i].file)) == 0);
        }
        kn_error_dispose(&err);
        kni_elf_dispose(&elf);
        object_free(file);
    }
}

static void test_facts(void **state)
{
    (void)state;
    kni_elf elf;
    kni_bytes file = object_read("unique.so");
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_true(elf.has_unique_symbols);
    assert_int_equal(elf.glibcxx.patch, 21); // GLIBCXX_3.4.21: std::string of the new ABI
    kni_elf_dispose(&elf);
    object_free(file);

    file = object_read("program.so");
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_string_equal(elf.interpreter, "/lib64/ld-linux-x86-64.so.2");
    kni_elf_dispose(&elf);
    object_free(file);

    file = object_read("sysv_hash.so"); // counts its symbols by DT_HASH
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_int_equal(elf.n_functions, 2);
    kni_elf_dispose(&elf);
    object_free(file);

    file = object_read("aarch64.so");
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_int_equal(elf.n_functions, 1);
    kni_elf_dispose(&elf);
    object_free(file);
}

// The program header at index of a type; its offset in the file.
static size_t program_header(kni_bytes file, uint32_t type, size_t index)
{
    for (size_t i = 0, at = kni_bytes_u64(file, 32); i < kni_bytes_u16(file, 56); ++i, at += 56)
        if (kni_bytes_u32(file, at) == type && index-- == 0)
            return at;
    fail_msg("no program header of that type");
    return 0;
}

// The entry of the dynamic segment with a tag.
static size_t dynamic_entry(kni_bytes file, uint64_t tag)
{
    size_t at = kni_bytes_u64(file, program_header(file, 2, 0) + 8);
    while (kni_bytes_u64(file, at) != tag)
        at += 16;
    return at;
}

static void be_32_bit(kni_bytes f)
{
    object_put(f, 4, 1, 1);
}
static void be_big_endian(kni_bytes f)
{
    object_put(f, 5, 1, 2);
}
static void be_no_elf(kni_bytes f)
{
    object_put(f, 0, 1, 'E');
}
static void be_core(kni_bytes f)
{
    object_put(f, 16, 2, 4);
}
static void have_no_segments(kni_bytes f)
{
    object_put(f, 56, 2, 0);
}
static void have_many_segments(kni_bytes f)
{
    object_put(f, 56, 2, 0xFFFF);
}
static void grow_segment(kni_bytes f)
{
    object_put(f, program_header(f, 1, 0) + 32, 8, 1u << 30);
}
static void overlap(kni_bytes f)
{
    object_put(f, program_header(f, 1, 0) + 40, 8, 1u << 20);
}
static void wrap_address(kni_bytes f)
{
    object_put(f, program_header(f, 1, 1) + 16, 8, UINT64_MAX - 0xFFF);
}
static void hide_dynamic(kni_bytes f)
{
    object_put(f, program_header(f, 2, 0), 4, 0);
}
static void move_dynamic(kni_bytes f)
{
    object_put(f, program_header(f, 2, 0) + 16, 8, 1u << 24);
}
static void cut_dynamic(kni_bytes f)
{
    object_put(f, program_header(f, 2, 0) + 32, 8, 32);
}
static void long_strings(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 10) + 8, 8, 1u << 20);
}
static void unended_strings(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 10) + 8, 8, 3);
}
static void wild_needed(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 1) + 8, 8, 1u << 20);
}
static void wild_symbols(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 6) + 8, 8, 1u << 20);
}
static void wild_hash(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 0x6ffffef5) + 8, 8, 1u << 20);
}
static void many_buckets(kni_bytes f) // in the first segment an address is an offset
{
    object_put(f, kni_bytes_u64(f, dynamic_entry(f, 0x6ffffef5) + 8), 4, UINT32_MAX);
}
static void endless_chain(kni_bytes f)
{
    const size_t table = kni_bytes_u64(f, dynamic_entry(f, 0x6ffffef5) + 8);
    object_put(f, table + 16 + 8 * kni_bytes_u32(f, table + 8), 4, 1u << 30);
}
static void wild_versions(kni_bytes f)
{
    object_put(f, dynamic_entry(f, 0x6ffffffe) + 8, 8, 1u << 20);
}

static const struct {
    const char *name;
    void (*edit)(kni_bytes file);
    kn_status status;
    const char *text;
} edits[] = {
    {"32 bits", be_32_bit, KN_ERR_INCOMPATIBLE, "32-bit ELF file; expected a 64-bit one"},
    {"big-endian", be_big_endian, KN_ERR_INCOMPATIBLE, "big-endian"},
    {"no ELF", be_no_elf, KN_ERR_FORMAT, "no ELF file"},
    {"a core dump", be_core, KN_ERR_FORMAT, "a core dump; expected a shared object"},
    {"no segments", have_no_segments, KN_ERR_FORMAT, "program headers"},
    {"many segments", have_many_segments, KN_ERR_FORMAT, "program headers"},
    {"segment behind the file", grow_segment, KN_ERR_FORMAT, "behind the file"},
    {"segments overlap", overlap, KN_ERR_FORMAT, "overlap"},
    {"address wraps", wrap_address, KN_ERR_FORMAT, "impossible bounds"},
    {"no dynamic segment", hide_dynamic, KN_ERR_FORMAT, "no dynamic segment"},
    {"dynamic segment not loaded", move_dynamic, KN_ERR_FORMAT, "not inside a loaded segment"},
    {"dynamic segment without end", cut_dynamic, KN_ERR_FORMAT, "no end"},
    {"string table too long", long_strings, KN_ERR_FORMAT, "string table"},
    {"string table without end", unended_strings, KN_ERR_FORMAT, "string table"},
    {"DT_NEEDED outside", wild_needed, KN_ERR_FORMAT, "DT_NEEDED"},
    {"symbols outside", wild_symbols, KN_ERR_FORMAT, "symbol table"},
    {"hash table outside", wild_hash, KN_ERR_FORMAT, "symbol table"},
    {"many buckets", many_buckets, KN_ERR_FORMAT, "symbol table"},
    {"a symbol far away", endless_chain, KN_ERR_FORMAT, "symbol table"},
    {"versions outside", wild_versions, KN_ERR_FORMAT, "symbol versions"},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(edits); ++i) {
        const kni_bytes file = object_read("plain.so");
        kn_error err = KN_ERROR_INIT;
        kni_elf elf;
        print_message("  %s\n", edits[i].name);
        edits[i].edit(file);
        assert_int_equal(kni_elf_read(file.data, file.size, "f.so", &elf, &err), edits[i].status);
        assert_non_null(strstr(kn_error_text(&err), edits[i].text));
        assert_null(elf.loads);
        assert_null(elf.needed);
        kn_error_dispose(&err);
        object_free(file);
    }
    const kni_bytes file = object_read("relocatable.o");
    kn_error err = KN_ERROR_INIT;
    kni_elf elf;
    assert_int_equal(kni_elf_read(file.data, file.size, "f.o", &elf, &err), KN_ERR_FORMAT);
    assert_string_equal(kn_error_text(&err), "f.o: a relocatable object; expected a shared object");
    kn_error_dispose(&err);
    object_free(file);
    assert_int_equal(kni_elf_read(NULL, 0, "f", &elf, NULL), KN_ERR_FORMAT);
}

// What no linker here makes: a library without PT_GNU_STACK, and one with writable code.
static void test_memory_rules(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    kni_elf elf;
    kni_bytes file = object_read("plain.so");
    object_put(file, program_header(file, 0x6474e551, 0), 4, 0);
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_int_equal(kni_elf_check_needs(&elf, "f", NULL, &err), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "no PT_GNU_STACK"));
    kn_error_dispose(&err);
    kni_elf_dispose(&elf);
    object_free(file);

    file = object_read("plain.so");
    object_put(file, program_header(file, 1, 0) + 4, 4, 7);
    assert_int_equal(kni_elf_read(file.data, file.size, "f", &elf, NULL), KN_OK);
    assert_int_equal(kni_elf_check_needs(&elf, "f", NULL, &err), KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "writable and executable"));
    kn_error_dispose(&err);
    kni_elf_dispose(&elf);
    object_free(file);
}

static void test_search_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool is_accepted;
    } paths[] = {
        {"$ORIGIN", true},
        {"${ORIGIN}/lib", true},
        {"$ORIGIN:$ORIGIN/a/b", true},
        {"$ORIGIN/", true},
        {"", false},
        {"$ORIGIN:", false},
        {":$ORIGIN", false},
        {"/usr/lib", false},
        {"lib", false},
        {"$ORIGIN/..", false},
        {"$ORIGIN/a/../..", false},
        {"$ORIGINAL", false},
        {"$ORIGIN/$LIB", false},
        {"$LIB", false},
        {"$ORIGIN/..a", true},
    };
    for (size_t i = 0; i < KN_LEN(paths); ++i) {
        print_message("  \"%s\"\n", paths[i].path);
        kni_elf elf = {.rpath = paths[i].path};
        assert_int_equal(kni_elf_check_needs(&elf, "f", NULL, NULL) == KN_OK, paths[i].is_accepted);
        elf = (kni_elf){.runpath = paths[i].path};
        assert_int_equal(kni_elf_check_needs(&elf, "f", NULL, NULL) == KN_OK, paths[i].is_accepted);
    }
}

static void test_needed_list(void **state)
{
    (void)state;
    static const char *const accepted[] = {"libc.so.6",       "libcudart.so.12",  "libcudart.so.13",
                                           "libcublas.so.12", "libamdhip64.so.6", "libtvm_ffi.so"};
    static const char *const refused[] = {
        "libc.so.7",           "./libc.so.6",      "/lib/libc.so.6",
        "libcudart.so.",       "libcudart.so.12x", "libcudart.so.12/x",
        "libcudart.so",        "libtorch.so",      "",
        "libpython3.11.so.1.0"};
    for (size_t i = 0; i < KN_LEN(accepted); ++i)
        assert_true(kni_elf_may_need(accepted[i], false));
    for (size_t i = 0; i < KN_LEN(refused); ++i)
        assert_false(kni_elf_may_need(refused[i], false));
}

// Of a package that the host imports: what is refused of a native one for its list or its search paths is told.
static void test_hosted_needs(void **state)
{
    (void)state;
    static const struct {
        const char *name, *file, *needed, *path;
        kn_status status;
        const char *note; // NULL: none
    } cases[] = {
        {"the usual", "_C.so", "libc.so.6", "$ORIGIN", KN_OK, NULL},
        {"PyTorch's", "_C.so", "libtorch_cpu.so", NULL, KN_OK, NULL},
        {"PyTorch's of a device", "_C.so", "libc10_cuda.so", NULL, KN_OK, NULL},
        {"a vendor's", "_C.so", "libcudnn.so.9", NULL, KN_OK, NULL},
        {"a bare name of no list", "_C.so", "libhelper.so", NULL, KN_OK, "\"libhelper.so\""},
        {"Python's", "_C.so", "libpython3.11.so.1.0", NULL, KN_OK, "\"libpython3.11.so.1.0\""},
        {"a path", "_C.so", "/tmp/libhelper.so", NULL, KN_ERR_UNTRUSTED, NULL},
        {"a path from here", "_C.so", "./libhelper.so", NULL, KN_ERR_UNTRUSTED, NULL},
        {"above, inside", "pkg/_C.so", NULL, "$ORIGIN/../lib", KN_OK, NULL},
        {"above, outside", "pkg/_C.so", NULL, "$ORIGIN/../../lib", KN_OK, "\"$ORIGIN/../../lib\""},
        {"up and down again", "pkg/_C.so", NULL, "$ORIGIN/a/../../b/..", KN_OK, NULL},
        {"elsewhere", "_C.so", NULL, "/nix/store/lib", KN_OK, "\"/nix/store/lib\""},
        {"the working directory", "_C.so", NULL, "$ORIGIN:", KN_OK, "leads out of the package"},
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        kni_names notes = {NULL, 0, 0};
        const kni_elf elf = {.needed = (const char **)(uintptr_t)&cases[i].needed,
                             .n_needed = cases[i].needed != NULL,
                             .runpath = cases[i].path};
        print_message("  %s\n", cases[i].name);
        assert_int_equal(kni_elf_check_needs(&elf, cases[i].file, &notes, NULL), cases[i].status);
        assert_int_equal(notes.count, cases[i].note != NULL);
        if (cases[i].note)
            assert_non_null(strstr(notes.names[0], cases[i].note));
        kni_names_free(&notes);
    }
    static const kni_elf refused[] = {{.has_executable_stack = true},
                                      {.lacks_stack_header = true},
                                      {.audit = "libx.so"},
                                      {.filter = "libx.so"},
                                      {.has_text_relocations = true}};
    for (size_t i = 0; i < KN_LEN(refused); ++i) {
        kni_names notes = {NULL, 0, 0};
        assert_int_equal(kni_elf_check_needs(&refused[i], "_C.so", &notes, NULL), KN_ERR_UNTRUSTED);
        kni_names_free(&notes);
    }
}

static bool look(kni_bytes file)
{
    kn_error err = KN_ERROR_INIT;
    kni_elf elf;
    const kn_status st = kni_elf_read(file.data, file.size, "f", &elf, &err);
    if (st == KN_OK) {
        kni_bytes part;
        size_t index = 0;
        kni_elf_exports_function(&elf, "__tvm_ffi_scale");
        kni_elf_check_needs(&elf, "f", NULL, NULL);
        kni_elf_check_runs(&elf, "f", "x86_64", glibc_236, NULL);
        while (kni_elf_next_section(&elf, ".text", &index, &part))
            assert_true(part.data >= file.data && part.data + part.size <= file.data + file.size);
        kni_elf_dispose(&elf);
    } else {
        assert_true(strncmp(kn_error_text(&err), "f: ", 3) == 0);
        assert_null(strchr(kn_error_text(&err), '\n'));
    }
    kn_error_dispose(&err);
    return st == KN_OK;
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    static const char *const files[] = {"plain.so", "sysv_hash.so", "unique.so", "aarch64.so"};
    for (size_t i = 0; i < KN_LEN(files); ++i) {
        print_message("  %s\n", files[i]);
        // Section headers and what they describe lie behind the last segment; only there a cut may go unnoticed.
        const kni_bytes file = object_read(files[i]);
        size_t end = 0;
        for (size_t j = 0, at = kni_bytes_u64(file, 32); j < kni_bytes_u16(file, 56); ++j, at += 56)
            if (kni_bytes_u32(file, at) == 1)
                end = kni_bytes_u64(file, at + 8) + kni_bytes_u64(file, at + 32);
        assert_int_equal(object_sweep(files[i], look), file.size - end);
        object_free(file);
    }
}

static kn_status read_once(void *user, kn_error *err)
{
    const kni_bytes *file = user;
    kni_elf elf;
    const kn_status st = kni_elf_read(file->data, file->size, "f", &elf, err);
    kni_elf_dispose(&elf);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    kni_bytes file = object_read("plain.so");
    assert_true(fail_alloc_each(FAIL_OURS, read_once, &file) >=
                3); // segments, libraries, functions
    object_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),           cmocka_unit_test(test_checks),
        cmocka_unit_test(test_facts),           cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_memory_rules),    cmocka_unit_test(test_search_paths),
        cmocka_unit_test(test_needed_list),     cmocka_unit_test(test_hosted_needs),
        cmocka_unit_test(test_cut_and_flipped), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
