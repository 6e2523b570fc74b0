#include "hub/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/environ.h"
#include "hub/settings_parts.h"

#define TIMEOUT_MS 10000 // of huggingface_hub, for both

// The first variable of the two that is set; a NULL name is none.
static kn_status copy_env(const char *name, const char *other, char **out, kn_error *err)
{
    const char *value = kni_env(name);
    if (!value && other)
        value = kni_env(other);
    if (!value)
        return KN_OK;
    *out = kni_strdup(value);
    return *out ? KN_OK : kni_no_memory(err);
}

static kn_status copy_path(const char *name, char **out, kn_error *err)
{
    const char *value = kni_env(name);
    return value ? kni_env_path(name, value, 0, out, err) : KN_OK;
}

static kn_status read_flags(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    const uint32_t both = KN_HUB_OFFLINE | KN_HUB_ONLINE;
    const uint32_t known = both | KN_HUB_FOLLOW_REDIRECTS;

    if (opts->flags & ~known)
        return kn_error_set(err, KN_ERR_INVALID, "kn_hub_options.flags: unknown flags 0x%x",
                            opts->flags & ~known);
    if ((opts->flags & both) == both)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_options.flags: KN_HUB_OFFLINE and KN_HUB_ONLINE exclude each "
                            "other");
    // HF_HUB_OFFLINE=0 wins over TRANSFORMERS_OFFLINE=1.
    out->is_offline = opts->flags & both
                          ? (opts->flags & KN_HUB_OFFLINE) != 0
                          : kni_env_is_true(kni_env("HF_HUB_OFFLINE") ? "HF_HUB_OFFLINE"
                                                                      : "TRANSFORMERS_OFFLINE");
    out->follows_redirects = (opts->flags & KN_HUB_FOLLOW_REDIRECTS) != 0;
    out->without_symlinks = kni_env_is_true("HF_HUB_DISABLE_SYMLINKS");
    out->is_verbose = kni_env_is_true("HF_DEBUG");
    return KN_OK;
}

static kn_status read_timeouts(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    out->etag_timeout_ms = out->timeout_ms = TIMEOUT_MS;
    if (opts->timeout_ms) {
        out->etag_timeout_ms = out->timeout_ms = opts->timeout_ms;
        return KN_OK;
    }
    kn_status st = kni_env_seconds("HF_HUB_ETAG_TIMEOUT", &out->etag_timeout_ms, err);
    if (st == KN_OK)
        st = kni_env_seconds("HF_HUB_DOWNLOAD_TIMEOUT", &out->timeout_ms, err);
    return st;
}

static kn_status read_network(kni_settings *out, kn_error *err)
{
    // In a CGI program HTTP_PROXY is the client's header "Proxy".
    const char *upper_http = secure_getenv("REQUEST_METHOD") ? NULL : "HTTP_PROXY";
    kn_status st = copy_env("http_proxy", upper_http, &out->proxy_http, err);
    if (st == KN_OK)
        st = copy_env("https_proxy", "HTTPS_PROXY", &out->proxy_https, err);
    if (st == KN_OK)
        st = copy_env("all_proxy", "ALL_PROXY", &out->proxy_all, err);
    if (st == KN_OK)
        st = copy_env("no_proxy", "NO_PROXY", &out->no_proxy, err);
    if (st == KN_OK)
        st = copy_path("SSL_CERT_FILE", &out->ca_file, err);
    if (st == KN_OK)
        st = copy_path("SSL_CERT_DIR", &out->ca_dir, err);
    return st;
}

kn_status kni_settings_init(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    kn_hub_options all = KN_HUB_OPTIONS_INIT;
    bool is_staging = false;
    char *token_path = NULL;

    *out = (kni_settings){0};
    if (opts) {
        if (opts->struct_size == 0)
            return kn_error_set(err, KN_ERR_INVALID,
                                "kn_hub_options.struct_size is 0: use KN_HUB_OPTIONS");
        memcpy(&all, opts, opts->struct_size < sizeof(all) ? opts->struct_size : sizeof(all));
    }
    kn_status st = read_flags(out, &all, err);
    if (st == KN_OK)
        st = read_timeouts(out, &all, err);
    if (st == KN_OK)
        st = read_network(out, err);
    if (st == KN_OK)
        st = kni_settings_endpoints(out, &all, &is_staging, err);
    if (st == KN_OK)
        st = kni_settings_paths(out, &all, is_staging, &token_path, err);
    if (st == KN_OK)
        st = kni_settings_agent(out, &all, err);
    if (st == KN_OK) {
        st = kni_settings_read_token(out, &all, token_path, err);
        token_path = NULL; // taken over
    }
    kni_free(token_path);
    if (st != KN_OK)
        kni_settings_dispose(out);
    return st;
}

void kni_settings_dispose(kni_settings *settings)
{
    kni_free(settings->endpoint);
    kni_token_free(settings->token);
    kni_free(settings->cache_dir);
    kni_free(settings->state_dir);
    kni_free(settings->user_agent);
    kni_free(settings->ca_file);
    kni_free(settings->ca_dir);
    kni_free(settings->proxy_http);
    kni_free(settings->proxy_https);
    kni_free(settings->proxy_all);
    kni_free(settings->no_proxy);
    kni_names_free(&settings->site_caches);
    kni_names_free(&settings->trusted);
    *settings = (kni_settings){0};
}
