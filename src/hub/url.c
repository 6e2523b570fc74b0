#include "hub/url.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#define URL_MAX 16384  // signed ones have a few kilobytes
#define HOST_MAX 253   // RFC 1035
#define LABEL_MAX 63   // …
#define PEOPLE_MAX 300 // of a URL in a message

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static kni_span span_from(const char *data, const char *end)
{
    return (kni_span){data, (size_t)(end - data)};
}

// The pieces of "scheme://authority/path?query", as they stand; query with its '?', without a fragment.
typedef struct pieces {
    kni_span scheme; // empty: none
    bool has_authority;
    kni_span authority;
    kni_span path;
    kni_span query;
} pieces;

static pieces split(const char *text)
{
    pieces out = {0};
    const char *p = text;
    if (is_letter(*p)) {
        while (is_letter(*p) || is_digit(*p) || *p == '+' || *p == '-' || *p == '.')
            ++p;
        if (*p == ':')
            out.scheme = span_from(text, p++);
        else
            p = text;
    }
    if (p[0] == '/' && p[1] == '/') {
        const char *end = p + 2 + strcspn(p + 2, "/?#");
        out.has_authority = true;
        out.authority = span_from(p + 2, end);
        p = end;
    }
    const char *end = p + strcspn(p, "?#");
    out.path = span_from(p, end);
    out.query = span_from(end, end + strcspn(end, "#"));
    return out;
}

static bool same_ignoring_case(kni_span span, const char *text)
{
    if (span.size != strlen(text))
        return false;
    for (size_t i = 0; i < span.size; ++i)
        if (lower(span.data[i]) != text[i])
            return false;
    return true;
}

static bool is_number(const char *text)
{
    const bool is_hex = text[0] == '0' && lower(text[1]) == 'x';
    return is_hex ? strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text + 2)
                  : strspn(text, "0123456789") == strlen(text);
}

// A name of letters, digits, '-' and '_' in labels. One that ends in a number is none: resolvers read "127.1" and "0x7f000001" as
// addresses, each in its own way.
static bool is_host_name(const char *host)
{
    size_t label = 0;
    const char *last = host;
    for (const char *p = host; *p; ++p) {
        const bool is_dot = *p == '.';
        if (is_dot ? label == 0 : !is_letter(*p) && !is_digit(*p) && *p != '-' && *p != '_')
            return false;
        label = is_dot ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
        if (is_dot)
            last = p + 1;
    }
    return label > 0 && !is_number(last);
}

// The host, lower case and in the one way to write it, of "host", "1.2.3.4" or "[::1]".
static bool read_host(kni_span span, char out[HOST_MAX + 1])
{
    const bool in_brackets =
        span.size >= 2 && span.data[0] == '[' && span.data[span.size - 1] == ']';
    unsigned char address[sizeof(struct in6_addr)];

    if (in_brackets)
        span = (kni_span){span.data + 1, span.size - 2};
    if (span.size == 0 || span.size > HOST_MAX)
        return false;
    for (size_t i = 0; i < span.size; ++i)
        out[i] = lower(span.data[i]);
    out[span.size] = '\0';
    if (in_brackets)
        return inet_pton(AF_INET6, out, address) == 1 &&
               inet_ntop(AF_INET6, address, out, HOST_MAX) != NULL;
    return inet_pton(AF_INET, out, address) == 1 || is_host_name(out);
}

// Puts a path without its "." and ".." parts, RFC 3986 5.2.4. It begins with '/' or is empty.
static void append_path(kni_buf *out, kni_span path)
{
    const size_t start = out->size;
    const char *p = path.data, *end = path.data + path.size;
    while (p < end) {
        const char *next = memchr(p + 1, '/', (size_t)(end - p - 1));
        const kni_span part = span_from(p + 1, next ? next : end);
        const bool is_parent = kni_span_is(part, "..");
        if (is_parent) {
            while (!out->failed && out->size > start && out->data[--out->size] != '/')
                ;
        }
        if (is_parent || kni_span_is(part, ".")) {
            if (!next)
                kni_buf_puts(out, "/");
        } else {
            kni_buf_append(out, p, part.size + 1);
        }
        p = next ? next : end;
    }
}

// Bytes beyond ASCII are legal in neither, but servers send them.
static void append_escaped(kni_buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size; ++i) {
        if ((unsigned char)text[i] < 0x80)
            kni_buf_append(out, text + i, 1);
        else
            kni_buf_printf(out, "%%%02X", (unsigned char)text[i]);
    }
}

static kn_status check_characters(const char *text, const char *what, kn_error *err)
{
    const size_t size = strlen(text);
    if (size > URL_MAX)
        return kn_error_set(err, KN_ERR_INVALID, "%s: a URL of %zu bytes, at most %d are accepted",
                            what, size, URL_MAX);
    for (size_t i = 0; i < size; ++i) {
        const unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c == 0x7F || c == '\\')
            return kn_error_set(err, KN_ERR_INVALID,
                                "%s: a URL with the byte 0x%02X at %zu, which must be written as "
                                "%%%02X",
                                what, c, i, c);
    }
    return KN_OK;
}

// "<what>: <the URL without secrets>: <why>".
static kn_status refuse(const char *text, const char *what, const char *why, kn_error *err)
{
    char *shown = kni_url_for_people(text);
    const kn_status status =
        shown ? kn_error_set(err, KN_ERR_INVALID, "%s: \"%s\" %s", what, shown, why)
              : kni_no_memory(err);
    kni_free(shown);
    return status;
}

kn_status kni_url_parse(const char *text, const char *what, kni_url *out, kn_error *err)
{
    kn_status st;
    char host[HOST_MAX + 1];
    int64_t port;
    kni_buf whole = KNI_BUF_ANY;

    *out = (kni_url){0};
    st = check_characters(text, what, err);
    if (st != KN_OK)
        return st;
    const pieces url = split(text);
    const bool is_https = same_ignoring_case(url.scheme, "https");
    if (!is_https && !same_ignoring_case(url.scheme, "http"))
        return refuse(text, what, "must begin with https:// or http://", err);
    if (!url.has_authority || url.authority.size == 0)
        return refuse(text, what, "names no host", err);
    if (memchr(url.authority.data, '@', url.authority.size))
        return refuse(text, what,
                      "holds a user name or password, which is not accepted: a token is given by "
                      "HF_TOKEN or an option",
                      err);

    const int default_port = is_https ? 443 : 80;
    kni_span name = url.authority;
    const char *colon = memrchr(name.data, ':', name.size);
    port = default_port;
    if (colon && !memchr(colon, ']', (size_t)(name.data + name.size - colon))) {
        const kni_span digits = span_from(colon + 1, name.data + name.size);
        name.size = (size_t)(colon - name.data);
        if (digits.size && (!kni_span_to_int(digits, 65535, &port) || port == 0))
            return refuse(text, what, "has no port between 1 and 65535", err);
    }
    if (!read_host(name, host))
        return refuse(text, what,
                      "has no host name (ASCII, international ones as xn--…), IPv4 address or IPv6 "
                      "address in brackets",
                      err);

    const char *scheme = is_https ? "https" : "http";
    const bool is_v6 = strchr(host, ':') != NULL;
    kni_buf_printf(&whole, "%s://%s%s%s", scheme, is_v6 ? "[" : "", host, is_v6 ? "]" : "");
    if (port != default_port)
        kni_buf_printf(&whole, ":%d", (int)port);
    kni_buf path = KNI_BUF_ANY;
    append_path(&path, url.path);
    append_escaped(&whole, kni_buf_text(&path), path.size);
    whole.failed |= path.failed;
    kni_buf_dispose(&path);
    append_escaped(&whole, url.query.data, url.query.size);
    if (!whole.failed && whole.size > URL_MAX) {
        kni_buf_dispose(&whole);
        return refuse(text, what, "is too long", err);
    }
    // One block: the text, then what the other members point to.
    const size_t scheme_at = whole.size + 1, host_at = scheme_at + strlen(scheme) + 1;
    kni_buf_append(&whole, "", 1);
    kni_buf_append(&whole, scheme, strlen(scheme) + 1);
    kni_buf_append(&whole, host, strlen(host) + 1);
    out->text = kni_buf_take(&whole);
    kni_buf_dispose(&whole);
    if (!out->text)
        return kni_no_memory(err);
    out->scheme = out->text + scheme_at;
    out->host = out->text + host_at;
    out->port = (int)port;
    return KN_OK;
}

// RFC 3986 5.2.2, as a text that is parsed again: a redirect gets no other checks than a URL of a caller.
kn_status kni_url_join(const kni_url *base, const char *location, kni_url *out, kn_error *err)
{
    kn_status st;
    kni_buf text = KNI_BUF_ANY;

    *out = (kni_url){0};
    st = check_characters(location, "Location", err);
    if (st != KN_OK)
        return st;
    const pieces to = split(location), from = split(base->text);
    if (!to.scheme.size) {
        kni_buf_printf(&text, "%s://", base->scheme);
        const kni_span authority = to.has_authority ? to.authority : from.authority;
        kni_buf_append(&text, authority.data, authority.size);
        if (!to.has_authority && to.path.size == 0) {
            kni_buf_append(&text, from.path.data, from.path.size);
        } else if (!to.has_authority && to.path.data[0] != '/') {
            const char *slash =
                from.path.size ? memrchr(from.path.data, '/', from.path.size) : NULL;
            if (slash)
                kni_buf_append(&text, from.path.data, (size_t)(slash - from.path.data));
            kni_buf_puts(&text, "/");
        }
        const bool same = !to.has_authority && to.path.size == 0 && to.query.size == 0;
        kni_buf_append(&text, to.path.data, to.path.size);
        kni_buf_append(&text, same ? from.query.data : to.query.data,
                       same ? from.query.size : to.query.size);
        if (text.failed) {
            st = kni_no_memory(err);
            goto done;
        }
    }
    st = kni_url_parse(to.scheme.size ? location : kni_buf_text(&text), "Location", out, err);
done:
    kni_buf_dispose(&text);
    return st;
}

void kni_url_dispose(kni_url *url)
{
    kni_free(url->text);
    *url = (kni_url){0};
}

bool kni_url_same_origin(const kni_url *a, const kni_url *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 && a->port == b->port;
}

bool kni_url_is_loopback(const kni_url *url)
{
    unsigned char address[4];
    if (strcmp(url->host, "localhost") == 0 || strcmp(url->host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, url->host, address) == 1 && address[0] == 127;
}

char *kni_url_for_people(const char *text)
{
    const pieces url = split(text);
    const char *end = url.path.data + url.path.size;
    const char *at =
        url.authority.size ? memrchr(url.authority.data, '@', url.authority.size) : NULL;
    kni_buf out = KNI_BUF_ANY;
    if (at) {
        kni_buf_append(&out, text, (size_t)(url.authority.data - text));
        text = at + 1;
    }
    const size_t size = (size_t)(end - text);
    kni_text_append_clean(&out, text, size > PEOPLE_MAX ? PEOPLE_MAX : size);
    if (size > PEOPLE_MAX)
        kni_buf_puts(&out, "…");
    kni_buf_puts(&out, "");
    return kni_buf_take(&out);
}
