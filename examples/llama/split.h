/** The rules that split text into words before byte pairs are merged, by their names in GGUF files. */
#ifndef LLAMA_SPLIT_H
#define LLAMA_SPLIT_H

#include "gguf.h"

typedef struct splitter splitter;

/** Error: KN_ERR_UNSUPPORTED (the error names the rules that are known), KN_ERR_NO_MEMORY. */
kn_status splitter_new(gguf_string rule, splitter **out, kn_error *err);

/** NULL is fine. */
void splitter_free(splitter *split);

/** Gets the words in their order. An error ends the walk. */
typedef kn_status (*splitter_word_fn)(void *user, const char *word, size_t n_bytes, kn_error *err);

/**
 * Every byte of the text is in exactly one word.
 * Error: KN_ERR_INVALID (the text is not UTF-8), KN_ERR_NO_MEMORY, or what `each` returned. Threads: any.
 */
kn_status splitter_walk(const splitter *split, const char *text, size_t n_bytes,
                        splitter_word_fn each, void *user, kn_error *err);

#endif
