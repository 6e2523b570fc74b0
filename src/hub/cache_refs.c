// Writing refs: last of all, since huggingface_hub calls a repository corrupt whose ref has no snapshot.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/cache_writer.h"

// Does the file hold exactly the commit already?
static kn_status is_same(const kni_at *dir, const char *name, const char *commit, bool *yes,
                         kn_error *err)
{
    kni_buf text = KNI_BUF(KNI_COMMIT_SIZE);
    const kn_status st = kni_at_read(dir, name, &text, NULL);
    *yes = st == KN_OK && strcmp(kni_buf_text(&text), commit) == 0;
    kni_buf_dispose(&text);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

static kn_status write_in(const kni_cache_writer *writer, const kni_at *dir, const char *name,
                          const char *commit, kn_error *err)
{
    char temp[KNI_TEMP_NAME_SIZE];
    int fd = -1;
    kn_status st = kni_temp_make(writer, commit, temp, &fd, err);
    if (st != KN_OK)
        return st;
    st = kni_temp_append(writer, fd, temp, commit, strlen(commit), err);
    if (st == KN_OK)
        st = kni_temp_place(writer, fd, temp, dir, name, err);
    else
        unlinkat(writer->blobs.fd, temp, 0);
    close(fd);
    return st;
}

// The directory of the ref below the folder; make: those that are missing.
static kn_status open_ref_dir(const kni_at *folder, const char *ref, bool make, kni_at *out,
                              kn_error *err)
{
    *out = KNI_AT_NONE;
    char *path = kni_path_join("refs", ref);
    char *parent = path ? kni_path_dirname(path) : NULL;
    const kn_status st = parent ? kni_at_open(folder, parent, make, out, err) : kni_no_memory(err);
    kni_free(parent);
    kni_free(path);
    return st;
}

kn_status kni_cache_write_ref(kni_cache *cache, const kni_repo *repo, const char *ref,
                              const char *commit, kn_error *err)
{
    kni_snapshot snapshot = KNI_SNAPSHOT_NONE;
    kni_cache_writer *writer = NULL;
    kni_at dir = KNI_AT_NONE;
    bool is_done = false;
    kn_status st = kni_ref_check(ref, "a ref", err);
    if (st != KN_OK)
        return st;
    st = kni_snapshot_open(cache, repo, commit, &snapshot, err);
    if (st != KN_OK)
        return st;
    // Looked at before anything is opened for writing: a cache that is read only and up to date is no failure.
    st = open_ref_dir(&snapshot.folder, ref, false, &dir, NULL);
    if (st == KN_OK)
        st = is_same(&dir, kni_path_basename(ref), commit, &is_done, err);
    else
        st = st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK; // said below, where it is made
    kni_at_close(&dir);
    if (st != KN_OK || is_done)
        goto done;
    st = kni_cache_writer_open(cache, repo, &writer, err);
    if (st == KN_OK) {
        kni_cache_sweep(writer); // of one that died here: after it nothing need be downloaded
        st = open_ref_dir(&writer->folder, ref, true, &dir, err);
    }
    if (st == KN_OK)
        st = write_in(writer, &dir, kni_path_basename(ref), commit, err);
done:
    kni_at_close(&dir);
    kni_cache_writer_close(writer);
    kni_snapshot_close(&snapshot);
    return st;
}
