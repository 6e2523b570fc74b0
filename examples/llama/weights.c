#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// How a tensor's rows are written in the file.
typedef enum row_order {
    ROWS_AS_WRITTEN,
    ROWS_OF_HEADS, // the halves of each head interleaved: row 2i is i of the first half, 2i + 1 of the second
} row_order;

// A tensor of the file. Memory holds them one after another, in the order of the lists below.
typedef struct slot {
    const char *before; // the name: before, and for a tensor of a layer its number and `after`
    const char *after;  // NULL: not one of a layer
    int64_t n_rows;
    int64_t n_cols;
    row_order order;
} slot;

enum { ATTN_NORM, Q, K, V, ATTN_OUT, FFN_NORM, GATE, UP, FFN_DOWN, SLOTS_OF_LAYER };
enum { EMBEDDING, OUTPUT_NORM, OUTPUT, SLOTS_OF_MODEL };
enum { NAME_SIZE = 64 };

// Walks over all tensors in the order of memory.
typedef struct walk {
    gguf_file *file;
    llama_weights *weights;
    float *next;       // of memory; NULL while sizes are added up
    uint64_t n_floats; // so far
    bool *used;        // by index of the file's tensors
    kn_error *err;
} walk;

static kn_status get_size(const gguf_file *file, const char *key, int64_t *out, kn_error *err)
{
    return gguf_get_int(file, key, 1, 1 << 24, out, err);
}

// The count of the vocabulary is that of the embedding's rows.
static kn_status read_sizes(const gguf_file *file, llama_config *c, kn_error *err)
{
    const gguf_tensor *embedding = gguf_find_tensor(file, "token_embd.weight");
    const struct {
        const char *key;
        int64_t *out;
    } sizes[] = {
        {"llama.block_count", &c->n_layers},         {"llama.embedding_length", &c->n_hidden},
        {"llama.attention.head_count", &c->n_heads}, {"llama.feed_forward_length", &c->n_ffn},
        {"llama.context_length", &c->context_max},
    };
    for (size_t i = 0; i < KN_LEN(sizes); ++i) {
        const kn_status st = get_size(file, sizes[i].key, sizes[i].out, err);
        if (st != KN_OK)
            return st;
    }
    c->n_kv_heads = c->n_heads;
    if (gguf_has(file, "llama.attention.head_count_kv")) {
        const kn_status st = get_size(file, "llama.attention.head_count_kv", &c->n_kv_heads, err);
        if (st != KN_OK)
            return st;
    }
    c->head_dim = c->n_hidden / c->n_heads;
    if (gguf_has(file, "llama.attention.key_length")) {
        const kn_status st = get_size(file, "llama.attention.key_length", &c->head_dim, err);
        if (st != KN_OK)
            return st;
    } else if (c->n_hidden % c->n_heads != 0) {
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %lld columns for %lld heads, accepted are multiples",
                            gguf_name(file), (long long)c->n_hidden, (long long)c->n_heads);
    }
    if (c->n_heads % c->n_kv_heads != 0 || c->head_dim % 2 != 0)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %lld heads of %lld for %lld of keys and values, accepted are "
                            "multiples and even sizes",
                            gguf_name(file), (long long)c->n_heads, (long long)c->head_dim,
                            (long long)c->n_kv_heads);
    if (!embedding || embedding->n_rows > INT32_MAX)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: no tensor 'token_embd.weight' with up to %d rows", gguf_name(file),
                            INT32_MAX);
    c->n_vocab = (int64_t)embedding->n_rows;
    return KN_OK;
}

// What the arithmetic here does not do must not be asked for.
static kn_status check_settings(const gguf_file *file, const llama_config *c, kn_error *err)
{
    static const char scaling[] = "llama.rope.scaling.type";
    int64_t size = 0;
    gguf_string text;
    kn_status st = KN_OK;
    if (gguf_has(file, "llama.rope.dimension_count")) {
        st = gguf_get_int(file, "llama.rope.dimension_count", c->head_dim, c->head_dim, &size, err);
        if (st != KN_OK)
            return st;
    }
    if (gguf_has(file, "llama.attention.value_length")) {
        st = gguf_get_int(file, "llama.attention.value_length", c->head_dim, c->head_dim, &size,
                          err);
        if (st != KN_OK)
            return st;
    }
    if (gguf_has(file, "llama.expert_count")) {
        st = gguf_get_int(file, "llama.expert_count", 0, 0, &size, err);
        if (st != KN_OK)
            return st;
    }
    if (gguf_has(file, scaling)) {
        st = gguf_get_string(file, scaling, &text, err);
        if (st != KN_OK)
            return st;
        if (text.n_bytes != 4 || memcmp(text.bytes, "none", 4) != 0)
            return kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: %s '%.*s', accepted is none",
                                gguf_name(file), scaling, (int)text.n_bytes, text.bytes);
    }
    return KN_OK;
}

static kn_status read_config(const gguf_file *file, llama_config *c, kn_error *err)
{
    gguf_string architecture;
    kn_status st = gguf_get_string(file, "general.architecture", &architecture, err);
    if (st != KN_OK)
        return st;
    if (architecture.n_bytes != 5 || memcmp(architecture.bytes, "llama", 5) != 0)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: architecture '%.*s' (general.architecture), accepted is llama",
                            gguf_name(file), (int)architecture.n_bytes, architecture.bytes);
    st = read_sizes(file, c, err);
    if (st != KN_OK)
        return st;
    st = gguf_get_float(file, "llama.attention.layer_norm_rms_epsilon", &c->norm_eps, err);
    c->rope_base = 10000.0;
    if (st == KN_OK && gguf_has(file, "llama.rope.freq_base"))
        st = gguf_get_float(file, "llama.rope.freq_base", &c->rope_base, err);
    if (st != KN_OK)
        return st;
    if (!(c->norm_eps >= 0) || !(c->rope_base > 0))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: norm epsilon %g and rope base %g, accepted are positive numbers",
                            gguf_name(file), c->norm_eps, c->rope_base);
    return check_settings(file, c, err);
}

static void list_layer(const llama_config *c, slot out[SLOTS_OF_LAYER])
{
    const int64_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const int64_t h = c->n_hidden, ffn = c->n_ffn;
    out[ATTN_NORM] = (slot){"blk.", ".attn_norm.weight", 1, h, ROWS_AS_WRITTEN};
    out[Q] = (slot){"blk.", ".attn_q.weight", q, h, ROWS_OF_HEADS};
    out[K] = (slot){"blk.", ".attn_k.weight", kv, h, ROWS_OF_HEADS};
    out[V] = (slot){"blk.", ".attn_v.weight", kv, h, ROWS_AS_WRITTEN};
    out[ATTN_OUT] = (slot){"blk.", ".attn_output.weight", h, q, ROWS_AS_WRITTEN};
    out[FFN_NORM] = (slot){"blk.", ".ffn_norm.weight", 1, h, ROWS_AS_WRITTEN};
    out[GATE] = (slot){"blk.", ".ffn_gate.weight", ffn, h, ROWS_AS_WRITTEN};
    out[UP] = (slot){"blk.", ".ffn_up.weight", ffn, h, ROWS_AS_WRITTEN};
    out[FFN_DOWN] = (slot){"blk.", ".ffn_down.weight", h, ffn, ROWS_AS_WRITTEN};
}

static void list_model(const llama_config *c, slot out[SLOTS_OF_MODEL])
{
    out[EMBEDDING] = (slot){"token_embd.weight", NULL, c->n_vocab, c->n_hidden, ROWS_AS_WRITTEN};
    out[OUTPUT_NORM] = (slot){"output_norm.weight", NULL, 1, c->n_hidden, ROWS_AS_WRITTEN};
    out[OUTPUT] = (slot){"output.weight", NULL, c->n_vocab, c->n_hidden, ROWS_AS_WRITTEN};
}

// Row r of a head of n rows stands in the file at:
static int64_t written_row(int64_t r, int64_t n)
{
    const int64_t in_head = r % n;
    const int64_t half = in_head / (n / 2);
    return r - in_head + 2 * (in_head - half * (n / 2)) + half;
}

static kn_status read_slot(const walk *w, const gguf_tensor *t, const slot *s)
{
    const int64_t head_dim = w->weights->config.head_dim;
    if (s->order == ROWS_AS_WRITTEN)
        return gguf_read_rows(w->file, t, 0, t->n_rows, w->next, w->err);
    for (int64_t row = 0; row < s->n_rows; ++row) {
        const kn_status st = gguf_read_rows(w->file, t, (uint64_t)written_row(row, head_dim), 1,
                                            w->next + row * s->n_cols, w->err);
        if (st != KN_OK)
            return st;
    }
    return KN_OK;
}

// Checks a tensor and adds its size; once there is memory, reads it to *out.
static kn_status visit(walk *w, const slot *s, int64_t layer, float **out)
{
    char name[NAME_SIZE];
    if (s->after)
        snprintf(name, sizeof(name), "%s%lld%s", s->before, (long long)layer, s->after);
    else
        snprintf(name, sizeof(name), "%s", s->before);
    const gguf_tensor *t = gguf_find_tensor(w->file, name);
    if (!t)
        return kn_error_set(w->err, KN_ERR_FORMAT, "%s: tensor '%s' is missing", gguf_name(w->file),
                            name);
    if (t->n_rows != (uint64_t)s->n_rows || t->n_cols != (uint64_t)s->n_cols)
        return kn_error_set(w->err, KN_ERR_FORMAT,
                            "%s: tensor '%s' has %llu rows of %llu, the model's sizes ask for %lld "
                            "of %lld",
                            gguf_name(w->file), name, (unsigned long long)t->n_rows,
                            (unsigned long long)t->n_cols, (long long)s->n_rows,
                            (long long)s->n_cols);
    const uint64_t n = t->n_rows * t->n_cols; // no overflow: the tensor lies in the file
    w->used[t - gguf_get_tensor(w->file, 0)] = true;
    w->n_floats += n;
    if (!w->next)
        return KN_OK;
    const kn_status st = read_slot(w, t, s);
    *out = w->next;
    w->next += n;
    return st;
}

static kn_status visit_all(walk *w)
{
    llama_weights *weights = w->weights;
    slot of_layer[SLOTS_OF_LAYER], of_model[SLOTS_OF_MODEL];
    kn_status st = KN_OK;
    list_layer(&weights->config, of_layer);
    list_model(&weights->config, of_model);
    for (int64_t i = 0; i < weights->config.n_layers; ++i) {
        float *parts[SLOTS_OF_LAYER] = {NULL};
        for (size_t j = 0; j < SLOTS_OF_LAYER && st == KN_OK; ++j)
            st = visit(w, &of_layer[j], i, &parts[j]);
        if (st != KN_OK)
            return st;
        if (weights->layers) // q, k and v lie one after another, as do gate and up
            weights->layers[i] = (llama_layer_weights){.attn_norm = parts[ATTN_NORM],
                                                       .qkv = parts[Q],
                                                       .attn_out = parts[ATTN_OUT],
                                                       .ffn_norm = parts[FFN_NORM],
                                                       .gate_up = parts[GATE],
                                                       .ffn_down = parts[FFN_DOWN]};
    }
    st = visit(w, &of_model[EMBEDDING], 0, &weights->embedding);
    if (st == KN_OK)
        st = visit(w, &of_model[OUTPUT_NORM], 0, &weights->output_norm);
    weights->output = weights->embedding; // tied, unless the file has the other
    if (st == KN_OK && gguf_find_tensor(w->file, of_model[OUTPUT].before))
        st = visit(w, &of_model[OUTPUT], 0, &weights->output);
    return st;
}

// A tensor that is not used here would make another model of it.
static kn_status check_used(const walk *w)
{
    for (size_t i = 0; i < gguf_n_tensors(w->file); ++i) {
        const gguf_string name = gguf_get_tensor(w->file, i)->name;
        if (!w->used[i])
            return kn_error_set(
                w->err, KN_ERR_UNSUPPORTED,
                "%s: tensor '%.*s' is none of a Llama model as this program knows it",
                gguf_name(w->file), (int)name.n_bytes, name.bytes);
    }
    return KN_OK;
}

kn_status llama_weights_read(gguf_file *file, llama_weights *out, kn_error *err)
{
    walk w = {.file = file, .weights = out, .err = err};
    kn_status st = read_config(file, &out->config, err);
    if (st != KN_OK)
        return st;
    w.used = calloc(gguf_n_tensors(file), sizeof(*w.used)); // at least one: the embedding
    if (!w.used)
        return kn_error_set(err, KN_ERR_NO_MEMORY, "%s: out of memory", gguf_name(file));
    st = visit_all(&w);
    if (st == KN_OK)
        st = check_used(&w);
    if (st != KN_OK)
        goto done;
    if (w.n_floats <= SIZE_MAX / sizeof(float)) {
        out->n_bytes = (size_t)w.n_floats * sizeof(float);
        out->memory = malloc(out->n_bytes);
        out->layers = calloc((size_t)out->config.n_layers, sizeof(*out->layers));
    }
    if (!out->memory || !out->layers) {
        st = kn_error_set(err, KN_ERR_NO_MEMORY, "%s: out of memory for %llu weights as float",
                          gguf_name(file), (unsigned long long)w.n_floats);
        goto done;
    }
    w.next = out->memory;
    st = visit_all(&w);
done:
    free(w.used);
    return st;
}

void llama_weights_dispose(llama_weights *weights)
{
    free(weights->memory);
    free(weights->layers);
    *weights = (llama_weights){0};
}
