// Kernels that the host imports: checked as the others are, and nothing of them is mapped.
#include "support/fail_alloc.h"
#include "support/package_dir.h"

#include "kernels/context.h"

#define LAYERS                                                                                     \
    ", \"library\": \"kernel.so\", \"layers\": {\"Scale\": {\"signature\": \"(x: f32 [...], "      \
    "factor: float = 2.0) -> (y: like x)\", \"forward\": \"scale(y, x, factor)\"}}"
#define EXTENSION "torch213-cxx11-cpu-" PACKAGE_CPU "-linux"
#define STABLE "torch-stable-abi29-cpu-" PACKAGE_CPU "-linux"
#define BARE NULL // without metadata.json
#define DEVICE_CODE "\x7f\x45\x4c\x46\x02\x01\x01\x40\x04\0\0\0\0\0\0\0\x03\0\xe0\0"

static const kn_framework torch_213 = {sizeof(kn_framework), 2, 13, "cxx11"};

enum { FILES_MAX = 4 };

// One file of a variant: a fixture's shared object, or text.
typedef struct file {
    const char *name, *fixture, *text;
} file;

#define INIT                                                                                       \
    {                                                                                              \
        "__init__.py", NULL, "x = 1\n"                                                             \
    }
#define OBJECT(name_, fixture_)                                                                    \
    {                                                                                              \
        name_, fixture_, NULL                                                                      \
    }

static void add_file(const char *dir, const file *f)
{
    if (f->fixture)
        package_copy_library(dir, f->fixture, f->name);
    else if (strcmp(f->name, "kernel.co") == 0)
        package_write(dir, f->name, DEVICE_CODE, sizeof(DEVICE_CODE) - 1);
    else
        package_text(dir, f->name, f->text);
}

static void add_variant(const package_dir *dir, const char *variant, const file *files,
                        const char *members)
{
    char path[PACKAGE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/build/%s", dir->root, variant);
    for (size_t i = 0; i < FILES_MAX && files[i].name; ++i)
        add_file(path, &files[i]);
    if (members)
        package_seal(path, members);
}

static kn_context *open_context(kn_log_fn log, void *user)
{
    kn_context *ctx = NULL;
    assert_int_equal(kn_context_open(KN_CONTEXT_OPTIONS(.log = log, .log_user = user,
                                                        .log_level = KN_LOG_INFO, .device = "cpu"),
                                     &ctx, NULL),
                     KN_OK);
    return ctx;
}

typedef struct lines {
    size_t n_info, n_warnings;
    char warning[1024];
} lines;

static void take_line(void *user, kn_log_level level, const char *text)
{
    lines *self = user;
    self->n_info += level == KN_LOG_INFO;
    self->n_warnings += level == KN_LOG_WARNING;
    if (level == KN_LOG_WARNING)
        snprintf(self->warning, sizeof(self->warning), "%s", text);
}

typedef struct row {
    const char *name, *variant;
    file files[FILES_MAX];
    const char *members; // of metadata.json; BARE: there is none
    bool without_torch;
    kn_status status;
    bool is_hosted;
    const char *says; // a part of the error, or of the warning; NULL: there is none
} row;

static const row rows[] = {
    {"Python for a device", "torch-cpu", {INIT}, "", false, KN_OK, true, NULL},
    {"Python for all devices", "torch-universal", {INIT}, "", false, KN_OK, true, NULL},
    {"built elsewhere",
     "torch-universal",
     {INIT},
     ", \"backend\": {\"type\": \"cuda\"}",
     false,
     KN_OK,
     true,
     NULL},
    {"for another device",
     "torch-cpu",
     {INIT},
     ", \"backend\": {\"type\": \"cuda\"}",
     false,
     KN_ERR_INCOMPATIBLE,
     false,
     "for 'cuda', the device is cpu"},
    {"an extension of two objects",
     EXTENSION,
     {INIT, OBJECT("_C.abi3.so", "good.so"), OBJECT("lib/helper.so", "good_2.so")},
     "",
     false,
     KN_OK,
     true,
     NULL},
    {"the stable ABI", STABLE, {INIT, OBJECT("_C.so", "good.so")}, "", false, KN_OK, true, NULL},
    {"without PyTorch",
     "torch-cpu",
     {INIT},
     "",
     true,
     KN_ERR_INCOMPATIBLE,
     false,
     "is for PyTorch"},
    {"the first era", "torch-universal", {INIT}, BARE, false, KN_OK, true, NULL},
    {"the first era, a directory",
     EXTENSION,
     {{"some_kernel/__init__.py", NULL, ""}, OBJECT("some_kernel/_C.so", "good.so")},
     BARE,
     false,
     KN_OK,
     true,
     NULL},
    {"the first era, no Python",
     EXTENSION,
     {OBJECT("_C.so", "good.so")},
     BARE,
     false,
     KN_ERR_NOT_FOUND,
     false,
     "metadata.json"},
    {"the first era, for tvm-ffi, without PyTorch",
     PACKAGE_VARIANT,
     {INIT, OBJECT("kernel.so", "good.so")},
     BARE,
     true,
     KN_ERR_NOT_FOUND,
     false,
     "there is no metadata.json"},
    {"tvm-ffi from Python",
     PACKAGE_VARIANT,
     {INIT, OBJECT("kernel.so", "good.so")},
     "",
     false,
     KN_OK,
     true,
     NULL},
    {"tvm-ffi from Python, without PyTorch",
     PACKAGE_VARIANT,
     {INIT, OBJECT("kernel.so", "good.so")},
     "",
     true,
     KN_OK,
     false,
     NULL},
    {"tvm-ffi alone",
     PACKAGE_VARIANT,
     {OBJECT("kernel.so", "good.so")},
     "",
     false,
     KN_OK,
     false,
     NULL},
    {"tvm-ffi with layers",
     PACKAGE_VARIANT,
     {INIT, OBJECT("kernel.so", "good.so")},
     LAYERS,
     false,
     KN_OK,
     false,
     NULL},
    {"TVM's loader is Python's",
     PACKAGE_VARIANT,
     {INIT, OBJECT("kernel.so", "tvm_loader.so")},
     "",
     false,
     KN_OK,
     true,
     NULL},
    {"device code as a file",
     "torch-cpu",
     {INIT, {"kernel.co", NULL, ""}},
     "",
     false,
     KN_OK,
     true,
     NULL},
    // what a native kernel is refused for, and this one is not
    {"another library",
     EXTENSION,
     {INIT, OBJECT("_C.so", "needed.so")},
     "",
     false,
     KN_OK,
     true,
     "_C.so: needs the library \"libkn_fixture_helper.so\""},
    {"another search path",
     EXTENSION,
     {INIT, OBJECT("_C.so", "rpath.so")},
     "",
     false,
     KN_OK,
     true,
     "is \"/tmp\", which leads out of the package"},
    // and what both are refused for
    {"an executable stack",
     EXTENSION,
     {INIT, OBJECT("a.so", "good.so"), OBJECT("b.so", "executable_stack.so")},
     "",
     false,
     KN_ERR_UNTRUSTED,
     false,
     "b.so: asks for an executable stack"},
    {"audit",
     EXTENSION,
     {INIT, OBJECT("_C.so", "audit.so")},
     "",
     false,
     KN_ERR_UNTRUSTED,
     false,
     "libkn_audit.so"},
    {"filter",
     EXTENSION,
     {INIT, OBJECT("_C.so", "filter.so")},
     "",
     false,
     KN_ERR_UNTRUSTED,
     false,
     "libkn_filter.so"},
    {"a newer glibc",
     EXTENSION,
     {INIT, OBJECT("_C.so", "future_glibc.so")},
     "",
     false,
     KN_ERR_INCOMPATIBLE,
     false,
     "glibc 2.99"},
    {"called as a library of the system",
     EXTENSION,
     {INIT, OBJECT("_C.so", "system_soname.so")},
     "",
     false,
     KN_ERR_UNTRUSTED,
     false,
     "calls itself 'libgomp.so.1'"},
    {"a CPU feature",
     EXTENSION,
     {INIT, OBJECT("_C.so", "good.so")},
     ", \"cpu-features\": [\"sse99\"]",
     false,
     KN_ERR_INCOMPATIBLE,
     false,
     "'sse99'"},
};

static void check_row(const row *r)
{
    package_dir dir;
    lines seen = {.n_info = 0};
    kn_kernel *kernel = NULL;
    const kn_function *function = NULL;
    kn_error err = KN_ERROR_INIT;
    char *fetched = NULL;
    const kn_framework *framework = r->without_torch ? NULL : &torch_213;
    package_root(&dir);
    package_set_canary(&dir);
    add_variant(&dir, r->variant, r->files, r->members);
    kn_context *ctx = open_context(take_line, &seen);
    const kn_status st = kn_context_get_kernel(
        ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = framework), &kernel, NULL, &err);
    if (st != r->status)
        fail_msg("status %d: %s", (int)st, kn_error_text(&err));
    // Without loading it is the same answer.
    assert_int_equal(
        kn_context_fetch_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = framework),
                                &fetched, NULL, NULL, NULL),
        st);
    if (st != KN_OK) {
        if (!strstr(kn_error_text(&err), r->says))
            fail_msg("'%s' lacks '%s'", kn_error_text(&err), r->says);
        assert_null(fetched);
    } else {
        assert_string_equal(fetched, kn_package_dir(kn_kernel_package(kernel)));
        assert_int_equal(kn_kernel_is_hosted(kernel), r->is_hosted);
        assert_int_equal(seen.n_warnings, r->says != NULL);
        assert_int_equal(seen.n_info, r->members == BARE);
        if (r->says && !strstr(seen.warning, r->says))
            fail_msg("'%s' lacks '%s'", seen.warning, r->says);
    }
    if (st == KN_OK && r->is_hosted) {
        assert_int_equal(kn_kernel_function(kernel, "version", &function, &err),
                         KN_ERR_UNSUPPORTED);
        assert_non_null(strstr(kn_error_text(&err), "the host imports"));
        assert_null(function);
    }
    if (st != KN_OK || r->is_hosted) {
        assert_int_equal(package_canary_count(&dir), 0);
        assert_false(package_is_mapped(&dir));
    }
    kn_string_free(fetched);
    kn_error_dispose(&err);
    kn_context_close(ctx);
    package_remove(&dir);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        check_row(&rows[i]);
    }
}

// What says nothing of itself is called by its Python package, else by where it is.
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *variant, *init, *other, *chosen; // chosen NULL: no package
    } names[] = {
        {"owner-kernel/build/torch-cpu", "__init__.py", NULL, "owner-kernel"},
        {"owner_kernel/torch-cpu", "__init__.py", NULL, "owner-kernel"},
        {"k/build/torch-cpu", "my_kernel/__init__.py", NULL, "my-kernel"},
        {"my-kernel/build/torch-cpu", "my_kernel/__init__.py", "tests/__init__.py", "my-kernel"},
        {"my-kernel/build/torch-cpu", "zzz/__init__.py", "my_kernel/__init__.py", "my-kernel"},
        {"k/build/torch-cpu", "my_kernel/__init__.py", "tests/__init__.py", NULL},
        {"k/build/torch-cpu", "a/b/__init__.py", NULL, NULL},
    };
    for (size_t i = 0; i < KN_LEN(names); ++i) {
        package_dir dir;
        char path[PACKAGE_PATH_MAX];
        kn_package *package = NULL;
        package_root(&dir);
        print_message("  %s: %s\n", names[i].variant, names[i].init);
        package_text(package_path(dir.root, names[i].variant, path), names[i].init, "");
        if (names[i].other)
            package_text(path, names[i].other, "");
        assert_int_equal(kn_package_open(path, &package, NULL),
                         names[i].chosen ? KN_OK : KN_ERR_NOT_FOUND);
        if (names[i].chosen) {
            assert_string_equal(kn_package_name(package), names[i].chosen);
            assert_string_equal(kn_package_id(package), "");
            assert_false(kn_package_has_digests(package));
        }
        kn_package_close(package);
        package_remove(&dir);
    }
}

// tvm-ffi with layers, then the order of PyTorch's hosts: only what is in a variant tells which it is.
static void test_order(void **state)
{
    (void)state;
    static const char feature[] = LAYERS ", \"cpu-features\": [\"sse99\"]";
    static const struct {
        const char *name;
        struct {
            const char *variant, *members;
        } offered[3];
        const char *chosen, *step; // step: a part of the trace; NULL: whatever it says
    } orders[] = {
        {"layers before all",
         {{STABLE, ""}, {PACKAGE_VARIANT, LAYERS}, {"torch-cpu", ""}},
         PACKAGE_VARIANT,
         NULL},
        {"without layers after the stable ABI",
         {{STABLE, ""}, {PACKAGE_VARIANT, ""}},
         STABLE,
         "has no layers of its own"},
        {"and after PyTorch", {{EXTENSION, ""}, {PACKAGE_VARIANT, ""}}, EXTENSION, NULL},
        {"and before Python alone",
         {{"torch-cpu", ""}, {PACKAGE_VARIANT, ""}, {"torch-universal", ""}},
         PACKAGE_VARIANT,
         "has no layers of its own"},
        {"layers that do not run here",
         {{STABLE, ""}, {PACKAGE_VARIANT, feature}},
         STABLE,
         "'sse99'"},
        {"PyTorch's does not run here",
         {{EXTENSION, ", \"cpu-features\": [\"sse99\"]"}, {PACKAGE_VARIANT, ""}},
         PACKAGE_VARIANT,
         "'sse99'"},
        {"its device before all devices",
         {{"torch-universal", ""}, {"torch-cpu", ""}},
         "torch-cpu",
         NULL},
    };
    static const file files[FILES_MAX] = {INIT, OBJECT("kernel.so", "good.so")};
    for (size_t i = 0; i < KN_LEN(orders); ++i) {
        package_dir dir;
        kn_kernel *kernel = NULL;
        kn_error err = KN_ERROR_INIT;
        kn_trace *trace = kn_trace_new();
        print_message("  %s\n", orders[i].name);
        package_root(&dir);
        for (size_t n = 0; n < 3 && orders[i].offered[n].variant; ++n)
            add_variant(&dir, orders[i].offered[n].variant, files, orders[i].offered[n].members);
        kn_context *ctx = open_context(NULL, NULL);
        if (kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = &torch_213),
                                  &kernel, trace, &err) != KN_OK)
            fail_msg("%s", kn_error_text(&err));
        assert_string_equal(kn_package_variant(kn_kernel_package(kernel)), orders[i].chosen);
        if (orders[i].step && !strstr(kn_trace_text(trace), orders[i].step))
            fail_msg("'%s' lacks '%s'", kn_trace_text(trace), orders[i].step);
        kn_trace_free(trace);
        kn_context_close(ctx);
        package_remove(&dir);
    }
}

// Hosts of one process that differ: each gets its own, whoever asks first.
static void test_two_hosts(void **state)
{
    (void)state;
    static const kn_framework none = {sizeof(kn_framework), 0, 0, NULL};
    static const file files[FILES_MAX] = {INIT, OBJECT("kernel.so", "good.so")};
    package_dir dir;
    kn_kernel *hosted = NULL, *native = NULL, *again = NULL;
    package_root(&dir);
    add_variant(&dir, PACKAGE_VARIANT, files, "");
    for (int order = 0; order < 2; ++order) {
        kn_context *ctx = open_context(NULL, NULL);
        for (int i = 0; i < 2; ++i)
            assert_int_equal(kn_context_get_kernel(
                                 ctx,
                                 KN_KERNEL_OPTIONS(.path = dir.root,
                                                   .framework = i == order ? &torch_213 : NULL),
                                 i == order ? &hosted : &native, NULL, NULL),
                             KN_OK);
        assert_true(kn_kernel_is_hosted(hosted));
        assert_false(kn_kernel_is_hosted(native));
        assert_int_equal(
            kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = &none),
                                  &again, NULL, NULL),
            KN_OK);
        assert_ptr_equal(again, native);
        assert_int_equal(kn_context_get_kernel(
                             ctx, KN_KERNEL_OPTIONS(.path = dir.variant, .framework = &torch_213),
                             &again, NULL, NULL),
                         KN_OK);
        assert_ptr_equal(again, hosted);
        kn_context_close(ctx);
    }
    package_remove(&dir);
}

// A refusal is remembered by the object that it is about, and not for the other kind of host.
static void test_refusal_is_remembered(void **state)
{
    (void)state;
    static const file files[FILES_MAX] = {INIT, OBJECT("a.so", "good.so"),
                                          OBJECT("b.so", "future_glibc.so")};
    package_dir dir;
    char path[PACKAGE_PATH_MAX];
    kn_kernel *kernel = NULL;
    kn_error first = KN_ERROR_INIT, second = KN_ERROR_INIT;
    package_root(&dir);
    add_variant(&dir, EXTENSION, files, BARE);
    snprintf(path, sizeof(path), "%s/build/" EXTENSION, dir.root);
    kn_context *ctx = open_context(NULL, NULL);
#define ASK(err)                                                                                   \
    kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = &torch_213),       \
                          &kernel, NULL, err)
    assert_int_equal(ASK(&first), KN_ERR_INCOMPATIBLE);
    package_copy_library(path, "executable_stack.so", "a.so"); // would be KN_ERR_UNTRUSTED
    assert_int_equal(ASK(&second), KN_ERR_INCOMPATIBLE);
    assert_string_equal(kn_error_text(&first), kn_error_text(&second));
    package_copy_library(path, "good.so", "b.so");
    assert_int_equal(ASK(NULL), KN_ERR_UNTRUSTED);
    package_copy_library(path, "good_2.so", "a.so");
    assert_int_equal(ASK(NULL), KN_OK);
#undef ASK
    kn_error_dispose(&first);
    kn_error_dispose(&second);
    kn_context_close(ctx);
    package_remove(&dir);
}

static void change_text(const char *dir)
{
    package_text(dir, "sub/a.py", "y = 2\n");
}

static void append_text(const char *dir)
{
    char path[PACKAGE_PATH_MAX];
    const int fd = open(package_path(dir, "sub/a.py", path), O_WRONLY | O_APPEND);
    assert_true(fd >= 0 && write(fd, "#", 1) == 1);
    close(fd);
}

static void remove_text(const char *dir)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(unlink(package_path(dir, "sub/a.py", path)), 0);
}

static void link_text(const char *dir)
{
    char path[PACKAGE_PATH_MAX];
    remove_text(dir);
    package_text(dir, "other.py", "y = 2\n");
    assert_int_equal(symlink("../other.py", package_path(dir, "sub/a.py", path)), 0);
}

// Every kernel keeps what was checked, and gives only that.
static void test_files(void **state)
{
    (void)state;
    static const file files[FILES_MAX] = {
        INIT, OBJECT("kernel.so", "good.so"), {"sub/a.py", NULL, "y = 1\n"}};
    static const struct {
        const char *name, *file;
        void (*change)(const char *dir);
        kn_status status;
        const char *text;
    } reads[] = {
        {"as it was", "sub/a.py", NULL, KN_OK, "y = 1\n"},
        {"changed", "sub/a.py", change_text, KN_ERR_UNTRUSTED, "was changed since it was checked"},
        {"longer", "sub/a.py", append_text, KN_ERR_UNTRUSTED, "was changed since it was checked"},
        {"gone", "sub/a.py", remove_text, KN_ERR_UNTRUSTED, "is gone since it was checked"},
        {"a link", "sub/a.py", link_text, KN_ERR_UNTRUSTED, "was changed since it was checked"},
        {"another", "__init__.py", change_text, KN_OK, "x = 1\n"},
        {"none", "sub/b.py", NULL, KN_ERR_NOT_FOUND, "has no file 'sub/b.py'"},
        {"byte code", "x.pyc", NULL, KN_ERR_NOT_FOUND, "has no file 'x.pyc'"},
        {"outside", "../x", NULL, KN_ERR_NOT_FOUND, "has no file '../x'"},
    };
    for (size_t i = 0; i < 2 * KN_LEN(reads); ++i) {
        const bool is_hosted = i % 2;
        package_dir dir;
        char path[PACKAGE_PATH_MAX];
        kn_kernel *kernel = NULL;
        kn_error err = KN_ERROR_INIT;
        char *bytes = NULL, *real = NULL;
        size_t size = 0;
        print_message("  %s, %s\n", reads[i / 2].name, is_hosted ? "hosted" : "native");
        package_root(&dir);
        add_variant(&dir, PACKAGE_VARIANT, files, is_hosted ? "" : LAYERS);
        package_text(dir.variant, "x.pyc", "byte code");
        kn_context *ctx = open_context(NULL, NULL);
        assert_int_equal(
            kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = dir.root, .framework = &torch_213),
                                  &kernel, NULL, NULL),
            KN_OK);
        assert_int_equal(kn_kernel_is_hosted(kernel), is_hosted);
        static const char *const names[] = {"__init__.py", "kernel.so", "metadata.json",
                                            "sub/a.py"};
        assert_int_equal(kn_kernel_file_count(kernel), KN_LEN(names));
        for (size_t n = 0; n < KN_LEN(names); ++n)
            assert_string_equal(kn_kernel_file(kernel, n), names[n]);
        assert_null(kn_kernel_file(kernel, KN_LEN(names)));
        if (reads[i / 2].change)
            reads[i / 2].change(dir.variant);
        assert_int_equal(kn_kernel_read(kernel, reads[i / 2].file, &bytes, &size, &err),
                         reads[i / 2].status);
        assert_int_equal(kn_kernel_check_file(kernel, reads[i / 2].file, &real, NULL),
                         reads[i / 2].status);
        if (reads[i / 2].status == KN_OK) {
            assert_string_equal(bytes, reads[i / 2].text);
            assert_int_equal(size, strlen(reads[i / 2].text));
            assert_string_equal(real, package_path(dir.variant, reads[i / 2].file, path));
        } else {
            assert_null(bytes);
            assert_null(real);
            if (!strstr(kn_error_text(&err), reads[i / 2].text))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), reads[i / 2].text);
        }
        kn_string_free(bytes);
        kn_string_free(real);
        kn_error_dispose(&err);
        kn_context_close(ctx);
        package_remove(&dir);
    }
}

static void test_frameworks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        kn_framework framework;
        const char *error;
    } cases[] = {
        {"no size", {0, 2, 13, NULL}, "struct_size is 0"},
        {"no version", {sizeof(kn_framework), -1, 0, NULL}, "PyTorch -1.0"},
        {"no ABI", {sizeof(kn_framework), 2, 13, "cxx14"}, "'cxx14'"},
    };
    kn_context *ctx = open_context(NULL, NULL);
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        kn_kernel *kernel = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", cases[i].name);
        assert_int_equal(kn_context_get_kernel(ctx,
                                               KN_KERNEL_OPTIONS(.path = "/nowhere",
                                                                 .framework = &cases[i].framework),
                                               &kernel, NULL, &err),
                         KN_ERR_INVALID);
        assert_non_null(strstr(kn_error_text(&err), cases[i].error));
        kn_error_dispose(&err);
    }
    kn_context_close(ctx);
}

static kn_status use(kn_context *ctx, const char *path, kn_error *err)
{
    kn_kernel *kernel = NULL;
    char *bytes = NULL, *real = NULL;
    size_t size = 0;
    kn_trace *trace = kn_trace_new();
    kn_status st = trace ? KN_OK : kn_error_set(err, KN_ERR_NO_MEMORY, "trace");
    if (st == KN_OK)
        st = kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path, .framework = &torch_213),
                                   &kernel, trace, err);
    if (st == KN_OK)
        st = kn_kernel_read(kernel, "__init__.py", &bytes, &size, err);
    if (st == KN_OK)
        st = kn_kernel_check_file(kernel, "_C.so", &real, err);
    kn_string_free(bytes);
    kn_string_free(real);
    kn_trace_free(trace);
    return st;
}

// Every allocation on the way to a hosted kernel and its files fails once. lenient: without memory for the words on a file that may be
// missing nothing is lost.
static void fail_each(const char *members, bool lenient)
{
    static const file files[FILES_MAX] = {INIT, OBJECT("_C.so", "rpath.so"),
                                          OBJECT("b.so", "needed.so")};
    package_dir dir;
    package_root(&dir);
    add_variant(&dir, EXTENSION, files, members);
    add_variant(&dir, PACKAGE_VARIANT, files, ""); // passed over
    bool failed = true;
    for (size_t nth = 1; failed; ++nth)
        for (int persist = 0; persist < 2; ++persist) {
            kn_error err = KN_ERROR_INIT;
            kn_context *ctx = open_context(NULL, NULL);
            fail_alloc_install(FAIL_OURS | FAIL_JANSSON, nth, persist);
            const kn_status st = use(ctx, dir.root, &err);
            failed = fail_alloc_remove();
            if (err.status != st ||
                (st != (failed ? KN_ERR_NO_MEMORY : KN_OK) && !(lenient && failed && st == KN_OK)))
                fail_msg("allocation %zu: %d, %s", nth, (int)st, kn_error_text(&err));
            kn_error_dispose(&err);
            assert_int_equal(use(ctx, dir.root, NULL), KN_OK);
            kn_context_close(ctx);
        }
    package_remove(&dir);
}

static void test_memory(void **state)
{
    (void)state;
    fail_each("", false);
    fail_each(BARE, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_two_hosts),
        cmocka_unit_test(test_refusal_is_remembered),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_frameworks),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
