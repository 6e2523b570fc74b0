#include "hub/hub.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static kn_status add_cache(kn_hub *hub, const char *dir, bool is_site, kn_error *err)
{
    const kn_status st = kni_cache_new(dir, is_site, hub->settings.without_symlinks,
                                       &hub->caches[hub->n_caches], err);
    if (st == KN_OK)
        ++hub->n_caches;
    return st;
}

static kn_status fill(kn_hub *hub, const kn_hub_options *opts, kn_error *err)
{
    hub->log = (kni_log){opts->log, opts->log_user, opts->log_level};
    hub->progress = opts->progress;
    hub->progress_user = opts->progress_user;
    kn_status st = kni_settings_init(&hub->settings, opts, err);
    if (st != KN_OK)
        return st;
    hub->memo = kni_memo_new();
    hub->caches = kni_calloc(hub->settings.site_caches.count + 1, sizeof(*hub->caches));
    if (!hub->memo || !hub->caches)
        return kni_no_memory(err);
    st = kni_http_new(&hub->settings, &hub->log, &hub->http, err);
    hub->has_own_cache = hub->settings.cache_dir != NULL;
    if (st == KN_OK && hub->has_own_cache)
        st = add_cache(hub, hub->settings.cache_dir, false, err);
    for (size_t i = 0; st == KN_OK && i < hub->settings.site_caches.count; ++i)
        st = add_cache(hub, hub->settings.site_caches.names[i], true, err);
    return st;
}

kn_status kn_hub_open(const kn_hub_options *opts, kn_hub **out, kn_error *err)
{
    kn_hub_options all = KN_HUB_OPTIONS_INIT;
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_open: out is NULL");
    *out = NULL;
    if (opts) {
        if (opts->struct_size == 0)
            return kn_error_set(err, KN_ERR_INVALID,
                                "kn_hub_open: struct_size is 0: use KN_HUB_OPTIONS");
        memcpy(&all, opts, opts->struct_size < sizeof(all) ? opts->struct_size : sizeof(all));
    }
    const uint32_t known = KN_HUB_OFFLINE | KN_HUB_ONLINE | KN_HUB_FOLLOW_REDIRECTS;
    if ((all.flags & ~known) != 0 ||
        (all.flags & (KN_HUB_OFFLINE | KN_HUB_ONLINE)) == (KN_HUB_OFFLINE | KN_HUB_ONLINE))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_open: flags 0x%x: expected KN_HUB_OFFLINE or KN_HUB_ONLINE, "
                            "and KN_HUB_FOLLOW_REDIRECTS",
                            all.flags);
    kn_hub *hub = kni_calloc(1, sizeof(*hub));
    if (!hub)
        return kni_no_memory(err);
    const kn_status st = fill(hub, &all, err);
    if (st != KN_OK) {
        kn_hub_close(hub);
        return st;
    }
    *out = hub;
    return KN_OK;
}

void kn_hub_close(kn_hub *hub)
{
    if (!hub)
        return;
    for (size_t i = 0; i < hub->n_caches; ++i)
        kni_cache_free(hub->caches[i]);
    kni_free(hub->caches);
    kni_http_free(hub->http);
    kni_memo_free(hub->memo);
    kni_settings_dispose(&hub->settings);
    kni_free(hub);
}

void kn_hub_forget(kn_hub *hub)
{
    kni_memo_forget(hub->memo);
}

kn_hub kni_hub_as(const kn_hub *hub, char *user_agent)
{
    kn_hub view = *hub;
    view.settings.user_agent = user_agent;
    return view;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool kn_hub_is_offline(const kn_hub *hub)
{
    return hub->settings.is_offline;
}

const char *kn_hub_endpoint(const kn_hub *hub)
{
    return hub->settings.endpoint;
}

const char *kn_hub_cache_dir(const kn_hub *hub)
{
    return or_empty(hub->settings.cache_dir);
}

const char *kn_hub_state_dir(const kn_hub *hub)
{
    return or_empty(hub->settings.state_dir);
}

bool kn_hub_endpoint_is_trusted(const kn_hub *hub)
{
    return hub->settings.endpoint_is_trusted;
}

kn_status kn_hub_token_source(const kn_hub *hub, const char **source, kn_error *err)
{
    const char *token = NULL;
    if (!hub || !source)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_token_source: a hub and source are required");
    *source = NULL;
    return kni_settings_token(&hub->settings, &token, source, err);
}

const char *kn_level_text(kn_level level)
{
    static const char *const texts[] = {"none", "transport", "pinned"};
    return (size_t)level < KN_LEN(texts) ? texts[level] : "none";
}

// --- revisions ---

void kn_revision_free(kn_revision *revision)
{
    if (!revision)
        return;
    if (revision->sums)
        kni_sum_kernel_dispose(revision->sums);
    kni_free(revision->sums);
    if (revision->locked)
        kni_lock_entry_dispose(revision->locked);
    kni_free(revision->locked);
    kni_free(revision->ref);
    kni_free(revision->moved_to);
    kni_free(revision->publisher);
    kni_free(revision);
}

const char *kn_revision_repo_id(const kn_revision *revision)
{
    return revision->repo.id;
}

const char *kn_revision_repo_type(const kn_revision *revision)
{
    return kni_repo_type_text(revision->repo.type);
}

const char *kn_revision_commit(const kn_revision *revision)
{
    return revision->commit;
}

const char *kn_revision_ref(const kn_revision *revision)
{
    return or_empty(revision->ref);
}

const char *kn_revision_moved_to(const kn_revision *revision)
{
    return or_empty(revision->moved_to);
}

const char *kn_revision_publisher(const kn_revision *revision)
{
    return or_empty(revision->publisher);
}

kn_level kn_revision_level(const kn_revision *revision)
{
    return revision->level;
}
