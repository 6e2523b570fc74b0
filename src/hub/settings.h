// What a hub was opened with: options over the environment over what is built in. Read once.
#ifndef KNI_HUB_SETTINGS_H
#define KNI_HUB_SETTINGS_H

#include "base/fs.h"
#include "kernels/hub.h"

#define KNI_ENDPOINT_DEFAULT "https://huggingface.co"

typedef struct kni_token kni_token;

typedef struct kni_settings {
    char *endpoint;        // an origin and perhaps a path, without a final '/'
    kni_token *token;      // ask with kni_settings_token
    char *cache_dir;       // absolute; NULL: no home directory
    char *state_dir;       // absolute; NULL likewise
    char *user_agent;      // whole, no empty segment
    char *ca_file;         // SSL_CERT_FILE; NULL
    char *ca_dir;          // SSL_CERT_DIR; NULL
    char *proxy_http;      // http_proxy, and HTTP_PROXY unless REQUEST_METHOD is set; NULL
    char *proxy_https;     // https_proxy, HTTPS_PROXY
    char *proxy_all;       // all_proxy, ALL_PROXY
    char *no_proxy;        // no_proxy, NO_PROXY
    kni_names site_caches; // absolute
    kni_names trusted;     // endpoints as `endpoint`, the built-in one among them
    bool is_offline;
    bool follows_redirects;
    bool without_symlinks;     // HF_HUB_DISABLE_SYMLINKS
    bool is_verbose;           // HF_DEBUG: each request is a DEBUG line, without the token
    bool endpoint_is_trusted;  // it is in `trusted`, and https or http on loopback
    bool endpoint_is_loopback; // a server of this machine, whose repositories are made anew at will
    uint32_t etag_timeout_ms;  // for answers; HF_HUB_ETAG_TIMEOUT
    uint32_t timeout_ms;       // for files
} kni_settings;

// By secure_getenv; booleans are 1, ON, YES, TRUE in any case; an empty variable is an unset one, but for HF_HUB_OFFLINE=0.
// Error: KN_ERR_INVALID (the option or variable, what came, what is accepted), KN_ERR_NO_MEMORY; *out is empty then.
kn_status kni_settings_init(kni_settings *out, const kn_hub_options *opts, kn_error *err);
void kni_settings_dispose(kni_settings *settings);

// The token for the endpoint, borrowed; NULL: none. source, for error texts: "an option", "HF_TOKEN", "the file …"; NULL with the token.
// Opening a hub touches no disk, so the token file is read here, by the first call; every call gives what that one found.
// Error: KN_ERR_IO (the file is there and cannot be read), KN_ERR_INVALID (no regular file, no token in it), KN_ERR_NO_MEMORY. Threads: any.
kn_status kni_settings_token(const kni_settings *settings, const char **token, const char **source,
                             kn_error *err);

// `before`, then the settings' own user agent; the caller's. Error: KN_ERR_INVALID (characters, length), KN_ERR_NO_MEMORY.
kn_status kni_settings_agent_with(const kni_settings *settings, const char *before, char **out,
                                  kn_error *err);

#endif
