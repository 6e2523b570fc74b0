// Listings of files: pages of an answer (an empty line between two), and a listing in the cache. Paths stay below the root, blobs are
// names of blobs, no file is another's directory.
#include <string.h>

#include "base/fs.h"
#include "fuzz.h"
#include "hub/answer.h"

static void look_at(const kni_tree *tree)
{
    for (size_t i = 0; i < tree->count; ++i) {
        const kni_tree_file *file = &tree->files[i];
        const char *blob = kni_tree_file_blob(file);
        FUZZ_CHECK(kni_path_check_relative(file->path, "", NULL) == KN_OK);
        FUZZ_CHECK(!blob[0] || kni_is_object_id(blob));
        FUZZ_CHECK(!blob[0] || strlen(blob) == (file->is_large ? 64 : 40));
        FUZZ_CHECK(file->size <= (uint64_t)1 << 44);
        for (size_t f = 0; i < 100 && f < i; ++f) {
            const size_t length = strlen(tree->files[f].path);
            FUZZ_CHECK(strcmp(tree->files[f].path, file->path) < 0);
            FUZZ_CHECK(strncmp(tree->files[f].path, file->path, length) != 0 ||
                       file->path[length] != '/');
        }
    }
}

static void check_error(kn_error *err)
{
    FUZZ_CHECK(err->status == KN_ERR_FORMAT || err->status == KN_ERR_UNTRUSTED ||
               err->status == KN_ERR_UNSUPPORTED);
    FUZZ_CHECK(strncmp(kn_error_text(err), "u:", 2) == 0);
    FUZZ_CHECK(!strchr(kn_error_text(err), '\n'));
    kn_error_dispose(err);
}

static void read_pages(const char *text, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_tree tree = {NULL, 0, 0};
    const char *end = text + size;
    for (const char *page = text; page < end;) {
        const char *cut = memmem(page, (size_t)(end - page), "\n\n", 2);
        const size_t length = (size_t)((cut ? cut : end) - page), before = tree.count;
        if (kni_tree_add_page(&tree, page, length, "u", "build", &err) != KN_OK) {
            check_error(&err);
            FUZZ_CHECK(tree.count == before);
        }
        page = cut ? cut + 2 : end;
    }
    if (kni_tree_finish(&tree, "u", &err) == KN_OK) {
        look_at(&tree);
        for (size_t i = 0; i < tree.count; ++i)
            FUZZ_CHECK(strncmp(tree.files[i].path, "build/", 6) == 0);
    } else {
        check_error(&err);
    }
    kni_tree_dispose(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_tree tree;
    read_pages((const char *)data, size);
    if (kni_tree_parse_cached((const char *)data, size, "u", &tree, &err) != KN_OK) {
        check_error(&err);
        FUZZ_CHECK(!tree.files);
    }
    look_at(&tree);
    kni_tree_dispose(&tree);
    return 0;
}
