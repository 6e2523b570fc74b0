#include "support/package_dir.h"

#include "kernels/package.h"
#include "package/package.h"

// Each row breaks one thing. `change` works on the sealed variant directory.
typedef struct row {
    const char *name;
    const char *fixture;
    const char *members;
    void (*change)(const package_dir *dir);
    const char *device; // of the target; NULL: this machine's CPU
    kn_status status;
    const char *rule;  // of the trace's last entry
    const char *error; // a part of it
} row;

static void append_byte(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    const int fd = open(package_path(dir->variant, "kernel.so", path), O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

static void change_a_byte(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    const int fd = open(package_path(dir->variant, "kernel.so", path), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "\x7f", 1, 4096) == 1);
    close(fd);
}

static void remove_library(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(unlink(package_path(dir->variant, "kernel.so", path)), 0);
}

static void add_file(const package_dir *dir)
{
    package_text(dir->variant, "sub/extra.txt", "not listed");
}

static void add_byte_code(const package_dir *dir)
{
    package_text(dir->variant, "__pycache__/x.py", "never listed");
    package_text(dir->variant, "x.pyc", "never listed");
    package_text(dir->variant, "metadata.json.sigstore", "{}");
}

static void link_to(const package_dir *dir, const char *target, const char *name)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(symlink(target, package_path(dir->variant, name, path)), 0);
}

static void add_inner_link(const package_dir *dir)
{
    link_to(dir, "kernel.so", "alias");
}

static void add_listed_link(const package_dir *dir)
{
    package_text(dir->variant, "a.py", "x = 1\n");
    link_to(dir, "a.py", "b.py");
    package_seal(dir->variant, "");
}

static void add_outer_link(const package_dir *dir)
{
    link_to(dir, "/etc/passwd", "x.pyc");
}

static void add_dangling_link(const package_dir *dir)
{
    link_to(dir, "nowhere", "x.pyc");
}

static void add_linked_directory(const package_dir *dir)
{
    link_to(dir, "..", "__pycache__");
}

static void add_fifo(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(mkfifo(package_path(dir->variant, "x.pyc", path), 0600), 0);
}

// In a directory that a digest block never lists, for a search path to find.
static void hide_an_object(const package_dir *dir)
{
    package_copy_library(dir->variant, "good_2.so", "__pycache__/libgomp.so.1");
}

static void add_second_object(const package_dir *dir)
{
    package_copy_library(dir->variant, "good_2.so", "data.bin");
    package_seal(dir->variant, ", \"library\": \"kernel.so\"");
}

static void make_text(const package_dir *dir)
{
    package_text(dir->variant, "kernel.so", "not an object");
    package_seal(dir->variant, "");
}

static void patch(const package_dir *dir, long offset, const char *bytes, size_t size)
{
    char path[PACKAGE_PATH_MAX];
    const int fd = open(package_path(dir->variant, "kernel.so", path), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, bytes, size, offset) == (ssize_t)size);
    close(fd);
    package_seal(dir->variant, "");
}

static void truncate_object(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(truncate(package_path(dir->variant, "kernel.so", path), 1000), 0);
    package_seal(dir->variant, "");
}

static void make_s390(const package_dir *dir)
{
    patch(dir, 18, "\x16\x00", 2); // e_machine
}

static void make_32_bits(const package_dir *dir)
{
    patch(dir, 4, "\x01", 1); // EI_CLASS
}

#define SCALE(signature, call)                                                                     \
    ", \"layers\": {\"Scale\": {\"signature\": \"" signature "\", \"forward\": \"" call "\"}}"
#define SIGNATURE "(x: f32 [...], factor: float = 2.0) -> (y: like x)"

static const row rows[] = {
    {"good", "good.so", "", NULL, NULL, KN_OK, "exports", NULL},
    {"byte code and a signature", "good.so", "", add_byte_code, NULL, KN_OK, "exports", NULL},
    {"a link inside, listed", "good.so", "", add_listed_link, NULL, KN_OK, "exports", NULL},
    {"a search path inside", "origin.so", "", NULL, NULL, KN_OK, "exports", NULL},
    {"a feature that is here", "good.so", ", \"cpu-features\": []", NULL, NULL, KN_OK, "exports",
     NULL},
    {"a layer", "good.so", SCALE(SIGNATURE, "scale(y, x, factor)"), NULL, NULL, KN_OK, "exports",
     NULL},

    {"library longer than listed", "good.so", "", append_byte, NULL, KN_ERR_UNTRUSTED, "digest",
     "'kernel.so' is not what metadata.json says"},
    {"library changed", "good.so", "", change_a_byte, NULL, KN_ERR_UNTRUSTED, "digest",
     "'kernel.so' is not what metadata.json says"},
    {"library gone", "good.so", "", remove_library, NULL, KN_ERR_UNTRUSTED, "digest",
     "'kernel.so' is listed in metadata.json but is not there"},
    {"file not listed", "good.so", "", add_file, NULL, KN_ERR_UNTRUSTED, "digest",
     "'sub/extra.txt' is not listed"},
    {"link not listed", "good.so", "", add_inner_link, NULL, KN_ERR_UNTRUSTED, "digest",
     "'alias' is not listed"},
    {"link outside", "good.so", "", add_outer_link, NULL, KN_ERR_UNTRUSTED, "link", "leads out of"},
    {"link to nothing", "good.so", "", add_dangling_link, NULL, KN_ERR_UNTRUSTED, "link",
     "leads nowhere"},
    {"linked directory", "good.so", "", add_linked_directory, NULL, KN_ERR_UNTRUSTED, "link",
     "is a link"},
    {"FIFO", "good.so", "", add_fifo, NULL, KN_ERR_UNTRUSTED, "link", "is a FIFO"},
    {"second object, hidden", "good.so", "", hide_an_object, NULL, KN_ERR_UNTRUSTED, "library",
     "'__pycache__/libgomp.so.1' is a second ELF file"},
    {"second object, listed", "good.so", "", add_second_object, NULL, KN_ERR_UNTRUSTED, "library",
     "'data.bin' is a second ELF file"},
    {"text for a library", "good.so", "", make_text, NULL, KN_ERR_FORMAT, "library",
     "'kernel.so' is no ELF file"},

    {"cut short", "good.so", "", truncate_object, NULL, KN_ERR_FORMAT, "elf", "kernel.so"},
    {"32 bits", "good.so", "", make_32_bits, NULL, KN_ERR_INCOMPATIBLE, "elf", "kernel.so"},
    {"another machine", "good.so", "", make_s390, NULL, KN_ERR_INCOMPATIBLE, "machine", "s390x"},
    {"a newer glibc", "future_glibc.so", "", NULL, NULL, KN_ERR_INCOMPATIBLE, "machine",
     "glibc 2.99"},
    {"needs another library", "needed.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs",
     "libkn_fixture_helper.so"},
    {"calls itself libgomp", "system_soname.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "soname",
     "'libgomp.so.1'"},
    {"a search path", "rpath.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs", "/tmp"},
    {"a search path above", "rpath_outside.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs",
     "$ORIGIN/../.."},
    {"audit", "audit.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs", "libkn_audit.so"},
    {"filter", "filter.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs", "libkn_filter.so"},
    {"auxiliary", "auxiliary.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs", "libkn_auxiliary.so"},
    {"executable stack", "executable_stack.so", "", NULL, NULL, KN_ERR_UNTRUSTED, "needs",
     "executable stack"},
    {"TVM's own loader", "tvm_loader.so", "", NULL, NULL, KN_ERR_UNSUPPORTED, "needs",
     "__tvm_ffi__library_ctx"},
    {"a feature that no CPU has", "good.so", ", \"cpu-features\": [\"sse99\"]", NULL, NULL,
     KN_ERR_INCOMPATIBLE, "features", "'sse99'"},
    {"a feature above the target's level", "good.so", ", \"cpu-features\": [\"avx2\"]", NULL,
     "cpu:x86-64-v2", KN_ERR_INCOMPATIBLE, "features", "'avx2'"},
    {"another backend", "good.so", ", \"backend\": {\"type\": \"cuda\"}", NULL, NULL,
     KN_ERR_INCOMPATIBLE, "backend", "for 'cuda', the device is cpu"},
    {"an unknown backend", "good.so", ", \"backend\": {\"type\": \"abacus\"}", NULL, NULL,
     KN_ERR_INCOMPATIBLE, "backend", "for 'abacus'"},
    {"a layer without a function", "good.so", SCALE(SIGNATURE, "scaled(y, x, factor)"), NULL, NULL,
     KN_ERR_INCOMPATIBLE, "exports", "calls the function 'scaled'"},
};

static void check_row(const row *r)
{
    package_dir dir;
    kn_package *package = NULL;
    kn_machine *machine = NULL;
    kn_target target;
    kn_error err = KN_ERROR_INIT;
    kn_package_verdict verdict = KN_PACKAGE_VERDICT_INIT;
    kn_trace *trace = kn_trace_new();
    package_make(&dir, r->fixture, r->members);
    package_set_canary(&dir);
    assert_int_equal(kn_package_open(dir.variant, &package, NULL), KN_OK);
    if (r->change)
        r->change(&dir);
    if (r->change == add_listed_link || r->change == add_second_object || r->change == make_text ||
        r->change == truncate_object || r->change == make_s390 ||
        r->change == make_32_bits) { // sealed again
        kn_package_close(package);
        if (kn_package_open(dir.variant, &package, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
    }
    assert_int_equal(r->device ? kn_machine_parse(r->device, &machine, NULL)
                               : kn_machine_probe(&machine, NULL),
                     KN_OK);
    assert_int_equal(kn_target_init(machine, KN_DEVICE_CPU, 0, &target, NULL), KN_OK);

    const kn_status st = kn_package_check(package, &target, &verdict, trace, &err);
    const kn_trace_entry last = kn_trace_get(trace, kn_trace_count(trace) - 1);
    if (st != r->status)
        fail_msg("status %d: %s", st, kn_error_text(&err));
    assert_int_equal(verdict.runs, st == KN_OK);
    assert_string_equal(last.rule, r->rule);
    assert_int_equal(last.accepted, st == KN_OK);
    assert_string_equal(last.subject, PACKAGE_VARIANT);
    if (r->error) {
        if (!strstr(kn_error_text(&err), r->error))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), r->error);
        assert_non_null(strstr(kn_error_text(&err), dir.variant));
        assert_true(last.reason[0] != '\0');
    }
    assert_int_equal(package_canary_count(&dir), 0);
    assert_false(package_is_mapped(&dir));

    kn_error_dispose(&err);
    kn_trace_free(trace);
    kn_machine_unref(machine);
    kn_package_close(package);
    package_remove(&dir);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
#if !defined(__x86_64__)
        if (rows[i].device) {
            print_message("  %s: skipped, it is about x86-64\n", rows[i].name);
            continue;
        }
#endif
        print_message("  %s\n", rows[i].name);
        check_row(&rows[i]);
    }
}

// Without a digest block: files are taken as they are, links and code are judged all the same.
static void test_without_digests(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(const package_dir *dir);
        kn_status status;
    } cases[] = {
        {"a file more", add_file, KN_OK},
        {"an inner link", add_inner_link, KN_ERR_UNTRUSTED}, // a second name of the object
        {"an outer link", add_outer_link, KN_ERR_UNTRUSTED},
        {"a second object", hide_an_object, KN_ERR_UNTRUSTED},
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        package_dir dir;
        kn_package *package = NULL;
        kn_machine *machine = NULL;
        kn_target target;
        kn_package_verdict verdict = {.struct_size = sizeof(verdict), .digests_checked = 1};
        print_message("  %s\n", cases[i].name);
        package_root(&dir);
        package_copy_library(dir.variant, "good.so", "kernel.so");
        package_text(dir.variant, "metadata.json", "{\"library\": \"kernel.so\"}");
        cases[i].change(&dir);
        assert_int_equal(kn_package_open(dir.variant, &package, NULL), KN_OK);
        assert_false(kn_package_has_digests(package));
        assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
        assert_int_equal(kn_target_init(machine, KN_DEVICE_CPU, 0, &target, NULL), KN_OK);
        assert_int_equal(kn_package_check(package, &target, &verdict, NULL, NULL), cases[i].status);
        assert_int_equal(verdict.digests_checked, 0);
        kn_machine_unref(machine);
        kn_package_close(package);
        package_remove(&dir);
    }
}

// The SHA-256 of what lies there now, as a lock has them.
static void sum_file(const package_dir *dir, const char *name, kni_sum_file *out)
{
    char path[PACKAGE_PATH_MAX], hex[129];
    kni_digest digest;
    const int fd = open(package_path(dir->variant, name, path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(kni_digest_fd(KNI_SHA256, fd, path, &digest, NULL), KN_OK);
    close(fd);
    kni_digest_hex(&digest, hex);
    out->path = (char *)(uintptr_t)name;
    memcpy(out->sha256, hex, KNI_SHA256_SIZE);
}

// What is believed of a locked package is what was locked, though metadata.json was another when it was read: here the layer is.
static void test_swapped_metadata(void **state)
{
    (void)state;
    static const char good[] = "{\"library\": \"kernel.so\"}";
    static const char evil[] =
        "{\"library\": \"kernel.so\", \"layers\": {\"Scale\": {\"signature\": "
        "\"(x: f32 [...]) -> (y: like x)\", \"forward\": \"scale(y, x)\"}}}";
    for (int is_swapped = 0; is_swapped < 2; ++is_swapped) {
        package_dir dir;
        kn_package *package = NULL;
        kn_machine *machine = NULL;
        kn_target target;
        kn_error err = KN_ERROR_INIT;
        kni_sum_file files[2] = {{.path = NULL}, {.path = NULL}};
        const kni_sum_variant sums = {.files = files, .n_files = 2};
        const kni_expected expected = {.sums = &sums};
        kni_checked checked = KNI_CHECKED_INIT;
        package_root(&dir);
        package_copy_library(dir.variant, "good.so", "kernel.so");
        package_text(dir.variant, "metadata.json", is_swapped ? evil : good);
        assert_int_equal(kn_package_open(dir.variant, &package, NULL), KN_OK);
        package_text(dir.variant, "metadata.json", good);
        sum_file(&dir, "kernel.so", &files[0]);
        sum_file(&dir, "metadata.json", &files[1]);
        assert_int_equal(kn_machine_probe(&machine, NULL), KN_OK);
        assert_int_equal(kn_target_init(machine, KN_DEVICE_CPU, 0, &target, NULL), KN_OK);
        const kn_status st =
            kni_package_check(package, &expected, &target, NULL, &checked, NULL, &err);
        if (st != (is_swapped ? KN_ERR_UNTRUSTED : KN_OK))
            fail_msg("status %d: %s", (int)st, kn_error_text(&err));
        if (is_swapped)
            assert_non_null(strstr(kn_error_text(&err), "'metadata.json' is not what was locked"));
        kni_checked_dispose(&checked);
        kn_error_dispose(&err);
        kn_machine_unref(machine);
        kn_package_close(package);
        package_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_without_digests),
        cmocka_unit_test(test_swapped_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
