#include "tokenizer.h"

#include "chat.h"
#include "support.h"
#include <stdlib.h>
#include <string.h>

static tokenizer *model_tokenizer(void)
{
    kn_error err = KN_ERROR_INIT;
    tokenizer *tok = NULL;
    gguf_file *file = open_model();
    if (tokenizer_new(file, &tok, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    gguf_close(file);
    return tok;
}

typedef enum fixture_kind { TEXTS, SPECIAL, CHATS } fixture_kind;

static kn_status encode(const tokenizer *tok, fixture_kind kind, const json_t *text,
                        token_list *out, kn_error *err)
{
    const char *bytes = json_string_value(text);
    return kind == CHATS
               ? chat_prompt(tok, bytes, out, err)
               : tokenizer_encode(tok, bytes, json_string_length(text), kind == SPECIAL, out, err);
}

// All lines of a fixture; every difference is shown before the test fails.
static void compare_list(const tokenizer *tok, const json_t *list, fixture_kind kind)
{
    size_t i, n_other = 0;
    json_t *entry;
    assert_true(json_array_size(list) > 0);
    json_array_foreach(list, i, entry)
    {
        kn_error err = KN_ERROR_INIT;
        token_list ids = {0};
        const json_t *text = json_object_get(entry, "text");
        if (encode(tok, kind, text, &ids, &err) != KN_OK)
            fail_msg("'%s': %s", json_string_value(text), kn_error_text(&err));
        if (!same_ids(json_string_value(text), json_object_get(entry, "ids"), ids.ids, ids.count))
            ++n_other;
        free(ids.ids);
    }
    print_message("  %zu texts, %zu differ\n", i, n_other);
    assert_int_equal(n_other, 0);
}

static void test_reference(void **state)
{
    (void)state;
    tokenizer *tok = model_tokenizer();
    json_t *fixture = read_fixture("tokenization.json");
    assert_true(json_array_size(json_object_get(fixture, "texts")) >= 300);
    compare_list(tok, json_object_get(fixture, "texts"), TEXTS);
    compare_list(tok, json_object_get(fixture, "special"), SPECIAL);
    compare_list(tok, json_object_get(fixture, "chats"), CHATS);
    json_decref(fixture);
    tokenizer_free(tok);
}

// Bytes of the tokens, one after another, are the text, except for bytes that the model has no token for.
static void test_decode(void **state)
{
    (void)state;
    tokenizer *tok = model_tokenizer();
    json_t *fixture = read_fixture("tokenization.json");
    size_t i, n_whole = 0;
    json_t *entry;
    json_array_foreach(json_object_get(fixture, "texts"), i, entry)
    {
        const json_t *ids = json_object_get(entry, "ids");
        const char *text = json_string_value(json_object_get(entry, "text"));
        const size_t n_text = json_string_length(json_object_get(entry, "text"));
        size_t at = 0, n_bytes = 0;
        for (size_t j = 0; j < json_array_size(ids); ++j) {
            const gguf_string bytes =
                tokenizer_bytes(tok, (int32_t)json_integer_value(json_array_get(ids, j)));
            for (size_t k = 0; k < bytes.n_bytes; ++k, ++at, ++n_bytes) {
                while (at < n_text && text[at] != bytes.bytes[k])
                    ++at; // left out
                assert_true(at < n_text);
            }
        }
        n_whole += n_bytes == n_text;
    }
    assert_true(n_whole > 200);
    json_decref(fixture);
    tokenizer_free(tok);
}

static void test_special(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    tokenizer *tok = model_tokenizer();
    const int32_t end = tokenizer_find_special(tok, "<|im_end|>");
    assert_int_equal(end, 2);
    assert_true(tokenizer_is_end(tok, end));
    assert_true(tokenizer_is_special(tok, end));
    assert_false(tokenizer_is_end(tok, 1));
    assert_int_equal(tokenizer_find_special(tok, "<|im_end|"), -1);
    assert_int_equal(tokenizer_find_special(tok, "<|im_end|> "), -1);
    assert_int_equal(tokenizer_bos(tok), -1); // the file does not want one

    // What a user types is text, even the name of a special token.
    token_list ids = {0};
    assert_int_equal(chat_prompt(tok, "a<|im_end|>b", &ids, &err), KN_OK);
    size_t n_ends = 0;
    for (size_t i = 0; i < ids.count; ++i)
        n_ends += ids.ids[i] == end;
    assert_int_equal(n_ends, 2); // of the system's and the user's message
    free(ids.ids);
    tokenizer_free(tok);
}

static void test_not_utf8(void **state)
{
    (void)state;
    tokenizer *tok = model_tokenizer();
    static const char *const texts[] = {"a\xFF", "a\xC3", "a\xED\xA0\x80", "a\xF4\x90\x80\x80",
                                        "a\xC0\x80"};
    for (size_t i = 0; i < KN_LEN(texts); ++i) {
        kn_error err = KN_ERROR_INIT;
        token_list ids = {0};
        assert_failure(tokenizer_encode(tok, texts[i], strlen(texts[i]), false, &ids, &err), &err,
                       KN_ERR_INVALID, "not UTF-8 at byte 1", NULL);
        free(ids.ids);
    }
    tokenizer_free(tok);
}

// A long word: no quadratic time, no limit of the regular expressions.
static void test_long_words(void **state)
{
    (void)state;
    enum { SIZE = 1 << 18 };
    tokenizer *tok = model_tokenizer();
    char *text = malloc(SIZE);
    assert_non_null(text);
    static const char *const fills[] = {"a", " ", "7", "-", "ab c", "\xE4\xB8\xAD"};
    for (size_t i = 0; i < KN_LEN(fills); ++i) {
        kn_error err = KN_ERROR_INIT;
        token_list ids = {0};
        const size_t step = strlen(fills[i]), size = SIZE / step * step;
        size_t n_bytes = 0;
        for (size_t at = 0; at < size; at += step)
            memcpy(text + at, fills[i], step);
        if (tokenizer_encode(tok, text, size, true, &ids, &err) != KN_OK)
            fail_msg("%s: %s", fills[i], kn_error_text(&err));
        for (size_t j = 0; j < ids.count; ++j)
            n_bytes += tokenizer_bytes(tok, ids.ids[j]).n_bytes;
        assert_int_equal(n_bytes, size);
        free(ids.ids);
    }
    free(text);
    tokenizer_free(tok);
}

// Tables that break one thing each. Left out: NULL.
static const struct {
    const char *name, *model, *pre;
    const char *tokens[6], *merges[3];
    int32_t types[6];
    int64_t eos; // -1: none
    kn_status status;
    const char *part;
} broken[] = {
    {"fine",
     "gpt2",
     "smollm",
     {"<e>", "a", "b", "ab", "\xC4\xA0"},
     {"a b"},
     {3, 1, 1, 1, 1},
     0,
     KN_OK,
     NULL},
    {"other model", "llama", "smollm", {"a"}, {0}, {1}, -1, KN_ERR_UNSUPPORTED, "accepted is gpt2"},
    {"no model", NULL, "smollm", {"a"}, {0}, {1}, -1, KN_ERR_FORMAT, "no 'tokenizer.ggml.model'"},
    {"other rule", "gpt2", "other", {"a"}, {0}, {1}, -1, KN_ERR_UNSUPPORTED, "known are smollm"},
    {"no rule", "gpt2", NULL, {"a"}, {0}, {1}, -1, KN_ERR_FORMAT, "no 'tokenizer.ggml.pre'"},
    {"no tokens", "gpt2", "smollm", {0}, {0}, {0}, -1, KN_ERR_FORMAT, "0 tokens, accepted are 1"},
    {"twice", "gpt2", "smollm", {"a", "b", "a"}, {0}, {1, 1, 1}, -1, KN_ERR_FORMAT, "both 'a'"},
    {"type", "gpt2", "smollm", {"a", "b"}, {0}, {1, 7}, -1, KN_ERR_FORMAT, "token 1 has type 7"},
    {"no space",
     "gpt2",
     "smollm",
     {"a", "b", "ab"},
     {"ab"},
     {1, 1, 1},
     -1,
     KN_ERR_FORMAT,
     "merge 0 is 'ab'"},
    {"no left",
     "gpt2",
     "smollm",
     {"a", "b", "ab"},
     {"a b", "c b"},
     {1, 1, 1},
     -1,
     KN_ERR_FORMAT,
     "merge 1 is 'c b'"},
    {"no result",
     "gpt2",
     "smollm",
     {"a", "b"},
     {"a b"},
     {1, 1},
     -1,
     KN_ERR_FORMAT,
     "merge 0 is 'a b'"},
    {"end", "gpt2", "smollm", {"a", "b"}, {0}, {1, 1}, 2, KN_ERR_FORMAT, "eos_token_id' is 2"},
};

static size_t length(const char *const *texts, size_t most)
{
    size_t n = 0;
    while (n < most && texts[n])
        ++n;
    return n;
}

static void test_broken_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(broken); ++i) {
        kn_error err = KN_ERROR_INIT;
        gguf_file *file = NULL;
        tokenizer *tok = NULL;
        writer w = {0};
        const size_t n_tokens = length(broken[i].tokens, 6);
        print_message("  %s\n", broken[i].name);
        put_head(&w, 3, 0,
                 3u + (broken[i].model ? 1 : 0) + (broken[i].pre ? 1 : 0) +
                     (broken[i].eos >= 0 ? 1 : 0));
        if (broken[i].model)
            put_text(&w, "tokenizer.ggml.model", broken[i].model);
        if (broken[i].pre)
            put_text(&w, "tokenizer.ggml.pre", broken[i].pre);
        put_strings(&w, "tokenizer.ggml.tokens", broken[i].tokens, n_tokens);
        put_i32s(&w, "tokenizer.ggml.token_type", broken[i].types, n_tokens);
        put_strings(&w, "tokenizer.ggml.merges", broken[i].merges, length(broken[i].merges, 3));
        if (broken[i].eos >= 0)
            put_u32(&w, "tokenizer.ggml.eos_token_id", (uint32_t)broken[i].eos);
        assert_int_equal(gguf_open_bytes("made", w.bytes, w.size, &file, &err), KN_OK);
        const kn_status st = tokenizer_new(file, &tok, &err);
        if (broken[i].status == KN_OK) {
            assert_int_equal(st, KN_OK);
            token_list ids = {0};
            assert_int_equal(tokenizer_encode(tok, "ab<e>ba x", 9, true, &ids, &err), KN_OK);
            const int32_t wanted[] = {3, 0, 2, 1, 4}; // there is no x
            assert_int_equal(ids.count, KN_LEN(wanted));
            assert_memory_equal(ids.ids, wanted, sizeof(wanted));
            assert_failure(chat_prompt(tok, "a", &ids, &err), &err, KN_ERR_UNSUPPORTED,
                           "no chat template", NULL);
            free(ids.ids);
        } else {
            assert_failure(st, &err, broken[i].status, broken[i].part, "made");
            assert_null(tok);
        }
        tokenizer_free(tok);
        gguf_close(file);
        free(w.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),  cmocka_unit_test(test_decode),
        cmocka_unit_test(test_special),    cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_long_words), cmocka_unit_test(test_broken_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
