#include "hub/moved.h"

#include "base/error.h"
#include "hub/blob_hash.h"
#include "hub/cache_write.h"

static kn_status keep(kni_cache *cache, const kn_revision *revision, const kni_buf *text,
                      kn_error *err)
{
    char blob[KNI_SHA256_SIZE];
    kni_cache_writer *writer = NULL;
    // The name by which git has the content, and the hub too: it is no large file.
    kn_status st =
        kni_blob_hash_bytes(KNI_SHA1_SIZE - 1, kni_buf_text(text), text->size, blob, err);
    if (st == KN_OK)
        st = kni_cache_writer_open(cache, &revision->repo, &writer, err);
    if (st == KN_OK &&
        !kni_cache_has_file(writer, revision->commit, KNI_MOVED_FILE, blob, text->size)) {
        st = kni_cache_put_blob(writer, blob, kni_buf_text(text), text->size, err);
        if (st == KN_OK)
            st = kni_cache_link_file(writer, revision->commit, KNI_MOVED_FILE, blob, false, err);
    }
    kni_cache_writer_close(writer);
    if (st == KN_OK && revision->ref[0])
        st = kni_cache_write_ref(cache, &revision->repo, revision->ref, revision->commit, err);
    return st;
}

kn_status kni_moved_keep(kn_hub *hub, const kn_revision *revision, const kni_buf *text,
                         kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (!hub->has_own_cache)
        return KN_OK;
    const kn_status st = keep(hub->caches[0], revision, text, &why);
    if (st == KN_ERR_NO_MEMORY)
        return kni_error_move(err, &why);
    if (st != KN_OK)
        kni_log_write(&hub->log, KN_LOG_DEBUG, "%s: offline it will not be known that it moved: %s",
                      revision->repo.id, kn_error_text(&why));
    kn_error_dispose(&why);
    return KN_OK;
}

kn_status kni_moved_cached(const kn_hub *hub, const kn_revision *revision, kni_moved *out,
                           kn_error *err)
{
    kni_buf text = KNI_BUF((size_t)1 << 16);
    kn_status st = KN_ERR_NOT_FOUND;
    *out = (kni_moved){.revision = NULL};
    for (size_t i = 0; i < hub->n_caches && st != KN_OK && st != KN_ERR_NO_MEMORY; ++i)
        st = kni_cache_read_file(hub->caches[i], &revision->repo, revision->commit, KNI_MOVED_FILE,
                                 &text, NULL);
    if (st == KN_OK)
        st = kni_moved_parse(kni_buf_text(&text), text.size, KNI_MOVED_FILE, revision->repo.type,
                             out, err);
    else
        st =
            st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK; // none that can be read: as online
    if (st == KN_ERR_FORMAT)
        kn_error_prefix(err, "%s", revision->repo.id);
    kni_buf_dispose(&text);
    return st;
}
