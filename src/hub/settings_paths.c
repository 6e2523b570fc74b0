#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/environ.h"
#include "hub/settings_parts.h"

#define EXPAND_BOTH (KNI_EXPAND_HOME | KNI_EXPAND_VARIABLES)

// An option's path is not relative to a directory that may be another one tomorrow.
static kn_status read_option(const char *what, const char *path, char **out, kn_error *err)
{
    if (!kni_path_is_absolute(path))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: \"%.300s\" is a relative path; an absolute one is accepted", what,
                            path);
    return kni_env_path(what, path, 0, out, err);
}

// dir/name; *out NULL when dir is.
static kn_status below(const char *dir, const char *name, char **out, kn_error *err)
{
    *out = NULL;
    if (!dir)
        return KN_OK;
    *out = kni_path_join(dir, name);
    return *out ? KN_OK : kni_no_memory(err);
}

// Asked for when it is needed alone: without HOME the system's list of users has to be, and with it perhaps a network.
static kn_status below_home(const char *name, char **out, kn_error *err)
{
    char *home = NULL;
    kn_status st = kni_home_dir(&home, err);
    *out = NULL;
    if (st == KN_OK)
        st = below(home, name, out, err);
    kni_free(home);
    return st;
}

// What huggingface_hub keeps its things in: HF_HOME, XDG_CACHE_HOME/huggingface, ~/.cache/huggingface.
static kn_status find_hf_home(char **out, kn_error *err)
{
    const char *value = kni_env("HF_HOME");
    char *cache = NULL;
    if (value)
        return kni_env_path("HF_HOME", value, EXPAND_BOTH, out, err);
    value = kni_env("XDG_CACHE_HOME");
    if (!value)
        return below_home(".cache/huggingface", out, err);
    kn_status st = kni_env_path("XDG_CACHE_HOME", value, EXPAND_BOTH, &cache, err);
    if (st == KN_OK)
        st = below(cache, "huggingface", out, err);
    kni_free(cache);
    return st;
}

static kn_status find_cache(const char *option, const char *hf_home, char **out, kn_error *err)
{
    static const struct {
        const char *name;
        unsigned expand;
    } rows[] = {
        {"KERNELS_CACHE", KNI_EXPAND_HOME},
        {"HF_HUB_CACHE", EXPAND_BOTH},
        {"HUGGINGFACE_HUB_CACHE", EXPAND_BOTH},
    };
    if (option)
        return read_option("kn_hub_options.cache_dir", option, out, err);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const char *value = kni_env(rows[i].name);
        if (value)
            return kni_env_path(rows[i].name, value, rows[i].expand, out, err);
    }
    return below(hf_home, "hub", out, err);
}

static kn_status find_state(const char *option, char **out, kn_error *err)
{
    if (option)
        return read_option("kn_hub_options.state_dir", option, out, err);
    const char *value = kni_env("XDG_STATE_HOME");
    if (value &&
        kni_path_is_absolute(value)) { // a relative one is to be ignored, says its standard
        char *state = NULL;
        kn_status st = kni_env_path("XDG_STATE_HOME", value, 0, &state, err);
        if (st == KN_OK)
            st = below(state, "libkernels", out, err);
        kni_free(state);
        return st;
    }
    return below_home(".local/state/libkernels", out, err);
}

// The staging hub has tokens of its own: one for the other is not sent to it.
static kn_status find_token(bool is_staging, const char *hf_home, char **out, kn_error *err)
{
    const char *value = kni_env("HF_TOKEN_PATH");
    if (is_staging)
        return below_home(".cache/huggingface_staging/token", out, err);
    if (value)
        return kni_env_path("HF_TOKEN_PATH", value, EXPAND_BOTH, out, err);
    return below(hf_home, "token", out, err);
}

static kn_status push_site(kni_settings *out, char *path, kn_error *err)
{
    return kni_names_push(&out->site_caches, path) ? KN_OK : kni_no_memory(err);
}

static kn_status find_sites(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    static const char option[] = "kn_hub_options.site_caches", name[] = "KERNELS_SITE_CACHES";
    kni_span rest = kni_span_of(opts->site_caches ? NULL : kni_env(name)), part;
    kn_status st = KN_OK;
    char *path = NULL;

    if (!opts->site_caches && opts->n_site_caches)
        return kn_error_set(err, KN_ERR_INVALID, "%s is NULL, n_site_caches is %zu", option,
                            opts->n_site_caches);
    for (size_t i = 0; st == KN_OK && opts->site_caches && i < opts->n_site_caches; ++i) {
        st = opts->site_caches[i] ? read_option(option, opts->site_caches[i], &path, err)
                                  : kn_error_set(err, KN_ERR_INVALID, "%s[%zu] is NULL", option, i);
        if (st == KN_OK)
            st = push_site(out, path, err);
    }
    while (st == KN_OK && kni_span_cut(&rest, ':', &part)) {
        if (part.size == 0)
            continue;
        char *text = kni_strndup(part.data, part.size);
        st = text ? kni_env_path(name, text, KNI_EXPAND_HOME, &path, err) : kni_no_memory(err);
        kni_free(text);
        if (st == KN_OK)
            st = push_site(out, path, err);
    }
    return st;
}

kn_status kni_settings_paths(kni_settings *out, const kn_hub_options *opts, bool is_staging,
                             char **token_path, kn_error *err)
{
    char *hf_home = NULL;
    kn_status st = find_hf_home(&hf_home, err);

    *token_path = NULL;
    if (st == KN_OK)
        st = find_cache(opts->cache_dir, hf_home, &out->cache_dir, err);
    if (st == KN_OK)
        st = find_state(opts->state_dir, &out->state_dir, err);
    if (st == KN_OK)
        st = find_sites(out, opts, err);
    if (st == KN_OK)
        st = find_token(is_staging, hf_home, token_path, err);
    kni_free(hf_home);
    return st;
}
