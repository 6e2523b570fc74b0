// The parts of kni_settings_init, each in a file of its own. On failure what they set is disposed of with the settings.
#ifndef KNI_HUB_SETTINGS_PARTS_H
#define KNI_HUB_SETTINGS_PARTS_H

#include "hub/settings.h"

// endpoint, trusted, endpoint_is_trusted. *is_staging: HUGGINGFACE_CO_STAGING chose the endpoint.
kn_status kni_settings_endpoints(kni_settings *out, const kn_hub_options *opts, bool *is_staging,
                                 kn_error *err);
// cache_dir, state_dir, site_caches, and for the next one: caller's, NULL when there is no home directory.
kn_status kni_settings_paths(kni_settings *out, const kn_hub_options *opts, bool is_staging,
                             char **token_path, kn_error *err);
// token. token_path is taken over, on failure too.
kn_status kni_settings_read_token(kni_settings *out, const kn_hub_options *opts, char *token_path,
                                  kn_error *err);
void kni_token_free(kni_token *token);
// user_agent
kn_status kni_settings_agent(kni_settings *out, const kn_hub_options *opts, kn_error *err);

#endif
