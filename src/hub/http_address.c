#include "hub/http_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, unsigned bits)
{
    const unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(address, prefix, whole) == 0 &&
           (rest == 0 || (address[whole] ^ prefix[whole]) >> (8 - rest) == 0);
}

static const struct {
    uint8_t prefix[4];
    unsigned bits;
    kni_nearness nearness;
} v4_rows[] = {
    {{10}, 8, KNI_NEAR_PRIVATE},
    {{172, 16}, 12, KNI_NEAR_PRIVATE},
    {{192, 168}, 16, KNI_NEAR_PRIVATE},
    {{100, 64}, 10, KNI_NEAR_PRIVATE},
    {{198, 18}, 15, KNI_NEAR_PRIVATE},
    {{192, 0, 0}, 24, KNI_NEAR_PRIVATE},
    {{0}, 8, KNI_NEAR_SELF}, // Linux connects 0.0.0.0 to itself
    {{127}, 8, KNI_NEAR_SELF},
    {{169, 254}, 16, KNI_NEAR_SELF},
    {{224}, 3, KNI_NEAR_SELF}, // multicast and reserved
};

static const struct {
    uint8_t prefix[16];
    unsigned bits;
    kni_nearness nearness;
} v6_rows[] = {
    {{0xFC}, 7, KNI_NEAR_PRIVATE},     {{0xFE, 0xC0}, 10, KNI_NEAR_PRIVATE},
    {{0xFE, 0x80}, 10, KNI_NEAR_SELF}, {{0xFF}, 8, KNI_NEAR_SELF},
    {{0}, 80, KNI_NEAR_SELF}, // ::, ::1 and other ways to write an IPv4 address
};

static kni_nearness v4_nearness(const uint8_t address[4])
{
    for (size_t i = 0; i < KN_LEN(v4_rows); ++i)
        if (has_prefix(address, v4_rows[i].prefix, v4_rows[i].bits))
            return v4_rows[i].nearness;
    return KNI_NEAR_PUBLIC;
}

// The IPv4 address in one that holds it: ::ffff:a.b.c.d (mapped), 64:ff9b::a.b.c.d (NAT64), 2002:a.b.c.d:: (6to4); NULL: none.
static const uint8_t *embedded_v4(const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    if (memcmp(address, mapped, 12) == 0 || memcmp(address, nat64, 12) == 0)
        return address + 12;
    return address[0] == 0x20 && address[1] == 0x02 ? address + 2 : NULL;
}

static const uint8_t *bytes_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (address->sa_family == AF_INET6)
        return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return NULL;
}

kni_nearness kni_address_nearness(const struct sockaddr *address)
{
    const uint8_t *bytes = bytes_of(address);
    if (!bytes)
        return KNI_NEAR_SELF; // a socket of this machine
    if (address->sa_family == AF_INET)
        return v4_nearness(bytes);
    if (embedded_v4(bytes))
        return v4_nearness(embedded_v4(bytes));
    for (size_t i = 0; i < KN_LEN(v6_rows); ++i)
        if (has_prefix(bytes, v6_rows[i].prefix, v6_rows[i].bits))
            return v6_rows[i].nearness;
    return KNI_NEAR_PUBLIC;
}

bool kni_address_is_loopback(const struct sockaddr *address)
{
    static const uint8_t one[16] = {[15] = 1};
    const uint8_t *bytes = bytes_of(address);
    if (!bytes)
        return false;
    if (address->sa_family == AF_INET)
        return bytes[0] == 127;
    return memcmp(bytes, one, 16) == 0 || (embedded_v4(bytes) == bytes + 12 && bytes[12] == 127);
}

bool kni_address_parse(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        out->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
        out->ss_family = AF_INET6;
    return out->ss_family != 0;
}

// "192.168.0.0/16"
static bool in_network(kni_span network, const char *host)
{
    char text[64];
    kni_span address;
    int64_t bits;
    struct sockaddr_storage a, b;
    if (network.size >= sizeof(text) || !kni_span_cut(&network, '/', &address) || !network.data)
        return false;
    memcpy(text, address.data, address.size);
    text[address.size] = '\0';
    if (!kni_address_parse(text, &a) || !kni_address_parse(host, &b) || a.ss_family != b.ss_family)
        return false;
    return kni_span_to_int(network, a.ss_family == AF_INET ? 32 : 128, &bits) &&
           has_prefix(bytes_of((struct sockaddr *)&b), bytes_of((struct sockaddr *)&a),
                      (unsigned)bits);
}

// One entry of no_proxy: "*", "example.org" and ".example.org" (with the names below), an address, a network; a port may follow.
static bool names_host(kni_span entry, const kni_url *url)
{
    const size_t size = strlen(url->host);
    const char *colon = entry.size ? memrchr(entry.data, ':', entry.size) : NULL;
    int64_t port;
    if (kni_span_is(entry, "*"))
        return true;
    if (colon && (memchr(entry.data, ':', entry.size) == colon || colon[-1] == ']')) {
        if (!kni_span_to_int((kni_span){colon + 1, entry.size - (size_t)(colon + 1 - entry.data)},
                             65535, &port) ||
            port != url->port)
            return false;
        entry.size = (size_t)(colon - entry.data);
    }
    if (entry.size >= 2 && entry.data[0] == '[' && entry.data[entry.size - 1] == ']')
        entry = (kni_span){entry.data + 1, entry.size - 2};
    if (in_network(entry, url->host))
        return true;
    if (entry.size && entry.data[0] == '.')
        entry = (kni_span){entry.data + 1, entry.size - 1};
    if (entry.size == 0 || entry.size > size)
        return false;
    const size_t below = size - entry.size;
    return strncasecmp(url->host + below, entry.data, entry.size) == 0 &&
           (below == 0 || url->host[below - 1] == '.');
}

const char *kni_proxy_for(const kni_settings *settings, const kni_url *url)
{
    const bool is_https = strcmp(url->scheme, "https") == 0;
    const char *proxy = is_https ? settings->proxy_https : settings->proxy_http;
    if (!proxy)
        proxy = settings->proxy_all;
    if (!proxy || !*proxy)
        return NULL;
    kni_span rest = kni_span_of(settings->no_proxy), entry;
    while (kni_span_cut(&rest, ',', &entry)) {
        kni_span part;
        while (kni_span_cut(&entry, ' ', &part))
            if (names_host(kni_span_trim(part), url))
                return NULL;
    }
    return proxy;
}
