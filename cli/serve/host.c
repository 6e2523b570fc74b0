#include "host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "../output.h"

#define HOST_SIZE_MAX 255

static bool is_host(const char *host)
{
    const size_t size = strlen(host);
    if (size == 0 || size > HOST_SIZE_MAX)
        return false;
    for (size_t i = 0; i < size; ++i)
        if (!isalnum((unsigned char)host[i]) && !strchr("-._:[]", host[i]))
            return false;
    return true;
}

// Where the host of a URL begins; NULL: it is of another kind.
static const char *host_of(const char *url)
{
    if (strncasecmp(url, "http://", 7) == 0)
        return url + 7;
    return strncasecmp(url, "https://", 8) == 0 ? url + 8 : NULL;
}

kn_status serve_host_check_url(const char *url, char **out, kn_error *err)
{
    size_t size = strlen(url);
    if (size && url[size - 1] == '/')
        --size;
    *out = cli_format("%.*s", (int)size, url);
    const char *host = host_of(*out);
    if (host && is_host(host))
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID, "--url '%s': expected http://HOST or https://HOST",
                        url);
}

static bool is_loopback(const char *host, size_t size)
{
    char text[HOST_SIZE_MAX + 1];
    struct in_addr v4;
    struct in6_addr v6;
    memcpy(text, host, size);
    text[size] = '\0';
    if (text[0] == '[' && text[size - 1] == ']') {
        text[size - 1] = '\0';
        return inet_pton(AF_INET6, text + 1, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcasecmp(text, "localhost") == 0 ||
           (inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

bool serve_host_is_ours(const serve_config *config, const char *host)
{
    if (!host || !is_host(host))
        return false;
    if (!config->is_loopback || (config->url && strcasecmp(host_of(config->url), host) == 0))
        return true;
    const char *port = strrchr(host, ':');
    if (port && strchr(port, ']')) // within an IPv6 address
        port = NULL;
    const size_t size = port ? (size_t)(port - host) : strlen(host);
    return size > 0 && is_loopback(host, size);
}
