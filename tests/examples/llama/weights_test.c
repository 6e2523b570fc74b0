#include "weights.h"

#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A model of two layers: hidden 8, two heads of 4 over one of keys, ffn 6, five tokens. Row r of tensor t is t + r / 100.
enum { HIDDEN = 8, HEADS = 2, KV_HEADS = 1, HEAD_DIM = 4, FFN = 6, VOCAB = 5, LAYERS = 2 };

typedef struct spec {
    const char *name; // NULL: ends the list
    uint64_t n_cols;
    uint64_t n_rows; // 0: one dimension
} spec;

static const spec of_layer[] = {
    {"attn_norm", HIDDEN, 0},
    {"attn_q", HIDDEN, HEADS *HEAD_DIM},
    {"attn_k", HIDDEN, KV_HEADS *HEAD_DIM},
    {"attn_v", HIDDEN, KV_HEADS *HEAD_DIM},
    {"attn_output", HEADS *HEAD_DIM, HIDDEN},
    {"ffn_norm", HIDDEN, 0},
    {"ffn_gate", HIDDEN, FFN},
    {"ffn_up", HIDDEN, FFN},
    {"ffn_down", FFN, HIDDEN},
};

// What is different from the whole model.
typedef struct change {
    const char *name; // of the case
    const char *without_tensor, *without_key;
    const char *more_tensor;
    const char *other_rows; // a tensor that has one row more
    const char *architecture;
    uint32_t heads;  // 0: HEADS
    const char *key; // one more, with a value
    uint32_t value;
    const char *text_key; // one more, with a text
    const char *text;
    kn_status status;
    const char *part, *other;
} change;

typedef struct maker {
    writer head, data;
    uint64_t n_tensors, n_entries;
    const change *change;
} maker;

static void add_tensor(maker *m, const char *name, uint64_t n_cols, uint64_t n_rows)
{
    const change *c = m->change;
    if (c->without_tensor && strcmp(name, c->without_tensor) == 0)
        return;
    if (c->other_rows && strcmp(name, c->other_rows) == 0)
        n_rows += n_rows ? 1 : 2;
    put_padding(&m->data, 32);
    put_tensor(&m->head, name, (const uint64_t[4]){n_cols, n_rows}, 0, m->data.size);
    for (uint64_t i = 0; i < n_cols * (n_rows ? n_rows : 1); ++i) {
        const float value = (float)m->n_tensors + (float)(i / n_cols) / 100.0f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        put_int(&m->data, bits, 4);
    }
    m->n_tensors += 1;
}

static void add_number(maker *m, const char *key, uint32_t value)
{
    if (m->change->without_key && strcmp(key, m->change->without_key) == 0)
        return;
    put_u32(&m->head, key, value);
    m->n_entries += 1;
}

static writer make_model(const change *c)
{
    maker m = {.change = c};
    writer out = {0};
    char name[64];
    put_text(&m.head, "general.architecture", c->architecture ? c->architecture : "llama");
    put_f32(&m.head, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    m.n_entries = 2;
    add_number(&m, "llama.block_count", LAYERS);
    add_number(&m, "llama.embedding_length", HIDDEN);
    add_number(&m, "llama.attention.head_count", c->heads ? c->heads : HEADS);
    add_number(&m, "llama.attention.head_count_kv", KV_HEADS);
    add_number(&m, "llama.feed_forward_length", FFN);
    add_number(&m, "llama.context_length", 64);
    if (c->key)
        add_number(&m, c->key, c->value);
    if (c->text_key) {
        put_text(&m.head, c->text_key, c->text);
        m.n_entries += 1;
    }
    add_tensor(&m, "token_embd.weight", HIDDEN, VOCAB);
    for (int layer = 0; layer < LAYERS; ++layer) {
        for (size_t i = 0; i < KN_LEN(of_layer); ++i) {
            snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, of_layer[i].name);
            add_tensor(&m, name, of_layer[i].n_cols, of_layer[i].n_rows);
        }
    }
    add_tensor(&m, "output_norm.weight", HIDDEN, 0);
    if (c->more_tensor)
        add_tensor(&m, c->more_tensor, HIDDEN, VOCAB);
    put_head(&out, 3, m.n_tensors, m.n_entries);
    put_bytes(&out, m.head.bytes, m.head.size);
    put_padding(&out, 32);
    put_bytes(&out, m.data.bytes, m.data.size);
    free(m.head.bytes);
    free(m.data.bytes);
    return out;
}

static kn_status read_made(const change *c, llama_weights *out, kn_error *err)
{
    gguf_file *file = NULL;
    writer w = make_model(c);
    assert_int_equal(gguf_open_bytes("made", w.bytes, w.size, &file, err), KN_OK);
    const kn_status st = llama_weights_read(file, out, err);
    gguf_close(file);
    free(w.bytes);
    return st;
}

static void assert_rows(const float *rows, size_t n_cols, const float *wanted, size_t n_rows)
{
    for (size_t i = 0; i < n_rows * n_cols; ++i)
        assert_true(rows[i] == wanted[i / n_cols]);
}

static void test_whole(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    llama_weights w = {0};
    assert_int_equal(read_made(&(change){0}, &w, &err), KN_OK);
    assert_int_equal(w.config.n_layers, LAYERS);
    assert_int_equal(w.config.n_vocab, VOCAB);
    assert_int_equal(w.config.head_dim, HEAD_DIM);
    assert_int_equal(w.config.n_kv_heads, KV_HEADS);
    assert_true(w.config.rope_base == 10000.0);
    assert_ptr_equal(w.output, w.embedding); // tied
    const size_t n_floats = VOCAB * HIDDEN + HIDDEN +
                            LAYERS * (2 * HIDDEN + 2 * HEADS * HEAD_DIM * HIDDEN +
                                      2 * KV_HEADS * HEAD_DIM * HIDDEN + 3 * FFN * HIDDEN);
    assert_int_equal(w.n_bytes, n_floats * sizeof(float));
    assert_rows(w.embedding, HIDDEN, (const float[]){0, .01f, .02f, .03f, .04f}, VOCAB);
    // The second layer's tensors are the 10th and following. Heads' rows stand interleaved in the file: 0 2 1 3 of each.
    const llama_layer_weights *layer = &w.layers[1];
    assert_rows(layer->attn_norm, HIDDEN, (const float[]){10}, 1);
    assert_rows(layer->qkv, HIDDEN,
                (const float[]){11, 11 + .02f, 11 + .01f, 11 + .03f, 11 + .04f, 11 + .06f,
                                11 + .05f, 11 + .07f, 12, 12 + .02f, 12 + .01f, 12 + .03f, 13,
                                13 + .01f, 13 + .02f, 13 + .03f},
                16);
    assert_rows(layer->attn_out, HEADS * HEAD_DIM, (const float[]){14, 14 + .01f}, 2);
    assert_rows(
        layer->gate_up, HIDDEN,
        (const float[]){16, 16 + .01f, 16 + .02f, 16 + .03f, 16 + .04f, 16 + .05f, 17, 17 + .01f},
        8);
    assert_rows(layer->ffn_down, FFN, (const float[]){18, 18 + .01f}, 2);
    assert_rows(w.output_norm, HIDDEN, (const float[]){19}, 1);
    llama_weights_dispose(&w);
}

static void test_untied(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    llama_weights w = {0};
    assert_int_equal(read_made(&(change){.more_tensor = "output.weight"}, &w, &err), KN_OK);
    assert_rows(w.output, HIDDEN, (const float[]){20, 20 + .01f}, 2);
    assert_true(w.output != w.embedding);
    llama_weights_dispose(&w);
}

static const change broken[] = {
    {.name = "architecture",
     .architecture = "gpt2",
     .status = KN_ERR_UNSUPPORTED,
     .part = "architecture 'gpt2'",
     .other = "accepted is llama"},
    {.name = "no layers",
     .without_key = "llama.block_count",
     .status = KN_ERR_FORMAT,
     .part = "no 'llama.block_count'"},
    {.name = "heads", .heads = 3, .status = KN_ERR_FORMAT, .part = "8 columns for 3 heads"},
    {.name = "odd heads",
     .heads = 8,
     .status = KN_ERR_FORMAT,
     .part = "8 heads of 1",
     .other = "even"},
    {.name = "no embedding",
     .without_tensor = "token_embd.weight",
     .status = KN_ERR_FORMAT,
     .part = "no tensor 'token_embd.weight'"},
    {.name = "missing",
     .without_tensor = "blk.1.ffn_up.weight",
     .status = KN_ERR_FORMAT,
     .part = "tensor 'blk.1.ffn_up.weight' is missing"},
    {.name = "no norm",
     .without_tensor = "output_norm.weight",
     .status = KN_ERR_FORMAT,
     .part = "'output_norm.weight' is missing"},
    {.name = "rows",
     .other_rows = "blk.0.attn_k.weight",
     .status = KN_ERR_FORMAT,
     .part = "'blk.0.attn_k.weight' has 5 rows of 8",
     .other = "4 of 8"},
    {.name = "norm of two rows",
     .other_rows = "blk.0.ffn_norm.weight",
     .status = KN_ERR_FORMAT,
     .part = "has 2 rows of 8",
     .other = "1 of 8"},
    {.name = "another tensor",
     .more_tensor = "rope_freqs.weight",
     .status = KN_ERR_UNSUPPORTED,
     .part = "'rope_freqs.weight' is none"},
    {.name = "a bias",
     .more_tensor = "blk.0.attn_q.bias",
     .status = KN_ERR_UNSUPPORTED,
     .part = "'blk.0.attn_q.bias' is none"},
    {.name = "rotary of a part",
     .key = "llama.rope.dimension_count",
     .value = 2,
     .status = KN_ERR_FORMAT,
     .part = "dimension_count' is 2",
     .other = "4 to 4"},
    {.name = "experts",
     .key = "llama.expert_count",
     .value = 8,
     .status = KN_ERR_FORMAT,
     .part = "expert_count' is 8"},
    {.name = "key length",
     .key = "llama.attention.key_length",
     .value = 6,
     .status = KN_ERR_FORMAT,
     .part = "attn_q.weight' has 8 rows",
     .other = "12 of 8"},
    {.name = "scaling",
     .text_key = "llama.rope.scaling.type",
     .text = "yarn",
     .status = KN_ERR_UNSUPPORTED,
     .part = "'yarn'",
     .other = "accepted is none"},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(broken); ++i) {
        kn_error err = KN_ERROR_INIT;
        llama_weights w = {0};
        print_message("  %s\n", broken[i].name);
        assert_failure(read_made(&broken[i], &w, &err), &err, broken[i].status, broken[i].part,
                       broken[i].other);
        llama_weights_dispose(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_untied),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
