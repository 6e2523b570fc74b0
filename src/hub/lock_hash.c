// The hash of a variant in the hashed form of kernels.lock.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "hub/lock.h"

static int compare_paths(const void *a, const void *b)
{
    const kni_lock_file *const *one = a, *const *two = b;
    return strcmp((*one)->path, (*two)->path);
}

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void append_raw(kni_buf *out, const char *blob)
{
    for (; *blob; blob += 2) {
        const unsigned char byte = (unsigned char)(digit(blob[0]) << 4 | digit(blob[1]));
        kni_buf_append(out, &byte, 1);
    }
}

kn_status kni_lock_hash_files(const kni_lock_file *files, size_t n, char sha256[KNI_SHA256_SIZE],
                              kn_error *err)
{
    kni_buf bytes = KNI_BUF_ANY;
    kni_digest digest;
    kn_status st = KN_OK;
    char hex[129];
    const kni_lock_file **order = kni_calloc(n, sizeof(*order));
    if (!order)
        return kni_no_memory(err);
    for (size_t i = 0; i < n; ++i)
        order[i] = &files[i];
    qsort(order, n, sizeof(*order), compare_paths);
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        if (kni_path_is_byte_code(order[i]->path))
            continue;
        if (!kni_is_object_id(order[i]->blob)) {
            st = kn_error_set(err, KN_ERR_FORMAT,
                              "%.200s: its object id is \"%.80s\": expected 40 or 64 lower-case "
                              "hexadecimal digits",
                              order[i]->path, order[i]->blob);
            continue;
        }
        kni_buf_puts(&bytes, order[i]->path);
        append_raw(&bytes, order[i]->blob);
    }
    if (st == KN_OK && bytes.failed)
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = kni_digest_bytes(KNI_SHA256, kni_buf_text(&bytes), bytes.size, &digest, err);
    if (st == KN_OK) {
        kni_digest_hex(&digest, hex);
        memcpy(sha256, hex, KNI_SHA256_SIZE);
    }
    kni_buf_dispose(&bytes);
    kni_free(order);
    return st;
}
