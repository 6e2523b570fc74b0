/** Bytes of tokens to text for people: whole characters, nothing that steers a terminal. */
#ifndef LLAMA_STREAM_H
#define LLAMA_STREAM_H

#include <stddef.h>
#include <stdint.h>

/** Gets UTF-8, whole characters at a time. */
typedef void (*text_sink_fn)(void *user, const char *text, size_t n_bytes);

/**
 * A character may be spread over tokens: its bytes wait until it is whole. What is no UTF-8, and control characters but line
 * ends and tabs, become U+FFFD. Start with {.sink = …}.
 */
typedef struct text_stream {
    text_sink_fn sink;
    void *user;
    uint8_t waiting[4];
    uint32_t n_waiting;
    uint32_t n_wanted; // bytes of the character that waits
} text_stream;

void text_stream_put(text_stream *stream, const char *bytes, size_t n_bytes);

/** Nothing more comes: what still waits is no character. */
void text_stream_end(text_stream *stream);

#endif
