// The guard and the inference against a slow evaluator that knows the exported JSON alone: random calls, most of them nearly right.
//
// The evaluator is written from docs/layers.md: one rule after another over plain numbers, every element looked at, no walk, no flags.
#include "base/json.h"
#include "layer/values.h"

enum { MAX_SYMBOLS = 16, CALLS = 20000 };

// ---- the slow evaluator -------------------------------------------------------------------------------------------

typedef struct world {
    const json_t *layer;
    const char *symbols[MAX_SYMBOLS];
    int64_t extents[MAX_SYMBOLS];
    int n_symbols;
    int64_t batch[KN_LAYER_RANK_MAX];
    int n_batch; // -1: not known
    const char *names[VALUES_MAX];
    const DLTensor *tensors[VALUES_MAX];
    int n_tensors;
    const DLTensor *first; // whose device counts
} world;

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static const DLTensor *tensor_of(const world *w, const char *name)
{
    for (int i = 0; i < w->n_tensors; ++i) {
        if (strcmp(w->names[i], name) == 0)
            return w->tensors[i];
    }
    return NULL;
}

static int64_t *extent_of(world *w, const char *symbol)
{
    for (int i = 0; i < w->n_symbols; ++i) {
        if (strcmp(w->symbols[i], symbol) == 0)
            return &w->extents[i];
    }
    return NULL;
}

static int64_t number_of(const json_t *form, const char *key)
{
    return json_integer_value(json_object_get(form, key));
}

// mul * d + add = extent
static bool slow_form(world *w, const json_t *form, int64_t extent)
{
    const char *symbol = text_of(form, "symbol");
    const int64_t add = number_of(form, "add");
    if (!symbol)
        return extent == add;
    const int64_t mul = number_of(form, "mul");
    const int64_t *known = extent_of(w, symbol);
    if (known)
        return extent == mul * *known + add;
    for (int64_t d = 0; d <= extent + 64; ++d) { // no division: tries them all
        if (mul * d + add == extent) {
            w->symbols[w->n_symbols] = symbol;
            w->extents[w->n_symbols++] = d;
            return true;
        }
    }
    return false;
}

static bool slow_dims(world *w, const json_t *dims, const DLTensor *t)
{
    int n_dims = 0, before = -1;
    for (size_t i = 0; i < json_array_size(dims); ++i) {
        if (json_is_string(json_array_get(dims, i)))
            before = n_dims;
        else
            ++n_dims;
    }
    const int n_batch = before < 0 ? 0 : t->ndim - n_dims;
    if (n_batch < 0 || n_dims + n_batch != t->ndim)
        return false;
    if (before >= 0) {
        for (int i = 0; i < n_batch && w->n_batch < 0; ++i)
            w->batch[i] = t->shape[before + i];
        if (w->n_batch < 0)
            w->n_batch = n_batch;
        if (w->n_batch != n_batch)
            return false;
        for (int i = 0; i < n_batch; ++i) {
            if (t->shape[before + i] != w->batch[i])
                return false;
        }
    }
    int at = 0;
    for (size_t i = 0; i < json_array_size(dims); ++i) {
        const json_t *dim = json_array_get(dims, i), *forms = json_object_get(dim, "one_of");
        if (json_is_string(dim)) {
            at += n_batch;
            continue;
        }
        bool fits = !forms && slow_form(w, dim, t->shape[at]);
        for (size_t f = 0; f < json_array_size(forms); ++f)
            fits = fits || slow_form(w, json_array_get(forms, f), t->shape[at]);
        if (!fits)
            return false;
        ++at;
    }
    return true;
}

static int64_t count_of(const DLTensor *t)
{
    int64_t n = 1;
    for (int32_t i = 0; i < t->ndim; ++i)
        n *= t->shape[i];
    return n;
}

static int64_t stride_of(const DLTensor *t, int32_t dim)
{
    if (t->strides)
        return t->strides[dim];
    int64_t n = 1;
    for (int32_t i = dim + 1; i < t->ndim; ++i)
        n *= t->shape[i];
    return n;
}

// Offset of the element with this row-major number.
static int64_t offset_of(const DLTensor *t, int64_t number)
{
    int64_t offset = 0;
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        offset += number % t->shape[i] * stride_of(t, i);
        number /= t->shape[i];
    }
    return offset;
}

// By the definition of each layout, over all elements.
static bool slow_layout(const char *layout, const DLTensor *t)
{
    const int64_t n = count_of(t), last = t->ndim ? t->shape[t->ndim - 1] : 1;
    if (n == 0)
        return true;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t offset = offset_of(t, i), row = offset_of(t, i - i % last);
        if (strcmp(layout, "dense") == 0 && offset != i)
            return false;
        if (strcmp(layout, "dense") != 0 && offset != row + i % last)
            return false;
        // rows: all rows are one distance apart
        if (strcmp(layout, "rows") == 0 && n > last && row != i / last * offset_of(t, last))
            return false;
    }
    return true;
}

static bool slow_dtype(const world *w, const json_t *rule, const DLTensor *t)
{
    const json_t *set = json_object_get(rule, "one_of");
    const char *of = text_of(rule, "of"), *name = kn_dtype_name(t->dtype);
    for (size_t i = 0; i < json_array_size(set); ++i) {
        if (strcmp(json_string_value(json_array_get(set, i)), name) == 0)
            return true;
    }
    if (of)
        return strcmp(name, kn_dtype_name(tensor_of(w, of)->dtype)) == 0;
    // promote: f16, bf16 and f32 occur below; two of them that differ give f32, those without dimensions count only alone
    const json_t *refs = json_object_get(rule, "promote");
    const char *with[2] = {NULL, NULL};
    for (size_t i = 0; i < json_array_size(refs); ++i) {
        const DLTensor *ref = tensor_of(w, json_string_value(json_array_get(refs, i)));
        const char **into = ref ? &with[ref->ndim == 0] : NULL;
        if (into)
            *into = *into && strcmp(*into, kn_dtype_name(ref->dtype)) != 0
                        ? "f32"
                        : kn_dtype_name(ref->dtype);
    }
    const char *result = with[0] ? with[0] : with[1];
    return result && strcmp(result, name) == 0;
}

static bool slow_same(const DLTensor *a, const DLTensor *b)
{
    if ((char *)a->data + a->byte_offset != (char *)b->data + b->byte_offset ||
        a->ndim != b->ndim || a->dtype.bits != b->dtype.bits || a->dtype.code != b->dtype.code)
        return false;
    for (int32_t i = 0; i < a->ndim; ++i) {
        if (a->shape[i] != b->shape[i] || (a->shape[i] != 1 && stride_of(a, i) != stride_of(b, i)))
            return false;
    }
    return true;
}

// First and last byte + 1, by looking at every element.
static void slow_range(const DLTensor *t, int64_t *begin, int64_t *end)
{
    const int64_t size = t->dtype.bits / 8,
                  base = (int64_t)(uintptr_t)t->data + (int64_t)t->byte_offset;
    *begin = INT64_MAX;
    *end = INT64_MIN;
    for (int64_t i = 0; i < count_of(t); ++i) {
        const int64_t at = base + offset_of(t, i) * size;
        *begin = at < *begin ? at : *begin;
        *end = at + size > *end ? at + size : *end;
    }
}

static bool slow_overlap(const DLTensor *a, const DLTensor *b)
{
    int64_t a0, a1, b0, b1;
    slow_range(a, &a0, &a1);
    slow_range(b, &b0, &b1);
    return a0 < b1 && b0 < a1;
}

static bool slow_tensor(world *w, const json_t *param, const DLTensor *t, bool is_result)
{
    const char *layout = text_of(param, "layout"), *like = text_of(param, "like");
    const json_t *aliases = json_object_get(param, "may_alias");
    if (w->first && (t->device.device_type != w->first->device.device_type ||
                     t->device.device_id != w->first->device.device_id))
        return false;
    for (int32_t i = 0; i < t->ndim; ++i) {
        if (t->shape[i] < 0)
            return false;
    }
    bool is_alias = false;
    for (size_t i = 0; i < json_array_size(aliases); ++i) {
        const DLTensor *other = tensor_of(w, json_string_value(json_array_get(aliases, i)));
        is_alias = is_alias || (other && slow_same(other, t));
    }
    if (like) {
        const DLTensor *base = tensor_of(w, like);
        if (strcmp(kn_dtype_name(t->dtype), kn_dtype_name(base->dtype)) != 0 ||
            t->ndim != base->ndim)
            return false;
        for (int32_t i = 0; i < t->ndim; ++i) {
            if (t->shape[i] != base->shape[i])
                return false;
        }
        // The bases of the signatures below are dense; the strides of others are in the table of torch's answers.
        if (!is_alias && slow_layout("dense", base) && !slow_layout("dense", t))
            return false;
    } else {
        if (!slow_dtype(w, json_object_get(param, "dtype"), t) ||
            !slow_dims(w, json_object_get(param, "dims"), t) ||
            (!is_alias && !slow_layout(layout, t)))
            return false;
    }
    if (!t->data && count_of(t) > 0)
        return false;
    for (int i = 0; is_result && i < w->n_tensors; ++i) {
        bool allowed = false;
        for (size_t a = 0; a < json_array_size(aliases); ++a)
            allowed = allowed ||
                      (strcmp(json_string_value(json_array_get(aliases, a)), w->names[i]) == 0 &&
                       slow_same(w->tensors[i], t));
        if (!allowed && slow_overlap(w->tensors[i], t))
            return false;
    }
    if (!w->first)
        w->first = t;
    w->names[w->n_tensors] = text_of(param, "name");
    w->tensors[w->n_tensors++] = t;
    return true;
}

static bool slow_scalar(const json_t *param, const kn_value *v)
{
    const char *kind = text_of(param, "kind");
    const json_t *equals = json_object_get(param, "equals");
    if (strcmp(kind, "bool") == 0)
        return v->type == KN_VALUE_BOOL &&
               (!equals || json_is_true(equals) == (v->as.integer != 0));
    const double number = v->type == KN_VALUE_FLOAT ? v->as.number : (double)v->as.integer;
    return (v->type == KN_VALUE_INT || (v->type == KN_VALUE_FLOAT && strcmp(kind, "float") == 0)) &&
           (!equals || json_number_value(equals) == number);
}

static bool slow_list(world *w, const char *list, const values *given, bool left_out)
{
    const json_t *params = json_object_get(w->layer, list);
    const bool is_result = strcmp(list, "outputs") == 0;
    if ((size_t)given->n > json_array_size(params))
        return false;
    for (size_t i = 0; i < json_array_size(params); ++i) {
        const json_t *param = json_array_get(params, i);
        const kn_value *v = (int32_t)i < given->n ? &given->values[i] : NULL;
        const bool has_default = json_object_get(param, "default") != NULL;
        if (!v || (v->type == KN_VALUE_NONE && (has_default || strcmp(list, "inputs") != 0))) {
            const bool may = strcmp(list, "members") == 0 || (!v && left_out);
            if (json_is_true(json_object_get(param, "optional")) && (v || may))
                continue;
            if (!has_default || !may)
                return false;
            continue;
        }
        if (v->type == KN_VALUE_NONE && json_is_true(json_object_get(param, "optional")))
            continue;
        if (strcmp(text_of(param, "kind"), "tensor") != 0) {
            if (!slow_scalar(param, v))
                return false;
        } else if (v->type != KN_VALUE_TENSOR || !slow_tensor(w, param, v->as.tensor, is_result)) {
            return false;
        }
    }
    return true;
}

static bool slow_check(const json_t *layer, const call *c, bool with_outputs)
{
    world w = {.layer = layer, .n_batch = -1};
    return slow_list(&w, "inputs", &c->inputs, true) &&
           slow_list(&w, "members", &c->members, true) &&
           (!with_outputs || slow_list(&w, "outputs", &c->outputs, false));
}

// ---- random calls -------------------------------------------------------------------------------------------------

static uint32_t seed = 12345;
static uint32_t roll(uint32_t n) // below n
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)seed * n) >> 32);
}

static const char *const signatures[][2] = {
    {"(x: f32|f16 rows[..., 2*d]) -> (y: x.dtype [..., d])", NULL},
    {"(x: f32|f16 rows[..., h]) -> (y: promote(x, weight) [..., h] may alias x)",
     "weight?: f32|f16 [h], e: float = 1"},
    {"(q: f32 strided[b, s, d], c: q.dtype [b|1|2, s, d+1], n: int == 2 = 2) -> (y: f32 rows[b, d, "
     "s])",
     NULL},
    {"(x: f16 [b, ..., 3*d-1], z?: f16 [..., d]) -> (y: like x may alias x|z, s: f32 [b])",
     "w: f16|f32 []"},
    {"(x: f32 [d], on: bool == true, e: float == 2) -> (y: f32 [2*d+1], z: f32 [3])", NULL},
};

// A tensor whose dimensions are mostly those that the rule asks for.
static void random_tensor(const json_t *param, int64_t symbols[4], values *out, int32_t i,
                          uintptr_t address)
{
    static const char *const dtypes[] = {"f32", "f16", "bf16", "i32"};
    DLTensor *t = &out->tensors[i];
    const json_t *dims = json_object_get(param, "dims");
    memset(t, 0, sizeof(*t));
    assert_true(kn_dtype_parse(dtypes[roll(16) ? roll(2) : roll(4)], &t->dtype));
    t->device = (DLDevice){roll(40) ? kDLCPU : kDLCUDA, 0};
    t->shape = out->shapes[i];
    for (size_t k = 0; k < json_array_size(dims); ++k) {
        const json_t *dim = json_array_get(dims, k), *forms = json_object_get(dim, "one_of");
        if (json_is_string(dim)) {
            const int n_batch = (int)symbols[3];
            for (int b = 0; b < n_batch; ++b)
                t->shape[t->ndim++] = b + 1;
            continue;
        }
        if (forms)
            dim = json_array_get(forms, roll((uint32_t)json_array_size(forms)));
        const char *symbol = text_of(dim, "symbol");
        const int64_t d = symbol ? symbols[(unsigned char)symbol[0] % 3] : 0;
        t->shape[t->ndim++] = d * number_of(dim, "mul") + number_of(dim, "add");
    }
    if (!dims) { // like: the first input's
        memcpy(t->shape, out->shapes[0], sizeof(out->shapes[0]));
    }
    if (t->ndim && !roll(12))
        t->shape[roll((uint32_t)t->ndim)] += (int64_t)roll(3) - 1;
    if (!roll(30) && t->ndim < KN_LAYER_RANK_MAX)
        t->shape[t->ndim++] = 1;
    if (roll(3)) {
        int64_t stride = 1;
        t->strides = out->strides[i];
        for (int32_t k = t->ndim - 1; k >= 0; --k) {
            t->strides[k] = t->shape[k] == 1 && roll(2) ? 77 : stride;
            stride *= t->shape[k] > 0 ? t->shape[k] : 1;
            if (!roll(5))
                stride += roll(4);
            if (!roll(40))
                stride = 0;
        }
    }
    t->data = (void *)(roll(50) ? address : 0);
    t->byte_offset = roll(10) ? 0 : 4;
    out->values[i] = kn_tensor(t);
}

static void random_list(const json_t *params, int64_t symbols[4], values *out, unsigned list)
{
    out->n = (int32_t)json_array_size(params);
    for (int32_t i = 0; i < out->n; ++i) {
        const json_t *param = json_array_get(params, (size_t)i);
        // Mostly apart; sometimes close to the first tensor of all.
        const uintptr_t apart = 0x100000 * (uintptr_t)(list * VALUES_MAX + (unsigned)i + 1);
        const uintptr_t address =
            roll(6) ? apart : 0x100000 * (uintptr_t)(VALUES_MAX + 1) + 8 * roll(40);
        const uint32_t kind = roll(30) ? 9 : roll(4);
        if (kind == 0)
            out->values[i] = kn_none();
        else if (kind == 1)
            out->values[i] = kn_int(roll(4));
        else if (kind == 2)
            out->values[i] = kn_bool(roll(2));
        else if (kind == 3)
            out->values[i] = kn_float(roll(4));
        else if (strcmp(text_of(param, "kind"), "tensor") == 0)
            random_tensor(param, symbols, out, i, address);
        else if (strcmp(text_of(param, "kind"), "bool") == 0)
            out->values[i] = kn_bool(roll(8) != 0);
        else
            out->values[i] = kn_int(roll(8) ? 2 : roll(4));
        if (strcmp(text_of(param, "kind"), "tensor") == 0 && json_object_get(param, "optional") &&
            !roll(3))
            out->values[i] = kn_none();
    }
    if (!roll(40) && out->n)
        --out->n;
}

// Results that fit, from the inference, in memory of their own or in that of the first input.
static void right_outputs(const kn_layer *layer, call *c)
{
    kn_tensor_type types[KN_LAYER_PARAMS_MAX];
    c->args.outputs = NULL;
    c->args.n_outputs = 0;
    if (kn_layer_infer(layer, &c->args, types, NULL) != KN_FITS)
        return;
    for (int32_t i = 0; i < c->outputs.n; ++i) {
        DLTensor *t = &c->outputs.tensors[i];
        *t = (DLTensor){.data = (void *)(0x100000 * (uintptr_t)(3 * VALUES_MAX + i + 1)),
                        .device = types[i].device,
                        .ndim = types[i].ndim,
                        .dtype = types[i].dtype,
                        .shape = c->outputs.shapes[i],
                        .strides = roll(2) ? c->outputs.strides[i] : NULL};
        memcpy(c->outputs.shapes[i], types[i].shape, sizeof(types[i].shape));
        memcpy(c->outputs.strides[i], types[i].strides, sizeof(types[i].strides));
        if (c->inputs.values[0].type == KN_VALUE_TENSOR && !roll(4)) {
            t->data = c->inputs.tensors[0].data;
            t->byte_offset = c->inputs.tensors[0].byte_offset;
            if (roll(2))
                t->strides = c->inputs.tensors[0].strides;
        }
        c->outputs.values[i] = kn_tensor(t);
    }
}

static void test_random_calls(void **state)
{
    (void)state;
    for (size_t s = 0; s < KN_LEN(signatures); ++s) {
        kn_layer *layer =
            parse_layer(KN_LAYER_SPEC(.signature = signatures[s][0], .members = signatures[s][1]));
        char *text;
        json_t *json;
        size_t fits[2] = {0};
        assert_int_equal(kn_layer_json(layer, &text, NULL), KN_OK);
        assert_int_equal(kni_json_parse(text, strlen(text), "layer", &json, NULL), KN_OK);
        for (int i = 0; i < CALLS; ++i) {
            call c;
            // Values by the first letter of a symbol; the last is the number of dimensions of "...".
            int64_t symbols[4] = {1 + roll(3), 1 + roll(3), 1 + roll(3), roll(3)};
            if (!roll(20))
                symbols[roll(3)] = 0;
            random_list(json_object_get(json, "inputs"), symbols, &c.inputs, 1);
            random_list(json_object_get(json, "members"), symbols, &c.members, 2);
            random_list(json_object_get(json, "outputs"), symbols, &c.outputs, 3);
            c.args = (kn_call_args){.inputs = c.inputs.values,
                                    .n_inputs = c.inputs.n,
                                    .members = c.members.values,
                                    .n_members = c.members.n};
            const int32_t n_outputs = (int32_t)json_array_size(json_object_get(json, "outputs"));
            if (c.outputs.n == n_outputs && roll(8))
                right_outputs(layer, &c);
            for (int with_outputs = 0; with_outputs < 2; ++with_outputs) {
                kn_mismatch m;
                kn_error err = KN_ERROR_INIT;
                c.args.outputs = with_outputs ? c.outputs.values : NULL;
                c.args.n_outputs = with_outputs ? c.outputs.n : 0;
                const bool slow = slow_check(json, &c, with_outputs) &&
                                  (!with_outputs || c.outputs.n == n_outputs);
                const bool fast = kn_layer_check(layer, &c.args, &m) == KN_FITS;
                if (!fast)
                    kn_mismatch_describe(layer, &c.args, &m, &err);
                if (slow != fast)
                    fail_msg("call %d of %s: %s", i, signatures[s][0],
                             fast ? "fits, and should not" : kn_error_text(&err));
                if (!fast)
                    assert_null(strstr(kn_error_text(&err), "do not fit"));
                kn_error_dispose(&err);
                fits[with_outputs] += fast;
            }
        }
        print_message("  %s: %zu of %d calls fit, %zu with results\n", signatures[s][0], fits[0],
                      CALLS, fits[1]);
        assert_true(fits[0] > CALLS / 20 && fits[0] < CALLS);
        assert_true(fits[1] > CALLS / 200 && fits[1] < fits[0]);
        json_decref(json);
        kn_string_free(text);
        kn_layer_unref(layer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
