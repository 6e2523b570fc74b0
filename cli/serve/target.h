// What a request asks for: the path cut at its slashes, then decoded, and the query. Bytes from outside.
#ifndef SERVE_TARGET_H
#define SERVE_TARGET_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SERVE_TARGET_SIZE_MAX = 8192,
    SERVE_SEGMENTS_MAX = 64,
};

typedef struct serve_target {
    char *segments[SERVE_SEGMENTS_MAX]; // decoded: an encoded slash is a byte of the segment
    size_t count;
    const char *query; // raw, borrowed from the text that was parsed; "" without one
} serve_target;

// False: it is no path, too long, or wrongly encoded; *why says so, a constant.
bool serve_target_parse(const char *text, serve_target *out, const char **why);
void serve_target_dispose(serve_target *target);

// The segments from `first` on as one path; "" when there are none. free() it.
char *serve_target_rest(const serve_target *target, size_t first);

// %xx are decoded up to `end` (NULL: the end of the text). NULL: wrongly encoded, or a zero byte. free() it.
char *serve_decode(const char *text, const char *end);
char *serve_encode(const char *text); // all but letters, digits and -._~; free() it

// The next `key=value` of a form or query: *at moves behind it. Both are decoded, '+' is a blank; free() them. False: no more, or
// wrongly encoded.
bool serve_form_next(const char **at, char **key, char **value);
// A value of the query; NULL: it is not there. free() it.
char *serve_query(const serve_target *target, const char *key);
// "true" and "1", in any case.
bool serve_query_flag(const serve_target *target, const char *key);

#endif
