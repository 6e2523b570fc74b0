#include "hub/publisher.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "base/trace.h"
#include "hub/record.h"

#define ADMITS "trust_remote_code, or a lock with content hashes"

typedef struct rule {
    kn_hub *hub;
    const kni_wanted *wanted;
    kn_revision *revision;
    kn_trace *trace;
    kn_error *err;
} rule;

static kn_status pass(const rule *r, const char *name, const char *format, ...) KN_PRINTF(3, 4);
static kn_status pass(const rule *r, const char *name, const char *format, ...)
{
    kni_buf text = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&text, format, args);
    va_end(args);
    kni_free(r->revision->publisher);
    r->revision->publisher = kni_buf_take(&text);
    if (!r->revision->publisher || !kni_trace_add(r->trace, "publisher", r->revision->repo.id, true,
                                                  name, NULL, "%s", r->revision->publisher))
        return kni_no_memory(r->err);
    return KN_OK;
}

static kn_status refuse(const rule *r, const char *name, const char *admits, const char *format,
                        ...) KN_PRINTF(4, 5);
static kn_status refuse(const rule *r, const char *name, const char *admits, const char *format,
                        ...)
{
    kni_buf text = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&text, format, args);
    va_end(args);
    kn_status st = KN_ERR_UNTRUSTED;
    if (text.failed || !kni_trace_add(r->trace, "publisher", r->revision->repo.id, false, name,
                                      admits, "%s", kni_buf_text(&text)))
        st = kni_no_memory(r->err);
    else
        kn_error_set(r->err, st, "%s: %s: expected %s", r->revision->repo.id, kni_buf_text(&text),
                     admits);
    kni_buf_dispose(&text);
    return st;
}

static bool is_plain_http_beyond_loopback(const kn_hub *hub)
{
    return kni_span_starts(kni_span_of(hub->settings.endpoint), "http:") &&
           !hub->settings.endpoint_is_loopback;
}

static const char *short_commit(const char *commit, char out[13])
{
    snprintf(out, 13, "%.12s", commit);
    return out;
}

// The ref by which a trusted publisher released the commit; "" when there is none.
static kn_status find_release(const rule *r, const kni_refs *refs, char out[256])
{
    const kni_known_refs *known = NULL;
    kn_status st = KN_OK;
    out[0] = '\0';
    if (!refs) {
        st = kni_ask_refs(r->hub, &r->revision->repo, false, &known, r->err);
        refs = st == KN_OK ? &known->refs : NULL;
    }
    const kni_ref *ref = NULL;
    if (st == KN_OK)
        st = kni_released_as(refs, r->revision->commit, r->revision->ref, &ref, r->err);
    if (ref)
        snprintf(out, 256, "%s", ref->name);
    return st;
}

static kn_status keep_record(const rule *r, kni_record *record, const char *ref)
{
    kn_error why = KN_ERROR_INIT;
    snprintf(record->ref, sizeof(record->ref), "%s", ref);
    const kn_status st = kni_record_write(r->hub->settings.state_dir, record, &why);
    if (st == KN_ERR_NO_MEMORY)
        kni_no_memory(r->err);
    else if (st != KN_OK)
        kni_log_write(&r->hub->log, KN_LOG_DEBUG,
                      "%s: what the hub said of its publisher is not "
                      "kept: %s",
                      r->revision->repo.id, kn_error_text(&why));
    kn_error_dispose(&why);
    return st == KN_ERR_NO_MEMORY ? st : KN_OK;
}

static kn_status ask_endpoint(const rule *r, const kni_refs *refs, kni_record *record)
{
    const kni_known_publisher *known = NULL;
    char owner[KNI_REPO_ID_MAX], ref[256], commit[13];
    kn_error why = KN_ERROR_INIT;
    kni_repo_owner(&r->revision->repo, owner);
    kn_status st = kni_ask_publisher(r->hub, owner, &known, &why);
    if (st == KN_ERR_NO_MEMORY || st == KN_ERR_CANCELLED)
        return kni_error_move(r->err, &why);
    if (st != KN_OK) {
        st = refuse(r, "publisher", ADMITS, "could not verify publisher trust status: %s",
                    kn_error_text(&why));
        kn_error_dispose(&why);
        return st;
    }
    if (!known->is_trusted)
        return refuse(r, "publisher", ADMITS, "'%s' %s, says %s", owner, known->says,
                      r->hub->settings.endpoint);
    st = find_release(r, refs, ref);
    if (st != KN_OK)
        return st;
    if (!ref[0])
        return refuse(r, "release", ADMITS ", or one of those",
                      "the commit %s is not that of a release tag, a version branch or main",
                      short_commit(r->revision->commit, commit));
    st = keep_record(r, record, ref);
    if (st != KN_OK)
        return st;
    return pass(r, "publisher", "%s calls '%s' a trusted publisher, and %s has this commit",
                r->hub->settings.endpoint, owner, ref);
}

kn_status kni_publisher_check(kn_hub *hub, const kni_wanted *wanted, const kni_refs *refs,
                              kn_revision *revision, kn_trace *trace, kn_error *err)
{
    const rule r = {hub, wanted, revision, trace, err};
    kni_record record = {
        .kind = KNI_RECORD_PUBLISHER, .endpoint = hub->settings.endpoint, .repo = &revision->repo};
    memcpy(record.commit, revision->commit, KNI_COMMIT_SIZE);
    if (revision->sums)
        return pass(&r, "pinned", "a lock with content hashes names its bytes");
    if (!hub->settings.is_offline && is_plain_http_beyond_loopback(hub))
        return refuse(&r, "endpoint", "https, or a lock with content hashes",
                      "the endpoint %s is plain http to another machine", hub->settings.endpoint);
    if (wanted->consents)
        return pass(&r, "consent", "trust_remote_code was given");
    if (hub->settings.endpoint_is_trusted && kni_record_read(hub->settings.state_dir, &record))
        return pass(&r, "record", "%s vouched for it as %s on %s", hub->settings.endpoint,
                    record.ref, record.day);
    if (!hub->settings.endpoint_is_trusted)
        return refuse(&r, "endpoint", ADMITS ", or the endpoint in KERNELS_TRUSTED_ENDPOINTS",
                      "its publisher is not vouched for: the endpoint %s is not trusted to do so",
                      hub->settings.endpoint);
    if (hub->settings.is_offline)
        return refuse(&r, "offline", ADMITS ", or one use online",
                      "its publisher is not vouched for by any record, and the hub is offline");
    return ask_endpoint(&r, refs, &record);
}
