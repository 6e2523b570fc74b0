// Refusals in sentences: which argument, what came, what is accepted.
#include <inttypes.h>

#include "base/buf.h"
#include "base/error.h"
#include "layer/layout.h"
#include "layer/program.h"

const char *kn_mismatch_reason_text(kn_mismatch_reason reason)
{
    switch (reason) {
#define REASON_TEXT(name, value, text)                                                             \
    case name:                                                                                     \
        return text;
        KN_MISMATCH_LIST(REASON_TEXT)
#undef REASON_TEXT
    case KN_MISMATCH_REASONS:
        break;
    }
    return "unknown reason";
}

static const char *const list_words[KNI_LISTS] = {
    [KN_PARAM_INPUT] = "argument",       [KN_PARAM_OUTPUT] = "result",
    [KN_PARAM_MEMBER] = "member",        [KN_PARAM_GRAD_INPUT] = "gradient",
    [KN_PARAM_GRAD_OUTPUT] = "gradient",
};

static const char *kind_text(uint8_t kind)
{
    return kind == KN_PARAM_TENSOR  ? "a tensor"
           : kind == KN_PARAM_INT   ? "an int"
           : kind == KN_PARAM_FLOAT ? "a float or an int"
                                    : "a bool";
}

static void put_came(kni_buf *out, int64_t type)
{
    switch (type) {
    case KN_VALUE_NONE:
        kni_buf_puts(out, "none");
        break;
    case KN_VALUE_INT:
        kni_buf_puts(out, "an int");
        break;
    case KN_VALUE_BOOL:
        kni_buf_puts(out, "a bool");
        break;
    case KN_VALUE_FLOAT:
        kni_buf_puts(out, "a float");
        break;
    case KN_VALUE_TENSOR:
        kni_buf_puts(out, "a tensor");
        break;
    default:
        kni_buf_printf(out, "a value of type %" PRId64, type);
        break;
    }
}

static void put_list(kni_buf *out, int32_t n, const int64_t *numbers)
{
    kni_buf_puts(out, "[");
    for (int32_t i = 0; i < n && numbers; ++i)
        kni_buf_printf(out, "%s%" PRId64, i ? ", " : "", numbers[i]);
    kni_buf_puts(out, "]");
}

static void put_dtype(kni_buf *out, DLDataType dtype)
{
    const char *name = kn_dtype_name(dtype);
    if (name)
        kni_buf_puts(out, name);
    else
        kni_buf_printf(out, "of code %u, %u bits, %u lanes", dtype.code, dtype.bits, dtype.lanes);
}

static void put_device(kni_buf *out, DLDevice device, bool with_index)
{
    static const char *const names[] = {
        [kDLCPU] = "cpu",
        [kDLCUDA] = "cuda",
        [kDLCUDAHost] = "cuda_host",
        [kDLMetal] = "mps",
        [kDLVulkan] = "vulkan",
        [kDLROCM] = "rocm",
        [kDLROCMHost] = "rocm_host",
        [kDLOneAPI] = "xpu",
        [kDLWebGPU] = "webgpu",
    };
    const unsigned type = (unsigned)device.device_type;
    if (type < KN_LEN(names) && names[type])
        kni_buf_puts(out, names[type]);
    else
        kni_buf_printf(out, "device type %u", type);
    if (with_index && device.device_type != kDLCPU)
        kni_buf_printf(out, ":%d", (int)device.device_id);
}

static void put_value(kni_buf *out, const kn_value *v)
{
    if (v->type == KN_VALUE_FLOAT)
        kni_buf_printf(out, "%.17g", v->as.number);
    else if (v->type == KN_VALUE_BOOL)
        kni_buf_puts(out, v->as.integer ? "true" : "false");
    else
        kni_buf_printf(out, "%" PRId64, v->as.integer);
}

// ---- what is accepted ---------------------------------------------------------------------------------------------

static void put_accepted_dtypes(kni_buf *out, const kni_guard *g, const kni_param *p)
{
    if (p->like || p->dtype_rule == KNI_DTYPE_OF) {
        const uint32_t slot = p->like ? p->like_slot : p->refs[0];
        put_dtype(out, g->tensors[slot]->dtype);
        kni_buf_printf(out, ", that of %s", g->layer->params[slot].name);
        return;
    }
    if (p->dtype_rule == KNI_DTYPE_SET) {
        const char *bar = "";
        for (uint32_t left = p->dtypes; left; left &= left - 1, bar = "|")
            kni_buf_printf(out, "%s%s", bar, kni_dtype_name((kni_dtype)__builtin_ctz(left)));
        return;
    }
    const kni_dtype wanted = kni_rule_dtype(g, p);
    kni_buf_puts(out,
                 wanted == KNI_DTYPE_NONE ? "dtypes that promote, not" : kni_dtype_name(wanted));
    kni_buf_puts(out, wanted == KNI_DTYPE_NONE ? "" : ", the result type of");
    for (uint32_t i = 0; i < p->n_refs; ++i) {
        const DLTensor *t = g->tensors[p->refs[i]];
        if (!t)
            continue;
        kni_buf_printf(out, "%s %s (", i ? " and" : "", g->layer->params[p->refs[i]].name);
        put_dtype(out, t->dtype);
        kni_buf_puts(out, ")");
    }
}

static void put_form(kni_buf *out, const kn_layer *layer, const kni_dim *dim)
{
    if (!dim->mul) {
        kni_buf_printf(out, "%d", (int)dim->add);
        return;
    }
    if (dim->mul != 1)
        kni_buf_printf(out, "%d*", (int)dim->mul);
    kni_buf_puts(out, layer->symbols[dim->symbol]);
    if (dim->add)
        kni_buf_printf(out, "%+d", (int)dim->add);
}

// The form as written and the extent that it stands for: "h: 64", "2*d: a multiple of 2".
static void put_accepted_extent(kni_buf *out, const kni_guard *g, const kni_dim *dim, int64_t came)
{
    put_form(out, g->layer, dim);
    if (!dim->mul)
        return;
    int64_t extent;
    // A dimension that was refused while it bound its symbol says of itself what it wants.
    const bool bound = g->bound >> dim->symbol & 1;
    if (bound && !__builtin_mul_overflow(g->symbols[dim->symbol], (int64_t)dim->mul, &extent) &&
        !__builtin_add_overflow(extent, (int64_t)dim->add, &extent) && extent >= 0 &&
        extent != came)
        kni_buf_printf(out, ": %" PRId64, extent);
    else if (dim->mul == 1 && dim->add > 0)
        kni_buf_printf(out, ": %d or more", (int)dim->add);
    else if (dim->mul != 1 && dim->add == 0)
        kni_buf_printf(out, ": a multiple of %d", (int)dim->mul);
    else if (dim->mul != 1)
        kni_buf_printf(out, " with %s 0 or more", g->layer->symbols[dim->symbol]);
}

static void put_shape_sentence(kni_buf *out, const kni_guard *g, const kni_param *p,
                               const DLTensor *t, const kn_mismatch *m)
{
    if (!t) {
        kni_buf_printf(out, "dimension %d would be %" PRId64, (int)m->dim, m->came);
        return;
    }
    if (t->ndim > 0 && !t->shape) {
        kni_buf_printf(out, "%d dimensions without a shape, accepted one with a shape",
                       (int)t->ndim);
        return;
    }
    kni_buf_puts(out, "shape ");
    put_list(out, t->ndim, t->shape);
    kni_buf_printf(out, ", dimension %d is %" PRId64 ", accepted ", (int)m->dim, m->came);
    if (m->came < 0) {
        kni_buf_puts(out, "0 or more");
        return;
    }
    if (p->like) {
        kni_buf_printf(out, "%" PRId64 " as in %s", m->wanted, g->layer->params[p->like_slot].name);
        return;
    }
    const int32_t n_batch = p->batch_at >= 0 ? t->ndim - p->n_dims : 0;
    const int32_t batch_at = p->batch_at >= 0 ? p->batch_at : p->n_dims;
    if (m->dim >= batch_at && m->dim < batch_at + n_batch) {
        kni_buf_printf(out, "%" PRId64 " as '...' before it", m->wanted);
        return;
    }
    const kni_dim *dim = &p->dims[m->dim < batch_at ? m->dim : m->dim - n_batch];
    put_accepted_extent(out, g, dim, m->came);
    for (uint32_t i = 0; i < dim->n_more; ++i) {
        kni_buf_puts(out, " or ");
        put_accepted_extent(out, g, &g->layer->more[dim->more + i], m->came);
    }
}

static void put_rank_sentence(kni_buf *out, const kni_guard *g, const kni_param *p,
                              const DLTensor *t, const kn_mismatch *m)
{
    if (t && t->ndim >= 0 && t->ndim <= KN_LAYER_RANK_MAX && t->shape) {
        kni_buf_puts(out, "shape ");
        put_list(out, t->ndim, t->shape);
        kni_buf_puts(out, " has ");
    }
    kni_buf_printf(out, "%" PRId64 " dimensions, accepted ", m->came);
    if (m->wanted < 0)
        kni_buf_printf(out, "0 to %d", KN_LAYER_RANK_MAX);
    else if (p->batch_at >= 0 && g->n_batch < 0)
        kni_buf_printf(out, "%" PRId64 " or more: %s", m->wanted, p->text);
    else
        kni_buf_printf(out, "%" PRId64 ": %s", m->wanted, p->text);
}

static void put_layout_sentence(kni_buf *out, const kni_guard *g, const kni_param *p,
                                const DLTensor *t)
{
    int64_t strides[KN_LAYER_RANK_MAX];
    kni_buf_puts(out, "shape ");
    put_list(out, t->ndim, t->shape);
    kni_buf_puts(out, " with strides ");
    if (!t->strides)
        kni_dense_strides(t->ndim, t->shape, strides);
    put_list(out, t->ndim, t->strides ? t->strides : strides);
    kni_buf_puts(out, ", accepted ");
    switch ((kni_layout)p->layout) {
    case KNI_DENSE:
        kni_buf_puts(out, "contiguous ones");
        break;
    case KNI_ROWS:
        kni_buf_puts(out, "rows: the last dimension contiguous, one stride for all others");
        break;
    case KNI_STRIDED:
        kni_buf_puts(out, "strided: the last dimension contiguous");
        break;
    case KNI_LIKE: {
        const DLTensor *like = g->tensors[p->like_slot];
        kni_like_strides(like->ndim, like->shape, like->strides, strides);
        put_list(out, like->ndim, strides);
        kni_buf_printf(out, ", those of a new tensor like %s", g->layer->params[p->like_slot].name);
        break;
    }
    }
}

static void put_device_sentence(kni_buf *out, const kni_guard *g, const DLTensor *t)
{
    kni_buf_puts(out, "on ");
    put_device(out, t->device, true);
    kni_buf_puts(out, ", accepted ");
    put_device(out, g->device, g->has_device);
    if (g->has_device)
        kni_buf_puts(out, ", where the tensors before it are");
}

static void put_overlap_sentence(kni_buf *out, const kni_guard *g, const kni_param *p,
                                 const kn_mismatch *m)
{
    const kni_param *other = &g->layer->params[(uint64_t)m->came < g->layer->n_slots ? m->came : 0];
    kni_buf_printf(out, "overlaps the %s %s, accepted memory of its own", list_words[other->list],
                   other->name);
    for (uint64_t left = p->may_alias; left; left &= left - 1)
        kni_buf_printf(out, " or exactly %s", g->layer->params[__builtin_ctzll(left)].name);
}

// ---- sentences ----------------------------------------------------------------------------------------------------

static void put_count_sentence(kni_buf *out, const kn_layer *layer, const kn_mismatch *m)
{
    int64_t least = 0;
    for (uint32_t i = 0; i < layer->count[m->list]; ++i) {
        const kni_param *p = &layer->params[layer->first[m->list] + i];
        if (m->list != KN_PARAM_INPUT || !(p->has_default || p->optional))
            least = i + 1;
    }
    const int64_t most = layer->count[m->list];
    kni_buf_printf(out, "%" PRId64 " %ss, accepted ", m->came, list_words[m->list]);
    if (least < most)
        kni_buf_printf(out, "%" PRId64 " to ", m->list == KN_PARAM_MEMBER ? 0 : least);
    kni_buf_printf(out, "%" PRId64, most);
}

static void put_sentence(kni_buf *out, const kni_guard *g, const kn_mismatch *m, uint32_t slot)
{
    const kni_param *p = &g->layer->params[slot];
    const DLTensor *t = g->tensors[slot];
    kni_buf_printf(out, "%s %s: ", list_words[p->list], p->name);
    switch (m->reason) {
    case KN_MISMATCH_KIND:
        put_came(out, m->came);
        if (m->wanted == KN_VALUE_NONE)
            kni_buf_printf(out, ", accepted none: %s is none", g->layer->params[p->grad_slot].name);
        else
            kni_buf_printf(out, ", accepted %s%s", kind_text(p->kind),
                           p->optional ? " or none" : "");
        break;
    case KN_MISMATCH_MEMBER:
        kni_buf_printf(out, "the module has none, accepted %s", p->text);
        break;
    case KN_MISMATCH_VALUE:
        put_value(out, g->values[slot]);
        kni_buf_puts(out, ", accepted ");
        put_value(out, &p->constant);
        break;
    case KN_MISMATCH_DTYPE:
        if (t) {
            kni_buf_puts(out, "dtype ");
            put_dtype(out, t->dtype);
            kni_buf_puts(out, ", accepted ");
        }
        put_accepted_dtypes(out, g, p);
        break;
    case KN_MISMATCH_RANK:
        put_rank_sentence(out, g, p, t, m);
        break;
    case KN_MISMATCH_SHAPE:
        put_shape_sentence(out, g, p, t, m);
        break;
    case KN_MISMATCH_LAYOUT:
        put_layout_sentence(out, g, p, t);
        break;
    case KN_MISMATCH_DEVICE:
        put_device_sentence(out, g, t);
        break;
    case KN_MISMATCH_DATA:
        kni_buf_puts(out, "no data behind shape ");
        put_list(out, t->ndim, t->shape);
        kni_buf_puts(out, ", accepted a pointer to its elements");
        break;
    case KN_MISMATCH_OVERLAP:
        put_overlap_sentence(out, g, p, m);
        break;
    case KN_MISMATCH_OVERFLOW:
        kni_buf_puts(out, "its size overflows, accepted what fits into memory");
        break;
    case KN_FITS:
    case KN_MISMATCH_COUNT:
    case KN_MISMATCH_SUBCLASS:
    case KN_MISMATCH_EXCHANGE:
    case KN_MISMATCH_TRANSFORM:
    case KN_MISMATCH_FORWARD_AD:
    case KN_MISMATCH_TRACING:
    case KN_MISMATCH_DISPATCH:
    case KN_MISMATCH_AUTOCAST:
    case KN_MISMATCH_GRADIENTS:
    case KN_MISMATCH_NEGATED:
    case KN_MISMATCH_FRAMEWORK:
    case KN_MISMATCH_REASONS:
        break;
    }
}

// `again`: what the guard says now; a refusal that it does not repeat was made by the inference, or is not of this call.
static kn_status describe(const kni_guard *g, const kn_mismatch *m, const kn_mismatch *again,
                          kn_error *err)
{
    const kn_layer *layer = g->layer;
    kni_buf text = KNI_BUF_ANY;
    const bool known = (unsigned)m->list < KNI_LISTS && m->index < layer->count[m->list];
    const bool repeated = again->reason == m->reason && again->list == m->list &&
                          again->index == m->index && again->dim == m->dim;
    const bool inferred = again->reason == KN_FITS && known &&
                          (m->list == KN_PARAM_OUTPUT || m->list == KN_PARAM_GRAD_OUTPUT) &&
                          !g->tensors[layer->first[m->list] + m->index] &&
                          (m->reason == KN_MISMATCH_DTYPE || m->reason == KN_MISMATCH_RANK ||
                           m->reason == KN_MISMATCH_SHAPE || m->reason == KN_MISMATCH_OVERFLOW);
    if (m->reason == KN_MISMATCH_COUNT && (unsigned)m->list < KNI_LISTS)
        put_count_sentence(&text, layer, m);
    else if (known && (repeated || inferred))
        put_sentence(&text, g, m, layer->first[m->list] + m->index);
    else
        kni_buf_printf(&text, "the arguments do not fit: %s", kn_mismatch_reason_text(m->reason));
    const kn_status status = text.failed
                                 ? kni_no_memory(err)
                                 : kn_error_set(err, KN_ERR_ARGUMENTS, "%s", kni_buf_text(&text));
    kni_buf_dispose(&text);
    return status == KN_ERR_NO_MEMORY ? status : KN_ERR_ARGUMENTS;
}

kn_status kn_mismatch_describe(const kn_layer *layer, const kn_call_args *args,
                               const kn_mismatch *mismatch, kn_error *err)
{
    kni_guard guard = {.layer = layer};
    kn_mismatch again = {.dim = -1};
    kni_guard_forward(&guard, layer, args, &again);
    return describe(&guard, mismatch, &again, err);
}

kn_status kni_mismatch_describe_backward(const kn_layer *layer, const kni_backward_args *args,
                                         const kn_mismatch *mismatch, kn_error *err)
{
    kni_guard guard = {.layer = layer};
    kn_mismatch again = {.dim = -1};
    kni_guard_backward(&guard, layer, args, &again);
    return describe(&guard, mismatch, &again, err);
}
