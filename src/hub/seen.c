#include "hub/seen.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/record.h"

// The commit that the ref had when this user saw it; false: it is seen first.
static bool read_seen(const kn_hub *hub, const kn_revision *revision, kni_record *seen)
{
    *seen = (kni_record){
        .kind = KNI_RECORD_REF, .endpoint = hub->settings.endpoint, .repo = &revision->repo};
    if (!revision->ref[0] || strlen(revision->ref) >= sizeof(seen->ref))
        return false;
    memcpy(seen->ref, revision->ref, strlen(revision->ref) + 1);
    return kni_record_read(hub->settings.state_dir, seen);
}

kn_status kni_seen_compare(const kn_hub *hub, const kn_revision *revision, bool is_tag,
                           kn_error *err)
{
    kni_record seen;
    if (!read_seen(hub, revision, &seen) || strcmp(seen.commit, revision->commit) == 0)
        return KN_OK;
    if (!is_tag || hub->settings.endpoint_is_loopback) {
        kni_log_write(&hub->log, is_tag ? KN_LOG_WARNING : KN_LOG_INFO,
                      "%s: %s moved from %s to %s", revision->repo.id, revision->ref, seen.commit,
                      revision->commit);
        return KN_OK;
    }
    char *path = kni_record_path(hub->settings.state_dir, &seen);
    if (!path)
        return kni_no_memory(err);
    kn_error_set(
        err, KN_ERR_UNTRUSTED,
        "%s: the tag %s is the commit %s now, and was %s on %s: a release does not change. "
        "Ask for one of them as revision; if the new one is right, remove %s",
        revision->repo.id, revision->ref, revision->commit, seen.commit, seen.day, path);
    kni_free(path);
    return KN_ERR_UNTRUSTED;
}

kn_status kni_seen_keep(const kn_hub *hub, const kn_revision *revision, kn_error *err)
{
    kni_record seen;
    const bool was_seen = read_seen(hub, revision, &seen);
    if (!seen.ref[0] || (was_seen && strcmp(seen.commit, revision->commit) == 0))
        return KN_OK;
    memcpy(seen.commit, revision->commit, KNI_COMMIT_SIZE);
    return kni_record_write(hub->settings.state_dir, &seen, NULL) == KN_ERR_NO_MEMORY
               ? kni_no_memory(err)
               : KN_OK;
}
