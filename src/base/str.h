// Small things about text.
#ifndef KNI_BASE_STR_H
#define KNI_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

// A piece of text that somebody else holds.
typedef struct kni_span {
    const char *data;
    size_t size;
} kni_span;

kni_span kni_span_of(const char *text); // of a whole string; empty for NULL
bool kni_span_is(kni_span span, const char *text);
bool kni_span_starts(kni_span span, const char *prefix);
bool kni_span_ends(kni_span span, const char *suffix);

// Cuts the part before the first `separator` off the front of *rest; the whole rest when there is none, and then *rest.data is
// NULL. False when nothing is left.
bool kni_span_cut(kni_span *rest, char separator, kni_span *part);

// Without the spaces around it.
kni_span kni_span_trim(kni_span span);

// Decimal digits alone, no sign, at most `max`: false otherwise.
bool kni_span_to_int(kni_span span, int64_t max, int64_t *value);

// The one sanitizer for text from outside: C0 and C1 control characters, newlines, bidirectional and zero-width marks and bytes
// that are not UTF-8 become U+FFFD. Used for errors, logs, traces and everything that reaches a terminal.
void kni_text_append_clean(kni_buf *out, const char *text, size_t size);
bool kni_text_is_clean(const char *text, size_t size); // it would replace nothing

bool kni_string_equal(const char *a, const char *b); // NULL equals NULL alone
bool kni_glob_match(const char *pattern,
                    const char *text); // * (also over dots), ? and literal characters

#endif
