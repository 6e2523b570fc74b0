#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/environ.h"
#include "hub/settings_parts.h"
#include "hub/url.h"

#define ENDPOINT_STAGING "https://hub-ci.huggingface.co"

// One way to write an endpoint, so that two are the same when their texts are. *is_safe: nobody between can change what it says.
static kn_status read_endpoint(const char *text, const char *what, char **out, bool *is_safe,
                               kn_error *err)
{
    kni_url url;
    kn_status st = kni_url_parse(text, what, &url, err);

    *out = NULL;
    if (st != KN_OK)
        return st;
    *is_safe = strcmp(url.scheme, "https") == 0 || kni_url_is_loopback(&url);
    if (text[strcspn(text, "?#")]) {
        st = KN_ERR_INVALID;
        kn_error_set(err, st, "%s: \"%.300s\": an endpoint has no query and no fragment", what,
                     text);
        goto done;
    }
    size_t size = strlen(url.text);
    while (size > 0 && url.text[size - 1] == '/')
        --size;
    *out = kni_strndup(url.text, size);
    if (!*out)
        st = kni_no_memory(err);
done:
    kni_url_dispose(&url);
    return st;
}

static kn_status ask_loopback(const char *endpoint, bool *is_loopback, kn_error *err)
{
    kni_url url = {0};
    const kn_status st = kni_url_parse(endpoint, "the endpoint", &url, err);
    *is_loopback = st == KN_OK && kni_url_is_loopback(&url);
    kni_url_dispose(&url);
    return st;
}

static bool contains(const kni_names *names, const char *text)
{
    for (size_t i = 0; i < names->count; ++i)
        if (strcmp(names->names[i], text) == 0)
            return true;
    return false;
}

static kn_status trust(kni_settings *out, const char *text, const char *what, kn_error *err)
{
    char *endpoint;
    bool is_safe;
    kn_status st = read_endpoint(text, what, &endpoint, &is_safe, err);

    if (st != KN_OK)
        return st;
    if (!is_safe)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "%s: \"%.300s\": an endpoint is trusted over https, or over plain http "
                          "on loopback (localhost, 127.0.0.1, [::1])",
                          what, endpoint);
    if (st != KN_OK || contains(&out->trusted, endpoint)) {
        kni_free(endpoint);
        return st;
    }
    return kni_names_push(&out->trusted, endpoint) ? KN_OK : kni_no_memory(err);
}

static kn_status trust_option(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    static const char what[] = "kn_hub_options.trusted_endpoints";
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < opts->n_trusted_endpoints; ++i) {
        const char *text = opts->trusted_endpoints[i];
        st = text ? trust(out, text, what, err)
                  : kn_error_set(err, KN_ERR_INVALID, "%s[%zu] is NULL", what, i);
    }
    return st;
}

static kn_status trust_env(kni_settings *out, kn_error *err)
{
    static const char what[] = "KERNELS_TRUSTED_ENDPOINTS";
    kni_span rest = kni_span_of(kni_env(what)), part;
    kn_status st = KN_OK;

    while (st == KN_OK && kni_span_cut(&rest, ',', &part)) {
        part = kni_span_trim(part);
        if (part.size == 0)
            continue;
        char *text = kni_strndup(part.data, part.size);
        st = text ? trust(out, text, what, err) : kni_no_memory(err);
        kni_free(text);
    }
    return st;
}

kn_status kni_settings_endpoints(kni_settings *out, const kn_hub_options *opts, bool *is_staging,
                                 kn_error *err)
{
    const char *what = "kn_hub_options.endpoint", *text = opts->endpoint;
    bool is_safe;

    if (!opts->trusted_endpoints && opts->n_trusted_endpoints)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_hub_options.trusted_endpoints is NULL, n_trusted_endpoints is %zu",
                            opts->n_trusted_endpoints);
    if (!text && kni_env_is_true("HUGGINGFACE_CO_STAGING")) { // over HF_ENDPOINT, as the peer does
        *is_staging = true;
        what = "HUGGINGFACE_CO_STAGING";
        text = ENDPOINT_STAGING;
    }
    if (!text) {
        what = "HF_ENDPOINT";
        text = kni_env(what);
    }
    kn_status st =
        read_endpoint(text ? text : KNI_ENDPOINT_DEFAULT, what, &out->endpoint, &is_safe, err);
    if (st == KN_OK)
        st = trust(out, KNI_ENDPOINT_DEFAULT, "the built-in endpoint", err);
    if (st == KN_OK)
        st = opts->trusted_endpoints ? trust_option(out, opts, err) : trust_env(out, err);
    if (st == KN_OK)
        out->endpoint_is_trusted = contains(&out->trusted, out->endpoint); // where none is unsafe
    if (st == KN_OK)
        st = ask_loopback(out->endpoint, &out->endpoint_is_loopback, err);
    return st;
}
