// Absolute http and https URLs: what an origin is, where a redirect leads (RFC 3986). Pure; fuzzed.
#ifndef KNI_HUB_URL_H
#define KNI_HUB_URL_H

#include <stdbool.h>

#include "kernels/base.h"

typedef struct kni_url {
    char *text;   // whole, without a fragment; what the others point into is private
    char *scheme; // "http", "https", lower case
    char *host;   // lower case; an IPv6 address without brackets
    int port;     // 80 or 443 when none is given
} kni_url;

// Error: KN_ERR_INVALID (user information, another scheme, control characters, …); `what` begins it.
kn_status kni_url_parse(const char *text, const char *what, kni_url *out, kn_error *err);
// The target of a Location header seen at `base`. Its query is kept.
kn_status kni_url_join(const kni_url *base, const char *location, kni_url *out, kn_error *err);
void kni_url_dispose(kni_url *url);
bool kni_url_same_origin(const kni_url *a, const kni_url *b); // scheme, host and port
bool kni_url_is_loopback(const kni_url *url);                 // localhost, 127.0.0.0/8, ::1
// For messages and logs: without query (it may hold a signature). The caller's; NULL without memory.
char *kni_url_for_people(const char *text);

#endif
