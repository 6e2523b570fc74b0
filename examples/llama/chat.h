/** What an instructed model expects around what a user says. */
#ifndef LLAMA_CHAT_H
#define LLAMA_CHAT_H

#include "tokenizer.h"

/**
 * True when the file's chat template is one that chat_prompt can follow: ChatML, <|im_start|>role … <|im_end|>. A template is a
 * program in Jinja, which is recognised here rather than run.
 */
bool chat_is_known(const tokenizer *tok);

/**
 * Appends the tokens of a chat in which the user has said `text` and the assistant is to answer, with the system message that
 * the template has for chats without one. Names of special tokens in the user's text stay text.
 * Error: KN_ERR_INVALID (not UTF-8), KN_ERR_UNSUPPORTED (another template), KN_ERR_NO_MEMORY.
 */
kn_status chat_prompt(const tokenizer *tok, const char *text, token_list *out, kn_error *err);

#endif
