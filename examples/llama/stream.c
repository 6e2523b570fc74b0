#include "stream.h"

#include <stdbool.h>

// How many bytes a character has that begins so; 0: none does.
static uint32_t length_of(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

// May `next` be the byte after those that wait? The second byte is bounded by the first (Unicode, table 3-7).
static bool follows(const text_stream *s, uint8_t next)
{
    if (s->n_waiting == 1) {
        switch (s->waiting[0]) {
        case 0xE0:
            return next >= 0xA0 && next <= 0xBF;
        case 0xED:
            return next >= 0x80 && next <= 0x9F; // surrogates lie beyond
        case 0xF0:
            return next >= 0x90 && next <= 0xBF;
        case 0xF4:
            return next >= 0x80 && next <= 0x8F;
        default:
            break;
        }
    }
    return (next & 0xC0) == 0x80;
}

static void replace(text_stream *s)
{
    s->sink(s->user, "\xEF\xBF\xBD", 3);
    s->n_waiting = 0;
}

static bool is_control(const text_stream *s)
{
    const uint8_t *c = s->waiting;
    if (s->n_wanted == 1)
        return (c[0] < 0x20 && c[0] != '\n' && c[0] != '\t') || c[0] == 0x7F;
    return s->n_wanted == 2 && c[0] == 0xC2 && c[1] < 0xA0;
}

static void put_byte(text_stream *s, uint8_t byte)
{
    if (s->n_waiting > 0 && !follows(s, byte))
        replace(s);
    if (s->n_waiting == 0) {
        s->n_wanted = length_of(byte);
        if (s->n_wanted == 0) {
            replace(s);
            return;
        }
    }
    s->waiting[s->n_waiting++] = byte;
    if (s->n_waiting < s->n_wanted)
        return;
    if (is_control(s)) {
        replace(s);
        return;
    }
    s->sink(s->user, (const char *)s->waiting, s->n_wanted);
    s->n_waiting = 0;
}

void text_stream_put(text_stream *stream, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; ++i)
        put_byte(stream, (uint8_t)bytes[i]);
}

void text_stream_end(text_stream *stream)
{
    if (stream->n_waiting > 0)
        replace(stream);
}
