// What a check leaves behind.
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "package/package.h"

void kni_checked_file_dispose(kni_checked_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    *file = KNI_CHECKED_FILE_INIT;
}

bool kni_same_file_state(const struct stat *then, const struct stat *now)
{
    return now->st_dev == then->st_dev && now->st_ino == then->st_ino &&
           now->st_size == then->st_size && now->st_mode == then->st_mode &&
           now->st_mtim.tv_sec == then->st_mtim.tv_sec &&
           now->st_mtim.tv_nsec == then->st_mtim.tv_nsec &&
           now->st_ctim.tv_sec == then->st_ctim.tv_sec &&
           now->st_ctim.tv_nsec == then->st_ctim.tv_nsec;
}

bool kni_file_sums_add(kni_file_sums *sums, const char *path, const kni_digest *sha256)
{
    void *digests = sums->sha256;
    if (!kni_grow(&digests, &sums->capacity, sums->paths.count + 1, sizeof(*sha256)))
        return false;
    sums->sha256 = digests;
    sums->sha256[sums->paths.count] = *sha256;
    return kni_names_push(&sums->paths, kni_strdup(path));
}

void kni_file_sums_dispose(kni_file_sums *sums)
{
    kni_names_free(&sums->paths);
    kni_free(sums->sha256);
    *sums = (kni_file_sums){.sha256 = NULL};
}

bool kni_file_sums_equal(const kni_file_sums *a, const kni_file_sums *b)
{
    if (a->paths.count != b->paths.count)
        return false;
    for (size_t i = 0; i < a->paths.count; ++i)
        if (strcmp(a->paths.names[i], b->paths.names[i]) != 0 ||
            !kni_digest_equal(&a->sha256[i], &b->sha256[i]))
            return false;
    return true;
}

void kni_checked_dispose(kni_checked *checked)
{
    kni_checked_file_dispose(&checked->library);
    kni_file_sums_dispose(&checked->sums);
    kni_names_free(&checked->notes);
    kni_free(checked->object);
    *checked = KNI_CHECKED_INIT;
}
