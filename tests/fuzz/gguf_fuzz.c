// Any bytes as a model file: it opens or is refused, and what opened can be read: values, tensors, tokenizer, weights.
#include <stdlib.h>

#include "examples/llama/chat.h"
#include "examples/llama/gguf.h"
#include "examples/llama/tokenizer.h"
#include "examples/llama/weights.h"
#include "fuzz.h"

enum { FLOATS_MAX = 1 << 16 };

static void read_tensors(gguf_file *file)
{
    static float out[FLOATS_MAX];
    for (size_t i = 0; i < gguf_n_tensors(file); ++i) {
        const gguf_tensor *t = gguf_get_tensor(file, i);
        kn_error err = KN_ERROR_INIT;
        if (t->n_cols > FLOATS_MAX)
            continue;
        // The last row ends where the tensor does.
        FUZZ_CHECK(gguf_read_rows(file, t, t->n_rows - 1, 1, out, &err) == KN_OK);
        FUZZ_CHECK(gguf_read_rows(file, t, t->n_rows, 1, out, &err) == KN_ERR_INVALID);
        kn_error_dispose(&err);
    }
}

static void use_tokenizer(const gguf_file *file)
{
    static const char text[] = "It's 12  words,\n\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80 <|im_end|>";
    tokenizer *tok = NULL;
    kn_error err = KN_ERROR_INIT;
    token_list ids = {0};
    const kn_status st = tokenizer_new(file, &tok, &err);
    FUZZ_CHECK((st == KN_OK) == (tok != NULL) && st == err.status);
    if (tok) {
        FUZZ_CHECK(tokenizer_encode(tok, text, sizeof(text) - 1, true, &ids, &err) == KN_OK);
        for (size_t i = 0; i < ids.count; ++i)
            FUZZ_CHECK(tokenizer_bytes(tok, ids.ids[i]).bytes != NULL);
        if (chat_is_known(tok)) // the system's message may be no UTF-8
            FUZZ_CHECK(chat_prompt(tok, text, &ids, &err) == err.status);
    }
    free(ids.ids);
    kn_error_dispose(&err);
    tokenizer_free(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gguf_file *file = NULL;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = gguf_open_bytes("input", data, size, &file, &err);
    FUZZ_CHECK((st == KN_OK) == (file != NULL) && st == err.status);
    kn_error_dispose(&err);
    if (!file)
        return 0;
    llama_weights weights = {0};
    read_tensors(file);
    use_tokenizer(file);
    FUZZ_CHECK(llama_weights_read(file, &weights, &err) == err.status);
    llama_weights_dispose(&weights);
    kn_error_dispose(&err);
    gguf_close(file);
    return 0;
}
