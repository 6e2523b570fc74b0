#include "target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../output.h"

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

char *serve_decode(const char *text, const char *end)
{
    const size_t size = end ? (size_t)(end - text) : strlen(text);
    char *out = cli_alloc(size + 1);
    size_t n = 0;
    for (size_t i = 0; i < size; ++i) {
        int byte = (unsigned char)text[i];
        if (text[i] == '%') {
            const int high = size - i > 2 ? hex_value(text[i + 1]) : -1;
            const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
            byte = low >= 0 ? 16 * high + low : 0;
            i += 2;
        }
        if (byte == 0) {
            free(out);
            return NULL;
        }
        out[n++] = (char)byte;
    }
    return out;
}

char *serve_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = cli_alloc(3 * strlen(text) + 1);
    size_t n = 0;
    for (; *text; ++text) {
        const unsigned char c = (unsigned char)*text;
        if (c < 128 && (isalnum(c) || strchr("-._~", c))) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    return out;
}

bool serve_target_parse(const char *text, serve_target *out, const char **why)
{
    *out = (serve_target){.query = ""};
    if (strlen(text) > SERVE_TARGET_SIZE_MAX) {
        *why = "the request is longer than 8192 bytes";
        return false;
    }
    // As it is sent to a proxy: the name of the host is no part of what is asked for.
    if (strncasecmp(text, "http://", 7) == 0)
        text += 7 + strcspn(text + 7, "/?");
    if (text[0] != '/') {
        *why = "the request does not name a path";
        return false;
    }
    const char *end = text + strcspn(text, "?#");
    if (*end == '?')
        out->query = end + 1;
    for (const char *at = text; at < end;) {
        const char *begin = at + 1, *slash = memchr(begin, '/', (size_t)(end - begin));
        const char *stop = slash ? slash : end;
        at = stop;
        if (begin == stop && at == end)
            break; // a slash at the end
        if (out->count == SERVE_SEGMENTS_MAX) {
            *why = "the path has more than 64 parts";
            return false;
        }
        char *segment = serve_decode(begin, stop);
        if (!segment) {
            *why = "the path is wrongly encoded";
            return false;
        }
        out->segments[out->count++] = segment;
    }
    return true;
}

void serve_target_dispose(serve_target *target)
{
    for (size_t i = 0; i < target->count; ++i)
        free(target->segments[i]);
    target->count = 0;
}

char *serve_target_rest(const serve_target *target, size_t first)
{
    char *path = cli_format("%s", first < target->count ? target->segments[first] : "");
    for (size_t i = first + 1; i < target->count; ++i) {
        char *longer = cli_format("%s/%s", path, target->segments[i]);
        free(path);
        path = longer;
    }
    return path;
}

static char *form_decode(const char *text, const char *end)
{
    char *plain = cli_format("%.*s", (int)(end - text), text);
    for (char *at = plain; *at; ++at)
        if (*at == '+')
            *at = ' ';
    char *decoded = serve_decode(plain, NULL);
    free(plain);
    return decoded;
}

bool serve_form_next(const char **at, char **key, char **value)
{
    *key = *value = NULL;
    while (**at == '&')
        ++*at;
    if (!**at)
        return false;
    const char *end = *at + strcspn(*at, "&");
    const char *equals = memchr(*at, '=', (size_t)(end - *at));
    *key = form_decode(*at, equals ? equals : end);
    *value = form_decode(equals ? equals + 1 : end, end);
    *at = end;
    if (*key && *value)
        return true;
    free(*key);
    free(*value);
    *key = *value = NULL;
    return false;
}

char *serve_query(const serve_target *target, const char *key)
{
    const char *at = target->query;
    char *name = NULL, *value = NULL;
    while (serve_form_next(&at, &name, &value)) {
        const bool is_it = strcmp(name, key) == 0;
        free(name);
        if (is_it)
            return value;
        free(value);
    }
    return NULL;
}

bool serve_query_flag(const serve_target *target, const char *key)
{
    char *value = serve_query(target, key);
    const bool is_set = value && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
    free(value);
    return is_set;
}
