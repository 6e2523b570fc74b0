#include "chat.h"

#include <stdlib.h>
#include <string.h>

static const char START[] = "<|im_start|>", END[] = "<|im_end|>";

bool chat_is_known(const tokenizer *tok)
{
    const char *text = tokenizer_chat_template(tok);
    return strstr(text, START) && strstr(text, END) && tokenizer_find_special(tok, START) >= 0 &&
           tokenizer_find_special(tok, END) >= 0;
}

// The text of the message that a template writes in so many words after START; its length is 0 when there is none.
static gguf_string default_system(const char *text)
{
    static const char head[] = "<|im_start|>system\\n", written[] = "<|im_start|>system\n";
    const gguf_string none = {"", 0};
    const char *start = strstr(text, head);
    if (start) {
        start += sizeof(head) - 1;
    } else {
        start = strstr(text, written);
        if (!start)
            return none;
        start += sizeof(written) - 1;
    }
    const char *end = strstr(start, END);
    // A quote, a brace or an escape means that an expression makes the text.
    if (!end || strcspn(start, "'\"{}\\") < (size_t)(end - start))
        return none;
    return (gguf_string){start, (size_t)(end - start)};
}

// START, "role\n" and the text, then END and a line's end, or with text NULL nothing more.
static kn_status add_message(const tokenizer *tok, const char *role, const gguf_string *text,
                             token_list *out, kn_error *err)
{
    // Role and text are one string, since tokens may reach from one into the other.
    const size_t n_role = strlen(role), n_text = text ? text->n_bytes : 0;
    char *joined = malloc(n_role + 1 + n_text);
    kn_status st;
    if (!joined)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "out of memory for a chat");
    memcpy(joined, role, n_role);
    joined[n_role] = '\n';
    if (text)
        memcpy(joined + n_role + 1, text->bytes, n_text);
    st = token_list_add(out, tokenizer_find_special(tok, START), err);
    if (st == KN_OK)
        st = tokenizer_encode(tok, joined, n_role + 1 + n_text, false, out, err);
    if (st == KN_OK && text)
        st = token_list_add(out, tokenizer_find_special(tok, END), err);
    if (st == KN_OK && text)
        st = tokenizer_encode(tok, "\n", 1, false, out, err);
    free(joined);
    return st;
}

kn_status chat_prompt(const tokenizer *tok, const char *text, token_list *out, kn_error *err)
{
    if (!chat_is_known(tok))
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "the file has no chat template, or none that is ChatML");
    const gguf_string system = default_system(tokenizer_chat_template(tok));
    const gguf_string user = {text, strlen(text)};
    kn_status st = KN_OK;
    if (system.n_bytes > 0)
        st = add_message(tok, "system", &system, out, err);
    if (st == KN_OK)
        st = add_message(tok, "user", &user, out, err);
    if (st == KN_OK)
        st = add_message(tok, "assistant", NULL, out, err);
    return st;
}
