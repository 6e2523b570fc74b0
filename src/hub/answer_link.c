#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/answer.h"

// RFC 8288: elements `<URL>; name=value; name="value"`, with commas between. What a quoted value or a URL holds separates nothing.

static const char *skip_blank(const char *at)
{
    return at + strspn(at, " \t");
}

// Past the quoted string that begins here; NULL when it does not end.
static const char *skip_quoted(const char *at)
{
    for (++at; *at != '"'; ++at) {
        if (*at == '\\' && at[1])
            ++at;
        if (!*at)
            return NULL;
    }
    return at + 1;
}

// The comma that ends an element, or the end of the header.
static const char *skip_element(const char *at)
{
    while (*at && *at != ',') {
        const char *next = *at == '"' ? skip_quoted(at) : at + 1;
        if (!next)
            return at + strlen(at);
        at = next;
    }
    return at;
}

// Relation types stand with blanks between them, in any case.
static bool names_next(kni_span value)
{
    kni_span part;
    while (kni_span_cut(&value, ' ', &part))
        if (part.size == 4 && strncasecmp(part.data, "next", 4) == 0)
            return true;
    return false;
}

// Reads `; name=value` at *at, which moves behind it. False: malformed.
static bool read_parameter(const char **at, kni_span *name, kni_span *value)
{
    const char *p = skip_blank(*at + 1);
    *name = (kni_span){p, strcspn(p, "=;,\" \t")};
    *value = (kni_span){p, 0};
    p = skip_blank(p + name->size);
    if (*p == '=') {
        p = skip_blank(p + 1);
        if (*p == '"') {
            const char *end = skip_quoted(p);
            if (!end)
                return false;
            *value = (kni_span){p + 1, (size_t)(end - p) - 2};
            p = end;
        } else {
            *value = (kni_span){p, strcspn(p, ";,\" \t")};
            p += value->size;
        }
    }
    *at = skip_blank(p);
    return name->size > 0 || **at == ';' || **at == ',' || !**at; // an empty parameter is none
}

// Reads an element at *at, which moves to its end. False: malformed. *url is empty when it is not the next one.
static bool read_element(const char **at, kni_span *url)
{
    kni_span name, value;
    bool has_rel = false, is_next = false;
    const char *p = *at;
    if (*p != '<')
        return false;
    *url = (kni_span){p + 1, strcspn(p + 1, ">")};
    p += 1 + url->size;
    if (*p != '>')
        return false;
    for (size_t i = 0; i < url->size; ++i) {
        const unsigned char c = (unsigned char)url->data[i];
        if (c <= 0x20 || c >= 0x7f || c == '<' || c == '"')
            return false;
    }
    p = skip_blank(p + 1);
    while (*p == ';') {
        if (!read_parameter(&p, &name, &value))
            return false;
        if (!has_rel && name.size == 3 && strncasecmp(name.data, "rel", 3) == 0) {
            has_rel = true; // the first one counts
            is_next = names_next(value);
        }
    }
    *at = p;
    if (!is_next)
        url->size = 0;
    return *p == ',' || !*p;
}

kn_status kni_link_next(const char *header, char **out, kn_error *err)
{
    *out = NULL;
    const char *at = header ? header : "";
    while (at += strspn(at, ", \t"), *at) {
        kni_span url = {at, 0};
        const char *end = at;
        if (read_element(&end, &url) && url.size > 0) {
            *out = kni_strndup(url.data, url.size);
            return *out ? KN_OK : kni_no_memory(err);
        }
        at = skip_element(end > at ? end : at);
    }
    return KN_OK;
}
