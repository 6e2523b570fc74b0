/**
 * Text to token ids and back, by the byte-level BPE tables of a GGUF file (tokenizer.ggml.model "gpt2").
 *
 * Text is split into words by the rule that the file names (tokenizer.ggml.pre); the bytes of each word are merged in the
 * order of the file's merges. A byte for which the file has no token is left out, as the reference implementation does.
 *
 * Threads: any, once made.
 */
#ifndef LLAMA_TOKENIZER_H
#define LLAMA_TOKENIZER_H

#include "gguf.h"

typedef struct tokenizer tokenizer;

/** Token ids; start with {0}, free(ids) once. */
typedef struct token_list {
    int32_t *ids;
    size_t count;
    size_t capacity;
} token_list;

/** Copies what it needs. Error: KN_ERR_FORMAT, KN_ERR_UNSUPPORTED (another kind of tokenizer), KN_ERR_NO_MEMORY. */
kn_status tokenizer_new(const gguf_file *file, tokenizer **out, kn_error *err);

/** NULL is fine. */
void tokenizer_free(tokenizer *tok);

/** Appends one id. Error: KN_ERR_NO_MEMORY. */
kn_status token_list_add(token_list *list, int32_t id, kn_error *err);

/**
 * Appends the ids of a text, which is UTF-8. with_special: names of special tokens in it ("<|im_end|>") become these
 * tokens; without, they are text like any other, which is right for what a user typed.
 * Error: KN_ERR_INVALID (not UTF-8), KN_ERR_NO_MEMORY.
 */
kn_status tokenizer_encode(const tokenizer *tok, const char *text, size_t n_bytes,
                           bool with_special, token_list *out, kn_error *err);

/** The bytes that a token stands for, perhaps a part of a character; borrowed until tokenizer_free. id is one of the file. */
gguf_string tokenizer_bytes(const tokenizer *tok, int32_t id);

/** True for tokens that are no text ("<|im_end|>"). */
bool tokenizer_is_special(const tokenizer *tok, int32_t id);

/** The special token of that name; -1 when the file has none. */
int32_t tokenizer_find_special(const tokenizer *tok, const char *name);

/** True for a token after which nothing follows. */
bool tokenizer_is_end(const tokenizer *tok, int32_t id);

size_t tokenizer_n_tokens(const tokenizer *tok);

/** What begins every text that is not a chat; -1: nothing. */
int32_t tokenizer_bos(const tokenizer *tok);

/** The chat template of the file, "" when it has none; borrowed until tokenizer_free. */
const char *tokenizer_chat_template(const tokenizer *tok);

#endif
