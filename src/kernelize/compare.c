// A kernel and the own forward on the same inputs.
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kernelize/bind.h"
#include "kernels/kernelize.h"

#define ALIGNMENT 64

// Output tensors of our own, made like the caller's: dense, in row-major order.
typedef struct copies {
    DLTensor tensors[KN_LAYER_PARAMS_MAX];
    kn_tensor_type types[KN_LAYER_PARAMS_MAX]; // shapes lie here
    int64_t strides[KN_LAYER_PARAMS_MAX][KN_LAYER_RANK_MAX];
    void *memory[KN_LAYER_PARAMS_MAX];
    int32_t n;
} copies;

static double half_to_double(uint16_t bits)
{
    const int exponent = bits >> 10 & 31;
    const double sign = bits >> 15 ? -1.0 : 1.0, fraction = bits & 1023;
    if (exponent == 31)
        return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    return exponent ? sign * ldexp(1024 + fraction, exponent - 25) : sign * ldexp(fraction, -24);
}

// The element at a byte address; false for a dtype that is not compared.
static bool read_element(const DLTensor *tensor, const char *at, double *out)
{
    const DLDataType t = tensor->dtype;
    uint16_t h;
    uint32_t w;
    float f;
    double d;
    if (t.lanes != 1)
        return false;
    if (t.code == kDLFloat && t.bits == 64) {
        memcpy(&d, at, sizeof(d));
        *out = d;
    } else if (t.code == kDLFloat && t.bits == 32) {
        memcpy(&f, at, sizeof(f));
        *out = (double)f;
    } else if (t.code == kDLFloat && t.bits == 16) {
        memcpy(&h, at, sizeof(h));
        *out = half_to_double(h);
    } else if (t.code == kDLBfloat && t.bits == 16) {
        memcpy(&h, at, sizeof(h));
        w = (uint32_t)h << 16;
        memcpy(&f, &w, sizeof(f));
        *out = (double)f;
    } else {
        return false;
    }
    return true;
}

static kn_status check_output(const kn_module *module, int32_t index, const kn_value *value,
                              kn_error *err)
{
    double unused;
    static const char zeros[8] = {0};
    if (value->type != KN_VALUE_TENSOR)
        return kn_error_set(err, KN_ERR_ARGUMENTS, "module %s: output %d is no tensor",
                            module->path, index);
    const DLTensor *t = value->as.tensor;
    if (t->device.device_type != kDLCPU)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "module %s: output %d is not on the CPU; only CPU tensors are compared",
                            module->path, index);
    if (!read_element(t, zeros, &unused)) {
        const char *name = kn_dtype_name(t->dtype);
        return kn_error_set(
            err, KN_ERR_UNSUPPORTED,
            "module %s: output %d has dtype %s; f64, f32, f16 and bf16 are compared", module->path,
            index, name ? name : "unknown");
    }
    return KN_OK;
}

// Makes the copy of one output. Its layout is the signature's: what kn_layer_infer gave.
static kn_status make_copy(copies *all, const kn_tensor_type *type, kn_error *err)
{
    const int32_t i = all->n;
    DLTensor *t = &all->tensors[i];
    size_t size = type->dtype.bits / 8u;
    for (int32_t d = 0; d < type->ndim; ++d)
        if (__builtin_mul_overflow(size, (size_t)type->shape[d], &size))
            return kni_no_memory(err);
    all->memory[i] = kni_calloc(size + ALIGNMENT, 1);
    if (!all->memory[i])
        return kni_no_memory(err);
    ++all->n;
    *t = (DLTensor){.device = type->device, .ndim = type->ndim, .dtype = type->dtype};
    t->data = (void *)(((uintptr_t)all->memory[i] + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
    memcpy(all->strides[i], type->strides, sizeof(type->strides));
    t->strides = all->strides[i];
    return KN_OK;
}

// Walks an output in row-major order. Both tensors have the shape.
typedef struct cursor {
    int64_t index[KN_LAYER_RANK_MAX];
} cursor;

static const char *address(const DLTensor *t, const cursor *c)
{
    int64_t offset = 0, stride = 1;
    for (int32_t d = t->ndim; d-- > 0;) {
        offset += c->index[d] * (t->strides ? t->strides[d] : stride);
        stride *= t->shape[d];
    }
    return (const char *)t->data + t->byte_offset + offset * (t->dtype.bits / 8);
}

typedef struct row {
    double largest; // |own|, finite
    double difference;
    int64_t element;
} row;

static void end_row(kn_comparison *out, int32_t output, row *r)
{
    const double rel = r->difference == 0 ? 0
                       : r->largest > 0   ? r->difference / r->largest
                                          : (double)INFINITY;
    if (rel > out->max_rel) {
        out->max_rel = rel;
        out->output = (uint32_t)output;
        out->element = r->element;
    }
    *r = (row){0, 0, 0};
}

// False when NaN or infinities stand in different places.
static bool compare_output(const DLTensor *kernel, const DLTensor *own, int32_t output,
                           kn_comparison *out)
{
    cursor at = {{0}};
    row r = {0, 0, 0};
    int64_t n = 1;
    bool alike = true;
    for (int32_t d = 0; d < own->ndim; ++d)
        n *= own->shape[d];
    const int64_t columns = own->ndim > 0 ? own->shape[own->ndim - 1] : 1;
    for (int64_t i = 0; i < n; ++i) {
        double a = 0, b = 0;
        read_element(kernel, address(kernel, &at), &a);
        read_element(own, address(own, &at), &b);
        if (!isfinite(a) || !isfinite(b)) {
            alike = alike && ((isnan(a) && isnan(b)) || a == b);
        } else {
            const double difference = fabs(a - b);
            if (difference > out->max_abs)
                out->max_abs = difference;
            if (difference > r.difference) {
                r.difference = difference;
                r.element = i;
            }
            if (fabs(b) > r.largest)
                r.largest = fabs(b);
        }
        if ((i + 1) % columns == 0)
            end_row(out, output, &r);
        for (int32_t d = own->ndim; d-- > 0 && ++at.index[d] == own->shape[d];)
            at.index[d] = 0;
    }
    return alike;
}

static kn_status run_both(const kni_kernel_binding *record, kn_module *module,
                          const kn_value *values, int32_t n_inputs, copies *own_copies,
                          kn_comparison *out, kn_error *err)
{
    kn_value all[2 * KN_LAYER_PARAMS_MAX], members[KN_LAYER_PARAMS_MAX];
    kn_tensor_type *types = own_copies->types;
    kn_mismatch mismatch;
    kn_status st = KN_OK;
    const int32_t n_values = n_inputs + record->n_outputs;
    // The caller's outputs must fit the kernel too, or they could not be compared.
    const kn_call_args args = {
        .inputs = values,
        .outputs = values + n_inputs,
        .members = members,
        .n_inputs = n_inputs,
        .n_outputs = record->n_outputs,
        .n_members = kni_module_gather(module, record->layer, members),
        .dl_device_type = record->dl_device_type,
    };
    if (kn_layer_check(record->layer, &args, &mismatch) != KN_FITS ||
        kn_layer_infer(record->layer, &args, types, &mismatch) != KN_FITS)
        return kni_binding_describe(record, module, values, n_values, &mismatch, err);
    memcpy(all, values, (size_t)n_inputs * sizeof(*all));
    for (int32_t i = 0; st == KN_OK && i < record->n_outputs; ++i) {
        st = check_output(module, i, &values[n_inputs + i], err);
        if (st == KN_OK)
            st = make_copy(own_copies, &types[i], err);
        if (st == KN_OK) {
            own_copies->tensors[i].shape = types[i].shape;
            all[n_inputs + i] = kn_tensor(&own_copies->tensors[i]);
        }
    }
    if (st != KN_OK)
        return st;
    if (kni_binding_try(record, module, all, n_values, &mismatch, &st, err) != KN_FITS)
        return kni_binding_describe(record, module, all, n_values, &mismatch, err);
    if (st != KN_OK)
        return st;
    st = record->cls->own.call(module, values, n_values, &record->cls->own, err);
    if (st != KN_OK)
        return st;
    bool alike = true;
    out->within = 1;
    for (int32_t i = 0; i < record->n_outputs; ++i) {
        const DLTensor *own = values[n_inputs + i].as.tensor;
        kn_comparison one = {.max_abs = 0};
        alike = compare_output(&own_copies->tensors[i], own, i, &one) && alike;
        const double tolerance = 2 * kn_package_layer_tolerance(kn_kernel_package(record->kernel),
                                                                record->layer_name, own->dtype);
        if (one.max_rel > tolerance)
            out->within = 0;
        if (i == 0 || one.max_rel > out->max_rel) {
            out->max_rel = one.max_rel;
            out->tolerance = tolerance;
            out->output = (uint32_t)i;
            out->element = one.element;
        }
        out->max_abs = fmax(out->max_abs, one.max_abs);
    }
    out->within = out->within && alike;
    return KN_OK;
}

kn_status kn_compare(kn_module *module, const kn_value *values, int32_t n_values,
                     kn_comparison *out, kn_error *err)
{
    if (!module || !out || out->struct_size < sizeof(size_t) || n_values < 0 ||
        (n_values && !values))
        return kn_error_set(
            err, KN_ERR_INVALID,
            "compare: a module, values and a comparison with its struct_size are required");
    const kni_kernel_binding *record = kni_binding_kernel(kni_module_bound(module));
    if (!record)
        return kn_error_set(err, KN_ERR_INVALID, "module %s: no kernel is bound to compare with",
                            module->path);
    const int32_t n_inputs = n_values - record->n_outputs;
    if (n_inputs < 0 || n_inputs > record->n_inputs)
        return kn_error_set(err, KN_ERR_ARGUMENTS,
                            "module %s: %d values; at most %d inputs and %d outputs are accepted",
                            module->path, n_values, record->n_inputs, record->n_outputs);
    copies own_copies = {.n = 0};
    kn_comparison result = {.struct_size = out->struct_size};
    const kn_status st = run_both(record, module, values, n_inputs, &own_copies, &result, err);
    for (int32_t i = 0; i < own_copies.n; ++i)
        kni_free(own_copies.memory[i]);
    if (st == KN_OK)
        memcpy(out, &result, out->struct_size < sizeof(result) ? out->struct_size : sizeof(result));
    return st;
}
