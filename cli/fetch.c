#include "fetch.h"

kn_status cli_fetch(kn_context *ctx, const kn_kernel_options *options, const kn_device_type *types,
                    size_t n_types, cli_fetched *out, kn_trace *trace, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    kn_status first = KN_ERR_INCOMPATIBLE;
    *out = (cli_fetched){NULL, NULL, NULL};
    for (size_t i = 0; i < n_types; ++i) {
        kn_kernel_options each = *options;
        each.device = kn_device_type_name(types[i]);
        const kn_status st =
            kn_context_fetch_kernel(ctx, &each, &out->dir, &out->revision, trace, &why);
        if (st == KN_OK) {
            out->device = each.device;
            kn_error_dispose(&why);
            return KN_OK;
        }
        if (i == 0)
            first = st;
        if (st != KN_ERR_INCOMPATIBLE)
            break;
    }
    kn_error_set(err, first, "%s", kn_error_text(&why));
    kn_error_dispose(&why);
    return first;
}

void cli_fetched_dispose(cli_fetched *fetched)
{
    kn_string_free(fetched->dir);
    kn_revision_free(fetched->revision);
    *fetched = (cli_fetched){NULL, NULL, NULL};
}
