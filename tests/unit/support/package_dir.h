// Kernel packages that a test makes in a directory of its own, from the shared objects of tests/fixtures/packages.
#ifndef KN_TEST_PACKAGE_DIR_H
#define KN_TEST_PACKAGE_DIR_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/fs.h"
#include "package/digest_block.h"
#include "support/temp_dir.h"

#if defined(__x86_64__)
#define PACKAGE_CPU "x86_64"
#else
#define PACKAGE_CPU "aarch64"
#endif
#define PACKAGE_VARIANT "tvm-ffi01-cpu-" PACKAGE_CPU "-linux"

#define PACKAGE_PATH_MAX 4096

typedef struct package_dir {
    char *root;                         // real, absolute
    char variant[PACKAGE_PATH_MAX / 2]; // root/build/<variant>
} package_dir;

// root/name into out.
static inline const char *package_path(const char *root, const char *name, char *out)
{
    assert_in_range(snprintf(out, PACKAGE_PATH_MAX, "%s/%s", root, name), 1, PACKAGE_PATH_MAX - 1);
    return out;
}

static inline void package_read(const char *path, kni_buf *out)
{
    assert_int_equal(kni_file_read(out, path, NULL), KN_OK);
}

// Writes dir/name with the directories above it; a new file even where there is one, which may be mapped.
static inline void package_write(const char *dir, const char *name, const void *data, size_t size)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(kni_dir_make(dir, NULL), KN_OK);
    unlink(package_path(dir, name, path));
    temp_dir_write(dir, name, data, size);
}

static inline void package_text(const char *dir, const char *name, const char *text)
{
    package_write(dir, name, text, strlen(text));
}

// Puts one of the fixtures' shared objects into a directory: "good.so" as `name`.
static inline void package_copy_library(const char *dir, const char *fixture, const char *name)
{
    char path[PACKAGE_PATH_MAX];
    kni_buf bytes = KNI_BUF_ANY;
    package_read(package_path(KN_TEST_BUILD_DIR "/fixtures/packages", fixture, path), &bytes);
    package_write(dir, name, bytes.data, bytes.size);
    kni_buf_dispose(&bytes);
}

// Writes metadata.json with the digests of the files that are there now. members: more of them, each with its comma before it,
// or "". The backend is cpu unless they name one.
static inline void package_seal(const char *dir, const char *members)
{
    kni_names files;
    kni_buf text = KNI_BUF_ANY;
    const char *comma = "";
    assert_int_equal(kni_tree_list(dir, &files, NULL), KN_OK);
    kni_buf_printf(&text,
                   "{\"name\": \"fixture\", \"id\": \"_fixture_1\", \"version\": 1, \"license\": "
                   "\"Apache-2.0\"%s%s, \"digest\": "
                   "{\"algorithm\": \"sha256\", \"files\": {",
                   strstr(members, "\"backend\"") ? "" : ", \"backend\": {\"type\": \"cpu\"}",
                   members);
    for (size_t i = 0; i < files.count; ++i) {
        char path[PACKAGE_PATH_MAX], base64[89];
        kni_digest digest;
        if (kni_digest_block_leaves_out(files.names[i]))
            continue;
        const int fd = open(package_path(dir, files.names[i], path), O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(kni_digest_fd(KNI_SHA256, fd, path, &digest, NULL), KN_OK);
        close(fd);
        kni_digest_base64(&digest, base64);
        kni_buf_printf(&text, "%s\"%s\": \"%s\"", comma, files.names[i], base64);
        comma = ", ";
    }
    kni_buf_puts(&text, "}}}\n");
    assert_false(text.failed);
    package_write(dir, "metadata.json", text.data, text.size);
    kni_buf_dispose(&text);
    kni_names_free(&files);
}

static inline void package_root(package_dir *out)
{
    out->root = temp_dir_new();
    snprintf(out->variant, sizeof(out->variant), "%s/build/%s", out->root, PACKAGE_VARIANT);
}

// A package of one variant: the fixture as kernel.so, sealed.
static inline void package_make(package_dir *out, const char *fixture, const char *members)
{
    package_root(out);
    package_copy_library(out->variant, fixture, "kernel.so");
    package_seal(out->variant, members);
}

static inline void package_remove(package_dir *dir)
{
    temp_dir_remove(dir->root);
}

// How often a fixture's constructor has run since the canary was set.
static inline size_t package_canary_count(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    struct stat info;
    return stat(package_path(dir->root, "canary", path), &info) == 0 ? (size_t)info.st_size : 0;
}

static inline void package_set_canary(const package_dir *dir)
{
    char path[PACKAGE_PATH_MAX];
    assert_int_equal(setenv("KN_TEST_CANARY", package_path(dir->root, "canary", path), 1), 0);
}

// Is anything below the directory mapped into this process?
static inline bool package_is_mapped(const package_dir *dir)
{
    kni_buf maps = KNI_BUF_ANY;
    package_read("/proc/self/maps", &maps);
    const bool found = strstr(kni_buf_text(&maps), dir->root) != NULL;
    kni_buf_dispose(&maps);
    return found;
}

#endif
