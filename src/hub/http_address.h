// Where a connection leads, and by which way: private addresses, proxies. Pure; fuzzed with the header lines.
#ifndef KNI_HUB_HTTP_ADDRESS_H
#define KNI_HUB_HTTP_ADDRESS_H

#include <sys/socket.h>

#include "hub/settings.h"
#include "hub/url.h"

// From far to near. A hub may send us as near as it is itself, not nearer: a public one to no machine of the user's network, and one
// of that network not to this machine (nor to what answers only to it, 169.254.169.254).
typedef enum kni_nearness {
    KNI_NEAR_PUBLIC = 0,
    KNI_NEAR_PRIVATE = 1, // RFC 1918, 100.64/10, fc00::/7
    KNI_NEAR_SELF = 2,    // loopback, link-local, unspecified, multicast, reserved
    KNI_NEAR_UNKNOWN = 3,
} kni_nearness;

kni_nearness kni_address_nearness(const struct sockaddr *address);
bool kni_address_is_loopback(const struct sockaddr *address);
// Of an address as text, "127.0.0.1", "::1"; false for other text.
bool kni_address_parse(const char *text, struct sockaddr_storage *out);

// The proxy for a URL by http_proxy, https_proxy, all_proxy and no_proxy; NULL: none.
const char *kni_proxy_for(const kni_settings *settings, const kni_url *url);

#endif
