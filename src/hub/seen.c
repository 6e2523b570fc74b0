#include "hub/seen.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/record.h"

#define HEADS "refs/heads/"
#define TAGS "refs/tags/"

// A tag by its name, however it was written; anything else in full, so that a branch never has the record of a tag.
static void name_ref(const char *ref, bool is_tag, char *out, size_t size)
{
    const char *prefix = is_tag || kni_span_starts(kni_span_of(ref), "refs/") ? "" : HEADS;
    if (is_tag && kni_span_starts(kni_span_of(ref), TAGS))
        ref += strlen(TAGS);
    snprintf(out, size, "%s%.255s", prefix, ref); // no ref is longer
}

// The commit that the ref had when this user saw it; false: it is seen first.
static bool read_seen(const kn_hub *hub, const kn_revision *revision, bool is_tag, kni_record *seen)
{
    *seen = (kni_record){
        .kind = KNI_RECORD_REF, .endpoint = hub->settings.endpoint, .repo = &revision->repo};
    if (!revision->ref[0])
        return false;
    name_ref(revision->ref, is_tag, seen->ref, sizeof(seen->ref));
    return kni_record_read(hub->settings.state_dir, seen);
}

static kn_status tag_moved(const kn_hub *hub, const kn_revision *revision, bool is_tag,
                           const kni_record *seen, kn_error *err)
{
    char *path = kni_record_path(hub->settings.state_dir, seen);
    if (!path)
        return kni_no_memory(err);
    const char *ref = revision->ref;
    if (is_tag)
        kn_error_set(
            err, KN_ERR_UNTRUSTED,
            "%s: the tag %s is the commit %s now, and was %s on %s: a release does not change. "
            "Ask for one of them as revision; if the new one is right, remove %s",
            revision->repo.id, ref, revision->commit, seen->commit, seen->day, path);
    else
        kn_error_set(
            err, KN_ERR_UNTRUSTED,
            "%s: %s is the commit %s now, and the tag of this name was %s on %s: a release does "
            "not change. Ask for one of them as revision, or for refs/heads/%s if a branch is "
            "meant; if the tag was removed for good, remove %s",
            revision->repo.id, ref, revision->commit, seen->commit, seen->day, ref, path);
    kni_free(path);
    return KN_ERR_UNTRUSTED;
}

kn_status kni_seen_compare(const kn_hub *hub, const kn_revision *revision, bool is_tag,
                           bool may_be_tag, kn_error *err)
{
    kni_record seen;
    if ((is_tag || may_be_tag) && read_seen(hub, revision, true, &seen) &&
        strcmp(seen.commit, revision->commit) != 0) {
        if (!hub->settings.endpoint_is_loopback)
            return tag_moved(hub, revision, is_tag, &seen, err);
        kni_log_write(&hub->log, KN_LOG_WARNING, "%s: %s moved from %s to %s", revision->repo.id,
                      revision->ref, seen.commit, revision->commit);
    }
    if (!is_tag && read_seen(hub, revision, false, &seen) &&
        strcmp(seen.commit, revision->commit) != 0)
        kni_log_write(&hub->log, KN_LOG_INFO, "%s: %s moved from %s to %s", revision->repo.id,
                      revision->ref, seen.commit, revision->commit);
    return KN_OK;
}

kn_status kni_seen_keep(const kn_hub *hub, const kn_revision *revision, bool is_tag, kn_error *err)
{
    kni_record seen;
    const bool was_seen = read_seen(hub, revision, is_tag, &seen);
    if (!seen.ref[0] || (was_seen && strcmp(seen.commit, revision->commit) == 0))
        return KN_OK;
    memcpy(seen.commit, revision->commit, KNI_COMMIT_SIZE);
    return kni_record_write(hub->settings.state_dir, &seen, NULL) == KN_ERR_NO_MEMORY
               ? kni_no_memory(err)
               : KN_OK;
}
